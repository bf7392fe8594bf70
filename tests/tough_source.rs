//! A repository through transports of tough: what counts as missing, what is an error, how long is waited, and from where it may be
//! called (feature `tough`).
//!
//! Each refusal has its twin beside it that is accepted.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "tests state what they expect"
)]
#![allow(clippy::type_complexity, reason = "tables")]

mod support;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use futures_core::Stream;
use plimsoll::client::{Client, ClientError, Source, SourceError, Store, ToughSource, Undecided};
use plimsoll::limits::HttpLimits;
use plimsoll::verify::Verifier;
use support::repo::{NOW, Repo, Signer, sha256};
use support::source::code;
use tough::{
    Bytes, DefaultTransport, FilesystemTransport, Transport, TransportError, TransportErrorKind, TransportStream,
    async_trait,
};
use url::Url;

const BASE: &str = "test://place/repository";

/// A transport that serves the files of a [`Repo`], one of them in its own way, and writes down what it was asked for.
#[derive(Debug, Clone)]
struct Served {
    files: Arc<BTreeMap<String, Vec<u8>>>,
    odd: Option<(String, fn(Vec<u8>) -> Answer)>,
    asked: Arc<Mutex<Vec<String>>>,
}

type Answer = Result<Vec<Piece>, TransportError>;

/// What a stream does next. After the last it ends.
#[derive(Debug, Clone)]
enum Piece {
    Bytes(Vec<u8>),
    Fails(TransportErrorKind),
    /// The same bytes after each such pause, for ever.
    Repeats(Vec<u8>, Duration),
    /// Nothing more, and no end.
    Hangs,
}

use Piece::{Fails, Hangs, Repeats};
use TransportErrorKind::{FileNotFound, Other, UnsupportedUrlScheme};

impl Served {
    fn new(repo: &Repo) -> Self {
        Self { files: Arc::new(repo.files.clone()), odd: None, asked: Arc::default() }
    }

    fn with(repo: &Repo, file: &str, answer: fn(Vec<u8>) -> Answer) -> Self {
        Self { odd: Some((file.to_owned(), answer)), ..Self::new(repo) }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn error(kind: TransportErrorKind) -> TransportError {
    TransportError::new_with_cause(kind, "test://secret/", "because\u{1b}[2J")
}

#[async_trait]
impl Transport for Served {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        self.asked.lock().unwrap().push(url.as_str().to_owned());
        let name =
            url.as_str().strip_prefix(BASE).and_then(|rest| rest.strip_prefix('/')).expect("it is below its base");
        let bytes = self.files.get(name).cloned();
        let pieces = match &self.odd {
            Some((odd, answer)) if odd == name => answer(bytes.unwrap_or_default())?,
            _ => vec![Piece::Bytes(bytes.ok_or_else(|| error(FileNotFound))?)],
        };
        Ok(Box::pin(Pieces { pieces, at: 0, pause: None }))
    }
}

struct Pieces {
    pieces: Vec<Piece>,
    at: usize,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Stream for Pieces {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(piece) = self.pieces.get(self.at).cloned() else { return Poll::Ready(None) };
        match piece {
            Piece::Bytes(bytes) => {
                self.at += 1;
                Poll::Ready(Some(Ok(bytes.into())))
            }
            Fails(kind) => {
                self.at += 1;
                Poll::Ready(Some(Err(error(kind))))
            }
            Repeats(bytes, pause) => {
                let sleep = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
                Poll::Ready(Some(Ok(bytes.into())))
            }
            Hangs => Poll::Pending,
        }
    }
}

/// A slow network of this machine: a second is long, and a kilobyte a second is little.
fn impatient() -> HttpLimits {
    let mut limits = HttpLimits::default();
    limits.window = Duration::from_millis(400);
    limits.request = Duration::from_secs(2);
    limits.rate = 1000;
    limits
}

fn client(transport: &Served, repo: &Repo) -> Client<ToughSource> {
    let source = ToughSource::repository(transport.clone(), BASE).unwrap().with_limits(impatient());
    Client::new(repo.pinned(), source, Store::in_memory()).with_time(NOW.parse().unwrap())
}

/// What a refresh ends in: the kind of error of the source, or the code of all else.
fn refresh(transport: &Served, repo: &Repo) -> Result<(), &'static str> {
    client(transport, repo).refresh().map(drop).map_err(|error| kind(&error))
}

