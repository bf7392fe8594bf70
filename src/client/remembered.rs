//! What a store holds, read as if it were a repository: so that what was trusted can decide while the repository is away, and so that what was learned in
//! a copy of a store can be taken over into it, by the same checks as all else.

use std::io::Read;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::source::{Source, SourceError};
use super::store::{Files, Store, StoreError};

/// The files of a store at one time. As a source, it has the role files that were trusted, and no targets.
///
/// Nothing of it is believed: a client checks it as it checks what any other source brings.
#[derive(Debug)]
pub struct Remembered {
    files: Files,
}

impl Remembered {
    /// Reads a store; its lock is held for as long as that takes.
    ///
    /// A file longer than `limit` bytes counts as missing.
    ///
    /// # Errors
    ///
    /// As [`Store::lock`], and if a file of it cannot be read.
    pub fn of(store: &Store, wait: Duration, limit: u64) -> Result<Self, StoreError> {
        Ok(Self { files: store.files(wait, limit)? })
    }

    /// When the metadata was last brought up to date from its repository, by the clock of then. `None` if that is not known.
    #[must_use]
    pub fn refreshed(&self) -> Option<DateTime<Utc>> {
        super::time_of(self.files.named.get(super::REFRESHED)?)
    }
}

impl Source for Remembered {
    fn metadata(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        // A store keeps roots by version, all else without one.
        let Files { roots, named } = &self.files;
        let unversioned = name.split_once('.').and_then(|(version, role)| Some((version.parse().ok()?, role)));
        let file = match unversioned {
            Some((version, "root.json")) => roots.get(&version),
            Some((_, role)) => named.get(name).or_else(|| named.get(role)),
            None => named.get(name),
        };
        Ok(file.map(|bytes| -> Box<dyn Read + '_> { Box::new(bytes.as_slice()) }))
    }

    fn target(&self, _: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        Ok(None)
    }

    fn is_local(&self) -> bool {
        true
    }
}
