//! The command under test, as a black box: arguments in; exit code, stdout and stderr out.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::repository::Repository;

/// A call of `plimsoll verify`.
pub(crate) struct Verify<'a> {
    archive: &'a Path,
    repository: &'a Repository,
    store: PathBuf,
    image: Option<&'a str>,
    root: PathBuf,
    options: Vec<&'a str>,
    /// Where large temporary files go.
    tmpdir: Option<PathBuf>,
    stdin: Stdio,
}

impl<'a> Verify<'a> {
    pub(crate) fn new(archive: &'a Path, repository: &'a Repository, store: PathBuf) -> Self {
        let root = repository.pinned_root();
        Self { archive, repository, store, image: None, root, options: Vec::new(), tmpdir: None, stdin: Stdio::null() }
    }

    pub(crate) fn image(mut self, image: &'a str) -> Self {
        self.image = Some(image);
        self
    }

    pub(crate) fn root(mut self, root: PathBuf) -> Self {
        self.root = root;
        self
    }

    pub(crate) fn options(mut self, options: &[&'a str]) -> Self {
        self.options.extend(options);
        self
    }

    pub(crate) fn tmpdir(mut self, folder: PathBuf) -> Self {
        self.tmpdir = Some(folder);
        self
    }

    /// What the command reads as its standard input, for the archive `-`.
    pub(crate) fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = stdin.into();
        self
    }

    pub(crate) fn run(self) -> Verdict {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.arg("verify").arg(self.archive);
        if let Some(image) = self.image {
            command.args(["--image", image]);
        }
        command.arg("--repository").arg(&self.repository.dir);
        command.arg("--root").arg(&self.root).arg("--store").arg(&self.store);
        command.args(["--format", "json"]).args(&self.options);
        if let Some(folder) = self.tmpdir {
            command.env("TMPDIR", folder);
        }
        let output = command.stdin(self.stdin).output().unwrap();

        let stderr = String::from_utf8(output.stderr).unwrap();
        let Ok(json) = serde_json::from_slice::<Value>(&output.stdout) else {
            panic!("{command:?}: {}\n{}{stderr}", output.status, String::from_utf8_lossy(&output.stdout));
        };
        assert_eq!(json["schema"], "plimsoll/verdict/v1", "{command:?}\n{json:#}");
        Verdict { call: format!("{command:?}"), exit: output.status.code(), json, stderr }
    }
}

/// What the command decided.
pub(crate) struct Verdict {
    call: String,
    pub(crate) exit: Option<i32>,
    json: Value,
    stderr: String,
}

impl Verdict {
    /// Asserts exit code 0 and the verdict that belongs to it.
    #[track_caller]
    pub(crate) fn assert_trusted(self) -> Self {
        self.assert(0, "trusted");
        self
    }

    /// Asserts exit code 1, the verdict that belongs to it, and that every finding says in words what is wrong.
    #[track_caller]
    pub(crate) fn assert_refused(self) -> Self {
        self.assert(1, "untrusted");
        assert!(!self.findings().is_empty(), "no reason given\n{self}");
        for finding in self.findings() {
            assert!(finding["code"].is_string(), "no code\n{self}");
            assert!(finding["message"].as_str().is_some_and(|message| !message.is_empty()), "no message\n{self}");
        }
        self
    }

    /// Asserts what [`Self::assert_refused`] does, and that one finding has this code.
    #[track_caller]
    pub(crate) fn assert_refused_for(self, code: &str) -> Self {
        let verdict = self.assert_refused();
        assert!(verdict.findings().iter().any(|finding| finding["code"] == code), "no {code}\n{verdict}");
        verdict
    }

    /// Asserts exit code 2, the verdict that belongs to it, and that this is why.
    #[track_caller]
    pub(crate) fn assert_undecided(self, code: &str) -> Self {
        self.assert(2, "undecided");
        assert!(self.findings().iter().any(|finding| finding["code"] == code), "no {code}\n{self}");
        self
    }

    /// Asserts that some finding speaks of `subject`: in its message or where it says what it is about.
    #[track_caller]
    pub(crate) fn assert_names(self, subject: &str) -> Self {
        let named = self.findings().iter().any(|finding| finding.to_string().contains(subject));
        assert!(named, "nothing about {subject}\n{self}");
        self
    }

    #[track_caller]
    fn assert(&self, exit: i32, verdict: &str) {
        assert_eq!((self.exit, self.json["verdict"].as_str()), (Some(exit), Some(verdict)), "{self}");
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.json["verdict"] == "trusted"
    }

    /// The image ID.
    pub(crate) fn config(&self) -> &str {
        self.json["config"]["digest"].as_str().unwrap_or_else(|| panic!("no config\n{self}"))
    }

    /// What it says of the archive.
    pub(crate) fn archive(&self) -> &Value {
        &self.json["archive"]
    }

    /// The version of a role that the verdict rests on.
    pub(crate) fn version(&self, role: &str) -> u64 {
        let roles = self.json["metadata"]["roles"].as_array().into_iter().flatten();
        let row = roles.into_iter().find(|row| row["role"] == role);
        row.and_then(|row| row["version"].as_u64()).unwrap_or_else(|| panic!("no {role}\n{self}"))
    }

    /// What it says of packages.
    pub(crate) fn packages(&self) -> &Value {
        &self.json["packages"]
    }

    /// Each finding as its code and its subject.
    pub(crate) fn finds(&self) -> Vec<String> {
        let words = |finding: &Value| {
            format!("{} {}", finding["code"].as_str().unwrap(), finding["subject"].as_str().unwrap_or("-"))
        };
        self.findings().iter().map(words).collect()
    }

    fn findings(&self) -> &[Value] {
        self.json["findings"].as_array().map_or(&[], Vec::as_slice)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}\nexit code {:?}\n{:#}\n{}", self.call, self.exit, self.json, self.stderr)
    }
}
