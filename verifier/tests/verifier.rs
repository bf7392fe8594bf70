//! The verifier as containerd calls it: arguments, a descriptor on standard input, the reason on standard output, a process that is killed when its time
//! is up.
//!
//! The repositories are made in memory and served by a web server that misbehaves where it is told to.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::type_complexity,
    reason = "tests state what they expect"
)]

#[path = "../../tests/support/repo.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "each test file uses its own part of this")]
mod repo;
#[path = "../../tests/support/server.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "each test file uses its own part of this")]
mod server;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use repo::{Repo, SNAPSHOT, Signer, TARGETS, TIMESTAMP, sha256};
use serde_json::json;
use server::Server;
use tempfile::TempDir;

const NAME: &str = "registry.example/team/app:1.4";
const FOLDER: &str = "registry.example/team/app/1.4";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What containerd allows a verifier, if its configuration does not say otherwise.
const PER_VERIFIER: Duration = Duration::from_secs(10);

/// A document, and what a registry says that it is.
#[derive(Clone)]
struct Pulled {
    media_type: &'static str,
    bytes: Vec<u8>,
}

impl Pulled {
    fn manifest(config: &[u8]) -> Self {
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": config.len()});
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
        Self { media_type: MANIFEST, bytes: manifest.to_string().into_bytes() }
    }

    fn index(of: &[(&str, &Self)]) -> Self {
        let child = |(platform, child): &(&str, &Self)| {
            let (os, architecture) = platform.split_once('/').unwrap();
            json!({"mediaType": child.media_type, "digest": child.digest(), "size": child.bytes.len(),
                "platform": {"os": os, "architecture": architecture}})
        };
        let manifests: Vec<_> = of.iter().map(child).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        Self { media_type: INDEX, bytes: index.to_string().into_bytes() }
    }

    fn digest(&self) -> String {
        digest(&self.bytes)
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

/// A machine with a policy and a state folder.
struct Node(TempDir);

/// Writes what an operator pins: a file that its owner alone may write, whatever the mask of whoever runs the tests.
fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
}

#[derive(Debug)]
struct Answer {
    /// `None` where it had to be killed.
    code: Option<i32>,
    reason: String,
    took: Duration,
}

impl Answer {
    #[track_caller]
    fn admits(&self, with: &str) {
        assert!(self.code == Some(0) && self.reason.starts_with("admitted: "), "{self:?}");
        assert!(self.reason.contains(with), "{self:?} without {with}");
    }

    #[track_caller]
    fn refuses(&self, with: &str) {
        assert!(self.code == Some(1) && self.reason.starts_with("refused: "), "{self:?}");
        assert!(self.reason.contains(with), "{self:?} without {with}");
    }
}

impl Node {
    fn new(repo: &Repo, scopes: &str) -> Self {
        let node = Self(tempfile::tempdir().unwrap());
        write(&node.path("root.json"), &repo.pinned());
        node.policy(scopes);
        node
    }

    /// One scope, by a repository at a place, and more lines.
    fn by(repo: &Repo, repository: &str, lines: &str) -> Self {
        Self::new(repo, &scope(repository, lines))
    }

