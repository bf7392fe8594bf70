//! The databases of rpm, in each of the three forms that are in use.

mod bdb;
mod header;
mod ndb;
mod sql;
mod sqlite;

use super::error::Unreadable;
use super::package::Package;

/// The files of a database of rpm, from one folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Database<'a> {
    /// `rpmdb.sqlite`, which rpm has written since 4.16.
    Sqlite {
        /// The file itself.
        db: &'a [u8],
        /// `rpmdb.sqlite-wal` if it exists: rows that are not in the file yet.
        wal: Option<&'a [u8]>,
        /// `rpmdb.sqlite-journal` if it exists: what a change that was cut off is to be undone with.
        journal: Option<&'a [u8]>,
    },
    /// `Packages.db`, which SUSE's rpm writes.
    Ndb(&'a [u8]),
    /// `Packages`, a hash of Berkeley DB, which rpm wrote before.
    Bdb(&'a [u8]),
}

/// The packages in a database of rpm. One that is there twice is here twice; keys, which rpm keeps as packages called `gpg-pubkey`, are not here.
///
/// # Errors
///
/// [`Unreadable`] if the database is damaged, is not of the form that rpm gives it, or would be read differently by others.
pub fn packages(database: &Database<'_>) -> Result<Vec<Package>, Unreadable> {
    let mut packages = Vec::new();
    let mut count = 0_u64;
    let mut each = |header: &[u8]| {
        count = count.saturating_add(1);
        if let Some(package) = header::package(header).map_err(|error| error.of(&format!("record {count}")))? {
            super::push(&mut packages, package)?;
        }
        Ok(())
    };
    match *database {
        Database::Sqlite { db, wal, journal } => sqlite::each_header(&sqlite::Files { db, wal, journal }, &mut each)?,
        Database::Ndb(bytes) => ndb::each_header(bytes, &mut each)?,
        Database::Bdb(bytes) => bdb::each_header(bytes, &mut each)?,
    }
    Ok(packages)
}
