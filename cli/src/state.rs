//! Where trusted metadata is kept when nothing else is said.

use std::path::PathBuf;

use plimsoll::client;

/// Below the user's state folder, by the pinned root.
pub(crate) fn default_store(root: &[u8]) -> Result<PathBuf, String> {
    client::default_store(root).map_err(|e| format!("{e}; say where with --store DIR"))
}
