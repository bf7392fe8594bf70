//! What an archive holds, as facts. Nothing is trusted here, and nothing is decided that depends on a signature.
//!
//! Two steps: [`Inventory::scan`] reads the headers and the small documents, [`Inventory::measure`] hashes every layer on all cores.
//! Only a [`MeasuredInventory`] can be checked.
//!
//! Rules:
//! - Every byte that is judged is read from the one opened archive. A file that changes meanwhile is refused.
//! - Both halves of a hybrid are read. A half that cannot be understood makes the archive unacceptable; it is never skipped.
//! - Without `manifest.json`, nothing may be there that an old docker daemon would load instead: `repositories`, or a directory at the
//!   top with `json` or `layer.tar`.
//! - A layer is what its first bytes say: gzip, zstd, or plain. All gzip members and all zstd frames count, checksums are verified, and
//!   nothing may follow. bzip2 and xz are refused.
//! - Memory does not depend on the size of the image.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::Arc;

use crate::image::VerifiedLayer;
use crate::image::archive::Archive;
use crate::image::claims::{self, ClaimedImage};
use crate::image::contents::{Digests, EntryKind, FileFacts, Keep, Wanted};
use crate::image::docker::{self, DockerImage};
use crate::image::documents::Reader;
use crate::image::error::{ArchiveError, Code, Refusal};
use crate::image::measure::{self, Contents, Layer};
use crate::image::oci::{self, Layout, Top};
use crate::image::read_at::ReadAt;
use crate::image::tar::{Entry, Table, fold};
use crate::limits::{ArchiveLimits, bound};
use crate::text::{escaped, quoted};

/// The file that names the images of the form that docker wrote before 1.10.
const REPOSITORIES: &str = "repositories";

/// The file in which skopeo's `dir:` says its version.
const DIR_VERSION: &str = "version";

/// Which loaders take the archive, and which part of it they read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// `manifest.json` alone: docker save up to 24, `docker-archive` of podman and skopeo.
    DockerArchive,
    /// `manifest.json` and `index.json`: docker save from 25 on, BuildKit.
    Hybrid,
    /// `index.json` alone: podman and skopeo `oci-archive`, buildx.
    OciArchive,
    /// `index.json` in a folder: `oci:` of skopeo and buildah, umoci, `podman save --format oci-dir`. What else is there is checked as well.
    OciLayout,
}

impl Form {
    /// The form in words, as reports show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DockerArchive => "docker-archive",
            Self::Hybrid => "docker-archive with OCI layout",
            Self::OciArchive => "oci-archive",
            Self::OciLayout => "OCI image layout",
        }
    }
}

/// An archive's entries and documents. Its layers have not been read.
#[derive(Debug)]
pub struct Inventory<R> {
    archive: R,
    form: Form,
    images: Vec<ClaimedImage>,
    /// The entries to measure, without repetitions.
    layers: Vec<Entry>,
}

/// An inventory whose layers have been hashed: all that a check needs.
#[derive(Debug)]
pub struct MeasuredInventory<R> {
    archive: R,
    form: Form,
    images: Vec<ClaimedImage>,
    pub(crate) layers: BTreeMap<String, Layer>,
    /// What is in each, where that was asked for.
    contents: BTreeMap<String, Contents>,
}

impl<R: ReadAt + Sync> Inventory<R> {
    /// Reads the headers and the documents of `archive`, a tar.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Refused`] for the first thing that breaks a rule: a bad name is refused here too. [`ArchiveError::Io`] if
    /// reading fails.
    pub fn scan(archive: R, limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        let table = Table::read(&archive, limits)?;
        Self::from_table(archive, &table, false, limits)
    }

    fn from_table(archive: R, table: &Table, folder: bool, limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        refuse_look_alikes(table)?;
        if folder {
            must_be_layout(table)?;
        }
        let mut documents = Reader::new(&archive, limits);
        let docker = docker_half(table, &mut documents, limits)?;
        let oci = oci_half(table, &mut documents, limits)?;
        let form = match (&docker, &oci) {
            (Some(_), None) => Form::DockerArchive,
            (Some(_), Some(_)) => Form::Hybrid,
            (None, Some(_)) => {
                refuse_legacy_image(table)?;
                Form::OciArchive
            }
            (None, None) => return Err(no_image(table).into()),
        };
        let form = if folder { Form::OciLayout } else { form };
        let images = claims::images(docker, oci)?;
        let layers = layer_names(&images).into_iter().filter_map(|name| table.get(name).cloned()).collect();
        Ok(Self { archive, form, images, layers })
    }

