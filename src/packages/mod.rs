//! What is installed in an image, against the package list that was signed.
//!
//! ```text
//! layers of a VerifiedImage --overlay--> files of the image --installed--> databases --dpkg, apk, rpm--> packages --+
//!                                                   |                                                              +--check--> problems
//! signed list --spdx, cyclonedx, dpkg::list--> PackageList --------------------------------------------------------+
//! ```
//!
//! What stands in a database is the claim of whoever made the image; what decides is the comparison with the list. Only digests that the list has bind bytes.
//!
//! Each step can be used on its own: [`inspect`] lists an archive, [`list::PackageList::read`] reads a list, [`compare`](mod@compare) is a pure function of two lists of packages, [`dpkg`], [`apk`] and
//! [`rpm`] read databases from bytes, [`order`] orders versions, [`osv`], [`vex`] and [`assess`](mod@assess) evaluate advisories.
//!
//! ```
//! # fn main() -> Result<(), plimsoll::packages::error::Unreadable> {
//! use plimsoll::packages::compare::compare;
//! use plimsoll::packages::format::ListFormat;
//! use plimsoll::packages::{dpkg, list::PackageList};
//!
//! let listed = PackageList::read(ListFormat::Deb822, b"Package: bash\nVersion: 5.2-2\nArchitecture: amd64\n")?;
//! let installed = dpkg::status(b"Package: bash\nStatus: install ok installed\nVersion: 5.2-1\nArchitecture: amd64\n")?;
//! let differences = compare(listed.packages(), &installed);
//! assert_eq!(differences[0].to_string(), "bash: another version is installed, expected 5.2-2, found 5.2-1, which is older");
//! # Ok(())
//! # }
//! ```

use self::advise::{ADVISORIES, STATEMENTS};
use self::error::Unreadable;
use self::format::ListFormat;
use crate::image::manifest::Platform;
use crate::limits;

pub(crate) mod advise;
pub mod apk;
pub mod assess;
pub(crate) mod beside;
pub mod check;
pub mod compare;
pub(crate) mod contents;
pub mod cyclonedx;
pub mod deb822;
pub mod dpkg;
mod ecosystem;
mod entry;
pub mod error;
pub mod files;
pub mod format;
pub mod ignore;
pub mod inspect;
pub mod installed;
pub mod list;
pub mod order;
pub mod os_release;
pub mod osv;
mod overlay;
pub mod package;
pub mod purl;
pub mod rpm;
pub mod severity;
pub mod spdx;
mod stream;
mod strict;
pub mod vex;
pub mod write;

/// The name of the file that lists the packages of an image, or those of one platform of it: `packages.spdx.json`, `packages.linux-arm64-v8.cdx.json`. The latter is
/// looked for only where an index is signed as the image.
#[must_use]
pub fn list_file(format: ListFormat, platform: Option<&Platform>) -> String {
    let platform = platform.map(|platform| format!(".{}", platform.file_part())).unwrap_or_default();
    format!("packages{platform}.{}", format.suffix())
}

/// The names of the files that may list the packages of an image; those of a platform only where the image is signed as an index.
pub(crate) fn list_files(platform: Option<&Platform>) -> Vec<(ListFormat, String)> {
    let platforms = [None].into_iter().chain(platform.map(Some));
    platforms.flat_map(|platform| ListFormat::ALL.map(|format| (format, list_file(format, platform)))).collect()
}

/// The names of all files that a verifier looks for beside an image to check its packages; `platforms` are those of the index that is signed as the image, if
/// there is one. Sorted.
#[must_use]
pub fn files_beside(platforms: &[Platform]) -> Vec<String> {
    let of_platforms = platforms.iter().flat_map(|platform| list_files(Some(platform)));
    let lists = list_files(None).into_iter().chain(of_platforms).map(|(_, file)| file);
    let mut files: Vec<String> = lists.chain([ADVISORIES.to_owned(), STATEMENTS.to_owned()]).collect();
    files.sort();
    files.dedup();
    files
}

/// Adds what was read of a database, as long as there are not too many.
fn push<T>(records: &mut Vec<T>, record: T) -> Result<(), Unreadable> {
    if records.len() >= limits::PACKAGES {
        return Err(Unreadable::new(format!("too many packages, expected at most {}", limits::PACKAGES)));
    }
    records.push(record);
    Ok(())
}
