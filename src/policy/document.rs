//! A TOML document whose every value knows its place and its key.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{PolicyError, Position, Problem};
use crate::text::quoted;

/// The text of a policy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'t>(&'t str);

impl<'t> Text<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self(text)
    }

    pub(super) fn parse(self) -> Result<Spanned<DeTable<'t>>, PolicyError> {
        DeTable::parse(self.0).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.wrong(at, String::new(), Problem::Syntax(error.message().trim_end().to_owned()))
        })
    }

    pub(super) fn position(self, at: usize) -> Position {
        let mut before = self.0.get(..at).unwrap_or(self.0).split('\n');
        let last = before.next_back().unwrap_or_default();
        Position { line: before.count().saturating_add(1), column: last.chars().count().saturating_add(1) }
    }

    pub(super) fn wrong(self, at: usize, key: String, problem: Problem) -> PolicyError {
        PolicyError::Malformed { file: String::new(), at: self.position(at), key, problem: Box::new(problem) }
    }
}

/// A table of which every key is known.
pub(super) struct Table<'d, 't> {
    text: Text<'t>,
    /// With a dot at its end, unless it is empty.
    path: String,
    at: usize,
    table: &'d DeTable<'t>,
}

/// A value, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Value<'d, 't> {
    table: &'d Table<'d, 't>,
    key: &'d Spanned<std::borrow::Cow<'t, str>>,
    value: &'d Spanned<DeValue<'t>>,
}

impl<'d, 't> Table<'d, 't> {
    /// Takes a table whose keys are among `known`.
    pub(super) fn new(
        text: Text<'t>,
        path: String,
        at: usize,
        table: &'d DeTable<'t>,
        known: &[&str],
    ) -> Result<Self, PolicyError> {
        let this = Self { text, path, at, table };
        let unknown = table.keys().find(|key| !known.iter().any(|known| known == key.get_ref()));
        if let Some(key) = unknown {
            let expected = match nearest(key.get_ref(), known) {
                Some(near) => quoted(near).to_string(),
                None => format!("one of {}", known.join(", ")),
            };
            return Err(text.wrong(key.span().start, this.full(key.get_ref()), Problem::Unknown { expected }));
        }
        Ok(this)
    }

    pub(super) fn get(&'d self, name: &str) -> Option<Value<'d, 't>> {
        let (key, value) = self.table.iter().find(|(key, _)| key.get_ref() == name)?;
        Some(Value { table: self, key, value })
    }

    pub(super) fn entries(&'d self) -> impl Iterator<Item = Value<'d, 't>> {
        self.table.iter().map(|(key, value)| Value { table: self, key, value })
    }

    /// A key that is missing.
    pub(super) fn missing(&self, key: &str, expected: &'static str) -> PolicyError {
        self.text.wrong(self.at, self.full(key), Problem::Missing { expected })
    }

    fn full(&self, key: &str) -> String {
        format!("{}{}", self.path, shown(key))
    }
}

