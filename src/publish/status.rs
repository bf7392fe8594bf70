//! What a publisher has to know of a repository: who may sign what, until when it is good, and what waits for whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::metadata::RoleName;
use crate::metadata::roles::Targets;
use crate::publish::document::{Authority, Document};
use crate::publish::publication::{Missing, Waiting, key_changes};
use crate::publish::repository::{Repository, View};
use crate::text::escaped;

/// How many changes of one role the text lists before the rest is only counted.
const CHANGES_MAX: usize = 50;

/// The state of a repository.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Status {
    schema: &'static str,
    /// The time by which expiry was judged.
    pub time: String,
    /// The top-level roles, then the delegated ones.
    pub roles: Vec<RoleStatus>,
    /// What is staged.
    pub staged: Vec<StagedStatus>,
    /// What lies where something would be staged and cannot be read, by role, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<String, String>,
    /// The first role to expire, of those that clients need for any image.
    pub first_to_expire: Option<String>,
}

/// What clients see of a role.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RoleStatus {
    /// Its name.
    pub role: String,
    /// The published version.
    pub version: Option<u64>,
    /// When that expires.
    pub expires: Option<String>,
    /// Whether it has.
    pub expired: bool,
    /// How many keys must sign.
    pub threshold: u64,
    /// The ids of all its keys.
    pub keys: Vec<String>,
    /// The role that gives it these keys.
    pub delegated_by: String,
    /// How many files it signs, if it is a targets role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<usize>,
    #[serde(skip)]
    expires_at: Option<DateTime<Utc>>,
}

/// What is staged of a role.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StagedStatus {
    /// Its name.
    pub role: String,
    /// The version that waits.
    pub version: u64,
    /// When it expires.
    pub expires: String,
    /// What is different from what is published, one line each.
    pub changes: Vec<String>,
    /// The ids of the keys that signed.
    pub signed_by: Vec<String>,
    /// What it waits for: `signatures`, `role` or `outdated`; nothing if it would be published now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// How many signatures are missing.
    pub missing_signatures: u64,
    /// The ids of the keys that could give them.
    pub missing_keys: Vec<String>,
    /// The role that has to be signed first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_role: Option<String>,
}

impl Repository {
    /// The state of the repository, published and staged.
    #[must_use]
    pub fn status(&self) -> Status {
        let all = self.all_staged();
        let view = View { repository: self, chosen: &all };
        let mut roles = vec![RoleName::Root, RoleName::Timestamp, RoleName::Snapshot];
        roles.extend(view.reached());
        let roles: Vec<RoleStatus> = roles.iter().filter_map(|role| self.role_status(&view, role)).collect();
        let waiting = self.waiting(&self.ready());
        let staged = self.staged.values().map(|document| self.staged_status(document, &waiting)).collect();
        let needed = roles.iter().filter(|role| role.delegated_by == "root");
        let first = needed.filter_map(|role| Some((role.expires_at?, role.role.clone()))).min();
        let first_to_expire = first.map(|(_, role)| role);
        let unreadable = self.unreadable.iter().map(|(role, why)| (role.as_str().to_owned(), why.clone())).collect();
        let (schema, time) = ("plimsoll/repository/v1", shown(self.now));
        Status { schema, time, roles, staged, unreadable, first_to_expire }
    }

    fn role_status(&self, view: &View<'_>, role: &RoleName) -> Option<RoleStatus> {
        let (delegated_by, authority) = view.authorities(role).into_iter().next()?;
        let published = self.published.get(role);
        let expires = published.map(Document::expires);
        Some(RoleStatus {
            role: role.as_str().to_owned(),
            version: published.map(Document::version),
            expires: expires.map(shown),
            expired: expires.is_some_and(|expires| expires <= self.now),
            threshold: authority.role.threshold(),
            keys: ids(authority.ids()),
            delegated_by: delegated_by.as_str().to_owned(),
            targets: published.and_then(Document::targets).map(Targets::count),
            expires_at: expires,
        })
    }

