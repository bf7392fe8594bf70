//! `plimsoll profile`: the signed security profiles beside an image. Whether one is acceptable is decided in the library.

mod args;
mod check;
mod engine;
mod fetch;
mod host;
#[cfg(feature = "publish")]
mod push;
mod signed;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use plimsoll::name::ImageName;
use plimsoll::profiles::baseline::Baseline;
use plimsoll::profiles::capability::Capabilities;
use plimsoll::profiles::error::Refusal;
use plimsoll::profiles::seccomp::SeccompProfile;
use plimsoll::profiles::{Kind, PROFILE_MAX};
use plimsoll::text::{escaped, quoted};
use plimsoll::verdict;
use plimsoll::verify::NotFetched;
use serde_json::{Map, Value, json};

use self::args::BaselineOptions;
pub(crate) use self::args::ProfileCommand;
use crate::args::Format;
use crate::authority::NotStarted;
use crate::show;

/// Runs `plimsoll profile`.
pub(crate) fn profile(command: &ProfileCommand) -> ExitCode {
    match command {
        ProfileCommand::Fetch(arguments) => fetch::fetch(arguments),
        ProfileCommand::Check(arguments) => check::check(arguments),
        #[cfg(feature = "publish")]
        ProfileCommand::Push(arguments) => push::push(arguments),
    }
}

/// Why profiles are not to be used.
#[derive(Debug)]
struct Finding {
    code: &'static str,
    message: String,
    expected: Option<String>,
    found: Option<String>,
}

impl Finding {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), expected: None, found: None }
    }

    fn json(&self) -> Value {
        let mut object =
            Map::from_iter([("code".to_owned(), json!(self.code)), ("message".to_owned(), json!(self.message))]);
        for (key, value) in [("expected", &self.expected), ("found", &self.found)] {
            object.extend(value.iter().map(|value| (key.to_owned(), json!(value))));
        }
        Value::Object(object)
    }
}

impl From<&Refusal> for Finding {
    fn from(refusal: &Refusal) -> Self {
        let (expected, found) = (refusal.expected.clone(), refusal.found.clone());
        Self { code: refusal.code.as_str(), message: refusal.to_string(), expected, found }
    }
}

impl From<&verdict::Finding> for Finding {
    fn from(finding: &verdict::Finding) -> Self {
        let [expected, found] = [finding.expected(), finding.found()].map(|side| side.map(str::to_owned));
        Self { code: finding.code(), message: finding.message().to_owned(), expected, found }
    }
}

/// "Not to be used", and "could not be told".
#[derive(Debug)]
enum Stop {
    Refused(Vec<Finding>),
    Undecided(Vec<Finding>),
}

impl Stop {
    fn refused(finding: Finding) -> Self {
        Self::Refused(vec![finding])
    }

    fn undecided(finding: Finding) -> Self {
        Self::Undecided(vec![finding])
    }

    /// The same, of one of several images.
    fn of(mut self, image: &ImageName) -> Self {
        let (Self::Refused(findings) | Self::Undecided(findings)) = &mut self;
        for finding in findings {
            finding.message = format!("{image}: {}", finding.message);
        }
        self
    }
}

impl From<NotFetched> for Stop {
    fn from(why: NotFetched) -> Self {
        let all = |findings: Vec<verdict::Finding>| findings.iter().map(Finding::from).collect();
        match why {
            NotFetched::NotTrusted(findings) => Self::Refused(all(findings)),
            NotFetched::Undecided(findings) => Self::Undecided(all(findings)),
        }
    }
}

impl From<NotStarted> for Stop {
    fn from((code, message): NotStarted) -> Self {
        Self::undecided(Finding::new(code, message))
    }
}

impl From<Vec<Refusal>> for Stop {
    fn from(refusals: Vec<Refusal>) -> Self {
        Self::Refused(refusals.iter().map(Finding::from).collect())
    }
}

