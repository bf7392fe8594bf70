//! The files of a repository that is being written.
//!
//! ```text
//! metadata/   what clients read: 1.root.json, 3.targets.json, 2.team.json, 5.snapshot.json, timestamp.json
//! targets/    what clients read: registry.example/team/app/1.4/<sha256>.manifest.json
//! staged/     what is not published yet: metadata/team.json, targets/..., and the lock
//! ```
//!
//! Rules:
//! - What clients read is made ready aside and appears by renames. `timestamp.json` is renamed last, and nothing that is new is found before it is:
//!   killed at any instant, clients see the old state or the new.
//! - A new root is found without a timestamp, and may have taken the old timestamp's keys away. So a publication with a new root exchanges the whole
//!   folder `metadata` for a new one in one step, where the file system can. Where it cannot (it is no Linux, or `metadata` is a link), there is an
//!   instant in which clients see the new root with the old timestamp, and refuse to go on until the next attempt.
//! - What is renamed has been written to disk before, and the folder is afterwards.
//! - Nothing is removed that a client may still ask for.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::encoded;
use crate::digest::{HashingReader, Sha256};
use crate::disk::{self, TEMPORARY, exchange, temporary};
use crate::metadata::RoleName;
use crate::metadata::roles::TargetFile;
use crate::publish::error::PublishError;
use crate::trust::TargetCheck;

const METADATA: &str = "metadata";
const TARGETS: &str = "targets";
const STAGED: &str = "staged";
const LOCK: &str = "lock";
/// The new `metadata` before it takes its place, and the old one after that.
const NEXT: &str = ".new-metadata";
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// A repository's folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Held as long as this lives. `None`: opened for reading only.
    lock: Option<File>,
}

/// The files of one publication, in the order in which they are made visible.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Names below `targets/`, to be taken from the staged ones.
    pub(super) targets: Vec<String>,
    /// Names and contents below `metadata/`, but for the timestamp.
    pub(super) metadata: Vec<(String, Vec<u8>)>,
    /// Whether a root is among them.
    pub(super) has_root: bool,
    pub(super) timestamp: Vec<u8>,
    /// Roles whose staged files are done with.
    pub(super) staged: Vec<RoleName>,
}

