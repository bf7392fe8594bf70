//! What a policy demands of the images of a scope.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;

use super::document::{Table, Value};
use super::error::PolicyError;
use super::run::RunLimits;
use crate::client::{Location, Place};
use crate::duration;
use crate::name::ImageName;
use crate::packages::check::{Mode, PackageChecks};
use crate::packages::ignore::Glob;
use crate::packages::severity::FailOn;
use crate::template::TargetPaths;
use crate::verify::Requirements;

/// All that a policy says of the images of a scope.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Rule {
    /// Who says what an image is.
    pub authority: Authority,
    /// Where trusted metadata is kept, if not in the default place. With a map, the folder of all its stores.
    pub store: Option<PathBuf>,
    /// Where the signed files of an image are.
    pub target_paths: TargetPaths,
    /// What of its packages and files is checked.
    pub packages: PackageChecks,
    /// For how long expired metadata is accepted. Zero if nothing is said.
    pub max_staleness: TimeDelta,
    /// What an image must be besides signed.
    pub requirements: Requirements,
    /// The most that a signed profile may ask for.
    pub run: RunLimits,
    /// How a node's verifier decides.
    pub node: NodeTerms,
}

/// Who says what an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// One repository.
    One {
        /// Where it is.
        place: Place,
        /// The file of the pinned root.
        root: PathBuf,
    },
    /// Several that must agree, by the map in this file.
    Map(PathBuf),
}

/// How a node's verifier decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeTerms {
    /// What is decided while the repository cannot be reached.
    pub unreachable: Unreachable,
    /// After how long there must be a decision. Default 8 s, for containerd waits 10 s.
    pub timeout: Duration,
    /// What is decided where the rule demands what only the contents of an image show.
    pub contents: Contents,
}

impl NodeTerms {
    /// What holds where a policy says nothing.
    pub const DEFAULT: Self =
        Self { unreachable: Unreachable::Refuse, timeout: Duration::from_secs(8), contents: Contents::Refuse };
}

/// What a node decides while the repository cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// Nothing is admitted. The default.
    Refuse,
    /// The local metadata decides, if it was brought up to date at most so long ago and has not expired.
    Within(TimeDelta),
}

/// What a node decides where the rule demands what only the contents of an image show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Nothing is admitted, for a node's verifier sees a digest and no contents. The default.
    Refuse,
    /// An image is admitted by its digest, and it is told what was not checked.
    Unchecked,
}

/// The keys of a rule.
pub(super) const KEYS: &[&str] = &[
    "repository",
    "metadata",
    "targets",
    "root",
    "map",
    "store",
    "target-path",
    "packages",
    "files",
    "ignore",
    "fail-on",
    "max-staleness",
    "non-root",
    "base",
    "refuse",
    "run",
    "node",
];

/// Longer than any outage that a node should bridge with what it remembers.
const UNREACHABLE_MAX: TimeDelta = TimeDelta::days(90);
const TIMEOUT_MAX: TimeDelta = TimeDelta::minutes(5);

impl Rule {
    pub(super) fn read(table: &Table<'_, '_>, folder: &Path) -> Result<Self, PolicyError> {
        let rule = Self {
            authority: authority(table, folder)?,
            store: table.get("store").map(|value| value.local(folder, "a folder")).transpose()?,
            target_paths: match table.get("target-path") {
                Some(value) => value.explained("a template", TargetPaths::parse)?,
                None => TargetPaths::default(),
            },
            packages: packages(table)?,
            max_staleness: match table.get("max-staleness") {
                Some(value) => value.parsed(DURATION, |text| duration::parse(text).ok())?,
                None => TimeDelta::zero(),
            },
            requirements: requirements(table)?,
            run: match table.get("run") {
                Some(value) => RunLimits::read(&value, folder)?,
                None => RunLimits::default(),
            },
            node: node(table)?,
        };
        if let (Some(map), Some(node), Unreachable::Within(_)) =
            (table.get("map"), table.get("node"), rule.node.unreachable)
        {
            let why = "what several repositories agree on is not decided by local metadata, so unreachable can only be \"refuse\"";
            return Err(node.contradicts(&map, why));
        }
        if let (Some(value), true, true) = (table.get("non-root"), rule.requirements.non_root, rule.run.root) {
            let run = table.get("run").unwrap_or(value);
            return Err(value.contradicts(&run, "with root = true, run.json may say user 0"));
        }
        Ok(rule)
    }

    /// What it demands that only the contents of an image show, by the names of the keys. A node's verifier cannot check any of it.
    #[must_use]
    pub fn demands_of_contents(&self) -> Vec<&'static str> {
        let demands = [
            ("packages", self.packages.mode == Mode::Require),
            ("files", self.packages.files),
            ("fail-on", self.packages.fail_on != FailOn::Nothing),
            ("non-root", self.requirements.non_root),
            ("base", self.requirements.base.is_some()),
        ];
        demands.into_iter().filter(|(_, is_demanded)| *is_demanded).map(|(key, _)| key).collect()
    }
}

const DURATION: &str = "a duration such as \"36h\", \"7d\" or \"1d12h\"";

