//! Long chains of roots: where they are read ahead, what is trusted, what is said and what is kept is the same as one by one.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic,
    clippy::type_complexity,
    reason = "tests state what they expect"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use plimsoll::client::{Client, Remembered, Store};
use plimsoll::limits::MetadataLimits;
use serde_json::json;
use support::repo::{NOW, ROOT, Repo, Signer, TIMESTAMP, envelope};
use support::source::{MemorySource, code};

const OTHER: Signer = Signer(60);
/// The newest root of [`long`].
const NEWEST: u64 = 40;

/// A repository whose root key changes with each root.
fn long() -> Repo {
    let mut repo = Repo::new();
    for n in 2..=NEWEST {
        repo.rotate("root", &[[ROOT, OTHER][usize::from(n % 2 == 0)]]);
    }
    repo
}

fn file(version: u64) -> String {
    format!("metadata/{version}.root.json")
}

/// What came of a refresh, and what it left.
#[derive(Debug, PartialEq)]
struct Outcome {
    trusted: Result<[u64; 4], (&'static str, String)>,
    store: BTreeMap<String, Vec<u8>>,
}

struct Setting {
    source: MemorySource,
    pinned: Vec<u8>,
    most: u32,
    folder: PathBuf,
}

impl Setting {
    fn new(test: &str, repo: &Repo, local: bool) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("root_chain").join(test).join(local.to_string());
        fs::remove_dir_all(&folder).ok();
        let mut source = MemorySource::new(repo);
        source.local = local;
        Self { source, pinned: repo.pinned(), most: 1024, folder }
    }

