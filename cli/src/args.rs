//! The arguments of the command.

use std::ffi::OsString;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};
use plimsoll::client::{Client, Source};
use plimsoll::image::manifest::Platform;
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;
use plimsoll::packages::check::{Mode, PackageChecks};
use plimsoll::packages::format::ListFormat;
use plimsoll::packages::ignore::Glob;
use plimsoll::packages::severity::FailOn;
use plimsoll::template::TargetPaths;

/// Decides whether a container image archive may be loaded.
#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 trusted, 1 not trusted, 2 could not be decided.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Verify an image archive against a TUF repository, without loading it
    #[command(after_help = EXIT_CODES)]
    Verify(Box<Verify>),
    /// Verify an image archive, and give exactly what was verified to docker load, or to another loader
    #[command(after_help = LOAD_HELP)]
    Load(Box<Load>),
    /// Verify an image archive, and write exactly what was verified as a new archive
    #[command(after_help = EXPORT_HELP)]
    Export(Box<Export>),
    /// List the packages and files of an image, for its publisher to sign. Says nothing about whether the image is trusted
    #[command(after_help = PACKAGES_HELP)]
    Packages(Box<Packages>),
    /// Carry what some images need, and their archives, across an air gap
    #[command(subcommand)]
    Bundle(Box<crate::bundle::BundleCommand>),
    /// The security profiles that are signed beside an image: fetch, check and sign them
    #[command(subcommand)]
    Profile(Box<crate::profile::ProfileCommand>),
    /// Write a TUF repository: sign images, delegate, rotate keys
    #[cfg(feature = "publish")]
    #[command(subcommand)]
    Repository(Box<crate::publish::RepositoryCommand>),
    /// Make and look at the keys that sign
    #[cfg(feature = "publish")]
    #[command(subcommand)]
    Key(Box<crate::publish::KeyCommand>),
}

const LOAD_HELP: &str = "Exit codes: 0 trusted and loaded, 1 not trusted, 2 could not be decided, or the loader failed. \
Nothing is started unless the archive is trusted. What the loader prints goes to standard error.";
const EXPORT_HELP: &str = "Exit codes: 0 trusted and written, 1 not trusted, 2 could not be decided, or not written. \
A file takes its place only when it is whole.";

const PACKAGES_HELP: &str = "Exit codes: 0 written, 1 the archive would not be trusted whatever is signed, 2 not written. \
Of one image the list is the same at all times. Sign it beside the image: plimsoll repository add --packages packages.spdx.json ...";

#[derive(Debug, Args)]
pub(crate) struct Packages {
    /// The archive: a file as `docker save` writes it, compressed or not, or the folder of an OCI layout; `-` reads standard input
    pub(crate) archive: PathBuf,

    /// What the list is to call the image; the archive may then claim no other name [default: the name that the archive claims]
    #[arg(long, value_name = "NAME", value_parser = image)]
    pub(crate) image: Option<ImageName>,

    /// Of an archive for several platforms, the one to list [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub(crate) platform: Option<Platform>,

    /// The format of the list: sign it as packages.spdx.json or packages.cdx.json
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ListForm::Spdx)]
    pub(crate) format: ListForm,

    /// The new file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Replace a file that is there already
    #[arg(long, requires = "output")]
    pub(crate) force: bool,

    /// Change a limit on what an archive may hold: layer=64GiB, files=5000000. May be given several times; a refusal names its limit
    #[arg(long, value_name = "NAME=VALUE", value_parser = limit)]
    pub(crate) limit: Vec<Limit>,
}

impl Packages {
    /// The limits on the archive.
    pub(crate) fn limits(&self) -> ArchiveLimits {
        limits(&self.limit)
    }
}

/// The formats of lists that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListForm {
    /// SPDX 2.3, as JSON
    Spdx,
    /// CycloneDX 1.6, as JSON
    Cyclonedx,
}

impl From<ListForm> for ListFormat {
    fn from(form: ListForm) -> Self {
        match form {
            ListForm::Spdx => Self::Spdx,
            ListForm::Cyclonedx => Self::CycloneDx,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Load {
    #[command(flatten)]
    pub(crate) verify: Verify,

    /// The loader: docker load, podman load, nerdctl load or ctr images import -
    #[arg(long, value_enum, value_name = "LOADER", default_value_t = Loader::Docker)]
    pub(crate) into: Loader,

    /// Instead of --into: a program that reads the archive from its standard input. No shell is involved
    #[arg(long, value_name = "PROGRAM", conflicts_with = "into")]
    pub(crate) into_command: Option<OsString>,

    /// An argument for --into-command, or one more for the loader of --into; repeat it for each
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub(crate) into_arg: Vec<OsString>,

    /// The form of the archive that the loader is given
    #[arg(long = "as", value_enum, value_name = "FORM", default_value_t = Tar::DockerArchive)]
    pub(crate) form: Tar,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) verify: Verify,

    /// The new file or folder; `-` is standard output, and then the verdict goes to standard error
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// The form of the new archive
    #[arg(long = "as", value_enum, value_name = "FORM", default_value_t = Form::DockerArchive)]
    pub(crate) form: Form,

    /// Replace a file that is there already
    #[arg(long)]
    pub(crate) force: bool,
}

/// Programs that load an archive from their standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Loader {
    /// docker load
    Docker,
    /// podman load
    Podman,
    /// nerdctl load
    Nerdctl,
    /// ctr images import -
    Ctr,
}

/// The forms that are one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tar {
    /// As `docker save` writes it, in its classic form: every loader takes it
    DockerArchive,
    /// An OCI image layout in a tar: podman, containerd and Docker's containerd store take it
    OciArchive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// As `docker save` writes it, in its classic form: every loader takes it
    DockerArchive,
    /// An OCI image layout in a tar: podman, containerd and Docker's containerd store take it
    OciArchive,
    /// An OCI image layout in a folder
    OciDir,
}

