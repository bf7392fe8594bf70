//! What the command prints: the verdict on standard output, everything else on standard error; colour and progress on a terminal only.

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use plimsoll::text::escaped;
use plimsoll::verdict::Verdict;

use crate::args::Format;

/// Prints the verdict on standard output; the exit code is a projection of it. A verdict that nobody could read counts as undecided.
pub(crate) fn verdict(verdict: &Verdict, format: Format) -> ExitCode {
    print(verdict, format, io::stdout())
}

/// The verdicts on several archives: a line each on standard output, and at the end how many there were of each kind.
pub(crate) struct Summary {
    format: Format,
    trusted: usize,
    untrusted: usize,
    undecided: usize,
    printed: io::Result<()>,
}

impl Summary {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, trusted: 0, untrusted: 0, undecided: 0, printed: Ok(()) }
    }

    pub(crate) fn add(&mut self, verdict: &Verdict) {
        let count = match verdict.exit_code() {
            0 => &mut self.trusted,
            1 => &mut self.untrusted,
            _ => &mut self.undecided,
        };
        *count = count.saturating_add(1);
        let mut to = io::stdout();
        let line = match self.format {
            Format::Json => verdict.to_json_compact(),
            Format::Human if colours(&to) => coloured(verdict, &verdict.to_line()),
            Format::Human => verdict.to_line(),
        };
        let printed = to.write_all(line.as_bytes()).and_then(|()| to.flush());
        if self.printed.is_ok() {
            self.printed = printed;
        }
    }

    /// The exit code of the worst of them: "not trusted" is worse than "undecided".
    pub(crate) fn end(self) -> ExitCode {
        let Self { format, trusted, untrusted, undecided, printed } = self;
        let all = trusted.saturating_add(untrusted).saturating_add(undecided);
        let text = format!("{all} archives: {trusted} trusted, {untrusted} not trusted, {undecided} undecided\n");
        let printed = printed.and_then(|()| match format {
            Format::Human => io::stdout().write_all(text.as_bytes()),
            // Standard output is for verdicts alone.
            Format::Json => {
                diagnostic(&text);
                Ok(())
            }
        });
        if let Err(e) = &printed {
            diagnostic(&format!("plimsoll: cannot print the verdicts: {e}\n"));
        }
        match (untrusted, undecided) {
            (0, 0) if printed.is_ok() => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(2),
            (_, _) => ExitCode::from(1),
        }
    }
}

/// The same on standard error, for standard output is taken.
pub(crate) fn verdict_aside(verdict: &Verdict, format: Format) -> ExitCode {
    print(verdict, format, io::stderr())
}

fn print(verdict: &Verdict, format: Format, mut to: impl Write + IsTerminal) -> ExitCode {
    let text = match format {
        Format::Json => verdict.to_json(),
        Format::Human if colours(&to) => coloured(verdict, &verdict.to_string()),
        Format::Human => verdict.to_string(),
    };
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Ok(()) => ExitCode::from(verdict.exit_code()),
        Err(e) => {
            diagnostic(&format!("plimsoll: cannot print the verdict: {e}\n"));
            ExitCode::from(if verdict.is_trusted() { 2 } else { verdict.exit_code() })
        }
    }
}

/// Prints an answer on standard output. One that nobody could read counts as undecided.
pub(crate) fn text(text: &str, exit_code: u8) -> ExitCode {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(exit_code),
        Err(e) => {
            diagnostic(&format!("plimsoll: cannot print the answer: {e}\n"));
            ExitCode::from(if exit_code == 0 { 2 } else { exit_code })
        }
    }
}

/// Help or version, on standard output.
pub(crate) fn help(text: &clap::Error) -> ExitCode {
    match text.print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}

/// Prints on standard error. If even that fails there is nobody left to tell.
pub(crate) fn diagnostic(text: &str) {
    let _nobody_to_tell = io::stderr().lock().write_all(text.as_bytes());
}

/// A usage error, fit for a terminal: it repeats arguments as they were given, and names of files may be anybody's.
pub(crate) fn printable(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", escaped(line))).collect()
}

/// The first line of a usage error, without its prefix, fit for a terminal.
pub(crate) fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    escaped(line.strip_prefix("error: ").unwrap_or(line)).to_string()
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// The first line in green, red or yellow.
fn coloured(verdict: &Verdict, text: &str) -> String {
    let colour = match verdict.exit_code() {
        0 => "\x1b[1;32m",
        1 => "\x1b[1;31m",
        _ => "\x1b[1;33m",
    };
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    format!("{colour}{first}\x1b[0m\n{rest}")
}

/// On a terminal, unless the user does not want colours (no-color.org).
fn colours(stream: &impl IsTerminal) -> bool {
    let unset = |name| env::var_os(name).is_none_or(|value| value.is_empty());
    stream.is_terminal() && unset("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A line on standard error that says how far the check is, if that is a terminal; gone again at the end.
pub(crate) fn progress() -> Option<impl Fn(u64, u64) + Send + Sync + 'static> {
    const EVERY: Duration = Duration::from_millis(100);
    if !io::stderr().is_terminal() {
        return None;
    }
    let last = Mutex::new(Instant::now());
    Some(move |done: u64, total: u64| {
        // Whoever comes while another thread prints has nothing newer to say.
        let Ok(mut last) = last.try_lock() else { return };
        if done >= total {
            diagnostic("\r\x1b[K");
        } else if last.elapsed() >= EVERY {
            *last = Instant::now();
            let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
            diagnostic(&format!("\rchecking: {percent} % of {} MB", total.div_ceil(1_000_000)));
        }
    })
}