impl Folder {
    /// Opens a folder for changes by this process alone; makes it if need be.
    pub(super) fn lock(path: &Path) -> Result<Self, PublishError> {
        let folder = Self { path: path.to_path_buf(), lock: None };
        for name in [STAGED.to_owned(), format!("{STAGED}/{METADATA}"), format!("{STAGED}/{TARGETS}")] {
            let path = path.join(name);
            fs::create_dir_all(&path).map_err(|source| failed("create", &path, source))?;
        }
        let file = path.join(STAGED).join(LOCK);
        let lock = File::options().read(true).write(true).create(true).truncate(false).open(&file);
        let lock = lock.map_err(|source| failed("lock", &file, source))?;
        let started = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_WAIT => thread::sleep(LOCK_RETRY),
                Err(TryLockError::WouldBlock) => return Err(PublishError::Locked(path.display().to_string())),
                Err(TryLockError::Error(source)) => return Err(failed("lock", &file, source)),
            }
        }
        let folder = Self { lock: Some(lock), ..folder };
        folder.remove_leftovers();
        Ok(folder)
    }

    /// Opens a folder for looking at it, which may be on read-only media.
    pub(super) fn look(path: &Path) -> Self {
        Self { path: path.to_path_buf(), lock: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file below `metadata/`.
    pub(super) fn metadata(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, PublishError> {
        read(&self.path.join(METADATA).join(name), limit)
    }

    /// The versions of the published roots, ascending.
    pub(super) fn root_versions(&self) -> Result<Vec<u64>, PublishError> {
        let mut versions: Vec<u64> = names(&self.path.join(METADATA))?
            .iter()
            .filter_map(|name| {
                let version = name.strip_suffix(".root.json")?;
                version.parse::<u64>().ok().filter(|n| n.to_string() == version)
            })
            .collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// What is staged of each role, or why it cannot be read.
    #[expect(clippy::type_complexity, reason = "one list of results inside another result, used once")]
    pub(super) fn staged(&self, limit: u64) -> Result<Vec<(RoleName, Result<Vec<u8>, PublishError>)>, PublishError> {
        let folder = self.path.join(STAGED).join(METADATA);
        let mut staged = Vec::new();
        for name in names(&folder)? {
            let Some(role) = name.strip_suffix(".json").and_then(decoded) else { continue };
            if let Some(file) = read(&folder.join(&name), limit).transpose() {
                staged.push((role_name(&role), file));
            }
        }
        Ok(staged)
    }

    /// Keeps a role's file until it can be published.
    pub(super) fn stage(&self, role: &RoleName, file: &[u8]) -> Result<(), PublishError> {
        self.must_be_locked()?;
        replace(&self.staged_file(role), file)
    }

    /// Forgets what is staged of a role.
    pub(super) fn unstage(&self, role: &RoleName) -> Result<(), PublishError> {
        self.must_be_locked()?;
        let path = self.staged_file(role);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path, source)),
            _ => Ok(()),
        }
    }

    fn staged_file(&self, role: &RoleName) -> PathBuf {
        self.path.join(STAGED).join(METADATA).join(format!("{}.json", encoded(role.as_str())))
    }

    /// Copies a file that is to become a target. `name` gives its name below `targets/` from its SHA-256. Returns length and hash.
    pub(super) fn stage_target(
        &self,
        from: impl Read,
        name: impl FnOnce(Sha256) -> String,
    ) -> Result<(u64, Sha256), PublishError> {
        self.must_be_locked()?;
        let folder = self.path.join(STAGED).join(TARGETS);
        let io = |source| failed("write", &folder, source);
        let mut file = temporary(&folder).map_err(io)?;
        let mut reader = HashingReader::new(from);
        let mut writer = BufWriter::with_capacity(1 << 20, file.as_file_mut());
        io::copy(&mut reader, &mut writer).and_then(|_| writer.flush()).map_err(io)?;
        drop(writer);
        let (hash, length) = reader.finish();
        file.as_file().sync_all().map_err(io)?;
        let path = folder.join(name(hash));
        create_parent(&path)?;
        file.persist(&path).map_err(|e| failed("write", &path, e.error))?;
        Ok((length, hash))
    }

    /// Where a target's file is, by its name below `targets/`: published, or staged.
    pub(super) fn find_target(&self, name: &str) -> Option<(PathBuf, bool)> {
        let published = self.path.join(TARGETS).join(name);
        if published.is_file() {
            return Some((published, true));
        }
        let staged = self.path.join(STAGED).join(TARGETS).join(name);
        // A link would be published as one, and lead to something else tomorrow.
        let is_file = fs::symlink_metadata(&staged).is_ok_and(|found| found.is_file());
        is_file.then_some((staged, false))
    }

    /// Makes a publication visible.
    pub(super) fn publish(&self, files: &Files) -> Result<(), PublishError> {
        self.must_be_locked()?;
        let mut changed = BTreeSet::new();
        for name in &files.targets {
            let (from, to) = (self.path.join(STAGED).join(TARGETS).join(name), self.path.join(TARGETS).join(name));
            create_parent(&to)?;
            fs::rename(&from, &to).map_err(|source| failed("publish", &to, source))?;
            // Every folder on the way may be new as well.
            changed.extend(
                to.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.path)).map(Path::to_path_buf),
            );
            remove_empty_folders(&self.path.join(STAGED).join(TARGETS), &from);
        }
        changed.iter().try_for_each(|folder| sync(folder))?;
        fs::create_dir_all(self.path.join(TARGETS)).map_err(|source| failed("create", &self.path, source))?;
        if !files.has_root || !self.exchange(files)? {
            write_all(&self.path.join(METADATA), files)?;
        }
        for role in &files.staged {
            self.unstage(role)?;
        }
        Ok(())
    }

    /// The whole folder at once. `false` if the system cannot; then nothing has happened.
    fn exchange(&self, files: &Files) -> Result<bool, PublishError> {
        let (now, next) = (self.path.join(METADATA), self.path.join(NEXT));
        let exists = match fs::symlink_metadata(&now) {
            Ok(found) if found.is_dir() => true,
            Ok(_) => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(source) => return Err(failed("read", &now, source)),
        };
        let io = |source| failed("write", &next, source);
        fs::create_dir(&next).map_err(io)?;
        if exists {
            for name in names(&now)? {
                let (from, to) = (now.join(&name), next.join(&name));
                if !from.is_file() {
                    continue;
                }
                // What a file system without links cannot share is copied.
                fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop)).map_err(io)?;
            }
        }
        write_all(&next, files)?;
        if exists {
            // Who may read the old one may read this one, and nobody else.
            fs::metadata(&now).and_then(|old| fs::set_permissions(&next, old.permissions())).map_err(io)?;
        }
        let done = if exists { exchange(&now, &next) } else { fs::rename(&next, &now).map(|()| true) };
        let done = done.map_err(|source| failed("publish", &now, source))?;
        sync(&self.path)?;
        self.remove_next();
        Ok(done)
    }

    /// The old state, or what was not to be. Only files were taken over from the old one: what else somebody keeps there follows now.
    fn remove_next(&self) {
        let (now, next) = (self.path.join(METADATA), self.path.join(NEXT));
        // A link in its place is removed as what it is.
        let is_folder = fs::symlink_metadata(&next).is_ok_and(|found| found.is_dir());
        for name in if is_folder { names(&next).unwrap_or_default() } else { Vec::new() } {
            if fs::symlink_metadata(next.join(&name)).is_ok_and(|found| !found.is_file())
                && fs::symlink_metadata(now.join(&name)).is_err()
                && fs::rename(next.join(&name), now.join(&name)).is_err()
            {
                return; // It is somebody's, and not to be removed.
            }
        }
        let _a_leftover_harms_nothing = fs::remove_dir_all(&next);
    }

    fn must_be_locked(&self) -> Result<(), PublishError> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(PublishError::Usage("the repository was opened for reading only".to_owned())),
        }
    }

    /// What a process left that was killed.
    fn remove_leftovers(&self) {
        self.remove_next();
        for folder in [METADATA, "staged/metadata", "staged/targets"] {
            for name in names(&self.path.join(folder)).unwrap_or_default() {
                if name.starts_with(TEMPORARY) {
                    let _a_leftover_harms_nothing = fs::remove_file(self.path.join(folder).join(name));
                }
            }
        }
    }
}

