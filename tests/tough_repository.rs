//! The same repository written by `tough`'s editor, by python-tuf and by our own test support is the same to this client: what it finds,
//! and what it refuses.
//!
//! The programs that drive the other two are in `tests/interop`. The one for `tough` is built only with `PLIMSOLL_REQUIRE_TOOLS=1`, because
//! that takes minutes; `PLIMSOLL_TOUGH_WRITER` names one that is built already. What is missing is said on stderr and left out.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::explicit_write,
    reason = "tests state what they expect, and eprintln! would be captured"
)]

mod support;

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use plimsoll::client::{Client, DirSource, Store};
use serde_json::Value;
use support::repo::{EXPIRES, NOW, Repo, Signer};
use support::source::code;

const IMAGE: &str = "registry.example/team/app:1.4";
const TARGET: &str = "registry.example/team/app/1.4/manifest.json";
/// The target in the first version of the repository and in the second. Of one length, so that only the hash tells them apart.
const CONTENTS: [&str; 2] = ["a manifest, first version", "a manifest, other version"];

/// The role to which the top-level one delegates, and the pattern of its target paths.
type Delegation = Option<(&'static str, &'static str)>;

const DELEGATIONS: &[Delegation] = &[
    None,
    Some(("team", "registry.example/team/*/*/*")),
    // A name that is quoted where it names a file.
    Some(("team/app", "registry.example/team/app/?.?/*.json")),
];

/// Who writes a repository.
#[derive(Debug, Clone, Copy)]
enum Writer {
    /// `tests/support/repo.rs`: ed25519 keys.
    Support,
    /// `tests/interop/tough`: ed25519, ECDSA and RSA keys.
    Tough,
    /// `tests/interop/python_tuf.py`: the same. It chooses the delegated role's name and pattern itself.
    PythonTuf,
}

impl Writer {
    /// Those that are there.
    fn all() -> Vec<Self> {
        [Self::Support, Self::Tough, Self::PythonTuf].into_iter().filter(|writer| writer.is_there()).collect()
    }

    /// If not, says so where the test runner does not hide it; with `PLIMSOLL_REQUIRE_TOOLS=1`, fails.
    fn is_there(self) -> bool {
        let required = env::var_os("PLIMSOLL_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        let (there, what) = match self {
            Self::Support => return true,
            Self::Tough => (
                required || env::var_os("PLIMSOLL_TOUGH_WRITER").is_some(),
                "tests/interop/tough is not built; set PLIMSOLL_REQUIRE_TOOLS=1",
            ),
            Self::PythonTuf => {
                static THERE: LazyLock<bool> = LazyLock::new(|| {
                    let output = Command::new("python3").args(["-c", "import tuf"]).stdin(Stdio::null()).output();
                    output.is_ok_and(|output| output.status.success())
                });
                (*THERE, "no python3 with the packages in tests/interop/requirements.txt")
            }
        };
        assert!(there || !required, "{self:?}: {what}");
        if !there {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            writeln!(std::io::stderr(), "skipped: {test}: {self:?}: {what}").unwrap();
        }
        there
    }

    /// The delegations that it can be told to make.
    fn delegations(self) -> &'static [Delegation] {
        match self {
            Self::Support | Self::Tough => DELEGATIONS,
            Self::PythonTuf => &DELEGATIONS[..2],
        }
    }

    /// Writes the repository's next version, of which `contents` has all so far, and returns the root to pin.
    fn write(self, folder: &Path, delegation: Delegation, contents: &[PathBuf]) -> Vec<u8> {
        match self {
            Self::Support => write_with_support(folder, delegation, contents),
            Self::Tough => write_with_tough(folder, delegation, contents),
            Self::PythonTuf => write_with_python_tuf(folder, delegation, contents),
        }
    }
}

fn write_with_support(folder: &Path, delegation: Delegation, contents: &[PathBuf]) -> Vec<u8> {
    let mut repo = Repo::new();
    let mut changed = vec!["targets", "snapshot", "timestamp"];
    if let Some((name, pattern)) = delegation {
        repo.delegate("targets", name, &[pattern], &[Signer(20)], true);
        changed.push(name);
    }
    for (index, content) in contents.iter().enumerate() {
        for role in changed.iter().filter(|_| index > 0) {
            repo.bump(role);
        }
        repo.target(delegation.map_or("targets", |(name, _)| name), TARGET, &fs::read(content).unwrap()).write();
    }
    repo.save(folder);
    repo.pinned()
}

