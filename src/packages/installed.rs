//! The package databases of an image, wherever they are, and what they say is installed.
//!
//! A database is what the image says of itself. It is read only from layers whose diff ids are verified, and what it says is believed only as far as a
//! signed list agrees.
//!
//! Rules:
//! - All places of all systems are looked at, always: an extra package hides in a second database.
//! - One file that two places lead to, by links, is one database.
//! - What rpm would read beside its database is read beside it: the write-ahead log and the journal stand beside the file itself, not beside a
//!   link to it.
//! - A database that is there and cannot be read is never none.
//! - A file that is called as a database is, in a place where no package manager looks, is reported.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::Unreadable;
use super::overlay::{Found, Origin, Path, Tree, join, split};
use super::package::{Kind, Package};
use super::{apk, dpkg, rpm};
use crate::digest::Sha256;
use crate::image::contents::{EntryKind, Keep, LayerContents, shown};

const DPKG: &[u8] = b"var/lib/dpkg";
const APK: &[&[u8]] = &[b"lib/apk/db/installed", b"usr/lib/apk/db/installed"];
/// Where rpm, SUSE and rpm-ostree keep it.
const RPM: &[&[u8]] = &[b"var/lib/rpm", b"usr/lib/sysimage/rpm", b"usr/share/rpm"];
const SQLITE: &[u8] = b"rpmdb.sqlite";
const NDB: &[u8] = b"Packages.db";
const BDB: &[u8] = b"Packages";
/// Bytes of the files of one folder together. Links can make many of one file.
const FOLDER_MAX: usize = 256 * 1024 * 1024;
/// The users of the image.
pub(crate) const PASSWD: &[u8] = b"etc/passwd";
const OS_RELEASE: &[&[u8]] = &[b"etc/os-release", b"usr/lib/os-release"];

/// A package database of an image, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    pub(crate) kind: Kind,
    pub(crate) path: String,
    pub(crate) packages: Result<Vec<Package>, Unreadable>,
    /// Of the file, where it is one.
    pub(crate) digest: Option<Sha256>,
}

impl Database {
    /// The package system.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it is, below the image's root; no part of it is a link.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is installed, in the order of the database; or why that is not known.
    ///
    /// # Errors
    ///
    /// [`Unreadable`], with the place where there is one.
    pub fn packages(&self) -> Result<&[Package], &Unreadable> {
        self.packages.as_deref()
    }
}

/// The package databases of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    databases: Vec<Database>,
    /// Files that are called as databases are, where nobody looks for one, with their digests.
    elsewhere: Vec<(Path, Option<Sha256>)>,
    /// Kinds of which a layer has a database and the finished image has none.
    hidden: BTreeSet<Kind>,
    /// `None` if there is none.
    os_release: Result<Option<Vec<u8>>, Unreadable>,
}

/// Brings the bytes of a file that the first reading of the layers did not keep.
pub(crate) type Reread<'r> = dyn Fn(Origin<'_>) -> Result<Arc<[u8]>, Unreadable> + 'r;

/// What is to be kept of the files at a path, as a layer writes it. Cheap: it is asked for each file of an image.
pub(crate) fn keep(path: &[u8]) -> Keep {
    let (folder, name) = split(path);
    if DPKG == folder && name == b"status" {
        return Keep::Content;
    }
    let in_dpkg = folder.strip_prefix(DPKG);
    if matches!(in_dpkg, Some(b"/status.d" | b"/updates"))
        || APK.contains(&path)
        || OS_RELEASE.contains(&path)
        || path == PASSWD
    {
        return Keep::Content;
    }
    if RPM.contains(&folder) && is_rpm_file(name) {
        return Keep::Content;
    }
    if looks_like(path).is_some() { Keep::Digest } else { Keep::Nothing }
}

fn is_rpm_file(name: &[u8]) -> bool {
    let beside = name.strip_prefix(SQLITE);
    matches!(beside, Some(b"" | b"-wal" | b"-journal")) || name == NDB || name == BDB
}

/// Whether a file is called as a package database is, in whatever folder.
fn looks_like(path: &[u8]) -> Option<Kind> {
    let (folder, name) = split(path);
    let (above, folder) = split(folder);
    match (folder, name) {
        (b"dpkg", b"status") => Some(Kind::Deb),
        (b"status.d", name) if split(above).1 == b"dpkg" && !name.ends_with(b".md5sums") => Some(Kind::Deb),
        (b"db", b"installed") if split(above).1 == b"apk" => Some(Kind::Apk),
        (_, SQLITE) | (b"rpm", NDB | BDB) => Some(Kind::Rpm),
        _ => None,
    }
}

