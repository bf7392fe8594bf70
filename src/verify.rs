//! The paved road: from a pinned root and an archive to a verdict. Joins the stages and decides nothing itself.

use std::fs::File;
use std::path::Path;

use crate::client::{Client, ClientError, Session, Source, Undecided};
use crate::image::VerifiedImage;
use crate::image::archive::Archive;
use crate::image::check::{SignedImage, check_image, several_images};
use crate::image::claims::ClaimedImage;
use crate::image::error::{ArchiveError, Refusal};
use crate::image::inventory::{Inventory, MeasuredInventory};
use crate::image::manifest::{Document, Platform};
use crate::image::read_at::ReadAt;
use crate::image::signable::MANIFEST_FILE;
use crate::limits::ArchiveLimits;
use crate::map::{LookupError, MapSession, Repositories};
use crate::name::ImageName;
use crate::template::{TargetPaths, TemplateError};
use crate::trust::Absence;
use crate::verdict::{ArchiveReport, Finding, MetadataReport, Report, RepositoryReport, Verdict, with_causes};

/// Called with the bytes that were checked so far, and all that there are to check.
pub type Progress = dyn Fn(u64, u64) + Send + Sync;

/// Decides whether archives may be loaded, by one repository or by several that must agree.
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
    authority: Authority<S>,
    image: Option<ImageName>,
    platform: Option<Platform>,
    limits: ArchiveLimits,
    target_paths: TargetPaths,
    progress: Box<Progress>,
}

/// Who says what an image is.
enum Authority<S> {
    One(Client<S>),
    Map(Repositories<S>),
}

/// Brings what is signed at a target path of an image, by whatever authority.
type SignedFile<'f> = dyn FnMut(&ImageName, &str) -> Result<Vec<u8>, Stop> + 'f;

/// Why a verdict is not "trusted".
pub(crate) enum Stop {
    Untrusted(Vec<Finding>),
    Undecided(Vec<Finding>),
}

impl<S: Source> Verifier<S> {
    /// Verifies archives under the names that they claim themselves; each of those must be signed.
    pub fn new(client: Client<S>) -> Self {
        Self::by(Authority::One(client))
    }

    /// As [`new`](Self::new), by several repositories: a signed file is what as many of them agree on as the map demands [TAP 4].
    pub fn by_map(repositories: Repositories<S>) -> Self {
        Self::by(Authority::Map(repositories))
    }

