//! How severe advisories say a vulnerability is.

use std::fmt;
use std::str::FromStr;

use cvss::Cvss;

/// How severe a vulnerability is: the highest of what its advisory states.
///
/// The order is that of severity, and an unknown one is above all others: nobody said that it is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A base score below 4; `low`, `negligible`, `unimportant`.
    Low,
    /// A base score from 4.0; `medium`, `moderate`.
    Medium,
    /// A base score from 7.0; `high`, `important`.
    High,
    /// A base score from 9.0; `critical`.
    Critical,
    /// The advisory states none, or none that is understood.
    Unknown,
}

impl Severity {
    /// The word for it: `low`, `medium`, `high`, `critical`, `unknown`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// What a distribution's word means. `None` for words that say nothing of severity, such as Debian's `not yet assigned`.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        // Debian marked urgencies that nobody had looked at closely: `low**`.
        match word.trim_end_matches('*').to_ascii_lowercase().as_str() {
            "low" | "negligible" | "unimportant" | "none" => Some(Self::Low),
            "medium" | "moderate" => Some(Self::Medium),
            "high" | "important" => Some(Self::High),
            "critical" => Some(Self::Critical),
            _ => None,
        }
    }

    /// The severity of a CVSS vector, of version 2.0, 3.0, 3.1 or 4.0. `None` if it is not one, or not a complete one.
    ///
    /// Of versions 2 and 3 it is the base score. A vector of version 4 has one score; metrics of threat and environment in it count.
    pub(crate) fn from_vector(vector: &str) -> Option<Self> {
        if vector.len() > VECTOR_MAX {
            return None;
        }
        let version_3 = vector.starts_with("CVSS:3.");
        if version_3 && !V3_BASE.iter().all(|metric| vector.contains(metric)) {
            return None;
        }
        // The rating scale of version 3, which version 4 has too; version 2 has none of its own.
        Some(match vector.parse::<Cvss>().ok()?.score() {
            score if score >= 9.0 => Self::Critical,
            score if score >= 7.0 => Self::High,
            score if score >= 4.0 => Self::Medium,
            _ => Self::Low,
        })
    }
}

/// Above the longest vector: one of version 4 with all 32 metrics has below 200 characters.
const VECTOR_MAX: usize = 512;
/// The metrics without which a vector of version 3 has no base score [CVSS 3.1, 2]. The parser does not insist.
const V3_BASE: [&str; 8] = ["/AV:", "/AC:", "/PR:", "/UI:", "/S:", "/C:", "/I:", "/A:"];

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// From which severity on a vulnerability is one too many: `none`, `low`, `medium`, `high`, `critical`.
///
/// A vulnerability of unknown severity is too many at every level but `none`, at which nothing is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum FailOn {
    /// Vulnerabilities are reported and decide nothing.
    #[default]
    Nothing,
    /// This severity and those above.
    From(Severity),
}

impl FailOn {
    /// Whether a vulnerability of this severity is one too many.
    #[must_use]
    pub fn fails(self, severity: Severity) -> bool {
        match self {
            Self::Nothing => false,
            Self::From(least) => severity >= least,
        }
    }

    /// The word for it: `none`, `low`, `medium`, `high`, `critical`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::From(least) => least.as_str(),
        }
    }
}

/// A word that is none of [`FailOn`]'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected none, low, medium, high or critical")]
pub struct NotALevel;

impl FromStr for FailOn {
    type Err = NotALevel;

