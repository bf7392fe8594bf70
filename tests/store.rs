//! The local store: what happens when it is damaged, tampered with, shared, cut short, or cannot be written.
//!
//! The promise: the next refresh works, and never trusts less or older than before.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests state what they expect")]
#![allow(clippy::type_complexity, reason = "tables")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use plimsoll::client::{Client, ClientError, Remembered, Source, Store, Undecided};
use serde_json::json;
use support::repo::{NOW, ROOT, Repo, Signer, TIMESTAMP};
use support::source::{MemorySource, client, code};

const NEW: Signer = Signer(40);

fn folder(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("store").join(test);
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    path
}

fn refresh(repo: &Repo, store: &Path) -> Result<[u64; 4], &'static str> {
    let client = client(repo, Store::folder(store));
    let session = client.refresh().map_err(|e| code(&e))?;
    let t = session.trusted();
    Ok([t.root().version(), t.timestamp().version(), t.snapshot().version(), t.targets().version()])
}

/// All files of a store but the lock, by name.
fn contents(store: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(store).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        assert!(entry.path().is_file(), "{name}");
        if name != "lock" {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    files
}

/// The roots that a store holds behind the pinned one, as its chain has them.
fn chain<'r>(roots: impl IntoIterator<Item = (u64, &'r [u8])>) -> Vec<u8> {
    let record =
        |(version, root): (u64, &[u8])| [format!("{version} {}\n", root.len()).as_bytes(), root, b"\n"].concat();
    roots.into_iter().flat_map(record).collect()
}

