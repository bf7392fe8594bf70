//! Brings a target to a file: streamed, checked, and in place only once it is what was signed [TUF 5.7].

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{ClientError, Session, Source, SourceError, Undecided, target_names};
use crate::trust::{Found, TargetCheck};

impl<S: Source> Session<'_, S> {
    /// Brings a target to `file` and checks it [TUF 5.7]. It is streamed, so it may be of any size.
    ///
    /// The folder of `file` must exist. The bytes go to a temporary file beside it, which takes its place only when length and hashes
    /// are right: nobody ever sees a wrong or half-written file there, and one that was there before stays if the new one is wrong.
    /// If `file` already is what was signed, nothing is asked of the repository.
    ///
    /// # Errors
    ///
    /// [`TrustError`](crate::trust::TrustError) if it is not what was signed, [`Undecided::Missing`] if the repository has no such
    /// file, [`Undecided::Write`] if it cannot be written.
    pub fn fetch_to_file(&self, found: &Found, file: &Path) -> Result<(), ClientError> {
        let check = TargetCheck::new(found.path(), found.file())?;
        if is_there(found, check.clone(), file) {
            return Ok(());
        }
        for name in target_names(found.path(), found.file(), self.trusted.root().consistent_snapshot()) {
            let Some(reader) = self.client.source.target(&name)? else { continue };
            // One byte past the end is enough to see that it does not end there.
            let reader = reader.take(found.file().length().saturating_add(1));
            let mut new = NewFile::beside(file)?;
            copy_checked(reader, &name, check, &mut new)?;
            return Ok(new.replace(file)?);
        }
        Err(Undecided::Missing(found.path().to_owned()).into())
    }
}

/// A file that cannot be read, or is something else, is not the target; it will be replaced or writing will say why not.
fn is_there(found: &Found, mut check: TargetCheck<'_>, file: &Path) -> bool {
    // Looked at before it is opened: opening a FIFO would wait for ever.
    if !fs::metadata(file).is_ok_and(|there| there.is_file() && there.len() == found.file().length()) {
        return false;
    }
    let Ok(mut there) = File::open(file) else { return false };
    let read = in_pieces(&mut there, |piece| check.update(piece).map_err(io::Error::other));
    read.is_ok() && check.finish().is_ok()
}

fn copy_checked(
    mut reader: impl Read,
    name: &str,
    mut check: TargetCheck<'_>,
    new: &mut NewFile,
) -> Result<(), ClientError> {
    let mut failed = None;
    let read = in_pieces(&mut reader, |piece| {
        let passed = check.update(piece).map_err(ClientError::from).and_then(|()| Ok(new.write(piece)?));
        passed.map_err(|error| {
            failed = Some(error);
            io::ErrorKind::Other.into()
        })
    });
    match (read, failed) {
        (_, Some(error)) => Err(error),
        (Err(error), None) => Err(SourceError::reading(name, error).into()),
        (Ok(()), None) => Ok(check.finish()?),
    }
}

fn in_pieces(reader: &mut impl Read, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => each(buffer.get(..n).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A temporary file, removed again unless it takes its place.
struct NewFile {
    path: PathBuf,
    file: File,
    in_place: bool,
}

impl NewFile {
    fn beside(file: &Path) -> Result<Self, Undecided> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Short, whatever the target is called, and different for each download of each process.
        let name = format!(".new-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = file.with_file_name(name);
        let created = File::create(&path).map_err(failed(&path))?;
        Ok(Self { path, file: created, in_place: false })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Undecided> {
        self.file.write_all(bytes).map_err(failed(&self.path))
    }

    fn replace(mut self, file: &Path) -> Result<(), Undecided> {
        self.file.sync_all().and_then(|()| fs::rename(&self.path, file)).map_err(failed(file))?;
        self.in_place = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.in_place {
            let _the_cause_is_reported_already = fs::remove_file(&self.path);
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Undecided {
    let file = path.display().to_string();
    move |source| Undecided::Write { file, source }
}
