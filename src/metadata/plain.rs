//! Recognises what there may be very much of in metadata, in the form in which nearly all of it is written, without building anything.
//!
//! The plain form is `{"custom":...,"hashes":{"sha256":"...","sha512":"..."},"length":...}` with the members in the order of their keys,
//! and anything plain under other names. A million of these pass by in a fraction of the time that building them takes.
//!
//! Of a role that is delegated to, and of a file that a snapshot lists, only the canonical form is recognised, where it says no more than it must and, the
//! role, has the keys of the one before it.
//!
//! It is never more lenient than [`super::roles::TargetFile`] and [`super::json`]: what it says no to is read by these, which decide.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::RoleKeys;

/// Whether the value at the start of `text`, which is JSON, is a `TARGETS` entry [TUF 4.5] of the plain form with at most `depth` levels, and no more
/// values than are `left`.
pub(super) fn is_target_file(depth: usize, text: &[u8], left: &Cell<usize>) -> bool {
    let read = |mut reader| Plain { expected: Expected::TargetFile, depth, left }.deserialize(&mut reader);
    read(serde_json::Deserializer::from_slice(text)).unwrap_or(false)
}

/// The length of the value at the start of `text`, if it is of the most usual of all forms, which its bytes tell: hashes and length, nothing
/// more, canonical.
pub(super) fn usual_target_file(text: &[u8]) -> Option<usize> {
    let rest = hex(text.strip_prefix(b"{\"hashes\":{\"sha256\":\"")?, 64)?;
    let rest = match rest.strip_prefix(b"\",\"sha512\":\"") {
        Some(rest) => hex(rest, 128)?,
        None => rest,
    };
    let rest = rest.strip_prefix(b"\"},\"length\":")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    // What has 19 digits is below 2^64. JSON has no zeros in front.
    let after = rest.get(digits..)?.strip_prefix(b"}").filter(|_| (1..=19).contains(&digits))?;
    text.len().checked_sub(after.len())
}

/// The same for what a snapshot says of a file [TUF 4.4]: a version, nothing more, canonical.
pub(super) fn usual_meta_file(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(b"{\"version\":")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let is_positive = rest.first().is_some_and(|b| *b != b'0');
    let after = rest.get(digits..)?.strip_prefix(b"}").filter(|_| is_positive && (1..=19).contains(&digits))?;
    text.len().checked_sub(after.len())
}

/// What is said of a role that is delegated to [TUF 4.5], as it stands in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UsualRole<'t> {
    pub(super) name: &'t str,
    /// Whether they are prefixes of hashes; else patterns.
    pub(super) are_prefixes: bool,
    /// The strings of the list, without escapes.
    pub(super) paths: List<'t>,
    pub(super) terminating: bool,
}

/// Reads what is said of such a role, if it is canonical, has no other fields and no escapes, and the keys are these.
pub(super) fn usual_role<'t>(text: &'t str, keys: &RoleKeys) -> Option<UsualRole<'t>> {
    let mut rest = text.strip_prefix("{\"keyids\":[")?;
    for (i, id) in keys.keyids().iter().enumerate() {
        let (found, after) = string(if i == 0 { rest } else { after(rest, b',')? })?;
        rest = Some(after).filter(|_| found == id.as_str())?;
    }
    let (name, rest) = string(rest.strip_prefix("],\"name\":")?)?;
    let rest = rest.strip_prefix(",\"path")?;
    let (are_prefixes, rest) = match rest.strip_prefix("_hash_prefixes\":[") {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix("s\":[")?),
    };
    let mut end = rest;
    while end.as_bytes().first() != Some(&b']') {
        // There is none before the first.
        let is_first = end.len() == rest.len();
        end = string(if is_first { end } else { after(end, b',')? })?.1;
    }
    let paths = List(rest.get(..rest.len().checked_sub(end.len())?)?);
    let rest = end.strip_prefix("],\"terminating\":")?;
    let (terminating, rest) = match rest.strip_prefix("true") {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix("false")?),
    };
    let (threshold, rest) = number(rest.strip_prefix(",\"threshold\":")?)?;
    (rest == "}" && threshold == keys.threshold()).then_some(UsualRole { name, are_prefixes, paths, terminating })
}

