//! docs/scale.md shows what the model says, and the model knows what files weigh.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::cast_lossless,
    reason = "tests state what they expect"
)]

#[path = "../benches/support/fleet.rs"]
mod fleet;
#[path = "../benches/support/fleet_tables.rs"]
mod fleet_tables;
#[path = "../benches/support/repositories.rs"]
mod repositories;
mod support;

use std::fs;
use std::path::Path;

use fleet::{Fleet, Layout, Repository, best};
use repositories::{Plan, content};

#[test]
fn the_model_weighs_files_as_they_are() {
    let (images, bits) = (2_000, 5);
    let plans = [
        (Plan::flat(images), Layout::Flat),
        (Plan::hashed(images, bits), Layout::Listed(bits)),
        (Plan::hashed(images, bits).with_hashes(), Layout::Listed(bits)),
        (Plan::hashed(images, 8), Layout::Listed(8)),
        (Plan::succinct(images, bits), Layout::Succinct(bits)),
    ];
    for (plan, layout) in plans {
        let folder = tempfile::tempdir().unwrap();
        plan.write(folder.path());
        let weight = |file: &str| fs::metadata(folder.path().join("metadata").join(file)).unwrap().len() as f64;
        let model = Repository { images: images as f64, layout, hashes: plan.lists_hashes };
        let near = |what: &str, model: f64, found: f64| {
            assert!((model / found - 1.0).abs() < 0.02, "{plan:?}: {what} has {found} bytes, the model says {model}");
        };
        near("root", fleet::ROOT, weight("1.root.json"));
        near("timestamp", model.timestamp(), weight("timestamp.json"));
        near("snapshot", model.snapshot(), weight("1.snapshot.json"));
        near("targets", model.targets(), weight("1.targets.json"));
        near("manifest", fleet::MANIFEST, content(1, 1).len() as f64);
        if layout != Layout::Flat {
            near("bins", model.bin() * model.bins(), bins(&folder.path().join("metadata")));
        }
    }
}

/// The bytes of all bins.
fn bins(metadata: &Path) -> f64 {
    let files = fs::read_dir(metadata).unwrap().flatten();
    let bins = files.filter(|file| file.file_name().to_string_lossy().starts_with("1.bin-"));
    bins.map(|file| file.metadata().unwrap().len() as f64).sum()
}

#[test]
fn the_best_number_of_bins_weighs_snapshots_against_bins() {
    // The derivative of `snapshots * 2^b * entry + lookups * images / 2^b * weight` is zero where both parts weigh the same.
    for (images, refreshes, snapshots) in [(1e5, 20.0, 24.0), (1e7, 20.0, 24.0), (1e7, 96.0, 1e4), (1e8, 20.0, 1.0)] {
        let fleet = Fleet { refreshes, snapshots, ..fleet::FLEET };
        let day = best(images, false, &fleet).day(&fleet);
        let ratio = day.snapshots / day.targets;
        assert!((0.4..2.5).contains(&ratio), "{images} images: {day:?}");
    }
}

#[test]
fn the_page_shows_what_the_model_says() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scale.md")).unwrap();
    for fleet_tables::Table { title, text } in fleet_tables::all() {
        assert!(page.contains(&text), "{title}:\n{text}");
    }
}
