//! The package lists that are signed with an image: given, or made. Each is held against the image first: what a verifier would say of it tomorrow is said
//! today.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use plimsoll::image::archive::Archive;
use plimsoll::image::manifest::Platform;
use plimsoll::limits::{ArchiveLimits, MetadataLimits};
use plimsoll::packages::format::ListFormat;
use plimsoll::packages::inspect::{Inspected, Subject};
use plimsoll::packages::list::PackageList;
use plimsoll::packages::list_file;
use plimsoll::publish::{PublishError, Repository};
use plimsoll::text::{escaped, quoted};

use super::args::Add;
use super::{file_name, io_failed, not_signable, regular_file};

/// A list, as it is to be signed.
type Named = (String, Vec<u8>);

/// The lists that the arguments ask for. `platforms` are those of the index, if one is signed as the image.
pub(super) fn of(
    arguments: &Add,
    archive: &Archive,
    platforms: &[Platform],
    limits: &ArchiveLimits,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Vec<Named>, PublishError> {
    if arguments.packages.is_empty() && arguments.list.is_none() {
        return Ok(Vec::new());
    }
    let mut named: Vec<Named> = Vec::new();
    let mut expected = BTreeMap::new();
    let every = if platforms.is_empty() { vec![None] } else { platforms.iter().map(Some).collect() };
    // A list for all platforms must hold for each of them.
    let with_all = if platforms.is_empty() { every.clone() } else { [None].into_iter().chain(every.clone()).collect() };
    for platform in with_all {
        for format in ListFormat::ALL {
            expected.insert(list_file(format, platform), (format, platform));
        }
    }
    let mut given = Vec::new();
    for path in &arguments.packages {
        let name = file_name(path)?;
        let (format, platform) = *expected.get(&name).ok_or_else(|| not_looked_for(&name, &expected))?;
        let bytes = read(path)?;
        let list = PackageList::read(format, &bytes).map_err(|error| refused(arguments, &name, &error.to_string()))?;
        given.push((name.clone(), platform, list));
        named.push((name, bytes));
    }
    for platform in every {
        let subject = Subject { image: Some(arguments.image.clone()), platform: platform.cloned() };
        let inspected = Inspected::read(archive, &subject, limits, progress);
        let inspected = inspected.map_err(|error| not_signable(&arguments.image, error))?;
        let fitting = given.iter().filter(|(_, of, _)| of.is_none() || *of == platform);
        let mut fitting: Vec<(&str, &PackageList)> = fitting.map(|(name, _, list)| (name.as_str(), list)).collect();
        let made;
        if let Some(form) = arguments.list {
            let name = list_file(form.into(), platform);
            if named.iter().any(|(other, _)| *other == name) {
                return Err(PublishError::Usage(format!("the list {name} is given, and would be made as well")));
            }
            let mut bytes = Vec::new();
            inspected.write(form.into(), &mut bytes).map_err(|error| refused(arguments, &name, &error.to_string()))?;
            let list = PackageList::read(form.into(), &bytes);
            made = (name.clone(), list.map_err(|error| refused(arguments, &name, &error.to_string()))?);
            fitting.push((&made.0, &made.1));
            named.push((name, bytes));
        }
        // One that was made, too: no list makes an image right that has a package twice.
        for (name, list) in &fitting {
            if let Some(first) = inspected.differences(list).first() {
                return Err(refused(arguments, name, &first.to_string()));
            }
        }
        let lists: Vec<&PackageList> = fitting.iter().map(|(_, list)| *list).collect();
        if let (Some((name, _)), Some(first)) = (fitting.first(), inspected.database_faults(&lists).first()) {
            return Err(refused(arguments, name, first));
        }
    }
    Ok(named)
}

/// A word on each list that is signed under the image's name already, and was for the image that had it until now.
pub(super) fn of_another(
    repository: &Repository,
    path: &dyn Fn(&str) -> Result<String, PublishError>,
    platforms: &[Platform],
    named: &[Named],
) -> Result<String, PublishError> {
    let every = [None].into_iter().chain(platforms.iter().map(Some));
    let mut text = String::new();
    for file in every.flat_map(|platform| ListFormat::ALL.map(|format| list_file(format, platform))) {
        let path = path(&file)?;
        if repository.signs(&path) && !named.iter().any(|(name, _)| *name == file) {
            let path = escaped(&path);
            text.push_str(&format!(
                "warning: {path} stays signed, and may be of the image that had this name before: if it does not hold for this one, nobody can verify it. \
                 --list or --packages signs another, plimsoll repository remove --path {path} none\n"
            ));
        }
    }
    Ok(text)
}

fn not_looked_for(name: &str, expected: &BTreeMap<String, (ListFormat, Option<&Platform>)>) -> PublishError {
    let names: Vec<&str> = expected.keys().map(String::as_str).collect();
    PublishError::Usage(format!(
        "no verifier looks for a list called {}, expected one of {}",
        quoted(name),
        names.join(", ")
    ))
}

fn refused(arguments: &Add, file: &str, why: &str) -> PublishError {
    PublishError::List { image: arguments.image.to_string(), file: file.to_owned(), why: why.to_owned() }
}

/// All of a list; one that a verifier would not read into memory is not read here.
fn read(path: &Path) -> Result<Vec<u8>, PublishError> {
    let limit = MetadataLimits::default().target_in_memory;
    let mut bytes = Vec::new();
    let file: File = regular_file(path)?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|source| io_failed(path, source))?;
    if u64::try_from(bytes.len()).map_or(true, |n| n > limit) {
        return Err(io_failed(path, io::Error::other(format!("more than {limit} bytes"))));
    }
    Ok(bytes)
}
