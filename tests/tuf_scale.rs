//! Repositories that have grown: only what is needed is asked for, and nothing takes time out of proportion.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests state what they expect"
)]
#![allow(clippy::type_complexity, reason = "tables")]

mod support;

use plimsoll::client::Store;
use serde_json::{Value, json};
use support::repo::{Repo, Signer, TARGETS, canonical, sha256};
use support::source::{client, code};

const NEW: Signer = Signer(40);

#[test]
fn a_thousand_root_rotations_are_followed_in_one_refresh() {
    let mut repo = Repo::new();
    for n in 0..999 {
        // The root key changes each time, so that every step of the chain is another pair of signatures.
        repo.rotate("root", &[Signer(if n % 2 == 0 { 50 } else { 51 })]);
    }
    let client = client(&repo, Store::in_memory());
    let session = client.refresh().unwrap();
    assert_eq!(session.trusted().root().version(), 1000);
    drop(session);
    assert_eq!(client.source().take_requests().len(), 999 + 4);
    // What was followed once is not asked for again.
    drop(client.refresh().unwrap());
    assert_eq!(client.source().take_requests(), ["1001.root.json", "timestamp.json"]);
}

/// `targets.json` delegates to 16,384 bins by the first 14 bits of the path's hash.
fn hash_bins() -> Repo {
    let mut repo = Repo::new();
    let roles: Vec<Value> = (0..16_384_u32)
        .map(|bin| {
            let prefixes: Vec<String> = (0..4).map(|low| format!("{:04x}", bin << 2 | low)).collect();
            json!({"name": format!("bin-{bin:04x}"), "keyids": [NEW.id()], "threshold": 1, "terminating": false,
                   "path_hash_prefixes": prefixes})
        })
        .collect();
    repo.delegations("targets", &[NEW])["roles"] = roles.into();
    repo
}

/// The same with one line for all bins [TAP 15].
fn succinct_bins() -> Repo {
    let mut repo = Repo::new();
    let bins = json!({"keyids": [NEW.id()], "threshold": 1, "bit_length": 14, "name_prefix": "bin"});
    repo.signed("targets")["delegations"] = json!({"keys": {NEW.id(): NEW.public()}, "succinct_roles": bins});
    repo
}

#[test]
fn a_lookup_in_16384_bins_costs_the_metadata_of_one() {
    for mut repo in [hash_bins(), succinct_bins()] {
        // The snapshot lists all of them; only the one that holds the file is written.
        let path = "registry.example/team/app/1.4/manifest.json";
        let bin = u16::from_str_radix(&sha256(path.as_bytes())[..4], 16).unwrap() >> 2;
        let home = format!("bin-{bin:04x}");
        let mut spare = Repo::new();
        spare.delegate("targets", &home, &["*"], &[NEW], false);
        repo.roles.insert(home.clone(), spare.roles[&home].clone());
        repo.target(&home, path, b"manifest").write();
        let mut meta = repo.signed("snapshot")["meta"].clone();
        for bin in 0..16_384 {
            meta[format!("bin-{bin:04x}.json")] = json!({"version": 1});
        }
        repo.signed("snapshot")["meta"] = meta;
        repo.write_role("snapshot");

        let client = client(&repo, Store::in_memory());
        let mut session = client.refresh().unwrap();
        client.source().take_requests();
        let found = session.find(path).unwrap().unwrap();
        assert_eq!(client.source().take_requests(), [format!("1.{home}.json")]);
        assert_eq!(session.fetch(&found).unwrap(), b"manifest");
        // A second lookup in the same bin costs nothing.
        client.source().take_requests();
        assert!(session.find(path).unwrap().is_ok());
        assert!(client.source().take_requests().is_empty());
    }
}

