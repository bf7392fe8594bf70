//! The file of a policy: where it is, and whether it can be believed.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Policy, PolicyError};
use crate::limits::{MAP_FILE, MetadataLimits, POLICY_FILE};
use crate::map::PinnedMap;

/// The machine's policy.
pub const MACHINE_POLICY: &str = "/etc/plimsoll/policy.toml";

/// The policy file that counts where none is named: the machine's if there is one, else the user's, `$XDG_CONFIG_HOME/plimsoll/policy.toml` or below
/// `~/.config` [XDG Base Directory Specification]. `None` if there is neither. They are never merged, so the user's cannot loosen the machine's.
#[must_use]
pub fn default_policy() -> Option<PathBuf> {
    let user = config_folder(env::var_os("XDG_CONFIG_HOME"), env::var_os("HOME"));
    let user = user.map(|folder| folder.join("plimsoll/policy.toml"));
    // What cannot be looked at is there: a machine's policy that this user may not read is not passed over for the user's own.
    let is_there =
        |path: &PathBuf| !matches!(fs::symlink_metadata(path), Err(e) if e.kind() == io::ErrorKind::NotFound);
    [Some(PathBuf::from(MACHINE_POLICY)), user].into_iter().flatten().find(is_there)
}

/// A relative path is to be ignored, says the specification.
fn config_folder(config: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    config.and_then(absolute).or_else(|| Some(home.and_then(absolute)?.join(".config")))
}

impl Policy {
    /// Reads the policy in a file. Paths in it are relative to the file's folder.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Unreadable`], also if it is longer than [`POLICY_FILE`]; [`PolicyError::Exposed`] if others than its owner may write it, or if it belongs to
    /// neither this user nor root; [`PolicyError::Malformed`].
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let file = path.display().to_string();
        let text = String::from_utf8(guarded(path, POLICY_FILE)?).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            PolicyError::Unreadable { file: file.clone(), source: io::Error::other(format!("not UTF-8 at byte {at}")) }
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let policy = Self::parse(&text, folder).map_err(|error| error.in_file(&file))?;
        Ok(Self { file: Some(path.to_path_buf()), ..policy })
    }
}

/// Reads the pinned root that a rule names. It decides as much as the policy does, so it is held to the same: others must not be able to write it.
///
/// # Errors
///
/// [`PolicyError::Unreadable`], also if it is longer than [`MetadataLimits::root`]; [`PolicyError::Exposed`].
pub fn read_root(path: &Path) -> Result<Vec<u8>, PolicyError> {
    guarded(path, MetadataLimits::default().root)
}

/// Reads the map that a rule names, and the roots beside it. They are held to the same as the policy.
///
/// # Errors
///
/// As [`read_root`]; [`PolicyError::Map`].
pub fn read_map(path: &Path) -> Result<PinnedMap, PolicyError> {
    guarded(path, MAP_FILE)?;
    let pinned = PinnedMap::read(path).map_err(PolicyError::Map)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for repository in pinned.repositories() {
        read_root(&folder.join(repository.name().as_str()).join("root.json"))?;
    }
    Ok(pinned)
}

/// The bytes of a file that nobody else may change.
pub(super) fn guarded(path: &Path, limit: u64) -> Result<Vec<u8>, PolicyError> {
    let file = path.display().to_string();
    let unreadable = |source| PolicyError::Unreadable { file: file.clone(), source };
    // Looked at before it is opened: opening a FIFO would wait for ever.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("not a regular file")));
    }
    let opened = File::open(path).map_err(unreadable)?;
    let found = opened.metadata().map_err(unreadable)?;
    if let Some(why) = exposure(&found) {
        return Err(PolicyError::Exposed { file, why });
    }
    let mut bytes = Vec::new();
    opened.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).map_or(true, |n| n > limit) {
        return Err(unreadable(io::Error::other(format!("longer than {limit} bytes"))));
    }
    Ok(bytes)
}

/// Who else may change the file; `None` if nobody.
#[cfg(unix)]
fn exposure(found: &fs::Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;

    let (mode, owner) = (found.mode() & 0o7777, found.uid());
    let this_user = rustix::process::geteuid().as_raw();
    if mode & 0o022 != 0 {
        return Some(format!("expected a mode that lets its owner alone write, such as 0644, found {mode:04o}"));
    }
    (owner != 0 && owner != this_user).then(|| format!("expected user {this_user} or 0 as its owner, found {owner}"))
}

#[cfg(not(unix))]
fn exposure(_: &fs::Metadata) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_folder_is_absolute_or_there_is_none() {
        let cases = [
            (Some("/c"), Some("/h"), Some("/c")),
            (None, Some("/h"), Some("/h/.config")),
            (Some(""), Some("/h"), Some("/h/.config")),
            (Some("relative"), Some("/h"), Some("/h/.config")),
            (None, Some("relative"), None),
            (None, None, None),
        ];
        for (config, home, expected) in cases {
            assert_eq!(config_folder(config.map(Into::into), home.map(Into::into)), expected.map(PathBuf::from));
        }
    }
}
