//! Whether a target's bytes are what its role says of them [TUF 5.7.2]: exact length, every known hash, at least one.

use super::TrustError;
use crate::digest::{Sha256Hasher, Sha512Hasher};
use crate::metadata::roles::TargetFile;

/// Checks a target that arrives in pieces. Its bytes may be used only once [`finish`](Self::finish) has succeeded.
#[derive(Debug, Clone)]
pub struct TargetCheck<'f> {
    path: &'f str,
    file: &'f TargetFile,
    length: u64,
    sha256: Sha256Hasher,
    sha512: Sha512Hasher,
}

impl<'f> TargetCheck<'f> {
    /// Starts to check the target at `path`, of which its role says `file`.
    ///
    /// # Errors
    ///
    /// [`TrustError::NoKnownHash`]: then there is no need to fetch it.
    pub fn new(path: &'f str, file: &'f TargetFile) -> Result<Self, TrustError> {
        if file.hashes().sha256().is_none() && file.hashes().sha512().is_none() {
            return Err(TrustError::NoKnownHash { file: path.to_owned() });
        }
        Ok(Self { path, file, length: 0, sha256: Sha256Hasher::new(), sha512: Sha512Hasher::new() })
    }

    /// Adds the next bytes.
    ///
    /// # Errors
    ///
    /// [`TrustError::Length`] as soon as there are more than listed.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), TrustError> {
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.length > self.file.length() {
            return Err(self.wrong_length());
        }
        // Only what is listed is hashed: a second hash of a large target takes as long as the first.
        if self.file.hashes().sha256().is_some() {
            self.sha256.update(bytes);
        }
        if self.file.hashes().sha512().is_some() {
            self.sha512.update(bytes);
        }
        Ok(())
    }

    /// All bytes were added.
    ///
    /// # Errors
    ///
    /// [`TrustError::Length`] or [`TrustError::Hash`].
    pub fn finish(self) -> Result<(), TrustError> {
        if self.length != self.file.length() {
            return Err(self.wrong_length());
        }
        let differ =
            |algorithm, expected, found| TrustError::Hash { file: self.path.to_owned(), algorithm, expected, found };
        if let Some(expected) = self.file.hashes().sha256() {
            let found = self.sha256.finish();
            if found != expected {
                return Err(differ("sha256", expected.to_hex(), found.to_hex()));
            }
        }
        if let Some(expected) = self.file.hashes().sha512() {
            let found = self.sha512.finish();
            if found != expected {
                return Err(differ("sha512", expected.to_hex(), found.to_hex()));
            }
        }
        Ok(())
    }

    fn wrong_length(&self) -> TrustError {
        TrustError::Length { file: self.path.to_owned(), expected: self.file.length(), found: self.length }
    }
}