/// The word for a value on the command line, which is also that in the verdict.
pub(crate) fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The archive: a file as `docker save` writes it, compressed or not, or the folder of an OCI layout; `-` reads standard input
    pub(crate) archive: PathBuf,

    /// What the image must be: HOST/REPO:TAG, HOST/REPO@sha256:HEX or a short name [default: every name that the archive claims]
    #[arg(long, value_name = "NAME", value_parser = image)]
    pub(crate) image: Option<ImageName>,

    #[command(flatten)]
    pub(crate) repository: Repository,

    /// The root that you trust, from a source other than the repository
    #[arg(long, value_name = "ROOT.json", required_unless_present = "map", conflicts_with = "map")]
    pub(crate) root: Option<PathBuf>,

    /// Instead of --repository and --root: several repositories, and how many of them must agree (TAP 4)
    #[arg(long, value_name = "MAP.json")]
    pub(crate) map: Option<PathBuf>,

    /// Where trusted metadata is kept, which protects from rollback [default: by root, below the user's state folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,

    /// Where the signed files of an image are among the repository's targets, if its publisher says so [default: {host}/{repository}/{tag}/{file}]
    #[arg(long, value_name = "TEMPLATE", value_parser = target_paths)]
    pub(crate) target_path: Option<TargetPaths>,

    /// The platform that the image must be for [default: this machine's, if several are signed]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub(crate) platform: Option<Platform>,

    #[command(flatten)]
    pub(crate) packages: PackageOptions,

    /// Judge expiry by this time instead of the clock
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    pub(crate) time: Option<DateTime<Utc>>,

    /// Accept metadata that has been expired for at most this long: 36h, 7d, 1d12h. Gives up protection against freeze for that long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) max_staleness: Option<TimeDelta>,

    /// Change a limit on what an archive may hold: layer=64GiB, entries=50000. May be given several times; a refusal names its limit
    #[arg(long, value_name = "NAME=VALUE", value_parser = limit)]
    pub(crate) limit: Vec<Limit>,

    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

impl Verify {
    /// The limits on the archive.
    pub(crate) fn limits(&self) -> ArchiveLimits {
        limits(&self.limit)
    }

    /// What the arguments say of every client.
    pub(crate) fn configure<S: Source>(&self, client: Client<S>) -> Client<S> {
        let mut client = client.with_time_memory();
        if let Some(time) = self.time {
            client = client.with_time(time);
        }
        if let Some(max_staleness) = self.max_staleness {
            client = client.with_max_staleness(max_staleness);
        }
        client
    }
}

/// What of the packages in an image is checked.
#[derive(Debug, Args)]
pub(crate) struct PackageOptions {
    /// Whether what is installed must be what a signed package list says
    #[arg(long = "packages", value_enum, value_name = "WHETHER", default_value_t = Whether::Auto)]
    pub(crate) mode: Whether,

    /// Compare every file of the image with a signed list as well; a list must be signed then
    #[arg(long)]
    pub(crate) files: bool,

    /// With --files: files that may be there though no list names them: usr/local/share/**, **/*.pyc. May be given several times
    #[arg(long, value_name = "GLOB", value_parser = glob, requires = "files")]
    pub(crate) ignore: Vec<Glob>,

    /// Refuse an image with a package that signed advisories concern, from this severity on: low, medium, high, critical. Advisories must be signed then
    #[arg(long, value_name = "SEVERITY", default_value = "none", hide_default_value = true)]
    pub(crate) fail_on: FailOn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Whether {
    /// Where a list is signed beside the image
    Auto,
    /// Always: an image without a signed list is not trusted
    Require,
    /// Never
    Off,
}

impl PackageOptions {
    /// What the arguments say of packages; or what is wrong with them.
    pub(crate) fn checks(&self) -> Result<PackageChecks, String> {
        let mode = match self.mode {
            Whether::Auto => Mode::Auto,
            Whether::Require => Mode::Require,
            Whether::Off if self.files => {
                return Err("--files compares with package lists, so not with --packages off".to_owned());
            }
            Whether::Off => Mode::Off,
        };
        let mut checks = PackageChecks::default().with_mode(mode);
        if self.files {
            checks = checks.with_files();
        }
        checks = checks.with_fail_on(self.fail_on);
        Ok(self.ignore.iter().cloned().fold(checks, PackageChecks::with_ignored))
    }
}

/// Either one place, or two.
#[derive(Debug, Args)]
pub(crate) struct Repository {
    /// The TUF repository: a folder or http(s) address below which are metadata/ and targets/
    #[arg(long, value_name = "DIR_OR_URL", required_unless_present_any = ["metadata", "targets", "map"], conflicts_with = "map")]
    pub(crate) repository: Option<PathBuf>,

