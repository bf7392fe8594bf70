//! Strict JSON in one pass, for documents that are too large to be built.
//!
//! A package list may have a million entries, and all that is wanted of one are three strings. So values go straight to whoever wants them, and
//! what nobody wants is dropped as it passes; but it is read as strictly as the rest. As in [`crate::metadata::json`] these are refused at any
//! depth: a key that occurs twice in one object, bytes that are not UTF-8, lone surrogates, NUL in a string, text after the document, and deep nesting.
//!
//! What it takes in memory beside what is kept is one object's keys for each level of nesting, and one string.
//!
//! The tokens are `serde_json`'s, and types that derive `Deserialize` can be read; what is added here stands between the two.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::error::Unreadable;
use crate::limits::JSON_DEPTH;
use crate::text::{escaped, quoted};

/// Members of one object. The objects of list formats have a few dozen, none of which is named by what the list is about.
const MEMBERS_MAX: usize = 4096;

/// Reads one document, an object.
pub(super) fn read<'de, M: Members<'de>>(bytes: &'de [u8], top: M) -> Result<(), Unreadable> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Unreadable::new(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
    let reading = Reading { fault: Cell::new(None), keys: RefCell::new(Vec::new()) };
    let mut json = serde_json::Deserializer::from_str(text);
    let strict = Strict { inner: &mut json, reading: &reading, depth: JSON_DEPTH };
    let read = Object { members: top, reading: &reading }.deserialize(strict).and_then(|()| json.end());
    read.map_err(|error| reading.error(&error))
}

/// Takes the members of an object, one after another.
pub(super) trait Members<'de> {
    /// What the object is, in words: "a package".
    const WHAT: &'static str;

    /// Takes the value of `key`, of which there is one at most. It must do so, or ignore it.
    fn member<A: MapAccess<'de>>(&mut self, key: &str, value: Value<'_, 'de, A>) -> Result<(), A::Error>;

    /// All members are there.
    fn end(self) -> Result<(), Unreadable>;
}

/// A string. Borrowed from the document, unless it has escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// The value of a member, yet to be read.
pub(super) struct Value<'r, 'de, A> {
    map: &'r mut A,
    reading: &'r Reading<'de>,
}

impl<'de, A: MapAccess<'de>> Value<'_, 'de, A> {
    /// A string that is kept.
    pub(super) fn string(self) -> Result<String, A::Error> {
        self.map.next_value::<Text<'de>>().map(|text| text.0.into_owned())
    }

    /// What `parse` makes of a string.
    pub(super) fn parse<T>(self, parse: impl FnOnce(&str) -> Result<T, Unreadable>) -> Result<T, A::Error> {
        let Text(text) = self.map.next_value()?;
        parse(&text).or_else(|why| self.reading.fail(why))
    }

    /// Checks the value and drops it.
    pub(super) fn ignore(self) -> Result<(), A::Error> {
        self.map.next_value::<IgnoredAny>().map(|_| ())
    }

    /// An array of `T`, which must be small whatever the document is: a few strings or numbers.
    pub(super) fn each<T: Deserialize<'de>>(
        self,
        take: impl FnMut(T) -> Result<(), Unreadable>,
    ) -> Result<(), A::Error> {
        self.map.next_value_seed(Each { take, reading: self.reading, items: PhantomData })
    }

    /// An array of objects, the members of each taken by what `new` makes.
    pub(super) fn each_object<M: Members<'de>>(self, new: impl FnMut() -> M) -> Result<(), A::Error> {
        self.map.next_value_seed(Objects { new, reading: self.reading })
    }
}

/// What all values of a document share while it is read.
struct Reading<'de> {
    /// Carries an error out past the reader's own error type.
    fault: Cell<Option<Unreadable>>,
    /// The keys of all objects that are open, those of the innermost one last.
    keys: RefCell<Vec<Cow<'de, str>>>,
}

