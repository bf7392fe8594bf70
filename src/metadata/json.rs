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
//! The tokens are `serde_json`'s; what is added is the evidence that derived decoders drop.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use crate::limits::JSON_DEPTH;
use crate::text::quoted;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
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
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Object),
}

/// The members of a JSON object, each key once, sorted by the keys' UTF-8 bytes: the order of the canonical form.
#[derive(Debug, Clone, PartialEq)]
pub struct Object(Box<[(String, Value)]>);

impl Object {
    /// Sorts the members, and refuses two of one key.
    fn new(mut members: Vec<(String, Value)>) -> Result<Self, Error> {
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        let twice = members.iter().zip(members.iter().skip(1)).find(|((a, _), (b, _))| a == b);
        match twice {
            Some(((key, _), _)) => Err(Error::DuplicateKey(key.clone())),
            None => Ok(Self(members.into_boxed_slice())),
        }
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let at = self.0.binary_search_by(|(k, _)| k.as_str().cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// All members, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
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

/// Reads one document.
///
/// # Errors
///
/// Every [`Error`] but [`Error::Fraction`] and [`Error::Shape`].
pub fn parse(bytes: &[u8]) -> Result<Value, Error> {
    let fault = Cell::new(None);
    let most = DENSE_FREE.saturating_add(bytes.len() / BYTES_PER_VALUE);
    let left = Cell::new(most);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let seed = Seed { depth: JSON_DEPTH, most, left: &left, fault: &fault };
    let value = seed.deserialize(&mut reader).and_then(|value| {
        reader.end()?;
        Ok(value)
    });
    value.map_err(|e| fault.take().unwrap_or_else(|| Error::Syntax(e.to_string())))
}

/// The densest part of real metadata, `{"version":1}` under a short name in a snapshot, has one value for 14 bytes. With one for 8, a
/// document takes at most some eight times its length in memory.
const BYTES_PER_VALUE: usize = 8;
/// What a short document may hold whatever its length.
const DENSE_FREE: usize = 16_384;

/// Reads one value; `left` counts down how many more there may be, `fault` carries a typed error out past the reader's own error type.
#[derive(Clone, Copy)]
struct Seed<'a> {
    depth: usize,
    most: usize,
    left: &'a Cell<usize>,
    fault: &'a Cell<Option<Error>>,
}

impl Seed<'_> {
    fn fail<T, E: de::Error>(self, error: Error) -> Result<T, E> {
        let text = E::custom(&error);
        self.fault.set(Some(error));
        Err(text)
    }

    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => self.fail(Error::Depth),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None => return self.fail(Error::Dense(self.most)),
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(u64::try_from(v).map_or(Value::Negative(v), Value::Unsigned))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Fraction(v))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Value, E> {
        self.visit_string(v.to_owned())
    }

    fn visit_string<E: de::Error>(self, v: String) -> Result<Value, E> {
        if v.contains('\0') { self.fail(Error::Nul) } else { Ok(Value::String(v)) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        items.shrink_to_fit();
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key.contains('\0') {
                return self.fail(Error::Nul);
            }
            members.push((key, map.next_value_seed(inner)?));
        }
        match Object::new(members) {
            Ok(object) => Ok(Value::Object(object)),
            Err(error) => self.fail(error),
        }
    }
}

impl Value {
    /// The OLPC canonical form [TUF 4.2]: sorted keys, no white space, only `"` and `\` escaped, integers alone.
    ///
    /// # Errors
    ///
    /// [`Error::Fraction`]: such a number has no canonical form.
    pub fn canonical(&self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        self.canonical_pieces(&mut |piece: &[u8]| {
            out.extend_from_slice(piece);
            Ok::<(), Error>(())
        })?;
        Ok(out)
    }

    /// Whether `bytes` are the canonical form of this value; found out without building it.
    #[must_use]
    pub fn is_canonical(&self, bytes: &[u8]) -> bool {
        struct Differs;
        impl From<Error> for Differs {
            fn from(_: Error) -> Self {
                Self
            }
        }
        let mut rest = bytes;
        let compared = self.canonical_pieces(&mut |piece: &[u8]| {
            rest = rest.strip_prefix(piece).ok_or(Differs)?;
            Ok::<(), Differs>(())
        });
        compared.is_ok() && rest.is_empty()
    }

    /// Hands the canonical form to `put` piece by piece.
    fn canonical_pieces<E: From<Error>>(&self, put: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Null => put(b"null"),
            Self::Bool(true) => put(b"true"),
            Self::Bool(false) => put(b"false"),
            Self::Unsigned(n) => put(n.to_string().as_bytes()),
            Self::Negative(n) => put(n.to_string().as_bytes()),
            Self::Fraction(_) => Err(Error::Fraction.into()),
            Self::String(s) => canonical_string(s, put),
            Self::Array(items) => {
                put(b"[")?;
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        put(b",")?;
                    }
                    item.canonical_pieces(put)?;
                }
                put(b"]")
            }
            Self::Object(object) => {
                put(b"{")?;
                for (i, (key, value)) in object.iter().enumerate() {
                    if i > 0 {
                        put(b",")?;
                    }
                    canonical_string(key, put)?;
                    put(b":")?;
                    value.canonical_pieces(put)?;
                }
                put(b"}")
            }
        }
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
            Self::Object(_) => "an object".to_owned(),
        }
    }
}

fn canonical_string<E>(s: &str, put: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    put(b"\"")?;
    for piece in s.as_bytes().split_inclusive(|byte| matches!(byte, b'"' | b'\\')) {
        match piece.split_last() {
            Some((special @ (b'"' | b'\\'), before)) => {
                put(before)?;
                put(&[b'\\', *special])?;
            }
            _ => put(piece)?,
        }
    }
    put(b"\"")
}

/// A value and where it stands, so that a wrong type is reported with its path.
///
/// Lives on the stack of the code that reads a document: each step down borrows the one above.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    value: &'a Value,
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
    pub fn document(value: &'a Value) -> Self {
        Self { value, step: Step::Document, parent: None }
    }

    /// The value that stands here.
    #[must_use]
    pub fn value(&self) -> &'a Value {
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
            None => Err(Error::Shape { path: self.child_path(key), expected: "a value", found: "nothing".to_owned() }),
        }
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
    pub fn object(&self) -> Result<&'a Object, Error> {
        if let Value::Object(object) = self.value { Ok(object) } else { Err(self.wrong("an object")) }
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
            let value = parse(text.as_bytes()).unwrap();
            assert!(value.is_canonical(&canonical), "{text}");
            assert!(
                !value.is_canonical(&canonical[1..]) && !value.is_canonical(&[&canonical, &b" "[..]].concat()),
                "{text}"
            );
            assert_eq!(value.is_canonical(text.as_bytes()), canonical == text.as_bytes(), "{text}");
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