fn restore(store: &Path, files: &BTreeMap<String, Vec<u8>>) {
    if store.exists() {
        fs::remove_dir_all(store).unwrap();
    }
    for (name, bytes) in files {
        let path = store.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// A repository some versions on, in which nothing is in its first version any more.
fn aged() -> Repo {
    let mut repo = Repo::new();
    repo.delegate("targets", "team", &["a/*"], &[NEW], false).target("team", "a/b", b"x");
    repo.publish().publish().rotate("root", &[NEW]).rotate("root", &[ROOT]);
    repo
}

#[test]
fn it_holds_what_was_trusted_byte_for_byte() {
    let store = folder("bytes");
    let repo = aged();
    let client = client(&repo, Store::folder(&store));
    client.refresh().unwrap().find("a/b").unwrap().unwrap();
    let files = contents(&store);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["chain", "pinned", "root.json", "snapshot.json", "targets.json", "team.json", "timestamp.json"]);
    let root = |version: u64| (version, repo.files[&format!("metadata/{version}.root.json")].as_slice());
    assert_eq!(files["chain"], chain([root(2), root(3)]));
    for (local, remote) in [
        ("root.json", "3.root.json"),
        ("timestamp.json", "timestamp.json"),
        ("snapshot.json", "3.snapshot.json"),
        ("targets.json", "3.targets.json"),
        ("team.json", "1.team.json"),
    ] {
        assert_eq!(files[local], repo.files[&format!("metadata/{remote}")], "{local}");
    }
}

#[test]
fn role_names_do_not_leave_it() {
    let names = [
        "../up",
        "a/b",
        "..",
        ".",
        "?x",
        "#x",
        "%2e%2e",
        "nul\u{1}",
        "Ünï",
        "con:",
        "sp ace",
        &"x".repeat(300),
        "Timestamp",
        "ROOT",
        "Roots",
    ];
    for name in names {
        let store = folder("names");
        let mut repo = Repo::new();
        repo.delegate("targets", name, &["a/*"], &[NEW], false).target(name, "a/b", b"x").write();
        let client = client(&repo, Store::folder(&store));
        let mut session = client.refresh().unwrap();
        let found = session.find("a/b").unwrap().unwrap();
        assert_eq!(session.fetch(&found).unwrap(), b"x", "{name:?}");
        drop(session);
        let kept = contents(&store).len();
        let is_kept = name.len() <= 200 && !["Timestamp", "ROOT"].contains(&name);
        assert_eq!(kept, if is_kept { 6 } else { 5 }, "{name:?}: {:?}", contents(&store).keys());
        let up: Vec<_> = fs::read_dir(store.parent().unwrap()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert!(!up.iter().any(|f| f.to_string_lossy().contains("up.json")), "{up:?}");
    }
}

#[test]
fn a_damaged_file_costs_a_download_and_no_trust() {
    type Damage = fn(&[u8]) -> Vec<u8>;
    let damages: &[(&str, Damage)] = &[
        ("emptied", |_| Vec::new()),
        ("cut", |b| b[..b.len() / 2].to_vec()),
        ("one bit flipped in the middle", |b| {
            let mut b = b.to_vec();
            let middle = b.len() / 2;
            b[middle] ^= 1;
            b
        }),
        ("garbage", |_| b"\0\xff not json".to_vec()),
        ("another role", |_| Repo::new().sign("targets")),
    ];
    let path = folder("damage");
    let repo = aged();
    let good = refresh(&repo, &path).unwrap();
    let files = contents(&path);
    for name in files.keys() {
        for (damage, edit) in damages {
            let mut damaged = files.clone();
            damaged.insert(name.clone(), edit(&files[name]));
            restore(&path, &damaged);
            assert_eq!(refresh(&repo, &path), Ok(good), "{name}: {damage}");
            assert_eq!(contents(&path), files, "{name}: {damage}: mended");
        }
        let mut without = files.clone();
        without.remove(name);
        restore(&path, &without);
        assert_eq!(refresh(&repo, &path), Ok(good), "{name}: removed");
    }
}

#[test]
fn a_tampered_store_gives_no_trust() {
    // Everything of another repository, in the place of what was trusted.
    let path = folder("tampered");
    let mut evil = Repo::new();
    evil.rotate("root", &[Signer(66)]).rotate("timestamp", &[Signer(66)]).rotate("snapshot", &[Signer(66)]);
    evil.rotate("targets", &[Signer(66)]).target("targets", "a/b", b"evil").publish();
    let mut files = BTreeMap::new();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        files.insert(format!("{role}.json"), evil.sign(role));
    }
    let mut good = Repo::new();
    good.target("targets", "a/b", b"good").write();
    files.remove("root.json");
    restore(&path, &files);
    let client = client(&good, Store::folder(&path));
    let mut session = client.refresh().unwrap();
    let found = session.find("a/b").unwrap().unwrap();
    assert_eq!(session.fetch(&found).unwrap(), b"good");
}

#[test]
fn a_lost_root_chain_does_not_hide_that_a_newer_root_was_seen() {
    let path = folder("lost_chain");
    let repo = aged();
    refresh(&repo, &path).unwrap();
    fs::remove_file(path.join("chain")).unwrap();
    // The mirror goes along with it and shows the first root only.
    let mut hidden = Repo::new();
    hidden.publish().publish().publish();
    assert_eq!(refresh(&hidden, &path), Err("metadata-rollback"));
    assert_eq!(refresh(&repo, &path), Ok([3, 3, 3, 3]), "the honest mirror is followed");
}

#[test]
fn a_damaged_root_chain_takes_no_floor_away() {
    // The second root took a timestamp key away. That it must be fetched again is no reason to forget what came after it.
    let mut old = Repo::new();
    old.rotate("timestamp", &[NEW]).publish();
    let mut new = old.clone();
    new.publish().rotate("root", &[NEW]);
    let path = folder("damaged_chain");
    let good = refresh(&new, &path).unwrap();
    let files = contents(&path);
    type Damage = fn(&mut BTreeMap<String, Vec<u8>>);
    let cases: &[(&str, Damage)] = &[
        ("as it is", |_| {}),
        ("one bit", |f| f.get_mut("chain").unwrap()[100] ^= 1),
        ("one root lost", |f| drop(f.get_mut("chain").unwrap().drain(..2000))),
        ("all but the newest lost", |f| drop(f.remove("chain"))),
    ];
    for (name, damage) in cases {
        let mut state = files.clone();
        damage(&mut state);
        restore(&path, &state);
        let mut rolled_back = new.clone();
        for file in ["metadata/timestamp.json", "metadata/3.snapshot.json"] {
            match old.files.get(file) {
                Some(bytes) => drop(rolled_back.files.insert(file.to_owned(), bytes.clone())),
                None => drop(rolled_back.files.remove(file)),
            }
        }
        assert_eq!(refresh(&rolled_back, &path), Err("metadata-rollback"), "{name}");
        assert_eq!(refresh(&new, &path), Ok(good), "{name}");
    }
}

#[test]
fn a_store_belongs_to_the_root_it_was_first_used_with() {
    let path = folder("other_root");
    let repo = aged();
    assert_eq!(refresh(&repo, &path), Ok([3, 3, 3, 3]));
    let before = contents(&path);
    let with_pin = |repo: &Repo, pin: Vec<u8>| {
        let client = Client::new(pin, MemorySource::new(repo), Store::folder(&path)).with_time(NOW.parse().unwrap());
        client.refresh().map(|session| session.trusted().root().version()).map_err(|e| code(&e))
    };
    // Another repository, whether its root is older or newer than what was seen.
    let mut other = Repo::new();
    other.signed("root")["x-name"] = json!("other");
    other.files.remove("metadata/1.root.json");
    other.write();
    assert_eq!(with_pin(&other, other.pinned()), Err("store-of-another-root"));
    for _ in 0..5 {
        other.bump("root").write_role("root");
    }
    assert_eq!(with_pin(&other, other.pinned()), Err("store-of-another-root"));
    assert_eq!(contents(&path), before, "nothing of what was remembered is lost");
    // A later root of the same chain, and the same root with its signatures written differently.
    assert_eq!(with_pin(&repo, repo.files["metadata/3.root.json"].clone()), Ok(3));
    let first: serde_json::Value = serde_json::from_slice(&repo.pinned()).unwrap();
    assert_eq!(with_pin(&repo, serde_json::to_vec(&first).unwrap()), Ok(3));
    assert_eq!(contents(&path), before);
}

#[test]
fn a_damaged_chain_locks_out_nobody_who_pinned_a_root_in_the_middle_of_it() {
    let path = folder("pinned_in_the_middle");
    let mut repo = aged();
    repo.rotate("root", &[NEW]).rotate("root", &[ROOT]);
    assert_eq!(refresh(&repo, &path), Ok([5, 3, 3, 3]));
    let good = contents(&path);
    let with_pin = |repo: &Repo, version: u64| {
        let pin = repo.files[&format!("metadata/{version}.root.json")].clone();
        let client = Client::new(pin, MemorySource::new(repo), Store::folder(&path)).with_time(NOW.parse().unwrap());
        client.refresh().map(|session| session.trusted().root().version()).map_err(|e| code(&e))
    };
    let mut other = Repo::of([Signer(71), Signer(72), Signer(73), Signer(74)]);
    for _ in 2..=5 {
        other.bump("root").write_role("root");
    }
    type Damage = fn(&mut Vec<u8>);
    let damages: &[(&str, Damage)] = &[
        ("as it is", |_| {}),
        ("the first head", |chain| chain[0] = b'9'),
        ("the first root", |chain| chain[100] ^= 1),
        ("a later root", |chain| *chain.iter_mut().nth_back(100).unwrap() ^= 1),
        ("cut", |chain| chain.truncate(1000)),
        ("gone", Vec::clear),
    ];
    for (name, damage) in damages {
        for version in 2..=5 {
            let mut damaged = good.clone();
            damage(damaged.get_mut("chain").unwrap());
            restore(&path, &damaged);
            assert_eq!(with_pin(&other, version), Err("store-of-another-root"), "{name}: {version}");
            assert_eq!(contents(&path), damaged, "{name}: {version}: nothing is lost");
            assert_eq!(with_pin(&repo, version), Ok(5), "{name}: {version}");
            assert_eq!(refresh(&repo, &path), Ok([5, 3, 3, 3]), "{name}: {version}");
            assert_eq!(contents(&path), good, "{name}: {version}: mended");
        }
    }
    // A stale mirror that mends the front takes nothing behind it away.
    let mut damaged = good.clone();
    damaged.get_mut("chain").unwrap()[100] ^= 1;
    restore(&path, &damaged);
    let mut stale = repo.clone();
    stale.files.remove("metadata/4.root.json");
    assert_eq!(refresh(&stale, &path), Err("metadata-rollback"));
    assert_eq!(contents(&path), good);
}

#[test]
fn killed_between_any_two_writes_it_is_as_before_or_as_after() {
    // The states that a refresh passes through are those after each of its writes; they are replayed one by one.
    let path = folder("killed");
    let mut repo = aged();
    refresh(&repo, &path).unwrap();
    let before = contents(&path);
    repo.rotate("timestamp", &[Signer(50)]).bump("targets").bump("snapshot").bump("timestamp").write();
    let target = refresh(&repo, &path).unwrap();
    let after = contents(&path);

    // In the order in which the client writes: marker, root, the two that are forgotten, marker gone, then the new files.
    let mut states = vec![before.clone()];
    let mut push = |name: &str, bytes: Option<&Vec<u8>>| {
        let mut state = states.last().unwrap().clone();
        match bytes {
            Some(bytes) => drop(state.insert(name.to_owned(), bytes.clone())),
            None => drop(state.remove(name)),
        }
        states.push(state);
    };
    push("forget", Some(&b"4".to_vec()));
    // It grows at its end, and may be cut there.
    for end in [before["chain"].len() + 1, after["chain"].len() - 1, after["chain"].len()] {
        push("chain", Some(&after["chain"][..end].to_vec()));
    }
    push("timestamp.json", None);
    push("snapshot.json", None);
    push("forget", None);
    for name in ["root.json", "timestamp.json", "snapshot.json", "targets.json"] {
        push(name, Some(&after[name]));
    }
    assert_eq!(states.last().unwrap(), &after, "the list of writes is complete");
    for (n, state) in states.iter().enumerate() {
        restore(&path, state);
        // A temporary file that was never renamed, too.
        fs::write(path.join(".new-timestamp.json"), b"{").unwrap();
        assert_eq!(refresh(&repo, &path), Ok(target), "state {n}");
        assert_eq!(contents(&path), after, "state {n}: nothing left behind");
    }
}

#[test]
fn a_rotation_that_was_cut_short_still_takes_the_floor_away() {
    // Killed after the new root was stored and before the old timestamp was removed. One of its two keys remains.
    let path = folder("cut_short");
    let mut repo = Repo::new();
    repo.rotate("timestamp", &[TIMESTAMP, NEW]);
    repo.signed("root")["roles"]["timestamp"]["threshold"] = json!(1);
    repo.bump("root").write_role("root");
    repo.signed("timestamp")["version"] = json!(1_000_000);
    repo.write();
    assert_eq!(refresh(&repo, &path), Ok([3, 1_000_000, 1, 1]));
    let mut state = contents(&path);
    repo.signed("timestamp")["version"] = json!(2);
    repo.rotate("timestamp", &[TIMESTAMP]);
    state.get_mut("chain").unwrap().extend(chain([(4, repo.files["metadata/4.root.json"].as_slice())]));

    restore(&path, &state);
    assert_eq!(refresh(&repo, &path), Err("metadata-rollback"), "without the marker the old floor stands");
    state.insert("forget".to_owned(), b"4".to_vec());
    restore(&path, &state);
    assert_eq!(refresh(&repo, &path), Ok([4, 2, 1, 1]));
    // A marker for a root that was never stored takes nothing away.
    let mut early = contents(&path);
    early.insert("forget".to_owned(), b"9".to_vec());
    restore(&path, &early);
    repo.signed("timestamp")["version"] = json!(1);
    assert_eq!(refresh(repo.write(), &path), Err("metadata-rollback"));
}

#[test]
fn one_process_at_a_time() {
    let path = folder("locked");
    let repo = Repo::new();
    let store = Store::folder(&path);
    let held = store.lock(Duration::ZERO).unwrap();
    let waiting = client(&repo, Store::folder(&path)).with_lock_wait(Duration::from_millis(50));
    let Err(ClientError::Undecided(error)) = waiting.refresh() else { panic!("the store is locked") };
    assert_eq!(error.code(), "store-locked");
    let text = error.to_string();
    assert!(text.contains(&format!("in use by process {}", std::process::id())), "{text}");
    drop(held);
    assert!(waiting.refresh().is_ok());
}

#[test]
fn one_session_at_a_time_in_memory_too() {
    let client = client(&Repo::new(), Store::in_memory()).with_lock_wait(Duration::from_millis(50));
    let session = client.refresh().unwrap();
    assert_eq!(code(&client.refresh().unwrap_err()), "store-locked");
    drop(session);
    assert!(client.refresh().is_ok());
}

#[test]
fn two_refreshes_at_once_end_with_the_newer_state() {
    let path = folder("two_at_once");
    let old = aged();
    let mut new = old.clone();
    new.publish();
    std::thread::scope(|scope| {
        for round in 0..20 {
            let (path, repo) = (&path, if round % 2 == 0 { &old } else { &new });
            scope.spawn(move || {
                let got = refresh(repo, path);
                assert!(matches!(got, Ok([3, 3 | 4, ..]) | Err("metadata-rollback")), "{got:?}");
            });
        }
    });
    assert_eq!(refresh(&new, &path), Ok([3, 4, 4, 4]));
    assert_eq!(refresh(&old, &path), Err("metadata-rollback"));
}

#[test]
fn a_clock_behind_the_highest_time_seen_is_refused() {
    let path = folder("clock");
    let repo = Repo::new();
    // The clock itself is not moved about here: the time remembered is.
    let remember = |time: DateTime<Utc>| {
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("clock"), time.to_rfc3339()).unwrap();
    };
    let refresh = || {
        let client = Client::new(repo.pinned(), MemorySource::new(&repo), Store::folder(&path)).with_time_memory();
        client.refresh().map(drop)
    };
    refresh().unwrap();
    let seen: DateTime<Utc> = fs::read_to_string(path.join("clock")).unwrap().parse().unwrap();
    assert!((Utc::now() - seen).num_seconds() < 60);

    remember(Utc::now() + Duration::from_secs(240));
    refresh().unwrap();
    remember(Utc::now() + Duration::from_secs(360));
    let Err(ClientError::Undecided(error)) = refresh() else { panic!("the clock is behind") };
    assert!(matches!(error, Undecided::ClockBehind { .. }));
    let text = error.to_string();
    assert!(text.contains("remove") && text.contains(&path.join("clock").display().to_string()), "{text}");

    // The ways out: remove the file as it says, or say what time it is.
    let told = client(&repo, Store::folder(&path)).with_time_memory().with_time(NOW.parse().unwrap());
    told.refresh().map(drop).unwrap();
    fs::remove_file(path.join("clock")).unwrap();
    refresh().unwrap();
    // What is not a time is no memory.
    fs::write(path.join("clock"), b"\xff").unwrap();
    refresh().unwrap();
}

