//! `plimsoll packages`: writes the list of what is in an image, for its publisher to sign.
//!
//! Nothing is said about whether the image is trusted. Exit codes: 0 written, 1 the archive would not be trusted whatever is signed, 2 not written.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use plimsoll::image::archive::Archive;
use plimsoll::image::error::ArchiveError;
use plimsoll::image::signable::SignableError;
use plimsoll::limits::ArchiveLimits;
use plimsoll::packages::inspect::{Inspected, Subject};
use plimsoll::text::quoted;

use crate::args::Packages;
use crate::{input, output, show};

/// Why there is no list, and the exit code for it.
struct Failed(u8, String);

pub(crate) fn packages(arguments: &Packages) -> ExitCode {
    match write(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(code, text)) => {
            show::diagnostic(&text);
            ExitCode::from(code)
        }
    }
}

fn write(arguments: &Packages) -> Result<(), Failed> {
    let to = arguments.output.as_deref();
    if let Some(path) = to.filter(|path| !arguments.force && fs::symlink_metadata(path).is_ok()) {
        return Err(undecided(format!("{} is there already; --force replaces it", shown(path))));
    }
    let limits = arguments.limits();
    let (archive, name) = input::archive(&arguments.archive, &limits);
    let archive = archive.map_err(|error| refused(&name, error.into()))?;
    let inspected = inspect(&archive, arguments, &limits).map_err(|error| refused(&name, error))?;
    let written = match to {
        None => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            inspected.write(arguments.format.into(), &mut out).and_then(|()| out.flush())
        }
        Some(path) => to_file(&inspected, path, arguments),
    };
    written.map_err(|error| {
        let place = to.map_or_else(|| "standard output".to_owned(), shown);
        undecided(format!("cannot write the list to {place}: {error}"))
    })?;
    show::diagnostic(&summary(&inspected));
    Ok(())
}

fn inspect(archive: &Archive, arguments: &Packages, limits: &ArchiveLimits) -> Result<Inspected, SignableError> {
    let subject = Subject { image: arguments.image.clone(), platform: arguments.platform.clone() };
    let progress = show::progress();
    let progress = |done, total| progress.iter().for_each(|progress| progress(done, total));
    Inspected::read(archive, &subject, limits, &progress)
}

fn to_file(inspected: &Inspected, path: &Path, arguments: &Packages) -> io::Result<()> {
    let mut file = output::new_file(output::beside(path))?;
    let mut out = io::BufWriter::new(file.as_file_mut());
    inspected.write(arguments.format.into(), &mut out)?;
    out.flush()?;
    drop(out);
    file.as_file().sync_all()?;
    let kept = if arguments.force { file.persist(path) } else { file.persist_noclobber(path) };
    kept.map(drop).map_err(|error| error.error)
}

/// What was found, on standard error: the list itself may be on standard output.
fn summary(inspected: &Inspected) -> String {
    let mut text = String::new();
    for database in inspected.databases() {
        let count = database.packages().map_or(0, <[_]>::len);
        let path = plimsoll::text::escaped(database.path()).to_string();
        text.push_str(&format!("listed: {count} packages of {} in /{path}\n", database.kind()));
    }
    if inspected.databases().is_empty() {
        text.push_str("listed: no packages, for there is no package database\n");
    }
    text.push_str(&format!("listed: {} files\n", inspected.files().len()));
    for path in inspected.installed().elsewhere() {
        text.push_str(&format!("note: /{path} is called as a package database is; it is listed as a file only\n"));
    }
    for path in inspected.unnamed() {
        text.push_str(&format!(
            "warning: /{path}: its name is not UTF-8, so no list can name it, and --files will refuse the image\n"
        ));
    }
    text
}

fn refused(archive: &str, error: SignableError) -> Failed {
    let subject = quoted(archive);
    match error {
        SignableError::Archive(ArchiveError::Refused(refusal)) => {
            Failed(1, format!("not listed: {subject}\n  {refusal} [{}]\n", refusal.code))
        }
        SignableError::Refused(refusals) => {
            let lines: String = refusals.iter().map(|refusal| format!("  {refusal} [{}]\n", refusal.code)).collect();
            Failed(1, format!("not listed: {subject}\n{lines}"))
        }
        error => undecided(format!("{subject}: {}", show::chain(&error))),
    }
}

fn undecided(text: String) -> Failed {
    Failed(2, format!("plimsoll: {text}\n"))
}

fn shown(path: &Path) -> String {
    quoted(&path.display().to_string()).to_string()
}
