//! `plimsoll verify`, and what `load` and `export` do before anything else.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use plimsoll::image::archive::Archive;
use plimsoll::verdict::Verdict;
use plimsoll::verify::Verifier;

use crate::args::{How, Verify};
use crate::authority::{AnySource, AnyTerms, NotStarted};
use crate::records::{self, Records};
use crate::{input, show};

pub(crate) fn run(arguments: &Verify) -> ExitCode {
    let how = &arguments.how;
    match arguments.archives.as_slice() {
        [archive] => {
            let verdict =
                records::kept(how, archive, |records| verify(archive, how, records).map(|(verdict, _)| verdict));
            show::verdict(&verdict, how.format)
        }
        archives => several(archives, how),
    }
}

/// The verdict on an archive, and the archive, opened once. `Err` holds a verdict that is not "trusted": there is no archive to check, or something
/// that is needed before any check is not there.
pub(crate) fn verify(archive: &Path, how: &How, records: &Records<'_>) -> Result<(Verdict, Archive), Box<Verdict>> {
    let verifier = verifier(how)
        .map_err(|(code, message)| Box::new(Verdict::not_started(code, &message, &archive.display().to_string())))?;
    match input::archive(archive, &how.limits()) {
        (Ok(archive), shown) => {
            let verdict = verifier.verify_opened(&archive, &shown);
            records.refused(&verdict, &archive);
            Ok((verdict, archive))
        }
        (Err(error), shown) => Err(Box::new(verifier.not_opened(error, &shown))),
    }
}

/// The verdicts on several archives, in their order, each told as soon as it and those before it are there.
fn several(archives: &[PathBuf], how: &How) -> ExitCode {
    let mut summary = show::Summary::new(how.format);
    let not_started = |(code, message): NotStarted| {
        // Of each of them, so that there are as many verdicts as archives.
        let verdict = |archive: &PathBuf| Verdict::not_started(code, &message, &archive.display().to_string());
        archives.iter().map(verdict).collect::<Vec<_>>()
    };
    let one_at_a_time = [
        ("--vsa", how.vsa.is_some(), "a verification summary is about one archive"),
        ("-", archives.iter().any(|archive| archive.as_os_str() == "-"), "standard input is verified by itself"),
    ];
    let verifier = match one_at_a_time.iter().find(|(_, is_asked, _)| *is_asked) {
        Some((what, _, why)) => Err(("usage", format!("{what} among several archives: {why}"))),
        None => verifier(how),
    };
    match verifier {
        Ok(verifier) => verifier.verify_all(archives, |place, verdict| {
            let archive = archives.get(place).map_or(Path::new(""), PathBuf::as_path);
            summary.add(&records::kept(how, archive, |_| Ok(verdict)));
        }),
        Err(error) => {
            for (archive, verdict) in archives.iter().zip(not_started(error)) {
                summary.add(&records::kept(how, archive, |_| Ok(verdict)));
            }
        }
    }
    summary.end()
}

fn verifier(how: &How) -> Result<Verifier<AnySource, AnyTerms>, NotStarted> {
    let packages = how.packages.checks().map_err(|e| ("usage", e))?;
    let mut verifier = Verifier::governed(how.authority.terms(packages)?).with_limits(how.limits());
    if let Some(image) = &how.image {
        verifier = verifier.with_image(image.clone());
    }
    if let Some(platform) = &how.platform {
        verifier = verifier.with_platform(platform.clone());
    }
    Ok(match show::progress() {
        Some(progress) => verifier.with_progress(progress),
        None => verifier,
    })
}
