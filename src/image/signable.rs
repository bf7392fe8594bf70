//! What of an archive has to be signed so that the archive verifies: the other side of [`crate::image::check`].
//!
//! Rules:
//! - Where the archive holds the manifest or index of its OCI half, these are its exact bytes. Of an index, each platform's manifest that is in the
//!   archive has to be signed beside it.
//! - A classic docker-archive has no manifest. The one that is made for it is a function of the image alone: Docker's version 2 schema 2, in one line
//!   without white space, keys in the order below, the layers as the uncompressed tars that the config names.
//! - Nothing is given out that does not make the archive verify: the check of the other side is run before.
//!
//! ```json
//! {"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",
//!  "config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":1,"digest":"sha256:..."},
//!  "layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar","size":1,"digest":"sha256:..."}]}
//! ```

use serde::Serialize;

use crate::digest::Sha256;
use crate::image::archive::Archive;
use crate::image::check::{SignedImage, check_image, several_images};
use crate::image::claims::ClaimedImage;
use crate::image::docker::DockerImage;
use crate::image::documents::Reader;
use crate::image::error::{ArchiveError, Code, Refusal};
use crate::image::inventory::{Inventory, MeasuredInventory};
use crate::image::manifest::{Descriptor, Platform};
use crate::image::oci::Top;
use crate::image::tar::Table;
use crate::limits::{ArchiveLimits, bound};
use crate::name::ImageName;

/// The file whose target is the image's manifest or index.
pub const MANIFEST_FILE: &str = "manifest.json";

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// The documents to sign for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signable {
    /// File names, as [`ImageName::target_folder`] is to hold them, and contents; [`MANIFEST_FILE`] first.
    pub files: Vec<(String, Vec<u8>)>,
    /// The digest of the manifest or index.
    pub manifest: Sha256,
    /// The platforms that can be verified afterwards, if it is an index.
    pub platforms: Vec<Platform>,
}

/// Why nothing of an archive can be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignableError {
    /// The archive cannot be read, or breaks a rule before it is looked at closely.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Whatever is signed, the archive would not verify. Never empty.
    #[error("{}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Refused(Vec<Refusal>),
}

impl From<Refusal> for SignableError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(vec![refusal])
    }
}

