//! Durations as people write them.

use chrono::TimeDelta;

/// A text that is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a duration such as 36h, 7d or 1d12h")]
pub struct NotADuration;

/// Reads one or more whole numbers, each with a unit: `90s`, `30m`, `36h`, `7d`, `2w`, `1d12h`.
///
/// # Errors
///
/// [`NotADuration`], also for one that is too long to be counted.
pub fn parse(text: &str) -> Result<TimeDelta, NotADuration> {
    let mut sum = TimeDelta::zero();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or(NotADuration)?;
        let (number, tail) = rest.split_at_checked(end).ok_or(NotADuration)?;
        let number: i64 = number.parse().map_err(|_| NotADuration)?;
        let mut chars = tail.chars();
        let part = match chars.next() {
            Some('s') => TimeDelta::try_seconds(number),
            Some('m') => TimeDelta::try_minutes(number),
            Some('h') => TimeDelta::try_hours(number),
            Some('d') => TimeDelta::try_days(number),
            Some('w') => TimeDelta::try_weeks(number),
            _ => None,
        };
        sum = part.and_then(|part| sum.checked_add(&part)).ok_or(NotADuration)?;
        rest = chars.as_str();
    }
    if text.is_empty() { Err(NotADuration) } else { Ok(sum) }
}

/// How long that is, in the largest unit of which it is at least two; one figure is enough to act on.
pub(crate) fn shown(seconds: i64) -> String {
    const UNITS: [(u64, &str); 4] = [(31_556_952, "years"), (86_400, "days"), (3600, "hours"), (60, "minutes")];
    let length = seconds.unsigned_abs();
    let figures = UNITS.iter().filter_map(|(unit, word)| Some((length.checked_div(*unit)?, *word)));
    let figure = figures.into_iter().find(|(figure, _)| *figure >= 2);
    let text = figure.map_or_else(|| format!("{length} seconds"), |(figure, word)| format!("{figure} {word}"));
    if seconds < 0 { format!("{text} ago") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("30m", Some(1800)),
            ("36h", Some(129_600)),
            ("7d", Some(604_800)),
            ("2w", Some(1_209_600)),
            ("1d12h", Some(129_600)),
            ("0s", Some(0)),
            ("", None),
            ("7", None),
            ("d", None),
            ("-1d", None),
            ("1.5h", None),
            ("1y", None),
            ("1d 2h", None),
            ("9223372036854775807w", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(parse(text).ok().map(|d| d.num_seconds()), seconds, "{text:?}");
        }
    }

    #[test]
    fn a_duration_is_one_figure() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7199, "119 minutes"),
            (7200, "2 hours"),
            (172_799, "47 hours"),
            (172_800, "2 days"),
            (63_113_903, "730 days"),
            (63_113_904, "2 years"),
            (-172_800, "2 days ago"),
            (i64::MIN, "292277024626 years ago"),
        ] {
            assert_eq!(shown(seconds), text, "{seconds}");
        }
    }
}
