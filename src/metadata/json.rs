//! Strict JSON: one reading of a document, or none.
//!
//! Two readers that understand one document differently are how a signed "no" becomes a "yes", so this reader refuses whatever
//! they are known to differ in: a key that occurs twice in one object at any depth, bytes that are not UTF-8, lone surrogates, NUL in
//! a string, text after the document, and deep nesting. Numbers that are not integers (`1.0`, `1e3`, `-0`) are kept as such, and no
//! field that wants an integer takes them.
//!
//! A document is read before its signatures can be checked, so what it may cost is bounded by its length: it may hold one value for
//! each 8 bytes, and some more. Real documents stay far below; one that is nothing but `[0],[0],...` would take thirty times its size.
//!
//! One object of a document, named by its path, can be left in the file's bytes ([`Members`]): all that is said above is
//! checked of it, but its members are only looked up where they stand. So a `targets.json` of a million targets takes little more
//! memory than the file.
//!
//! The tokens are `serde_json`'s; what is added is the evidence that derived decoders drop.

use std::borrow::{Borrow, Cow};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::members::{Member, Members, Tight, Unshaped};
use crate::limits::JSON_DEPTH;
use crate::text::quoted;

/// A JSON value. Keys and strings that stand in the document as they are, without escapes, are borrowed from it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'d> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer from 0 to 2^64 - 1.
    Unsigned(u64),
    /// An integer from -2^63 to -1.
    Negative(i64),
    /// Any other number, which no field of role metadata or of an image document may be.
    Fraction(f64),
    /// A string without NUL.
    String(Cow<'d, str>),
    /// An array.
    Array(Vec<Value<'d>>),
    /// An object.
    Object(Object<'d>),
    /// An object that was read but not built, for it may have millions of members; [`parse`] never makes one.
    Members(Arc<Members>),
    /// An object or array whose parts were handed over as they were read; [`parse`] never makes one.
    Taken,
}

/// The members of a JSON object, each key once, sorted by the keys' UTF-8 bytes: the order of the canonical form.
#[derive(Debug, Clone, PartialEq)]
pub struct Object<'d>(Vec<(Cow<'d, str>, Value<'d>)>);

impl<'d> Object<'d> {
    /// Sorts the members, if they do not come in order, and refuses two of one key.
    fn new(mut members: Vec<(Cow<'d, str>, Value<'d>)>, in_order: bool) -> Result<Self, Error> {
        if !in_order {
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            let twice = members.iter().zip(members.iter().skip(1)).find(|((a, _), (b, _))| a == b);
            if let Some(((key, _), _)) = twice {
                return Err(Error::DuplicateKey(key.to_string()));
            }
        }
        Ok(Self(members))
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value<'d>> {
        let at = self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// All members, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value<'d>)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }
}

/// Why bytes are not a document that every reader understands alike.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not JSON, not UTF-8, or something follows the document. Line and column are in the text.
    #[error("not valid JSON: {0}")]
    Syntax(String),
    /// A key occurs twice in one object.
    #[error("the key {} occurs twice in one object", quoted(.0))]
    DuplicateKey(String),
    /// A string or key holds NUL.
    #[error("a string holds NUL")]
    Nul,
    /// More values than a document of this length has any use for.
    #[error("more than {0} values, far too many for its length")]
    Dense(usize),
    /// Nested deeper than [`JSON_DEPTH`].
    #[error("nested deeper than {JSON_DEPTH} levels")]
    Depth,
    /// A number that is not an integer, where the canonical form is needed; it has none.
    #[error("a number is not an integer")]
    Fraction,
    /// The canonical form was asked for of a document of which a part was not kept.
    #[error("a part of the document was not kept")]
    Taken,
    /// A field is missing or has another type. `path` is a list of keys and places such as `roles.root.keyids[2]`.
    #[error("{path}: expected {expected}, found {found}")]
    Shape {
        /// Where in the document.
        path: String,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
}

impl Error {
    /// Lines and columns are those of the item then.
    fn in_item(self, path: &[&str], place: usize) -> Self {
        match self {
            Self::Syntax(text) => Self::Syntax(format!("in {}[{place}]: {text}", path.join("."))),
            other => other,
        }
    }
}

/// Reads one document.
///
/// # Errors
///
/// Every [`Error`] but [`Error::Fraction`] and [`Error::Shape`].
pub fn parse(bytes: &[u8]) -> Result<Value<'_>, Error> {
    Reading::of(bytes).document::<Unshaped>(&[])
}

/// Reads the value at the start of `bytes`, a part of a document of `length` bytes, whatever follows it.
pub(super) fn first_value(bytes: &[u8], length: usize) -> Result<Value<'_>, Error> {
    let reading = Reading { bytes, ..Reading::allowing(length) };
    reading.seed::<Unshaped>(&[]).again(bytes)
}

/// A document that was read, and whether it was in canonical form.
#[derive(Debug, Clone)]
pub struct Document<'d> {
    value: Value<'d>,
    canonical: bool,
}

