//! What is signed of an image: its manifest, by which it is known, and the profiles beside it.

use std::collections::BTreeMap;

use plimsoll::client::Source;
use plimsoll::digest::Sha256;
use plimsoll::image::check::SignedImage;
use plimsoll::image::error::Refusal;
use plimsoll::image::manifest::{Document, Platform};
use plimsoll::image::signable::MANIFEST_FILE;
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;
use plimsoll::profiles::Kind;
use plimsoll::verify::{Govern, NotGoverned, SignedFiles};

use super::{Finding, Stop};

/// What is signed of an image.
pub(super) struct Signed {
    pub(super) name: ImageName,
    /// The digest of `manifest.json`, whichever document it is.
    pub(super) manifest: Sha256,
    pub(super) files: BTreeMap<Kind, Vec<u8>>,
}

impl Signed {
    /// The same, if there is a profile.
    fn with_profiles(self) -> Result<Self, Stop> {
        if self.files.is_empty() {
            let text = format!("{}: no profile is signed beside it", self.name);
            return Err(Stop::refused(Finding::new("profile-missing", text)));
        }
        Ok(self)
    }
}

/// What is signed of the image with an ID.
pub(super) struct ById {
    /// Under the first of its names, and under the others, beside which the same profiles are signed.
    pub(super) first: Signed,
    pub(super) others: Vec<Signed>,
    /// Why others of its names were not looked up.
    pub(super) passed_over: Vec<String>,
}

/// Looks up what is signed.
pub(super) struct Lookup<'g, S, G> {
    governing: &'g G,
    files: SignedFiles<'g, S, G>,
}

impl<'g, S: Source, G: Govern<S>> Lookup<'g, S, G> {
    pub(super) fn new(governing: &'g G) -> Self {
        Self { governing, files: SignedFiles::new(governing) }
    }

    pub(super) fn by_name(&mut self, name: &ImageName) -> Result<Signed, Stop> {
        let signed = self.signed(name, None)?;
        signed.ok_or_else(|| Stop::refused(not_signed(name, "no role that may sign it lists it")))?.with_profiles()
    }

    /// What is signed of the image with an ID, under those of its names that are signed for it. They must agree. A name that may not be trusted here in any case
    /// is passed over; one of which that is not known never is.
    pub(super) fn by_id(&mut self, names: &[ImageName], id: Sha256) -> Result<ById, Stop> {
        let (mut all, mut refusals, mut tried) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            match self.governing.terms(name) {
                Ok(_) => {
                    all.extend(self.signed(name, Some(id))?);
                    tried.push(name.to_string());
                }
                Err(NotGoverned::Refused { code, message }) => refusals.push(Finding::new(code, message)),
                Err(NotGoverned::Undecided { code, message }) => {
                    return Err(Stop::undecided(Finding::new(code, message)));
                }
            }
        }
        let mut all = all.into_iter();
        let Some(first) = all.next() else { return Err(under_no_name(id, &tried, refusals)) };
        let others: Vec<Signed> = all.collect();
        if let Some(other) = others.iter().find(|other| other.files != first.files) {
            return Err(ambiguous(&first, other, "other profiles are signed beside it"));
        }
        let passed_over = refusals.into_iter().map(|finding| finding.message).collect();
        Ok(ById { first: first.with_profiles()?, others, passed_over })
    }

    /// What is signed of an image; with an ID, only if it is that image's. `None` if no image is signed under this name, or another.
    fn signed(&mut self, name: &ImageName, id: Option<Sha256>) -> Result<Option<Signed>, Stop> {
        let limits = ArchiveLimits::default();
        let refused = |refusal: Refusal| Stop::refused(of_image(&refusal));
        let Some(bytes) = self.files.file(name, MANIFEST_FILE)? else { return Ok(None) };
        let manifest = Sha256::of(&bytes);
        // What a reference with a digest selects, and of an index that the platform's manifest is listed, is checked there.
        let ids = match Document::parse(&bytes, &limits).map_err(refused)? {
            Document::Manifest(document) => {
                SignedImage::from_manifest(name, &bytes, None, &limits).map_err(refused)?;
                vec![manifest, document.config.digest]
            }
            // An index; there is no other kind.
            _ => {
                let platform = Platform::host();
                let Some(own) = self.files.file(name, &platform.target_file())? else {
                    let why = "no manifest is signed for this machine's platform";
                    return Err(Stop::refused(not_signed(name, why)));
                };
                SignedImage::from_index(name, &bytes, &platform, &own, &limits).map_err(refused)?;
                let config = match Document::parse(&own, &limits).map_err(refused)? {
                    Document::Manifest(document) => Some(document.config.digest),
                    _ => None,
                };
                [manifest, Sha256::of(&own)].into_iter().chain(config).collect()
            }
        };
        if id.is_some_and(|id| !ids.contains(&id)) {
            return Ok(None);
        }
        let mut files = BTreeMap::new();
        for kind in Kind::ALL {
            files.extend(self.files.file(name, kind.file())?.map(|bytes| (kind, bytes)));
        }
        Ok(Some(Signed { name: name.clone(), manifest, files }))
    }
}

/// Two names of one image that lead to different options.
pub(super) fn ambiguous(first: &Signed, other: &Signed, why: &str) -> Stop {
    let text = format!("{} names the same image as {}, and {why}; say which name is meant", other.name, first.name);
    Stop::refused(Finding::new("profile-ambiguous", text))
}

/// Where every name is refused, that is the reason; else it comes after what was tried.
fn under_no_name(id: Sha256, tried: &[String], refusals: Vec<Finding>) -> Stop {
    if tried.is_empty() && !refusals.is_empty() {
        return Stop::Refused(refusals);
    }
    let found = if tried.is_empty() { "it has no name".to_owned() } else { format!("tried {}", tried.join(", ")) };
    let text = format!("sha256:{}: under none of its names is this image signed; {found}", id.to_hex());
    Stop::Refused([Finding::new("image-not-signed", text)].into_iter().chain(refusals).collect())
}

fn not_signed(name: &ImageName, why: &str) -> Finding {
    Finding::new("image-not-signed", format!("{name}: not signed: {why}"))
}

fn of_image(refusal: &Refusal) -> Finding {
    Finding {
        expected: refusal.expected.clone(),
        found: refusal.found.clone(),
        ..Finding::new(refusal.code.as_str(), refusal.to_string())
    }
}