fn kind(error: &ClientError) -> &'static str {
    match error {
        ClientError::Undecided(Undecided::Source(error)) => match error {
            SourceError::TooSlow { .. } => "too slow",
            SourceError::UnsupportedUrl { .. } => "unsupported",
            SourceError::Io { .. } => "io",
            other => panic!("{other}"),
        },
        other => code(other),
    }
}

#[test]
fn a_file_is_what_the_transport_brings_or_it_is_missing_or_it_is_an_error() {
    // What it ends in where the file is one that must be there, and where it is the next root.
    let cases: &[(&str, fn(Vec<u8>) -> Answer, &str, &str)] = &[
        ("as it is", |body| Ok(vec![Piece::Bytes(body)]), "", "metadata-malformed"),
        ("missing when it is asked for", |_| Err(error(FileNotFound)), "repository-incomplete", ""),
        // So does tough's transport over HTTP.
        ("missing when it is first read", |_| Ok(vec![Fails(FileNotFound)]), "repository-incomplete", ""),
        ("missing after an empty piece", |_| Ok(vec![Piece::Bytes(vec![]), Fails(FileNotFound)]), "io", "io"),
        ("missing after a byte", |_| Ok(vec![Piece::Bytes(vec![b'{']), Fails(FileNotFound)]), "io", "io"),
        ("an error when it is asked for", |_| Err(error(Other)), "io", "io"),
        ("an error when it is first read", |_| Ok(vec![Fails(Other)]), "io", "io"),
        ("an error halfway", |body| Ok(vec![Piece::Bytes(body[..9.min(body.len())].into()), Fails(Other)]), "io", "io"),
        ("an error after all of it", |body| Ok(vec![Piece::Bytes(body), Fails(Other)]), "io", "io"),
        ("a scheme that is not supported", |_| Err(error(UnsupportedUrlScheme)), "unsupported", "unsupported"),
        ("empty", |_| Ok(vec![]), "metadata-malformed", "metadata-malformed"),
        (
            "cut short",
            |body| Ok(vec![Piece::Bytes(body.into_iter().rev().skip(9).rev().collect())]),
            "metadata-malformed",
            "metadata-malformed",
        ),
        (
            "byte by byte, with empty pieces between",
            |body| Ok(body.into_iter().flat_map(|b| [Piece::Bytes(vec![b]), Piece::Bytes(vec![])]).collect()),
            "",
            "metadata-malformed",
        ),
        (
            "endless",
            |_| Ok(vec![Repeats(vec![b' '; 4096], Duration::ZERO)]),
            "metadata-too-large",
            "metadata-too-large",
        ),
        ("no answer", |_| Ok(vec![Hangs]), "too slow", "too slow"),
        ("it stops halfway", |body| Ok(vec![Piece::Bytes(body), Hangs]), "too slow", "too slow"),
        (
            "a trickle",
            |_| Ok(vec![Piece::Bytes(vec![b' ']), Repeats(vec![b' '; 10], Duration::from_millis(50))]),
            "too slow",
            "too slow",
        ),
        (
            "empty pieces without an end",
            |_| Ok(vec![Piece::Bytes(vec![b' ']), Repeats(vec![], Duration::from_millis(50))]),
            "too slow",
            "too slow",
        ),
        (
            "fast enough, but for too long",
            |_| Ok(vec![Piece::Bytes(vec![b' ']), Repeats(vec![b' '; 100], Duration::from_millis(50))]),
            "too slow",
            "too slow",
        ),
    ];
    let result = |expected: &'static str| if expected.is_empty() { Ok(()) } else { Err(expected) };
    let repo = Repo::new();
    for (name, answer, there, next_root) in cases {
        let started = Instant::now();
        for (file, expected) in [("metadata/timestamp.json", there), ("metadata/2.root.json", next_root)] {
            let got = refresh(&Served::with(&repo, file, *answer), &repo);
            assert_eq!(got, result(expected), "{name}: {file}");
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{name}");
    }
}

#[test]
fn a_newer_root_is_not_hidden_by_an_error() {
    let mut repo = Repo::new();
    repo.bump("root").write_role("root");
    let cases: &[(fn(Vec<u8>) -> Answer, Result<u64, &str>)] = &[
        (|body| Ok(vec![Piece::Bytes(body)]), Ok(2)),
        // This is what being missing means, so it is for the transport to be right about it.
        (|_| Err(error(FileNotFound)), Ok(1)),
        (|_| Err(error(Other)), Err("io")),
        (|_| Ok(vec![Hangs]), Err("too slow")),
    ];
    for (answer, expected) in cases {
        let client = client(&Served::with(&repo, "metadata/2.root.json", *answer), &repo);
        let got = client.refresh().map(|session| session.trusted().root().version());
        assert_eq!(got.map_err(|error| kind(&error)), *expected);
    }
}

#[test]
fn a_target_is_bounded_by_what_is_signed() {
    let mut repo = Repo::new();
    repo.target("targets", "a/file", &[7; 100_000]).write();
    let file = format!("targets/a/{}.file", sha256(&[7; 100_000]));
    let cases: &[(&str, fn(Vec<u8>) -> Answer, Result<usize, &str>)] = &[
        ("as it is", |body| Ok(vec![Piece::Bytes(body)]), Ok(100_000)),
        ("in pieces", |body| Ok(body.chunks(999).map(|piece| Piece::Bytes(piece.into())).collect()), Ok(100_000)),
        ("cut short", |body| Ok(vec![Piece::Bytes(body[1..].into())]), Err("signed-length-mismatch")),
        (
            "a bit changed",
            |mut body| {
                body[50_000] ^= 1;
                Ok(vec![Piece::Bytes(body)])
            },
            Err("signed-hash-mismatch"),
        ),
        ("endless", |_| Ok(vec![Repeats(vec![7; 4096], Duration::ZERO)]), Err("signed-length-mismatch")),
        ("missing", |_| Ok(vec![Fails(FileNotFound)]), Err("repository-incomplete")),
        ("an error halfway", |body| Ok(vec![Piece::Bytes(body[..9].into()), Fails(Other)]), Err("io")),
    ];
    for (name, answer, expected) in cases {
        let client = client(&Served::with(&repo, &file, *answer), &repo);
        let mut session = client.refresh().unwrap();
        let found = session.find("a/file").unwrap().unwrap();
        let got = session.fetch(&found).map(|bytes| bytes.len()).map_err(|error| kind(&error));
        assert_eq!(got, *expected, "{name}");
    }
}

#[test]
fn what_has_failed_does_not_end_as_if_it_were_whole() {
    let repo = Repo::new();
    let odd = |body: Vec<u8>| Ok(vec![Piece::Bytes(body), Fails(Other), Piece::Bytes(b"more".into())]);
    let source = ToughSource::repository(Served::with(&repo, "metadata/timestamp.json", odd), BASE).unwrap();
    let mut reader = source.metadata("timestamp.json").unwrap().unwrap();
    let mut read = Vec::new();
    assert!(reader.read_to_end(&mut read).is_err());
    assert_eq!(read, repo.files["metadata/timestamp.json"]);
    for _ in 0..2 {
        assert!(reader.read(&mut [0; 10]).is_err());
        assert_eq!(reader.read(&mut []).unwrap(), 0, "which is no end");
    }
    drop(reader);
    let mut reader = source.metadata("1.targets.json").unwrap().unwrap();
    assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), repo.files["metadata/1.targets.json"].len());
    assert_eq!(reader.read(&mut [0; 10]).unwrap(), 0);
}

