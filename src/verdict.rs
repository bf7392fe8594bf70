//! What was found, as data; the text for people and the JSON for programs are made here and nowhere else.
//!
//! A verdict is "trusted" only if it holds a [`VerifiedImage`], which nothing but the check of an archive can make. So no path through
//! this program can report trust without the check.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::client::{ClientError, Undecided};
use crate::image::error::Refusal;
use crate::image::write::WriteError;
use crate::image::{BlobId, VerifiedImage, VerifiedLayer};
use crate::map::{Answer, Disagreement, LookupError, Says, Unreached};
use crate::name::ImageName;
use crate::text::{escaped, is_unprintable, quoted};
use crate::trust::{Found, TrustError, Trusted};

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

/// What is known of archive, image and metadata. A verdict that is not "trusted" has what was known when it was reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) image: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) archive: ArchiveReport,
    pub(crate) metadata: Option<MetadataReport>,
    /// By a map instead of one repository: those that were asked, in the order in which they were first asked.
    pub(crate) repositories: Vec<RepositoryReport>,
    pub(crate) findings: Vec<Finding>,
    /// What became of the image after it was verified, if that was asked for.
    pub(crate) handed_on: Option<HandedOn>,
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
    into: String,
    form: String,
    names: Vec<String>,
    output: String,
}

/// A verified image that was written to a file or folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    to: String,
    form: String,
    names: Vec<String>,
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
    time: String,
    roles: Vec<RoleReport>,
    delegations: Vec<String>,
}

/// One role file.
#[derive(Debug, Clone, Serialize)]
struct RoleReport {
    role: String,
    version: u64,
    expires: String,
    /// Past its expiry, and accepted because the caller allows for that.
    expired: bool,
    #[serde(skip)]
    expires_at: DateTime<Utc>,
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
        Self { time: shown(now), roles, delegations: Vec::new() }
    }

    /// Adds the roles that signed a target. The first target is the one whose delegations are shown.
    pub(crate) fn signed_by(&mut self, trusted: &Trusted, found: &Found) {
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
    fn first_to_expire(&self) -> Option<&RoleReport> {
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
    name: String,
    /// `None` if it could not be brought up to date.
    metadata: Option<MetadataReport>,
    answers: Vec<AnswerReport>,
}

/// What a repository said about one target.
#[derive(Debug, Clone, Serialize)]
struct AnswerReport {
    target: String,
    /// The place of the mapping in the map, from 0.
    mapping: usize,
    answer: AnswerWord,
    /// The length and hash that it signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<String>,
    /// Why it does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<Finding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum AnswerWord {
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
fn signed(found: &Found) -> String {
    let file = found.file();
    let sha256 = file.hashes().sha256().map(|hash| hash.to_string());
    let hash = sha256.or_else(|| Some(format!("sha512:{}", file.hashes().sha512()?.to_hex())));
    format!("{} of {} bytes", hash.unwrap_or_default(), file.length())
}

/// One reason why an image is not trusted, or why that could not be decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    code: &'static str,
    message: String,
    /// Of a map, the repository that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
}

impl Finding {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), repository: None, subject: None, expected: None, found: None }
    }

    pub(crate) fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    /// Why a map did not lead to a target.
    pub(crate) fn of_lookup(image: &ImageName, path: &str, error: &LookupError) -> Self {
        let (code, message) = match error {
            LookupError::NotTrusted(error) => (error.code(), with_causes(error)),
            LookupError::Undecided(error) => (error.code(), with_causes(error)),
        };
        Self::new(code, format!("{image}: {message}")).about(path)
    }

    /// What an answer has to do with it that a lookup ended in `error`; the repository stands at the front of the message.
    pub(crate) fn of_answer(answer: &Answer, error: &LookupError) -> Option<Self> {
        let finding = match (&answer.says, error) {
            // Said already, by the error itself.
            (_, LookupError::Undecided(Unreached::Clock { .. })) => None,
            (Says::Signs(found), LookupError::NotTrusted(Disagreement::Contradiction { .. })) => {
                Some(Self::signs_otherwise(found))
            }
            _ => Self::why_not(answer),
        }?;
        let name = answer.repository.to_string();
        Some(Self { message: format!("{name}: {}", finding.message), repository: Some(name), ..finding })
    }

    /// Why a repository's answer does not count.
    fn why_not(answer: &Answer) -> Option<Self> {
        match &answer.says {
            Says::Agrees(_) | Says::Signs(_) => None,
            Says::Differs(found) => Some(Self::signs_otherwise(found)),
            Says::SharesKey { found, with } => {
                let text = format!("signs with a key of {with}, so the two count as one");
                Some(Finding::new("repository-shares-key", text).about(found.path()))
            }
            Says::NotSigned(absence) => Some(Self::new("image-not-signed", format!("not signed: {absence}"))),
            Says::Failed(error) => Some(match &**error {
                ClientError::NotTrusted(error) => Self::from(error),
                ClientError::Undecided(error) => Self::from(error),
            }),
        }
    }

    fn signs_otherwise(found: &Found) -> Self {
        let finding = Finding::new("repository-differs", format!("signs {}", signed(found)));
        Self { found: Some(signed(found)), ..finding }.about(found.path())
    }

    /// The stable code, in kebab-case; all are listed in the project's documentation.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What is wrong, for people. Safe to print.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The repository that it is about, where there are several.
    #[must_use]
    pub fn repository(&self) -> Option<&str> {
        self.repository.as_deref()
    }

    /// The role, target path or archive entry that it is about, as it is called in the input: not escaped.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// What should have been there.
    #[must_use]
    pub fn expected(&self) -> Option<&str> {
        self.expected.as_deref()
    }

    /// What was there.
    #[must_use]
    pub fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }
}

