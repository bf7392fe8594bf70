//! The client as the TUF conformance suite sees it: a command, a folder of trusted metadata, a folder of targets, and the requests that
//! reach the server (feature `http`).
//!
//! `cargo test` builds examples before it runs tests, but not if one test file is asked for alone; then first
//!
//! ```sh
//! cargo build --features http --example tuf_client
//! ```

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests state what they expect")]
#![allow(clippy::type_complexity, reason = "tables")]

mod support;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::SystemTime;

use plimsoll::client::encoded;
use ring::digest;
use serde_json::{Value, json};
use support::repo::{ROOT, Repo, SNAPSHOT, Signer, TIMESTAMP, hex, sha256};
use support::server::{Server, hang_up, redirect, status};
use support::tls;

const NEW: Signer = Signer(40);
const OTHER: Signer = Signer(41);

/// One client with its folders, and the server that it knows.
struct Suite {
    client: PathBuf,
    folder: PathBuf,
    repo: Repo,
    server: Server,
}

/// `None`, said where the test runner does not hide it, if a program is missing. With `PLIMSOLL_REQUIRE_TOOLS=1` that is a failure.
fn skip(missing: &str) -> Option<Suite> {
    assert!(env::var_os("PLIMSOLL_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "{missing}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Past the test runner, which would hide it.
    std::io::stderr().write_all(format!("skipped: {test}: {missing}\n").as_bytes()).unwrap();
    None
}

/// When the client's source was last changed. A stale client would be tested in the place of this one.
fn newest_source() -> SystemTime {
    static NEWEST: LazyLock<SystemTime> = LazyLock::new(|| {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut pending = vec![top.join("src"), top.join("examples/tuf_client.rs")];
        let mut newest = SystemTime::UNIX_EPOCH;
        while let Some(path) = pending.pop() {
            if path.is_dir() {
                pending.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                newest = newest.max(fs::metadata(path).unwrap().modified().unwrap());
            }
        }
        newest
    });
    *NEWEST
}

impl Suite {
    /// A client that was initialised with the first root of `repo`.
    fn new(test: &str, repo: Repo) -> Option<Self> {
        let tests = env::current_exe().unwrap();
        let target = tests.parent().and_then(Path::parent).unwrap();
        let client = target.join("examples").join(format!("tuf_client{}", env::consts::EXE_SUFFIX));
        let Ok(built) = fs::metadata(&client).and_then(|client| client.modified()) else {
            return skip("no tuf_client; build it with: cargo build --features http --example tuf_client");
        };
        assert!(built >= newest_source(), "stale; run: cargo build --features http --example tuf_client");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance").join(test);
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(folder.join("targets")).unwrap();
        let server = Server::new(&repo);
        let suite = Self { client, folder, repo, server };
        fs::write(suite.folder.join("initial.json"), suite.repo.pinned()).unwrap();
        assert_eq!(suite.init(), 0);
        Some(suite)
    }

    fn run(&self, mut command: Command, arguments: &[&str]) -> i32 {
        self.server.publish(&self.repo);
        let metadata = self.folder.join("metadata");
        command.env_remove("ALL_PROXY").env_remove("all_proxy").env_remove("HTTP_PROXY").env_remove("http_proxy");
        command.env("SSL_CERT_FILE", tls::AUTHORITY);
        command.arg("--metadata-dir").arg(metadata).args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        let code = output.status.code().unwrap();
        assert_eq!(code != 0, !output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty());
        code
    }

    fn init(&self) -> i32 {
        let root = self.folder.join("initial.json").display().to_string();
        self.run(Command::new(&self.client), &["init", &root])
    }

    fn refresh(&self) -> i32 {
        self.refresh_by(Command::new(&self.client))
    }

    /// The clock shows another time, by faketime.
    fn refresh_at(&self, time: &str) -> i32 {
        self.refresh_by(self.client_at(time))
    }

    fn client_at(&self, time: &str) -> Command {
        let mut command = Command::new("faketime");
        command.arg(time).arg(&self.client);
        command
    }

    fn refresh_by(&self, command: Command) -> i32 {
        self.refresh_from(command, &self.server)
    }

    fn refresh_from(&self, command: Command, server: &Server) -> i32 {
        self.run(command, &["--metadata-url", &format!("{}metadata/", server.url), "refresh"])
    }

    fn download(&self, targets: &[&str]) -> i32 {
        self.download_by(Command::new(&self.client), targets)
    }

    fn download_by(&self, command: Command, targets: &[&str]) -> i32 {
        let (metadata, base) = (format!("{}metadata/", self.server.url), format!("{}targets/", self.server.url));
        let folder = self.folder.join("targets").display().to_string();
        let mut arguments = vec!["--metadata-url", &metadata, "--target-dir", &folder, "--target-base-url", &base];
        for target in targets {
            arguments.extend(["--target-name", target]);
        }
        arguments.push("download");
        self.run(command, &arguments)
    }

    /// What is trusted: file names without `.json`, and the versions in them.
    fn trusted(&self) -> Vec<(String, u64)> {
        let mut roles = Vec::new();
        for entry in fs::read_dir(self.folder.join("metadata")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if let Some(role) = name.strip_suffix(".json") {
                let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                roles.push((role.to_owned(), file["signed"]["version"].as_u64().unwrap()));
            }
        }
        roles.sort();
        roles
    }

    /// Versions of root, timestamp, snapshot and targets; 0 for what is not there.
    fn versions(&self) -> [u64; 4] {
        let trusted = self.trusted();
        let version = |role: &str| trusted.iter().find(|(name, _)| name == role).map_or(0, |(_, version)| *version);
        [version("root"), version("timestamp"), version("snapshot"), version("targets")]
    }

    fn targets(&self) -> BTreeSet<Vec<u8>> {
        let entries = fs::read_dir(self.folder.join("targets")).unwrap();
        entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
    }

    fn local(&self, name: &str) -> PathBuf {
        self.folder.join("metadata").join(name)
    }
}

macro_rules! suite {
    ($test:literal, $repo:expr) => {
        match Suite::new($test, $repo) {
            Some(suite) => suite,
            None => return,
        }
    };
}

#[test]
fn init_checks_nothing_and_asks_nobody() {
    let s = suite!("init", Repo::new());
    assert_eq!(s.trusted(), [("root".to_owned(), 1)]);
    for root in [&b"not a root"[..], b"", &s.repo.files["metadata/timestamp.json"]] {
        fs::write(s.folder.join("initial.json"), root).unwrap();
        assert_eq!(s.init(), 0);
        assert_eq!(s.refresh(), 1, "5.2");
    }
    assert_eq!(s.server.take_requests(), Vec::<String>::new(), "nothing is asked for by a root that cannot be used");
    fs::write(s.folder.join("initial.json"), s.repo.pinned()).unwrap();
    assert_eq!((s.init(), s.refresh()), (0, 0));
}

#[test]
fn a_refresh_stores_what_it_trusts_byte_for_byte_and_asks_for_no_more() {
    let mut s = suite!("refresh", Repo::new());
    // Bytes that no writer of JSON would choose.
    s.repo.files.get_mut("metadata/timestamp.json").unwrap().extend(b" \n ");
    assert_eq!(s.refresh(), 0);
    assert_eq!(s.server.take_requests(), ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]);
    for (local, served) in
        [("root", "1.root"), ("timestamp", "timestamp"), ("snapshot", "1.snapshot"), ("targets", "1.targets")]
    {
        let served = &s.repo.files[&format!("metadata/{served}.json")];
        assert_eq!(fs::read(s.local(&format!("{local}.json"))).unwrap(), *served, "{local}");
    }
    assert_eq!(s.trusted().len(), 4);

    // Nothing changed: two requests.
    assert_eq!(s.refresh(), 0);
    assert_eq!(s.server.take_requests(), ["2.root.json", "timestamp.json"]);
    // Only the targets changed: one root more is looked for, and the new files are fetched.
    s.repo.publish();
    assert_eq!(s.refresh(), 0);
    assert_eq!(s.server.take_requests(), ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"]);
    // A download refreshes first, also when there is nothing to download.
    s.repo.publish();
    assert_eq!(s.download(&["nonexistent"]), 1);
    assert_eq!(s.server.take_requests(), ["2.root.json", "timestamp.json", "3.snapshot.json", "3.targets.json"]);
}

#[test]
fn without_consistent_snapshots_names_have_no_prefix() {
    let mut repo = Repo::new();
    repo.signed("root")["consistent_snapshot"] = json!(false);
    repo.files.clear();
    repo.delegate("targets", "team", &["a/*"], &[NEW], false).target("team", "a/b", b"content").write();
    let s = suite!("not_consistent", repo);
    assert_eq!(s.download(&["a/b"]), 0);
    let expected = ["2.root.json", "timestamp.json", "snapshot.json", "targets.json", "team.json", "targets/a/b"];
    assert_eq!(s.server.take_requests(), expected);
}

#[test]
fn each_role_is_stored_as_soon_as_it_is_trusted() {
    // Version 2 of everything, with one role wrong in one way: what comes before it is trusted, and nothing from it on.
    let wrongs: &[(&str, fn(&mut Repo, &str))] = &[
        ("not signed", |repo, role| repo.role(role).signers.clear()),
        ("signed by another key", |repo, role| repo.role(role).signers = vec![OTHER]),
        ("missing", |repo, role| drop(repo.files.remove(&repo.file_name(role)))),
        ("another version than its name", |repo, role| {
            repo.signed(role)["version"] = json!(9);
        }),
        ("another type", |repo, role| repo.signed(role)["_type"] = json!("mirrors")),
        ("expired", |repo, role| repo.signed(role)["expires"] = json!("2020-01-01T00:00:00Z")),
    ];
    for (name, wrong) in wrongs {
        for (role, expected) in
            [("root", [1, 1, 1, 1]), ("timestamp", [2, 1, 1, 1]), ("snapshot", [2, 2, 1, 1]), ("targets", [2, 2, 2, 1])]
        {
            // A root that is not there is none; an expired one is stored before its expiry is looked at [5.3.10]; a timestamp's
            // version is in no name.
            let expected = match (*name, role) {
                ("missing", "root") | ("another version than its name", "timestamp") => continue,
                ("expired", "root") => [2, 1, 1, 1],
                _ => expected,
            };
            let mut s = suite!("in_order", Repo::new());
            assert_eq!(s.refresh(), 0);
            s.repo.bump("root").publish();
            s.repo.write_role("root");
            let file = s.repo.file_name(role);
            wrong(&mut s.repo, role);
            if s.repo.files.contains_key(&file) {
                let bytes = s.repo.sign(role);
                s.repo.files.insert(file, bytes);
            }
            assert_eq!(s.refresh(), 1, "{role}: {name}");
            assert_eq!(s.versions(), expected, "{role}: {name}");
        }
    }
}

#[test]
fn a_server_that_fails_is_not_a_server_without_the_file() {
    let s = suite!("failing", Repo::new());
    assert_eq!(s.refresh(), 0);
    s.server.answer("metadata/2.root.json", |stream| status(stream, "403 Forbidden", ""));
    assert_eq!(s.refresh(), 0);
    s.server.answer("metadata/2.root.json", |stream| status(stream, "500 Internal Server Error", ""));
    assert_eq!(s.refresh(), 1);
    s.server.answer("metadata/2.root.json", hang_up);
    assert_eq!(s.refresh(), 1);
}

#[test]
fn roots_are_followed_through_every_change_of_keys() {
    // (keys, threshold, who signs) of each root; the last one is trusted or not.
    type Version = (&'static [u8], u64, &'static [u8]);
    let cases: &[(&str, &[Version], bool)] = &[
        ("one key for another", &[(&[1], 1, &[1]), (&[2], 1, &[2, 1]), (&[2], 1, &[2])], true),
        (
            "more signatures than needed",
            &[(&[1], 1, &[3, 1, 4]), (&[2], 1, &[3, 2, 1, 4]), (&[2], 1, &[3, 2, 4])],
            true,
        ),
        (
            "3 of 5, signed by others each time",
            &[(&[1, 2, 3, 4, 5], 3, &[1, 3, 5]), (&[1, 2, 3, 4, 5], 3, &[1, 5, 2])],
            true,
        ),
        ("3 of 5, one of them new", &[(&[1, 2, 3, 4, 5], 3, &[1, 3, 5]), (&[1, 2, 4, 5, 6], 3, &[1, 5, 2])], true),
        ("3 of 5, all new", &[(&[1, 2, 3, 4, 5], 3, &[1, 3, 5]), (&[6, 7, 8, 9, 10], 3, &[1, 3, 5, 6, 7, 8])], true),
        ("threshold raised", &[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[1, 2])], true),
        ("threshold lowered", &[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1, 2]), (&[1, 2, 3], 1, &[1])], true),
        ("not signed by the old key", &[(&[1], 1, &[1]), (&[2], 1, &[2, 3])], false),
        ("not signed by the new key", &[(&[1], 1, &[1]), (&[2], 1, &[1, 3])], false),
        ("too few of the new keys", &[(&[1, 2, 3, 4, 5], 3, &[1, 3, 5]), (&[1, 2, 4, 5, 6], 3, &[1, 3, 5])], false),
        ("too few of the old keys", &[(&[1, 2, 3, 4, 5], 3, &[1, 3, 5]), (&[1, 2, 4, 5, 6], 3, &[1, 5, 6])], false),
        ("new threshold not met", &[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[2])], false),
        ("old threshold not met", &[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1])], false),
    ];
    for (name, versions, good) in cases {
        let mut repo = Repo::new();
        for (number, (keys, threshold, signers)) in (1_u64..).zip(*versions) {
            let keys: Vec<Signer> = keys.iter().map(|n| Signer(60 + n)).collect();
            for key in &keys {
                repo.signed("root")["keys"][key.id()] = key.public();
            }
            let ids: Vec<String> = keys.iter().map(|key| key.id()).collect();
            repo.signed("root")["roles"]["root"] = json!({"keyids": ids, "threshold": threshold});
            repo.signed("root")["version"] = json!(number);
            repo.role("root").signers = signers.iter().map(|n| Signer(60 + n)).collect();
            repo.write_role("root");
        }
        let s = suite!("root_rotation", repo);
        let newest = if *good { versions.len() } else { versions.len() - 1 };
        assert_eq!(s.refresh(), i32::from(!*good), "{name}");
        let expected = &s.repo.files[&format!("metadata/{newest}.root.json")];
        assert_eq!(fs::read(s.local("root.json")).unwrap(), *expected, "{name}");
    }
}