impl Installed {
    /// Looks for the databases of an image and reads them.
    pub(crate) fn of(tree: &Tree<'_>, layers: &[&LayerContents], reread: &Reread<'_>) -> Self {
        let mut search = Search { tree, reread, used: BTreeSet::new(), read: BTreeSet::new(), databases: Vec::new() };
        search.dpkg();
        APK.iter().for_each(|place| search.apk(place));
        RPM.iter().for_each(|place| search.rpm(place));
        // The second place counts only where nothing is at the first [os-release(5)]; one that cannot be read is not nothing.
        let found = OS_RELEASE.iter().find_map(|place| search.bytes(place).transpose());
        let os_release = found.transpose().map(|found| found.map(|(_, bytes)| bytes.to_vec()));
        let Search { used, databases, .. } = search;
        let strays = tree.iter().filter(|(path, _)| looks_like(path).is_some() && !used.contains(*path));
        let elsewhere = strays.filter_map(|(path, found)| match found {
            Found::File { facts, .. } => Some((path.into(), facts.digest)),
            _ => None,
        });
        let elsewhere = elsewhere.collect();
        let kinds: BTreeSet<Kind> = databases.iter().map(|database| database.kind).collect();
        let entries = layers.iter().flat_map(|layer| &layer.entries);
        let files = entries.filter(|entry| matches!(entry.kind, EntryKind::File(_)));
        let had = files.filter(|entry| keep(&entry.path) == Keep::Content).filter_map(|entry| looks_like(&entry.path));
        let hidden = had.filter(|kind| !kinds.contains(kind)).collect();
        Self { databases, elsewhere, hidden, os_release }
    }

    /// The databases that were found, readable or not.
    #[must_use]
    pub fn databases(&self) -> &[Database] {
        &self.databases
    }

    /// The packages of all databases that can be read, sorted.
    #[must_use]
    pub fn packages(&self) -> Vec<&Package> {
        let packages = self.databases.iter().filter_map(|database| database.packages.as_ref().ok());
        let mut packages: Vec<&Package> = packages.flatten().collect();
        packages.sort();
        packages
    }

    /// Files that are called as package databases are, where no package manager looks; safe to print.
    pub fn elsewhere(&self) -> impl Iterator<Item = String> {
        self.elsewhere.iter().map(|(path, _)| shown(path))
    }

    pub(crate) fn strays(&self) -> &[(Path, Option<Sha256>)] {
        &self.elsewhere
    }

    /// The systems of which a layer has a database that a later one hides, and the finished image none.
    pub(crate) fn hidden(&self) -> &BTreeSet<Kind> {
        &self.hidden
    }

    /// The bytes of `os-release`, where the image has one.
    pub(crate) fn os_release(&self) -> Result<Option<&[u8]>, &Unreadable> {
        self.os_release.as_ref().map(Option::as_deref)
    }
}

struct Search<'s, 'c> {
    tree: &'s Tree<'c>,
    reread: &'s Reread<'s>,
    /// The physical paths of what was read, in whatever way.
    used: BTreeSet<Path>,
    /// What was read as a database of a system: what is one for dpkg may be another for apk.
    read: BTreeSet<(Kind, Path)>,
    databases: Vec<Database>,
}

type Bytes = Arc<[u8]>;

impl Search<'_, '_> {
    /// The bytes of the file that a path leads to, and its physical path. `None` if nothing is there.
    fn bytes(&self, path: &[u8]) -> Result<Option<(Path, Bytes)>, Unreadable> {
        let (physical, found) = match self.tree.resolve(path) {
            Some(resolved) => resolved,
            // Nothing is there, unless it is a link that leads nowhere: the program that reads the database may make something else of that.
            None => {
                let last = self.tree.resolve_folder(path).and_then(|path| self.tree.get(&path));
                return match last {
                    None => Ok(None),
                    Some(_) => Err(Unreadable::new("a link that leads nowhere")),
                };
            }
        };
        match found {
            Found::File { facts, origin, .. } => match &facts.content {
                Some(content) => Ok(Some((physical, Arc::clone(content)))),
                None => (self.reread)(origin).map(|bytes| Some((physical, bytes))),
            },
            Found::Folder | Found::Symlink(_) => Err(Unreadable::new("a folder where a file must be")),
            Found::Device | Found::Fifo => Err(Unreadable::new("a device or FIFO where a file must be")),
        }
    }

    /// The same of a file that need not be there.
    fn take(&mut self, path: &[u8]) -> Result<Option<Bytes>, Unreadable> {
        let found = self.bytes(path).map_err(|error| error.of(&String::from_utf8_lossy(path)))?;
        Ok(found.map(|(physical, bytes)| {
            self.used.insert(physical);
            bytes
        }))
    }

    /// Whether a file was not read as a database of this system before; now it is.
    fn is_new(&mut self, kind: Kind, physical: &Path) -> bool {
        self.used.insert(physical.clone());
        self.read.insert((kind, physical.clone()))
    }

    fn add(&mut self, kind: Kind, path: &[u8], packages: Result<Vec<Package>, Unreadable>) {
        let digest = match self.tree.get(path) {
            Some(Found::File { facts, .. }) => facts.digest,
            _ => None,
        };
        let path = String::from_utf8_lossy(path).into_owned();
        self.databases.push(Database { kind, path, packages, digest });
    }

