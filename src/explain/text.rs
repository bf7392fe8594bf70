//! The explanation for people: at most 100 columns, one fact a line, the answer first.
//!
//! Names, ids and owners come from metadata, so they are escaped, and cut where they are long. Of many keys or roles the first few are shown, and the rest
//! is counted; the JSON has all.

use std::fmt::{self, Write};

use super::repository::{KeyExplanation, Matched, RepositoryAnswer, RepositoryExplanation, RoleExplanation};
use super::theft::{Holding, Power, PowerKind};
use super::{Answer, Explanation, Rule};
use crate::duration;
use crate::text::escaped;

const COLUMNS: usize = 100;
/// Of the keys of one role, of roles that were asked, of patterns: as many as fit the eye.
const SHOWN: usize = 8;
/// The longest name or id that is shown whole: a SHA-256 in hex.
const LONGEST: usize = 64;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = match self.answer {
            Answer::Signed => "signed",
            Answer::NotSigned => "not signed",
            Answer::NotTrusted => "not trusted",
            Answer::Undecided => "undecided",
        };
        write_line(f, 0, 2, &format!("{answer}: {}", escaped(&self.image)))?;
        for finding in &self.findings {
            write_line(f, 2, 4, &format!("{} [{}]", finding.message(), finding.code()))?;
        }
        if let Some(scope) = &self.scope {
            write_fact(f, "policy", &escaped(scope).to_string())?;
        }
        if let Some(target) = &self.target {
            write_fact(f, "target", &escaped(target).to_string())?;
        }
        self.rules.iter().try_for_each(|rule| rule.write(f))?;
        self.repositories.iter().try_for_each(|repository| repository.write(f))
    }
}

impl Rule {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let agree = match self.agree.as_slice() {
            [] => "none does".to_owned(),
            agree => format!("{} do", agree.join(", ")),
        };
        let all = self.repositories.join(", ");
        let text = format!("number {} of the map: {} of {all} must agree; {agree}", self.mapping, self.threshold);
        write_fact(f, "rule", &text)
    }
}