    fn by(authority: Authority<S>) -> Self {
        let progress = Box::new(|_, _| {});
        let (limits, target_paths) = (ArchiveLimits::default(), TargetPaths::default());
        Self { authority, image: None, platform: None, limits, target_paths, progress }
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

    /// Where the signed files of an image are, if not in the folder [`ImageName::target_folder`]. It is part of what the verifier pins: it is never taken
    /// from the repository, nor guessed.
    #[must_use]
    pub fn with_target_paths(self, target_paths: TargetPaths) -> Self {
        Self { target_paths, ..self }
    }

    /// Reports progress to `progress`, from several threads at once.
    #[must_use]
    pub fn with_progress(self, progress: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        Self { progress: Box::new(progress), ..self }
    }

    /// Verifies the archive at a path: a file, compressed or not, or the folder of an OCI layout. It is opened once; what is hashed is what was
    /// opened.
    pub fn verify(&self, archive: &Path) -> Verdict {
        let shown = archive.display().to_string();
        match Archive::open(archive, &self.limits) {
            Ok(archive) => self.verify_opened(&archive, &shown),
            Err(error) => self.not_opened(error, &shown),
        }
    }

    /// Verifies an opened archive, which can be read from after the verdict; `path` is what to call it in the verdict.
    pub fn verify_opened(&self, archive: &Archive, path: &str) -> Verdict {
        let (size, compression) = (Some(archive.stored_size()), archive.compression());
        let report = ArchiveReport { path: path.to_owned(), size, compression, form: None };
        self.verdict(report, || Inventory::scan_opened(archive, &self.limits))
    }

    /// Verifies a tar archive that is at hand; `path` is what to call it in the verdict.
    pub fn verify_archive(&self, archive: impl ReadAt + Sync, path: &str) -> Verdict {
        let size = archive.size().ok();
        let report = ArchiveReport { path: path.to_owned(), size, ..ArchiveReport::default() };
        self.verdict(report, || Inventory::scan(archive, &self.limits))
    }

    /// The verdict on an archive that could not be opened: "not trusted" if that is the archive's own fault, else "undecided".
    #[must_use]
    pub fn not_opened(&self, error: ArchiveError, path: &str) -> Verdict {
        let report = ArchiveReport { path: path.to_owned(), ..ArchiveReport::default() };
        self.verdict(report, || Err::<Inventory<File>, _>(error))
    }

    fn verdict<R: ReadAt + Sync>(
        &self,
        archive: ArchiveReport,
        scan: impl FnOnce() -> Result<Inventory<R>, ArchiveError>,
    ) -> Verdict {
        let image = self.image.as_ref().map(ToString::to_string);
        let mut report = Report { archive, image, ..Report::default() };
        match self.decide(scan, &mut report) {
            Ok((first, rest)) => Verdict::trusted(first, rest, report),
            Err(Stop::Untrusted(findings)) => Verdict::untrusted(findings, report),
            Err(Stop::Undecided(findings)) => Verdict::undecided(findings, report),
        }
    }

    /// The images of the archive, each of which was found to be signed; the first, and the others if there are several.
    fn decide<R: ReadAt + Sync>(
        &self,
        scan: impl FnOnce() -> Result<Inventory<R>, ArchiveError>,
        report: &mut Report,
    ) -> Result<(VerifiedImage, Vec<VerifiedImage>), Stop> {
        let inventory = scan()?;
        report.archive.form = Some(inventory.form().as_str());
        let names = self.names(inventory.images())?;
        report.image = names.first().and_then(|names| names.first()).map(ToString::to_string);

        let signed = self.signed_images(&names, report)?;
        let progress = &self.progress;
        let measured = inventory.measure(&self.limits, &|done, total| progress(done, total))?;

        let (mut verified, mut refusals, mut all) = (Vec::new(), Vec::new(), 0_usize);
        for ((image, names), signed) in measured.images().iter().zip(&names).zip(&signed) {
            match check_under_each_name(signed, names, image, &measured) {
                Ok(images) => {
                    verified.extend(images);
                    all = all.saturating_add(1);
                }
                Err(found) => refusals.extend(found),
            }
        }
        let all = all == measured.images().len();
        let mut verified = verified.into_iter();
        match verified.next() {
            Some(first) if all && refusals.is_empty() => Ok((first, verified.collect())),
            _ => Err(untrusted(refusals)),
        }
    }

    /// The names under which each image must be signed: the one that was asked for, or else all that the archive claims.
    fn names(&self, images: &[ClaimedImage]) -> Result<Vec<Vec<ImageName>>, Stop> {
        match (&self.image, images) {
            (Some(name), [_]) => Ok(vec![vec![name.clone()]]),
            (Some(_), several) => Err(several_images(several.len()).into()),
            (None, images) if images.iter().any(|image| image.names().is_empty()) => Err(no_name(images.len())),
            (None, images) => Ok(images.iter().map(|image| image.names().to_vec()).collect()),
        }
    }

    /// What the repositories say these images are. Their stores are unlocked again before the archive is hashed, which may take long.
    fn signed_images(&self, names: &[Vec<ImageName>], report: &mut Report) -> Result<Vec<Vec<SignedImage>>, Stop> {
        match &self.authority {
            Authority::One(client) => {
                let mut session = client.refresh()?;
                let mut metadata = MetadataReport::of(session.trusted());
                let mut file = |name: &ImageName, path: &str| signed_file(&mut session, name, path, &mut metadata);
                let mut image = |name| self.signed_image(name, &mut file, report);
                let signed = names.iter().map(|names| names.iter().map(&mut image).collect()).collect();
                report.metadata = Some(metadata);
                signed
            }
            Authority::Map(repositories) => {
                let mut session = repositories.session();
                let mut asked = Vec::new();
                let mut file = |name: &ImageName, path: &str| agreed_file(&mut session, name, path, &mut asked);
                let mut image = |name| self.signed_image(name, &mut file, report);
                let signed = names.iter().map(|names| names.iter().map(&mut image).collect()).collect();
                report.repositories = asked;
                signed
            }
        }
    }

    fn signed_image(
        &self,
        name: &ImageName,
        signed_file: &mut SignedFile<'_>,
        report: &mut Report,
    ) -> Result<SignedImage, Stop> {
        let path = |file: &str| self.target_paths.path(name, file).map_err(|error| no_path(name, &error));
        let manifest = signed_file(name, &path(MANIFEST_FILE)?)?;
        if let Document::Index(_) = Document::parse(&manifest, &self.limits)? {
            let platform = self.platform.clone().unwrap_or_else(Platform::host);
            report.platform = Some(platform.to_string());
            let platform_manifest = signed_file(name, &path(&platform.target_file())?)?;
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
    metadata: &mut MetadataReport,
) -> Result<Vec<u8>, Stop> {
    let found = session.find(path)?.map_err(|absence| not_signed(name, path, &absence))?;
    metadata.signed_by(session.trusted(), &found);
    Ok(session.fetch(&found)?)
}

/// The same by a map. Whatever comes of it, `asked` then has what each repository said.
fn agreed_file<S: Source>(
    session: &mut MapSession<'_, S>,
    name: &ImageName,
    path: &str,
    asked: &mut Vec<RepositoryReport>,
) -> Result<Vec<u8>, Stop> {
    let lookup = session.lookup(path);
    for answer in &lookup.answers {
        RepositoryReport::add(asked, path, answer, session.trusted(&answer.repository));
    }
    lookup.result.map_err(|error| {
        let mut findings = vec![Finding::of_lookup(name, path, &error)];
        findings.extend(lookup.answers.iter().filter_map(|answer| Finding::of_answer(answer, &error)));
        match error {
            LookupError::NotTrusted(_) => Stop::Untrusted(findings),
            LookupError::Undecided(_) => Stop::Undecided(findings),
        }
    })
}

/// No platform has a name that cannot be in a path; but if one had, nothing would be signed for it.
fn no_path(name: &ImageName, error: &TemplateError) -> Stop {
    Stop::Untrusted(vec![Finding::new("image-not-signed", format!("{name}: not signed: {error}"))])
}

fn no_name(images: usize) -> Stop {
    let text = match images {
        1 => "the archive claims no name, so there is none to look up; say which image it must be",
        _ => "the archive holds several images, and not all of them have a name to look up",
    };
    Stop::Untrusted(vec![Finding::new("image-name-missing", text)])
}

/// An image that has several names is signed under each of them. As many as there are signed manifests for it: one, unless its names have
/// different manifests of one config. Each has only the names that its own manifest is signed for.
fn check_under_each_name<R>(
    signed: &[SignedImage],
    names: &[ImageName],
    image: &ClaimedImage,
    measured: &MeasuredInventory<R>,
) -> Result<Vec<VerifiedImage>, Vec<Refusal>> {
    let mut verified: Vec<VerifiedImage> = Vec::new();
    for signed in signed {
        let image = check_image(signed, names, image, measured)?.claimed_as_verified();
        match verified.iter_mut().find(|other| other.is_same_but_for_names(&image)) {
            Some(other) => other.add_names_of(&image),
            None => verified.push(image),
        }
    }
    if verified.is_empty() { Err(vec![several_images(0)]) } else { Ok(verified) }
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
        Self::Undecided(vec![Finding::from(&error)])
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
            error @ ArchiveError::Io { .. } => {
                Self::Undecided(vec![Finding::new("archive-unreadable", with_causes(&error))])
            }
        }
    }
}