/// Prints what came of it. `done` is the object for programs and the text for people, without verdict and findings.
fn end(subject: &str, format: Format, result: Result<(Map<String, Value>, String), Stop>) -> ExitCode {
    let (word, code) = match &result {
        Ok(_) => ("trusted", 0),
        Err(Stop::Refused(_)) => ("untrusted", 1),
        Err(Stop::Undecided(_)) => ("undecided", 2),
    };
    let (object, text, findings) = match result {
        Ok((object, text)) => (object, text, Vec::new()),
        Err(Stop::Refused(findings) | Stop::Undecided(findings)) => (Map::new(), String::new(), findings),
    };
    if let Some(first) = findings.first() {
        let head = if code == 1 { "refused" } else { "undecided" };
        show::diagnostic(&format!("{head}: {}: {} [{}]\n", escaped(subject), first.message, first.code));
        for finding in findings.iter().skip(1) {
            show::diagnostic(&format!("  {} [{}]\n", finding.message, finding.code));
        }
    }
    let printed = match format {
        Format::Human => text,
        Format::Json => {
            let mut all = Map::from_iter([
                ("schema".to_owned(), json!("plimsoll/profile/v1")),
                ("verdict".to_owned(), json!(word)),
            ]);
            all.extend(object);
            all.insert("findings".to_owned(), findings.iter().map(Finding::json).collect());
            format!("{}\n", Value::Object(all))
        }
    };
    let mut out = io::stdout().lock();
    match out.write_all(printed.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            show::diagnostic(&format!("plimsoll: cannot write to standard output: {error}\n"));
            ExitCode::from(code.max(if code == 1 { 1 } else { 2 }))
        }
    }
}

/// What this machine allows, by the arguments.
fn baseline(options: &BaselineOptions) -> Result<Baseline, Stop> {
    let mut baseline = Baseline::default()
        .with_root(options.allow_root)
        .with_writable(!options.require_read_only)
        .with_unconfined(options.allow_unconfined);
    if let Some(bytes) = options.max_memory {
        baseline = baseline.with_memory(bytes);
    }
    if let Some(pids) = options.max_pids {
        baseline = baseline.with_pids(pids);
    }
    if let Some(cpus) = options.max_cpus {
        baseline = baseline.with_cpus(cpus);
    }
    if !options.max_capability.is_empty() {
        let all = options.max_capability.iter().fold(Capabilities::NONE, |all, one| all.and(*one));
        baseline = baseline.with_capabilities(all);
    }
    if let Some(path) = &options.baseline_seccomp {
        let bytes = read(path)?;
        let profile = SeccompProfile::parse(&bytes).map_err(|refusal| {
            let shown = path.display().to_string();
            Stop::undecided(Finding::new("baseline-unreadable", refusal.in_file(&shown).to_string()))
        })?;
        baseline = baseline.with_seccomp(profile);
    }
    Ok(baseline)
}

/// A profile, in bytes; one that is too long for any is not read to its end.
fn read(path: &Path) -> Result<Vec<u8>, Stop> {
    let shown = path.display().to_string();
    let failed = |error: io::Error| {
        Stop::undecided(Finding::new("profile-unreadable", format!("cannot read {}: {error}", quoted(&shown))))
    };
    // Looked at before it is opened: opening a FIFO would wait for ever.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    let most = u64::try_from(PROFILE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

/// The profiles in these files, each of another kind, which their names tell.
fn read_all(paths: &[std::path::PathBuf], kind: Option<Kind>) -> Result<BTreeMap<Kind, Vec<u8>>, Stop> {
    let usage = |text: String| Stop::undecided(Finding::new("usage", text));
    let mut files = BTreeMap::new();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let kind = kind.filter(|_| paths.len() == 1).or_else(|| Kind::of_file(name)).ok_or_else(|| {
            let names = Kind::ALL.map(Kind::file).join(", ");
            usage(format!("{} is none of {names}; --kind says what one file is", quoted(&path.display().to_string())))
        })?;
        if files.insert(kind, read(path)?).is_some() {
            return Err(usage(format!("two files are called {}", kind.file())));
        }
    }
    Ok(files)
}
