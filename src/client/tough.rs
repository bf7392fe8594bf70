//! A repository through a transport of the TUF library tough (feature `tough`).
//!
//! Only the transport is tough's. What it brings is verified here, as what any other source brings.
//!
//! Rules:
//! - Missing is what the transport calls [`FileNotFound`](TransportErrorKind::FileNotFound) before the first byte, and nothing else:
//!   "missing" ends the search for newer roots. Some transports say so when the file is opened, others when it is first read, so a
//!   file is opened here by reading its first piece.
//! - Addresses are put together from encoded segments and asked for only if they are, after parsing, what was put together: parsers
//!   resolve `..`, and `%2e%2e` with it.
//! - A transport must go on at a minimum rate, and a request ends after some minutes ([`HttpLimits`]).
//! - User name and password are refused in an address, for transports repeat addresses in their messages.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tough::{Bytes, Transport, TransportError, TransportErrorKind, TransportStream};
use url::Url;

use super::driver::Driver;
use super::encoded;
use super::source::{Source, SourceError, is_plain};
use crate::limits::HttpLimits;
use crate::text::escaped;

/// A repository behind any [`tough::Transport`]: an object store, a cache, whatever a program that uses tough has already.
///
/// It blocks, on a small async runtime of its own. So call it where blocking is allowed: not from async code, but from a thread or
/// from `spawn_blocking`. Called from async code in spite of that, it does not panic, but it stops the executor's thread until the
/// transport has answered or the limit of time has passed.
///
/// tough's `FilesystemTransport` takes the path of an address literally, so it finds no file in whose path something must be encoded in an
/// address, such as a space; use [`DirSource`](super::DirSource) for folders. Its `HttpTransport` takes 410 for missing besides 403 and
/// 404, and retries; [`HttpLimits::connect`] and [`HttpLimits::redirects`] are the transport's to keep.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use plimsoll::client::{Client, Store, ToughSource};
/// use tough::FilesystemTransport;
///
/// let folder = std::path::absolute("test-repos/good")?;
/// let source = ToughSource::repository(FilesystemTransport, &format!("file://{}", folder.display()))?;
/// let client = Client::new(std::fs::read("test-repos/root.json")?, source, Store::in_memory());
/// assert_eq!(client.refresh()?.trusted().targets().version(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ToughSource {
    transport: Box<dyn Transport>,
    /// Both end in a slash.
    metadata: String,
    targets: String,
    limits: HttpLimits,
    driver: Driver,
}

impl ToughSource {
    /// The repository at `url`: metadata below `url/metadata/`, targets below `url/targets/`.
    ///
    /// # Errors
    ///
    /// [`SourceError::UnsupportedUrl`] if it is no address of a folder, or one with a user name or password; its scheme is the
    /// transport's matter. [`SourceError::Io`] if the machine has no means left to run a transport.
    pub fn repository(transport: impl Transport + 'static, url: &str) -> Result<Self, SourceError> {
        let base = base_url(url)?;
        Self::at(Box::new(transport), format!("{base}metadata/"), format!("{base}targets/"))
    }

    /// A repository whose metadata and targets are at two places. Both addresses are folders, with or without a slash at the end.
    ///
    /// # Errors
    ///
    /// As [`repository`](Self::repository).
    pub fn new(transport: impl Transport + 'static, metadata: &str, targets: &str) -> Result<Self, SourceError> {
        Self::at(Box::new(transport), base_url(metadata)?, base_url(targets)?)
    }

    fn at(transport: Box<dyn Transport>, metadata: String, targets: String) -> Result<Self, SourceError> {
        let driver = Driver::new().map_err(|source| SourceError::Io { file: metadata.clone(), source })?;
        Ok(Self { transport, metadata, targets, limits: HttpLimits::default(), driver })
    }

    /// Other limits, of which [`request`](HttpLimits::request), [`window`](HttpLimits::window) and [`rate`](HttpLimits::rate) count.
    #[must_use]
    pub fn with_limits(self, limits: HttpLimits) -> Self {
        Self { limits, ..self }
    }

