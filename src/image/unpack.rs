//! Copies an archive that can be read only once, or that is compressed as a whole, to a file in which it can be read at any position.
//!
//! Which compression it is, its first bytes say, as for loaders. The decoders overlap with reading and writing. Memory does not depend
//! on the archive.
//!
//! Rules:
//! - One layer of compression. Docker undoes one, podman two; what is compressed twice is refused.
//! - All gzip members, zstd frames, and xz and bzip2 streams count, for every loader reads them all. Checksums and sizes are verified, and
//!   nothing may follow.
//! - A zstd stream that starts with a skippable frame is refused: docker takes it for zstd, podman does not.
//! - So is a compressed stream that is a tar header as well: `ctr` up to 1.6 undoes no compression, and would find another archive.
//! - What comes out is bounded while it is written. A disk that fills up leaves the archive undecided.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream, TELL_UNSUPPORTED_CHECK};

use crate::image::ahead::{CHUNK, ahead, fill};
use crate::image::error::{ArchiveError, Code, Refusal};
use crate::image::header::some_reader_takes;
use crate::image::stored::wants_a_larger_window;
use crate::image::tar::{Compression, check_start};
use crate::limits::{ArchiveLimits, Bound, bound};
use crate::text::{escaped, quoted};

/// An archive in a file that has no name.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) file: File,
    /// How it was compressed.
    pub(crate) compression: Option<Compression>,
    /// How many bytes it was, as it came.
    pub(crate) stored: u64,
}

/// Copies what `reader` brings, decompressed. `size` is the number of bytes that it will bring, where that is known: the ratio of a bomb is
/// then judged by all of it, as for layers, and else by what has been read so far.
pub(crate) fn copy(
    reader: impl Read + Send,
    size: Option<u64>,
    limits: &ArchiveLimits,
) -> Result<Copied, ArchiveError> {
    let taken = Taken::default();
    let mut reader = Watched { reader, taken: &taken };
    let mut start = Vec::new();
    if let Err(e) = fill(&mut reader, &mut start) {
        return Err(taken.fault(e));
    }
    let compression = Compression::of(&start);
    match compression {
        Some(compression) => refuse_two_readings(compression, &start)?,
        // Before a pipe that never ends has filled the disk.
        None => check_start(&start)?,
    }
    let mut copy = Copy::new()?;
    let in_memory = start.len() < CHUNK;
    let input = Cursor::new(start).chain(reader);
    let bound = Room { compression, size, limits, taken: &taken };
    let result = thread::scope(|scope| {
        if in_memory {
            // Not worth a thread.
            copy.write(bound.unpacked(BufReader::with_capacity(CHUNK, input))?)
        } else if compression.is_some() {
            copy.write(ahead(scope, bound.unpacked(ahead(scope, input))?))
        } else {
            copy.write(bound.unpacked(ahead(scope, input))?)
        }
    });
    match result {
        Ok(()) => Ok(Copied { file: copy.file, compression, stored: taken.all.load(Ordering::Relaxed) }),
        Err(Failure::Write(error)) => Err(error),
        Err(Failure::Refused(refusal)) => Err(refusal.into()),
        Err(Failure::Read(e)) => match e.downcast::<Refusal>() {
            Ok(refusal) => Err(refusal.into()),
            Err(e) => Err(taken.fault_or(|| match compression {
                Some(compression) => undecodable(compression, &e, limits).into(),
                None => unreadable(e),
            })),
        },
    }
}

/// What one loader decompresses and another does not.
fn refuse_two_readings(compression: Compression, start: &[u8]) -> Result<(), Refusal> {
    let message = if compression == Compression::ZstdSkippable {
        "docker takes this for a compressed archive, podman does not"
    } else if start.first_chunk().is_some_and(some_reader_takes) {
        "both a compressed archive and a tar archive: loaders that undo no compression would find another one"
    } else {
        return Ok(());
    };
    Err(Refusal::new(Code::ArchiveCompressed, "the archive", message).found(compression.word()))
}

/// Why copying ended early.
enum Failure {
    /// From reader or decoder.
    Read(io::Error),
    Write(ArchiveError),
    Refused(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The file that is written, and where it is, for who has to make room there.
struct Copy {
    file: File,
    folder: PathBuf,
}

impl Copy {
    fn new() -> Result<Self, ArchiveError> {
        let folder = temporary_folder();
        match tempfile::tempfile_in(&folder) {
            Ok(file) => Ok(Self { file, folder }),
            Err(source) => Err(no_room(&folder, source)),
        }
    }

    fn write(&mut self, mut unpacked: impl Read) -> Result<(), Failure> {
        let mut chunk = Vec::new();
        let mut first = true;
        loop {
            fill(&mut unpacked, &mut chunk).map_err(Failure::Read)?;
            if first {
                // Of the first chunk all is there, or the archive is shorter.
                check_start(&chunk)?;
                first = false;
            }
            if chunk.is_empty() {
                return Ok(());
            }
            self.file.write_all(&chunk).map_err(|e| Failure::Write(no_room(&self.folder, e)))?;
        }
    }
}

/// Where large temporary files go, as podman decides it: `/tmp` is memory on many systems.
fn temporary_folder() -> PathBuf {
    let large = Path::new("/var/tmp");
    match env::var_os("TMPDIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => folder.into(),
        None if large.is_dir() => large.to_path_buf(),
        None => env::temp_dir(),
    }
}

fn no_room(folder: &Path, source: io::Error) -> ArchiveError {
    let folder = folder.display().to_string();
    let what = format!("cannot write a copy of the archive in {} (TMPDIR names another place)", quoted(&folder));
    ArchiveError::Io { what, source }
}

fn unreadable(source: io::Error) -> ArchiveError {
    ArchiveError::Io { what: "cannot read the archive".to_owned(), source }
}

/// What was taken from the reader, and what really went wrong there: a decoder reports it in its own words.
#[derive(Default)]
struct Taken {
    all: AtomicU64,
    fault: Mutex<Option<io::Error>>,
}

impl Taken {
    fn fault_or(&self, otherwise: impl FnOnce() -> ArchiveError) -> ArchiveError {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        fault.map_or_else(otherwise, unreadable)
    }

    fn fault(&self, otherwise: io::Error) -> ArchiveError {
        self.fault_or(|| unreadable(otherwise))
    }
}

/// Counts what passes, and keeps an error.
struct Watched<'t, R> {
    reader: R,
    taken: &'t Taken,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(buf) {
            Ok(n) => {
                self.taken.all.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(e) => {
                *self.taken.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                Err(io::Error::other("the archive could not be read"))
            }
        }
    }
}

