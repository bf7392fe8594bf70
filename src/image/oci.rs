//! What podman and containerd would load: the images that `index.json` and `blobs/` of an archive describe.
//!
//! Nothing here is signed; [`crate::image::check`] decides. Unlike in the docker form, every document is named by its digest, so
//! a blob that is not what its name and its descriptor say is refused at once.
//!
//! Rules:
//! - `index.json` lists images. The same descriptor may stand there once per name.
//! - No descriptor at the top is skipped because it says that it is an attestation: containerd tags what is there.
//! - A descriptor names a manifest, or an index. The children of an index are manifests, or once more an index of manifests; deeper
//!   nesting is refused.
//! - A blob's bytes have the digest and the size of the descriptor that leads to it, and it is a regular file below `blobs/sha256/`.
//! - Blobs that are missing are noted here and judged in the check: an index may list platforms that were never pulled.

use std::slice;

use crate::digest::Sha256;
use crate::image::BlobId;
use crate::image::docker::claim;
use crate::image::documents::Documents;
use crate::image::error::{ArchiveError, Code, Refusal};
use crate::image::manifest::{Config, Descriptor, Document, Index, Manifest, at_most, top_level};
use crate::image::tar::{Entry, Kind, Table};
use crate::limits::{ArchiveLimits, Bound, bound};
use crate::metadata::json::{self, At};
use crate::name::{ImageName, is_valid_tag};
use crate::text::quoted;

/// The file that lists the images of an OCI layout.
pub(crate) const INDEX: &str = "index.json";
/// The file that marks an OCI layout.
pub(crate) const LAYOUT: &str = "oci-layout";

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// An image that `index.json` leads to.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) names: Vec<ImageName>,
    /// Bare tags: an OCI layout may name an image by its tag alone.
    pub(crate) tags: Vec<String>,
    /// One of the tags is all that a descriptor says of its name, so that each loader makes a name of its own.
    pub(crate) tag_alone: Option<String>,
    pub(crate) top: Top,
}

/// What stands at the top of an image.
#[derive(Debug)]
pub(crate) enum Top {
    Manifest(Box<Image>),
    Index(Box<TopIndex>),
}

/// An index at the top of an image, and what of it is in the archive.
#[derive(Debug)]
pub(crate) struct TopIndex {
    pub(crate) descriptor: Descriptor,
    /// The images that it leads to; attestations are left out.
    pub(crate) children: Vec<Image>,
    /// The indexes within it.
    pub(crate) nested: Vec<Index>,
}

impl Top {
    /// The config digest of each image below.
    pub(crate) fn configs(&self) -> impl Iterator<Item = Sha256> {
        self.images().iter().map(|image| image.manifest.config.digest)
    }

    fn images(&self) -> &[Image] {
        match self {
            Self::Manifest(image) => slice::from_ref(image),
            Self::Index(index) => &index.children,
        }
    }
}

/// A manifest and those of its blobs that are in the archive.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) descriptor: Descriptor,
    pub(crate) manifest: Manifest,
    /// `None`: the config is missing.
    pub(crate) config: Option<(Entry, Config)>,
    /// The name of each layer's blob, base first. `None`: it is missing.
    pub(crate) layers: Vec<Option<String>>,
}

/// Reads `oci-layout`, which must announce version 1.0.0 [OCI image-spec, image layout].
pub(crate) fn check_layout_version(bytes: &[u8]) -> Result<(), Refusal> {
    const KEY: &str = "imageLayoutVersion";
    let value = json::parse(bytes)?;
    let at = At::document(&value);
    crate::image::manifest::known_keys(&at, &[KEY])?;
    let version = at.field(KEY)?;
    match version.string()? {
        "1.0.0" => Ok(()),
        other => {
            Err(Refusal::new(Code::LayoutVersion, LAYOUT, "unknown version").expected("\"1.0.0\"").found(quoted(other)))
        }
    }
}

impl Layout {
    /// Follows `index.json`, whose bytes are given, through the blobs of `table`.
    pub(crate) fn read_all(
        index_json: &[u8],
        table: &Table,
        documents: &mut dyn Documents,
        limits: &ArchiveLimits,
    ) -> Result<Vec<Self>, ArchiveError> {
        let descriptors = top_level(index_json, limits).map_err(|r| r.about(INDEX))?;
        let images = images(&descriptors, limits)?;
        images.iter().map(|image| Self::read(image, table, documents, limits)).collect()
    }

