//! rpm's order [rpm-version(7)].

use std::cmp::Ordering;

use super::{Number, epoch, run};

/// Epoch, then version, then release. A missing release comes before every other, so that an advisory's bound without one is not above a package that has one.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let ((epoch_a, a), (epoch_b, b)) = (epoch(a), epoch(b));
    let ((version_a, release_a), (version_b, release_b)) = (release(a), release(b));
    let order = epoch_a.cmp(&epoch_b).then_with(|| Parts::of(version_a).cmp(Parts::of(version_b)));
    order.then_with(|| match (release_a, release_b) {
        (Some(a), Some(b)) => Parts::of(a).cmp(Parts::of(b)),
        (a, b) => a.is_some().cmp(&b.is_some()),
    })
}

/// The release is what follows the last hyphen.
fn release(version: &str) -> (&str, Option<&str>) {
    version.rsplit_once('-').map_or((version, None), |(version, release)| (version, Some(release)))
}

/// What is compared of a version: the order of the variants is rpm's. All else separates parts, and is not compared.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    Tilde,
    End,
    Caret,
    Letters(&'a [u8]),
    Digits(Number<'a>),
}

/// The parts from the front, and one [`Part::End`].
struct Parts<'a>(Option<&'a [u8]>);

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        Self(Some(text.as_bytes()))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let (_, text) = run(self.0?, |byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'~' | b'^'));
        let (part, rest) = match text.split_first() {
            None => (Part::End, None),
            Some((b'~', rest)) => (Part::Tilde, Some(rest)),
            Some((b'^', rest)) => (Part::Caret, Some(rest)),
            Some((first, _)) if first.is_ascii_digit() => {
                let (digits, rest) = run(text, |byte| byte.is_ascii_digit());
                (Part::Digits(Number::new(digits)), Some(rest))
            }
            Some(_) => {
                let (letters, rest) = run(text, |byte| byte.is_ascii_alphabetic());
                (Part::Letters(letters), Some(rest))
            }
        };
        self.0 = rest;
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    /// Each row is ascending, `=` joins equal ones. Measured with rpm 4.18.
    #[test]
    fn versions_order_as_rpm_has_them() {
        for line in [
            "1.0~rc1 < 1.0~rc1^git1 < 1.0 < 1.0^git1~pre < 1.0^git1 < 1.0.1",
            "1.0^~1 < 1.0^",
            "1.0 < 1.0.0",
            "1.0 < 1.0a < 1.0.1",
            "2a < 2.0",
            "a < 1",
            "FC5 < fc4",
            "10xyz < 10.1xyz",
            "1.0 = 1_0 = 1..0 = 1.0.",
            "1.09 = 1.9",
            "1.1α = 1.1β",
            "9-1 < 1:1.0-1 = 01:1.0-1 < 1:1.0-1.el9 < 1:1.0-2 < 1:1.0.1-1 < 2:0-0",
            "1.0-9 = 0:1.0-9 < 1.0-10",
            "1.0 < 1.0-1",
            "5.14.0-427.13.1.el9_4 < 5.14.0-427.16.1.el9_4",
        ] {
            row(compare, line);
        }
    }
}
