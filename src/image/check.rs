//! The decision: is what every loader would load from this archive exactly the signed image, under no other name?
//!
//! An archive with several images is decided image by image, and is trusted if each of them is.
//!
//! A pure function of what was signed ([`SignedImage`]) and what is there ([`MeasuredInventory`]). It reads nothing and trusts no
//! claim of the archive: every digest it compares was computed from bytes, and what it is compared with was signed.
//!
//! Rules:
//! - Every name that the archive claims is allowed. A bare tag must be the tag of an allowed name.
//! - Every half that is present leads to the signed image: the same config bytes, and layers that unpack to the config's diff ids,
//!   in order, as many as there are.
//! - The OCI half has the signed manifest, the signed index, or a re-encoding of the signed manifest: other layer blobs of the
//!   same content, and nothing said that the signed manifest does not say.
//! - The config is for the wanted platform.
//! - All mismatches are reported, up to a bound, what matters most first.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Sha256;
use crate::image::claims::ClaimedImage;
use crate::image::docker::DockerImage;
use crate::image::error::{Code, Refusal};
use crate::image::inventory::{Form, MeasuredInventory};
use crate::image::manifest::{Config, Descriptor, Document, Family, Index, Manifest, Platform};
use crate::image::measure::Layer;
use crate::image::oci::{Image, Top};
use crate::image::tar::Entry;
use crate::image::{BlobId, VerifiedImage, VerifiedLayer, docker, oci};
use crate::limits::ArchiveLimits;
use crate::name::ImageName;
use crate::text::{escaped, quoted};

/// What one check reports at most: an image of 512 wrong layers says the same thing 512 times.
const REFUSALS_MAX: usize = 32;
/// How many of those may be about names.
const NAMES_MAX: usize = 8;

/// The image that TUF vouches for: a manifest, and the index that lists it if there is one.
///
/// Whoever makes one states that the bytes came from verified targets. Nothing of the archive goes into it.
#[derive(Debug, Clone)]
pub struct SignedImage {
    name: ImageName,
    manifest: Manifest,
    manifest_id: BlobId,
    manifest_bytes: Arc<[u8]>,
    index: Option<BlobId>,
    /// The index itself does not list the manifest; an index within it has to, for this platform.
    listed_within: Option<Platform>,
    platform: Option<Platform>,
}

impl SignedImage {
    /// An image whose signed target is a manifest.
    ///
    /// `platform` is the one that is wanted; without it, the image is verified for whatever platform its config names.
    ///
    /// # Errors
    ///
    /// [`Code::SignedMismatch`] if the bytes are an index or not those that the reference's digest selects, and the codes of
    /// [`Document::parse`].
    pub fn from_manifest(
        name: &ImageName,
        manifest: &[u8],
        platform: Option<&Platform>,
        limits: &ArchiveLimits,
    ) -> Result<Self, Refusal> {
        selected_by(name, manifest)?;
        let manifest_bytes = Arc::from(manifest);
        let (manifest, manifest_id) = signed_manifest(name, manifest, limits)?;
        let (name, index, platform) = (name.clone(), None, platform.cloned());
        Ok(Self { name, manifest, manifest_id, manifest_bytes, index, listed_within: None, platform })
    }

