//! Several repositories at once [TAP 4]: a map says which of them, and how many, must agree on a target before it is trusted.
//!
//! So a vendor and one's own security team can both have to sign. The map is the operator's, like a pinned root: it comes from no
//! repository, and what it says is believed. [`Map`] is what the file says, [`PinnedMap`] adds a root for each repository,
//! [`Repositories`] asks them. How to write one is told in `docs/map.md`.
//!
//! Where TAP 4 leaves a choice, or would let doubt pass, this is the stricter reading:
//! - A key that is not known is an error: a misspelt `threshold` must not go unheard. A key that begins with `_` is a comment.
//! - A pattern is as in a delegation: `*` stays within one path segment. One that can match no file of an image is an error, for the
//!   mapping that was meant to be strict would be passed over.
//! - All repositories of a mapping are asked, not only as many as it takes: two answers that both reach the threshold are none.
//! - The next mapping is tried only if every repository of this one was reached and says that it does not sign the target. Whoever can
//!   cut off or contradict one repository cannot push the search on to a weaker rule.
//! - One key counts once: repositories with a key in common count as one signer, whatever they are called.

mod agreement;
mod pinned;
mod repositories;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use self::pinned::{MapError, PinnedMap, PinnedRepository};
pub use self::repositories::{Answer, Disagreement, Lookup, LookupError, MapSession, Repositories, Says, Unreached};
pub use crate::client::Location;
use crate::metadata::delegation::pattern_matches;
use crate::metadata::json::{self, At, Error};

/// What a repository is called in a map, and the name of its folder.
///
/// 1 to 64 letters, digits, `-`, `_` and `.`, the first and the last of which is a letter or digit. So it is one path segment anywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

impl RepositoryName {
    fn new(text: &str) -> Option<Self> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let ends = [text.bytes().next()?, text.bytes().next_back()?];
        let plain = text.len() <= 64 && text.bytes().all(inner) && ends.iter().all(u8::is_ascii_alphanumeric);
        plain.then(|| Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a map file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    repositories: BTreeMap<RepositoryName, Vec<String>>,
    mappings: Vec<Mapping>,
}

/// Which repositories decide on which targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    paths: Vec<String>,
    repositories: Vec<RepositoryName>,
    threshold: usize,
    terminating: bool,
}

impl Map {
    /// Reads a map file: `repositories` (a list of locations by name) and `mapping` (a list, most important first, of objects with
    /// `paths`, `repositories`, `threshold` and `terminating`).
    ///
    /// # Errors
    ///
    /// [`json::Error`], with the place in the file, for the first thing that is missing, unknown or without sense.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let value = json::parse(bytes)?;
        let document = At::document(&value);
        only(document, &["repositories", "mapping"])?;
        let repositories = read_repositories(document.field("repositories")?)?;
        let list = document.field("mapping")?;
        let mappings: Vec<_> = list.items()?.map(|at| Mapping::read(at, &repositories)).collect::<Result<_, _>>()?;
        if mappings.is_empty() {
            return Err(list.wrong("at least one mapping"));
        }
        Ok(Self { repositories, mappings })
    }

    /// The repositories, each with its locations as they are written in the file.
    pub fn repositories(&self) -> impl Iterator<Item = (&RepositoryName, &[String])> {
        self.repositories.iter().map(|(name, locations)| (name, locations.as_slice()))
    }

    /// The mappings in order of priority.
    #[must_use]
    pub fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    /// The mappings that decide on the target at `path`, in order of priority, each with its place in the file, from 0.
    pub fn mappings_for(&self, path: &str) -> impl Iterator<Item = (usize, &Mapping)> {
        self.mappings.iter().enumerate().filter(move |(_, mapping)| mapping.matches(path))
    }
}

