//! An archive of any bytes against one signed image: trusted only if a second, lenient reader finds exactly that image in every half.
//!
//! The second reader is the `tar` crate and plain `serde_json`. It reads each archive twice, for of two entries of one name some loaders
//! take the first and some the last.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use plimsoll::digest::Sha256;
use plimsoll::image::VerifiedImage;
use plimsoll::image::check::{SignedImage, check};
use plimsoll::image::inventory::Inventory;
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;
use serde_json::Value;

/// The image that is signed: the sample, as `docker save` wrote it.
pub const NAME: &str = "registry.example/team/app:1.4";
const MANIFEST: &[u8] = include_bytes!("../../test-repos/source/app.manifest.json");
const ARCHIVE: &[u8] = include_bytes!("../../test-repos/source/app.tar");

/// Whether the archive is trusted as the sample; then the second reader has agreed.
pub fn hold(archive: &[u8]) -> bool {
    let Some(image) = trusted(NAME, MANIFEST, archive) else { return false };
    let expected = Seen::in_archive(ARCHIVE, Of::Last).and_then(|seen| seen.docker).expect("the sample can be read");
    assert_eq!(image.config_digest(), expected.config);
    assert!(image.layers().iter().map(|layer| layer.diff_id()).eq(expected.layers.iter().copied()));
    for of in [Of::First, Of::Last] {
        let seen = Seen::in_archive(archive, of).expect("what is trusted can be read");
        assert!(seen.docker.is_some() || seen.oci.is_some());
        assert!(seen.halves().all(|half| *half == expected), "{seen:?} is not {expected:?}");
        assert!(seen.legacy.is_empty(), "{seen:?}");
        assert!(seen.names().iter().all(|name| [NAME, "1.4"].contains(&name.as_str())), "{seen:?}");
    }
    true
}

/// What the check says of an archive as an image of which `manifest` is signed.
pub fn trusted(name: &str, manifest: &[u8], archive: &[u8]) -> Option<VerifiedImage> {
    let (name, limits) = (ImageName::parse(name).expect("a name"), ArchiveLimits::default());
    let signed = SignedImage::from_manifest(&name, manifest, None, &limits).expect("a manifest");
    let inventory = Inventory::scan(archive, &limits).and_then(|i| i.measure(&limits, &|_, _| {})).ok()?;
    check(&signed, &[name], &inventory).ok()
}

/// Which of two entries of one name is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Of {
    First,
    Last,
}

/// What loaders would take from an archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    /// The image that each family of loaders finds.
    pub docker: Option<Loaded>,
    pub oci: Option<Loaded>,
    /// What docker would load where there is no `manifest.json`.
    pub legacy: Vec<String>,
}

#[derive(Debug)]
pub struct Loaded {
    names: BTreeSet<String>,
    config: Sha256,
    layers: Vec<Sha256>,
}

/// The names are compared apart from it: a flipped bit may lose one.
impl PartialEq for Loaded {
    fn eq(&self, other: &Self) -> bool {
        (self.config, &self.layers) == (other.config, &other.layers)
    }
}

impl Eq for Loaded {}

impl Seen {
    /// `None` if a half that is there cannot be read.
    pub fn in_archive(archive: &[u8], of: Of) -> Option<Self> {
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut links = Vec::new();
        let mut reader = tar::Archive::new(archive);
        for entry in reader.entries().ok()? {
            let mut entry = entry.ok()?;
            let name = plain(entry.path().ok()?.to_str()?);
            if entry.header().entry_type().is_symlink() {
                links.push((name, entry.link_name().ok()??.to_str()?.to_owned()));
                continue;
            }
            let mut content = Vec::new();
            entry.read_to_end(&mut content).ok()?;
            if !entry.header().entry_type().is_dir() && (of == Of::Last || !files.contains_key(&name)) {
                files.insert(name, content);
            }
        }
        for (name, target) in links {
            let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
            let target = files.get(&joined(parent, &target))?.clone();
            files.insert(name, target);
        }
        let docker = files.get("manifest.json").map(|bytes| docker(bytes, &files));
        let oci = files.get("index.json").map(|bytes| oci(bytes, &files));
        let is_legacy =
            |name: &&String| **name == "repositories" || name.ends_with("/json") || name.ends_with("/layer.tar");
        let legacy = if docker.is_some() { Vec::new() } else { files.keys().filter(is_legacy).cloned().collect() };
        Some(Self { docker: transposed(docker)?, oci: transposed(oci)?, legacy })
    }

    pub fn names(&self) -> BTreeSet<&String> {
        self.halves().flat_map(|loaded| &loaded.names).collect()
    }

    fn halves(&self) -> impl Iterator<Item = &Loaded> {
        self.docker.iter().chain(&self.oci)
    }
}

/// Without `.` and empty parts.
fn plain(name: &str) -> String {
    name.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}

/// Where a link in a folder leads.
fn joined(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
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
    let [item] = manifest.as_array()?.as_slice() else { return None };
    let names = item["RepoTags"].as_array().into_iter().flatten();
    let names = names.map(|name| Some(name.as_str()?.to_owned())).collect::<Option<_>>()?;
    let config = Sha256::of(files.get(&plain(item["Config"].as_str()?))?);
    let layers = item["Layers"].as_array().into_iter().flatten();
    let layers = layers.map(|name| unpacked(files.get(&plain(name.as_str()?))?)).collect::<Option<_>>()?;
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
        if descriptor["digest"] != index["manifests"][0]["digest"] {
            return None;
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
