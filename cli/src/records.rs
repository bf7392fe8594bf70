//! What is kept of a verdict: `--record`, a file to which each verdict is added as a line, and `--vsa`, a verification summary of it.
//!
//! Rules:
//! - Both are opened before anything is verified, so that what cannot be written is noticed early.
//! - Of an image that is about to be handed on, the record is on disk before anybody gets the image.
//! - What was to be kept and is not makes a verdict that is not "trusted".
//! - A line is written in one go, under a lock, behind what is there. A last line without its end is left as it is, and never joined to.
//! - The summary takes its name last, when it is whole and the record has the verdict.

use std::cell::Cell;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use chrono::Utc;
use plimsoll::digest::{Sha256, Sha256Hasher};
use plimsoll::image::archive::Archive;
use plimsoll::image::read_at::ReadAt;
use plimsoll::text::quoted;
use plimsoll::verdict::{Basis, Event, Recorded, Summary, Verdict};
use tempfile::NamedTempFile;

use crate::args::How;
use crate::authority::Chosen;
use crate::{input, output, show};

/// How long to wait for another process that adds its line.
const LOCK_WAIT: Duration = Duration::from_secs(30);
const LOCK_RETRY: Duration = Duration::from_millis(20);
/// The project's own address: who verifies, if nobody says who runs it.
const VERIFIER: &str = env!("CARGO_PKG_REPOSITORY");

/// What is to be kept of one run.
pub(crate) struct Records<'a> {
    arguments: &'a How,
    record: Option<Record>,
    summary: Option<NewSummary>,
    /// Of an archive that is not trusted, if a summary is wanted.
    refused: Cell<Option<Sha256>>,
}

