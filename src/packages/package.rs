//! An installed or listed package: what of it is compared.

use std::fmt;

use super::error::Unreadable;
use crate::text::escaped;

/// Longer than any name, version or architecture in use: paths are bounded by as much.
const TEXT_MAX: usize = 4096;

/// The package systems whose databases are read. Their words are the types of package URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Alpine's apk.
    Apk,
    /// Debian's dpkg.
    Deb,
    /// RPM.
    Rpm,
}

impl Kind {
    /// The type of its package URLs: `apk`, `deb`, `rpm`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apk => "apk",
            Self::Deb => "deb",
            Self::Rpm => "rpm",
        }
    }

    /// The kind of a package URL's type, which is to be lower case.
    #[must_use]
    pub fn from_purl_type(word: &str) -> Option<Self> {
        [Self::Apk, Self::Deb, Self::Rpm].into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A package as a database or a signed list states it.
///
/// Shown as `NAME VERSION ARCH`, safe to print.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Package {
    kind: Kind,
    name: String,
    arch: Option<String>,
    version: String,
    source: Option<Source>,
}

/// What a package was built from, which is what advisories for Debian and Alpine name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// Debian's source package, Alpine's origin.
    pub name: String,
    /// Its version: the package's own, unless the database says otherwise.
    pub version: String,
}

impl Package {
    /// A package. `version` is the whole version as its package system writes it, with epoch and revision: `1:1.2.13.dfsg-1`, `1.36.1-r29`, `0:1.2-3.el9`.
    /// An epoch of 0 is dropped, for to write it is to say nothing. No architecture and an empty one are the same.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if a part is empty, is longer than 4,096 bytes, or holds white space or control characters: no package system has such, and a message
    /// about it could be made to say something else.
    pub fn new(kind: Kind, name: &str, version: &str, arch: Option<&str>) -> Result<Self, Unreadable> {
        let version = match kind {
            Kind::Deb | Kind::Rpm => without_epoch_zero(version),
            Kind::Apk => version,
        };
        let arch = arch.filter(|arch| !arch.is_empty());
        for (what, text) in [("name", Some(name)), ("version", Some(version)), ("architecture", arch)] {
            if let Some(text) = text {
                is_plain(what, text)?;
            }
        }
        Ok(Self {
            kind,
            name: name.to_owned(),
            arch: arch.map(str::to_owned),
            version: version.to_owned(),
            source: None,
        })
    }

    /// The same package, built from this source. An epoch of 0 is dropped here too.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), of the source's name and version.
    pub fn with_source(self, name: &str, version: &str) -> Result<Self, Unreadable> {
        let version = if self.kind == Kind::Apk { version } else { without_epoch_zero(version) };
        is_plain("source name", name)?;
        is_plain("source version", version)?;
        Ok(Self { source: Some(Source { name: name.to_owned(), version: version.to_owned() }), ..self })
    }

    /// Which package system it is of.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole version, without an epoch of 0. Two versions are the same if they are the same text; order is another matter.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The architecture, if there is one.
    #[must_use]
    pub fn arch(&self) -> Option<&str> {
        self.arch.as_deref()
    }

    /// What it was built from, where the database says so.
    #[must_use]
    pub fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", escaped(&self.name), escaped(&self.version))?;
        self.arch.iter().try_for_each(|arch| write!(f, " {}", escaped(arch)))
    }
}

/// `0:1.0` is `1.0` [Debian policy 5.6.12; rpm-version(7)]; `00:1.0` is another text, which nobody writes.
fn without_epoch_zero(version: &str) -> &str {
    version.strip_prefix("0:").unwrap_or(version)
}

fn is_plain(what: &str, text: &str) -> Result<(), Unreadable> {
    let wrong =
        |why: &str| Err(Unreadable::new(format!("a package whose {what} {why}: {}", crate::text::quoted(text))));
    if text.is_empty() {
        return wrong("is empty");
    }
    if text.len() > TEXT_MAX {
        return wrong("is too long");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return wrong("holds white space or control characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_of_zero_is_no_epoch() {
        for (kind, written, kept) in [
            (Kind::Deb, "0:1.0-1", "1.0-1"),
            (Kind::Deb, "1:1.0-1", "1:1.0-1"),
            (Kind::Rpm, "0:1.0-1", "1.0-1"),
            (Kind::Rpm, "00:1.0-1", "00:1.0-1"),
            (Kind::Deb, "1.0-0", "1.0-0"),
            (Kind::Apk, "0:1", "0:1"),
        ] {
            assert_eq!(Package::new(kind, "a", written, None).unwrap().version(), kept, "{written}");
        }
    }

    #[test]
    fn what_no_package_system_writes_is_not_a_package() {
        for (name, version, arch) in [
            ("", "1", None),
            ("a", "", None),
            ("a b", "1", None),
            ("a", "1\n", None),
            ("a", "1", Some("x\u{1b}")),
            ("a", "0:", None),
        ] {
            assert!(Package::new(Kind::Deb, name, version, arch).is_err(), "{name:?} {version:?} {arch:?}");
        }
        assert!(Package::new(Kind::Deb, &"a".repeat(4096), "1", None).is_ok());
        assert!(Package::new(Kind::Deb, &"a".repeat(4097), "1", None).is_err());
        assert_eq!(Package::new(Kind::Apk, "a", "1", Some("")).unwrap().arch(), None);
        assert_eq!(Package::new(Kind::Apk, "a", "1", Some("x86_64")).unwrap().to_string(), "a 1 x86_64");
    }
}
