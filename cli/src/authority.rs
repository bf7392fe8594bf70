//! Who is trusted: the arguments that say so, and what they open.

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use plimsoll::client::{Client, Source, Store};
use plimsoll::limits::HttpLimits;
use plimsoll::packages::check::PackageChecks;
use plimsoll::policy::{Authority, Governing, Policy, Rule, default_policy, read_root};
use plimsoll::template::TargetPaths;
use plimsoll::verify::{Govern, NotGoverned, Terms};

use crate::args::{Repository, duration, target_paths, time};
use crate::{input, map, repository, show, state};

/// A repository of whatever kind.
pub(crate) type AnySource = Box<dyn Source + Send + Sync>;
/// The terms for each name, wherever they come from.
pub(crate) type AnyTerms = Box<dyn Govern<AnySource> + Send + Sync>;
/// Opens what a rule of a policy names.
type Open = dyn Fn(&Rule) -> Result<Terms<AnySource>, NotGoverned> + Send + Sync;
/// The terms of a policy.
pub(crate) type AnyGoverning = Governing<AnySource, Box<Open>>;
/// What went wrong before anything could be verified: its code, and what to say.
pub(crate) type NotStarted = (&'static str, String);

#[derive(Debug, Args)]
pub(crate) struct AuthorityOptions {
    #[command(flatten)]
    pub(crate) repository: Repository,

    /// The root that you trust, from a source other than the repository
    #[arg(long, value_name = "ROOT.json", conflicts_with = "map")]
    pub(crate) root: Option<PathBuf>,

    /// Instead of --repository and --root: several repositories, and how many of them must agree (TAP 4)
    #[arg(long, value_name = "MAP.json")]
    pub(crate) map: Option<PathBuf>,

    /// Instead of those: a policy, which says by the name of an image who is trusted and what is checked
    /// [default: /etc/plimsoll/policy.toml, or else plimsoll/policy.toml below the user's configuration]
    #[arg(long, value_name = "POLICY.toml", conflicts_with_all = ["repository", "metadata", "targets", "root", "map"])]
    pub(crate) policy: Option<PathBuf>,

    /// Where trusted metadata is kept, which protects from rollback [default: by root, below the user's state folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,

    /// Where the signed files of an image are among the repository's targets, if its publisher says so [default: {host}/{repository}/{tag}/{file}]
    #[arg(long, value_name = "TEMPLATE", value_parser = target_paths)]
    pub(crate) target_path: Option<TargetPaths>,

    /// Judge expiry by this time instead of the clock
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    pub(crate) time: Option<DateTime<Utc>>,

    /// Accept metadata that has been expired for at most this long: 36h, 7d, 1d12h. Gives up protection against freeze for that long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) max_staleness: Option<TimeDelta>,
}

/// Who the arguments say is trusted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// One repository, and the file of its root.
    One(PathBuf),
    Map(PathBuf),
    Policy(PathBuf),
}

impl AuthorityOptions {
    /// Whoever is named; a policy if nobody is.
    pub(crate) fn chosen(&self) -> Result<Chosen, NotStarted> {
        let usage = |what: &str| Err(("usage", what.to_owned()));
        match (&self.map, &self.root, self.repository.is_named()) {
            (Some(map), ..) => Ok(Chosen::Map(map.clone())),
            (None, Some(root), true) => Ok(Chosen::One(root.clone())),
            (None, Some(_), false) => {
                usage("--root says who is trusted, but not where the repository is: --repository DIR_OR_URL")
            }
            (None, None, true) => usage(
                "--repository says where to look, but not who is trusted: --root ROOT.json, from a source other than the repository",
            ),
            (None, None, false) => match self.policy.clone().or_else(default_policy) {
                Some(policy) => Ok(Chosen::Policy(policy)),
                None => usage(
                    "it is not said who is trusted: --repository DIR_OR_URL with --root ROOT.json, --map MAP.json or --policy POLICY.toml; \
                     and there is neither /etc/plimsoll/policy.toml nor a policy of the user's own",
                ),
            },
        }
    }

