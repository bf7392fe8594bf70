//! `plimsoll policy`: looks at a policy file, and says which rule governs an image and why.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use plimsoll::client::{Location, Place, Source};
use plimsoll::digest::Sha256;
use plimsoll::limits::HttpLimits;
use plimsoll::name::ImageName;
use plimsoll::policy::{
    Authority, Contents, Entry, Policy, Rule, Ruling, Terms, Unreachable, default_policy, read_map, read_root,
};
use plimsoll::text::{escaped, quoted};
use serde::Serialize;

use crate::args::{Format, image};
use crate::show;

const CHECK_HELP: &str = "Exit codes: 0 a rule governs the image, so it may come to be trusted; 1 the policy refuses it; 2 the policy cannot be used. \
Nothing is verified.";

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Check the policy, or say which of its rules governs an image, and why
    #[command(after_help = CHECK_HELP)]
    Check(Check),
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The image: HOST/REPO:TAG, HOST/REPO@sha256:HEX or a short name [default: all of the policy]
    #[arg(value_name = "NAME", value_parser = image)]
    name: Option<ImageName>,

    /// The policy file [default: /etc/plimsoll/policy.toml if it is there, else policy.toml in the user's configuration folder]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    /// `governed`, `refused`, `valid` (of the whole policy) or `unusable`.
    result: &'static str,
    policy: Option<String>,
    image: Option<String>,
    /// The scope that governs the image, if one is asked for; else all of them.
    scopes: Vec<ScopeReport>,
    /// Scopes that are about the image too, and are less specific.
    passed_over: Vec<Found>,
    code: Option<&'static str>,
    message: Option<String>,
}

#[derive(Debug, Serialize)]
struct Found {
    scope: String,
    line: usize,
}

#[derive(Debug, Serialize)]
struct ScopeReport {
    scope: String,
    line: usize,
    refused: Option<String>,
    repository: Option<Part>,
    root: Option<Part>,
    map: Option<Part>,
    store: Option<String>,
    /// Where the image's manifest is signed.
    target: Option<String>,
    /// What only the contents of an image show.
    demands: Vec<&'static str>,
    base: Option<String>,
    max_staleness_seconds: i64,
    node: Option<NodeReport>,
}

/// A file or place that the rule names, and whether it can be read.
#[derive(Debug, Serialize)]
struct Part {
    place: String,
    sha256: Option<String>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct NodeReport {
    timeout_seconds: u64,
    /// `null`: refused.
    unreachable_seconds: Option<i64>,
    contents: &'static str,
}

pub(crate) fn policy(command: &PolicyCommand) -> ExitCode {
    let PolicyCommand::Check(arguments) = command;
    let report = check(arguments);
    let (text, code) = match arguments.format {
        Format::Json => (serde_json::to_string_pretty(&report).unwrap_or_default() + "\n", report.exit_code()),
        Format::Human => (report.to_text(), report.exit_code()),
    };
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::from(2),
    }
}

/// The policy that counts: the one that is named, or else the default one.
pub(crate) fn open(named: Option<&Path>) -> Result<Policy, (&'static str, String)> {
    let none = || ("policy-unreadable", "there is no policy; name one with --policy FILE".to_owned());
    let file = named.map(Path::to_path_buf).or_else(default_policy).ok_or_else(none)?;
    Policy::read(&file).map_err(|e| (e.code(), show::chain(&e)))
}

fn check(arguments: &Check) -> Report {
    let image = arguments.name.as_ref().map(ToString::to_string);
    let mut report = Report {
        schema: "plimsoll/policy-check/v1",
        result: "unusable",
        policy: None,
        image,
        scopes: Vec::new(),
        passed_over: Vec::new(),
        code: None,
        message: None,
    };
    let policy = match open(arguments.policy.as_deref()) {
        Ok(policy) => policy,
        Err((code, message)) => return Report { code: Some(code), message: Some(message), ..report },
    };
    report.policy = policy.file().map(|file| file.display().to_string());
    let Some(name) = &arguments.name else {
        let scopes = policy.entries().into_iter().map(|entry| scope(entry, None, false)).collect();
        return Report { result: "valid", scopes, ..report };
    };
    let (entry, result) = match policy.rule(name) {
        Ruling::Rule(entry, _) => (entry, "governed"),
        Ruling::Refused(entry, _) => (entry, "refused"),
        Ruling::NoScope => {
            return Report { result: "refused", message: Some("no scope is about it".to_owned()), ..report };
        }
    };
    let others = policy.matching(name).into_iter().filter(|other| other.scope() != entry.scope());
    let found = |entry: &Entry| Found { scope: entry.scope().to_string(), line: entry.position().line };
    Report { result, passed_over: others.map(found).collect(), scopes: vec![scope(entry, Some(name), true)], ..report }
}

