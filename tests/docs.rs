//! The documents tell the truth: every code that the program can report is explained, and every test that is named exists.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state what they expect"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn sources(folder: &str, into: &mut Vec<String>) {
    for entry in fs::read_dir(top().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        // What a publisher is told is no finding, and has a page of its own.
        if path.ends_with("publish") {
            continue;
        }
        if path.is_dir() {
            sources(&path.display().to_string(), into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(fs::read_to_string(path).unwrap());
        }
    }
}

fn is_code(text: &str) -> bool {
    text.contains('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b.is_ascii_digit())
        && !text.starts_with('-')
}

/// What stands between `open` and `close` on each line that has it.
fn between<'t>(text: &'t str, open: &str, close: char) -> Vec<&'t str> {
    text.match_indices(open)
        .filter_map(|(at, _)| text[at + open.len()..].split_once(close))
        .map(|(word, _)| word)
        .collect()
}

#[test]
fn every_finding_code_is_explained_and_no_other() {
    let mut texts = Vec::new();
    sources("src", &mut texts);
    sources("cli/src", &mut texts);
    let mut codes: BTreeSet<String> =
        plimsoll::image::error::Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    for text in &texts {
        for open in [
            "=> \"",
            "Finding::new(\"",
            "Problem::new(\"",
            "Self::new(\"",
            "read(file, \"",
            "missing(\"",
            "not_started(\"",
            "not_loaded(\"",
            "not_recorded(\"",
            "refused(\"",
        ] {
            codes.extend(between(text, open, '"').into_iter().filter(|word| is_code(word)).map(str::to_owned));
        }
    }
    codes.insert("usage".to_owned());
    // The forms of an archive, and a type of CycloneDX, are written in the same way, and are no codes.
    codes.retain(|code| !code.ends_with("-archive") && code != "operating-system");
    assert!(
        codes.contains("metadata-rollback") && codes.contains("clock-behind") && codes.contains("image-not-signed")
    );

    assert_eq!(codes, explained_in("docs/findings.md", "## Not trusted"));
}

/// The codes in the first column of the tables of a page, from a heading on.
fn explained_in(page: &str, heading: &str) -> BTreeSet<String> {
    let page = read(page);
    let tables = page.split_once(heading).unwrap().1;
    let rows = tables.lines().filter(|line| line.starts_with("| `"));
    let words = rows.flat_map(|row| between_ticks(row.split(" | ").next().unwrap()));
    words.filter(|w| is_code(w) || *w == "usage").map(str::to_owned).collect()
}

#[test]
fn every_code_that_a_publisher_is_told_is_explained_and_no_other() {
    let errors = read("src/publish/error.rs");
    let codes = between(&errors, "=> \"", '"').into_iter().filter(|word| is_code(word) || *word == "usage");
    let codes: BTreeSet<String> = codes.map(str::to_owned).collect();
    assert!(codes.contains("path-not-delegated") && codes.len() > 10);
    assert_eq!(codes, explained_in("docs/publish.md", "## Exit codes"));
}

#[test]
fn every_test_that_security_md_names_exists() {
    let page = read("SECURITY.md");
    let mut named = 0;
    for row in page.lines().filter(|line| line.starts_with('|')) {
        let shown_by = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let mut file = None;
        for word in between_ticks(shown_by) {
            if word.ends_with(".rs") {
                let path = if word.contains('/') { word.to_owned() } else { format!("tests/{word}") };
                file = Some((word, read(&path)));
            } else if let Some((name, text)) = &file {
                assert!(text.contains(&format!("fn {word}(")), "{name} has no test {word}");
                named += 1;
            }
        }
    }
    assert!(named > 20, "only {named} tests are named");
}

/// The words in back quotes, in order.
fn between_ticks(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_readme_shows_what_the_command_prints_and_runs_as_written() {
    let page = read("README.md");
    assert!(page.contains("cargo run --release -- verify test-repos/good/app.tar"));
    assert!(page.contains("cargo test --workspace"));
    for link in between(&page, "](", ')').into_iter().filter(|link| !link.contains("://")) {
        let heading = |line: &str| line.starts_with("## ") && line[3..].to_lowercase().replace(' ', "-") == link[1..];
        let exists = if link.starts_with('#') { page.lines().any(heading) } else { top().join(link).exists() };
        assert!(exists, "README.md links to {link}");
    }
}

#[test]
fn the_page_about_loading_shows_what_the_command_prints() {
    let page = read("docs/load.md");
    let printed = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(read("cli/tests/load.rs").contains(printed), "the command's test expects something else");
    assert!(page.contains(
        "cargo run --release -- load test-repos/good/app.tar --image registry.example/team/app:1.4 --repository"
    ));
    let last = printed.lines().last().unwrap();
    assert!(read("README.md").contains(&format!("```text\n{last}\n```")));
}

#[test]
fn the_page_about_maps_shows_the_sample_and_what_the_command_prints() {
    let page = read("docs/map.md");
    assert!(page.contains(&read("test-repos/map/map.json")));
    let printed = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(read("cli/tests/command.rs").contains(printed), "the command's test expects something else");
    assert!(page.contains("cargo run --release -- verify test-repos/good/app.tar --image registry.example/team/app:1.4 --map test-repos/map/map.json"));
}
