//! `plimsoll load`: what was verified, into the standard input of a loader.
//!
//! The archive is written by a thread of its own, which may hang for as long as somebody keeps the pipe open and does not read: the loader's
//! end is what counts. What the loader prints is passed on to standard error, line by line, and its end is kept for the verdict.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use plimsoll::image::VerifiedImage;
use plimsoll::image::archive::Archive;
use plimsoll::image::write::{self, WriteError};
use plimsoll::limits::ArchiveLimits;
use plimsoll::text::escaped;
use plimsoll::verdict::{Loaded, Verdict};

use crate::args::{Load, Loader, Tar, word};
use crate::records::Records;
use crate::{show, verify};

/// How often a loader is asked whether it has ended while the archive is being written.
const POLL: Duration = Duration::from_millis(20);
/// How long to wait, once the loader has ended, for what it printed and for what became of the last piece that it was given.
const GRACE: Duration = Duration::from_secs(1);
/// How much of what a loader printed is kept: its last words, which say why it failed.
const KEPT: usize = 4096;
/// The longest line that is passed on as one.
const LINE: usize = 4096;

/// The verdict on the archive, and on what the loader made of it.
pub(crate) fn load(arguments: &Load, records: &Records<'_>) -> Result<Verdict, Box<Verdict>> {
    let (verdict, archive) = verify(&arguments.verify, records)?;
    let verdict = records.before_handing_on(verdict);
    let images: Vec<VerifiedImage> = verdict.images().cloned().collect();
    if images.is_empty() {
        return Ok(verdict);
    }
    let limits = arguments.verify.limits();
    let (program, loader_arguments) = command_line(arguments);
    let shown = shown(&program, &loader_arguments);
    Ok(match run(&program, &loader_arguments, Writer { form: arguments.form, images, archive, limits }) {
        Ok(output) => verdict.with_loaded(Loaded::new(&shown, &word(&arguments.form), &output)),
        Err(Failed::Missing(error)) => {
            verdict.not_loaded("loader-missing", &format!("{}: cannot be started: {error}", escaped(&shown)))
        }
        Err(Failed::Loader(what)) => verdict.not_loaded("loader-failed", &format!("{}: {what}", escaped(&shown))),
        Err(Failed::Archive(error)) => verdict.not_written(&error),
    })
}

fn command_line(arguments: &Load) -> (OsString, Vec<OsString>) {
    let (program, first): (&OsStr, &[&str]) = match (&arguments.into_command, arguments.into) {
        (Some(program), _) => (program, &[]),
        (None, Loader::Docker) => ("docker".as_ref(), &["load"]),
        (None, Loader::Podman) => ("podman".as_ref(), &["load"]),
        (None, Loader::Nerdctl) => ("nerdctl".as_ref(), &["load"]),
        (None, Loader::Ctr) => ("ctr".as_ref(), &["images", "import"]),
    };
    let mut all: Vec<OsString> = first.iter().map(OsString::from).collect();
    all.extend(arguments.into_arg.iter().cloned());
    if arguments.into_command.is_none() && arguments.into == Loader::Ctr {
        // The place of the file's name, after all options.
        all.push("-".into());
    }
    (program.to_owned(), all)
}

fn shown(program: &OsStr, arguments: &[OsString]) -> String {
    let words: Vec<_> = [program].into_iter().chain(arguments.iter().map(OsString::as_os_str)).collect();
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}

enum Failed {
    Missing(io::Error),
    /// What the loader did, in words.
    Loader(String),
    Archive(WriteError),
}

/// Runs the loader to its end; returns what it printed, as far as it is kept.
fn run(program: &OsStr, arguments: &[OsString], writer: Writer) -> Result<String, Failed> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Failed::Missing)?;
    let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Failed::Loader("it has no pipes".to_owned()));
    };
    let (out, err) = (pass_on(stdout), pass_on(stderr));
    let (status, written) = feed(&mut child, writer.start(stdin)).map_err(Failed::Archive)?;
    let (out, err) = (out.last_words(), err.last_words());
    let status = status.map_err(|e| Failed::Loader(format!("it is not known how it ended: {e}")))?;
    if status.success() && written {
        return Ok(out);
    }
    let words = [err, out].into_iter().find(|words| !words.is_empty());
    let words = words.map_or_else(String::new, |words| format!(", and said: {}", escaped(tail(&words))));
    let what = if status.success() { "it ended before it had read the archive" } else { "it failed" };
    Err(Failed::Loader(format!("{what} ({status}){words}")))
}

