//! The paved road: from a pinned root and an archive to a verdict. Joins the stages and decides nothing itself.

use std::fs::{self, File};
use std::path::Path;

use crate::client::{Client, ClientError, Session, Source, Undecided};
use crate::image::VerifiedImage;
use crate::image::check::{SignedImage, check};
use crate::image::error::{ArchiveError, Refusal};
use crate::image::inventory::Inventory;
use crate::image::manifest::{Document, Platform};
use crate::image::read_at::ReadAt;
use crate::limits::ArchiveLimits;
use crate::name::ImageName;
use crate::text::quoted;
use crate::trust::Absence;
use crate::verdict::{ArchiveReport, Finding, MetadataReport, Report, Verdict, with_causes};

/// Called with the bytes that were checked so far, and all that there are to check.
pub type Progress = dyn Fn(u64, u64) + Send + Sync;

/// Decides whether archives may be loaded, by one repository.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::path::Path;
///
/// use plimsoll::client::{Client, DirSource, Store};
/// use plimsoll::verify::Verifier;
///
/// let root = std::fs::read("test-repos/root.json")?;
/// let source = DirSource::repository(Path::new("test-repos/good"))?;
/// let verifier = Verifier::new(Client::new(root, source, Store::in_memory()));
/// let verdict = verifier.verify(Path::new("test-repos/good/app.tar"));
/// assert!(verdict.is_trusted(), "{verdict}");
/// # Ok(())
/// # }
/// ```
pub struct Verifier<S> {
    client: Client<S>,
    image: Option<ImageName>,
    platform: Option<Platform>,
    limits: ArchiveLimits,
    progress: Box<Progress>,
}

/// Why a verdict is not "trusted".
enum Stop {
    Untrusted(Vec<Finding>),
    Undecided(Finding),
}

impl<S: Source> Verifier<S> {
    /// Verifies archives under the names that they claim themselves; each of those must be signed.
    pub fn new(client: Client<S>) -> Self {
        let progress = Box::new(|_, _| {});
        Self { client, image: None, platform: None, limits: ArchiveLimits::default(), progress }
    }

    /// Verifies archives as this image. An archive may then claim no other name.
    #[must_use]
    pub fn with_image(self, image: ImageName) -> Self {
        Self { image: Some(image), ..self }
    }

    /// The platform that the image must be for. Without it, an image that is signed for one platform may be for any, and of an image
    /// that is signed for several it is the one of this machine.
    #[must_use]
    pub fn with_platform(self, platform: Platform) -> Self {
        Self { platform: Some(platform), ..self }
    }

    /// Other limits.
    #[must_use]
    pub fn with_limits(self, limits: ArchiveLimits) -> Self {
        Self { limits, ..self }
    }

    /// Reports progress to `progress`, from several threads at once.
    #[must_use]
    pub fn with_progress(self, progress: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        Self { progress: Box::new(progress), ..self }
    }

    /// Verifies the archive in a file. The file is opened once; what is hashed is what was opened.
    pub fn verify(&self, archive: &Path) -> Verdict {
        let shown = archive.display().to_string();
        match open_file(archive) {
            Ok(file) => self.verify_archive(file, &shown),
            Err(message) => Verdict::not_started("archive-unreadable", &message, &shown),
        }
    }

    /// Verifies an archive that is at hand; `path` is what to call it in the verdict.
    pub fn verify_archive(&self, archive: impl ReadAt + Sync, path: &str) -> Verdict {
        let archive_report = ArchiveReport { path: path.to_owned(), ..ArchiveReport::default() };
        let image = self.image.as_ref().map(ToString::to_string);
        let mut report = Report { archive: archive_report, image, ..Report::default() };
        match self.decide(archive, &mut report) {
            Ok(image) => Verdict::trusted(image, report),
            Err(Stop::Untrusted(findings)) => Verdict::untrusted(findings, report),
            Err(Stop::Undecided(finding)) => Verdict::undecided(finding, report),
        }
    }