#[test]
fn a_message_shows_the_cause_but_no_control_characters_and_no_other_address() {
    let repo = Repo::new();
    let client = client(&Served::with(&repo, "metadata/timestamp.json", |_| Err(error(Other))), &repo);
    let error = client.refresh().map(drop).unwrap_err();
    let mut shown = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        shown = format!("{shown}: {error}");
        cause = error.source();
    }
    let expected = "cannot read \"test://place/repository/metadata/timestamp.json\": the transport failed: other: because\\u{1b}[2J";
    assert_eq!(shown, expected);
}

#[test]
fn names_stay_below_their_folder() {
    let repo = Repo::new();
    let transport = Served::new(&repo);
    let source = ToughSource::repository(transport.clone(), BASE).unwrap();
    let asked = |name: &str, answer: Result<bool, SourceError>| match answer {
        Err(SourceError::Path(path)) => {
            assert_eq!(path, name);
            None
        }
        other => {
            other.unwrap();
            transport.asked.lock().unwrap().pop()
        }
    };
    for (name, expected) in [
        ("1.root.json", Some("1.root.json")),
        ("..%2Fa.json", Some("..%2Fa.json")),
        ("%2F..%2F.json", Some("%2F..%2F.json")),
        ("a%25b.json", Some("a%25b.json")),
        // What parsers of addresses take for `.` and `..`.
        ("%2e%2e", None),
        (".%2E", None),
        ("%2e", None),
        ("..", None),
        (".", None),
        ("", None),
        ("a/b.json", None),
        ("a?b.json", None),
        ("a\\b.json", None),
        ("é.json", None),
    ] {
        let got = asked(name, source.metadata(name).map(|file| file.is_some()));
        assert_eq!(got, expected.map(|path| format!("{BASE}/metadata/{path}")), "{name}");
    }
    for (name, expected) in [
        ("a/b", Some("a/b")),
        ("registry.example:5000/team/app/1.4/manifest.json", Some("registry.example:5000/team/app/1.4/manifest.json")),
        ("a?b#c%d \u{e9}", Some("a%3Fb%23c%25d%20%C3%A9")),
        ("%2e%2e/a", Some("%252e%252e/a")),
        ("..a/b..", Some("..a/b..")),
        ("a\\..\\b", Some("a%5C..%5Cb")),
        ("../a", None),
        ("a/../b", None),
        ("a/..", None),
        ("a//b", None),
        ("/a", None),
        ("./a", None),
        ("a\0b", None),
    ] {
        let got = asked(name, source.target(name).map(|file| file.is_some()));
        assert_eq!(got, expected.map(|path| format!("{BASE}/targets/{path}")), "{name}");
    }
    assert_eq!(transport.asked(), Vec::<String>::new());
}