/// Strings without escapes as they stand in an array, with a comma between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct List<'t>(&'t str);

impl<'t> Iterator for List<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let (text, rest) = string(after(self.0, b',').unwrap_or(self.0))?;
        self.0 = rest;
        Some(text)
    }
}

/// The string at the start of `text`, which is JSON, if it has no escapes; and what follows it.
fn string(text: &str) -> Option<(&str, &str)> {
    let text = after(text, b'"')?;
    // Most are a few bytes long.
    let end = text.bytes().position(|b| matches!(b, b'"' | b'\\'))?;
    let (string, rest) = text.split_at_checked(end)?;
    Some((string, after(rest, b'"')?))
}

/// What follows this ASCII character at the start of `text`.
fn after(text: &str, character: u8) -> Option<&str> {
    text.get(1..).filter(|_| text.as_bytes().first() == Some(&character))
}

/// The integer at the start of `text`, as JSON has it, if it is surely below 2^64; and what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at_checked(digits).filter(|(digits, _)| digits.len() <= 19)?;
    Some((digits.parse().ok()?, rest))
}

/// What follows `digits` hex digits.
fn hex(text: &[u8], digits: usize) -> Option<&[u8]> {
    let (hex, rest) = text.split_at_checked(digits)?;
    // Without a way out of the loop, several are looked at at once.
    hex.iter().fold(true, |all, b| all & b.is_ascii_hexdigit()).then_some(rest)
}

/// What a value has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    TargetFile,
    Hashes,
    /// This many hex digits.
    Hex(usize),
    Text,
    Unsigned,
    Any,
}

#[derive(Clone, Copy)]
struct Plain<'l> {
    expected: Expected,
    depth: usize,
    left: &'l Cell<usize>,
}

impl Plain<'_> {
    /// Not plain; but what is read has to be read to its end.
    fn ignore<'de, A: MapAccess<'de>>(mut map: A) -> Result<bool, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    /// What the value of `key` has to be.
    fn member(self, key: &str) -> Expected {
        match (self.expected, key) {
            (Expected::TargetFile, "hashes") => Expected::Hashes,
            (Expected::TargetFile, "length") => Expected::Unsigned,
            (Expected::Hashes, "sha256") => Expected::Hex(64),
            (Expected::Hashes, "sha512") => Expected::Hex(128),
            (Expected::Hashes, _) => Expected::Text,
            _ => Expected::Any,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Plain<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            IgnoredAny::deserialize(reader)?;
            return Ok(false);
        };
        self.left.set(left);
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(self.expected == Expected::Any)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(self.expected == Expected::Any)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(matches!(self.expected, Expected::Any | Expected::Unsigned))
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(self.expected == Expected::Any)
    }

    /// Nothing that is no integer has a canonical form.
    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    /// Text without escapes, so without NUL.
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<bool, E> {
        Ok(match self.expected {
            Expected::Any | Expected::Text => true,
            Expected::Hex(digits) => v.len() == digits && v.bytes().all(|b| b.is_ascii_hexdigit()),
            Expected::TargetFile | Expected::Hashes | Expected::Unsigned => false,
        })
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        let inner = self.depth.checked_sub(1).map(|depth| Self { expected: Expected::Any, depth, ..self });
        if let Some(inner) = inner.filter(|_| self.expected == Expected::Any) {
            let mut plain = true;
            while let Some(item) = seq.next_element_seed(inner)? {
                plain &= item;
            }
            return Ok(plain);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        if !matches!(self.expected, Expected::TargetFile | Expected::Hashes | Expected::Any) {
            return Self::ignore(map);
        }
        let Some(depth) = self.depth.checked_sub(1) else { return Self::ignore(map) };
        let (mut before, mut hashes, mut length) = (None, false, false);
        let mut plain = true;
        while let Some(key) = map.next_key_seed(PlainKey)? {
            let in_order = key > before;
            let expected = key.map_or(Expected::Any, |key| self.member(key));
            plain &= in_order & map.next_value_seed(Self { expected, depth, ..self })?;
            hashes |= expected == Expected::Hashes;
            length |= expected == Expected::Unsigned;
            before = key;
        }
        Ok(plain
            && match self.expected {
                Expected::TargetFile => hashes && length,
                Expected::Hashes => before.is_some(),
                _ => true,
            })
    }
}

