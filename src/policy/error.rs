//! Why a policy cannot be used. It says nothing about trust in an image.

use std::fmt;
use std::io;

use super::scope::ScopeError;
use crate::map::MapError;
use crate::profiles::error::Refusal;
use crate::text::{escaped, quoted};

/// A place in a policy file; both count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file, or one that decides as much and that it names, a pinned root or a seccomp profile, could not be read.
    #[error("cannot read {}", quoted(.file))]
    Unreadable {
        /// The file.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// Somebody else than its owner, or than who reads it, may write the file: whoever can do that decides what is trusted.
    #[error("{} can be changed by others: {why}", quoted(.file))]
    Exposed {
        /// The file.
        file: String,
        /// Who may, and what to do.
        why: String,
    },
    /// The file that is named as the seccomp profile of a baseline is none.
    #[error("{}: no seccomp profile", quoted(.file))]
    Seccomp {
        /// The file.
        file: String,
        /// The cause.
        source: Box<Refusal>,
    },
    /// The map that it names cannot be used.
    #[error(transparent)]
    Map(MapError),
    /// What the file says is wrong.
    #[error("{}{at}: {}{problem}", prefix(.file), key_prefix(.key))]
    Malformed {
        /// The file; empty for a text that was read from none.
        file: String,
        /// Where.
        at: Position,
        /// The key, with those above it: `scope."registry.example/team".max-staleness`. Empty where the text is no TOML.
        key: String,
        /// What was expected, and found.
        problem: Box<Problem>,
    },
}

impl PolicyError {
    /// A stable code for reports.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "policy-unreadable",
            Self::Exposed { .. } => "policy-exposed",
            Self::Seccomp { .. } => "baseline-unreadable",
            Self::Map(error) => error.code(),
            Self::Malformed { .. } => "policy-malformed",
        }
    }

    /// The same of a text that was read from this file.
    pub(super) fn in_file(self, name: &str) -> Self {
        match self {
            Self::Malformed { at, key, problem, .. } => Self::Malformed { file: name.to_owned(), at, key, problem },
            other => other,
        }
    }
}

fn prefix(file: &str) -> String {
    if file.is_empty() { String::new() } else { format!("{}:", escaped(file)) }
}

fn key_prefix(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{}: ", escaped(key)) }
}

/// What is wrong with a key of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The text is no TOML.
    #[error("not TOML: {}", escaped(.0))]
    Syntax(String),
    /// A key that there is not.
    #[error("unknown key; expected {expected}")]
    Unknown {
        /// The nearest key that there is, or all of them.
        expected: String,
    },
    /// A key that must be there is not.
    #[error("expected {expected}, found none")]
    Missing {
        /// What was expected.
        expected: &'static str,
    },
    /// A value that is not what it must be.
    #[error("expected {expected}, found {found}")]
    Value {
        /// What was expected.
        expected: String,
        /// What stands there, in quotes where it is text.
        found: String,
    },
    /// A scope that cannot be used.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// Two keys that cannot both be there, or a value that another one makes impossible.
    #[error("contradicts {other}: {why}")]
    Contradiction {
        /// The other key.
        other: String,
        /// Why.
        why: &'static str,
    },
    /// One scope, written in two ways.
    #[error("the same scope stands in line {line} as {}", quoted(.other))]
    SameScope {
        /// How it is written there.
        other: String,
        /// Where.
        line: usize,
    },
}
