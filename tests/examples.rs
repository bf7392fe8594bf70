//! The async example does what its header says, and refuses what it must.
//!
//! It is compiled into this test, so what runs here is never an older build of it.

#![allow(clippy::unwrap_used, reason = "tests state what they expect")]

#[allow(dead_code, unreachable_pub, reason = "its `main` is for the command")]
#[path = "../examples/async_client.rs"]
mod async_client;

use std::path::{Path, PathBuf};

use async_client::{Fallible, Kept, Repository, fetch, find, refresh};
use plimsoll::trust::{Rules, TrustError};

const MANIFEST: &str = "registry.example/team/app/1.4/manifest.json";

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("test-repos")
}

/// Refreshes from a repository and fetches a target: its bytes and the roles that vouch for it.
fn get(repository: &Path, kept: &mut Kept, path: &str) -> Fallible<(Vec<u8>, String)> {
    let repository = Repository(repository.to_owned());
    let pinned = std::fs::read(samples().join("root.json"))?;
    let rules = Rules::at("2030-01-01T00:00:00Z".parse()?);
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        let mut trusted = refresh(&repository, kept, &pinned, rules).await?;
        let found = find(&repository, &mut trusted, path).await?;
        let signers: Vec<_> = found.delegations().iter().map(|role| role.as_str()).collect();
        Ok((fetch(&repository, &trusted, &found).await?, signers.join(" > ")))
    })
}

/// The code of the check that failed, or the message of what else went wrong.
fn refused(repository: &str, kept: &mut Kept, path: &str) -> String {
    let error = get(&samples().join(repository), kept, path).unwrap_err();
    error.downcast_ref::<TrustError>().map_or_else(|| error.to_string(), |error| error.code().to_owned())
}

#[test]
fn the_async_client_gets_a_target_through_a_delegation() {
    let mut kept = Kept::new();
    // Twice: the second time with a memory of the first.
    for _ in 0..2 {
        let (bytes, signers) = get(&samples().join("good"), &mut kept, MANIFEST).unwrap();
        assert_eq!(bytes, std::fs::read(samples().join("source/app.manifest.json")).unwrap());
        assert_eq!(signers, "targets > team");
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["snapshot.json", "timestamp.json"]);
    }
}

#[test]
fn the_async_client_skips_no_check() {
    let rows = [
        ("hostile/expired-timestamp", MANIFEST, "metadata-expired"),
        ("hostile/threshold-not-met", MANIFEST, "metadata-threshold"),
        ("good", "registry.example/team/app/1.5/manifest.json", "no role that may sign it lists it"),
        ("nowhere", MANIFEST, "the repository has no file metadata/timestamp.json"),
    ];
    for (repository, path, expected) in rows {
        assert_eq!(refused(repository, &mut Kept::new(), path), expected, "{repository}, {path}");
    }
}

#[test]
fn the_async_client_remembers_what_it_trusted() {
    let mut kept = Kept::new();
    assert!(get(&samples().join("hostile/rollback"), &mut kept, MANIFEST).is_ok());
    assert!(get(&samples().join("good"), &mut kept, MANIFEST).is_ok());
    assert_eq!(refused("hostile/rollback", &mut kept, MANIFEST), "metadata-rollback");
}
