//! What it costs to look into an image: `cargo bench --bench packages [-- off|packages|files]`.
//!
//! An image of 1 GB (4 layers, 32,000 files, 400 packages), as a classic archive and as an oci-archive with gzip layers, is made in the temporary directory and kept, with
//! the list that `plimsoll packages` writes of it, signed. It is verified without looking at packages (`--packages off`), with packages, and with every file; prints the medians of
//! seven runs, taken in turn, and their ratios. With a word, that way alone is run, for its peak memory, which is printed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench may stop"
)]
#![allow(missing_docs, reason = "a program")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use plimsoll::client::{Client, DirSource, Store};
use plimsoll::image::archive::Archive;
use plimsoll::limits::ArchiveLimits;
use plimsoll::packages::check::{Mode, PackageChecks};
use plimsoll::packages::format::ListFormat;
use plimsoll::packages::inspect::{Inspected, Subject};
use plimsoll::verify::Verifier;
use support::image::{self, Image, Item, Stored, classic, file, oci_archive, tar};
use support::packages::{FOLDER, SPDX, STATUS, status};
use support::repo::Repo;

const LAYERS: u64 = 4;
const FILES: u64 = 8_000;
/// Of a file, on average: a third of that to five thirds.
const SIZE: u64 = 32 << 10;
const RUNS: usize = 7;
const WAYS: [&str; 3] = ["off", "packages", "files"];

fn main() {
    let wanted = std::env::args().find(|argument| WAYS.contains(&argument.as_str()));
    for (name, stored) in [("classic", Stored::Plain), ("gzip", Stored::Gzip)] {
        let folder = std::env::temp_dir().join(format!("plimsoll-bench-packages-{name}"));
        if !folder.join("root.json").exists() {
            make(&folder, stored);
        }
        let archive = folder.join("app.tar");
        let bytes = fs::metadata(&archive).unwrap().len();
        let ways: Vec<&str> = wanted.as_deref().map_or(WAYS.to_vec(), |way| vec![way]);
        let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
        for _ in 0..RUNS {
            for (way, seconds) in ways.iter().zip(&mut seconds) {
                seconds.push(verify(&folder, &archive, way));
            }
        }
        let medians: Vec<f64> = seconds.into_iter().map(median).collect();
        for (way, median) in ways.iter().zip(&medians) {
            println!("{name:8} {:>6} MB  {way:9} {median:.3} s  {:.2}", bytes / 1_000_000, median / medians[0]);
        }
    }
    let peak = fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", peak.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("peak memory is not known here"));
}

fn verify(folder: &Path, archive: &Path, way: &str) -> f64 {
    let root = fs::read(folder.join("root.json")).unwrap();
    let client = Client::new(root, DirSource::repository(folder).unwrap(), Store::in_memory());
    let checks = match way {
        "off" => PackageChecks::default().with_mode(Mode::Off),
        "packages" => PackageChecks::default().with_mode(Mode::Require),
        _ => PackageChecks::default().with_files(),
    };
    let verifier = Verifier::new(client).with_packages(checks);
    let start = Instant::now();
    let verdict = verifier.verify(archive);
    let seconds = start.elapsed().as_secs_f64();
    assert!(verdict.is_trusted(), "{verdict}");
    seconds
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn make(folder: &PathBuf, stored: Stored) {
    fs::create_dir_all(folder).unwrap();
    let words: Vec<String> = (0..400).map(|n| format!("package-{n} {n}.{}-1 amd64", n % 7)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let layers: Vec<Vec<u8>> = (0..LAYERS)
        .map(|layer| {
            let mut items: Vec<Item> = (0..FILES).map(|n| some_file(layer, n)).collect();
            items.push(file(STATUS, &status(&words)));
            tar(&items)
        })
        .collect();
    let image = Image::new(&layers, stored);
    drop(layers);
    let items = match stored {
        Stored::Plain => classic(&image, &[image::NAME]),
        _ => oci_archive(&image, &[image::NAME]),
    };
    let archive = folder.join("app.tar");
    fs::write(&archive, tar(&items)).unwrap();
    let limits = ArchiveLimits::default();
    let opened = Archive::open(&archive, &limits).unwrap();
    let inspected = Inspected::read(&opened, &Subject::default(), &limits, &|_, _| {}).unwrap();
    let mut list = Vec::new();
    inspected.write(ListFormat::Spdx, &mut list).unwrap();

    let mut repo = Repo::new();
    repo.target("targets", &format!("{FOLDER}manifest.json"), &image.manifest());
    repo.target("targets", &format!("{FOLDER}{SPDX}"), &list);
    repo.publish().save(folder);
    fs::write(folder.join("root.json"), repo.pinned()).unwrap();
}

/// Half of it compresses to nothing, half not at all, as programs and their data do on average.
fn some_file(layer: u64, n: u64) -> Item {
    let mut state = layer * FILES + n + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let size = SIZE / 3 + next() % (SIZE * 4 / 3);
    let half = size as usize / 16;
    let mut content: Vec<u8> = (0..half).flat_map(|_| next().to_le_bytes()).collect();
    content.resize(size as usize, b'x');
    file(&format!("usr/lib/layer-{layer}/{}/file-{n}", n % 97), &content)
}
