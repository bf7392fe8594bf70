//! `plimsoll doctor`: proves on a node that containerd asks plimsoll-verifier before it pulls an image.
//!
//! An empty or missing folder of verifiers admits everything, and says nothing; so does a containerd without the plugin. So it is not enough to look at the
//! configuration: containerd is made to pull an image that is never admitted, and must be stopped by words that only the verifier knows.

mod containerd;
mod registry;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use plimsoll::name::ImageName;
use plimsoll::policy::{Authority, MACHINE_POLICY, PROBE, Policy, Terms, proof, read_root};
use plimsoll::text::{escaped, quoted};
use serde::Serialize;

use self::containerd::Plugin;
use crate::args::Format;
use crate::{policy, show};

pub(crate) const HELP: &str = "Exit codes: 0 containerd was stopped by the verifier, and nothing else is wrong; 1 something is wrong; 2 it could not be told. \
It has containerd pull an image that no policy admits from a registry of its own on this machine, so run it as root on the node.";

const VERIFIER: &str = "plimsoll-verifier";
/// Of what a node's verifier needs beside its deadline: to start, and to be heard.
const SPARE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The policy that the verifier reads
    #[arg(long, value_name = "FILE", default_value = MACHINE_POLICY)]
    policy: PathBuf,

    /// Where the verifier keeps trusted metadata
    #[arg(long, value_name = "DIR", default_value = "/var/lib/plimsoll")]
    state: PathBuf,

    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Wrong,
    /// It could not be told.
    Unknown,
}

#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    status: Status,
    message: String,
}

#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    /// Whether containerd was seen to be stopped by the verifier.
    proven: bool,
    checks: Vec<Check>,
}

pub(crate) fn doctor(arguments: &Doctor) -> ExitCode {
    let mut checks = Vec::new();
    let plugin = look_at_containerd(&mut checks);
    look_at_policy(arguments, plugin.as_ref(), &mut checks);
    look_at_state(arguments, &mut checks);
    look_at_clock(&mut checks);
    let proof = prove();
    let proven = proof.status == Status::Ok;
    checks.push(proof);

    let is = |status| checks.iter().any(|check| check.status == status);
    let code = if is(Status::Wrong) { 1 } else { u8::from(is(Status::Unknown)).saturating_mul(2) };
    let report = Report { schema: "plimsoll/doctor/v1", proven, checks };
    let text = match arguments.format {
        Format::Json => serde_json::to_string_pretty(&report).unwrap_or_default() + "\n",
        Format::Human => report.to_text(),
    };
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::from(2),
    }
}

impl Report {
    fn to_text(&self) -> String {
        let head = if self.proven {
            "proven: containerd was stopped by the verifier\n"
        } else {
            "not proven: containerd was not seen to be stopped by the verifier\n"
        };
        let word = |status| match status {
            Status::Ok => "ok",
            Status::Wrong => "wrong",
            Status::Unknown => "unknown",
        };
        let lines =
            self.checks.iter().map(|check| format!("  {:<8}{}: {}\n", word(check.status), check.check, check.message));
        [head.to_owned()].into_iter().chain(lines).collect()
    }
}

fn look_at_containerd(checks: &mut Vec<Check>) -> Option<Plugin> {
    let mut say = |check, status, message| checks.push(Check { check, status, message });
    match containerd::version() {
        Ok((major, text)) if major >= 2 => say("containerd", Status::Ok, text),
        Ok((_, text)) => {
            say("containerd", Status::Wrong, format!("{text}: image verifiers need containerd 2.0 or later"))
        }
        Err(error) => say("containerd", Status::Unknown, error),
    }
    let plugin = match containerd::plugin() {
        Ok(plugin) => plugin,
        Err(error) => {
            say("configuration", Status::Unknown, error);
            return None;
        }
    };
    let shown = quoted(&plugin.bin_dir.display().to_string()).to_string();
    let seconds = plugin.timeout.as_secs_f32();
    let limits = format!("bin_dir {shown}, max_verifiers {}, per_verifier_timeout {seconds} s", plugin.max_verifiers);
    say("configuration", Status::Ok, limits);
    if plugin.pulls_locally {
        let message = "use_local_image_pull is true: the kubelet's pulls do not pass through the transfer service, so no verifier is asked";
        say("kubelet", Status::Wrong, message.to_owned());
    }
    let (status, message) = verifiers(&plugin, &shown);
    say("verifiers", status, message);
    Some(plugin)
}

/// What containerd would run, by name order.
fn verifiers(plugin: &Plugin, shown: &str) -> (Status, String) {
    let entries = match fs::read_dir(&plugin.bin_dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return (
                Status::Wrong,
                format!("there is no folder {shown}: containerd admits every image, and says nothing"),
            );
        }
        Err(e) => return (Status::Unknown, format!("cannot read the folder {shown}: {e}")),
    };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let listed = names.iter().map(|name| escaped(name).to_string()).collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        return (
            Status::Wrong,
            format!("the folder {shown} is empty: containerd admits every image, and says nothing"),
        );
    }
    let Some(place) = names.iter().position(|name| name == VERIFIER) else {
        return (Status::Wrong, format!("{VERIFIER} is not in the folder {shown}, which holds {listed}"));
    };
    // Below zero is no limit.
    if usize::try_from(plugin.max_verifiers).is_ok_and(|max| place >= max) {
        return (Status::Wrong, format!("{VERIFIER} comes after max_verifiers others, so it is passed over: {listed}"));
    }
    let path = plugin.bin_dir.join(VERIFIER);
    match is_guarded_program(&path) {
        Ok(None) => (Status::Ok, format!("runs, in this order: {listed}")),
        Ok(Some(why)) => (Status::Wrong, format!("{}: {why}", quoted(&path.display().to_string()))),
        Err(e) => (Status::Unknown, format!("cannot look at {}: {e}", quoted(&path.display().to_string()))),
    }
}

