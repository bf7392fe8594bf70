//! Policy files: what each key may say, what of it is an error and how that reads, and which scope governs a name.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state what they expect"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use plimsoll::client::{Location, Place};
use plimsoll::name::ImageName;
use plimsoll::policy::{Authority, Contents, Policy, PolicyError, Rule, Ruling, Terms, Unreachable};
use plimsoll::profiles::capability::Capabilities;
use plimsoll::profiles::run::Cpus;

const FOLDER: &str = "/etc/plimsoll";

fn parse(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(text, Path::new(FOLDER))
}

fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

fn rule<'p>(policy: &'p Policy, image: &str) -> &'p Rule {
    match policy.rule(&name(image)) {
        Ruling::Rule(_, rule) => rule,
        other => panic!("{image}: {other:?}"),
    }
}

#[test]
fn every_key_of_a_policy_is_read() {
    let text = r#"
version = 1

[scope."registry.example/team"]
repository = "https://tuf.example/team"
root = "team.root.json"
store = "/var/lib/plimsoll/team"
target-path = "{host}~{repository}~{tag}~{file}"
packages = "require"
files = true
ignore = ["usr/local/share/**"]
fail-on = "high"
max-staleness = "7d"
non-root = true
base = "registry.example/base/debian:12"

[scope."registry.example/team".run]
memory = "2GiB"
pids = 512
cpus = 2.5
seccomp = "baseline-seccomp.json"
capabilities = ["NET_BIND_SERVICE"]
unconfined = false
root = false
writable = false

[scope."registry.example/team".node]
unreachable = "24h"
timeout = "5s"
contents = "unchecked"

[scope."registry.example/base"]
metadata = "base/metadata"
targets = "https://cdn.example/targets"
root = "/srv/base.root.json"

[scope."registry.example/both"]
map = "map.json"
"#;
    let policy = parse(text).unwrap();
    let team = rule(&policy, "registry.example/team/app:1");
    let address = |text: &str| Location::Address(text.to_owned());
    let place = Place::Whole(address("https://tuf.example/team"));
    assert_eq!(team.authority, Authority::One { place, root: "/etc/plimsoll/team.root.json".into() });
    assert_eq!(team.store, Some(PathBuf::from("/var/lib/plimsoll/team")));
    let path = team.target_paths.path(&name("registry.example/team/app:1"), "manifest.json").unwrap();
    assert_eq!(path, "registry.example~team~app~1~manifest.json");
    assert_eq!(team.max_staleness, TimeDelta::days(7));
    assert!(team.requirements.non_root);
    assert_eq!(team.requirements.base, Some(name("registry.example/base/debian:12")));
    assert_eq!(team.demands_of_contents(), ["packages", "files", "fail-on", "non-root", "base"]);
    let run = &team.run;
    assert_eq!((run.memory, run.pids, run.cpus), (Some(2 << 30), Some(512), Cpus::parse("2.5")));
    assert_eq!(run.seccomp, Some(PathBuf::from("/etc/plimsoll/baseline-seccomp.json")));
    assert_eq!(run.capabilities, Capabilities::named(["NET_BIND_SERVICE"]).ok());
    assert_eq!((run.unconfined, run.root, run.writable), (false, false, false));
    assert_eq!(team.node.unreachable, Unreachable::Within(TimeDelta::hours(24)));
    assert_eq!((team.node.timeout, team.node.contents), (Duration::from_secs(5), Contents::Unchecked));

    let base = rule(&policy, "registry.example/base/debian:12");
    let metadata = Location::Folder("/etc/plimsoll/base/metadata".into());
    let place = Place::Apart { metadata, targets: address("https://cdn.example/targets") };
    assert_eq!(base.authority, Authority::One { place, root: "/srv/base.root.json".into() });
    assert!(base.demands_of_contents().is_empty());
    // What nothing is said of is as strict as the command is without arguments, and stricter where it is a node's.
    assert_eq!((base.node.unreachable, base.node.contents), (Unreachable::Refuse, Contents::Refuse));
    assert_eq!(base.node.timeout, Duration::from_secs(8));
    assert_eq!((base.run.unconfined, base.run.root, base.run.writable), (false, false, true));
    assert_eq!(rule(&policy, "registry.example/both/a:1").authority, Authority::Map("/etc/plimsoll/map.json".into()));
}

