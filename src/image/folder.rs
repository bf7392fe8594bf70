//! The folder of an OCI layout, as the entries of an archive whose files stand one after the other.
//!
//! Rules:
//! - Every part of every path is opened below the folder that was opened, and no link is followed: not at the first look, and not when one
//!   takes a file's place later.
//! - A file is opened only after it was seen to be regular, and without waiting; it is read only if what was opened is still that file.
//! - Files and folders, nothing else: no links, FIFOs, sockets, devices.
//! - Names obey the rules for those in a tar.
//! - A file has the size that it had when the folder was listed.
//!
//! That a file is still the same is for a clear message. Trust never rests on it: each decision comes from bytes that were read and hashed.

#[cfg(not(unix))]
pub(crate) use elsewhere::Folder;
#[cfg(unix)]
pub(crate) use unix::Folder;

#[cfg(unix)]
mod unix {
    use std::fs::File;
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::path::Path;
    use std::sync::{Arc, Mutex, PoisonError};

    use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, statat};
    use rustix::io::Errno;

    use crate::image::error::{ArchiveError, Changed, Code, Refusal};
    use crate::image::read_at::ReadAt;
    use crate::image::tar::{Entry, Kind, Sizes, Table, clean, unacceptable};
    use crate::limits::{ArchiveLimits, bound};
    use crate::text::{escaped, quoted};

    /// Files that are kept open. As many as threads read from, and some more.
    const OPEN_MAX: usize = 32;

    /// An opened folder and what is in it.
    pub(crate) struct Folder {
        root: OwnedFd,
        entries: Vec<Entry>,
        /// Those that are not empty, by offset.
        files: Vec<Listed>,
        size: u64,
        /// The one that was used last is at the end.
        opened: Mutex<Vec<(u64, Arc<File>)>>,
    }

    /// A file as it was listed.
    struct Listed {
        name: String,
        offset: u64,
        size: u64,
        identity: Identity,
    }

    /// What tells two files apart while both exist: device and inode. Their types differ from system to system; all fit here.
    #[derive(Clone, Copy, PartialEq, Eq)]
    struct Identity(i128, i128);

    impl Identity {
        fn of(stat: &Stat) -> Self {
            Self(i128::from(stat.st_dev), i128::from(stat.st_ino))
        }
    }

    impl Folder {
        /// Lists the folder.
        pub(crate) fn open(path: &Path, limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
            let shown = path.display().to_string();
            let root = open(path, FOLDER, Mode::empty()).map_err(|e| failed(&shown, e))?;
            let mut found = Vec::new();
            let mut sizes = Sizes::new(limits);
            // Not by recursion: how deep it goes, the folder decides.
            let mut folders = vec![String::new()];
            while let Some(folder) = folders.pop() {
                for (name, kind, stat) in list(&root, &folder, limits, &mut sizes)? {
                    if kind == Kind::Directory {
                        folders.push(name.clone());
                    }
                    found.push((name, kind, stat));
                }
            }
            // A file system lists in any order.
            found.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(Self::lay_out(root, found, limits)?)
        }

        /// Gives every file its place.
        fn lay_out(root: OwnedFd, found: Vec<(String, Kind, Stat)>, limits: &ArchiveLimits) -> Result<Self, Refusal> {
            let (mut entries, mut files, mut offset) = (Vec::new(), Vec::new(), 0u64);
            for (name, kind, stat) in found {
                let size = if kind == Kind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
                entries.push(Entry { name: name.clone(), kind, offset, size });
                let end = offset.checked_add(size).filter(|end| *end <= limits.archive).ok_or_else(|| {
                    let message = "the files of the folder have too many bytes together";
                    Refusal::beyond(bound!(limits, archive), escaped(&name), message)
                        .found(format!("{} and {size} more", offset))
                })?;
                if size > 0 {
                    files.push(Listed { name, offset, size, identity: Identity::of(&stat) });
                }
                offset = end;
            }
            Ok(Self { root, entries, files, size: offset, opened: Mutex::new(Vec::new()) })
        }

        pub(crate) fn table(&self) -> Result<Table, Refusal> {
            Table::new(self.entries.clone())
        }

        pub(crate) fn size(&self) -> u64 {
            self.size
        }

        /// Reads up to the end of the file that is at `offset`. 0 before that means that the file has become shorter.
        pub(crate) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let after = self.files.partition_point(|file| file.offset <= offset);
            let Some(file) = after.checked_sub(1).and_then(|i| self.files.get(i)) else { return Ok(0) };
            let within = offset.saturating_sub(file.offset);
            let left = usize::try_from(file.size.saturating_sub(within)).unwrap_or(usize::MAX);
            let wanted = left.min(buf.len());
            match buf.get_mut(..wanted) {
                Some(buf) if !buf.is_empty() => self.opened(file)?.read_at(buf, within),
                _ => Ok(0),
            }
        }

        /// The file, opened anew unless it is among those that are kept open.
        fn opened(&self, file: &Listed) -> io::Result<Arc<File>> {
            let lock = || self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            {
                let mut opened = lock();
                if let Some(i) = opened.iter().position(|(offset, _)| *offset == file.offset) {
                    let kept = opened.remove(i);
                    let handle = Arc::clone(&kept.1);
                    opened.push(kept);
                    return Ok(handle);
                }
            }
            let handle = Arc::new(open_listed(&self.root, file)?);
            let mut opened = lock();
            if opened.len() >= OPEN_MAX {
                opened.remove(0);
            }
            opened.push((file.offset, Arc::clone(&handle)));
            Ok(handle)
        }
    }

    const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::DIRECTORY).union(OFlags::NONBLOCK);
    const FILE: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

    /// What is in one folder.
    fn list(
        root: &OwnedFd,
        folder: &str,
        limits: &ArchiveLimits,
        sizes: &mut Sizes,
    ) -> Result<Vec<(String, Kind, Stat)>, ArchiveError> {
        let handle = open_folder(root, folder).map_err(|e| listing_failed(folder, e))?;
        let mut found = Vec::new();
        for item in Dir::read_from(&handle).map_err(|e| failed(folder, e))? {
            let item = item.map_err(|e| failed(folder, e))?;
            let own = item.file_name();
            if matches!(own.to_bytes(), b"." | b"..") {
                continue;
            }
            let name = full_name(folder, own.to_bytes(), limits)?;
            sizes.count(&name)?;
            let stat = statat(&handle, own, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| listing_failed(&name, gone(e)))?;
            found.push((name.clone(), kind(&name, &stat)?, stat));
        }
        Ok(found)
    }

    fn full_name(folder: &str, own: &[u8], limits: &ArchiveLimits) -> Result<String, Refusal> {
        let refused =
            |fault: String, name: &str| Refusal::new(Code::ArchiveEntryName, format!("entry {}", quoted(name)), fault);
        let own = str::from_utf8(own)
            .map_err(|_| refused("a name that is not UTF-8".to_owned(), &String::from_utf8_lossy(own)))?;
        let name = if folder.is_empty() { own.to_owned() } else { format!("{folder}/{own}") };
        clean(&name, bound!(limits, path)).map_err(|fault| refused(fault, &name))
    }

    fn kind(name: &str, stat: &Stat) -> Result<Kind, Refusal> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Kind::File),
            FileType::Directory => Ok(Kind::Directory),
            FileType::Symlink => {
                let message = "a link in a folder: it may lead anywhere, and later somewhere else";
                Err(Refusal::new(Code::ArchiveSymlink, escaped(name), message).expected("a file or a folder"))
            }
            FileType::Fifo => Err(unacceptable(name, "a FIFO")),
            FileType::Socket => Err(unacceptable(name, "a socket")),
            FileType::CharacterDevice | FileType::BlockDevice => Err(unacceptable(name, "a device")),
            FileType::Unknown => Err(unacceptable(name, "a file of unknown type")),
        }
    }

    /// A folder below `root`, one part after the other, following no link.
    fn open_folder(root: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
        let mut handle = openat(root, ".", FOLDER, Mode::empty()).map_err(gone)?;
        for part in name.split('/').filter(|part| !part.is_empty()) {
            handle = openat(&handle, part, FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(gone)?;
        }
        Ok(handle)
    }

    fn open_listed(root: &OwnedFd, file: &Listed) -> io::Result<File> {
        let (folder, own) = file.name.rsplit_once('/').unwrap_or(("", &file.name));
        let folder = open_folder(root, folder)?;
        let handle = openat(folder.as_fd(), own, FILE | OFlags::NOFOLLOW, Mode::empty()).map_err(gone)?;
        let stat = fstat(&handle)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || Identity::of(&stat) != file.identity {
            return Err(Changed("another file took its place while the folder was read").into());
        }
        if u64::try_from(stat.st_size).ok() != Some(file.size) {
            return Err(Changed("its size changed while the folder was read").into());
        }
        Ok(File::from(handle))
    }

    /// What was there a moment ago and is no longer, or is something else now, has been changed by somebody.
    fn gone(error: Errno) -> io::Error {
        match error {
            Errno::NOENT => Changed("it was removed while the folder was read").into(),
            Errno::LOOP | Errno::NOTDIR | Errno::NXIO => {
                Changed("something else took its place while the folder was read").into()
            }
            other => other.into(),
        }
    }

    fn failed(name: &str, error: Errno) -> ArchiveError {
        ArchiveError::Io { what: format!("cannot read {}", quoted(name)), source: error.into() }
    }

    fn listing_failed(name: &str, source: io::Error) -> ArchiveError {
        match Changed::of(&source) {
            Some(changed) => changed.refusal(name).into(),
            None => ArchiveError::Io { what: format!("cannot read {}", quoted(name)), source },
        }
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use std::convert::Infallible;
    use std::io;
    use std::path::Path;

    use crate::image::error::{ArchiveError, Refusal};
    use crate::image::tar::Table;
    use crate::limits::ArchiveLimits;
    use crate::text::quoted;

    /// There is none: without opening files below an opened folder, links could not be kept out.
    pub(crate) struct Folder(Infallible);

    impl Folder {
        pub(crate) fn open(path: &Path, _: &ArchiveLimits) -> Result<Self, ArchiveError> {
            let what = format!("cannot read {}", quoted(&path.display().to_string()));
            let source = io::Error::other("it is a folder; here only files are read, so pack the OCI layout with tar");
            Err(ArchiveError::Io { what, source })
        }

        pub(crate) fn table(&self) -> Result<Table, Refusal> {
            match self.0 {}
        }

        pub(crate) fn size(&self) -> u64 {
            match self.0 {}
        }

        pub(crate) fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            match self.0 {}
        }
    }
}
