//! Hashes layers: every stored byte once, and all that a compressed layer unpacks to. Lists what is in them as it passes, if asked to.
//!
//! Threads take layers from one queue, biggest first. A layer that is more than one core's share of what is left is spread over several
//! threads: one reads (and hashes the stored bytes), one inflates, one hashes what comes out.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::digest::{Sha256, Sha256Hasher};
use crate::image::ahead::{CHUNK, ahead};
use crate::image::contents::{LayerContents, Listed, Lister, Taken, Wanted};
use crate::image::error::{ArchiveError, Refusal};
use crate::image::read_at::ReadAt;
use crate::image::stored::{Section, compression, corrupt, decoder};
use crate::image::tar::{Compression, Entry};
use crate::limits::{ArchiveLimits, bound};
use crate::text::escaped;

/// More would only wait for the disk, and each has buffers.
const THREADS_MAX: usize = 16;

/// A layer as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) entry: Entry,
    /// Of the stored bytes.
    pub(crate) stored: Sha256,
    /// Whether the first bytes are those of a compressed stream.
    pub(crate) compressed: bool,
    /// Of the tar that a loader would unpack, or why there is none.
    pub(crate) content: Result<Content, Refusal>,
}

/// The uncompressed tar of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) digest: Sha256,
    pub(crate) size: u64,
}

/// What is in a layer, or why loaders could differ on that.
pub(crate) type Contents = Result<LayerContents, Refusal>;

/// A layer, and what is in it where that was asked for.
type Listing = (Layer, Option<Contents>);

/// Hashes the files `entries` of `archive`; the result is by name. What is in them is listed in the same pass, if that is wanted. `threads` is how many threads
/// take part, all cores if nothing is said.
pub(crate) fn layers<R: ReadAt + Sync>(
    archive: &R,
    mut entries: Vec<Entry>,
    limits: &ArchiveLimits,
    wanted: Option<&Wanted<'_>>,
    threads: Option<NonZero<usize>>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<BTreeMap<String, Listing>, ArchiveError> {
    entries.sort_by(|a, b| b.size.cmp(&a.size).then(a.offset.cmp(&b.offset)));
    let total = entries.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.size));
    not_too_large(&entries, total, limits)?;
    // Less than a chunk in all is hashed before a thread has started.
    let worth_it = usize::try_from(total).map_or(true, |total| total > CHUNK);
    let threads = threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZero::get);
    let cores = if worth_it { threads.min(THREADS_MAX) } else { 1 };
    let queue = Queue {
        archive,
        entries: &entries,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        done: AtomicU64::new(0),
        unpacked: AtomicU64::new(0),
        total,
        cores: u64::try_from(cores).unwrap_or(1),
        limits,
        wanted,
        taken: Taken::default(),
        progress,
        results: Mutex::new(BTreeMap::new()),
    };
    thread::scope(|scope| {
        for _ in 1..cores.min(entries.len()) {
            scope.spawn(|| queue.work());
        }
        queue.work();
    });
    let results = queue.results.into_inner().unwrap_or_else(PoisonError::into_inner);
    // In the order of the queue: of several errors, that of the largest layer is reported.
    let mut layers = BTreeMap::new();
    for (_, result) in results {
        let (layer, contents) = result?;
        layers.insert(layer.entry.name.clone(), (layer, contents));
    }
    Ok(layers)
}

/// Before any of it is read: a file can be as large as it likes on a disk that does not store zeros.
fn not_too_large(entries: &[Entry], total: u64, limits: &ArchiveLimits) -> Result<(), Refusal> {
    let (layer, unpacked) = (bound!(limits, layer), bound!(limits, unpacked));
    if let Some(entry) = entries.iter().find(|entry| !layer.allows(entry.size)) {
        return Err(Refusal::beyond(layer, escaped(&entry.name), "the layer has too many bytes").found(entry.size));
    }
    if unpacked.allows(total) {
        return Ok(());
    }
    Err(Refusal::beyond(unpacked, "the archive", "the layers have too many bytes together").found(total))
}

struct Queue<'a, R> {
    archive: &'a R,
    entries: &'a [Entry],
    next: AtomicUsize,
    stop: AtomicBool,
    done: AtomicU64,
    unpacked: AtomicU64,
    total: u64,
    cores: u64,
    limits: &'a ArchiveLimits,
    wanted: Option<&'a Wanted<'a>>,
    taken: Taken,
    progress: &'a (dyn Fn(u64, u64) + Sync),
    results: Mutex<BTreeMap<usize, Result<Listing, ArchiveError>>>,
}