/// The role of that name.
pub(super) fn role_name(name: &str) -> RoleName {
    match name {
        "root" => RoleName::Root,
        "timestamp" => RoleName::Timestamp,
        "snapshot" => RoleName::Snapshot,
        "targets" => RoleName::Targets,
        other => RoleName::Delegated(other.to_owned()),
    }
}

/// The name of a role's published file [TUF 6.2].
pub(super) fn file_name(role: &RoleName, version: u64) -> String {
    match role {
        RoleName::Timestamp => "timestamp.json".to_owned(),
        role => format!("{version}.{}.json", encoded(role.as_str())),
    }
}

/// What [`encoded`] made, undone; `None` if it did not make it.
fn decoded(name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let (byte, length) = match first {
            '%' => (u8::from_str_radix(rest.get(1..3)?, 16).ok()?, 3),
            c => (u8::try_from(c).ok()?, c.len_utf8()),
        };
        bytes.push(byte);
        rest = rest.get(length..)?;
    }
    String::from_utf8(bytes).ok().filter(|text| encoded(text) == name)
}

/// All files of a publication into a folder, the timestamp last.
fn write_all(folder: &Path, files: &Files) -> Result<(), PublishError> {
    fs::create_dir_all(folder).map_err(|source| failed("create", folder, source))?;
    for (name, bytes) in &files.metadata {
        put(&folder.join(name), bytes)?;
    }
    sync(folder)?;
    put(&folder.join("timestamp.json"), &files.timestamp)?;
    sync(folder)
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    put(path, bytes)?;
    path.parent().map_or(Ok(()), sync)
}

/// Written beside, then renamed.
fn put(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    let io = |source| failed("write", path, source);
    let mut file = temporary(path.parent().unwrap_or(Path::new("."))).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(io)?;
    file.persist(path).map(drop).map_err(|e| io(e.error))
}

fn create_parent(path: &Path) -> Result<(), PublishError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|source| failed("create", parent, source))
}

/// Those between `top` and a file that is gone; one that is not empty stays.
fn remove_empty_folders(top: &Path, path: &Path) {
    let below_top = path.ancestors().skip(1).take_while(|folder| folder.starts_with(top) && *folder != top);
    below_top.map(fs::remove_dir).take_while(Result::is_ok).for_each(drop);
}

/// A rename lasts only once its folder is on disk.
fn sync(folder: &Path) -> Result<(), PublishError> {
    disk::sync(folder).map_err(|source| failed("sync", folder, source))
}

/// The names in a folder, sorted; none if there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>, PublishError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed("list", folder, source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| failed("list", folder, source))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, PublishError> {
    let io = |source| failed("read", path, source);
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io(source)),
        // Looked at before it is opened: opening a FIFO would wait for ever.
        Ok(found) if !found.is_file() => return Err(io(io::Error::other("not a regular file"))),
        Ok(found) if found.len() > limit => {
            return Err(io(io::Error::other(format!("longer than {limit} bytes"))));
        }
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(io)?;
    Ok(Some(bytes))
}

/// Whether a file is what its role says of it.
pub(super) fn check_file(file: &Path, path: &str, said: &TargetFile) -> Result<(), PublishError> {
    let io = |source| failed("read", file, source);
    let mut check = TargetCheck::new(path, said).map_err(PublishError::Refused)?;
    let mut reader = File::open(file).map_err(io)?;
    let mut chunk = vec![0; 1 << 16];
    loop {
        let n = reader.read(&mut chunk).map_err(io)?;
        match chunk.get(..n) {
            Some(bytes) if !bytes.is_empty() => check.update(bytes).map_err(PublishError::Refused)?,
            _ => return check.finish().map_err(PublishError::Refused),
        }
    }
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> PublishError {
    PublishError::Io { action, file: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_role_comes_back_from_that_of_its_file() {
        for name in ["team", "a/b", "registry.example/*", "ü", "%41", "..", "a b"] {
            assert_eq!(decoded(&encoded(name)).as_deref(), Some(name));
        }
        for file in ["%", "%4", "%zz", "a/b", "%41", "%c3", "ü", "%2f"] {
            assert_eq!(decoded(file), None, "{file}");
        }
    }
}
