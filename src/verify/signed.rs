//! What is signed of an image under one name: its manifest, what is signed beside it, and what it must be built on.

use super::Stop;
use super::round::{Need, Round, Said};
use super::terms::{Govern, Terms};
use crate::client::Source;
use crate::image::base::{BaseImage, config_file};
use crate::image::check::SignedImage;
use crate::image::manifest::{Document, Platform};
use crate::image::signable::MANIFEST_FILE;
use crate::limits::ArchiveLimits;
use crate::name::ImageName;
use crate::packages::advise::{ADVISORIES, STATEMENTS};
use crate::packages::beside::{self, Fetched};
use crate::packages::list_files;
use crate::verdict::Finding;

/// What is signed of an image under one name.
pub(super) struct Signed<'v, S> {
    pub(super) name: ImageName,
    pub(super) terms: &'v Terms<S>,
    pub(super) image: SignedImage,
    pub(super) base: Option<BaseImage>,
    pub(super) beside: Fetched,
}

/// Looks up what is signed.
pub(super) struct Lookup<'v, 'r, S, G> {
    pub(super) governing: &'v G,
    pub(super) platform: Option<&'v Platform>,
    pub(super) limits: &'v ArchiveLimits,
    pub(super) round: &'r mut Round<'v, S>,
    pub(super) said: &'r mut Said,
}

/// The manifest of an image, and the platform that was chosen of several.
struct Manifest {
    image: SignedImage,
    chosen: Option<Platform>,
}

impl<'v, S: Source, G: Govern<S>> Lookup<'v, '_, S, G> {
    /// What is signed of the image of a name. `shown` becomes the platform that it is looked up for, if one was asked for or has to be chosen.
    pub(super) fn image(&mut self, name: &ImageName, shown: &mut Option<String>) -> Result<Signed<'v, S>, Stop> {
        let terms = self.terms(name)?;
        let Manifest { image, chosen } = self.manifest(name, terms, shown)?;
        let beside = self.beside(name, terms, chosen.as_ref())?;
        let base = terms.requirements.base.as_ref().map(|base| self.base(base)).transpose()?;
        Ok(Signed { name: name.clone(), terms, image, base, beside })
    }

    fn terms(&self, name: &ImageName) -> Result<&'v Terms<S>, Stop> {
        Ok(self.governing.terms(name)?)
    }

    /// The image that others are built on, under the terms of its own name. What that must be built on in turn was looked at when it was published, or not: it
    /// is not loaded here.
    fn base(&mut self, name: &ImageName) -> Result<BaseImage, Stop> {
        let terms = self.terms(name)?;
        let Manifest { image, chosen } = self.manifest(name, terms, &mut None)?;
        let config = self.file(name, terms, &config_file(chosen.as_ref()), Need::May)?;
        Ok(BaseImage::new(image, config.as_ref().map(|(_, bytes)| bytes.as_slice()), self.limits)?)
    }

    fn manifest(
        &mut self,
        name: &ImageName,
        terms: &'v Terms<S>,
        shown: &mut Option<String>,
    ) -> Result<Manifest, Stop> {
        let manifest = self.must(name, terms, MANIFEST_FILE)?;
        if let Document::Index(_) = Document::parse(&manifest, self.limits)? {
            let platform = self.platform.cloned().unwrap_or_else(Platform::host);
            *shown = Some(platform.to_string());
            let platform_manifest = self.must(name, terms, &platform.target_file())?;
            let image = SignedImage::from_index(name, &manifest, &platform, &platform_manifest, self.limits)?;
            return Ok(Manifest { image, chosen: Some(platform) });
        }
        *shown = self.platform.map(ToString::to_string);
        let image = SignedImage::from_manifest(name, &manifest, self.platform, self.limits)?;
        Ok(Manifest { image, chosen: None })
    }

    /// What is signed beside an image of its packages: the lists for all its platforms, those for the one that was chosen, and advisories.
    fn beside(&mut self, name: &ImageName, terms: &'v Terms<S>, platform: Option<&Platform>) -> Result<Fetched, Stop> {
        let mut fetched = Fetched::default();
        let checks = &terms.packages;
        if checks.is_off() {
            return Ok(fetched);
        }
        let files = list_files(platform);
        for (format, file) in &files {
            fetched.lists.extend(self.file(name, terms, file, Need::May)?.map(|file| (*format, file)));
        }
        if fetched.lists.is_empty() && checks.need_list() {
            let files: Vec<&str> = files.iter().map(|(_, file)| file.as_str()).collect();
            return Err(missing("package-list-missing", name, "no package list is", &files));
        }
        fetched.advisories = self.file(name, terms, ADVISORIES, Need::May)?;
        if fetched.advisories.is_some() {
            fetched.statements = self.file(name, terms, STATEMENTS, Need::May)?;
        } else if checks.need_advisories() {
            return Err(missing("advisories-missing", name, "no advisories are", &[ADVISORIES]));
        }
        Ok(fetched)
    }

    fn must(&mut self, name: &ImageName, terms: &'v Terms<S>, file: &str) -> Result<Vec<u8>, Stop> {
        match self.file(name, terms, file, Need::Must)? {
            Some((_, bytes)) => Ok(bytes),
            // What must be there is there or an error.
            None => Err(Stop::Untrusted(vec![Finding::new("image-not-signed", format!("{name}: not signed"))])),
        }
    }

    /// A signed file of an image, with its target path.
    fn file(
        &mut self,
        name: &ImageName,
        terms: &'v Terms<S>,
        file: &str,
        need: Need,
    ) -> Result<Option<beside::File>, Stop> {
        let path = path(terms, name, file)?;
        let bytes = self.round.file(terms, name, &path, need, self.said)?;
        Ok(bytes.map(|bytes| (path, bytes)))
    }
}

/// Where a file of an image is signed. No platform has a name that cannot be in a path; but if one had, nothing would be signed for it.
pub(super) fn path<S>(terms: &Terms<S>, name: &ImageName, file: &str) -> Result<String, Stop> {
    let no_path = |error: crate::template::TemplateError| {
        Stop::Untrusted(vec![Finding::new("image-not-signed", format!("{name}: not signed: {error}"))])
    };
    terms.target_paths.path(name, file).map_err(no_path)
}

fn missing(code: &'static str, name: &ImageName, what: &str, files: &[&str]) -> Stop {
    let text = format!("{name}: {what} signed beside it; looked for {}", files.join(", "));
    Stop::Untrusted(vec![Finding::new(code, text)])
}