/// A scope with a repository and a root, and these lines.
fn scope(lines: &str) -> String {
    format!("version = 1\n[scope.\"h.example/a\"]\nrepository = \"r\"\nroot = \"x.json\"\n{lines}\n")
}

const KEY: &str = "scope.\"h.example/a\"";

#[test]
fn each_error_names_line_column_and_key_and_what_was_expected_and_found() {
    let duration = "a duration such as \"36h\", \"7d\" or \"1d12h\"";
    let keys = "repository, metadata, targets, root, map, store, target-path, packages, files, ignore, fail-on, max-staleness, non-root, base, refuse, run, node";
    let head = "version = 1\n[scope.\"h.example/a\"]\n";
    let cases: &[(&str, String, String)] = &[
        ("no TOML", "version = 1\n[scope\n".into(), "2:7: not TOML: unclosed table, expected `]`".into()),
        ("empty", String::new(), "1:1: version: expected version = 1, found none".into()),
        (
            "another version",
            "version = 2".into(),
            "1:11: version: expected 1, the only version of the format that this program reads, found 2".into(),
        ),
        (
            "a version in words",
            "version = \"1\"".into(),
            "1:11: version: expected 1, the only version of the format that this program reads, found \"1\"".into(),
        ),
        ("a key at the top", "version = 1\nscopes = 1".into(), "2:1: scopes: unknown key; expected \"scope\"".into()),
        (
            "another key at the top",
            "version = 1\nroot = 1".into(),
            "2:1: root: unknown key; expected one of version, scope".into(),
        ),
        ("scope is no table", "version = 1\nscope = 1".into(), "2:9: scope: expected a table, found 1".into()),
        (
            "one scope is no table",
            "version = 1\n[scope]\n\"*\" = true".into(),
            "3:7: scope.\"*\": expected a table, found true".into(),
        ),
        (
            "a misspelt key",
            scope("max_stalenes = \"7d\""),
            format!("5:1: {KEY}.max_stalenes: unknown key; expected \"max-staleness\""),
        ),
        (
            "a key that is nothing like another",
            scope("threshold = 2"),
            format!("5:1: {KEY}.threshold: unknown key; expected one of {keys}"),
        ),
        (
            "a key with a line break",
            scope("\"a\\nb\" = 2"),
            format!("5:1: {KEY}.\"a\\\\nb\": unknown key; expected one of {keys}"),
        ),
        (
            "a short scope",
            "version = 1\n\n [scope.\"alpine\"]\n".into(),
            "3:9: scope.alpine: expected a scope in full, in quotes, such as \"docker.io/library/alpine\", found \"alpine\"".into(),
        ),
        (
            "a scope without quotes",
            "version = 1\n[scope.registry.example]\nroot = \"a\"".into(),
            "2:8: scope.registry: expected a scope in full, in quotes, such as \"docker.io/library/registry\", found \"registry\"".into(),
        ),
        (
            "one scope twice",
            "version = 1\n[scope.\"docker.io/library/alpine\"]\nrefuse = \"a\"\n[scope.\"index.docker.io/library/alpine\"]\nrefuse = \"b\"".into(),
            "4:8: scope.\"index.docker.io/library/alpine\": the same scope stands in line 2 as \"docker.io/library/alpine\"".into(),
        ),
        (
            "one scope twice, but for letter case",
            "version = 1\n[scope.\"H.example\"]\nrefuse = \"a\"\n[scope.\"h.example\"]\nrefuse = \"b\"".into(),
            "4:8: scope.\"h.example\": the same scope stands in line 2 as \"H.example\"".into(),
        ),
        (
            "one scope twice, but for a slash",
            "version = 1\n[scope.\"h.example/a/\"]\nrefuse = \"a\"\n[scope.\"h.example/a\"]\nrefuse = \"b\"".into(),
            "4:8: scope.\"h.example/a\": the same scope stands in line 2 as \"h.example/a/\"".into(),
        ),
        ("nothing in it", head.into(), format!("2:8: {KEY}.repository: expected repository, metadata and targets, map or refuse, found none")),
        ("no root", format!("{head}repository = \"r\""), format!("2:8: {KEY}.root: expected the file of the pinned root, found none")),
        ("no repository", format!("{head}root = \"r\""), format!("2:8: {KEY}.repository: expected repository, metadata and targets, map or refuse, found none")),
        (
            "metadata alone",
            format!("{head}metadata = \"r\"\nroot = \"x\""),
            format!("2:8: {KEY}.targets: expected a folder or an http(s) address beside metadata, found none"),
        ),
        (
            "targets alone",
            format!("{head}targets = \"r\"\nroot = \"x\""),
            format!("2:8: {KEY}.metadata: expected a folder or an http(s) address beside targets, found none"),
        ),
        (
            "a repository twice",
            scope("targets = \"t\""),
            format!("5:1: {KEY}.targets: contradicts repository: a repository is at one place, or its metadata and targets are apart"),
        ),
        ("an empty path", format!("{head}repository = \"\"\nroot = \"x\""), format!("3:14: {KEY}.repository: expected a folder or an http(s) address, found \"\"")),
        ("a number for a path", format!("{head}repository = 1\nroot = \"x\""), format!("3:14: {KEY}.repository: expected a folder or an http(s) address, found 1")),
        (
            "a root from the network",
            format!("{head}repository = \"r\"\nroot = \"https://h.example/root.json\""),
            format!("4:8: {KEY}.root: expected the file of the pinned root on this machine, found \"https://h.example/root.json\""),
        ),
        (
            "a root in the repository",
            format!("{head}repository = \"r\"\nroot = \"r/metadata/root.json\""),
            format!("4:8: {KEY}.root: expected a file outside the repository, which is not trusted, found \"r/metadata/root.json\""),
        ),
        (
            "a map with a root",
            format!("{head}map = \"m.json\"\nroot = \"x\""),
            format!("4:1: {KEY}.root: contradicts map: the map names the repositories, and each has its root beside it"),
        ),
        (
            "a map with a repository",
            format!("{head}repository = \"x\"\nmap = \"m.json\""),
            format!("3:1: {KEY}.repository: contradicts map: the map names the repositories, and each has its root beside it"),
        ),
        (
            "refused with a root",
            format!("{head}root = \"x\"\nrefuse = \"no\""),
            format!("3:1: {KEY}.root: contradicts refuse: what is refused needs nothing else"),
        ),
        (
            "refused with terms for nodes",
            format!("{head}refuse = \"no\"\nnode.timeout = \"8s\""),
            format!("4:1: {KEY}.node: contradicts refuse: what is refused needs nothing else"),
        ),
        ("refused without a reason", format!("{head}refuse = \" \""), format!("3:10: {KEY}.refuse: expected the reason why it is refused, found \" \"")),
        ("refused by a switch", format!("{head}refuse = true"), format!("3:10: {KEY}.refuse: expected the reason why it is refused, found true")),
        (
            "a template that is none",
            scope("target-path = \"{host}/{file}\""),
            format!("5:15: {KEY}.target-path: expected a template (\"{{host}}/{{file}}\": expected {{repository}} once, found it 0 times), found \"{{host}}/{{file}}\""),
        ),
        (
            "packages by another word",
            scope("packages = \"always\""),
            format!("5:12: {KEY}.packages: expected \"auto\", \"require\" or \"off\", found \"always\""),
        ),
        (
            "packages as a switch",
            scope("packages = true"),
            format!("5:12: {KEY}.packages: expected \"auto\", \"require\" or \"off\", found true"),
        ),
        ("files in words", scope("files = \"yes\""), format!("5:9: {KEY}.files: expected true or false, found \"yes\"")),
        (
            "files without packages",
            scope("packages = \"off\"\nfiles = true"),
            format!("6:1: {KEY}.files: contradicts packages: files are compared with package lists"),
        ),
        (
            "advisories without packages",
            scope("packages = \"off\"\nfail-on = \"low\""),
            format!("6:1: {KEY}.fail-on: contradicts packages: advisories are about packages"),
        ),
        ("ignored files without files", scope("ignore = [\"a\"]"), format!("2:8: {KEY}.files: expected files = true beside ignore, found none")),
        (
            "ignored files with files off",
            scope("files = false\nignore = [\"a\"]"),
            format!("6:1: {KEY}.ignore: contradicts files: it says which files need not be listed"),
        ),
        (
            "a pattern that is none",
            scope("files = true\nignore = [\"a\", \"../b\"]"),
            format!("6:16: {KEY}.ignore: expected a pattern such as \"usr/local/share/**\", found \"../b\""),
        ),
        (
            "a pattern alone",
            scope("files = true\nignore = \"a\""),
            format!("6:10: {KEY}.ignore: expected a list, each a pattern such as \"usr/local/share/**\", found \"a\""),
        ),
        (
            "a severity that there is not",
            scope("fail-on = \"severe\""),
            format!("5:11: {KEY}.fail-on: expected \"none\", \"low\", \"medium\", \"high\" or \"critical\", found \"severe\""),
        ),
        ("a duration without unit", scope("max-staleness = \"7\""), format!("5:17: {KEY}.max-staleness: expected {duration}, found \"7\"")),
        ("a duration as a number", scope("max-staleness = 7"), format!("5:17: {KEY}.max-staleness: expected {duration}, found 7")),
        (
            "a base that is no name",
            scope("base = \"H/B/:1\""),
            format!("5:8: {KEY}.base: expected HOST/REPOSITORY:TAG or HOST/REPOSITORY@sha256:HEX in full (\"H/B/:1\": expected lower-case letters and digits with single separators, found \"B\"), found \"H/B/:1\""),
        ),
        ("a short base", scope("base = \"debian:12\""), format!("5:8: {KEY}.base: expected a name in full, such as \"docker.io/library/debian:12\", found \"debian:12\"")),
        (
            "a base without a tag",
            scope("base = \"o.example/debian\""),
            format!("5:8: {KEY}.base: expected a name in full, such as \"o.example/debian:latest\", found \"o.example/debian\""),
        ),
        (
            "a base that no scope is about",
            scope("base = \"o.example/debian:12\""),
            format!("5:8: {KEY}.base: expected an image that another scope admits, found \"o.example/debian:12\""),
        ),
        (
            "a base that is refused",
            scope("base = \"o.example/debian:12\"\n[scope.\"o.example\"]\nrefuse = \"old\""),
            format!("5:8: {KEY}.base: expected an image that another scope admits, found \"o.example/debian:12\""),
        ),
        (
            "a base of this very scope",
            scope("base = \"h.example/a/base:1\""),
            format!("5:8: {KEY}.base: expected an image of a scope that is not itself built on this one, found \"h.example/a/base:1\""),
        ),
        (
            "bases in a circle",
            scope("base = \"o.example/b:1\"\n[scope.\"o.example\"]\nrepository = \"r\"\nroot = \"x\"\nbase = \"h.example/a/c:1\""),
            format!("5:8: {KEY}.base: expected an image of a scope that is not itself built on this one, found \"o.example/b:1\""),
        ),
        (
            "no user 0, and user 0",
            scope("non-root = true\nrun.root = true"),
            format!("5:1: {KEY}.non-root: contradicts run: with root = true, run.json may say user 0"),
        ),
        (
            "local metadata in place of several repositories",
            format!("{head}map = \"m.json\"\nnode.unreachable = \"1h\""),
            format!("4:1: {KEY}.node: contradicts map: what several repositories agree on is not decided by local metadata, so unreachable can only be \"refuse\""),
        ),
        ("run is no table", scope("run = 1"), format!("5:7: {KEY}.run: expected a table, found 1")),
        (
            "an unknown limit",
            scope("run.cpu = 1"),
            format!("5:5: {KEY}.run.cpu: unknown key; expected \"cpus\""),
        ),
        ("no memory", scope("run.memory = \"0\""), format!("5:14: {KEY}.run.memory: expected a size such as \"512MiB\" or \"2GiB\", found \"0\"")),
        ("memory as Docker writes it", scope("run.memory = \"2g\""), format!("5:14: {KEY}.run.memory: expected a size such as \"512MiB\" or \"2GiB\", found \"2g\"")),
        ("no processes", scope("run.pids = 0"), format!("5:12: {KEY}.run.pids: expected a whole number above 0, found 0")),
        ("all processes", scope("run.pids = -1"), format!("5:12: {KEY}.run.pids: expected a whole number above 0, found -1")),
        ("processes in hex", scope("run.pids = 0x10"), format!("5:12: {KEY}.run.pids: expected a whole number above 0, found 0x10")),
        ("processors without end", scope("run.cpus = inf"), format!("5:12: {KEY}.run.cpus: expected a number above 0 such as 2 or 0.5, with up to 3 decimals, found inf")),
        ("no processors", scope("run.cpus = 0.0"), format!("5:12: {KEY}.run.cpus: expected a number above 0 such as 2 or 0.5, with up to 3 decimals, found 0.0")),
        ("finer than thousandths", scope("run.cpus = 0.0001"), format!("5:12: {KEY}.run.cpus: expected a number above 0 such as 2 or 0.5, with up to 3 decimals, found 0.0001")),
        ("processors by an exponent", scope("run.cpus = 1e3"), format!("5:12: {KEY}.run.cpus: expected a number above 0 such as 2 or 0.5, with up to 3 decimals, found 1e3")),
        (
            "a capability with its prefix",
            scope("run.capabilities = [\"CAP_CHOWN\"]"),
            format!("5:21: {KEY}.run.capabilities: expected a capability of Linux such as \"NET_BIND_SERVICE\", without CAP_, found \"CAP_CHOWN\""),
        ),
        (
            "all capabilities",
            scope("run.capabilities = [\"ALL\"]"),
            format!("5:21: {KEY}.run.capabilities: expected a capability of Linux such as \"NET_BIND_SERVICE\", without CAP_, found \"ALL\""),
        ),
        ("an unknown term for nodes", scope("node.unreachible = \"1h\""), format!("5:6: {KEY}.node.unreachible: unknown key; expected \"unreachable\"")),
        (
            "a node that admits for ever",
            scope("node.unreachable = \"91d\""),
            format!("5:20: {KEY}.node.unreachable: expected \"refuse\" or a duration such as \"24h\", up to 90 days, found \"91d\""),
        ),
        (
            "a node that admits for no time",
            scope("node.unreachable = \"0s\""),
            format!("5:20: {KEY}.node.unreachable: expected \"refuse\" or a duration such as \"24h\", up to 90 days, found \"0s\""),
        ),
        (
            "a node that admits",
            scope("node.unreachable = \"admit\""),
            format!("5:20: {KEY}.node.unreachable: expected \"refuse\" or a duration such as \"24h\", up to 90 days, found \"admit\""),
        ),
        ("no time for nodes", scope("node.timeout = \"0s\""), format!("5:16: {KEY}.node.timeout: expected a duration from \"1s\" to \"5m\", found \"0s\"")),
        ("much time for nodes", scope("node.timeout = \"1h\""), format!("5:16: {KEY}.node.timeout: expected a duration from \"1s\" to \"5m\", found \"1h\"")),
        ("contents by another word", scope("node.contents = \"off\""), format!("5:17: {KEY}.node.contents: expected \"refuse\" or \"unchecked\", found \"off\"")),
        ("columns are characters", scope("run = { \"é\" = 1 }"), format!("5:9: {KEY}.run.\"é\": unknown key; expected one of memory, pids, cpus, seccomp, capabilities, unconfined, root, writable")),
        ("columns are characters, not bytes", scope("node = { timeout = \"é\", x = 1 }"), format!("5:25: {KEY}.node.x: unknown key; expected one of unreachable, timeout, contents")),
    ];
    for (case, text, expected) in cases {
        let error = parse(text).unwrap_err();
        assert_eq!(error.to_string(), *expected, "{case}");
        assert_eq!(error.code(), "policy-malformed", "{case}");
    }
}

