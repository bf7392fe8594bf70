//! A verified image out: a fresh archive of exactly what was verified, under the verified name only.
//!
//! Between the check and a loader the file can change, and what the check left unread may mean something to a loader. So the archive
//! that was verified is never handed on. What is written here is made from the [`VerifiedImage`] alone; only the bytes of config and
//! layers come from the archive, and they are hashed again as they pass.
//!
//! Rules:
//! - The last piece of each file is held back until all of the file was seen to be right. On a mismatch nothing more is written: what
//!   the reader has got ends inside a file, and the document that says which image it is comes after all files. No loader takes that.
//! - Verified names only: the reference that an image was verified as, and what the archive itself called it and was found to be allowed. A
//!   reference with a digest gives none, for its tag is only a claim.
//! - One image, one archive: order and metadata of the entries are fixed, layers are named by digest, and one that occurs twice is
//!   written once. A docker-archive is the same bytes whatever form the image came in.
//! - Nothing is there that a loader could read in another way: one half, no links, no directories, no `repositories`. Without its
//!   `manifest.json`, a docker daemon up to 28 finds no directory to load an image from.
//! - The OCI forms keep the signed manifest, hence the registry's digest, where the archive holds the blobs that it lists. Otherwise
//!   they have a manifest of uncompressed layers, as docker 25 to 28 write it. A signed index is not written: it lists images that were
//!   not verified and may not be there, and a loader would ask for them.
//! - Memory does not depend on the size of the image.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::fs::File;
//!
//! use plimsoll::client::{Client, DirSource, Store};
//! use plimsoll::image::write;
//! use plimsoll::limits::ArchiveLimits;
//! use plimsoll::verify::Verifier;
//!
//! let root = std::fs::read("test-repos/root.json")?;
//! let source = DirSource::repository("test-repos/good".as_ref())?;
//! let verifier = Verifier::new(Client::new(root, source, Store::in_memory()));
//!
//! // Opened once: what is handed on is read from what was verified.
//! let archive = File::open("test-repos/good/app.tar")?;
//! let image = verifier.verify_archive(&archive, "app.tar").into_image()?;
//!
//! let mut fresh = Vec::new(); // Or the standard input of `docker load`.
//! write::docker_archive(&[image], &archive, &ArchiveLimits::default(), &mut fresh)?;
//! assert!(verifier.verify_archive(fresh, "fresh.tar").is_trusted());
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::thread;

use serde::Serialize;

use crate::digest::{Sha256, Sha256Hasher};
use crate::image::ahead::{CHUNK, ahead};
use crate::image::error::{ArchiveError, Refusal};
use crate::image::header::{BLOCK, file_header};
use crate::image::manifest::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use crate::image::read_at::ReadAt;
use crate::image::stored::{Section, compression, corrupt, decoder};
use crate::image::tar::{Compression, Entry};
use crate::image::{VerifiedImage, docker, oci};
use crate::limits::ArchiveLimits;
use crate::text::quoted;

/// Why an archive was not written to its end. What was written until then is no archive that a loader takes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The archive is no longer what was verified, or is another one.
    #[error("{entry}: not what was verified any more, expected {expected}, found {found}")]
    Changed {
        /// The file of the new archive that would have been wrong.
        entry: String,
        /// What was verified.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The archive cannot be read.
    #[error("{what}")]
    Read {
        /// What was being read.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The new archive cannot be written.
    #[error("{what}")]
    Write {
        /// What was being written.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl WriteError {
    /// The stable code of the finding that reports it, in kebab-case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Changed { .. } => "archive-changed",
            Self::Read { .. } => "archive-unreadable",
            Self::Write { .. } => "output-unwritable",
        }
    }
}