    fn get(&self, base: &str, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        let file = format!("{base}{name}");
        // Equal unless the parser has resolved, dropped or encoded something.
        let url = Url::parse(&file).ok().filter(|url| url.as_str() == file);
        let url = url.ok_or_else(|| SourceError::Path(name.to_owned()))?;
        let mut pace = Pace { source: self, file, waited: Duration::ZERO, in_window: Duration::ZERO, arrived: 0 };
        let opened = pace.wait(self.limits.request, async {
            let mut stream = self.transport.fetch(url).await?;
            // Transports may ask for the file only now.
            let first = next(&mut stream).await.transpose()?;
            Ok::<_, TransportError>((stream, first))
        })?;
        match opened {
            Ok((stream, Some(piece))) => Ok(Some(Box::new(Body { pace, state: State::Open(stream), piece }))),
            Ok((_, None)) => Ok(Some(Box::new(io::empty()))),
            Err(error) if error.kind() == TransportErrorKind::FileNotFound => Ok(None),
            Err(error) => Err(failed(&pace.file, &error)),
        }
    }
}

impl Source for ToughSource {
    fn metadata(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        let is_segment = |b: u8| b.is_ascii_alphanumeric() || b"-._~%".contains(&b);
        if !is_plain(name) || !name.bytes().all(is_segment) {
            return Err(SourceError::Path(name.to_owned()));
        }
        self.get(&self.metadata, name)
    }

    fn target(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        if !is_plain(name) {
            return Err(SourceError::Path(name.to_owned()));
        }
        let segments: Vec<String> = name.split('/').map(segment).collect();
        self.get(&self.targets, &segments.join("/"))
    }
}

/// A segment of a path, encoded where RFC 3986 (3.3) demands it and nowhere else: tough's own transport for files does not decode.
fn segment(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(c) {
            out.push(c);
        } else {
            out.push_str(&encoded(c.encode_utf8(&mut [0; 4])));
        }
    }
    out
}

/// An address that file names can be put behind, with a slash at its end.
fn base_url(text: &str) -> Result<String, SourceError> {
    let unsupported = |why| {
        // What stands before an `@` is not shown: it may be a password.
        let place = text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1)));
        let url = place.map_or(text.to_owned(), |(scheme, rest)| format!("{scheme}://{rest}"));
        SourceError::UnsupportedUrl { url, why }
    };
    let url = Url::parse(text).map_err(|_| unsupported("it is no URL"))?;
    if url.cannot_be_a_base() {
        return Err(unsupported("it is no address of a folder"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(unsupported("it has a query or a fragment, and file names go behind it"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(unsupported("it has a user name or a password, which transports repeat in messages"));
    }
    let slash = if url.path().ends_with('/') { "" } else { "/" };
    Ok(format!("{url}{slash}"))
}

async fn next(stream: &mut TransportStream) -> Option<Result<Bytes, TransportError>> {
    poll_fn(|cx| stream.as_mut().poll_next(cx)).await
}

/// Says what went wrong; the transport's own message would repeat the address.
fn failed(file: &str, error: &TransportError) -> SourceError {
    if error.kind() == TransportErrorKind::UnsupportedUrlScheme {
        let why = "the transport does not support its scheme";
        return SourceError::UnsupportedUrl { url: file.to_owned(), why };
    }
    let mut what = format!("the transport failed: {}", error.kind());
    let mut cause = error.source();
    while let Some(error) = cause {
        what = format!("{what}: {}", escaped(&error.to_string()));
        cause = error.source();
    }
    SourceError::Io { file: file.to_owned(), source: io::Error::other(what) }
}

/// One request, and how fast it goes on. Only the time spent waiting for it counts, not what the reader does with it.
struct Pace<'s> {
    source: &'s ToughSource,
    file: String,
    waited: Duration,
    /// Of that, in this window.
    in_window: Duration,
    arrived: u64,
}

impl Pace<'_> {
    /// Waits for the transport, for so long at most, and for what is left of the request.
    fn wait<T: Send>(&mut self, limit: Duration, future: impl Future<Output = T> + Send) -> Result<T, SourceError> {
        let HttpLimits { request, window, .. } = self.source.limits;
        let left = request.saturating_sub(self.waited);
        let started = Instant::now();
        // A timer belongs to a runtime, so it is set on it.
        let done = self.source.driver.run(async { timeout(limit.min(left), future).await });
        let elapsed = started.elapsed();
        self.waited = self.waited.saturating_add(elapsed);
        self.in_window = self.in_window.saturating_add(elapsed);
        match done {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) if left <= limit => {
                Err(self.too_slow(format!("not finished within {} s", request.as_secs_f32())))
            }
            Ok(Err(_)) => Err(self.too_slow(format!("nothing arrived for {} s", window.as_secs_f32()))),
            Err(source) => Err(SourceError::Io { file: self.file.clone(), source }),
        }
    }

    fn arrived(&mut self, bytes: usize) -> Result<(), SourceError> {
        let HttpLimits { window, rate, .. } = self.source.limits;
        self.arrived = self.arrived.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.in_window < window {
            return Ok(());
        }
        let due = u128::from(rate).saturating_mul(self.in_window.as_millis()) / 1000;
        if u128::from(self.arrived) < due {
            let what = format!("less than {rate} bytes per second over {} s", window.as_secs_f32());
            return Err(self.too_slow(what));
        }
        (self.in_window, self.arrived) = (Duration::ZERO, 0);
        Ok(())
    }

    fn too_slow(&self, what: String) -> SourceError {
        SourceError::TooSlow { file: self.file.clone(), what }
    }
}

