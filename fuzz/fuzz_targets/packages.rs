//! The readers of package databases and of lists of stanzas; the first byte chooses which: never a panic, and never more packages or longer
//! names than there are bytes for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll::packages::rpm::{self, Database};
use plimsoll::packages::{apk, dpkg};

fuzz_target!(|bytes: &[u8]| {
    let Some((parser, bytes)) = bytes.split_first() else { return };
    // The two files of some databases: up to where the second byte says, in pages, and the rest.
    let two = || {
        let (pages, rest) = bytes.split_first().unwrap_or((&0, bytes));
        rest.split_at(rest.len().min(usize::from(*pages) * 512))
    };
    let packages = match parser {
        0 => dpkg::status(bytes),
        1 => dpkg::status_d(bytes),
        2 => dpkg::list(bytes).map(|list| list.packages().to_vec()),
        3 => {
            let (status, update) = two();
            dpkg::merged(Some(status), &[("0000", update)])
        }
        4 => apk::installed(bytes),
        5 => rpm::packages(&Database::Sqlite { db: bytes, wal: None, journal: None }),
        6 => {
            let (db, wal) = two();
            rpm::packages(&Database::Sqlite { db, wal: Some(wal), journal: None })
        }
        7 => rpm::packages(&Database::Ndb(bytes)),
        8 => rpm::packages(&Database::Bdb(bytes)),
        _ => return,
    };
    for package in packages.unwrap_or_default() {
        for text in [Some(package.name()), Some(package.version()), package.arch()].into_iter().flatten() {
            assert!(!text.is_empty() && text.len() <= bytes.len() && !text.contains(char::is_whitespace));
        }
    }
});
