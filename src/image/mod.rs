//! An archive in, a verified image out.
//!
//! An archive is trusted only if *every* loader that accepts it would load exactly the signed image, under exactly the requested name,
//! and nothing else. Loaders disagree in many places, and most of what an archive says is signed by nobody. So everything is parsed
//! strictly, decided once, and every ambiguity is refused.
//!
//! ```text
//! file, pipe, folder --open--> Archive --scan--> Inventory --measure--> MeasuredInventory --+
//!                                                                                          +--check--> VerifiedImage, or every mismatch
//! signed manifest ----------------------------------------------------> SignedImage -------+
//! ```
//!
//! [`write`](mod@write) hands a verified image on, as a fresh archive of nothing else.
//!
//! # What is accepted
//!
//! docker-archives (`docker save` up to 24, podman, skopeo), hybrids with an OCI layout (`docker save` from 25 on) and oci-archives: tar
//! files, plain or compressed as a whole with gzip, zstd, xz or bzip2, from a file or a pipe. OCI layouts in folders (`oci:` of skopeo and
//! buildah, umoci, `podman save --format oci-dir`). Layers plain, gzip or zstd. The rules:
//!
//! 1. One parser, and every decision from one reading of one opened file.
//! 2. Entry names are cleaned in one way; absolute ones, `..` and what is no text are refused.
//! 3. No two entries share a name, not even when case is ignored.
//! 4. Only files, directories, and links as `docker save` writes them for a repeated layer.
//! 5. Tar headers leave nothing to interpretation: checksums, sizes, PAX and GNU extensions.
//! 6. Two zero blocks end the archive, and nothing follows them.
//! 7. Compression by magic bytes; all members, frames and streams; nothing after them. Around an archive at most one layer of it, and no
//!    stream that is a tar archive as well, for loaders differ on how much of it they undo.
//! 8. A folder is files and folders: no link is followed, nothing but a regular file is opened, and each must stay the one it was. Loaders
//!    read its `index.json`, so that must be there.
//! 9. Every half that is present leads to the signed image. What only old daemons would load is refused.
//! 10. One image, or several of which each is signed: a loader loads them all.
//! 11. A blob is its bytes: what its name says is compared with what it hashes to.
//! 12. The chain is checked to its end: manifest, config, diff ids, content of each layer. An unsigned OCI manifest passes only as a
//!     re-encoding of the signed one.
//! 13. Decompression is bounded, and all of its output is hashed.
//! 14. An index counts only if it is the signed one, or within that one; and the config must agree on the platform.
//! 15. The config is opaque bytes: another space is another image.
//! 16. No content that would be fetched from elsewhere.
//! 17. Every name in the archive is an allowed one.
//! 19. Strict JSON.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::digest::Sha256;
use crate::image::inventory::Form;
use crate::image::manifest::{Descriptor, Platform};
use crate::image::tar::Entry;
use crate::name::ImageName;
use crate::text::escaped;

mod ahead;
pub mod archive;
pub mod base;
pub mod check;
pub mod claims;
pub(crate) mod contents;
mod docker;
pub(crate) mod documents;
pub mod error;
mod folder;
mod header;
pub mod inventory;
pub mod manifest;
mod measure;
mod oci;
pub mod read_at;
pub mod signable;
mod stored;
pub mod tar;
mod unpack;
pub mod user;
pub mod write;

/// An image in an archive that was found to be the signed one. Only [`check::check`] makes it.
///
/// It holds where everything stands in the archive, but not the archive: what is read from there later must be hashed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedImage {
    name: ImageName,
    claimed: Vec<ImageName>,
    manifest: BlobId,
    manifest_bytes: Arc<[u8]>,
    has_signed_blobs: bool,
    index: Option<BlobId>,
    platform: Platform,
    user: Option<String>,
    config: Sha256,
    config_entry: Entry,
    layers: Vec<VerifiedLayer>,
    form: Form,
}

/// One layer of a [`VerifiedImage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedLayer {
    diff_id: Sha256,
    size: u64,
    entry: Entry,
    stored: Sha256,
    /// Of the blob that the signed manifest lists for it.
    signed: Sha256,
}

/// What identifies a manifest or an index: media type, digest, size.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobId {
    /// The media type.
    pub media_type: String,
    /// The digest of its bytes, which registries address it by.
    pub digest: Sha256,
    /// The number of its bytes.
    pub size: u64,
}

