//! The arguments that several commands share, and those of `verify`, `load`, `export` and `packages`.

use std::ffi::OsString;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, ValueEnum};
use plimsoll::image::manifest::Platform;
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;
use plimsoll::packages::check::{Mode, PackageChecks};
use plimsoll::packages::format::ListFormat;
use plimsoll::packages::ignore::Glob;
use plimsoll::packages::severity::FailOn;
use plimsoll::template::TargetPaths;

use crate::authority::AuthorityOptions;

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
    /// The archive: a file as `docker save` writes it, compressed or not, or the folder of an OCI layout; `-` reads standard input
    pub(crate) archive: PathBuf,

    #[command(flatten)]
    pub(crate) how: How,

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
    /// The archive: a file as `docker save` writes it, compressed or not, or the folder of an OCI layout; `-` reads standard input
    pub(crate) archive: PathBuf,

    #[command(flatten)]
    pub(crate) how: How,

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
    /// The archive: a file as `docker save` writes it, compressed or not, or the folder of an OCI layout; `-` reads standard input. Several are verified with one
    /// refresh of each repository, and told in a line each
    #[arg(required = true, value_name = "ARCHIVE")]
    pub(crate) archives: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) how: How,
}

/// How an archive is verified, and what is kept of the verdict.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// What the image must be: HOST/REPO:TAG, HOST/REPO@sha256:HEX or a short name [default: every name that the archive claims]
    #[arg(long, value_name = "NAME", value_parser = image)]
    pub(crate) image: Option<ImageName>,

    #[command(flatten)]
    pub(crate) authority: AuthorityOptions,

    /// The platform that the image must be for [default: this machine's, if several are signed]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub(crate) platform: Option<Platform>,

    #[command(flatten)]
    pub(crate) packages: PackageOptions,

    /// Change a limit on what an archive may hold: layer=64GiB, entries=50000. May be given several times; a refusal names its limit
    #[arg(long, value_name = "NAME=VALUE", value_parser = limit)]
    pub(crate) limit: Vec<Limit>,

    /// Add the verdict, whatever it is, as one JSON line to this file. If that fails, exit code 0 is not given, and nothing is loaded
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// Write a SLSA verification summary (an in-toto statement, unsigned) to this new file, unless the verdict is undecided
    #[arg(long, value_name = "FILE")]
    pub(crate) vsa: Option<PathBuf>,

    /// Who verifies, for the summary [default: the address of this project]
    #[arg(long, value_name = "URI", value_parser = uri, requires = "vsa")]
    pub(crate) vsa_verifier: Option<String>,

    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

impl How {
    /// The limits on the archive.
    pub(crate) fn limits(&self) -> ArchiveLimits {
        limits(&self.limit)
    }
}

/// What of the packages in an image is checked.
#[derive(Debug, Args)]
pub(crate) struct PackageOptions {
    /// Whether what is installed must be what a signed package list says [default: auto]
    #[arg(long = "packages", value_enum, value_name = "WHETHER")]
    pub(crate) mode: Option<Whether>,

    /// Compare every file of the image with a signed list as well; a list must be signed then
    #[arg(long)]
    pub(crate) files: bool,

    /// With --files: files that may be there though no list names them: usr/local/share/**, **/*.pyc. May be given several times
    #[arg(long, value_name = "GLOB", value_parser = glob, requires = "files")]
    pub(crate) ignore: Vec<Glob>,

    /// Refuse an image with a package that signed advisories concern, from this severity on: low, medium, high, critical. Advisories must be signed then
    #[arg(long, value_name = "SEVERITY")]
    pub(crate) fail_on: Option<FailOn>,
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
    /// What the arguments say of packages, if they do; or what is wrong with them.
    pub(crate) fn checks(&self) -> Result<Option<PackageChecks>, String> {
        if self.mode.is_none() && self.fail_on.is_none() && !self.files {
            return Ok(None);
        }
        let mode = match self.mode {
            None | Some(Whether::Auto) => Mode::Auto,
            Some(Whether::Require) => Mode::Require,
            Some(Whether::Off) if self.files => {
                return Err("--files compares with package lists, so not with --packages off".to_owned());
            }
            Some(Whether::Off) => Mode::Off,
        };
        let mut checks = PackageChecks::default().with_mode(mode);
        if self.files {
            checks = checks.with_files();
        }
        if let Some(fail_on) = self.fail_on {
            checks = checks.with_fail_on(fail_on);
        }
        Ok(Some(self.ignore.iter().cloned().fold(checks, PackageChecks::with_ignored)))
    }
}

/// Either one place, or two.
#[derive(Debug, Args)]
pub(crate) struct Repository {
    /// The TUF repository: a folder or http(s) address below which are metadata/ and targets/
    #[arg(long, value_name = "DIR_OR_URL", conflicts_with = "map")]
    pub(crate) repository: Option<PathBuf>,

    /// Instead of --repository: the folder or address of the metadata files alone
    #[arg(long, value_name = "DIR_OR_URL", requires = "targets", conflicts_with_all = ["repository", "map"])]
    pub(crate) metadata: Option<PathBuf>,

    /// Instead of --repository: the folder or address of the target files alone
    #[arg(long, value_name = "DIR_OR_URL", requires = "metadata", conflicts_with_all = ["repository", "map"])]
    pub(crate) targets: Option<PathBuf>,
}

impl Repository {
    /// Whether a repository is named.
    pub(crate) fn is_named(&self) -> bool {
        self.repository.is_some() || self.metadata.is_some() || self.targets.is_some()
    }
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

/// A scheme and something behind it, of the characters that are in an URI [RFC 3986 2].
fn uri(text: &str) -> Result<String, String> {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    };
    let is_uri = text.split_once(':').is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty());
    if is_uri && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b)) {
        return Ok(text.to_owned());
    }
    Err("not a URI such as https://example.com/verifier".to_owned())
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

pub(crate) fn duration(text: &str) -> Result<TimeDelta, String> {
    plimsoll::duration::parse(text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