#[test]
fn other_roles_need_their_threshold_too() {
    let cases: &[(&str, &[u8], u64, &[u8], bool)] = &[
        ("another key", &[2], 1, &[2], true),
        ("strangers sign as well", &[1], 1, &[3, 1, 4], true),
        ("strangers sign instead", &[2], 1, &[1, 3, 4], false),
        ("3 of 5", &[1, 2, 3, 4, 5], 3, &[1, 3, 5], true),
        ("3 of 5, and one of them is a stranger", &[1, 2, 4, 5, 6], 3, &[1, 3, 5], false),
        ("2 where 3 are needed", &[1, 2, 4, 5, 6], 3, &[1, 5], false),
        ("fewer keys than the threshold", &[1, 2], 3, &[1, 2], false),
    ];
    for (name, keys, threshold, signers, good) in cases {
        for role in ["timestamp", "snapshot", "targets"] {
            let mut s = suite!("rotation", Repo::new());
            let keys: Vec<Signer> = keys.iter().map(|n| Signer(60 + n)).collect();
            s.repo.rotate(role, &keys);
            s.repo.signed("root")["roles"][role]["threshold"] = json!(threshold);
            s.repo.write_role("root");
            s.repo.role(role).signers = signers.iter().map(|n| Signer(60 + n)).collect();
            s.repo.publish();
            assert_eq!(s.refresh(), i32::from(!*good), "{role}: {name}");
        }
    }
}

