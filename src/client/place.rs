//! Where a repository is: a folder or a web server, for all of it or for metadata and targets apart.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::source::{DirSource, Source, SourceError};
use crate::limits::HttpLimits;

/// Where a repository, or a half of one, is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder that holds `metadata/` and `targets/`.
    Folder(PathBuf),
    /// An address with a scheme, such as `https://registry.example/tuf`.
    Address(String),
}

impl Location {
    /// Reads a location as an operator writes it: what has `://` in it is an address, all else a folder, relative to `folder`.
    #[must_use]
    pub fn read(text: &str, folder: &Path) -> Self {
        if text.contains("://") { Self::Address(text.to_owned()) } else { Self::Folder(folder.join(text)) }
    }
}

/// Where all of a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder or address that holds `metadata/` and `targets/`.
    Whole(Location),
    /// Metadata and targets apart, each a folder or address that holds nothing but these.
    Apart {
        /// That of the role files.
        metadata: Location,
        /// That of the target files.
        targets: Location,
    },
}

impl Place {
    /// Opens the repository. A folder is read and nothing else: no request is ever made for one.
    ///
    /// `limits` bound requests, where there are any to be made.
    ///
    /// # Errors
    ///
    /// [`SourceError::NoRepository`] if there is no such folder; [`SourceError::UnsupportedUrl`] for an address that cannot be used, which without the
    /// feature `http` each is.
    pub fn open(&self, limits: &HttpLimits) -> Result<Box<dyn Source + Send + Sync>, SourceError> {
        match self {
            Self::Whole(Location::Folder(folder)) => Ok(Box::new(DirSource::repository(folder)?)),
            Self::Whole(Location::Address(address)) => web::repository(address, limits),
            Self::Apart { metadata, targets } => {
                Ok(Box::new(Halves { metadata: half(metadata, limits)?, targets: half(targets, limits)? }))
            }
        }
    }
}

/// A half of a repository, of which only that half is asked.
fn half(location: &Location, limits: &HttpLimits) -> Result<Box<dyn Source + Send + Sync>, SourceError> {
    match location {
        Location::Address(address) => web::half(address, limits),
        Location::Folder(folder) if folder.is_dir() => Ok(Box::new(DirSource::new(folder, folder))),
        Location::Folder(folder) => {
            let what = "there is no such folder".to_owned();
            Err(SourceError::NoRepository { place: folder.display().to_string(), what })
        }
    }
}

struct Halves {
    metadata: Box<dyn Source + Send + Sync>,
    targets: Box<dyn Source + Send + Sync>,
}

impl Source for Halves {
    fn metadata(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        self.metadata.metadata(name)
    }

    fn target(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        self.targets.target(name)
    }

    fn is_local(&self) -> bool {
        self.metadata.is_local()
    }
}

#[cfg(feature = "http")]
mod web {
    use crate::client::{HttpSource, Source, SourceError};
    use crate::limits::HttpLimits;

    pub(super) fn repository(url: &str, limits: &HttpLimits) -> Result<Box<dyn Source + Send + Sync>, SourceError> {
        Ok(Box::new(HttpSource::repository(url)?.with_limits(limits.clone())))
    }

    pub(super) fn half(url: &str, limits: &HttpLimits) -> Result<Box<dyn Source + Send + Sync>, SourceError> {
        Ok(Box::new(HttpSource::new(url, url)?.with_limits(limits.clone())))
    }
}

#[cfg(not(feature = "http"))]
mod web {
    use crate::client::{Source, SourceError};
    use crate::limits::HttpLimits;

    pub(super) use self::repository as half;

    pub(super) fn repository(url: &str, _: &HttpLimits) -> Result<Box<dyn Source + Send + Sync>, SourceError> {
        // A password in the address must not be echoed.
        let url = url.split_once("://").map_or("", |(scheme, _)| scheme);
        let why = "this plimsoll was built without the feature http; copy the repository and name its folder";
        Err(SourceError::UnsupportedUrl { url: format!("{url}://..."), why })
    }
}
