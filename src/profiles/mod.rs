//! The security profiles that are signed beside an image: read, held against this machine's baseline, and turned into the options of `docker run`.
//!
//! ```text
//! run.json ---------run----------> limits, capabilities, what it is bound to --+
//! seccomp.json -----seccomp------> rules ---------------------------------------+--> Baseline: within it, or refused --options--> docker run ..., podman run ...
//! apparmor.profile -apparmor-----> names of its profiles ----------------------+
//! selinux.cil ------selinux------> type of its processes ----------------------+
//! ```
//!
//! A profile may tighten what a machine allows, never loosen it. Nothing here reads or writes a file, or loads anything into a kernel.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use plimsoll::digest::Sha256;
//! use plimsoll::profiles::baseline::{Baseline, digests};
//! use plimsoll::profiles::{Engine, Kind, run};
//!
//! let image = Sha256::of(b"the bytes of the signed manifest.json");
//! let mut files = BTreeMap::from([(Kind::Seccomp, br#"{"defaultAction":"SCMP_ACT_ERRNO"}"#.to_vec())]);
//! let draft = br#"{"schema":"plimsoll/run/v1","memory":"64MiB","read-only":true}"#;
//! files.insert(Kind::Run, run::bound(draft, image, &digests(&files)).unwrap());
//!
//! let confinement = Baseline::default().check(&files, image).unwrap();
//! let options = confinement.options(Engine::Docker, &|kind| format!("/run/app/{}", kind.file()));
//! assert_eq!(options.join(" "), "--security-opt seccomp=/run/app/seccomp.json --memory 67108864 --read-only");
//!
//! let refusals = Baseline::default().with_memory(32 << 20).check(&files, image).unwrap_err();
//! assert_eq!(refusals[0].to_string(), "run.json: memory: more than this machine allows, expected at most 33554432, found 67108864");
//! ```

pub mod apparmor;
pub mod baseline;
pub mod capability;
pub mod error;
pub mod options;
pub mod run;
pub mod seccomp;
pub mod selinux;

use self::error::{Code, Refusal};
pub use self::options::Confinement;
use crate::metadata::json::At;
use crate::text::quoted;

/// A profile of any kind, in bytes. Docker's own for seccomp has 13 KiB.
pub const PROFILE_MAX: usize = 1024 * 1024;

/// The kinds of signed profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Limits and switches, and what binds the others to the image.
    Run,
    /// System calls.
    Seccomp,
    /// Files, networks, signals, by AppArmor.
    AppArmor,
    /// The same by SELinux.
    Selinux,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Run, Self::Seccomp, Self::AppArmor, Self::Selinux];

    /// The name of the signed file.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Run => "run.json",
            Self::Seccomp => "seccomp.json",
            Self::AppArmor => "apparmor.profile",
            Self::Selinux => "selinux.cil",
        }
    }

    /// The kind of a file that is called so.
    #[must_use]
    pub fn of_file(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.file() == name)
    }
}

/// Who is to run the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// `docker run`
    Docker,
    /// `podman run`
    Podman,
}

/// Refuses any other key of the object here.
fn known_keys(at: &At<'_>, known: &[&str]) -> Result<(), Refusal> {
    let object = at.object().map_err(|error| Refusal::json("", &error))?;
    match object.iter().find(|(key, _)| !known.contains(key)) {
        None => Ok(()),
        Some((key, _)) => Err(Refusal::new(Code::Unknown, at.path(), "an unknown key")
            .expected(format!("one of {}", known.join(", ")))
            .found(quoted(key))),
    }
}
