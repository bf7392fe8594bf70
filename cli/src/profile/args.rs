//! The arguments of `plimsoll profile`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
#[cfg(feature = "publish")]
use plimsoll::name::ImageName;
use plimsoll::profiles::capability::Capabilities;
use plimsoll::profiles::run::Cpus;
use plimsoll::profiles::{self, Kind};

use crate::args::{Format, bytes};
use crate::authority::AuthorityOptions;

const FETCH_HELP: &str = "Standard output has the options alone: eval \"docker run $(plimsoll profile fetch IMAGE ...) IMAGE\". \
Exit codes: 0 fetched, 1 refused, 2 could not be decided, or not written. Nothing is loaded into the kernel.";
const CHECK_HELP: &str = "Exit codes: 0 nothing is wrong with them, 1 refused, 2 could not be decided.";
#[cfg(feature = "publish")]
const PUSH_HELP: &str =
    "Exit codes: 0 done and published, 1 staged but not published, for something is missing, 2 not done.";

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Verify the security profiles that are signed beside an image, write them, and print the options that put them in force
    #[command(after_help = FETCH_HELP)]
    Fetch(Box<Fetch>),
    /// Check profiles as they would be checked when they are fetched; needs no repository
    #[command(after_help = CHECK_HELP)]
    Check(Box<Check>),
    /// Sign profiles beside an image, bound to it
    #[cfg(feature = "publish")]
    #[command(after_help = PUSH_HELP)]
    Push(Box<Push>),
}

/// What this machine allows at most. Where a policy governs, it says this.
#[derive(Debug, Args)]
pub(crate) struct BaselineOptions {
    /// The most memory: 2GiB. A profile that asks for none gets this [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) max_memory: Option<u64>,

    /// The most processes. A profile that asks for none gets this [default: no limit]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=4_194_304))]
    pub(crate) max_pids: Option<u64>,

    /// The most processors: 1.5. A profile that asks for none gets this [default: no limit]
    #[arg(long, value_name = "NUMBER", value_parser = cpus)]
    pub(crate) max_cpus: Option<Cpus>,

    /// The seccomp profile that signed ones must be within [default: Docker's default profile]
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline_seccomp: Option<PathBuf>,

    /// A capability that a container may keep; may be given several times [default: the fourteen that Docker gives]
    #[arg(long, value_name = "NAME", value_parser = capability)]
    pub(crate) max_capability: Vec<Capabilities>,

    /// Let run.json ask for user 0
    #[arg(long)]
    pub(crate) allow_root: bool,

    /// Make the root file system read-only whether run.json says so or not
    #[arg(long)]
    pub(crate) require_read_only: bool,

    /// Take seccomp profiles beyond the baseline, and AppArmor profiles that only complain
    #[arg(long)]
    pub(crate) allow_unconfined: bool,
}

impl BaselineOptions {
    /// An option that was given, by name. A policy says all of it, so beside one there must be none.
    pub(crate) fn said(&self) -> Option<&'static str> {
        let said = [
            ("--max-memory", self.max_memory.is_some()),
            ("--max-pids", self.max_pids.is_some()),
            ("--max-cpus", self.max_cpus.is_some()),
            ("--baseline-seccomp", self.baseline_seccomp.is_some()),
            ("--max-capability", !self.max_capability.is_empty()),
            ("--allow-root", self.allow_root),
            ("--require-read-only", self.require_read_only),
            ("--allow-unconfined", self.allow_unconfined),
        ];
        said.into_iter().find(|(_, is_said)| *is_said).map(|(option, _)| option)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Fetch {
    /// The image: HOST/REPO:TAG, HOST/REPO@sha256:HEX, or an image ID, whose names the engine is asked for
    pub(crate) image: String,

    #[command(flatten)]
    pub(crate) authority: AuthorityOptions,

    /// The folder to write the profiles to; made if it is not there [default: the current one]
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    pub(crate) output: PathBuf,

    /// Replace profiles that are there already and differ
    #[arg(long)]
    pub(crate) force: bool,

    /// Who is to run the container
    #[arg(long, value_enum, value_name = "ENGINE", default_value_t = EngineName::Docker)]
    pub(crate) engine: EngineName,

    /// Which of AppArmor and SELinux the options name
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Lsm::Auto)]
    pub(crate) lsm: Lsm,

    /// Let the fetched AppArmor profile of this name take the place of one that is there
    #[arg(long, value_name = "NAME")]
    pub(crate) replace_apparmor: Option<String>,

    #[command(flatten)]
    pub(crate) baseline: BaselineOptions,

    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The profiles: seccomp.json, apparmor.profile, selinux.cil, run.json. Several are checked as they belong together
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Of one file that is called otherwise: its kind
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) kind: Option<KindName>,

    #[command(flatten)]
    pub(crate) baseline: BaselineOptions,

    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[cfg(feature = "publish")]
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The image, which must be signed already
    #[arg(value_parser = crate::args::image)]
    pub(crate) image: ImageName,

    /// The profiles: seccomp.json, apparmor.profile, selinux.cil, run.json. What binds them to the image is written into run.json
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Sign profiles that let through more than Docker's default does; machines take them only if their own baseline says so
    #[arg(long)]
    pub(crate) beyond_default: bool,

    /// The role that signs [default: the one that may and has a key at hand]
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,

    #[command(flatten)]
    pub(crate) change: crate::publish::Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// docker run
    Docker,
    /// podman run
    Podman,
}

impl EngineName {
    pub(crate) fn engine(self) -> profiles::Engine {
        match self {
            Self::Docker => profiles::Engine::Docker,
            Self::Podman => profiles::Engine::Podman,
        }
    }

    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lsm {
    /// What this machine's kernel has
    Auto,
    /// AppArmor alone
    Apparmor,
    /// SELinux alone
    Selinux,
    /// Both
    Both,
    /// Neither
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindName {
    /// seccomp.json
    Seccomp,
    /// apparmor.profile
    Apparmor,
    /// selinux.cil
    Selinux,
    /// run.json
    Run,
}

impl From<KindName> for Kind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::Seccomp => Self::Seccomp,
            KindName::Apparmor => Self::AppArmor,
            KindName::Selinux => Self::Selinux,
            KindName::Run => Self::Run,
        }
    }
}

fn cpus(text: &str) -> Result<Cpus, String> {
    Cpus::parse(text).ok_or_else(|| "not a number such as 2 or 1.5".to_owned())
}

fn capability(text: &str) -> Result<Capabilities, String> {
    Capabilities::named([text]).map_err(|refusal| refusal.to_string())
}
