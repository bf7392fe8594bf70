//! Contenders side by side: in each round every one runs once, and each round begins with another.

use std::process::Command;
use std::time::Duration;

use crate::goals::Goal;
use crate::process::{Measured, measure};
use crate::server::{Server, Traffic};
use crate::table::{self, Table, count, median, ratio};

/// Who takes longer than this runs in the first round only; the table says so.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that does the same work as the others of its scenario.
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) command: Command,
    /// Before each run, not measured.
    pub(crate) before: Box<dyn Fn()>,
    /// After each run, not measured: sees to it that the work was done, and removes what is left of it.
    pub(crate) after: Box<dyn Fn(&Measured)>,
}

/// One kind of work. The first contender is plimsoll.
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) contenders: Vec<Contender>,
    /// Who is not there, and why.
    pub(crate) skipped: Vec<(String, String)>,
    pub(crate) goals: Vec<Goal>,
}

/// What a contender took: medians of time, and the highest of the peaks.
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak: u64,
    pub(crate) traffic: Traffic,
    runs: usize,
}

impl Scenario {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), contenders: Vec::new(), skipped: Vec::new(), goals: Vec::new() }
    }

    /// Adds a contender that may be missing.
    pub(crate) fn add(&mut self, name: &str, contender: Result<Contender, String>) {
        match contender {
            Ok(contender) => self.contenders.push(contender),
            Err(why) => self.skipped.push((name.to_owned(), why)),
        }
    }

    /// Without those whose names begin so.
    pub(crate) fn leave_out(&mut self, names: &[String]) {
        self.contenders.retain(|it| !names.iter().any(|name| it.name.starts_with(name.as_str())));
    }

    /// Runs all contenders `rounds` times.
    pub(crate) fn race(&self, rounds: usize, server: Option<&Server>) -> Vec<Outcome> {
        let mut runs: Vec<Vec<Measured>> = self.contenders.iter().map(|_| Vec::new()).collect();
        let mut traffic = vec![Traffic::default(); runs.len()];
        for round in 0..rounds {
            for turn in 0..runs.len() {
                let n = (round + turn) % runs.len();
                if runs[n].first().is_some_and(|first| first.wall > PATIENCE) {
                    continue;
                }
                let contender = &self.contenders[n];
                (contender.before)();
                // Else a contender that waits for the disk waits for what the one before it has written.
                let _as_it_is_where_there_is_no_such_command = Command::new("sync").status();
                let before = server.map(Server::take_traffic);
                let measured = measure(&contender.command);
                (contender.after)(&measured);
                if let (Some(server), Some(_)) = (server, before) {
                    let now = server.take_traffic();
                    let is_same = round == 0 || traffic[n] == Traffic::default() || now.requests == traffic[n].requests;
                    assert!(is_same, "{}: {} asked for other files than before", self.name, contender.name);
                    traffic[n] = now;
                }
                eprintln!("{}: round {}: {}: {}", self.name, round + 1, contender.name, table::time(measured.wall));
                runs[n].push(measured);
            }
        }
        let outcome = |((contender, runs), traffic): ((&Contender, &Vec<Measured>), Traffic)| Outcome {
            name: contender.name.clone(),
            wall: median(runs.iter().map(|run| run.wall)),
            cpu: median(runs.iter().map(|run| run.cpu)),
            peak: runs.iter().map(|run| run.peak).max().unwrap(),
            traffic,
            runs: runs.len(),
        };
        self.contenders.iter().zip(&runs).zip(traffic).map(outcome).collect()
    }
}

/// The table of a group.
pub(crate) fn table(with_traffic: bool) -> Table {
    let mut head = vec!["Scenario", "Program", "Wall", "CPU", "Peak memory", "plimsoll/it, wall", "plimsoll/it, CPU"];
    if with_traffic {
        head.extend(["Requests", "Connections", "Received"]);
    }
    Table::new(2, &head)
}

/// Adds a scenario to the table of its group.
pub(crate) fn add_rows(table: &mut Table, scenario: &Scenario, outcomes: &[Outcome], rounds: usize) {
    let plimsoll = &outcomes[0];
    for (n, it) in outcomes.iter().enumerate() {
        let scenario = if n == 0 { scenario.name.clone() } else { String::new() };
        let few = if it.runs < rounds { format!(" ({} run)", it.runs) } else { String::new() };
        let mut cells = vec![
            scenario,
            format!("{}{few}", it.name),
            table::time(it.wall),
            table::time(it.cpu),
            table::memory(it.peak),
        ];
        cells.extend([quotient(n, plimsoll.wall, it.wall), quotient(n, plimsoll.cpu, it.cpu)]);
        let Traffic { connections, requests, bytes } = &it.traffic;
        if !requests.is_empty() {
            cells.extend([count(requests.len() as u64), count(*connections), table::size(*bytes)]);
        }
        table.row(cells);
    }
    for (name, why) in &scenario.skipped {
        table.row(vec![String::new(), format!("{name}: skipped, {why}")]);
    }
}

fn quotient(n: usize, plimsoll: Duration, it: Duration) -> String {
    if n == 0 { String::new() } else { ratio(plimsoll.as_secs_f64() / it.as_secs_f64()) }
}