fn write_with_tough(folder: &Path, delegation: Delegation, contents: &[PathBuf]) -> Vec<u8> {
    let mut command = match env::var_os("PLIMSOLL_TOUGH_WRITER") {
        Some(built) => Command::new(built),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "--quiet", "--locked", "--manifest-path"]).arg(interop("tough/Cargo.toml"));
            cargo.arg("--target-dir").arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("tough")).arg("--");
            cargo
        }
    };
    command.arg("--out").arg(folder).args(["--expires", EXPIRES]);
    command.args(["--version", &contents.len().to_string()]);
    command.args(["--target", &format!("{TARGET}={}", contents.last().unwrap().display())]);
    if let Some((name, pattern)) = delegation {
        command.args(["--delegate", &format!("{name}={pattern}")]);
    }
    run(&mut command);
    fs::read(folder.join("root.json")).unwrap()
}

fn write_with_python_tuf(folder: &Path, delegation: Delegation, contents: &[PathBuf]) -> Vec<u8> {
    let mut command = Command::new("python3");
    command.arg(interop("python_tuf.py")).arg(if contents.len() == 1 { "create" } else { "publish" }).arg(folder);
    command.arg(format!("{IMAGE}={}", contents.last().unwrap().display()));
    // The timestamp expires first.
    command.args(["--days", "36500", "--timestamp-expires", EXPIRES]);
    if contents.len() == 1 {
        command.args(["--keys", "mixed", "--layout", if delegation.is_some() { "delegated" } else { "flat" }]);
    }
    run(&mut command);
    fs::read(folder.join("1.root.json")).unwrap()
}

fn interop(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(file)
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
}

/// A repository in its second version.
struct Written {
    folder: PathBuf,
    pinned: Vec<u8>,
    /// Of a client that has seen both versions.
    store: PathBuf,
    /// `timestamp.json` of the first version and of the second.
    timestamps: Vec<Vec<u8>>,
}

impl Written {
    fn new(test: &str, writer: Writer, delegation: Delegation) -> Self {
        let name = format!("{writer:?}-{}", delegation.map_or("direct", |(name, _)| name).replace('/', "-"));
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tough_repository").join(test).join(name);
        if scratch.exists() {
            fs::remove_dir_all(&scratch).unwrap();
        }
        fs::create_dir_all(&scratch).unwrap();
        let (folder, store) = (scratch.join("repository"), scratch.join("store"));
        let mut written = Self { folder, pinned: Vec::new(), store, timestamps: Vec::new() };
        let mut files = Vec::new();
        for (index, content) in CONTENTS.iter().enumerate() {
            files.push(scratch.join(format!("content-{index}")));
            fs::write(&files[index], content).unwrap();
            written.pinned = writer.write(&written.folder, delegation, &files);
            written.timestamps.push(fs::read(written.timestamp()).unwrap());
            written.client(Seen::Both, NOW.parse().unwrap()).refresh().unwrap();
        }
        written
    }

    fn timestamp(&self) -> PathBuf {
        self.folder.join("metadata/timestamp.json")
    }

    /// The file of the target's second version.
    fn target(&self) -> PathBuf {
        let hash = support::repo::sha256(CONTENTS[1].as_bytes());
        let (folder, name) = TARGET.rsplit_once('/').unwrap();
        self.folder.join("targets").join(folder).join(format!("{hash}.{name}"))
    }

    /// Undoes what a case has done to the files.
    fn restore(&self) {
        fs::write(self.timestamp(), &self.timestamps[1]).unwrap();
        fs::write(self.target(), CONTENTS[1]).unwrap();
    }

    fn client(&self, seen: Seen, time: DateTime<Utc>) -> Client<DirSource> {
        let store = match seen {
            Seen::Nothing => Store::in_memory(),
            Seen::Both => Store::folder(&self.store),
        };
        Client::new(self.pinned.clone(), DirSource::repository(&self.folder).unwrap(), store).with_time(time)
    }

    /// The target's bytes as text; `None` if it is not signed.
    fn fetch(&self, path: &str, seen: Seen, time: DateTime<Utc>) -> Result<Option<String>, &'static str> {
        let client = self.client(seen, time);
        let mut session = client.refresh().map_err(|error| code(&error))?;
        let Ok(found) = session.find(path).map_err(|error| code(&error))? else { return Ok(None) };
        let bytes = session.fetch(&found).map_err(|error| code(&error))?;
        Ok(Some(String::from_utf8(bytes).unwrap()))
    }
}

/// Which versions of the repository the client has seen before.
#[derive(Debug, Clone, Copy)]
enum Seen {
    Nothing,
    Both,
}