/// Writes verified images to `to` as a docker-archive, which docker, podman, skopeo, containerd and their like load.
///
/// `archive` is the opened archive that the images were verified in, and `limits` are those of the check. What `to` has been given when this
/// fails must not be handed on as if it were whole; it is cut inside a file. `to` is flushed at the end.
///
/// Of several images with one config, each name becomes a name of one image.
///
/// # Errors
///
/// [`WriteError`], for the first thing that goes wrong.
pub fn docker_archive<R: ReadAt + Sync + ?Sized>(
    images: &[VerifiedImage],
    archive: &R,
    limits: &ArchiveLimits,
    to: impl Write,
) -> Result<(), WriteError> {
    let mut out = Output::new(archive, limits, Tar(to));
    let mut items: Vec<DockerItem> = Vec::new();
    for image in images {
        let config = format!("{}.json", image.config.to_hex());
        let mut layers = Vec::new();
        for layer in &image.layers {
            let name = format!("{}.tar", layer.diff_id.to_hex());
            out.unpacked(&name, &layer.entry, layer.diff_id, layer.size)?;
            layers.push(name);
        }
        out.stored(&config, &image.config_entry, image.config)?;
        match items.iter_mut().find(|item| item.config == config) {
            Some(item) => item.add(image.loaded_names()),
            None => {
                let names = Some(image.loaded_names()).filter(|names| !names.is_empty());
                items.push(DockerItem { config, names, layers });
            }
        }
    }
    out.document(docker::MANIFEST, &line(&items)?)?;
    out.to.end()
}

/// Writes verified images to `to` as an oci-archive: an OCI image layout in a tar, which podman, skopeo and containerd load.
///
/// Parameters and failures are those of [`docker_archive`].
///
/// # Errors
///
/// [`WriteError`], for the first thing that goes wrong.
pub fn oci_archive<R: ReadAt + Sync + ?Sized>(
    images: &[VerifiedImage],
    archive: &R,
    limits: &ArchiveLimits,
    to: impl Write,
) -> Result<(), WriteError> {
    layout(images, &mut Output::new(archive, limits, Tar(to)))
}

/// Writes verified images as an OCI image layout into the new folder `folder`, which must not exist yet. `index.json` comes last, so that a
/// folder without one is no layout.
///
/// Parameters and failures are otherwise those of [`docker_archive`]. What was written before a failure is left there.
///
/// # Errors
///
/// [`WriteError`], for the first thing that goes wrong.
pub fn oci_folder<R: ReadAt + Sync + ?Sized>(
    images: &[VerifiedImage],
    archive: &R,
    limits: &ArchiveLimits,
    folder: &Path,
) -> Result<(), WriteError> {
    let blobs = folder.join("blobs");
    for path in [folder, &blobs, &blobs.join("sha256")] {
        fs::create_dir(path).map_err(|source| unwritable(path, source))?;
    }
    layout(images, &mut Output::new(archive, limits, Folder { folder, file: None }))
}

/// What a docker-archive says of one image; the keys are Docker's.
#[derive(Serialize)]
struct DockerItem {
    #[serde(rename = "Config")]
    config: String,
    /// `null` for none, as docker writes it.
    #[serde(rename = "RepoTags")]
    names: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

impl DockerItem {
    fn add(&mut self, names: Vec<String>) {
        let new = names.into_iter().filter(|name| self.names.as_ref().is_none_or(|names| !names.contains(name)));
        for name in new.collect::<Vec<_>>() {
            self.names.get_or_insert_default().push(name);
        }
    }
}

/// An index and a manifest of the OCI layout that are made up here; the keys are those of the OCI image-spec.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciIndex<'a> {
    schema_version: u8,
    media_type: &'a str,
    manifests: Vec<OciDescriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciManifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: OciDescriptor<'a>,
    layers: Vec<OciDescriptor<'a>>,
}

#[derive(PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct OciDescriptor<'a> {
    media_type: &'a str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<OciNames>,
}

/// The same full name twice: containerd, podman and docker read the first, skopeo's `oci-archive:FILE:NAME` the second.
#[derive(PartialEq, Serialize)]
struct OciNames {
    #[serde(rename = "io.containerd.image.name")]
    containerd: String,
    #[serde(rename = "org.opencontainers.image.ref.name")]
    reference: String,
}