    fn read(
        descriptors: &[&Descriptor],
        table: &Table,
        documents: &mut dyn Documents,
        limits: &ArchiveLimits,
    ) -> Result<Self, ArchiveError> {
        let Names { names, tags, tag_alone } = Names::read(descriptors, limits)?;
        let top = descriptors.first().ok_or_else(no_image)?;
        let Some(bytes) = blob(top, table, documents, bound!(limits, manifest))? else {
            return Err(missing(top, "the manifest").into());
        };
        let top = match parse(top, &bytes, limits)? {
            Document::Manifest(manifest) => {
                Top::Manifest(Box::new(Image::read(top, manifest, table, documents, limits)?))
            }
            Document::Index(index) => {
                let mut walk = Children { table, documents, limits, images: Vec::new(), nested: Vec::new() };
                walk.add_all(&index, NESTED_INDEXES)?;
                let Children { images: children, nested, .. } = walk;
                Top::Index(Box::new(TopIndex { descriptor: (*top).clone(), children, nested }))
            }
        };
        Ok(Self { names, tags, tag_alone, top })
    }
}

impl Top {
    /// The names of all layer blobs that are in the archive.
    pub(crate) fn layer_blobs(&self) -> impl Iterator<Item = &str> {
        self.images().iter().flat_map(|image| image.layers.iter().flatten().map(String::as_str))
    }
}

/// How many indexes may stand between the index at the top of an image and a manifest.
const NESTED_INDEXES: usize = 1;

/// Collects what the children of an index lead to.
struct Children<'a> {
    table: &'a Table,
    documents: &'a mut dyn Documents,
    limits: &'a ArchiveLimits,
    images: Vec<Image>,
    nested: Vec<Index>,
}

impl Children<'_> {
    /// Adds the children of `index` that are in the archive; `deeper` indexes may follow below.
    fn add_all(&mut self, index: &Index, deeper: usize) -> Result<(), ArchiveError> {
        for child in index.manifests.iter().filter(|child| !child.is_attestation()) {
            let Some(bytes) = blob(child, self.table, self.documents, bound!(self.limits, manifest))? else { continue };
            match (parse(child, &bytes, self.limits)?, deeper.checked_sub(1)) {
                (Document::Manifest(manifest), _) => {
                    let image = Image::read(child, manifest, self.table, self.documents, self.limits)?;
                    self.images.push(image);
                    at_most("children of indexes", self.images.len(), bound!(self.limits, index_children))?;
                }
                (Document::Index(index), Some(deeper)) => {
                    self.add_all(&index, deeper)?;
                    self.nested.push(index);
                }
                (Document::Index(_), None) => {
                    let message = "an index within an index within an index";
                    let refusal = Refusal::new(Code::MediaType, child.blob_name(), message);
                    return Err(refusal.expected("an image manifest").into());
                }
            }
        }
        Ok(())
    }
}

impl Image {
    fn read(
        descriptor: &Descriptor,
        manifest: Manifest,
        table: &Table,
        documents: &mut dyn Documents,
        limits: &ArchiveLimits,
    ) -> Result<Self, ArchiveError> {
        let mut config = None;
        if let Some(bytes) = blob(&manifest.config, table, documents, bound!(limits, config))? {
            let name = manifest.config.blob_name();
            let parsed = Config::parse(&bytes, limits).map_err(|r| r.about(&name))?;
            config = table.get(&name).map(|entry| (entry.clone(), parsed));
        }
        let mut layers = Vec::new();
        for layer in &manifest.layers {
            layers.push(entry(layer, table)?.map(|entry| entry.name.clone()));
        }
        Ok(Self { descriptor: descriptor.clone(), manifest, config, layers })
    }

    pub(crate) fn missing_config(&self) -> Refusal {
        missing(&self.manifest.config, "the config")
    }
}

