//! The paved road: from a pinned root and an archive to a verdict. Joins the stages and decides nothing itself.

use std::fs::File;
use std::mem;
use std::path::Path;
use std::thread;

use crate::client::{Client, ClientError, Session, Source, Undecided};
use crate::image::VerifiedImage;
use crate::image::archive::Archive;
use crate::image::check::{SignedImage, check_image, several_images};
use crate::image::claims::ClaimedImage;
use crate::image::contents::{Digests, Wanted};
use crate::image::error::{ArchiveError, Refusal};
use crate::image::inventory::{Inventory, MeasuredInventory};
use crate::image::manifest::{Document, Platform};
use crate::image::read_at::ReadAt;
use crate::image::signable::MANIFEST_FILE;
use crate::limits::ArchiveLimits;
use crate::map::{Disagreement, LookupError, MapSession, Repositories};
use crate::name::ImageName;
use crate::packages::advise::{ADVISORIES, STATEMENTS};
use crate::packages::beside::{self, Fetched, NotRead};
use crate::packages::check::{Beside, PackageChecks};
use crate::packages::contents::ImageContents;
use crate::packages::{installed, list_files};
use crate::template::{TargetPaths, TemplateError};
use crate::text::escaped;
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
    packages: PackageChecks,
    progress: Box<Progress>,
}

/// Who says what an image is.
enum Authority<S> {
    One(Client<S>),
    Map(Repositories<S>),
}

/// Brings what is signed at a target path of an image, by whatever authority. `None` only for what may be missing, and only where all who may sign it were
/// asked and none does: doubt is never taken for "there is none".
type SignedFile<'f> = dyn FnMut(&ImageName, &str, Need) -> Result<Option<Vec<u8>>, Stop> + 'f;

/// Whether a signed file must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Must,
    May,
}

