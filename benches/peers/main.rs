//! plimsoll beside its peers, whole processes in one run: `cargo bench --bench peers [-- [--quick] [--runs N] [--sweep] [--without NAME]... [FILTER...]]`.
//!
//! Prints Markdown: the machine, the versions, a table for each group of scenarios, and which goals are met. What is missing on a machine is
//! named in the tables as skipped; with `PLIMSOLL_REQUIRE_TOOLS=1` it fails.
//!
//! - `--runs N`: rounds, by default 5. In a round each contender of a scenario runs once; the next round begins with another. Tables have medians.
//! - `--quick`: small sizes and one round, to see that the comparison still works.
//! - `--sweep`: smaller sizes besides, to see from where on a difference is one.
//! - `--without NAME`: none of the programs whose names begin so: `podman load` alone takes half of the time.
//! - `FILTER`: only scenarios whose group and name (`archives: classic, 4 layers`) have one of these words in them.
//!
//! Archives and repositories are made below the target directory, in `tmp/peers` (5 GB), and kept. So are the programs that are built for this.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench may stop"
)]
#![allow(missing_docs, reason = "a program")]

mod archives;
mod fixtures;
mod goals;
mod layers;
mod metadata;
#[path = "../support/process.rs"]
mod process;
mod race;
#[path = "../support/repositories.rs"]
mod repositories;
#[path = "../support/server.rs"]
mod server;
mod startup;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../support/table.rs"]
mod table;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use race::Scenario;
use server::Server;

/// What the arguments ask for.
struct Setting {
    quick: bool,
    sweep: bool,
    runs: usize,
    filters: Vec<String>,
    without: Vec<String>,
    /// Where fixtures are kept.
    fixtures: PathBuf,
    /// What a run may empty.
    scratch: PathBuf,
}

/// A scenario whose fixtures are made when it is its turn.
struct Planned {
    name: String,
    make: Box<dyn FnOnce(&str) -> Scenario>,
}

impl Planned {
    fn new(name: String, make: impl FnOnce(&str) -> Scenario + 'static) -> Self {
        Self { name, make: Box::new(make) }
    }
}

fn main() -> ExitCode {
    process::gauge_if_asked();
    fixtures::make_if_asked();
    let setting = Setting::parse(std::env::args().skip(1));
    fixtures::emptied(&setting.scratch);
    let server = Server::start(&setting.fixtures);
    println!("## The machine and the programs\n");
    for line in tools::machine().into_iter().chain(tools::versions()) {
        println!("- {line}");
    }
    println!(
        "- medians of {} rounds, the highest of the peaks; archives hold files of {}\n",
        setting.runs,
        layers::SOURCES.join(", ")
    );
    let mut are_met = run_group("archives", archives::NOTE, archives::scenarios(&setting), &setting, None);
    are_met &= run_group("metadata", metadata::NOTE, metadata::scenarios(&setting, &server), &setting, Some(&server));
    are_met &= run_group("start-up", startup::NOTE, startup::scenarios(&setting), &setting, None);
    fixtures::emptied(&setting.scratch);
    if are_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Setting {
    fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
        let (fixtures, scratch) = (folder.join("fixtures"), folder.join("scratch"));
        let mut setting =
            Self { quick: false, sweep: false, runs: 0, filters: Vec::new(), without: Vec::new(), fixtures, scratch };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => setting.quick = true,
                "--sweep" => setting.sweep = true,
                "--runs" => setting.runs = words.next().and_then(|n| n.parse().ok()).expect("--runs wants a number"),
                "--without" => setting.without.push(words.next().expect("--without wants a name")),
                // From cargo.
                "--bench" => {}
                option if option.starts_with('-') => panic!("no such option: {option}"),
                _ => setting.filters.push(word),
            }
        }
        if setting.runs == 0 {
            setting.runs = if setting.quick { 1 } else { 5 };
        }
        setting
    }

    fn wants(&self, group: &str, name: &str) -> bool {
        let name = format!("{group}: {name}");
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter))
    }
}

/// Runs a group and prints it. False if it misses a goal that no machine has a part in.
fn run_group(group: &str, note: &str, planned: Vec<Planned>, setting: &Setting, server: Option<&Server>) -> bool {
    let mut table = race::table(server.is_some());
    let (mut goals, mut are_met, mut count) = (Vec::new(), true, 0);
    for Planned { name, make } in planned.into_iter().filter(|planned| setting.wants(group, &planned.name)) {
        let mut scenario = make(&name);
        scenario.leave_out(&setting.without);
        let outcomes = scenario.race(setting.runs, server);
        race::add_rows(&mut table, &scenario, &outcomes, setting.runs);
        for goal in scenario.goals.iter().filter(|goal| goal.is_exact() || !setting.quick) {
            let judged = goal.judge(&outcomes);
            are_met &= !goal.is_exact() || judged.as_ref().is_none_or(|judged| judged.is_met);
            goals.push(match judged {
                Some(judged) => {
                    format!("- {name}: {}: {}", judged.text, if judged.is_met { "met" } else { "**not met**" })
                }
                None => format!("- {name}: a goal is not judged: its peer is missing"),
            });
        }
        count += 1;
    }
    if count > 0 {
        println!("## {}{}\n\n{note}\n\n{table}", group[..1].to_uppercase(), &group[1..]);
        goals.iter().for_each(|goal| println!("{goal}"));
        if setting.quick {
            println!("- goals of time and memory are for full sizes, and not judged here");
        }
        println!();
    }
    are_met
}
