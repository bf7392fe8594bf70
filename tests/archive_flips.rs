//! Every single bit of an archive of each form, flipped: never a panic, and trusted only if a second, lenient reader still finds
//! exactly the signed image under the same names.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test states what it expects"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use plimsoll::digest::Sha256;
use plimsoll::image::check::{SignedImage, check};
use plimsoll::image::inventory::Inventory;
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;
use serde_json::Value;
use support::image::*;

/// What loaders would take from an archive, as the `tar` crate and plain `serde_json` see it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// The image that each family of loaders finds.
    docker: Option<Loaded>,
    oci: Option<Loaded>,
    /// What docker would load where there is no `manifest.json`.
    legacy: Vec<String>,
}

#[derive(Debug)]
struct Loaded {
    names: BTreeSet<String>,
    config: Sha256,
    layers: Vec<Sha256>,
}

/// The names are compared apart from it: a flip may lose one.
impl PartialEq for Loaded {
    fn eq(&self, other: &Self) -> bool {
        (self.config, &self.layers) == (other.config, &other.layers)
    }
}

impl Eq for Loaded {}

impl Seen {
    fn in_archive(archive: &[u8]) -> Option<Self> {
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut links = Vec::new();
        let mut reader = ::tar::Archive::new(archive);
        for entry in reader.entries().ok()? {
            let mut entry = entry.ok()?;
            let name = entry.path().ok()?.to_str()?.trim_end_matches('/').to_owned();
            if entry.header().entry_type().is_symlink() {
                links.push((name, entry.link_name().ok()??.to_str()?.to_owned()));
                continue;
            }
            let mut content = Vec::new();
            entry.read_to_end(&mut content).ok()?;
            files.insert(name, content);
        }
        for (name, target) in links {
            let target = files.get(target.trim_start_matches("../"))?.clone();
            files.insert(name, target);
        }
        let docker = files.get("manifest.json").map(|bytes| docker(bytes, &files));
        let oci = files.get("index.json").map(|bytes| oci(bytes, &files));
        let is_legacy =
            |name: &&String| **name == "repositories" || name.ends_with("/json") || name.ends_with("/layer.tar");
        let legacy = if docker.is_some() { Vec::new() } else { files.keys().filter(is_legacy).cloned().collect() };
        Some(Self { docker: transposed(docker)?, oci: transposed(oci)?, legacy })
    }
}

impl Seen {
    fn names(&self) -> BTreeSet<&String> {
        self.docker.iter().chain(&self.oci).flat_map(|loaded| &loaded.names).collect()
    }
}

/// A half that cannot be read fails the whole.
fn transposed(half: Option<Option<Loaded>>) -> Option<Option<Loaded>> {
    match half {
        None => Some(None),
        Some(loaded) => loaded.map(Some),
    }
}

fn docker(bytes: &[u8], files: &BTreeMap<String, Vec<u8>>) -> Option<Loaded> {
    let manifest: Value = serde_json::from_slice(bytes).ok()?;
    let item = &manifest.as_array()?[0];
    let names = item["RepoTags"].as_array().into_iter().flatten().map(|n| n.as_str().unwrap().to_owned()).collect();
    let config = Sha256::of(files.get(item["Config"].as_str()?)?);
    let layers = item["Layers"].as_array().into_iter().flatten();
    let layers = layers.map(|name| unpacked(files.get(name.as_str()?)?)).collect::<Option<_>>()?;
    Some(Loaded { names, config, layers })
}

fn oci(bytes: &[u8], files: &BTreeMap<String, Vec<u8>>) -> Option<Loaded> {
    let index: Value = serde_json::from_slice(bytes).ok()?;
    let blob = |descriptor: &Value| {
        files.get(&format!("blobs/sha256/{}", descriptor["digest"].as_str()?.strip_prefix("sha256:")?))
    };
    let mut names = BTreeSet::new();
    for descriptor in index["manifests"].as_array()? {
        for key in ["io.containerd.image.name", "org.opencontainers.image.ref.name"] {
            names.extend(descriptor["annotations"][key].as_str().map(str::to_owned));
        }
    }
    let manifest: Value = serde_json::from_slice(blob(&index["manifests"][0])?).ok()?;
    let config = Sha256::of(blob(&manifest["config"])?);
    let layers = manifest["layers"].as_array()?.iter().map(|l| unpacked(blob(l)?)).collect::<Option<_>>()?;
    Some(Loaded { names, config, layers })
}

