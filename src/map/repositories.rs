//! Asks the repositories of a map, and says what they agree on and who does not.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::agreement::{Agreement, Statement, agreement};
use super::{Map, Mapping, PinnedMap, PinnedRepository, RepositoryName};
use crate::client::{Client, ClientError, Released, Session, Source, SourceError, Undecided};
use crate::metadata::key::PublicKey;
use crate::trust::{Absence, Found, TrustError, Trusted, check_target};

/// A map and a client for each of its repositories.
#[derive(Debug)]
pub struct Repositories<S> {
    map: Map,
    clients: BTreeMap<RepositoryName, Client<S>>,
}

/// The repositories that were asked since [`Repositories::session`], each refreshed once.
#[derive(Debug)]
pub struct MapSession<'r, S> {
    repositories: &'r Repositories<S>,
    opened: BTreeMap<RepositoryName, Result<Released<'r, S>, Arc<ClientError>>>,
}

/// What became of the search for one target.
#[derive(Debug)]
pub struct Lookup {
    /// The target path.
    pub path: String,
    /// What each repository that was asked said, in the order of the map.
    pub answers: Vec<Answer>,
    /// The bytes of the target, which every repository that agrees has signed.
    pub result: Result<Vec<u8>, LookupError>,
}

/// What one repository says about a target.
#[derive(Debug)]
pub struct Answer {
    /// The place of the mapping in the map file, from 0.
    pub mapping: usize,
    /// The repository.
    pub repository: RepositoryName,
    /// What it says.
    pub says: Says,
}

/// What a repository says about a target, seen beside what the others say.
#[derive(Debug)]
#[non_exhaustive]
pub enum Says {
    /// It signs what enough others sign, too.
    Agrees(Found),
    /// It signs something, but too few agree.
    Signs(Found),
    /// Enough others agree on something, but this one signs something else.
    Differs(Found),
    /// It says the same as another, and has a key in common with that one: together they count once.
    SharesKey {
        /// What it says.
        found: Found,
        /// The one that counts.
        with: RepositoryName,
    },
    /// It does not sign the target.
    NotSigned(Absence),
    /// A check failed, or it could not be asked.
    Failed(Arc<ClientError>),
}

impl Says {
    /// What it signs, if it signs the target.
    #[must_use]
    pub fn found(&self) -> Option<&Found> {
        match self {
            Self::Agrees(found) | Self::Signs(found) | Self::Differs(found) | Self::SharesKey { found, .. } => {
                Some(found)
            }
            Self::NotSigned(_) | Self::Failed(_) => None,
        }
    }
}

/// Why there is no target. As with [`ClientError`], the two cannot be mixed up.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The repositories were asked, and what they say does not do.
    #[error(transparent)]
    NotTrusted(#[from] Disagreement),
    /// Nothing speaks against it, but too few could be asked.
    #[error(transparent)]
    Undecided(#[from] Unreached),
}

/// Why a target is not trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Disagreement {
    /// No mapping matches the path, so nobody can make it trusted.
    #[error("no mapping decides on it, so no repository is asked")]
    NotMapped,
    /// All that decide on it were asked, and none signs it.
    #[error("not signed by any repository that decides on it: {}", names(.asked))]
    NotSigned {
        /// Who was asked.
        asked: Vec<RepositoryName>,
    },
    /// They sign different things.
    #[error("{threshold} of {} must agree on it, but they contradict each other", names(.asked))]
    Contradiction {
        /// How many must agree.
        threshold: usize,
        /// Who was asked.
        asked: Vec<RepositoryName>,
    },
    /// Too few say the same, and it would not be enough if the others could be reached.
    #[error("{threshold} of {} must agree on it, {}", names(.asked), only(.agreed))]
    TooFew {
        /// How many must agree.
        threshold: usize,
        /// Who was asked.
        asked: Vec<RepositoryName>,
        /// Who does agree.
        agreed: Vec<RepositoryName>,
    },
    /// Enough agree, but none of them has the file that they signed.
    #[error("the file is not what {repository} and those that agree with it signed")]
    File {
        /// The repository that brought the file.
        repository: RepositoryName,
        /// What is wrong with it.
        source: TrustError,
    },
}

