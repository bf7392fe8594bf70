//! The members of an object that may have millions of them: read once, checked, and left in the file's bytes.
//!
//! What is kept is the place of each key, four bytes a member, in the order of the keys. A member is built when it is asked for.
//!
//! Rules:
//! - What is true of a built object is true of this one: each key once, strict JSON below it, one shape for all members.
//! - A member of the plain form is recognised as it passes and builds nothing. Whatever is not that plain is built once, checked in
//!   full, and dropped, so the two never differ in what they accept; being plain only saves time.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{IgnoredAny, MapAccess};

use super::json::{self, At, Error, Key, KeySeed, Seed, Value};

/// What each member of such an object must be.
pub(super) trait Member {
    /// Whether the JSON value at the start of `text` is of the plain form: an object of the shape that [`check`](Self::check) wants, with
    /// members in the order of their keys at every level, integers alone, no escapes in any string and no more than `depth` levels.
    ///
    /// Its values are taken from those that are `left`, as of any value that is read. `false` decides nothing: the value is looked at in full then.
    fn is_plain(depth: usize, text: &[u8], left: &Cell<usize>) -> bool;

    /// The length of the value at the start of `text`, if that is of the plain form and canonical, and its bytes tell so. `None` decides nothing.
    fn usual(text: &[u8]) -> Option<usize>;

    /// Whether a value is of the shape that a member must have.
    fn check(at: At<'_>) -> Result<(), Error>;
}

/// Members of any shape.
#[derive(Debug)]
pub(super) enum Unshaped {}

impl Member for Unshaped {
    fn is_plain(_: usize, _: &[u8], _: &Cell<usize>) -> bool {
        false
    }

    fn usual(_: &[u8]) -> Option<usize> {
        None
    }

    fn check(_: At<'_>) -> Result<(), Error> {
        Ok(())
    }
}

/// The members of one object of a document.
#[derive(Clone, PartialEq)]
pub struct Members {
    document: Arc<Vec<u8>>,
    /// Where the text of each key starts, in the order of the keys.
    places: Vec<u32>,
    /// Members whose keys stand in the document with escapes, in the order of the keys.
    built: Vec<(String, Value<'static>)>,
    /// Whether all the others are of the plain form.
    plain: bool,
}

impl Members {
    /// Reads the object that `map` is in the middle of, a part of `document`. `path` is where it stands, for errors; `seed` reads a
    /// value in it.
    pub(super) fn read<'de, A: MapAccess<'de>, M: Member>(
        mut map: A,
        seed: Seed<'_, '_, M>,
        document: &Arc<Vec<u8>>,
        path: &[&str],
    ) -> Result<Self, A::Error> {
        let reading = seed.reading();
        let mut members = Self { document: Arc::clone(document), places: Vec::new(), built: Vec::new(), plain: true };
        let mut before: Option<Cow<'de, str>> = None;
        let (mut ordered, mut tight) = (true, Tight::default());
        while let Some(Key(key)) = map.next_key_seed(KeySeed(reading))? {
            ordered &= before.is_none_or(|before| before < key);
            let place = if let Cow::Borrowed(text) = key { place_of(text, document) } else { None };
            let checked = match place {
                Some(place) => {
                    members.places.push(place);
                    map.next_value::<IgnoredAny>()?;
                    let text = value_at(document, place, key.len());
                    let usual = M::usual(text);
                    tight.add_member(document, place, text, usual);
                    let left = reading.left().get();
                    if usual.is_some() || M::is_plain(seed.depth(), text, reading.left()) {
                        Ok(())
                    } else {
                        reading.left().set(left);
                        members.plain = false;
                        seed.again(text).and_then(|value| check::<M>(path, &key, &value))
                    }
                }
                None => {
                    tight.end();
                    let value = map.next_value_seed(seed)?;
                    let checked = check::<M>(path, &key, &value);
                    members.built.push((key.to_string(), value.into_owned()));
                    checked
                }
            };
            checked.or_else(|error| reading.fail(error))?;
            before = Some(key);
        }
        reading.is_tight_at(tight.part());
        // In strict order, no key is there twice.
        if !ordered {
            reading.is_out_of_order();
            members.sort().or_else(|error| reading.fail(error))?;
        }
        Ok(members)
    }