impl VerifiedImage {
    /// The reference that it was verified as.
    #[must_use]
    pub fn name(&self) -> &ImageName {
        &self.name
    }

    /// The names that loaders give it when it is written: the one that it was verified as, and those of the archive, all of them allowed.
    /// In full, for podman would make `localhost/app` of a short one; sorted. A reference with a digest gives none: its tag, if there is one,
    /// is only a claim.
    #[must_use]
    pub fn loaded_names(&self) -> Vec<String> {
        let names: BTreeSet<&ImageName> = self.claimed.iter().chain([&self.name]).collect();
        names.into_iter().filter(|name| name.digest().is_none()).map(ToString::to_string).collect()
    }

    /// The names that the archive gives it, all of them allowed; sorted. Empty if it names none.
    #[must_use]
    pub fn claimed_names(&self) -> &[ImageName] {
        &self.claimed
    }

    /// Claimed, if at all, under the name alone that it was verified as: the archive's other names may have other signed manifests.
    pub(crate) fn claimed_as_verified(mut self) -> Self {
        let name = self.name.clone();
        self.claimed.retain(|claimed| *claimed == name);
        self
    }

    pub(crate) fn is_same_but_for_names(&self, other: &Self) -> bool {
        let named = |image: &Self| Self { name: self.name.clone(), claimed: Vec::new(), ..image.clone() };
        named(self) == named(other)
    }

    pub(crate) fn add_names_of(&mut self, other: &Self) {
        self.claimed.extend(other.claimed.iter().cloned());
        self.claimed.sort();
    }

    /// The signed manifest.
    #[must_use]
    pub fn manifest(&self) -> &BlobId {
        &self.manifest
    }

    /// The exact bytes of the signed manifest, which came from the repository: the archive need not hold them.
    #[must_use]
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest_bytes
    }

    /// Whether the archive holds the very blobs that the signed manifest lists, as they are or compressed. If not, its layers are the same
    /// as the signed ones when both are unpacked.
    #[must_use]
    pub fn has_signed_blobs(&self) -> bool {
        self.has_signed_blobs
    }

    /// The signed index that lists the manifest, if the signed target is one.
    #[must_use]
    pub fn index(&self) -> Option<&BlobId> {
        self.index.as_ref()
    }

    /// The platform that the config names.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// The user that its config names: `NAME`, `NUMBER`, or either with `:GROUP`. `None` if it names none, and then it runs as root.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The digest of the config: what Docker's classic store calls the image ID.
    #[must_use]
    pub fn config_digest(&self) -> Sha256 {
        self.config
    }

    /// Where the config stands in the archive.
    #[must_use]
    pub fn config_entry(&self) -> &Entry {
        &self.config_entry
    }

    /// The layers, base first.
    #[must_use]
    pub fn layers(&self) -> &[VerifiedLayer] {
        &self.layers
    }

    /// The archive's form.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }
}

impl VerifiedLayer {
    /// The digest of the uncompressed tar, which is what its content is verified against.
    #[must_use]
    pub fn diff_id(&self) -> Sha256 {
        self.diff_id
    }

    /// The size of the uncompressed tar in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where the layer stands in the archive: its name, offset and stored size. A link in the archive has been followed.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The digest of the stored bytes. It equals the diff id for an uncompressed layer.
    #[must_use]
    pub fn stored_digest(&self) -> Sha256 {
        self.stored
    }
}

impl BlobId {
    fn of(media_type: &str, bytes: &[u8]) -> Self {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self { media_type: media_type.to_owned(), digest: Sha256::of(bytes), size }
    }

    /// Whether a descriptor means this document. All three must agree; a descriptor with a wrong size is a wrong descriptor.
    fn is(&self, descriptor: &Descriptor) -> bool {
        *self == Self::from(descriptor)
    }

    fn blob_name(&self) -> String {
        format!("blobs/sha256/{}", self.digest.to_hex())
    }
}

impl From<&Descriptor> for BlobId {
    fn from(d: &Descriptor) -> Self {
        Self { media_type: d.media_type.clone(), digest: d.digest, size: d.size }
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {} bytes)", self.digest, escaped(&self.media_type), self.size)
    }
}