#[test]
fn rollback_is_refused_and_nothing_more_is_asked_for() {
    let cases: &[(&str, fn(&mut Repo), &str)] = &[
        ("5.4.3.1 timestamp", |repo| repo.signed("timestamp")["version"] = json!(1), "timestamp.json"),
        (
            "5.4.3.2 snapshot version in the timestamp",
            |repo| {
                repo.bump("timestamp").signed("snapshot")["version"] = json!(1);
            },
            "timestamp.json",
        ),
        (
            "5.5.5 targets version in the snapshot",
            |repo| {
                repo.bump("timestamp").bump("snapshot").signed("targets")["version"] = json!(1);
            },
            "4.snapshot.json",
        ),
    ];
    for hashes in [false, true] {
        for (name, edit, last) in cases {
            let mut s = suite!("rollback", Repo::new());
            s.repo.lists_hashes = hashes;
            s.repo.publish().publish();
            assert_eq!(s.refresh(), 0);
            assert_eq!(s.versions(), [1, 3, 3, 3]);
            edit(&mut s.repo);
            s.repo.write();
            assert_eq!(s.refresh(), 1, "{name}");
            assert_eq!(s.versions()[2..], [3, 3], "{name}");
            assert_eq!(s.server.take_requests().last().unwrap(), last, "{name}");
        }
    }
}