#[test]
fn a_repository_verifies_alike_whoever_wrote_it() {
    type Edit = fn(&Written);
    type Case = (&'static str, Edit, Seen, TimeDelta, Result<&'static str, &'static str>);
    let long_before = NOW.parse::<DateTime<Utc>>().unwrap() - expiry();
    let second_before = TimeDelta::seconds(-1);
    let [first, second] = CONTENTS;
    let cases: &[Case] = &[
        ("as it was written", |_| {}, Seen::Nothing, long_before, Ok(second)),
        ("as it was written", |_| {}, Seen::Both, long_before, Ok(second)),
        (
            "5.7.2 one byte changed",
            |r| change_target(r, |t| t[3] ^= 1),
            Seen::Nothing,
            long_before,
            Err("signed-hash-mismatch"),
        ),
        (
            "5.7.2 the first version's bytes",
            |r| fs::write(r.target(), CONTENTS[0]).unwrap(),
            Seen::Nothing,
            long_before,
            Err("signed-hash-mismatch"),
        ),
        (
            "5.7.2 one byte more",
            |r| change_target(r, |t| t.push(b' ')),
            Seen::Nothing,
            long_before,
            Err("signed-length-mismatch"),
        ),
        (
            "5.7.2 one byte less",
            |r| change_target(r, |t| t.truncate(t.len() - 1)),
            Seen::Nothing,
            long_before,
            Err("signed-length-mismatch"),
        ),
        ("5.4.3.1 the first version again", rollback, Seen::Both, long_before, Err("metadata-rollback")),
        // Nobody who has seen nothing can tell, until it expires.
        ("5.4.3.1 the first version", rollback, Seen::Nothing, long_before, Ok(first)),
        ("5.4.4 one second left", |_| {}, Seen::Nothing, second_before, Ok(second)),
        ("5.4.4 expires at the start time", |_| {}, Seen::Nothing, TimeDelta::zero(), Err("metadata-expired")),
        ("5.4.4 expires at the start time", |_| {}, Seen::Both, TimeDelta::zero(), Err("metadata-expired")),
    ];
    for writer in Writer::all() {
        for delegation in writer.delegations() {
            let written = Written::new("alike", writer, *delegation);
            for (name, edit, seen, before, expected) in cases {
                let what = format!("{writer:?}, {delegation:?}, client has seen {seen:?}: {name}");
                edit(&written);
                let got = written.fetch(TARGET, *seen, expiry() + *before);
                assert_eq!(got, expected.map(|content| Some(content.to_owned())), "{what}");
                written.restore();
            }
            // Not only by what it leads to: by its own version.
            rollback(&written);
            let error = written.client(Seen::Both, expiry() + long_before).refresh().unwrap_err();
            assert_eq!(error.to_string(), "timestamp: version went back from 2 to 1", "{writer:?}, {delegation:?}");
            written.restore();

            let sibling = TARGET.replace("1.4", "1.5");
            assert_eq!(
                written.fetch(&sibling, Seen::Nothing, expiry() + long_before),
                Ok(None),
                "{writer:?}: {sibling}"
            );
        }
    }
}

#[test]
fn every_signature_of_the_root_is_needed_whoever_made_it() {
    // tough's root is signed with a key of every kind that it knows, and wants them all.
    for (writer, signatures) in [(Writer::Support, 1), (Writer::Tough, 3), (Writer::PythonTuf, 2)] {
        if !writer.is_there() {
            continue;
        }
        let mut written = Written::new("root", writer, None);
        let good: Value = serde_json::from_slice(&written.pinned).unwrap();
        assert_eq!(good["signatures"].as_array().unwrap().len(), signatures, "{writer:?}");
        for index in 0..signatures {
            let mut root = good.clone();
            let mut sig = root["signatures"][index]["sig"].as_str().unwrap().to_owned();
            let last = if sig.pop() == Some('0') { '1' } else { '0' };
            sig.push(last);
            root["signatures"][index]["sig"] = sig.into();
            written.pinned = serde_json::to_vec(&root).unwrap();
            let got = written.fetch(TARGET, Seen::Nothing, NOW.parse().unwrap());
            assert_eq!(got, Err("pinned-root-invalid"), "{writer:?}: {}", root["signatures"][index]);
        }
        // Written anew without a change, it is as good as before.
        written.pinned = serde_json::to_vec(&good).unwrap();
        let got = written.fetch(TARGET, Seen::Nothing, NOW.parse().unwrap());
        assert_eq!(got, Ok(Some(CONTENTS[1].to_owned())), "{writer:?}");
    }
}

#[test]
fn a_wildcard_does_not_cross_a_slash_whoever_wrote_it() {
    // tough's editor takes the pattern for one that covers the target, and signs.
    let pattern = Some(("team", "registry.example/*"));
    // python-tuf's program chooses the pattern itself.
    for writer in [Writer::Support, Writer::Tough] {
        if writer.is_there() {
            let written = Written::new("wildcard", writer, pattern);
            assert_eq!(written.fetch(TARGET, Seen::Nothing, NOW.parse().unwrap()), Ok(None), "{writer:?}");
        }
    }
}

fn expiry() -> DateTime<Utc> {
    EXPIRES.parse().unwrap()
}

fn change_target(written: &Written, edit: fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(written.target()).unwrap();
    edit(&mut bytes);
    fs::write(written.target(), bytes).unwrap();
}

/// Serves the timestamp of the first version; consistent snapshots still have all that it leads to.
fn rollback(written: &Written) {
    fs::write(written.timestamp(), &written.timestamps[0]).unwrap();
}
