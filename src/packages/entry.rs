//! One entry of a list of packages: what it says twice, it must say alike, whatever the format.

use super::error::Unreadable;
use super::list::Draft;
use super::package::{Kind, Package};
use super::purl::{Purl, is_number};
use crate::digest::Sha256;
use crate::text::quoted;

/// A package that a list names by a package URL, or cannot.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    purl: Option<Purl>,
}

impl Entry {
    /// Adds a package URL. Several are one if they name the same package: some lists have one for each place where it can be had.
    pub(super) fn add_purl(&mut self, text: &str) -> Result<(), Unreadable> {
        let new = Purl::parse(text)?;
        match &self.purl {
            None => self.purl = Some(new),
            // Both are counted under one type, and nothing else is done with them.
            Some(Purl::Other(_)) if matches!(new, Purl::Other(_)) => {}
            Some(before) if *before == new => {}
            Some(before) => {
                return Err(Unreadable::new(format!(
                    "package URLs of one entry disagree: {} and {}",
                    shown(before),
                    shown(&new)
                )));
            }
        }
        Ok(())
    }

    /// The package, if databases of its system are read.
    pub(super) fn package(&self) -> Option<&Package> {
        match &self.purl {
            Some(Purl::Package(package)) => Some(package),
            _ => None,
        }
    }

    /// Whether it can be the image that the list is of, for it is nothing that could be installed in one.
    pub(super) fn may_be_image(&self) -> bool {
        match &self.purl {
            None => true,
            Some(Purl::Other(word)) => word == "oci",
            Some(Purl::Package(_)) => false,
        }
    }

    /// Every entry must have a name, whatever it is.
    pub(super) fn is_named(&self) -> Result<(), Unreadable> {
        self.name.as_ref().map(|_| ()).ok_or_else(no_name)
    }

    /// Adds the entry to the list.
    pub(super) fn list(self, list: &mut Draft) -> Result<(), Unreadable> {
        let Self { name, version, purl } = self;
        let Some(name) = name else { return Err(no_name()) };
        match purl {
            None => list.count_other(""),
            Some(Purl::Other(word)) => list.count_other(&word),
            Some(Purl::Package(package)) => {
                agree(&package, &name, version.as_deref())?;
                // Keys that signatures of packages are checked with are in the database as packages, but are none.
                let key = package.kind() == Kind::Rpm
                    && package.name() == "gpg-pubkey"
                    && matches!(package.arch(), None | Some("None"));
                if !key {
                    list.push(package);
                }
            }
        }
        Ok(())
    }
}

fn no_name() -> Unreadable {
    Unreadable::new("a package has no name")
}

/// Whether an entry's name and version are those of its package URL. The version may lack the epoch, which some tools give in the URL alone.
fn agree(package: &Package, name: &str, version: Option<&str>) -> Result<(), Unreadable> {
    if name != package.name() {
        return Err(Unreadable::new(format!("the package {} has the package URL of {package}", quoted(name))));
    }
    let own = package.version();
    let is_own = |version: &str| {
        if package.kind() == Kind::Apk {
            return version == own;
        }
        let without_epoch = own.split_once(':').filter(|(epoch, _)| is_number(epoch)).map(|(_, rest)| rest);
        version.strip_prefix("0:").unwrap_or(version) == own || Some(version) == without_epoch
    };
    match version {
        Some(version) if !is_own(version) => Err(Unreadable::new(format!(
            "the package {} {} has the package URL of {package}",
            quoted(name),
            quoted(version)
        ))),
        _ => Ok(()),
    }
}

fn shown(purl: &Purl) -> String {
    match purl {
        Purl::Package(package) => format!("{} {package}", package.kind()),
        Purl::Other(word) => format!("one of type {word}"),
    }
}

/// The SHA-256 among the digests of a file.
#[derive(Debug, Default)]
pub(super) struct FileDigest(pub(super) Option<Sha256>);

impl FileDigest {
    /// Adds a SHA-256, as hex digits.
    pub(super) fn add(&mut self, hex: &str) -> Result<(), Unreadable> {
        let Some(digest) = Sha256::from_hex(hex) else {
            return Err(Unreadable::new(format!("{} is no SHA-256", quoted(hex))));
        };
        match self.0.replace(digest) {
            Some(before) if before != digest => Err(Unreadable::new("a file has two SHA-256 digests")),
            _ => Ok(()),
        }
    }
}
