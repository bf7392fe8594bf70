//! How fast a flat repository of many targets is verified and looked up in: `cargo bench --bench targets [-- TARGETS...]`.
//!
//! TARGETS is the number of targets, by default 100,000 and 1,000,000. Repositories are made in the temporary directory and kept. Prints
//! the median of five runs of refresh and two lookups in a repository that has not changed (all of `targets.json` is read from the local
//! store, hashed, parsed, and its signature checked), beside what that is measured against: hashing the file as often as TUF wants it
//! hashed (SHA-256, as the snapshot lists it, and SHA-512, which is how an Ed25519 signature starts) and scanning its JSON once without
//! keeping anything. Both forms of the file are measured: canonical, as python-tuf writes it, and indented, as tough does.
//! Peak memory counts making the repositories too: run it a second time, with one number and form (`canonical`), for that of verifying alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a bench may stop"
)]
#![allow(missing_docs, reason = "a program")]

#[path = "support/repositories.rs"]
mod repositories;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use plimsoll::client::{Client, DirSource, Store};
use plimsoll::digest::{Sha256, Sha512};
use repositories::{Plan, content, path_of};
use serde::de::IgnoredAny;
use support::repo::NOW;

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let canonical_alone = std::env::args().any(|a| a == "canonical");
    for number in if numbers.is_empty() { vec![100_000, 1_000_000] } else { numbers } {
        measure(Plan::flat(number));
        if !canonical_alone {
            measure(Plan::flat(number).indented());
        }
    }
}

fn measure(plan: Plan) {
    let Plan { targets: number, form, .. } = plan;
    let folder = std::env::temp_dir().join(format!("plimsoll-bench-{number}-targets-{form:?}").to_lowercase());
    if !folder.exists() {
        plan.write(&folder);
    }
    let file = fs::read(folder.join("metadata/1.targets.json")).unwrap();
    let least = median(|| {
        serde_json::from_slice::<IgnoredAny>(&file).unwrap();
        assert!(Sha256::of(&file).to_hex() != Sha512::of(&file).to_hex());
    });
    let size = file.len();
    drop(file);
    let pinned = fs::read(folder.join("metadata/1.root.json")).unwrap();
    let verify = median(|| {
        let source = DirSource::repository(&folder).unwrap();
        let client =
            Client::new(pinned.clone(), source, Store::folder(folder.join("store"))).with_time(NOW.parse().unwrap());
        let mut session = client.refresh().unwrap();
        let found = session.find(&path_of(plan.looked_up())).unwrap().unwrap();
        assert_eq!(session.fetch(&found).unwrap(), content(plan.looked_up(), 1));
        assert!(session.find(&path_of(number)).unwrap().is_err());
    });
    println!(
        "{number} targets, {form:?}, {} MB: hash and scan {least:.0?}, refresh and two lookups {verify:.0?}, ratio {:.2}, peak memory {}",
        size / 1_000_000,
        verify.as_secs_f64() / least.as_secs_f64(),
        peak_memory(),
    );
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[2]
}

/// The most memory that the process ever had, as Linux counts it.
fn peak_memory() -> String {
    let status = fs::read_to_string(PathBuf::from("/proc/self/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
}
