//! What a store holds, read as if it were a repository: so that what was trusted can decide while the repository is away, and so that what was learned in
//! a copy of a store can be taken over into it, by the same checks as all else.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::source::{Source, SourceError};
use super::store::{Store, StoreError};

/// The files of a store at one time. As a source, it has the role files that were trusted, and no targets.
///
/// Nothing of it is believed: a client checks it as it checks what any other source brings.
#[derive(Debug)]
pub struct Remembered {
    files: BTreeMap<String, Vec<u8>>,
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
        super::time_of(self.files.get(super::REFRESHED)?)
    }
}

impl Source for Remembered {
    fn metadata(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        // A store keeps roots by version, all else without one.
        let is_version = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let unversioned = name.split_once('.').filter(|(version, _)| is_version(version));
        let file = match unversioned {
            Some((version, "root.json")) => self.files.get(&super::stored_root_file(version)),
            Some((_, role)) => self.files.get(name).or_else(|| self.files.get(role)),
            None => self.files.get(name),
        };
        Ok(file.map(|bytes| -> Box<dyn Read + '_> { Box::new(bytes.as_slice()) }))
    }

    fn target(&self, _: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        Ok(None)
    }
}
