//! What is installed in an image, against the package list that was signed.

use crate::image::manifest::Platform;
use crate::packages::list::ListFormat;

pub mod apk;
pub mod check;
pub mod compare;
pub(crate) mod contents;
pub mod cyclonedx;
mod deb822;
pub mod dpkg;
pub mod error;
pub mod files;
pub mod ignore;
pub mod installed;
pub mod list;
pub mod order;
mod overlay;
pub mod package;
mod purl;
pub mod rpm;
pub mod spdx;
mod stream;

/// The names of the files that may list the packages of an image; those of a platform only where the image is signed as an index.
pub(crate) fn list_files(platform: Option<&Platform>) -> Vec<(ListFormat, String)> {
    let mut middles = vec![String::new()];
    middles.extend(platform.map(|platform| format!(".{}", platform.file_part())));
    let files = middles.iter().flat_map(|middle| {
        ListFormat::ALL.iter().map(move |format| (*format, format!("packages{middle}.{}", format.ending())))
    });
    files.collect()
}
