//! `plimsoll repository` and `plimsoll key`: writing repositories. What may be signed and published is decided in the library.

mod args;
mod init;
mod keys;
mod lists;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};
use plimsoll::image::archive::Archive;
use plimsoll::image::error::ArchiveError;
use plimsoll::image::signable::{MANIFEST_FILE, Signable, SignableError};
use plimsoll::limits::{ArchiveLimits, MetadataLimits};
use plimsoll::metadata::RoleName;
use plimsoll::name::ImageName;
use plimsoll::publish::{
    Delegation, KeyError, Missing, NewTarget, Outcome, PublishError, Renewal, Repository, Rotation, Signers,
};
use plimsoll::template::{TargetPaths, TemplateError};
use plimsoll::text::{escaped, quoted};
use plimsoll::trust::TrustError;
use serde_json::{Value, json};

use self::args::{Add, AddFile, Delegate, Discard, Place, Remove, Rotate, Sign, Status};
pub(crate) use self::args::{Change, KeyCommand, RepositoryCommand};
use crate::args::Format;
use crate::show::{self, chain};

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failed {
    Publish(PublishError),
    /// Standard output is gone.
    Print(io::Error),
}

impl From<PublishError> for Failed {
    fn from(error: PublishError) -> Self {
        Self::Publish(error)
    }
}

impl From<KeyError> for Failed {
    fn from(error: KeyError) -> Self {
        Self::Publish(error.into())
    }
}

impl Failed {
    fn code(&self) -> &'static str {
        match self {
            Self::Publish(error) => error.code(),
            Self::Print(_) => "output-unwritable",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Publish(error) => match error {
                PublishError::Refused(TrustError::Expired { role, .. }) => {
                    format!("{}; `plimsoll repository sign {role} --renew` makes a new version of it", chain(error))
                }
                error => chain(error),
            },
            Self::Print(error) => format!("cannot write to standard output: {error}"),
        }
    }
}

/// Runs `plimsoll repository`.
pub(crate) fn repository(command: &RepositoryCommand) -> ExitCode {
    let (format, result) = match command {
        RepositoryCommand::Init(arguments) => (arguments.change.place.format, init::init(arguments)),
        RepositoryCommand::Add(arguments) => (arguments.change.place.format, add(arguments)),
        RepositoryCommand::AddFile(arguments) => (arguments.change.place.format, add_file(arguments)),
        RepositoryCommand::Remove(arguments) => (arguments.change.place.format, remove(arguments)),
        RepositoryCommand::Delegate(arguments) => (arguments.change.place.format, delegate(arguments)),
        RepositoryCommand::Sign(arguments) => (arguments.change.place.format, sign(arguments)),
        RepositoryCommand::Rotate(arguments) => (arguments.change.place.format, rotate(arguments)),
        RepositoryCommand::Timestamp(arguments) => {
            let (place, keys) = (&arguments.place, &arguments.keys);
            (place.format, keys.open(&place.repository).and_then(|keys| publish(place, &keys, Renewal::Online)))
        }
        RepositoryCommand::Publish(arguments) => {
            let (place, keys) = (&arguments.place, &arguments.keys);
            (place.format, keys.open(&place.repository).and_then(|keys| publish(place, &keys, Renewal::None)))
        }
        RepositoryCommand::Discard(arguments) => (arguments.place.format, discard(arguments)),
        RepositoryCommand::Status(arguments) => (arguments.place.format, status(arguments)),
    };
    end(result, format)
}

/// Runs `plimsoll key`.
pub(crate) fn key(command: &KeyCommand) -> ExitCode {
    let result = match command {
        KeyCommand::Generate(arguments) => keys::generate(arguments),
        KeyCommand::Show(arguments) => keys::show(arguments),
    };
    end(result.map(|()| ExitCode::SUCCESS), Format::Human)
}

pub(crate) fn end(result: Result<ExitCode, Failed>, format: Format) -> ExitCode {
    result.unwrap_or_else(|failed| {
        show::diagnostic(&format!("plimsoll: {}\n", failed.text()));
        if format == Format::Json {
            let error = json!({"code": failed.code(), "message": failed.text()});
            let text = json!({"schema": "plimsoll/publication/v1", "error": error});
            let _it_was_said_on_standard_error = print(&format!("{text}\n"));
        }
        ExitCode::from(2)
    })
}

fn print(text: &str) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failed::Print)
}

fn now(place: &Place) -> DateTime<Utc> {
    place.time.unwrap_or_else(Utc::now)
}

