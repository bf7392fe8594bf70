//! What an import must leave to the images that the repository serves already, and the bundle is not for.
//!
//! The bundle's metadata takes the place of what is there. Where it lists a newer file of a role or of a target than the repository has, and the bundle does
//! not bring it, readers of that image would be left without a verdict. That is no danger, but no service either, so it is refused before anything is
//! changed. What the repository never had of an image is not missed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use super::contents::{METADATA, TARGETS};
use super::unreadable;
use crate::client::{metadata_name, target_names};
use crate::metadata::Signed;
use crate::metadata::roles::Targets;
use crate::trust::Trusted;
use crate::verdict::Finding;
use crate::verify::Stop;

/// Whether every file that the repository has in an older version is there, or comes, in the one that is listed from now on.
pub(super) fn are_still_served(trusted: &Trusted, new: &Path, into: &Path) -> Result<(), Stop> {
    let mut there = There { new, into, folders: BTreeMap::new() };
    let mut findings = Vec::new();
    for (file, listed) in trusted.snapshot().files() {
        let Some(role) = file.strip_suffix(".json") else { continue };
        let name = metadata_name(role, listed.version(), true);
        if there.is_left_behind(METADATA, "", &name)? {
            findings.push(left_behind(format!("{METADATA}{name}")));
        }
    }
    let files = std::iter::once(trusted.targets()).chain(trusted.loaded().map(|(_, file)| file));
    for file in files {
        there.targets(file, &mut findings)?;
    }
    if findings.is_empty() { Ok(()) } else { Err(Stop::Undecided(findings)) }
}

fn left_behind(name: String) -> Finding {
    let text = "the repository has an older version of it, which from now on would not do, and the bundle does not bring this one; \
                make the bundle with the images that it belongs to, or give them up with --leave-behind";
    Finding::new("bundle-leaves-behind", text).about(&name).in_file(&name)
}

/// What is in the repository and in the copy of the bundle.
struct There<'p> {
    new: &'p Path,
    into: &'p Path,
    /// The names in each folder of the repository that was asked for.
    folders: BTreeMap<String, BTreeSet<String>>,
}

impl There<'_> {
    fn targets(&mut self, file: &Signed<Targets>, findings: &mut Vec<Finding>) -> Result<(), Stop> {
        for (path, target) in file.targets() {
            let names = target_names(&path, &target, true);
            let mut is_left_behind = !names.is_empty();
            for name in &names {
                let (folder, name) = name.split_at(name.rfind('/').map_or(0, |slash| slash.saturating_add(1)));
                is_left_behind &= self.is_left_behind(TARGETS, folder, name)?;
            }
            if let Some(name) = names.first().filter(|_| is_left_behind) {
                findings.push(left_behind(format!("{TARGETS}{name}")));
            }
        }
        Ok(())
    }

    /// Whether a file is neither there nor in the bundle, but is there with something else in front of the first dot.
    fn is_left_behind(&mut self, top: &str, folder: &str, name: &str) -> Result<bool, Stop> {
        let folder = format!("{top}{folder}");
        if self.new.join(&folder).join(name).is_file() {
            return Ok(false);
        }
        let there = self.names(&folder)?;
        let Some((_, rest)) = name.split_once('.') else { return Ok(false) };
        let is_other = |other: &String| other.split_once('.').is_some_and(|(_, other)| other == rest);
        Ok(!there.contains(name) && there.iter().any(is_other))
    }

    fn names(&mut self, folder: &str) -> Result<&BTreeSet<String>, Stop> {
        if !self.folders.contains_key(folder) {
            let path = self.into.join(folder);
            let mut names = BTreeSet::new();
            match fs::read_dir(&path) {
                Ok(entries) => {
                    for entry in entries {
                        let entry = entry.map_err(|error| unreadable(&path, &error))?;
                        names.extend(entry.file_name().into_string());
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(unreadable(&path, &error)),
            }
            self.folders.insert(folder.to_owned(), names);
        }
        Ok(self.folders.entry(folder.to_owned()).or_default())
    }
}
