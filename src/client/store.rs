//! The local store: what was trusted, kept for the next refresh.
//!
//! What it holds: the trusted files under unversioned names (`root.json`, `timestamp.json`, `snapshot.json`, `targets.json`, delegated
//! roles percent-encoded), byte for byte as received; the roots after the pinned one in `chain`; the root that it was first used with in `pinned`; the highest time seen in `clock`; when the last refresh ended in `refreshed`.
//!
//! Rules:
//! - Nothing in it is believed. The client verifies all of it again on load, so a damaged store costs a download and no more.
//! - Files are replaced whole: written beside, and renamed. Killed at any instant, a file is old or new. Only `chain` is written in its place: it grows
//!   at its end, and what is damaged in it by then counts no more.
//! - What guards, so that nothing older is trusted later (root, timestamp, snapshot, clock), is old or new if the machine itself stops, too: it is synced before
//!   it is renamed, and a refresh ends when the folder is synced. All else can be fetched again, and waits for no disk.
//! - It can be touched only while its lock is held ([`LockedStore`]), by one process at a time: else a slow process could lower the floor
//!   against rollback that a faster one has raised.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{self, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::chain::Chain;
use crate::limits::MetadataLimits;
use crate::text::{escaped, quoted};

/// The roots after the pinned one.
const CHAIN: &str = "chain";
const LOCK: &str = "lock";
const TEMPORARY: &str = ".new-";
/// Short beside a refresh, long beside an attempt.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// What a store holds.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The roots after the pinned one, by version.
    pub(super) roots: BTreeMap<u64, Vec<u8>>,
    /// All others, by name.
    pub(super) named: BTreeMap<String, Vec<u8>>,
}

/// A place for trusted metadata between refreshes.
#[derive(Debug)]
pub struct Store(Place);

#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    Memory(Mutex<Files>),
    /// A copy of a store in a folder: what it does not have of delegated roles is looked for there.
    Copy {
        files: Mutex<Files>,
        folder: PathBuf,
    },
}

/// Why the store could not be used. It says nothing about trust.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Reading or writing failed.
    #[error("cannot {action} {} in the local store", quoted(.file))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// Another process, or another session of this one, held the lock for as long as this one was ready to wait.
    #[error("the local store {} is in use by {}; waited {} s", quoted(.folder), escaped(.holder), .waited.as_secs())]
    Locked {
        /// The folder.
        folder: String,
        /// What the other process left in the lock file: its process id. For a store in memory, that it is this process.
        holder: String,
        /// How long this process waited.
        waited: Duration,
    },
}

impl Store {
    /// A store in a folder, which is created when first used.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self(Place::Folder(path.into()))
    }

    /// A store that lasts as long as this value: no protection against rollback from one run of a program to the next.
    #[must_use]
    pub fn in_memory() -> Self {
        Self(Place::Memory(Mutex::default()))
    }

    /// A copy in memory: what a refresh would do to this store can be seen there, and leaves it as it is. A folder that there is not is an empty store.
    /// A file longer than `limit` bytes counts as missing.
    ///
    /// Of a folder, delegated roles are not copied: there may be thousands, such as hash bins. One that is needed is read where it is, which is as safe as a copy of
    /// it: it counts only as far as it is what the snapshot lists that it is read under.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock), and if a file of it cannot be read.
    pub fn copy_in_memory(&self, wait: Duration, limit: u64) -> Result<Self, StoreError> {
        let Place::Folder(folder) = &self.0 else {
            return Ok(Self(Place::Memory(Mutex::new(self.files(wait, limit)?))));
        };
        let files = Mutex::new(self.files_if(wait, limit, |name| !is_delegated_role(name))?);
        Ok(Self(Place::Copy { files, folder: folder.clone() }))
    }

    /// All files; of a copy, those that it has itself.
    pub(super) fn files(&self, wait: Duration, limit: u64) -> Result<Files, StoreError> {
        self.files_if(wait, limit, |_| true)
    }

    fn files_if(&self, wait: Duration, limit: u64, wanted: fn(&str) -> bool) -> Result<Files, StoreError> {
        let mut files = Files::default();
        if !matches!(&self.0, Place::Folder(path) if !path.exists()) {
            let mut store = self.lock(wait)?;
            files.roots = store.roots(limit.min(MetadataLimits::default().root))?;
            for name in store.names()?.into_iter().filter(|name| wanted(name)) {
                if let Some(bytes) = store.read(&name, limit)? {
                    files.named.insert(name, bytes);
                }
            }
        }
        Ok(files)
    }

    /// Takes the lock, waiting for at most `wait`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] if another process, or another session of this one, keeps it; [`StoreError::Io`] if the folder cannot be made or written.
    pub fn lock(&self, wait: Duration) -> Result<LockedStore<'_>, StoreError> {
        match &self.0 {
            Place::Memory(files) => Ok(LockedStore(Locked::Memory(lock_memory(files, wait)?, None))),
            Place::Copy { files, folder } => Ok(LockedStore(Locked::Memory(lock_memory(files, wait)?, Some(folder)))),
            Place::Folder(path) => {
                create_folder(path)?;
                let lock = lock_file(path, wait)?;
                remove_leftovers(path);
                Ok(LockedStore(Locked::Folder {
                    path,
                    chain: Chain::new(path.join(CHAIN)),
                    _lock: lock,
                    unsettled: false,
                }))
            }
        }
    }
}

