//! Where the repository is: a folder or a web server, for all of it or for metadata and targets apart.

use std::io::Read;
use std::path::Path;

use plimsoll::client::{DirSource, Source, SourceError};

use crate::args::Repository;

/// Opens what the arguments name. A folder is read and nothing else: no request is ever made for one.
pub(crate) fn open(repository: &Repository) -> Result<Box<dyn Source>, SourceError> {
    match (&repository.repository, &repository.metadata, &repository.targets) {
        (Some(place), ..) => whole(place),
        (None, Some(metadata), Some(targets)) => {
            Ok(Box::new(Halves { metadata: part(metadata)?, targets: part(targets)? }))
        }
        // The parser of the arguments lets none of the others pass.
        (None, ..) => Err(SourceError::NoRepository { place: String::new(), what: "none was named".to_owned() }),
    }
}

/// A folder or an address that holds all of a repository.
pub(crate) fn whole(place: &Path) -> Result<Box<dyn Source>, SourceError> {
    match url(place) {
        Some(url) => web::repository(url),
        None => Ok(Box::new(DirSource::repository(place)?)),
    }
}

/// A half of a repository, of which only that half is asked.
fn part(place: &Path) -> Result<Box<dyn Source>, SourceError> {
    match url(place) {
        Some(url) => web::part(url),
        None if place.is_dir() => Ok(Box::new(DirSource::new(place, place))),
        None => {
            let what = "there is no such folder".to_owned();
            Err(SourceError::NoRepository { place: place.display().to_string(), what })
        }
    }
}

fn url(place: &Path) -> Option<&str> {
    place.to_str().filter(|text| text.contains("://"))
}

struct Halves {
    metadata: Box<dyn Source>,
    targets: Box<dyn Source>,
}

impl Source for Halves {
    fn metadata(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        self.metadata.metadata(name)
    }

    fn target(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        self.targets.target(name)
    }
}

#[cfg(feature = "http")]
mod web {
    use plimsoll::client::{HttpSource, Source, SourceError};

    pub(super) fn repository(url: &str) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(HttpSource::repository(url)?))
    }

    pub(super) fn part(url: &str) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(HttpSource::new(url, url)?))
    }
}

#[cfg(not(feature = "http"))]
mod web {
    use plimsoll::client::{Source, SourceError};

    pub(super) use self::repository as part;

    pub(super) fn repository(url: &str) -> Result<Box<dyn Source>, SourceError> {
        // A password in the address must not be echoed.
        let url = url.split_once("://").map_or("", |(scheme, _)| scheme);
        let why = "this plimsoll was built without the feature http; copy the repository and name its folder";
        Err(SourceError::UnsupportedUrl { url: format!("{url}://..."), why })
    }
}
