//! What is installed in an image, against the package list that was signed.
//!
//! The databases of installed packages are read from bytes: [`dpkg`], [`apk`] and [`rpm`]. What stands in them is the claim of whoever
//! made the image; what decides is the comparison with the list.

pub mod apk;
pub mod deb822;
pub mod dpkg;
pub mod error;
pub mod list;
pub mod package;
pub mod rpm;

use error::Unreadable;

use crate::limits;

/// Adds what was read of a database, as long as there are not too many.
fn push<T>(records: &mut Vec<T>, record: T) -> Result<(), Unreadable> {
    if records.len() >= limits::PACKAGES {
        return Err(Unreadable::new(format!("too many packages, expected at most {}", limits::PACKAGES)));
    }
    records.push(record);
    Ok(())
}
