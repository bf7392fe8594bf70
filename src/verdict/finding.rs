//! One reason for a verdict that is not "trusted", from whatever stage it came.

use serde::Serialize;

use super::report::signed;
use crate::client::{ClientError, Undecided};
use crate::image::error::Refusal;
use crate::image::write::WriteError;
use crate::map::{Answer, Disagreement, LookupError, Says, Unreached};
use crate::name::ImageName;
use crate::packages::check::Problem;
use crate::text::escaped;
use crate::trust::{Found, TrustError};

/// One reason why an image is not trusted, or why that could not be decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub(super) code: &'static str,
    pub(super) message: String,
    /// Of a map, the repository that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) found: Option<String>,
}

impl Finding {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), repository: None, subject: None, expected: None, found: None }
    }

    pub(crate) fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    /// The same, of a file that the message is to name.
    pub(crate) fn in_file(self, file: &str) -> Self {
        Self { message: format!("{}: {}", escaped(file), self.message), ..self }
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
    pub(crate) fn why_not(answer: &Answer) -> Option<Self> {
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

impl From<&Problem> for Finding {
    fn from(problem: &Problem) -> Self {
        let Problem { subject, expected, found, .. } = problem.clone();
        Self { subject, expected, found, ..Self::new(problem.code, problem.message.clone()) }
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
