//! The formats of package lists, and how their files are told apart.

use super::error::Unreadable;
use super::list::PackageList;
use super::{cyclonedx, dpkg, spdx};

/// A format that a package list can be signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ListFormat {
    /// SPDX 2.2 or 2.3 as JSON: [`spdx`].
    Spdx,
    /// CycloneDX 1.4 to 1.6 as JSON: [`cyclonedx`].
    CycloneDx,
    /// Stanzas, as in `Packages` of a Debian archive or in dpkg's own database.
    Deb822,
}

impl ListFormat {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Spdx, Self::CycloneDx, Self::Deb822];

    /// What the names of its files end in: the list is the target `packages.spdx.json`, `packages.cdx.json` or `packages.deb822`.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Spdx => "spdx.json",
            Self::CycloneDx => "cdx.json",
            Self::Deb822 => "deb822",
        }
    }

    /// The format whose files end in `suffix`, which has no dot at its front.
    #[must_use]
    pub fn from_suffix(suffix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.suffix() == suffix)
    }
}

impl PackageList {
    /// Reads a list.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if it is not such a list. Then nothing is known of what it says.
    pub fn read(format: ListFormat, bytes: &[u8]) -> Result<Self, Unreadable> {
        match format {
            ListFormat::Spdx => spdx::read(bytes),
            ListFormat::CycloneDx => cyclonedx::read(bytes),
            ListFormat::Deb822 => dpkg::list(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_is_one_format() {
        for format in ListFormat::ALL {
            assert_eq!(ListFormat::from_suffix(format.suffix()), Some(format));
        }
        for other in ["", "json", ".spdx.json", "SPDX.json", "spdx"] {
            assert_eq!(ListFormat::from_suffix(other), None, "{other}");
        }
    }

    #[test]
    fn a_list_is_of_the_format_it_is_read_in() {
        let spdx = br#"{"spdxVersion":"SPDX-2.3"}"#;
        let cyclonedx = br#"{"bomFormat":"CycloneDX","specVersion":"1.6"}"#;
        assert_eq!(PackageList::read(ListFormat::Spdx, spdx), Ok(PackageList::default()));
        assert_eq!(PackageList::read(ListFormat::CycloneDx, cyclonedx), Ok(PackageList::default()));
        for (format, bytes, expected) in [
            (ListFormat::Spdx, &cyclonedx[..], "line 1, column 45: not an SPDX document: it has no spdxVersion"),
            (ListFormat::CycloneDx, &spdx[..], "line 1, column 26: not a CycloneDX document: it has no bomFormat"),
        ] {
            assert_eq!(PackageList::read(format, bytes).unwrap_err().to_string(), expected);
        }
    }
}