/// A flat repository: `targets.json` lists every file itself. Its members are read once and left where they are.
#[test]
fn each_of_many_targets_in_one_file_is_found_and_no_other() {
    const TARGETS: usize = 20_000;
    for indented in [false, true] {
        let path = |n: usize| format!("registry.example/team/app-{n:05}/1.4/manifest.json");
        let mut repo = Repo::new();
        let files =
            (0..TARGETS).map(|n| (path(n), json!({"length": n, "hashes": {"sha256": sha256(&n.to_be_bytes())}})));
        repo.signed("targets")["targets"] = Value::Object(files.collect());
        repo.write();
        if !indented {
            let file: Value = serde_json::from_slice(&repo.files["metadata/1.targets.json"]).unwrap();
            repo.files.insert("metadata/1.targets.json".to_owned(), serde_json::to_vec(&file).unwrap());
        }
        let client = client(&repo, Store::in_memory());
        let mut session = client.refresh().unwrap();
        for n in [0, 1, 9_999, TARGETS - 1] {
            let found = session.find(&path(n)).unwrap().unwrap();
            assert_eq!(found.file().length(), n as u64);
            assert_eq!(found.file().hashes().sha256().unwrap().to_hex(), sha256(&n.to_be_bytes()));
        }
        for absent in [path(TARGETS), String::new(), "registry.example".to_owned(), path(7) + "x"] {
            assert!(session.find(&absent).unwrap().is_err(), "{absent}");
        }
        let targets = session.trusted().targets();
        assert_eq!(targets.count(), TARGETS);
        assert!(targets.targets().enumerate().all(|(n, (name, file))| name == path(n) && file.length() == n as u64));
    }
}

/// Of a long file the signatures are checked while it is read. What is accepted and refused is what is of a short one.
#[test]
fn the_signatures_of_a_long_file_count_as_those_of_a_short_one() {
    let path = |n: usize| format!("registry.example/team/app-{n:05}/1.4/manifest.json");
    for (targets, long) in [(3, false), (10_000, true)] {
        let mut repo = Repo::new();
        let entry = |n: usize| json!({"length": n, "hashes": {"sha256": sha256(&n.to_be_bytes())}});
        repo.signed("targets")["targets"] = Value::Object((0..targets).map(|n| (path(n), entry(n))).collect());
        repo.write();
        let file: Value = serde_json::from_slice(&repo.files["metadata/1.targets.json"]).unwrap();
        let (signatures, signed) = (canonical(&file["signatures"]), canonical(&file["signed"]));
        assert_eq!(signed.len() > 1 << 20, long);
        let text = format!("{{\"signatures\":{signatures},\"signed\":{signed}}}");
        let (old, new) = ("\"length\":1}", "\"length\":9}");
        let forged = signatures.replace("\"sig\":\"", "\"sig\":\"00");
        let other = format!("[{{\"keyid\":\"{}\",\"sig\":\"{}\"}}]", TARGETS.id(), NEW.sign(signed.as_bytes()));
        let cases: &[(&str, String, Result<(), &str>)] = &[
            ("canonical", text.clone(), Ok(())),
            ("a newline at its end", format!("{text}\n"), Ok(())),
            ("white space between the two", text.replace(",\"signed\":", ",\n\"signed\": "), Ok(())),
            ("indented", serde_json::to_string_pretty(&file).unwrap(), Ok(())),
            ("the other order", format!("{{\"signed\":{signed},\"signatures\":{signatures}}}"), Ok(())),
            ("a third member", format!("{{\"a\":1,\"signatures\":{signatures},\"signed\":{signed}}}"), Ok(())),
            ("another length", text.replacen(old, new, 1), Err("metadata-threshold")),
            ("another length, indented", text.replacen(old, new, 1).replace(":{", ": {"), Err("metadata-threshold")),
            (
                "the last byte of the version",
                text.replace("\"version\":1}", "\"version\":2}"),
                Err("metadata-threshold"),
            ),
            ("a signature that is none", text.replace(&signatures, &forged), Err("metadata-threshold")),
            ("by a key of nobody under the right id", text.replace(&signatures, &other), Err("metadata-threshold")),
            ("no signature", text.replace(&signatures, "[]"), Err("metadata-threshold")),
            (
                "the right message under another key",
                text.replace("\"signed\":", "\"Signed\":"),
                Err("metadata-malformed"),
            ),
            (
                "two messages",
                format!("{{\"signatures\":{signatures},\"signed\":{{}},\"signed\":{signed}}}"),
                Err("metadata-malformed"),
            ),
            (
                "two lists of signatures",
                format!("{{\"signatures\":{signatures},\"signatures\":[],\"signed\":{signed}}}"),
                Err("metadata-malformed"),
            ),
            ("cut", text[..text.len() - 1].to_owned(), Err("metadata-malformed")),
            ("something follows", format!("{text}}}"), Err("metadata-malformed")),
        ];
        for (name, text, expected) in cases {
            let mut repo = repo.clone();
            repo.files.insert("metadata/1.targets.json".to_owned(), text.clone().into_bytes());
            let client = client(&repo, Store::in_memory());
            let got = client.refresh().map(drop);
            assert_eq!(
                got.as_ref().map_err(code),
                expected.as_ref().map(|()| &()).map_err(|code| *code),
                "{name}: {got:?}"
            );
        }
    }
}