impl<'a> OciDescriptor<'a> {
    fn new(media_type: &'a str, digest: Sha256, size: u64) -> Self {
        Self { media_type, digest: digest.to_string(), size, annotations: None }
    }
}

fn layout<R: ReadAt + Sync + ?Sized>(
    images: &[VerifiedImage],
    out: &mut Output<'_, R, impl Sink>,
) -> Result<(), WriteError> {
    out.document(oci::LAYOUT, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let mut manifests = Vec::new();
    for image in images {
        for layer in &image.layers {
            if image.has_signed_blobs && layer.signed == layer.stored {
                out.stored(&blob(layer.stored), &layer.entry, layer.stored)?;
            } else {
                out.unpacked(&blob(layer.diff_id), &layer.entry, layer.diff_id, layer.size)?;
            }
        }
        out.stored(&blob(image.config), &image.config_entry, image.config)?;
        let (media_type, digest, size) = if image.has_signed_blobs {
            out.document(&blob(image.manifest.digest), &image.manifest_bytes)?;
            (image.manifest.media_type.as_str(), image.manifest.digest, image.manifest.size)
        } else {
            let manifest = json(&re_encoded(image))?;
            let digest = Sha256::of(&manifest);
            out.document(&blob(digest), &manifest)?;
            (OCI_MANIFEST, digest, length(&manifest))
        };
        // One descriptor for each name, as docker writes it; one without a name if there is none.
        let mut names: Vec<Option<String>> = image.loaded_names().into_iter().map(Some).collect();
        if names.is_empty() {
            names.push(None);
        }
        for name in names {
            let mut descriptor = OciDescriptor::new(media_type, digest, size);
            descriptor.annotations = name.map(|n| OciNames { containerd: n.clone(), reference: n });
            if !manifests.contains(&descriptor) {
                manifests.push(descriptor);
            }
        }
    }
    let index = OciIndex { schema_version: 2, media_type: OCI_INDEX, manifests };
    out.document(oci::INDEX, &json(&index)?)?;
    out.to.end()
}

/// The manifest of the same config and layers, uncompressed.
fn re_encoded(image: &VerifiedImage) -> OciManifest<'static> {
    let layers = image.layers.iter().map(|layer| OciDescriptor::new(OCI_LAYER, layer.diff_id, layer.size));
    OciManifest {
        schema_version: 2,
        media_type: OCI_MANIFEST,
        config: OciDescriptor::new(OCI_CONFIG, image.config, image.config_entry.size),
        layers: layers.collect(),
    }
}

fn blob(digest: Sha256) -> String {
    format!("blobs/sha256/{}", digest.to_hex())
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, WriteError> {
    // Strings and numbers with fixed keys: there is nothing in it that cannot be written.
    serde_json::to_vec(value).map_err(|e| WriteError::Write { what: "a document".to_owned(), source: e.into() })
}

/// The JSON with a newline after it, as docker writes it.
fn line(value: &impl Serialize) -> Result<Vec<u8>, WriteError> {
    let mut bytes = json(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Where the files of the new archive go, one after the other.
trait Sink {
    /// Starts a file of `size` bytes.
    fn begin(&mut self, name: &str, size: u64) -> Result<(), WriteError>;
    /// The next bytes of the file.
    fn data(&mut self, bytes: &[u8]) -> Result<(), WriteError>;
    /// Ends the file, which has got all its bytes.
    fn close(&mut self, size: u64) -> Result<(), WriteError>;
    /// Ends the archive.
    fn end(&mut self) -> Result<(), WriteError>;
}

/// A tar: POSIX ustar, and PAX for the size of files that are too large for it.
struct Tar<W>(W);

impl<W: Write> Tar<W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.0.write_all(bytes).map_err(not_written)
    }
}

fn not_written(source: io::Error) -> WriteError {
    WriteError::Write { what: "cannot write the new archive".to_owned(), source }
}

impl<W: Write> Sink for Tar<W> {
    fn begin(&mut self, name: &str, size: u64) -> Result<(), WriteError> {
        self.put(&file_header(name, size))
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.put(bytes)
    }

    fn close(&mut self, size: u64) -> Result<(), WriteError> {
        let block = length(&[0; BLOCK]);
        let padding = size.checked_next_multiple_of(block).map_or(0, |end| end.saturating_sub(size));
        let zeros = [0; BLOCK];
        self.put(usize::try_from(padding).ok().and_then(|n| zeros.get(..n)).unwrap_or_default())
    }

    fn end(&mut self) -> Result<(), WriteError> {
        self.put(&[0; BLOCK])?;
        self.put(&[0; BLOCK])?;
        self.0.flush().map_err(not_written)
    }
}

/// Files in a folder. Each is new: nothing that is there is written over or through.
struct Folder<'a> {
    folder: &'a Path,
    file: Option<File>,
}