type Written = (Result<(), WriteError>, ChildStdin);

/// What is to be written, and from where.
struct Writer {
    form: Tar,
    images: Vec<VerifiedImage>,
    archive: Archive,
    limits: ArchiveLimits,
}

impl Writer {
    /// Starts to write the archive. The pipe comes back as well: closed, it would look like the archive's end.
    fn start(self, mut stdin: ChildStdin) -> Receiver<Written> {
        let (send, receive) = channel();
        thread::spawn(move || {
            let Self { form, images, archive, limits } = self;
            let result = match form {
                Tar::DockerArchive => write::docker_archive(&images, &archive, &limits, &mut stdin),
                Tar::OciArchive => write::oci_archive(&images, &archive, &limits, &mut stdin),
            };
            // Nobody listens any more if the loader has ended.
            let _ = send.send((result, stdin));
        });
        receive
    }
}

/// Waits until the archive is written and the loader has ended: how it ended, and whether it read all of the archive.
///
/// If the archive cannot be had, the loader is killed before it can see the end of what it was given.
fn feed(child: &mut Child, written: Receiver<Written>) -> Result<(io::Result<ExitStatus>, bool), WriteError> {
    let mut ended = None;
    let written = loop {
        match written.recv_timeout(if ended.is_some() { GRACE } else { POLL }) {
            Ok(written) => break Some(written),
            Err(RecvTimeoutError::Timeout) if ended.is_none() => ended = child.try_wait().transpose(),
            // Somebody else keeps the pipe open, or the writer is gone.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break None,
        }
    };
    let whole = match written {
        Some((Ok(()), _closed)) => true,
        // The loader has closed the pipe.
        Some((Err(WriteError::Write { .. }), _closed)) => false,
        Some((Err(error), still_open)) => {
            // This fails if it runs with more rights, as sudo does. Then it sees the end of a cut archive.
            let _ended_or_stronger = child.kill();
            drop(still_open);
            let _nobody_asks = child.wait();
            return Err(error);
        }
        None => false,
    };
    Ok((ended.unwrap_or_else(|| child.wait()), whole))
}

/// What a loader prints.
struct Printed {
    /// The last of it.
    kept: Arc<Mutex<Vec<u8>>>,
    /// Closed when there is no more.
    ended: Receiver<()>,
}

/// Passes what a loader prints on to standard error, line by line, in a thread.
fn pass_on(mut from: impl Read + Send + 'static) -> Printed {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (until_the_end, ended) = channel();
    let printed = Printed { kept: Arc::clone(&kept), ended };
    thread::spawn(move || {
        let _until_the_end = until_the_end;
        let (mut buffer, mut line) = ([0; LINE], Vec::new());
        loop {
            let read = match from.read(&mut buffer) {
                Ok(n) => buffer.get(..n).unwrap_or_default(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => &[],
            };
            if read.is_empty() {
                return print_line(&mut line);
            }
            for byte in read {
                let is_end = matches!(byte, b'\n' | b'\r');
                if is_end || line.len() >= LINE {
                    print_line(&mut line);
                }
                line.extend(Some(*byte).filter(|_| !is_end));
            }
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(read);
            let surplus = kept.len().saturating_sub(KEPT);
            kept.drain(..surplus);
        }
    });
    printed
}

fn print_line(line: &mut Vec<u8>) {
    if !line.is_empty() {
        show::diagnostic(&format!("{}\n", escaped(&String::from_utf8_lossy(line))));
        line.clear();
    }
}

impl Printed {
    /// The last of it, without the white space around it. The loader has ended; somebody else may keep the pipe open for ever.
    fn last_words(self) -> String {
        let _closed_or_not = self.ended.recv_timeout(GRACE);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).trim().to_owned()
    }
}

/// The end of a text, as long as a message shows it whole.
fn tail(text: &str) -> &str {
    const SHOWN: usize = 250;
    let start = text.char_indices().rev().nth(SHOWN).map_or(0, |(at, _)| at);
    text.get(start..).unwrap_or(text)
}