/// What is read of a target counts, whatever its form. One that was read and could not be built would be taken for one that is not there, and a role of
/// lower priority asked in its place.
#[test]
fn a_target_that_is_accepted_can_be_looked_up() {
    for (zeros, expected) in [(20_000, Ok(())), (30_000, Err("metadata-malformed"))] {
        for form in [serde_json::to_string, serde_json::to_string_pretty] {
            let mut repo = Repo::new();
            repo.target("targets", "z", b"abc");
            repo.signed("targets")["targets"]["z"]["custom"] = vec![0; zeros].into();
            repo.write();
            let file: Value = serde_json::from_slice(&repo.files["metadata/1.targets.json"]).unwrap();
            repo.files.insert("metadata/1.targets.json".to_owned(), form(&file).unwrap().into_bytes());
            let client = client(&repo, Store::in_memory());
            let looked_up = client.refresh().map(|mut session| {
                assert_eq!(session.find("z").unwrap().unwrap().file().length(), 3);
                assert_eq!(session.trusted().targets().targets().count(), 1);
            });
            let expected = if form(&file).unwrap().len() > 200_000 { Ok(()) } else { expected };
            assert_eq!(looked_up.map_err(|e| code(&e)), expected, "{zeros}");
        }
    }
}

/// Nothing else of a file is trusted because parts of it are read as they pass.
#[test]
fn parts_that_pass_are_held_to_what_is_asked_of_all_metadata() {
    let mut repo = Repo::new();
    repo.delegate("targets", "team", &["app/*"], &[NEW], false).target("team", "app/a", b"abc").write();
    let cases: &[(&str, &str, &str, &str, Result<(), &str>)] = &[
        ("as it is", "targets", "\"roles\":[", "\"roles\":[", Ok(())),
        ("roles that are none", "targets", "\"roles\":[", "\"roles\":[0,", Err("metadata-malformed")),
        ("roles twice", "targets", "\"roles\":[", "\"roles\":[],\"roles\":[", Err("metadata-malformed")),
        (
            "delegations twice",
            "targets",
            "\"delegations\":{",
            "\"delegations\":{},\"delegations\":{",
            Err("metadata-malformed"),
        ),
        (
            "a role twice",
            "targets",
            "\"roles\":[{",
            "\"roles\":[{\"keyids\":[],\"name\":\"team\",\"paths\":[],\"terminating\":false,\"threshold\":1},{",
            Err("metadata-malformed"),
        ),
        ("roles as an object", "targets", "\"roles\":[", "\"roles\":{},\"Roles\":[", Err("metadata-malformed")),
        ("meta twice", "snapshot", "\"meta\":{", "\"meta\":{},\"meta\":{", Err("metadata-malformed")),
        (
            "a file twice",
            "snapshot",
            "\"meta\":{",
            "\"meta\":{\"team.json\":{\"version\":1},",
            Err("metadata-malformed"),
        ),
        ("a file that is none", "snapshot", "\"meta\":{", "\"meta\":{\"a.json\":1,", Err("metadata-malformed")),
        ("meta as an array", "snapshot", "\"meta\":{", "\"meta\":[],\"Meta\":{", Err("metadata-malformed")),
        ("one more file", "snapshot", "\"meta\":{", "\"meta\":{\"a.json\":{\"version\":1},", Err("metadata-threshold")),
        (
            "deep",
            "snapshot",
            "\"meta\":{",
            &format!("\"meta\":{{\"a.json\":{}{},", "[".repeat(200), "]".repeat(200)),
            Err("metadata-malformed"),
        ),
    ];
    for (name, role, from, to, expected) in cases {
        let mut repo = repo.clone();
        let file = format!("metadata/1.{role}.json");
        let value: Value = serde_json::from_slice(&repo.files[&file]).unwrap();
        let text = canonical(&value);
        assert!(text.contains(from), "{name}");
        repo.files.insert(file, text.replacen(from, to, 1).into_bytes());
        let client = client(&repo, Store::in_memory());
        let got = client.refresh().map(|mut session| drop(session.find("app/a").unwrap().unwrap()));
        assert_eq!(got.map_err(|e| code(&e)), *expected, "{name}");
    }
}
