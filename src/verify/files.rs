//! The signed files of images, one by one: for whoever needs what is signed beside an image without looking at an archive.

use super::round::{Need, Round, Said};
use super::terms::{Govern, NotGoverned};
use super::{Stop, signed};
use crate::client::Source;
use crate::name::ImageName;
use crate::verdict::Finding;

/// Brings signed files of images, by the terms for their names. Each repository is refreshed once, when it is first asked.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::path::Path;
///
/// use plimsoll::client::{Client, DirSource, Store};
/// use plimsoll::verify::{SignedFiles, Terms};
///
/// let root = std::fs::read("test-repos/root.json")?;
/// let source = DirSource::repository(Path::new("test-repos/good"))?;
/// let terms = Terms::new(Client::new(root, source, Store::in_memory()));
/// let mut files = SignedFiles::new(&terms);
/// let name = "registry.example/team/app:1.4".parse()?;
/// assert!(files.file(&name, "manifest.json")?.is_some());
/// assert!(files.file(&name, "seccomp.json")?.is_none());
/// # Ok(())
/// # }
/// ```
pub struct SignedFiles<'v, S, G> {
    governing: &'v G,
    round: Round<'v, S>,
}

/// Why it is not known what is signed. As everywhere, what failed a check and what could not be asked are different things.
#[derive(Debug, thiserror::Error)]
pub enum NotFetched {
    /// A check failed, or the name is refused.
    #[error("not trusted: {}", first(.0))]
    NotTrusted(Vec<Finding>),
    /// Whoever decides could not be asked.
    #[error("undecided: {}", first(.0))]
    Undecided(Vec<Finding>),
}

fn first(findings: &[Finding]) -> &str {
    findings.first().map_or("", Finding::message)
}

impl From<Stop> for NotFetched {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Untrusted(findings) => Self::NotTrusted(findings),
            Stop::Undecided(findings) => Self::Undecided(findings),
        }
    }
}

impl<'v, S: Source, G: Govern<S>> SignedFiles<'v, S, G> {
    /// Begins to ask.
    pub fn new(governing: &'v G) -> Self {
        Self { governing, round: Round::new() }
    }

    /// The file that is signed beside the image of a name, checked. `None` only where all who may sign it were asked and none does.
    ///
    /// # Errors
    ///
    /// [`NotFetched`].
    pub fn file(&mut self, name: &ImageName, file: &str) -> Result<Option<Vec<u8>>, NotFetched> {
        let terms = self.governing.terms(name).map_err(Stop::from)?;
        let path = signed::path(terms, name, file)?;
        Ok(self.round.file(terms, name, &path, Need::May, &mut Said::default())?)
    }
}

impl From<NotGoverned> for Stop {
    fn from(why: NotGoverned) -> Self {
        match why {
            NotGoverned::Refused { code, message } => Self::Untrusted(vec![Finding::new(code, message)]),
            NotGoverned::Undecided { code, message } => Self::Undecided(vec![Finding::new(code, message)]),
        }
    }
}