impl From<&TrustError> for Finding {
    fn from(error: &TrustError) -> Self {
        let (expected, found) = (error.expected(), error.found());
        let finding = Self::new(error.code(), with_causes(error)).about(error.subject());
        Self { expected, found, ..finding }
    }
}

impl From<&Undecided> for Finding {
    fn from(error: &Undecided) -> Self {
        Self::new(error.code(), with_causes(error))
    }
}

impl From<&Refusal> for Finding {
    fn from(refusal: &Refusal) -> Self {
        Self {
            code: refusal.code.as_str(),
            message: refusal.to_string(),
            repository: None,
            subject: Some(refusal.subject.clone()),
            expected: refusal.expected.clone(),
            found: refusal.found.clone(),
        }
    }
}

impl From<&WriteError> for Finding {
    fn from(error: &WriteError) -> Self {
        let finding = Self::new(error.code(), with_causes(error));
        match error {
            WriteError::Changed { entry, expected, found } => {
                Self { expected: Some(expected.clone()), found: Some(found.clone()), ..finding }.about(entry)
            }
            WriteError::Read { .. } | WriteError::Write { .. } => finding,
        }
    }
}

/// An error and its causes, each of which says only what the one above does not.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_causes(cause)),
        None => error.to_string(),
    }
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

    /// The verdict as one JSON object of the schema `plimsoll/verdict/v1`, indented, with a newline at the end.
    ///
    /// It is safe to print: control and invisible characters in its strings are written as `\u` and four hex digits.
    #[must_use]
    pub fn to_json(&self) -> String {
        let json = Json::of(self);
        // Strings and integers with fixed keys: there is nothing in it that cannot be written.
        let mut text = serde_json::to_string_pretty(&json).unwrap_or_else(|_| UNWRITABLE.to_owned());
        text.push('\n');
        without_control(&text)
    }
}

/// Never "trusted": whoever reads it must not load.
const UNWRITABLE: &str = r#"{"schema": "plimsoll/verdict/v1", "verdict": "undecided", "findings": []}"#;

/// JSON lets the characters from U+007F on stand for themselves, and terminals obey some of them. Outside of strings there are none.
fn without_control(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !is_unprintable(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out
}

/// The shape of the JSON, in the order in which it is written.
#[derive(Serialize)]
struct Json<'v> {
    schema: &'static str,
    verdict: &'static str,
    image: Option<&'v str>,
    platform: Option<String>,
    archive: &'v ArchiveReport,
    manifest: Option<JsonDocument>,
    index: Option<JsonDocument>,
    config: Option<JsonConfig>,
    layers: Vec<JsonLayer>,
    images: Vec<JsonImage>,
    metadata: Option<&'v MetadataReport>,
    repositories: &'v [RepositoryReport],
    packages: JsonPackages,
    loaded: Option<&'v Loaded>,
    exported: Option<&'v Exported>,
    findings: &'v [Finding],
}

/// One of the images of a trusted archive.
#[derive(Serialize)]
struct JsonImage {
    image: String,
    platform: String,
    manifest: JsonDocument,
    index: Option<JsonDocument>,
    config: JsonConfig,
    layers: Vec<JsonLayer>,
}