impl Reading<'_> {
    /// The error that ended the reading, and where.
    fn error(&self, error: &serde_json::Error) -> Unreadable {
        let (line, column) = (error.line(), error.column());
        let why = self.fault.take().map_or_else(
            || {
                let text = error.to_string();
                let why = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
                escaped(why).to_string()
            },
            |fault| fault.to_string(),
        );
        Unreadable::new(if line == 0 { why } else { format!("line {line}, column {column}: {why}") })
    }

    fn fail<T, E: de::Error>(&self, fault: Unreadable) -> Result<T, E> {
        self.fault.set(Some(fault));
        Err(E::custom("refused"))
    }

    fn refuse<T, E: de::Error>(&self, why: &str) -> Result<T, E> {
        self.fail(Unreadable::new(why))
    }

    /// An object begins. Its keys will be those from here on.
    fn begin(&self) -> usize {
        self.keys.borrow().len()
    }

    fn key<E: de::Error>(&self, begin: usize, key: &str) -> Result<(), E> {
        // As bytes, which are looked at several at a time.
        if key.as_bytes().contains(&0) {
            return self.refuse("a key holds NUL");
        }
        if self.keys.borrow().len().saturating_sub(begin) >= MEMBERS_MAX {
            return self.refuse(&format!("an object has more than {MEMBERS_MAX} members"));
        }
        Ok(())
    }

    /// An object ends: none of its keys is there twice. Looked at once for all of them, for there are millions of objects, most of them small.
    fn end<E: de::Error>(&self, begin: usize) -> Result<(), E> {
        let mut keys = self.keys.borrow_mut();
        let own = keys.get_mut(begin..).unwrap_or_default();
        own.sort_unstable();
        let twice = own.iter().zip(own.iter().skip(1)).find(|(a, b)| a == b);
        if let Some((key, _)) = twice {
            let why = format!("the key {} occurs twice in one object", quoted(key));
            return self.refuse(&why);
        }
        keys.truncate(begin);
        Ok(())
    }
}

/// Reads an object.
struct Object<'r, 'de, M> {
    members: M,
    reading: &'r Reading<'de>,
}

impl<'de, M: Members<'de>> DeserializeSeed<'de> for Object<'_, 'de, M> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, M: Members<'de>> Visitor<'de> for Object<'_, 'de, M> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(M::WHAT)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { mut members, reading } = self;
        while let Some(key) = map.next_key::<Text<'de>>()? {
            members.member(&key.0, Value { map: &mut map, reading })?;
        }
        members.end().or_else(|why| reading.fail(why))
    }
}

/// Reads an array of objects.
struct Objects<'r, 'de, F> {
    new: F,
    reading: &'r Reading<'de>,
}

impl<'de, M: Members<'de>, F: FnMut() -> M> DeserializeSeed<'de> for Objects<'_, 'de, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, M: Members<'de>, F: FnMut() -> M> Visitor<'de> for Objects<'_, 'de, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Object { members: (self.new)(), reading: self.reading })?.is_some() {}
        Ok(())
    }
}

/// Reads an array of small values.
struct Each<'r, 'de, F, T> {
    take: F,
    reading: &'r Reading<'de>,
    items: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), Unreadable>> DeserializeSeed<'de> for Each<'_, 'de, F, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), Unreadable>> Visitor<'de> for Each<'_, 'de, F, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(item) = seq.next_element()? {
            (self.take)(item).or_else(|why| self.reading.fail(why))?;
        }
        Ok(())
    }
}

/// Stands before the reader, the members of an object or the items of an array, and puts itself before all that comes out of it. `depth` is
/// how many levels there may be below.
struct Strict<'r, 'de, T> {
    inner: T,
    reading: &'r Reading<'de>,
    depth: usize,
}

impl<'r, 'de, T> Strict<'r, 'de, T> {
    fn before<U>(&self, inner: U) -> Strict<'r, 'de, U> {
        Strict { inner, reading: self.reading, depth: self.depth }
    }
}

// Everything that is not named here is read as what it is, and then offered to the visitor: so what is ignored is read like the rest.
impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<'_, 'de, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let seen = Seen { strict: self.before(visitor), object_only: false };
        self.inner.deserialize_any(seen)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let seen = Seen { strict: self.before(visitor), object_only: false };
        self.inner.deserialize_option(seen)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    // Derived types take an array of their fields' values, too.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let seen = Seen { strict: self.before(visitor), object_only: true };
        self.inner.deserialize_any(seen)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        enum identifier ignored_any
    }
}

/// What the reader shows the visitor that is inside.
struct Seen<'r, 'de, V> {
    strict: Strict<'r, 'de, V>,
    object_only: bool,
}

impl<'r, 'de, V> Seen<'r, 'de, V> {
    fn text<E: de::Error>(&self, text: &str) -> Result<(), E> {
        if text.as_bytes().contains(&0) {
            return self.strict.reading.refuse("a string holds NUL");
        }
        Ok(())
    }