impl RepositoryExplanation {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            let answer = match self.answer {
                RepositoryAnswer::Signs => "signs it",
                RepositoryAnswer::DoesNotSign => "does not sign it",
                RepositoryAnswer::NotTrusted => "is not trusted",
                RepositoryAnswer::Unreached => "could not be asked",
            };
            let why = self.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            writeln!(f)?;
            write_line(f, 0, 2, &format!("{name} {answer}{why}"))?;
        }
        self.write_signed(f)?;
        self.write_asked(f)?;
        self.write_roles(f)?;
        self.write_delegations(f)?;
        self.write_thefts(f)?;
        if !self.warnings.is_empty() {
            writeln!(f, "\nWarnings")?;
        }
        self.warnings.iter().try_for_each(|warning| write_line(f, 2, 4, &warning.message))
    }

    fn write_signed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(signed) = &self.signed {
            let chain = self.delegations.iter().map(|step| name(&step.to));
            let chain: Vec<String> = ["targets".to_owned()].into_iter().chain(chain).collect();
            write_fact(f, "signed by", &chain.join(" > "))?;
            write_fact(f, "manifest", &format!("{} bytes", signed.length))?;
            if let Some(sha256) = &signed.sha256 {
                write_fact(f, "", &format!("sha256:{sha256}"))?;
            }
        }
        if let Some(root) = &self.root {
            let is_pinned = root.pinned_sha256 == root.sha256;
            let from = if is_pinned {
                ", the pinned one".to_owned()
            } else {
                format!(", which follows from the pinned one, version {}", root.pinned_version)
            };
            write_fact(f, "root", &format!("version {}{from}", root.version))?;
            write_fact(f, "", &format!("sha256:{}", root.sha256))?;
            if !is_pinned {
                write_fact(f, "pinned", &format!("sha256:{}", root.pinned_sha256))?;
            }
        }
        if let Some(time) = &self.time {
            write_fact(f, "judged at", time)?;
        }
        if let Some(first) = &self.first_to_expire {
            let left = duration::shown(first.seconds_left);
            write_fact(f, "good until", &format!("{} ({left}): {} expires first", first.expires, name(&first.role)))?;
        }
        Ok(())
    }

    fn write_asked(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signs = self.signed.is_some();
        if self.asked.is_empty() {
            if !signs && self.answer == RepositoryAnswer::DoesNotSign {
                writeln!(f, "\nAsked\n  targets: does not list it, and delegates its path to nobody")?;
            }
            return Ok(());
        }
        writeln!(f, "\n{}", if signs { "Asked before, and does not list it" } else { "Asked, and does not list it" })?;
        if !signs {
            writeln!(f, "  targets")?;
        }
        for asked in self.asked.iter().take(SHOWN) {
            let by = asked.matched.as_ref().map_or_else(String::new, |matched| format!(", {}", matched.words()));
            let end = if asked.terminating { "; nobody after it is asked" } else { "" };
            let text = format!("{}: told by {}{by}{end}", name(&asked.role), name(&asked.delegated_by));
            write_line(f, 2, 4, &text)?;
        }
        write_more(f, 2, self.asked.len(), "roles")
    }

    fn write_roles(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.roles.is_empty() {
            writeln!(f, "\nWho must sign what")?;
        }
        self.roles.iter().try_for_each(|role| role.write(f))
    }

    fn write_delegations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.delegations.is_empty() {
            writeln!(f, "\nHow it is delegated")?;
        }
        for step in &self.delegations {
            let end = if step.terminating { "; nobody else is asked then" } else { "" };
            write_line(f, 2, 4, &format!("{} > {}: {}{end}", name(&step.from), name(&step.to), step.matched.words()))?;
        }
        Ok(())
    }

    fn write_thefts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.thefts.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nWhat a thief could do, who can also change the repository's files")?;
        for theft in &self.thefts {
            let all = theft.keys.len();
            let keys: Vec<String> = theft.keys.iter().take(SHOWN).map(|id| short(id)).collect();
            let more = if all > SHOWN { format!(" and {} more", all.saturating_sub(SHOWN)) } else { String::new() };
            let one_of = if all == 1 { "the key" } else { "one of the keys" };
            let roles: Vec<String> = theft.roles.iter().map(|holding| name(&holding.role)).collect();
            write_line(f, 2, 4, &format!("with {one_of} {}{more} of {}", keys.join(", "), roles.join(" and ")))?;
            if theft.alone.is_empty() {
                write_line(f, 4, 6, &format!("alone: nothing{}", theft_reason(&theft.roles)))?;
            }
            for power in &theft.alone {
                write_line(f, 4, 6, &format!("alone: {}", power.words()))?;
            }
            for with in &theft.with_more {
                let keys = if with.more == 1 { "key" } else { "keys" };
                let front = format!("with {} more {keys} of {}", with.more, name(&with.role));
                if with.powers.is_empty() {
                    write_line(f, 4, 6, &format!("{front}: nothing, until timestamp lists it"))?;
                }
                for power in &with.powers {
                    write_line(f, 4, 6, &format!("{front}: {}", power.words()))?;
                }
            }
        }
        for together in &self.together {
            let roles: Vec<String> = together.roles.iter().map(Holding::words).collect();
            write_line(f, 2, 4, &format!("with {}", roles.join(" and ")))?;
            // Whoever can show clients anything that he signs has no need to mix what others signed.
            let signs = together.powers.iter().any(|power| power.kind != PowerKind::MixAndMatch);
            for power in together.powers.iter().filter(|power| !signs || power.kind != PowerKind::MixAndMatch) {
                write_line(f, 4, 6, &power.words())?;
            }
        }
        Ok(())
    }
}

fn theft_reason(roles: &[Holding]) -> &'static str {
    match roles {
        [one] if one.threshold <= 1 => ", until timestamp lists it",
        _ => "",
    }
}

impl Holding {
    fn words(&self) -> String {
        match (self.threshold, self.keys) {
            (1, 1) => format!("the key of {}", name(&self.role)),
            (threshold, all) => format!("{threshold} of the {all} {} of {}", keys(all), name(&self.role)),
        }
    }
}

impl RoleExplanation {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.keys.len();
        let mut text = format!("{}: {} of {all} {}, ", name(&self.role), self.threshold, keys(all));
        let left = duration::shown(self.seconds_left);
        let word = if self.expired { "EXPIRED" } else { "until" };
        write!(text, "version {}, {word} {} ({left})", self.version, self.expires)?;
        write_line(f, 2, 4, &text)?;
        for key in self.keys.iter().take(SHOWN) {
            key.write(f, &self.given_by)?;
        }
        write_more(f, 4, all, "keys")
    }
}

impl KeyExplanation {
    fn write(&self, f: &mut fmt::Formatter<'_>, given_by: &str) -> fmt::Result {
        let scheme = match (&self.keytype, &self.scheme) {
            (Some(keytype), Some(scheme)) if keytype == scheme => cut(scheme),
            (Some(keytype), Some(scheme)) => format!("{}, {}", cut(keytype), cut(scheme)),
            _ => "not listed".to_owned(),
        };
        let owner = self.owner.as_ref();
        let owner = owner.map_or_else(String::new, |owner| format!(", of {} as {} says", name(owner), name(given_by)));
        let useless = if self.usable { "" } else { ", CANNOT BE USED by this version" };
        write_line(f, 4, 14, &format!("{:<8}  {scheme}{owner}{useless}", short(&self.id)))?;
        if short(&self.id) == cut(&self.id) { Ok(()) } else { write_line(f, 14, 14, &cut(&self.id)) }
    }
}

