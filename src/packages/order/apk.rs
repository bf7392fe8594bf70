//! apk's order, as apk-tools 3 has it [apk-package(5)]: `1.2.3a_rc1~hash-r4`.
//!
//! apk-tools 2 differs in components with a zero in front (`1.0` and `1.00`), and takes digits after a letter as a component. Both are as good as unknown among
//! packages.

use std::cmp::Ordering;

use super::{Number, run};

pub(super) fn compare(a: &str, b: &str) -> Ordering {
    Parts::of(a).cmp(Parts::of(b))
}

/// What stands at one place of a version. The order of the variants is the order of versions that are the same up to that place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    /// `_alpha`, `_beta`, `_pre`, `_rc`: before the version itself.
    Before(Suffix),
    /// What apk does not understand, to the end. To apk, two of these are equal; by their text they are at least not taken for each other.
    Invalid(&'a [u8]),
    End,
    Revision(Number<'a>),
    /// `~` and hexadecimal digits.
    Commit(&'a [u8]),
    SuffixNumber(Number<'a>),
    /// `_cvs`, `_svn`, `_git`, `_hg`, `_p`.
    After(Suffix),
    Letter(u8),
    /// A component after the first that starts with 0 is compared as text, and so comes before all that do not.
    Fraction(&'a [u8]),
    Digits(Number<'a>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Suffix {
    Alpha,
    Beta,
    Pre,
    Rc,
    Cvs,
    Svn,
    Git,
    Hg,
    P,
}

/// Where in a version the next part is: what may follow depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Start,
    Component,
    Letter,
    Suffix,
    SuffixNumber,
    Commit,
    Revision,
    Over,
}

/// The parts from the front; the last is [`Part::End`] or [`Part::Invalid`].
struct Parts<'a> {
    place: Place,
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        Self { place: Place::Start, rest: text.as_bytes() }
    }

    /// The part at the front, the place after it, and what follows; `None` if apk does not understand it.
    fn part(&self) -> Option<(Part<'a>, Place, &'a [u8])> {
        let (first, after) = match self.rest.split_first() {
            Some((first, after)) => (*first, after),
            None if self.place == Place::Start => return None,
            None => return Some((Part::End, Place::Over, self.rest)),
        };
        match first {
            _ if self.place == Place::Start => {
                let (number, rest) = number(self.rest)?;
                Some((Part::Digits(number), Place::Component, rest))
            }
            b'.' if self.place == Place::Component => {
                let (digits, rest) = run(after, |byte| byte.is_ascii_digit());
                let part = match digits.first()? {
                    b'0' => Part::Fraction(digits),
                    _ => Part::Digits(Number::new(digits)),
                };
                Some((part, Place::Component, rest))
            }
            b'a'..=b'z' if self.place == Place::Component => Some((Part::Letter(first), Place::Letter, after)),
            b'0'..=b'9' if self.place == Place::Suffix => {
                let (number, rest) = number(self.rest)?;
                Some((Part::SuffixNumber(number), Place::SuffixNumber, rest))
            }
            b'_' if self.place <= Place::SuffixNumber => {
                let (word, rest) = run(after, |byte| byte.is_ascii_lowercase());
                Some((suffix(word)?, Place::Suffix, rest))
            }
            b'~' if self.place < Place::Commit => {
                let (commit, rest) = run(after, |byte| byte.is_ascii_hexdigit());
                (!commit.is_empty()).then_some((Part::Commit(commit), Place::Commit, rest))
            }
            b'-' if self.place < Place::Revision => {
                let (number, rest) = number(after.strip_prefix(b"r")?)?;
                Some((Part::Revision(number), Place::Revision, rest))
            }
            _ => None,
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        if self.place == Place::Over {
            return None;
        }
        let (part, place, rest) = self.part().unwrap_or((Part::Invalid(self.rest), Place::Over, &[]));
        (self.place, self.rest) = (place, rest);
        Some(part)
    }
}

/// One digit or more.
fn number(text: &[u8]) -> Option<(Number<'_>, &[u8])> {
    let (digits, rest) = run(text, |byte| byte.is_ascii_digit());
    (!digits.is_empty()).then(|| (Number::new(digits), rest))
}

fn suffix(word: &[u8]) -> Option<Part<'static>> {
    Some(match word {
        b"alpha" => Part::Before(Suffix::Alpha),
        b"beta" => Part::Before(Suffix::Beta),
        b"pre" => Part::Before(Suffix::Pre),
        b"rc" => Part::Before(Suffix::Rc),
        b"cvs" => Part::After(Suffix::Cvs),
        b"svn" => Part::After(Suffix::Svn),
        b"git" => Part::After(Suffix::Git),
        b"hg" => Part::After(Suffix::Hg),
        b"p" => Part::After(Suffix::P),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    /// Each row is ascending, `=` joins equal ones. Most are pairs that apk-tools tests itself with.
    #[test]
    fn versions_order_as_apk_has_them() {
        for line in [
            "1.0_alpha < 1.0_beta < 1.0_pre < 1.0_rc < 1.0 < 1.0-r0 < 1.0_cvs < 1.0_svn < 1.0_git < 1.0_hg < 1.0_p < 1.0a < 1.0.1",
            "1.0-r9 < 1.0-r10",
            "1.0_p9-r0 < 1.0_p10-r0",
            "0.1.0_alpha_pre2 < 0.1.0_alpha < 0.1.0_alpha2 < 0.1.3_alpha",
            "4_beta < 23_foo",
            "1.0 < 1.0bc",
            "1.06-r6 < 006 < 013 < 014-r1",
            "0.12 < 0.13_beta1 < 0.13_beta5 < 0.13",
            "2.3.0b-r1 < 2.3.0b-r4",
            "0.7.18-r2 < 0.17-r6",
            "1.0.2-r1 < 1.0.3-r2 < 1.02 < 1.03-r1 < 1.1 < 1.1.1-r1 < 1.12.12-r2",
            "1.07 < 1.07-r1 < 1.07.5 < 1.19",
            "0.15.1b < 0.15.1b-r2 < 1.0-r1 < 1.2.2-r1",
            "2.1_pre20 < 2.1_pre26 < 2.1 < 5.1_p4 < 5.7-r2",
            "02.08.01b < 2.10.0",
            "1.6.8_p9-r2 < 1.6.8_p12-r1",
            "2.9.11_pre20051101 < 2.9.11_pre20051101-r2 < 2.9.11_pre20061021-r1 < 2.9.11",
            "0.2.10-r2 < 0.59s-r11 < 0.65",
            "1.3_pre1-r1 < 1.3-r0 < 1.3.1-r0 < 1.3.2",
            "0.20070118 < 0.20070207_rc1 < 1.0",
            "1.0.0_pre20191002222144-r0 < 1.0.0_pre20210530193627-r0",
            "1.02.07 < 1.02.10-r1",
            "0.0.16 < 0.0.25 < 0.01 < 0.06 < 0.17",
            "2.0_rc99999999999999999999 < 2.0_rc100000000000000000000",
            "1.36.1-r2 < 1.36.1-r29 < 1.36.2-r0",
            "1.0~ab12 < 1.0~ab13 < 1.0_p",
        ] {
            row(compare, line);
        }
    }
}