    /// An image whose signed target is an index; `platform_manifest` is the manifest of `platform`, which the index must list.
    ///
    /// If it does not, but lists further indexes, one of those must; the check then looks for it in the archive.
    ///
    /// # Errors
    ///
    /// [`Code::SignedMismatch`] if one of the two is the other kind of document, if the index is not the one that the reference's
    /// digest selects, or if it lists another manifest; [`Code::PlatformNotFound`]; the codes of [`Document::parse`].
    pub fn from_index(
        name: &ImageName,
        index: &[u8],
        platform: &Platform,
        platform_manifest: &[u8],
        limits: &ArchiveLimits,
    ) -> Result<Self, Refusal> {
        selected_by(name, index)?;
        let (index, index_id) = signed_index(name, index, limits)?;
        let (manifest, manifest_id) = signed_manifest(name, platform_manifest, limits)?;
        let (mut listed_within, mut platform) = (Some(platform.clone()), platform.clone());
        if !index.leaves_to_others(&platform) {
            let listed = index.select(&platform).map_err(|r| r.about(&name.to_string()))?;
            if !manifest_id.is(listed) {
                return Err(lists_another(name, listed, &manifest_id));
            }
            // What was selected is more exact than what was asked for: `linux/arm` may have led to `linux/arm/v6`.
            platform = listed.platform.clone().unwrap_or(platform);
            listed_within = None;
        }
        let (name, index, platform) = (name.clone(), Some(index_id), Some(platform));
        let manifest_bytes = Arc::from(platform_manifest);
        Ok(Self { name, manifest, manifest_id, manifest_bytes, index, listed_within, platform })
    }

    /// The reference it was made for.
    #[must_use]
    pub fn name(&self) -> &ImageName {
        &self.name
    }

    /// The platform that was chosen of an index.
    pub(super) fn platform_of_index(&self) -> Option<&Platform> {
        self.platform.as_ref().filter(|_| self.index.is_some())
    }

    /// The signed manifest.
    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

/// A digest in the reference selects the signed bytes; TUF then only says that they are still current.
fn selected_by(name: &ImageName, bytes: &[u8]) -> Result<(), Refusal> {
    let found = Sha256::of(bytes);
    match name.digest() {
        Some(digest) if digest != found => {
            Err(contradiction(name, "the signed manifest is not the one with this digest")
                .expected(digest)
                .found(found))
        }
        _ => Ok(()),
    }
}

fn signed_manifest(name: &ImageName, bytes: &[u8], limits: &ArchiveLimits) -> Result<(Manifest, BlobId), Refusal> {
    match Document::parse(bytes, limits).map_err(|r| r.about(&signed(name)))? {
        Document::Manifest(manifest) => {
            let id = BlobId::of(manifest.media_type(), bytes);
            Ok((manifest, id))
        }
        Document::Index(_) => Err(contradiction(name, "an index where a platform's manifest should be")),
    }
}

fn signed_index(name: &ImageName, bytes: &[u8], limits: &ArchiveLimits) -> Result<(Index, BlobId), Refusal> {
    match Document::parse(bytes, limits).map_err(|r| r.about(&signed(name)))? {
        Document::Index(index) => {
            let id = BlobId::of(index.media_type(), bytes);
            Ok((index, id))
        }
        Document::Manifest(_) => Err(contradiction(name, "a manifest where the index should be")),
    }
}

fn signed(name: &ImageName) -> String {
    format!("signed manifest of {name}")
}

fn lists_another(name: &ImageName, listed: &Descriptor, found: &BlobId) -> Refusal {
    contradiction(name, "the signed index lists another manifest for the platform")
        .expected(BlobId::from(listed))
        .found(found)
}

fn contradiction(name: &ImageName, message: &str) -> Refusal {
    Refusal::new(Code::SignedMismatch, name, message)
}

/// Decides whether the archive holds exactly the signed image and no other, for every loader, under allowed names only.
///
/// `allowed` are the names under which the caller knows this very manifest to be signed. A name with a digest allows no claim: what
/// an archive calls itself is a tag.
///
/// # Errors
///
/// Every mismatch that was found, at most 32, the most important first. Never empty. [`Code::ArchiveSeveralImages`] if the archive
/// holds more than one image: these are for [`check_image`].
pub fn check<R>(
    signed: &SignedImage,
    allowed: &[ImageName],
    inventory: &MeasuredInventory<R>,
) -> Result<VerifiedImage, Vec<Refusal>> {
    match inventory.images() {
        [image] => check_image(signed, allowed, image, inventory),
        several => Err(vec![several_images(several.len())]),
    }
}

/// That an archive holds more images than the one that it may.
pub(crate) fn several_images(found: usize) -> Refusal {
    Refusal::new(Code::ArchiveSeveralImages, "the archive", "a loader would load them all")
        .expected("one image")
        .found(found)
}

/// Decides the same of one image out of [`MeasuredInventory::images`]. The archive may be loaded only if this is so of each.
///
/// # Errors
///
/// As [`check`]. Never empty.
pub fn check_image<R>(
    signed: &SignedImage,
    allowed: &[ImageName],
    image: &ClaimedImage,
    inventory: &MeasuredInventory<R>,
) -> Result<VerifiedImage, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let docker = image.docker.as_ref().map(|image| Half::docker(image, inventory));
    let oci = image.oci.as_ref().map(|top| signed.half_of(top, inventory));
    for half in docker.iter().chain(&oci) {
        match half {
            Ok(half) => refusals.extend(signed.mismatches(half, inventory.form())),
            Err(refusal) => refusals.push(refusal.clone()),
        }
    }
    if let Some(top) = &image.oci {
        refusals.extend(signed.layout_mismatches(top, inventory));
    }
    refusals.extend(signed.not_listed(image.oci.as_ref()));
    // Last, but never cut off by the many layers of a wrong image.
    let mut names = name_mismatches(allowed, &image.names, &image.tags);
    names.truncate(NAMES_MAX);
    refusals.truncate(REFUSALS_MAX.saturating_sub(names.len()));
    refusals.append(&mut names);
    match docker.or(oci) {
        Some(Ok(half)) if refusals.is_empty() => Ok(signed.verified(&half, image, inventory)),
        _ => Err(refusals),
    }
}

