//! `plimsoll repository`: from the publisher's command to the verifier's verdict.

#![cfg(feature = "publish")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "tests state what they expect"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const IMAGE: &str = "registry.example/team/app:1.4";
const NOW: &str = "2030-01-01T00:00:00Z";

/// A publisher's desk: keys, a repository, and verifiers beside it.
struct Desk(PathBuf);

impl Desk {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("publish").join(test);
        if path.exists() {
            fs::remove_dir_all(&path).unwrap();
        }
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// One that has a repository with a key for each role in `keys`.
    fn with_repository(test: &str) -> Self {
        let desk = Self::new(test);
        desk.ok(&["init", "--keys", "keys"]);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn plimsoll(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.env_clear().env("HOME", &self.0).current_dir(&self.0).stdin(Stdio::null());
        command.args(arguments).output().unwrap()
    }

    /// `plimsoll repository` on the repository in `site`, at `NOW` unless the arguments say another time.
    fn repository(&self, arguments: &[&str]) -> Output {
        let mut all = vec!["repository", arguments[0], "--repository", "site"];
        if !arguments.contains(&"--time") {
            all.extend(["--time", NOW]);
        }
        all.extend(&arguments[1..]);
        self.plimsoll(&all)
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.repository(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Exit code 1: staged, and something is missing for it to be published.
    fn waits(&self, arguments: &[&str]) -> String {
        let output = self.repository(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// The error's code and text, with nothing published.
    fn refused(&self, arguments: &[&str]) -> (String, String) {
        let before = self.published();
        let mut all = arguments.to_vec();
        all.extend(["--format", "json"]);
        let output = self.repository(&all);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stdout));
        assert_eq!(self.published(), before, "{arguments:?}: nothing that clients see has changed");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        (json["error"]["code"].as_str().unwrap().to_owned(), json["error"]["message"].as_str().unwrap().to_owned())
    }

    fn published(&self) -> Vec<(String, Vec<u8>)> {
        let Ok(files) = fs::read_dir(self.path("site/metadata")) else { return Vec::new() };
        let file = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
        let mut files: Vec<_> = files.map(|entry| file(entry.unwrap())).collect();
        files.sort();
        files
    }

    fn key(&self, name: &str) -> String {
        let file = format!("{name}.pem");
        let output = self.plimsoll(&["key", "generate", &file]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        file
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.repository(&["status", "--format", "json"]).stdout).unwrap()
    }

    /// The verdict of a verifier that keeps its memory in `store`, on the archive of a sample.
    fn verify(&self, archive: &str, store: &str, more: &[&str]) -> Verdict {
        let archive = samples(archive);
        let root = self.path("site/metadata/1.root.json").display().to_string();
        let mut all = vec!["verify", &archive, "--root", &root, "--store", store, "--format", "json"];
        for (name, value) in [("--repository", "site"), ("--time", NOW), ("--image", IMAGE)] {
            if !more.contains(&name) {
                all.extend([name, value]);
            }
        }
        all.extend(more);
        let output = self.plimsoll(&all);
        Verdict(serde_json::from_slice(&output.stdout).unwrap())
    }
}

struct Verdict(Value);

impl Verdict {
    fn is_trusted(&self) {
        assert_eq!(self.0["verdict"], "trusted", "{:#}", self.0);
    }

    fn signed_by(&self) -> String {
        self.is_trusted();
        let chain = self.0["metadata"]["signed_by"].as_array().or_else(|| self.0["metadata"]["delegations"].as_array());
        chain.map_or_else(|| self.0["metadata"].to_string(), |chain| json!(chain).to_string())
    }

    #[track_caller]
    fn is_refused(&self, code: &str) {
        assert_eq!(self.0["verdict"], "untrusted", "{:#}", self.0);
        assert_eq!(self.0["findings"][0]["code"], code, "{:#}", self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn samples(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-repos").join(path).display().to_string()
}

fn copy(from: &Path, to: &Path) {
    let _there_is_none = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn add<'a>(archive: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["add", archive, "--image", IMAGE], more].concat()
}

#[test]
fn what_is_signed_verifies_and_nothing_else() {
    let desk = Desk::with_repository("signed");
    let good = samples("good/app.tar");
    desk.verify("good/app.tar", "store", &[]).is_refused("image-not-signed");
    let said = desk.ok(&add(&good, &["--keys", "keys"]));
    assert!(said.contains("published: targets version 2, snapshot version 2, timestamp version 2"), "{said}");
    desk.verify("good/app.tar", "store", &[]).is_trusted();
    desk.verify("hostile/changed-layer/app.tar", "store", &[]).is_refused("layer-diff-id-mismatch");
    desk.verify("hostile/rollback/app.tar", "store", &[]).is_refused("config-digest-mismatch");

    // Once more is a new version of the same.
    desk.ok(&add(&good, &["--keys", "keys"]));
    desk.verify("good/app.tar", "store", &[]).is_trusted();
    let said = desk.ok(&["remove", "--image", IMAGE, "--keys", "keys"]);
    assert!(said.contains("registry.example/team/app/1.4/manifest.json"), "{said}");
    desk.verify("good/app.tar", "store", &[]).is_refused("image-not-signed");
    assert_eq!(desk.refused(&["remove", "--image", IMAGE, "--keys", "keys"]).0, "usage");
}

#[test]
fn an_archive_that_would_not_verify_is_not_signed() {
    let desk = Desk::with_repository("unverifiable");
    for (archive, code) in [
        ("hostile/changed-layer/app.tar", "archive-not-verifiable"),
        ("hostile/wrong-tag/app.tar", "archive-not-verifiable"),
        ("hostile/extra-tag/app.tar", "archive-not-verifiable"),
        ("root.json", "archive-not-verifiable"),
        ("no-such-file.tar", "archive-unreadable"),
    ] {
        let archive = samples(archive);
        assert_eq!(desk.refused(&add(&archive, &["--keys", "keys"])).0, code, "{archive}");
    }
    desk.ok(&add(&samples("good/app.tar"), &["--keys", "keys"]));
}

#[test]
fn the_manifest_of_a_classic_archive_is_the_same_each_time() {
    let manifest = |test| {
        let desk = Desk::with_repository(test);
        desk.ok(&add(&samples("good/app.tar"), &["--keys", "keys"]));
        let folder = desk.path("site/targets/registry.example/team/app/1.4");
        let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        fs::read(&files[0]).unwrap()
    };
    let (one, other) = (manifest("classic-1"), manifest("classic-2"));
    assert_eq!(one, other);
    let manifest: Value = serde_json::from_slice(&one).unwrap();
    let config = "sha256:5cd13aaca199fad460cefc9e2fac93e38ed988b194203021e4b1b0df01692c9b";
    assert_eq!(manifest["config"]["digest"], config);
    assert!(text(&one).starts_with(
        r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"#
    ));
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.docker.image.rootfs.diff.tar");
}

#[test]
fn after_the_loss_of_a_key_another_takes_its_place() {
    let desk = Desk::with_repository("lost");
    let good = samples("good/app.tar");
    desk.ok(&add(&good, &["--keys", "keys"]));
    desk.verify("good/app.tar", "store", &[]).is_trusted();
    let lost = desk.plimsoll(&["key", "show", "keys/targets.pub.pem"]);
    let lost = text(&lost.stdout).lines().next().unwrap().strip_prefix("key id: ").unwrap().to_owned();
    fs::remove_file(desk.path("keys/targets.pem")).unwrap();

    // Nobody at hand may sign any more.
    assert_eq!(desk.refused(&add(&good, &["--keys", "keys"])).0, "usage");
    let new = desk.key("keys/targets-2");
    let said = desk.ok(&["rotate", "targets", "--remove", &lost[..12], "--add", &new, "--keys", "keys"]);
    assert!(said.contains("published: root version 2, targets version 3,"), "{said}");
    // A verifier that pinned the first root, with and without a memory.
    desk.verify("good/app.tar", "store", &[]).is_trusted();
    desk.verify("good/app.tar", "fresh", &[]).is_trusted();
    desk.ok(&add(&good, &["--keys", "keys"]));
    desk.verify("good/app.tar", "store", &[]).is_trusted();
    assert!(!fs::read_to_string(desk.path("site/metadata/2.root.json")).unwrap().contains(&lost), "the key is gone");
}

#[test]
fn a_lost_root_key_is_replaced_by_the_others() {
    let desk = Desk::new("lost-root");
    let (a, b, c) = (desk.key("a"), desk.key("b"), desk.key("c"));
    let keys: Vec<String> = [&a, &b, &c].map(|key| format!("root={key}")).to_vec();
    let mut init = vec!["init", "--keys", "keys", "--threshold", "root=2", "--key", &a, "--key", &b];
    keys.iter().for_each(|key| init.extend(["--role-key", key]));
    desk.ok(&init);
    desk.ok(&add(&samples("good/app.tar"), &["--keys", "keys"]));
    desk.verify("good/app.tar", "store", &[]).is_trusted();

    fs::remove_file(desk.path(&b)).unwrap();
    let d = desk.key("d");
    // The old root and the new one both want two: a and c satisfy both.
    let said = desk.waits(&["rotate", "root", "--remove", "b.pub.pem", "--add", &d, "--key", &a, "--keys", "keys"]);
    assert!(said.contains("root version 2 waits for 1 more signature"), "{said}");
    // The new key counts for the new root alone.
    let said = desk.ok(&["sign", "root", "--key", &d, "--keys", "keys"]);
    assert!(
        said.contains("nothing was published") && said.contains("root version 2 waits for 1 more signature"),
        "{said}"
    );
    let said = desk.ok(&["sign", "root", "--key", &c, "--keys", "keys"]);
    assert!(said.contains("published: root version 2"), "{said}");
    desk.verify("good/app.tar", "store", &[]).is_trusted();
    desk.verify("good/app.tar", "fresh", &[]).is_trusted();
}

#[test]
fn two_of_three_sign_in_turn() {
    let desk = Desk::new("two-of-three");
    let keys = ["a", "b", "c"].map(|name| desk.key(name));
    let mut init = vec!["init".to_owned(), "--keys".to_owned(), "keys".to_owned()];
    for key in &keys {
        init.extend(["--role-key".to_owned(), format!("targets={key}")]);
    }
    init.extend(["--threshold", "targets=2", "--key", &keys[0], "--key", &keys[1]].map(str::to_owned));
    desk.ok(&init.iter().map(String::as_str).collect::<Vec<_>>());

    let good = samples("good/app.tar");
    let said = desk.waits(&add(&good, &["--key", &keys[0]]));
    assert!(said.contains("staged: targets version 2 waits for 1 more signature of"), "{said}");
    desk.verify("good/app.tar", "store", &[]).is_refused("image-not-signed");
    let staged = &desk.status()["staged"][0];
    assert_eq!(staged["missing_signatures"], 1);
    assert_eq!(staged["missing_keys"].as_array().unwrap().len(), 2);
    assert!(
        staged["changes"][0].as_str().unwrap().starts_with("+ registry.example/team/app/1.4/manifest.json sha256:")
    );

    // The same person cannot sign twice, and a stranger not at all.
    assert_eq!(desk.refused(&["sign", "targets", "--key", &keys[0]]).0, "key-missing");
    let stranger = desk.key("stranger");
    assert_eq!(desk.refused(&["sign", "targets", "--key", &stranger]).0, "key-missing");
    let said = desk.ok(&["sign", "targets", "--key", &keys[2], "--keys", "keys"]);
    assert!(said.contains("published: targets version 2"), "{said}");
    desk.verify("good/app.tar", "store", &[]).is_trusted();
    assert_eq!(desk.refused(&["sign", "targets", "--key", &keys[1]]).0, "nothing-to-sign");
}

#[test]
fn people_who_sign_apart_put_their_signatures_together() {
    let desk = Desk::new("apart");
    let keys = ["a", "b"].map(|name| desk.key(name));
    let mut init = vec!["init".to_owned(), "--keys".to_owned(), "keys".to_owned(), "--stage".to_owned()];
    for key in &keys {
        init.extend(["--role-key".to_owned(), format!("root={key}")]);
    }
    init.extend(["--threshold".to_owned(), "root=2".to_owned()]);
    desk.ok(&init.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(desk.published().is_empty());

    // Each on a machine of their own, with a copy of the repository.
    for (name, key) in ["one", "other"].iter().zip(&keys) {
        copy(&desk.path("site"), &desk.path(name));
        let output = desk.plimsoll(&["repository", "sign", "root", "--repository", name, "--key", key, "--time", NOW]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    // What says something else is not taken over.
    let other = fs::read_to_string(desk.path("other/staged/metadata/root.json")).unwrap();
    fs::write(desk.path("changed.json"), other.replace("\"threshold\":2", "\"threshold\":1")).unwrap();
    assert_eq!(desk.refused(&["sign", "root", "--merge", "changed.json"]).0, "usage");

    desk.ok(&["sign", "root", "--merge", "one/staged/metadata/root.json"]);
    assert!(desk.published().is_empty());
    let said = desk.ok(&["sign", "root", "--merge", "other/staged/metadata/root.json", "--stage"]);
    assert!(said.contains("1 new signature"), "{said}");
    let said = desk.ok(&["publish", "--keys", "keys"]);
    assert!(said.contains("published: root version 1, targets version 1"), "{said}");
}

#[test]
fn a_team_signs_in_its_folder_and_nowhere_else() {
    let desk = Desk::with_repository("team");
    let team = desk.key("team");
    let paths = "registry.example/team/*/*/*";
    // With the team's public key alone the delegation waits for the team, for until then clients would miss its file.
    let said = desk.waits(&["delegate", "team", "--paths", paths, "--role-key", "team.pub.pem", "--keys", "keys"]);
    assert!(said.contains("team version 1 waits for 1 more signature"), "{said}");
    assert!(said.contains("targets version 2 waits for the role team"), "{said}");
    desk.ok(&["sign", "team", "--key", &team, "--keys", "keys"]);

    let good = samples("good/app.tar");
    // The team has its own key alone: it hands in what it signed, and the owner publishes it.
    let said = desk.waits(&add(&good, &["--key", &team]));
    assert!(said.contains("by team"), "{said}");
    let said = desk.ok(&["publish", "--keys", "keys"]);
    assert!(said.contains("published: team version 2, snapshot version 3"), "{said}");
    let verdict = desk.verify("good/app.tar", "store", &[]);
    assert!(verdict.signed_by().contains("team"), "{}", verdict.0);

    let outside = |path: &'static str| {
        vec!["add-file", "keys/root.pub.pem", "--path", path, "--role", "team", "--key", "team.pem"]
    };
    for (path, code) in [
        ("registry.example/other/app/1.4/manifest.json", "path-not-delegated"),
        ("registry.example/team/app/nested/1.4/manifest.json", "path-not-delegated"),
        ("registry.example/team/manifest.json", "path-not-delegated"),
        ("../outside", "usage"),
        ("registry.example/team/app/../manifest.json", "usage"),
        ("/registry.example/team/app/1.4/x", "usage"),
    ] {
        assert_eq!(desk.refused(&outside(path)).0, code, "{path}");
    }
    desk.waits(&outside("registry.example/team/app/1.4/notes.txt"));
    desk.ok(&["publish", "--keys", "keys"]);
    // Above the team, targets itself signs the same path: the team's would never be found.
    let note = "registry.example/team/app/1.5/notes.txt";
    desk.ok(&["add-file", "keys/root.pub.pem", "--path", note, "--role", "targets", "--keys", "keys"]);
    assert_eq!(desk.refused(&outside(note)).0, "path-shadowed");
}

#[test]
fn what_a_team_signs_outside_its_folder_by_hand_is_published_by_nobody() {
    let desk = Desk::with_repository("team-by-hand");
    let team = desk.key("team");
    let paths = ["--paths", "registry.example/team/*/*/*"];
    desk.ok(&[&["delegate", "team", "--role-key", &team, "--key", &team, "--keys", "keys"][..], &paths].concat());
    // As with a tool that does not look: the team's key over a path of somebody else. A second repository, in which that is allowed, makes it.
    copy(&desk.path("site"), &desk.path("owner"));
    let elsewhere = Desk::with_repository("team-elsewhere");
    let output = Command::new("cp").arg(desk.path("team.pem")).arg(elsewhere.path("team.pem")).status().unwrap();
    assert!(output.success());
    elsewhere.ok(&[
        "delegate",
        "team",
        "--paths",
        "*/*/*/*/*",
        "--role-key",
        "team.pem",
        "--key",
        "team.pem",
        "--keys",
        "keys",
    ]);
    let other = "registry.example/other/app:1.4";
    let file = samples("source/app.manifest.json");
    elsewhere.waits(&[
        "add-file",
        &file,
        "--image",
        other,
        "--as",
        "manifest.json",
        "--role",
        "team",
        "--key",
        "team.pem",
    ]);
    copy(&elsewhere.path("site/staged"), &desk.path("site/staged"));
    let (code, message) = desk.refused(&["publish", "--keys", "keys"]);
    assert_eq!(code, "target-not-found", "{message}");
    assert!(message.contains("registry.example/other/app/1.4/manifest.json"), "{message}");
}

#[test]
fn after_a_fast_forward_attack_verifiers_come_back() {
    let desk = Desk::with_repository("fast-forward");
    desk.ok(&add(&samples("good/app.tar"), &["--keys", "keys"]));
    copy(&desk.path("site"), &desk.path("backup"));
    // Whoever stole the online keys pushes the versions up as far as they go, on a copy of the repository that verifiers are given.
    copy(&desk.path("site"), &desk.path("attacker"));
    for role in ["snapshot", "timestamp"] {
        fast_forward(&desk, "attacker", role);
    }
    desk.verify("good/app.tar", "store", &["--repository", "attacker"]).is_trusted();
    desk.verify("good/app.tar", "store", &[]).is_refused("metadata-rollback");

    // New keys for both; what the attacker pushed up is forgotten [TUF 5.3.11].
    let (snapshot, timestamp) = (desk.key("keys/snapshot-2"), desk.key("keys/timestamp-2"));
    desk.ok(&[
        "rotate",
        "snapshot",
        "--remove",
        "keys/snapshot.pub.pem",
        "--add",
        &snapshot,
        "--keys",
        "keys",
        "--stage",
    ]);
    desk.ok(&["rotate", "timestamp", "--remove", "keys/timestamp.pub.pem", "--add", &timestamp, "--keys", "keys"]);
    desk.verify("good/app.tar", "store", &[]).is_trusted();
    // And what the attacker can still sign is worth nothing.
    desk.verify("good/app.tar", "store", &["--repository", "attacker"]).is_refused("metadata-threshold");
    desk.verify("good/app.tar", "fresh", &["--repository", "attacker"]).is_trusted();
}

#[test]
fn a_publisher_whose_own_repository_was_fast_forwarded_goes_on_from_there() {
    let desk = Desk::with_repository("fast-forward-own");
    desk.ok(&add(&samples("good/app.tar"), &["--keys", "keys"]));
    for role in ["snapshot", "timestamp"] {
        fast_forward(&desk, "site", role);
    }
    desk.verify("good/app.tar", "store", &[]).is_trusted();
    // There is no next version until clients are made to forget this one.
    let (code, message) = desk.refused(&["timestamp", "--keys", "keys"]);
    assert_eq!(code, "version-exhausted", "{message}");
    let new = desk.key("keys/timestamp-2");
    desk.ok(&["rotate", "timestamp", "--remove", "keys/timestamp.pub.pem", "--add", &new, "--keys", "keys"]);
    desk.verify("good/app.tar", "store", &[]).is_trusted();
    assert_eq!(desk.status()["roles"][1]["version"], 1);
    desk.ok(&["timestamp", "--keys", "keys"]);
    desk.verify("good/app.tar", "store", &[]).is_trusted();
}

/// A role's published file again in the highest version that there is, signed with its own key.
fn fast_forward(desk: &Desk, site: &str, role: &str) {
    let metadata = desk.path(site).join("metadata");
    let name = if role == "timestamp" { "timestamp.json".to_owned() } else { "2.snapshot.json".to_owned() };
    let version = i64::MAX;
    let file: Value = serde_json::from_slice(&fs::read(metadata.join(name)).unwrap()).unwrap();
    let mut signed = file["signed"].clone();
    signed["version"] = json!(version);
    if role == "timestamp" {
        let snapshot = fs::read(metadata.join(format!("{version}.snapshot.json"))).unwrap();
        signed["meta"]["snapshot.json"] = json!({"version": version, "length": snapshot.len()});
    }
    let pem = fs::read_to_string(desk.path(&format!("keys/{role}.pem"))).unwrap();
    let (id, signature) = sign(&pem, &signed);
    assert_eq!(file["signatures"][0]["keyid"], json!(id));
    let file = json!({"signatures": [{"keyid": id, "sig": signature}], "signed": signed}).to_string();
    let name = if role == "timestamp" { "timestamp.json".to_owned() } else { format!("{version}.snapshot.json") };
    fs::write(metadata.join(name), file).unwrap();
}

/// Key id and signature over the canonical form, which for documents of plain ASCII is the sorted form of `serde_json`.
fn sign(pem: &str, signed: &Value) -> (String, String) {
    use ring::signature::{Ed25519KeyPair, KeyPair};
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&base64_decoded(&base64)).unwrap();
    let public =
        json!({"keytype": "ed25519", "keyval": {"public": hex(pair.public_key().as_ref())}, "scheme": "ed25519"});
    let id = hex(ring::digest::digest(&ring::digest::SHA256, public.to_string().as_bytes()).as_ref());
    (id, hex(pair.sign(signed.to_string().as_bytes()).as_ref()))
}

fn base64_decoded(text: &str) -> Vec<u8> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = text.trim_end_matches('=').chars().map(|c| u32::try_from(DIGITS.find(c).unwrap()).unwrap());
    let (mut out, mut held, mut count) = (Vec::new(), 0_u32, 0);
    for six in bits {
        held = (held << 6 | six) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(held >> count & 0xff).unwrap());
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_kind_of_key_signs_and_a_passphrase_protects_it() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let desk = Desk::new(&format!("kind-{kind}"));
        fs::write(desk.path("secret"), "correct horse\nsecond line\n").unwrap();
        fs::write(desk.path("wrong"), "incorrect horse\n").unwrap();
        desk.ok(&["init", "--keys", "keys", "--key-type", kind, "--passphrase", "--passphrase-file", "secret"]);
        let pem = fs::read_to_string(desk.path("keys/targets.pem")).unwrap();
        assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{kind}: {pem}");
        let good = samples("good/app.tar");
        for wrong in [&["--passphrase-file", "wrong"][..], &[]] {
            let (code, message) = desk.refused(&add(&good, &[&["--keys", "keys"], wrong].concat()));
            assert_eq!(code, "key-unusable");
            assert!(message.contains("is under a passphrase"), "{message}");
        }
        desk.ok(&add(&good, &["--keys", "keys", "--passphrase-file", "secret"]));
        desk.verify("good/app.tar", "store", &[]).is_trusted();
        // The public half is the same from either file.
        let show = |file: &str| text(&desk.plimsoll(&["key", "show", file, "--passphrase-file", "secret"]).stdout);
        assert_eq!(show("keys/root.pem"), show("keys/root.pub.pem"), "{kind}");
        assert!(!show("keys/root.pem").contains("PRIVATE"), "a private key is never printed");
    }
}

#[test]
fn keys_are_kept_by_their_owner_and_out_of_the_repository() {
    let desk = Desk::with_repository("keys");
    let mode = |file: &str| fs::metadata(desk.path(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("keys"), mode("keys/root.pem")), (0o700, 0o600));
    let good = samples("good/app.tar");
    fs::set_permissions(desk.path("keys/targets.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    let (code, message) = desk.refused(&add(&good, &["--keys", "keys"]));
    assert_eq!(code, "key-unusable");
    assert!(message.contains("may be read or changed by others (mode 640)"), "{message}");
    fs::set_permissions(desk.path("keys/targets.pem"), fs::Permissions::from_mode(0o600)).unwrap();

    fs::copy(desk.path("keys/targets.pem"), desk.path("site/targets.pem")).unwrap();
    let (code, message) = desk.refused(&add(&good, &["--key", "site/targets.pem"]));
    assert_eq!(code, "usage");
    assert!(message.contains("is in the repository, which is for everybody"), "{message}");
    fs::remove_file(desk.path("site/targets.pem")).unwrap();
    let elsewhere = Desk::new("keys-inside");
    let output = elsewhere.plimsoll(&["repository", "init", "--repository", ".", "--keys", "keys"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!elsewhere.path("keys").exists());

    // A key that is there is never replaced.
    let before = fs::read(desk.path("keys/root.pem")).unwrap();
    assert_eq!(desk.plimsoll(&["key", "generate", "keys/root.pem"]).status.code(), Some(2));
    assert_eq!(fs::read(desk.path("keys/root.pem")).unwrap(), before);

    desk.ok(&add(&good, &["--keys", "keys"]));
    let secret = fs::read_to_string(desk.path("keys/root.pem")).unwrap().lines().nth(1).unwrap().to_owned();
    let published = desk.published();
    assert!(published.iter().all(|(_, bytes)| !text(bytes).contains(&secret)), "no private key is published");
}

#[test]
fn what_others_do_not_take_for_a_key_is_refused() {
    let desk = Desk::with_repository("no-keys");
    let cases: &[(&str, &str)] = &[
        ("empty.pem", ""),
        ("text.pem", "hello\n"),
        ("cut.pem", "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----\n"),
        ("certificate.pem", "-----BEGIN CERTIFICATE-----\nMC4CAQAwBQYDK2Vw\n-----END CERTIFICATE-----\n"),
    ];
    for (name, content) in cases {
        fs::write(desk.path(name), content).unwrap();
        fs::set_permissions(desk.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(desk.refused(&["timestamp", "--keys", "keys", "--key", name]).0, "key-unusable", "{name}");
    }
    assert_eq!(desk.refused(&["timestamp", "--key", "missing.pem"]).0, "key-unusable");
}

#[test]
fn the_daily_job_keeps_the_repository_fresh() {
    let desk = Desk::with_repository("daily");
    desk.ok(&add(&samples("good/app.tar"), &["--keys", "keys"]));
    let later = "2030-01-07T00:00:00Z";
    desk.verify("good/app.tar", "store", &["--time", "2030-01-09T00:00:00Z"]).is_refused("metadata-expired");
    // The job has the timestamp's key and no other.
    let said = desk.ok(&["timestamp", "--key", "keys/timestamp.pem", "--time", later]);
    assert_eq!(said, "published: timestamp version 3\n");
    desk.verify("good/app.tar", "store", &["--time", "2030-01-09T00:00:00Z"]).is_trusted();
    // With the snapshot's as well, it renews that before it expires.
    let late = "2030-01-25T00:00:00Z";
    let said = desk.ok(&["timestamp", "--key", "keys/timestamp.pem", "--key", "keys/snapshot.pem", "--time", late]);
    assert_eq!(said, "published: snapshot version 3, timestamp version 4\n");
    // A fresh timestamp on what has expired helps nobody, so it is not made.
    let (code, message) = desk.refused(&["timestamp", "--keys", "keys", "--time", "2031-03-01T00:00:00Z"]);
    assert_eq!(code, "publication-refused");
    assert!(message.contains("targets: expired") || message.contains("root: expired"), "{message}");
    assert!(message.contains("--renew` makes a new version of it"), "{message}");
    // As it says; the root first, for that is what clients look at first.
    desk.ok(&["sign", "root", "--renew", "--keys", "keys", "--time", "2031-03-01T00:00:00Z", "--stage"]);
    desk.ok(&["sign", "targets", "--renew", "--keys", "keys", "--time", "2031-03-01T00:00:00Z"]);
    let said = desk.ok(&["timestamp", "--keys", "keys", "--time", "2031-03-01T00:00:00Z"]);
    assert!(said.contains("published: timestamp"), "{said}");
    // Without the key there is nothing to be done.
    desk.waits(&["timestamp", "--key", "keys/root.pem", "--time", late]);
}

#[test]
fn the_status_says_what_expires_and_fails_if_it_has() {
    let desk = Desk::with_repository("status");
    let status = |more: &[&str]| desk.repository(&[&["status"], more].concat());
    let output = status(&[]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stdout);
    assert!(said.contains("timestamp: version 1, expires 2030-01-08T00:00:00Z"), "{said}");
    assert!(said.ends_with("first to expire: timestamp\n"), "{said}");
    assert_eq!(status(&["--within", "6d"]).status.code(), Some(0));
    assert_eq!(status(&["--within", "7d"]).status.code(), Some(1));
    let output = status(&["--time", "2030-01-08T00:00:00Z"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("timestamp: version 1, EXPIRED 2030-01-08T00:00:00Z"));
    let json = desk.status();
    assert_eq!(json["schema"], "plimsoll/repository/v1");
    assert_eq!(json["roles"].as_array().unwrap().len(), 4);
    // It looks and changes nothing: a read-only copy will do.
    let nowhere = desk.plimsoll(&["repository", "status", "--repository", "nowhere"]);
    assert_eq!(nowhere.status.code(), Some(2));
}

#[test]
fn what_waits_is_outdated_once_somebody_else_has_published() {
    let desk = Desk::with_repository("outdated");
    let good = samples("good/app.tar");
    copy(&desk.path("site"), &desk.path("before"));
    desk.ok(&add(&good, &["--keys", "keys", "--stage"]));
    let staged = fs::read(desk.path("site/staged/metadata/targets.json")).unwrap();
    desk.ok(&["discard", "targets"]);
    desk.ok(&["add-file", "keys/root.pub.pem", "--path", "notes.txt", "--keys", "keys"]);
    fs::write(desk.path("site/staged/metadata/targets.json"), staged).unwrap();
    assert_eq!(desk.status()["staged"][0]["waits_for"], "outdated");
    assert_eq!(desk.refused(&add(&good, &["--keys", "keys"])).0, "staged-outdated");
    let said = desk.waits(&["publish", "--keys", "keys"]);
    assert!(said.contains("outdated") || said.contains("another version"), "{said}");
    desk.ok(&["discard", "targets"]);
    desk.ok(&add(&good, &["--keys", "keys"]));
}

#[test]
fn a_repository_that_was_tampered_with_is_not_gone_on_with() {
    let good = samples("good/app.tar");
    let cases: &[(&str, &str, &str, &str)] = &[
        ("2.targets.json", "registry.example", "registry.exampl3", "repository-damaged"),
        ("timestamp.json", "\"version\":2", "\"version\":9", "repository-damaged"),
        ("1.root.json", "\"threshold\":1", "\"threshold\":2", "repository-damaged"),
        ("2.snapshot.json", "{", "", "repository-damaged"),
    ];
    for (file, from, to, code) in cases {
        let desk = Desk::with_repository("tampered");
        desk.ok(&add(&good, &["--keys", "keys"]));
        let path = desk.path("site/metadata").join(file);
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, before.replacen(from, to, 1)).unwrap();
        assert_ne!(fs::read_to_string(&path).unwrap(), before, "{file}");
        assert_eq!(&desk.refused(&["timestamp", "--keys", "keys"]).0, code, "{file}");
    }
    // A target's file that is gone, or another one, before it was published.
    let desk = Desk::with_repository("tampered");
    desk.ok(&add(&good, &["--keys", "keys", "--stage"]));
    let folder = desk.path("site/staged/targets/registry.example/team/app/1.4");
    let file = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let before = fs::read(&file).unwrap();
    fs::write(&file, [&before[..], b" "].concat()).unwrap();
    assert_eq!(desk.refused(&["publish", "--keys", "keys"]).0, "publication-refused");
    fs::remove_file(&file).unwrap();
    assert_eq!(desk.refused(&["publish", "--keys", "keys"]).0, "target-missing");
    fs::write(&file, before).unwrap();
    desk.ok(&["publish", "--keys", "keys"]);
    desk.verify("good/app.tar", "store", &[]).is_trusted();
}

#[test]
fn a_package_list_is_signed_beside_its_image() {
    let desk = Desk::with_repository("packages");
    let with_list = ["--keys", "keys", "--packages", "packages.spdx.json"];
    fs::write(desk.path("packages.spdx.json"), r#"{"spdxVersion":"SPDX-2.3"}"#).unwrap();
    let (code, message) = desk.refused(&add(&samples("good/app.tar"), &with_list));
    assert!(code == "list-not-verifiable" && message.contains("installed, and not listed"), "{code}: {message}");
    let made = desk.plimsoll(&["packages", &samples("good/app.tar"), "--output", "packages.spdx.json", "--force"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    desk.ok(&add(&samples("good/app.tar"), &with_list));
    let targets = fs::read_to_string(desk.path("site/metadata/2.targets.json")).unwrap();
    assert!(targets.contains("registry.example/team/app/1.4/packages.spdx.json"), "{targets}");
}

#[test]
fn what_others_left_staged_is_no_failure_of_a_publication() {
    let desk = Desk::with_repository("others");
    let team = desk.key("team");
    let paths = ["--paths", "registry.example/other/*/*/*"];
    desk.ok(&[&["delegate", "team", "--role-key", &team, "--key", &team, "--keys", "keys"][..], &paths].concat());
    desk.ok(&[
        "add-file",
        "team.pub.pem",
        "--path",
        "registry.example/other/a/1/x",
        "--role",
        "team",
        "--key",
        &team,
        "--stage",
    ]);
    // Unsigned, as by somebody whose key is not one of the team's any more.
    let staged = desk.path("site/staged/metadata/team.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&staged).unwrap()).unwrap();
    file["signatures"] = json!([]);
    fs::write(&staged, file.to_string()).unwrap();
    let said = desk.ok(&add(&samples("good/app.tar"), &["--keys", "keys"]));
    assert!(
        said.contains("published: targets version 3") && said.contains("staged: team version 2 waits for"),
        "{said}"
    );
    desk.verify("good/app.tar", "store", &[]).is_trusted();
}

#[test]
fn online_roles_of_several_keys_are_signed_in_turn() {
    let desk = Desk::new("online-two");
    let keys = ["s1", "s2", "t1", "t2"].map(|name| desk.key(name));
    let roles = ["snapshot", "snapshot", "timestamp", "timestamp"];
    let mut init: Vec<String> = ["init", "--keys", "keys", "--threshold", "snapshot=2", "--threshold", "timestamp=2"]
        .map(str::to_owned)
        .to_vec();
    for (role, key) in roles.iter().zip(&keys) {
        init.extend(["--role-key".to_owned(), format!("{role}={key}"), "--key".to_owned(), key.clone()]);
    }
    desk.ok(&init.iter().map(String::as_str).collect::<Vec<_>>());
    let [s1, s2, t1, t2] = keys.each_ref().map(String::as_str);

    let said = desk.waits(&add(&samples("good/app.tar"), &["--keys", "keys", "--key", s1]));
    assert!(said.contains("staged: snapshot version 2 waits for 1 more signature"), "{said}");
    assert!(said.contains("staged: targets version 2 waits for the role snapshot"), "{said}");
    let said = desk.ok(&["sign", "snapshot", "--key", s2, "--key", t1]);
    assert!(said.contains("staged: timestamp version 2 waits for 1 more signature"), "{said}");
    let said = desk.ok(&["sign", "timestamp", "--key", t2]);
    assert!(said.contains("published: targets version 2, snapshot version 2, timestamp version 2"), "{said}");
    desk.verify("good/app.tar", "store", &[]).is_trusted();
    // The daily job of two machines.
    desk.waits(&["timestamp", "--key", t1]);
    let said = desk.ok(&["timestamp", "--key", t2]);
    assert_eq!(said, "published: timestamp version 3\n");
}

#[test]
fn every_state_has_a_way_on() {
    let desk = Desk::new("way-on");
    // The keys of the root are elsewhere.
    let root = desk.key("root");
    desk.waits(&["init", "--keys", "keys", "--role-key", "root=root.pub.pem"]);
    assert_eq!(desk.refused(&["init", "--keys", "keys"]).0, "repository-folder");
    desk.ok(&["sign", "root", "--key", &root, "--keys", "keys"]);

    // Half of a delegation taken back, and made again.
    let team = desk.key("team");
    let delegate = ["delegate", "team", "--paths", "team/*", "--role-key", "team.pub.pem", "--keys", "keys"];
    desk.waits(&delegate);
    assert_eq!(desk.refused(&["discard", "team"]).0, "usage");
    assert_eq!(desk.refused(&delegate).0, "usage");
    desk.ok(&["discard", "targets"]);
    desk.ok(&["discard", "team"]);
    desk.waits(&delegate);
    desk.ok(&["sign", "team", "--key", &team, "--keys", "keys"]);

    // Two rotations before either is published, the second of the key that the first brought.
    let (two, three) = (desk.key("two"), desk.key("three"));
    desk.ok(&["rotate", "targets", "--add", &two, "--keys", "keys", "--stage"]);
    desk.ok(&["rotate", "targets", "--remove", "two.pub.pem", "--add", &three, "--keys", "keys", "--stage"]);
    desk.ok(&["rotate", "snapshot", "--add", &two, "--keys", "keys", "--stage"]);
    let said = desk.ok(&["sign", "root", "--key", &root, "--keys", "keys"]);
    assert!(said.contains("published: root version 2"), "{said}");

    // A staged file that is none.
    fs::write(desk.path("site/staged/metadata/targets.json"), "{").unwrap();
    assert_eq!(desk.refused(&["sign", "targets", "--keys", "keys"]).0, "repository-damaged");
    desk.ok(&["timestamp", "--keys", "keys"]);
    desk.ok(&["discard", "targets"]);
    // And a link in the place of a target's file.
    desk.ok(&["add-file", "root.pub.pem", "--path", "notes.txt", "--keys", "keys", "--stage"]);
    let staged = fs::read_dir(desk.path("site/staged/targets")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&staged).unwrap();
    std::os::unix::fs::symlink(desk.path("root.pub.pem"), &staged).unwrap();
    assert_eq!(desk.refused(&["publish", "--keys", "keys"]).0, "target-missing");
    desk.ok(&["add-file", "root.pub.pem", "--path", "notes.txt", "--keys", "keys"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let desk = Desk::with_repository("senseless");
    let team = desk.key("team");
    let keys = ["--keys", "keys"];
    let cases: &[(&[&str], &str)] = &[
        (&["init", "--keys", "keys"], "repository-folder"),
        (&["delegate", "Root", "--paths", "a/*", "--role-key", &team], "usage"),
        (&["delegate", "", "--paths", "a/*", "--role-key", &team], "usage"),
        (&["delegate", "root", "--paths", "a/*", "--role-key", &team], "usage"),
        (&["delegate", "team", "--paths", "a/*", "--role-key", &team, "--threshold", "2"], "usage"),
        (&["delegate", "team", "--paths", "a/*", "--role-key", &team, "--threshold", "0"], "usage"),
        (&["delegate", "team", "--paths", "a/*", "--role-key", &team, "--from", "nobody"], "role-unknown"),
        (&["rotate", "targets", "--remove", "00000000"], "usage"),
        (&["rotate", "targets", "--remove", "keys/targets.pub.pem"], "usage"),
        (&["rotate", "targets", "--add", "keys/targets.pub.pem"], "usage"),
        (&["rotate", "nobody", "--add", &team], "role-unknown"),
        (&["rotate", "root", "--threshold", "2"], "usage"),
        (&["sign", "nobody"], "nothing-to-sign"),
        (&["sign", "targets"], "nothing-to-sign"),
        (&["discard", "targets"], "nothing-to-sign"),
        (&["remove", "--path", "nothing"], "usage"),
        (&["add-file", "keys/root.pub.pem", "--path", "a", "--role", "nobody"], "role-unknown"),
        (&["add-file", "keys/root.pub.pem", "--path", "a", "--role", "timestamp"], "role-unknown"),
        (&["add-file", "keys", "--path", "a"], "repository-unusable"),
    ];
    for (arguments, code) in cases {
        let arguments = if arguments.contains(&"init") || arguments[0] == "discard" {
            arguments.to_vec()
        } else {
            [*arguments, &keys].concat()
        };
        assert_eq!(&desk.refused(&arguments).0, code, "{arguments:?}");
    }
    assert_eq!(desk.status()["staged"], json!([]), "nothing was staged by what was refused");
}

/// With `--target-path`, where one is to be given.
fn with_template(template: Option<&str>) -> Vec<&str> {
    template.map_or_else(Vec::new, |template| vec!["--target-path", template])
}

#[test]
fn a_repository_that_allows_one_folder_for_each_role_holds_images_by_a_flat_template() {
    // As tuf-on-ci has it: the role `role` signs the files in the folder `role`, and no folder below.
    let template = "role/{host}~{repository}~{tag}~{file}";
    let desk = Desk::new("flat-role");
    let role = desk.key("role");
    desk.ok(&["init", "--keys", "keys", "--target-path", template]);
    desk.ok(&["delegate", "role", "--paths", "role/*", "--role-key", &role, "--key", &role, "--keys", "keys"]);
    let archive = samples("good/app.tar");
    desk.ok(&["add", &archive, "--image", IMAGE, "--role", "role", "--key", &role, "--keys", "keys"]);

    let verdict = desk.verify("good/app.tar", "store", &with_template(Some(template)));
    assert_eq!(verdict.signed_by(), r#"["targets","role"]"#);
    // What is not said is not guessed, and never taken from the repository.
    desk.verify("good/app.tar", "store", &[]).is_refused("image-not-signed");
    let other = "role/{host}~{repository}~{tag}/{file}";
    desk.verify("good/app.tar", "store", &with_template(Some(other))).is_refused("image-not-signed");
    desk.verify("hostile/changed-layer/app.tar", "store", &with_template(Some(template)))
        .is_refused("layer-diff-id-mismatch");

    // A file beside it, and all of it gone again.
    let list = desk.path("packages.spdx.json");
    fs::write(&list, "{}").unwrap();
    let list = list.display().to_string();
    desk.ok(&["add-file", &list, "--image", IMAGE, "--role", "role", "--key", &role, "--keys", "keys"]);
    let removed = desk.ok(&["remove", "--image", IMAGE, "--key", &role, "--keys", "keys"]);
    for file in ["manifest.json", "packages.spdx.json"] {
        let path = format!("role/registry.example~team~app~1.4~{file}");
        assert!(removed.contains(&path), "{removed}");
    }
    desk.verify("good/app.tar", "store", &with_template(Some(template))).is_refused("image-not-signed");
}

#[test]
fn a_repository_of_bare_file_names_holds_images_by_a_flat_template() {
    // As tuftool has it: no folder at all.
    let template = "{host}~{repository}~{tag}~{file}";
    let desk = Desk::new("flat-bare");
    desk.ok(&["init", "--keys", "keys", "--target-path", template]);
    desk.ok(&["add", &samples("good/app.tar"), "--image", IMAGE, "--keys", "keys"]);
    let files: Vec<String> = fs::read_dir(desk.path("site/targets"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files.len(), 1);
    assert!(files[0].ends_with(".registry.example~team~app~1.4~manifest.json"), "{files:?}");

    let verdict = desk.verify("good/app.tar", "store", &with_template(Some(template)));
    assert_eq!(verdict.signed_by(), r#"["targets"]"#);
    desk.verify("good/app.tar", "store", &[]).is_refused("image-not-signed");
}

#[test]
fn a_template_that_could_give_one_path_to_two_images_is_refused_on_both_sides() {
    let desk = Desk::new("bad-template");
    for template in
        ["{host}/{repository}-{tag}/{file}", "{host}/{repository}/{file}", "/{host}/{repository}/{tag}/{file}"]
    {
        let init = desk.repository(&["init", "--keys", "keys", "--target-path", template]);
        assert_eq!(init.status.code(), Some(2), "{template}");
        assert!(!desk.path("site").exists() && !desk.path("keys").exists());
    }
    desk.ok(&["init", "--keys", "keys"]);
    let archive = samples("good/app.tar");
    let arguments = ["verify", &archive, "--repository", "site", "--root", "site/metadata/1.root.json"];
    let verify = |template| desk.plimsoll(&[&arguments[..], &["--target-path", template]].concat());
    let output = verify("{host}/{repository}-{tag}/{file}");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("expected text that cannot be a part of {tag}"), "{}", text(&output.stderr));
    assert_eq!(verify("{host}/{repository}/{tag}/{file}").status.code(), Some(1), "the image is not signed");
}

/// What somebody with write access leaves staged: a copy of a role's published file, the next version, changed and not signed.
fn plant(desk: &Desk, role: &str, change: impl FnOnce(&mut Value)) {
    let name =
        |version: u64| if role == "timestamp" { "timestamp.json".to_owned() } else { format!("{version}.{role}.json") };
    let metadata = desk.path("site/metadata");
    let newest = (1..20).rev().map(|version| metadata.join(name(version))).find(|path| path.exists()).unwrap();
    let mut file: Value = serde_json::from_slice(&fs::read(newest).unwrap()).unwrap();
    file["signatures"] = json!([]);
    file["signed"]["version"] = json!(file["signed"]["version"].as_u64().unwrap() + 1);
    change(&mut file["signed"]);
    fs::write(desk.path(&format!("site/staged/metadata/{role}.json")), file.to_string()).unwrap();
}

/// A file that is signed nowhere, and its entry in the targets.
fn plant_target(desk: &Desk, path: &str) {
    let content = b"planted";
    let hash = hex(ring::digest::digest(&ring::digest::SHA256, content).as_ref());
    fs::write(desk.path("site/staged/targets").join(format!("{hash}.{path}")), content).unwrap();
    plant(desk, "targets", |signed| {
        signed["targets"][path] = json!({"length": content.len(), "hashes": {"sha256": hash}});
    });
}

#[test]
fn what_somebody_else_left_staged_is_not_signed_along_with_a_change() {
    let team = |desk: &Desk| desk.key("team");
    let cases: &[(&str, &[&str])] = &[
        ("add", &["add-file", "team.pem", "--path", "notes.txt"]),
        ("remove", &["remove", "--path", "old.txt"]),
        ("delegate", &["delegate", "team", "--paths", "a/*", "--role-key", "team.pem", "--key", "team.pem"]),
        ("rotate", &["rotate", "targets", "--add", "team.pem"]),
        ("rotate-other", &["rotate", "timestamp", "--add", "team.pem"]),
        ("rotate-valid", &["rotate", "targets", "--add", "team.pem", "--valid", "30d"]),
    ];
    for (name, arguments) in cases {
        let all = [arguments, &["--keys", "keys"][..]].concat();
        // Without what is planted the same is done and published.
        for is_planted in [false, true] {
            let desk = Desk::with_repository(&format!("planted-{name}"));
            team(&desk);
            desk.ok(&["add-file", "team.pub.pem", "--path", "old.txt", "--keys", "keys"]);
            if is_planted {
                plant_target(&desk, "evil.txt");
                // A rotation alone is in the root, and that is published.
                let is_apart = ["rotate", "rotate-other"].contains(name);
                let said = if is_apart { desk.ok(&all) } else { desk.waits(&all) };
                assert!(said.contains("targets version 3 waits for 1 more signature"), "{name}: {said}");
            } else {
                desk.ok(&all);
            }
            let published = desk.published();
            assert!(published.iter().all(|(_, file)| !text(file).contains("evil.txt")), "{name}");
            if is_planted {
                // Who has looked at it can sign it, or do away with it.
                assert!(desk.status()["staged"].to_string().contains("+ evil.txt sha256:"), "{name}");
                desk.ok(&["discard", "targets"]);
            }
        }
    }
    // One's own changes are built upon.
    let desk = Desk::with_repository("planted-not");
    team(&desk);
    for (path, more) in [("one.txt", &["--stage"][..]), ("two.txt", &[])] {
        desk.ok(&[&["add-file", "team.pub.pem", "--path", path, "--keys", "keys"][..], more].concat());
    }
    let (_, targets) = desk.published().into_iter().find(|(name, _)| name == "2.targets.json").unwrap();
    assert!(text(&targets).contains("one.txt") && text(&targets).contains("two.txt"));
}

#[test]
fn a_renewal_says_the_same_and_nothing_that_somebody_left_staged() {
    let desk = Desk::with_repository("planted-renewal");
    plant_target(&desk, "evil.txt");
    let (code, message) = desk.refused(&["sign", "targets", "--renew", "--keys", "keys"]);
    assert_eq!(code, "usage");
    assert!(message.contains("other changes of the role \"targets\" wait already"), "{message}");
    desk.ok(&["discard", "targets"]);
    // Once more what waits already is no other change.
    desk.ok(&["sign", "targets", "--renew", "--keys", "keys", "--stage"]);
    let said = desk.ok(&["sign", "targets", "--renew", "--keys", "keys"]);
    assert!(said.contains("published: targets version 2"), "{said}");
}

#[test]
fn what_somebody_left_of_snapshot_and_timestamp_is_made_anew() {
    let fields: &[(&str, Value)] = &[
        ("expires", json!("2999-01-01T00:00:00Z")),
        ("x-plimsoll-valid-seconds", json!(900_000_000)),
        ("x-other", json!("planted")),
    ];
    for (field, value) in fields {
        let desk = Desk::with_repository("planted-online");
        plant(&desk, "timestamp", |signed| signed[*field] = value.clone());
        plant(&desk, "snapshot", |signed| signed[*field] = value.clone());
        desk.ok(&["add-file", "keys/root.pub.pem", "--path", "notes.txt", "--keys", "keys"]);
        desk.ok(&["timestamp", "--keys", "keys"]);
        for (name, file) in desk.published() {
            let file: Value = serde_json::from_slice(&file).unwrap();
            let expires = file["signed"]["expires"].as_str().unwrap();
            assert!(expires <= "2031-01-01T00:00:00Z", "{name} expires {expires}");
            assert_ne!(&file["signed"][*field], value, "{name}: {field}");
        }
    }
}

#[test]
fn what_waits_does_not_keep_the_daily_job_from_its_work() {
    let job = |desk: &Desk| desk.ok(&["timestamp", "--key", "keys/timestamp.pem"]);
    // A role that is signed, and whose snapshot the job has no key for.
    let desk = Desk::with_repository("daily-held-up");
    desk.waits(&["add-file", "keys/root.pub.pem", "--path", "notes.txt", "--key", "keys/targets.pem"]);
    let said = job(&desk);
    assert!(said.starts_with("published: timestamp version 2\nstaged: "), "{said}");
    assert!(said.contains("targets version 2 waits for the role snapshot"), "{said}");
    let said = desk.ok(&["publish", "--keys", "keys"]);
    assert!(said.contains("published: targets version 2, snapshot version 2, timestamp version 3"), "{said}");

    // A snapshot that needs two keys, and is due.
    let desk = Desk::new("daily-snapshot-of-two");
    let (a, b) = (desk.key("a"), desk.key("b"));
    let (of_a, of_b) = (format!("snapshot={a}"), format!("snapshot={b}"));
    let two = ["--role-key", &of_a, "--role-key", &of_b, "--threshold", "snapshot=2", "--key", &a, "--key", &b];
    desk.ok(&[&["init", "--keys", "keys"][..], &two].concat());
    let late = ["--time", "2030-01-25T00:00:00Z"];
    let said = desk.ok(&[&["timestamp", "--key", "keys/timestamp.pem", "--key", &a][..], &late].concat());
    assert!(said.starts_with("published: timestamp version 2\n"), "{said}");
    assert!(said.contains("snapshot version 2 waits for 1 more signature"), "{said}");
    let said = desk.ok(&[&["sign", "snapshot", "--key", &b, "--keys", "keys"][..], &late].concat());
    assert!(said.contains("published: snapshot version 2, timestamp version 3"), "{said}");

    // What clients would refuse is still said, and they have a fresh timestamp on the rest.
    let desk = Desk::with_repository("daily-refused");
    desk.ok(&["add-file", "keys/root.pub.pem", "--path", "notes.txt", "--keys", "keys", "--stage"]);
    let staged = fs::read_dir(desk.path("site/staged/targets")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(staged).unwrap();
    assert_eq!(desk.repository(&["timestamp", "--keys", "keys"]).status.code(), Some(2));
    assert_eq!(desk.status()["roles"][1]["version"], 2);
    assert_eq!(desk.status()["staged"][0]["role"], "targets");
}

#[test]
fn what_cannot_be_read_among_what_is_staged_stops_nothing_else() {
    let desk = Desk::with_repository("unreadable");
    for (role, content) in [("team", "no JSON"), ("targets", "{}")] {
        fs::write(desk.path(&format!("site/staged/metadata/{role}.json")), content).unwrap();
    }
    desk.ok(&["timestamp", "--keys", "keys"]);
    let status = desk.status();
    assert_eq!(status["unreadable"].as_object().unwrap().len(), 2, "{status}");
    let add = ["add-file", "keys/root.pub.pem", "--path", "notes.txt", "--keys", "keys"];
    let (code, message) = desk.refused(&add);
    assert_eq!(code, "repository-damaged");
    assert!(message.contains("discard it"), "{message}");
    desk.ok(&["discard", "targets"]);
    desk.ok(&["discard", "team"]);
    assert_eq!(desk.refused(&["discard", "team"]).0, "nothing-to-sign");
    desk.ok(&add);
}

#[test]
fn a_link_is_not_published_for_a_file() {
    let desk = Desk::with_repository("link");
    desk.ok(&["add-file", "keys/root.pub.pem", "--path", "notes.txt", "--keys", "keys", "--stage"]);
    let staged = fs::read_dir(desk.path("site/staged/targets")).unwrap().next().unwrap().unwrap().path();
    fs::rename(&staged, desk.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(desk.path("elsewhere"), &staged).unwrap();
    assert_eq!(desk.refused(&["publish", "--keys", "keys"]).0, "target-missing");
    fs::remove_file(&staged).unwrap();
    fs::rename(desk.path("elsewhere"), &staged).unwrap();
    desk.ok(&["publish", "--keys", "keys"]);
}

#[test]
fn the_status_hides_no_change_from_who_is_to_sign_it() {
    type Edit = dyn Fn(&mut Value);
    let change = |role: &str, change: &Edit| {
        let desk = Desk::with_repository("hidden");
        for team in ["one", "other"] {
            let key = desk.key(team);
            desk.ok(&["delegate", team, "--paths", "a/*", "--role-key", &key, "--key", &key, "--keys", "keys"]);
        }
        plant(&desk, role, change);
        desk.status()["staged"][0]["changes"].to_string()
    };
    let cases: &[(&str, &str, &Edit)] = &[
        ("targets", "~ nothing but version and expiry", &|_| {}),
        ("targets", "~ x-other: ", &|signed| signed["x-other"] = json!(1)),
        ("root", "~ consistent_snapshot: false", &|signed| signed["consistent_snapshot"] = json!(false)),
        ("root", "~ x-plimsoll-online-valid-seconds: ", &|signed| {
            signed["x-plimsoll-online-valid-seconds"]["timestamp"] = json!(900_000_000);
        }),
        ("targets", "another key under the same id", &|signed| {
            let keys = signed["delegations"]["keys"].as_object_mut().unwrap();
            let first = keys.values().next().unwrap().clone();
            keys.values_mut().for_each(|key| *key = first.clone());
        }),
        ("targets", "~ order of delegations", &|signed| {
            signed["delegations"]["roles"].as_array_mut().unwrap().reverse();
        }),
    ];
    for (role, expected, changed) in cases {
        let said = change(role, changed);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn for_how_long_versions_are_good_can_be_changed_for_every_role() {
    let desk = Desk::with_repository("validity");
    let new = desk.key("keys/new");
    for (role, place, expires) in [
        ("root", 0, "2030-01-11T00:00:00Z"),
        ("timestamp", 1, "2030-01-11T00:00:00Z"),
        ("snapshot", 2, "2030-01-11T00:00:00Z"),
        ("targets", 3, "2030-01-11T00:00:00Z"),
    ] {
        desk.ok(&["rotate", role, "--add", &new, "--valid", "10d", "--keys", "keys"]);
        // A snapshot is made when there is something new.
        desk.ok(&["add-file", "keys/root.pub.pem", "--path", "notes.txt", "--keys", "keys"]);
        let status = desk.status();
        assert_eq!(status["roles"][place]["role"], role);
        assert_eq!(status["roles"][place]["expires"], expires, "{role}");
    }
}

#[test]
fn no_key_is_made_where_it_would_be_given_away_or_not_protected() {
    let desk = Desk::new("careless");
    // Neither the folder of the keys nor the repository is there yet.
    assert_eq!(desk.refused(&["init", "--keys", "site/keys"]).0, "usage");
    assert!(!desk.path("site").exists());
    let generate = |file: &str, variable: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.env_clear().env("PLIMSOLL_PASSPHRASE", variable).current_dir(&desk.0).stdin(Stdio::null());
        command.args(["key", "generate", file, "--passphrase"]).output().unwrap().status.code()
    };
    assert_eq!(generate("empty.pem", ""), Some(2));
    assert!(!desk.path("empty.pem").exists());
    fs::write(desk.path("taken.pub.pem"), "").unwrap();
    assert_eq!(generate("taken.pem", "secret"), Some(2));
    assert!(!desk.path("taken.pem").exists(), "no private key without its public half");
    assert_eq!(generate("good.pem", "secret"), Some(0));
}

#[test]
fn a_role_name_with_a_line_break_stops_nobody() {
    let desk = Desk::with_repository("line-break");
    let team = desk.key("team");
    let delegate = |role: &'static str| {
        vec!["delegate", role, "--paths", "a/*", "--role-key", "team.pem", "--key", "team.pem", "--keys", "keys"]
    };
    for name in ["new\nline", "red\u{1b}[31m", "right\u{202e}left", "", "root"] {
        assert_eq!(desk.refused(&delegate(name)).0, "usage", "{name:?}");
    }
    desk.ok(&delegate("a b"));
    // Another tool lets it pass, and a team need ask nobody what it calls a role of its own.
    let entry = |file: &str| fs::read_to_string(desk.path(file)).unwrap();
    desk.ok(&[
        &["delegate", "inner", "--from", "a b", "--paths", "a/b", "--role-key", &team][..],
        &["--key", &team, "--stage"],
    ]
    .concat());
    for file in ["a%20b.json", "inner.json"] {
        let path = format!("site/staged/metadata/{file}");
        fs::write(desk.path(&path), entry(&path).replace("\"inner\"", "\"in\\nner\"")).unwrap();
    }
    fs::rename(desk.path("site/staged/metadata/inner.json"), desk.path("site/staged/metadata/in%0Aner.json")).unwrap();
    // The role's own file does not say what it is called, so its signature still holds.
    desk.ok(&["sign", "a b", "--key", &team, "--stage"]);
    let said = desk.ok(&["publish", "--keys", "keys"]);
    assert!(said.contains("in\\nner version 1"), "{said}");
    desk.ok(&["add-file", "keys/root.pub.pem", "--path", "notes.txt", "--keys", "keys"]);
    desk.ok(&["timestamp", "--keys", "keys"]);
}

#[test]
fn half_a_beginning_is_not_called_well_and_can_be_done_again() {
    let desk = Desk::new("half-begun");
    let key = desk.key("offline");
    desk.waits(&["init", "--keys", "keys", "--role-key", "root=offline.pub.pem"]);
    // Nothing can be published before the root is signed, and that is no success.
    let said = desk.waits(&["publish", "--keys", "keys"]);
    assert!(said.contains("targets version 1 waits for the role root"), "{said}");
    desk.ok(&["discard", "root"]);
    let said = desk.waits(&["status"]);
    assert!(said.contains("waits for the role root"), "{said}");
    desk.ok(&["discard", "targets"]);
    desk.ok(&["init", "--keys", "keys", "--role-key", "root=offline.pub.pem", "--key", &key]);
    desk.ok(&["publish", "--keys", "keys"]);
}

#[test]
fn a_new_root_leaves_what_else_is_kept_beside_the_metadata() {
    let desk = Desk::with_repository("beside");
    let key = desk.key("keys/new");
    let metadata = desk.path("site/metadata");
    fs::create_dir(metadata.join("kept")).unwrap();
    fs::write(metadata.join("kept/notes"), "ours").unwrap();
    fs::write(metadata.join("README"), "ours, too").unwrap();
    std::os::unix::fs::symlink("README", metadata.join("link")).unwrap();
    fs::set_permissions(&metadata, fs::Permissions::from_mode(0o750)).unwrap();
    desk.ok(&["rotate", "timestamp", "--add", &key, "--keys", "keys"]);
    assert!(metadata.join("2.root.json").exists());
    assert_eq!(fs::read_to_string(metadata.join("kept/notes")).unwrap(), "ours");
    assert_eq!(fs::read_to_string(metadata.join("link")).unwrap(), "ours, too");
    assert_eq!(fs::metadata(&metadata).unwrap().permissions().mode() & 0o777, 0o750);
    assert!(!desk.path("site/.new-metadata").exists());
    desk.verify("good/app.tar", "store", &[]).is_refused("image-not-signed");
}

#[test]
fn a_role_does_not_wait_for_a_change_that_waits_itself() {
    let desk = Desk::with_repository("not-together");
    let (inner, outer) = (desk.key("inner"), desk.key("outer"));
    let delegate = |role: &str, from: &str, key: &str| {
        desk.ok(&[
            "delegate",
            role,
            "--from",
            from,
            "--paths",
            "a/*",
            "--role-key",
            key,
            "--key",
            key,
            "--key",
            &outer,
            "--keys",
            "keys",
        ]);
    };
    delegate("b-outer", "targets", &outer);
    delegate("a-inner", "b-outer", &inner);
    let add = ["add-file", "keys/root.pub.pem", "--path", "a/b", "--role", "a-inner", "--key", &inner];
    desk.waits(&add);
    // Nobody has signed yet that the inner role is to have other keys, so it has those that it had.
    plant(&desk, "b-outer", |signed| {
        let delegations = &mut signed["delegations"];
        let file: Value = serde_json::from_slice(&fs::read(desk.path("site/metadata/1.root.json")).unwrap()).unwrap();
        let id = file["signed"]["roles"]["root"]["keyids"][0].as_str().unwrap();
        delegations["keys"] = json!({id: file["signed"]["keys"][id]});
        delegations["roles"][0]["keyids"] = json!([id]);
    });
    let said = desk.ok(&["publish", "--key", "keys/snapshot.pem", "--key", "keys/timestamp.pem"]);
    assert!(said.contains("published: a-inner version 2,"), "{said}");
    assert!(said.contains("b-outer version 3 waits for 1 more signature"), "{said}");
}
