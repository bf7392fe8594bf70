//! Where a repository's files come from.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use crate::text::quoted;

/// Brings files of a repository. Nothing that it brings is believed, but what it says is *missing* is.
///
/// Implement this to read a repository from elsewhere. Two duties carry security:
/// - `None` means that the repository has no such file (HTTP 404 or 403, no such file). It ends the search for newer roots
///   [TUF 5.3.3]. Everything else that goes wrong must be an error: `None` on a time-out would let an attacker hide a new root.
/// - A reader must end or fail at some time. How much is read of it is bounded by the caller, so it may be endless, but it should not
///   trickle for ever. It may wrap a [`SourceError`] in its [`io::Error`], which is then reported as it is.
pub trait Source {
    /// Opens a role file. `name` is its name below `metadata/`, already percent-encoded as one path segment: `7.root.json`,
    /// `team%2Fapp.json`.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if it cannot be told whether there is such a file, or if it cannot be opened.
    fn metadata(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError>;

    /// Opens a target. `name` is its path below `targets/`, not encoded, with the hash before the file name where snapshots are
    /// consistent: `docker.io/library/app/1.4/5a0e....manifest.json`.
    ///
    /// It comes from signed metadata, but a signer is not trusted to choose paths on this machine: a source that maps it to files must
    /// refuse `..` and absolute paths.
    ///
    /// # Errors
    ///
    /// As [`metadata`](Self::metadata).
    fn target(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError>;

    /// Whether to read a file asks nobody. Then a few roots more may be opened than turn out to be needed, which otherwise would be requests.
    fn is_local(&self) -> bool {
        false
    }
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn metadata(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        (**self).metadata(name)
    }

    fn target(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        (**self).target(name)
    }

    fn is_local(&self) -> bool {
        (**self).is_local()
    }
}

/// Why a repository could not be read. It says nothing about trust.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is no repository at the place given.
    #[error("no repository at {}: {what}", quoted(.place))]
    NoRepository {
        /// The folder or address.
        place: String,
        /// What was looked for.
        what: String,
    },
    /// A file could not be read.
    #[error("cannot read {}", quoted(.file))]
    Io {
        /// The file, as the source calls it.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// A target path that is no plain relative path.
    #[error("the target path {} cannot be a file name here", quoted(.0))]
    Path(String),
    /// The address of a repository that cannot be used.
    #[error("the address {} cannot be used: {why}", quoted(.url))]
    UnsupportedUrl {
        /// The address, without user name and password.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The server's answer was neither the file nor that there is none.
    #[error("cannot read {}: the server answered {status}", quoted(.file))]
    Status {
        /// The file's address.
        file: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server did not answer, or went on, as fast as it must: an attack that holds an update up, or a network that is too slow.
    #[error("cannot read {}: too slow: {what}", quoted(.file))]
    TooSlow {
        /// The file's address.
        file: String,
        /// What took too long, and how long it may take.
        what: String,
    },
    /// A redirect that is not followed.
    #[error("cannot read {}: redirect refused: {why}", quoted(.file))]
    Redirect {
        /// The file's address, before any redirect.
        file: String,
        /// Why it is not followed.
        why: &'static str,
    },
    /// The server encoded the file, although nothing but the file itself was asked for: what would have to be decoded is unverified.
    #[error("cannot read {}: content encoding {} was not asked for", quoted(.file), quoted(.encoding))]
    ContentEncoding {
        /// The file's address.
        file: String,
        /// The encoding, as the server names it.
        encoding: String,
    },
}

impl SourceError {
    /// Reading `file` failed halfway. A source whose reader knows better why wraps its own `SourceError` in the [`io::Error`].
    pub(super) fn reading(file: &str, source: io::Error) -> Self {
        source.downcast().unwrap_or_else(|source| Self::Io { file: file.to_owned(), source })
    }
}

/// A repository in a folder, such as a mounted stick or share.
#[derive(Debug, Clone)]
pub struct DirSource {
    metadata: PathBuf,
    targets: PathBuf,
}

impl DirSource {
    /// Two folders, one for the metadata and one for the targets.
    #[must_use]
    pub fn new(metadata: &Path, targets: &Path) -> Self {
        Self { metadata: metadata.to_path_buf(), targets: targets.to_path_buf() }
    }

    /// A folder that holds `metadata/` and `targets/`.
    ///
    /// # Errors
    ///
    /// [`SourceError::NoRepository`] if it has no folder `metadata`, [`SourceError::Io`] if that cannot be told.
    pub fn repository(folder: &Path) -> Result<Self, SourceError> {
        let metadata = folder.join("metadata");
        let place = folder.display().to_string();
        match fs::metadata(&metadata) {
            Ok(found) if found.is_dir() => Ok(Self { metadata, targets: folder.join("targets") }),
            Ok(_) => Err(SourceError::NoRepository { place, what: "metadata is not a folder".to_owned() }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(SourceError::NoRepository { place, what: "there is no folder metadata in it".to_owned() })
            }
            Err(source) => Err(SourceError::Io { file: metadata.display().to_string(), source }),
        }
    }
}

impl Source for DirSource {
    fn metadata(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        open(&self.metadata, name)
    }

    fn target(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        open(&self.targets, name)
    }

    fn is_local(&self) -> bool {
        true
    }
}

/// Whether a path names one file and stays below the folder that it is relative to: no empty part, no `.`, no `..`, no NUL. The first
/// two would give one file several names.
pub(super) fn is_plain(name: &str) -> bool {
    name.split('/').all(|part| !part.is_empty() && part != "." && part != "..") && !name.contains('\0')
}

fn open(folder: &Path, name: &str) -> Result<Option<Box<dyn Read>>, SourceError> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if !is_plain(name) || !Path::new(name).components().all(plain) {
        return Err(SourceError::Path(name.to_owned()));
    }
    let path = folder.join(name);
    let failed = |source| SourceError::Io { file: path.display().to_string(), source };
    // Looked at before it is opened: opening a FIFO would wait for ever.
    match fs::metadata(&path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(failed(io::Error::other("not a regular file"))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    }
    match File::open(&path) {
        Ok(file) => Ok(Some(Box::new(file))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_do_not_leave_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let cases: &[(&str, Option<bool>)] = &[
            ("lib.rs", Some(true)),
            ("client/mod.rs", Some(true)),
            ("missing.rs", Some(false)),
            ("client/missing/mod.rs", Some(false)),
            ("../Cargo.toml", None),
            ("client/../lib.rs", None),
            ("./lib.rs", None),
            ("client/./mod.rs", None),
            ("client//mod.rs", None),
            ("/etc/hostname", None),
            ("lib.rs/", None),
            ("", None),
            ("..", None),
            ("lib.rs\0", None),
        ];
        for (name, expected) in cases {
            let got = open(&folder, name).map(|file| file.is_some());
            assert_eq!(got.as_ref().ok(), expected.as_ref(), "{name:?}");
            assert!(got.is_ok() || matches!(got, Err(SourceError::Path(_))), "{name:?}");
        }
    }

    #[test]
    fn what_is_no_file_is_no_missing_file() {
        // A folder in a file's place: to call that "missing" would end the search for newer roots.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(matches!(open(folder, "src"), Err(SourceError::Io { .. })));
        assert!(matches!(open(folder, "src/lib.rs/below"), Err(SourceError::Io { .. }) | Ok(None)));
    }

    #[test]
    fn a_folder_without_metadata_is_no_repository() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for place in [here.join("tests"), here.join("nowhere")] {
            let error = DirSource::repository(&place).unwrap_err();
            assert!(matches!(error, SourceError::NoRepository { .. }));
            assert!(error.to_string().ends_with("there is no folder metadata in it"), "{error}");
        }
    }
}