    /// Refreshes, and says what was asked for.
    fn refresh(self) -> (Outcome, Vec<String>) {
        let mut limits = MetadataLimits::default();
        limits.root_rotations = self.most;
        let client = Client::new(self.pinned, self.source, Store::folder(&self.folder));
        let client = client.with_time(NOW.parse().unwrap()).with_limits(limits);
        let trusted = client.refresh().map_err(|e| (code(&e), e.to_string())).map(|session| {
            let t = session.trusted();
            [t.root().version(), t.timestamp().version(), t.snapshot().version(), t.targets().version()]
        });
        let mut store = BTreeMap::new();
        for entry in fs::read_dir(&self.folder).unwrap().flatten().filter(|entry| entry.file_name() != "lock") {
            store.insert(entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
        }
        (Outcome { trusted, store }, client.source().take_requests())
    }
}

/// The versions in a stored chain.
fn kept(outcome: &Outcome) -> Vec<u64> {
    let mut versions = Vec::new();
    let mut rest = outcome.store.get("chain").map_or(&[][..], Vec::as_slice);
    while !rest.is_empty() {
        let end = rest.iter().position(|b| *b == b'\n').unwrap();
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        let (version, length) = head.split_once(' ').unwrap();
        versions.push(version.parse().unwrap());
        rest = &rest[end + 1 + length.parse::<usize>().unwrap() + 1..];
    }
    versions
}

#[test]
fn a_bad_root_ends_the_chain_where_it_stands_and_nothing_behind_it_counts() {
    let good = long();
    let signed_by = |signers: &'static [Signer]| {
        move |repo: &Repo, version: u64| {
            let root: serde_json::Value = serde_json::from_slice(&repo.files[&file(version)]).unwrap();
            envelope(&root["signed"], signers)
        }
    };
    let (old, new, both) = (signed_by(&[ROOT]), signed_by(&[OTHER]), signed_by(&[ROOT, OTHER]));
    let put = |source: &mut MemorySource, version: u64, bytes: Vec<u8>| {
        source.insert(&file(version), bytes);
    };
    // What is done to the root of an even version, and what comes of it; `None`: that the chain ends before it, well.
    let cases: &[(&str, &dyn Fn(&mut MemorySource, &Repo, u64), Option<Result<(), &str>>)] = &[
        ("as it is", &|_, _, _| {}, Some(Ok(()))),
        ("signed by both again", &|s, r, v| put(s, v, both(r, v)), Some(Ok(()))),
        ("not there", &|s, _, v| s.forget(&file(v)), None),
        ("signed by the old key alone", &|s, r, v| put(s, v, old(r, v)), Some(Err("metadata-threshold"))),
        ("signed by the new key alone", &|s, r, v| put(s, v, new(r, v)), Some(Err("metadata-threshold"))),
        ("one bit", &|s, _, v| s.damage(&file(v)), Some(Err("metadata-malformed"))),
        ("nothing", &|s, _, v| put(s, v, Vec::new()), Some(Err("metadata-malformed"))),
        ("the one before", &|s, r, v| put(s, v, r.files[&file(v - 1)].clone()), Some(Err("metadata-version"))),
        ("the one behind", &|s, r, v| put(s, v, r.files[&file(v + 1)].clone()), Some(Err("metadata-version"))),
        ("two further on", &|s, r, v| put(s, v, r.files[&file(v + 2)].clone()), Some(Err("metadata-version"))),
        ("unreadable", &|s, _, v| _ = s.broken.insert(file(v)), Some(Err("repository-unreadable"))),
        ("endless", &|s, _, v| _ = s.endless.insert(file(v)), Some(Err("metadata-too-large"))),
    ];
    for (name, damage, expected) in cases {
        for version in [2, 4, 6, 8, 18, 22, 38] {
            let refresh = |local: bool| {
                let mut setting = Setting::new("bad", &good, local);
                damage(&mut setting.source, &good, version);
                setting.refresh()
            };
            let (ahead, (one_by_one, requests)) = (refresh(true).0, refresh(false));
            assert_eq!(ahead, one_by_one, "{name}: {version}");
            let reached = match expected {
                Some(Ok(())) => NEWEST,
                None | Some(Err(_)) => version - 1,
            };
            assert_eq!(kept(&ahead), (2..=reached).collect::<Vec<_>>(), "{name}: {version}");
            match (expected, &ahead.trusted) {
                (Some(Err(expected)), Err((code, _))) => assert_eq!(code, expected, "{name}: {version}"),
                (Some(Ok(())) | None, Ok(trusted)) => assert_eq!(trusted, &[reached, 1, 1, 1], "{name}: {version}"),
                _ => panic!("{name}: {version}: {:?}", ahead.trusted),
            }
            // Where each is a request, none is made for what may not be needed.
            let roots = requests.iter().filter(|name| name.ends_with("root.json")).count();
            assert_eq!(roots as u64, reached, "{name}: {version}");
        }
    }
}

#[test]
fn a_stored_chain_is_followed_as_it_was_and_mended_where_it_is_damaged() {
    let repo = long();
    let good = Setting::new("stored", &repo, true).refresh().0;
    assert_eq!(good.trusted, Ok([NEWEST, 1, 1, 1]));
    let chain = &good.store["chain"];
    let refreshed = |chain: &[u8], local: bool| {
        let setting = Setting::new("stored", &repo, local);
        fs::create_dir_all(&setting.folder).unwrap();
        for (name, bytes) in &good.store {
            fs::write(setting.folder.join(name), if name == "chain" { chain } else { bytes }).unwrap();
        }
        setting.refresh()
    };
    let (again, requests) = refreshed(chain, false);
    assert_eq!((&again, requests), (&good, vec!["41.root.json".to_owned(), "timestamp.json".to_owned()]));
    for at in (0..chain.len()).step_by(chain.len() / 97) {
        let mut flipped = chain.clone();
        flipped[at] ^= 1;
        for (what, damaged) in [("flipped", flipped.as_slice()), ("cut", &chain[..at])] {
            for local in [true, false] {
                let (outcome, requests) = refreshed(damaged, local);
                assert_eq!(outcome.trusted, good.trusted, "{what} at {at}");
                assert_eq!(outcome.store, good.store, "{what} at {at}");
                assert!(requests.len() > 2, "{what} at {at}");
            }
        }
    }
}