/// Makes the verdict, and keeps of it what the arguments ask for.
pub(crate) fn kept(
    arguments: &How,
    archive: &Path,
    verdict: impl FnOnce(&Records<'_>) -> Result<Verdict, Box<Verdict>>,
) -> Verdict {
    match Records::open(arguments, archive) {
        Ok(records) => {
            let verdict = verdict(&records).unwrap_or_else(|verdict| *verdict);
            records.keep(verdict)
        }
        Err(verdict) => *verdict,
    }
}

impl<'a> Records<'a> {
    fn open(arguments: &'a How, archive: &Path) -> Result<Self, Box<Verdict>> {
        let archive = archive.display().to_string();
        let record = arguments.record.as_deref().map(Record::open).transpose();
        let record = record.map_err(|e| Box::new(Verdict::not_started("record-not-written", &e, &archive)))?;
        // From here on there is a record, of what goes wrong as well.
        let kept = |verdict: Verdict| {
            let records = Self { arguments, record: record.clone(), summary: None, refused: Cell::new(None) };
            Box::new(records.keep(verdict))
        };
        let summary = arguments.vsa.as_deref().map(|path| NewSummary::open(path, arguments)).transpose();
        let summary = summary.map_err(|(code, e)| kept(Verdict::not_started(code, &e, &archive)))?;
        Ok(Self { arguments, record, summary, refused: Cell::new(None) })
    }

    /// Notes of an archive that is not trusted what it was, as long as it is open.
    pub(crate) fn refused(&self, verdict: &Verdict, archive: &Archive) {
        let changed = verdict.findings().iter().any(|finding| finding.code() == "archive-changed");
        let is_as_given = !archive.is_folder() && archive.compression().is_none();
        if self.summary.is_some() && !verdict.is_trusted() && !verdict.is_undecided() && is_as_given && !changed {
            self.refused.set(digest(archive).ok());
        }
    }

    /// The verdict, once the record says that its images are about to be handed on.
    pub(crate) fn before_handing_on(&self, verdict: Verdict) -> Verdict {
        match &self.record {
            Some(record) if verdict.is_trusted() => match record.add(&verdict, Event::HandingOn) {
                Ok(()) => verdict,
                Err(e) => verdict.not_recorded("record-not-written", &e),
            },
            _ => verdict,
        }
    }

    fn keep(self, verdict: Verdict) -> Verdict {
        let Self { arguments, record, summary, refused } = self;
        let (verdict, ready) = match summary {
            Some(summary) => summary.fill(verdict, refused.get(), arguments),
            None => (verdict, None),
        };
        let verdict = add(record.as_ref(), verdict);
        match ready {
            Some(ready) if !verdict.is_undecided() => match ready.persist() {
                Ok(()) => verdict,
                // The last line is the one that counts.
                Err(e) => add(record.as_ref(), verdict.not_recorded("vsa-not-written", &e)),
            },
            _ => verdict,
        }
    }
}

fn add(record: Option<&Record>, verdict: Verdict) -> Verdict {
    match record.map_or(Ok(()), |record| record.add(&verdict, Event::Verdict)) {
        Ok(()) => verdict,
        Err(e) => verdict.not_recorded("record-not-written", &e),
    }
}

/// The file to which verdicts are added. It is opened for each line, for somebody may rotate it meanwhile.
#[derive(Clone)]
struct Record {
    path: PathBuf,
    run: String,
}

impl Record {
    /// Makes the file if it is not there, and looks at whether it can be added to.
    fn open(path: &Path) -> Result<Self, String> {
        if path.as_os_str() == "-" {
            return Err("standard output is for the verdict: name a file as the record".to_owned());
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let run = format!("{:x}-{}", since.as_nanos(), std::process::id());
        let record = Self { path: path.to_owned(), run };
        record.lock().map_err(|e| record.failed(&e)).map(|_| record)
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("cannot write the record {}: {error}", quoted(&self.path.display().to_string()))
    }

    fn add(&self, verdict: &Verdict, event: Event) -> Result<(), String> {
        let recorded = Recorded { time: Utc::now(), run: self.run.clone(), event };
        self.append(&verdict.to_json_line(&recorded)).map_err(|e| self.failed(&e))
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let mut file = self.lock()?;
        let is_new = file.metadata()?.len() == 0;
        // A line that was cut, by a full disk or a killed process, gets its end now.
        let end = if is_new || last_byte(&file)? == Some(b'\n') { "" } else { "\n" };
        let bytes = format!("{end}{line}").into_bytes();
        // One write: a reader that follows the file sees whole lines, and so does whoever adds to it without the lock.
        let written = loop {
            match file.write(&bytes) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                written => break written?,
            }
        };
        if written != bytes.len() {
            let what = format!("only {written} of {} bytes were written; is the disk full?", bytes.len());
            return Err(io::Error::new(io::ErrorKind::WriteZero, what));
        }
        file.sync_all()?;
        if is_new {
            // A new file lasts only once its folder is on disk.
            #[cfg(unix)]
            File::open(output::beside(&self.path))?.sync_all()?;
        }
        Ok(())
    }

    /// The file that has the name now, locked. It is unlocked when it is closed.
    fn lock(&self) -> io::Result<File> {
        let started = Instant::now();
        loop {
            let file = open(&self.path)?;
            match file.try_lock() {
                Ok(()) if has_still_its_name(&file, &self.path) => {
                    is_record(&file)?;
                    return Ok(file);
                }
                // It was moved away while it was waited for.
                Ok(()) | Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_WAIT => thread::sleep(LOCK_RETRY),
                Ok(()) => return Err(io::Error::other("it is moved away again and again")),
                Err(TryLockError::WouldBlock) => return Err(io::Error::other("another process keeps it locked")),
                Err(TryLockError::Error(e)) => return Err(e),
            }
        }
    }
}

/// Opens the file to be added to, or makes it, for nobody but its owner to read. What is there must be a regular file itself: no link, which may lead to a
/// file of somebody else, and nothing that would be waited for.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW;
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| match e {
        Errno::LOOP => io::Error::other("it is a symbolic link; name the file itself"),
        e => e.into(),
    })?;
    regular(File::from(file))
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        return Err(io::Error::other("it is a symbolic link; name the file itself"));
    }
    regular(File::options().read(true).append(true).create(true).open(path)?)
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

#[cfg(unix)]
fn has_still_its_name(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    matches!((file.metadata(), fs::symlink_metadata(path)), (Ok(a), Ok(b)) if same(&a, &b))
}

#[cfg(not(unix))]
fn has_still_its_name(_: &File, _: &Path) -> bool {
    true
}

/// A line added to an archive, or to a root, helps nobody: what is there already must begin as a record does, or as one that was cut in its first line.
fn is_record(file: &File) -> io::Result<()> {
    const START: &[u8] = b"{\"recorded\":";
    let mut first = [0; START.len()];
    let n = read_full(file, &mut first)?;
    let is_start = first.get(..n).is_some_and(|first| START.starts_with(first));
    if is_start { Ok(()) } else { Err(io::Error::other("what is in it is no record of verdicts")) }
}

/// As many of the first bytes as there are and fit.
fn read_full(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n = 0_usize;
    while let Some(rest) = buffer.get_mut(n..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, u64::try_from(n).unwrap_or(u64::MAX))? {
            0 => break,
            more => n = n.saturating_add(more),
        }
    }
    Ok(n)
}