    /// `status`, `status.d` and `updates` are one database.
    fn dpkg(&mut self) {
        let result = self.dpkg_packages();
        match result {
            Ok(None) => {}
            Ok(Some(packages)) => self.add(Kind::Deb, DPKG, Ok(packages)),
            Err(error) => self.add(Kind::Deb, DPKG, Err(error)),
        }
    }

    fn dpkg_packages(&mut self) -> Result<Option<Vec<Package>>, Unreadable> {
        let status = self.take(&join(DPKG, b"status"))?;
        let updates = self.folder(&join(DPKG, b"updates"))?;
        let single = self.folder(&join(DPKG, b"status.d"))?;
        let single: Vec<_> = single.into_iter().filter(|(name, _)| !name.ends_with(".md5sums")).collect();
        if status.is_none() && updates.is_empty() && single.is_empty() {
            return Ok(None);
        }
        let updates: Vec<(&str, &[u8])> = updates.iter().map(|(name, bytes)| (name.as_str(), &**bytes)).collect();
        let mut packages = dpkg::merged(status.as_deref(), &updates)?;
        for (name, bytes) in &single {
            for package in dpkg::status_d(bytes).map_err(|error| error.of(name))? {
                super::push(&mut packages, package)?;
            }
        }
        Ok(Some(packages))
    }

    /// The files of a folder, by name.
    fn folder(&mut self, path: &[u8]) -> Result<Vec<(String, Bytes)>, Unreadable> {
        let Some((physical, found)) = self.tree.resolve(path) else { return Ok(Vec::new()) };
        if !matches!(found, Found::Folder) {
            return Err(Unreadable::new("a file where a folder must be").of(&String::from_utf8_lossy(path)));
        }
        let names: Vec<Path> = self.tree.below(&physical).map(|(path, _)| path.into()).collect();
        let (mut files, mut size) = (Vec::new(), 0_usize);
        for path in names {
            let (folder, name) = split(&path);
            let is_folder = matches!(self.tree.get(&path), Some(Found::Folder));
            // Nobody looks into folders there.
            if folder == &*physical && !is_folder {
                let name = String::from_utf8_lossy(name).into_owned();
                let Some(bytes) = self.take(&path)? else { continue };
                size = size.saturating_add(bytes.len());
                if size > FOLDER_MAX {
                    return Err(Unreadable::new(format!("its files have more than {FOLDER_MAX} bytes together"))
                        .of(&shown(&physical)));
                }
                files.push((name, bytes));
            }
        }
        Ok(files)
    }

    fn apk(&mut self, place: &[u8]) {
        match self.bytes(place) {
            Ok(None) => {}
            Ok(Some((physical, bytes))) => {
                if self.is_new(Kind::Apk, &physical) {
                    self.add(Kind::Apk, &physical, apk::installed(&bytes));
                }
            }
            Err(error) => self.add(Kind::Apk, place, Err(error)),
        }
    }

    fn rpm(&mut self, place: &[u8]) {
        for name in [SQLITE, NDB, BDB] {
            let path = join(place, name);
            match self.bytes(&path) {
                Ok(None) => {}
                Ok(Some((physical, bytes))) => {
                    if self.is_new(Kind::Rpm, &physical) {
                        let packages = match name {
                            NDB => rpm::packages(&rpm::Database::Ndb(&bytes)),
                            BDB => rpm::packages(&rpm::Database::Bdb(&bytes)),
                            _ => self.sqlite(&path, &physical, &bytes),
                        };
                        self.add(Kind::Rpm, &physical, packages);
                    }
                }
                Err(error) => self.add(Kind::Rpm, &path, Err(error)),
            }
        }
    }

    /// SQLite follows links before it names the files beside the database.
    fn sqlite(&mut self, named: &[u8], physical: &[u8], bytes: &[u8]) -> Result<Vec<Package>, Unreadable> {
        let mut beside = [None, None];
        for (file, ending) in beside.iter_mut().zip([&b"-wal"[..], b"-journal"]) {
            let path = [physical, ending].concat();
            *file = self.take(&path)?;
            // One beside a link to the database would be taken by a program that does not follow it first.
            let other = [named, ending].concat();
            let other = self.bytes(&other).map_err(|error| error.of(&String::from_utf8_lossy(&other)))?;
            if other.is_some_and(|(other, bytes)| *other != *path && !bytes.is_empty()) {
                let text = format!(
                    "{} stands beside a link to the database, not beside it",
                    Cow::from(shown(&[named, ending].concat()))
                );
                return Err(Unreadable::new(text));
            }
        }
        let [wal, journal] = beside;
        rpm::packages(&rpm::Database::Sqlite { db: bytes, wal: wal.as_deref(), journal: journal.as_deref() })
    }
}