/// The digest of a layer's tar.
fn unpacked(stored: &[u8]) -> Option<Sha256> {
    let mut out = Vec::new();
    match stored {
        [0x1f, 0x8b, ..] => drop(flate2::read::MultiGzDecoder::new(stored).read_to_end(&mut out).ok()?),
        [0x28, 0xb5, ..] => out = zstd::decode_all(stored).ok()?,
        plain => out = plain.to_vec(),
    }
    Some(Sha256::of(&out))
}

fn flip_every_bit(image: &Image, items: &[Item]) {
    let good = tar(items);
    assert!(good.len() <= 20 * 1024, "{} bytes", good.len());
    flip_every_bit_of(NAME, &image.manifest(), &good);
}

fn flip_every_bit_of(name: &str, manifest: &[u8], good: &[u8]) {
    let name = ImageName::parse(name).unwrap();
    let limits = ArchiveLimits::default();
    let signed = SignedImage::from_manifest(&name, manifest, None, &limits).unwrap();
    let trusted = |archive: &[u8]| {
        let inventory = Inventory::scan(archive, &limits).and_then(|i| i.measure(&limits, &|_, _| {})).ok()?;
        check(&signed, std::slice::from_ref(&name), &inventory).ok()
    };
    let expected = Seen::in_archive(good).unwrap();
    assert!(trusted(good).is_some());
    let mut archive = good.to_vec();
    let mut still_trusted = 0;
    for bit in 0..good.len() * 8 {
        archive[bit / 8] ^= 1 << (bit % 8);
        if trusted(&archive).is_some() {
            still_trusted += 1;
            let seen = Seen::in_archive(&archive).expect("what is trusted can be read");
            assert_eq!(seen, expected, "trusted with bit {} of byte {} flipped", bit % 8, bit / 8);
            assert!(seen.names().is_subset(&expected.names()), "trusted with other names: {:?}", seen.names());
        }
        archive[bit / 8] = good[bit / 8];
    }
    // Padding, and files that nobody loads. If nothing were ever trusted, the comparison above would prove nothing.
    assert!(still_trusted > 0 && still_trusted < good.len() * 8 / 2, "{still_trusted}");
}

fn image(stored: Stored) -> Image {
    Image::new(&[layer("a", b"1"), layer("b", b"2"), layer("a", b"1")], stored)
}

#[test]
fn classic_with_a_repeated_layer() {
    let image = image(Stored::Gzip);
    flip_every_bit(&image, &classic(&image, &[NAME]));
}

#[test]
fn the_sample_that_docker_saved() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("test-repos/source");
    let read = |name: &str| std::fs::read(source.join(name)).unwrap();
    flip_every_bit_of(support::samples::IMAGE, &read("app.manifest.json"), &read("app.tar"));
}

#[test]
fn hybrid_with_uncompressed_layers() {
    let image = image(Stored::Gzip);
    flip_every_bit(&image, &hybrid(&image, &[NAME]));
}

#[test]
fn hybrid_with_gzip_layers() {
    let image = image(Stored::Gzip);
    flip_every_bit(&image, &registry_hybrid(&image, &[NAME]));
}

#[test]
fn oci_archive_with_zstd_layers() {
    let image = image(Stored::Zstd);
    flip_every_bit(&image, &oci_archive(&image, &[NAME]));
}

#[test]
fn classic_with_pax_and_gnu_headers() {
    let image = image(Stored::Plain);
    let mut items = classic(&image, &[NAME]);
    let manifest = position(&items, "manifest.json");
    items.insert(
        manifest,
        pax(&[("mtime", "1.5"), ("path", "manifest.json"), ("size", &items[manifest].content.len().to_string())]),
    );
    let repositories = position(&items, "repositories");
    items.insert(repositories, gnu_long_name("repositories"));
    flip_every_bit(&image, &items);
}
