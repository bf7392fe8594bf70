//! Role files that nobody wrote: every bit flipped, every length cut, bytes of no kind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests state what they expect")]

mod support;

use plimsoll::trust::{AfterRoot, AfterSnapshot, AfterTimestamp, Roots, Rules, Trusted};
use serde_json::Value;
use support::repo::{NOW, Repo, Signer};

const NEW: Signer = Signer(40);

struct Stages {
    repo: Repo,
    roots: Roots,
    root: AfterRoot,
    timestamp: AfterTimestamp,
    snapshot: AfterSnapshot,
    trusted: Trusted,
}

fn stages() -> Stages {
    let mut repo = Repo::new();
    repo.delegate("targets", "team", &["a/*"], &[NEW], true).target("team", "a/b", b"x").target("targets", "c", b"y");
    repo.rotate("root", &[NEW]);
    let file = |name: &str| repo.files[&format!("metadata/{name}")].clone();
    let roots = Roots::pin(&file("1.root.json"), Rules::at(NOW.parse().unwrap())).unwrap();
    let root = roots.clone().finish().unwrap();
    let timestamp = root.timestamp(&file("timestamp.json")).unwrap();
    let snapshot = timestamp.snapshot(&file("1.snapshot.json")).unwrap();
    let trusted = snapshot.targets(file("1.targets.json")).unwrap();
    Stages { repo, roots, root, timestamp, snapshot, trusted }
}

impl Stages {
    /// Whether the core takes `bytes` for the file `name`.
    fn takes(&self, name: &str, bytes: &[u8]) -> bool {
        match name {
            "1.root.json" => Roots::pin(bytes, Rules::at(NOW.parse().unwrap())).is_ok(),
            "2.root.json" => self.roots.clone().rotate(bytes).is_ok(),
            "timestamp.json" => self.root.timestamp(bytes).is_ok(),
            "1.snapshot.json" => self.timestamp.snapshot(bytes).is_ok(),
            "1.targets.json" => self.snapshot.targets(bytes).is_ok(),
            "1.team.json" => {
                let mut trusted = self.trusted.clone();
                let mut search = trusted.search("a/b");
                let _needed = search.step().unwrap();
                search.provide(bytes).is_ok()
            }
            other => panic!("no such file: {other}"),
        }
    }
}

const FILES: [&str; 6] =
    ["1.root.json", "2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json", "1.team.json"];

#[test]
fn a_flipped_bit_is_refused_or_changes_nothing_that_is_signed() {
    let stages = stages();
    let files = FILES.iter().flat_map(|name| {
        // As it is written, with white space, and in canonical form, which is verified in its place.
        let written = stages.repo.files[&format!("metadata/{name}")].clone();
        let document: Value = serde_json::from_slice(&written).unwrap();
        [(*name, written), (*name, support::repo::canonical(&document).into_bytes())]
    });
    for (name, good) in files {
        assert!(stages.takes(name, &good), "{name}");
        let signed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["signed"].take();
        let meaning = signed(&good);
        let mut taken = 0;
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if stages.takes(name, &bytes) {
                taken += 1;
                assert_eq!(signed(&bytes), meaning, "{name}: bit {bit}");
            }
        }
        // White space turned into other white space, and the case of hex digits in a signature.
        assert!(taken < good.len(), "{name}: {taken} flips did no harm");
        // One more character than a canonical file has, wherever it stands, changes nothing but the way in which it is verified.
        let spaced = [&good[..1], b" ", &good[1..]].concat();
        assert!(stages.takes(name, &spaced) && stages.takes(name, &[&good, &b"\n"[..]].concat()), "{name}");
    }
}

#[test]
fn a_cut_file_is_refused() {
    let stages = stages();
    for name in FILES {
        let good = stages.repo.files[&format!("metadata/{name}")].clone();
        // The last byte is a newline, which is not part of the document.
        for length in 0..good.len() - 1 {
            assert!(!stages.takes(name, &good[..length]), "{name}: {length} bytes");
        }
    }
}

#[test]
fn no_file_passes_for_another() {
    let stages = stages();
    for name in FILES {
        for other in FILES.iter().filter(|other| **other != name) {
            // The second root is signed as it demands itself, so it could be pinned; that is the operator's choice.
            if (name, *other) == ("1.root.json", "2.root.json") {
                continue;
            }
            assert!(!stages.takes(name, &stages.repo.files[&format!("metadata/{other}")]), "{other} for {name}");
        }
    }
}

#[test]
fn bytes_of_no_kind_are_refused_without_a_panic() {
    let stages = stages();
    let deep = |n: usize| format!("{{\"signed\":{}1{},\"signatures\":[]}}", "[".repeat(n), "]".repeat(n)).into_bytes();
    let cases: &[Vec<u8>] = &[
        Vec::new(),
        b"\0".repeat(1000),
        b"{}".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        br#"{"signed":{},"signatures":[]}"#.to_vec(),
        br#"{"signed":null,"signatures":null}"#.to_vec(),
        br#"{"signatures":[{"keyid":"a","sig":"b"}],"signed":{"_type":"root"}}"#.to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"<html>404</html>".to_vec(),
        deep(60),
        deep(100_000),
        vec![b'['; 1_000_000],
        vec![b'9'; 1_000_000],
    ];
    for name in FILES {
        for (n, bytes) in cases.iter().enumerate() {
            assert!(!stages.takes(name, bytes), "{name}: case {n}");
        }
    }
}