impl Disagreement {
    /// Whether it is that nobody signs the target: all who decide on it were asked, each was sure, and nothing else came of it.
    pub(crate) fn is_that_none_signs(&self) -> bool {
        matches!(self, Self::NotMapped | Self::NotSigned { .. })
    }
}

/// Why it cannot be said whether a target is trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreached {
    /// Too few say the same, and those that could not be reached might.
    #[error("{threshold} of {} must agree on it, {}; the others could not be asked", names(.asked), only(.agreed))]
    TooFew {
        /// How many must agree.
        threshold: usize,
        /// Who was to be asked.
        asked: Vec<RepositoryName>,
        /// Who does agree.
        agreed: Vec<RepositoryName>,
    },
    /// Something that concerns all repositories, although one noticed it: the clock is wrong.
    #[error("{repository}")]
    Clock {
        /// Which one noticed it.
        repository: RepositoryName,
        /// What is wrong.
        source: Arc<ClientError>,
    },
    /// Enough agree, but the file could not be had from any of them.
    #[error("{repository}: the file that was agreed on cannot be had")]
    File {
        /// The first that was asked for it.
        repository: RepositoryName,
        /// Why not.
        source: Undecided,
    },
}

impl Disagreement {
    /// A stable code for reports.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotMapped => "map-not-mapped",
            Self::NotSigned { .. } => "image-not-signed",
            Self::Contradiction { .. } => "map-contradiction",
            Self::TooFew { .. } => "map-threshold",
            Self::File { source, .. } => source.code(),
        }
    }
}

impl Unreached {
    /// A stable code for reports.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooFew { .. } => "map-unreached",
            Self::Clock { .. } => "clock-behind",
            Self::File { source, .. } => source.code(),
        }
    }
}

impl<S: Source> Repositories<S> {
    /// Makes a client for each repository of the map.
    ///
    /// `client` must pin [`PinnedRepository::root`], and give each repository a store of its own: rollback is judged per repository.
    pub fn new(pinned: &PinnedMap, mut client: impl FnMut(&PinnedRepository) -> Client<S>) -> Self {
        let clients = pinned.repositories().iter().map(|one| (one.name().clone(), client(one))).collect();
        Self { map: pinned.map().clone(), clients }
    }

    /// The map.
    #[must_use]
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Begins to ask. Each repository is refreshed when it is first needed.
    pub fn session(&self) -> MapSession<'_, S> {
        MapSession { repositories: self, opened: BTreeMap::new() }
    }
}

impl<'r, S: Source> MapSession<'r, S> {
    /// The trusted metadata of a repository, if it was asked and could be refreshed.
    #[must_use]
    pub fn trusted(&self, repository: &RepositoryName) -> Option<&Trusted> {
        self.opened.get(repository)?.as_ref().ok().map(Released::trusted)
    }

    /// Looks for a target as the map says, and brings it into memory.
    pub fn lookup(&mut self, path: &str) -> Lookup {
        let repositories = self.repositories;
        let mut answers = Vec::new();
        for (place, mapping) in repositories.map.mappings_for(path) {
            let round = self.ask(mapping, path);
            // Only if everybody says that there is no such file: doubt must not lead to a weaker rule.
            let silent = round.iter().all(|says| matches!(says, Says::NotSigned(Absence::NotListed)));
            let (said, result) = if silent { (round, None) } else { self.decide(mapping, round) };
            let named = mapping.repositories.iter().cloned().zip(said);
            answers.extend(named.map(|(repository, says)| Answer { mapping: place, repository, says }));
            if let Some(result) = result {
                return Lookup { path: path.to_owned(), answers, result };
            }
            if mapping.terminating {
                break;
            }
        }
        let mut asked: Vec<RepositoryName> = Vec::new();
        for answer in &answers {
            if !asked.contains(&answer.repository) {
                asked.push(answer.repository.clone());
            }
        }
        let reason = if asked.is_empty() { Disagreement::NotMapped } else { Disagreement::NotSigned { asked } };
        Lookup { path: path.to_owned(), answers, result: Err(reason.into()) }
    }

