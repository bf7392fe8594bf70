//! Every file of an image against the lists that name files: a pure function of both.
//!
//! Rules:
//! - A listed path is a regular file with the listed SHA-256. The links in its folders are followed, so `/bin/sh` is looked for in `usr/bin`; its last part is not: a
//!   link in the place of a file is not that file.
//! - Each list must hold by itself. A file that no list names is a finding, unless a class says that it may be there ([`super::ignore`]).
//! - Links and folders have no content to compare, and lists do not say where links lead: they are no finding. Devices outside of `/dev` are. But what a link leads to is
//!   listed, or not ignored for where it is.
//! - A list without a SHA-256 of a file says nothing about it that could hold.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::ignore::{self, Glob, Look};
use super::list::{FilePath, PackageList};
use super::overlay::{Found, Path, Tree, below, join, split};
use super::write::ListedFile;
use crate::digest::Sha256;
use crate::image::contents::shown;
use crate::text::escaped;

/// One way in which the files of an image are not those that are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileDifference {
    /// The file has other content.
    Modified {
        /// The path, as the list writes it.
        path: String,
        /// What the list says.
        listed: Sha256,
        /// What is in the image.
        found: Sha256,
    },
    /// Something that is no regular file is in its place.
    Kind {
        /// The path, as the list writes it.
        path: String,
        /// What is there, in words.
        found: &'static str,
    },
    /// The file is not there.
    Missing(String),
    /// The list names the file without its SHA-256.
    NoDigest(String),
    /// No list names it, and nothing says that it may be there. The path is physical: no part of it is a link.
    Unowned(String),
}

/// What comparing files led to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Compared {
    /// How many files are as listed.
    pub(crate) same: usize,
    /// How many that nobody lists were ignored, by class.
    pub(crate) ignored: BTreeMap<String, usize>,
    pub(crate) differences: Vec<FileDifference>,
}

/// Compares all files. The digests of all of them must be in `tree`.
pub(crate) fn compare(tree: &Tree<'_>, lists: &[&PackageList], globs: &[Glob]) -> Compared {
    let mut compared = Compared::default();
    // Each listed path, where it leads, with what was said of it first; and what else was. What two lists say alike is told once.
    let mut owned: HashMap<Path, Option<Sha256>> = HashMap::new();
    let mut others: BTreeSet<(Path, Option<Sha256>)> = BTreeSet::new();
    let mut folders = Folders { tree, last: None };
    for (path, digest) in lists.iter().flat_map(|list| list.files()) {
        let physical = folders.physical(path.as_str().as_bytes());
        let found = physical.as_ref().and_then(|path| tree.get(path));
        // Where the way to it leads nowhere, nothing can stand at the path itself.
        let key = physical.unwrap_or_else(|| path.as_str().as_bytes().into());
        let is_new = match owned.entry(key) {
            Slot::Vacant(place) => {
                place.insert(digest);
                true
            }
            Slot::Occupied(first) if *first.get() == digest => false,
            Slot::Occupied(first) => others.insert((first.key().clone(), digest)),
        };
        if !is_new {
            continue;
        }
        match judge(path.as_str(), digest, found) {
            Some(difference) => compared.differences.push(difference),
            None => compared.same = compared.same.saturating_add(1),
        }
    }
    let linked = linked(tree);
    for (path, found) in tree.iter().filter(|(path, _)| !owned.contains_key(*path)) {
        let class = match found {
            Found::File { facts, mode, .. } => {
                let is_linked = is_below(&linked, path);
                ignore::class(path, Look { mode, is_program: facts.is_program, is_linked }, globs)
            }
            Found::Folder | Found::Symlink(_) => continue,
            // A FIFO has no content and gives no access to anything.
            Found::Fifo => continue,
            Found::Device if path.starts_with(b"dev/") => continue,
            Found::Device => None,
        };
        match class {
            Some(class) => {
                let count = compared.ignored.entry(class).or_default();
                *count = count.saturating_add(1);
            }
            None => compared.differences.push(FileDifference::Unowned(String::from_utf8_lossy(path).into_owned())),
        }
    }
    compared
}

/// Looks for the files of lists: those of one folder follow each other.
struct Folders<'t, 'c> {
    tree: &'t Tree<'c>,
    /// The folder of the last one, as it was listed, and where it leads.
    last: Option<(Path, Option<Path>)>,
}

impl Folders<'_, '_> {
    /// The physical path of what a path names, as [`Tree::resolve_folder`] has it.
    fn physical(&mut self, path: &[u8]) -> Option<Path> {
        let (folder, name) = split(path);
        if self.last.as_ref().is_none_or(|(last, _)| **last != *folder) {
            self.last = Some((folder.into(), self.tree.folder(folder)));
        }
        let (_, folder) = self.last.as_ref()?;
        Some(join(folder.as_ref()?, name))
    }
}

