//! What is installed against what is listed: a pure function of two lists of packages.
//!
//! Rules:
//! - Packages are multisets over system, name and architecture: several versions of one name are legal for RPM, several architectures for all.
//! - Versions are the same if they are the same text, an epoch of 0 apart. That one is newer is no excuse.
//! - A listed package without an architecture is any of its name and version.
//! - One identity occurs once in a dpkg or apk database, and has one version in a list for these. Words of a list that repeat each other count once.
//! - RPM's `gpg-pubkey` records without an architecture are keys, not packages. Whatever else is called so is a package.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use super::order;
use super::package::{Kind, Package};
use crate::text::escaped;

/// One way in which what is installed is not what is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// Listed, and not installed.
    Missing(Package),
    /// Installed, and not listed.
    Extra(Package),
    /// Another version than the one that is listed, older or newer.
    Version {
        /// What the list has.
        listed: Package,
        /// What the database has.
        installed: Package,
    },
    /// The version that is listed, for another architecture.
    Arch {
        /// What the list has.
        listed: Package,
        /// What the database has.
        installed: Package,
    },
    /// A database has one identity twice.
    InstalledTwice(Package),
    /// A list has one identity with two versions.
    ListedTwice {
        /// The one.
        first: Package,
        /// The other.
        second: Package,
    },
}

/// Compares packages that a list names with those of a database, all of one system. What comes first in the alphabet is told first.
#[must_use]
pub fn compare(listed: &[Package], installed: &[Package]) -> Vec<Difference> {
    let mut names: BTreeMap<(Kind, &str), Named<'_>> = BTreeMap::new();
    for package in listed.iter().filter(|package| !is_key(package)) {
        names.entry((package.kind(), package.name())).or_default().listed.push(package);
    }
    for package in installed.iter().filter(|package| !is_key(package)) {
        names.entry((package.kind(), package.name())).or_default().installed.push(package);
    }
    names.into_values().flat_map(Named::differences).collect()
}

/// All packages of one name.
#[derive(Default)]
struct Named<'p> {
    listed: Vec<&'p Package>,
    installed: Vec<&'p Package>,
}

impl Named<'_> {
    fn differences(mut self) -> Vec<Difference> {
        self.listed.sort();
        self.listed.dedup_by(|a, b| (a.arch(), a.version()) == (b.arch(), b.version()));
        self.installed.sort();
        let mut found = self.repeated();
        // The closest first, and those that say their architecture before those that may be any.
        let pairs: [fn(&Package, &Package) -> bool; 2] = [
            |l, i| l.arch() == i.arch() && l.version() == i.version(),
            |l, i| l.arch().is_none() && l.version() == i.version(),
        ];
        for is_pair in pairs {
            self.take_pairs(is_pair, |_, _| {});
        }
        let same_arch = |l: &Package, i: &Package| l.arch().is_none() || l.arch() == i.arch();
        self.take_pairs(same_arch, |listed, installed| found.push(Difference::Version { listed, installed }));
        let same_version = |l: &Package, i: &Package| l.version() == i.version();
        self.take_pairs(same_version, |listed, installed| found.push(Difference::Arch { listed, installed }));
        found.extend(self.listed.into_iter().cloned().map(Difference::Missing));
        found.extend(self.installed.into_iter().cloned().map(Difference::Extra));
        found
    }

    /// Takes pairs out, each package once.
    fn take_pairs(&mut self, is_pair: impl Fn(&Package, &Package) -> bool, mut found: impl FnMut(Package, Package)) {
        let installed = &mut self.installed;
        self.listed.retain(|listed| {
            let Some(at) = installed.iter().position(|installed| is_pair(listed, installed)) else { return true };
            found((*listed).clone(), installed.remove(at).clone());
            false
        });
    }

    /// What only RPM may have more than once.
    fn repeated(&self) -> Vec<Difference> {
        let is_once = |pair: &[&Package]| pair.iter().all(|package| package.kind() == Kind::Rpm);
        let same =
            |pair: &[&Package]| pair.first().map(|p| p.arch()) == pair.last().map(|p| p.arch()) && !is_once(pair);
        let mut found = Vec::new();
        for pair in self.listed.windows(2).filter(|pair| same(pair)) {
            if let [first, second] = pair {
                found.push(Difference::ListedTwice { first: (*first).clone(), second: (*second).clone() });
            }
        }
        for pair in self.installed.windows(2).filter(|pair| same(pair)) {
            found.extend(pair.last().map(|package| Difference::InstalledTwice((*package).clone())));
        }
        found
    }
}

