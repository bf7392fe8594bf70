//! The small files of an archive that are read whole: control files, manifests, indexes, configs.

use crate::image::error::{ArchiveError, Code, Refusal, became_shorter, read_failed};
use crate::image::read_at::{ReadAt, read_full};
use crate::image::tar::{Entry, Kind, Table};
use crate::limits::{ArchiveLimits, Bound, bound};
use crate::text::escaped;

/// Hands out the bytes of whole entries.
pub(crate) trait Documents {
    /// The whole content of `entry`, which must not be larger than `limit`.
    fn document(&mut self, entry: &Entry, limit: Bound) -> Result<Vec<u8>, ArchiveError>;
}

/// Reads whole entries, and counts what they take in all.
pub(crate) struct Reader<'a, R> {
    archive: &'a R,
    all: Bound,
    left: u64,
}

impl<'a, R: ReadAt> Reader<'a, R> {
    pub(crate) fn new(archive: &'a R, limits: &ArchiveLimits) -> Self {
        Self { archive, all: bound!(limits, documents), left: limits.documents }
    }

    /// A file at the top of the archive. `None` if there is no such entry.
    pub(crate) fn control(&mut self, table: &Table, name: &str, limit: Bound) -> Result<Option<Vec<u8>>, ArchiveError> {
        if table.get(name).is_none() {
            return Ok(None);
        }
        let entry = regular_file(table, name, "the file")?;
        self.document(entry, limit).map(Some)
    }
}

impl<R: ReadAt> Documents for Reader<'_, R> {
    fn document(&mut self, entry: &Entry, limit: Bound) -> Result<Vec<u8>, ArchiveError> {
        let too_large = |limit, message: &str| Refusal::beyond(limit, escaped(&entry.name), message).found(entry.size);
        if !limit.allows(entry.size) {
            return Err(too_large(limit, "too many bytes for what it is").into());
        }
        let left = self.left.checked_sub(entry.size);
        self.left = left.ok_or_else(|| too_large(self.all, "the documents have too many bytes together"))?;
        let mut bytes = vec![0; usize::try_from(entry.size).unwrap_or(0)];
        let n = read_full(self.archive, &mut bytes, entry.offset).map_err(|e| read_failed(&entry.name, e))?;
        if n < bytes.len() {
            return Err(became_shorter(&entry.name).into());
        }
        Ok(bytes)
    }
}

/// The regular file with exactly this name.
pub(crate) fn regular_file<'a>(table: &'a Table, name: &str, what: &str) -> Result<&'a Entry, Refusal> {
    let refused = |found: &str| {
        Refusal::new(Code::ArchiveMissingFile, escaped(name), format!("{what} is not in the archive"))
            .expected("a regular file with exactly this name")
            .found(found)
    };
    match table.get(name) {
        Some(entry) if entry.kind == Kind::File => Ok(entry),
        Some(Entry { kind: Kind::Directory, .. }) => Err(refused("a directory")),
        Some(_) => Err(refused("a link")),
        None => Err(refused("nothing")),
    }
}
