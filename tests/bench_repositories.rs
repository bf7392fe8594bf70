//! The large repositories that the benches measure with are what they are said to be: here small ones.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    reason = "tests state what they expect"
)]

#[path = "../benches/support/repositories.rs"]
mod repositories;
mod support;

use std::fs;
use std::path::Path;

use plimsoll::client::{Client, DirSource, Store};
use repositories::{Plan, content, path_of};
use support::repo::NOW;

fn client(folder: &Path, store: Store) -> Client<DirSource> {
    let root = fs::read(folder.join("metadata/1.root.json")).unwrap();
    Client::new(root, DirSource::repository(folder).unwrap(), store).with_time(NOW.parse().unwrap())
}

#[test]
fn each_real_target_of_each_layout_can_be_fetched_and_so_can_its_next_edition() {
    let plans = [
        Plan::flat(300),
        Plan::flat(300).indented(),
        Plan::flat(5),
        Plan::hashed(300, 6),
        Plan::hashed(300, 6).with_hashes(),
        Plan::hashed(300, 5).indented(),
        Plan::hashed(300, 8),
        Plan::succinct(300, 6),
        Plan::succinct(300, 6).with_hashes(),
    ];
    for plan in plans {
        let folder = tempfile::tempdir().unwrap();
        plan.write(folder.path());
        let store = Store::folder(folder.path().join("store"));
        let client = client(folder.path(), store);
        for edition in 1..=3 {
            if edition > 1 {
                plan.publish(folder.path(), edition);
            }
            let mut session = client.refresh().unwrap();
            for n in plan.real() {
                let edition = if n == plan.changed() { edition } else { 1 };
                let found = session.find(&path_of(n)).unwrap().unwrap();
                assert_eq!(session.fetch(&found).unwrap(), content(n, edition), "{plan:?} {n}");
            }
            assert!(plan.real().contains(&plan.looked_up()) && plan.changed() != plan.looked_up());
            assert!((0..plan.targets).all(|n| session.find(&path_of(n)).unwrap().is_ok()));
            assert!(session.find(&path_of(plan.targets)).unwrap().is_err());
        }
    }
}

#[test]
fn a_chain_of_roots_is_followed_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    repositories::roots(folder.path(), 9);
    let client = client(folder.path(), Store::in_memory());
    let mut session = client.refresh().unwrap();
    assert_eq!(session.trusted().root().version(), 10);
    let found = session.find(&path_of(0)).unwrap().unwrap();
    assert_eq!(session.fetch(&found).unwrap(), content(0, 1));
}

#[test]
fn flat_and_hashed_are_what_bench_programs_ask_for_by_name() {
    let folder = tempfile::tempdir().unwrap();
    repositories::flat(&folder.path().join("flat"), 10);
    repositories::hashed(&folder.path().join("hashed"), 10, 4);
    assert!(folder.path().join("flat/metadata/1.targets.json").exists());
    assert!(folder.path().join("hashed/metadata/1.bin-f.json").exists());
}
