//! A bundle into a local repository: copied aside, checked there, and brought into place by renames.
//!
//! What is new below `targets/` and `archives/` is found by nobody before the metadata names it, so it comes first. The metadata folder is made anew
//! beside the old one, from links to what is in it and the new files, and the two are exchanged in one step: killed at any instant, readers see the
//! old state or the new. The local store learns of it last, so it never knows of a state that is not in place.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use super::archive::Archives;
use super::check::{Checked, check, check_target_file, untrusted};
use super::contents::{ARCHIVES, METADATA, TARGETS, listing};
use super::create::{copy, sync_all};
use super::others::are_still_served;
use super::report::Report;
use super::{Terms, unreadable, unwritable};
use crate::client::{DirSource, Undecided, metadata_name, read_bounded};
use crate::disk;
use crate::metadata::RoleName;
use crate::packages::check::Mode;
use crate::text::quoted;
use crate::trust::{Roots, TrustError, Trusted, same_content};
use crate::verdict::Finding;
use crate::verify::Stop;

/// Where an import works, in the repository's folder, so that renames stay on one file system.
const PLACE: &str = ".import";
const LOCK: &str = "lock";
/// The copy of the bundle.
const COPY: &str = "bundle";
/// The new `metadata` before it takes its place, and the old one after that.
const NEXT: &str = "metadata";
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_RETRY: Duration = Duration::from_millis(20);

pub(super) fn import(terms: &Terms, bundle: &Path, into: &Path, report: &mut Report) -> Result<(), Stop> {
    // Before anything is made: what is no bundle leaves no trace.
    let files = listing(bundle)?;
    let place = into.join(PLACE);
    fs::create_dir_all(&place).map_err(|error| unwritable(&place, &error))?;
    let _lock = lock(&place)?;
    let (new, next) = (place.join(COPY), place.join(NEXT));
    // What a process left that was killed.
    for leftover in [&new, &next] {
        match fs::remove_dir_all(leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(leftover, &error)),
            _ => {}
        }
    }
    let result = copy_all(bundle, &files, &new).and_then(|()| from_copy(terms, &new, into, report));
    for leftover in [&new, &next] {
        let _the_next_import_removes_it_too = fs::remove_dir_all(leftover);
    }
    result
}

/// From here on nothing but the copy is read.
fn from_copy(terms: &Terms, new: &Path, into: &Path, report: &mut Report) -> Result<(), Stop> {
    let checked = check(terms, new, report)?;
    if !checked.trusted.root().consistent_snapshot() {
        let text = "its root says that consistent_snapshot is false, so files would have to be changed under the eyes of readers; \
                    use the bundle itself as the repository";
        return Err(Stop::Undecided(vec![Finding::new("bundle-not-consistent", text)]));
    }
    is_not_behind(&checked, new, into)?;
    is_complete(terms, &checked, new, into)?;
    if !terms.leaves_others_behind {
        are_still_served(&checked.trusted, new, into)?;
    }

    for name in checked.targets.keys() {
        put(new, into, &format!("{TARGETS}{name}"))?;
    }
    for archive in report.archives() {
        put(new, into, &format!("{ARCHIVES}{}", archive.file))?;
    }
    put_metadata(&checked, new, into)?;
    report.set_written(into);
    if terms.store.is_some() {
        let source = DirSource::repository(into).map_err(Undecided::from)?;
        terms.client(source, terms.own_store()).refresh()?;
    }
    Ok(())
}

