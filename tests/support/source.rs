//! A source that serves a [`Repo`](super::repo::Repo)'s files and writes down what it was asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use plimsoll::client::{Client, ClientError, Source, SourceError, Store};
use plimsoll::trust::TrustError;

use super::repo::{NOW, Repo};

#[derive(Debug, Default)]
pub struct MemorySource {
    files: BTreeMap<String, Vec<u8>>,
    /// Files that exist but cannot be read.
    pub broken: BTreeSet<String>,
    /// Files that never end.
    pub endless: BTreeSet<String>,
    /// Whether it says that files cost no requests.
    pub local: bool,
    pub requests: RefCell<Vec<String>>,
}

impl MemorySource {
    pub fn new(repo: &Repo) -> Self {
        Self { files: repo.files.clone(), ..Self::default() }
    }

    fn open(&self, name: String) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        self.requests.borrow_mut().push(name.clone());
        if self.broken.contains(&name) {
            return Err(SourceError::Io { file: name, source: io::ErrorKind::TimedOut.into() });
        }
        if self.endless.contains(&name) {
            return Ok(Some(Box::new(io::repeat(b' '))));
        }
        Ok(self.files.get(&name).map(|bytes| Box::new(bytes.as_slice()) as Box<dyn Read>))
    }

    /// Has a file, as it stands below the repository.
    pub fn insert(&mut self, name: &str, bytes: Vec<u8>) {
        self.files.insert(name.to_owned(), bytes);
    }

    /// Has no file whose name begins so.
    pub fn forget(&mut self, name: &str) {
        self.files.retain(|file, _| !file.starts_with(name));
    }

    /// Has a changed last byte in each file whose name begins so.
    pub fn damage(&mut self, name: &str) {
        for (_, bytes) in self.files.iter_mut().filter(|(file, _)| file.starts_with(name)) {
            *bytes.last_mut().unwrap() ^= 1;
        }
    }

    pub fn take_requests(&self) -> Vec<String> {
        self.requests.take().iter().map(|name| name.trim_start_matches("metadata/").to_owned()).collect()
    }
}

impl Source for MemorySource {
    fn metadata(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        self.open(format!("metadata/{name}"))
    }

    fn target(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        self.open(format!("targets/{name}"))
    }

    fn is_local(&self) -> bool {
        self.local
    }
}

/// A client of the repository as it is now, pinned to its first root, at [`NOW`].
pub fn client(repo: &Repo, store: Store) -> Client<MemorySource> {
    Client::new(repo.pinned(), MemorySource::new(repo), store).with_time(NOW.parse().unwrap())
}

/// The stable code of an error.
pub fn code(error: &ClientError) -> &'static str {
    match error {
        ClientError::NotTrusted(error) => error.code(),
        ClientError::Undecided(error) => error.code(),
    }
}

pub fn trust_code<T>(result: Result<T, TrustError>) -> Result<(), &'static str> {
    result.map(drop).map_err(|error| error.code())
}
