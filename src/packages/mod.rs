//! What is installed in an image, against the package list that was signed.
//!
//! The databases of installed packages are read from bytes: [`dpkg`], [`apk`] and [`rpm`]. What stands in them is the claim of whoever
//! made the image; what decides is the comparison with the list.

use self::error::Unreadable;
use self::format::ListFormat;
use crate::image::manifest::Platform;
use crate::limits;

pub(crate) mod advise;
pub mod apk;
pub mod assess;
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

/// The names of the files that may list the packages of an image; those of a platform only where the image is signed as an index.
pub(crate) fn list_files(platform: Option<&Platform>) -> Vec<(ListFormat, String)> {
    let mut middles = vec![String::new()];
    middles.extend(platform.map(|platform| format!(".{}", platform.file_part())));
    let files = middles.iter().flat_map(|middle| {
        ListFormat::ALL.iter().map(move |format| (*format, format!("packages{middle}.{}", format.suffix())))
    });
    files.collect()
}

/// Adds what was read of a database, as long as there are not too many.
fn push<T>(records: &mut Vec<T>, record: T) -> Result<(), Unreadable> {
    if records.len() >= limits::PACKAGES {
        return Err(Unreadable::new(format!("too many packages, expected at most {}", limits::PACKAGES)));
    }
    records.push(record);
    Ok(())
}