/// Whether it is a key that rpm keeps among its packages.
fn is_key(package: &Package) -> bool {
    package.kind() == Kind::Rpm && package.name() == "gpg-pubkey" && package.arch().is_none()
}

impl Difference {
    /// The stable code, in kebab-case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "package-missing",
            Self::Extra(_) => "package-extra",
            Self::Version { .. } => "package-version",
            Self::Arch { .. } => "package-arch",
            Self::InstalledTwice(_) | Self::ListedTwice { .. } => "package-duplicate",
        }
    }

    /// The name of the package.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Missing(package) | Self::Extra(package) | Self::InstalledTwice(package) => package.name(),
            Self::Version { listed, .. } | Self::Arch { listed, .. } => listed.name(),
            Self::ListedTwice { first, .. } => first.name(),
        }
    }

    /// What the list has.
    #[must_use]
    pub fn expected(&self) -> Option<String> {
        match self {
            Self::Missing(package) => Some(package.version().to_owned()),
            Self::Version { listed, .. } => Some(listed.version().to_owned()),
            Self::Arch { listed, .. } => listed.arch().map(str::to_owned),
            Self::Extra(_) | Self::InstalledTwice(_) | Self::ListedTwice { .. } => None,
        }
    }

    /// What the image has.
    #[must_use]
    pub fn found(&self) -> Option<String> {
        match self {
            Self::Extra(package) | Self::InstalledTwice(package) => Some(package.version().to_owned()),
            Self::Version { installed, .. } => Some(installed.version().to_owned()),
            Self::Arch { installed, .. } => installed.arch().map(str::to_owned),
            Self::Missing(_) | Self::ListedTwice { .. } => None,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(package) => write!(f, "{package}: listed, and not installed"),
            Self::Extra(package) => write!(f, "{package}: installed, and not listed"),
            Self::Version { listed, installed } => {
                let order = match order::compare(listed.kind(), installed.version(), listed.version()) {
                    Ordering::Less => "older",
                    Ordering::Equal => "of the same order",
                    Ordering::Greater => "newer",
                };
                let (expected, found) = (escaped(listed.version()), escaped(installed.version()));
                let name = escaped(listed.name());
                write!(f, "{name}: another version is installed, expected {expected}, found {found}, which is {order}")
            }
            Self::Arch { listed, installed } => {
                let arch = |package: &Package| escaped(package.arch().unwrap_or("none")).to_string();
                let name = escaped(listed.name());
                write!(
                    f,
                    "{name}: another architecture is installed, expected {}, found {}",
                    arch(listed),
                    arch(installed)
                )
            }
            Self::InstalledTwice(package) => write!(f, "{package}: the database has it twice"),
            Self::ListedTwice { first, second } => {
                write!(f, "{first}: the list has it twice, also as {}", escaped(second.version()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name version arch`, where the architecture may be left out.
    fn packages(kind: Kind, words: &[&str]) -> Vec<Package> {
        let package = |text: &&str| {
            let parts: Vec<&str> = text.split(' ').collect();
            Package::new(kind, parts[0], parts[1], parts.get(2).copied()).unwrap()
        };
        words.iter().map(package).collect()
    }

    type Case = (&'static str, Kind, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

    const CASES: &[Case] = &[
        ("the same", Kind::Deb, &["a 1 amd64", "b 2 all"], &["b 2 all", "a 1 amd64"], &[]),
        ("nothing at all", Kind::Deb, &[], &[], &[]),
        (
            "no database",
            Kind::Deb,
            &["a 1 amd64", "b 1 all"],
            &[],
            &["a 1 amd64: listed, and not installed", "b 1 all: listed, and not installed"],
        ),
        ("one more", Kind::Apk, &["a 1 x"], &["a 1 x", "b 1 x"], &["b 1 x: installed, and not listed"]),
        (
            "older",
            Kind::Deb,
            &["a 1:1 amd64"],
            &["a 2 amd64"],
            &["a: another version is installed, expected 1:1, found 2, which is older"],
        ),
        (
            "newer",
            Kind::Deb,
            &["a 1-9 amd64"],
            &["a 1-10 amd64"],
            &["a: another version is installed, expected 1-9, found 1-10, which is newer"],
        ),
        (
            "equal in order, not in text",
            Kind::Deb,
            &["a 1.0 amd64"],
            &["a 1.0-0 amd64"],
            &["a: another version is installed, expected 1.0, found 1.0-0, which is of the same order"],
        ),
        ("an epoch of zero is none", Kind::Rpm, &["a 0:1-1 x"], &["a 1-1 x"], &[]),
        (
            "another architecture",
            Kind::Deb,
            &["a 1 amd64"],
            &["a 1 i386"],
            &["a: another architecture is installed, expected amd64, found i386"],
        ),
        (
            "both differ",
            Kind::Deb,
            &["a 1 amd64"],
            &["a 2 i386"],
            &["a 1 amd64: listed, and not installed", "a 2 i386: installed, and not listed"],
        ),
        ("two architectures", Kind::Deb, &["a 1 amd64", "a 1 i386"], &["a 1 i386", "a 1 amd64"], &[]),
        (
            "one architecture of two",
            Kind::Deb,
            &["a 1 amd64"],
            &["a 1 i386", "a 1 amd64"],
            &["a 1 i386: installed, and not listed"],
        ),
        ("the list says no architecture", Kind::Deb, &["a 1"], &["a 1 amd64"], &[]),
        (
            "it says none, and there are two",
            Kind::Deb,
            &["a 1"],
            &["a 1 amd64", "a 1 i386"],
            &["a 1 i386: installed, and not listed"],
        ),
        ("one says it, the other does not", Kind::Rpm, &["a 1", "a 1 i"], &["a 1 i", "a 1 x"], &[]),
        (
            "it says none, of another version",
            Kind::Deb,
            &["a 1"],
            &["a 2 amd64"],
            &["a: another version is installed, expected 1, found 2, which is newer"],
        ),
        (
            "the database says no architecture",
            Kind::Deb,
            &["a 1 amd64"],
            &["a 1"],
            &["a: another architecture is installed, expected amd64, found none"],
        ),
        (
            "names are compared whole",
            Kind::Deb,
            &["a 1 x"],
            &["A 1 x"],
            &["A 1 x: installed, and not listed", "a 1 x: listed, and not installed"],
        ),
        ("two kernels", Kind::Rpm, &["k 1 x", "k 2 x"], &["k 2 x", "k 1 x"], &[]),
        ("a kernel too many", Kind::Rpm, &["k 2 x"], &["k 1 x", "k 2 x"], &["k 1 x: installed, and not listed"]),
        ("one package twice", Kind::Rpm, &["k 1 x"], &["k 1 x", "k 1 x"], &["k 1 x: installed, and not listed"]),
        (
            "twice in a database",
            Kind::Deb,
            &["a 1 x"],
            &["a 1 x", "a 1 x"],
            &["a 1 x: the database has it twice", "a 1 x: installed, and not listed"],
        ),
        (
            "two versions in a database",
            Kind::Apk,
            &["a 1 x"],
            &["a 1 x", "a 2 x"],
            &["a 2 x: the database has it twice", "a 2 x: installed, and not listed"],
        ),
        (
            "two versions in a list",
            Kind::Deb,
            &["a 1 x", "a 2 x"],
            &["a 2 x"],
            &["a 1 x: the list has it twice, also as 2", "a 1 x: listed, and not installed"],
        ),
        ("one entry twice in a list", Kind::Deb, &["a 1 x", "a 1 x"], &["a 1 x"], &[]),
        ("a key of rpm", Kind::Rpm, &[], &["gpg-pubkey 1-1"], &[]),
        ("a key in the list", Kind::Rpm, &["gpg-pubkey 1-1"], &[], &[]),
        (
            "a package that is called so",
            Kind::Rpm,
            &[],
            &["gpg-pubkey 1-1 x"],
            &["gpg-pubkey 1-1 x: installed, and not listed"],
        ),
        ("a key of dpkg is none", Kind::Deb, &[], &["gpg-pubkey 1-1"], &["gpg-pubkey 1-1: installed, and not listed"]),
    ];

    #[test]
    fn each_difference_is_told_once() {
        for (name, kind, listed, installed, expected) in CASES {
            let got = compare(&packages(*kind, listed), &packages(*kind, installed));
            let got: Vec<String> = got.iter().map(ToString::to_string).collect();
            assert_eq!(got, *expected, "{name}");
        }
    }

    #[test]
    fn systems_are_compared_apart() {
        let (deb, apk) = (packages(Kind::Deb, &["a 1 x"]), packages(Kind::Apk, &["a 1 x"]));
        let codes: Vec<_> = compare(&deb, &apk).iter().map(Difference::code).collect();
        assert_eq!(codes, ["package-extra", "package-missing"]);
    }
}
