//! What is known of archive, image and metadata when a verdict is reached.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::Finding;
use crate::client::{ClientError, metadata_name};
use crate::digest::Sha256;
use crate::map::{Answer, Says};
use crate::packages::check::PackageReport;
use crate::trust::{Found, Trusted};

/// What is known of archive, image and metadata. A verdict that is not "trusted" has what was known when it was reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) image: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) archive: ArchiveReport,
    pub(crate) metadata: Option<MetadataReport>,
    /// By a map instead of one repository: those that were asked, in the order in which they were first asked.
    pub(crate) repositories: Vec<RepositoryReport>,
    /// What was checked of the packages, by the name under which lists are signed.
    pub(crate) packages: Vec<(String, PackageReport)>,
    pub(crate) findings: Vec<Finding>,
    /// What became of the image after it was verified, if that was asked for.
    pub(crate) handed_on: Option<HandedOn>,
    /// Whether it would be "trusted", had what was asked for been written down.
    pub(crate) unrecorded: bool,
}

/// What became of an image after it was verified.
#[derive(Debug, Clone)]
pub(crate) enum HandedOn {
    Loaded(Loaded),
    Exported(Exported),
    /// Something went wrong, which the findings say.
    Failed,
}

/// A verified image that a loader took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loaded {
    pub(super) into: String,
    pub(super) form: String,
    pub(super) names: Vec<String>,
    pub(super) output: String,
}

/// A verified image that was written to a file or folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    pub(super) to: String,
    pub(super) form: String,
    pub(super) names: Vec<String>,
}

impl Loaded {
    /// `into` is the loader's command line, `form` the form of the archive that it was given, `output` what it printed.
    #[must_use]
    pub fn new(into: &str, form: &str, output: &str) -> Self {
        Self { into: into.to_owned(), form: form.to_owned(), names: Vec::new(), output: output.to_owned() }
    }
}

impl Exported {
    /// `to` is the place of the new archive, `form` its form.
    #[must_use]
    pub fn new(to: &str, form: &str) -> Self {
        Self { to: to.to_owned(), form: form.to_owned(), names: Vec::new() }
    }
}

/// The archive as it was given.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ArchiveReport {
    pub(crate) path: String,
    pub(crate) form: Option<&'static str>,
    /// Of the archive as a whole.
    pub(crate) compression: Option<&'static str>,
    pub(crate) size: Option<u64>,
}

/// Which metadata the verdict rests on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MetadataReport {
    pub(super) time: String,
    pub(super) roles: Vec<RoleReport>,
    pub(super) delegations: Vec<String>,
    /// The files that it rests on, each by its name in the repository; the pinned root first.
    #[serde(skip)]
    pub(super) files: Vec<(String, Sha256)>,
}

/// One role file.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RoleReport {
    pub(super) role: String,
    pub(super) version: u64,
    pub(super) expires: String,
    /// Past its expiry, and accepted because the caller allows for that.
    pub(super) expired: bool,
    #[serde(skip)]
    pub(super) expires_at: DateTime<Utc>,
}

impl MetadataReport {
    pub(crate) fn of(trusted: &Trusted) -> Self {
        let now = trusted.rules().start();
        let row = |role: &str, version, expires| RoleReport::new(role, version, expires, now);
        let roles = vec![
            row("root", trusted.root().version(), trusted.root().expires()),
            row("timestamp", trusted.timestamp().version(), trusted.timestamp().expires()),
            row("snapshot", trusted.snapshot().version(), trusted.snapshot().expires()),
            row("targets", trusted.targets().version(), trusted.targets().expires()),
        ];
        let chain = trusted.root_chain().iter();
        let mut files: Vec<_> = chain.map(|root| (format!("{}.root.json", root.version()), root.sha256())).collect();
        let consistent = trusted.root().consistent_snapshot();
        files.push(("timestamp.json".to_owned(), Sha256::of(trusted.timestamp().bytes())));
        let name = metadata_name("snapshot", trusted.snapshot().version(), consistent);
        files.push((name, Sha256::of(trusted.snapshot().bytes())));
        let name = metadata_name("targets", trusted.targets().version(), consistent);
        files.push((name, Sha256::of(trusted.targets().bytes())));
        let mut report = Self { time: shown(now), roles, delegations: Vec::new(), files };
        report.saw(trusted);
        report
    }

