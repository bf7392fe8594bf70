//! Where the repository is: a folder or a web server, for all of it or for metadata and targets apart.

use std::path::Path;

use plimsoll::client::{Location, Place, SourceError};
use plimsoll::limits::HttpLimits;

use crate::args::Repository;
use crate::authority::AnySource;

/// Opens what the arguments name. A folder is read and nothing else: no request is ever made for one.
pub(crate) fn open(repository: &Repository) -> Result<AnySource, SourceError> {
    let place = match (&repository.repository, &repository.metadata, &repository.targets) {
        (Some(whole), ..) => Place::Whole(location(whole)),
        (None, Some(metadata), Some(targets)) => {
            Place::Apart { metadata: location(metadata), targets: location(targets) }
        }
        // The parser of the arguments lets none of the others pass.
        (None, ..) => {
            return Err(SourceError::NoRepository { place: String::new(), what: "none was named".to_owned() });
        }
    };
    place.open(&HttpLimits::default())
}

/// A folder or an address that holds all of a repository.
pub(crate) fn whole(place: &Path) -> Result<AnySource, SourceError> {
    Place::Whole(location(place)).open(&HttpLimits::default())
}

/// A path that is no UTF-8 can be a folder only.
fn location(place: &Path) -> Location {
    match place.to_str() {
        Some(text) => Location::read(text, Path::new("")),
        None => Location::Folder(place.to_path_buf()),
    }
}
