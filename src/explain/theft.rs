//! What a thief of keys could do, by the roles that the keys have and how many of them each role needs.
//!
//! The repository's files are taken to be in the thief's hands as well, as if he were its mirror: what he can sign, he can serve.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::metadata::key::PublicKey;

/// A role, and who can sign for it.
pub(super) struct Holder {
    pub(super) role: String,
    pub(super) threshold: u64,
    /// The different keys that this version can use, each with the first of its ids.
    pub(super) keys: BTreeMap<PublicKey, String>,
    pub(super) scope: Vec<String>,
    pub(super) expires: (DateTime<Utc>, String),
}

/// What a thief of one key could do. Keys with the same roles stand together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Theft {
    /// The ids of the keys; he has one of them.
    pub keys: Vec<String>,
    /// The roles that such a key has.
    pub roles: Vec<Holding>,
    /// What he can do with that key alone; empty if nothing.
    pub alone: Vec<Power>,
    /// What he could do with more keys of a role.
    pub with_more: Vec<WithMore>,
}

/// A role in which keys are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Holding {
    /// The role.
    pub role: String,
    /// How many of its keys must sign.
    pub threshold: u64,
    /// How many different keys it has.
    pub keys: usize,
}

/// What becomes possible with more keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WithMore {
    /// The role whose keys are needed.
    pub role: String,
    /// How many more.
    pub more: u64,
    /// What is possible then.
    pub powers: Vec<Power>,
}

/// What whoever has enough keys of several roles could do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Together {
    /// The roles, and how many keys each needs.
    pub roles: Vec<Holding>,
    /// What is possible then.
    pub powers: Vec<Power>,
}

/// One thing that a thief could do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Power {
    /// What it is.
    pub kind: PowerKind,
    /// The delegated role, of what is signed in its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What it is limited to: patterns of paths or prefixes of their hashes. Empty if that cannot be said in a few words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// Whether clients see it only once the snapshot and timestamp roles list it, which the thief cannot do himself.
    pub needs_publication: bool,
    /// When it ends by itself, RFC 3339: the first of the other roles' expiries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// What a thief could do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PowerKind {
    /// Replace the root, and so everything.
    ReplaceEverything,
    /// Sign any image, and delegate to anybody.
    SignAnything,
    /// Sign, and delegate, what is delegated to the role.
    SignDelegated,
    /// Show clients what is there today, and nothing newer; or lock them out by pushing versions out of reach.
    Withhold,
    /// Show clients files together that were not published together, within what they have not seen.
    MixAndMatch,
}

const SNAPSHOT: &str = "snapshot";
const TIMESTAMP: &str = "timestamp";

/// By the keys: what the thief of one could do. In the order of the roles.
pub(super) fn thefts(holders: &[Holder]) -> Vec<Theft> {
    let mut ids: BTreeMap<&PublicKey, (&str, Vec<usize>)> = BTreeMap::new();
    for (at, holder) in holders.iter().enumerate() {
        for (key, id) in &holder.keys {
            ids.entry(key).or_insert((id, Vec::new())).1.push(at);
        }
    }
    let mut groups: BTreeMap<Vec<usize>, Vec<String>> = BTreeMap::new();
    for (id, roles) in ids.into_values() {
        groups.entry(roles).or_default().push(id.to_owned());
    }
    let theft = |(roles, mut keys): (Vec<usize>, Vec<String>)| {
        keys.sort();
        let held: Vec<&Holder> = roles.iter().filter_map(|at| holders.get(*at)).collect();
        let alone: Vec<&Holder> = held.iter().copied().filter(|holder| holder.threshold <= 1).collect();
        let others = held.iter().filter(|holder| holder.threshold > 1 && holder.can_be_met());
        let with_more = others.map(|holder| WithMore {
            role: holder.role.clone(),
            more: holder.threshold.saturating_sub(1),
            powers: powers(&[alone.as_slice(), &[*holder]].concat(), holders),
        });
        let with_more = with_more.collect();
        let roles = held.iter().map(|holder| holder.holding()).collect();
        Theft { keys, roles, alone: powers(&alone, holders), with_more }
    };
    groups.into_iter().map(theft).collect()
}

/// What becomes possible only with the keys of several roles.
pub(super) fn together(holders: &[Holder]) -> Vec<Together> {
    let named = |name: &str| holders.iter().take(4).find(|holder| holder.role == name);
    let (Some(timestamp), Some(snapshot)) = (named(TIMESTAMP), named(SNAPSHOT)) else { return Vec::new() };
    let signers = holders.iter().skip(3).map(Some);
    let sets = [None].into_iter().chain(signers).map(|signer| {
        let set: Vec<&Holder> = [timestamp, snapshot].into_iter().chain(signer).collect();
        Together { roles: set.iter().map(|holder| holder.holding()).collect(), powers: powers(&set, holders) }
    });
    let can_be_met = [timestamp, snapshot].iter().all(|holder| holder.can_be_met());
    if can_be_met { sets.collect() } else { Vec::new() }
}

impl Holder {
    fn holding(&self) -> Holding {
        Holding { role: self.role.clone(), threshold: self.threshold, keys: self.keys.len() }
    }

    fn can_be_met(&self) -> bool {
        u64::try_from(self.keys.len()).unwrap_or(u64::MAX) >= self.threshold
    }
}

/// What whoever can sign for all of `held` can do. The first four of `holders` are the top-level roles, in the order root, timestamp, snapshot, targets.
fn powers(held: &[&Holder], holders: &[Holder]) -> Vec<Power> {
    let is = |holder: &Holder, place: usize| holders.get(place).is_some_and(|other| std::ptr::eq(other, holder));
    let has = |place: usize| held.iter().any(|holder| is(holder, place));
    let (root, timestamp, snapshot, targets) = (has(0), has(1), has(2), has(3));
    if root {
        return vec![Power::new(PowerKind::ReplaceEverything)];
    }
    let mut powers = Vec::new();
    let needs_publication = !(timestamp && snapshot);
    if targets {
        powers.push(Power { needs_publication, ..Power::new(PowerKind::SignAnything) });
    }
    let delegated = held.iter().filter(|holder| !(0..4).any(|place| is(holder, place)));
    // Whoever signs anything needs no delegation.
    for holder in delegated.filter(|_| !targets) {
        let role = Some(holder.role.clone());
        let scope = holder.scope.clone();
        powers.push(Power { role, scope, needs_publication, ..Power::new(PowerKind::SignDelegated) });
    }
    let signed_by_thief: BTreeSet<usize> = (0..holders.len()).filter(|place| has(*place) || *place == 1).collect();
    let others = holders.iter().enumerate().filter(|(place, _)| !signed_by_thief.contains(place));
    let until = others.map(|(_, holder)| &holder.expires).min().map(|(_, shown)| shown.clone());
    if timestamp {
        let kind = if snapshot { PowerKind::MixAndMatch } else { PowerKind::Withhold };
        powers.push(Power { until, ..Power::new(kind) });
    }
    powers
}

impl Power {
    fn new(kind: PowerKind) -> Self {
        Self { kind, role: None, scope: Vec::new(), needs_publication: false, until: None }
    }
}
