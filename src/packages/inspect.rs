//! What is in an image that nobody has signed yet: for writing the list that is to be signed beside it.
//!
//! The archive is read as it is verified, and what would be refused then is refused here. Nothing is said about whether the image is trusted.

use std::io::{self, Write};

use super::check::{differences, of_databases};
use super::compare::Difference;
use super::contents::ImageContents;
use super::files::listed;
use super::format::ListFormat;
use super::installed::{self, Database, Installed};
use super::list::PackageList;
use super::os_release;
use super::package::Package;
use super::write::{self, Described, ListedFile};
use crate::image::archive::Archive;
use crate::image::check::{SignedImage, check_image};
use crate::image::contents::{Digests, Wanted};
use crate::image::documents::{Documents, Reader};
use crate::image::error::{Code, Refusal};
use crate::image::inventory::Inventory;
use crate::image::manifest::{Config, Platform};
use crate::image::signable::{Signable, SignableError};
use crate::limits::{ArchiveLimits, bound};
use crate::name::ImageName;

/// What an image is called here that its archive does not name.
const UNNAMED: &str = "localhost/unnamed";

/// What is in the image of an archive: its packages, and the SHA-256 of its files.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::path::Path;
///
/// use plimsoll::image::archive::Archive;
/// use plimsoll::limits::ArchiveLimits;
/// use plimsoll::packages::inspect::{Inspected, Subject};
///
/// let limits = ArchiveLimits::default();
/// let archive = Archive::open(Path::new("test-repos/good/app.tar"), &limits)?;
/// let inspected = Inspected::read(&archive, &Subject::default(), &limits, &|_, _| {})?;
/// assert_eq!(inspected.packages()[1].to_string(), "openssl 3.0.15-1~deb12u1 amd64");
/// assert_eq!(inspected.files().len(), 4);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Inspected {
    installed: Installed,
    files: Vec<ListedFile>,
    unnamed: Vec<String>,
    described: Described,
}

/// Which image of an archive is meant.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Its name. The archive may then claim no other. Without it, any names that the archive gives it.
    pub image: Option<ImageName>,
    /// Of an index, the platform. Without it that of this machine; an image that is no index is for whatever platform it says.
    pub platform: Option<Platform>,
}

