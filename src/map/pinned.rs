//! A map with a root for each of its repositories, as the operator keeps them on disk.
//!
//! As in TAP 4, each repository has a folder of its name beside the map file, with its pinned root in it:
//!
//! ```text
//! map.json
//! vendor/root.json
//! security/root.json
//! ```

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::{Map, RepositoryName};
use crate::client::Location;
use crate::limits::{MAP_FILE, MetadataLimits};
use crate::metadata::json;
use crate::text::quoted;

/// Why a map cannot be used. It says nothing about trust in an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The map file could not be read.
    #[error("cannot read the map {}", quoted(.file))]
    Unreadable {
        /// The file.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// The map file is no map; `source()` says where and why.
    #[error("the map {} cannot be used", quoted(.file))]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong, and where.
        source: json::Error,
    },
    /// The pinned root of a repository could not be read.
    #[error("{repository}: cannot read the pinned root {}", quoted(.file))]
    Root {
        /// The repository.
        repository: RepositoryName,
        /// The file.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// Two repositories have the same pinned root: they are one, and would count twice.
    #[error("{first} and {second} have the same pinned root, so they are one repository and would count twice")]
    SameRoot {
        /// One of them.
        first: RepositoryName,
        /// The other.
        second: RepositoryName,
    },
    /// The map or a pinned root lies in a repository: whoever brings that could replace it.
    #[error(
        "{repository}: {} lies in the repository {}, which is not trusted; keep it apart",
        quoted(.file),
        quoted(.location)
    )]
    InRepository {
        /// The repository that holds it.
        repository: RepositoryName,
        /// The map or pinned root.
        file: String,
        /// The folder of the repository.
        location: String,
    },
}

impl MapError {
    /// A stable code for reports.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "map-unreadable",
            Self::Malformed { .. } => "map-malformed",
            Self::Root { .. } => "pinned-root-unreadable",
            Self::SameRoot { .. } => "map-same-root",
            Self::InRepository { .. } => "map-in-repository",
        }
    }
}

/// A repository of a map: its name, the root that is pinned for it, its locations.
#[derive(Debug, Clone)]
pub struct PinnedRepository {
    name: RepositoryName,
    root: Vec<u8>,
    locations: Vec<Location>,
}

impl PinnedRepository {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// The bytes of the pinned root.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// The locations in the order in which they are to be tried; at least one.
    #[must_use]
    pub fn locations(&self) -> &[Location] {
        &self.locations
    }
}

/// A map whose repositories each have a pinned root of their own.
#[derive(Debug, Clone)]
pub struct PinnedMap {
    map: Map,
    repositories: Vec<PinnedRepository>,
}

impl PinnedMap {
    /// Reads the map in `file`, and the root of each repository from `NAME/root.json` beside it. Folders are relative to the map file.
    ///
    /// # Errors
    ///
    /// [`MapError`].
    pub fn read(file: &Path) -> Result<Self, MapError> {
        let shown = file.display().to_string();
        let bytes = read_bounded(file, MAP_FILE);
        let bytes = bytes.map_err(|source| MapError::Unreadable { file: shown.clone(), source })?;
        let map = Map::parse(&bytes).map_err(|source| MapError::Malformed { file: shown, source })?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let root_file = |name: &RepositoryName| folder.join(name.as_str()).join("root.json");

        let pinned = Self::new(map, folder, |name| {
            let path = root_file(name);
            let failed = |source| MapError::Root { repository: name.clone(), file: path.display().to_string(), source };
            read_bounded(&path, MetadataLimits::default().root).map_err(failed)
        })?;
        for repository in &pinned.repositories {
            apart(repository, file)?;
            pinned.repositories.iter().try_for_each(|other| apart(repository, &root_file(&other.name)))?;
        }
        Ok(pinned)
    }

    /// Pins a root for each repository of `map`. Locations that are folders are relative to `folder`.
    ///
    /// `root` brings the bytes of the root of the repository that it is given the name of, from where the operator keeps it.
    ///
    /// # Errors
    ///
    /// What `root` returns; [`MapError::SameRoot`] if it brings the same for two.
    pub fn new(
        map: Map,
        folder: &Path,
        mut root: impl FnMut(&RepositoryName) -> Result<Vec<u8>, MapError>,
    ) -> Result<Self, MapError> {
        let mut repositories: Vec<PinnedRepository> = Vec::new();
        for (name, locations) in map.repositories() {
            let (name, root) = (name.clone(), root(name)?);
            if let Some(other) = repositories.iter().find(|other| other.root == root) {
                return Err(MapError::SameRoot { first: other.name.clone(), second: name });
            }
            let locations = locations.iter().map(|text| Location::read(text, folder)).collect();
            repositories.push(PinnedRepository { name, root, locations });
        }
        Ok(Self { map, repositories })
    }

    /// What the map file says.
    #[must_use]
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// The repositories, by name.
    #[must_use]
    pub fn repositories(&self) -> &[PinnedRepository] {
        &self.repositories
    }
}

/// What is trusted must not come with what is not.
fn apart(repository: &PinnedRepository, file: &Path) -> Result<(), MapError> {
    let Ok(real) = fs::canonicalize(file) else { return Ok(()) };
    for location in &repository.locations {
        let Location::Folder(folder) = location else { continue };
        // A folder that is not there holds nothing.
        if fs::canonicalize(folder).is_ok_and(|folder| real.starts_with(folder)) {
            let (file, location) = (file.display().to_string(), folder.display().to_string());
            return Err(MapError::InRepository { repository: repository.name.clone(), file, location });
        }
    }
    Ok(())
}

fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Looked at before it is opened: opening a FIFO would wait for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).map_or(true, |n| n > limit) {
        return Err(io::Error::other(format!("longer than {limit} bytes")));
    }
    Ok(bytes)
}