impl Signable {
    /// Reads all of an archive, which must hold one image and no name but `name`.
    ///
    /// `progress` is that of [`Inventory::measure`].
    ///
    /// # Errors
    ///
    /// [`SignableError`]; what is refused here is what [`check`](crate::image::check::check) would refuse of the archive.
    pub fn of(
        archive: &Archive,
        name: &ImageName,
        limits: &ArchiveLimits,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Self, SignableError> {
        let measured = Inventory::scan_opened(archive, limits)?.measure(limits, progress)?;
        Self::of_measured(archive, &measured, std::slice::from_ref(name), limits)
    }

    /// The same of an archive that has been measured, which may claim the names `names`, of which there is at least one.
    pub(crate) fn of_measured(
        archive: &Archive,
        measured: &MeasuredInventory<&Archive>,
        names: &[ImageName],
        limits: &ArchiveLimits,
    ) -> Result<Self, SignableError> {
        let [image] = measured.images() else {
            return Err(several_images(measured.images().len()).into());
        };
        let table = archive.table(limits)?;
        let mut blobs = Blobs { reader: Reader::new(&archive, limits), table: &table, limits };
        match (&image.oci, &image.docker) {
            (Some(Top::Index(index)), _) => {
                let bytes = blobs.read(&index.descriptor)?;
                let mut files = Vec::new();
                for child in &index.children {
                    let platform = child.descriptor.platform.clone();
                    let platform = platform.ok_or_else(|| no_platform(&child.descriptor))?;
                    files.push((platform, blobs.read(&child.descriptor)?));
                }
                Self::of_index(bytes, files, names, image, measured, limits)
            }
            (Some(Top::Manifest(oci)), _) => {
                let bytes = blobs.read(&oci.descriptor)?;
                Self::of_manifest(bytes, names, image, measured, limits)
            }
            (None, Some(docker)) => {
                let bytes = docker_manifest(docker, measured)?;
                Self::of_manifest(bytes, names, image, measured, limits)
            }
            (None, None) => Err(several_images(0).into()),
        }
    }

    fn of_manifest<R>(
        bytes: Vec<u8>,
        names: &[ImageName],
        image: &ClaimedImage,
        measured: &MeasuredInventory<R>,
        limits: &ArchiveLimits,
    ) -> Result<Self, SignableError> {
        let signed = SignedImage::from_manifest(first(names)?, &bytes, None, limits)?;
        check_image(&signed, names, image, measured).map_err(SignableError::Refused)?;
        let manifest = Sha256::of(&bytes);
        Ok(Self { files: vec![(MANIFEST_FILE.to_owned(), bytes)], manifest, platforms: Vec::new() })
    }

    fn of_index<R>(
        bytes: Vec<u8>,
        children: Vec<(Platform, Vec<u8>)>,
        names: &[ImageName],
        image: &ClaimedImage,
        measured: &MeasuredInventory<R>,
        limits: &ArchiveLimits,
    ) -> Result<Self, SignableError> {
        let manifest = Sha256::of(&bytes);
        let mut signable = Self { files: vec![(MANIFEST_FILE.to_owned(), bytes.clone())], manifest, platforms: vec![] };
        let mut left_out = Vec::new();
        for (platform, child) in children {
            let signed = SignedImage::from_index(first(names)?, &bytes, &platform, &child, limits)?;
            if let Err(refusals) = check_image(&signed, names, image, measured) {
                // A platform whose layers were never pulled; and to docker a hybrid is of one platform, which the others are not.
                let is_absent = refusals.iter().all(|refusal| refusal.code == Code::ArchiveMissingFile);
                if !is_absent && image.docker.is_none() {
                    return Err(SignableError::Refused(refusals));
                }
                left_out.extend(refusals);
                continue;
            }
            let file = platform.target_file();
            if signable.files.iter().any(|(other, _)| *other == file) {
                continue; // Listed twice; both are one manifest, or the check would have refused.
            }
            signable.files.push((file, child));
            signable.platforms.push(platform);
        }
        if signable.platforms.is_empty() && !left_out.is_empty() {
            return Err(SignableError::Refused(left_out));
        }
        if signable.platforms.is_empty() {
            let message = "the archive has an index, but the manifest of no platform that it lists";
            return Err(Refusal::new(Code::PlatformNotFound, "index", message).into());
        }
        Ok(signable)
    }
}

fn first(names: &[ImageName]) -> Result<&ImageName, SignableError> {
    let missing = || Refusal::new(Code::NameNotAllowed, "the archive", "there is no name that it may have");
    names.first().ok_or_else(|| missing().into())
}

fn no_platform(child: &Descriptor) -> Refusal {
    Refusal::new(Code::PlatformNotFound, child.blob_name(), "the index does not say for which platform this is")
}

/// Documents of the archive, each of which is named by its digest.
struct Blobs<'a> {
    reader: Reader<'a, &'a Archive>,
    table: &'a Table,
    limits: &'a ArchiveLimits,
}

impl Blobs<'_> {
    fn read(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, SignableError> {
        let name = descriptor.blob_name();
        let bytes = self.reader.control(self.table, &name, bound!(self.limits, manifest))?;
        let bytes = bytes.ok_or_else(|| Refusal::new(Code::ArchiveMissingFile, &name, "the manifest is not there"))?;
        let found = Sha256::of(&bytes);
        if found != descriptor.digest {
            let refusal = Refusal::new(Code::BlobDigestMismatch, &name, "it changed while it was read");
            return Err(refusal.expected(descriptor.digest).found(found).into());
        }
        Ok(bytes)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DockerManifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: DockerDescriptor<'a>,
    layers: Vec<DockerDescriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DockerDescriptor<'a> {
    media_type: &'a str,
    size: u64,
    digest: String,
}

fn docker_manifest<R>(image: &DockerImage, measured: &MeasuredInventory<R>) -> Result<Vec<u8>, SignableError> {
    let mut layers = Vec::new();
    for name in &image.layers {
        let missing = || Refusal::new(Code::ArchiveMissingFile, name, "the layer was not measured");
        let content = measured.layer(name).ok_or_else(missing)?.content.as_ref().map_err(Clone::clone)?;
        layers.push(DockerDescriptor {
            media_type: DOCKER_LAYER,
            size: content.size,
            digest: content.digest.to_string(),
        });
    }
    let config = DockerDescriptor {
        media_type: DOCKER_CONFIG,
        size: image.config_entry.size,
        digest: image.config_digest.to_string(),
    };
    let manifest = DockerManifest { schema_version: 2, media_type: DOCKER_MANIFEST, config, layers };
    // Strings and numbers with fixed keys: there is nothing in it that cannot be written.
    serde_json::to_vec(&manifest).map_err(|e| {
        let source = std::io::Error::other(e);
        ArchiveError::Io { what: "cannot write the manifest".to_owned(), source }.into()
    })
}