impl<'d, 't> Value<'d, 't> {
    pub(super) fn key(&self) -> &'d str {
        self.key.get_ref()
    }

    /// Where the key stands.
    pub(super) fn position(&self) -> Position {
        self.table.text.position(self.key.span().start)
    }

    /// What is wrong with the key itself.
    pub(super) fn wrong_key(&self, problem: Problem) -> PolicyError {
        self.table.text.wrong(self.key.span().start, self.table.full(self.key()), problem)
    }

    pub(super) fn contradicts(&self, other: &Self, why: &'static str) -> PolicyError {
        self.wrong_key(Problem::Contradiction { other: other.key().to_owned(), why })
    }

    /// What is wrong with the value.
    pub(super) fn wrong(&self, expected: impl Into<String>) -> PolicyError {
        self.wrong_item(self.value, expected)
    }

    fn wrong_item(&self, item: &Spanned<DeValue<'_>>, expected: impl Into<String>) -> PolicyError {
        let problem = Problem::Value { expected: expected.into(), found: found(item.get_ref()) };
        self.table.text.wrong(item.span().start, self.table.full(self.key()), problem)
    }

    pub(super) fn table(&self, known: &[&str]) -> Result<Table<'d, 't>, PolicyError> {
        let DeValue::Table(table) = self.value.get_ref() else { return Err(self.wrong("a table")) };
        // Of a table that stands in several pieces, the place is that of its name.
        Table::new(self.table.text, format!("{}.", self.table.full(self.key())), self.key.span().start, table, known)
    }

    /// A table whose keys are not known beforehand.
    pub(super) fn open_table(&self) -> Result<Table<'d, 't>, PolicyError> {
        let DeValue::Table(table) = self.value.get_ref() else { return Err(self.wrong("a table")) };
        let (text, path) = (self.table.text, format!("{}.", self.table.full(self.key())));
        Ok(Table { text, path, at: self.key.span().start, table })
    }

    /// Text, of which there is some.
    pub(super) fn text(&self, expected: &str) -> Result<&'d str, PolicyError> {
        match self.value.get_ref() {
            DeValue::String(text) if !text.trim().is_empty() && !text.contains('\0') => Ok(text),
            _ => Err(self.wrong(expected)),
        }
    }

    /// Text that means something.
    pub(super) fn parsed<T>(&self, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, PolicyError> {
        parse(self.text(expected)?).ok_or_else(|| self.wrong(expected))
    }

    /// A path on this machine, relative to the policy's folder.
    pub(super) fn local(&self, folder: &Path, expected: &str) -> Result<PathBuf, PolicyError> {
        self.parsed(&format!("{expected} on this machine"), |text| {
            let is_local = !text.contains("://");
            is_local.then(|| folder.join(text))
        })
    }

    /// Text that means something, where what is wrong with it is told.
    pub(super) fn explained<T, E: ToString>(
        &self,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, PolicyError> {
        parse(self.text(expected)?).map_err(|error| self.wrong(format!("{expected} ({})", error.to_string())))
    }

    pub(super) fn boolean(&self) -> Result<bool, PolicyError> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// A whole number, in decimal.
    pub(super) fn whole(&self, expected: &str) -> Result<u64, PolicyError> {
        match self.value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => {
                number.as_str().parse().map_err(|_| self.wrong(expected))
            }
            _ => Err(self.wrong(expected)),
        }
    }

    /// A number as it is written, without sign and exponent.
    pub(super) fn decimal(&self, expected: &str) -> Result<&'d str, PolicyError> {
        let text = match self.value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return Err(self.wrong(expected)),
        };
        if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') { Ok(text) } else { Err(self.wrong(expected)) }
    }

    /// A list of texts, each of which means something.
    pub(super) fn list<T>(&self, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, PolicyError> {
        let DeValue::Array(items) = self.value.get_ref() else {
            return Err(self.wrong(format!("a list, each {expected}")));
        };
        let item = |item: &Spanned<DeValue<'_>>| {
            let parsed = item.get_ref().as_str().and_then(&parse);
            parsed.ok_or_else(|| self.wrong_item(item, expected))
        };
        items.iter().map(item).collect()
    }
}

/// A key as it is written in TOML.
fn shown(key: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !key.is_empty() && key.bytes().all(is_bare) { key.to_owned() } else { quoted(key).to_string() }
}

fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text).to_string(),
        DeValue::Integer(number) => quoted(&number.to_string()).to_string().trim_matches('"').to_owned(),
        DeValue::Float(number) => quoted(number.as_str()).to_string().trim_matches('"').to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The one of some words that a misspelt one was most likely meant to be: no more than two letters away, and fewer than half of them.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // Nobody misspells a word into one of more letters; and the work below grows with its length.
    if word.len() > 40 {
        return None;
    }
    // `max_staleness`, `maxStaleness`: not a letter of it is wrong.
    let plain = |word: &str| word.replace(['-', '_'], "").to_ascii_lowercase();
    let distances = known.iter().map(|known| (distance(&plain(word), &plain(known)), *known));
    let (distance, near) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 2 && distance.saturating_mul(2) < near.len()).then_some(near)
}

/// How many letters must be put in, taken out or replaced to make one word the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, c) in a.chars().enumerate() {
        let mut next = vec![i.saturating_add(1)];
        for (d, pair) in b.iter().zip(row.windows(2)) {
            let (Some(corner), Some(above), Some(left)) = (pair.first(), pair.last(), next.last()) else { continue };
            let replaced = corner.saturating_add(usize::from(*d != c));
            let moved = (*above).min(*left).saturating_add(1);
            next.push(replaced.min(moved));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_leads_to_the_one_that_was_meant() {
        let known = ["repository", "root", "map", "max-staleness", "fail-on", "target-path"];
        for (word, expected) in [
            ("repositry", Some("repository")),
            ("max_staleness", Some("max-staleness")),
            ("maxStaleness", Some("max-staleness")),
            ("failon", Some("fail-on")),
            ("target-paths", Some("target-path")),
            ("rot", Some("root")),
            ("mop", Some("map")),
            ("man", Some("map")),
            ("xyz", None),
            ("threshold", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
