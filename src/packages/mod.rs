//! What is installed in an image, against the package list that was signed.

pub mod error;
pub mod list;
pub mod package;
pub mod purl;