impl<'d> Document<'d> {
    /// Reads one document.
    ///
    /// # Errors
    ///
    /// Those of [`parse`].
    pub fn parse(bytes: &'d [u8]) -> Result<Self, Error> {
        Self::read::<Unshaped>(bytes, &[])
    }

    /// Reads one document without keeping the `parts` of it. Members that are left where they are have the shape that `M` asks for.
    pub(super) fn without<M: Member>(bytes: &'d [u8], parts: &[Part<'_>]) -> Result<Self, Error> {
        Self::read::<M>(bytes, parts)
    }

    fn read<M: Member>(bytes: &'d [u8], parts: &[Part<'_>]) -> Result<Self, Error> {
        let reading = Reading::of(bytes);
        let value = reading.document::<M>(parts)?;
        let canonical = reading.ordered.get() && reading.is_tight(bytes.trim_ascii_end());
        Ok(Self { value, canonical })
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &Value<'d> {
        &self.value
    }

    #[cfg(test)]
    pub(super) fn into_owned(self) -> Document<'static> {
        Document { value: self.value.into_owned(), canonical: self.canonical }
    }

    /// Whether the bytes, but for white space at their end, are the canonical form of the value.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        self.canonical
    }
}

/// Whether no token of a document has white space before it, and strings escape what they must and nothing else. With members in order
/// and integers alone, which [`Reading`] sees to, that is the canonical form: JSON has one spelling for all else.
fn is_tight(document: &[u8]) -> bool {
    let mut rest = document;
    // Between strings there is next to nothing, within them there may be much.
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b' ' | b'\n' | b'\r' | b'\t' => return false,
            b'"' => match after_tight_string(after) {
                Some(after) => after,
                None => return false,
            },
            _ => after,
        }
    }
    true
}

/// What follows a string that escapes what it must and nothing else. `text` begins behind its first quote.
fn after_tight_string(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        match rest.get(memchr::memchr2(b'"', b'\\', rest)?..)? {
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'"' | b'\\', after @ ..] => rest = after,
            _ => return None,
        }
    }
}

/// The densest part of real metadata, `{"version":1}` under a short name in a snapshot, has one value for 14 bytes. With one for 8, a
/// document takes at most some eight times its length in memory.
const BYTES_PER_VALUE: usize = 8;
/// What a short document may hold whatever its length.
const DENSE_FREE: usize = 16_384;

/// What all values of a document share while it is read.
pub(super) struct Reading<'d> {
    bytes: &'d [u8],
    /// How many values the document may have at most, and how many more there may be.
    most: usize,
    left: Cell<usize>,
    /// Carries a typed error out past the reader's own error type.
    fault: Cell<Option<Error>>,
    /// Whether all members so far came in the order of their keys, and all numbers were integers.
    ordered: Cell<bool>,
    /// A part of the document, of whole tokens, that is known to be tight.
    tight: Cell<(usize, usize)>,
}