/// A blob that the image needs and the archive does not have.
pub(crate) fn missing(descriptor: &Descriptor, what: &str) -> Refusal {
    Refusal::new(Code::ArchiveMissingFile, descriptor.blob_name(), format!("{what} of the image is not in the archive"))
}

fn no_image() -> Refusal {
    Refusal::new(Code::ArchiveNoImage, INDEX, "no image is listed")
}

/// The images that are listed: for each, its descriptor once per name.
fn images<'d>(descriptors: &'d [Descriptor], limits: &ArchiveLimits) -> Result<Vec<Vec<&'d Descriptor>>, Refusal> {
    let mut images: Vec<Vec<&Descriptor>> = Vec::new();
    for descriptor in descriptors {
        if descriptor.embedded {
            return Err(Refusal::new(Code::ManifestNotSigned, INDEX, "the descriptor embeds content (data)"));
        }
        let same = |d: &&Descriptor| BlobId::from(*d) == BlobId::from(descriptor);
        match images.iter_mut().find(|image| image.first().is_some_and(same)) {
            Some(image) => image.push(descriptor),
            None => images.push(vec![descriptor]),
        }
    }
    if images.is_empty() {
        return Err(no_image());
    }
    at_most("images", images.len(), bound!(limits, images))?;
    Ok(images)
}

/// Every name and every bare tag that loaders would give an image.
#[derive(Default)]
struct Names {
    names: Vec<ImageName>,
    tags: Vec<String>,
    tag_alone: Option<String>,
}

impl Names {
    fn read(descriptors: &[&Descriptor], limits: &ArchiveLimits) -> Result<Self, Refusal> {
        let mut found = Self::default();
        for annotations in descriptors.iter().map(|d| &d.annotations) {
            let full = annotations.get(CONTAINERD_NAME);
            if let Some(name) = full {
                found.names.push(claim(INDEX, name)?);
            }
            match annotations.get(REF_NAME) {
                Some(tag) if is_valid_tag(tag) => {
                    found.tags.push(tag.clone());
                    if full.is_none() {
                        found.tag_alone = Some(tag.clone());
                    }
                }
                Some(name) => found.names.push(claim(INDEX, name)?),
                None => {}
            }
        }
        at_most("names", descriptors.len(), bound!(limits, names))?;
        Ok(found)
    }
}

/// The entry of a blob, of the right size. `None` if there is none.
fn entry<'a>(descriptor: &Descriptor, table: &'a Table) -> Result<Option<&'a Entry>, Refusal> {
    let name = descriptor.blob_name();
    match table.get(&name) {
        None => Ok(None),
        Some(entry) if entry.kind != Kind::File => {
            Err(Refusal::new(Code::ArchiveMissingFile, name, "a blob is not a regular file"))
        }
        Some(entry) if entry.size != descriptor.size => {
            Err(Refusal::new(Code::BlobSizeMismatch, name, "the size is not what the descriptor says")
                .expected(descriptor.size)
                .found(entry.size))
        }
        Some(entry) => Ok(Some(entry)),
    }
}

/// The bytes of a small blob, which are what the digest says. `None` if there is no such entry.
fn blob(
    descriptor: &Descriptor,
    table: &Table,
    documents: &mut dyn Documents,
    limit: Bound,
) -> Result<Option<Vec<u8>>, ArchiveError> {
    let Some(entry) = entry(descriptor, table)? else { return Ok(None) };
    let bytes = documents.document(entry, limit)?;
    let found = Sha256::of(&bytes);
    if found != descriptor.digest {
        return Err(Refusal::new(Code::BlobDigestMismatch, &entry.name, "the content is not what its name says")
            .expected(descriptor.digest)
            .found(found)
            .into());
    }
    Ok(Some(bytes))
}

/// Reads a manifest or index, which must be what the descriptor announced.
fn parse(descriptor: &Descriptor, bytes: &[u8], limits: &ArchiveLimits) -> Result<Document, Refusal> {
    let name = descriptor.blob_name();
    let document = Document::parse(bytes, limits).map_err(|r| r.about(&name))?;
    if document.media_type() == descriptor.media_type {
        return Ok(document);
    }
    Err(Refusal::new(Code::MediaType, name, "not what its descriptor announced")
        .expected(quoted(&descriptor.media_type))
        .found(document.media_type()))
}
