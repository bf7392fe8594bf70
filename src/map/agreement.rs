//! Which repositories agree on a target: a pure function of what each says.
//!
//! Two agree if they list the same length and have a hash algorithm in common, and no hash differs. They contradict each other if length or
//! a hash differs. Neither is the case where they list different algorithms only; then nothing shows that they mean the same file.

use std::collections::BTreeSet;

use crate::digest::{Sha256, Sha512};

/// What one repository says about a target, and the keys that have a say in it.
#[derive(Debug, Clone)]
pub(super) struct Statement<K> {
    pub(super) length: u64,
    pub(super) sha256: Option<Sha256>,
    pub(super) sha512: Option<Sha512>,
    pub(super) keys: BTreeSet<K>,
}

/// The places of those that agree with each other, have no key in common and contradict nobody among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Agreement {
    /// As many as must, and no others as many that contradict them.
    Reached(Vec<usize>),
    /// Too few, or two groups of enough: some say one thing and some another.
    Contradicted,
    /// Too few, and nobody contradicts anybody.
    TooFew(Vec<usize>),
}

impl<K: Ord> Statement<K> {
    pub(super) fn contradicts(&self, other: &Self) -> bool {
        self.length != other.length || self.same_hashes(other).contains(&Some(false))
    }

    fn agrees_with(&self, other: &Self) -> bool {
        !self.contradicts(other) && self.same_hashes(other).contains(&Some(true))
    }

    /// For each algorithm that both list, whether the hashes are the same.
    fn same_hashes(&self, other: &Self) -> [Option<bool>; 2] {
        let sha256 = self.sha256.zip(other.sha256).map(|(ours, theirs)| ours == theirs);
        let sha512 = self.sha512.zip(other.sha512).map(|(ours, theirs)| ours == theirs);
        [sha256, sha512]
    }

    pub(super) fn shares_a_key_with(&self, other: &Self) -> bool {
        !self.keys.is_disjoint(&other.keys)
    }
}

/// Counts who agrees. `threshold` is at least 1.
pub(super) fn agreement<K: Ord>(statements: &[&Statement<K>], threshold: usize) -> Agreement {
    let groups: Vec<Vec<usize>> = (0..statements.len()).map(|first| group(statements, first)).collect();
    // The largest; of several, the first.
    let Some(best) = groups.iter().rev().max_by_key(|group| group.len()) else { return Agreement::TooFew(Vec::new()) };
    let reached = best.len() >= threshold;
    let rivals: Vec<&Vec<usize>> = groups.iter().filter(|group| !reached || group.len() >= threshold).collect();
    let at = |place: &usize| statements.get(*place).copied();
    let contradict = |(a, b): (&[usize], &[usize])| {
        a.iter().filter_map(at).any(|a| b.iter().filter_map(at).any(|b| a.contradicts(b)))
    };
    let mut pairs = rivals.iter().flat_map(|a| rivals.iter().map(|b| (a.as_slice(), b.as_slice())));
    let contradicted = pairs.any(contradict);
    match (contradicted, reached) {
        (true, _) => Agreement::Contradicted,
        (false, true) => Agreement::Reached(best.clone()),
        (false, false) => Agreement::TooFew(best.clone()),
    }
}

/// The one at `first` and, in order, those that agree with it and can count besides all that are in already.
fn group<K: Ord>(statements: &[&Statement<K>], first: usize) -> Vec<usize> {
    let Some(&head) = statements.get(first) else { return Vec::new() };
    let mut members = vec![head];
    let mut places = vec![first];
    for (place, &statement) in statements.iter().enumerate().filter(|(place, _)| *place != first) {
        let fits = |member: &&Statement<K>| !statement.contradicts(member) && !statement.shares_a_key_with(member);
        if statement.agrees_with(head) && members.iter().all(fits) {
            members.push(statement);
            places.push(place);
        }
    }
    places.sort_unstable();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A statement in few letters: `a12` lists the SHA-256 of "a" and is behind keys 1 and 2, `A1` its SHA-512, `aA1` both, `a!1` has
    /// another length.
    fn statement(text: &str) -> Statement<char> {
        let letter = |wanted: fn(&char) -> bool| text.chars().find(wanted).map(|c| c.to_ascii_lowercase().to_string());
        Statement {
            length: if text.contains('!') { 2 } else { 1 },
            sha256: letter(char::is_ascii_lowercase).map(|c| Sha256::of(c.as_bytes())),
            sha512: letter(char::is_ascii_uppercase).map(|c| Sha512::of(c.as_bytes())),
            keys: text.chars().filter(char::is_ascii_digit).collect(),
        }
    }

    #[test]
    fn as_many_as_must_say_the_same_and_no_others_as_many_something_else() {
        let reached = |places: &[usize]| Agreement::Reached(places.to_vec());
        let too_few = |places: &[usize]| Agreement::TooFew(places.to_vec());
        let rows: &[(&str, usize, Agreement)] = &[
            ("", 1, too_few(&[])),
            ("a1", 1, reached(&[0])),
            ("a1", 2, too_few(&[0])),
            ("a1 a2", 2, reached(&[0, 1])),
            ("a1 b2", 2, Agreement::Contradicted),
            ("a1 a!2", 2, Agreement::Contradicted),
            // Order does not decide between two that would each do.
            ("a1 b2", 1, Agreement::Contradicted),
            ("a1 a2 b3", 2, reached(&[0, 1])),
            ("b3 a1 a2", 2, reached(&[1, 2])),
            ("a1 a2 b3", 3, Agreement::Contradicted),
            ("a1 a2 b3 b4", 2, Agreement::Contradicted),
            ("a1 a2 b3 b4", 3, Agreement::Contradicted),
            ("a1 a2 a3 b4 b5", 3, reached(&[0, 1, 2])),
            // One key counts once.
            ("a1 a1", 2, too_few(&[0])),
            ("a12 a23", 2, too_few(&[0])),
            ("a1 a1", 1, reached(&[0])),
            ("a1 a1 a2", 2, reached(&[0, 2])),
            // One that puts the keys of others beside its own shuts out none but itself.
            ("a123 a1 a2", 2, reached(&[1, 2])),
            ("a1 a123 a2", 2, reached(&[0, 2])),
            ("a1 b1", 1, Agreement::Contradicted),
            // Algorithms: a common one is needed, and no known one may differ.
            ("A1 A2", 2, reached(&[0, 1])),
            ("a1 A2", 2, too_few(&[0])),
            ("aA1 A2", 2, reached(&[0, 1])),
            ("aA1 aB2", 2, Agreement::Contradicted),
            ("a1 A2 aA3", 3, reached(&[0, 1, 2])),
            ("aA1 aB2 a3", 2, Agreement::Contradicted),
            ("aA1 aB2 a3", 3, Agreement::Contradicted),
            // One that agrees with a member and contradicts another stays out, and does not spoil the group.
            ("aA1 aA2 aB3 a4", 3, reached(&[0, 1, 3])),
            // Nobody can be compared with the first, but the others contradict each other.
            ("A1 a2 b3", 1, Agreement::Contradicted),
            ("A1 a2 b3", 3, Agreement::Contradicted),
        ];
        for (texts, threshold, expected) in rows {
            let statements: Vec<_> = texts.split_whitespace().map(statement).collect();
            assert_eq!(
                agreement(&statements.iter().collect::<Vec<_>>(), *threshold),
                *expected,
                "{texts}, {threshold} must agree"
            );
        }
    }
}