/// Whether the record would be replaced by what is written to `output`.
pub(crate) fn is_the_record(arguments: &How, output: &Path) -> bool {
    let Some(record) = &arguments.record else { return false };
    let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    whole(record) == whole(output)
}

fn last_byte(file: &File) -> io::Result<Option<u8>> {
    let Some(at) = file.metadata()?.len().checked_sub(1) else { return Ok(None) };
    let mut last = [0; 1];
    Ok((file.read_at(&mut last, at)? == 1).then_some(last[0]))
}

/// A verification summary that has no name yet.
struct NewSummary {
    path: PathBuf,
    file: NamedTempFile,
    basis: Basis,
}

impl NewSummary {
    /// Refused where something is already: an old summary must not be taken for the one of this run.
    fn open(path: &Path, arguments: &How) -> Result<Self, (&'static str, String)> {
        let shown = path.display().to_string();
        if shown == "-" {
            let what = "standard output is for the verdict: name a file for the verification summary";
            return Err(("vsa-not-written", what.to_owned()));
        }
        if fs::symlink_metadata(path).is_ok() {
            return Err(("output-exists", format!("{} is there already", quoted(&shown))));
        }
        let file = output::new_file(output::beside(path)).map_err(|e| ("vsa-not-written", unwritable(path, &e)))?;
        let basis = match arguments.authority.chosen()? {
            Chosen::One(_) => Basis::Root,
            Chosen::Map(map) => Basis::Map(digest_of("map", &map).map_err(|e| ("map-unreadable", e))?),
            Chosen::Policy(file) => Basis::Policy(digest_of("policy", &file).map_err(|e| ("policy-unreadable", e))?),
        };
        Ok(Self { path: path.to_owned(), file, basis })
    }

    /// Writes the summary, if there can be one of this verdict.
    fn fill(mut self, verdict: Verdict, refused: Option<Sha256>, arguments: &How) -> (Verdict, Option<Self>) {
        let summary = Summary {
            verifier: arguments.vsa_verifier.clone().unwrap_or_else(|| VERIFIER.to_owned()),
            time: arguments.authority.time.unwrap_or_else(Utc::now),
            basis: self.basis,
            metadata: metadata_address(arguments),
            archive: refused,
        };
        let text = match verdict.to_summary(&summary) {
            Ok(text) => text,
            Err(e) if verdict.is_trusted() => {
                return (verdict.not_recorded("vsa-not-written", &format!("no verification summary: {e}")), None);
            }
            Err(e) => {
                show::diagnostic(&format!("plimsoll: no verification summary is written: {e}\n"));
                return (verdict, None);
            }
        };
        match self.file.write_all(text.as_bytes()).and_then(|()| self.file.as_file().sync_all()) {
            Ok(()) => (verdict, Some(self)),
            Err(e) => (verdict.not_recorded("vsa-not-written", &unwritable(&self.path, &e)), None),
        }
    }

    fn persist(self) -> Result<(), String> {
        let Self { path, file, .. } = self;
        file.persist_noclobber(&path).map_err(|e| unwritable(&path, &e.error))?;
        #[cfg(unix)]
        File::open(output::beside(&path)).and_then(|folder| folder.sync_all()).map_err(|e| unwritable(&path, &e))?;
        Ok(())
    }
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("cannot write the verification summary {}: {error}", quoted(&path.display().to_string()))
}

fn digest_of(what: &str, path: &Path) -> Result<Sha256, String> {
    input::root(path).map(|bytes| Sha256::of(&bytes)).map_err(|e| e.replacen("pinned root", what, 1))
}

/// Where the metadata files are, if that is an address that says nothing but that.
fn metadata_address(arguments: &How) -> Option<String> {
    let repository = &arguments.authority.repository;
    let (place, below) = match (&repository.repository, &repository.metadata) {
        (Some(place), _) => (place, "/metadata"),
        (None, metadata) => (metadata.as_ref()?, ""),
    };
    let address = place.to_str()?;
    let is_plain = ["http://", "https://"].iter().any(|scheme| address.starts_with(scheme))
        && !address.contains(['@', '?', '#'])
        && address.bytes().all(|b| b.is_ascii_graphic());
    is_plain.then(|| format!("{}{below}", address.trim_end_matches('/')))
}

fn digest(archive: &Archive) -> io::Result<Sha256> {
    let (mut hasher, mut buffer, mut at) = (Sha256Hasher::new(), vec![0; 1 << 20], 0_u64);
    loop {
        let n = archive.read_at(&mut buffer, at)?;
        if n == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(buffer.get(..n).unwrap_or_default());
        at = at.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
    }
}
