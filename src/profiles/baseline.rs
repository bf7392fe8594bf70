//! The most that this machine lets a signed profile allow.

use std::collections::BTreeMap;

use super::apparmor::AppArmorProfiles;
use super::capability::Capabilities;
use super::error::{Code, Refusal};
use super::run::{Cpus, RunProfile};
use super::seccomp::SeccompProfile;
use super::selinux::SelinuxModule;
use super::{Confinement, Kind};
use crate::digest::Sha256;

/// What a machine allows at most. By default what Docker gives a container if nothing else is said, without limits on memory, processes and processors, and no user 0 that the image
/// does not choose itself.
#[derive(Debug, Clone)]
pub struct Baseline {
    memory: Option<u64>,
    pids: Option<u64>,
    cpus: Option<Cpus>,
    seccomp: SeccompProfile,
    capabilities: Capabilities,
    unconfined: bool,
    root: bool,
    writable: bool,
}

impl Default for Baseline {
    fn default() -> Self {
        Self {
            memory: None,
            pids: None,
            cpus: None,
            seccomp: SeccompProfile::docker_default(),
            capabilities: Capabilities::docker(),
            unconfined: false,
            root: false,
            writable: true,
        }
    }
}

impl Baseline {
    /// The most memory, in bytes. A profile that says nothing of it is given this.
    #[must_use]
    pub fn with_memory(self, bytes: u64) -> Self {
        Self { memory: Some(bytes), ..self }
    }

    /// The most processes. A profile that says nothing of it is given this.
    #[must_use]
    pub fn with_pids(self, pids: u64) -> Self {
        Self { pids: Some(pids), ..self }
    }

    /// The most processors. A profile that says nothing of it is given this.
    #[must_use]
    pub fn with_cpus(self, cpus: Cpus) -> Self {
        Self { cpus: Some(cpus), ..self }
    }

    /// The seccomp profile that signed ones must be within, instead of Docker's default.
    #[must_use]
    pub fn with_seccomp(self, seccomp: SeccompProfile) -> Self {
        Self { seccomp, ..self }
    }

    /// The most capabilities that a container keeps.
    #[must_use]
    pub fn with_capabilities(self, capabilities: Capabilities) -> Self {
        Self { capabilities, ..self }
    }

    /// Whether signed profiles may let through what they like: seccomp profiles beyond the baseline's, AppArmor profiles that only complain.
    #[must_use]
    pub fn with_unconfined(self, unconfined: bool) -> Self {
        Self { unconfined, ..self }
    }

    /// Whether `run.json` may ask for user 0.
    #[must_use]
    pub fn with_root(self, root: bool) -> Self {
        Self { root, ..self }
    }

    /// Whether the root file system of a container may be written to.
    #[must_use]
    pub fn with_writable(self, writable: bool) -> Self {
        Self { writable, ..self }
    }

    /// Reads each profile and holds it against this baseline, and against the image: `manifest` is the digest of the image's signed `manifest.json`.
    ///
    /// # Errors
    ///
    /// Each reason to refuse one of them. Then none is to be used: they were written for each other.
    pub fn check(&self, files: &BTreeMap<Kind, Vec<u8>>, manifest: Sha256) -> Result<Confinement, Vec<Refusal>> {
        let beside = digests(files);
        let run = match files.get(&Kind::Run) {
            Some(bytes) => RunProfile::parse(bytes).and_then(|run| {
                run.check_bound(manifest, &beside, true)?;
                Ok(run)
            }),
            None => {
                Err(Refusal::new(Code::Unbound, "", "there is none, so nothing says which image the profiles are for"))
            }
        };
        match run {
            Ok(run) => self.check_against(files, run),
            Err(refusal) => Err(vec![refusal.in_file(Kind::Run.file())]),
        }
    }

    /// The same of profiles that are not bound to an image yet, as their publisher has them.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check), but for what binds them.
    pub fn check_unbound(&self, files: &BTreeMap<Kind, Vec<u8>>) -> Result<Confinement, Vec<Refusal>> {
        let run = files.get(&Kind::Run).map(|bytes| RunProfile::parse(bytes)).transpose();
        match run {
            Ok(run) => self.check_against(files, run.unwrap_or_default()),
            Err(refusal) => Err(vec![refusal.in_file(Kind::Run.file())]),
        }
    }

