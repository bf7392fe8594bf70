//! What files that others read at the same time are made with: written aside, synced, renamed.

use std::fs::File;
use std::io;
use std::path::Path;

/// What is not in its place yet is called so, and is a leftover where its process is gone.
pub(crate) const TEMPORARY: &str = ".new-";

/// A new file that others may read, as far as the user's mask allows: what it becomes is for everybody.
#[cfg(feature = "publish")]
#[cfg(feature = "publish")]
pub(crate) fn temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Exchanges two folders in one step. `false` if the system cannot; then nothing has happened.
#[cfg(target_os = "linux")]
pub(crate) fn exchange(a: &Path, b: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Exchanges two folders in one step. `false` if the system cannot; then nothing has happened.
#[cfg(not(target_os = "linux"))]
pub(crate) fn exchange(_: &Path, _: &Path) -> io::Result<bool> {
    Ok(false)
}

/// A rename lasts only once its folder is on disk.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}