/// The image that one family of loaders would load.
struct Half<'a> {
    /// The file that led to it.
    file: &'static str,
    config_entry: &'a Entry,
    config_digest: Sha256,
    config: &'a Config,
    layers: Vec<&'a Layer>,
}

impl<'a> Half<'a> {
    fn docker<R>(image: &'a DockerImage, inventory: &'a MeasuredInventory<R>) -> Result<Self, Refusal> {
        let layers = image.layers.iter().map(|name| measured(name, inventory)).collect::<Result<_, _>>()?;
        let (config_entry, config_digest, config) = (&image.config_entry, image.config_digest, &image.config);
        Ok(Self { file: docker::MANIFEST, config_entry, config_digest, config, layers })
    }

    fn oci<R>(image: &'a Image, inventory: &'a MeasuredInventory<R>) -> Result<Self, Refusal> {
        let (entry, config) = image.config.as_ref().ok_or_else(|| image.missing_config())?;
        let layers = image.manifest.layers.iter().zip(&image.layers).map(|(descriptor, name)| match name {
            Some(name) => measured(name, inventory),
            None => Err(oci::missing(descriptor, "a layer")),
        });
        let (layers, config_digest) = (layers.collect::<Result<_, _>>()?, image.manifest.config.digest);
        Ok(Self { file: oci::INDEX, config_entry: entry, config_digest, config, layers })
    }

    /// Each layer's content against the config's diff ids, in order [OCI image-spec, config, rootfs].
    fn layer_mismatches(&self) -> Vec<Refusal> {
        if self.layers.len() != self.config.diff_ids.len() {
            return vec![
                Refusal::new(Code::LayerCountMismatch, self.file, "not as many layers as the config has diff ids")
                    .expected(self.config.diff_ids.len())
                    .found(self.layers.len()),
            ];
        }
        let pairs = self.layers.iter().zip(&self.config.diff_ids);
        pairs.zip(1usize..).filter_map(|((layer, diff_id), i)| layer_mismatch(i, layer, *diff_id)).collect()
    }
}

