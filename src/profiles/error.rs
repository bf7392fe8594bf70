//! Why a profile is refused.

use std::fmt;

use crate::metadata::json;
use crate::text::escaped;

/// One reason to refuse a profile.
///
/// Shown as `subject: message, expected ..., found ...`. Untrusted text in it is already escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// The file, and the part of it.
    pub subject: String,
    /// What is wrong, in words.
    pub message: String,
    /// What should have been there.
    pub expected: Option<String>,
    /// What was there.
    pub found: Option<String>,
}

impl Refusal {
    pub(crate) fn new(code: Code, subject: impl fmt::Display, message: impl Into<String>) -> Self {
        Self { code, subject: subject.to_string(), message: message.into(), expected: None, found: None }
    }

    pub(crate) fn malformed(subject: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(Code::Malformed, subject, message)
    }

    /// What a JSON document is not.
    pub(crate) fn json(file: &str, error: &json::Error) -> Self {
        Self::malformed(file, error.to_string())
    }

    pub(crate) fn expected(mut self, expected: impl fmt::Display) -> Self {
        self.expected = Some(expected.to_string());
        self
    }

    pub(crate) fn found(mut self, found: impl fmt::Display) -> Self {
        self.found = Some(found.to_string());
        self
    }

    /// The same refusal, of a file that is called so.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Self {
        self.subject = match self.subject.as_str() {
            "" => escaped(file).to_string(),
            subject => format!("{}: {subject}", escaped(file)),
        };
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        f.write_str(&self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, ", expected {expected}")?;
        }
        self.found.as_ref().map_or(Ok(()), |found| write!(f, ", found {found}"))
    }
}

/// The codes of all refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// Not of the form that its kind has, or larger than any real one.
    Malformed,
    /// A key, system call, action, architecture or capability that nothing is known of.
    Unknown,
    /// It says two things at once.
    Contradictory,
    /// Another process is to decide what the container may do.
    HandsOver,
    /// It lets through more than the machine's baseline.
    Loosens,
    /// It confines nothing.
    Unconfined,
    /// It is for another image, or beside a profile that it was not signed with.
    OtherImage,
    /// Nothing says which image it is for.
    Unbound,
    /// Loading it would take the place of something of the host.
    NameTaken,
    /// It includes files of the host beyond the shared abstractions.
    Include,
    /// It changes what others than the container may do.
    WidensHost,
}

impl Code {
    /// The stable code, in kebab-case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "profile-malformed",
            Self::Unknown => "profile-unknown-word",
            Self::Contradictory => "profile-contradictory",
            Self::HandsOver => "profile-hands-over",
            Self::Loosens => "profile-loosens",
            Self::Unconfined => "profile-unconfined",
            Self::OtherImage => "profile-of-another-image",
            Self::Unbound => "profile-unbound",
            Self::NameTaken => "profile-name-taken",
            Self::Include => "profile-include",
            Self::WidensHost => "profile-widens-host",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
