//! JSON documents of up to some hundred megabytes, read into structures without being built as values first: one reading of a document, or none.
//!
//! What readers are known to differ in is refused everywhere, in what is skipped too: a key that occurs twice in one object, NUL in a string, deep nesting, bytes that
//! are not UTF-8, text after the document.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::Unreadable;
use crate::limits::JSON_DEPTH;
use crate::text::{escaped, quoted};

/// The members of one object. Objects of the formats read here have a few dozen.
const MEMBERS_MAX: usize = 65_536;

/// Reads one document.
///
/// # Errors
///
/// [`Unreadable`] if it is over `most` bytes, is not strict JSON, or has not the shape of `T`; `what` is the file's name.
pub(super) fn read<'de, T: Deserialize<'de>>(what: &str, bytes: &'de [u8], most: usize) -> Result<T, Unreadable> {
    if bytes.len() > most {
        return Err(Unreadable::new(format!("{what}: longer than {most} bytes")));
    }
    let unreadable = |error: serde_json::Error| Unreadable::new(format!("{what}: {}", escaped(&error.to_string())));
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Strict { depth: JSON_DEPTH }.deserialize(&mut reader).map_err(unreadable)?;
    reader.end().map_err(unreadable)?;
    serde_json::from_slice(bytes).map_err(unreadable)
}

/// Looks at every value and keeps none.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        depth.map(|depth| Self { depth }).ok_or_else(|| E::custom(format!("nested deeper than {JSON_DEPTH} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        without_nul(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut keys: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(Key(key)) = map.next_key()? {
            without_nul(&key)?;
            if keys.len() == MEMBERS_MAX {
                return Err(de::Error::custom(format!("an object with more than {MEMBERS_MAX} members")));
            }
            if let Some(key) = keys.replace(key) {
                return Err(de::Error::custom(format!("the key {} occurs twice in one object", quoted(&key))));
            }
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

fn without_nul<E: de::Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') { Err(E::custom("a string holds NUL")) } else { Ok(()) }
}

/// A key, borrowed where it stands in the document as it is.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        reader.deserialize_str(KeyVisitor)
    }
}

/// An array of at most `MAX` values; `null` is an empty one, as some writers have it.
#[derive(Debug)]
pub(super) struct List<T, const MAX: usize>(pub(super) Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct ListVisitor<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
            type Value = List<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(List::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    if values.len() == MAX {
                        return Err(de::Error::custom(format!("an array of more than {MAX} values")));
                    }
                    values.push(value);
                }
                Ok(List(values))
            }
        }
        reader.deserialize_any(ListVisitor(PhantomData))
    }
}

/// Many short texts in one: a text takes a byte more than its length, where a `String` takes forty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Texts(String);

impl Texts {
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator('\0')
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In bytes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Without NUL, which the documents have been checked for.
    pub(super) fn push(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\0');
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings")
    }

    fn visit_unit<E>(self) -> Result<Texts, E> {
        Ok(Texts::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
        let mut texts = Texts::default();
        while seq.next_element_seed(Push(&mut texts))?.is_some() {}
        texts.0.shrink_to_fit();
        Ok(texts)
    }
}

struct Push<'t>(&'t mut Texts);

impl<'de> DeserializeSeed<'de> for Push<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Push<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;

    #[test]
    fn what_readers_differ_in_is_refused_everywhere() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for (document, fine) in [
            (r#"{"a":{"b":1},"b":[1.5,-1,true,null,"x"]}"#.to_owned(), true),
            (r#"{"a":{"b":1,"b":1}}"#.to_owned(), false),
            (r#"[{"a":1,"\u0061":1}]"#.to_owned(), false),
            (r#"["\u0001"]"#.to_owned(), true),
            (r#"["\u0000"]"#.to_owned(), false),
            (r#"[{"\u0000":1}]"#.to_owned(), false),
            (nested(JSON_DEPTH), true),
            (nested(JSON_DEPTH + 1), false),
            ("[] ".to_owned(), true),
            ("[] []".to_owned(), false),
            ("[".to_owned(), false),
            (r#"["\ud800"]"#.to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(read::<IgnoredAny>("x", document.as_bytes(), 1_000_000).is_ok(), fine, "{document}");
        }
        assert!(read::<IgnoredAny>("x", b"[\"\xff\"]", 1_000_000).is_err());
        let members = |count: usize| {
            let members: Vec<String> = (0..count).map(|at| format!("\"{at}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(read::<IgnoredAny>("x", members(MEMBERS_MAX).as_bytes(), 1_000_000).is_ok());
        assert!(read::<IgnoredAny>("x", members(MEMBERS_MAX + 1).as_bytes(), 1_000_000).is_err());
    }

    #[test]
    fn arrays_are_bounded_and_texts_come_back() {
        assert_eq!(read::<List<u8, 2>>("x", b"[1,2]", 1_000_000).unwrap().0, [1, 2]);
        assert!(read::<List<u8, 2>>("x", b"[1,2,3]", 1_000_000).is_err());
        assert!(read::<List<u8, 2>>("x", b"null", 1_000_000).unwrap().0.is_empty());
        for (document, expected) in
            [(r#"["a","","b"]"#, &["a", "", "b"][..]), ("[]", &[]), ("null", &[]), (r#"[""]"#, &[""])]
        {
            assert_eq!(
                read::<Texts>("x", document.as_bytes(), 1_000_000).unwrap().iter().collect::<Vec<_>>(),
                expected
            );
        }
        assert!(read::<Texts>("x", b"[1]", 1_000_000).is_err());
        assert!(read::<Texts>("x", b"[]", 2).is_ok());
        assert!(read::<Texts>("x", b"[] ", 2).is_err());
    }
}