    /// Hashes every layer, on all cores, and moves on to what can be checked.
    ///
    /// `progress` is called from several threads with the number of stored bytes that were read so far and will be read in all; the
    /// first number can go back and forth a little between calls.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Io`] if reading fails, [`ArchiveError::Refused`] if the archive became shorter meanwhile. A damaged layer is
    /// no error here but a fact for the check.
    pub fn measure(
        self,
        limits: &ArchiveLimits,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<MeasuredInventory<R>, ArchiveError> {
        self.measure_listing(limits, None, None, progress)
    }

    /// The same by so many threads, with what is in the layers listed in the same pass.
    pub(crate) fn measure_listing(
        self,
        limits: &ArchiveLimits,
        wanted: Option<&Wanted<'_>>,
        threads: Option<NonZero<usize>>,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<MeasuredInventory<R>, ArchiveError> {
        let (mut layers, mut contents) = (BTreeMap::new(), BTreeMap::new());
        for (name, (layer, listed)) in measure::layers(&self.archive, self.layers, limits, wanted, threads, progress)? {
            contents.extend(listed.map(|listed| (name.clone(), listed)));
            layers.insert(name, layer);
        }
        Ok(MeasuredInventory { archive: self.archive, form: self.form, images: self.images, layers, contents })
    }
}

impl<'a> Inventory<&'a Archive> {
    /// Reads the entries and the documents of an opened archive, whatever its form.
    ///
    /// # Errors
    ///
    /// Those of [`scan`](Inventory::scan).
    pub fn scan_opened(archive: &'a Archive, limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        let table = archive.table(limits)?;
        Self::from_table(archive, &table, archive.is_folder(), limits)
    }
}

impl<R> Inventory<R> {
    /// The images that a loader would load, in the order in which they are listed. At least one.
    #[must_use]
    pub fn images(&self) -> &[ClaimedImage] {
        &self.images
    }

    /// Which loaders take the archive.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// How many stored bytes [`measure`](Self::measure) will read.
    #[must_use]
    pub fn layer_bytes(&self) -> u64 {
        self.layers.iter().fold(0, |sum, entry| sum.saturating_add(entry.size))
    }
}

impl<R> MeasuredInventory<R> {
    /// The archive itself, for reading what was verified.
    #[must_use]
    pub fn archive(&self) -> &R {
        &self.archive
    }

    /// The images that a loader would load, in the order in which they are listed. At least one.
    #[must_use]
    pub fn images(&self) -> &[ClaimedImage] {
        &self.images
    }

    /// Which loaders take the archive.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    pub(crate) fn layer(&self, name: &str) -> Option<&Layer> {
        self.layers.get(name)
    }

    /// The bytes of a file of a verified layer, from a second reading of all of it: it is checked against the diff id once more, for the archive may have
    /// changed. `index` is the place of its entry: a path may occur twice. `written` is the path as the layer writes it.
    pub(crate) fn file(
        &self,
        layer: &VerifiedLayer,
        index: usize,
        written: &[u8],
        limits: &ArchiveLimits,
    ) -> Result<Arc<[u8]>, ArchiveError>
    where
        R: ReadAt + Sync,
    {
        let keep = |path: &[u8]| if path == written { Keep::Content } else { Keep::Nothing };
        let wanted = Wanted { digests: Digests::Kept, keep: &keep };
        let entry = layer.entry().clone();
        let again = measure::layers(&self.archive, vec![entry], limits, Some(&wanted), None, &|_, _| {})?;
        let changed = || {
            Refusal::new(Code::ArchiveChanged, escaped(&layer.entry().name), "the layer changed after it was verified")
        };
        let (read, contents) = again.into_values().next().ok_or_else(changed)?;
        if read.content?.digest != layer.diff_id() {
            return Err(changed().into());
        }
        let entries = contents.ok_or_else(changed)??.entries;
        match entries.into_iter().nth(index).filter(|entry| *entry.path == *written).map(|entry| entry.kind) {
            Some(EntryKind::File(FileFacts { content: Some(content), .. })) => Ok(content),
            _ => Err(changed().into()),
        }
    }

    /// What is in a layer, where that was asked for; or why loaders could differ on it.
    pub(crate) fn contents(&self, name: &str) -> Option<&Contents> {
        self.contents.get(name)
    }
}

/// The entries that hold layers, each once.
fn layer_names(images: &[ClaimedImage]) -> BTreeSet<&str> {
    let docker = images.iter().flat_map(|image| &image.docker);
    let docker = docker.flat_map(|image| image.layers.iter().map(String::as_str));
    let oci = images.iter().flat_map(|image| &image.oci).flat_map(Top::layer_blobs);
    docker.chain(oci).collect()
}

fn docker_half<R: ReadAt + Sync>(
    table: &Table,
    documents: &mut Reader<'_, R>,
    limits: &ArchiveLimits,
) -> Result<Option<Vec<DockerImage>>, ArchiveError> {
    let bytes = documents.control(table, docker::MANIFEST, bound!(limits, control_file))?;
    bytes.map(|bytes| DockerImage::read_all(&bytes, table, documents, limits)).transpose()
}

fn oci_half<R: ReadAt + Sync>(
    table: &Table,
    documents: &mut Reader<'_, R>,
    limits: &ArchiveLimits,
) -> Result<Option<Vec<Layout>>, ArchiveError> {
    let index = documents.control(table, oci::INDEX, bound!(limits, control_file))?;
    let layout = documents.control(table, oci::LAYOUT, bound!(limits, small_control_file))?;
    if let Some(bytes) = &layout {
        oci::check_layout_version(bytes).map_err(|r| r.about(oci::LAYOUT))?;
    }
    match index {
        Some(bytes) => Ok(Some(Layout::read_all(&bytes, table, documents, limits)?)),
        None if layout.is_some() => {
            Err(Refusal::new(Code::ArchiveMissingFile, oci::INDEX, "oci-layout is there, so this must be as well")
                .into())
        }
        None => Ok(None),
    }
}

/// `Manifest.json` is another file to one system and the same to the next.
fn refuse_look_alikes(table: &Table) -> Result<(), Refusal> {
    const NAMES: &[&str] = &[docker::MANIFEST, oci::INDEX, oci::LAYOUT, REPOSITORIES, "blobs"];
    for entry in table.iter() {
        let top = entry.name.split('/').next().unwrap_or_default();
        if let Some(meant) = NAMES.iter().find(|name| **name != top && fold(top) == **name) {
            return Err(Refusal::new(
                Code::ArchiveDuplicateEntry,
                escaped(&entry.name),
                "some systems ignore the case of names",
            )
            .expected(quoted(meant))
            .found(quoted(top)));
        }
    }
    Ok(())
}

/// Docker up to 28 loads these when there is no `manifest.json`, whatever else is there.
fn refuse_legacy_image(table: &Table) -> Result<(), Refusal> {
    for entry in table.iter() {
        let mut parts = entry.name.split('/');
        let (top, second) = (parts.next().unwrap_or_default(), parts.next().map(fold));
        if top == REPOSITORIES || second.is_some_and(|s| s == "json" || s == "layer.tar") {
            return Err(Refusal::new(
                Code::ArchiveLegacyImage,
                escaped(&entry.name),
                "without manifest.json, docker up to 28 would load this as an image of its own",
            ));
        }
    }
    Ok(())
}

/// Of a folder, loaders read `index.json` alone. What they could not load is not called trusted.
fn must_be_layout(table: &Table) -> Result<(), Refusal> {
    if table.get(oci::INDEX).is_some() {
        return Ok(());
    }
    let there = |name: &str| table.get(name).is_some();
    let message = match (there(docker::MANIFEST), there(oci::LAYOUT)) {
        (true, false) if there(DIR_VERSION) => {
            "a folder as skopeo writes it for dir:, which says too little to be verified: convert it with `skopeo copy dir:FOLDER oci-archive:FILE`"
        }
        (true, false) => "no loader takes an unpacked docker-archive: pack it with tar",
        _ => "no image found",
    };
    Err(Refusal::new(Code::ArchiveNoImage, "the folder", message)
        .expected("an OCI image layout")
        .found("no index.json"))
}

fn no_image(table: &Table) -> Refusal {
    if let Err(refusal) = refuse_legacy_image(table) {
        return refusal;
    }
    Refusal::new(Code::ArchiveNoImage, "the archive", "no image found")
        .expected("manifest.json or index.json")
        .found("neither")
}
