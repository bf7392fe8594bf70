//! The security profiles that are signed beside an image: read, held against this machine's baseline, and turned into the options of `docker run`.
//!
//! ```text
//! run.json ---------run----------> limits, capabilities, what it is bound to --+
//! seccomp.json -----seccomp------> rules ---------------------------------------+--> Baseline: within it, or refused --options--> docker run ..., podman run ...
//! apparmor.profile -apparmor-----> names of its profiles ----------------------+
//! selinux.cil ------selinux------> name of its type ---------------------------+
//! ```
//!
//! A profile may tighten what a machine allows, never loosen it. Nothing here reads or writes a file, or loads anything into a kernel.

pub mod capability;
pub mod error;
pub mod seccomp;

use self::error::{Code, Refusal};
use crate::metadata::json::At;
use crate::text::quoted;

/// A profile of any kind, in bytes. Docker's own for seccomp has 13 KiB.
pub const PROFILE_MAX: usize = 1024 * 1024;

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
