//! The programs that are measured, built as they are shipped.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Builds the programs of the workspace, together, so that they share one build of the library. Returns where one of them is.
pub(crate) fn program(name: &str) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let folder = env!("CARGO_MANIFEST_DIR");
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--quiet", "-p", "plimsoll-cli", "-p", "plimsoll-verifier"]).current_dir(folder);
    // What cargo says of this package is not for that build, which would begin anew each time.
    for (name, _) in env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
            build.env_remove(name);
        }
    }
    let status = build.status();
    assert!(status.unwrap().success(), "{name} cannot be built");
    // This program is in target/release/deps.
    let here = env::current_exe().unwrap();
    here.ancestors().nth(2).unwrap().join(name)
}