/// A store whose lock is held until this value is dropped.
#[derive(Debug)]
pub struct LockedStore<'s>(Locked<'s>);

#[derive(Debug)]
enum Locked<'s> {
    Folder {
        path: &'s Path,
        chain: Chain,
        _lock: File,
        /// Whether there are new names in it that may not be on disk yet.
        unsettled: bool,
    },
    /// And the folder of which it is a copy.
    Memory(MutexGuard<'s, Files>, Option<&'s Path>),
}

/// Also where a refresh stopped halfway: what it had trusted until then guards from now on.
impl Drop for LockedStore<'_> {
    fn drop(&mut self) {
        let _a_refresh_that_succeeds_has_waited_for_it = self.settle();
    }
}

impl LockedStore<'_> {
    /// The names of the files that it holds, but for the roots after the pinned one.
    fn names(&self) -> Result<Vec<String>, StoreError> {
        let path = match &self.0 {
            Locked::Memory(files, _) => return Ok(files.named.keys().cloned().collect()),
            Locked::Folder { path, .. } => path,
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(|source| failed("list", path, source))? {
            let entry = entry.map_err(|source| failed("list", path, source))?;
            // Names of its own are all ASCII; anything else was not put there by it.
            let (is_file, name) = (entry.path().is_file(), entry.file_name().into_string());
            names.extend(name.ok().filter(|name| is_file && ![LOCK, CHAIN].contains(&name.as_str())));
        }
        Ok(names)
    }

    /// The roots after the pinned one, by version, up to the first that is damaged or longer than `limit`.
    fn roots(&mut self, limit: u64) -> Result<BTreeMap<u64, Vec<u8>>, StoreError> {
        match &mut self.0 {
            Locked::Memory(files, _) => {
                let roots = files.roots.iter().take_while(|(_, root)| fits(root, limit));
                Ok(roots.map(|(version, root)| (*version, root.clone())).collect())
            }
            Locked::Folder { chain, .. } => chain.all(limit).map_err(|source| failed("read", chain.path(), source)),
        }
    }

    /// The root of this version, of at most `limit` bytes, if it is one of those after the pinned one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub(super) fn root(&mut self, version: u64, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        match &mut self.0 {
            Locked::Memory(files, _) => Ok(files.roots.get(&version).filter(|root| fits(root, limit)).cloned()),
            Locked::Folder { chain, .. } => {
                chain.read(version, limit).map_err(|source| failed("read", chain.path(), source))
            }
        }
    }

    /// Keeps a root behind the one before it, if there is one. Those behind may be dropped, and those that do not lead up to it are: they can be fetched again.
    ///
    /// It guards nothing; see [`keep`](Self::keep).
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub(super) fn keep_root(&mut self, version: u64, root: &[u8]) -> Result<(), StoreError> {
        match &mut self.0 {
            Locked::Memory(files, _) => {
                files.roots.split_off(&version);
                if files.roots.last_key_value().is_none_or(|(last, _)| last.checked_add(1) != Some(version)) {
                    files.roots.clear();
                }
                files.roots.insert(version, root.to_vec());
                Ok(())
            }
            Locked::Folder { chain, .. } => {
                chain.put(version, root).map_err(|source| failed("write", chain.path(), source))
            }
        }
    }

    /// Reads a file of at most `limit` bytes. A longer one was not written by this store and counts as missing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        match &self.0 {
            Locked::Memory(files, below) => match (files.named.get(name), below) {
                (None, Some(folder)) if is_delegated_role(name) => read_file(&folder.join(name), limit),
                (found, _) => Ok(found.filter(|bytes| fits(bytes, limit)).cloned()),
            },
            Locked::Folder { path, .. } => read_file(&path.join(name), limit),
        }
    }

    /// Replaces a file, unless it holds these bytes already.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]; then the file is as it was.
    pub(super) fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        match &mut self.0 {
            Locked::Memory(files, _) if files.named.get(name).is_some_and(|now| now == bytes) => Ok(()),
            Locked::Memory(files, _) => {
                files.named.insert(name.to_owned(), bytes.to_vec());
                Ok(())
            }
            Locked::Folder { path, unsettled, .. } => {
                let path = path.join(name);
                if !holds(&path, bytes).unwrap_or(false) {
                    replace(&path, bytes, Lasts::Now)?;
                    *unsettled = true;
                }
                Ok(())
            }
        }
    }

    /// The same for a file that guards nothing: it can be fetched again. Killed at any instant it is old or new as well; but if the machine itself
    /// stops soon after, it may be lost.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub(super) fn keep(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        match &self.0 {
            Locked::Memory(..) => self.write(name, bytes),
            Locked::Folder { path, .. } => {
                let path = path.join(name);
                if holds(&path, bytes).unwrap_or(false) { Ok(()) } else { replace(&path, bytes, Lasts::InAWhile) }
            }
        }
    }

    /// Waits until what was written is on disk under its name. Until then a machine that stops may come back with what was there before, whole.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        if let Locked::Folder { path, unsettled, .. } = &mut self.0
            && std::mem::take(unsettled)
        {
            sync_folder(path)?;
        }
        Ok(())
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub(super) fn remove(&mut self, name: &str) -> Result<(), StoreError> {
        match &mut self.0 {
            Locked::Memory(files, _) => drop(files.named.remove(name)),
            Locked::Folder { path, .. } => {
                let file = path.join(name);
                match fs::remove_file(&file) {
                    Ok(()) => sync_folder(path)?,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => return Err(failed("remove", &file, source)),
                }
            }
        }
        Ok(())
    }

    /// Where a file is, for messages.
    pub(super) fn describe(&self, name: &str) -> String {
        match &self.0 {
            Locked::Memory(..) => format!("{name} in memory"),
            Locked::Folder { path, .. } => path.join(name).display().to_string(),
        }
    }
}

