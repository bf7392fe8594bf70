//! Whether an image is built on another: a pure function of the verified image, and of what is signed of its base.
//!
//! A signed manifest lists layers as they are stored, mostly compressed; an image is verified by what they unpack to. Two layers are the same only where that is
//! shown, by one of these, and never by what the image's own manifest says of itself:
//! - the config of the base is signed as well, or is known otherwise by its digest: its diff ids are compared;
//! - the base lists the layer uncompressed, so that its digest is the diff id;
//! - the archive holds the very blob that the base lists, and it was unpacked to the image's diff id when it was verified.

use crate::digest::Sha256;
use crate::image::VerifiedImage;
use crate::image::check::SignedImage;
use crate::image::error::{Code, Refusal};
use crate::image::manifest::{Config, Platform};
use crate::limits::ArchiveLimits;

/// The file in which the config of a base is signed beside it: `config.json`, or that of a platform, `config.linux-arm64.json`, if its `manifest.json` is an index.
#[must_use]
pub fn config_file(platform: Option<&Platform>) -> String {
    platform.map_or_else(|| "config.json".to_owned(), |platform| format!("config.{}.json", platform.file_part()))
}

/// The signed image that others must be built on.
#[derive(Debug, Clone)]
pub struct BaseImage {
    image: SignedImage,
    diff_ids: Option<Vec<Sha256>>,
}

impl BaseImage {
    /// `config` is the base's config, where that is signed beside it.
    ///
    /// # Errors
    ///
    /// [`Code::SignedMismatch`] if it is not the config that the base's manifest names, or has another number of layers; the codes of [`Config::parse`].
    pub fn new(image: SignedImage, config: Option<&[u8]>, limits: &ArchiveLimits) -> Result<Self, Refusal> {
        let Some(config) = config else { return Ok(Self { image, diff_ids: None }) };
        let (named, found) = (&image.manifest().config, Sha256::of(config));
        let wrong =
            |message: &str| Refusal::new(Code::SignedMismatch, format!("{}: config.json", image.name()), message);
        if named.digest != found {
            return Err(wrong("it is not the config that the signed manifest names")
                .expected(named.digest)
                .found(found));
        }
        let diff_ids = Config::parse(config, limits)?.diff_ids;
        let layers = image.manifest().layers.len();
        if diff_ids.len() != layers {
            return Err(wrong("it has not as many diff ids as the signed manifest has layers")
                .expected(layers)
                .found(diff_ids.len()));
        }
        Ok(Self { image, diff_ids: Some(diff_ids) })
    }

    /// Whether `image` is built on this one: its first layers are all of this one's.
    ///
    /// # Errors
    ///
    /// [`Code::BaseMismatch`] if it is not; [`Code::BaseNotShown`] if that cannot be seen from what is at hand.
    pub fn must_be_below(&self, image: &VerifiedImage) -> Result<(), Refusal> {
        let base = self.image.name();
        let layers = &self.image.manifest().layers;
        let refused = |code, message: String| Refusal::new(code, image.name(), message);
        if layers.is_empty() {
            return Err(refused(
                Code::BaseMismatch,
                format!("the base {base} has no layer, so everything is built on it"),
            ));
        }
        if layers.len() > image.layers().len() {
            let message = format!("it is not built on {base}, which has more layers");
            return Err(refused(Code::BaseMismatch, message).expected(layers.len()).found(image.layers().len()));
        }
        for (at, (listed, layer)) in layers.iter().zip(image.layers()).enumerate() {
            let number = at.saturating_add(1);
            let diff_id = self.diff_ids.as_ref().and_then(|diff_ids| diff_ids.get(at)).copied();
            let is_same = match diff_id {
                Some(diff_id) => diff_id == layer.diff_id(),
                None => listed.digest == layer.diff_id() || listed.digest == layer.stored_digest(),
            };
            if is_same {
                continue;
            }
            let not_built = || format!("it is not built on {base}: layer {number} is another");
            return Err(match diff_id {
                Some(diff_id) => refused(Code::BaseMismatch, not_built()).expected(diff_id).found(layer.diff_id()),
                None if !is_compressed(&listed.media_type) => {
                    refused(Code::BaseMismatch, not_built()).expected(listed.digest).found(layer.diff_id())
                }
                // The archive has a blob of its own form for the layer, and nothing says what the base's unpacks to.
                None => refused(
                    Code::BaseNotShown,
                    format!(
                        "it cannot be shown that it is built on {base}: layer {number} of that is signed compressed, and the archive holds another blob; \
                         sign the base's config beside it, as {}",
                        config_file(self.image.platform_of_index())
                    ),
                )
                .expected(listed.digest)
                .found(layer.stored_digest()),
            });
        }
        Ok(())
    }
}

/// Whether the media type claims a compressed layer. It is a claim, and decides nothing but which words a refusal has.
fn is_compressed(media_type: &str) -> bool {
    media_type.ends_with("gzip") || media_type.ends_with("zstd")
}