fn layer_mismatch(i: usize, layer: &Layer, diff_id: Sha256) -> Option<Refusal> {
    let subject = || format!("layer {i} ({})", escaped(&layer.entry.name));
    match &layer.content {
        Ok(content) if content.digest == diff_id => None,
        Ok(content) => Some(
            Refusal::new(Code::LayerDiffIdMismatch, subject(), "the content is not what the config says")
                .expected(diff_id)
                .found(content.digest),
        ),
        Err(refusal) => Some(Refusal { subject: subject(), ..refusal.clone() }),
    }
}

fn measured<'a, R>(name: &str, inventory: &'a MeasuredInventory<R>) -> Result<&'a Layer, Refusal> {
    let unmeasured = || Refusal::new(Code::ArchiveMissingFile, escaped(name), "the layer was not measured");
    inventory.layer(name).ok_or_else(unmeasured)
}

impl SignedImage {
    /// The image that podman and containerd would load, as far as the signed documents say which that is.
    fn half_of<'a, R>(&self, top: &'a Top, inventory: &'a MeasuredInventory<R>) -> Result<Half<'a>, Refusal> {
        match top {
            Top::Manifest(image) => Half::oci(image, inventory),
            Top::Index(index) => {
                self.must_be_signed(&index.descriptor)?;
                let ours = index.children.iter().find(|image| self.manifest_id.is(&image.descriptor));
                let absent = || {
                    let name = self.manifest_id.blob_name();
                    Refusal::new(
                        Code::ArchiveMissingFile,
                        name,
                        "the manifest of the wanted platform is not in the archive",
                    )
                };
                Half::oci(ours.ok_or_else(absent)?, inventory)
            }
        }
    }

    fn must_be_signed(&self, index: &Descriptor) -> Result<(), Refusal> {
        if self.index.as_ref().is_some_and(|signed| signed.is(index)) {
            return Ok(());
        }
        let expected =
            self.index.as_ref().map_or_else(|| "the signed manifest itself".to_owned(), |index| index.to_string());
        Err(Refusal::new(
            Code::IndexNotSigned,
            oci::INDEX,
            "the archive's image is an index that is not the signed one",
        )
        .expected(expected)
        .found(BlobId::from(index)))
    }

    /// Where the signed index leaves the platform to the indexes within it, all of those that list it must list the signed manifest.
    /// They are in the archive, and what is reached from the signed index by digest is signed with it.
    fn not_listed(&self, top: Option<&Top>) -> Option<Refusal> {
        let platform = self.listed_within.as_ref()?;
        let nested = match top {
            Some(Top::Index(index)) => index.nested.as_slice(),
            _ => &[],
        };
        let listed: Vec<_> = nested.iter().filter(|index| index.lists(platform)).map(|i| i.select(platform)).collect();
        if listed.is_empty() {
            let message =
                "the signed index does not list it itself, and no index within it that does is in the archive";
            return Some(Refusal::new(Code::PlatformNotFound, &self.name, message).expected(platform));
        }
        listed.into_iter().find_map(|listed| match listed {
            Ok(listed) if self.manifest_id.is(listed) => None,
            Ok(listed) => Some(lists_another(&self.name, listed, &self.manifest_id)),
            Err(refusal) => Some(refusal.about(&self.name.to_string())),
        })
    }

    /// The config against the signed manifest, and the layers against the config.
    fn mismatches(&self, half: &Half<'_>, form: Form) -> Vec<Refusal> {
        let signed = &self.manifest.config;
        if half.config_digest != signed.digest || half.config_entry.size != signed.size {
            return vec![self.wrong_config(half, form)];
        }
        if self.manifest.layers.len() != half.config.diff_ids.len() {
            let message = "the signed manifest has not as many layers as its config has diff ids";
            return vec![
                contradiction(&self.name, message)
                    .expected(half.config.diff_ids.len())
                    .found(self.manifest.layers.len()),
            ];
        }
        let mut refusals = half.layer_mismatches();
        refusals.extend(self.platform.as_ref().and_then(|wanted| platform_mismatch(half, wanted)));
        refusals
    }