#[test]
fn what_differs_from_an_error_in_one_thing_is_accepted() {
    for lines in [
        "",
        "max-staleness = \"7d\"",
        "packages = \"off\"\nfiles = false",
        "packages = \"off\"\nfail-on = \"none\"",
        "packages = \"require\"\nfail-on = \"low\"",
        "files = true\nignore = [\"a\", \"b/**\"]",
        "files = true\nignore = []",
        "base = \"o.example/debian:12\"\n[scope.\"o.example\"]\nrepository = \"r\"\nroot = \"x\"",
        // The base has a scope of its own, inside this one, and needs none itself.
        "base = \"h.example/a/base:1\"\n[scope.\"h.example/a/base\"]\nrepository = \"r\"\nroot = \"x\"",
        "non-root = true\nrun.root = false",
        "non-root = false\nrun.root = true",
        "run.cpus = 0.001",
        "run.pids = 1\nrun.cpus = 1\nrun.memory = \"1\"\nrun.capabilities = []",
        "node.unreachable = \"90d\"",
        "node.unreachable = \"refuse\"\nnode.timeout = \"5m\"\nnode.contents = \"refuse\"",
        "node = { timeout = \"1s\" }",
        "[scope.\"h.example/ab\"]\nrefuse = \"no\"",
        "[scope.\"h.example/a:1\"]\nrefuse = \"no\"",
    ] {
        parse(&scope(lines)).unwrap_or_else(|e| panic!("{lines}: {e}"));
    }
    assert!(parse("version = 1").unwrap().entries().is_empty());
    assert!(parse("version = 1\n[scope]").unwrap().entries().is_empty());
}

