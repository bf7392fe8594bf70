//! `plimsoll export`: what was verified, as a new file, a new folder, or on standard output.
//!
//! A file or folder takes its name only when it is whole. Until then it stands beside its place, under a name of its own.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use plimsoll::image::VerifiedImage;
use plimsoll::image::archive::Archive;
use plimsoll::image::write::{self, WriteError};
use plimsoll::limits::ArchiveLimits;
use plimsoll::text::quoted;
use plimsoll::verdict::{Exported, Verdict};

use crate::args::{Export, Form, word};
use crate::output;
use crate::records::{self, Records};
use crate::verify::verify;

/// The verdict on the archive, and on the new one.
pub(crate) fn export(arguments: &Export, kept: &Records<'_>) -> Result<Verdict, Box<Verdict>> {
    let shown = arguments.archive.display().to_string();
    let not_started = |code, message: &str| Box::new(Verdict::not_started(code, message, &shown));
    if records::is_the_record(&arguments.how, &arguments.output) {
        return Err(not_started("usage", "the new archive would take the place of the record"));
    }
    if is_standard_output(arguments) {
        usable(arguments).map_err(|message| not_started("usage", message))?;
    } else {
        // Before the archive is read, which may take long. Nothing depends on it: the file gets its name only if that is free.
        free(arguments).map_err(|message| not_started("output-exists", &message))?;
    }
    let (verdict, archive) = verify(&arguments.archive, &arguments.how, kept)?;
    let verdict = kept.before_handing_on(verdict);
    let images: Vec<VerifiedImage> = verdict.images().cloned().collect();
    if images.is_empty() {
        return Ok(verdict);
    }
    let what = What { images, archive, limits: arguments.how.limits() };
    let written = if is_standard_output(arguments) {
        what.to_tar(arguments.form, io::stdout().lock())
    } else {
        what.to_place(arguments)
    };
    Ok(match written {
        Ok(()) => verdict.with_exported(Exported::new(&arguments.output.display().to_string(), &word(&arguments.form))),
        Err(Failed::Written(error)) => verdict.not_written(&error),
        Err(Failed::Exists(message)) => verdict.not_loaded("output-exists", &message),
    })
}

/// Whether the new archive goes to standard output.
pub(crate) fn is_standard_output(arguments: &Export) -> bool {
    arguments.output.as_os_str() == "-"
}

/// The same where the arguments could not be parsed, so that an error does not end up in an archive.
pub(crate) fn asked_for_standard_output() -> bool {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let pair = |pair: &[OsString]| matches!(pair, [a, b] if (a == "-o" || a == "--output") && b == "-");
    let one = |a: &OsString| a == "-o-" || a == "-o=-" || a == "--output=-";
    arguments.first().is_some_and(|a| a == "export") && (arguments.iter().any(one) || arguments.windows(2).any(pair))
}

fn usable(arguments: &Export) -> Result<(), &'static str> {
    if arguments.form == Form::OciDir {
        return Err("a folder cannot be written to standard output");
    }
    if io::stdout().is_terminal() {
        return Err("an archive is not written to a terminal: name a file, or send standard output elsewhere");
    }
    Ok(())
}

/// Whether nothing is there, or something that may be replaced: a regular file, never a folder, a link or a device.
fn free(arguments: &Export) -> Result<(), String> {
    let path = &arguments.output;
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    let shown = path.display().to_string();
    if !arguments.force {
        return Err(format!("{} is there already; --force replaces a file", quoted(&shown)));
    }
    if found.is_file() && arguments.form != Form::OciDir {
        return Ok(());
    }
    Err(format!("{} is there already, and --force replaces nothing but a file by a file", quoted(&shown)))
}

enum Failed {
    Written(WriteError),
    Exists(String),
}

impl From<WriteError> for Failed {
    fn from(error: WriteError) -> Self {
        Self::Written(error)
    }
}

/// What is to be written, and from where.
struct What {
    images: Vec<VerifiedImage>,
    archive: Archive,
    limits: ArchiveLimits,
}

impl What {
    fn to_tar(&self, form: Form, to: impl Write) -> Result<(), Failed> {
        let Self { images, archive, limits } = self;
        match form {
            Form::OciArchive => write::oci_archive(images, archive, limits, to)?,
            // The parser of the arguments lets no folder come here.
            Form::DockerArchive | Form::OciDir => write::docker_archive(images, archive, limits, to)?,
        }
        Ok(())
    }

    fn to_place(&self, arguments: &Export) -> Result<(), Failed> {
        let path = &arguments.output;
        let failed = |source: io::Error| unwritable(path, source);
        let beside = output::beside(path);
        if arguments.form == Form::OciDir {
            let folder = tempfile::Builder::new().prefix(".plimsoll-").tempdir_in(beside).map_err(failed)?;
            let layout = folder.path().join("layout");
            write::oci_folder(&self.images, &self.archive, &self.limits, &layout)?;
            // A folder that has come there meanwhile is replaced only if it is empty.
            free(arguments).map_err(Failed::Exists)?;
            return Ok(fs::rename(layout, path).map_err(failed)?);
        }
        let mut file = output::new_file(beside).map_err(failed)?;
        self.to_tar(arguments.form, file.as_file_mut())?;
        file.as_file().sync_all().map_err(failed)?;
        free(arguments).map_err(Failed::Exists)?;
        let kept = if arguments.force { file.persist(path) } else { file.persist_noclobber(path) };
        kept.map(drop).map_err(|e| failed(e.error).into())
    }
}

fn unwritable(path: &Path, source: io::Error) -> WriteError {
    WriteError::Write { what: format!("cannot write {}", quoted(&path.display().to_string())), source }
}
