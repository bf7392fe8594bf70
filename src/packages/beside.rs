//! What is signed beside an image of its packages, as it was fetched: not read yet, for that takes time in which the archive can be hashed.

use super::advise::SignedAdvisories;
use super::check::{Beside, SignedList};
use super::error::Unreadable;
use super::format::ListFormat;
use super::list::PackageList;
use super::{osv, vex};

/// A signed file, with its target path.
pub(crate) type File = (String, Vec<u8>);

/// The files that are signed beside an image.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) lists: Vec<(ListFormat, File)>,
    pub(crate) advisories: Option<File>,
    /// Only with advisories.
    pub(crate) statements: Option<File>,
}

/// A signed file that cannot be read: what it says is not known, so nothing is decided.
#[derive(Debug)]
pub(crate) struct NotRead {
    pub(crate) code: &'static str,
    pub(crate) target: String,
    pub(crate) error: Unreadable,
}

impl Fetched {
    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.advisories.is_none()
    }

    /// Reads all of it.
    pub(crate) fn read(self) -> Result<Beside, NotRead> {
        let mut lists = Vec::new();
        for (format, file) in self.lists {
            let (target, list) = read(file, "package-list-unreadable", |bytes| PackageList::read(format, bytes))?;
            lists.push(SignedList { target, list });
        }
        let statements = self.statements.map(|file| read(file, "advisories-unreadable", vex::read)).transpose()?;
        let advisories = self.advisories.map(|file| {
            let (target, advisories) = read(file, "advisories-unreadable", osv::read)?;
            Ok(SignedAdvisories { target, advisories, statements })
        });
        Ok(Beside { lists, advisories: advisories.transpose()? })
    }
}

fn read<T>(
    (target, bytes): File,
    code: &'static str,
    read: impl FnOnce(&[u8]) -> Result<T, Unreadable>,
) -> Result<(String, T), NotRead> {
    match read(&bytes) {
        Ok(value) => Ok((target, value)),
        Err(error) => Err(NotRead { code, target, error }),
    }
}