fn unwritable(path: &Path, source: io::Error) -> WriteError {
    WriteError::Write { what: format!("cannot write {}", quoted(&path.display().to_string())), source }
}

impl Folder<'_> {
    fn with_file(&mut self, with: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), WriteError> {
        self.file.as_mut().map_or(Ok(()), with).map_err(|e| unwritable(self.folder, e))
    }
}

impl Sink for Folder<'_> {
    fn begin(&mut self, name: &str, _size: u64) -> Result<(), WriteError> {
        let path = self.folder.join(name);
        self.file = Some(File::create_new(&path).map_err(|e| unwritable(&path, e))?);
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.with_file(|file| file.write_all(bytes))
    }

    fn close(&mut self, _size: u64) -> Result<(), WriteError> {
        self.with_file(|file| file.sync_all())?;
        self.file = None;
        Ok(())
    }

    fn end(&mut self) -> Result<(), WriteError> {
        Ok(())
    }
}

/// The new archive as far as it is written.
struct Output<'a, R: ?Sized, S> {
    archive: &'a R,
    limits: &'a ArchiveLimits,
    written: BTreeSet<String>,
    to: S,
}

/// What a file of the new archive must be.
struct Verified<'a> {
    name: &'a str,
    size: u64,
    digest: Sha256,
}

impl<'a, R: ReadAt + Sync + ?Sized, S: Sink> Output<'a, R, S> {
    fn new(archive: &'a R, limits: &'a ArchiveLimits, to: S) -> Self {
        Self { archive, limits, written: BTreeSet::new(), to }
    }

    /// A small file that is made up here.
    fn document(&mut self, name: &str, content: &[u8]) -> Result<(), WriteError> {
        if self.is_new(name) {
            self.to.begin(name, length(content))?;
            self.to.data(content)?;
            self.to.close(length(content))?;
        }
        Ok(())
    }

    /// A file of the archive as it is stored there.
    fn stored(&mut self, name: &str, entry: &Entry, digest: Sha256) -> Result<(), WriteError> {
        if !self.is_new(name) {
            return Ok(());
        }
        let file = Verified { name, size: entry.size, digest };
        self.to.begin(name, file.size)?;
        self.copy(&file, entry)
    }

    /// A file of the archive, decompressed if need be.
    fn unpacked(&mut self, name: &str, entry: &Entry, digest: Sha256, size: u64) -> Result<(), WriteError> {
        if !self.is_new(name) {
            return Ok(());
        }
        let file = Verified { name, size, digest };
        self.to.begin(name, size)?;
        match compression(self.archive, entry).map_err(|e| unreadable(&file, e))? {
            Some(compression) => self.unpack(&file, entry, compression),
            None => self.copy(&file, entry),
        }
    }

    fn copy(&mut self, file: &Verified<'_>, entry: &Entry) -> Result<(), WriteError> {
        let mut section = Section::new(self.archive, entry);
        let passed = if usize::try_from(entry.size).map_or(true, |size| size > CHUNK) {
            thread::scope(|scope| self.pass(file, ahead(scope, &mut section)))
        } else {
            self.pass(file, BufReader::with_capacity(CHUNK, &mut section))
        };
        outcome(file, section, passed)
    }

