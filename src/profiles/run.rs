//! `run.json`: limits and switches for running an image, and what ties the profiles beside it to the image.
//!
//! ```json
//! {
//!   "schema": "plimsoll/run/v1",
//!   "manifest": "sha256:...",
//!   "profiles": {"seccomp.json": "sha256:..."},
//!   "memory": "512MiB", "pids": 200, "cpus": "1.5",
//!   "read-only": true, "no-new-privileges": true, "tmpfs": {"/tmp": "64MiB"}, "network": "none",
//!   "cap-drop": ["ALL"], "cap-add": ["NET_BIND_SERVICE"], "user": "65532:65532", "apparmor": "app-1.4"
//! }
//! ```
//!
//! The target path already says for which name a profile was signed. It does not say for which image: one that was copied from 1.3 to 1.4 by mistake, or that stayed when the
//! tag moved, would be in force for what it was not written for. AppArmor's and SELinux' texts have no place for a digest, and seccomp's readers refuse or ignore keys of our
//! own. So `run.json` has the digest of the signed manifest (`manifest.json`: the index, where there is one) and of each profile beside it, and without it none of them counts.

use std::collections::BTreeMap;

use super::capability::Capabilities;
use super::error::{Code, Refusal};
use super::{Kind, PROFILE_MAX, known_keys};
use crate::digest::Sha256;
use crate::metadata::json::{self, At, Value};
use crate::text::quoted;

/// The value of `schema`.
pub const SCHEMA: &str = "plimsoll/run/v1";
/// Docker gives a container no less.
const LEAST_MEMORY: u64 = 6 * 1024 * 1024;
/// The most processes that Linux knows.
const MOST_PIDS: u64 = 4 * 1024 * 1024;
const MOST_TMPFS: usize = 64;

/// Options of engines that take confinement away. Named so that the refusal says so.
const LOOSE: [&str; 14] = [
    "privileged",
    "security-opt",
    "seccomp",
    "selinux",
    "label",
    "pid",
    "ipc",
    "uts",
    "userns",
    "cgroupns",
    "devices",
    "device-cgroup-rules",
    "volumes",
    "mounts",
];

/// What `run.json` says, as it was read; not yet held against a baseline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunProfile {
    pub(super) manifest: Option<Sha256>,
    pub(super) profiles: Option<BTreeMap<Kind, Sha256>>,
    pub(super) memory: Option<u64>,
    pub(super) pids: Option<u64>,
    pub(super) cpus: Option<Cpus>,
    pub(super) read_only: Option<bool>,
    pub(super) no_new_privileges: bool,
    pub(super) drops_all: bool,
    pub(super) drops: Capabilities,
    pub(super) adds: Capabilities,
    pub(super) user: Option<User>,
    pub(super) tmpfs: BTreeMap<String, u64>,
    pub(super) no_network: bool,
    pub(super) apparmor: Option<String>,
}

/// A number of processors, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpus(u32);

impl Cpus {
    /// Reads a decimal number above 0 with at most three places: `1.5`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
        let is_number =
            |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole, 5) || !is_number(places, 3) {
            return None;
        }
        let thousandths: u32 = format!("{places:0<3}").parse().ok()?;
        let all = whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(thousandths)?;
        (all > 0).then_some(Self(all))
    }
}

impl std::fmt::Display for Cpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, rest) = (self.0.div_euclid(1000), self.0.rem_euclid(1000));
        write!(f, "{}", format!("{whole}.{rest:03}").trim_end_matches('0').trim_end_matches('.'))
    }
}

/// A user by number, and a group. By name it would be looked up in the image's own `/etc/passwd`, where any name may be that of user 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    pub(super) user: u32,
    pub(super) group: Option<u32>,
}

impl User {
    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            // The last one means "unchanged" to setuid(2), and the kernel takes no more than that.
            text.parse::<u32>().ok().filter(|n| is_plain && *n < u32::MAX)
        };
        match text.split_once(':') {
            None => Some(Self { user: number(text)?, group: None }),
            Some((user, group)) => Some(Self { user: number(user)?, group: Some(number(group)?) }),
        }
    }
}