#[test]
fn the_number_of_roots_is_bounded_ahead_too() {
    let repo = long();
    for local in [true, false] {
        for most in [1, 4, 5, 17, 38, 39, 40] {
            let mut setting = Setting::new("bounded", &repo, local);
            setting.most = most;
            let (outcome, requests) = setting.refresh();
            let reached = u64::from(most).saturating_add(1).min(NEWEST);
            assert_eq!(kept(&outcome), (2..=reached).collect::<Vec<_>>(), "{most}");
            assert_eq!(outcome.trusted.is_ok(), reached == NEWEST, "{most}: {:?}", outcome.trusted);
            let roots = requests.iter().filter(|name| name.ends_with("root.json")).count();
            assert_eq!(roots as u64, reached, "{most}: one more than were followed");
        }
    }
}

#[test]
fn keys_that_were_taken_away_on_the_way_take_the_floor_with_them() {
    // In the middle of a long chain the timestamp key changes, and its old holder had pushed the version out of reach.
    for local in [true, false] {
        let mut repo = Repo::new();
        repo.signed("timestamp")["version"] = json!(1_000_000);
        repo.write();
        let setting = Setting::new("forget", &repo, local);
        let folder = setting.folder.clone();
        assert_eq!(setting.refresh().0.trusted, Ok([1, 1_000_000, 1, 1]));
        let kept: Vec<_> =
            fs::read_dir(&folder).unwrap().flatten().map(|e| (e.path(), fs::read(e.path()).unwrap())).collect();
        repo.signed("timestamp")["version"] = json!(2);
        for (at, expected) in
            [(None, Err("metadata-rollback")), (Some(3), Ok(2)), (Some(20), Ok(2)), (Some(NEWEST), Ok(2))]
        {
            let mut next = repo.clone();
            for version in 2..=NEWEST {
                match at {
                    Some(at) if version == at => next.rotate("timestamp", &[OTHER]),
                    Some(at) if version == at + 1 => next.rotate("timestamp", &[TIMESTAMP]),
                    _ => next.rotate("root", &[[ROOT, OTHER][usize::from(version % 2 == 0)]]),
                };
            }
            let setting = Setting::new("forget", &next, local);
            fs::create_dir_all(&folder).unwrap();
            for (path, bytes) in &kept {
                fs::write(path, bytes).unwrap();
            }
            let trusted = setting.refresh().0.trusted;
            assert_eq!(trusted.map(|t| t[1]).map_err(|e| e.0), expected, "{at:?}");
        }
    }
}

#[test]
fn what_a_store_remembers_of_a_long_chain_decides_without_the_repository() {
    let repo = long();
    let setting = Setting::new("remembered", &repo, true);
    let folder = setting.folder.clone();
    let chain = setting.refresh().0.store["chain"].clone();
    let (wait, limit) = (std::time::Duration::from_secs(1), 1 << 20);
    // Decided in a copy of the store, by what the store itself remembers.
    let decided = || {
        let remembered = Remembered::of(&Store::folder(&folder), wait, limit).unwrap();
        let copy = Store::folder(&folder).copy_in_memory(wait, limit).unwrap();
        let client = Client::new(repo.pinned(), remembered, copy).with_time(NOW.parse().unwrap());
        client.refresh().map(|session| session.trusted().root().version()).map_err(|e| code(&e))
    };
    assert_eq!(decided(), Ok(NEWEST));
    // What is lost of the chain cannot be had again this way; then that a newer root was seen is what counts.
    for at in [0, 100, chain.len() / 2, chain.len() - 1] {
        fs::write(folder.join("chain"), &chain[..at]).unwrap();
        assert_eq!(decided(), Err("metadata-rollback"), "cut at {at}");
    }
    fs::write(folder.join("chain"), &chain).unwrap();
    assert_eq!(decided(), Ok(NEWEST));
}