    fn decide(&self, archive: impl ReadAt + Sync, report: &mut Report) -> Result<VerifiedImage, Stop> {
        report.archive.size = archive.size().ok();
        let inventory = Inventory::scan(archive, &self.limits)?;
        report.archive.form = Some(inventory.form().as_str());
        let names = self.names(inventory.claimed_names())?;
        report.image = names.first().map(ToString::to_string);

        let signed = self.signed_images(&names, report)?;
        let progress = &self.progress;
        let measured = inventory.measure(&self.limits, &|done, total| progress(done, total))?;

        let mut verified = None;
        for signed in &signed {
            let image = check(signed, &names, &measured).map_err(untrusted)?;
            verified.get_or_insert(image);
        }
        verified.ok_or_else(no_name)
    }

    /// The name asked for, or else every name that the archive claims.
    fn names(&self, claimed: &[ImageName]) -> Result<Vec<ImageName>, Stop> {
        match &self.image {
            Some(name) => Ok(vec![name.clone()]),
            None if claimed.is_empty() => Err(no_name()),
            None => Ok(claimed.to_vec()),
        }
    }

    /// What the repository says these images are. The store is unlocked again before the archive is hashed, which may take long.
    fn signed_images(&self, names: &[ImageName], report: &mut Report) -> Result<Vec<SignedImage>, Stop> {
        let mut session = self.client.refresh()?;
        let mut metadata = MetadataReport::of(session.trusted());
        let signed = names.iter().map(|name| self.signed_image(&mut session, name, &mut metadata, report)).collect();
        report.metadata = Some(metadata);
        signed
    }

    fn signed_image(
        &self,
        session: &mut Session<'_, S>,
        name: &ImageName,
        metadata: &mut MetadataReport,
        report: &mut Report,
    ) -> Result<SignedImage, Stop> {
        let folder = name.target_folder();
        let manifest = signed_file(session, name, &format!("{folder}manifest.json"), Some(metadata))?;
        if let Document::Index(_) = Document::parse(&manifest, &self.limits)? {
            let platform = self.platform.clone().unwrap_or_else(Platform::host);
            report.platform = Some(platform.to_string());
            let file = format!("{folder}{}", platform.target_file());
            let platform_manifest = signed_file(session, name, &file, None)?;
            return Ok(SignedImage::from_index(name, &manifest, &platform, &platform_manifest, &self.limits)?);
        }
        report.platform = self.platform.as_ref().map(ToString::to_string);
        Ok(SignedImage::from_manifest(name, &manifest, self.platform.as_ref(), &self.limits)?)
    }
}

fn signed_file<S: Source>(
    session: &mut Session<'_, S>,
    name: &ImageName,
    path: &str,
    metadata: Option<&mut MetadataReport>,
) -> Result<Vec<u8>, Stop> {
    let found = session.find(path)?.map_err(|absence| not_signed(name, path, &absence))?;
    if let Some(metadata) = metadata {
        metadata.signed_by(session.trusted(), &found);
    }
    Ok(session.fetch(&found)?)
}

fn open_file(path: &Path) -> Result<File, String> {
    let failed = |e: std::io::Error| format!("cannot read {}: {e}", quoted(&path.display().to_string()));
    // Looked at before it is opened: opening a FIFO would wait for ever.
    let found = fs::metadata(path).map_err(failed)?;
    if found.is_dir() {
        let path = path.display().to_string();
        return Err(format!("{} is a folder; pack the OCI layout with tar first", quoted(&path)));
    }
    if !found.is_file() {
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    File::open(path).map_err(failed)
}

fn no_name() -> Stop {
    let text = "the archive claims no name, so there is none to look up; say which image it must be";
    Stop::Untrusted(vec![Finding::new("image-name-missing", text)])
}

fn not_signed(name: &ImageName, path: &str, absence: &Absence) -> Stop {
    let text = format!("{name}: not signed: {absence}");
    Stop::Untrusted(vec![Finding::new("image-not-signed", text).about(path)])
}

fn untrusted(refusals: Vec<Refusal>) -> Stop {
    Stop::Untrusted(refusals.iter().map(Finding::from).collect())
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NotTrusted(error) => Self::Untrusted(vec![Finding::from(&error)]),
            ClientError::Undecided(error) => Self::from(error),
        }
    }
}

impl From<Undecided> for Stop {
    fn from(error: Undecided) -> Self {
        Self::Undecided(Finding::from(&error))
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        untrusted(vec![refusal])
    }
}

impl From<ArchiveError> for Stop {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Refused(refusal) => Self::from(refusal),
            error @ ArchiveError::Io { .. } => Self::Undecided(Finding::new("archive-unreadable", with_causes(&error))),
        }
    }
}
