//! TUF repositories, written by python-tuf.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{output, source_tree};

/// A repository in a folder, with the root that its users pin.
pub(crate) struct Repository {
    pub(crate) dir: PathBuf,
}

impl Repository {
    /// A new repository that signs manifests, each under an image's name. `options` are those of `python_tuf.py create`.
    pub(crate) fn create(dir: PathBuf, signed: &[(&str, &Path)], options: &[&str]) -> Self {
        python_tuf("create", &dir, signed, options);
        Self { dir }
    }

    pub(crate) fn publish(&self, signed: &[(&str, &Path)]) {
        python_tuf("publish", &self.dir, signed, &[]);
    }

    /// Publishes a new root, in which a root key and the timestamp key are others.
    pub(crate) fn rotate(&self) {
        python_tuf("rotate", &self.dir, &[], &[]);
    }

    /// The root as it was when the repository was created.
    pub(crate) fn pinned_root(&self) -> PathBuf {
        self.dir.join("1.root.json")
    }

    /// The repository as it is now: a mirror that gets no updates any more.
    pub(crate) fn mirror(&self, to: PathBuf) -> Self {
        output(Command::new("cp").arg("-r").arg(&self.dir).arg(&to));
        Self { dir: to }
    }

    /// A target as the reference client gets it, starting from the pinned root.
    pub(crate) fn fetch(&self, target: &str) -> Vec<u8> {
        output(Command::new("python3").arg(script()).arg("fetch").arg(&self.dir).arg(target))
    }
}

fn python_tuf(action: &str, dir: &Path, signed: &[(&str, &Path)], options: &[&str]) {
    let signed = signed.iter().map(|(image, manifest)| format!("{image}={}", manifest.display()));
    output(Command::new("python3").arg(script()).arg(action).arg(dir).args(signed).args(options));
}

fn script() -> PathBuf {
    source_tree().join("tests/interop/python_tuf.py")
}