impl<'d> Reading<'d> {
    fn of(bytes: &'d [u8]) -> Self {
        Self { bytes, ..Self::allowing(bytes.len()) }
    }

    /// With as many values as a document of `length` bytes may have.
    fn allowing(length: usize) -> Self {
        let most = DENSE_FREE.saturating_add(length / BYTES_PER_VALUE);
        Self {
            bytes: &[],
            most,
            left: Cell::new(most),
            fault: Cell::new(None),
            ordered: Cell::new(true),
            tight: Cell::default(),
        }
    }

    fn document<M: Member>(&self, parts: &[Part<'_>]) -> Result<Value<'d>, Error> {
        // At once, and not string by string.
        let text = str::from_utf8(self.bytes)
            .map_err(|e| Error::Syntax(format!("what is at byte {} is not UTF-8", e.valid_up_to())))?;
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = self.seed::<M>(parts).deserialize(&mut reader).and_then(|value| {
            reader.end()?;
            Ok(value)
        });
        value.map_err(|e| self.error(&e))
    }

    fn seed<'r, M>(&'r self, parts: &'r [Part<'r>]) -> Seed<'r, 'd, M> {
        Seed { depth: JSON_DEPTH, reading: self, parts, above: 0, stays: true, members: PhantomData }
    }

    /// The error that ended the reading.
    fn error(&self, error: &serde_json::Error) -> Error {
        self.fault.take().unwrap_or_else(|| Error::Syntax(error.to_string()))
    }

    pub(super) fn fail<T, E: de::Error>(&self, error: Error) -> Result<T, E> {
        let text = E::custom(&error);
        self.fault.set(Some(error));
        Err(text)
    }

    /// Of several parts, the longest is noted.
    pub(super) fn is_tight_at(&self, part: Range<usize>) {
        let (start, end) = self.tight.get();
        if part.len() > end.saturating_sub(start) {
            self.tight.set((part.start, part.end));
        }
    }

    fn is_tight(&self, document: &[u8]) -> bool {
        let (start, end) = self.tight.get();
        match (document.get(..start), document.get(end..)) {
            (Some(before), Some(after)) => is_tight(before) && is_tight(after),
            _ => is_tight(document),
        }
    }

    /// How many more values there may be.
    pub(super) fn left(&self) -> &Cell<usize> {
        &self.left
    }

    pub(super) fn is_out_of_order(&self) {
        self.ordered.set(false);
    }
}

/// A part of a document that may have very many members or items, which are not kept. What is said of a document is checked of it too.
#[derive(Clone, Copy)]
pub(super) struct Part<'r> {
    /// From the document down to it.
    pub(super) path: &'static [&'static str],
    pub(super) kept: Kept<'r>,
}

/// What becomes of such a part.
#[derive(Clone, Copy)]
pub(super) enum Kept<'r> {
    /// The members of an object stay where they are in the document: [`Value::Members`].
    InPlace(&'r Arc<Vec<u8>>),
    /// Each item of an array is handed over, in the order of the document: [`Value::Taken`].
    ///
    /// `usual` is asked first. It may take an item by its text, which is JSON, without having it built: if that is in canonical form, and of it nothing else
    /// comes than `take` would make of the value. `false` decides nothing.
    Items { usual: &'r dyn Fn(&str) -> bool, take: &'r dyn Fn(At<'_>) },
}

/// Reads one value.
pub(super) struct Seed<'r, 'd, M> {
    depth: usize,
    reading: &'r Reading<'d>,
    /// Those that may be in this value; their first `above` keys lead here.
    parts: &'r [Part<'r>],
    above: usize,
    /// Whether the value is kept; else no room that it does not need is given back, for all of it is soon.
    stays: bool,
    members: PhantomData<M>,
}

impl<M> Clone for Seed<'_, '_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Seed<'_, '_, M> {}

impl<'r, 'd, M: Member> Seed<'r, 'd, M> {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, parts: &[], stays: true, ..self }),
            None => self.reading.fail(Error::Depth),
        }
    }

    /// For the value of `key`. Parts are in the order of their paths, so those below it stand together.
    fn below(self, parts: &'r [Part<'r>], key: &str) -> Self {
        let leads_on = |part: &Part<'_>| part.path.get(self.above) == Some(&key);
        let first = parts.iter().position(leads_on).unwrap_or(parts.len());
        let parts = parts.get(first..).unwrap_or_default();
        let last = parts.iter().position(|part| !leads_on(part)).unwrap_or(parts.len());
        Self { parts: parts.get(..last).unwrap_or_default(), above: self.above.saturating_add(1), ..self }
    }

    /// For a value that is handed over.
    fn passing(self) -> Self {
        Self { stays: false, ..self }
    }

    /// The part that this value is.
    fn part(self) -> Option<&'r Part<'r>> {
        self.parts.first().filter(|part| part.path.len() == self.above)
    }

    pub(super) fn depth(self) -> usize {
        self.depth
    }

    pub(super) fn reading(self) -> &'r Reading<'d> {
        self.reading
    }

    /// Reads the value at the start of `bytes` once more, and builds it.
    pub(super) fn again(self, bytes: &[u8]) -> Result<Value<'_>, Error> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        self.deserialize(&mut reader).map_err(|e| self.reading.error(&e))
    }
}

