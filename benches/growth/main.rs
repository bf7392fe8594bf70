//! What grows when images and repositories grow: `cargo bench --bench growth [-- [--quick] [archives] [repositories] [store] [--fleet]]`.
//!
//! - `archives`: `plimsoll verify` of archives from 50 MB to 10 GB.
//! - `repositories`: refresh, lookup and fetch over HTTP, in repositories of 10^4 to 10^7 targets, flat and in hash bins.
//! - `store`: what a store that has grown costs.
//! - `--fleet` measures nothing: it prints the tables of docs/scale.md.
//!
//! Without one of them, the first three. `--quick` uses tiny sizes. Files are made in the temporary directory, 12 GB at most at a time, and
//! removed again. The command is built first, as `cargo build --release` does. Tables are Markdown; each time is the median of three runs.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench may stop"
)]
#![allow(missing_docs, reason = "a program")]

mod archives;
mod build;
mod child;
#[path = "../support/fleet.rs"]
mod fleet;
#[path = "../support/fleet_tables.rs"]
mod fleet_tables;
#[path = "../support/process.rs"]
mod process;
mod refresh;
#[path = "../support/repositories.rs"]
mod repositories;
#[path = "../support/server.rs"]
mod server;
mod store;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../support/table.rs"]
mod table;

use std::env;

fn main() {
    process::gauge_if_asked();
    child::run_if_asked();
    let words: Vec<String> = env::args().skip(1).collect();
    let says = |word: &str| words.iter().any(|w| w == word);
    if says("--fleet") {
        for fleet_tables::Table { title, text } in fleet_tables::all() {
            println!("{title}:\n\n{text}");
        }
        return;
    }
    let all = !["archives", "repositories", "store"].iter().any(|word| says(word));
    let quick = says("--quick");
    if all || says("archives") {
        archives::measure(quick);
    }
    if all || says("repositories") {
        refresh::measure(quick);
    }
    if all || says("store") {
        store::measure_store(quick);
    }
}