impl Mapping {
    fn read(at: At<'_>, defined: &BTreeMap<RepositoryName, Vec<String>>) -> Result<Self, Error> {
        only(at, &["paths", "repositories", "threshold", "terminating"])?;
        let list = at.field("paths")?;
        let paths: Vec<_> = list.items()?.map(read_pattern).collect::<Result<_, _>>()?;
        if paths.is_empty() {
            return Err(list.wrong("at least one path pattern"));
        }
        let mut repositories = Vec::new();
        let list = at.field("repositories")?;
        for item in list.items()? {
            let name = RepositoryName::new(item.string()?).filter(|name| defined.contains_key(name));
            let name = name.ok_or_else(|| item.wrong("the name of one of the repositories above"))?;
            if repositories.contains(&name) {
                return Err(item.wrong("each repository once"));
            }
            repositories.push(name);
        }
        if repositories.is_empty() {
            return Err(list.wrong("at least one repository"));
        }
        let threshold = at.field("threshold")?;
        let in_range = usize::try_from(threshold.positive()?).ok().filter(|n| *n <= repositories.len());
        Ok(Self {
            paths,
            threshold: in_range
                .ok_or_else(|| threshold.wrong("no more than there are repositories in this mapping"))?,
            repositories,
            terminating: at.field("terminating")?.boolean()?,
        })
    }

    /// Whether this mapping decides on the target at `path`.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.paths.iter().any(|pattern| pattern_matches(pattern, path))
    }

    /// The path patterns, as in delegations [TUF 4.5].
    #[must_use]
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// The repositories to ask, in order; each once, at least one.
    #[must_use]
    pub fn repositories(&self) -> &[RepositoryName] {
        &self.repositories
    }

    /// How many of them must agree: from 1 to their number.
    #[must_use]
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// Whether the search ends here even if none of them signs the target.
    #[must_use]
    pub fn terminating(&self) -> bool {
        self.terminating
    }
}

fn read_repositories(at: At<'_>) -> Result<BTreeMap<RepositoryName, Vec<String>>, Error> {
    let mut repositories = BTreeMap::new();
    let mut folders = BTreeSet::new();
    for (name, list) in at.fields()? {
        let wrong =
            "under a name of letters, digits, '-', '_' and '.' that does not begin or end with one of the last three";
        let known = RepositoryName::new(name).ok_or_else(|| list.wrong(wrong))?;
        // Some file systems would give both the same folder.
        if !folders.insert(name.to_ascii_lowercase()) {
            return Err(list.wrong("under a name that differs from the others in more than case"));
        }
        let locations: Vec<_> = list.items()?.map(|item| read_location(item)).collect::<Result<_, _>>()?;
        if locations.is_empty() {
            return Err(list.wrong("at least one location"));
        }
        repositories.insert(known, locations);
    }
    Ok(repositories)
}

fn read_location(at: At<'_>) -> Result<String, Error> {
    match at.string()? {
        "" => Err(at.wrong("a folder or an address")),
        location => Ok(location.to_owned()),
    }
}

/// The path of an image's file has at least four segments, none of them empty: `HOST/REPO/TAG/FILE`.
fn read_pattern(at: At<'_>) -> Result<String, Error> {
    let pattern = at.string()?;
    if pattern.contains("**") {
        return Err(at.wrong("a pattern without '**': '*' stays within one segment of a path"));
    }
    if pattern.split('/').any(str::is_empty) || pattern.split('/').count() < 4 {
        return Err(at.wrong("a pattern of four or more segments, as HOST/REPO/TAG/FILE has; '*' does not match '/'"));
    }
    Ok(pattern.to_owned())
}