impl Inspected {
    /// Reads all of an archive, which must hold one image.
    ///
    /// `progress` is that of [`Inventory::measure`].
    ///
    /// # Errors
    ///
    /// [`SignableError`]: whatever would keep the archive from being trusted, and layers on which loaders could differ.
    pub fn read(
        archive: &Archive,
        subject: &Subject,
        limits: &ArchiveLimits,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Self, SignableError> {
        let inventory = Inventory::scan_opened(archive, limits)?;
        let wanted = Wanted { digests: Digests::WithSha1, keep: &installed::keep };
        let measured = inventory.measure_listing(limits, Some(&wanted), None, progress)?;
        let claimed = measured.images().first().map(|image| image.names().to_vec()).unwrap_or_default();
        let names = subject.image.clone().map_or(claimed, |name| vec![name]);
        let shown = names.first().cloned();
        // The check wants to know under which names it may be. Where it has none, any will do.
        let names = if names.is_empty() { ImageName::parse(UNNAMED).into_iter().collect() } else { names };
        let signable = Signable::of_measured(archive, &measured, &names, limits)?;
        let (Some(image), Some(name)) = (measured.images().first(), names.first()) else {
            return Err(crate::image::check::several_images(0).into());
        };
        let signed = match signable.files.split_first() {
            Some(((_, manifest), [])) if signable.platforms.is_empty() => {
                SignedImage::from_manifest(name, manifest, subject.platform.as_ref(), limits)?
            }
            Some(((_, index), children)) => {
                let platform = subject.platform.clone().unwrap_or_else(Platform::host);
                let file = platform.target_file();
                let child = children.iter().find(|(name, _)| *name == file);
                let (_, child) = child.ok_or_else(|| no_platform(&platform, &signable.platforms))?;
                SignedImage::from_index(name, index, &platform, child, limits)?
            }
            None => return Err(crate::image::check::several_images(0).into()),
        };
        let verified = check_image(&signed, &names, image, &measured).map_err(SignableError::Refused)?;
        let contents = ImageContents::of(&verified, &measured, limits)?;
        let (files, unnamed) = listed(&contents.tree);
        let config = Reader::new(&archive, limits).document(verified.config_entry(), bound!(limits, config))?;
        let config = Config::parse(&config, limits)?;
        let installed = contents.installed;
        let mut described = Described::new(verified.config_digest(), env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        if let Some(name) = shown {
            described = described.with_image(name);
        }
        if let Some(created) = &config.created {
            described = described.with_created(created);
        }
        // What the image says of itself is for people and package URLs; nothing is decided by it.
        if let Some(distro) = installed.os_release().ok().flatten().and_then(|bytes| os_release::read(bytes).ok()) {
            described = described.with_distribution(&distro.id, distro.version_id.as_deref());
        }
        Ok(Self { installed, files, unnamed, described })
    }

    /// The packages of all databases, sorted. A database that cannot be read has none: see [`databases`](Self::databases).
    #[must_use]
    pub fn packages(&self) -> Vec<&Package> {
        self.installed.packages()
    }

    /// The package databases.
    #[must_use]
    pub fn databases(&self) -> &[Database] {
        self.installed.databases()
    }

    /// What else is known of what is installed.
    #[must_use]
    pub fn installed(&self) -> &Installed {
        &self.installed
    }

    /// The regular files with their digests, sorted by path. No part of a path is a link; none starts with `/`.
    #[must_use]
    pub fn files(&self) -> &[ListedFile] {
        &self.files
    }

    /// What of a list the databases differ in: what a verifier would find were the list signed beside the image. Databases that cannot be read are left out.
    #[must_use]
    pub fn differences(&self, list: &PackageList) -> Vec<Difference> {
        differences(&self.installed, list).into_iter().flat_map(|(.., differences)| differences).collect()
    }

    /// What a verifier would find of the databases, whatever is in them, were these lists signed beside the image: one that cannot be read, a second one of a system, one
    /// where nobody looks. Safe to print.
    #[must_use]
    pub fn database_faults(&self, lists: &[&PackageList]) -> Vec<String> {
        of_databases(&self.installed, lists).into_iter().map(|problem| problem.message).collect()
    }

    /// Files that no list can name, for their names are not UTF-8; safe to print.
    #[must_use]
    pub fn unnamed(&self) -> &[String] {
        &self.unnamed
    }

    /// Writes the list to sign beside the image. Of one image it is the same bytes at all times.
    ///
    /// # Errors
    ///
    /// Those of `out`. [`io::ErrorKind::Unsupported`] for a format that cannot say all of it, [`io::ErrorKind::InvalidData`] if a database cannot be read: a list
    /// without its packages would be a wrong one.
    pub fn write(&self, format: ListFormat, out: impl Write) -> io::Result<()> {
        for database in self.databases() {
            if let Err(error) = database.packages() {
                let place = crate::text::escaped(database.path()).to_string();
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("/{place}: {error}")));
            }
        }
        let packages: Vec<Package> = self.packages().into_iter().cloned().collect();
        let files = self.files.iter().cloned();
        match format {
            ListFormat::Spdx => write::spdx(out, &self.described, &packages, files),
            ListFormat::CycloneDx => write::cyclonedx(out, &self.described, &packages, files),
            ListFormat::Deb822 => Err(io::Error::new(io::ErrorKind::Unsupported, "stanzas cannot list files")),
        }
    }
}

fn no_platform(platform: &Platform, offered: &[Platform]) -> Refusal {
    let offered: Vec<String> = offered.iter().map(ToString::to_string).collect();
    Refusal::new(Code::PlatformNotFound, "the archive", "it has no image for the platform")
        .expected(platform)
        .found(offered.join(", "))
}