    /// One level down: the visitor, and what stands before whatever is there.
    fn down<T, E: de::Error>(self, inner: T) -> Result<(V, Strict<'r, 'de, T>), E> {
        let Strict { inner: visitor, reading, depth } = self.strict;
        match depth.checked_sub(1) {
            Some(depth) => Ok((visitor, Strict { inner, reading, depth })),
            None => reading.refuse(&format!("nested deeper than {JSON_DEPTH} levels")),
        }
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Seen<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.strict.inner.expecting(f)
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.strict.inner.visit_unit()
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.strict.inner.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<V::Value, D::Error> {
        let below = self.strict.before(json);
        self.strict.inner.visit_some(below)
    }

    fn visit_bool<E: de::Error>(self, v: bool) -> Result<V::Value, E> {
        self.strict.inner.visit_bool(v)
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<V::Value, E> {
        self.strict.inner.visit_i64(v)
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<V::Value, E> {
        self.strict.inner.visit_u64(v)
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<V::Value, E> {
        self.strict.inner.visit_f64(v)
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<V::Value, E> {
        self.text(v)?;
        self.strict.inner.visit_str(v)
    }

    fn visit_borrowed_str<E: de::Error>(self, v: &'de str) -> Result<V::Value, E> {
        self.text(v)?;
        self.strict.inner.visit_borrowed_str(v)
    }

    fn visit_string<E: de::Error>(self, v: String) -> Result<V::Value, E> {
        self.text(&v)?;
        self.strict.inner.visit_string(v)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        if self.object_only {
            return Err(de::Error::invalid_type(Unexpected::Seq, &self));
        }
        let (visitor, below) = self.down(seq)?;
        visitor.visit_seq(below)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let begin = self.strict.reading.begin();
        let (visitor, below) = self.down((map, begin))?;
        visitor.visit_map(below)
    }
}

impl<'de, S: SeqAccess<'de>> SeqAccess<'de> for Strict<'_, 'de, S> {
    type Error = S::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, S::Error> {
        let seed = self.before(seed);
        self.inner.next_element_seed(seed)
    }
}

/// The members of an object, and how many keys there were before its own.
impl<'de, M: MapAccess<'de>> MapAccess<'de> for Strict<'_, 'de, (M, usize)> {
    type Error = M::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, M::Error> {
        let (map, begin) = &mut self.inner;
        let Some(Text(key)) = map.next_key()? else {
            return self.reading.end(*begin).map(|()| None);
        };
        self.reading.key(*begin, &key)?;
        let read = match &key {
            Cow::Borrowed(key) => seed.deserialize(BorrowedStrDeserializer::new(key)),
            Cow::Owned(key) => seed.deserialize(StrDeserializer::new(key)),
        };
        self.reading.keys.borrow_mut().push(key);
        read.map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, M::Error> {
        let seed = self.before(seed);
        self.inner.0.next_value_seed(seed)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<'_, 'de, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<S::Value, D::Error> {
        let below = self.before(json);
        self.inner.deserialize(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the strings in `names`, and what its like takes of `more`; ignores the rest.
    struct Names<'l>(&'l RefCell<Vec<String>>);

    #[derive(Deserialize)]
    struct Name<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[expect(dead_code, reason = "read as an option")]
        maybe: Option<u64>,
    }

    impl<'de> Members<'de> for Names<'_> {
        const WHAT: &'static str = "a test";

        fn member<A: MapAccess<'de>>(&mut self, key: &str, value: Value<'_, 'de, A>) -> Result<(), A::Error> {
            let list = self.0;
            match key {
                "names" => value.each(|name: Name<'de>| {
                    list.borrow_mut().push(name.name.into_owned());
                    Ok(())
                }),
                "more" => value.each_object(|| Names(list)),
                "last" => value.parse(|text| Err(Unreadable::new(format!("found {}", quoted(text))))),
                _ => value.ignore(),
            }
        }

        fn end(self) -> Result<(), Unreadable> {
            Ok(())
        }
    }

    fn names(bytes: &[u8]) -> Result<String, String> {
        let list = RefCell::default();
        read(bytes, Names(&list)).map(|()| list.into_inner().join(" ")).map_err(|why| why.to_string())
    }

    #[test]
    fn what_is_ignored_is_read_as_strictly_as_the_rest() {
        let nested = |n: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(n), "]".repeat(n));
        let objects = |n: usize| format!(r#"{{"x":{}1{}}}"#, r#"{"x":"#.repeat(n), "}".repeat(n));
        let more = |n: usize| format!("{}{{}}{}", r#"{"more":["#.repeat(n), "]}".repeat(n));
        let members = |n: usize| {
            let members: Vec<String> = (0..n).map(|n| format!(r#""k{n}":{n}"#)).collect();
            format!(r#"{{"x":{{{}}}}}"#, members.join(","))
        };
        let deep = "nested deeper than 64 levels";
        let cases: &[(&str, &str, Result<&str, &str>)] = &[
            ("nothing", "{}", Ok("")),
            (
                "names",
                r#"{"names":[{"name":"a"},{"name":"\u0062","maybe":1},{"name":"c","maybe":null,"x":[]}]}"#,
                Ok("a b c"),
            ),
            ("at any depth", r#"{"more":[{"names":[{"name":"a"}]},{"more":[{"names":[{"name":"b"}]}]}]}"#, Ok("a b")),
            ("another case is another key", r#"{"Names":[{"name":"a"}],"names":[{"name":"b"}]}"#, Ok("b")),
            ("the key of one object in another", r#"{"x":{"a":{"a":1},"b":[{"a":1},{"a":2}]},"a":1}"#, Ok("")),
            (
                "ignored: key twice",
                r#"{"x":[{"y":{"a":1,"b":2,"a":1}}]}"#,
                Err("the key \"a\" occurs twice in one object"),
            ),
            (
                "ignored: key twice, once escaped",
                r#"{"x":{"a":1,"\u0061":1}}"#,
                Err("the key \"a\" occurs twice in one object"),
            ),
            ("known key twice", r#"{"names":[],"names":[]}"#, Err("the key \"names\" occurs twice in one object")),
            ("unknown key twice", r#"{"a":1,"a":1}"#, Err("the key \"a\" occurs twice in one object")),
            ("field twice", r#"{"names":[{"name":"a","name":"b"}]}"#, Err("duplicate field `name`")),
            (
                "unknown field twice",
                r#"{"names":[{"name":"a","x":1,"x":1}]}"#,
                Err("the key \"x\" occurs twice in one object"),
            ),
            ("fields as an array", r#"{"names":[["a",1]]}"#, Err("invalid type: sequence, expected struct Name")),
            ("field missing", r#"{"names":[{"maybe":1}]}"#, Err("missing field `name`")),
            ("null for an array", r#"{"names":null}"#, Err("invalid type: null, expected an array")),
            ("an array for an object", r#"{"more":[[]]}"#, Err("invalid type: sequence, expected a test")),
            ("no object", "[]", Err("invalid type: sequence, expected a test")),
            ("nothing at all", "", Err("EOF while parsing a value")),
            ("white space after it", "{} \n", Ok("")),
            ("text after it", "{} {}", Err("trailing characters")),
            ("cut", r#"{"x":["#, Err("EOF while parsing a list")),
            ("byte order mark", "\u{feff}{}", Err("expected value")),
            ("ignored: NUL", r#"{"x":"\u0000"}"#, Err("a string holds NUL")),
            ("ignored: NUL in a key", r#"{"x":{"a\u0000":1}}"#, Err("a key holds NUL")),
            ("ignored: another control character", r#"{"x":"\u0001"}"#, Ok("")),
            ("ignored: lone surrogate", r#"{"x":"\ud800"}"#, Err("unexpected end of hex escape")),
            ("ignored: two that are a pair", r#"{"x":"\ud83d\ude00"}"#, Ok("")),
            ("ignored: no number", r#"{"x":01}"#, Err("invalid number")),
            ("ignored: depth 64", &nested(63), Ok("")),
            ("ignored: depth 65", &nested(64), Err(deep)),
            ("ignored: depth 64 of objects", &objects(63), Ok("")),
            ("ignored: depth 65 of objects", &objects(64), Err(deep)),
            ("depth 63", &more(31), Ok("")),
            ("depth 65", &more(32), Err(deep)),
            ("as many members as may be", &members(4096), Ok("")),
            ("one more", &members(4097), Err("an object has more than 4096 members")),
            ("an own error", "{\n \"last\":\"a\\n\u{202e}\"}", Err("found \"a\\n\\u{202e}\"")),
            (
                "another's error",
                r#"{"names":"a\u001b\u202e"}"#,
                Err("invalid type: string \"a\\\\u{1b}\\\\u{202e}\", expected an array"),
            ),
        ];
        for (name, text, expected) in cases {
            let found = names(text.as_bytes());
            let found = found.map_err(|why| why.split_once(": ").map(|(_place, why)| why.to_owned()));
            assert_eq!(found, expected.map(str::to_owned).map_err(|why| Some(why.to_owned())), "{name}");
        }
        let misplaced = names(b"{\n \"x\": [1,\n  01]}");
        assert_eq!(misplaced, Err("line 3, column 4: invalid number".to_owned()));
        assert_eq!(names(b"{\"x\":\"\xff\"}"), Err("not UTF-8 at byte 6".to_owned()));
        // The reader's own limit on nesting is above ours, so that the stack is safe however deep the rest goes.
        assert!(names(nested(1_000_000).as_bytes()).unwrap_err().ends_with(deep));
    }
}
