//! A policy file: which repository, root and checks the images of a name need.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::path::Path;
//!
//! use plimsoll::policy::{Policy, Ruling};
//!
//! let text = r#"
//! version = 1
//!
//! [scope."registry.example/team"]
//! repository = "https://tuf.example/team"
//! root = "team.root.json"
//!
//! [scope."registry.example/team/legacy"]
//! refuse = "moved to registry.example/team"
//! "#;
//! let policy = Policy::parse(text, Path::new("/etc/plimsoll"))?;
//! assert!(matches!(policy.rule(&"registry.example/team/app:1.4".parse()?), Ruling::Rule(..)));
//! assert!(matches!(policy.rule(&"registry.example/team/legacy/app".parse()?), Ruling::Refused(..)));
//! assert!(matches!(policy.rule(&"alpine".parse()?), Ruling::NoScope));
//! # Ok(())
//! # }
//! ```
//!
//! The file is the operator's, like a pinned root: what it says is believed. How to write one is told in `docs/policy.md`.
//!
//! Rules:
//! - What no scope is about is refused. The most specific scope governs alone: nothing is inherited from the others.
//! - A key that is not known is an error: a misspelt demand must not go unheard. So are keys that contradict each other.
//! - Two policies are never merged, and a file that others may write is not read.

mod document;
mod error;
mod file;
mod govern;
mod probe;
mod rule;
mod run;
mod scope;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::document::{Table, Text, Value};
pub use self::error::{PolicyError, Position, Problem};
pub use self::file::{MACHINE_POLICY, default_policy, read_map, read_root};
pub use self::govern::Governing;
pub use self::probe::{PROBE, proof};
pub use self::rule::{Authority, Contents, NodeTerms, Rule, Unreachable};
pub use self::run::RunLimits;
pub use self::scope::{Scope, ScopeError};
use crate::name::ImageName;

/// What a policy file says.
#[derive(Debug, Clone)]
pub struct Policy {
    file: Option<PathBuf>,
    entries: BTreeMap<Scope, Entry>,
}

/// A scope, and what is said of its images.
#[derive(Debug, Clone)]
pub struct Entry {
    scope: Scope,
    written: String,
    at: Position,
    terms: Terms,
}

/// What is said of the images of a scope.
#[derive(Debug, Clone)]
pub enum Terms {
    /// What they need.
    Rule(Box<Rule>),
    /// That none of them is trusted, and why.
    Refuse(String),
}

impl Entry {
    /// The scope.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Where the scope stands in the file.
    #[must_use]
    pub fn position(&self) -> Position {
        self.at
    }

    /// What is said of its images.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }
}

/// What a policy says of one image.
#[derive(Debug, Clone, Copy)]
pub enum Ruling<'p> {
    /// This rule governs.
    Rule(&'p Entry, &'p Rule),
    /// It is refused, for the reason that stands there.
    Refused(&'p Entry, &'p str),
    /// No scope is about it, so it is refused.
    NoScope,
}

impl Policy {
    /// Reads a policy. Paths in it are relative to `folder`.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Malformed`], for the first thing that is missing, unknown or without sense.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, PolicyError> {
        let text = Text::new(text);
        let document = text.parse()?;
        let top = Table::new(text, String::new(), 0, document.get_ref(), &["version", "scope"])?;
        let version = top.get("version").ok_or_else(|| top.missing("version", "version = 1"))?;
        if version.whole(VERSION)? != 1 {
            return Err(version.wrong(VERSION));
        }
        let mut policy = Self { file: None, entries: BTreeMap::new() };
        let Some(scopes) = top.get("scope") else { return Ok(policy) };
        let scopes = scopes.open_table()?;
        let mut bases: Vec<(Scope, &Value<'_, '_>)> = Vec::new();
        let mut values: Vec<Value<'_, '_>> = scopes.entries().collect();
        values.sort_by_key(Value::position);
        for value in &values {
            let entry = entry(value, folder)?;
            if let Some(other) = policy.entries.get(&entry.scope) {
                let problem = Problem::SameScope { other: other.written.clone(), line: other.at.line };
                return Err(value.wrong_key(problem));
            }
            bases.push((entry.scope.clone(), value));
            policy.entries.insert(entry.scope.clone(), entry);
        }
        bases.iter().try_for_each(|(scope, value)| policy.check_base(scope, value))?;
        Ok(policy)
    }

    /// The file that it was read from, if it was.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What is said of an image.
    ///
    /// Of a reference with a tag and a digest, the scope of the repository governs, for the digest selects; but where the scope of that tag is refused, it is
    /// refused as well.
    #[must_use]
    pub fn rule(&self, name: &ImageName) -> Ruling<'_> {
        let refused = |entry: &&Entry| entry.scope.matches_claim(name) && matches!(entry.terms, Terms::Refuse(_));
        let governing = self.entries.values().find(refused).or_else(|| self.matching(name).into_iter().next());
        match governing {
            None => Ruling::NoScope,
            Some(entry) => match &entry.terms {
                Terms::Rule(rule) => Ruling::Rule(entry, rule),
                Terms::Refuse(why) => Ruling::Refused(entry, why),
            },
        }
    }

    /// All scopes that are about an image, the most specific first.
    #[must_use]
    pub fn matching(&self, name: &ImageName) -> Vec<&Entry> {
        self.entries.values().rev().filter(|entry| entry.scope.matches(name)).collect()
    }

    /// All scopes, in the order of the file.
    #[must_use]
    pub fn entries(&self) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.entries.values().collect();
        entries.sort_by_key(|entry| entry.at);
        entries
    }

    /// A base is an image that a rule governs; and no image is built on itself, be it by way of other scopes.
    fn check_base(&self, scope: &Scope, value: &Value<'_, '_>) -> Result<(), PolicyError> {
        let base = |scope: &Scope| match &self.entries.get(scope)?.terms {
            Terms::Rule(rule) => rule.requirements.base.as_ref(),
            Terms::Refuse(_) => None,
        };
        let table = value.open_table()?;
        let Some(written) = table.get("base") else { return Ok(()) };
        let mut next = base(scope);
        // A chain of bases has no more links than there are scopes, unless it comes back.
        for _ in 0..=self.entries.len() {
            let Some(name) = next else { return Ok(()) };
            match self.rule(name) {
                Ruling::Rule(entry, _) if entry.scope == *scope => {
                    return Err(written.wrong("an image of a scope that is not itself built on this one"));
                }
                Ruling::Rule(entry, _) => next = base(&entry.scope),
                Ruling::Refused(..) | Ruling::NoScope => {
                    return Err(written.wrong("an image that another scope admits"));
                }
            }
        }
        Ok(())
    }
}

const VERSION: &str = "1, the only version of the format that this program reads";

fn entry(value: &Value<'_, '_>, folder: &Path) -> Result<Entry, PolicyError> {
    let scope = Scope::parse(value.key()).map_err(|error| value.wrong_key(Problem::Scope(error)))?;
    let table = value.table(rule::KEYS)?;
    let terms = match table.get("refuse") {
        None => Terms::Rule(Box::new(Rule::read(&table, folder)?)),
        Some(refuse) => {
            if let Some(other) = table.entries().find(|other| other.key() != "refuse") {
                return Err(other.contradicts(&refuse, "what is refused needs nothing else"));
            }
            Terms::Refuse(refuse.text("the reason why it is refused")?.to_owned())
        }
    };
    Ok(Entry { scope, written: value.key().to_owned(), at: value.position(), terms })
}
