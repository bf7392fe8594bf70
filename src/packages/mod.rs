//! What is installed in an image, against the package list that was signed.

pub mod assess;
mod ecosystem;
pub mod error;
pub mod list;
pub mod order;
pub mod os_release;
pub mod osv;
pub mod package;
pub mod severity;
mod strict;
pub mod vex;
