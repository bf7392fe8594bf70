//! Refresh, lookup and fetch over HTTP, as a repository grows.

use std::fs;
use std::path::Path;

use crate::child::client;
use crate::process::{Measured, measure_whatever};
use crate::repositories::{Layout, Plan, path_of};
use crate::server::{Server, Traffic};
use crate::table::{Table, count, median, memory, size, time};

/// How often each step is run.
const RUNS: usize = 3;

pub(crate) fn measure(quick: bool) {
    let plans = if quick {
        vec![(Plan::flat(100), None), (Plan::hashed(100, 4), None), (Plan::succinct(100, 4).with_hashes(), None)]
    } else {
        vec![
            (Plan::flat(10_000), None),
            (Plan::hashed(10_000, 6), None),
            (Plan::flat(100_000), None),
            (Plan::hashed(100_000, 9), None),
            (Plan::flat(1_000_000), None),
            (Plan::hashed(1_000_000, 12), None),
            (Plan::flat(10_000_000), None),
            (Plan::flat(10_000_000), Some(4 << 30)),
            (Plan::hashed(10_000_000, 14), None),
            (Plan::hashed(10_000_000, 14).with_hashes(), None),
            (Plan::succinct(10_000_000, 14), None),
            (Plan::hashed(10_000_000, 16), None),
            (Plan::succinct(10_000_000, 16), None),
        ]
    };
    println!("Refresh, lookup of one target and fetch, over HTTP from this machine. Bytes are those of bodies.\n");
    let mut files = Table::new(1, &["repository", "targets in a bin", "targets.json", "snapshot.json", "a bin"]);
    let mut steps =
        Table::new(2, &["repository", "step", "time", "CPU", "peak memory", "requests", "connections", "bytes"]);
    for (plan, listed) in plans {
        let folder = tempfile::tempdir().unwrap();
        plan.write(folder.path());
        if listed.is_none() {
            files.row(weights(&plan, folder.path()));
        }
        for row in measured(&plan, folder.path(), listed) {
            steps.row(row);
        }
    }
    println!("{files}\n{steps}");
}

fn name(plan: &Plan) -> String {
    let kind = match plan.layout {
        Layout::Flat => "flat".to_owned(),
        Layout::Bins { bits, succinct: false } => format!("2^{bits} listed bins"),
        Layout::Bins { bits, succinct: true } => format!("2^{bits} succinct bins"),
    };
    let hashes = if plan.lists_hashes { ", hashes in the snapshot" } else { "" };
    format!("{} targets, {kind}{hashes}", count(plan.targets as u64))
}

fn weights(plan: &Plan, folder: &Path) -> Vec<String> {
    let size_of = |file: &str| size(fs::metadata(folder.join("metadata").join(file)).unwrap().len());
    let (each, bin) = match plan.layout {
        Layout::Flat => (String::new(), String::new()),
        Layout::Bins { bits, .. } => {
            let home = crate::repositories::bin_of(&path_of(plan.looked_up()), bits);
            let bin = size_of(&format!("1.{}.json", crate::repositories::bin_name(home, bits)));
            (count((plan.targets >> bits) as u64), bin)
        }
    };
    vec![name(plan), each, size_of("1.targets.json"), size_of("1.snapshot.json"), bin]
}

fn measured(plan: &Plan, folder: &Path, listed: Option<u64>) -> Vec<Vec<String>> {
    let server = Server::start(folder);
    let store = folder.join("store");
    let kept = folder.join("kept");
    let (one, changed) = ([path_of(plan.looked_up())], [path_of(plan.changed())]);
    let run = |targets: &[String]| {
        server.take_traffic();
        let root = folder.join("metadata/1.root.json");
        let measured = measure_whatever(&client(&server.url, &root, &store, listed, targets));
        (measured, server.take_traffic())
    };
    let mut name = name(plan);
    if listed.is_some() {
        name += ", limit raised";
    }
    let mut rows = Vec::new();
    // Each run of a step begins with the same store.
    let mut step = |what: &str, targets: &[String]| {
        let runs: Vec<_> = (0..RUNS)
            .map(|_| {
                restore(&kept, &store);
                run(targets)
            })
            .collect();
        let ok = runs[0].0.status.success();
        let what = if ok { what.to_owned() } else { format!("{what}: refused, {}", runs[0].0.stdout().trim()) };
        rows.push(row(&name, &what, &runs));
        restore(&store, &kept);
        ok
    };
    if step("empty store", &one) {
        step("nothing changed", &one);
        plan.publish(folder, 2);
        step("another image published", &one);
        step("that image looked up", &changed);
    }
    rows
}

fn restore(from: &Path, to: &Path) {
    fs::remove_dir_all(to).ok();
    if from.exists() {
        fs::create_dir_all(to).unwrap();
        for file in fs::read_dir(from).unwrap().flatten().filter(|file| file.path().is_file()) {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

fn row(name: &str, step: &str, runs: &[(Measured, Traffic)]) -> Vec<String> {
    let traffic = &runs[0].1;
    vec![
        name.to_owned(),
        step.to_owned(),
        time(median(runs.iter().map(|(run, _)| run.wall))),
        time(median(runs.iter().map(|(run, _)| run.cpu))),
        memory(runs.iter().map(|(run, _)| run.peak).max().unwrap()),
        traffic.requests.len().to_string(),
        traffic.connections.to_string(),
        size(traffic.bytes),
    ]
}