/// Whether a file of this name holds a delegated role: those of the top-level roles, and all else that a store keeps, have names of their own.
fn is_delegated_role(name: &str) -> bool {
    let top_level = ["root.json", "timestamp.json", "snapshot.json", "targets.json"];
    name.ends_with(".json") && !name.contains('/') && !top_level.contains(&name)
}

fn fits(bytes: &[u8], limit: u64) -> bool {
    u64::try_from(bytes.len()).is_ok_and(|n| n <= limit)
}

fn read_file(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let mut bytes = Vec::new();
    match regular_file(path).and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes).filter(|bytes| fits(bytes, limit))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("read", path, source)),
    }
}

/// Whether a file holds these bytes. Read piece by piece: a file of the store may be as large as the new one, and both need not be in memory.
fn holds(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let mut file = regular_file(path)?;
    if file.metadata()?.len() != u64::try_from(bytes.len()).unwrap_or(u64::MAX) {
        return Ok(false);
    }
    let mut piece = [0; 16 * 1024];
    for expected in bytes.chunks(piece.len()) {
        let piece = piece.get_mut(..expected.len()).unwrap_or_default();
        file.read_exact(piece)?;
        if piece != expected {
            return Ok(false);
        }
    }
    Ok(true)
}

fn create_folder(path: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| failed("create", path, source))
}

/// Tried again and again, for a mutex that this very thread holds would be waited for without end.
fn lock_memory(files: &Mutex<Files>, wait: Duration) -> Result<MutexGuard<'_, Files>, StoreError> {
    let started = Instant::now();
    loop {
        match files.try_lock() {
            Ok(guard) => return Ok(guard),
            // Each change is one insertion or removal, so there is no half of one.
            Err(sync::TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
            Err(sync::TryLockError::WouldBlock) if started.elapsed() < wait => thread::sleep(LOCK_RETRY),
            Err(sync::TryLockError::WouldBlock) => {
                let (folder, holder) = ("in memory".to_owned(), "another session of this process".to_owned());
                return Err(StoreError::Locked { folder, holder, waited: started.elapsed() });
            }
        }
    }
}

fn lock_file(folder: &Path, wait: Duration) -> Result<File, StoreError> {
    let path = folder.join(LOCK);
    let io_failed = |source| failed("lock", &path, source);
    // Not truncated: until the lock is held the file says who holds it.
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(io_failed)?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if started.elapsed() < wait => thread::sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _unreadable_is_unknown = (&file).take(64).read_to_string(&mut holder);
                let holder = if holder.trim().is_empty() { "another process" } else { holder.trim() };
                return Err(StoreError::Locked {
                    folder: folder.display().to_string(),
                    holder: holder.to_owned(),
                    waited: started.elapsed(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io_failed(source)),
        }
    }
    let named = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(format!("process {}\n", std::process::id()).as_bytes()));
    named.map_err(io_failed)?;
    Ok(file)
}

/// Temporary files of a process that was killed. The lock is held, so they are nobody's now.
fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            let _a_leftover_harms_nothing = fs::remove_file(entry.path());
        }
    }
}

/// Looked at before it is opened: opening a FIFO would wait for ever.
fn regular_file(path: &Path) -> io::Result<File> {
    if fs::metadata(path)?.is_file() { File::open(path) } else { Err(io::Error::other("not a regular file")) }
}

/// When a file is on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lasts {
    Now,
    /// When the system likes.
    InAWhile,
}

fn replace(path: &Path, bytes: &[u8], lasts: Lasts) -> Result<(), StoreError> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed("write", path, io::Error::other("not a file name")));
    };
    let temporary = folder.join(format!("{TEMPORARY}{}", name.to_string_lossy()));
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        if lasts == Lasts::Now { file.sync_all() } else { Ok(()) }
    });
    written.and_then(|()| fs::rename(&temporary, path)).map_err(|source| {
        let _the_cause_is_what_matters = fs::remove_file(&temporary);
        failed("write", path, source)
    })
}

/// A rename lasts only once its folder is on disk.
fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| failed("sync", folder, source))?;
    Ok(())
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { action, file: path.display().to_string(), source }
}