#[test]
fn the_same_version_of_a_timestamp_is_not_news() {
    let mut s = suite!("same_timestamp", Repo::new());
    assert_eq!(s.refresh(), 0);
    let before = fs::read(s.local("timestamp.json")).unwrap();
    s.repo.signed("timestamp")["meta"]["snapshot.json"]["version"] = json!(100);
    s.repo.write_role("timestamp");
    s.server.take_requests();
    assert_eq!(s.refresh(), 0);
    assert_eq!(s.server.take_requests(), ["2.root.json", "timestamp.json"]);
    assert_eq!(fs::read(s.local("timestamp.json")).unwrap(), before);
}

#[test]
fn a_fast_forward_is_recovered_from_with_new_keys() {
    // The versions far ahead, the keys that are changed, and the versions afterwards.
    let cases: &[(&str, &[&str], [u64; 4])] = &[
        ("timestamp", &["timestamp"], [2, 1, 1, 1]),
        ("snapshot", &["snapshot", "timestamp"], [3, 2, 1, 1]),
        ("targets", &["snapshot"], [2, 2, 2, 1]),
    ];
    for (role, rotated, expected) in cases {
        let mut s = suite!("fast_forward", Repo::new());
        s.repo.signed(role)["version"] = json!(99_999);
        s.repo.write();
        assert_eq!(s.refresh(), 0, "{role}");
        // Without new keys there is no way back.
        s.repo.signed(role)["version"] = json!(1);
        if *role != "timestamp" {
            s.repo.bump("timestamp");
        }
        if *role == "targets" {
            s.repo.bump("snapshot");
        }
        s.repo.write();
        assert_eq!(s.refresh(), 1, "{role}");
        for role in *rotated {
            s.repo.rotate(role, &[if *role == "snapshot" { NEW } else { OTHER }]);
        }
        assert_eq!(s.refresh(), 0, "{role}");
        assert_eq!(s.versions(), *expected, "{role}");
    }
}