    fn wrong_config(&self, half: &Half<'_>, form: Form) -> Refusal {
        // The most frequent honest reason, so it is said at once.
        let rewritten = matches!(form, Form::OciArchive | Form::OciLayout) && self.manifest.family == Family::Docker;
        let message = if rewritten {
            "the config is not the signed one (podman and skopeo rewrite it when they write a Docker image in an OCI form: use docker-archive)"
        } else {
            "the config, hence the image ID, is not the signed one"
        };
        let subject = format!("{}: config {}", half.file, escaped(&half.config_entry.name));
        let (signed, found) = (&self.manifest.config, half.config_digest);
        Refusal::new(Code::ConfigDigestMismatch, subject, message)
            .expected(format!("{} ({} bytes)", signed.digest, signed.size))
            .found(format!("{found} ({} bytes)", half.config_entry.size))
    }

    /// What only the OCI half has: blobs with digests of their own, manifests of their own, other platforms.
    fn layout_mismatches<R>(&self, top: &Top, inventory: &MeasuredInventory<R>) -> Vec<Refusal> {
        match top {
            Top::Manifest(image) => {
                let mut refusals = blob_mismatches(image, inventory);
                if !self.manifest_id.is(&image.descriptor) {
                    refusals.extend(self.more_than_a_re_encoding(image));
                }
                refusals
            }
            Top::Index(index) if self.must_be_signed(&index.descriptor).is_ok() => {
                index.children.iter().flat_map(|image| self.child_mismatches(image, inventory)).collect()
            }
            // Already refused as a whole.
            Top::Index(_) => Vec::new(),
        }
    }

    /// A child of the signed index. Another platform's image may be incomplete, for `docker save` writes what was pulled; what is
    /// there must be right, for a loader on that platform takes it.
    fn child_mismatches<R>(&self, image: &Image, inventory: &MeasuredInventory<R>) -> Vec<Refusal> {
        let mut refusals = blob_mismatches(image, inventory);
        let ours = self.manifest_id.is(&image.descriptor);
        if !ours && let Ok(half) = Half::oci(image, inventory) {
            refusals.extend(half.layer_mismatches());
        }
        refusals
    }

    /// An unsigned manifest may list other blobs for the same content (docker 25 to 28 write uncompressed layers), and say nothing
    /// more than the signed one: podman hands annotations to the runtime, and takes layers by the table of contents they announce.
    fn more_than_a_re_encoding(&self, image: &Image) -> Option<Refusal> {
        let (ours, theirs) = (&self.manifest, &image.manifest);
        let descriptors = |m: &Manifest| [&m.config].into_iter().chain(&m.layers).cloned().collect::<Vec<_>>();
        let (ours_all, theirs_all) = (descriptors(ours), descriptors(theirs));
        let excess = if theirs.refers {
            Some("it has subject or artifactType")
        } else if !is_within(&theirs.annotations, &ours.annotations) {
            Some("it has other annotations")
        } else if theirs_all.iter().any(|d| d.embedded) {
            Some("a descriptor embeds content (data)")
        } else if theirs_all.iter().zip(&ours_all).any(|(t, o)| !is_within(&t.annotations, &o.annotations)) {
            Some("a descriptor has other annotations")
        } else {
            None
        };
        excess.map(|excess| {
            Refusal::new(
                Code::ManifestNotSigned,
                image.descriptor.blob_name(),
                format!("not the signed manifest, and {excess}"),
            )
            .expected(&self.manifest_id)
            .found(BlobId::from(&image.descriptor))
        })
    }