/// Whether the object here has no key but these, and comments.
fn only(at: At<'_>, keys: &[&str]) -> Result<(), Error> {
    for (key, value) in at.fields()? {
        if !keys.contains(&key) && !key.starts_with('_') {
            return Err(value.wrong("no such key"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{
        "repositories": {"vendor": ["./vendor"], "security": ["./security", "./mirror"]},
        "mapping": [
            {"paths": ["registry.example/team/*/*/*"], "repositories": ["vendor", "security"], "threshold": 2, "terminating": true}
        ]
    }"#;

    #[test]
    fn a_map_has_one_meaning_or_none() {
        // Each row replaces the first text by the second in the good map; the expected error is a part of what is reported.
        let long = format!("\"{}\": [\"a\"], \"vendor\"", "n".repeat(64));
        let too_long = format!("\"{}\": [\"a\"], \"vendor\"", "n".repeat(65));
        let rows: &[(&str, &str, Option<&str>)] = &[
            ("mapping", "mapping", None),
            ("{\"paths\"", "{\"_why\": \"both sign\", \"paths\"", None),
            ("{\"paths\"", "{\"why\": \"both sign\", \"paths\"", Some("mapping[0].why: expected no such key")),
            ("\"mapping\": [", "\"maping\": 1, \"mapping\": [", Some("maping: expected no such key")),
            ("\"mapping\": [", "\"mapping\": [], \"mapping\": [", Some("occurs twice")),
            ("\"vendor\": [\"./vendor\"]", "\"vendor\": [\"a\"], \"vendor\": [\"b\"]", Some("occurs twice")),
            ("\"threshold\": 2", "\"threshold\": 1", None),
            ("\"threshold\": 2", "\"threshold\": 0", Some("threshold: expected an integer above 0")),
            ("\"threshold\": 2", "\"threshold\": 3", Some("threshold: expected no more than there are repositories")),
            ("\"threshold\": 2", "\"threshold\": 2.0", Some("threshold: expected an integer")),
            ("\"threshold\": 2, ", "", Some("threshold: expected a value")),
            (", \"terminating\": true", "", Some("terminating: expected a value")),
            ("\"terminating\": true", "\"terminating\": 1", Some("terminating: expected true or false")),
            (
                "[\"vendor\", \"security\"]",
                "[\"vendor\", \"vendor\"]",
                Some("repositories[1]: expected each repository once"),
            ),
            (
                "[\"vendor\", \"security\"]",
                "[\"vendor\", \"other\"]",
                Some("repositories[1]: expected the name of one"),
            ),
            ("[\"vendor\", \"security\"]", "[]", Some("at least one repository")),
            ("[\"./vendor\"]", "[]", Some("vendor: expected at least one location")),
            ("[\"./vendor\"]", "[\"\"]", Some("vendor[0]: expected a folder")),
            ("[\"./vendor\"]", "\"./vendor\"", Some("vendor: expected an array")),
            ("\"vendor\"", &long, None),
            ("\"vendor\"", &too_long, Some("under a name of letters")),
            ("\"vendor\": [", "\"a.b-c_d\": [\"a\"], \"vendor\": [", None),
            ("\"vendor\": [", "\"..\": [\"a\"], \"vendor\": [", Some("under a name of letters")),
            ("\"vendor\": [", "\"a/b\": [\"a\"], \"vendor\": [", Some("under a name of letters")),
            ("\"vendor\": [", "\".a\": [\"a\"], \"vendor\": [", Some("under a name of letters")),
            ("\"vendor\": [", "\"\": [\"a\"], \"vendor\": [", Some("under a name of letters")),
            ("\"vendor\": [", "\"Vendor\": [\"a\"], \"vendor\": [", Some("differs from the others in more than case")),
            ("team/*/*/*", "*/*/*", None),
            ("team/*/*/*", "*/*", Some("paths[0]: expected a pattern of four or more segments")),
            ("registry.example/team/*/*/*", "*", Some("paths[0]: expected a pattern of four or more segments")),
            ("registry.example/team/*/*/*", "/registry.example/*/*/*", Some("paths[0]: expected a pattern of four")),
            ("team/*/*/*", "team/**/*/*", Some("without '**'")),
            ("[\"registry.example/team/*/*/*\"]", "[]", Some("at least one path pattern")),
        ];
        for (before, after, expected) in rows {
            let text = GOOD.replacen(before, after, 1);
            let got = Map::parse(text.as_bytes()).map_err(|e| e.to_string());
            match (got, expected) {
                (Ok(_), None) => {}
                (Err(error), Some(expected)) => assert!(error.contains(expected), "{after}: {error}"),
                (got, _) => panic!("{after}: {got:?}"),
            }
        }
        assert!(Map::parse(br#"{"repositories": {}, "mapping": []}"#).is_err());
    }

    #[test]
    fn a_mapping_decides_on_what_its_patterns_match_segment_by_segment() {
        let map = Map::parse(GOOD.as_bytes()).unwrap();
        let cases = [
            ("registry.example/team/app/1.4/manifest.json", true),
            ("registry.example/team/app/1.4/manifest.linux-arm64.json", true),
            ("registry.example/team/app/api/1.4/manifest.json", false),
            ("registry.example/teams/app/1.4/manifest.json", false),
            ("REGISTRY.example/team/app/1.4/manifest.json", false),
        ];
        for (path, expected) in cases {
            assert_eq!(map.mappings_for(path).count(), usize::from(expected), "{path}");
        }
    }
}