    fn staged_status(&self, document: &Document, waiting: &[Waiting]) -> StagedStatus {
        let role = document.role();
        let mut signed_by: Vec<String> = Vec::new();
        for authority in self.authorities_for_signing(role) {
            signed_by.extend(ids(&document.signers(&authority)));
        }
        signed_by.sort();
        signed_by.dedup();
        let why = waiting.iter().find(|waiting| waiting.role == *role).map(|waiting| &waiting.why);
        let (mut missing_signatures, mut missing_keys, mut missing_role) = (0, Vec::new(), None);
        let waits_for = why.map(|why| match why {
            Missing::Signatures { valid, threshold, keys } => {
                missing_signatures = threshold.saturating_sub(*valid);
                missing_keys = ids(keys);
                "signatures"
            }
            Missing::Role(role) => {
                missing_role = Some(role.as_str().to_owned());
                "role"
            }
            Missing::Outdated => "outdated",
        });
        StagedStatus {
            role: role.as_str().to_owned(),
            version: document.version(),
            expires: shown(document.expires()),
            changes: changes(self.published.get(role), document),
            signed_by,
            waits_for: waits_for.map(str::to_owned),
            missing_signatures,
            missing_keys,
            missing_role,
        }
    }
}

fn ids(ids: &[crate::metadata::key::KeyId]) -> Vec<String> {
    ids.iter().map(|id| id.as_str().to_owned()).collect()
}

/// What whoever signs agrees to, in words.
fn changes(before: Option<&Document>, after: &Document) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(before), Some(after)) = (before.and_then(Document::root), after.root()) {
        for (role, (added, removed)) in key_changes(before, after) {
            lines.extend(added.iter().map(|id| format!("+ key {id} for {role}")));
            lines.extend(removed.iter().map(|id| format!("- key {id} of {role}")));
        }
        for role in [RoleName::Root, RoleName::Timestamp, RoleName::Snapshot, RoleName::Targets] {
            let threshold = |root| Authority::in_root(root, &role).map_or(0, |a| a.role.threshold());
            let (before, after) = (threshold(before), threshold(after));
            if before != after {
                lines.push(format!("~ threshold of {role}: {before} to {after}"));
            }
        }
    }
    if let Some(after) = after.targets() {
        // Who may sign comes first: it is more than any file, and is not to be lost among many.
        delegation_changes(before, after, &mut lines);
        target_changes(before.and_then(Document::targets), after, &mut lines);
    }
    if let Some(before) = before {
        other_changes(before, after, &mut lines);
    }
    if lines.is_empty() && before.is_some() {
        lines.push("~ nothing but version and expiry".to_owned());
    }
    lines
}

/// What the lists above do not show, so that nobody signs it unseen.
fn other_changes(before: &Document, after: &Document, lines: &mut Vec<String>) {
    let (Ok(before), Ok(after)) = (before.json(), after.json()) else { return };
    let keys = |signed: &Map<String, Value>, place: &str| -> Map<String, Value> {
        let keys = if place.is_empty() { signed.get("keys") } else { signed.get(place).and_then(|p| p.get("keys")) };
        keys.and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let mut lines_first = Vec::new();
    // An id is a name that the file gives a key: the same name can be given to another one.
    for place in ["", "delegations"] {
        let (before, after) = (keys(&before, place), keys(&after, place));
        let changed = after.iter().filter(|(id, key)| before.get(*id).is_some_and(|was| was != *key));
        lines_first.extend(changed.map(|(id, _)| format!("~ key {}: another key under the same id", escaped(id))));
    }
    let names = |signed: &Map<String, Value>| -> Vec<String> {
        let roles = signed.get("delegations").and_then(|d| d.get("roles")).and_then(Value::as_array);
        let names = roles.into_iter().flatten().filter_map(|role| role.get("name").and_then(Value::as_str));
        names.map(str::to_owned).collect()
    };
    let (old, new) = (names(&before), names(&after));
    let in_both = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|name| those.contains(name)).cloned().collect()
    };
    if in_both(&old, &new) != in_both(&new, &old) {
        lines_first.push("~ order of delegations: who is asked first".to_owned());
    }
    let shown_above = ["version", "expires", "keys", "roles", "targets", "delegations", "meta"];
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in all {
        let differs = before.get(name) != after.get(name);
        if differs && (!shown_above.contains(&name.as_str()) || lines.is_empty() && !is_clock(name)) {
            let value = after.get(name).map_or_else(|| "nothing".to_owned(), Value::to_string);
            lines_first.push(format!("~ {}: {}", escaped(name), escaped(&value)));
        }
    }
    lines.splice(0..0, lines_first);
}

/// Whether every new version has another value there.
fn is_clock(name: &str) -> bool {
    matches!(name, "version" | "expires")
}

fn target_changes(before: Option<&Targets>, after: &Targets, lines: &mut Vec<String>) {
    for (path, file) in after.targets() {
        let hash = || file.hashes().sha256().map(|hash| format!(" {hash}")).unwrap_or_default();
        match before.and_then(|before| before.target(&path)) {
            Some(was) if was == file => {}
            Some(_) => lines.push(format!("~ {}{}", escaped(&path), hash())),
            None => lines.push(format!("+ {}{}", escaped(&path), hash())),
        }
    }
    let gone = before.into_iter().flat_map(Targets::targets).filter(|(path, _)| after.target(path).is_none());
    lines.extend(gone.map(|(path, _)| format!("- {}", escaped(&path))));
}