    fn policy(&self, scopes: &str) {
        write(&self.path("policy.toml"), format!("version = 1\n{scopes}").as_bytes());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn store(&self, name: &str) -> PathBuf {
        let root = fs::read(self.path("root.json")).unwrap();
        self.path("state").join(sha256(&root)).join(name)
    }

    fn pull(&self, name: &str, pulled: &Pulled) -> Answer {
        let descriptor = json!({"mediaType": pulled.media_type, "digest": pulled.digest(), "size": pulled.bytes.len()});
        self.call(name, &pulled.digest(), "application/vnd.oci.descriptor.v1+json", descriptor.to_string().as_bytes())
    }

    /// As containerd's plugin calls it: the descriptor is written on the side, standard output is read to its end, and when the time is up, the process
    /// is killed.
    fn call(&self, name: &str, digest: &str, stdin_type: &str, stdin: &[u8]) -> Answer {
        self.call_with(&["-name", name, "-digest", digest, "-stdin-media-type", stdin_type], Some(stdin))
    }

    fn call_with(&self, arguments: &[&str], stdin: Option<&[u8]>) -> Answer {
        let start = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-verifier"));
        command.args(arguments).env_clear();
        command.env("PLIMSOLL_POLICY", self.path("policy.toml")).env("PLIMSOLL_STATE", self.path("state"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut to = child.stdin.take().unwrap();
        // Without a descriptor, the pipe stays open and nothing comes.
        let _open = match stdin {
            Some(bytes) => {
                let bytes = [bytes, b"\n"].concat();
                thread::spawn(move || to.write_all(&bytes));
                None
            }
            None => Some(to),
        };
        let mut out = child.stdout.take().unwrap();
        let reading = thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).unwrap();
            text
        });
        let code = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status.code(),
                None if start.elapsed() > PER_VERIFIER => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    break None;
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        let text = reading.join().unwrap();
        assert!(text.ends_with('\n') && text.matches('\n').count() == 1 && text.len() < 32 * 1024, "{text:?}");
        Answer { code, reason: text.trim().to_owned(), took: start.elapsed() }
    }
}

fn scope(repository: &str, lines: &str) -> String {
    format!("[scope.\"registry.example/team\"]\nrepository = \"{repository}\"\nroot = \"root.json\"\n{lines}\n")
}

/// A repository that signs this as the image.
fn signing(signed: &Pulled) -> Repo {
    let mut repo = Repo::new();
    repo.target("targets", &format!("{FOLDER}/manifest.json"), &signed.bytes).publish();
    repo
}

#[test]
fn what_is_signed_under_the_name_is_admitted_and_nothing_else_is() {
    let (app, other) = (Pulled::manifest(b"app"), Pulled::manifest(b"other"));
    let by_digest = format!("registry.example/team/app@{}", app.digest());
    let (mut repo, signed) = (signing(&app), format!("signed as {}", app.digest()));
    let folder = format!("registry.example/team/pinned/@sha256-{}", sha256(&app.bytes));
    repo.target("targets", &format!("{folder}/manifest.json"), &app.bytes).publish();
    // Signed in the folder of another digest.
    let wrong = format!("registry.example/team/wrong/@sha256-{}", sha256(&other.bytes));
    repo.target("targets", &format!("{wrong}/manifest.json"), &app.bytes).publish();
    let server = Server::new(&repo);
    let node = Node::by(&repo, &server.url, "");

    let answer = node.pull(NAME, &app);
    answer.admits(&signed);
    answer.admits("scope registry.example/team in line 2 of");
    answer.admits("its contents were not looked at");
    // Only metadata was asked for.
    assert!(server.take_requests().iter().all(|path| !path.starts_with("targets/")));
    node.pull(&format!("registry.example/team/pinned@{}", app.digest()), &app).admits(&signed);
    node.pull(&format!("registry.example/team/pinned:any@{}", app.digest()), &app).admits(&signed);

    node.pull(NAME, &other).refuses("signed is the manifest sha256:");
    node.pull("registry.example/team/app:1.5", &app)
        .refuses("not signed at \"registry.example/team/app/1.5/manifest.json\"");
    node.pull("registry.example/team/app", &app).refuses("app/latest/manifest.json");
    node.pull("registry.example/teammate/app:1.4", &app).refuses("no scope of the policy");
    node.pull("registry.example:5000/team/app:1.4", &app).refuses("no scope of the policy");
    node.pull("docker.io/library/alpine:latest", &app).refuses("docker.io/library/alpine:latest: no scope");
    node.pull("alpine", &app).refuses("docker.io/library/alpine:latest: no scope");
    // A digest that a tag signs is not signed as a reference by digest.
    node.pull(&by_digest, &app).refuses("a reference by digest must be signed as such");
    node.pull(&format!("{NAME}@{}", app.digest()), &app).refuses("a reference by digest must be signed as such");
    node.pull(&format!("registry.example/team/pinned@{}", app.digest()), &other).refuses("the reference is by sha256:");
    node.pull(&format!("registry.example/team/wrong@{}", other.digest()), &other)
        .refuses("signed is the manifest sha256:");
    node.pull("registry.example/team/../app:1.4", &app).refuses("lower-case");
    node.pull(&sha256(&app.bytes), &app).refuses("image ID");
}

#[test]
fn an_index_is_signed_as_a_whole_and_its_manifests_with_it() {
    let (amd, arm, other) = (Pulled::manifest(b"amd"), Pulled::manifest(b"arm"), Pulled::manifest(b"other"));
    let statement = Pulled::manifest(b"statement");
    let index = Pulled::index(&[("linux/amd64", &amd), ("linux/arm64", &arm), ("unknown/unknown", &statement)]);
    let larger = Pulled::index(&[("linux/amd64", &amd), ("linux/arm64", &other)]);
    let repo = signing(&index);
    let server = Server::new(&repo);
    let node = Node::by(&repo, &server.url, "");

    node.pull(NAME, &index).admits(&format!("signed as {}", index.digest()));
    node.pull(NAME, &arm).admits(&format!("the manifest of linux/arm64, {}, in the signed index", arm.digest()));
    node.pull(NAME, &other).refuses("which it does not list");
    node.pull(NAME, &statement).refuses("which it does not list");
    node.pull(NAME, &larger).refuses("signed is the index");
    // A manifest of the index, said to be an index itself.
    node.pull(NAME, &Pulled { media_type: INDEX, ..amd.clone() }).refuses("signed is the index");
    // The index with another length than it has.
    let descriptor = json!({"mediaType": INDEX, "digest": index.digest(), "size": 1}).to_string();
    let answer = node.call(NAME, &index.digest(), "application/vnd.oci.descriptor.v1+json", descriptor.as_bytes());
    answer.refuses("and what is pulled is said to have 1");

    // The other way round: one manifest is signed, and an index with it inside is pulled.
    let repo = signing(&amd);
    let server = Server::new(&repo);
    let node = Node::by(&repo, &server.url, "");
    node.pull(NAME, &amd).admits("signed as");
    node.pull(NAME, &larger).refuses("nobody signed the others");
}

#[test]
fn the_policy_decides_what_a_node_can_and_cannot_check() {
    let app = Pulled::manifest(b"app");
    let repo = signing(&app);
    let server = Server::new(&repo);
    let refuse = "[scope.\"registry.example/team/app:1.4\"]\nrefuse = \"withdrawn\"";
    for (lines, expected) in [
        ("packages = \"auto\"", Ok("its contents were not looked at")),
        ("packages = \"require\"\nnon-root = true", Err("(packages, non-root;")),
        ("files = true", Err("(files;")),
        ("fail-on = \"high\"\nnode.contents = \"refuse\"", Err("(fail-on;")),
        ("fail-on = \"high\"\nnode.contents = \"unchecked\"", Ok("not checked on a node: fail-on")),
        ("files = true\nnon-root = true\nnode.contents = \"unchecked\"", Ok("not checked on a node: files, non-root")),
        (refuse, Err("the policy refuses it: withdrawn (scope registry.example/team/app:1.4 in line 6")),
        ("target-path = \"x/{host}/{repository}/{tag}/{file}\"", Err("not signed at \"x/registry.example")),
        ("max_staleness = \"7d\"", Err("6:1: scope.\"registry.example/team\".max_staleness: unknown key")),
    ] {
        let lines = format!("\n{lines}");
        let node = Node::by(&repo, &server.url, &lines);
        let answer = node.pull(NAME, &app);
        match expected {
            Ok(with) => answer.admits(with),
            Err(with) => answer.refuses(with.trim_start_matches("(line)")),
        }
    }
    let node = Node::by(&repo, &server.url, "");
    node.policy("");
    node.pull(NAME, &app).refuses("no scope of the policy");
    fs::remove_file(node.path("policy.toml")).unwrap();
    node.pull(NAME, &app).refuses("cannot read");
}

#[cfg(unix)]
#[test]
fn a_policy_or_a_root_that_others_may_write_admits_nothing() {
    let app = Pulled::manifest(b"app");
    let repo = signing(&app);
    let server = Server::new(&repo);
    for file in ["policy.toml", "root.json"] {
        let node = Node::by(&repo, &server.url, "");
        node.pull(NAME, &app).admits("signed as");
        fs::set_permissions(node.path(file), PermissionsExt::from_mode(0o666)).unwrap();
        node.pull(NAME, &app).refuses("can be changed by others");
    }
}

#[test]
fn whatever_is_not_asked_as_containerd_asks_is_refused() {
    let app = Pulled::manifest(b"app");
    let repo = signing(&app);
    let server = Server::new(&repo);
    let node = Node::by(&repo, &server.url, "");
    let descriptor = json!({"mediaType": MANIFEST, "digest": app.digest(), "size": app.bytes.len()});
    let kind = "application/vnd.oci.descriptor.v1+json";
    let call = |stdin: &serde_json::Value| node.call(NAME, &app.digest(), kind, stdin.to_string().as_bytes());
    call(&descriptor).admits("signed as");
    let input = "application/vnd.containerd.image-verifier.input.v1+json";
    let wrapped = json!({"descriptor": descriptor, "operation": "pull"}).to_string();
    node.call(NAME, &app.digest(), input, wrapped.as_bytes()).admits("signed as");
    let more =
        ["-operation", "run", "-name", NAME, "-digest", &app.digest(), "-stdin-media-type", kind, "-other", "-x"];
    node.call_with(&more, Some(descriptor.to_string().as_bytes())).admits("signed as");

    // The digest that is admitted is the one that is signed, not the one that containerd goes on with.
    let other = Pulled::manifest(b"other");
    node.call(NAME, &other.digest(), kind, descriptor.to_string().as_bytes()).refuses("-digest is");
    let mut swapped = descriptor.clone();
    swapped["digest"] = json!(other.digest());
    call(&swapped).refuses("-digest is");
    let mut unknown = descriptor.clone();
    unknown["mediaType"] = json!("application/json");
    call(&unknown).refuses("none of an image");
    node.call(NAME, &app.digest(), "application/json", b"{}").refuses("-stdin-media-type: expected");
    node.call(NAME, &app.digest(), kind, b"").refuses("standard input is no");
    node.call_with(&["-name", NAME], Some(b"")).refuses("-digest is missing");
    node.call_with(&[], Some(b"")).refuses("-name is missing");
    node.call_with(&["--version", "-name", NAME], Some(b"")).refuses("expected a flag");
    let version = node.call_with(&["--version"], Some(b""));
    assert_eq!((version.code, version.reason.as_str()), (Some(0), "plimsoll-verifier 0.1.0"));
    // What stands in a name reaches no terminal.
    let answer = node.call("registry.example/team\u{1b}[2J\nadmitted: x:1", &app.digest(), kind, b"{}");
    answer.refuses("\\u{1b}");

    // The name that only doctor uses, though a policy would admit it.
    let policy = scope(&server.url, "").replace("registry.example/team", "*");
    node.policy(&policy);
    let probe = "localhost:5000/plimsoll-doctor:abc";
    node.pull(probe, &app).refuses(&sha256(format!("plimsoll-verifier was called for {probe}").as_bytes()));
}

/// Servers that are there and never finish.
#[test]
fn a_repository_that_hangs_or_trickles_is_refused_in_time() {
    let app = Pulled::manifest(b"app");
    let repo = signing(&app);
    let trickle = |stream: &mut dyn Write| {
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while stream.write_all(b" ").and_then(|()| stream.flush()).is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    };
    let hang = |_: &mut dyn Write| thread::sleep(Duration::from_secs(60));
    for (lines, limit) in [("node.timeout = \"1s\"", 1.0), ("node.timeout = \"2s\"", 2.0)] {
        for file in ["metadata/timestamp.json", "metadata/2.root.json", "metadata/2.targets.json"] {
            let server = Server::new(&repo);
            let node = Node::by(&repo, &server.url, lines);
            server.answer(file, hang);
            let answer = node.pull(NAME, &app);
            answer.refuses("the repository cannot be reached");
            assert!(answer.took.as_secs_f64() < limit + 0.5, "{file}: {answer:?}");
            server.answer(file, trickle);
            let answer = node.pull(NAME, &app);
            answer.refuses("the repository cannot be reached");
            assert!(answer.took.as_secs_f64() < limit + 0.5, "{file}: {answer:?}");
        }
    }
    // Standard input that never comes.
    let server = Server::new(&repo);
    let node = Node::by(&repo, &server.url, "");
    let kind = "application/vnd.oci.descriptor.v1+json";
    let answer = node.call_with(&["-name", NAME, "-digest", &app.digest(), "-stdin-media-type", kind], None);
    answer.refuses("no decision within 8 s");
    assert!(answer.took < PER_VERIFIER, "{answer:?}");
}

#[test]
fn while_the_repository_is_away_fresh_local_metadata_decides_if_the_policy_says_so() {
    let app = Pulled::manifest(b"app");
    let repo = signing(&app);
    let server = Server::new(&repo);
    let status = |status: &'static str| move |stream: &mut dyn Write| server::status(stream, status, "");
    let strict = Node::by(&repo, &server.url, "");
    let node = Node::by(&repo, &server.url, "node.unreachable = \"24h\"\nnode.timeout = \"2s\"");
    // Nothing local yet.
    server.answer("metadata/2.root.json", status("503 Service Unavailable"));
    node.pull(NAME, &app).refuses("it is not known when it was brought up to date last");

    let server = Server::new(&repo);
    for node in [&strict, &node] {
        let policy = fs::read_to_string(node.path("policy.toml")).unwrap();
        let lines: Vec<&str> = policy.lines().skip(4).collect();
        node.policy(&scope(&server.url, &lines.join("\n")));
        node.pull(NAME, &app).admits("signed as");
    }
    let hang = |_: &mut dyn Write| thread::sleep(Duration::from_secs(60));
    server.answer("metadata/2.root.json", status("503 Service Unavailable"));
    strict.pull(NAME, &app).refuses("cannot be reached");
    node.pull(NAME, &app).admits("by local metadata of");
    server.answer("metadata/2.root.json", hang);
    let answer = node.pull(NAME, &app);
    answer.admits("by local metadata of");
    assert!(answer.took < Duration::from_millis(2500), "{answer:?}");
    // Halfway: the timestamp comes, nothing after it.
    server.answer("metadata/2.root.json", status("404 Not Found"));
    server.answer("metadata/timestamp.json", server::hang_up);
    node.pull(NAME, &app).admits("by local metadata of");

    // Local metadata admits what it signs and no more.
    node.pull(NAME, &Pulled::manifest(b"other")).refuses("it signs another digest than");
    node.pull("registry.example/team/app:1.5", &app).refuses("not signed");

    // What is refused or bridged is no refresh: else old metadata would stay fresh for as long as the repository is kept away.
    let before = fs::read(node.store("refreshed")).unwrap();
    fs::write(node.store("refreshed"), b"2026-01-01T00:00:00Z").unwrap();
    node.pull(NAME, &app).refuses("longer ago");
    node.pull(NAME, &app).refuses("longer ago");
    assert_eq!(fs::read(node.store("refreshed")).unwrap(), b"2026-01-01T00:00:00Z");
    fs::write(node.store("refreshed"), before).unwrap();

    // How long ago, by the clock; and a clock that went back.
    let refreshed = node.store("refreshed");
    let good = fs::read(&refreshed).unwrap();
    let ago = |hours: i64| (chrono::Utc::now() - chrono::TimeDelta::hours(hours)).to_rfc3339();
    for (time, expected) in [
        (ago(23), Ok("by local metadata of")),
        (ago(25), Err("longer ago than node.unreachable allows")),
        (ago(-1), Err("later than the clock shows")),
        ("yesterday".to_owned(), Err("it is not known when")),
    ] {
        fs::write(&refreshed, time).unwrap();
        let answer = node.pull(NAME, &app);
        expected.map_or_else(|with| answer.refuses(with), |with| answer.admits(with));
    }
    fs::write(&refreshed, &good).unwrap();
    let clock = fs::read(node.store("clock")).unwrap();
    fs::write(node.store("clock"), ago(-1)).unwrap();
    node.pull(NAME, &app).refuses("was seen before");
    fs::write(node.store("clock"), clock).unwrap();
    node.pull(NAME, &app).admits("by local metadata of");
    // What is local is checked like all else.
    let mut changed = fs::read(node.store("targets.json")).unwrap();
    let at = changed.len() / 2;
    changed[at] ^= 1;
    fs::write(node.store("targets.json"), changed).unwrap();
    node.pull(NAME, &app).refuses("local metadata does not admit it");
}

#[test]
fn an_answer_of_the_repository_is_never_replaced_by_local_metadata() {
    let app = Pulled::manifest(b"app");
    let lines = "node.unreachable = \"24h\"\nnode.timeout = \"2s\"";
    let removed = |repo: &mut Repo| {
        repo.signed("targets")["targets"] = json!({});
        repo.publish();
    };
    let other = |repo: &mut Repo| {
        repo.target("targets", &format!("{FOLDER}/manifest.json"), &Pulled::manifest(b"other").bytes).publish();
    };
    let expired = |repo: &mut Repo| {
        repo.signed("timestamp")["expires"] = json!("2020-01-01T00:00:00Z");
        repo.publish();
    };
    let rollback = |repo: &mut Repo| *repo = signing(&Pulled::manifest(b"app"));
    let forged = |repo: &mut Repo| {
        repo.role("timestamp").signers = vec![Signer(99)];
        repo.publish();
    };
    let gone = |repo: &mut Repo| {
        repo.files.remove("metadata/timestamp.json");
    };
    let no_targets = |repo: &mut Repo| {
        repo.publish();
        let file = repo.file_name("targets");
        repo.files.remove(&file);
    };
    let cases: [(&str, fn(&mut Repo), &str); 7] = [
        ("no longer signed", removed, "not signed at"),
        ("another digest is signed", other, "signed is the manifest"),
        ("a freeze", expired, "expired"),
        ("a rollback", rollback, "went back from 3 to 2"),
        ("a forged timestamp", forged, "timestamp:"),
        ("no timestamp", gone, "has no file \"timestamp.json\""),
        ("half an update", no_targets, "has no file"),
    ];
    for (case, change, expected) in cases {
        let mut repo = signing(&app);
        repo.publish();
        let server = Server::new(&repo);
        let node = Node::by(&repo, &server.url, lines);
        node.pull(NAME, &app).admits("signed as");
        change(&mut repo);
        server.publish(&repo);
        let answer = node.pull(NAME, &app);
        assert!(!answer.reason.contains("local metadata"), "{case}: {answer:?}");
        answer.refuses(expected);
    }
}

/// The time is up while the store is waited for, so that what the repository said could not be stored any more.
#[test]
fn what_the_repository_refused_is_no_outage_though_the_time_is_up_after_it() {
    let app = Pulled::manifest(b"app");
    let mut repo = signing(&app);
    repo.publish();
    let server = Server::new(&repo);
    let node = Node::by(&repo, &server.url, "node.unreachable = \"24h\"\nnode.timeout = \"2s\"");
    node.pull(NAME, &app).admits("signed as");
    repo.target("targets", &format!("{FOLDER}/manifest.json"), &Pulled::manifest(b"other").bytes).publish();
    server.publish(&repo);
    // Taken once the store was copied, and let go of as soon as the repository has had its time.
    let lock = node.store("lock");
    server.answer("metadata/2.root.json", move |stream: &mut dyn Write| {
        let file = fs::File::options().write(true).open(&lock).unwrap();
        file.lock().unwrap();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(1560));
            drop(file);
        });
        server::status(stream, "404 Not Found", "");
    });
    let answer = node.pull(NAME, &app);
    assert!(!answer.reason.contains("local metadata"), "{answer:?}");
    answer.refuses("the repository does not admit it");
}