/// Where files are ignored for where they are, and links from elsewhere lead: those files, and folders with all that is below.
fn linked(tree: &Tree<'_>) -> BTreeSet<Path> {
    let links = tree.iter().filter(|(_, found)| matches!(found, Found::Symlink(_))).map(|(path, _)| Path::from(path));
    let (mut inside, mut elsewhere): (BTreeSet<Path>, Vec<Path>) = (BTreeSet::new(), Vec::new());
    for link in links {
        if ignore::is_inside(&link) {
            inside.insert(link);
        } else {
            elsewhere.push(link);
        }
    }
    let mut linked = BTreeSet::new();
    while let Some(link) = elsewhere.pop() {
        let Some((path, _)) = tree.resolve(&link) else { continue };
        let counts = ignore::is_inside(&path) || (ignore::is_above(&path) && !is_merged_library(&link, &path));
        if !counts || !linked.insert(path.clone()) {
            continue;
        }
        // The links in a folder that is linked to are there under a name from elsewhere as well.
        let more: Vec<Path> = inside.range(below(&path)).cloned().collect();
        for link in more {
            inside.remove(&link);
            elsewhere.push(link);
        }
    }
    linked
}

/// `/lib` is `/usr/lib` on most systems, and is no other place.
fn is_merged_library(link: &[u8], path: &[u8]) -> bool {
    let (folder, name) = split(link);
    path == b"usr/lib" && matches!(folder, b"" | b"usr") && matches!(name, b"lib" | b"lib32" | b"lib64" | b"libx32")
}

/// Whether a path or a folder on its way is among these.
fn is_below(paths: &BTreeSet<Path>, path: &[u8]) -> bool {
    let mut path = path;
    while !paths.contains(path) {
        if path.is_empty() {
            return false;
        }
        path = split(path).0;
    }
    true
}

fn judge(path: &str, listed: Option<Sha256>, found: Option<Found<'_>>) -> Option<FileDifference> {
    let kind = |found| Some(FileDifference::Kind { path: path.to_owned(), found });
    match (found, listed) {
        (None, _) => Some(FileDifference::Missing(path.to_owned())),
        (Some(Found::Symlink(_)), _) => kind("a symbolic link"),
        (Some(Found::Folder), _) => kind("a folder"),
        (Some(Found::Device), _) => kind("a device"),
        (Some(Found::Fifo), _) => kind("a FIFO"),
        (Some(Found::File { .. }), None) => Some(FileDifference::NoDigest(path.to_owned())),
        (Some(Found::File { facts, .. }), Some(listed)) => match facts.digest {
            Some(found) if found == listed => None,
            Some(found) => Some(FileDifference::Modified { path: path.to_owned(), listed, found }),
            // It was not hashed, so nothing is known of it.
            None => kind("a file that was not read"),
        },
    }
}

impl FileDifference {
    /// The stable code, in kebab-case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Modified { .. } | Self::Kind { .. } => "file-modified",
            Self::Missing(_) => "file-missing",
            Self::NoDigest(_) => "file-without-digest",
            Self::Unowned(_) => "file-unowned",
        }
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Modified { path, .. } | Self::Kind { path, .. } => path,
            Self::Missing(path) | Self::NoDigest(path) | Self::Unowned(path) => path,
        }
    }

    /// What the list says.
    #[must_use]
    pub fn expected(&self) -> Option<String> {
        match self {
            Self::Modified { listed, .. } => Some(listed.to_string()),
            Self::Kind { .. } => Some("a regular file".to_owned()),
            Self::Missing(_) | Self::NoDigest(_) | Self::Unowned(_) => None,
        }
    }

    /// What is in the image.
    #[must_use]
    pub fn found(&self) -> Option<String> {
        match self {
            Self::Modified { found, .. } => Some(found.to_string()),
            Self::Kind { found, .. } => Some((*found).to_owned()),
            Self::Missing(_) | Self::NoDigest(_) | Self::Unowned(_) => None,
        }
    }
}

impl fmt::Display for FileDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = escaped(self.path());
        match self {
            Self::Modified { listed, found, .. } => {
                write!(f, "/{path}: not the listed content, expected {listed}, found {found}")
            }
            Self::Kind { found, .. } => write!(f, "/{path}: expected a regular file, found {found}"),
            Self::Missing(_) => write!(f, "/{path}: listed, and not there"),
            Self::NoDigest(_) => write!(f, "/{path}: the list has no SHA-256 of it, so it cannot be compared"),
            Self::Unowned(_) => write!(f, "/{path}: nothing lists it"),
        }
    }
}

/// Each regular file by its physical path, for a list of the finished image; and the paths that no list can name, for they are no text.
pub(crate) fn listed(tree: &Tree<'_>) -> (Vec<ListedFile>, Vec<String>) {
    let (mut files, mut unnamed) = (Vec::new(), Vec::new());
    for (path, found) in tree.iter() {
        let Found::File { facts, .. } = found else { continue };
        let named = std::str::from_utf8(path).ok().and_then(|path| FilePath::parse(path).ok());
        match (named, facts.digest) {
            (Some(path), Some(sha256)) => files.push(ListedFile { path, sha256, sha1: facts.sha1 }),
            _ => unnamed.push(shown(path)),
        }
    }
    (files, unnamed)
}
