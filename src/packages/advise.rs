//! What the advisories that are signed beside an image come to.
//!
//! Rules:
//! - Without a severity to fail on, advisories are told and decide nothing: the publisher signed the image as well.
//! - With one, whatever is not known counts against the image: a severity that nobody states, and an entry that cannot be evaluated.
//! - What a signed statement silences is told as well.

use serde::Serialize;

use super::assess::{Assessment, Silenced, assess};
use super::check::Problem;
use super::installed::Installed;
use super::os_release::{self, Distro};
use super::osv::{Advisories, Affected};
use super::package::Package;
use super::severity::FailOn;
use super::vex::{ImageProduct, Vex};
use crate::text::escaped;

/// The file whose target has the advisories of an image.
pub(crate) const ADVISORIES: &str = "advisories.osv.json";
/// The file whose target says which of them do not apply.
pub(crate) const STATEMENTS: &str = "advisories.openvex.json";

/// Advisories that are signed beside an image, and the statements that silence some.
#[derive(Debug)]
pub(crate) struct SignedAdvisories {
    /// The target path of the advisories.
    pub(crate) target: String,
    pub(crate) advisories: Advisories,
    /// With their target path.
    pub(crate) statements: Option<(String, Vex)>,
}

/// What the advisories came to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AdvisoriesReport {
    pub(crate) target: String,
    pub(crate) statements: Option<String>,
    /// From which severity on an advisory was a finding.
    pub(crate) fail_on: &'static str,
    pub(crate) affected: Vec<AffectedReport>,
    pub(crate) silenced: Vec<SilencedReport>,
    /// Entries that may concern the image and could not be evaluated.
    pub(crate) not_evaluated: usize,
    /// Entries for packages of languages, which are not looked at.
    pub(crate) of_languages: usize,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct AffectedReport {
    pub(crate) advisory: String,
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) severity: &'static str,
    pub(crate) fixed: Option<String>,
    /// The same in words, safe to print.
    #[serde(skip)]
    pub(crate) words: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct SilencedReport {
    #[serde(flatten)]
    pub(crate) affected: AffectedReport,
    /// Which vulnerabilities the statements are about, and what each says.
    pub(crate) by: Vec<StatementReport>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct StatementReport {
    pub(crate) vulnerability: String,
    pub(crate) status: &'static str,
    pub(crate) justification: Option<&'static str>,
}

impl SignedAdvisories {
    /// Looks for what concerns the packages that are installed.
    pub(crate) fn check(
        &self,
        installed: &Installed,
        image: &ImageProduct<'_>,
        fail_on: FailOn,
    ) -> (AdvisoriesReport, Vec<Problem>) {
        let statements = self.statements.as_ref();
        let (assessment, mut problems) = match self.assess(installed, image) {
            Ok(assessment) => (assessment, Vec::new()),
            Err(problem) => (Assessment::default(), vec![problem]),
        };
        let failing = assessment.affected.iter().filter(|affected| fail_on.fails(affected.severity));
        problems.extend(failing.map(|affected| self.affected(affected)));
        let unknown = assessment.not_evaluated;
        problems.extend((unknown > 0 && fail_on != FailOn::Nothing).then(|| self.not_evaluated(unknown)));
        let report = AdvisoriesReport {
            target: self.target.clone(),
            statements: statements.map(|(target, _)| target.clone()),
            fail_on: fail_on.as_str(),
            affected: assessment.affected.iter().map(AffectedReport::of).collect(),
            silenced: assessment.silenced.iter().map(SilencedReport::of).collect(),
            not_evaluated: assessment.not_evaluated,
            of_languages: assessment.of_languages,
        };
        (report, problems)
    }

    fn assess(&self, installed: &Installed, image: &ImageProduct<'_>) -> Result<Assessment, Problem> {
        let os_release = installed.os_release();
        let os_release = os_release.map_err(|error| self.undecided(&format!("the image's os-release: {error}")))?;
        let distro = match os_release {
            Some(bytes) => os_release::read(bytes).map_err(|error| self.undecided(&format!("the image's {error}")))?,
            // What the page has for a file that says nothing.
            None => Distro { id: "linux".to_owned(), version_id: None },
        };
        let mut packages: Vec<Package> = installed.packages().into_iter().cloned().collect();
        packages.dedup();
        let statements = self.statements.as_ref().map(|(_, statements)| statements);
        let assessment = assess(&self.advisories, statements, image, &distro, &packages);
        assessment.map_err(|error| self.undecided(&error.to_string()))
    }

    fn undecided(&self, why: &str) -> Problem {
        let message = format!("{}: what the advisories concern is not known: {why}", escaped(&self.target));
        Problem { is_undecided: true, ..Problem::new("advisories-undecided", message, &self.target) }
    }

    fn not_evaluated(&self, count: usize) -> Problem {
        self.undecided(&format!("{count} entries may concern the image and cannot be evaluated"))
    }

    fn affected(&self, affected: &Affected) -> Problem {
        let message = format!("{affected} ({})", escaped(&self.target));
        let found = Some(affected.package.version().to_owned());
        Problem {
            found,
            expected: affected.fixed.clone(),
            ..Problem::new("package-affected", message, affected.package.name())
        }
    }
}

impl AffectedReport {
    fn of(affected: &Affected) -> Self {
        Self {
            advisory: affected.advisory.id().to_owned(),
            package: affected.package.name().to_owned(),
            version: affected.package.version().to_owned(),
            severity: affected.severity.as_str(),
            fixed: affected.fixed.clone(),
            words: affected.to_string(),
        }
    }
}

impl SilencedReport {
    fn of(silenced: &Silenced) -> Self {
        let by = silenced.by.iter().map(|statement| StatementReport {
            vulnerability: statement.vulnerability().to_owned(),
            status: statement.status().as_str(),
            justification: statement.justification().map(|justification| justification.as_str()),
        });
        Self { affected: AffectedReport::of(&silenced.affected), by: by.collect() }
    }
}
