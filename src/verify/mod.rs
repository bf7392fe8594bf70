//! The paved road: from a pinned root and an archive to a verdict. Joins the stages and decides nothing itself.

mod decide;
mod files;
mod round;
mod several;
mod signed;
mod terms;

use std::fs::File;
use std::marker::PhantomData;
use std::num::NonZero;
use std::path::Path;
use std::sync::Mutex;

use self::decide::Deciding;
pub use self::files::{NotFetched, SignedFiles};
use self::round::Round;
pub(crate) use self::terms::Authority;
pub use self::terms::{Govern, NotGoverned, Requirements, Terms};
use crate::client::{Client, Source, Undecided};
use crate::image::archive::Archive;
use crate::image::error::{ArchiveError, Refusal};
use crate::image::inventory::Inventory;
use crate::image::manifest::Platform;
use crate::image::read_at::ReadAt;
use crate::limits::ArchiveLimits;
use crate::map::Repositories;
use crate::name::ImageName;
use crate::packages::check::PackageChecks;
use crate::template::TargetPaths;
use crate::verdict::{ArchiveReport, Finding, Report, Verdict, with_causes};

/// Called with the bytes that were checked so far, and all that there are to check.
pub type Progress = dyn Fn(u64, u64) + Send + Sync;

/// Decides whether archives may be loaded: by one repository, by several that must agree, or by whatever `G` says of the names in an archive.
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
pub struct Verifier<S, G = Terms<S>> {
    governing: G,
    image: Option<ImageName>,
    platform: Option<Platform>,
    limits: ArchiveLimits,
    progress: Box<Progress>,
    source: PhantomData<fn() -> S>,
}

/// Why a verdict is not "trusted".
#[derive(Debug, Clone)]
pub(crate) enum Stop {
    Untrusted(Vec<Finding>),
    Undecided(Vec<Finding>),
}

impl<S: Source> Verifier<S> {
    /// Verifies archives under the names that they claim themselves; each of those must be signed.
    pub fn new(client: Client<S>) -> Self {
        Self::governed(Terms::new(client))
    }

    /// As [`new`](Self::new), by several repositories: a signed file is what as many of them agree on as the map demands [TAP 4].
    pub fn by_map(repositories: Repositories<S>) -> Self {
        Self::governed(Terms::by_map(repositories))
    }

    /// As [`Terms::with_target_paths`].
    #[must_use]
    pub fn with_target_paths(self, target_paths: TargetPaths) -> Self {
        Self { governing: self.governing.with_target_paths(target_paths), ..self }
    }

    /// As [`Terms::with_packages`].
    #[must_use]
    pub fn with_packages(self, packages: PackageChecks) -> Self {
        Self { governing: self.governing.with_packages(packages), ..self }
    }

    /// As [`Terms::with_requirements`]. A base is looked up in the same repository.
    #[must_use]
    pub fn with_requirements(self, requirements: Requirements) -> Self {
        Self { governing: self.governing.with_requirements(requirements), ..self }
    }
}

impl<S: Source, G: Govern<S>> Verifier<S, G> {
    /// Verifies archives under the names that they claim themselves, each by the terms that `governing` has for it.
    pub fn governed(governing: G) -> Self {
        let progress = Box::new(|_, _| {});
        let limits = ArchiveLimits::default();
        Self { governing, image: None, platform: None, limits, progress, source: PhantomData }
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

    /// Verifies the archive at a path: a file, compressed or not, or the folder of an OCI layout. It is opened once; what is hashed is what was
    /// opened.
    pub fn verify(&self, archive: &Path) -> Verdict {
        self.verify_in(&Mutex::new(Round::new()), None, archive)
    }

    /// The same, asking the repositories that others ask as well.
    fn verify_in<'v>(
        &'v self,
        round: &Mutex<Round<'v, S>>,
        threads: Option<NonZero<usize>>,
        archive: &Path,
    ) -> Verdict {
        let deciding = Deciding { verifier: self, round, threads };
        let shown = archive.display().to_string();
        match Archive::open(archive, &self.limits) {
            Ok(archive) => self.opened(&deciding, &archive, &shown),
            Err(error) => self.not_opened(error, &shown),
        }
    }

    /// Verifies an opened archive, which can be read from after the verdict; `path` is what to call it in the verdict.
    pub fn verify_opened(&self, archive: &Archive, path: &str) -> Verdict {
        self.opened(&Deciding { verifier: self, round: &Mutex::new(Round::new()), threads: None }, archive, path)
    }

    fn opened(&self, deciding: &Deciding<'_, '_, S, G>, archive: &Archive, path: &str) -> Verdict {
        let (size, compression) = (Some(archive.stored_size()), archive.compression());
        let report = ArchiveReport { path: path.to_owned(), size, compression, form: None };
        self.verdict(deciding, report, || Inventory::scan_opened(archive, &self.limits))
    }

    /// Verifies a tar archive that is at hand; `path` is what to call it in the verdict.
    pub fn verify_archive(&self, archive: impl ReadAt + Sync, path: &str) -> Verdict {
        let size = archive.size().ok();
        let report = ArchiveReport { path: path.to_owned(), size, ..ArchiveReport::default() };
        let deciding = Deciding { verifier: self, round: &Mutex::new(Round::new()), threads: None };
        self.verdict(&deciding, report, || Inventory::scan(archive, &self.limits))
    }

    /// The verdict on an archive that could not be opened: "not trusted" if that is the archive's own fault, else "undecided".
    #[must_use]
    pub fn not_opened(&self, error: ArchiveError, path: &str) -> Verdict {
        let report = ArchiveReport { path: path.to_owned(), ..ArchiveReport::default() };
        let deciding = Deciding { verifier: self, round: &Mutex::new(Round::new()), threads: None };
        self.verdict(&deciding, report, || Err::<Inventory<File>, _>(error))
    }

    fn verdict<R: ReadAt + Sync>(
        &self,
        deciding: &Deciding<'_, '_, S, G>,
        archive: ArchiveReport,
        scan: impl FnOnce() -> Result<Inventory<R>, ArchiveError>,
    ) -> Verdict {
        let image = self.image.as_ref().map(ToString::to_string);
        let mut report = Report { archive, image, ..Report::default() };
        match deciding.decide(scan, &mut report) {
            Ok((first, rest)) => Verdict::trusted(first, rest, report),
            Err(Stop::Untrusted(findings)) => Verdict::untrusted(findings, report),
            Err(Stop::Undecided(findings)) => Verdict::undecided(findings, report),
        }
    }
}

impl Stop {
    /// Whether it is "not trusted", rather than "not known"; and the findings.
    fn into_findings(self) -> (bool, Vec<Finding>) {
        match self {
            Self::Untrusted(findings) => (true, findings),
            Self::Undecided(findings) => (false, findings),
        }
    }
}

fn untrusted(refusals: Vec<Refusal>) -> Stop {
    Stop::Untrusted(refusals.iter().map(Finding::from).collect())
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