impl RunProfile {
    /// Reads `run.json`.
    ///
    /// # Errors
    ///
    /// [`Code::Malformed`], [`Code::Unknown`]; [`Code::Unconfined`] for what takes confinement away; [`Code::Contradictory`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > PROFILE_MAX {
            return Err(Refusal::malformed("", format!("longer than {PROFILE_MAX} bytes")));
        }
        let value = json::parse(bytes).map_err(|error| Refusal::json("", &error))?;
        let at = At::document(&value);
        let object = at.object().map_err(shape)?;
        if let Some(key) = LOOSE.iter().find(|key| object.get(key).is_some()) {
            return Err(Refusal::new(Code::Unconfined, *key, "a profile takes no confinement away"));
        }
        let known = [
            "schema",
            "manifest",
            "profiles",
            "memory",
            "pids",
            "cpus",
            "read-only",
            "no-new-privileges",
            "cap-drop",
            "cap-add",
            "user",
            "tmpfs",
            "network",
            "apparmor",
            "comment",
        ];
        known_keys(&at, &known)?;
        let schema = at.field("schema").map_err(shape)?.string().map_err(shape)?;
        if schema != SCHEMA {
            return Err(Refusal::new(Code::Unknown, "schema", "an unknown schema")
                .expected(SCHEMA)
                .found(quoted(schema)));
        }
        let dropped = names(&at, "cap-drop")?;
        let drops_all = dropped.iter().any(|name| name == "ALL");
        let drops = capabilities("cap-drop", dropped.iter().filter(|name| *name != "ALL"))?;
        let added = names(&at, "cap-add")?;
        if added.iter().any(|name| name == "ALL") {
            return Err(Refusal::new(Code::Unconfined, "cap-add", "all capabilities together confine nothing"));
        }
        let adds = capabilities("cap-add", added.iter())?;
        if !adds.is_apart_from(drops) {
            return Err(Refusal::new(Code::Contradictory, "cap-add", "a capability is both added and dropped"));
        }
        Ok(Self {
            manifest: at.optional("manifest").map_err(shape)?.map(|at| digest(&at)).transpose()?,
            profiles: at.optional("profiles").map_err(shape)?.map(|at| profiles(&at)).transpose()?,
            memory: at.optional("memory").map_err(shape)?.map(|at| memory(&at)).transpose()?,
            pids: at.optional("pids").map_err(shape)?.map(|at| pids(&at)).transpose()?,
            cpus: text(&at, "cpus")?.map(|text| cpus(&text)).transpose()?,
            read_only: boolean(&at, "read-only")?,
            no_new_privileges: boolean(&at, "no-new-privileges")?.unwrap_or(false),
            drops_all,
            drops,
            adds,
            user: text(&at, "user")?.map(|text| user(&text)).transpose()?,
            tmpfs: at.optional("tmpfs").map_err(shape)?.map(|at| tmpfs(&at)).transpose()?.unwrap_or_default(),
            no_network: text(&at, "network")?.map(|text| network(&text)).transpose()?.unwrap_or(false),
            apparmor: text(&at, "apparmor")?.map(|name| apparmor(&name)).transpose()?,
        })
    }

    /// The manifest that it is bound to, if it is.
    #[must_use]
    pub fn manifest(&self) -> Option<Sha256> {
        self.manifest
    }

    /// The profiles beside it, with their digests, if it says which there are.
    #[must_use]
    pub fn profiles(&self) -> Option<&BTreeMap<Kind, Sha256>> {
        self.profiles.as_ref()
    }

    /// The capabilities that the container keeps, of those that an engine gives.
    pub(super) fn keeps(&self, given: Capabilities) -> Capabilities {
        if self.drops_all { self.adds } else { given.without(self.drops).and(self.adds) }
    }
}

/// The same document with what binds it: for an image with this manifest, beside these profiles. What a publisher signs.
///
/// # Errors
///
/// As [`RunProfile::parse`]; [`Code::OtherImage`] if it is bound to something else already.
pub fn bound(bytes: &[u8], manifest: Sha256, profiles: &BTreeMap<Kind, Sha256>) -> Result<Vec<u8>, Refusal> {
    let run = RunProfile::parse(bytes)?;
    run.check_bound(manifest, profiles, false)?;
    let value = json::parse(bytes).map_err(|error| Refusal::json("", &error))?;
    let at = At::document(&value);
    let listed = profiles.iter().map(|(kind, digest)| format!("{:?}:\"sha256:{}\"", kind.file(), digest.to_hex()));
    let binding = format!(
        "  \"manifest\": \"sha256:{}\",\n  \"profiles\": {{{}}}",
        manifest.to_hex(),
        listed.collect::<Vec<_>>().join(", ")
    );
    let mut members = Vec::new();
    for (key, value) in at.object().map_err(shape)?.iter().filter(|(key, _)| !matches!(*key, "manifest" | "profiles")) {
        members.push(format!("  {}: {}", word(key), written(value)?));
    }
    members.push(binding);
    let text = format!("{{\n{}\n}}\n", members.join(",\n"));
    // What was written is what was meant, whatever a string in it holds.
    let again = RunProfile::parse(text.as_bytes())?;
    again.check_bound(manifest, profiles, true)?;
    Ok(text.into_bytes())
}