/// What may come out.
#[derive(Clone, Copy)]
struct Room<'a> {
    compression: Option<Compression>,
    size: Option<u64>,
    limits: &'a ArchiveLimits,
    taken: &'a Taken,
}

impl<'a> Room<'a> {
    /// The plain bytes of `input`, up to the limit.
    fn unpacked<'r>(self, input: impl BufRead + Send + 'r) -> Result<Bounded<'a, Box<dyn Read + Send + 'r>>, Refusal>
    where
        'a: 'r,
    {
        let reader: Box<dyn Read + Send + 'r> = match self.compression {
            Some(compression) => {
                decoder(compression, input, self.limits).map_err(|e| undecodable(compression, &e, self.limits))?
            }
            None => Box::new(input),
        };
        Ok(Bounded { reader, bound: self, size: 0 })
    }

    fn check(&self, size: u64) -> Result<(), Refusal> {
        let limit = bound!(self.limits, archive);
        if !limit.allows(size) {
            return Err(Refusal::beyond(limit, "the archive", "too many bytes"));
        }
        if self.compression.is_some() {
            let stored = self.size.unwrap_or_else(|| self.taken.all.load(Ordering::Relaxed));
            if size > self.limits.unpacked_by_ratio(stored) {
                return Err(Refusal::bomb(self.limits, stored, "the archive"));
            }
        }
        Ok(())
    }
}

fn decoder<'r>(
    compression: Compression,
    input: impl BufRead + Send + 'r,
    limits: &ArchiveLimits,
) -> io::Result<Box<dyn Read + Send + 'r>> {
    Ok(match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Bzip2 => Box::new(MultiBzDecoder::new(input)),
        Compression::Xz => {
            // A check that cannot be verified is an error; that there is none is not.
            let stream = Stream::new_stream_decoder(limits.xz_memory, CONCATENATED | TELL_UNSUPPORTED_CHECK)?;
            Box::new(XzDecoder::new_stream(input, stream))
        }
        Compression::Zstd | Compression::ZstdSkippable => {
            let mut decoder = zstd::Decoder::with_buffer(input)?;
            decoder.window_log_max(limits.zstd_window_log)?;
            Box::new(decoder)
        }
    })
}

/// Ends with a [`Refusal`] where more comes out than may. In the decoder's own thread, so that it does so at the same byte each time.
struct Bounded<'a, R> {
    reader: R,
    bound: Room<'a>,
    size: u64,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buf)?;
        self.size = self.size.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
        self.bound.check(self.size).map_err(io::Error::other)?;
        Ok(n)
    }
}

fn undecodable(compression: Compression, error: &io::Error, limits: &ArchiveLimits) -> Refusal {
    let word = compression.word();
    let refused = |code, message: String| Refusal::new(code, "the archive", message);
    let memory = |limit: Bound| {
        let message = format!("its {word} stream needs more memory than it may to be decompressed");
        Refusal::beyond(limit, "the archive", message)
    };
    let xz = error.get_ref().and_then(|e| e.downcast_ref::<liblzma::stream::Error>());
    let text = error.to_string();
    if let Some(liblzma::stream::Error::MemLimit) = xz {
        return memory(bound!(limits, xz_memory));
    }
    if wants_a_larger_window(compression, error) {
        return memory(bound!(limits, zstd_window_log));
    }
    refused(Code::ArchiveCorrupt, format!("the {word} stream around it is damaged, cut, or something follows it"))
        .found(escaped(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails after its bytes, as a disk or a network file system does.
    struct Failing<'a>(&'a [u8]);

    impl Read for Failing<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buf)? {
                0 => Err(io::Error::other("the stick was pulled out")),
                n => Ok(n),
            }
        }
    }

    #[test]
    fn an_error_of_the_reader_is_no_fault_of_the_archive() {
        let mut state = 1u64;
        let mut noise = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()
        };
        let mut tar: Vec<u8> = (0..1 << 17).flat_map(|_| noise()).collect();
        tar[..512].fill(0);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        let gzip = gzip.finish().unwrap();
        assert!(gzip.len() > 2 * CHUNK, "{}", gzip.len());
        let zstd = zstd::encode_all(tar.as_slice(), 1).unwrap();
        for (archive, length) in [(&tar, 0), (&tar, 1000), (&tar, 600_000), (&gzip, 20), (&gzip, 400_000), (&zstd, 20)]
        {
            assert!(copy(archive.as_slice(), None, &ArchiveLimits::default()).is_ok(), "the good twin");
            match copy(Failing(&archive[..length]), None, &ArchiveLimits::default()) {
                Err(ArchiveError::Io { source, .. }) => assert_eq!(source.to_string(), "the stick was pulled out"),
                other => panic!("{length}: {other:?}"),
            }
        }
    }
}
