//! The roots after the pinned one, in one file of a store: a record for each, in their order.
//!
//! A record is a line with version and length in bytes, the root as it was received, and an end of line; each version is the one after that before. One file, for a repository may have thousands of
//! roots, and to make a file for each takes longer than to verify it.
//!
//! Nothing is believed of it. What is no record ends the chain, as does a root that the client does not trust: the rest is fetched again and takes its place.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Two numbers of 20 digits, a space and the end of the line.
const HEAD_MAX: u64 = 42;

/// As many bytes of a chain are read into memory at once: some twenty thousand roots.
const ALL_MAX: u64 = 64 << 20;

/// The file, opened when it is first asked for something.
#[derive(Debug)]
pub(super) struct Chain {
    path: PathBuf,
    records: Option<Records>,
}

impl Chain {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, records: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The root of this version, if there is a record of it with at most `limit` bytes. Quick in the order of the versions.
    pub(super) fn read(&mut self, version: u64, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(mut records) = self.records()? else { return Ok(None) };
        let root = match records.find(version)? {
            Some(head) if head.length <= limit => records.root(&head)?,
            _ => None,
        };
        self.records = Some(records);
        Ok(root)
    }

    /// All roots up to the first that is damaged or longer than `limit`, by version; no more than [`ALL_MAX`] bytes of them.
    pub(super) fn all(&mut self, limit: u64) -> io::Result<BTreeMap<u64, Vec<u8>>> {
        let mut roots = BTreeMap::new();
        let Some(mut records) = self.records()? else { return Ok(roots) };
        records.rewind()?;
        while let Some(head) = records.head()?.filter(|head| head.length <= limit && head.end <= ALL_MAX) {
            let Some(root) = records.root(&head)? else { break };
            roots.insert(head.version, root);
        }
        self.records = Some(records);
        Ok(roots)
    }

    /// Puts a root behind the one before it, in the place of what stands there. Those behind stay if it is as long as the one that it takes the place of, else
    /// they are dropped, as are roots that do not lead up to it.
    pub(super) fn put(&mut self, version: u64, root: &[u8]) -> io::Result<()> {
        let mut records = match self.records()? {
            Some(records) => records,
            None => Records::of(File::options().read(true).write(true).create_new(true).open(&self.path)?)?,
        };
        records.put(version, root)?;
        self.records = Some(records);
        Ok(())
    }

