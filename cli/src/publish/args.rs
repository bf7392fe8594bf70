//! The arguments of `plimsoll repository` and `plimsoll key`.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand, ValueEnum};
use plimsoll::name::ImageName;
use plimsoll::template::TargetPaths;

use crate::args::{Format, ListForm, duration, image, target_paths, time};

const EXIT_CODES: &str = "Exit codes: 0 done and published, 1 staged but not published, for something is missing, 2 not done. \
With --stage, 0 is done.";

#[derive(Debug, Subcommand)]
pub(crate) enum RepositoryCommand {
    /// Make a new repository, and the keys that it needs
    #[command(after_help = EXIT_CODES)]
    Init(Box<Init>),
    /// Sign an image: the exact manifest that an archive holds, or the one that is made for a classic docker-archive
    #[command(after_help = EXIT_CODES)]
    Add(Box<Add>),
    /// Sign a file, such as a package list or a manifest from a registry
    #[command(after_help = EXIT_CODES)]
    AddFile(Box<AddFile>),
    /// Sign an image or a file no longer
    #[command(after_help = EXIT_CODES)]
    Remove(Box<Remove>),
    /// Let another role sign for some paths, such as a team for its folder
    #[command(after_help = EXIT_CODES)]
    Delegate(Box<Delegate>),
    /// Sign what is staged of a role; one key after the other, until there are enough
    #[command(after_help = SIGN_HELP)]
    Sign(Box<Sign>),
    /// Say once more that what is published is current: the job that runs every day
    #[command(after_help = EXIT_CODES)]
    Timestamp(Box<Timestamp>),
    /// Change the keys of a role: after a loss, a theft, or because it is time
    #[command(after_help = EXIT_CODES)]
    Rotate(Box<Rotate>),
    /// Publish what is staged and signed by enough
    #[command(after_help = EXIT_CODES)]
    Publish(Box<Publish>),
    /// Forget what is staged of a role
    Discard(Box<Discard>),
    /// Say who may sign what, until when it is good, and what waits for whose signature
    #[command(after_help = STATUS_HELP)]
    Status(Box<Status>),
}

const SIGN_HELP: &str = "Exit codes: 0 signed, 2 not signed. What is then signed by enough is published, if the keys of snapshot and timestamp are at hand. \
Look at what you sign with `plimsoll repository status` first.";
const STATUS_HELP: &str = "Exit codes: 0 all is well, 1 something that clients need is not published, expired, or about to expire, 2 could not be told.";

/// Which repository, and how to report.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The folder of the repository, in which are metadata/, targets/ and staged/
    #[arg(long, value_name = "DIR")]
    pub(crate) repository: PathBuf,

    /// The time from which on new versions are good, instead of the clock's
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    pub(crate) time: Option<DateTime<Utc>>,

    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// The keys at hand.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    /// A folder of private keys, each a file that ends in .pem; may be given several times
    #[arg(long, value_name = "DIR")]
    pub(crate) keys: Vec<PathBuf>,

    /// A private key; may be given several times
    #[arg(long, value_name = "FILE.pem")]
    pub(crate) key: Vec<PathBuf>,

    /// The file whose first line is the passphrase of the keys [default: the variable PLIMSOLL_PASSPHRASE, or the terminal]
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// What all changes have in common.
#[derive(Debug, Args)]
pub(crate) struct Change {
    #[command(flatten)]
    pub(crate) place: Place,

    #[command(flatten)]
    pub(crate) keys: Keys,

    /// Only stage the change, to be published later with others
    #[arg(long)]
    pub(crate) stage: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    #[command(flatten)]
    pub(crate) change: Change,

    /// A key of a role: ROLE=FILE.pem, public or private. May be given several times; for a role without one, a key is made in --keys
    #[arg(long, value_name = "ROLE=FILE.pem", value_parser = role_file)]
    pub(crate) role_key: Vec<(String, PathBuf)>,

    /// How many keys of a role must sign [default: 1]: root=2
    #[arg(long, value_name = "ROLE=N", value_parser = role_number)]
    pub(crate) threshold: Vec<(String, u64)>,

    /// For how long each version of a role is good [default: root and targets 365d, snapshot 30d, timestamp 7d]: timestamp=36h
    #[arg(long, value_name = "ROLE=DURATION", value_parser = role_duration)]
    pub(crate) valid: Vec<(String, TimeDelta)>,

    /// How the target paths of images are made, if not as {host}/{repository}/{tag}/{file}; kept in the repository. Verifiers must be told the same
    #[arg(long, value_name = "TEMPLATE", value_parser = target_paths)]
    pub(crate) target_path: Option<TargetPaths>,

    /// The kind of the keys that are made
    #[arg(long, value_enum, default_value_t = KeyKind::Ed25519)]
    pub(crate) key_type: KeyKind,

    /// Encrypt the keys that are made with a passphrase
    #[arg(long)]
    pub(crate) passphrase: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    /// Small and fast; the same signature each time
    Ed25519,
    /// P-256 with SHA-256: what most key services offer
    Ecdsa,
    /// 3,072 bits, PSS with SHA-256
    Rsa,
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The archive: a file as `docker save` writes it, compressed or not, or the folder of an OCI layout
    pub(crate) archive: PathBuf,

    /// What the image is to be: HOST/REPO:TAG or a short name. The archive must claim no other name
    #[arg(long, value_name = "NAME", value_parser = image)]
    pub(crate) image: ImageName,