pub(crate) fn open(place: &Place) -> Result<Repository, Failed> {
    Ok(Repository::open(&place.repository, now(place))?)
}

/// What was done, and what came of it.
pub(crate) struct Report {
    /// Lines for people.
    text: String,
    outcome: Option<Outcome>,
}

impl Report {
    pub(crate) fn new(text: String) -> Self {
        Self { text, outcome: None }
    }

    /// Publishes, unless it was only to be staged. Exit code 1 means that clients do not see it all.
    pub(crate) fn published(
        mut self,
        repository: &mut Repository,
        signers: &Signers,
        change: &Change,
    ) -> Result<ExitCode, Failed> {
        if change.stage {
            self.text.push_str("staged; `plimsoll repository publish` publishes it\n");
            return self.print(&change.place);
        }
        let outcome = repository.publish(signers, Renewal::None)?;
        let exit = if outcome.unfinished { ExitCode::from(1) } else { ExitCode::SUCCESS };
        self.outcome = Some(outcome);
        self.print(&change.place)?;
        Ok(exit)
    }

    fn print(&self, place: &Place) -> Result<ExitCode, Failed> {
        match place.format {
            Format::Human => {
                print(&format!("{}{}", self.text, self.outcome.as_ref().map(outcome_text).unwrap_or_default()))?
            }
            Format::Json => {
                print(&format!("{}\n", outcome_json(self.outcome.as_ref().unwrap_or(&Outcome::default()))))?
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn outcome_text(outcome: &Outcome) -> String {
    let mut text = String::new();
    let published: Vec<String> =
        outcome.published.iter().map(|(role, version)| format!("{role} version {version}")).collect();
    if published.is_empty() {
        text.push_str("nothing was published\n");
    } else {
        text.push_str(&format!("published: {}\n", published.join(", ")));
    }
    for waiting in &outcome.waiting {
        let (role, version) = (&waiting.role, waiting.version);
        let why = match &waiting.why {
            Missing::Signatures { valid, threshold, keys } => {
                let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
                let missing = threshold.saturating_sub(*valid);
                format!(
                    "{missing} more {} of {}",
                    if missing == 1 { "signature" } else { "signatures" },
                    keys.join(", ")
                )
            }
            Missing::Role(other) => format!("the role {other} to be signed"),
            Missing::Outdated => {
                "nothing: another version was published meanwhile; discard it, and do it again".to_owned()
            }
            _ => "something".to_owned(),
        };
        text.push_str(&format!("staged: {role} version {version} waits for {why}\n"));
    }
    text
}

fn outcome_json(outcome: &Outcome) -> Value {
    let published = outcome.published.iter().map(|(role, version)| json!({"role": role.as_str(), "version": version}));
    let waiting = outcome.waiting.iter().map(|waiting| {
        let (role, version) = (waiting.role.as_str(), waiting.version);
        match &waiting.why {
            Missing::Signatures { valid, threshold, keys } => {
                let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
                let signatures = json!({"valid": valid, "threshold": threshold, "missing_keys": keys});
                json!({"role": role, "version": version, "signatures": signatures})
            }
            Missing::Role(other) => json!({"role": role, "version": version, "waits_for_role": other.as_str()}),
            _ => json!({"role": role, "version": version, "outdated": true}),
        }
    });
    json!({
        "schema": "plimsoll/publication/v1",
        "published": published.collect::<Vec<_>>(),
        "waiting": waiting.collect::<Vec<_>>(),
    })
}

fn publish(place: &Place, signers: &Signers, renewal: Renewal) -> Result<ExitCode, Failed> {
    let mut repository = open(place)?;
    let outcome = repository.publish(signers, renewal)?;
    // What others left staged is no failure of the daily job; that its own two files were not published is.
    let online = [RoleName::Timestamp, RoleName::Snapshot];
    let is_done = match renewal {
        Renewal::Online => outcome.published.iter().any(|(role, _)| *role == RoleName::Timestamp),
        // Asked to publish what waits, and it still waits, all of it.
        Renewal::None if outcome.published.is_empty() => outcome.waiting.is_empty(),
        Renewal::None => outcome.waiting.iter().all(|waiting| !online.contains(&waiting.role)),
    };
    Report { text: String::new(), outcome: Some(outcome) }.print(place)?;
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// `plimsoll repository add`.
fn add(arguments: &Add) -> Result<ExitCode, Failed> {
    let change = &arguments.change;
    let signers = change.keys.open(&change.place.repository)?;
    let limits = ArchiveLimits::default();
    let archive = Archive::open(&arguments.archive, &limits).map_err(PublishError::from)?;
    let progress = show::progress();
    let progress = |done, total| progress.iter().for_each(|progress| progress(done, total));
    let signable = Signable::of(&archive, &arguments.image, &limits, &progress);
    let signable = signable.map_err(|error| not_signable(&arguments.image, error))?;

    let mut repository = open(&change.place)?;
    let paths = target_paths(&repository)?;
    let path = |file: &str| paths.path(&arguments.image, file).map_err(usage);
    let mut files: Vec<(String, Box<dyn Read>)> = Vec::new();
    for (name, bytes) in &signable.files {
        files.push((path(name)?, Box::new(io::Cursor::new(bytes.clone()))));
    }
    let named = lists::of(arguments, &archive, &signable.platforms, &limits, &progress)?;
    if !repository.signs_only(&path(MANIFEST_FILE)?, signable.manifest) {
        show::diagnostic(&lists::of_another(&repository, &path, &signable.platforms, &named)?);
    }
    for (name, bytes) in named {
        files.push((path(&name)?, Box::new(io::Cursor::new(bytes))));
    }
    let targets = files.iter_mut().map(|(path, content)| NewTarget { path: path.clone(), content }).collect();
    let role = repository.add_targets(targets, arguments.role.as_deref(), &signers)?;
    let mut text = format!("signed: {} as {} by {role}\n", arguments.image, signable.manifest);
    for platform in &signable.platforms {
        text.push_str(&format!("  platform {platform}\n"));
    }
    Report::new(text).published(&mut repository, &signers, change)
}

/// What a verifier would say of it tomorrow is said today.
fn not_signable(image: &ImageName, error: SignableError) -> PublishError {
    match error {
        SignableError::Archive(ArchiveError::Refused(refusal)) => {
            PublishError::Archive { image: image.to_string(), refusal: Box::new(refusal), others: 0 }
        }
        SignableError::Refused(refusals) => {
            let others = refusals.len().saturating_sub(1);
            match refusals.into_iter().next() {
                Some(refusal) => PublishError::Archive { image: image.to_string(), refusal: Box::new(refusal), others },
                None => PublishError::Usage("the archive holds no image that can be signed".to_owned()),
            }
        }
        SignableError::Archive(error) => error.into(),
        error => PublishError::Usage(error.to_string()),
    }
}

/// `plimsoll repository add-file`.
fn add_file(arguments: &AddFile) -> Result<ExitCode, Failed> {
    let change = &arguments.change;
    let signers = change.keys.open(&change.place.repository)?;
    let mut repository = open(&change.place)?;
    let path = match (&arguments.image, &arguments.path) {
        (Some(image), _) => {
            let name = arguments.name.clone().map_or_else(|| file_name(&arguments.file), Ok)?;
            target_paths(&repository)?.path(image, &name).map_err(usage)?
        }
        (None, Some(path)) => path.clone(),
        // The parser of the arguments does not let this pass.
        (None, None) => return Err(PublishError::Usage("either --image or --path is needed".to_owned()).into()),
    };
    let mut file = regular_file(&arguments.file)?;
    let target = NewTarget { path: path.clone(), content: &mut file };
    let role = repository.add_targets(vec![target], arguments.role.as_deref(), &signers)?;
    Report::new(format!("signed: {} by {role}\n", escaped(&path))).published(&mut repository, &signers, change)
}

/// `plimsoll repository remove`.
fn remove(arguments: &Remove) -> Result<ExitCode, Failed> {
    let change = &arguments.change;
    let signers = change.keys.open(&change.place.repository)?;
    let mut repository = open(&change.place)?;
    let paths = target_paths(&repository)?;
    let is_meant = |path: &str| match (&arguments.image, &arguments.path) {
        (Some(image), _) => paths.file_of(image, path).is_some(),
        (None, exact) => exact.as_deref() == Some(path),
    };
    let mut text = String::new();
    for (role, paths) in repository.remove_targets(&is_meant, arguments.role.as_deref(), &signers)? {
        paths.iter().for_each(|path| text.push_str(&format!("no longer signed by {role}: {}\n", escaped(path))));
    }
    Report::new(text).published(&mut repository, &signers, change)
}

/// `plimsoll repository delegate`.
fn delegate(arguments: &Delegate) -> Result<ExitCode, Failed> {
    let change = &arguments.change;
    let signers = change.keys.open(&change.place.repository)?;
    let passphrase_file = change.keys.passphrase_file.as_deref();
    let keys = arguments.role_key.iter().map(|file| keys::public(file, passphrase_file));
    let delegation = Delegation {
        role: arguments.role.clone(),
        from: arguments.from.clone(),
        paths: arguments.paths.clone(),
        keys: keys.collect::<Result<_, _>>()?,
        threshold: arguments.threshold,
        terminating: arguments.terminating,
        valid_for: arguments.valid,
    };
    let mut repository = open(&change.place)?;
    repository.delegate(&delegation, &signers)?;
    let text = format!("delegated: {} to {}\n", escaped(&arguments.paths.join(" ")), escaped(&arguments.role));
    Report::new(text).published(&mut repository, &signers, change)
}

/// `plimsoll repository sign`.
fn sign(arguments: &Sign) -> Result<ExitCode, Failed> {
    let change = &arguments.change;
    let signers = change.keys.open(&change.place.repository)?;
    let mut repository = open(&change.place)?;
    let role = &arguments.role;
    let text = match &arguments.merge {
        Some(copy) => {
            let mut bytes = Vec::new();
            let limit = MetadataLimits::default().targets;
            let read = regular_file(copy)?.take(limit).read_to_end(&mut bytes);
            read.map_err(|source| io_failed(copy, source))?;
            let new = repository.merge(role, bytes)?;
            if signers.public().next().is_some() {
                repository.sign(role, &signers)?;
            }
            format!(
                "signed: {}, with {new} new {} of the other copy\n",
                escaped(role),
                if new == 1 { "signature" } else { "signatures" }
            )
        }
        None => {
            if arguments.renew {
                repository.renew(role, None)?;
            }
            repository.sign(role, &signers)?;
            format!("signed: {}\n", escaped(role))
        }
    };
    // One of several people has done what there was to do.
    Report::new(text).published(&mut repository, &signers, change).map(|_| ExitCode::SUCCESS)
}

/// `plimsoll repository discard`.
fn discard(arguments: &Discard) -> Result<ExitCode, Failed> {
    let (place, role) = (&arguments.place, &arguments.role);
    open(place)?.discard(role)?;
    Report::new(format!("discarded: {}\n", escaped(role))).print(place)
}

/// `plimsoll repository rotate`.
fn rotate(arguments: &Rotate) -> Result<ExitCode, Failed> {
    let change = &arguments.change;
    let signers = change.keys.open(&change.place.repository)?;
    let passphrase_file = change.keys.passphrase_file.as_deref();
    let add = arguments.add.iter().map(|file| keys::public(file, passphrase_file)).collect::<Result<_, _>>()?;
    let mut remove = Vec::new();
    for key in &arguments.remove {
        let is_file = Path::new(key).is_file();
        remove.push(if is_file {
            keys::public(Path::new(key), passphrase_file)?.id().to_string()
        } else {
            key.clone()
        });
    }
    let rotation = Rotation { add, remove, threshold: arguments.threshold, valid_for: arguments.valid };
    let mut repository = open(&change.place)?;
    repository.rotate(&arguments.role, &rotation, &signers)?;
    Report::new(format!("rotated: {}\n", escaped(&arguments.role))).published(&mut repository, &signers, change)
}

/// `plimsoll repository status`.
fn status(arguments: &Status) -> Result<ExitCode, Failed> {
    let place = &arguments.place;
    let status = Repository::look(&place.repository, now(place))?.status();
    match place.format {
        Format::Human => print(&status.to_string())?,
        Format::Json => print(&status.to_json())?,
    }
    let within = arguments.within.unwrap_or_else(TimeDelta::zero);
    Ok(if status.needs_attention(within) { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// As the repository says itself, or as usual. What stands there was signed by the publisher, but another tool may have written it.
pub(crate) fn target_paths(repository: &Repository) -> Result<TargetPaths, PublishError> {
    repository.target_path().map_or_else(|| Ok(TargetPaths::default()), |template| template.parse().map_err(usage))
}

fn usage(error: TemplateError) -> PublishError {
    PublishError::Usage(error.to_string())
}

fn file_name(path: &Path) -> Result<String, PublishError> {
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    name.ok_or_else(|| {
        PublishError::Usage(format!("{} has no name that can be signed", quoted(&path.display().to_string())))
    })
}

/// Looked at before it is opened: opening a FIFO would wait for ever.
fn regular_file(path: &Path) -> Result<File, PublishError> {
    let failed = |source| io_failed(path, source);
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    File::open(path).map_err(failed)
}

fn io_failed(path: &Path, source: io::Error) -> PublishError {
    PublishError::Io { action: "read", file: path.display().to_string(), source }
}
