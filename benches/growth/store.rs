//! What it costs a node that its store has grown: each bin that it ever looked up is in there.

use std::fs;
use std::path::Path;
use std::process::Command;

use plimsoll::client::{Client, DirSource, Store};
use serde_json::json;

use crate::build::program;
use crate::child::client;
use crate::process::measure_whatever;
use crate::repositories::{Plan, bin_of, content, path_of};
use crate::server::Server;
use crate::support::repo::sha256;
use crate::table::{Table, count, median, memory, size, time};

const RUNS: usize = 3;

pub(crate) fn measure_store(quick: bool) {
    let (plan, bits, fills) = if quick {
        (Plan::hashed(1_000, 6), 6, vec![1, 20])
    } else {
        (Plan::hashed(1_000_000, 12), 12, vec![1, 20, 400, 4_096])
    };
    let verifier = program("plimsoll-verifier");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    plan.write(folder);
    let server = Server::start(folder);
    write_policy(folder, &server.url);
    println!(
        "An unchanged repository of {} targets in 2^{bits} bins; the store has some of them.\n",
        count(plan.targets as u64)
    );
    let head = ["program", "bins in the store", "store", "time", "CPU", "peak memory", "answer"];
    let mut table = Table::new(1, &head);
    for bins in fills {
        let root = fs::read(folder.join("metadata/1.root.json")).unwrap();
        let store = folder.join("state").join(sha256(&root));
        fill(&plan, bits, bins, folder, &store, root);
        let (files, bytes) = files_of(&store);
        let target = [path_of(plan.looked_up())];
        let commands = [
            ("the library's client", client(&server.url, &folder.join("metadata/1.root.json"), &store, None, &target)),
            ("plimsoll-verifier", pull(&verifier, folder, &plan)),
        ];
        for (name, command) in commands {
            let runs: Vec<_> = (0..RUNS).map(|_| measure_whatever(&command)).collect();
            table.row(vec![
                name.to_owned(),
                count(files),
                size(bytes),
                time(median(runs.iter().map(|run| run.wall))),
                time(median(runs.iter().map(|run| run.cpu))),
                memory(runs.iter().map(|run| run.peak).max().unwrap()),
                if runs.iter().all(|run| run.status.success()) { "yes" } else { "refused" }.to_owned(),
            ]);
        }
    }
    println!("{table}");
}

/// Looks up targets until so many bins are in the store, that of the target to be looked up later among them.
fn fill(plan: &Plan, bits: u32, bins: usize, folder: &Path, store: &Path, root: Vec<u8>) {
    let client = Client::new(root, DirSource::repository(folder).unwrap(), Store::folder(store));
    let mut session = client.refresh().unwrap();
    let mut seen = vec![false; 1 << bits];
    for n in std::iter::once(plan.looked_up()).chain(0..plan.targets) {
        if seen.iter().filter(|seen| **seen).count() == bins {
            break;
        }
        let bin = bin_of(&path_of(n), bits);
        if !std::mem::replace(&mut seen[bin], true) {
            session.find(&path_of(n)).unwrap().unwrap();
        }
    }
}

fn files_of(store: &Path) -> (u64, u64) {
    let files = fs::read_dir(store).unwrap().flatten();
    let bins = files.filter(|file| file.file_name().to_string_lossy().starts_with("bin-"));
    bins.fold((0, 0), |(files, bytes), file| (files + 1, bytes + file.metadata().unwrap().len()))
}

fn write_policy(folder: &Path, url: &str) {
    let root = folder.join("metadata/1.root.json");
    let policy = format!(
        "version = 1\n[scope.\"registry.example/team\"]\nrepository = \"{url}\"\nroot = \"{}\"\n",
        root.display()
    );
    fs::write(folder.join("policy.toml"), policy).unwrap();
}

/// As containerd calls it for a pull, in a shell that gives it its descriptor.
fn pull(verifier: &Path, folder: &Path, plan: &Plan) -> Command {
    let manifest = content(plan.looked_up(), 1);
    let (digest, media_type) = (format!("sha256:{}", sha256(&manifest)), "application/vnd.oci.image.manifest.v1+json");
    let descriptor = json!({"mediaType": media_type, "digest": digest, "size": manifest.len()});
    fs::write(folder.join("descriptor.json"), descriptor.to_string()).unwrap();
    let path = path_of(plan.looked_up());
    let name = path.trim_end_matches("/1.4/manifest.json").to_owned() + ":1.4";
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" < descriptor.json"]).arg(verifier).current_dir(folder);
    command.args(["-name", &name, "-digest", &digest, "-stdin-media-type", "application/vnd.oci.descriptor.v1+json"]);
    command.env("PLIMSOLL_POLICY", folder.join("policy.toml")).env("PLIMSOLL_STATE", folder.join("state"));
    command
}