    fn unpack(&mut self, file: &Verified<'_>, entry: &Entry, compression: Compression) -> Result<(), WriteError> {
        let mut section = Section::new(self.archive, entry);
        // No more than the verified size is taken from it, which is the tightest of all limits.
        let passed = thread::scope(|scope| {
            let stored = BufReader::with_capacity(CHUNK, &mut section);
            let decoder = decoder(entry, compression, stored, self.limits).map_err(Fault::Content)?;
            self.pass(file, ahead(scope, decoder)).map_err(|fault| match fault {
                Fault::Source(error) => Fault::Content(corrupt(entry, compression, &error, self.limits)),
                other => other,
            })
        });
        outcome(file, section, passed)
    }

    fn is_new(&mut self, name: &str) -> bool {
        self.written.insert(name.to_owned())
    }

    /// Writes what `from` brings, if it is the file, which has been begun. The last piece goes out once all of it was hashed and nothing followed it.
    fn pass(&mut self, file: &Verified<'_>, mut from: impl BufRead) -> Result<(), Fault> {
        let mut hasher = Sha256Hasher::new();
        let mut left = file.size;
        let mut last = Vec::new();
        loop {
            let piece = from.fill_buf().map_err(Fault::Source)?;
            let n = piece.len();
            if n == 0 {
                break;
            }
            let Some(rest) = left.checked_sub(length(piece)) else {
                return Err(file.changed(format!("more than {} bytes", file.size)));
            };
            left = rest;
            hasher.update(piece);
            if left > 0 {
                self.to.data(piece)?;
            } else {
                last.extend_from_slice(piece);
            }
            from.consume(n);
        }
        if left > 0 {
            return Err(file.changed(format!("{} bytes", file.size.saturating_sub(left))));
        }
        let found = hasher.finish();
        if found != file.digest {
            return Err(file.changed(found.to_string()));
        }
        self.to.data(&last)?;
        Ok(self.to.close(file.size)?)
    }
}

/// Why a file did not pass.
enum Fault {
    /// Its bytes could not be had: the reader's error, whose cause is known to whoever made the reader.
    Source(io::Error),
    /// Its bytes do not decompress.
    Content(Refusal),
    Write(WriteError),
}

impl From<WriteError> for Fault {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl Verified<'_> {
    fn changed(&self, found: String) -> Fault {
        let expected =
            if found.starts_with("sha256:") { self.digest.to_string() } else { format!("{} bytes", self.size) };
        WriteError::Changed { entry: self.name.to_owned(), expected, found }.into()
    }
}

/// What the archive itself reports goes before what a decoder made of it.
fn outcome<R: ReadAt + ?Sized>(
    file: &Verified<'_>,
    section: Section<'_, R>,
    passed: Result<(), Fault>,
) -> Result<(), WriteError> {
    match (passed, section.fault()) {
        (Ok(()), _) => Ok(()),
        (Err(Fault::Write(error)), _) => Err(error),
        (Err(_), Some(fault)) => Err(unreadable(file, fault)),
        (Err(Fault::Content(refusal)), None) => Err(unreadable(file, refusal.into())),
        (Err(Fault::Source(source)), None) => {
            Err(WriteError::Read { what: format!("cannot read {}", file.name), source })
        }
    }
}

/// An archive that is refused now was accepted before: it changed.
fn unreadable(file: &Verified<'_>, error: ArchiveError) -> WriteError {
    match error {
        ArchiveError::Io { what, source } => WriteError::Read { what, source },
        ArchiveError::Refused(refusal) => WriteError::Changed {
            entry: file.name.to_owned(),
            expected: file.digest.to_string(),
            found: refusal.found.map_or(refusal.message.clone(), |found| format!("{} ({found})", refusal.message)),
        },
    }
}