/// What is signed of an image under one name.
struct Signed {
    name: ImageName,
    image: SignedImage,
    beside: Fetched,
}

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
        let packages = PackageChecks::default();
        Self { authority, image: None, platform: None, limits, target_paths, packages, progress }
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

    /// What of the packages and files in an image is checked. By default its packages, where a list is signed beside it.
    #[must_use]
    pub fn with_packages(self, packages: PackageChecks) -> Self {
        Self { packages, ..self }
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

        let mut signed = self.signed_images(&names, report)?;
        let beside: Vec<Vec<(ImageName, Fetched)>> = signed.iter_mut().map(|signed| beside(signed)).collect();
        let (measured, beside) = self.measure(inventory, beside)?;

        let (mut verified, mut refusals) = (Vec::new(), Vec::new());
        for ((image, names), signed) in measured.images().iter().zip(&names).zip(&signed) {
            match check_under_each_name(signed, names, image, &measured) {
                Ok(images) => verified.push(images),
                Err(found) => refusals.extend(found),
            }
        }
        if verified.len() != measured.images().len() || !refusals.is_empty() {
            return Err(untrusted(refusals));
        }
        // Databases are read only now that the diff id of each layer is known to hold.
        self.check_packages(&verified, &beside?, &measured, report)?;
        let mut verified = verified.into_iter().flat_map(|(first, others)| [first].into_iter().chain(others));
        match verified.next() {
            Some(first) => Ok((first, verified.collect())),
            None => Err(untrusted(refusals)),
        }
    }

    /// Hashes the layers of an archive, and reads meanwhile what is signed beside its images. That this cannot be read is told only if the images are the
    /// signed ones.
    fn measure<R: ReadAt + Sync>(
        &self,
        inventory: Inventory<R>,
        beside: Vec<Vec<(ImageName, Fetched)>>,
    ) -> Result<(MeasuredInventory<R>, Result<AllBeside, Stop>), Stop> {
        let progress = &self.progress;
        let progress: &(dyn Fn(u64, u64) + Sync) = &|done, total| progress(done, total);
        if beside.iter().all(Vec::is_empty) {
            return Ok((inventory.measure(&self.limits, progress)?, Ok(Vec::new())));
        }
        let digests = if self.packages.files { Digests::Sha256 } else { Digests::Kept };
        let wanted = Wanted { digests, keep: &installed::keep };
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let read = |(name, files): (ImageName, Fetched)| Ok((name, files.read()?));
                beside.into_iter().map(|files| files.into_iter().map(read).collect()).collect::<Result<_, NotRead>>()
            });
            let measured = inventory.measure_listing(&self.limits, Some(&wanted), progress)?;
            let read = match reading.join() {
                Ok(read) => read.map_err(|error| unreadable(&error)),
                Err(panic) => std::panic::resume_unwind(panic),
            };
            Ok((measured, read))
        })
    }

    /// Each image against all that is signed beside it, under any of its names.
    fn check_packages<R: ReadAt + Sync>(
        &self,
        verified: &[(VerifiedImage, Vec<VerifiedImage>)],
        beside: &AllBeside,
        measured: &MeasuredInventory<R>,
        report: &mut Report,
    ) -> Result<(), Stop> {
        let (mut findings, mut is_untrusted, mut is_undecided) = (Vec::new(), false, false);
        for ((image, _), beside) in verified.iter().zip(beside).filter(|(_, beside)| !beside.is_empty()) {
            let contents = match ImageContents::of(image, measured, &self.limits) {
                Ok(contents) => contents,
                // What is wrong with the other images is told as well.
                Err(error) => {
                    let is_refused = matches!(error, ArchiveError::Refused(_));
                    (is_untrusted, is_undecided) = (is_untrusted || is_refused, is_undecided || !is_refused);
                    let (Stop::Untrusted(found) | Stop::Undecided(found)) = Stop::from(error);
                    findings.extend(found);
                    continue;
                }
            };
            for (name, beside) in beside {
                let (checked, problems) = contents.check(image, name, beside, &self.packages);
                report.packages.push((name.to_string(), checked));
                is_untrusted |= problems.iter().any(|problem| !problem.is_undecided);
                is_undecided |= problems.iter().any(|problem| problem.is_undecided);
                findings.extend(problems.iter().map(Finding::from));
            }
        }
        match (is_untrusted, is_undecided) {
            (true, _) => Err(Stop::Untrusted(findings)),
            (false, true) => Err(Stop::Undecided(findings)),
            (false, false) => Ok(()),
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
    fn signed_images(&self, names: &[Vec<ImageName>], report: &mut Report) -> Result<Vec<Vec<Signed>>, Stop> {
        match &self.authority {
            Authority::One(client) => {
                let mut session = client.refresh()?;
                let mut metadata = MetadataReport::of(session.trusted());
                let mut file =
                    |name: &ImageName, path: &str, need| signed_file(&mut session, name, path, need, &mut metadata);
                let mut image = |name| self.signed_image(name, &mut file, report);
                let signed = names.iter().map(|names| names.iter().map(&mut image).collect()).collect();
                report.metadata = Some(metadata);
                signed
            }
            Authority::Map(repositories) => {
                let mut session = repositories.session();
                let mut asked = Vec::new();
                let mut file =
                    |name: &ImageName, path: &str, need| agreed_file(&mut session, name, path, need, &mut asked);
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
    ) -> Result<Signed, Stop> {
        let path = |file: &str| self.target_paths.path(name, file).map_err(|error| no_path(name, &error));
        let mut must = |file: &str| {
            let path = path(file)?;
            // What must be there is there or an error.
            signed_file(name, &path, Need::Must)?.ok_or_else(|| no_list(name, &path))
        };
        let manifest = must(MANIFEST_FILE)?;
        let (image, platform) = if let Document::Index(_) = Document::parse(&manifest, &self.limits)? {
            let platform = self.platform.clone().unwrap_or_else(Platform::host);
            report.platform = Some(platform.to_string());
            let platform_manifest = must(&platform.target_file())?;
            let image = SignedImage::from_index(name, &manifest, &platform, &platform_manifest, &self.limits)?;
            (image, Some(platform))
        } else {
            report.platform = self.platform.as_ref().map(ToString::to_string);
            (SignedImage::from_manifest(name, &manifest, self.platform.as_ref(), &self.limits)?, None)
        };
        let beside = self.signed_beside(name, platform.as_ref(), signed_file)?;
        Ok(Signed { name: name.clone(), image, beside })
    }

    /// What is signed beside an image of its packages: the lists for all its platforms, those for the one that was chosen, and advisories.
    fn signed_beside(
        &self,
        name: &ImageName,
        platform: Option<&Platform>,
        signed_file: &mut SignedFile<'_>,
    ) -> Result<Fetched, Stop> {
        let mut fetched = Fetched::default();
        if self.packages.is_off() {
            return Ok(fetched);
        }
        let mut bring = |file: &str| -> Result<Option<beside::File>, Stop> {
            let target = self.target_paths.path(name, file).map_err(|error| no_path(name, &error))?;
            Ok(signed_file(name, &target, Need::May)?.map(|bytes| (target, bytes)))
        };
        let files = list_files(platform);
        for (format, file) in &files {
            fetched.lists.extend(bring(file)?.map(|file| (*format, file)));
        }
        if fetched.lists.is_empty() && self.packages.need_list() {
            let files: Vec<&str> = files.iter().map(|(_, file)| file.as_str()).collect();
            return Err(missing("package-list-missing", name, "no package list is", &files));
        }
        fetched.advisories = bring(ADVISORIES)?;
        if fetched.advisories.is_some() {
            fetched.statements = bring(STATEMENTS)?;
        } else if self.packages.need_advisories() {
            return Err(missing("advisories-missing", name, "no advisories are", &[ADVISORIES]));
        }
        Ok(fetched)
    }
}

/// Of each image of an archive, what is signed beside it, by the names under which something is.
type AllBeside = Vec<Vec<(ImageName, Beside)>>;

/// Takes out what is signed beside an image.
fn beside(signed: &mut [Signed]) -> Vec<(ImageName, Fetched)> {
    let files = signed.iter_mut().map(|signed| (signed.name.clone(), mem::take(&mut signed.beside)));
    files.filter(|(_, files)| !files.is_empty()).collect()
}

fn unreadable(error: &NotRead) -> Stop {
    let NotRead { code, target, error } = error;
    let text = format!("{}: it is signed, and cannot be read: {error}", escaped(target));
    Stop::Undecided(vec![Finding::new(code, text).about(target)])
}

fn missing(code: &'static str, name: &ImageName, what: &str, files: &[&str]) -> Stop {
    let text = format!("{name}: {what} signed beside it; looked for {}", files.join(", "));
    Stop::Untrusted(vec![Finding::new(code, text)])
}

fn signed_file<S: Source>(
    session: &mut Session<'_, S>,
    name: &ImageName,
    path: &str,
    need: Need,
    metadata: &mut MetadataReport,
) -> Result<Option<Vec<u8>>, Stop> {
    let found = session.find(path)?;
    metadata.saw(session.trusted());
    match found {
        Ok(found) => {
            metadata.signed_by(session.trusted(), &found);
            Ok(Some(session.fetch(&found)?))
        }
        Err(Absence::NotListed) if need == Need::May => Ok(None),
        Err(absence) => Err(not_signed(name, path, &absence)),
    }
}

/// The same by a map. Whatever comes of it, `asked` then has what each repository said.
fn agreed_file<S: Source>(
    session: &mut MapSession<'_, S>,
    name: &ImageName,
    path: &str,
    need: Need,
    asked: &mut Vec<RepositoryReport>,
) -> Result<Option<Vec<u8>>, Stop> {
    let lookup = session.lookup(path);
    let none = Disagreement::is_that_none_signs;
    if need == Need::May && matches!(&lookup.result, Err(LookupError::NotTrusted(why)) if none(why)) {
        return Ok(None);
    }
    for answer in &lookup.answers {
        RepositoryReport::add(asked, path, answer, session.trusted(&answer.repository));
    }
    lookup.result.map(Some).map_err(|error| {
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

fn no_list(name: &ImageName, path: &str) -> Stop {
    Stop::Untrusted(vec![Finding::new("image-not-signed", format!("{name}: not signed")).about(path)])
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
    signed: &[Signed],
    names: &[ImageName],
    image: &ClaimedImage,
    measured: &MeasuredInventory<R>,
) -> Result<(VerifiedImage, Vec<VerifiedImage>), Vec<Refusal>> {
    let mut verified: Vec<VerifiedImage> = Vec::new();
    for signed in signed {
        let image = check_image(&signed.image, names, image, measured)?.claimed_as_verified();
        match verified.iter_mut().find(|other| other.is_same_but_for_names(&image)) {
            Some(other) => other.add_names_of(&image),
            None => verified.push(image),
        }
    }
    let mut verified = verified.into_iter();
    let first = verified.next().ok_or_else(|| vec![several_images(0)])?;
    Ok((first, verified.collect()))
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