impl JsonImage {
    fn of(image: &VerifiedImage) -> Self {
        Self {
            image: image.name().to_string(),
            platform: image.platform().to_string(),
            manifest: JsonDocument::of(image.manifest()),
            index: image.index().map(JsonDocument::of),
            config: JsonConfig { digest: image.config_digest().to_string() },
            layers: image.layers().iter().map(JsonLayer::of).collect(),
        }
    }
}

#[derive(Serialize)]
struct JsonDocument {
    digest: String,
    media_type: String,
    size: u64,
}

#[derive(Serialize)]
struct JsonConfig {
    digest: String,
}

#[derive(Serialize)]
struct JsonLayer {
    diff_id: String,
    entry: String,
    digest: String,
    size: u64,
}

#[derive(Serialize)]
struct JsonPackages {
    checked: bool,
}

impl<'v> Json<'v> {
    fn of(verdict: &'v Verdict) -> Self {
        let image = verdict.image();
        let report = &verdict.report;
        Self {
            schema: "plimsoll/verdict/v1",
            verdict: verdict.word(),
            image: report.image.as_deref(),
            platform: image.map(|image| image.platform().to_string()).or_else(|| report.platform.clone()),
            archive: &report.archive,
            manifest: image.map(|image| JsonDocument::of(image.manifest())),
            index: image.and_then(VerifiedImage::index).map(JsonDocument::of),
            config: image.map(|image| JsonConfig { digest: image.config_digest().to_string() }),
            layers: image.map_or_else(Vec::new, |image| image.layers().iter().map(JsonLayer::of).collect()),
            images: verdict.images().map(JsonImage::of).collect(),
            metadata: report.metadata.as_ref(),
            repositories: &report.repositories,
            packages: JsonPackages { checked: false },
            loaded: report.handed_on.as_ref().and_then(HandedOn::loaded),
            exported: report.handed_on.as_ref().and_then(HandedOn::exported),
            findings: &report.findings,
        }
    }
}

impl HandedOn {
    fn loaded(&self) -> Option<&Loaded> {
        match self {
            Self::Loaded(loaded) => Some(loaded),
            Self::Exported(_) | Self::Failed => None,
        }
    }

    fn exported(&self) -> Option<&Exported> {
        match self {
            Self::Exported(exported) => Some(exported),
            Self::Loaded(_) | Self::Failed => None,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let as_names = |names: &[String]| match names {
            [] => "without a name".to_owned(),
            names => format!("as {}", names.join(", ")),
        };
        match self {
            Self::Loaded(Loaded { into, names, .. }) => {
                writeln!(f, "  loaded    {} by {}", as_names(names), escaped(into))
            }
            Self::Exported(Exported { to, form, names }) => {
                writeln!(f, "  exported  {} to {}, {}", as_names(names), escaped(to), escaped(form))
            }
            Self::Failed => Ok(()),
        }
    }
}

impl JsonDocument {
    fn of(document: &BlobId) -> Self {
        Self { digest: document.digest.to_string(), media_type: document.media_type.clone(), size: document.size }
    }
}

impl JsonLayer {
    fn of(layer: &VerifiedLayer) -> Self {
        Self {
            diff_id: layer.diff_id().to_string(),
            entry: layer.entry().name.clone(),
            digest: layer.stored_digest().to_string(),
            size: layer.entry().size,
        }
    }
}

/// A verdict that is not "trusted" is an error to a program that needs the image.
impl std::error::Error for Verdict {}

impl fmt::Display for Verdict {
    /// The text for people: one line with the verdict, then why, one fact a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.report.image.as_deref().unwrap_or(&self.report.archive.path);
        let subject = escaped(subject);
        match &self.decision {
            Decision::Trusted(image, rest) if rest.is_empty() => {
                writeln!(f, "trusted: {subject}")?;
                self.report.write_trusted(f, &[&**image])
            }
            Decision::Trusted(first, rest) => {
                let images: Vec<_> = [&**first].into_iter().chain(rest).collect();
                writeln!(f, "trusted: {subject} and {} more", rest.len())?;
                self.report.write_trusted(f, &images)
            }
            Decision::Untrusted => {
                writeln!(f, "not trusted: {subject}")?;
                self.report.write_findings(f)?;
                writeln!(f, "  do not load {}", quoted(&self.report.archive.path))
            }
            Decision::Undecided => {
                writeln!(f, "undecided: {subject}")?;
                self.report.write_findings(f)?;
                match self.report.handed_on {
                    Some(_) => {
                        writeln!(f, "  the image was verified, but it is not certain that it was handed on whole")
                    }
                    None => writeln!(f, "  nothing is known about whether it may be loaded"),
                }
            }
        }
    }
}

