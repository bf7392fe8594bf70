//! Why bytes could not be read as what they must be.

use std::fmt;

use crate::text::escaped;

/// A package database, a package list or advisories that cannot be read: what is in them is not known, so nothing is decided by them.
///
/// Shown in words, with the place where there is one. Untrusted text in it is escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    message: String,
}

impl Unreadable {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// The same, of something more exact, given as untrusted text: a line, a record, a file.
    pub(crate) fn of(self, place: &str) -> Self {
        Self { message: format!("{}: {}", escaped(place), self.message) }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Unreadable {}