#[test]
fn names_of_delegated_roles_are_asked_for_as_one_segment() {
    for role in ["?", "#", "%2F", "%2e%2e", "..", "/delegated", "../delegated", "a b/c"] {
        let mut repo = Repo::new();
        repo.delegate("targets", role, &["*"], &[Signer(9)], false).target(role, "a", b"content").write();
        let transport = Served::new(&repo);
        let client = client(&transport, &repo);
        let found = client.refresh().unwrap().find("a").unwrap();
        assert!(found.is_ok(), "{role}");
        assert_eq!(transport.asked().last(), Some(&format!("{BASE}/{}", repo.file_name(role))), "{role}");
    }
}

#[test]
fn metadata_and_targets_may_be_at_two_places() {
    let mut repo = Repo::new();
    repo.target("targets", "file", b"content").write();
    let transport = Served::new(&repo);
    let places = [
        ToughSource::new(transport.clone(), &format!("{BASE}/metadata"), &format!("{BASE}/targets/")),
        ToughSource::repository(transport.clone(), &format!("{BASE}/")),
    ];
    for source in places {
        let client = Client::new(repo.pinned(), source.unwrap(), Store::in_memory()).with_time(NOW.parse().unwrap());
        let mut session = client.refresh().unwrap();
        let found = session.find("file").unwrap().unwrap();
        assert_eq!(session.fetch(&found).unwrap(), b"content");
    }
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn images_are_verified_from_a_folder_as_by_any_other_source() {
    let cases: [(&str, &str, &[&str]); 4] = [
        ("test-repos/good", "good/app.tar", &[]),
        ("test-repos/good", "hostile/changed-layer/app.tar", &["layer-diff-id-mismatch"]),
        ("test-repos/nowhere", "good/app.tar", &["repository-incomplete"]),
        ("src/lib.rs", "good/app.tar", &["repository-unreadable"]),
    ];
    for (repository, archive, findings) in cases {
        let url = format!("file://{}", here(repository).display());
        let root = fs::read(here("test-repos/root.json")).unwrap();
        for source in [
            ToughSource::repository(FilesystemTransport, &url).unwrap(),
            ToughSource::repository(DefaultTransport::new(), &url).unwrap(),
        ] {
            let client = Client::new(root.clone(), source, Store::in_memory());
            let verifier = Verifier::new(client).with_image("registry.example/team/app:1.4".parse().unwrap());
            let verdict = verifier.verify(&here("test-repos").join(archive));
            let codes: Vec<&str> = verdict.findings().iter().map(|finding| finding.code()).collect();
            assert_eq!(codes, findings, "{repository}, {archive}");
            assert_eq!(verdict.is_trusted(), findings.is_empty(), "{repository}, {archive}");
        }
    }
}

#[test]
fn a_folder_in_a_files_place_is_no_missing_file() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tough_source_folder");
    let repo = Repo::new();
    repo.save(&folder);
    let url = format!("file://{}", folder.display());
    let refresh = || {
        let source = ToughSource::repository(FilesystemTransport, &url).unwrap();
        let client = Client::new(repo.pinned(), source, Store::in_memory()).with_time(NOW.parse().unwrap());
        client.refresh().map(drop).map_err(|error| kind(&error))
    };
    let there = folder.join("metadata/2.root.json");
    let _not_there = fs::remove_dir(&there);
    assert_eq!(refresh(), Ok(()));
    fs::create_dir(&there).unwrap();
    assert_eq!(refresh(), Err("io"));
}