impl Report {
    fn write_findings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "  {} [{}]", finding.message, finding.code)?;
        }
        Ok(())
    }

    fn write_trusted(&self, f: &mut fmt::Formatter<'_>, images: &[&VerifiedImage]) -> fmt::Result {
        let form = self.archive.form.unwrap_or_default();
        let compression = self.archive.compression.map_or_else(String::new, |word| format!(", {word}"));
        let size = self.archive.size.unwrap_or(0);
        writeln!(f, "  archive   {}, {form}{compression}, {size} bytes", escaped(&self.archive.path))?;
        for image in images {
            if images.len() > 1 {
                writeln!(f, "  image     {}", image.name())?;
            }
            if let Some(index) = image.index() {
                writeln!(f, "  index     {}", index.digest)?;
            }
            writeln!(f, "  manifest  {}", image.manifest().digest)?;
            writeln!(f, "  config    {} (the image ID in Docker's classic store)", image.config_digest())?;
            writeln!(f, "  platform  {}", image.platform())?;
            writeln!(f, "  layers    {}, each checked against its diff id", image.layers().len())?;
        }
        if let Some(metadata) = &self.metadata {
            metadata.write(f)?;
        }
        self.write_repositories(f)?;
        writeln!(f, "  not checked: packages, files")?;
        self.handed_on.as_ref().map_or(Ok(()), |handed_on| handed_on.write(f))
    }
}

impl Report {
    /// Who agreed, and who did not and why.
    fn write_repositories(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.repositories.is_empty() {
            return Ok(());
        }
        let agrees = |report: &&RepositoryReport| report.reasons().next().is_none();
        let (agreeing, all) = (self.repositories.iter().filter(agrees).count(), self.repositories.len());
        writeln!(f, "  agreed by {agreeing} of {all} repositories, as the map demands")?;
        self.repositories.iter().try_for_each(|report| report.write(f))
    }
}

impl RepositoryReport {
    fn reasons(&self) -> impl Iterator<Item = &Finding> {
        self.answers.iter().filter_map(|answer| answer.finding.as_ref())
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, metadata, .. } = self;
        for reason in self.reasons() {
            writeln!(f, "  {name:<9} DOES NOT COUNT: {} [{}]", reason.message, reason.code)?;
        }
        let Some(metadata) = metadata.as_ref().filter(|_| self.reasons().next().is_none()) else { return Ok(()) };
        let fresh = metadata.freshness().map(|fresh| format!(", fresh {fresh}"));
        writeln!(f, "  {name:<9} signed by {}{}", metadata.signers(), fresh.unwrap_or_default())?;
        metadata.write_expired(f)
    }
}

impl MetadataReport {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  signed by {}", self.signers())?;
        self.write_expired(f)?;
        self.freshness().map_or(Ok(()), |fresh| writeln!(f, "  fresh     {fresh}"))
    }

    fn signers(&self) -> String {
        let chain: Vec<String> = self.delegations.iter().map(|role| escaped(role).to_string()).collect();
        let root = self.roles.first().map_or(0, |root| root.version);
        format!("{} under root version {root}", chain.join(" > "))
    }

    fn write_expired(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in self.roles.iter().filter(|row| row.expired) {
            writeln!(f, "  EXPIRED   {} at {}, accepted as asked for", escaped(&row.role), row.expires)?;
        }
        Ok(())
    }

    /// Until when nothing expires; `None` if something has.
    fn freshness(&self) -> Option<String> {
        let first = self.first_to_expire().filter(|row| !row.expired)?;
        Some(format!("until {} ({} expires first)", first.expires, escaped(&first.role)))
    }
}

fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_safe_to_print_and_says_the_same() {
        let name = "a\u{1b}[2J\u{7f}\u{9b}31m\u{202e}\u{e0041}\né\u{1f600}\"\\";
        let json = Verdict::not_started("usage", "x", name).to_json();
        assert!(json.chars().all(|c| c == '\n' || !is_unprintable(c)), "{json:?}");
        assert!(json.contains("\\u009b31m\\u202e\\udb40\\udc41\\né\u{1f600}"), "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["archive"]["path"], name);
    }
}