    fn from_str(word: &str) -> Result<Self, NotALevel> {
        match word {
            "none" => Ok(Self::Nothing),
            "low" => Ok(Self::From(Severity::Low)),
            "medium" => Ok(Self::From(Severity::Medium)),
            "high" => Ok(Self::From(Severity::High)),
            "critical" => Ok(Self::From(Severity::Critical)),
            _ => Err(NotALevel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_has_the_severity_of_its_score() {
        use Severity::{Critical, High, Low, Medium};
        for (vector, expected) in [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Some(Critical)), // 9.8
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", Some(High)),     // 7.5
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:H/I:L/A:N", Some(High)),     // 8.2
            ("CVSS:3.1/AV:L/AC:L/PR:N/UI:R/S:U/C:N/I:N/A:H", Some(Medium)),   // 5.5
            ("CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:C/C:H/I:N/A:N", Some(Medium)),   // 6.8
            ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:L/I:N/A:N", Some(Low)),      // 3.3
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", Some(Low)),      // 0.0
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H/E:U/RL:O/RC:U", Some(High)), // 7.5, whatever the temporal score is
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:N", Some(High)), // 8.7
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", Some(Critical)), // 9.3
            ("CVSS:4.0/AV:L/AC:L/AT:N/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", Some(High)), // 8.5
            ("AV:L/AC:M/Au:N/C:N/I:P/A:C", Some(Medium)),                               // 5.4
            ("AV:N/AC:L/Au:N/C:C/I:C/A:C", Some(Critical)),                             // 10.0
            // One metric short, and what is no vector at all.
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H", None),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N", None),
            ("AV:N/AC:L/Au:N/C:C/I:C", None),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:X", None),
            ("CVSS:5.0/AV:N", None),
            ("CVSS:3.1", None),
            ("9.8", None),
            ("", None),
        ] {
            assert_eq!(Severity::from_vector(vector), expected, "{vector}");
        }
        assert_eq!(Severity::from_vector(&format!("CVSS:3.1{}", "/A:N".repeat(1_000))), None);
    }

    #[test]
    fn an_unknown_severity_fails_at_every_level() {
        for (word, fails) in [
            ("none", [false; 5]),
            ("low", [true; 5]),
            ("medium", [false, true, true, true, true]),
            ("high", [false, false, true, true, true]),
            ("critical", [false, false, false, true, true]),
        ] {
            let level: FailOn = word.parse().unwrap();
            let severities = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical, Severity::Unknown];
            assert_eq!(severities.map(|severity| level.fails(severity)), fails, "{word}");
        }
        for word in ["", "High", "unknown", "all"] {
            assert_eq!(word.parse::<FailOn>(), Err(NotALevel));
        }
    }

    #[test]
    fn words_of_distributions_are_known() {
        for (word, severity) in [
            ("Moderate", Some(Severity::Medium)),
            ("IMPORTANT", Some(Severity::High)),
            ("low**", Some(Severity::Low)),
            ("unimportant", Some(Severity::Low)),
            ("critical", Some(Severity::Critical)),
            ("not yet assigned", None),
            ("end-of-life", None),
            ("untriaged", None),
            ("", None),
        ] {
            assert_eq!(Severity::from_word(word), severity, "{word}");
        }
    }

    /// The scores are another crate's: whatever parses has one, and nothing makes it panic.
    #[test]
    fn no_vector_is_too_strange() {
        const METRICS: [(&str, &str); 33] = [
            ("AV", "NALPX"),
            ("AC", "LHMX"),
            ("AT", "NPX"),
            ("PR", "NLHX"),
            ("UI", "NRPAX"),
            ("VC", "HLN"),
            ("VI", "HLN"),
            ("VA", "HLN"),
            ("SC", "HLN"),
            ("SI", "HLNS"),
            ("SA", "HLNS"),
            ("S", "UCNPX"),
            ("C", "NLHPC"),
            ("I", "NLHPC"),
            ("A", "NLHPC"),
            ("Au", "MSN"),
            ("E", "XHFPUA"),
            ("RL", "XOTWU"),
            ("RC", "XURC"),
            ("CR", "XHML"),
            ("IR", "XHML"),
            ("AR", "XHML"),
            ("MAV", "XNALP"),
            ("MAC", "XLH"),
            ("MAT", "XNP"),
            ("MPR", "XNLH"),
            ("MUI", "XNRPA"),
            ("MVC", "XHLN"),
            ("MVI", "XHLN"),
            ("MVA", "XHLN"),
            ("MSC", "XHLN"),
            ("MSI", "XHLNS"),
            ("MSA", "XHLNS"),
        ];
        const BASES: [&str; 4] = [
            "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:N",
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            "AV:N/AC:L/Au:N/C:C/I:C/A:C",
            "CVSS:4.0",
        ];
        let mut state = 3_u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap().checked_rem(bound).unwrap()
        };
        let mut understood = 0_usize;
        for _ in 0..20_000 {
            let mut vector = BASES[below(BASES.len())].to_owned();
            for _ in 0..below(4) {
                let (metric, values) = METRICS[below(METRICS.len())];
                let value = values.chars().nth(below(values.len())).unwrap();
                let before = vector.split('/').find(|part| part.split(':').next() == Some(metric)).map(str::to_owned);
                vector = match before {
                    Some(before) => vector.replace(&before, &format!("{metric}:{value}")),
                    None => format!("{vector}/{metric}:{value}"),
                };
            }
            understood = understood.saturating_add(usize::from(Severity::from_vector(&vector).is_some()));
        }
        assert!(understood > 5_000, "{understood}");
    }
}
