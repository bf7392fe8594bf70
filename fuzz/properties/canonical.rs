//! Bytes as a JSON document and its canonical form: the library and [`slow`] agree on both.

use plimsoll::metadata::json::{Document, Error, Value, parse};

use super::slow::{self, Json};

pub fn hold(bytes: &[u8]) {
    let (value, plain) = match (parse(bytes), slow::parse(bytes)) {
        (Ok(value), Some(plain)) => (value, plain),
        (Err(_), None) => return,
        // What a short document may hold is far below what one needs to be too dense for its length.
        (Err(Error::Dense(most)), Some(plain)) => return assert!(plain.values() > most),
        // The last numbers before infinity: readers round them up or down.
        (Err(Error::Syntax(_)), Some(plain)) if is_huge(&plain) => return,
        (read, plain) => panic!("{read:?}, but read slowly {plain:?}"),
    };
    assert!(same(&value, &plain), "{value:?} is not {plain:?}");

    let expected = plain.canonical();
    assert_eq!(value.canonical().ok(), expected);
    let Some(canonical) = expected else { return assert_eq!(value.canonical(), Err(Error::Fraction)) };
    assert_eq!(is_canonical(bytes), Some(canonical == bytes.trim_ascii_end()));
    nothing_else_is_canonical(&canonical);

    // Raw control characters are what the canonical form has and JSON has not.
    match parse(&canonical) {
        Ok(again) => assert_eq!(again, value),
        Err(Error::Dense(_)) => {}
        Err(error) => assert!(canonical.iter().any(|byte| *byte < b' '), "{error}"),
    }
    // Written by another program, with other escapes and other white space, it is the same document.
    let other: serde_json::Value = serde_json::from_slice(bytes).expect("the slow reader took it");
    for written in [serde_json::to_vec(&other), serde_json::to_vec_pretty(&other)] {
        match parse(&written.expect("a document")) {
            Ok(again) => assert_eq!((again.canonical(), &again), (Ok(canonical.clone()), &value)),
            Err(error) => assert!(matches!(error, Error::Dense(_)), "{error}"),
        }
    }
}

fn is_huge(plain: &Json) -> bool {
    match plain {
        Json::Fraction(number) => number.abs() > 1e307,
        Json::Array(items) => items.iter().any(is_huge),
        Json::Object(members) => members.iter().any(|(_, value)| is_huge(value)),
        _ => false,
    }
}

fn same(value: &Value<'_>, plain: &Json) -> bool {
    match (value, plain) {
        (Value::Null, Json::Null) | (Value::Fraction(_), Json::Fraction(_)) => true,
        (Value::Bool(a), Json::Bool(b)) => a == b,
        (Value::Unsigned(n), Json::Integer(digits)) => n.to_string() == *digits,
        (Value::Negative(n), Json::Integer(digits)) => *n < 0 && n.to_string() == *digits,
        (Value::String(a), Json::String(b)) => a == b,
        (Value::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Json::Object(b)) => {
            let pairs = a.iter().zip(b);
            a.iter().len() == b.len() && pairs.into_iter().all(|((k, v), (key, plain))| k == key && same(v, plain))
        }
        _ => false,
    }
}

/// The form with a byte more, less or changed, at every place of a short one and at some of a long one.
fn nothing_else_is_canonical(canonical: &[u8]) {
    let look = |bytes: &[u8]| {
        // What is no document, or has no canonical form, is not looked at any further by anybody.
        let Some(plain) = slow::parse(bytes) else { return };
        let expected = plain.canonical().is_some_and(|canonical| canonical == bytes.trim_ascii_end());
        assert!(is_canonical(bytes).is_none_or(|is| is == expected));
    };
    look(canonical);
    for place in (0..canonical.len()).step_by(canonical.len() / 100 + 1) {
        let mut changed = canonical.to_vec();
        changed[place] ^= 1;
        look(&changed);
        changed[place] ^= 1;
        changed.insert(place, b' ');
        look(&changed);
    }
    look(&[canonical, b"\n"].concat());
}

/// What the library says of a document; `None` if it is none.
fn is_canonical(bytes: &[u8]) -> Option<bool> {
    Document::parse(bytes).ok().map(|document| document.is_canonical())
}