    /// What each repository of a mapping says by itself: [`Says::Signs`], [`Says::NotSigned`] or [`Says::Failed`].
    fn ask(&mut self, mapping: &Mapping, path: &str) -> Vec<Says> {
        let ask = |name| match self.open(name).and_then(|session| find(session, path)) {
            Ok(Ok(found)) => Says::Signs(found),
            Ok(Err(absence)) => Says::NotSigned(absence),
            Err(error) => Says::Failed(error),
        };
        mapping.repositories.iter().map(ask).collect()
    }

    fn open(&mut self, name: &RepositoryName) -> Result<&mut Released<'r, S>, Arc<ClientError>> {
        let clients = &self.repositories.clients;
        let refresh = || match clients.get(name) {
            Some(client) => client.refresh().map(Session::release).map_err(Arc::new),
            None => Err(Arc::new(
                SourceError::NoRepository { place: name.to_string(), what: "not in the map".to_owned() }.into(),
            )),
        };
        self.opened.entry(name.clone()).or_insert_with(refresh).as_mut().map_err(|error| Arc::clone(error))
    }

    /// Sees what the answers to one mapping come to, at least one of which is not a plain "not signed".
    fn decide(&self, mapping: &Mapping, round: Vec<Says>) -> (Vec<Says>, Option<Result<Vec<u8>, LookupError>>) {
        let (asked, threshold) = (mapping.repositories.clone(), mapping.threshold);
        let clock = asked.iter().zip(&round).find_map(|(name, says)| clock_error(says).map(|e| (name.clone(), e)));
        if let Some((repository, source)) = clock {
            return (round, Some(Err(Unreached::Clock { repository, source }.into())));
        }
        let signing: Vec<Signing<'_>> = (0..)
            .zip(asked.iter().zip(&round))
            .filter_map(|(place, (name, says))| Some(Signing { place, name, statement: self.statement(name, says)? }))
            .collect();
        let agreed = agreement(&signing.iter().map(|one| &one.statement).collect::<Vec<_>>(), threshold);
        let counted: Vec<&Signing<'_>> = match &agreed {
            Agreement::Reached(places) | Agreement::TooFew(places) => {
                places.iter().filter_map(|place| signing.get(*place)).collect()
            }
            Agreement::Contradicted => Vec::new(),
        };
        let reached = matches!(agreed, Agreement::Reached(_));
        let judge = |(place, says)| match (says, signing.iter().find(|one| one.place == place)) {
            (Says::Signs(found), Some(own)) => own.judge(found, &counted, reached),
            (says, _) => says,
        };
        let said: Vec<Says> = (0..).zip(round).map(judge).collect();

        let result = match agreed {
            Agreement::Reached(_) => self.bring(&asked, &said),
            Agreement::Contradicted => Err(Disagreement::Contradiction { threshold, asked }.into()),
            Agreement::TooFew(_) => {
                let counted = counted.iter().map(|one| one.name.clone()).collect();
                Err(too_few(threshold, asked.clone(), counted, &said))
            }
        };
        (said, Some(result))
    }

    fn statement(&self, name: &RepositoryName, says: &Says) -> Option<Statement<PublicKey>> {
        let Says::Signs(found) = says else { return None };
        let (file, keys) = (found.file(), self.trusted(name)?.keys_behind(found));
        Some(Statement { length: file.length(), sha256: file.hashes().sha256(), sha512: file.hashes().sha512(), keys })
    }

    /// The file from the first that has it, checked against what each of those that agree says.
    fn bring(&self, asked: &[RepositoryName], said: &[Says]) -> Result<Vec<u8>, LookupError> {
        let agreed: Vec<(&RepositoryName, &Found)> = asked
            .iter()
            .zip(said)
            .filter_map(|(name, says)| if let Says::Agrees(found) = says { Some((name, found)) } else { None })
            .collect();
        let mut refused = None;
        let mut missing = None;
        for (name, found) in &agreed {
            let Some(Ok(session)) = self.opened.get(*name) else { continue };
            let fetched = session.fetch(found).and_then(|bytes| {
                agreed.iter().try_for_each(|(_, other)| check_target(other.path(), other.file(), &bytes))?;
                Ok(bytes)
            });
            let repository = || (*name).clone();
            match fetched {
                Ok(bytes) => return Ok(bytes),
                Err(ClientError::NotTrusted(source)) => {
                    refused.get_or_insert(Disagreement::File { repository: repository(), source });
                }
                Err(ClientError::Undecided(source)) => {
                    missing.get_or_insert(Unreached::File { repository: repository(), source });
                }
            }
        }
        match (refused, missing) {
            (Some(refused), _) => Err(refused.into()),
            (None, Some(missing)) => Err(missing.into()),
            // There is at least one that agrees, so this is not reached; "not trusted" is the safe side.
            (None, None) => Err(Disagreement::NotMapped.into()),
        }
    }
}