fn delegation_changes(before: Option<&Document>, after: &Targets, lines: &mut Vec<String>) {
    let before = before.and_then(Document::delegations);
    let listed = |delegations: Option<&crate::metadata::delegation::Delegations>| -> Vec<String> {
        delegations.into_iter().flat_map(|d| d.listed().map(str::to_owned)).collect()
    };
    for name in listed(after.delegations()) {
        let new = after.delegations().and_then(|d| d.role(&name));
        match before.and_then(|before| before.role(&name)) {
            Some(was) if Some(&was) == new.as_ref() => {}
            Some(_) => lines.push(format!("~ delegation to {}: keys, threshold or paths", escaped(&name))),
            None => {
                let paths = new.map(|role| role.patterns().collect::<Vec<_>>().join(" ")).unwrap_or_default();
                lines.push(format!("+ delegation to {}: {}", escaped(&name), escaped(&paths)));
            }
        }
    }
    let gone = listed(before).into_iter().filter(|name| after.delegations().is_none_or(|d| d.role(name).is_none()));
    lines.extend(gone.map(|name| format!("- delegation to {}", escaped(&name))));
}

impl Status {
    /// Whether something that clients need for any image is not published, expired, or expires within `within` from now.
    #[must_use]
    pub fn needs_attention(&self, within: TimeDelta) -> bool {
        let now = DateTime::parse_from_rfc3339(&self.time).map(|time| time.to_utc()).unwrap_or_default();
        let latest = now.checked_add_signed(within).unwrap_or(DateTime::<Utc>::MAX_UTC);
        // Without a root there are no roles at all.
        self.roles.is_empty() || self.roles.iter().any(|role| role.expires_at.is_none_or(|expires| expires <= latest))
    }

    /// One JSON object in a line.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and numbers with fixed keys: there is nothing in it that cannot be written.
        serde_json::to_string(self).map(|text| format!("{text}\n")).unwrap_or_default()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for role in &self.roles {
            let mut line = format!("{}:", escaped(&role.role));
            match (role.version, &role.expires) {
                (Some(version), Some(expires)) if role.expired => {
                    write!(line, " version {version}, EXPIRED {expires}")?
                }
                (Some(version), Some(expires)) => write!(line, " version {version}, expires {expires}")?,
                _ => write!(line, " not published yet")?,
            }
            if let Some(targets) = role.targets {
                write!(line, ", {targets} {}", if targets == 1 { "file" } else { "files" })?;
            }
            writeln!(f, "{line}")?;
            let by = if role.delegated_by == "root" {
                String::new()
            } else {
                format!(", says {}", escaped(&role.delegated_by))
            };
            writeln!(f, "  signed by {} of {} keys{by}", role.threshold, role.keys.len())?;
            for key in &role.keys {
                writeln!(f, "    {}", escaped(key))?;
            }
        }
        for staged in &self.staged {
            write!(f, "{staged}")?;
        }
        for (role, why) in &self.unreadable {
            writeln!(f, "staged: {} cannot be read: {}; discard it", escaped(role), escaped(why))?;
        }
        match &self.first_to_expire {
            Some(role) => writeln!(f, "first to expire: {}", escaped(role)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for StagedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "staged: {} version {}, expires {}", escaped(&self.role), self.version, self.expires)?;
        for change in self.changes.iter().take(CHANGES_MAX) {
            writeln!(f, "    {change}")?;
        }
        match self.changes.len().saturating_sub(CHANGES_MAX) {
            0 => {}
            more => writeln!(f, "    ... and {more} changes more, which --format json lists")?,
        }
        match (self.waits_for.as_deref(), &self.missing_role) {
            (Some("outdated"), _) => {
                writeln!(f, "  outdated: another version was published meanwhile; discard it, and do it again")?
            }
            (Some(_), Some(role)) => writeln!(f, "  waits for the role {}", escaped(role))?,
            (Some(_), None) => {
                writeln!(f, "  waits for {} more of these keys:", self.missing_signatures)?;
                for key in &self.missing_keys {
                    writeln!(f, "    {}", escaped(key))?;
                }
            }
            (None, _) => writeln!(f, "  signed by enough")?,
        }
        Ok(())
    }
}

fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
