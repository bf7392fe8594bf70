//! An opened archive of any form: a tar file, a compressed one, a stream, or an OCI layout in a folder.
//!
//! Whatever it came from, it is opened once, and everything is read from what was opened. A tar file is read in its place. What is compressed,
//! or can be read only once, is copied first to a file without a name that nobody else can open. A folder is read as if its files stood one
//! after the other.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::image::error::ArchiveError;
use crate::image::folder::Folder;
use crate::image::read_at::{ReadAt, read_full};
use crate::image::tar::{Compression, Table};
use crate::image::unpack::{self, Copied};
use crate::limits::ArchiveLimits;
use crate::text::quoted;

/// An archive that was opened, to be read at any position.
///
/// Its bytes are those of the tar, decompressed; of a folder, those of its files, as [`table`](Self::table) says where. They are what a check
/// reads, so whoever reads from here reads what was verified, and must hash it again: only of a copy it is certain that nobody changes it.
pub struct Archive {
    bytes: Bytes,
    compression: Option<Compression>,
    stored: u64,
}

enum Bytes {
    /// A tar: the file that was given, or a copy.
    Tar(File),
    Folder(Folder),
}

impl Archive {
    /// Opens the archive at a path: a file, compressed or not, or the folder of an OCI layout.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Io`] if it cannot be opened or read, is neither file nor folder, or if there is no room for its copy.
    /// [`ArchiveError::Refused`] if its compression or what is in the folder breaks a rule.
    pub fn open(path: &Path, limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        let failed = |source| {
            let what = format!("cannot read {}", quoted(&path.display().to_string()));
            ArchiveError::Io { what, source }
        };
        // Looked at before it is opened: opening a FIFO would wait for ever, and opening some devices does something.
        let found = fs::metadata(path).map_err(failed)?;
        if found.is_dir() {
            let folder = Folder::open(path, limits)?;
            return Ok(Self { stored: folder.size(), bytes: Bytes::Folder(folder), compression: None });
        }
        if !found.is_file() {
            return Err(failed(io::Error::other("neither a regular file nor a folder")));
        }
        Self::from_file(open_file(path).map_err(failed)?, limits)
    }

    /// The archive in an opened file, from its start.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn from_file(file: File, limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        let failed = |source| ArchiveError::Io { what: "cannot read the archive".to_owned(), source };
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        let mut start = [0; 8];
        let n = read_full(&file, &mut start, 0).map_err(failed)?;
        if Compression::of(start.get(..n).unwrap_or_default()).is_none() {
            // Should it change now: the tar reader takes nothing compressed.
            return Ok(Self { bytes: Bytes::Tar(file), compression: None, stored: found.len() });
        }
        let copied = unpack::copy(FromStart { file: &file, at: 0 }, Some(found.len()), limits)?;
        Ok(Self::from(copied))
    }

    /// An archive that can be read only once, as from a pipe. All of it is read.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn from_reader(reader: impl Read + Send, limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        unpack::copy(reader, None, limits).map(Self::from)
    }

    /// The entries, and where their bytes are: in a tar as its headers say, in a folder as they were when it was opened.
    ///
    /// # Errors
    ///
    /// Those of [`Table::read`].
    pub fn table(&self, limits: &ArchiveLimits) -> Result<Table, ArchiveError> {
        match &self.bytes {
            Bytes::Tar(file) => Table::read(file, limits),
            Bytes::Folder(folder) => folder.table().map_err(ArchiveError::from),
        }
    }

    /// How it was compressed as a whole: `gzip`, `zstd`, `xz` or `bzip2`.
    #[must_use]
    pub fn compression(&self) -> Option<&'static str> {
        self.compression.map(Compression::word)
    }

    /// The number of bytes as it was given: compressed, or of all files of a folder.
    #[must_use]
    pub fn stored_size(&self) -> u64 {
        self.stored
    }

    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        matches!(self.bytes, Bytes::Folder(_))
    }
}

impl From<Copied> for Archive {
    fn from(copied: Copied) -> Self {
        Self { bytes: Bytes::Tar(copied.file), compression: copied.compression, stored: copied.stored }
    }
}

impl ReadAt for Archive {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.bytes {
            Bytes::Tar(file) => file.read_at(buf, offset),
            Bytes::Folder(folder) => folder.read_at(buf, offset),
        }
    }

    fn size(&self) -> io::Result<u64> {
        match &self.bytes {
            Bytes::Tar(file) => file.size(),
            Bytes::Folder(folder) => Ok(folder.size()),
        }
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes: _, compression, stored } = self;
        let folder = self.is_folder();
        f.debug_struct("Archive")
            .field("folder", &folder)
            .field("compression", compression)
            .field("stored", stored)
            .finish_non_exhaustive()
    }
}

/// Should a FIFO have taken the file's place, this does not wait for it.
#[cfg(unix)]
fn open_file(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(File::from(open(path, flags, Mode::empty())?))
}

#[cfg(not(unix))]
fn open_file(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// A file from its start, wherever whoever gave it had read to.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at = self.at.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
        Ok(n)
    }
}