fn lock(place: &Path) -> Result<File, Stop> {
    let path = place.join(LOCK);
    let failed = |error: io::Error| unwritable(&path, &error);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_WAIT => thread::sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => {
                let shown = path.display().to_string();
                let text = format!("another import into the repository holds {}; waited {LOCK_WAIT:?}", quoted(&shown));
                return Err(Stop::Undecided(vec![Finding::new("bundle-import-locked", text)]));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

fn copy_all(bundle: &Path, files: &std::collections::BTreeMap<String, bool>, new: &Path) -> Result<(), Stop> {
    for folder in [METADATA, TARGETS, ARCHIVES] {
        let folder = new.join(folder);
        fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
    }
    for (name, is_regular) in files {
        if !is_regular {
            let finding = Finding::new("bundle-extra-file", "it is not a regular file").about(name).in_file(name);
            return Err(Stop::Untrusted(vec![finding]));
        }
        let to = new.join(name);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
        }
        copy(&bundle.join(name), &to)?;
    }
    sync_all(new)
}

/// Whether the bundle is of the repository that is there, and no older: by the same checks as a client's that had seen it.
fn is_not_behind(checked: &Checked, new: &Path, into: &Path) -> Result<(), Stop> {
    let trusted = &checked.trusted;
    let limits = trusted.rules().limits();
    let there = RootsThere::in_folder(into)?;
    if there.versions.is_empty() {
        // No repository yet. What has no roots cannot be compared, and may be newer.
        let why = "there is metadata in it, and no root such as 1.root.json";
        return if there.is_empty { Ok(()) } else { Err(of_another_root(into, why)) };
    }
    there.lead_to(checked, new, into)?;

    // What is there has often expired: that is why there is a new bundle. It counts all the same.
    let rules = trusted.rules().clone().with_max_staleness(TimeDelta::MAX);
    let roots = Roots::pin(trusted.root().bytes(), rules).map_err(|error| untrusted(&error))?;
    let mut floor = roots.finish().map_err(|error| untrusted(&error))?;
    if let Some(timestamp) = read(into, "timestamp.json", limits.timestamp)?
        && let Ok(seen) = floor.timestamp(&timestamp)
    {
        // What does not verify under the new root is no floor: its keys were taken away [TUF 5.3.11].
        floor.remember_timestamp(&timestamp).map_err(|error| untrusted(&error))?;
        let request = seen.snapshot_request();
        let name = metadata_name("snapshot", request.version(), true);
        if let Some(snapshot) = read(into, &name, request.limit())?
            && seen.snapshot(&snapshot).is_ok()
        {
            floor.remember_snapshot(&snapshot).map_err(|error| untrusted(&error))?;
        }
    }
    let timestamp = floor.timestamp(trusted.timestamp().bytes()).map_err(|error| untrusted(&error))?;
    timestamp.snapshot(trusted.snapshot().bytes()).map_err(|error| untrusted(&error))?;
    Ok(())
}

/// The versions of the roots in a repository.
struct RootsThere {
    versions: BTreeSet<u64>,
    /// Whether there is no metadata at all.
    is_empty: bool,
}

impl RootsThere {
    fn in_folder(into: &Path) -> Result<Self, Stop> {
        let folder = into.join(METADATA);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { versions: BTreeSet::new(), is_empty: true });
            }
            Err(error) => return Err(unreadable(&folder, &error)),
        };
        let (mut versions, mut is_empty) = (BTreeSet::new(), true);
        for entry in entries {
            is_empty = false;
            let name = entry.map_err(|error| unreadable(&folder, &error))?.file_name();
            let version = name.to_str().and_then(|name| name.strip_suffix(".root.json"));
            versions.extend(version.and_then(|text| text.parse::<u64>().ok().filter(|n| n.to_string() == text)));
        }
        Ok(Self { versions, is_empty })
    }

    /// One chain with the bundle's roots, which end with the newest.
    fn lead_to(&self, checked: &Checked, new: &Path, into: &Path) -> Result<(), Stop> {
        let trusted = &checked.trusted;
        let limit = trusted.rules().limits().root;
        let name = |version: u64| format!("{version}.root.json");
        let newest = trusted.root().version();
        if let Some(above) = self.versions.range(newest..).find(|version| **version > newest) {
            let mut roots = pin(trusted, trusted.root().bytes())?;
            let next = read(into, &name(*above), limit)?.unwrap_or_default();
            return Err(match roots.rotate(&next) {
                Ok(_) => {
                    let (role, what) = (RoleName::Root, "version".to_owned());
                    untrusted(&TrustError::Rollback { role, what, trusted: *above, found: newest })
                }
                Err(_) => of_another_root(into, "it has a root that does not come after the newest of the bundle"),
            });
        }
        let (mut common, mut lowest) = (false, None::<u64>);
        for version in checked.metadata.iter().filter_map(|name| name.strip_suffix(".root.json")?.parse::<u64>().ok()) {
            lowest = Some(lowest.map_or(version, |lowest| lowest.min(version)));
            if !self.versions.contains(&version) {
                continue;
            }
            let (a, b) = (read(new, &name(version), limit)?, read(into, &name(version), limit)?);
            match (a, b) {
                (Some(a), Some(b)) if same_content(&a, &b) => common = true,
                _ => return Err(of_another_root(into, "the two have different roots of one version")),
            }
        }
        // Without one in common, the bundle's first must come right after the last that is there.
        let follows = || -> Result<bool, Stop> {
            let (Some(last), Some(first)) = (self.versions.last(), lowest) else { return Ok(false) };
            let (Some(last), Some(first)) = (read(into, &name(*last), limit)?, read(new, &name(first), limit)?) else {
                return Ok(false);
            };
            Ok(pin(trusted, &last).is_ok_and(|mut roots| roots.rotate(&first).is_ok()))
        };
        if common || follows()? {
            return Ok(());
        }
        Err(of_another_root(into, "no root of the bundle is in it; make the bundle with the root that its readers pin"))
    }
}