/// What is wrong with a verifier's file.
#[cfg(unix)]
fn is_guarded_program(path: &Path) -> io::Result<Option<&'static str>> {
    use std::os::unix::fs::MetadataExt;
    let found = fs::metadata(path)?;
    Ok(match found.mode() {
        mode if !found.is_file() || mode & 0o111 == 0 => Some("it is no program that can be run, so every pull fails"),
        mode if mode & 0o022 != 0 => Some("others than its owner may write it"),
        _ => None,
    })
}

#[cfg(not(unix))]
fn is_guarded_program(path: &Path) -> io::Result<Option<&'static str>> {
    Ok((!fs::metadata(path)?.is_file()).then_some("it is no program that can be run, so every pull fails"))
}

fn look_at_policy(arguments: &Doctor, plugin: Option<&Plugin>, checks: &mut Vec<Check>) {
    let mut say = |check, status, message| checks.push(Check { check, status, message });
    let policy = match Policy::read(&arguments.policy) {
        Ok(policy) => policy,
        Err(error) => return say("policy", Status::Wrong, format!("{} [{}]", show::chain(&error), error.code())),
    };
    let entries = policy.entries();
    let shown = quoted(&arguments.policy.display().to_string()).to_string();
    say("policy", Status::Ok, format!("{shown}, {} scopes", entries.len()));
    for entry in entries {
        let Terms::Rule(rule) = entry.terms() else { continue };
        let scope = entry.scope();
        if let Some(plugin) = plugin.filter(|plugin| rule.node.timeout.saturating_add(SPARE) > plugin.timeout) {
            let (timeout, given) = (rule.node.timeout.as_secs_f32(), plugin.timeout.as_secs_f32());
            let message = format!(
                "scope {scope}: node.timeout is {timeout} s, and containerd stops the verifier after {given} s, without a reason"
            );
            say("time", Status::Wrong, message);
        }
        let Authority::One { place, root } = &rule.authority else { continue };
        if let Err(error) = read_root(root) {
            say("root", Status::Wrong, format!("scope {scope}: {}", show::chain(&error)));
        }
        match policy::reachable(place) {
            Ok(()) => {
                say("repository", Status::Ok, format!("scope {scope}: {} answers", quoted(&policy::shown(place))))
            }
            Err(error) => say("repository", Status::Wrong, format!("scope {scope}: {error}")),
        }
    }
}

fn look_at_state(arguments: &Doctor, checks: &mut Vec<Check>) {
    let shown = quoted(&arguments.state.display().to_string()).to_string();
    let written = fs::create_dir_all(&arguments.state).and_then(|()| tempfile::tempfile_in(&arguments.state));
    let (status, message) = match written {
        Ok(_) => (Status::Ok, format!("{shown} can be written")),
        Err(e) => (Status::Wrong, format!("{shown} cannot be written, so nothing is admitted: {e}")),
    };
    checks.push(Check { check: "state", status, message });
}

/// A clock that was never set shows a time before this program was written.
fn look_at_clock(checks: &mut Vec<Check>) {
    let now = Utc::now();
    let is_set = "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().is_ok_and(|written| now > written);
    let status = if is_set { Status::Ok } else { Status::Wrong };
    checks.push(Check { check: "clock", status, message: format!("shows {}", now.format("%Y-%m-%dT%H:%M:%SZ")) });
}

/// Has containerd pull what no policy admits.
fn prove() -> Check {
    let say = |status, message: String| Check { check: "proof", status, message };
    let port = match registry::serve() {
        Ok(port) => port,
        Err(e) => return say(Status::Unknown, format!("cannot listen on this machine: {e}")),
    };
    // Nobody can know it beforehand, so no earlier answer can pass for this one.
    let nonce = RandomState::new().build_hasher().finish();
    let text = format!("localhost:{port}/{PROBE}:{nonce:016x}");
    let expected = ImageName::parse(&text).ok().and_then(|name| proof(&name));
    let Some(expected) = expected else { return say(Status::Unknown, format!("{text} is no name")) };
    let pulled = match containerd::pull(&text) {
        Ok(pulled) => pulled,
        Err(error) => return say(Status::Unknown, error),
    };
    let words = escaped(pulled.words.trim().lines().last().unwrap_or_default()).to_string();
    match (pulled.words.contains(&expected), pulled.is_done) {
        (true, false) => say(Status::Ok, format!("{VERIFIER} refused {text}, and containerd did not pull it")),
        (true, true) => say(Status::Wrong, format!("{VERIFIER} refused {text}, and containerd pulled it all the same")),
        (false, true) => {
            containerd::remove(&text);
            say(Status::Wrong, format!("containerd pulled {text} without asking {VERIFIER}: every image is admitted"))
        }
        (false, false) => {
            say(Status::Unknown, format!("containerd did not pull {text}, and not because of {VERIFIER}: {words}"))
        }
    }
}