/// Hands on a value with the path that leads to it, for errors: nothing above it is kept.
fn hand_over(at: At<'_>, path: &[&str], last: Step<'_>, value: &Value<'_>, take: &dyn Fn(At<'_>)) {
    match path.split_first() {
        Some((first, path)) => hand_over(at.with(first, &Value::Null), path, last, value, take),
        None => take(At { value, step: last, parent: Some(&at) }),
    }
}

impl<'de, M: Member> DeserializeSeed<'de> for Seed<'_, '_, M> {
    type Value = Value<'de>;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Value<'de>, D::Error> {
        match self.reading.left.get().checked_sub(1) {
            Some(left) => self.reading.left.set(left),
            None => return self.reading.fail(Error::Dense(self.reading.most)),
        }
        reader.deserialize_any(self)
    }
}

impl<'de, M: Member> Visitor<'de> for Seed<'_, '_, M> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value<'de>, E> {
        Ok(Value::Unsigned(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value<'de>, E> {
        Ok(u64::try_from(v).map_or(Value::Negative(v), Value::Unsigned))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value<'de>, E> {
        self.reading.is_out_of_order();
        Ok(Value::Fraction(v))
    }

    /// Without escapes, so without NUL.
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Borrowed(v)))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Value<'de>, E> {
        self.visit_string(v.to_owned())
    }

    fn visit_string<E: de::Error>(self, v: String) -> Result<Value<'de>, E> {
        if v.contains('\0') { self.reading.fail(Error::Nul) } else { Ok(Value::String(Cow::Owned(v))) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let inner = self.deeper()?;
        if let Some(Part { path, kept: Kept::Items { usual, take } }) = self.part() {
            let (mut place, mut tight) = (0_usize, Tight::default());
            while let Some(text) = seq.next_element::<&RawValue>()?.map(RawValue::get) {
                if usual(text) {
                    tight.add(self.reading.bytes, text);
                } else {
                    tight.end();
                    let item = inner.passing().again(text.as_bytes());
                    let item = item.or_else(|error| self.reading.fail(error.in_item(path, place)))?;
                    hand_over(At::document(&Value::Null), path, Step::Item(place), &item, take);
                }
                place = place.saturating_add(1);
            }
            self.reading.is_tight_at(tight.part());
            return Ok(Value::Taken);
        }
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        if self.stays {
            items.shrink_to_fit();
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let inner = self.deeper()?;
        if let Some(Part { path, kept: Kept::InPlace(bytes) }) = self.part() {
            return Ok(Value::Members(Arc::new(Members::read(map, inner, bytes, path)?)));
        }
        let mut members = Vec::with_capacity(if self.stays { 0 } else { 6 });
        let mut in_order = true;
        while let Some(Key(key)) = map.next_key_seed(KeySeed(self.reading))? {
            in_order &= members.last().is_none_or(|(before, _): &(Cow<'de, str>, _)| *before < key);
            let value = map.next_value_seed(inner.below(self.parts, &key))?;
            members.push((key, value));
        }
        if !in_order {
            self.reading.is_out_of_order();
        }
        if self.stays {
            members.shrink_to_fit();
        }
        match Object::new(members, in_order) {
            Ok(object) => Ok(Value::Object(object)),
            Err(error) => self.reading.fail(error),
        }
    }
}

/// A key without NUL; borrowed if it stands in the document as it is.
pub(super) struct Key<'de>(pub(super) Cow<'de, str>);

/// Reads a [`Key`].
#[derive(Clone, Copy)]
pub(super) struct KeySeed<'r, 'd>(pub(super) &'r Reading<'d>);

impl<'de> DeserializeSeed<'de> for KeySeed<'_, '_> {
    type Value = Key<'de>;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Key<'de>, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed<'_, '_> {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    /// Without escapes, so without NUL.
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(v)))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Key<'de>, E> {
        if v.contains('\0') { self.0.fail(Error::Nul) } else { Ok(Key(Cow::Owned(v.to_owned()))) }
    }
}