    /// `None` if there is no such file. They are put back unless something failed: nobody knows then at what place they are.
    fn records(&mut self) -> io::Result<Option<Records>> {
        if let Some(records) = self.records.take() {
            return Ok(Some(records));
        }
        // Looked at before it is opened: opening a FIFO would wait for ever, and through a link another file would be written.
        match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_file() => {
                Records::of(File::options().read(true).write(true).open(&self.path)?).map(Some)
            }
            Ok(_) => Err(io::Error::other("not a regular file")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// The open file, at a place where a record begins or the good part of it ends.
#[derive(Debug)]
struct Records {
    file: BufReader<File>,
    length: u64,
    place: u64,
    /// The version of the record before this place and one. `None` if there is no record before it: then any may follow.
    next: Option<u64>,
}

/// What the first line of a record says.
struct Head {
    version: u64,
    /// Of the root.
    length: u64,
    /// Where the root begins.
    root: u64,
    /// Where the record ends.
    end: u64,
}

impl Records {
    fn of(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file: BufReader::new(file), length, place: 0, next: None })
    }

    /// Goes to the place of the record of this version, which is behind those of lower versions, and reads its head if there is one.
    fn find(&mut self, version: u64) -> io::Result<Option<Head>> {
        if self.next.is_some_and(|next| version < next) {
            self.rewind()?;
        }
        while let Some(head) = self.head()? {
            if head.version >= version {
                return Ok(Some(head).filter(|head| head.version == version));
            }
            self.go(head.end)?;
            self.next = head.version.checked_add(1);
        }
        Ok(None)
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.next = None;
        self.go(0)
    }

    /// The head of the record here, if it is the next one and all of it is there. Stays at its place.
    fn head(&mut self) -> io::Result<Option<Head>> {
        let mut line = Vec::new();
        self.file.by_ref().take(HEAD_MAX).read_until(b'\n', &mut line)?;
        let here = self.place;
        self.place = here.saturating_add(u64::try_from(line.len()).unwrap_or(HEAD_MAX));
        let root = self.place;
        self.go(here)?;
        let is_next = |head: &Head| self.next.is_none_or(|next| next == head.version);
        Ok(read_head(&line, root).filter(|head| head.end <= self.length && is_next(head)))
    }

    /// Goes to a place, and keeps what was read ahead if it is near.
    fn go(&mut self, place: u64) -> io::Result<()> {
        match place.checked_signed_diff(self.place) {
            Some(offset) => self.file.seek_relative(offset)?,
            None => drop(self.file.seek(SeekFrom::Start(place))?),
        }
        self.place = place;
        Ok(())
    }

    /// Reads the root of the record here and goes to the one behind it. `None`, and stays, if the record has no end.
    fn root(&mut self, head: &Head) -> io::Result<Option<Vec<u8>>> {
        let (here, next) = (self.place, self.next);
        self.go(head.root)?;
        let mut root = Vec::with_capacity(usize::try_from(head.length).unwrap_or(0));
        self.file.by_ref().take(head.length).read_to_end(&mut root)?;
        let mut last = [0];
        self.file.read_exact(&mut last)?;
        (self.place, self.next) = (head.end, head.version.checked_add(1));
        if last == *b"\n" {
            return Ok(Some(root));
        }
        self.go(here)?;
        self.next = next;
        Ok(None)
    }

    fn put(&mut self, version: u64, root: &[u8]) -> io::Result<()> {
        let record = [format!("{version} {}\n", root.len()).as_bytes(), root, b"\n"].concat();
        let length = u64::try_from(record.len()).unwrap_or(u64::MAX);
        let takes_its_place = self.find(version)?.is_some_and(|head| head.end.checked_sub(self.place) == Some(length));
        if self.next.is_some_and(|next| next != version) {
            self.rewind()?;
        }
        // What was read ahead is not what will stand there.
        self.file.seek(SeekFrom::Start(self.place))?;
        if self.place < self.length && !takes_its_place {
            self.file.get_mut().set_len(self.place)?;
            self.length = self.place;
        }
        self.file.get_mut().write_all(&record)?;
        self.place = self.place.saturating_add(length);
        (self.length, self.next) = (self.length.max(self.place), version.checked_add(1));
        Ok(())
    }
}

/// Reads the line before a root, which begins at `root`.
fn read_head(line: &[u8], root: u64) -> Option<Head> {
    let (version, length) = str::from_utf8(line).ok()?.strip_suffix('\n')?.split_once(' ')?;
    let (version, length) = (version.parse().ok()?, length.parse().ok()?);
    Some(Head { version, length, root, end: root.checked_add(length)?.checked_add(1)? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::type_complexity, reason = "tables")]

    use super::*;

    fn chain(name: &str, content: Option<&[u8]>) -> Chain {
        let folder = std::env::temp_dir().join(format!("plimsoll-chain-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        fs::remove_file(&path).ok();
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        Chain::new(path)
    }

    fn root(version: u64) -> Vec<u8> {
        // With what stands between records in it.
        format!("{{\n{version} 3\n{}}}", "x".repeat(usize::try_from(version).unwrap().saturating_mul(1000)))
            .into_bytes()
    }

    fn of(versions: &[u64]) -> Vec<u8> {
        let record = |v: &u64| [format!("{v} {}\n", root(*v).len()).into_bytes(), root(*v), b"\n".to_vec()].concat();
        versions.iter().flat_map(record).collect()
    }

    #[test]
    fn what_was_put_is_read_in_any_order() {
        let mut chain = chain("order", None);
        assert_eq!(chain.read(2, 1 << 20).unwrap(), None);
        assert!(chain.all(1 << 20).unwrap().is_empty());
        for version in 2..=30 {
            chain.put(version, &root(version)).unwrap();
        }
        assert_eq!(fs::read(chain.path()).unwrap(), of(&(2..=30).collect::<Vec<_>>()));
        let again = Chain::new(chain.path().to_path_buf());
        for mut chain in [chain, again] {
            for version in (0..=31).chain((0..=31).rev()).chain([7, 7, 30, 2, 31, 3]) {
                let expected = (2..=30).contains(&version).then(|| root(version));
                assert_eq!(chain.read(version, 1 << 20).unwrap(), expected, "{version}");
            }
            assert_eq!(chain.all(1 << 20).unwrap(), (2..=30).map(|v| (v, root(v))).collect());
        }
    }

    #[test]
    fn what_is_put_in_the_middle_ends_the_chain() {
        let cases: &[(&str, &[u64], u64, &[u64])] = &[
            ("behind all", &[2, 3], 4, &[2, 3, 4]),
            ("in the place of the last", &[2, 3, 4], 4, &[2, 3, 4]),
            ("in the place of the first", &[2, 3, 4], 2, &[2, 3, 4]),
            ("in the place of one in the middle", &[2, 3, 4], 3, &[2, 3, 4]),
            ("before all", &[5, 6], 3, &[3]),
            ("with a gap", &[2, 3], 9, &[9]),
            ("into a gap", &[2, 9], 5, &[5]),
            ("before a gap", &[2, 9], 3, &[2, 3]),
            ("where the order is wrong", &[4, 2, 3], 3, &[3]),
            ("the first of a wrong order", &[4, 2, 3], 4, &[4, 2, 3]),
        ];
        for (name, before, version, after) in cases {
            for read in [None, Some(2), Some(3), Some(9)] {
                let mut chain = chain("middle", Some(&of(before)));
                if let Some(read) = read {
                    chain.read(read, 1 << 20).unwrap();
                }
                chain.put(*version, &root(*version)).unwrap();
                assert_eq!(fs::read(chain.path()).unwrap(), of(after), "{name}, read {read:?}");
                assert_eq!(chain.read(*version, 1 << 20).unwrap(), Some(root(*version)), "{name}, read {read:?}");
            }
        }
    }

    #[test]
    fn what_is_no_record_ends_it() {
        let huge = u64::MAX;
        let cases: &[(&str, Vec<u8>)] = &[
            ("nothing", Vec::new()),
            ("no end of line", b"3 4".to_vec()),
            ("no length", b"3\n{}\n".to_vec()),
            ("no version", b" 2\n{}\n".to_vec()),
            ("the version before", b"2 2\n{}\n".to_vec()),
            ("a version that is not the next", b"5 2\n{}\n".to_vec()),
            ("not a number", b"x 2\n{}\n".to_vec()),
            ("a negative length", b"3 -2\n{}\n".to_vec()),
            ("three numbers", b"3 2 1\n{}\n".to_vec()),
            ("no UTF-8", b"\xff 2\n{}\n".to_vec()),
            ("longer than the file", b"3 3\n{}\n".to_vec()),
            ("a length that overflows", format!("3 {huge}\n{{}}\n").into_bytes()),
            ("a length beyond 64 bits", format!("3 {huge}0\n{{}}\n").into_bytes()),
            ("a head without end", vec![b'3'; 1 << 20]),
            ("no end of line behind the root", b"3 2\n{}x".to_vec()),
            ("zeros, as a machine that stopped leaves them", vec![0; 4096]),
        ];
        for (name, bytes) in cases {
            let mut chain = chain("garbage", Some(&[of(&[2]), bytes.clone(), of(&[4])].concat()));
            assert_eq!(chain.read(2, 1 << 20).unwrap(), Some(root(2)), "{name}");
            assert_eq!(chain.read(3, 1 << 20).unwrap(), None, "{name}");
            assert_eq!(chain.all(1 << 20).unwrap().into_keys().collect::<Vec<_>>(), [2], "{name}");
            chain.put(3, &root(3)).unwrap();
            assert_eq!(fs::read(chain.path()).unwrap(), of(&[2, 3]), "{name}: mended");
        }
    }

    #[test]
    fn one_that_is_longer_or_shorter_than_the_one_before_ends_the_chain() {
        for (length, after) in [(10, None), (root(3).len(), Some(root(4))), (5000, None)] {
            let mut chain = chain("length", Some(&of(&[2, 3, 4])));
            chain.put(3, &vec![b'y'; length]).unwrap();
            assert_eq!(chain.read(3, 1 << 20).unwrap(), Some(vec![b'y'; length]));
            assert_eq!(chain.read(4, 1 << 20).unwrap(), after, "{length}");
            assert_eq!(chain.read(2, 1 << 20).unwrap(), Some(root(2)));
            // And it goes on.
            chain.put(4, b"{}").unwrap();
            assert_eq!(chain.all(1 << 20).unwrap().into_keys().collect::<Vec<_>>(), [2, 3, 4]);
        }
    }

    #[test]
    fn no_more_is_read_at_once_than_fits() {
        let mut chain = chain("sparse", Some(&of(&[2])));
        // Holes of which a disk stores nothing.
        let file = File::options().append(true).open(chain.path()).unwrap();
        let mut at = file.metadata().unwrap().len();
        for version in 3..100 {
            (&file).write_all(format!("{version} {}\n", 1 << 30).as_bytes()).unwrap();
            at = file.metadata().unwrap().len().max(at).saturating_add(1 << 30);
            file.set_len(at).unwrap();
            (&file).write_all(b"\n").unwrap();
        }
        assert_eq!(chain.all(u64::MAX).unwrap().into_keys().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_root_beyond_the_limit_is_not_read() {
        let mut chain = chain("limit", Some(&of(&[2, 3])));
        let length = u64::try_from(root(3).len()).unwrap();
        assert_eq!(chain.read(3, length - 1).unwrap(), None);
        assert_eq!(chain.read(3, length).unwrap(), Some(root(3)));
        assert_eq!(chain.all(length - 1).unwrap().len(), 1);
    }

    #[test]
    fn cut_anywhere_it_holds_what_was_whole_and_goes_on_from_there() {
        let all = of(&[2, 3, 4]);
        let ends = [of(&[2]).len(), of(&[2, 3]).len(), all.len()];
        for at in (0..all.len()).step_by(7).chain(ends.iter().flat_map(|end| [end - 2, end - 1])).chain(ends) {
            let mut chain = chain("cut", Some(&all[..at]));
            let whole = ends.iter().filter(|end| **end <= at).count();
            let next = 2 + u64::try_from(whole).unwrap();
            for version in 2..=4 {
                assert_eq!(chain.read(version, 1 << 20).unwrap().is_some(), version < next, "cut at {at}: {version}");
            }
            for version in next..=4 {
                chain.put(version, &root(version)).unwrap();
            }
            assert_eq!(fs::read(chain.path()).unwrap(), all, "cut at {at}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_a_regular_file_is_opened() {
        let mut victim = chain("victim", Some(b"not the store's"));
        let mut link = chain("link", None);
        std::os::unix::fs::symlink(victim.path(), link.path()).unwrap();
        let mut folder = chain("", None);
        for chain in [&mut link, &mut folder] {
            assert!(chain.read(2, 10).is_err() && chain.all(10).is_err() && chain.put(2, b"{}").is_err());
        }
        assert_eq!(victim.read(2, 10).unwrap(), None);
        assert_eq!(fs::read(victim.path()).unwrap(), b"not the store's");
    }
}