    fn sort(&mut self) -> Result<(), Error> {
        let document = &self.document;
        let key = |place: &u32| key_at(document, *place);
        // No further than they are the same: one of them may have millions of bytes.
        self.places.sort_unstable_by(|a, b| bytes_at(document, *a).cmp(bytes_at(document, *b)));
        self.built.sort_by(|(a, _), (b, _)| a.cmp(b));
        let pairs = self.places.iter().zip(self.places.iter().skip(1));
        let twice = pairs.map(|(a, b)| (key(a), key(b))).find(|(a, b)| a == b).map(|(a, _)| a.to_vec());
        let pairs = self.built.iter().zip(self.built.iter().skip(1));
        let built = pairs.filter(|(a, b)| a.0 == b.0).map(|(a, _)| &a.0);
        let in_both = self.built.iter().map(|(key, _)| key).filter(|key| self.place(key).is_some());
        match twice.or_else(|| built.chain(in_both).next().map(|key| key.as_bytes().to_vec())) {
            Some(key) => Err(Error::DuplicateKey(String::from_utf8_lossy(&key).into_owned())),
            None => Ok(()),
        }
    }

    fn place(&self, key: &str) -> Option<u32> {
        let at = self.places.binary_search_by(|place| bytes_at(&self.document, *place).cmp(key.as_bytes())).ok()?;
        self.places.get(at).copied()
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Cow<'_, Value<'_>>> {
        if let Ok(at) = self.built.binary_search_by(|(k, _)| k.as_str().cmp(key)) {
            return self.built.get(at).map(|(_, value)| Cow::Borrowed(value));
        }
        self.build(self.place(key)?).map(Cow::Owned)
    }

    /// All members, in the order of the keys. Each is built when its turn comes.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, Value<'_>>)> {
        let places = self.places.iter().filter_map(|place| {
            let key = str::from_utf8(key_at(&self.document, *place)).ok()?;
            Some((Cow::Borrowed(key), Cow::Owned(self.build(*place)?)))
        });
        let built = self.built.iter().map(|(key, value)| (Cow::Borrowed(key.as_str()), Cow::Borrowed(value)));
        let (mut places, mut built) = (places.peekable(), built.peekable());
        std::iter::from_fn(move || match (places.peek(), built.peek()) {
            (Some((a, _)), Some((b, _))) if a > b => built.next(),
            (None, _) => built.next(),
            _ => places.next(),
        })
    }

    /// The canonical form of the object. Nothing is built where all is plain: only white space tells the two apart then.
    pub(super) fn write_canonical(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        if !self.plain || !self.built.is_empty() {
            return json::write_canonical_object(self.iter(), out);
        }
        out.push(b'{');
        for (i, place) in self.places.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            let key = key_at(&self.document, *place);
            out.push(b'"');
            out.extend_from_slice(key);
            out.extend_from_slice(b"\":");
            push_without_space(value_at(&self.document, *place, key.len()), out);
        }
        out.push(b'}');
        Ok(())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len().saturating_add(self.built.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The member whose key is at `place`. It was read once, so it can be read again.
    fn build(&self, place: u32) -> Option<Value<'_>> {
        json::first_value(value_at(&self.document, place, key_at(&self.document, place).len()), self.document.len())
            .ok()
    }
}

/// Members of an object, or items of an array, that are canonical, with one comma between two and nothing else, from the first such one on: nobody has to look
/// at these bytes once more.
#[derive(Default)]
pub(super) struct Tight {
    part: Range<usize>,
    ended: bool,
}

impl Tight {
    /// A member whose key is at `place`, and whose value, at the start of `text`, is `usual` bytes long if it is canonical.
    fn add_member(&mut self, document: &[u8], place: u32, text: &[u8], usual: Option<usize>) {
        let bounds = || {
            let (key, length) = (usize::try_from(place).ok()?, usual?);
            let value = document.len().checked_sub(text.len())?;
            // No white space before the value: the key, its quote, a colon.
            let between = document.get(value.checked_sub(2)?..value)?;
            Some(key.checked_sub(1)?..value.checked_add(length)?).filter(|_| between == b"\":")
        };
        self.extend(document, bounds());
    }