/// A repository of a mapping that signs the target.
struct Signing<'a> {
    /// Its place in the mapping.
    place: usize,
    name: &'a RepositoryName,
    statement: Statement<PublicKey>,
}

impl Signing<'_> {
    /// What `found`, which this one says, is beside those that count.
    fn judge(&self, found: Found, counted: &[&Signing<'_>], reached: bool) -> Says {
        if counted.iter().any(|one| one.place == self.place) {
            return if reached { Says::Agrees(found) } else { Says::Signs(found) };
        }
        let contradicts = counted.iter().any(|one| self.statement.contradicts(&one.statement));
        match counted.iter().find(|one| self.statement.shares_a_key_with(&one.statement)) {
            Some(one) if !contradicts => Says::SharesKey { found, with: one.name.clone() },
            _ if reached => Says::Differs(found),
            _ => Says::Signs(found),
        }
    }
}

/// A target that is listed without a known hash is listed wrong: nothing binds its bytes.
fn find<S: Source>(session: &mut Released<'_, S>, path: &str) -> Result<Result<Found, Absence>, Arc<ClientError>> {
    let found = session.find(path).map_err(Arc::new)?;
    match &found {
        Ok(found) if found.file().hashes().sha256().is_none() && found.file().hashes().sha512().is_none() => {
            Err(Arc::new(TrustError::NoKnownHash { file: path.to_owned() }.into()))
        }
        _ => Ok(found),
    }
}

/// Whether nothing speaks against the target but that some could not be asked, and they would be enough.
fn too_few(threshold: usize, asked: Vec<RepositoryName>, agreed: Vec<RepositoryName>, said: &[Says]) -> LookupError {
    let failed = |says: &&Says| matches!(says, Says::Failed(error) if matches!(**error, ClientError::NotTrusted(_)));
    let unreached = |says: &&Says| matches!(says, Says::Failed(error) if matches!(**error, ClientError::Undecided(_)));
    let possible = agreed.len().saturating_add(said.iter().filter(unreached).count());
    if said.iter().any(|says| failed(&says)) || possible < threshold {
        Disagreement::TooFew { threshold, asked, agreed }.into()
    } else {
        Unreached::TooFew { threshold, asked, agreed }.into()
    }
}

fn clock_error(says: &Says) -> Option<Arc<ClientError>> {
    match says {
        Says::Failed(error) if matches!(**error, ClientError::Undecided(Undecided::ClockBehind { .. })) => {
            Some(Arc::clone(error))
        }
        _ => None,
    }
}

fn names(names: &[RepositoryName]) -> String {
    names.iter().map(RepositoryName::as_str).collect::<Vec<_>>().join(", ")
}

fn only(agreed: &[RepositoryName]) -> String {
    match agreed {
        [] => "none can be counted".to_owned(),
        agreed => format!("only {} can be counted", names(agreed)),
    }
}