/// What a scope says. Its repository is asked for one file only if that is of interest.
fn scope(entry: &Entry, name: Option<&ImageName>, asks: bool) -> ScopeReport {
    let mut report = ScopeReport {
        scope: entry.scope().to_string(),
        line: entry.position().line,
        refused: None,
        repository: None,
        root: None,
        map: None,
        store: None,
        target: None,
        demands: Vec::new(),
        base: None,
        max_staleness_seconds: 0,
        node: None,
    };
    let rule: &Rule = match entry.terms() {
        Terms::Refuse(why) => return ScopeReport { refused: Some(why.clone()), ..report },
        Terms::Rule(rule) => rule,
    };
    match &rule.authority {
        Authority::Map(map) => {
            let error = read_map(map).err().map(|e| show::chain(&e));
            report.map = Some(Part { place: map.display().to_string(), sha256: None, error });
        }
        Authority::One { place, root } => {
            let read = read_root(root);
            let sha256 = read.as_ref().ok().map(|bytes| Sha256::of(bytes).to_hex());
            let error = read.err().map(|e| show::chain(&e));
            report.root = Some(Part { place: root.display().to_string(), sha256, error });
            let error = if asks { reachable(place).err() } else { None };
            report.repository = Some(Part { place: shown(place), sha256: None, error });
        }
    }
    report.store = rule.store.as_ref().map(|store| store.display().to_string());
    report.target = name.and_then(|name| rule.target_paths.path(name, "manifest.json").ok());
    report.demands = rule.demands_of_contents();
    report.base = rule.requirements.base.as_ref().map(ToString::to_string);
    report.max_staleness_seconds = rule.max_staleness.num_seconds();
    report.node = Some(NodeReport {
        timeout_seconds: rule.node.timeout.as_secs(),
        unreachable_seconds: match rule.node.unreachable {
            Unreachable::Refuse => None,
            Unreachable::Within(within) => Some(within.num_seconds()),
        },
        contents: match rule.node.contents {
            Contents::Refuse => "refuse",
            Contents::Unchecked => "unchecked",
        },
    });
    report
}

/// Whether the repository has a timestamp, which all have. It is not checked.
pub(crate) fn reachable(place: &Place) -> Result<(), String> {
    let source = place.open(&HttpLimits::default()).map_err(|e| show::chain(&e))?;
    match source.metadata("timestamp.json") {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("it has no file timestamp.json".to_owned()),
        Err(error) => Err(show::chain(&error)),
    }
}

/// A place without user name and password.
pub(crate) fn shown(place: &Place) -> String {
    let one = |location: &Location| match location {
        Location::Folder(folder) => folder.display().to_string(),
        Location::Address(address) => {
            let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}/{path}")
        }
    };
    match place {
        Place::Whole(whole) => one(whole),
        Place::Apart { metadata, targets } => format!("{} and {}", one(metadata), one(targets)),
    }
}

impl Report {
    fn exit_code(&self) -> u8 {
        match self.result {
            "governed" | "valid" => 0,
            "refused" => 1,
            _ => 2,
        }
    }

    fn to_text(&self) -> String {
        let file = self.policy.as_deref().map(|file| quoted(file).to_string()).unwrap_or_default();
        let mut text = match (self.result, &self.image, &self.message) {
            ("valid", ..) => format!("valid: {file}, {} scopes\n", self.scopes.len()),
            ("governed" | "refused", Some(image), None) => format!("{}: {image} by {file}\n", self.result),
            ("refused", Some(image), Some(why)) => format!("refused: {image} by {file}\n  {why}\n"),
            (_, _, message) => format!("unusable: {}\n", message.as_deref().unwrap_or_default()),
        };
        if let Some(code) = self.code {
            text = format!("{} [{code}]\n", text.trim_end());
        }
        for scope in &self.scopes {
            scope.write(&mut text);
        }
        for other in &self.passed_over {
            text.push_str(&format!("  also about it, and less specific: {} (line {})\n", other.scope, other.line));
        }
        text
    }
}

impl ScopeReport {
    fn write(&self, text: &mut String) {
        let part = |part: &Part| {
            let place = quoted(&part.place);
            match (&part.error, &part.sha256) {
                (Some(error), _) => format!("{place}, which cannot be used: {error}"),
                (None, Some(sha256)) => format!("{place}, sha256:{sha256}"),
                (None, None) => place.to_string(),
            }
        };
        let mut lines = Vec::new();
        lines.extend(self.refused.as_ref().map(|why| ("refused", escaped(why).to_string())));
        lines.extend(self.map.as_ref().map(|map| ("map", part(map))));
        lines.extend(self.repository.as_ref().map(|repository| ("repository", part(repository))));
        lines.extend(self.root.as_ref().map(|root| ("root", part(root))));
        lines.extend(self.store.as_ref().map(|store| ("store", quoted(store).to_string())));
        lines.extend(self.target.as_ref().map(|target| ("signed at", quoted(target).to_string())));
        lines.extend(self.base.as_ref().map(|base| ("base", base.clone())));
        if !self.demands.is_empty() {
            lines.push(("demands of the contents", self.demands.join(", ")));
        }
        if self.max_staleness_seconds > 0 {
            lines.push(("expired metadata is accepted for", format!("{} s", self.max_staleness_seconds)));
        }
        if let Some(node) = &self.node {
            let away = node
                .unreachable_seconds
                .map_or_else(|| "refused".to_owned(), |within| format!("by local metadata of the last {within} s"));
            let contents = if self.demands.is_empty() { "" } else { node.contents };
            let contents = if contents.is_empty() { String::new() } else { format!("; contents: {contents}") };
            lines.push((
                "on a node",
                format!("within {} s; while the repository is away: {away}{contents}", node.timeout_seconds),
            ));
        }
        text.push_str(&format!("  scope {} (line {})\n", self.scope, self.line));
        lines.iter().for_each(|(what, value)| text.push_str(&format!("    {what}: {value}\n")));
    }
}
