//! What the command reads besides the archive's path: the pinned root, and an archive from standard input.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::Path;

use plimsoll::limits::MetadataLimits;
use plimsoll::text::quoted;
use plimsoll::verify::open_archive;

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
pub(crate) fn archive(path: &Path) -> Result<(File, String), String> {
    if path.as_os_str() == "-" {
        return Ok((standard_input()?, "standard input".to_owned()));
    }
    Ok((open_archive(path)?, path.display().to_string()))
}

/// The archive on standard input: the file itself where that is one, else a copy on disk, for an archive is read in any order.
fn standard_input() -> Result<File, String> {
    let failed = |e: io::Error| format!("cannot read the archive from standard input: {e}");
    if let Some(file) = redirected_file() {
        return Ok(file);
    }
    let mut copy = tempfile::tempfile().map_err(failed)?;
    // The limit for a decompressed archive; a pipe may never end.
    let limit: u64 = 128 << 30;
    let copied = io::copy(&mut io::stdin().lock().take(limit.saturating_add(1)), &mut copy).map_err(failed)?;
    if copied > limit {
        return Err(format!("the archive on standard input is longer than {limit} bytes"));
    }
    Ok(copy)
}

/// `plimsoll verify - < app.tar`: a regular file, read from its start.
#[cfg(unix)]
fn redirected_file() -> Option<File> {
    use std::os::fd::AsFd;
    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    let is_whole_file = file.metadata().ok()?.is_file() && file.stream_position().ok()? == 0;
    is_whole_file.then_some(file)
}

#[cfg(not(unix))]
fn redirected_file() -> Option<File> {
    None
}