#[test]
fn a_place_that_cannot_be_a_store_is_named() {
    let path = folder("not_a_folder");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"a file").unwrap();
    let client = client(&Repo::new(), Store::folder(&path));
    let error = client.refresh().unwrap_err();
    assert_eq!(code(&error), "store-unusable");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    drop(client);
    fs::remove_file(&path).unwrap();
}

/// There may be thousands of delegated roles, and a copy is made at each pull of a node.
#[test]
fn a_copy_reads_delegated_roles_where_they_are_and_changes_nothing_there() {
    let mut repo = Repo::new();
    repo.delegate("targets", "team", &["app/*"], &[NEW], false).target("team", "app/a", b"abc").write();
    let path = folder("copy");
    client(&repo, Store::folder(&path)).refresh().unwrap().find("app/a").unwrap().unwrap();
    let (good, limit) = (contents(&path), 1 << 20);
    let asked = |name: &str| {
        let copy = Store::folder(&path).copy_in_memory(Duration::from_secs(1), limit).unwrap();
        let client = client(&repo, copy);
        let found = client.refresh().unwrap().find("app/a").unwrap().unwrap();
        assert_eq!(found.file().length(), 3, "{name}");
        // What was read from the folder is not in the copy; what was fetched is.
        let learned = Remembered::of(client.store(), Duration::from_secs(1), limit).unwrap();
        let asked = client.source().take_requests();
        assert_eq!(
            learned.metadata("team.json").unwrap().is_some(),
            asked.contains(&"1.team.json".to_owned()),
            "{name}"
        );
        asked
    };
    assert_eq!(asked("as it was"), ["2.root.json", "timestamp.json"]);
    let cases: &[(&str, fn(&mut Vec<u8>))] =
        &[("damaged", |team| *team.last_mut().unwrap() = b'x'), ("cut", |team| team.truncate(10))];
    for (name, edit) in cases {
        let mut files = good.clone();
        edit(files.get_mut("team.json").unwrap());
        restore(&path, &files);
        assert_eq!(asked(name), ["2.root.json", "timestamp.json", "1.team.json"]);
        assert_eq!(contents(&path), files, "{name}");
    }
    // What guards is in the copy: another process that lowers it meanwhile lowers nothing here.
    restore(&path, &good);
    let copy = Store::folder(&path).copy_in_memory(Duration::from_secs(1), limit).unwrap();
    repo.bump("timestamp").write();
    fs::remove_dir_all(&path).unwrap();
    client(&repo, copy).refresh().unwrap().find("app/a").unwrap().unwrap();
}