/// A file on its way.
struct Body<'s> {
    pace: Pace<'s>,
    state: State,
    /// What has arrived and is not read yet.
    piece: Bytes,
}

enum State {
    Open(TransportStream),
    Ended,
    /// Neither is what follows an error the end of a file.
    Failed,
}

impl Body<'_> {
    /// The next piece; empty only at the end. A stream of empty pieces ends in time, as any that brings too little.
    fn fill(&mut self) -> Result<(), SourceError> {
        while self.piece.is_empty() {
            let mut stream = match std::mem::replace(&mut self.state, State::Failed) {
                State::Open(stream) => stream,
                State::Ended => {
                    self.state = State::Ended;
                    return Ok(());
                }
                State::Failed => {
                    let source = io::Error::other("it has failed before");
                    return Err(SourceError::Io { file: self.pace.file.clone(), source });
                }
            };
            let window = self.pace.source.limits.window;
            let (stream, piece) = self.pace.wait(window, async {
                let piece = next(&mut stream).await;
                (stream, piece)
            })?;
            let piece = piece.transpose().map_err(|error| failed(&self.pace.file, &error))?;
            match piece {
                Some(piece) => {
                    self.pace.arrived(piece.len())?;
                    (self.state, self.piece) = (State::Open(stream), piece);
                }
                None => self.state = State::Ended,
            }
        }
        Ok(())
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !buf.is_empty() {
            self.fill().map_err(io::Error::other)?;
        }
        let n = self.piece.len().min(buf.len());
        let taken = self.piece.split_to(n);
        if let Some(buf) = buf.get_mut(..n) {
            buf.copy_from_slice(&taken);
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_folders_of_any_scheme_without_passwords() {
        let cases: &[(&str, Result<&str, &str>)] = &[
            ("https://host", Ok("https://host/")),
            ("https://host/a", Ok("https://host/a/")),
            ("https://host/a/", Ok("https://host/a/")),
            ("file:///srv/repository", Ok("file:///srv/repository/")),
            ("s3://bucket/a%20b", Ok("s3://bucket/a%20b/")),
            ("https://host/a/../b", Ok("https://host/b/")),
            ("srv/repository", Err("it is no URL")),
            ("data:text", Err("it is no address of a folder")),
            ("https://host/?a=b", Err("it has a query or a fragment, and file names go behind it")),
            ("https://host/#a", Err("it has a query or a fragment, and file names go behind it")),
            (
                "https://user:secret@host/a",
                Err("it has a user name or a password, which transports repeat in messages"),
            ),
            ("https://user@host/a", Err("it has a user name or a password, which transports repeat in messages")),
        ];
        for (text, expected) in cases {
            match (base_url(text), expected) {
                (Ok(base), Ok(expected)) => assert_eq!(base, *expected, "{text}"),
                (Err(SourceError::UnsupportedUrl { why, .. }), Err(expected)) => assert_eq!(why, *expected, "{text}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
        for text in
            ["https://user:secret@host/a?b", "user:secret@", "x://user:secret@ host", "https://u:p@secret@host/#"]
        {
            let error = base_url(text).unwrap_err();
            assert!(text == "user:secret@" || !format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn segments_are_encoded_where_they_must_be() {
        for (name, expected) in [
            ("app:1.4", "app:1.4"),
            ("a+b@c", "a+b@c"),
            ("a b", "a%20b"),
            ("a?b#c", "a%3Fb%23c"),
            ("%2e%2e", "%252e%252e"),
            ("a\\b", "a%5Cb"),
            ("\u{e9}|^`{}<>\"\n", "%C3%A9%7C%5E%60%7B%7D%3C%3E%22%0A"),
        ] {
            assert_eq!(segment(name), expected, "{name}");
        }
    }
}
