//! Which targets an image needs: its manifests, and all else that is signed beside them.

use crate::client::{Session, Source};
use crate::digest::Sha256;
use crate::image::base::config_file;
use crate::image::manifest::{Document, Platform};
use crate::image::signable::MANIFEST_FILE;
use crate::name::ImageName;
use crate::packages::files_beside;
use crate::profiles::Kind;
use crate::trust::Found;
use crate::verdict::Finding;
use crate::verify::Stop;

use super::Terms;

/// The signed files of an image, as a client finds them.
pub(super) struct ImageFiles {
    /// Of `manifest.json`.
    pub(super) digest: Sha256,
    /// `manifest.json` first, then those of the platforms. A bundle always has them.
    pub(super) manifests: Vec<Found>,
    /// The others.
    pub(super) others: Vec<Found>,
    /// Those of the index, if there is one.
    pub(super) platforms: Vec<Platform>,
}

impl ImageFiles {
    /// Looks for them in trusted metadata; the manifest is read.
    pub(super) fn find<S: Source>(
        session: &mut Session<'_, S>,
        image: &ImageName,
        terms: &Terms,
    ) -> Result<Self, Stop> {
        let not_signed = |path: &str, why: &dyn std::fmt::Display| {
            let text = format!("{image}: not signed: {why}");
            Stop::Untrusted(vec![Finding::new("image-not-signed", text).about(path)])
        };
        let path = |file: &str| terms.target_paths.path(image, file).map_err(|error| not_signed(file, &error));
        let at = path(MANIFEST_FILE)?;
        let manifest = session.find(&at)?.map_err(|absence| not_signed(&at, &absence))?;
        let bytes = session.fetch(&manifest)?;
        let mut platforms = Vec::new();
        if let Document::Index(index) = Document::parse(&bytes, &terms.limits)? {
            let images = index.manifests.iter().filter(|child| !child.is_attestation());
            platforms.extend(images.filter_map(|child| child.platform.clone()));
            platforms.sort();
            platforms.dedup();
        }
        let mut paths: Vec<String> = Vec::new();
        for platform in &platforms {
            paths.push(path(&platform.target_file())?);
        }
        let count = paths.len();
        // What its signer says beside it. What a client finds there may still be another role's.
        let beside = session.trusted().signer(&manifest).targets().map(|(path, _)| path.into_owned());
        let beside: Vec<String> =
            beside.filter(|path| terms.target_paths.file_of(image, path).is_some() && *path != at).collect();
        paths.extend(beside);
        // What is looked for beside an image, whoever signs it: package lists, profiles, the config for those that are built on it. Where nobody does, the bundle then has the roles that say so.
        let profiles = Kind::ALL.map(Kind::file).map(str::to_owned);
        let configs = [None].into_iter().chain(platforms.iter().map(Some)).map(config_file);
        for file in files_beside(&platforms).into_iter().chain(profiles).chain(configs) {
            let path = path(&file)?;
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        let (mut manifests, mut others) = (vec![manifest], Vec::new());
        for (i, path) in paths.iter().enumerate() {
            // A platform that the publisher does not offer is no target, and nobody is misled by that.
            let Ok(found) = session.find(path)? else { continue };
            if manifests.iter().any(|other| other.path() == path) {
                continue;
            }
            if i < count { manifests.push(found) } else { others.push(found) }
        }
        Ok(Self { digest: Sha256::of(&bytes), manifests, others, platforms })
    }

    /// All of them; the flag says whether it is a manifest.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Found, bool)> {
        self.manifests.iter().map(|found| (found, true)).chain(self.others.iter().map(|found| (found, false)))
    }
}
