//! Signed profiles with a real Docker daemon and podman: the options that are printed are taken as they are, and are in force.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::publish::publisher;
use crate::tools::{Need, Scratch, daemon_alone, docker, have, output, source_tree, with_docker};

const NAME: &str = "registry.example/team/app:1.4";
const RUN: &str = r#"{
  "schema": "plimsoll/run/v1", "memory": "64MiB", "pids": 50, "cpus": "0.5", "read-only": true, "no-new-privileges": true,
  "cap-drop": ["ALL"], "cap-add": ["NET_BIND_SERVICE"], "user": "7:7", "tmpfs": {"/tmp": "1MiB"}, "network": "none"
}"#;
const SECCOMP: &str = r#"{
  "defaultAction": "SCMP_ACT_ERRNO", "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
  "syscalls": [
    {"names": ["read", "write", "execve", "exit_group", "mmap", "openat", "close"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 1}]}
  ]
}"#;

/// A repository with the sample and its profiles, and what `fetch` says of them.
fn fetched(scratch: &Scratch, engine: &str, image: &str, docker_host: bool) -> Value {
    let (site, keys) = (scratch.join("site"), scratch.join("keys").display().to_string());
    if !site.exists() {
        publisher(&site, "init", &["--keys", &keys]);
        let archive = source_tree().join("test-repos/good/app.tar").display().to_string();
        publisher(&site, "add", &[&archive, "--image", NAME, "--keys", &keys]);
        fs::write(scratch.join("run.json"), RUN).unwrap();
        fs::write(scratch.join("seccomp.json"), SECCOMP).unwrap();
        let mut push = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        push.args(["profile", "push", NAME]).arg(scratch.join("run.json")).arg(scratch.join("seccomp.json"));
        output(push.arg("--repository").arg(&site).args(["--keys", &keys]));
    }
    let mut fetch = if docker_host {
        with_docker(env!("CARGO_BIN_EXE_plimsoll"))
    } else {
        Command::new(env!("CARGO_BIN_EXE_plimsoll"))
    };
    fetch.args(["profile", "fetch", image, "--engine", engine, "--format", "json"]);
    fetch.arg("--repository").arg(&site).arg("--root").arg(site.join("metadata/1.root.json"));
    fetch.arg("--store").arg(scratch.join("store")).arg("--output").arg(scratch.join("out"));
    serde_json::from_slice(&output(&mut fetch)).unwrap()
}

fn options(fetched: &Value) -> Vec<String> {
    fetched["options"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[test]
fn docker_takes_the_options_that_are_printed() {
    if !have(&[Need::Docker]) {
        return;
    }
    let _alone = daemon_alone();
    let scratch = Scratch::new();
    let by_name = fetched(&scratch, "docker", NAME, false);
    docker(["load", "--input", &source_tree().join("test-repos/good/app.tar").display().to_string()]);
    let id = docker(["image", "inspect", "--format", "{{.Id}}", NAME]).trim().to_owned();
    assert_eq!(options(&fetched(&scratch, "docker", &id, true)), options(&by_name), "the same by its ID");

    let create = [vec!["create".to_owned()], options(&by_name), vec![NAME.to_owned(), "/true".to_owned()]].concat();
    let container = docker(&create).trim().to_owned();
    let found: Value =
        serde_json::from_str(&docker(["container", "inspect", "--format", "{{json .}}", &container])).unwrap();
    let host = &found["HostConfig"];
    assert_eq!(host["Memory"], 64 << 20, "{host:#}");
    assert_eq!(host["PidsLimit"], 50);
    assert_eq!(host["NanoCpus"], 500_000_000);
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert!(host["CapAdd"].to_string().contains("NET_BIND_SERVICE"), "{host:#}");
    assert_eq!(host["NetworkMode"], "none");
    assert_eq!(host["Privileged"], false);
    assert_eq!(found["Config"]["User"], "7:7");
    let security = host["SecurityOpt"].to_string();
    assert!(security.contains("no-new-privileges") && security.contains("SCMP_ACT_ERRNO"), "{security}");
    docker(["rm", &container]);
    docker(["rmi", "--force", &id]);
}

#[test]
fn podman_takes_the_options_that_are_printed() {
    if !have(&[Need::Podman]) {
        return;
    }
    let scratch = Scratch::new();
    let printed = options(&fetched(&scratch, "podman", NAME, false));
    let run = std::env::temp_dir().join(scratch.name());
    let podman = || {
        let mut podman = Command::new("podman");
        podman.arg("--root").arg(scratch.join("podman")).arg("--runroot").arg(&run);
        podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        podman
    };
    output(podman().args(["load", "--input"]).arg(source_tree().join("test-repos/good/app.tar")));
    let created = output(podman().arg("create").args(&printed).args([NAME, "/true"]));
    let container = String::from_utf8(created).unwrap().trim().to_owned();
    let found: Value = serde_json::from_slice(&output(podman().args(["container", "inspect", &container]))).unwrap();
    let host = &found[0]["HostConfig"];
    assert_eq!((&host["Memory"], &host["PidsLimit"]), (&json!(64 << 20), &json!(50)), "{host:#}");
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(found[0]["Config"]["User"], "7:7");
    output(podman().args(["rm", "--force", &container]));
    let _gone_with_the_machine = fs::remove_dir_all(&run);
}
