//! Reading at a position, so that several threads read one archive and no reader depends on where another stopped.

use std::fs::File;
use std::io;
use std::sync::Arc;

/// Bytes of known length that can be read at any position.
///
/// Security depends on one thing: an implementation must always read the *same* opened object. A path that is opened again for
/// each read would let an attacker show one file to the check and another to the loader. (A folder's files are opened as they are needed,
/// below the opened folder, and must be those that were listed.)
pub trait ReadAt {
    /// Reads into `buf` from `offset` on. May read less than asked for; 0 means the end, or an empty `buf`.
    ///
    /// # Errors
    ///
    /// Whatever the system reports. [`io::ErrorKind::Interrupted`] is retried by the caller.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The length in bytes.
    ///
    /// # Errors
    ///
    /// Whatever the system reports.
    fn size(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    #[cfg(unix)]
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buf, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(self, buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let n = from.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), from.get(..n)) {
            to.copy_from_slice(from);
        }
        Ok(n)
    }

    fn size(&self) -> io::Result<u64> {
        u64::try_from(self.len()).map_err(io::Error::other)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.as_slice().size()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

/// Reads until `buf` is full or the end is reached; returns how much it read.
pub(crate) fn read_full<R: ReadAt + ?Sized>(from: &R, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0usize;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = u64::try_from(done).ok().and_then(|n| offset.checked_add(n)).ok_or(io::ErrorKind::InvalidInput)?;
        match from.read_at(rest, at) {
            Ok(0) => break,
            Ok(n) => done = done.saturating_add(n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads one byte at a time and is interrupted before each.
    struct Slow<'a>(&'a [u8], std::sync::atomic::AtomicBool);

    impl ReadAt for Slow<'_> {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            if self.1.fetch_not(std::sync::atomic::Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let n = buf.len().min(1);
            self.0.read_at(&mut buf[..n], offset)
        }

        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }
    }

    #[test]
    fn short_and_interrupted_reads_are_completed() {
        let slow = Slow(b"abcdef", true.into());
        let mut buf = [0; 4];
        assert_eq!(read_full(&slow, &mut buf, 1).unwrap(), 4);
        assert_eq!(&buf, b"bcde");
        assert_eq!(read_full(&slow, &mut buf, 4).unwrap(), 2);
        assert_eq!(read_full(&slow, &mut buf, 9).unwrap(), 0);
        assert_eq!(read_full(&slow, &mut buf, u64::MAX).unwrap(), 0);
    }
}
