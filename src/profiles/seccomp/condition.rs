//! What a rule demands of one argument, and what of it can be shown.
//!
//! The kernel hands a filter each argument as 64 bits, those of a 32-bit architecture with zeros above. libseccomp compares all 64 on a 64-bit architecture, and the lower
//! 32 on a 32-bit one. What follows from comparing 32 bits with a value of more is left open here: of a fetched profile such a condition is taken to hold, of a baseline not to.

use std::fmt;

/// How many bits of an argument are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Bits32,
    Bits64,
}

impl Width {
    fn most(self) -> u64 {
        match self {
            Self::Bits32 => u64::from(u32::MAX),
            Self::Bits64 => u64::MAX,
        }
    }
}

/// A comparison of an argument with a value [seccomp_rule_add(3)].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Ne(u64),
    Lt(u64),
    Le(u64),
    Eq(u64),
    Ge(u64),
    Gt(u64),
    /// The argument's bits under the mask are these.
    Masked {
        mask: u64,
        value: u64,
    },
}

/// A comparison, with the place of the argument: 0 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) test: Test,
}

impl Test {
    /// Whether an argument passes.
    pub(super) fn holds(self, argument: u64) -> bool {
        match self {
            Self::Ne(value) => argument != value,
            Self::Lt(value) => argument < value,
            Self::Le(value) => argument <= value,
            Self::Eq(value) => argument == value,
            Self::Ge(value) => argument >= value,
            Self::Gt(value) => argument > value,
            // As libseccomp does, which takes no account of bits outside the mask.
            Self::Masked { mask, value } => argument & mask == value & mask,
        }
    }

    /// Whether it says something of arguments of this width that is the same for every version of libseccomp.
    pub(super) fn is_certain(self, width: Width) -> bool {
        let fits = |value: u64| value <= width.most();
        match self {
            Self::Ne(v) | Self::Lt(v) | Self::Le(v) | Self::Eq(v) | Self::Ge(v) | Self::Gt(v) => fits(v),
            Self::Masked { mask, value } => fits(mask) && fits(value),
        }
    }

    /// The least and the greatest argument that may pass; `None` if none passes.
    fn range(self, width: Width) -> Option<(u64, u64)> {
        let most = width.most();
        let (low, high) = match self {
            Self::Ne(_) => (0, most),
            Self::Lt(value) => (0, value.checked_sub(1)?),
            Self::Le(value) => (0, value),
            Self::Eq(value) => (value, value),
            Self::Ge(value) => (value, most),
            Self::Gt(value) => (value.checked_add(1)?, most),
            Self::Masked { mask, value } => (value & mask, (value & mask) | (most & !mask)),
        };
        (low <= high && high <= most).then_some((low, high))
    }

    /// Whether every argument that passes this passes `other` as well. "No" if it cannot be shown.
    pub(super) fn implies(self, other: Self, width: Width) -> bool {
        if !self.is_certain(width) || !other.is_certain(width) {
            return false;
        }
        let Some((low, high)) = self.range(width) else { return true };
        if low == high {
            return other.holds(low);
        }
        match other {
            Self::Ne(value) => !self.holds(value),
            Self::Masked { mask, value } => match self {
                Self::Masked { mask: own_mask, value: own } => mask & !own_mask == 0 && own & mask == value & mask,
                Self::Ne(_) => mask == 0,
                // The bits above those that differ somewhere between the two ends.
                _ => mask & below(low ^ high) == 0 && low & mask == value & mask,
            },
            _ => other.range(width).is_some_and(|(least, greatest)| least <= low && high <= greatest),
        }
    }

    /// Whether no argument passes both. "No" if it cannot be shown.
    pub(super) fn excludes(self, other: Self, width: Width) -> bool {
        if !self.is_certain(width) || !other.is_certain(width) {
            return false;
        }
        let (Some((low, high)), Some((least, greatest))) = (self.range(width), other.range(width)) else { return true };
        if low == high {
            return !other.holds(low);
        }
        if least == greatest {
            return !self.holds(least);
        }
        match (self, other) {
            (Self::Masked { mask, value }, Self::Masked { mask: other_mask, value: other }) => {
                (value ^ other) & mask & other_mask != 0
            }
            _ => high < least || greatest < low,
        }
    }
}