#[test]
fn expiry_follows_the_clock() {
    if Command::new("faketime").arg("--version").output().is_err() {
        skip("no faketime");
        return;
    }
    // Local files expire in 2031, later ones in 2035; the client is asked in 2030, 2033 and 2036.
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let mut s = suite!("expiry", Repo::new());
        s.repo.signed(role)["expires"] = json!("2031-01-01T00:00:00Z");
        s.repo.bump("root").publish();
        s.repo.write_role("root");
        assert_eq!(s.refresh_at("2030-01-01 00:00:00"), 0, "{role}");
        assert_eq!(s.refresh_at("2033-01-01 00:00:00"), 1, "{role}: it is local, and nothing newer is to be had");
        s.repo.signed(role)["expires"] = json!("2035-01-01T00:00:00Z");
        s.repo.bump("root").publish();
        s.repo.write_role("root");
        assert_eq!(s.refresh_at("2033-01-01 00:00:00"), 0, "{role}: what is local has expired, what is served has not");
        assert_eq!(s.versions(), [3, 3, 3, 3], "{role}");
        assert_eq!(s.refresh_at("2036-01-01 00:00:00"), 1, "{role}");
        // The clock may go back: this client does not remember it.
        assert_eq!(s.refresh_at("2020-01-01 00:00:00"), 0, "{role}");
    }
}

#[test]
fn a_delegated_role_expires_as_others_do() {
    if Command::new("faketime").arg("--version").output().is_err() {
        skip("no faketime");
        return;
    }
    let repo = |expires: &str| {
        let mut repo = Repo::new();
        repo.delegate("targets", "team", &["a/*"], &[NEW], false);
        repo.target("team", "a/one", b"one").target("team", "a/two", b"two");
        repo.signed("team")["expires"] = json!(expires);
        repo.write();
        repo
    };
    let day = |suite: &Suite, time: &str, target: &str| suite.download_by(suite.client_at(time), &[target]);

    // It has when it is first seen.
    let s = suite!("delegated_expiry", repo("2031-01-01T00:00:00Z"));
    assert_eq!(s.refresh_at("2033-01-01 00:00:00"), 0, "it is not a part of a refresh");
    assert_eq!(day(&s, "2033-01-01 00:00:00", "a/one"), 1);
    assert_eq!(s.targets(), BTreeSet::new());
    assert_eq!(s.trusted().len(), 4, "it was not stored");

    // It does after it was trusted.
    let mut s = suite!("delegated_expiry", repo("2031-01-01T00:00:00Z"));
    assert_eq!(day(&s, "2030-01-01 00:00:00", "a/one"), 0);
    assert_eq!(day(&s, "2033-01-01 00:00:00", "a/two"), 1);
    assert_eq!(s.targets(), BTreeSet::from([b"one".to_vec()]));

    // And is there again in a newer version.
    s.repo.signed("team")["expires"] = json!("2035-01-01T00:00:00Z");
    s.repo.bump("team").bump("snapshot").bump("timestamp").write();
    assert_eq!(day(&s, "2033-01-01 00:00:00", "a/two"), 0);
    assert_eq!(s.targets(), BTreeSet::from([b"one".to_vec(), b"two".to_vec()]));
}