    /// Instead of --repository: the folder or address of the metadata files alone
    #[arg(long, value_name = "DIR_OR_URL", requires = "targets", conflicts_with_all = ["repository", "map"])]
    pub(crate) metadata: Option<PathBuf>,

    /// Instead of --repository: the folder or address of the target files alone
    #[arg(long, value_name = "DIR_OR_URL", requires = "metadata", conflicts_with_all = ["repository", "map"])]
    pub(crate) targets: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for people
    Human,
    /// One JSON object, on failure too
    Json,
}

pub(crate) fn image(text: &str) -> Result<ImageName, String> {
    ImageName::parse(text).map_err(|e| e.to_string())
}

/// A limit and what it is to be.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    name: String,
    value: u64,
}

fn limits(given: &[Limit]) -> ArchiveLimits {
    let mut limits = ArchiveLimits::default();
    for limit in given {
        // The parser of the arguments has set it once already.
        let _was_tried = limits.set(&limit.name, limit.value);
    }
    limits
}

/// `NAME=NUMBER`, where the number may end in KiB, MiB or GiB.
fn limit(text: &str) -> Result<Limit, String> {
    let (name, number) = text.split_once('=').ok_or("not of the form NAME=VALUE")?;
    let value = bytes(number)?;
    ArchiveLimits::default().set(name, value).map_err(|e| e.to_string())?;
    Ok(Limit { name: name.to_owned(), value })
}

/// A number, alone or with KiB, MiB or GiB.
pub(crate) fn bytes(number: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let unit = UNITS.iter().find_map(|(unit, factor)| Some((number.strip_suffix(unit)?, *factor)));
    let (digits, factor) = unit.unwrap_or((number, 1));
    let value = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    let value = value.and_then(|value| value.checked_mul(factor));
    value.ok_or_else(|| "not a number, alone or with KiB, MiB or GiB".to_owned())
}

pub(crate) fn target_paths(text: &str) -> Result<TargetPaths, String> {
    TargetPaths::parse(text).map_err(|e| e.to_string())
}

fn glob(text: &str) -> Result<Glob, String> {
    Glob::parse(text)
}

fn platform(text: &str) -> Result<Platform, String> {
    Platform::parse(text).map_err(|e| e.to_string())
}

pub(crate) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_| "not a time such as 2030-01-31T00:00:00Z".to_owned())
}

/// One or more numbers, each with a unit: `90s`, `30m`, `36h`, `7d`, `2w`, `1d12h`.
pub(crate) fn duration(text: &str) -> Result<TimeDelta, String> {
    let wrong = || "not a duration such as 36h, 7d or 1d12h".to_owned();
    let mut sum = TimeDelta::zero();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at_checked(end).ok_or_else(wrong)?;
        let number: i64 = number.parse().map_err(|_| wrong())?;
        let mut chars = tail.chars();
        let part = match chars.next() {
            Some('s') => TimeDelta::try_seconds(number),
            Some('m') => TimeDelta::try_minutes(number),
            Some('h') => TimeDelta::try_hours(number),
            Some('d') => TimeDelta::try_days(number),
            Some('w') => TimeDelta::try_weeks(number),
            _ => None,
        };
        sum = part.and_then(|part| sum.checked_add(&part)).ok_or_else(wrong)?;
        rest = chars.as_str();
    }
    if text.is_empty() { Err(wrong()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn limits_have_a_known_name_and_a_whole_number() {
        for (text, value) in [
            ("layer=1", Some(1)),
            ("layer=0", Some(0)),
            ("small-control-file=2KiB", Some(2048)),
            ("layer=64GiB", Some(64 << 30)),
            ("entries=5MiB", Some(5 << 20)),
            ("layer", None),
            ("layer=", None),
            ("layer=GiB", None),
            ("layer=-1", None),
            ("layer=+1", None),
            ("layer=1.5GiB", None),
            ("layer=1GB", None),
            ("layer=18446744073709551615", Some(u64::MAX)),
            ("layer=18446744073709551615KiB", None),
            ("zstd-window-log=4294967296", None),
            ("layers=512", Some(512)),
            ("laiers=512", None),
            ("=1", None),
        ] {
            assert_eq!(limit(text).ok().map(|limit| limit.value), value, "{text:?}");
        }
    }

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("30m", Some(1800)),
            ("36h", Some(129_600)),
            ("7d", Some(604_800)),
            ("2w", Some(1_209_600)),
            ("1d12h", Some(129_600)),
            ("0s", Some(0)),
            ("", None),
            ("7", None),
            ("d", None),
            ("-1d", None),
            ("1.5h", None),
            ("1y", None),
            ("1d 2h", None),
            ("9223372036854775807w", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(duration(text).ok().map(|d| d.num_seconds()), seconds, "{text:?}");
        }
    }
}