    /// Notes the files that searches have loaded since: who was asked has a part in the answer, also who did not sign.
    pub(crate) fn saw(&mut self, trusted: &Trusted) {
        let consistent = trusted.root().consistent_snapshot();
        for (role, file) in trusted.loaded() {
            let name = metadata_name(role, file.version(), consistent);
            if !self.files.iter().any(|(known, _)| *known == name) {
                self.files.push((name, Sha256::of(file.bytes())));
            }
        }
    }

    /// Adds the roles that signed a target. The first target is the one whose delegations are shown.
    pub(crate) fn signed_by(&mut self, trusted: &Trusted, found: &Found) {
        self.saw(trusted);
        let now = trusted.rules().start();
        let chain = found.delegations();
        for (delegator, role) in chain.iter().zip(chain.iter().skip(1)) {
            let known = self.roles.iter().any(|row| row.role == role.as_str());
            if let Some(file) = trusted.delegated(delegator.as_str(), role.as_str()).filter(|_| !known) {
                self.roles.push(RoleReport::new(role.as_str(), file.version(), file.expires(), now));
            }
        }
        if self.delegations.is_empty() {
            self.delegations = chain.iter().map(|role| role.as_str().to_owned()).collect();
        }
    }

    /// The role that expires first.
    pub(super) fn first_to_expire(&self) -> Option<&RoleReport> {
        self.roles.iter().min_by_key(|row| row.expires_at)
    }
}

impl RoleReport {
    fn new(role: &str, version: u64, expires: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self { role: role.to_owned(), version, expires: shown(expires), expired: expires <= now, expires_at: expires }
    }
}

/// What one repository of a map said.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RepositoryReport {
    pub(super) name: String,
    /// `None` if it could not be brought up to date.
    pub(super) metadata: Option<MetadataReport>,
    pub(super) answers: Vec<AnswerReport>,
}

/// What a repository said about one target.
#[derive(Debug, Clone, Serialize)]
pub(super) struct AnswerReport {
    pub(super) target: String,
    /// The place of the mapping in the map, from 0.
    pub(super) mapping: usize,
    pub(super) answer: AnswerWord,
    /// The length and hash that it signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signed: Option<String>,
    /// Why it does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finding: Option<Finding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AnswerWord {
    Agrees,
    Signs,
    Differs,
    SharesKey,
    NotSigned,
    Failed,
    Unreached,
}

impl RepositoryReport {
    /// Adds an answer to what is known of its repository.
    pub(crate) fn add(reports: &mut Vec<Self>, target: &str, answer: &Answer, trusted: Option<&Trusted>) {
        let name = answer.repository.as_str();
        let new = || Self { name: name.to_owned(), metadata: trusted.map(MetadataReport::of), answers: Vec::new() };
        let place = reports.iter().position(|report| report.name == name);
        let mut report = place.map_or_else(new, |place| reports.remove(place));
        let found = answer.says.found();
        if let (Some(metadata), Some(trusted), Some(found)) = (&mut report.metadata, trusted, found) {
            metadata.signed_by(trusted, found);
        }
        if let (Some(metadata), Some(trusted)) = (&mut report.metadata, trusted) {
            metadata.saw(trusted);
        }
        report.answers.push(AnswerReport {
            target: target.to_owned(),
            mapping: answer.mapping,
            answer: AnswerWord::of(&answer.says),
            signed: found.map(signed),
            finding: Finding::why_not(answer),
        });
        reports.insert(place.unwrap_or(reports.len()), report);
    }
}

impl AnswerWord {
    fn of(says: &Says) -> Self {
        match says {
            Says::Agrees(_) => Self::Agrees,
            Says::Signs(_) => Self::Signs,
            Says::Differs(_) => Self::Differs,
            Says::SharesKey { .. } => Self::SharesKey,
            Says::NotSigned(_) => Self::NotSigned,
            Says::Failed(error) if matches!(**error, ClientError::NotTrusted(_)) => Self::Failed,
            Says::Failed(_) => Self::Unreached,
        }
    }
}

/// What a repository says of a file, in a few words.
pub(super) fn signed(found: &Found) -> String {
    let file = found.file();
    let sha256 = file.hashes().sha256().map(|hash| hash.to_string());
    let hash = sha256.or_else(|| Some(format!("sha512:{}", file.hashes().sha512()?.to_hex())));
    format!("{} of {} bytes", hash.unwrap_or_default(), file.length())
}

fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