impl<R: ReadAt + Sync> Queue<'_, R> {
    fn work(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(entry) = self.entries.get(i) else { return };
            let result = self.layer(entry);
            if result.is_err() {
                self.stop.store(true, Ordering::Relaxed);
            }
            self.results.lock().unwrap_or_else(PoisonError::into_inner).insert(i, result);
        }
    }

    fn layer(&self, entry: &Entry) -> Result<Listing, ArchiveError> {
        let compression = compression(self.archive, entry)?;
        let spread = self.is_to_be_spread(entry);
        let lister = || self.wanted.map(|wanted| Lister::new(wanted, &self.taken, self.limits, &entry.name));
        // Of a plain layer the stored bytes are listed, in the thread that reads them; of a compressed one those that come out, in the thread that inflates.
        let mut unpacked = lister().filter(|_| compression.is_some());
        let mut stored = Stored {
            queue: self,
            entry,
            section: Section::new(self.archive, entry),
            hasher: Sha256Hasher::new(),
            lister: lister().filter(|_| compression.is_none()),
        };
        let content = match compression {
            Some(compression) if spread => thread::scope(|scope| {
                let reader = decoder(entry, compression, ahead(scope, &mut stored), self.limits)?;
                let listed = Listed { reader, lister: unpacked.as_mut() };
                self.content(entry, compression, ahead(scope, listed))
            })
            .map(Some),
            Some(compression) => decoder(entry, compression, BufReader::with_capacity(CHUNK, &mut stored), self.limits)
                .and_then(|reader| {
                    let listed = Listed { reader, lister: unpacked.as_mut() };
                    self.content(entry, compression, BufReader::with_capacity(CHUNK, listed))
                })
                .map(Some),
            None if spread => {
                stored.hash_behind();
                Ok(None)
            }
            None => Ok(None),
        };
        let (layer, plain) = stored.finish(compression.is_some(), content)?;
        Ok((layer, unpacked.or(plain).map(Lister::finish)))
    }

    /// Whether the other cores would have nothing to do while this layer is hashed by one thread: first of all where it is the last of several.
    fn is_to_be_spread(&self, entry: &Entry) -> bool {
        let left = self.total.saturating_sub(self.done.load(Ordering::Relaxed));
        // What fits into one read is hashed before another thread has started.
        let is_long = usize::try_from(entry.size).map_or(true, |size| size > CHUNK);
        self.cores > 1 && is_long && entry.size > left.div_ceil(self.cores)
    }

    /// Hashes all that comes out of a decoder.
    fn content(&self, entry: &Entry, compression: Compression, mut unpacked: impl BufRead) -> Result<Content, Refusal> {
        let mut hasher = Sha256Hasher::new();
        let mut size = 0u64;
        loop {
            let chunk = unpacked.fill_buf().map_err(|e| corrupt(entry, compression, &e, self.limits))?;
            if chunk.is_empty() {
                return Ok(Content { digest: hasher.finish(), size });
            }
            hasher.update(chunk);
            let n = chunk.len();
            size = self.grown(entry, size, n)?;
            unpacked.consume(n);
        }
    }

    /// Counts `n` more unpacked bytes, of this layer and of all, against the limits.
    fn grown(&self, entry: &Entry, size: u64, n: usize) -> Result<u64, Refusal> {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        let size = size.saturating_add(n);
        let all = self.unpacked.fetch_add(n, Ordering::Relaxed).saturating_add(n);
        let (layer, unpacked) = (bound!(self.limits, layer), bound!(self.limits, unpacked));
        let refused = |limit, message: &str| Err(Refusal::beyond(limit, escaped(&entry.name), message));
        if !layer.allows(size) {
            return refused(layer, "the layer unpacks to too many bytes");
        }
        if size > self.limits.unpacked_by_ratio(entry.size) {
            return Err(Refusal::bomb(self.limits, entry.size, escaped(&entry.name)));
        }
        if !unpacked.allows(all) {
            return refused(unpacked, "the layers together unpack to too many bytes");
        }
        Ok(size)
    }
}

/// The stored bytes of an entry: hashes and counts what passes.
struct Stored<'a, R> {
    queue: &'a Queue<'a, R>,
    entry: &'a Entry,
    section: Section<'a, R>,
    hasher: Sha256Hasher,
    lister: Option<Lister<'a>>,
}

impl<R: ReadAt + Sync> Read for Stored<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.read_unhashed(buf)?;
        self.hasher.update(buf.get(..n).unwrap_or_default());
        Ok(n)
    }
}

impl<'a, R: ReadAt + Sync> Stored<'a, R> {
    fn read_unhashed(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.section.read(buf)?;
        let n = u64::try_from(read).unwrap_or(u64::MAX);
        let done = self.queue.done.fetch_add(n, Ordering::Relaxed).saturating_add(n);
        (self.queue.progress)(done, self.queue.total);
        if let Some(lister) = &mut self.lister {
            lister.push(buf.get(..read).unwrap_or_default());
        }
        Ok(read)
    }

    /// Reads everything in a thread of its own and hashes it in this one.
    fn hash_behind(&mut self) {
        let mut hasher = Sha256Hasher::new();
        thread::scope(|scope| {
            let mut chunks = ahead(scope, Unhashed(self));
            // An error ends the loop as well; the section keeps it.
            while let Ok(chunk) = chunks.fill_buf() {
                if chunk.is_empty() {
                    break;
                }
                hasher.update(chunk);
                let n = chunk.len();
                chunks.consume(n);
            }
        });
        self.hasher = hasher;
    }

    /// Reads what a decoder left, so that the digest is that of all stored bytes.
    fn finish(
        mut self,
        compressed: bool,
        content: Result<Option<Content>, Refusal>,
    ) -> Result<(Layer, Option<Lister<'a>>), ArchiveError> {
        let mut chunk = vec![0; usize::try_from(self.section.left()).unwrap_or(CHUNK).min(CHUNK)];
        while !self.section.is_faulty() && self.section.left() > 0 {
            // The section keeps an error.
            let _ = self.read(&mut chunk);
        }
        if let Some(fault) = self.section.fault() {
            return Err(fault);
        }
        let stored = self.hasher.finish();
        let plain = Content { digest: stored, size: self.entry.size };
        let content = content.map(|unpacked| unpacked.unwrap_or(plain));
        Ok((Layer { entry: self.entry.clone(), stored, compressed, content }, self.lister))
    }
}

/// Reads without hashing: somebody else does.
struct Unhashed<'s, 'a, R>(&'s mut Stored<'a, R>);

impl<R: ReadAt + Sync> Read for Unhashed<'_, '_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_unhashed(buf)
    }
}