#[test]
fn delegations_are_asked_for_in_order_and_only_where_they_match() {
    type Edge = (&'static str, &'static str, bool, &'static str);
    let any = |from, to| (from, to, false, "*");
    let graphs: &[(&str, Vec<Edge>, &[&str])] = &[
        ("one", vec![any("targets", "A")], &["A"]),
        ("in order of appearance", vec![any("targets", "B"), any("targets", "A")], &["B", "A"]),
        (
            "depth first",
            vec![any("targets", "A"), any("targets", "B"), any("A", "C"), any("A", "D")],
            &["A", "C", "D", "B"],
        ),
        (
            "deeper first",
            vec![any("targets", "A"), any("targets", "B"), any("A", "C"), any("C", "D")],
            &["A", "C", "D", "B"],
        ),
        (
            "a terminating one ends it",
            vec![any("targets", "A"), any("targets", "B"), ("A", "C", true, "*"), any("A", "D")],
            &["A", "C"],
        ),
        (
            "but not below itself",
            vec![any("targets", "A"), any("targets", "B"), ("A", "C", true, "*"), any("C", "D")],
            &["A", "C", "D"],
        ),
        (
            "no role whose path does not match, nor what is below it",
            vec![("targets", "A", false, "*.py"), any("targets", "B"), any("A", "C")],
            &["B"],
        ),
        (
            "a terminating one that does not match ends nothing",
            vec![("targets", "A", true, "*.py"), any("targets", "B")],
            &["B"],
        ),
        (
            "in circles",
            vec![any("targets", "A"), any("targets", "B"), any("B", "C"), any("C", "D"), any("D", "B")],
            &["A", "B", "C", "D"],
        ),
        ("by two ways", vec![any("targets", "A"), any("targets", "B"), any("B", "C"), any("A", "C")], &["A", "C", "B"]),
    ];
    for (name, edges, visited) in graphs {
        let mut repo = Repo::new();
        for (from, to, terminating, path) in edges {
            repo.delegate(from, to, &[path], &[NEW], *terminating);
        }
        repo.write();
        let s = suite!("graphs", repo);
        assert_eq!(s.download(&["missing"]), 1, "{name}");
        let expected: Vec<String> = visited.iter().map(|role| format!("1.{role}.json")).collect();
        assert_eq!(s.server.take_requests()[4..], expected, "{name}");
        // All of them are local now.
        assert_eq!(s.download(&["missing"]), 1, "{name}");
        assert_eq!(s.server.take_requests(), ["2.root.json", "timestamp.json"], "{name}");
    }
}

#[test]
fn a_cached_role_gives_no_trust_to_another_delegator() {
    // First `A` delegates to `team` with its key, then `B` does with another one, and the file stays as it was.
    let mut repo = Repo::new();
    repo.delegate("targets", "A", &["a*"], &[NEW], false).delegate("targets", "B", &["b*"], &[NEW], false);
    repo.delegate("A", "team", &["*"], &[OTHER], false).delegate("B", "team", &["*"], &[SNAPSHOT], false);
    repo.target("team", "a", b"for a").target("team", "b", b"for b").write();
    let s = suite!("cached_role", repo);
    assert_eq!(s.download(&["a"]), 0);
    assert_eq!(s.download(&["b"]), 1);
    assert_eq!(s.download(&["a", "b"]), 1);
    assert_eq!(s.targets(), BTreeSet::from([b"for a".to_vec()]));
}

#[test]
fn names_of_roles_are_quoted_on_the_way_and_on_disk() {
    for role in ["?", "#", "%", "%2F", " ", "é", "..", ".", "/delegated", "../delegated", "../../delegated", "a b/c"] {
        let mut repo = Repo::new();
        repo.delegate("targets", role, &["*"], &[NEW], false).target(role, "a", b"content").write();
        let s = suite!("roles", repo);
        assert_eq!(s.download(&["a"]), 0, "{role}");
        assert_eq!(s.server.take_requests()[4], format!("1.{}.json", encoded(role)), "{role}");
        assert_eq!(s.trusted().len(), 5, "{role}: in the folder, and under its own name");
        assert!(s.trusted().contains(&(encoded(role), 1)), "{role}");
        assert_eq!(fs::read_dir(&s.folder).unwrap().count(), 3, "{role}: nothing was written beside the folders");
    }
}

#[test]
fn names_of_targets_are_quoted_on_the_way_and_on_disk() {
    for (target, sent, found) in [
        ("path/to/a file.txt", "path/to/HASH.a%20file.txt", true),
        ("a?b#c", "HASH.a%3Fb%23c", true),
        ("100%25", "HASH.100%2525", true),
        ("é/ü", "%C3%A9/HASH.%C3%BC", true),
        (".hidden", "HASH..hidden", true),
        ("a/..b", "a/HASH...b", true),
        ("../outside", "", false),
        ("a/../../outside", "", false),
        ("/outside", "", false),
        ("a//b", "", false),
    ] {
        let mut repo = Repo::new();
        repo.target("targets", target, b"content").write();
        let s = suite!("target_names", repo);
        assert_eq!(s.download(&[target]), i32::from(!found), "{target}");
        let requests = s.server.take_requests();
        if found {
            assert_eq!(requests[4], format!("targets/{}", sent.replace("HASH", &sha256(b"content"))), "{target}");
            assert_eq!(s.targets(), BTreeSet::from([b"content".to_vec()]), "{target}");
        } else {
            assert_eq!(requests.len(), 4, "{target}: {requests:?}");
            assert_eq!(s.targets().len(), 0, "{target}");
        }
        assert_eq!(fs::read_dir(&s.folder).unwrap().count(), 3, "{target}");
    }
}

#[test]
fn a_target_is_what_was_signed_or_is_not_stored() {
    let mut repo = Repo::new();
    repo.target("targets", "one", b"one").target("targets", "two", b"two").write();
    let mut s = suite!("targets", repo);
    assert_eq!(s.download(&["one"]), 0);
    assert_eq!(s.targets(), BTreeSet::from([b"one".to_vec()]));

    // It is there already, and the server is not asked for it again, whatever it holds.
    let file = |name: &str, content: &[u8]| format!("targets/{}.{name}", sha256(content));
    s.repo.files.insert(file("one", b"one"), b"bad".to_vec());
    s.repo.files.insert(file("two", b"two"), b"bad".to_vec());
    s.server.take_requests();
    assert_eq!(s.download(&["one"]), 0);
    assert_eq!(s.server.take_requests(), ["2.root.json", "timestamp.json"]);
    assert_eq!(s.download(&["two"]), 1);
    assert_eq!(s.targets(), BTreeSet::from([b"one".to_vec()]));

    // What was changed here is fetched again; a new version takes the place of the old one.
    s.repo.target("targets", "one", b"one");
    fs::write(s.folder.join("targets/one"), b"ONE").unwrap();
    assert_eq!(s.download(&["one"]), 0);
    assert_eq!(s.targets(), BTreeSet::from([b"one".to_vec()]));
    s.repo.target("targets", "one", b"newer").publish();
    assert_eq!(s.download(&["one"]), 0);
    assert_eq!(s.targets(), BTreeSet::from([b"newer".to_vec()]));
}

#[test]
fn several_targets_are_served_by_one_client_up_to_the_first_failure() {
    let mut repo = Repo::new();
    repo.delegate("targets", "team", &["*"], &[NEW], false);
    repo.target("team", "one", b"one").target("team", "two", b"two").target("team", "three", b"three").write();
    let s = suite!("several", repo);
    assert_eq!(s.download(&["one", "two", "missing", "three"]), 1);
    assert_eq!(s.targets(), BTreeSet::from([b"one".to_vec(), b"two".to_vec()]));
    let requests = s.server.take_requests();
    assert_eq!(requests.iter().filter(|path| *path == "timestamp.json").count(), 1, "one refresh");
    assert_eq!(requests.iter().filter(|path| *path == "1.team.json").count(), 1, "each role once");
    assert_eq!(s.download(&["three"]), 0);
}

#[test]
fn any_known_hash_will_do_and_an_unknown_one_will_not() {
    let content = b"content";
    let sha512 = hex(digest::digest(&digest::SHA512, content).as_ref());
    for (hashes, found) in [
        (json!({"sha256": sha256(content)}), true),
        (json!({"sha512": sha512}), true),
        (json!({"sha256": sha256(content), "sha512": sha512}), true),
        (json!({"sha256": sha256(content), "sha512": "0".repeat(128)}), false),
        (json!({"unknown": sha512}), false),
    ] {
        let mut repo = Repo::new();
        repo.target("targets", "file", content);
        repo.files.insert(format!("targets/{sha512}.file"), content.to_vec());
        repo.signed("targets")["targets"]["file"]["hashes"] = hashes.clone();
        repo.write();
        let s = suite!("hashes", repo);
        assert_eq!(s.download(&["file"]), i32::from(!found), "{hashes}");
        assert_eq!(s.targets().len(), usize::from(found), "{hashes}");
        if found {
            let requests = s.server.take_requests();
            assert_eq!(requests.iter().filter(|path| path.starts_with("targets/")).count(), 1, "{hashes}");
        }
    }
}

#[test]
fn local_files_that_were_tampered_with_are_fetched_again() {
    for (file, requests) in [
        ("timestamp.json", &["2.root.json", "timestamp.json"][..]),
        ("snapshot.json", &["2.root.json", "timestamp.json", "1.snapshot.json"]),
        ("targets.json", &["2.root.json", "timestamp.json", "1.targets.json"]),
        ("root.json", &["2.root.json", "timestamp.json"]),
    ] {
        for tampered in
            [&b""[..], b"{}", b"\xff\xfe", br#"{"signatures": [], "signed": {"_type": "root", "version": 99}}"#]
        {
            let s = suite!("tampered", Repo::new());
            assert_eq!(s.refresh(), 0);
            let before = fs::read(s.local(file)).unwrap();
            fs::write(s.local(file), tampered).unwrap();
            s.server.take_requests();
            assert_eq!(s.refresh(), 0, "{file}");
            assert_eq!(s.server.take_requests(), requests, "{file}");
            assert_eq!(fs::read(s.local(file)).unwrap(), before, "{file}");
        }
    }
}

#[test]
fn one_signer_is_one_signer() {
    // A key id twice in `signatures` spoils the file, even beside enough good ones.
    let mut s = suite!("duplicates", Repo::new());
    s.repo.role("snapshot").signers = vec![SNAPSHOT, SNAPSHOT];
    s.repo.write();
    assert_eq!(s.refresh(), 1);
    assert_eq!(s.versions(), [1, 1, 0, 0]);
    s.repo.role("snapshot").signers = vec![SNAPSHOT];
    s.repo.write();
    assert_eq!(s.refresh(), 0);

    // A key id twice in a role's list does not count twice.
    let ids = vec![TIMESTAMP.id(); 2];
    s.repo.signed("root")["roles"]["timestamp"] = json!({"keyids": ids, "threshold": 2});
    s.repo.bump("root").publish();
    s.repo.write_role("root");
    assert_eq!(s.refresh(), 1);
    assert_eq!(s.versions()[1], 1);
}

#[test]
fn unknown_fields_are_signed_and_kept() {
    let mut s = suite!("unknown_fields", Repo::new());
    assert_eq!(s.refresh(), 0);
    let key = &mut s.repo.signed("root")["keys"][ROOT.id()];
    key["extra-field"] = json!({"a": 1, "b": [2]});
    key["keyid_hash_algorithms"] = json!("md5");
    s.repo.signed("root")["custom-field"] = json!("value");
    s.repo.signed("root")["roles"]["root"]["another-field"] = json!("value");
    s.repo.bump("root").write_role("root");
    assert_eq!(s.refresh(), 0);
    assert_eq!(s.versions(), [2, 1, 1, 1]);
}

#[test]
fn https_needs_a_known_authority_and_is_never_left_for_http() {
    let s = suite!("https", Repo::new());
    let secure = tls::server(&s.repo);
    let refresh = || s.refresh_from(Command::new(&s.client), &secure);
    assert_eq!(refresh(), 0);
    assert_eq!(secure.take_requests().len(), 4);

    let unknown = |file: &str| {
        let mut command = Command::new("env");
        // Set last, so it is what counts.
        command.arg(format!("SSL_CERT_FILE={file}")).arg(&s.client);
        s.refresh_from(command, &secure)
    };
    assert_eq!(unknown(tls::AUTHORITY), 0);
    assert_eq!(unknown(tls::OTHER_AUTHORITY), 1);

    let timestamp = "metadata/timestamp.json";
    secure.answer(timestamp, redirect("../mirror"));
    secure.insert("mirror", &s.repo.files[timestamp]);
    assert_eq!(refresh(), 0, "from https to https");
    s.server.insert("mirror", &s.repo.files[timestamp]);
    let mirror = format!("{}mirror", s.server.url);
    secure.answer(timestamp, redirect(&mirror));
    s.server.take_requests();
    assert_eq!(refresh(), 1, "from https to http");
    assert_eq!(s.server.take_requests(), Vec::<String>::new(), "not even asked");

    // From http to https is fine; on to http again is not.
    secure.insert("there", &s.repo.files[timestamp]);
    s.server.answer(timestamp, redirect(&format!("{}there", secure.url)));
    assert_eq!(s.refresh(), 0);
    secure.answer("there", redirect(&mirror));
    assert_eq!(s.refresh(), 1);
}