/// A value as JSON. It has at most as many levels as the reader lets pass.
fn written(value: &Value<'_>) -> Result<String, Refusal> {
    let text = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Unsigned(value) => value.to_string(),
        Value::Negative(value) => value.to_string(),
        Value::String(value) => word(value),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(written).collect::<Result<_, _>>()?;
            format!("[{}]", values.join(", "))
        }
        Value::Object(object) => {
            let members = object.iter().map(|(key, value)| Ok(format!("{}: {}", word(key), written(value)?)));
            format!("{{{}}}", members.collect::<Result<Vec<_>, Refusal>>()?.join(", "))
        }
        Value::Fraction(_) | Value::Members(_) | Value::Taken => {
            return Err(Refusal::malformed("", "a number that is not an integer"));
        }
    };
    Ok(text)
}

/// A string as JSON.
fn word(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl RunProfile {
    /// Whether it is for this manifest, and for these profiles and no others. `must`: whether it has to say so.
    pub(super) fn check_bound(
        &self,
        manifest: Sha256,
        profiles: &BTreeMap<Kind, Sha256>,
        must: bool,
    ) -> Result<(), Refusal> {
        match self.manifest {
            Some(bound) if bound != manifest => {
                return Err(Refusal::new(Code::OtherImage, "manifest", "it is for another image")
                    .expected(format!("sha256:{}", manifest.to_hex()))
                    .found(format!("sha256:{}", bound.to_hex())));
            }
            None if must => return Err(Refusal::new(Code::Unbound, "manifest", "nothing says which image it is for")),
            _ => {}
        }
        let Some(bound) = &self.profiles else {
            let is_needed = must && !profiles.is_empty();
            let unbound = Refusal::new(Code::Unbound, "profiles", "nothing says which profiles belong to it");
            return if is_needed { Err(unbound) } else { Ok(()) };
        };
        for kind in Kind::ALL {
            let shown =
                |digest: Option<&Sha256>| digest.map_or("none".to_owned(), |d| format!("sha256:{}", d.to_hex()));
            let (expected, found) = (bound.get(&kind), profiles.get(&kind));
            if expected != found {
                let refusal =
                    Refusal::new(Code::OtherImage, kind.file(), "it is not the one that run.json was signed with");
                return Err(refusal.expected(shown(expected)).found(shown(found)));
            }
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn shape(error: json::Error) -> Refusal {
    Refusal::json("", &error)
}

fn digest(at: &At<'_>) -> Result<Sha256, Refusal> {
    let text = at.string().map_err(shape)?;
    let digest = Sha256::from_oci(text);
    digest.ok_or_else(|| Refusal::malformed(at.path(), "not a digest").expected("sha256:HEX").found(quoted(text)))
}

fn profiles(at: &At<'_>) -> Result<BTreeMap<Kind, Sha256>, Refusal> {
    let mut profiles = BTreeMap::new();
    for (file, digest_at) in at.fields().map_err(shape)? {
        let kind = Kind::of_file(file).filter(|kind| *kind != Kind::Run);
        let kind =
            kind.ok_or_else(|| Refusal::new(Code::Unknown, "profiles", "an unknown profile").found(quoted(file)))?;
        profiles.insert(kind, digest(&digest_at)?);
    }
    Ok(profiles)
}

/// Bytes as a number, or with a unit: `"512MiB"`.
fn bytes(at: &At<'_>) -> Result<u64, Refusal> {
    const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    if let Ok(number) = at.unsigned() {
        return Ok(number);
    }
    let text = at.string().map_err(shape)?;
    let unit = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let number = unit.filter(|(digits, _)| digits.bytes().all(|b| b.is_ascii_digit()));
    let number = number.and_then(|(digits, factor)| digits.parse::<u64>().ok()?.checked_mul(factor));
    number.filter(|number| i64::try_from(*number).is_ok()).ok_or_else(|| {
        Refusal::malformed(at.path(), "not a number of bytes").expected("one such as \"512MiB\"").found(quoted(text))
    })
}

fn memory(at: &At<'_>) -> Result<u64, Refusal> {
    let memory = bytes(at)?;
    if memory < LEAST_MEMORY {
        return Err(Refusal::malformed(at.path(), "too little")
            .expected(format!("at least {LEAST_MEMORY}"))
            .found(memory));
    }
    Ok(memory)
}

fn pids(at: &At<'_>) -> Result<u64, Refusal> {
    // 0 and -1 are "as many as it likes" to engines.
    let pids = at.positive().map_err(shape)?;
    if pids > MOST_PIDS {
        return Err(Refusal::malformed(at.path(), "too many").expected(format!("at most {MOST_PIDS}")).found(pids));
    }
    Ok(pids)
}

fn cpus(text: &str) -> Result<Cpus, Refusal> {
    Cpus::parse(text).ok_or_else(|| {
        Refusal::malformed("cpus", "not a number of processors").expected("one such as \"1.5\"").found(quoted(text))
    })
}

fn user(text: &str) -> Result<User, Refusal> {
    User::parse(text).ok_or_else(|| {
        Refusal::malformed("user", "not a user by number: a name would be looked up in the image's own /etc/passwd")
            .expected("one such as \"65532:65532\"")
            .found(quoted(text))
    })
}

fn network(text: &str) -> Result<bool, Refusal> {
    match text {
        "none" => Ok(true),
        "host" => {
            Err(Refusal::new(Code::Unconfined, "network", "a profile takes no confinement away").found("\"host\""))
        }
        _ => Err(Refusal::new(Code::Unknown, "network", "an unknown network").expected("\"none\"").found(quoted(text))),
    }
}

fn apparmor(name: &str) -> Result<String, Refusal> {
    if name == "unconfined" {
        return Err(Refusal::new(Code::Unconfined, "apparmor", "a profile takes no confinement away"));
    }
    Ok(name.to_owned())
}

/// Folders in memory, with their sizes. The path has no character with a meaning to engines, which take `PATH:OPTIONS`.
fn tmpfs(at: &At<'_>) -> Result<BTreeMap<String, u64>, Refusal> {
    let mut all = BTreeMap::new();
    for (path, size) in at.fields().map_err(shape)? {
        let is_plain = path.len() <= 255
            && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b))
            && path
                .strip_prefix('/')
                .is_some_and(|rest| rest.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
        // What an engine mounts there keeps the container from the kernel's switches.
        let is_kernels = path.split('/').nth(1).is_some_and(|top| matches!(top, "proc" | "sys" | "dev"));
        if !is_plain || is_kernels || all.len() >= MOST_TMPFS {
            return Err(Refusal::malformed("tmpfs", "not a folder for this")
                .expected("an absolute path of letters, digits and ._-/, not below /proc, /sys and /dev")
                .found(quoted(path)));
        }
        let bytes = bytes(&size)?;
        if bytes == 0 {
            return Err(Refusal::malformed(size.path(), "to the kernel, size 0 is no limit")
                .expected("at least 1")
                .found(bytes));
        }
        all.insert(path.to_owned(), bytes);
    }
    Ok(all)
}

fn boolean(at: &At<'_>, key: &str) -> Result<Option<bool>, Refusal> {
    at.optional(key).map_err(shape)?.map(|at| at.boolean().map_err(shape)).transpose()
}

fn text(at: &At<'_>, key: &str) -> Result<Option<String>, Refusal> {
    at.optional(key).map_err(shape)?.map(|at| Ok(at.string().map_err(shape)?.to_owned())).transpose()
}

fn names(at: &At<'_>, key: &str) -> Result<Vec<String>, Refusal> {
    let mut names = Vec::new();
    if let Some(list) = at.optional(key).map_err(shape)? {
        for item in list.items().map_err(shape)? {
            names.push(item.string().map_err(shape)?.to_owned());
        }
    }
    Ok(names)
}

fn capabilities<'n>(key: &str, names: impl Iterator<Item = &'n String>) -> Result<Capabilities, Refusal> {
    Capabilities::named(names.map(String::as_str)).map_err(|refusal| refusal.in_file(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(more: &str) -> String {
        format!(r#"{{"schema":"{SCHEMA}"{more}}}"#)
    }

    #[test]
    fn each_refused_document_has_an_accepted_twin() {
        let (malformed, unknown, unconfined) = (Some(Code::Malformed), Some(Code::Unknown), Some(Code::Unconfined));
        for (text, expected) in [
            (with(""), None),
            ("{}".to_owned(), malformed),
            (r#"{"schema":"plimsoll/run/v2"}"#.to_owned(), unknown),
            (with(r#","memory":"512MiB""#), None),
            (with(r#","memory":536870912"#), None),
            (with(r#","memory":"512MB""#), malformed),
            (with(r#","memory":"MiB""#), malformed),
            (with(r#","memory":-1"#), malformed),
            (with(r#","memory":"17179869184GiB""#), malformed),
            (with(r#","memory":6291456"#), None),
            (with(r#","memory":6291455"#), malformed),
            (with(r#","pids":1"#), None),
            (with(r#","pids":0"#), malformed),
            (with(r#","pids":-1"#), malformed),
            (with(r#","pids":4194305"#), malformed),
            (with(r#","cpus":"0.5""#), None),
            (with(r#","cpus":"0""#), malformed),
            (with(r#","cpus":"-1""#), malformed),
            (with(r#","cpus":"1.2345""#), malformed),
            (with(r#","cpus":1.5"#), malformed),
            (with(r#","read-only":true,"no-new-privileges":true"#), None),
            (with(r#","read-only":"yes""#), malformed),
            (with(r#","readonly":true"#), unknown),
            (with(r#","cap-drop":["ALL"],"cap-add":["NET_BIND_SERVICE"]"#), None),
            (with(r#","cap-drop":["CAP_NET_RAW"]"#), None),
            (with(r#","cap-drop":["all"]"#), unknown),
            (with(r#","cap-add":["ALL"]"#), unconfined),
            (with(r#","cap-drop":["KILL"],"cap-add":["KILL"]"#), Some(Code::Contradictory)),
            (with(r#","user":"1000""#), None),
            (with(r#","user":"1000:0""#), None),
            (with(r#","user":"app""#), malformed),
            (with(r#","user":"00""#), malformed),
            (with(r#","user":"4294967295""#), malformed),
            (with(r#","user":"4294967296""#), malformed),
            (with(r#","user":"+1""#), malformed),
            (with(r#","user":"""#), malformed),
            (with(r#","tmpfs":{"/tmp":"64MiB","/run/app":1048576}"#), None),
            (with(r#","tmpfs":{"/tmp:exec":"64MiB"}"#), malformed),
            (with(r#","tmpfs":{"tmp":"64MiB"}"#), malformed),
            (with(r#","tmpfs":{"/tmp":1}"#), None),
            (with(r#","tmpfs":{"/tmp":0}"#), malformed),
            (with(r#","tmpfs":{"/tmp":"0KiB"}"#), malformed),
            (with(r#","tmpfs":{"/a/../proc":"64MiB"}"#), malformed),
            (with(r#","tmpfs":{"/proc":"64MiB"}"#), malformed),
            (with(r#","tmpfs":{"/":"64MiB"}"#), malformed),
            (with(r#","network":"none""#), None),
            (with(r#","network":"host""#), unconfined),
            (with(r#","network":"container:x""#), unknown),
            (with(r#","privileged":false"#), unconfined),
            (with(r#","security-opt":["seccomp=unconfined"]"#), unconfined),
            (with(r#","seccomp":"unconfined""#), unconfined),
            (with(r#","pid":"host""#), unconfined),
            (with(r#","userns":"host""#), unconfined),
            (with(r#","apparmor":"app""#), None),
            (with(r#","apparmor":"unconfined""#), unconfined),
            (with(r#","manifest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#), None),
            (with(r#","manifest":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#), malformed),
            (
                with(
                    r#","profiles":{"seccomp.json":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}"#,
                ),
                None,
            ),
            (
                with(
                    r#","profiles":{"run.json":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}"#,
                ),
                unknown,
            ),
        ] {
            assert_eq!(RunProfile::parse(text.as_bytes()).err().map(|refusal| refusal.code), expected, "{text}");
        }
    }

    #[test]
    fn what_binds_it_is_added_once_and_never_changed() {
        let (image, other) = (Sha256::of(b"image"), Sha256::of(b"other"));
        let beside = BTreeMap::from([(Kind::Seccomp, Sha256::of(b"seccomp"))]);
        let text = with(r#","comment":"a \"quoted\" \u001b word","pids":5,"cpus":"1.5""#);
        let signed = bound(text.as_bytes(), image, &beside).unwrap();
        let run = RunProfile::parse(&signed).unwrap();
        assert_eq!((run.manifest(), run.profiles(), run.pids), (Some(image), Some(&beside), Some(5)));
        assert_eq!(bound(&signed, image, &beside).unwrap(), signed);
        assert_eq!(bound(&signed, other, &beside).unwrap_err().code, Code::OtherImage);
        assert_eq!(bound(&signed, image, &BTreeMap::new()).unwrap_err().code, Code::OtherImage);
    }

    #[test]
    fn numbers_of_processors_are_decimal() {
        for (text, shown) in [
            ("1.5", Some("1.5")),
            ("2", Some("2")),
            ("2.0", Some("2")),
            ("0.125", Some("0.125")),
            ("10", Some("10")),
            (".5", None),
            ("1.", None),
            ("1e3", None),
        ] {
            assert_eq!(Cpus::parse(text).map(|cpus| cpus.to_string()).as_deref(), shown, "{text}");
        }
    }
}