    /// A package list of the image to sign with it: packages.spdx.json, packages.cdx.json, ... May be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) packages: Vec<PathBuf>,

    /// Make a list of what is in the image, as `plimsoll packages` does, and sign it with the image
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) list: Option<ListForm>,

    /// The role that signs [default: the one that may and has a key at hand]
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,

    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Debug, Args)]
pub(crate) struct AddFile {
    /// The file
    pub(crate) file: PathBuf,

    /// The image that it belongs to; it gets its own name there
    #[arg(long, value_name = "NAME", value_parser = image, required_unless_present = "path", conflicts_with = "path")]
    pub(crate) image: Option<ImageName>,

    /// With --image: another name than the file's own
    #[arg(long = "as", value_name = "FILE_NAME", requires = "image")]
    pub(crate) name: Option<String>,

    /// Instead of --image: the whole target path
    #[arg(long, value_name = "TARGET_PATH")]
    pub(crate) path: Option<String>,

    /// The role that signs [default: the one that may and has a key at hand]
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,

    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The image, with all that is signed beside it
    #[arg(long, value_name = "NAME", value_parser = image, required_unless_present = "path", conflicts_with = "path")]
    pub(crate) image: Option<ImageName>,

    /// Instead of --image: one target path
    #[arg(long, value_name = "TARGET_PATH")]
    pub(crate) path: Option<String>,

    /// The role that signs it now [default: every role that does]
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,

    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Debug, Args)]
pub(crate) struct Delegate {
    /// The name of the new role
    pub(crate) role: String,

    /// What it may sign; `*` and `?` never cross a `/`: 'registry.example/team/*/*/*' is every file of every tag of the team's images
    #[arg(long, value_name = "PATTERN", required = true, num_args = 1..)]
    pub(crate) paths: Vec<String>,

    /// A key of the new role, public or private; may be given several times
    #[arg(long, value_name = "FILE.pem", required = true)]
    pub(crate) role_key: Vec<PathBuf>,

    /// How many of them must sign
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) threshold: u64,

    /// The role that delegates
    #[arg(long, value_name = "ROLE", default_value = "targets")]
    pub(crate) from: String,

    /// Ask nobody else for these paths, whatever comes after this delegation
    #[arg(long)]
    pub(crate) terminating: bool,

    /// For how long each version of the role is good [default: 365d]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) valid: Option<TimeDelta>,

    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The role
    pub(crate) role: String,

    /// Make a new version that says the same, good from now on, and sign that
    #[arg(long, conflicts_with = "merge")]
    pub(crate) renew: bool,

    /// Take over the signatures of another copy of the staged file, which somebody signed elsewhere
    #[arg(long, value_name = "FILE.json")]
    pub(crate) merge: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Debug, Args)]
pub(crate) struct Timestamp {
    #[command(flatten)]
    pub(crate) place: Place,

    #[command(flatten)]
    pub(crate) keys: Keys,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The role whose keys change
    pub(crate) role: String,

    /// A new key, public or private; may be given several times
    #[arg(long, value_name = "FILE.pem")]
    pub(crate) add: Vec<PathBuf>,

    /// A key that signs no more: its id, the beginning of its id, or its file; may be given several times
    #[arg(long, value_name = "KEY")]
    pub(crate) remove: Vec<String>,

    /// How many keys must sign from now on [default: as many as before]
    #[arg(long, value_name = "N")]
    pub(crate) threshold: Option<u64>,

    /// For how long each version is good [default: as before]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) valid: Option<TimeDelta>,

    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    #[command(flatten)]
    pub(crate) place: Place,

    #[command(flatten)]
    pub(crate) keys: Keys,
}

#[derive(Debug, Args)]
pub(crate) struct Discard {
    /// The role
    pub(crate) role: String,

    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) place: Place,

    /// Exit with 1 also if something that clients need expires so soon: 36h, 7d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) within: Option<TimeDelta>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key: FILE.pem, that only you can read, and FILE.pub.pem for those who let you sign
    Generate(Box<Generate>),
    /// Print a key's id, its kind and its public half
    Show(Box<Show>),
}

#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// The new file, which ends in .pem
    pub(crate) file: PathBuf,

    /// Its kind
    #[arg(long, value_enum, default_value_t = KeyKind::Ed25519)]
    pub(crate) key_type: KeyKind,

    /// Encrypt it with a passphrase
    #[arg(long)]
    pub(crate) passphrase: bool,

    /// The file whose first line is the passphrase [default: the variable PLIMSOLL_PASSPHRASE, or the terminal]
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The key, public or private
    pub(crate) file: PathBuf,

    /// The file whose first line is its passphrase [default: the variable PLIMSOLL_PASSPHRASE, or the terminal]
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

fn role_of(text: &str) -> Result<(String, &str), String> {
    let (role, value) = text.split_once('=').ok_or("not of the form ROLE=VALUE")?;
    match role {
        "root" | "targets" | "snapshot" | "timestamp" => Ok((role.to_owned(), value)),
        _ => Err("not a top-level role: root, targets, snapshot or timestamp".to_owned()),
    }
}

fn role_file(text: &str) -> Result<(String, PathBuf), String> {
    role_of(text).map(|(role, file)| (role, file.into()))
}

fn role_number(text: &str) -> Result<(String, u64), String> {
    let (role, number) = role_of(text)?;
    Ok((role, number.parse().map_err(|_| "not a number")?))
}

fn role_duration(text: &str) -> Result<(String, TimeDelta), String> {
    let (role, text) = role_of(text)?;
    Ok((role, duration(text)?))
}