impl Value<'_> {
    /// The same, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::Bool(b),
            Self::Unsigned(n) => Value::Unsigned(n),
            Self::Negative(n) => Value::Negative(n),
            Self::Fraction(n) => Value::Fraction(n),
            Self::String(text) => Value::String(Cow::Owned(text.into_owned())),
            Self::Array(items) => Value::Array(items.into_iter().map(Value::into_owned).collect()),
            Self::Object(object) => {
                let members = object.0.into_iter();
                Value::Object(Object(
                    members.map(|(key, value)| (Cow::Owned(key.into_owned()), value.into_owned())).collect(),
                ))
            }
            Self::Members(members) => Value::Members(members),
            Self::Taken => Value::Taken,
        }
    }

    /// The OLPC canonical form [TUF 4.2]: sorted keys, no white space, only `"` and `\` escaped, integers alone.
    ///
    /// # Errors
    ///
    /// [`Error::Fraction`]: such a number has no canonical form.
    pub fn canonical(&self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        self.write_canonical(&mut out)?;
        Ok(out)
    }

    pub(super) fn write_canonical(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Unsigned(n) => out.extend_from_slice(n.to_string().as_bytes()),
            Self::Negative(n) => out.extend_from_slice(n.to_string().as_bytes()),
            Self::Fraction(_) => return Err(Error::Fraction),
            Self::String(s) => write_canonical_string(s, out),
            Self::Array(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write_canonical(out)?;
                }
                out.push(b']');
            }
            Self::Object(object) => write_canonical_object(object.iter(), out)?,
            Self::Members(members) => members.write_canonical(out)?,
            // Its parts are not there any more. Whoever needs this form keeps them.
            Self::Taken => return Err(Error::Taken),
        }
        Ok(())
    }

    /// What stands here, in words for an error: the type, and a scalar's value cut short.
    fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(b) => b.to_string(),
            Self::Unsigned(n) => n.to_string(),
            Self::Negative(n) => n.to_string(),
            Self::Fraction(n) => format!("the number {n:?}"),
            Self::String(s) => quoted(s).to_string(),
            Self::Array(_) => "an array".to_owned(),
            Self::Object(_) | Self::Members(_) => "an object".to_owned(),
            Self::Taken => "an object or array".to_owned(),
        }
    }
}