#[test]
fn the_most_specific_scope_governs_and_without_one_a_name_is_refused() {
    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let mut text = "version = 1\n".to_owned();
    for scope in ["h.example", "h.example/team", "h.example/team/app:dev", "docker.io/library/alpine"] {
        text.push_str(&format!("[scope.\"{scope}\"]\nrepository = \"r\"\nroot = \"x\"\n"));
    }
    for scope in ["h.example/team/legacy", "h.example/team/app:old", "docker.io/library/"] {
        text.push_str(&format!("[scope.\"{scope}\"]\nrefuse = \"because of {scope}\"\n"));
    }
    let policy = parse(&text).unwrap();
    let cases: &[(String, Option<&str>)] = &[
        ("h.example/other:1".into(), Some("h.example")),
        ("h.example/teammate/app:1".into(), Some("h.example")),
        ("h.example/team:1".into(), Some("h.example/team")),
        ("h.example/team/app:1".into(), Some("h.example/team")),
        ("H.EXAMPLE/team/app:1".into(), Some("h.example/team")),
        ("h.example/team/app:dev".into(), Some("h.example/team/app:dev")),
        ("h.example/team/app:dev2".into(), Some("h.example/team")),
        ("h.example/team/app/x:dev".into(), Some("h.example/team")),
        // A claim does not choose its rule: with or without it, it is the same image.
        (format!("h.example/team/app:dev@{DIGEST}"), Some("h.example/team")),
        (format!("h.example/team/app@{DIGEST}"), Some("h.example/team")),
        // But nobody is admitted who claims to be what is refused.
        ("h.example/team/app:old".into(), Some("h.example/team/app:old")),
        (format!("h.example/team/app:old@{DIGEST}"), Some("h.example/team/app:old")),
        ("h.example/team/legacy:1".into(), Some("h.example/team/legacy")),
        (format!("h.example/team/legacy/x@{DIGEST}"), Some("h.example/team/legacy")),
        ("h.example/team/legacy2:1".into(), Some("h.example/team")),
        ("alpine".into(), Some("docker.io/library/alpine")),
        ("debian".into(), Some("docker.io/library")),
        ("docker.io/team/app:1".into(), None),
        ("h.example:5000/team/app:1".into(), None),
        ("team/app:1".into(), None),
    ];
    for (image, expected) in cases {
        let ruling = policy.rule(&name(image));
        let scope = match ruling {
            Ruling::Rule(entry, _) => {
                assert!(matches!(entry.terms(), Terms::Rule(_)));
                Some(entry.scope().to_string())
            }
            Ruling::Refused(entry, why) => {
                assert!(matches!(entry.terms(), Terms::Refuse(_)) && why.starts_with("because of "));
                Some(entry.scope().to_string())
            }
            Ruling::NoScope => None,
        };
        assert_eq!(scope.as_deref(), *expected, "{image}");
    }
    let all: Vec<String> =
        policy.matching(&name("h.example/team/app:dev")).iter().map(|entry| entry.scope().to_string()).collect();
    assert_eq!(all, ["h.example/team/app:dev", "h.example/team", "h.example"]);
}

