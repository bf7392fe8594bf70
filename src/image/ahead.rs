//! Reading in another thread, a few chunks ahead of whoever needs the bytes.

use std::io::{self, BufRead, Read};
use std::mem;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread::Scope;

/// What one read asks for. Larger reads fall out of the second-level cache before they are used.
pub(crate) const CHUNK: usize = 256 * 1024;
/// Buffers between two threads: one being filled, one being emptied, one waiting.
const BUFFERS: usize = 3;

/// What another thread reads ahead of this one.
pub(crate) struct Ahead {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

/// Starts a thread that reads `reader` to its end, a few chunks ahead. It gives up when the [`Ahead`] is dropped.
pub(crate) fn ahead<'scope>(scope: &'scope Scope<'scope, '_>, mut reader: impl Read + Send + 'scope) -> Ahead {
    let (filled, full) = sync_channel(BUFFERS);
    let (empty, emptied) = channel();
    for _ in 0..BUFFERS {
        // Its receiver is alive: it is moved into the thread below.
        let _ = empty.send(Vec::new());
    }
    scope.spawn(move || {
        while let Ok(mut chunk) = emptied.recv() {
            let result = fill(&mut reader, &mut chunk).map(|()| chunk);
            let last = result.as_ref().map_or(true, Vec::is_empty);
            if filled.send(result).is_err() || last {
                break;
            }
        }
    });
    Ahead { full, empty, chunk: Vec::new(), at: 0 }
}

/// Reads until `chunk` is full or the end is reached, which leaves it empty or short.
pub(crate) fn fill(reader: &mut impl Read, chunk: &mut Vec<u8>) -> io::Result<()> {
    chunk.resize(CHUNK, 0);
    let mut done = 0usize;
    while let Some(rest) = chunk.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(n) => done = done.saturating_add(n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    chunk.truncate(done);
    Ok(())
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.chunk.len() {
            let spent = mem::take(&mut self.chunk);
            // Nobody takes it once the end was reached.
            let _ = self.empty.send(spent);
            self.at = 0;
            // A thread that ended without a last, empty chunk has panicked. That must not look like the end.
            self.chunk = self.full.recv().map_err(|_| io::Error::other("a reading thread stopped"))??;
        }
        Ok(self.chunk.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, n: usize) {
        self.at = self.at.saturating_add(n);
    }
}

impl Read for Ahead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}