#[test]
fn a_transport_that_knows_another_scheme_is_an_error() {
    let repo = Repo::new();
    let source = ToughSource::repository(FilesystemTransport, "https://images.example").unwrap();
    let client = Client::new(repo.pinned(), source, Store::in_memory()).with_time(NOW.parse().unwrap());
    assert_eq!(client.refresh().map(drop).map_err(|error| kind(&error)), Err("unsupported"));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn it_is_called_from_any_thread_and_panics_nowhere() {
    let repo = Repo::new();
    let transport = Served::new(&repo);

    // Where blocking is allowed.
    assert_eq!(refresh(&transport, &repo), Ok(()));
    let (other_transport, other_repo) = (transport.clone(), repo.clone());
    let blocking = || async { tokio::task::spawn_blocking(move || refresh(&other_transport, &other_repo)).await };
    assert_eq!(runtime().block_on(blocking()).unwrap(), Ok(()));

    // Where it is not: made, used and dropped in async code.
    assert_eq!(runtime().block_on(async { refresh(&transport, &repo) }), Ok(()));
    let local = tokio::task::LocalSet::new();
    assert_eq!(local.block_on(&runtime(), async { refresh(&transport, &repo) }), Ok(()));

    // By several at once.
    let source = ToughSource::repository(transport, BASE).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let mut read = Vec::new();
                    source.metadata("timestamp.json").unwrap().unwrap().read_to_end(&mut read).unwrap();
                    assert_eq!(read, repo.files["metadata/timestamp.json"]);
                }
            });
        }
    });
}