pub(super) fn write_canonical_object<'v, K: AsRef<str>, V: Borrow<Value<'v>>>(
    members: impl Iterator<Item = (K, V)>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    out.push(b'{');
    for (i, (key, value)) in members.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_canonical_string(key.as_ref(), out);
        out.push(b':');
        value.borrow().write_canonical(out)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_canonical_string(s: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for piece in s.as_bytes().split_inclusive(|byte| matches!(byte, b'"' | b'\\')) {
        match piece.split_last() {
            Some((special @ (b'"' | b'\\'), before)) => {
                out.extend_from_slice(before);
                out.extend_from_slice(&[b'\\', *special]);
            }
            _ => out.extend_from_slice(piece),
        }
    }
    out.push(b'"');
}

/// A value and where it stands, so that a wrong type is reported with its path.
///
/// Lives on the stack of the code that reads a document: each step down borrows the one above.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    value: &'a Value<'a>,
    step: Step<'a>,
    parent: Option<&'a At<'a>>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Document,
    Key(&'a str),
    Item(usize),
}

impl<'a> At<'a> {
    /// The top of a document.
    #[must_use]
    pub fn document(value: &'a Value<'a>) -> Self {
        Self { value, step: Step::Document, parent: None }
    }

    /// The value that stands here.
    #[must_use]
    pub fn value(&self) -> &'a Value<'a> {
        self.value
    }

    /// The field `key` of the object here, which must have it.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if this is no object or has no such key.
    pub fn field<'b>(&'b self, key: &'b str) -> Result<At<'b>, Error> {
        match self.optional(key)? {
            Some(at) => Ok(at),
            None => Err(self.lacks(key)),
        }
    }

    /// The error that the object here has no field `key`.
    pub(super) fn lacks(&self, key: &str) -> Error {
        Error::Shape { path: self.child_path(key), expected: "a value", found: "nothing".to_owned() }
    }

    /// The field `key` of the object here, if it has it.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if this is no object.
    pub fn optional<'b>(&'b self, key: &'b str) -> Result<Option<At<'b>>, Error> {
        let value = self.object()?.get(key);
        Ok(value.map(|value| At { value, step: Step::Key(key), parent: Some(self) }))
    }

    /// All fields of the object here, sorted by key.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if this is no object.
    pub fn fields<'b>(&'b self) -> Result<impl Iterator<Item = (&'b str, At<'b>)>, Error> {
        Ok(self.object()?.iter().map(move |(key, value)| (key, At { value, step: Step::Key(key), parent: Some(self) })))
    }

    /// All items of the array here, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if this is no array.
    pub fn items<'b>(&'b self) -> Result<impl ExactSizeIterator<Item = At<'b>>, Error> {
        let Value::Array(items) = self.value else { return Err(self.wrong("an array")) };
        Ok(items.iter().enumerate().map(move |(i, value)| At { value, step: Step::Item(i), parent: Some(self) }))
    }

    /// The object here.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if this is no object.
    pub fn object(&self) -> Result<&'a Object<'a>, Error> {
        if let Value::Object(object) = self.value { Ok(object) } else { Err(self.wrong("an object")) }
    }

    /// The object here whose members were left where they are.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if this is no object.
    pub(super) fn members(&self) -> Result<&'a Arc<Members>, Error> {
        if let Value::Members(members) = self.value { Ok(members) } else { Err(self.wrong("an object")) }
    }

    /// A value that is the member `key` of what stands here, although it is not kept there.
    pub(super) fn with<'b>(&'b self, key: &'b str, value: &'b Value<'b>) -> At<'b> {
        At { value, step: Step::Key(key), parent: Some(self) }
    }

    /// The string here.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if this is no string.
    pub fn string(&self) -> Result<&'a str, Error> {
        if let Value::String(s) = self.value { Ok(s) } else { Err(self.wrong("a string")) }
    }

    /// The integer here, from 0 to 2^64 - 1.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if this is anything else: `1.0` and `1e3` are no integers.
    pub fn unsigned(&self) -> Result<u64, Error> {
        if let Value::Unsigned(n) = self.value { Ok(*n) } else { Err(self.wrong("an integer that is not negative")) }
    }

    /// The integer here, from 1 to 2^64 - 1.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if this is anything else.
    pub fn positive(&self) -> Result<u64, Error> {
        match self.value {
            Value::Unsigned(n) if *n > 0 => Ok(*n),
            _ => Err(self.wrong("an integer above 0")),
        }
    }

    /// The truth value here.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if this is anything else.
    pub fn boolean(&self) -> Result<bool, Error> {
        if let Value::Bool(b) = self.value { Ok(*b) } else { Err(self.wrong("true or false")) }
    }

    /// The error that this value is not what the format asks for.
    #[must_use]
    pub fn wrong(&self, expected: &'static str) -> Error {
        Error::Shape { path: self.path(), expected, found: self.value.describe() }
    }

    /// Where this value stands: `roles.root.keyids[2]`. The whole document is called `document`.
    #[must_use]
    pub fn path(&self) -> String {
        let above = self.parent.map(|p| if p.parent.is_some() { p.path() } else { String::new() });
        match (self.step, above) {
            (Step::Document, _) | (_, None) => "document".to_owned(),
            (Step::Key(key), Some(above)) if above.is_empty() => escaped_key(key),
            (Step::Key(key), Some(above)) => format!("{above}.{}", escaped_key(key)),
            (Step::Item(i), Some(above)) => format!("{above}[{i}]"),
        }
    }

    fn child_path(&self, key: &str) -> String {
        if self.parent.is_none() { escaped_key(key) } else { format!("{}.{}", self.path(), escaped_key(key)) }
    }
}

