//! How fast an archive is verified: `cargo bench --bench archive [-- FILE]`.
//!
//! Without FILE, archives are made in the temporary directory: classic with 4 layers (1.3 GB), classic with one layer (1 GB), an
//! oci-archive with 4 gzip layers, one with a single gzip layer, and a classic one (1 GB) compressed as a whole with gzip and with zstd. Prints the median of five runs and the speed over stored bytes.
//! Peak memory counts making the archives too: run it a second time for that of verifying them.
//! Compare with `openssl dgst -sha256 FILE`, or `gzip -dc FILE | wc -c`, on the same file, which is kept (its path is printed). With FILE, an archive is
//! verified against its own manifest, or one made up for it: for measuring and trying real archives, not for deciding anything.
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

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use plimsoll::image::VerifiedImage;
use plimsoll::image::archive::Archive;
use plimsoll::image::check::{SignedImage, check};
use plimsoll::image::inventory::Inventory;
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;
use support::image::{self, Image, Stored, classic, oci_archive, tar};

fn main() {
    let files: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if files.is_empty() {
        for (name, make) in made() {
            let path = std::env::temp_dir().join(format!("plimsoll-bench-{name}.tar"));
            let manifest_path = path.with_extension("manifest.json");
            if !path.exists() {
                let (archive, manifest) = make();
                File::create(&path).unwrap().write_all(&archive).unwrap();
                File::create(&manifest_path).unwrap().write_all(&manifest).unwrap();
            }
            measure(name, &path, &std::fs::read(manifest_path).unwrap());
        }
    }
    for file in files {
        let path = PathBuf::from(&file);
        measure(&file, &path, &made_up_manifest(&path));
    }
}

type Make = fn() -> (Vec<u8>, Vec<u8>);

fn made() -> [(&'static str, Make); 6] {
    [
        ("classic-4-layers", || plain(&[425 << 20, 325 << 20, 300 << 20, 250 << 20])),
        ("classic-1-layer", || plain(&[1 << 30])),
        ("gzip-4-layers", || gzipped(&[212 << 20, 162 << 20, 150 << 20, 125 << 20])),
        ("gzip-1-layer", || gzipped(&[512 << 20])),
        ("whole-gzip", || whole(image::gzip)),
        ("whole-zstd", || whole(image::zstd)),
    ]
}

fn plain(sizes: &[usize]) -> (Vec<u8>, Vec<u8>) {
    let layers: Vec<_> = sizes.iter().zip(1..).map(|(size, seed)| noise(*size, seed)).collect();
    let image = Image::new(&layers, Stored::Plain);
    (tar(&classic(&image, &[image::NAME])), image.manifest())
}

fn gzipped(sizes: &[usize]) -> (Vec<u8>, Vec<u8>) {
    let layers: Vec<_> = sizes.iter().zip(1..).map(|(size, seed)| words(*size, seed)).collect();
    let image = Image::new(&layers, Stored::Gzip);
    (tar(&oci_archive(&image, &[image::NAME])), image.manifest())
}

fn whole(compress: fn(&[u8]) -> Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let layers: Vec<_> = [(512 << 20, 1), (512 << 20, 2)].iter().map(|(size, seed)| words(*size, *seed)).collect();
    let image = Image::new(&layers, Stored::Plain);
    (compress(&tar(&classic(&image, &[image::NAME]))), image.manifest())
}

/// Bytes that do not compress.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..size / 8).flat_map(|_| next()).collect()
}

/// Bytes that compress to about a third, like programs do.
fn words(size: usize, seed: u64) -> Vec<u8> {
    let dictionary = noise(64 * 1024, seed);
    let mut state = seed;
    let mut out = Vec::with_capacity(size + 64);
    while out.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 33) as usize % (dictionary.len() - 64);
        out.extend_from_slice(&dictionary[at..at + 4 + (state >> 59) as usize]);
    }
    out.truncate(size);
    out
}

/// A manifest that fits the archive: that of its layout, or one made up from `manifest.json`.
fn made_up_manifest(path: &Path) -> Vec<u8> {
    let mut archive = ::tar::Archive::new(File::open(path).unwrap());
    let mut files = std::collections::BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut content = Vec::new();
        if entry.size() < 4 << 20 {
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        }
        files.insert(name, content);
    }
    let json = |name: &str| files.get(name).map(|bytes| serde_json::from_slice::<serde_json::Value>(bytes).unwrap());
    if let Some(index) = json("index.json") {
        let digest = index["manifests"][0]["digest"].as_str().unwrap();
        return files[&digest.replace("sha256:", "blobs/sha256/")].clone();
    }
    let items = json("manifest.json").unwrap();
    let config = &files[items[0]["Config"].as_str().unwrap()];
    let layers = items[0]["Layers"].as_array().unwrap().iter().map(|_| (image::OCI_LAYER.to_owned(), Vec::new()));
    Image { config: config.clone(), layers: Vec::new(), blobs: layers.collect(), docker_types: false }.manifest()
}

fn measure(name: &str, path: &Path, manifest: &[u8]) {
    let size = std::fs::metadata(path).unwrap().len();
    let mut seconds: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            let _ = verify(path, manifest);
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let median = seconds[2];
    println!("{name}: {median:.3} s, {:.0} MB/s, {} ({})", size as f64 / median / 1e6, path.display(), peak_memory());
}

fn verify(path: &Path, manifest: &[u8]) -> VerifiedImage {
    let limits = ArchiveLimits::default();
    let archive = Archive::open(path, &limits).unwrap_or_else(|e| panic!("{e}"));
    let inventory = Inventory::scan_opened(&archive, &limits).unwrap_or_else(|e| panic!("{e}"));
    let allowed = match inventory.images()[0].names() {
        [] => vec![ImageName::parse(image::NAME).unwrap()],
        claimed => claimed.to_vec(),
    };
    let signed = SignedImage::from_manifest(&allowed[0], manifest, None, &limits).unwrap_or_else(|e| panic!("{e}"));
    let inventory = inventory.measure(&limits, &|_, _| {}).unwrap_or_else(|e| panic!("{e}"));
    check(&signed, &allowed, &inventory).unwrap_or_else(|refusals| panic!("{}", refusals[0]))
}

/// The most memory that the process ever used, where the system says so.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.map_or_else(|| "peak memory unknown".to_owned(), |kib| format!("peak memory {}", kib.trim()))
}
