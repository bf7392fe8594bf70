//! The seeds of the fuzz targets for role metadata, without a fuzzer: what holds for any bytes holds for them.
//!
//! The seeds are in `fuzz/seeds`, one folder for each target. They are made here, from what other programs wrote and from programs for
//! the `refresh` target, each with what must come of it. After a change of a seed, write the files again with
//!
//! ```sh
//! PLIMSOLL_WRITE_SEEDS=1 cargo test --test fuzz_seeds
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::type_complexity,
    reason = "tests state what they expect"
)]

#[path = "../fuzz/properties/mod.rs"]
mod properties;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use properties::refresh::op;
use properties::{archive, canonical, metadata, refresh};
use serde_json::json;
use support::repo::{Repo, Signer, envelope};

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

type Seeds = BTreeMap<String, Vec<u8>>;

/// The files of a target's folder are these, or become these if that is asked for.
fn on_disk(target: &str, seeds: &Seeds) {
    let folder = folder("fuzz/seeds").join(target);
    if std::env::var_os("PLIMSOLL_WRITE_SEEDS").is_some() {
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
    let found: Seeds =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect();
    assert!(found == *seeds, "the seeds of {target} are not what is made here; see the head of this file");
}

/// What other programs wrote, and what their authors did not: every form of delegation. The first byte is the kind of role.
fn role_files() -> Vec<(u8, &'static str, Vec<u8>)> {
    let read = |path: &str| fs::read(folder(path)).unwrap();
    let role = |name: &str, paths: (&str, serde_json::Value)| json!({"name": name, "keyids": ["k", "l"], "threshold": 2, "terminating": true, paths.0: paths.1});
    let delegating = |delegations: serde_json::Value| {
        let mut repo = Repo::new();
        repo.target("targets", "team/app", b"x");
        repo.signed("targets")["delegations"] = delegations;
        envelope(repo.signed("targets"), &[Signer(4)])
    };
    let patterns = role("patterns", ("paths", json!(["*", "a/*", "team/*/?", "\u{e9}/*", "[a]"])));
    let prefixes = role("prefixes", ("path_hash_prefixes", json!(["", "0", "8c"])));
    let bins = json!({"keyids": ["k"], "threshold": 1, "bit_length": 14, "name_prefix": "bin"});
    vec![
        (0, "root", read("test-repos/good/metadata/1.root.json")),
        (1, "timestamp", read("test-repos/good/metadata/timestamp.json")),
        (2, "snapshot", read("test-repos/good/metadata/2.snapshot.json")),
        (3, "targets", read("test-repos/good/metadata/1.targets.json")),
        (3, "targets-team", read("test-repos/good/metadata/2.team.json")),
        (0, "sigstore-root-1", read("tests/data/sigstore/roots/1.root.json")),
        (0, "sigstore-root-16", read("tests/data/sigstore/roots/16.root.json")),
        (1, "sigstore-timestamp", read("tests/data/sigstore/2021-12/metadata/timestamp.json")),
        (2, "sigstore-snapshot", read("tests/data/sigstore/2021-12/metadata/snapshot.json")),
        (3, "sigstore-targets", read("tests/data/sigstore/2021-12/metadata/targets.json")),
        (3, "sigstore-rekor", read("tests/data/sigstore/2021-12/metadata/rekor.json")),
        (3, "listed-roles", delegating(json!({"keys": {}, "roles": [patterns, prefixes]}))),
        (3, "succinct-roles", delegating(json!({"keys": {}, "succinct_roles": bins}))),
    ]
}

#[test]
fn role_files_show_what_an_independent_reader_sees() {
    let seeds: Seeds = role_files()
        .into_iter()
        .map(|(kind, name, bytes)| (name.to_owned(), [&[kind], bytes.as_slice()].concat()))
        .collect();
    for seed in seeds.values() {
        // As each of the kinds, for what is one is no other.
        for kind in 0..4 {
            metadata::hold(&[&[kind], &seed[1..]].concat());
        }
    }
    on_disk("metadata", &seeds);
}

#[test]
fn json_has_one_reading_and_one_form() {
    let texts = [
        ("scalars", r#"[null,true,false,0,1,-1,18446744073709551615,-9223372036854775808,"",{},[]]"#),
        ("numbers", r#"[1.0,1e3,-0,18446744073709551616,-9223372036854775809,0.1E-7,1e308]"#),
        ("infinite", "[1e400]"),
        ("escapes", r#"{"\u0001\n\"\\\/":"\b\f\r\t\u00e9\ud83d\ude00","\ud800\udc00":1,"\uffff":2}"#),
        ("lone-surrogate", r#"["\ud800","\udc00\ud800"]"#),
        ("nul", r#"["\u0000"]"#),
        ("key-twice", r#"{"a":1,"b":[{"x":1,"\u0078":2}]}"#),
        ("white-space", " {\t\"b\" : [ 1 ,\r\n2 ] , \"a\" : \"\u{7f}\u{a0}\" } "),
        ("deep", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"),
        ("leading-zero", "[01,-01,1.,.5,+1]"),
    ];
    let mut seeds: Seeds = texts.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into();
    for (_, name, bytes) in role_files().into_iter().take(5) {
        seeds.insert(name.to_owned(), bytes);
    }
    for depth in 63..67 {
        canonical::hold(format!("{}{}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
    }
    canonical::hold(format!("[{}0]", "0,".repeat(20_000)).as_bytes());
    for seed in seeds.values() {
        canonical::hold(seed);
        for place in 0..seed.len() {
            canonical::hold(&[&seed[..place], &seed[place + 1..]].concat());
        }
    }
    on_disk("canonical", &seeds);
}

const ROOT: u8 = 0;
const TIMESTAMP: u8 = 1;
const SNAPSHOT: u8 = 2;
const TARGETS: u8 = 3;
const A: u8 = 4;
const C: u8 = 6;
const NOW: [u8; 2] = [op::REFRESH, 0];
const LATER: [u8; 2] = [op::REFRESH, 1];

/// The next version of these roles, listed and written.
fn publish(roles: &[u8]) -> Vec<u8> {
    let mut program: Vec<u8> = roles.iter().flat_map(|role| [op::VERSION, *role, refresh::NEXT]).collect();
    program.push(op::PUBLISH);
    program
}

/// The next root.
fn rotate(change: &[u8]) -> Vec<u8> {
    [change, &[op::VERSION, ROOT, refresh::NEXT, op::WRITE, ROOT]].concat()
}

const ABSENT: &str = "top: targets: fetched, a/1: absent, b/2: absent, a/b/3: absent";

/// Each program, and what must come of it: of each refresh the versions that are trusted or a code, and what is found then.
fn programs() -> Vec<(&'static str, Vec<u8>, Vec<String>)> {
    let all = [TIMESTAMP, SNAPSHOT, TARGETS];
    let trusted = |versions: &str| format!("{versions}, {ABSENT}");
    let code = |code: &str| code.to_owned();
    let literal = |name: [u8; 2], bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_le_bytes();
        [&[op::LITERAL], &name[..], &length[..], bytes].concat()
    };
    vec![
        ("good", NOW.to_vec(), vec![trusted("1.1.1.1")]),
        ("updates", [&NOW[..], &publish(&all), &NOW, &publish(&[TIMESTAMP]), &NOW].concat(), vec![
            trusted("1.1.1.1"),
            trusted("1.2.2.2"),
            trusted("1.3.2.2"),
        ]),
        ("canonical-and-hashed", [&[op::FORM, 3], &publish(&all)[..], &NOW].concat(), vec![trusted("1.2.2.2")]),
        (
            "plain-names",
            [&rotate(&[op::FORM, 4])[..], &[op::PUBLISH], &NOW].concat(),
            vec![trusted("2.1.1.1")],
        ),
        (
            "rollback",
            [&publish(&all)[..], &NOW, &[op::VERSION, TIMESTAMP, 0], &[op::PUBLISH], &NOW].concat(),
            vec![trusted("1.2.2.2"), code("metadata-rollback")],
        ),
        (
            "snapshot-rollback",
            [&publish(&all)[..], &NOW, &[op::VERSION, SNAPSHOT, 0], &publish(&[TIMESTAMP]), &NOW].concat(),
            vec![trusted("1.2.2.2"), code("metadata-rollback")],
        ),
        (
            "targets-rollback",
            [&publish(&all)[..], &NOW, &[op::VERSION, TARGETS, 0], &publish(&[TIMESTAMP, SNAPSHOT]), &NOW].concat(),
            vec![trusted("1.2.2.2"), code("metadata-rollback")],
        ),
        (
            // The very first timestamp, which was good in its time.
            "replay",
            [&publish(&all)[..], &NOW, &[op::REPLAY, 6, TIMESTAMP, 0], &NOW].concat(),
            vec![trusted("1.2.2.2"), code("metadata-rollback")],
        ),
        (
            "fast-forward",
            [
                &[op::VERSION, TIMESTAMP, 4, op::PUBLISH][..],
                &NOW,
                &[op::VERSION, TIMESTAMP, 1, op::PUBLISH],
                &NOW,
                &rotate(&[op::KEYS, TIMESTAMP, 0x80, 0, 1, 0, op::SIGNERS, TIMESTAMP, 0x80, 0]),
                &[op::PUBLISH],
                &NOW,
            ]
            .concat(),
            vec![trusted("1.18446744073709551615.1.1"), code("metadata-rollback"), trusted("2.2.1.1")],
        ),
        (
            // Another two of three, and one that the old root does not know: below its threshold.
            "root-by-too-few",
            [&rotate(&[op::KEYS, ROOT, 0x88, 0, 2, 0, op::SIGNERS, ROOT, 0x89, 0])[..], &NOW].concat(),
            vec![code("metadata-threshold")],
        ),
        (
            "root-by-both",
            [&rotate(&[op::KEYS, ROOT, 0x88, 0, 2, 0, op::SIGNERS, ROOT, 0x8b, 0])[..], &NOW].concat(),
            vec![trusted("2.1.1.1")],
        ),
        (
            "root-by-one-key-under-two-ids",
            [&rotate(&[op::SIGNERS, ROOT, 1, 1, op::KEYS, ROOT, 1, 1, 2, 0])[..], &NOW].concat(),
            vec![code("metadata-threshold")],
        ),
        (
            // Ids 1 and 9 stand for one key: its two signatures are one.
            "targets-by-one-key-under-two-ids",
            [
                &rotate(&[op::KEYS, TARGETS, 0x20, 0x20, 2, 0])[..],
                &[op::SIGNERS, TARGETS, 0x20, 0x20, op::PUBLISH],
                &NOW,
            ]
            .concat(),
            vec![code("metadata-threshold")],
        ),
        (
            // The second id stands for another key from this root on.
            "targets-by-two-keys-under-such-ids",
            [
                &rotate(&[op::KEYS, TARGETS, 0x60, 0x20, 2, 0, op::SWAP, ROOT, 13, 7])[..],
                &[op::SIGNERS, TARGETS, 0x60, 0, op::PUBLISH],
                &NOW,
            ]
            .concat(),
            vec![trusted("2.1.1.1")],
        ),
        (
            "many-roots",
            [&[rotate(&[]), rotate(&[]), rotate(&[]), rotate(&[]), rotate(&[])].concat()[..], &NOW, &NOW].concat(),
            vec![code("too-many-roots"), trusted("6.1.1.1")],
        ),
        (
            "threshold-of-nought",
            [&rotate(&[op::KEYS, TIMESTAMP, 8, 0, 0, 0])[..], &NOW].concat(),
            vec![code("metadata-malformed")],
        ),
        (
            "expires-before-the-second-refresh",
            [&[op::EXPIRES, TIMESTAMP, 2][..], &publish(&all), &NOW, &LATER].concat(),
            vec![trusted("1.2.2.2"), code("metadata-expired")],
        ),
        (
            "a-second-left",
            [&[op::EXPIRES, TARGETS, 3][..], &publish(&all), &NOW].concat(),
            vec![trusted("1.2.2.2")],
        ),
        (
            "no-second-left",
            [&[op::EXPIRES, TARGETS, 1][..], &publish(&all), &NOW].concat(),
            vec![code("metadata-expired")],
        ),
        (
            "snapshot-as-timestamp",
            [&[op::MISNAME, SNAPSHOT, TIMESTAMP, 0][..], &NOW].concat(),
            vec![code("metadata-malformed")],
        ),
        (
            "role-as-targets",
            [&[op::SIGNERS, A, 0x60, 0, op::MISNAME, A, TARGETS, 1][..], &NOW].concat(),
            // Two of its keys signed it and the version is right, so it is the top-level role: names do not stand in files.
            vec!["1.1.1.1, top: absent, a/1: absent, b/2: absent, a/b/3: absent".to_owned()],
        ),
        (
            "listed-hash-is-another",
            [&[op::LIST, 0, 0, 2, 0][..], &NOW].concat(),
            vec![code("signed-hash-mismatch")],
        ),
        (
            "listed-length-is-another",
            [&[op::LIST, 1, 1, 1, 0][..], &NOW].concat(),
            vec![code("metadata-too-large")],
        ),
        ("literal-timestamp", [&literal([TIMESTAMP, 0], b"{}")[..], &NOW].concat(), vec![code("metadata-malformed")]),
        ("literal-root", [&literal([ROOT, 2], b"\xff\0")[..], &NOW].concat(), vec![code("metadata-malformed")]),
        (
            // The files in order of name: B, C, D, A and so on; the last but two is the timestamp.
            "signature-dropped",
            [&[op::SIGNATURE, 7, 0, 0, 0][..], &NOW].concat(),
            vec![code("metadata-threshold")],
        ),
        (
            "signature-of-another",
            [&[op::SIGNATURE, 7, 0, 3, 0][..], &NOW].concat(),
            vec![trusted("1.1.1.1")],
        ),
        ("bit-flipped", [&[op::FLIP, 7, 0x80, 0, 1][..], &NOW].concat(), vec![code("metadata-threshold")]),
        ("removed", [&[op::REMOVE, 7][..], &NOW].concat(), vec![code("repository-incomplete")]),
        (
            "delegated-targets",
            [&[op::TARGET, 1, 1, 1, op::TARGET, 2, 2, 2, op::TARGET, 3, 1, 3][..], &publish(&all), &NOW].concat(),
            vec![
                "1.2.2.2, top: targets: fetched, a/1: targets/A: fetched, b/2: targets/B: fetched, a/b/3: absent"
                    .to_owned(),
            ],
        ),
        (
            "delegated-below-its-threshold",
            [&[op::SIGNERS, A, 1, 0][..], &publish(&all), &NOW].concat(),
            vec!["1.2.2.2, top: targets: fetched, a/1: metadata-threshold, b/2: absent, a/b/3: absent".to_owned()],
        ),
        (
            // B delegates to C as A does, but to another key.
            "diamond",
            [
                &[op::DELEGATE, 2, 2, 3, 0, op::DELEGATE, 0, 2, 0, 1][..],
                &[op::SIGNERS, C, 0x41, 0, op::KEYS, C, 1, 0, 1, 2],
                &[op::TARGET, 3, 2, 2, op::TARGET, 3, 1, 2],
                &publish(&all),
                &NOW,
            ]
            .concat(),
            vec![
                "1.2.2.2, top: targets: fetched, a/1: targets/A/C: fetched, b/2: targets/B/C: fetched, a/b/3: absent"
                    .to_owned(),
            ],
        ),
        (
            "cycle-and-too-many-roles",
            [
                &[op::DELEGATE, 3, 0, 1, 0, op::DELEGATE, 3, 3, 1, 0, op::DELEGATE, 4, 1, 1, 0][..],
                &publish(&all),
                &NOW,
            ]
            .concat(),
            vec!["1.2.2.2, top: targets: fetched, a/1: too many roles, b/2: absent, a/b/3: absent".to_owned()],
        ),
        (
            "not-in-the-snapshot",
            [&publish(&all)[..], &[op::LIST, 1, 2, 4, 0], &NOW].concat(),
            vec!["1.2.2.2, top: targets: fetched, a/1: not in the snapshot, b/2: absent, a/b/3: absent".to_owned()],
        ),
        (
            "succinct",
            [&[op::DELEGATE, 0, 2, 0, 2, op::DELEGATE, 0, 2, 0, 3][..], &publish(&all), &NOW].concat(),
            vec![
                "1.2.2.2, top: targets: fetched, a/1: not in the snapshot, b/2: not in the snapshot, a/b/3: not in the snapshot"
                    .to_owned(),
            ],
        ),
    ]
}

#[test]
fn each_program_gets_as_far_as_it_should_and_nothing_wrong_is_trusted() {
    let mut seeds = Seeds::new();
    for (name, program, expected) in programs() {
        assert_eq!(refreshes(&refresh::hold(&program)), expected, "{name}");
        seeds.insert(name.to_owned(), program);
    }
    on_disk("refresh", &seeds);
}

/// One line for each refresh: what was found belongs to the refresh before it.
fn refreshes(log: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for entry in log {
        match lines.last_mut() {
            Some(line) if entry.contains(": ") => *line = format!("{line}, {entry}"),
            _ => lines.push(entry.clone()),
        }
    }
    lines
}

/// The sample as other programs would write it, and as its enemies would.
fn archives() -> Vec<(&'static str, bool, Vec<u8>)> {
    use support::image::{self, Image, content, position};

    let read = |path: &str| fs::read(folder(path)).unwrap();
    let mut entries = BTreeMap::new();
    for entry in tar::Archive::new(read("test-repos/source/app.tar").as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        entries.insert(entry.path().unwrap().to_str().unwrap().to_owned(), bytes);
    }
    let item: serde_json::Value = serde_json::from_slice(&entries["manifest.json"]).unwrap();
    let file = |name: &serde_json::Value| entries[name.as_str().unwrap()].clone();
    let layers: Vec<Vec<u8>> = item[0]["Layers"].as_array().unwrap().iter().map(file).collect();
    let gzip = layers.iter().map(|layer| (format!("{}+gzip", image::OCI_LAYER), image::gzip(layer))).collect();
    let sample = Image { config: file(&item[0]["Config"]), layers, blobs: gzip, docker_types: false };

    let name = archive::NAME;
    let mut twice = image::classic(&sample, &[name]);
    let manifest = twice[position(&twice, "manifest.json")].clone();
    twice.push(manifest);
    let mut renamed = image::hybrid(&sample, &[name]);
    let other = String::from_utf8(content(&renamed, "index.json")).unwrap().replace("1.4", "1.5");
    image::replace(&mut renamed, "index.json", other.as_bytes());
    vec![
        ("docker-save", true, read("test-repos/source/app.tar")),
        ("classic", true, image::tar(&image::classic(&sample, &[name]))),
        ("hybrid", true, image::tar(&image::hybrid(&sample, &[name]))),
        ("hybrid-of-gzip", true, image::tar(&image::registry_hybrid(&sample, &[name]))),
        ("oci-of-gzip", true, image::tar(&image::oci_archive(&sample, &[name]))),
        ("changed-layer", false, read("test-repos/hostile/changed-layer/app.tar")),
        ("extra-tag", false, read("test-repos/hostile/extra-tag/app.tar")),
        ("older-image", false, read("test-repos/source/app-old.tar")),
        ("manifest-twice", false, image::tar(&twice)),
        ("halves-of-two-names", false, image::tar(&renamed)),
    ]
}

#[test]
fn what_holds_for_any_archive_holds_for_the_seeds() {
    let seeds = archives();
    on_disk("check", &seeds.iter().map(|(name, _, bytes)| ((*name).to_owned(), bytes.clone())).collect());
    for (name, trusted, bytes) in &seeds {
        assert_eq!(archive::hold(bytes), *trusted, "{name}");
    }
}