impl Matched {
    fn words(&self) -> String {
        match self {
            Self::Pattern(pattern) => format!("by the pattern {}", cut(pattern)),
            Self::HashPrefix(prefix) => format!("for the SHA-256 of its path begins with {}", cut(prefix)),
            Self::Bin(bins) => format!("as the bin of its path, one of {bins}"),
        }
    }
}

impl Power {
    fn words(&self) -> String {
        let role = self.role.as_deref().map(name).unwrap_or_default();
        let scope: Vec<String> = self.scope.iter().take(SHOWN).map(|scope| cut(scope)).collect();
        let scope = match self.scope.len().saturating_sub(SHOWN) {
            _ if scope.is_empty() => "what falls to it".to_owned(),
            0 => scope.join(", "),
            more => format!("{} and {more} more", scope.join(", ")),
        };
        let until = self.until.as_deref().map_or_else(String::new, |until| format!(", at most until {until}"));
        let mut words = match self.kind {
            PowerKind::ReplaceEverything => {
                "replace the root and with it every key, and so make anything trusted".to_owned()
            }
            PowerKind::SignAnything => "sign any image, and delegate to anybody".to_owned(),
            PowerKind::SignDelegated => format!("sign in the name of {role}: {scope}"),
            PowerKind::Withhold => {
                format!("withhold updates{until}; lock clients out with a version that nobody can follow")
            }
            PowerKind::MixAndMatch => {
                format!("mix signed files of different times{until}; withhold updates; lock clients out")
            }
        };
        if self.needs_publication {
            words.push_str(", once snapshot and timestamp list it");
        }
        words
    }
}

fn keys(count: usize) -> &'static str {
    if count == 1 { "key" } else { "keys" }
}

/// A fact and what it is called.
fn write_fact(f: &mut fmt::Formatter<'_>, called: &str, text: &str) -> fmt::Result {
    write_line(f, 2, 14, &format!("{called:<10}  {text}"))
}

fn write_more(f: &mut fmt::Formatter<'_>, indent: usize, all: usize, what: &str) -> fmt::Result {
    match all.saturating_sub(SHOWN) {
        0 => Ok(()),
        more => write_line(f, indent, indent, &format!("and {more} {what} more; --format json has all")),
    }
}

/// A name, an id or an owner from metadata: safe to print and of bounded length.
fn name(text: &str) -> String {
    if text.is_empty() { "\"\"".to_owned() } else { cut(text) }
}

fn cut(text: &str) -> String {
    let shown = escaped(text).to_string();
    match shown.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", shown.get(..end).unwrap_or_default()),
        None => shown,
    }
}

/// The first eight digits of an id that is a hash; any other as it is.
fn short(id: &str) -> String {
    let is_hash = id.len() >= 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hash { id.get(..8).unwrap_or(id).to_owned() } else { name(id) }
}

/// A line, broken between words at [`COLUMNS`]; a word that is longer than that is broken too. What follows is indented by `hang`.
fn write_line(f: &mut fmt::Formatter<'_>, indent: usize, hang: usize, text: &str) -> fmt::Result {
    let (mut line, mut width) = (" ".repeat(indent), indent);
    let mut is_empty = true;
    for word in text.split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        loop {
            let gap = usize::from(!is_empty);
            if width.saturating_add(gap).saturating_add(rest.len()) <= COLUMNS {
                line.push_str(if gap == 1 { " " } else { "" });
                width = width.saturating_add(gap).saturating_add(rest.len());
                line.extend(&rest);
                break;
            }
            if is_empty {
                let room = COLUMNS.saturating_sub(width).min(rest.len());
                line.extend(rest.drain(..room));
            }
            writeln!(f, "{}", line.trim_end())?;
            (line, width, is_empty) = (" ".repeat(hang), hang, true);
        }
        is_empty = false;
    }
    writeln!(f, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_a_hash_has_a_short_form() {
        let hash = "5a".repeat(32);
        for (id, expected) in [
            (hash.as_str(), "5a5a5a5a".to_owned()),
            ("alice", "alice".to_owned()),
            ("", "\"\"".to_owned()),
            ("a\u{1b}[2J", "a\\u{1b}[2J".to_owned()),
            (&"x".repeat(65), format!("{}...", "x".repeat(64))),
        ] {
            assert_eq!(short(id), expected);
        }
    }

    #[test]
    fn lines_fit_and_lose_nothing() {
        struct Line<'a>(&'a str);
        impl fmt::Display for Line<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_line(f, 2, 6, self.0)
            }
        }
        for text in [
            "short".to_owned(),
            "word ".repeat(60),
            "é".repeat(300),
            format!("{} {}", "a".repeat(97), "b".repeat(99)),
            "x".repeat(98),
            String::new(),
        ] {
            let shown = Line(&text).to_string();
            assert!(shown.lines().all(|line| line.chars().count() <= COLUMNS), "{shown}");
            let dense = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(dense(&shown), dense(&text));
        }
    }
}
