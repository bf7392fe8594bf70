//! `--map`: the repositories of a map file, each with a store of its own.

use std::path::{Path, PathBuf};

use plimsoll::client::{Client, Mirrors, SourceError, Store};
use plimsoll::map::{Location, PinnedMap, PinnedRepository, Repositories};

use crate::authority::AnySource;
use crate::{repository, show, state};

/// Reads the map and what is pinned beside it. An error comes with its code.
pub(crate) fn repositories(
    file: &Path,
    store: Option<&Path>,
    configure: impl Fn(Client<AnySource>) -> Client<AnySource>,
) -> Result<Repositories<AnySource>, (&'static str, String)> {
    pinned(&PinnedMap::read(file).map_err(|e| (e.code(), show::chain(&e)))?, store, configure)
}

/// Those of a map that was read.
pub(crate) fn pinned(
    pinned: &PinnedMap,
    store: Option<&Path>,
    configure: impl Fn(Client<AnySource>) -> Client<AnySource>,
) -> Result<Repositories<AnySource>, (&'static str, String)> {
    let stores = pinned.repositories().iter().map(|repository| store_of(repository, store));
    let stores: Vec<PathBuf> = stores.collect::<Result<_, _>>().map_err(|e| ("usage", e))?;
    let mut stores = stores.into_iter();
    Ok(Repositories::new(pinned, |repository| {
        let store = stores.next().map_or_else(Store::in_memory, Store::folder);
        let locations = repository.locations().iter().cloned().map(|location| move || open(&location));
        let source: AnySource = Box::new(Mirrors::new(locations));
        configure(Client::new(repository.root(), source, store))
    }))
}

/// By name below `--store`, in a folder that no file of a single repository's store is called; else by root, as for one repository.
fn store_of(repository: &PinnedRepository, folder: Option<&Path>) -> Result<PathBuf, String> {
    match folder {
        Some(folder) => Ok(folder.join("repositories").join(repository.name().as_str())),
        None => state::default_store(repository.root()),
    }
}

fn open(location: &Location) -> Result<AnySource, SourceError> {
    match location {
        Location::Folder(folder) => repository::whole(folder),
        Location::Address(address) => repository::whole(Path::new(address)),
    }
}