/// Reads a key; `None` if it stands in the document with escapes, which is below every other and so never in order.
struct PlainKey;

impl<'de> DeserializeSeed<'de> for PlainKey {
    type Value = Option<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for PlainKey {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Some(v))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::JSON_DEPTH;
    use crate::metadata::json::{self, At};
    use crate::metadata::members::Member;
    use crate::metadata::roles::{MetaFile, TargetFile};

    fn read(text: &[u8]) -> bool {
        is_target_file(JSON_DEPTH, text, &Cell::new(1000))
    }

    /// As [`Member`] has it: by its bytes, or read.
    fn is_plain(text: &[u8]) -> bool {
        let usual = usual_target_file(text);
        assert!(usual.is_none_or(|length| length == text.len() && read(text)));
        read(text)
    }

    /// Whether the strict reader and the format accept it, and it is canonical but for white space.
    fn in_full(text: &str) -> bool {
        let Ok(value) = json::parse(text.as_bytes()) else { return false };
        TargetFile::check(At::document(&value)).is_ok() && value.canonical().is_ok()
    }

    #[test]
    fn what_is_plain_is_a_target_file_and_all_usual_ones_are_plain() {
        let (sha256, sha512) = ("5a".repeat(32), "C3".repeat(64));
        let usual = format!(r#"{{"hashes":{{"sha256":"{sha256}"}},"length":1}}"#);
        let with = |from: &str, to: &str| usual.replace(from, to);
        let deep =
            |n: usize| with("{\"hashes\"", &format!("{{\"custom\":{}{},\"hashes\"", "[".repeat(n), "]".repeat(n)));
        // Plain; acceptable.
        let cases: &[(&str, String, bool, bool)] = &[
            ("usual", usual.clone(), true, true),
            ("both hashes", with("\"}", &format!("\",\"sha512\":\"{sha512}\"}}")), true, true),
            ("an unknown hash", with("{\"sha256\"", "{\"blake2\":\"x\",\"sha256\""), true, true),
            ("only an unknown hash", with("sha256", "blake2"), true, true),
            ("custom", with("{\"hashes\"", "{\"custom\":{\"a\":[1,-2,null,true,\"x\"]},\"hashes\""), true, true),
            ("an unknown field", with(":1}", ":1,\"x\":{}}"), true, true),
            ("white space", with(":", " :\n"), true, true),
            ("length 0", with(":1}", ":0}"), true, true),
            ("length 2^64-1", with(":1}", ":18446744073709551615}"), true, true),
            ("length 2^64", with(":1}", ":18446744073709551616}"), false, false),
            ("length -1", with(":1}", ":-1}"), false, false),
            ("length 1.0", with(":1}", ":1.0}"), false, false),
            ("length as text", with(":1}", ":\"1\"}"), false, false),
            ("no length", with(",\"length\":1", ""), false, false),
            ("no hashes", "{\"length\":1}".to_owned(), false, false),
            ("no hash", with(&format!("\"sha256\":\"{sha256}\""), ""), false, false),
            ("a hash of 63 digits", with(&sha256, &sha256[1..]), false, false),
            ("a hash of 65 digits", with(&sha256, &format!("{sha256}0")), false, false),
            ("a hash that is no hex", with("5a", "5g"), false, false),
            ("a hash that is a number", with(&format!("\"{sha256}\""), "1"), false, false),
            ("an unknown hash that is a number", with("{\"sha256\"", "{\"blake2\":1,\"sha256\""), false, false),
            ("another order", format!(r#"{{"length":1,"hashes":{{"sha256":"{sha256}"}}}}"#), false, true),
            ("a key twice", with(":1}", ":1,\"length\":1}"), false, false),
            ("a hash twice", with("\"}", &format!("\",\"sha256\":\"{sha256}\"}}")), false, false),
            ("a key twice in custom", with("{\"hashes\"", "{\"custom\":{\"a\":1,\"a\":1},\"hashes\""), false, false),
            ("an escaped key", with("length", "lengt\\u0068"), false, true),
            ("an escaped hash", with("5a", "\\u0035a"), false, true),
            ("NUL in custom", with("{\"hashes\"", "{\"custom\":\"\\u0000\",\"hashes\""), false, false),
            ("a fraction in custom", with("{\"hashes\"", "{\"custom\":1.5,\"hashes\""), false, false),
            ("custom as deep as may be", deep(JSON_DEPTH - 1), true, true),
            ("custom one level deeper", deep(JSON_DEPTH), false, false),
            ("an array", format!("[{usual}]"), false, false),
            ("a string", "\"x\"".to_owned(), false, false),
            ("null", "null".to_owned(), false, false),
        ];
        for (name, text, plain, acceptable) in cases {
            assert_eq!(is_plain(text.as_bytes()), *plain, "{name}: {text}");
            assert_eq!(in_full(text), *acceptable, "{name}: {text}");
        }
    }

    #[test]
    fn no_changed_byte_makes_plain_what_is_no_target_file() {
        let hash = "5a".repeat(32);
        for text in [
            format!(r#"{{"hashes":{{"sha256":"{hash}"}},"length":10}}"#),
            format!(r#"{{"custom":{{"a":1}},"hashes":{{"sha256":"{hash}"}},"length":10}}"#),
        ] {
            for at in 0..text.len() {
                for byte in 0..128u8 {
                    let mut changed = text.clone().into_bytes();
                    changed[at] = byte;
                    let changed = String::from_utf8(changed).unwrap();
                    // What is no JSON at all is never asked about.
                    if json::parse(changed.as_bytes()).is_ok() && is_plain(changed.as_bytes()) {
                        assert!(in_full(&changed), "{changed}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_usual_file_of_a_snapshot_is_what_it_is_when_it_is_built() {
        let usual = r#"{"version":10}"#;
        let same = |text: &str| {
            let length = usual_meta_file(text.as_bytes());
            let built = json::parse(text.as_bytes())
                .ok()
                .filter(|value| value.canonical().is_ok_and(|form| form == text.as_bytes()));
            let built = built.and_then(|value| MetaFile::read(At::document(&value)).ok());
            let is_usual = length == Some(text.len());
            assert!(!is_usual || built.is_some(), "{text}");
            // Whatever follows it.
            assert_eq!(usual_meta_file(format!("{text},").as_bytes()), length, "{text}");
            is_usual
        };
        assert!(same(usual) && same(r#"{"version":1}"#) && same(r#"{"version":9999999999999999999}"#));
        let unusual = [
            r#"{"version":0}"#,
            r#"{"version":-1}"#,
            r#"{"version":1.0}"#,
            r#"{"version":1e3}"#,
            r#"{"version":"1"}"#,
            r#"{"version":18446744073709551615}"#,
            r#"{"version":18446744073709551616}"#,
            r#"{"length":1,"version":1}"#,
            r#"{"version":1,"x":1}"#,
            r#"{"version": 1}"#,
            r#"{"version":1} "#,
            r#"[1]"#,
        ];
        for text in unusual {
            assert!(!same(text), "{text}");
        }
        for (at, byte) in (0..usual.len()).flat_map(|at| (0..128_u8).map(move |byte| (at, char::from(byte)))) {
            let (before, after) = usual.split_at(at);
            for text in [format!("{before}{byte}{after}"), format!("{before}{byte}{}", &after[1..])] {
                // What is no JSON at all is never asked about.
                if json::parse(text.as_bytes()).is_ok() {
                    same(&text);
                }
            }
        }
    }
}
