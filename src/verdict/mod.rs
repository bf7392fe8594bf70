//! What was found, as data; the text for people and the JSON for programs are made here and nowhere else.
//!
//! A verdict is "trusted" only if it holds a [`VerifiedImage`], which nothing but the check of an archive can make. So no path through
//! this program can report trust without the check.

mod finding;
mod json;
mod record;
mod report;
mod text;
mod vsa;

pub use self::finding::Finding;
pub(crate) use self::finding::with_causes;
pub(crate) use self::json::without_control;
pub use self::record::{Event, Recorded};
pub(crate) use self::report::{ArchiveReport, GovernedReport, HandedOn, MetadataReport, Report, RepositoryReport};
pub use self::report::{Exported, Loaded};
pub use self::vsa::{Basis, NoSummary, Summary};
use crate::image::VerifiedImage;
use crate::image::write::WriteError;

/// The answer to "may this archive be loaded?", with all that led to it.
#[derive(Debug)]
pub struct Verdict {
    decision: Decision,
    report: Report,
}

#[derive(Debug)]
enum Decision {
    /// The images of the archive, each verified under all of its names, the first of which is the one that was asked for. The first
    /// image stands apart, for there is always one.
    Trusted(Box<VerifiedImage>, Vec<VerifiedImage>),
    Untrusted,
    Undecided,
}

impl Verdict {
    pub(crate) fn trusted(first: VerifiedImage, rest: Vec<VerifiedImage>, report: Report) -> Self {
        Self { decision: Decision::Trusted(Box::new(first), rest), report }
    }

    pub(crate) fn untrusted(findings: Vec<Finding>, report: Report) -> Self {
        Self { decision: Decision::Untrusted, report: Report { findings, ..report } }
    }

    pub(crate) fn undecided(findings: Vec<Finding>, report: Report) -> Self {
        Self { decision: Decision::Undecided, report: Report { findings, ..report } }
    }

    /// A verdict for a program that could not even start to check: wrong usage, a file that cannot be opened.
    ///
    /// `code` is a stable kebab-case code, `message` is for people.
    #[must_use]
    pub fn not_started(code: &'static str, message: &str, archive: &str) -> Self {
        let archive = ArchiveReport { path: archive.to_owned(), ..ArchiveReport::default() };
        Self::undecided(vec![Finding::new(code, message)], Report { archive, ..Report::default() })
    }

    /// The same verdict, if it is "trusted", of an image that a loader took. Any other is returned as it is.
    #[must_use]
    pub fn with_loaded(mut self, loaded: Loaded) -> Self {
        if self.is_trusted() {
            self.report.handed_on = Some(HandedOn::Loaded(Loaded { names: self.loaded_names(), ..loaded }));
        }
        self
    }

    /// The same verdict, if it is "trusted", of an image that was written elsewhere. Any other is returned as it is.
    #[must_use]
    pub fn with_exported(mut self, exported: Exported) -> Self {
        if self.is_trusted() {
            self.report.handed_on = Some(HandedOn::Exported(Exported { names: self.loaded_names(), ..exported }));
        }
        self
    }

    /// The names under which the images are handed on.
    fn loaded_names(&self) -> Vec<String> {
        self.images().flat_map(VerifiedImage::loaded_names).collect()
    }

    /// What a verdict that was "trusted" becomes when the image could not be written: "untrusted" if the archive is not what was verified
    /// any more, else "undecided". Any other is returned as it is.
    #[must_use]
    pub fn not_written(self, error: &WriteError) -> Self {
        let decision = match error {
            WriteError::Changed { .. } => Decision::Untrusted,
            WriteError::Read { .. } | WriteError::Write { .. } => Decision::Undecided,
        };
        self.failed(decision, Finding::from(error))
    }

    /// What a verdict that was "trusted" becomes when the image was not handed on, for a reason that is not the archive's: "undecided".
    /// Any other is returned as it is.
    ///
    /// `code` is a stable kebab-case code, `message` is for people.
    #[must_use]
    pub fn not_loaded(self, code: &'static str, message: &str) -> Self {
        self.failed(Decision::Undecided, Finding::new(code, message))
    }

    /// What a verdict becomes when something that was to be kept of it could not be written. One that was "trusted" is "undecided" then, whatever has
    /// become of the image; any other stays what it is, with one finding more.
    ///
    /// `code` is a stable kebab-case code, `message` is for people.
    #[must_use]
    pub fn not_recorded(mut self, code: &'static str, message: &str) -> Self {
        self.report.findings.push(Finding::new(code, message));
        if self.is_trusted() {
            self.decision = Decision::Undecided;
            self.report.unrecorded = true;
        }
        self
    }

    fn failed(self, decision: Decision, finding: Finding) -> Self {
        if !self.is_trusted() {
            return self;
        }
        let handed_on = Some(HandedOn::Failed);
        Self { decision, report: Report { findings: vec![finding], handed_on, ..self.report } }
    }

    /// The verified image, if the verdict is "trusted"; the first, if the archive holds several.
    #[must_use]
    pub fn image(&self) -> Option<&VerifiedImage> {
        self.images().next()
    }

    /// All images of the archive, in its order; none unless the verdict is "trusted".
    pub fn images(&self) -> impl Iterator<Item = &VerifiedImage> {
        let (first, rest) = match &self.decision {
            Decision::Trusted(first, rest) => (Some(&**first), rest.as_slice()),
            Decision::Untrusted | Decision::Undecided => (None, [].as_slice()),
        };
        first.into_iter().chain(rest)
    }

    /// The verified image, or the verdict back if it is not "trusted". The first, if the archive holds several.
    ///
    /// # Errors
    ///
    /// This verdict itself.
    pub fn into_image(self) -> Result<VerifiedImage, Box<Self>> {
        match self.decision {
            Decision::Trusted(image, _) => Ok(*image),
            decision => Err(Box::new(Self { decision, report: self.report })),
        }
    }

    /// Whether checks passed and none failed.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        matches!(self.decision, Decision::Trusted(..))
    }

    /// Whether it could not be decided: wrong usage, I/O, an unreachable repository.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        matches!(self.decision, Decision::Undecided)
    }

    /// Why it is not "trusted", most important first. Empty for a trusted one.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.report.findings
    }

    /// `trusted`, `untrusted` or `undecided`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.decision {
            Decision::Trusted(..) => "trusted",
            Decision::Untrusted => "untrusted",
            Decision::Undecided => "undecided",
        }
    }

    /// The exit code of the command: 0 trusted, 1 not trusted, 2 undecided.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.decision {
            Decision::Trusted(..) => 0,
            Decision::Untrusted => 1,
            Decision::Undecided => 2,
        }
    }
}

/// A verdict that is not "trusted" is an error to a program that needs the image.
impl std::error::Error for Verdict {}
