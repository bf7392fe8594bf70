//! Where trusted metadata is kept when nothing else is said: below the user's state folder, by the digest of the pinned root.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::digest::Sha256;

/// There is no home folder, and no state folder is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no home folder to keep trusted metadata in")]
pub struct NoStateFolder;

/// `$XDG_STATE_HOME/plimsoll/<sha256 of the pinned root>`, or below `~/.local/state` [XDG Base Directory Specification].
///
/// # Errors
///
/// [`NoStateFolder`].
pub fn default_store(root: &[u8]) -> Result<PathBuf, NoStateFolder> {
    let folder = state_folder(env::var_os("XDG_STATE_HOME"), env::var_os("HOME")).ok_or(NoStateFolder)?;
    Ok(folder.join("plimsoll").join(Sha256::of(root).to_hex()))
}

/// A relative path is to be ignored, says the specification.
fn state_folder(state: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    state.and_then(absolute).or_else(|| Some(home.and_then(absolute)?.join(".local/state")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_is_absolute_or_there_is_none() {
        let cases = [
            (Some("/s"), Some("/h"), Some("/s")),
            (None, Some("/h"), Some("/h/.local/state")),
            (Some(""), Some("/h"), Some("/h/.local/state")),
            (Some("relative"), Some("/h"), Some("/h/.local/state")),
            (None, Some("relative"), None),
            (None, None, None),
        ];
        for (state, home, expected) in cases {
            assert_eq!(state_folder(state.map(Into::into), home.map(Into::into)), expected.map(PathBuf::from));
        }
    }
}