#[cfg(unix)]
#[test]
fn a_policy_that_others_may_write_is_not_read() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.toml");
    let shown = file.display().to_string();
    std::fs::write(&file, scope("")).unwrap();
    for (mode, expected) in [
        (0o644, None),
        (0o600, None),
        (0o400, None),
        (0o664, Some("0664")),
        (0o646, Some("0646")),
        (0o620, Some("0620")),
        (0o602, Some("0602")),
    ] {
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let got = Policy::read(&file).map(|policy| policy.file().map(Path::to_path_buf));
        match expected {
            None => assert_eq!(got.unwrap(), Some(file.clone()), "{mode:o}"),
            Some(found) => {
                let error = got.unwrap_err();
                let text = format!(
                    "\"{shown}\" can be changed by others: expected a mode that lets its owner alone write, such as 0644, found {found}"
                );
                assert_eq!((error.code(), error.to_string()), ("policy-exposed", text));
            }
        }
    }
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();

    // Paths are relative to where the file is, and errors name it.
    let policy = Policy::read(&file).unwrap();
    let place = Place::Whole(Location::Folder(folder.path().join("r")));
    let authority = Authority::One { place, root: folder.path().join("x.json") };
    assert_eq!(rule(&policy, "h.example/a:1").authority, authority);
    std::fs::write(&file, "version = 3").unwrap();
    assert!(Policy::read(&file).unwrap_err().to_string().starts_with(&format!("{shown}:1:11: version: expected 1")));

    for (case, bytes) in [("not UTF-8", vec![b'#', 0xff]), ("too long", vec![b'\n'; (1 << 20) + 1])] {
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(Policy::read(&file).unwrap_err().code(), "policy-unreadable", "{case}");
    }
    std::fs::write(&file, [b"version = 1".to_vec(), vec![b'\n'; (1 << 20) - 11]].concat()).unwrap();
    assert!(Policy::read(&file).is_ok());
    for path in [folder.path().join("nowhere"), folder.path().to_path_buf()] {
        assert_eq!(Policy::read(&path).unwrap_err().code(), "policy-unreadable");
    }
}
