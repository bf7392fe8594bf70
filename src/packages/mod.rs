//! What is installed in an image, against the package list that was signed.

pub mod cyclonedx;
mod entry;
pub mod error;
pub mod format;
pub mod list;
pub mod package;
pub mod purl;
pub mod spdx;
mod stream;
pub mod write;
