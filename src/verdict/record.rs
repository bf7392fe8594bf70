//! The verdict as one line of a record that is kept: the JSON of the verdict, with when it was reached and by what.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::Verdict;
use super::json::{Json, without_control};

/// What a line of a record stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The archive is trusted, and its images are about to be handed on. A line [`Verdict`](Self::Verdict) of the same run follows, unless the program was
    /// stopped meanwhile or could not write it: then it is not known what became of the images.
    HandingOn,
    /// The verdict in the end.
    Verdict,
}

/// What a line says besides the verdict.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// When the line was made, by the clock.
    pub time: DateTime<Utc>,
    /// What the lines of one run have in common, and of no other.
    pub run: String,
    /// What the line stands for.
    pub event: Event,
}

/// The shape of the line, in the order in which it is written.
#[derive(Serialize)]
struct Line<'v> {
    recorded: String,
    plimsoll: &'static str,
    run: &'v str,
    event: Event,
    #[serde(flatten)]
    verdict: Json<'v>,
}

impl Verdict {
    /// The verdict as one line for a record: the object of [`to_json`](Self::to_json) with `recorded`, `plimsoll` (the version), `run` and `event` in front, and
    /// one newline, at the end.
    ///
    /// It is safe to print.
    #[must_use]
    pub fn to_json_line(&self, recorded: &Recorded) -> String {
        let line = Line {
            recorded: recorded.time.to_rfc3339_opts(SecondsFormat::Millis, true),
            plimsoll: env!("CARGO_PKG_VERSION"),
            run: &recorded.run,
            event: recorded.event,
            verdict: Json::of(self),
        };
        // Strings and integers with fixed keys: there is nothing in it that cannot be written.
        let text = serde_json::to_string(&line).unwrap_or_else(|_| UNWRITABLE.to_owned());
        let mut line = without_control(&text);
        line.push('\n');
        line
    }
}

/// Never "trusted".
const UNWRITABLE: &str =
    r#"{"recorded":null,"event":"verdict","schema":"plimsoll/verdict/v1","verdict":"undecided","findings":[]}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let name = "a\nb\r\u{2028}\u{85}\u{1b}[2J\"";
        let verdict = Verdict::not_started("usage", "one\ntwo", name);
        let time = "2030-01-01T00:00:00.5Z".parse().unwrap();
        let line = verdict.to_json_line(&Recorded { time, run: "r\n".to_owned(), event: Event::Verdict });
        assert_eq!((line.matches('\n').count(), line.ends_with("}\n")), (1, true), "{line:?}");
        assert!(line.trim_end().chars().all(|c| !crate::text::is_unprintable(c)), "{line:?}");
        let mut value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let object = value.as_object_mut().unwrap();
        let mut take = |key: &str| object.remove(key).unwrap().as_str().unwrap().to_owned();
        assert_eq!(
            [take("recorded"), take("plimsoll"), take("run"), take("event")],
            ["2030-01-01T00:00:00.500Z", env!("CARGO_PKG_VERSION"), "r\n", "verdict"]
        );
        // What is left is the verdict as it is printed.
        assert_eq!(value, serde_json::from_str::<serde_json::Value>(&verdict.to_json()).unwrap());
        assert_eq!(value["archive"]["path"], name);
    }
}