    fn check_against(&self, files: &BTreeMap<Kind, Vec<u8>>, run: RunProfile) -> Result<Confinement, Vec<Refusal>> {
        let mut refusals: Vec<Refusal> =
            self.limits(&run).into_iter().map(|refusal| refusal.in_file(Kind::Run.file())).collect();
        let kept = run.keeps(Capabilities::docker().without(Capabilities::docker().without(self.capabilities)));
        let mut note = |kind: Kind, refusal: Refusal| refusals.push(refusal.in_file(kind.file()));
        let mut has_seccomp = false;
        if let Some(bytes) = files.get(&Kind::Seccomp) {
            has_seccomp = true;
            let within = |profile: SeccompProfile| {
                if self.unconfined { Ok(()) } else { profile.within(&self.seccomp, kept) }
            };
            if let Err(refusal) = SeccompProfile::parse(bytes).and_then(within) {
                note(Kind::Seccomp, refusal);
            }
        }
        let mut apparmor = None;
        if let Some(bytes) = files.get(&Kind::AppArmor) {
            let profiles = AppArmorProfiles::parse(bytes, self.unconfined);
            match profiles.and_then(|profiles| profiles.chosen(run.apparmor.as_deref())) {
                Ok(name) => apparmor = Some(name),
                Err(refusal) => note(Kind::AppArmor, refusal),
            }
        } else if run.apparmor.is_some() {
            let message = "it names an AppArmor profile, and none is beside it";
            note(Kind::Run, Refusal::new(Code::Contradictory, "apparmor", message));
        }
        let mut selinux = None;
        if let Some(bytes) = files.get(&Kind::Selinux) {
            match SelinuxModule::parse(bytes).and_then(|module| module.within(kept)) {
                Ok(kind) => selinux = Some(kind),
                Err(refusal) => note(Kind::Selinux, refusal),
            }
        }
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let (memory, pids, cpus) = (run.memory.or(self.memory), run.pids.or(self.pids), run.cpus.or(self.cpus));
        let read_only = !self.writable || run.read_only == Some(true);
        let dropped = Capabilities::docker().without(kept);
        Ok(Confinement { run, memory, pids, cpus, read_only, dropped, kept, has_seccomp, apparmor, selinux })
    }

    fn limits(&self, run: &RunProfile) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut more = |key: &str, expected: String, found: String| {
            let refusal = Refusal::new(Code::Loosens, key, "more than this machine allows");
            refusals.push(refusal.expected(expected).found(found));
        };
        for (key, most, found) in [("memory", self.memory, run.memory), ("pids", self.pids, run.pids)] {
            if let (Some(most), Some(found)) = (most, found)
                && found > most
            {
                more(key, format!("at most {most}"), found.to_string());
            }
        }
        if let (Some(most), Some(found)) = (self.cpus, run.cpus)
            && found > most
        {
            more("cpus", format!("at most {most}"), found.to_string());
        }
        if !run.adds.is_within(self.capabilities) {
            let beyond = run.adds.without(self.capabilities);
            more("cap-add", format!("at most {}", self.capabilities), beyond.to_string());
        }
        if let Some(user) = run.user.filter(|user| user.user == 0 && !self.root) {
            more("user", "a user other than 0".to_owned(), user.user.to_string());
        }
        if run.read_only == Some(false) && !self.writable {
            more("read-only", "true".to_owned(), "false".to_owned());
        }
        refusals
    }
}

