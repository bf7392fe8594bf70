//! Versions order as the package managers themselves have it: generated pairs, the same in every run, asked of `dpkg` and of `rpm`.
//!
//! What is missing is said on stderr and left out; with `PLIMSOLL_REQUIRE_TOOLS=1` the test fails instead. There is no apk in Debian: its order is tested in
//! `order/apk.rs` with pairs that apk-tools publishes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::explicit_write,
    reason = "tests state what they expect, and eprintln! would be captured"
)]

use std::cmp::Ordering;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use plimsoll::packages::order::compare;
use plimsoll::packages::package::Kind;

/// If not, says so where the test runner does not hide it; with `PLIMSOLL_REQUIRE_TOOLS=1`, fails.
fn have(program: &str) -> bool {
    let answer = Command::new(program).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status();
    if answer.is_ok_and(|status| status.success()) {
        return true;
    }
    assert!(env::var_os("PLIMSOLL_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "no {program}");
    writeln!(std::io::stderr(), "skipped: version order: no {program}").unwrap();
    false
}

/// A source of numbers that is the same in every run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// Up to `most` of these pieces, one after the other.
    fn text(&mut self, pieces: &[&str], most: usize) -> String {
        (0..=self.below(most)).map(|_| self.pick(pieces)).collect()
    }

    /// A version that is like `version` but for one piece, in every second case: such pairs are decided late.
    fn neighbour(&mut self, version: &str, pieces: &[&str], other: String) -> String {
        if self.below(2) == 0 {
            return other;
        }
        let at = 1 + self.below(version.len());
        let (front, back) = version.split_at(at);
        let back = if self.below(2) == 0 { back } else { back.get(1..).unwrap_or("") };
        format!("{front}{}{back}", self.pick(pieces))
    }
}

/// Checks that each pair orders as was answered: -1, 0 or 1, one on a line.
fn agree(kind: Kind, pairs: &[(String, String)], answers: &str) {
    let answers: Vec<&str> = answers.split_whitespace().collect();
    assert_eq!(answers.len(), pairs.len());
    let mut seen = [(Ordering::Less, "-1", 0), (Ordering::Equal, "0", 0), (Ordering::Greater, "1", 0)];
    for ((a, b), answer) in pairs.iter().zip(answers) {
        let (expected, _, count) = seen.iter_mut().find(|(_, word, _)| *word == answer).expect(answer);
        *count += 1;
        assert_eq!(compare(kind, a, b), *expected, "{kind} {a} {b}");
    }
    assert!(seen.iter().all(|(_, _, count)| *count > pairs.len() / 50), "one answer hardly occurs: {seen:?}");
}

/// The pairs, one on a line, in a file below the target directory.
fn file(name: &str, pairs: &[(String, String)]) -> std::path::PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let lines = pairs.iter().fold(String::new(), |mut lines, (a, b)| {
        writeln!(lines, "{a} {b}").unwrap();
        lines
    });
    fs::write(&path, lines).unwrap();
    path
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What dpkg calls bad it does not compare: no revision after a hyphen, an epoch without a version or one that is no 31-bit number.
fn dpkg_compares(version: &str) -> bool {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    digits(epoch) && epoch.len() < 10 && rest.starts_with(|c: char| c.is_ascii_digit()) && !rest.ends_with('-')
}

#[test]
fn dpkg_orders_versions_alike() {
    if !have("dpkg") {
        return;
    }
    const PIECES: &[&str] = &[
        "0",
        "1",
        "9",
        "10",
        "00",
        "09",
        "99999999999999999999",
        "a",
        "b",
        "rc",
        "A",
        ".",
        "~",
        "+",
        "deb12u",
        "~bpo",
        "-",
        "-1",
    ];
    let mut seeded = Seeded(1);
    let version = |seeded: &mut Seeded| {
        let epoch = seeded.pick(&["", "", "", "", "0:", "1:", "01:", "2:"]);
        let revision = seeded.pick(&["", "-0", "-1", "-1~bpo12+1", "-2", "-0ubuntu1"]);
        format!("{epoch}{}{}{revision}", seeded.pick(&["0", "1", "1.0", "2"]), seeded.text(PIECES, 4))
    };
    let pairs: Vec<(String, String)> = (0..1500)
        .map(|_| {
            let (a, other) = (version(&mut seeded), version(&mut seeded));
            let b = seeded.neighbour(&a, PIECES, other);
            (a, b)
        })
        .filter(|(a, b)| dpkg_compares(a) && dpkg_compares(b))
        .collect();
    let script = r#"while read -r a b; do
        if dpkg --compare-versions "$a" lt "$b"; then echo -1
        elif dpkg --compare-versions "$a" gt "$b"; then echo 1
        else echo 0
        fi
    done <"$1""#;
    let answers = output(Command::new("sh").args(["-c", script, "sh"]).arg(file("dpkg-pairs", &pairs)));
    agree(Kind::Deb, &pairs, &answers);
}

#[test]
fn rpm_orders_versions_alike() {
    if !have("rpm") {
        return;
    }
    const PIECES: &[&str] = &[
        "0",
        "1",
        "9",
        "10",
        "00",
        "09",
        "99999999999999999999",
        "a",
        "b",
        "rc",
        "A",
        ".",
        "..",
        "_",
        "~",
        "^",
        "+",
        "el9",
        "fc4",
        "α",
        "git",
    ];
    let mut seeded = Seeded(2);
    let version = |seeded: &mut Seeded| {
        let epoch = seeded.pick(&["", "", "", "", "0:", "1:", "01:", "2:"]);
        let release = seeded.pick(&["", "-0", "-1", "-1.el9", "-10.el9_4", "-2^1", "-2~1"]);
        format!("{epoch}{}{}{release}", seeded.pick(&["0", "1", "1.0", "2", "a"]), seeded.text(PIECES, 4))
    };
    let pairs: Vec<(String, String)> = (0..10_000)
        .map(|_| {
            let (a, other) = (version(&mut seeded), version(&mut seeded));
            let ascii: Vec<&str> = PIECES.iter().copied().filter(|piece| piece.is_ascii()).collect();
            let b = if a.is_ascii() { seeded.neighbour(&a, &ascii, other) } else { other };
            (a, b)
        })
        .collect();
    let path = file("rpm-pairs", &pairs);
    let script = format!(
        r#"%{{lua:for line in io.lines("{}") do local a, b = line:match("^([^ ]+) ([^ ]+)$") print(rpm.vercmp(a, b) .. " ") end}}"#,
        path.display()
    );
    agree(Kind::Rpm, &pairs, &output(Command::new("rpm").args(["--eval", &script])));
}
