//! Whether an archive is one of the images of a bundle.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::Terms;
use super::contents::ArchiveHint;
use super::report::ArchiveEntry;
use crate::client::{DirSource, Store};
use crate::image::VerifiedImage;
use crate::image::manifest::Platform;
use crate::name::ImageName;
use crate::packages::check::{Mode, PackageChecks};
use crate::verdict::{Finding, Verdict};
use crate::verify::{Stop, Verifier};

/// Verifies archives by the metadata of a bundle that was found to be trusted.
pub(super) struct Archives<'t> {
    pub(super) terms: &'t Terms,
    pub(super) source: &'t DirSource,
    /// The update start time.
    pub(super) time: DateTime<Utc>,
    pub(super) images: &'t [ImageName],
    /// Whether what is installed is compared with signed lists. Not where a bundle is read: it may leave a list out that an earlier one has brought, and whoever
    /// loads the image compares it anyway.
    pub(super) packages: Mode,
}

impl Archives<'_> {
    /// Verifies the archive at `path` as what the bundle says of it.
    pub(super) fn check(&self, hint: &ArchiveHint, path: &Path) -> Result<ArchiveEntry, Stop> {
        let verdict = self.verdict(hint, path);
        let in_file = |findings: &[Finding]| findings.iter().cloned().map(|one| one.in_file(&hint.file)).collect();
        if verdict.is_undecided() {
            return Err(Stop::Undecided(in_file(verdict.findings())));
        }
        if !verdict.is_trusted() {
            return Err(Stop::Untrusted(in_file(verdict.findings())));
        }
        if let Some(other) = verdict.images().flat_map(names).find(|name| !self.images.contains(name)) {
            let text = format!("{other} is signed, but is none of the images of the bundle");
            let finding = Finding::new("bundle-archive-not-listed", text).about(&hint.file).in_file(&hint.file);
            return Err(Stop::Untrusted(vec![finding]));
        }
        let mut names: Vec<String> = verdict.images().flat_map(names).map(|name| name.to_string()).collect();
        names.sort();
        names.dedup();
        let platform = verdict.image().map(|image| image.platform().to_string());
        Ok(ArchiveEntry { file: hint.file.clone(), images: names, platform })
    }

    /// Finds out as what an archive verifies: as what it claims to be itself or else, if it claims nothing, as one of the images; for this machine's
    /// platform or else for another one that is signed.
    pub(super) fn identify(&self, file: &str, path: &Path, platforms: &[Platform]) -> Result<ArchiveHint, Stop> {
        let own = ArchiveHint { file: file.to_owned(), image: None, platform: None };
        let first = match self.check(&own, path) {
            Ok(_) => return Ok(own),
            Err(Stop::Undecided(findings)) => return Err(Stop::Undecided(findings)),
            Err(Stop::Untrusted(findings)) => findings,
        };
        let claims_none = first.iter().any(|finding| finding.code() == "image-name-missing");
        let names: Vec<Option<ImageName>> =
            if claims_none { self.images.iter().cloned().map(Some).collect() } else { vec![None] };
        for image in names {
            for platform in [None].into_iter().chain(platforms.iter().cloned().map(Some)) {
                let hint = ArchiveHint { file: file.to_owned(), image: image.clone(), platform };
                match self.check(&hint, path) {
                    Ok(_) => return Ok(hint),
                    Err(Stop::Undecided(findings)) => return Err(Stop::Undecided(findings)),
                    Err(Stop::Untrusted(_)) => {}
                }
            }
        }
        // Why it is not what it claims to be says more than why it is not something else.
        Err(Stop::Untrusted(first))
    }

    fn verdict(&self, hint: &ArchiveHint, path: &Path) -> Verdict {
        let client = self.terms.client(self.source.clone(), Store::in_memory()).with_time(self.time);
        let mut verifier = Verifier::new(client)
            .with_packages(PackageChecks::default().with_mode(self.packages))
            .with_target_paths(self.terms.target_paths.clone())
            .with_limits(self.terms.limits.clone());
        if let Some(image) = &hint.image {
            verifier = verifier.with_image(image.clone());
        }
        if let Some(platform) = &hint.platform {
            verifier = verifier.with_platform(platform.clone());
        }
        verifier.verify(path)
    }
}

fn names(image: &VerifiedImage) -> Vec<ImageName> {
    image.claimed_names().iter().cloned().chain([image.name().clone()]).collect()
}
