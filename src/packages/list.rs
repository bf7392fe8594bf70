//! A package list: what a publisher signs, whatever its format.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use super::error::Unreadable;
use super::package::Package;
use crate::digest::Sha256;
use crate::text::quoted;

/// What a list says is in an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageList {
    /// The packages of the systems whose databases are read, in the order of the list; an entry that occurs twice is here twice.
    packages: Vec<Package>,
    /// How many other packages it names, by the type of their package URL; `""` are those without one.
    not_compared: BTreeMap<String, usize>,
    /// Files, in the order of their paths, each path once.
    files: Vec<(FilePath, Option<Sha256>)>,
}

/// A list while it is read.
#[derive(Debug, Default)]
pub(crate) struct Draft(PackageList);

/// The path of a file below the image's root: parts with one `/` between them, none at either end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(Box<str>);

impl FilePath {
    /// Reads a path as lists write it: `./a/b`, `/a/b` and `a/b` are one.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] for a path with a `..` part or a NUL, and for one that has no part.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        if text.as_bytes().contains(&0) || (text.contains("..") && text.split('/').any(|part| part == "..")) {
            return Err(Unreadable::new(format!("the path {} holds .. or NUL", quoted(text))));
        }
        let trimmed = text.strip_prefix("./").unwrap_or(text);
        // Most are clean already.
        let clean = !trimmed.starts_with('/') && !trimmed.ends_with('/') && !trimmed.contains("//");
        if clean && !trimmed.is_empty() && !trimmed.split('/').any(|part| part == ".") {
            return Ok(Self(trimmed.into()));
        }
        let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.is_empty() {
            return Err(Unreadable::new(format!("the path {} names no file", quoted(text))));
        }
        Ok(Self(parts.join("/").into()))
    }

    /// The path, without a `/` at its front.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for FilePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Draft {
    /// Adds a package.
    pub(crate) fn push(&mut self, package: Package) {
        self.0.packages.push(package);
    }

    /// Counts a package that is not compared: its package URL's type, or `""`.
    pub(crate) fn count_other(&mut self, purl_type: &str) {
        let count = self.0.not_compared.entry(purl_type.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// Adds a file; `None` if the list has no SHA-256 of it.
    pub(crate) fn add_file(&mut self, path: FilePath, digest: Option<Sha256>) {
        self.0.files.push((path, digest));
    }

    /// The list, now that all of it was read.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if it has a path twice, with different digests or with and without one.
    pub(crate) fn finish(self) -> Result<PackageList, Unreadable> {
        let Self(mut list) = self;
        // In order already, if it is one of ours.
        list.files.sort_by(|a, b| a.0.cmp(&b.0));
        list.files.dedup();
        let same_path = |pair: &[(FilePath, _)]| matches!(pair, [a, b] if a.0 == b.0);
        match list.files.windows(2).find(|pair| same_path(pair)) {
            Some(twice) => {
                let path = twice.first().map_or("", |(path, _)| path.as_str());
                Err(Unreadable::new(format!("it gives the file {} two digests", quoted(path))))
            }
            None => Ok(list),
        }
    }
}

impl PackageList {
    /// The packages of the systems whose databases are read.
    #[must_use]
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// How many packages it names that are not compared, by the type of their package URL; `""` for those without one.
    #[must_use]
    pub fn not_compared(&self) -> &BTreeMap<String, usize> {
        &self.not_compared
    }

    /// What the list says of the file at a path, which is cleaned as [`FilePath`] cleans it: its SHA-256, if it has one.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<Option<Sha256>> {
        let at = self.files.binary_search_by(|(listed, _)| listed.as_str().cmp(path)).ok()?;
        self.files.get(at).map(|(_, digest)| *digest)
    }

    /// The files, with their SHA-256 where the list has one.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&FilePath, Option<Sha256>)> {
        self.files.iter().map(|(path, digest)| (path, *digest))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What was read of a list, in words: packages, then those not compared, then files with the first digits of their digests; or why it was not read,
    /// without the place.
    pub(in crate::packages) fn shown(read: Result<PackageList, Unreadable>) -> Result<String, String> {
        let list = read.map_err(|why| {
            let why = why.to_string();
            why.split_once(": ").map_or(why.clone(), |(_place, why)| why.to_owned())
        })?;
        let packages = list.packages().iter().map(|package| format!("{} {package}", package.kind()));
        let others = list.not_compared().iter().map(|(word, count)| format!("{word:?} {count}"));
        let files = list.files().map(|(path, digest)| {
            let digest = digest.map_or_else(|| "none".to_owned(), |digest| digest.to_hex()[..4].to_owned());
            format!("{} {digest}", path.as_str())
        });
        Ok(packages.chain(others).chain(files).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn a_path_has_one_spelling() {
        for (text, path) in [
            ("a", Some("a")),
            ("./a/b", Some("a/b")),
            ("/a/b", Some("a/b")),
            ("//a/.//b/", Some("a/b")),
            ("a/...", Some("a/...")),
            ("a/../b", None),
            ("..", None),
            ("a\0", None),
            ("", None),
            ("/", None),
            (".", None),
        ] {
            assert_eq!(FilePath::parse(text).ok().as_ref().map(FilePath::as_str), path, "{text:?}");
        }
    }

    #[test]
    fn one_path_has_one_digest() {
        let (path, a, b) = (FilePath::parse("x").unwrap(), Sha256::of(b"a"), Sha256::of(b"b"));
        let twice = Unreadable::new("it gives the file \"x\" two digests");
        for (first, second, fine) in [
            (Some(a), Some(a), true),
            (None, None, true),
            (Some(a), Some(b), false),
            (Some(a), None, false),
            (None, Some(a), false),
        ] {
            let mut list = Draft::default();
            list.add_file(path.clone(), first);
            list.add_file(FilePath::parse("other").unwrap(), first);
            list.add_file(path.clone(), second);
            assert_eq!(
                list.finish().map(|list| list.file("x")),
                if fine { Ok(Some(first)) } else { Err(twice.clone()) }
            );
        }
    }
}