fn authority(table: &Table<'_, '_>, folder: &Path) -> Result<Authority, PolicyError> {
    if let Some(map) = table.get("map") {
        for key in ["repository", "metadata", "targets", "root"] {
            if let Some(other) = table.get(key) {
                return Err(other.contradicts(&map, "the map names the repositories, and each has its root beside it"));
            }
        }
        return Ok(Authority::Map(map.local(folder, "a map file")?));
    }
    let location = |value: Value<'_, '_>| Ok(Location::read(value.text("a folder or an http(s) address")?, folder));
    let place = match (table.get("repository"), table.get("metadata"), table.get("targets")) {
        (Some(whole), None, None) => Place::Whole(location(whole)?),
        (Some(whole), Some(part), _) | (Some(whole), None, Some(part)) => {
            return Err(part.contradicts(&whole, "a repository is at one place, or its metadata and targets are apart"));
        }
        (None, Some(metadata), Some(targets)) => {
            Place::Apart { metadata: location(metadata)?, targets: location(targets)? }
        }
        (None, Some(_), None) => return Err(table.missing("targets", "a folder or an http(s) address beside metadata")),
        (None, None, Some(_)) => return Err(table.missing("metadata", "a folder or an http(s) address beside targets")),
        (None, None, None) => {
            return Err(table.missing("repository", "repository, metadata and targets, map or refuse"));
        }
    };
    let value = table.get("root").ok_or_else(|| table.missing("root", "the file of the pinned root"))?;
    let root = value.local(folder, "the file of the pinned root")?;
    // Whoever brings the repository could replace it.
    let holds = |location: &Location| matches!(location, Location::Folder(folder) if root.starts_with(folder));
    let holds_root = match &place {
        Place::Whole(whole) => holds(whole),
        Place::Apart { metadata, targets } => holds(metadata) || holds(targets),
    };
    if holds_root {
        return Err(value.wrong("a file outside the repository, which is not trusted"));
    }
    Ok(Authority::One { place, root })
}

fn packages(table: &Table<'_, '_>) -> Result<PackageChecks, PolicyError> {
    let mode = match table.get("packages") {
        None => Mode::Auto,
        Some(value) => value.parsed("\"auto\", \"require\" or \"off\"", |text| match text {
            "auto" => Some(Mode::Auto),
            "require" => Some(Mode::Require),
            "off" => Some(Mode::Off),
            _ => None,
        })?,
    };
    let mut checks = PackageChecks::default().with_mode(mode);
    let files = table.get("files").map(|value| Ok((value, value.boolean()?))).transpose()?;
    let files = files.filter(|(_, is_demanded)| *is_demanded).map(|(value, _)| value);
    if let Some(files) = &files {
        if let Some(packages) = table.get("packages").filter(|_| mode == Mode::Off) {
            return Err(files.contradicts(&packages, "files are compared with package lists"));
        }
        checks = checks.with_files();
    }
    if let Some(value) = table.get("ignore") {
        let globs = value.list("a pattern such as \"usr/local/share/**\"", |text| Glob::parse(text).ok())?;
        match (&files, table.get("files")) {
            (Some(_), _) => {}
            (None, Some(files)) => return Err(value.contradicts(&files, "it says which files need not be listed")),
            (None, None) => return Err(table.missing("files", "files = true beside ignore")),
        }
        checks = globs.into_iter().fold(checks, PackageChecks::with_ignored);
    }
    if let Some(value) = table.get("fail-on") {
        let fail_on =
            value.parsed("\"none\", \"low\", \"medium\", \"high\" or \"critical\"", |text| text.parse().ok())?;
        if let Some(packages) = table.get("packages").filter(|_| mode == Mode::Off && fail_on != FailOn::Nothing) {
            return Err(value.contradicts(&packages, "advisories are about packages"));
        }
        checks = checks.with_fail_on(fail_on);
    }
    Ok(checks)
}

fn requirements(table: &Table<'_, '_>) -> Result<Requirements, PolicyError> {
    let non_root = table.get("non-root").map(|value| value.boolean()).transpose()?.unwrap_or(false);
    let demands = Requirements { non_root, ..Requirements::default() };
    let Some(value) = table.get("base") else { return Ok(demands) };
    let expected = "HOST/REPOSITORY:TAG or HOST/REPOSITORY@sha256:HEX in full";
    let base = value.explained(expected, ImageName::parse)?;
    if base.to_string() != value.text(expected)? {
        return Err(value.wrong(format!("a name in full, such as \"{base}\"")));
    }
    Ok(demands.with_base(base))
}

fn node(table: &Table<'_, '_>) -> Result<NodeTerms, PolicyError> {
    let mut terms = NodeTerms::DEFAULT;
    let Some(node) = table.get("node") else { return Ok(terms) };
    let node = node.table(&["unreachable", "timeout", "contents"])?;
    if let Some(value) = node.get("unreachable") {
        let expected = "\"refuse\" or a duration such as \"24h\", up to 90 days";
        terms.unreachable = value.parsed(expected, |text| match text {
            "refuse" => Some(Unreachable::Refuse),
            _ => duration::parse(text)
                .ok()
                .filter(|within| *within > TimeDelta::zero() && *within <= UNREACHABLE_MAX)
                .map(Unreachable::Within),
        })?;
    }
    if let Some(value) = node.get("timeout") {
        terms.timeout = value.parsed("a duration from \"1s\" to \"5m\"", |text| {
            let timeout = duration::parse(text).ok().filter(|timeout| *timeout <= TIMEOUT_MAX)?;
            timeout.to_std().ok().filter(|timeout| *timeout >= Duration::from_secs(1))
        })?;
    }
    if let Some(value) = node.get("contents") {
        terms.contents = value.parsed("\"refuse\" or \"unchecked\"", |text| match text {
            "refuse" => Some(Contents::Refuse),
            "unchecked" => Some(Contents::Unchecked),
            _ => None,
        })?;
    }
    Ok(terms)
}