    fn verified<R>(&self, half: &Half<'_>, image: &ClaimedImage, inventory: &MeasuredInventory<R>) -> VerifiedImage {
        // The check has passed, so there are as many of one as of the other.
        let layers = half.layers.iter().zip(&half.config.diff_ids).zip(&self.manifest.layers);
        let layers = layers.map(|((layer, diff_id), signed)| VerifiedLayer {
            diff_id: *diff_id,
            size: layer.content.as_ref().map_or(0, |content| content.size),
            entry: layer.entry.clone(),
            stored: layer.stored,
            signed: signed.digest,
        });
        let layers: Vec<_> = layers.collect();
        let mut blobs = layers.iter().zip(&self.manifest.layers);
        let has_signed_blobs = blobs.all(|(layer, signed)| {
            [(layer.stored, layer.entry.size), (layer.diff_id, layer.size)].contains(&(signed.digest, signed.size))
        });
        VerifiedImage {
            name: self.name.clone(),
            claimed: image.names.clone(),
            manifest: self.manifest_id.clone(),
            manifest_bytes: Arc::clone(&self.manifest_bytes),
            has_signed_blobs,
            index: self.index.clone(),
            platform: half.config.platform.clone(),
            user: half.config.user.clone(),
            config: half.config_digest,
            config_entry: half.config_entry.clone(),
            layers,
            form: inventory.form(),
        }
    }
}

fn is_within(theirs: &BTreeMap<String, String>, ours: &BTreeMap<String, String>) -> bool {
    theirs.iter().all(|(key, value)| ours.get(key) == Some(value))
}

/// The stored bytes of every layer blob against its descriptor.
fn blob_mismatches<R>(image: &Image, inventory: &MeasuredInventory<R>) -> Vec<Refusal> {
    let present = image.manifest.layers.iter().zip(&image.layers).filter_map(|(d, name)| Some((d, name.as_deref()?)));
    present
        .filter_map(|(descriptor, name)| match measured(name, inventory) {
            Ok(layer) => blob_mismatch(descriptor, layer),
            Err(refusal) => Some(refusal),
        })
        .collect()
}

fn blob_mismatch(descriptor: &Descriptor, layer: &Layer) -> Option<Refusal> {
    let subject = || escaped(&layer.entry.name).to_string();
    if layer.stored != descriptor.digest {
        return Some(
            Refusal::new(Code::BlobDigestMismatch, subject(), "the content is not what its name says")
                .expected(descriptor.digest)
                .found(layer.stored),
        );
    }
    // Some readers go by the media type and some by the first bytes, and one file can be both a gzip stream and a tar. The other way
    // round, plain content under a compressed type, all go by the first bytes; real images have that.
    if descriptor.is_plain_layer() && layer.compressed {
        let message = "the media type says uncompressed, the content is compressed";
        return Some(Refusal::new(Code::LayerCompression, subject(), message).expected(quoted(&descriptor.media_type)));
    }
    None
}

fn platform_mismatch(half: &Half<'_>, wanted: &Platform) -> Option<Refusal> {
    let found = &half.config.platform;
    if found.satisfies(wanted) {
        return None;
    }
    let subject = format!("{}: config", half.file);
    Some(
        Refusal::new(Code::PlatformMismatch, subject, "the image is for another platform")
            .expected(wanted)
            .found(found),
    )
}

/// Every name of the archive against the allowed ones.
fn name_mismatches(allowed: &[ImageName], names: &[ImageName], tags: &[String]) -> Vec<Refusal> {
    let expected = || match allowed {
        [] => "no name at all".to_owned(),
        [only] => format!("{only}, or no name at all"),
        several => format!("one of {}", several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    let refused = |subject: String, message| Refusal::new(Code::NameNotAllowed, subject, message).expected(expected());
    let strange = names.iter().filter(|name| !allowed.contains(name));
    let names = strange.map(|name| refused(name.to_string(), "the archive claims a name that was not asked for"));
    let is_allowed =
        |tag: &&String| allowed.iter().any(|name| name.digest().is_none() && name.tag() == Some(tag.as_str()));
    let strange = tags.iter().filter(|tag| !is_allowed(tag));
    names.chain(strange.map(|tag| refused(tag.clone(), "the archive claims a tag that was not asked for"))).collect()
}
