//! Containerd's image verifier plugin: is called for each image that is pulled, and admits those that the policy admits.
//!
//! The contract: `-name REF -digest DIGEST -stdin-media-type TYPE`, a descriptor on standard input, the reason on standard output. Exit code 0 admits; all
//! others reject.
//!
//! Rules:
//! - There is a decision in time, or a refusal. Whatever hangs, hangs in a thread that nobody waits for.
//! - Nothing but a decision to admit exits with 0, but for `--help` and `--version` alone.

mod decide;
mod request;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use plimsoll::name::ImageName;
use plimsoll::policy::{MACHINE_POLICY, NodeTerms, Policy, proof};

use crate::decide::chain;
use crate::request::Arguments;

/// Below the 32 KiB of which containerd keeps the reason; nobody reads more.
const REASON_MAX: usize = 4096;
/// Where a machine keeps the state of its services.
const STATE: &str = "/var/lib/plimsoll";

const HELP: &str = "\
Decides for containerd whether an image may be pulled, by a plimsoll policy.

containerd calls it so, with a descriptor on standard input:
  plimsoll-verifier -name REF -digest DIGEST -stdin-media-type TYPE

Exit code 0 admits; all others reject. The reason is on standard output.

Environment:
  PLIMSOLL_POLICY  the policy file [default: /etc/plimsoll/policy.toml]
  PLIMSOLL_STATE   where trusted metadata is kept [default: /var/lib/plimsoll]
";

/// What the thread that decides has to say.
enum Message {
    /// So long after the start there must be a decision.
    Until(Duration),
    Decided(Result<String, String>),
}

fn main() -> ExitCode {
    let start = Instant::now();
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.first().and_then(|first| first.to_str()) {
        Some("--help" | "-h" | "-help") if arguments.len() == 1 => return finish(HELP, 0),
        Some("--version" | "-V" | "-version") if arguments.len() == 1 => {
            return finish(concat!("plimsoll-verifier ", env!("CARGO_PKG_VERSION"), "\n"), 0);
        }
        _ => {}
    }

    let (tell, told) = mpsc::channel();
    // Reading standard input may hang, too.
    let thread = thread::Builder::new().spawn(move || {
        let decision = decide(arguments, start, &tell);
        let _nobody_waits_any_more = tell.send(Message::Decided(decision));
    });
    let mut limit = NodeTerms::DEFAULT.timeout;
    let decision = loop {
        if let Err(error) = &thread {
            break Err(format!("cannot start a thread: {error}"));
        }
        match told.recv_timeout(limit.saturating_sub(start.elapsed())) {
            Ok(Message::Until(until)) => limit = until,
            Ok(Message::Decided(decision)) => break decision,
            Err(RecvTimeoutError::Timeout) => break Err(format!("no decision within {} s", limit.as_secs_f32())),
            Err(RecvTimeoutError::Disconnected) => break Err("the check ended without a result".to_owned()),
        }
    };
    match decision {
        Ok(reason) => finish(&paragraph("admitted: ", &reason), 0),
        Err(reason) => finish(&paragraph("refused: ", &reason), 1),
    }
}

fn decide(arguments: Vec<OsString>, start: Instant, tell: &Sender<Message>) -> Result<String, String> {
    let arguments = Arguments::parse(arguments.into_iter())?;
    let name = ImageName::parse(&arguments.name).map_err(|e| e.to_string())?;
    if let Some(proof) = proof(&name) {
        return Err(format!("plimsoll-verifier was called for plimsoll doctor, proof {proof}"));
    }
    let file = env::var_os("PLIMSOLL_POLICY").map_or_else(|| PathBuf::from(MACHINE_POLICY), PathBuf::from);
    let policy = Policy::read(&file).map_err(|e| chain(&e))?;
    let request = arguments.request(io::stdin().lock()).map_err(|e| format!("{name}: {e}"))?;
    let state = env::var_os("PLIMSOLL_STATE").map_or_else(|| PathBuf::from(STATE), PathBuf::from);
    if !state.is_absolute() {
        return Err("PLIMSOLL_STATE: expected an absolute path".to_owned());
    }
    decide::decide(&policy, &name, request, Path::new(&state), start, |until| {
        let _nobody_waits_any_more = tell.send(Message::Until(until));
    })
}

/// One paragraph, not too long, that ends in a line break.
fn paragraph(verdict: &str, reason: &str) -> String {
    let plain = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
    let text: String = verdict.chars().chain(plain).take(REASON_MAX).collect();
    format!("{}\n", text.trim())
}

/// An admission that could not be told is none.
fn finish(text: &str, code: u8) -> ExitCode {
    let mut out = io::stdout().lock();
    let told = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    ExitCode::from(if told.is_ok() { code } else { 1 })
}