#[test]
fn what_the_repository_signs_otherwise_is_no_outage_though_the_file_of_it_never_comes() {
    let app = Pulled::manifest(b"app");
    let mut repo = signing(&app);
    repo.publish();
    let server = Server::new(&repo);
    let node = Node::by(&repo, &server.url, "node.unreachable = \"24h\"\nnode.timeout = \"2s\"");
    node.pull(NAME, &app).admits("signed as");
    let other = Pulled::manifest(b"other");
    repo.target("targets", &format!("{FOLDER}/manifest.json"), &other.bytes).publish();
    server.publish(&repo);
    // Whoever holds back this one file would choose that the older metadata decides.
    let (folder, hash) = (format!("targets/{FOLDER}"), sha256(&other.bytes));
    server
        .answer(&format!("{folder}/{hash}.manifest.json"), |_: &mut dyn Write| thread::sleep(Duration::from_secs(60)));
    let answer = node.pull(NAME, &app);
    assert!(!answer.reason.contains("local metadata"), "{answer:?}");
    answer.refuses("the repository does not admit it");
}

#[test]
fn what_expired_locally_decides_nothing_though_it_is_fresh() {
    let app = Pulled::manifest(b"app");
    let mut repo = signing(&app);
    let expires = (chrono::Utc::now() + chrono::TimeDelta::seconds(4)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    repo.signed("timestamp")["expires"] = json!(expires);
    repo.publish();
    let server = Server::new(&repo);
    let node =
        Node::by(&repo, &server.url, "max-staleness = \"7d\"\nnode.unreachable = \"24h\"\nnode.timeout = \"2s\"");
    node.pull(NAME, &app).admits("signed as");
    server.answer("metadata/2.root.json", server::hang_up);
    thread::sleep(Duration::from_secs(5));
    node.pull(NAME, &app).refuses("expired");
    // From the repository itself, the policy accepts it for so long.
    server.answer("metadata/2.root.json", |stream| server::status(stream, "404 Not Found", ""));
    node.pull(NAME, &app).admits("signed as");
}

#[test]
fn what_was_seen_counts_against_rollback_in_the_next_call() {
    let (app, next) = (Pulled::manifest(b"app"), Pulled::manifest(b"next"));
    let old = signing(&app);
    let mut new = old.clone();
    new.target("targets", &format!("{FOLDER}/manifest.json"), &next.bytes).publish();
    let server = Server::new(&old);
    let node = Node::by(&old, &server.url, "");
    node.pull(NAME, &app).admits("signed as");
    // The new timestamp, and then nothing: it is remembered all the same.
    server.publish(&new);
    server.answer(&new.file_name("snapshot"), server::hang_up);
    node.pull(NAME, &app).refuses("cannot be reached");
    server.publish(&old);
    node.pull(NAME, &app).refuses("went back");
    let server = Server::new(&new);
    node.policy(&scope(&server.url, ""));
    node.pull(NAME, &next).admits("signed as");
    node.pull(NAME, &app).refuses("signed is the manifest");
}

#[test]
fn a_delegated_role_is_remembered_and_its_keys_count() {
    let app = Pulled::manifest(b"app");
    let mut repo = Repo::new();
    repo.delegate("targets", "team", &["registry.example/team/*/*/*"], &[Signer(7)], true);
    repo.target("team", &format!("{FOLDER}/manifest.json"), &app.bytes).publish();
    let server = Server::new(&repo);
    let node = Node::by(&repo, &server.url, "node.unreachable = \"1h\"\nnode.timeout = \"2s\"");
    node.pull(NAME, &app).admits("signed as");
    server.answer("metadata/2.root.json", server::hang_up);
    node.pull(NAME, &app).admits("by local metadata of");
}

#[test]
fn many_verifiers_at_once_wait_neither_for_each_other_nor_for_a_process_that_keeps_the_lock() {
    let app = Pulled::manifest(b"app");
    let mut repo = signing(&app);
    let server = Server::new(&repo);
    let node = Node::by(&repo, &server.url, "");
    let slow = |bytes: Vec<u8>| {
        move |stream: &mut dyn Write| {
            thread::sleep(Duration::from_millis(1000));
            server::ok(stream, "", &bytes);
        }
    };
    // An update between two of them is no rollback for the slower one.
    repo.publish();
    server.publish(&repo);
    let timestamp = repo.files["metadata/timestamp.json"].clone();
    server.answer("metadata/timestamp.json", slow(timestamp));
    thread::scope(|scope| {
        let calls: Vec<_> = (0..10).map(|_| scope.spawn(|| node.pull(NAME, &app))).collect();
        for call in calls {
            let answer = call.join().unwrap();
            answer.admits("signed as");
            // One after the other, they would need ten seconds.
            assert!(answer.took < Duration::from_secs(7), "{answer:?}");
        }
    });
    // Another process that never lets go: in time, and with its reason.
    let lock = fs::File::options().write(true).open(node.store("lock")).unwrap();
    lock.lock().unwrap();
    let answer = node.pull(NAME, &app);
    answer.refuses("is in use by");
    assert!(answer.took < PER_VERIFIER, "{answer:?}");
    drop(lock);
    node.pull(NAME, &app).admits("signed as");
}

#[test]
fn a_folder_is_a_repository_too_and_a_map_asks_several() {
    let app = Pulled::manifest(b"app");
    let repo = signing(&app);
    let second = {
        let mut second = Repo::of([Signer(11), Signer(12), Signer(13), Signer(14)]);
        second.target("targets", &format!("{FOLDER}/manifest.json"), &app.bytes).publish();
        second
    };
    let node = Node::by(&repo, "repository", "");
    node.pull(NAME, &app).refuses("cannot be reached");
    repo.save(&node.path("repository"));
    node.pull(NAME, &app).admits("signed as");

    second.save(&node.path("other"));
    for (name, repo) in [("vendor", &repo), ("security", &second)] {
        fs::create_dir(node.path(name)).unwrap();
        write(&node.path(name).join("root.json"), &repo.pinned());
    }
    let map = json!({
        "repositories": {"vendor": ["repository"], "security": ["other"]},
        "mapping": [{"paths": ["registry.example/team/*/*/*"], "repositories": ["vendor", "security"], "threshold": 2, "terminating": true}],
    });
    write(&node.path("map.json"), map.to_string().as_bytes());
    node.policy("[scope.\"registry.example/team\"]\nmap = \"map.json\"");
    node.pull(NAME, &app).admits("signed as");
    node.pull(NAME, &Pulled::manifest(b"other")).refuses("signed is the manifest");
    fs::remove_dir_all(node.path("other")).unwrap();
    node.pull(NAME, &app).refuses("must agree on it");
}

#[test]
fn the_keys_of_the_tests_are_the_workflows() {
    // So that the repository of "forged" differs in the one key.
    assert_eq!((TIMESTAMP, SNAPSHOT, TARGETS), (Signer(2), Signer(3), Signer(4)));
}
