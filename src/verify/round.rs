//! One round of questions to repositories: each is refreshed once, when it is first needed, and asked for the signed files of as many images as there are.

use std::collections::BTreeMap;
use std::ptr;

use super::Stop;
use super::terms::{Authority, Terms};
use crate::client::{ClientError, Released, Session, Source};
use crate::map::{Disagreement, LookupError, MapSession};
use crate::name::ImageName;
use crate::trust::Absence;
use crate::verdict::{Finding, MetadataReport, Report, RepositoryReport};

/// Whether a signed file must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Must,
    May,
}

/// The repositories that were asked so far, by the terms that name them.
pub(super) struct Round<'v, S> {
    opened: Vec<Opened<'v, S>>,
}

struct Opened<'v, S> {
    terms: &'v Terms<S>,
    /// One that cannot be refreshed is not tried again: it would take the time of another time-out for each archive.
    asking: Result<Asking<'v, S>, Stop>,
}

enum Asking<'v, S> {
    One(Released<'v, S>),
    Map(MapSession<'v, S>),
}

/// What repositories said while one archive was looked up, for its report.
#[derive(Default)]
pub(super) struct Said {
    /// Of each repository that was asked by itself, by its place among those that the round has opened.
    metadata: BTreeMap<usize, Whose>,
    /// The one that was asked first for this archive.
    first: Option<usize>,
    /// Of those of maps.
    repositories: Vec<RepositoryReport>,
}

struct Whose {
    source: Option<String>,
    metadata: MetadataReport,
}

impl<'v, S: Source> Round<'v, S> {
    pub(super) fn new() -> Self {
        Self { opened: Vec::new() }
    }

    /// Brings what is signed at a target path of an image. `None` only for what may be missing, and only where all who may sign it were asked and
    /// none does: doubt is never taken for "there is none".
    pub(super) fn file(
        &mut self,
        terms: &'v Terms<S>,
        name: &ImageName,
        path: &str,
        need: Need,
        said: &mut Said,
    ) -> Result<Option<Vec<u8>>, Stop> {
        let (place, asking) = self.open(terms)?;
        match asking {
            Asking::One(session) => signed_file(session, name, path, need, said.of(place, terms, session)),
            Asking::Map(session) => agreed_file(session, name, path, need, &mut said.repositories),
        }
    }

    /// The repositories of these terms, up to date, and their place in the round.
    fn open(&mut self, terms: &'v Terms<S>) -> Result<(usize, &mut Asking<'v, S>), Stop> {
        let known = self.opened.iter().position(|opened| ptr::eq(opened.terms, terms));
        let place = known.unwrap_or(self.opened.len());
        if known.is_none() {
            let asking = match &terms.authority {
                Authority::One(client) => client.refresh().map(Session::release).map(Asking::One).map_err(Stop::from),
                Authority::Map(repositories) => Ok(Asking::Map(repositories.session())),
            };
            self.opened.push(Opened { terms, asking });
        }
        match self.opened.get_mut(place) {
            Some(Opened { asking: Ok(asking), .. }) => Ok((place, asking)),
            Some(Opened { asking: Err(stop), .. }) => Err(stop.clone()),
            None => Err(Stop::Undecided(Vec::new())),
        }
    }
}

impl Said {
    /// The report on the metadata of a repository that is asked by itself.
    fn of<S: Source>(&mut self, place: usize, terms: &Terms<S>, session: &Released<'_, S>) -> &mut MetadataReport {
        self.first.get_or_insert(place);
        let new = || Whose { source: terms.source.clone(), metadata: MetadataReport::of(session.trusted()) };
        &mut self.metadata.entry(place).or_insert_with(new).metadata
    }

    /// Puts it all into the report of the archive. The first repository is the one whose metadata the verdict names.
    pub(super) fn report(mut self, report: &mut Report) {
        report.metadata = self.first.and_then(|first| self.metadata.remove(&first)).map(|whose| whose.metadata);
        let others = self.metadata.into_values();
        report.others = others.map(|whose| (whose.source.unwrap_or_default(), whose.metadata)).collect();
        report.repositories = self.repositories;
    }
}

fn signed_file<S: Source>(
    session: &mut Released<'_, S>,
    name: &ImageName,
    path: &str,
    need: Need,
    metadata: &mut MetadataReport,
) -> Result<Option<Vec<u8>>, Stop> {
    let found = session.find(path)?;
    metadata.saw(session.trusted());
    match found {
        Ok(found) => {
            metadata.signed_by(session.trusted(), &found);
            Ok(Some(session.fetch(&found)?))
        }
        Err(Absence::NotListed) if need == Need::May => Ok(None),
        Err(absence) => Err(not_signed(name, path, &absence)),
    }
}

/// The same by a map. Whatever comes of it, `asked` then has what each repository said.
fn agreed_file<S: Source>(
    session: &mut MapSession<'_, S>,
    name: &ImageName,
    path: &str,
    need: Need,
    asked: &mut Vec<RepositoryReport>,
) -> Result<Option<Vec<u8>>, Stop> {
    let lookup = session.lookup(path);
    let none = Disagreement::is_that_none_signs;
    if need == Need::May && matches!(&lookup.result, Err(LookupError::NotTrusted(why)) if none(why)) {
        return Ok(None);
    }
    for answer in &lookup.answers {
        RepositoryReport::add(asked, path, answer, session.trusted(&answer.repository));
    }
    lookup.result.map(Some).map_err(|error| {
        let mut findings = vec![Finding::of_lookup(name, path, &error)];
        findings.extend(lookup.answers.iter().filter_map(|answer| Finding::of_answer(answer, &error)));
        match error {
            LookupError::NotTrusted(_) => Stop::Untrusted(findings),
            LookupError::Undecided(_) => Stop::Undecided(findings),
        }
    })
}

fn not_signed(name: &ImageName, path: &str, absence: &Absence) -> Stop {
    let text = format!("{name}: not signed: {absence}");
    Stop::Untrusted(vec![Finding::new("image-not-signed", text).about(path)])
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NotTrusted(error) => Self::Untrusted(vec![Finding::from(&error)]),
            ClientError::Undecided(error) => Self::from(error),
        }
    }
}