    /// The terms for each name, by whoever is named; `packages` is what the arguments say of packages, if they say anything.
    pub(crate) fn terms(&self, packages: Option<PackageChecks>) -> Result<AnyTerms, NotStarted> {
        let terms = match self.chosen()? {
            Chosen::Policy(file) => {
                let governing = self.governing(&file, packages.is_some())?;
                return Ok(Box::new(governing));
            }
            Chosen::Map(map) => {
                let configure = |client| self.configure(client, self.max_staleness);
                Terms::by_map(map::repositories(&map, self.store.as_deref(), configure)?)
            }
            Chosen::One(root) => Terms::new(self.client(&root)?),
        };
        let terms = terms.with_packages(packages.unwrap_or_default());
        Ok(Box::new(match &self.target_path {
            Some(target_path) => terms.with_target_paths(target_path.clone()),
            None => terms,
        }))
    }

    /// The client of one repository.
    pub(crate) fn client(&self, root: &Path) -> Result<Client<AnySource>, NotStarted> {
        let root = input::root(root).map_err(|e| ("pinned-root-unreadable", e))?;
        let source = repository::open(&self.repository).map_err(|e| ("repository-unreadable", show::chain(&e)))?;
        let store = self.store.clone().map_or_else(|| state::default_store(&root), Ok).map_err(|e| ("usage", e))?;
        Ok(self.configure(Client::new(root, source, Store::folder(store)), self.max_staleness))
    }

    /// What the arguments say of every client.
    pub(crate) fn configure<S: Source>(&self, client: Client<S>, max_staleness: Option<TimeDelta>) -> Client<S> {
        let mut client = client.with_time_memory();
        if let Some(time) = self.time {
            client = client.with_time(time);
        }
        if let Some(max_staleness) = max_staleness {
            client = client.with_max_staleness(max_staleness);
        }
        client
    }

    /// What a policy says. It says all of it: nothing that the arguments say could be meant for every scope of it.
    pub(crate) fn governing(&self, file: &Path, says_packages: bool) -> Result<AnyGoverning, NotStarted> {
        let said = [
            ("--store", self.store.is_some()),
            ("--target-path", self.target_path.is_some()),
            ("--max-staleness", self.max_staleness.is_some()),
            ("--packages, --files, --ignore and --fail-on", says_packages),
        ];
        if let Some((what, _)) = said.iter().find(|(_, is_said)| *is_said) {
            return Err(("usage", format!("{what}: that is for the policy to say, which is {}", file.display())));
        }
        let policy = Policy::read(file).map_err(|e| (e.code(), show::chain(&e)))?;
        let time = self.time;
        let open = move |rule: &Rule| {
            authority(rule, time).map_err(|(code, message)| NotGoverned::Undecided { code, message })
        };
        Ok(Governing::new(policy, Box::new(open)))
    }
}

/// Opens what a rule of a policy names.
fn authority(rule: &Rule, time: Option<DateTime<Utc>>) -> Result<Terms<AnySource>, NotStarted> {
    let configure = |client: Client<AnySource>| {
        let client = client.with_time_memory().with_max_staleness(rule.max_staleness);
        match time {
            Some(time) => client.with_time(time),
            None => client,
        }
    };
    match &rule.authority {
        Authority::Map(map) => Ok(Terms::by_map(map::repositories(map, rule.store.as_deref(), configure)?)),
        Authority::One { place, root } => {
            let root = read_root(root).map_err(|e| ("pinned-root-unreadable", show::chain(&e)))?;
            let source = place.open(&HttpLimits::default()).map_err(|e| ("repository-unreadable", show::chain(&e)))?;
            let store = rule.store.clone().map_or_else(|| state::default_store(&root), Ok).map_err(|e| ("usage", e))?;
            Ok(Terms::new(configure(Client::new(root, source, Store::folder(store)))))
        }
    }
}