    /// An item that is canonical.
    pub(super) fn add(&mut self, document: &[u8], text: &str) {
        let bounds = || {
            let start = usize::try_from(place_of(text, document)?).ok()?;
            Some(start..start.checked_add(text.len())?)
        };
        self.extend(document, bounds());
    }

    fn extend(&mut self, document: &[u8], next: Option<Range<usize>>) {
        let Range { start, end } = self.part;
        match next.filter(|_| !self.ended) {
            Some(next) if start == end => self.part = next,
            Some(next) if end.checked_add(1) == Some(next.start) && document.get(end) == Some(&b',') => {
                self.part.end = next.end;
            }
            _ => self.end(),
        }
    }

    /// What follows was not added.
    pub(super) fn end(&mut self) {
        self.ended = !self.part.is_empty();
    }

    /// From the start of the first to the end of the last.
    pub(super) fn part(self) -> Range<usize> {
        self.part
    }
}

/// Adds the object or array at the start of `text`, which has no escapes in its strings, without the white space between its tokens.
fn push_without_space(text: &[u8], out: &mut Vec<u8>) {
    let mut depth = 0_usize;
    let mut rest = text.trim_ascii_start();
    while let Some(n) =
        rest.iter().position(|b| matches!(b, b'"' | b'{' | b'[' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
    {
        let Some((before, [found, after @ ..])) = rest.split_at_checked(n) else { return };
        out.extend_from_slice(before);
        rest = after;
        match found {
            b'"' => {
                let end = rest.iter().position(|b| *b == b'"').map_or(rest.len(), |end| end.saturating_add(1));
                let (string, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                out.push(b'"');
                out.extend_from_slice(string);
                rest = after;
            }
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                out.push(*found);
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                out.push(*found);
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

/// A million members in a message help nobody.
impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} members", self.len())
    }
}

fn check<M: Member>(path: &[&str], key: &str, value: &Value<'_>) -> Result<(), Error> {
    fn below<M: Member>(at: At<'_>, path: &[&str], key: &str, value: &Value<'_>) -> Result<(), Error> {
        match path.split_first() {
            Some((first, path)) => below::<M>(at.with(first, &Value::Null), path, key, value),
            None => M::check(at.with(key, value)),
        }
    }
    below::<M>(At::document(&Value::Null), path, key, value)
}

/// Where a text stands that was borrowed from `document`. `None` if it is none of it, and beyond 4 GiB.
fn place_of(text: &str, document: &[u8]) -> Option<u32> {
    let place = text.as_ptr().addr().checked_sub(document.as_ptr().addr())?;
    let there = document.get(place..)?.get(..text.len())?;
    u32::try_from(place).ok().filter(|_| there == text.as_bytes())
}

/// The text of a key without escapes. All of it is looked at.
fn key_at(document: &[u8], place: u32) -> &[u8] {
    from(document, place).split(|b| *b == b'"').next().unwrap_or_default()
}

/// The same byte by byte, so that no more of it is looked at than is needed.
fn bytes_at(document: &[u8], place: u32) -> impl Iterator<Item = &u8> {
    from(document, place).iter().take_while(|b| **b != b'"')
}

fn from(document: &[u8], place: u32) -> &[u8] {
    usize::try_from(place).ok().and_then(|place| document.get(place..)).unwrap_or_default()
}

/// The document from the value on whose key is at `place` and `length` bytes long.
fn value_at(document: &[u8], place: u32, length: usize) -> &[u8] {
    let end = usize::try_from(place).ok().and_then(|place| place.checked_add(length));
    let after_key = end.and_then(|end| document.get(end..)?.strip_prefix(b"\""));
    let after_colon = after_key.map(<[u8]>::trim_ascii_start).and_then(|rest| rest.strip_prefix(b":"));
    after_colon.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::json::{Document, Kept, Part};
    use crate::metadata::roles::TargetFile;

    fn without_targets<M: Member>(bytes: &Arc<Vec<u8>>) -> Result<Document<'_>, Error> {
        Document::without::<M>(bytes, &[Part { path: &["signed", "targets"], kept: Kept::InPlace(bytes) }])
    }

    fn read<M: Member>(members: &str) -> Result<(Arc<Members>, Document<'static>), Error> {
        let bytes = Arc::new(format!("{{\"signed\":{{\"targets\":{members},\"x\":[]}}}}").into_bytes());
        let document = without_targets::<M>(&bytes)?;
        let top = At::document(document.value());
        let signed = top.field("signed")?;
        let members = Arc::clone(signed.field("targets")?.members()?);
        Ok((members, document.into_owned()))
    }

    #[test]
    fn members_are_those_of_the_object_in_order_and_each_once() {
        let twice = |key: &str| Err(Error::DuplicateKey(key.to_owned()));
        type Keys = Result<&'static [&'static str], Error>;
        let cases: &[(&str, &str, Keys)] = &[
            ("none", "{}", Ok(&[])),
            ("one", r#"{"a":1}"#, Ok(&["a"])),
            ("in order", r#"{"":0,"a":1,"b":2}"#, Ok(&["", "a", "b"])),
            ("out of order", r#"{"c":3,"a":1,"b":2}"#, Ok(&["a", "b", "c"])),
            ("with white space", "{ \"a\" \n: 1 ,\t\"b\" : 2}", Ok(&["a", "b"])),
            ("escaped", r#"{"\u0061":1,"b":2}"#, Ok(&["a", "b"])),
            ("escaped and out of order", r#"{"d":4,"\u0063":3,"b":2,"\u0061":1}"#, Ok(&["a", "b", "c", "d"])),
            ("beyond ASCII", r#"{"é":1,"\uffff":2,"\ud800\udc00":3}"#, Ok(&["é", "\u{ffff}", "\u{10000}"])),
            ("a quote in a key", r#"{"a\"b":1,"a":2}"#, Ok(&["a", "a\"b"])),
            ("one twice", r#"{"a":1,"a":1}"#, twice("a")),
            ("one twice, apart", r#"{"a":1,"b":2,"a":1}"#, twice("a")),
            ("one twice, once escaped", r#"{"a":1,"\u0061":1}"#, twice("a")),
            ("one twice, escaped first", r#"{"\u0061":1,"b":2,"a":1}"#, twice("a")),
            ("one twice, both escaped", r#"{"\u0061":1,"b":2,"\u0061":1}"#, twice("a")),
            ("NUL in a key", r#"{"\u0000":1}"#, Err(Error::Nul)),
            ("a key twice inside", r#"{"a":{"b":1,"b":1}}"#, twice("b")),
            ("a key twice inside, below an escaped one", r#"{"\u0061":{"b":1,"b":1}}"#, twice("b")),
            ("NUL inside", r#"{"a":"\u0000"}"#, Err(Error::Nul)),
        ];
        for (name, text, expected) in cases {
            let got = read::<Unshaped>(text).map(|(members, _)| members);
            let keys = got.as_ref().map(|members| members.iter().map(|(key, _)| key.into_owned()).collect::<Vec<_>>());
            let expected = expected.clone().map(|keys| keys.iter().map(|k| (*k).to_owned()).collect::<Vec<_>>());
            assert_eq!(keys.map_err(Clone::clone), expected, "{name}");
            let Ok(members) = got else { continue };
            // The same as when it is built.
            let built = json::parse(text.as_bytes()).unwrap();
            let built = At::document(&built);
            assert_eq!(members.len(), built.object().unwrap().iter().len(), "{name}");
            for (key, value) in built.object().unwrap().iter() {
                assert_eq!(members.get(key).as_deref(), Some(value), "{name}: {key}");
            }
            assert_eq!(members.get("nothing"), None, "{name}");
            assert!(members.iter().all(|(key, value)| members.get(&key) == Some(value)), "{name}");
        }
        for text in ["[]", "1", "null", "\"x\""] {
            assert!(matches!(read::<Unshaped>(text), Err(Error::Shape { .. })), "{text}");
        }
        for text in ["{\"a\":1", "{\"a\":1,}", "{\"a\" 1}", "{\"a\":\"\\ud800\"}"] {
            assert!(matches!(read::<Unshaped>(text), Err(Error::Syntax(_))), "{text}");
        }
    }

    /// A long key is looked at as often as there are members, and must not be to its end: else this would take an hour.
    #[test]
    fn a_key_of_millions_of_bytes_among_many_takes_no_longer_than_both_apart() {
        let long = "m".repeat(4 << 20);
        for (name, escape) in [("plain", ""), ("escaped", "\\/")] {
            let mut keys: Vec<String> = (0..100_000).map(|n| format!("\"{escape}{:x}\":1", n * 7)).collect();
            // Out of order.
            keys.insert(50_000, format!("\"{long}\":1"));
            let (members, _) = read::<Unshaped>(&format!("{{{}}}", keys.join(","))).unwrap();
            assert_eq!(members.len(), 100_001, "{name}");
            let all = members.iter().filter(|(key, value)| members.get(key).as_ref() == Some(value)).count();
            assert_eq!(all, 100_001, "{name}");
        }
    }

    #[test]
    fn a_member_of_a_wrong_shape_is_named() {
        let hash = "5a".repeat(32);
        let good = format!(r#"{{"hashes":{{"sha256":"{hash}"}},"length":1}}"#);
        let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
        let cases = [
            ("a", good.clone(), ""),
            ("a", good.replace(":1}", ":01}"), "not valid JSON: invalid number"),
            (
                "a/b",
                good.replace(":1}", ":-1}"),
                "signed.targets.a/b.length: expected an integer that is not negative, found -1",
            ),
            ("\\u0061", good.replace("5a", "xx"), "signed.targets.a.hashes.sha256: expected 64 hex digits"),
            ("a", "{}".to_owned(), "signed.targets.a.length: expected a value, found nothing"),
            ("a", "1".to_owned(), "signed.targets.a: expected an object, found 1"),
            ("a", good.replace(":1}", &format!(":1,\"x\":{deep}}}")), "nested deeper than 64 levels"),
        ];
        for (key, value, expected) in cases {
            let got = read::<TargetFile>(&format!("{{\"{key}\":{value}}}")).err().map(|e| e.to_string());
            let got = got.unwrap_or_default();
            assert!(got.starts_with(expected) && got.is_empty() == expected.is_empty(), "{key}: {value}: {got}");
        }
    }

    /// The signature covers the canonical form: what is taken for it has to be it, byte for byte.
    #[test]
    fn a_document_is_canonical_exactly_if_it_equals_its_canonical_form() {
        let hash = "5a".repeat(32);
        let entry = format!(r#"{{"custom":{{"a":-1,"b":["x {{"," ]"]}},"hashes":{{"sha256":"{hash}"}},"length":1}}"#);
        let usual = format!(r#"{{"hashes":{{"sha256":"{hash}"}},"length":1}}"#);
        let texts = [
            format!(r#"{{"signed":{{"a":["\"\\é",0],"targets":{{"a":{entry},"b\"":{entry}}},"x":[]}}}}"#),
            // Of these nobody looks at the members once more.
            format!(r#"{{"signed":{{"targets":{{"a":{usual},"b":{usual},"c":{usual}}},"x":["\\"]}}}}"#),
            format!(r#"{{"signed":{{"targets":{{"a":{usual},"b":{entry},"c":{usual}}}}}}}"#),
        ];
        let (mut canonical, mut other) = (0, 0);
        let mut look = |bytes: Vec<u8>| {
            let bytes = Arc::new(bytes);
            let Ok(document) = without_targets::<TargetFile>(&bytes) else { return };
            let form = document.value().canonical();
            let is = form.as_deref() == Ok(bytes.trim_ascii_end());
            assert_eq!(document.is_canonical(), is, "{}", String::from_utf8_lossy(&bytes));
            // Left where they are or built, the members have one canonical form.
            assert_eq!(form, json::parse(&bytes).unwrap().canonical());
            if is { canonical += 1 } else { other += 1 }
        };
        for (text, at) in texts.iter().flat_map(|text| (0..text.len()).map(move |at| (text, at))) {
            for byte in 0..=255 {
                let mut changed = text.clone().into_bytes();
                changed[at] = byte;
                look(changed);
                let mut longer = text.clone().into_bytes();
                longer.insert(at, byte);
                look(longer);
            }
        }
        assert!(canonical > 1000 && other > 500, "{canonical} {other}");
    }
}
