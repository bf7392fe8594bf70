//! The order of versions, as each package system has it.
//!
//! For wording ("older", "newer") and for advisories, which speak of ranges. Never for equality: different texts can order equal (`1.0` and `1.0-0` with dpkg),
//! and such versions are not the same package.
//!
//! Each order is total, whatever the text: what a package system would refuse has its place too. Numbers are compared as text without leading zeros, so none is too
//! long.

use std::cmp::Ordering;

use super::package::Kind;

mod apk;
mod deb;
mod rpm;

/// Which of two whole versions, as [`Package::version`](super::package::Package::version) gives them, is the older one.
///
/// Takes time in proportion to their lengths.
#[must_use]
pub fn compare(kind: Kind, a: &str, b: &str) -> Ordering {
    match kind {
        Kind::Apk => apk::compare(a, b),
        Kind::Deb => deb::compare(a, b),
        Kind::Rpm => rpm::compare(a, b),
    }
}

/// A run of decimal digits by its value; no digit is 0. The order of the fields is the order of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Number<'a> {
    length: usize,
    digits: &'a [u8],
}

impl<'a> Number<'a> {
    fn new(digits: &'a [u8]) -> Self {
        let (_, digits) = run(digits, |byte| byte == b'0');
        Self { length: digits.len(), digits }
    }
}

/// The bytes at the front that satisfy `is`, and the rest.
fn run(text: &[u8], is: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let length = text.iter().position(|byte| !is(*byte)).unwrap_or(text.len());
    text.split_at_checked(length).unwrap_or((text, &[]))
}

/// `EPOCH:` at the front, if it is there, and the rest. Digits alone are an epoch, for dpkg and rpm alike.
fn epoch(version: &str) -> (Number<'_>, &str) {
    match version.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => (Number::new(epoch.as_bytes()), rest),
        _ => (Number::new(&[]), version),
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "of small numbers")]
mod tests {
    use super::*;

    /// Checks a row such as `1.0~ < 1.0 = 1.0-0 < 1.1`: every version against every other.
    pub(super) fn row(compare: impl Fn(&str, &str) -> Ordering, row: &str) {
        let mut versions: Vec<(usize, &str)> = Vec::new();
        let mut place = 0;
        for word in row.split(' ') {
            match word {
                "<" => place += 1,
                "=" => {}
                version => versions.push((place, version)),
            }
        }
        for (place_a, a) in &versions {
            for (place_b, b) in &versions {
                assert_eq!(compare(a, b), place_a.cmp(place_b), "{a} {b}, of {row}");
            }
        }
    }

    /// Versions of every kind and of none, made of the pieces that the orders treat differently. The same ones in every run.
    fn versions() -> Vec<String> {
        const PIECES: &[&str] = &[
            "0",
            "1",
            "9",
            "10",
            "00",
            "09",
            "18446744073709551616",
            "a",
            "b",
            "rc",
            "A",
            ".",
            "..",
            "-",
            "-0",
            "-r0",
            "-r1",
            "-r",
            ":",
            "0:",
            "1:",
            "~",
            "^",
            "+",
            "_",
            "_alpha",
            "_p",
            "_p1",
            "_pre2",
            "_foo",
            "~ab12",
            "é",
            "\0",
            " ",
        ];
        let mut state = 7_u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % bound
        };
        let mut versions: Vec<String> = PIECES.iter().map(|piece| (*piece).to_owned()).collect();
        versions.push(String::new());
        for _ in 0..160 {
            let length = 1 + below(6);
            versions.push((0..length).map(|_| PIECES[below(PIECES.len())]).collect());
        }
        versions
    }

    #[test]
    fn every_order_is_total() {
        let versions = versions();
        for kind in [Kind::Apk, Kind::Deb, Kind::Rpm] {
            // Sorted, any two stand as they compare, and so antisymmetry and transitivity hold for all of them.
            let mut sorted = versions.clone();
            sorted.sort_by(|a, b| compare(kind, a, b));
            for (at, a) in sorted.iter().enumerate() {
                assert_eq!(compare(kind, a, a), Ordering::Equal, "{kind} {a:?}");
                // Where the run of those equal to `a` ends, all that follow are greater.
                let mut expected = Ordering::Equal;
                for b in &sorted[at..] {
                    let order = compare(kind, a, b);
                    assert!(order == expected || order == Ordering::Less, "{kind} {a:?} {b:?}: {order:?}");
                    assert_eq!(compare(kind, b, a), order.reverse(), "{kind} {a:?} {b:?}");
                    expected = order;
                }
            }
        }
    }

    #[test]
    fn long_versions_take_no_longer_than_they_are() {
        for kind in [Kind::Apk, Kind::Deb, Kind::Rpm] {
            for piece in ["9", "0", "a", "1.", "~", "1a", "_p1"] {
                let long = format!("1{}", piece.repeat(1_000_000));
                assert_eq!(compare(kind, &long, &long), Ordering::Equal);
                assert_ne!(compare(kind, &long, "0"), Ordering::Equal);
            }
        }
    }
}
