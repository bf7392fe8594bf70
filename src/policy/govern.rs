//! A policy at work: under which terms the image of a name is verified.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use super::{Entry, Policy, Rule, Ruling, Scope};
use crate::name::ImageName;
use crate::text::escaped;
use crate::verify::{Govern, NotGoverned, Terms};

/// A policy, and the repositories of its rules, each opened when it is first needed.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::path::Path;
///
/// use plimsoll::client::{Client, Source, Store};
/// use plimsoll::limits::HttpLimits;
/// use plimsoll::policy::{Authority, Governing, Policy};
/// use plimsoll::verify::{NotGoverned, Terms, Verifier};
///
/// let text = r#"
/// version = 1
///
/// [scope."registry.example/team"]
/// repository = "good"
/// root = "root.json"
/// "#;
/// let undecided = |e: String| NotGoverned::Undecided { code: "repository-unreadable", message: e };
/// let governing = Governing::new(Policy::parse(text, Path::new("test-repos"))?, |rule| {
///     let Authority::One { place, root } = &rule.authority else { return Err(undecided("a map".to_owned())) };
///     let root = std::fs::read(root).map_err(|e| undecided(e.to_string()))?;
///     let source = place.open(&HttpLimits::default()).map_err(|e| undecided(e.to_string()))?;
///     Ok(Terms::new(Client::new(root, source, Store::in_memory()).with_max_staleness(rule.max_staleness)))
/// });
/// let verifier = Verifier::governed(governing);
/// assert!(verifier.verify(Path::new("test-repos/good/app.tar")).is_trusted());
/// # Ok(())
/// # }
/// ```
pub struct Governing<S, F> {
    policy: Policy,
    opened: BTreeMap<Scope, OnceLock<Result<Terms<S>, NotGoverned>>>,
    open: F,
}

impl<S, F: Fn(&Rule) -> Result<Terms<S>, NotGoverned>> Governing<S, F> {
    /// `open` opens what a rule names as its authority, with the store and the staleness that the rule has. All else that a rule says is added to what it
    /// returns.
    pub fn new(policy: Policy, open: F) -> Self {
        let opened = policy.entries().into_iter().map(|entry| (entry.scope().clone(), OnceLock::new())).collect();
        Self { policy, opened, open }
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    fn opened(&self, entry: &Entry, rule: &Rule) -> Result<Terms<S>, NotGoverned> {
        Ok((self.open)(rule)?
            .with_target_paths(rule.target_paths.clone())
            .with_packages(rule.packages.clone())
            .with_requirements(rule.requirements.clone())
            .with_source(self.source(entry)))
    }

    /// Where a scope stands, for people.
    fn source(&self, entry: &Entry) -> String {
        let file = self.policy.file().map_or_else(|| "the policy".to_owned(), |file| file.display().to_string());
        format!("scope \"{}\" at line {} of {file}", entry.scope(), entry.position().line)
    }
}

impl<S, F: Fn(&Rule) -> Result<Terms<S>, NotGoverned>> Govern<S> for Governing<S, F> {
    fn terms(&self, name: &ImageName) -> Result<&Terms<S>, NotGoverned> {
        let refused = |code, why: String| NotGoverned::Refused { code, message: format!("{name}: {why}") };
        match self.policy.rule(name) {
            Ruling::Rule(entry, rule) => match self.opened.get(entry.scope()) {
                Some(opened) => opened.get_or_init(|| self.opened(entry, rule)).as_ref().map_err(Clone::clone),
                // Each scope of the policy has its place.
                None => Err(refused("policy-no-scope", "no scope of the policy is about it".to_owned())),
            },
            Ruling::Refused(entry, why) => {
                let why = format!("refused by {}: {}", self.source(entry), escaped(why));
                Err(refused("policy-refused", why))
            }
            Ruling::NoScope => {
                let file = self.policy.file().map_or_else(String::new, |file| format!(" in {}", file.display()));
                Err(refused("policy-no-scope", format!("no scope of the policy{file} is about it, so it is refused")))
            }
        }
    }
}

impl<S, F> fmt::Debug for Governing<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Governing").field("policy", &self.policy).finish_non_exhaustive()
    }
}