fn pin(trusted: &Trusted, root: &[u8]) -> Result<Roots, Stop> {
    Roots::pin(root, trusted.rules().clone()).map_err(|error| untrusted(&error))
}

fn of_another_root(into: &Path, why: &str) -> Stop {
    let text = format!("{} is not a copy of the bundle's repository: {why}", quoted(&into.display().to_string()));
    Stop::Undecided(vec![Finding::new("repository-of-another-root", text)])
}

/// Reads a metadata file, if it is there.
fn read(repository: &Path, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Stop> {
    let path = repository.join(METADATA).join(name);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&path, &error)),
        // Looked at before it is opened: opening a FIFO would wait for ever.
        Ok(found) if !found.is_file() => return Err(unreadable(&path, &io::Error::other("not a regular file"))),
        Ok(_) => {}
    }
    let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
    Ok(Some(read_bounded(Box::new(file), name, limit)?))
}

/// Whether what the bundle leaves out is there, and is what was signed.
fn is_complete(terms: &Terms, checked: &Checked, new: &Path, into: &Path) -> Result<(), Stop> {
    let missing = |name: String| {
        let text = "the bundle leaves it out, and it is not in the repository as it was signed; import the earlier bundle first";
        Stop::Undecided(vec![Finding::new("bundle-base-missing", text).about(&name).in_file(&name)])
    };
    for (names, found) in &checked.left_out {
        let mut is_there = false;
        for path in names.iter().map(|name| into.join(TARGETS).join(name)) {
            is_there |= path.is_file() && check_target_file(&path, found)?.is_ok();
        }
        if !is_there {
            return Err(missing(format!("{TARGETS}{}", names.first().map_or(found.path(), String::as_str))));
        }
    }
    let source = DirSource::repository(new).map_err(Undecided::from)?;
    let (time, images) = (checked.trusted.rules().start(), checked.contents.images.as_slice());
    for archive in &checked.left_out_archives {
        let path = into.join(ARCHIVES).join(&archive.file);
        if !path.is_file() {
            return Err(missing(format!("{ARCHIVES}{}", archive.file)));
        }
        Archives { terms, source: &source, time, images, packages: Mode::Off }.check(archive, &path)?;
    }
    Ok(())
}

/// Renames a file of the copy to its place.
fn put(new: &Path, into: &Path, name: &str) -> Result<(), Stop> {
    let to = into.join(name);
    let failed = |error: io::Error| unwritable(&to, &error);
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::rename(new.join(name), &to).map_err(failed)?;
    // Every folder between the repository and the file may be new as well.
    to.ancestors().skip(1).take_while(|folder| folder.starts_with(into)).try_for_each(disk::sync).map_err(failed)
}

fn put_metadata(checked: &Checked, new: &Path, into: &Path) -> Result<(), Stop> {
    let (now, next, copied) = (into.join("metadata"), into.join(PLACE).join(NEXT), new.join(METADATA));
    let failed = |error: io::Error| unwritable(&now, &error);
    fs::create_dir(&next).map_err(failed)?;
    let kind = fs::symlink_metadata(&now);
    if kind.is_ok() {
        for entry in fs::read_dir(&now).map_err(failed)? {
            let from = entry.map_err(failed)?.path();
            let Some(to) = from.file_name().map(|name| next.join(name)) else { continue };
            if from.is_file() {
                // What a file system without links cannot share is copied.
                fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop)).map_err(failed)?;
            }
        }
    }
    for name in &checked.metadata {
        fs::rename(copied.join(name), next.join(name)).map_err(failed)?;
    }
    sync_all(&next)?;
    match kind {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(&next, &now).map_err(failed)?,
        Err(error) => return Err(failed(error)),
        Ok(found) if found.is_dir() && disk::exchange(&next, &now).map_err(failed)? => {}
        // The system cannot, or it is a link. `timestamp.json` is the last of the names.
        Ok(_) => {
            for name in &checked.metadata {
                fs::rename(next.join(name), now.join(name)).map_err(failed)?;
            }
            disk::sync(&now).map_err(failed)?;
        }
    }
    disk::sync(into).map_err(failed)
}
