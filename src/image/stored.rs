//! The stored bytes of an entry as a reader, and what undoes their compression. Whoever reads decides what they must be.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use crate::image::error::{ArchiveError, Code, Refusal, became_shorter, read_failed};
use crate::image::read_at::{ReadAt, read_full};
use crate::image::tar::{Compression, Entry};
use crate::limits::{ArchiveLimits, bound};
use crate::text::escaped;

/// Reads an entry's bytes, from first to last, and keeps what really went wrong, for a decoder reports it in its own words.
pub(crate) struct Section<'a, R: ?Sized> {
    archive: &'a R,
    entry: &'a Entry,
    at: u64,
    fault: Option<ArchiveError>,
}

impl<'a, R: ReadAt + ?Sized> Section<'a, R> {
    pub(crate) fn new(archive: &'a R, entry: &'a Entry) -> Self {
        Self { archive, entry, at: 0, fault: None }
    }

    /// How many bytes have not been read yet.
    pub(crate) fn left(&self) -> u64 {
        self.entry.size.saturating_sub(self.at)
    }

    /// Why the last read failed.
    pub(crate) fn fault(self) -> Option<ArchiveError> {
        self.fault
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.fault.is_some()
    }
}

impl<R: ReadAt + ?Sized> Read for Section<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left()).unwrap_or(usize::MAX).min(buf.len());
        let Some(buf) = buf.get_mut(..wanted).filter(|buf| !buf.is_empty()) else { return Ok(0) };
        let fault = match read_full(self.archive, buf, self.entry.offset.saturating_add(self.at)) {
            Ok(n) if n == wanted => {
                self.at = self.at.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
                return Ok(n);
            }
            Ok(_) => became_shorter(&self.entry.name).into(),
            Err(e) => read_failed(&self.entry.name, e),
        };
        self.fault = Some(fault);
        Err(io::Error::other("the archive could not be read"))
    }
}

/// How an entry is compressed, by its first bytes.
pub(crate) fn compression<R: ReadAt + ?Sized>(archive: &R, entry: &Entry) -> Result<Option<Compression>, ArchiveError> {
    let mut magic = [0; 8];
    let wanted = usize::try_from(entry.size).unwrap_or(magic.len()).min(magic.len());
    let start = magic.get_mut(..wanted).unwrap_or_default();
    let n = read_full(archive, start, entry.offset).map_err(|e| read_failed(&entry.name, e))?;
    if n < wanted {
        return Err(became_shorter(&entry.name).into());
    }
    Ok(Compression::of(start))
}

/// What undoes the compression of an entry, whose stored bytes `reader` brings. All gzip members and all zstd frames count.
pub(crate) fn decoder<'r>(
    entry: &Entry,
    compression: Compression,
    reader: impl BufRead + Send + 'r,
    limits: &ArchiveLimits,
) -> Result<Box<dyn Read + Send + 'r>, Refusal> {
    match compression {
        Compression::Gzip => Ok(Box::new(MultiGzDecoder::new(reader))),
        Compression::Zstd => {
            let mut decoder =
                zstd::Decoder::with_buffer(reader).map_err(|e| corrupt(entry, compression, &e, limits))?;
            decoder.window_log_max(limits.zstd_window_log).map_err(|e| corrupt(entry, compression, &e, limits))?;
            Ok(Box::new(decoder))
        }
        other => Err(Refusal::new(Code::LayerCompression, escaped(&entry.name), "loaders differ on such a layer")
            .expected("a plain, gzip or zstd layer")
            .found(other.word())),
    }
}

/// What a decoder's error says of the entry.
pub(crate) fn corrupt(entry: &Entry, compression: Compression, error: &io::Error, limits: &ArchiveLimits) -> Refusal {
    if wants_a_larger_window(compression, error) {
        let message = "its zstd stream needs more memory than it may to be decompressed";
        return Refusal::beyond(bound!(limits, zstd_window_log), escaped(&entry.name), message);
    }
    Refusal::new(
        Code::LayerCorrupt,
        escaped(&entry.name),
        format!("the {} stream is damaged or something follows it", compression.word()),
    )
    .found(escaped(&error.to_string()))
}

/// Whether a zstd stream was given up because its window, which it chooses itself, is above the limit. zstd has no type for it.
pub(crate) fn wants_a_larger_window(compression: Compression, error: &io::Error) -> bool {
    compression == Compression::Zstd && error.to_string().contains("too much memory")
}