/// The digest of each profile but `run.json`, which lists them.
#[must_use]
pub fn digests(files: &BTreeMap<Kind, Vec<u8>>) -> BTreeMap<Kind, Sha256> {
    let others = files.iter().filter(|(kind, _)| **kind != Kind::Run);
    others.map(|(kind, bytes)| (*kind, Sha256::of(bytes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profiles::Engine;

    fn checked(baseline: &Baseline, run: &str) -> Result<Vec<String>, Code> {
        let run = format!(r#"{{"schema":"plimsoll/run/v1"{run}}}"#);
        let files = BTreeMap::from([(Kind::Run, run.into_bytes())]);
        match baseline.check_unbound(&files) {
            Ok(confinement) => Ok(confinement.options(Engine::Docker, &|_| String::new())),
            Err(refusals) => Err(refusals[0].code),
        }
    }

    #[test]
    fn a_profile_may_take_less_and_never_more() {
        let given = Baseline::default;
        let few = Capabilities::named(["NET_BIND_SERVICE"]).unwrap();
        let options = |text: &str| Ok(text.split_whitespace().map(str::to_owned).collect());
        let refused = Err(Code::Loosens);
        for (baseline, run, expected) in [
            (given(), "", options("")),
            (given(), r#","memory":"1GiB""#, options("--memory 1073741824")),
            (given().with_memory(1 << 30), r#","memory":"1GiB""#, options("--memory 1073741824")),
            (given().with_memory(1 << 29), r#","memory":"1GiB""#, refused.clone()),
            (given().with_memory(1 << 29), "", options("--memory 536870912")),
            (given().with_pids(9), r#","pids":10"#, refused.clone()),
            (given().with_pids(9), "", options("--pids-limit 9")),
            (given().with_cpus(Cpus::parse("1.5").unwrap()), r#","cpus":"1.501""#, refused.clone()),
            (given().with_cpus(Cpus::parse("1.5").unwrap()), r#","cpus":"0.5""#, options("--cpus 0.5")),
            (given(), r#","user":"0""#, refused.clone()),
            (given().with_root(true), r#","user":"0:0""#, options("--user 0:0")),
            (given(), r#","user":"7""#, options("--user 7")),
            (given().with_writable(false), "", options("--read-only")),
            (given().with_writable(false), r#","read-only":false"#, refused.clone()),
            (given(), r#","read-only":false"#, options("")),
            (given(), r#","cap-add":["SYS_ADMIN"]"#, refused.clone()),
            (given(), r#","cap-drop":["ALL"],"cap-add":["SYS_ADMIN"]"#, refused.clone()),
            (given(), r#","cap-drop":["ALL"],"cap-add":["KILL"]"#, options("--cap-drop ALL --cap-add KILL")),
            (given(), r#","cap-drop":["KILL","NET_RAW","BPF"]"#, options("--cap-drop KILL --cap-drop NET_RAW")),
            (given().with_capabilities(few), r#","cap-add":["KILL"]"#, refused),
            (
                given().with_capabilities(Capabilities::docker().without(few)),
                "",
                options("--cap-drop NET_BIND_SERVICE"),
            ),
            (
                given(),
                r#","no-new-privileges":true,"network":"none","tmpfs":{"/tmp":1024}"#,
                options(
                    "--security-opt no-new-privileges --network none --tmpfs /tmp:rw,noexec,nosuid,nodev,size=1024",
                ),
            ),
        ] {
            assert_eq!(checked(&baseline, run), expected, "{run}");
        }
    }

    #[test]
    fn profiles_are_refused_beside_another_image_and_beside_each_other() {
        let seccomp = br#"{"defaultAction":"SCMP_ACT_ERRNO"}"#.to_vec();
        let image = Sha256::of(b"image");
        let mut files = BTreeMap::from([(Kind::Seccomp, seccomp)]);
        let baseline = Baseline::default();
        let code =
            |files: &BTreeMap<Kind, Vec<u8>>, image| baseline.check(files, image).map(drop).map_err(|r| r[0].code);
        assert_eq!(code(&files, image), Err(Code::Unbound));
        let draft = br#"{"schema":"plimsoll/run/v1"}"#;
        files.insert(Kind::Run, draft.to_vec());
        assert_eq!(code(&files, image), Err(Code::Unbound));
        let signed = crate::profiles::run::bound(draft, image, &digests(&files)).unwrap();
        files.insert(Kind::Run, signed);
        assert_eq!(code(&files, image), Ok(()));
        assert_eq!(code(&files, Sha256::of(b"next")), Err(Code::OtherImage));
        let mut others = files.clone();
        others.insert(Kind::Seccomp, br#"{"defaultAction":"SCMP_ACT_KILL"}"#.to_vec());
        assert_eq!(code(&others, image), Err(Code::OtherImage));
        let mut others = files.clone();
        others.remove(&Kind::Seccomp);
        assert_eq!(code(&others, image), Err(Code::OtherImage));
        let mut others = files;
        others.insert(Kind::Selinux, b"(block app (blockinherit container))".to_vec());
        assert_eq!(code(&others, image), Err(Code::OtherImage));
    }
}
