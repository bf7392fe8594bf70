//! What the command reads besides the archive's path: the pinned root, and an archive from standard input.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use plimsoll::image::archive::Archive;
use plimsoll::image::error::ArchiveError;
use plimsoll::limits::{ArchiveLimits, MetadataLimits};
use plimsoll::text::quoted;

/// The bytes of the pinned root, as far as the limit for roots goes.
pub(crate) fn root(path: &Path) -> Result<Vec<u8>, String> {
    let limit = MetadataLimits::default().root;
    let shown = path.display().to_string();
    let failed = |e: io::Error| format!("cannot read the pinned root {}: {e}", quoted(&shown));
    // Looked at before it is opened: opening a FIFO would wait for ever.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes)).map_err(failed)?;
    if u64::try_from(bytes.len()).map_or(true, |n| n > limit) {
        return Err(format!("the pinned root {} is longer than {limit} bytes", quoted(&shown)));
    }
    Ok(bytes)
}

/// The archive that the arguments name, opened, and what to call it.
pub(crate) fn archive(path: &Path, limits: &ArchiveLimits) -> (Result<Archive, ArchiveError>, String) {
    if path.as_os_str() == "-" {
        return (standard_input(limits), "standard input".to_owned());
    }
    (Archive::open(path, limits), path.display().to_string())
}

/// The archive on standard input: the file itself where that is one, else a copy on disk, for an archive is read in any order.
fn standard_input(limits: &ArchiveLimits) -> Result<Archive, ArchiveError> {
    match redirected_file() {
        Some(file) => Archive::from_file(file, limits),
        None => Archive::from_reader(io::stdin(), limits),
    }
}

/// `plimsoll verify - < app.tar`: a regular file, of which nothing has been read yet.
#[cfg(unix)]
fn redirected_file() -> Option<File> {
    use std::io::Seek;
    use std::os::fd::AsFd;
    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    let is_whole_file = file.metadata().ok()?.is_file() && file.stream_position().ok()? == 0;
    is_whole_file.then_some(file)
}

#[cfg(not(unix))]
fn redirected_file() -> Option<File> {
    None
}