/// All bits up to the highest that is set.
fn below(bits: u64) -> u64 {
    u64::MAX.checked_shr(bits.leading_zeros()).unwrap_or(0)
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.argument;
        match self.test {
            Test::Ne(value) => write!(f, "argument {place} is not {value}"),
            Test::Lt(value) => write!(f, "argument {place} is below {value}"),
            Test::Le(value) => write!(f, "argument {place} is at most {value}"),
            Test::Eq(value) => write!(f, "argument {place} is {value}"),
            Test::Ge(value) => write!(f, "argument {place} is at least {value}"),
            Test::Gt(value) => write!(f, "argument {place} is above {value}"),
            Test::Masked { mask, value } => {
                write!(f, "argument {place} under the mask {mask:#x} is {:#x}", value & mask)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All tests with values of three bits, where every argument of four bits can be tried; wider ones behave alike.
    fn small() -> Vec<Test> {
        let mut tests = Vec::new();
        for value in [0, 1, 2, 5, 7, 8, 15, u64::from(u32::MAX), u64::MAX] {
            tests.extend([
                Test::Ne(value),
                Test::Lt(value),
                Test::Le(value),
                Test::Eq(value),
                Test::Ge(value),
                Test::Gt(value),
            ]);
            tests.extend([0, 1, 6, 8, u64::MAX].map(|mask| Test::Masked { mask, value }));
        }
        tests
    }

    #[test]
    fn what_is_claimed_of_two_tests_holds_for_every_argument() {
        let mut shown = 0;
        for width in [Width::Bits32, Width::Bits64] {
            let top = width.most();
            let arguments: Vec<u64> = (0..40).chain([top - 9, top - 8, top - 1, top]).collect();
            for a in small() {
                for b in small() {
                    if a.implies(b, width) {
                        shown += 1;
                        assert!(arguments.iter().all(|v| !a.holds(*v) || b.holds(*v)), "{a:?} implies {b:?}");
                    }
                    if a.excludes(b, width) {
                        assert!(arguments.iter().all(|v| !a.holds(*v) || !b.holds(*v)), "{a:?} excludes {b:?}");
                        assert!(b.excludes(a, width), "{a:?} {b:?}");
                    }
                }
            }
        }
        assert!(shown > 2_000, "{shown}");
    }

    #[test]
    fn what_holds_for_every_argument_is_mostly_seen() {
        let (ne, eq) = (Test::Ne(40), Test::Eq(2));
        let clone = Test::Masked { mask: 0x7e02_0000, value: 0 };
        for (a, b, shown) in [
            (eq, ne, true),
            (ne, ne, true),
            (Test::Lt(40), ne, true),
            (Test::Le(40), ne, false),
            (Test::Gt(40), ne, true),
            (Test::Masked { mask: 1, value: 1 }, ne, true),
            (Test::Masked { mask: 8, value: 8 }, ne, false),
            (clone, clone, true),
            (Test::Masked { mask: 0x7e02_0001, value: 0 }, clone, true),
            (Test::Masked { mask: 0x7c02_0000, value: 0 }, clone, false),
            (Test::Eq(0x11), clone, true),
            (Test::Eq(0x1000_0000), clone, false),
            (Test::Lt(0x2_0000), clone, true),
            (Test::Le(0x2_0000), clone, false),
            (Test::Lt(3), Test::Le(2), true),
            (Test::Lt(3), Test::Le(1), false),
            (Test::Lt(0), Test::Eq(9), true),
        ] {
            assert_eq!(a.implies(b, Width::Bits64), shown, "{a:?} {b:?}");
        }
        // 2^32 + 40 looks like 40 to a comparison of 32 bits.
        assert!(Test::Eq((1 << 32) + 40).implies(ne, Width::Bits64));
        assert!(!Test::Eq((1 << 32) + 40).implies(ne, Width::Bits32));
    }
}
