//! The statements in an SQLite schema, as far as they say what a table is.

/// Whether this statement creates a thing of this kind and name. SQLite goes by the statement, others by the columns beside it.
pub(super) fn creates(text: &str, kind: &str, name: &str) -> bool {
    let mut words = Words(text);
    if !words.next().is_some_and(|word| word.is("create")) {
        return false;
    }
    let mut word = words.next();
    let before = match kind {
        "table" => "virtual",
        "index" => "unique",
        "view" | "trigger" => "",
        _ => return false,
    };
    if word.as_ref().is_some_and(|word| word.is(before)) {
        word = words.next();
    }
    let of_kind = word.is_some_and(|word| word.is(kind));
    of_kind && words.next().and_then(Word::into_name).is_some_and(|have| have.eq_ignore_ascii_case(name))
}

/// Whether this statement creates the table of headers as rpm does: the number of the header as key, and the header.
pub(super) fn is_packages(text: &str) -> bool {
    let mut words = Words(text).skip(3);
    let mut rest = Vec::new();
    // The longest has 14 words.
    for _ in 0..15 {
        match words.next() {
            None => break,
            Some(Word::Plain(word)) => rest.push(word.to_ascii_lowercase()),
            Some(Word::Quoted(word)) => {
                // Only names may be in quotes.
                if !(word == "hnum" && rest.len() == 1 || word == "blob" && rest.last().is_some_and(|last| last == ","))
                {
                    return false;
                }
                rest.push(word);
            }
        }
    }
    let key = ["(", "hnum", "integer", "primary", "key"];
    let Some(rest) = strip(&rest, &key) else { return false };
    let rest = strip(rest, &["autoincrement"]).unwrap_or(rest);
    let Some(rest) = strip(rest, &[",", "blob", "blob"]) else { return false };
    let rest = strip(rest, &["not", "null"]).unwrap_or(rest);
    rest == [")"]
}

fn strip<'a>(words: &'a [String], prefix: &[&str]) -> Option<&'a [String]> {
    let (start, rest) = words.split_at_checked(prefix.len())?;
    start.iter().eq(prefix).then_some(rest)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word<'a> {
    /// A keyword, a name or a sign.
    Plain(&'a str),
    /// What is in quotes.
    Quoted(String),
}

impl Word<'_> {
    fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Plain(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn into_name(self) -> Option<String> {
        Some(match self {
            Self::Plain(word) => word.to_owned(),
            Self::Quoted(word) => word,
        })
    }
}

/// The words of a statement. A comment comes out as signs, so that nothing matches it.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let text = self.0.trim_start_matches([' ', '\t', '\n', '\u{c}', '\r']);
        let first = text.chars().next()?;
        let closing = match first {
            '"' | '\'' | '`' => Some(first),
            '[' => Some(']'),
            _ => None,
        };
        if let Some(closing) = closing {
            return self.quoted(text.get(1..)?, closing);
        }
        let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii();
        let len = text.find(|c| !in_word(c)).unwrap_or(text.len()).max(first.len_utf8());
        let (word, rest) = text.split_at_checked(len)?;
        self.0 = rest;
        Some(Word::Plain(word))
    }
}

impl<'a> Words<'a> {
    /// A quote within is written twice, but not in brackets.
    fn quoted(&mut self, mut text: &'a str, closing: char) -> Option<Word<'a>> {
        let mut word = String::new();
        loop {
            let (part, rest) = text.split_once(closing)?;
            word.push_str(part);
            match rest.strip_prefix(closing).filter(|_| closing != ']') {
                Some(after) => {
                    word.push(closing);
                    text = after;
                }
                None => {
                    self.0 = rest;
                    return Some(Word::Quoted(word));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_creates_one_thing() {
        for (text, kind, name, expected) in [
            ("CREATE TABLE 'Packages' (a)", "table", "Packages", true),
            ("CREATE TABLE Packages(a)", "table", "packages", true),
            ("create table [Packages](a)", "table", "Packages", true),
            ("CREATE TABLE \"Pack\"\"ages\"(a)", "table", "Pack\"ages", true),
            ("CREATE VIRTUAL TABLE Packages USING x", "table", "Packages", true),
            ("CREATE UNIQUE INDEX i ON t(a)", "index", "i", true),
            ("CREATE INDEX i ON t(a)", "index", "i", true),
            ("CREATE VIEW v AS SELECT 1", "view", "v", true),
            ("CREATE TRIGGER t AFTER INSERT ON x", "trigger", "t", true),
            ("CREATE TABLE Other(a)", "table", "Packages", false),
            ("CREATE VIEW Packages AS SELECT 1", "table", "Packages", false),
            ("CREATE UNIQUE TABLE Packages(a)", "table", "Packages", false),
            ("CREATE/**/TABLE Packages(a)", "table", "Packages", false),
            ("CREATE TABLE 'Packages", "table", "Packages", false),
            ("CREATE TABLE", "table", "Packages", false),
            ("CREATE THING t", "thing", "t", false),
            ("", "table", "Packages", false),
        ] {
            assert_eq!(creates(text, kind, name), expected, "{text}");
        }
    }

    #[test]
    fn the_table_of_headers_is_the_one_that_rpm_makes() {
        for (text, expected) in [
            ("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)", true),
            ("CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB)", true),
            ("CREATE TABLE Packages(\"hnum\" INTEGER PRIMARY KEY, [blob] BLOB)", true),
            ("CREATE TABLE Packages(blob BLOB, hnum INTEGER PRIMARY KEY)", false),
            ("CREATE TABLE Packages(hnum INTEGER PRIMARY KEY DESC, blob BLOB)", false),
            ("CREATE TABLE Packages(hnum INT PRIMARY KEY, blob BLOB)", false),
            ("CREATE TABLE Packages(hnum 'INTEGER' PRIMARY KEY, blob BLOB)", false),
            ("CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB) WITHOUT ROWID", false),
            ("CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB, more)", false),
            ("CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB AS (x'00'))", false),
            ("CREATE TABLE Packages AS SELECT 1", false),
            ("CREATE VIRTUAL TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB)", false),
        ] {
            assert_eq!(is_packages(text), expected, "{text}");
        }
    }
}