/// A key as it stands in a path: plain where it is a plain word, quoted otherwise.
fn escaped_key(key: &str) -> String {
    let plain = key.len() <= 64 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-/".contains(&b));
    if plain { key.to_owned() } else { quoted(key).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_readers_differ_on_is_refused() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        let cases: &[(&str, Vec<u8>, &str)] = &[
            ("a plain document", br#"{"a":1,"b":[true,null]}"#.to_vec(), ""),
            ("white space around it", b" {} \n".to_vec(), ""),
            ("one key in two objects", br#"[{"a":1},{"a":1}]"#.to_vec(), ""),
            ("a key twice", br#"{"a":1,"a":1}"#.to_vec(), "occurs twice"),
            ("a key twice, once escaped", br#"{"a":1,"\u0061":2}"#.to_vec(), "occurs twice"),
            ("a key twice, deep inside", br#"{"x":[{"y":{"a":1,"a":2}}]}"#.to_vec(), "occurs twice"),
            ("a second document", b"{}{}".to_vec(), "not valid JSON"),
            ("garbage after it", b"{} x".to_vec(), "not valid JSON"),
            ("NUL after it", b"{}\0".to_vec(), "not valid JSON"),
            ("nothing", b"".to_vec(), "not valid JSON"),
            ("byte order mark", b"\xef\xbb\xbf{}".to_vec(), "not valid JSON"),
            ("not UTF-8", b"[\"\xff\"]".to_vec(), "not valid JSON"),
            ("a lone surrogate", br#"["\ud800"]"#.to_vec(), "not valid JSON"),
            ("a surrogate pair", br#"["\ud83d\ude00"]"#.to_vec(), ""),
            ("escaped NUL", br#"["\u0000"]"#.to_vec(), "holds NUL"),
            ("escaped NUL in a key", br#"{"\u0000":1}"#.to_vec(), "holds NUL"),
            ("a raw control character", b"[\"\x01\"]".to_vec(), "not valid JSON"),
            ("a trailing comma", b"[1,]".to_vec(), "not valid JSON"),
            ("a leading zero", b"[01]".to_vec(), "not valid JSON"),
            ("64 levels", deep(64).into_bytes(), ""),
            ("65 levels", deep(65).into_bytes(), "nested deeper"),
            ("100,000 levels", deep(100_000).into_bytes(), "nested deeper"),
        ];
        for (name, bytes, expected) in cases {
            match parse(bytes) {
                Ok(_) => assert_eq!(*expected, "", "{name}"),
                Err(e) => assert!(!expected.is_empty() && e.to_string().contains(expected), "{name}: {e}"),
            }
        }
    }

    #[test]
    fn a_document_of_nothing_but_values_is_refused_before_it_takes_memory() {
        let list = |item: &str, n: usize| format!("[{}]", vec![item; n].join(",")).into_bytes();
        // As dense as metadata gets: a snapshot of many roles.
        let snapshot: Vec<String> = (0..100_000).map(|n| format!("\"{n}.json\":{{\"version\":1}}")).collect();
        assert!(parse(format!("{{{}}}", snapshot.join(",")).as_bytes()).is_ok());
        assert!(parse(&list("0", 16_384)).is_ok(), "a short document may be dense");
        for item in ["0", "[0]", "{\"\":0}", "\"\""] {
            let error = parse(&list(item, 1_000_000)).unwrap_err();
            assert!(matches!(error, Error::Dense(_)), "{item}: {error}");
        }
    }

    #[test]
    fn only_integers_are_integers() {
        let cases = [
            ("0", Some(0)),
            ("1", Some(1)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("1.0", None),
            ("1e3", None),
            ("-0", None),
            ("-1", None),
            ("\"1\"", None),
            ("true", None),
            ("null", None),
        ];
        for (text, expected) in cases {
            let value = parse(text.as_bytes()).unwrap();
            assert_eq!(At::document(&value).unsigned().ok(), expected, "{text}");
            assert_eq!(At::document(&value).positive().ok(), expected.filter(|n| *n > 0), "{text}");
        }
    }

    #[test]
    fn canonical_form_is_that_of_olpc() {
        let cases: &[(&str, Result<&str, Error>)] = &[
            (r#" { "b" : 1 , "a" : [ 1 , -2 , true , false , null ] } "#, Ok(r#"{"a":[1,-2,true,false,null],"b":1}"#)),
            // Control characters stand for themselves; only the quote and the backslash are escaped.
            (r#"["\u0001\n\"\\\/"]"#, Ok("[\"\u{1}\n\\\"\\\\/\"]")),
            // By UTF-8 bytes, which is also by code point: not by UTF-16 unit, where U+10000 comes before U+FFFF.
            (r#"{"\ud800\udc00":1,"\uffff":2,"é":3}"#, Ok("{\"é\":3,\"\u{ffff}\":2,\"\u{10000}\":1}")),
            ("{}", Ok("{}")),
            ("[]", Ok("[]")),
            ("[1.5]", Err(Error::Fraction)),
            ("[-0]", Err(Error::Fraction)),
        ];
        for (text, expected) in cases {
            let got = parse(text.as_bytes()).unwrap().canonical();
            assert_eq!(got, expected.clone().map(|s| s.as_bytes().to_vec()), "{text}");
            let Ok(canonical) = got else { continue };
            assert_eq!(
                Document::parse(text.as_bytes()).unwrap().is_canonical(),
                canonical == text.as_bytes().trim_ascii_end(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_wrong_type_is_reported_with_its_path() {
        let value = parse(br#"{"roles":{"root":{"keyids":["a",7]},"odd key":{}},"list":[1]}"#).unwrap();
        let top = At::document(&value);
        let roles = top.field("roles").unwrap();
        let root = roles.field("root").unwrap();
        let keyids = root.field("keyids").unwrap();
        let second = keyids.items().unwrap().nth(1).unwrap();
        assert_eq!(second.string().unwrap_err().to_string(), "roles.root.keyids[1]: expected a string, found 7");
        assert_eq!(
            root.field("threshold").unwrap_err().to_string(),
            "roles.root.threshold: expected a value, found nothing"
        );
        assert_eq!(top.field("x").unwrap_err().to_string(), "x: expected a value, found nothing");
        assert_eq!(top.string().unwrap_err().to_string(), "document: expected a string, found an object");
        let odd = roles.field("odd key").unwrap();
        assert_eq!(
            odd.boolean().unwrap_err().to_string(),
            "roles.\"odd key\": expected true or false, found an object"
        );
        let list = top.field("list").unwrap();
        assert_eq!(list.object().unwrap_err().to_string(), "list: expected an object, found an array");
    }
}
