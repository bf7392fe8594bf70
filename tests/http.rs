//! A repository over HTTP: what counts as missing, what is refused, and how long is waited (feature `http`).
//!
//! Each refusal has its twin beside it that is accepted.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests state what they expect")]
#![allow(clippy::type_complexity, reason = "tables")]

mod support;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use plimsoll::client::{Client, ClientError, HttpSource, SourceError, Store, Undecided};
use plimsoll::limits::HttpLimits;
use support::repo::{NOW, Repo, Signer};
use support::server::{Sends, Server, hang_up, ok, redirect, status};
use support::source::code;

/// A slow network of this machine: a second is long, and a kilobyte a second is little.
fn impatient() -> HttpLimits {
    let mut limits = HttpLimits::default();
    limits.window = Duration::from_millis(400);
    limits.request = Duration::from_secs(3);
    limits.rate = 1000;
    limits
}

fn client(server: &Server, repo: &Repo, limits: HttpLimits) -> Client<HttpSource> {
    let source = HttpSource::repository(&server.url).unwrap().without_proxy().with_limits(limits);
    Client::new(repo.pinned(), source, Store::in_memory()).with_time(NOW.parse().unwrap())
}

/// What a refresh ends in: the kind of error of the source, or the code of all else.
fn refresh(server: &Server, repo: &Repo) -> Result<(), &'static str> {
    client(server, repo, impatient()).refresh().map(drop).map_err(|error| kind(&error))
}

fn kind(error: &ClientError) -> &'static str {
    match error {
        ClientError::Undecided(Undecided::Source(error)) => match error {
            SourceError::Status { .. } => "status",
            SourceError::TooSlow { .. } => "too slow",
            SourceError::Redirect { .. } => "redirect",
            SourceError::ContentEncoding { .. } => "content encoding",
            SourceError::Io { .. } => "io",
            other => panic!("{other}"),
        },
        other => code(other),
    }
}

fn send(stream: &mut dyn Write, text: &str) {
    let _gone = stream.write_all(text.as_bytes());
}

/// Writes until the client has had enough, so a test that ends before this has left the connection.
fn endless(stream: &mut dyn Write, piece: &[u8], pause: Duration) {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) && stream.write_all(piece).and_then(|()| stream.flush()).is_ok() {
        sleep(pause);
    }
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n";

#[test]
fn an_answer_is_the_file_or_an_error() {
    let cases: &[(&str, Sends, Result<(), &str>)] = &[
        ("as it is", |s, body| ok(s, "", body), Ok(())),
        ("404 is missing", |s, _| status(s, "404 Not Found", ""), Err("repository-incomplete")),
        (
            "403 is missing, as object stores say it",
            |s, _| status(s, "403 Forbidden", ""),
            Err("repository-incomplete"),
        ),
        ("401", |s, _| status(s, "401 Unauthorized", ""), Err("status")),
        ("410", |s, _| status(s, "410 Gone", ""), Err("status")),
        ("429", |s, _| status(s, "429 Too Many Requests", ""), Err("status")),
        ("500", |s, _| status(s, "500 Internal Server Error", ""), Err("status")),
        ("503", |s, _| status(s, "503 Service Unavailable", ""), Err("status")),
        ("204", |s, _| send(s, "HTTP/1.1 204 No Content\r\n\r\n"), Err("status")),
        (
            "206 of a file that was asked for whole",
            |s, body| {
                send(s, &format!("HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\n\r\n", body.len()));
                let _gone = s.write_all(body);
            },
            Err("status"),
        ),
        ("304 of a file that was never had", |s, _| status(s, "304 Not Modified", ""), Err("status")),
        (
            "no length, ended by the end of the connection",
            |s, body| {
                send(s, &format!("{HEAD}\r\n"));
                let _gone = s.write_all(body);
            },
            Ok(()),
        ),
        (
            "a byte less than announced",
            |s, body| {
                send(s, &format!("{HEAD}Content-Length: {}\r\n\r\n", body.len()));
                let _gone = s.write_all(&body[..body.len() - 1]);
            },
            Err("io"),
        ),
        (
            "in chunks",
            |s, body| {
                send(s, &format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()));
                let _gone = s.write_all(body);
                send(s, "\r\n0\r\n\r\n");
            },
            Ok(()),
        ),
        (
            "in chunks without the last one",
            |s, body| {
                send(s, &format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()));
                let _gone = s.write_all(body);
            },
            Err("io"),
        ),
        ("no answer at all", |s, _| hang_up(s), Err("io")),
        ("half a header", |s, _| send(s, "HTTP/1.1 200 OK\r\nContent-Le"), Err("io")),
        ("not HTTP", |s, _| send(s, "SSH-2.0-server\r\n\r\n"), Err("io")),
        ("content encoding identity", |s, body| ok(s, "Content-Encoding: identity\r\n", body), Ok(())),
        ("content encoding gzip", |s, body| ok(s, "Content-Encoding: gzip\r\n", body), Err("content encoding")),
        (
            "content encoding identity, gzip",
            |s, body| {
                ok(s, "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n", body);
            },
            Err("content encoding"),
        ),
        (
            "a body that never ends",
            |s, _| {
                send(s, &format!("{HEAD}\r\n"));
                endless(s, &[b' '; 4096], Duration::ZERO);
            },
            Err("metadata-too-large"),
        ),
    ];
    for (name, answer, expected) in cases {
        let repo = Repo::new();
        let server = Server::new(&repo);
        let (answer, body) = (*answer, repo.files["metadata/timestamp.json"].clone());
        server.answer("metadata/timestamp.json", move |stream| answer(stream, &body));
        assert_eq!(refresh(&server, &repo), *expected, "{name}");
    }
}

#[test]
fn only_404_and_403_end_the_search_for_newer_roots() {
    let cases: &[(&str, Sends, Result<(), &str>)] = &[
        ("404", |s, _| status(s, "404 Not Found", ""), Ok(())),
        ("403", |s, _| status(s, "403 Forbidden", ""), Ok(())),
        ("400", |s, _| status(s, "400 Bad Request", ""), Err("status")),
        ("500", |s, _| status(s, "500 Internal Server Error", ""), Err("status")),
        ("closed", |s, _| hang_up(s), Err("io")),
        (
            "short",
            |s, body| {
                send(s, &format!("{HEAD}Content-Length: {}\r\n\r\n", body.len()));
                let _gone = s.write_all(&body[..9]);
            },
            Err("io"),
        ),
        ("silent", |_, _| sleep(Duration::from_secs(2)), Err("too slow")),
        ("redirected in circles", |s, _| redirect("2.root.json")(s), Err("redirect")),
        ("redirected to where there is none", |s, _| redirect("../elsewhere/2.root.json")(s), Ok(())),
    ];
    for (name, answer, expected) in cases {
        let repo = Repo::new();
        let server = Server::new(&repo);
        let (answer, body) = (*answer, repo.pinned());
        server.answer("metadata/2.root.json", move |stream| answer(stream, &body));
        assert_eq!(refresh(&server, &repo), *expected, "{name}");
    }
}

#[test]
fn redirects_are_followed_five_times() {
    for (redirects, expected) in [(1, Ok(())), (5, Ok(())), (6, Err("redirect"))] {
        let repo = Repo::new();
        let server = Server::new(&repo);
        let file = repo.files["metadata/timestamp.json"].clone();
        server.answer("metadata/timestamp.json", redirect("../mirror/1"));
        for step in 1..redirects {
            server.answer(&format!("mirror/{step}"), redirect(&format!("{}", step + 1)));
        }
        server.answer(&format!("mirror/{redirects}"), move |stream| ok(stream, "", &file));
        assert_eq!(refresh(&server, &repo), expected, "{redirects}");
    }
    for location in ["Location: ftp://127.0.0.1/timestamp.json\r\n", "Location: file:///etc/hostname\r\n", ""] {
        let repo = Repo::new();
        let server = Server::new(&repo);
        server.answer("metadata/timestamp.json", move |stream| status(stream, "302 Found", location));
        let got = refresh(&server, &repo);
        // `file:` names no host, so it is looked for on the server that sent it, and not on this machine.
        assert!(matches!(got, Err("redirect" | "io" | "status" | "repository-incomplete")), "{location}: {got:?}");
    }
}

#[test]
fn a_trickle_is_an_error_and_a_slow_network_is_not() {
    let cases: &[(&str, Sends, Result<(), &str>)] = &[
        // 30 times 100 bytes in about 0.9 s: some 3,000 bytes a second over more than one window.
        (
            "slow, but fast enough",
            |s, body| {
                send(s, &format!("{HEAD}\r\n"));
                let file = [" ".repeat(3000).as_bytes(), body].concat();
                for piece in file.chunks(file.len().div_ceil(30)) {
                    let _gone = s.write_all(piece).and_then(|()| s.flush());
                    sleep(Duration::from_millis(30));
                }
            },
            Ok(()),
        ),
        (
            "a byte now and then",
            |s, _| {
                send(s, &format!("{HEAD}\r\n"));
                endless(s, b" ", Duration::from_millis(20));
            },
            Err("too slow"),
        ),
        (
            "a fast start, then a byte now and then",
            |s, _| {
                send(s, &format!("{HEAD}\r\n{}", " ".repeat(10_000)));
                endless(s, b" ", Duration::from_millis(20));
            },
            Err("too slow"),
        ),
        (
            "headers a byte at a time",
            |s, _| {
                send(s, HEAD);
                endless(s, b"a", Duration::from_millis(50));
            },
            Err("too slow"),
        ),
        ("nothing", |_, _| sleep(Duration::from_secs(2)), Err("too slow")),
        (
            "nothing after the headers",
            |s, _| {
                send(s, &format!("{HEAD}Content-Length: 10\r\n\r\n"));
                sleep(Duration::from_secs(2));
            },
            Err("too slow"),
        ),
    ];
    for (name, answer, expected) in cases {
        let repo = Repo::new();
        let server = Server::new(&repo);
        let (answer, body) = (*answer, repo.files["metadata/timestamp.json"].clone());
        server.answer("metadata/timestamp.json", move |stream| answer(stream, &body));
        let started = Instant::now();
        assert_eq!(refresh(&server, &repo), *expected, "{name}");
        assert!(started.elapsed() < Duration::from_secs(3), "{name}: {:?}", started.elapsed());
    }
}

#[test]
fn a_request_ends_however_fast_it_is() {
    // Fast enough at each moment, and below the limit for a snapshot for a long time.
    let repo = Repo::new();
    let server = Server::new(&repo);
    server.answer("metadata/1.snapshot.json", |stream| {
        send(stream, &format!("{HEAD}\r\n"));
        endless(stream, &[b' '; 1000], Duration::from_millis(10));
    });
    let started = Instant::now();
    assert_eq!(refresh(&server, &repo), Err("too slow"));
    assert!(started.elapsed() >= impatient().request && started.elapsed() < Duration::from_secs(10));
}

/// Each refresh is told that there is no newer root. Over TLS, a new connection after that answer would cost more than all the files.
#[test]
fn one_connection_does_for_a_whole_refresh() {
    let kept_alive = |status: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    // What a server says of a missing file: briefly, and at such length that the connection is given up.
    for (said, connections) in [(0, 1), (150, 1), (4000, 1), (100_000, 2)] {
        let repo = Repo::new();
        let (server, listener) = Server::listen(&repo, "http");
        let missing = ("metadata/2.root.json".to_owned(), kept_alive("404 Not Found", &vec![b'x'; said]));
        let files = repo.files.iter().map(|(name, bytes)| (name.clone(), kept_alive("200 OK", bytes)));
        for (name, answer) in files.chain([missing]) {
            server.answer(&name, move |stream| {
                let _gone = stream.write_all(&answer);
            });
        }
        let accepted = Arc::new(AtomicUsize::new(0));
        let (this, count) = (server.clone(), Arc::clone(&accepted));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                while stream.peek(&mut [0]).is_ok_and(|n| n > 0) {
                    this.serve(&mut stream);
                }
            }
        });
        refresh(&server, &repo).unwrap();
        assert_eq!(server.take_requests().len(), 4);
        assert_eq!(accepted.load(Ordering::SeqCst), connections, "{said}");
    }
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let repo = Repo::new();
    let (server, listener) = Server::listen(&repo, "http");
    drop(listener);
    assert_eq!(refresh(&server, &repo), Err("io"));
}

#[test]
fn requests_say_who_asks_and_want_the_file_itself() {
    let repo = Repo::new();
    let server = Server::new(&repo);
    refresh(&server, &repo).unwrap();
    assert_eq!(server.take_requests(), ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]);
    for headers in server.headers() {
        assert!(headers.contains(&format!("\r\nuser-agent: plimsoll/{}\r\n", env!("CARGO_PKG_VERSION"))), "{headers}");
        assert!(headers.contains("\r\naccept-encoding: identity\r\n"), "{headers}");
    }
}

#[test]
fn names_are_sent_encoded_once() {
    let (role, target) = ("a/../%20?#é", "a b/c?d#e%2Ff é/~x-._");
    let mut repo = Repo::new();
    repo.delegate("targets", role, &["*/*/*"], &[Signer(40)], false).target(role, target, b"content").write();
    let server = Server::new(&repo);
    for url in [server.url.clone(), server.url.trim_end_matches('/').to_owned()] {
        let source = HttpSource::repository(&url).unwrap().without_proxy();
        let client = Client::new(repo.pinned(), source, Store::in_memory()).with_time(NOW.parse().unwrap());
        let mut session = client.refresh().unwrap();
        let found = session.find(target).unwrap().unwrap();
        assert_eq!(session.fetch(&found).unwrap(), b"content");
        let hash = support::repo::sha256(b"content");
        assert_eq!(
            server.take_requests()[4..],
            [
                "1.a%2F..%2F%2520%3F%23%C3%A9.json".to_owned(),
                format!("targets/a%20b/c%3Fd%23e%252Ff%20%C3%A9/{hash}.~x-._"),
            ]
        );
    }
}

#[test]
fn a_large_target_is_streamed_to_its_file() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("http-download");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("target");
    let _from_an_earlier_run = std::fs::remove_file(&file);
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut repo = Repo::new();
    repo.target("targets", "large", &content).write();
    let server = Server::new(&repo);
    let path = format!("targets/{}.large", support::repo::sha256(&content));

    let fetch = || {
        let client = client(&server, &repo, impatient());
        let mut session = client.refresh().map_err(|error| kind(&error))?;
        let found = session.find("large").unwrap().unwrap();
        session.fetch_to_file(&found, &file).map_err(|error| kind(&error))
    };
    let cases: &[(&str, fn(&mut Vec<u8>), &str)] = &[
        ("a byte changed", |b| b[11_999_999] ^= 1, "signed-hash-mismatch"),
        ("a byte less", |b| b.truncate(b.len() - 1), "signed-length-mismatch"),
        ("a byte more", |b| b.push(0), "signed-length-mismatch"),
    ];
    for (name, edit, expected) in cases {
        let mut wrong = content.clone();
        edit(&mut wrong);
        server.insert(&path, &wrong);
        assert_eq!(fetch(), Err(*expected), "{name}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "{name}: nothing is left behind");
    }
    server.insert(&path, &content);
    assert_eq!(fetch(), Ok(()));
    assert_eq!(std::fs::read(&file).unwrap(), content);

    server.take_requests();
    server.remove(&path);
    assert_eq!(fetch(), Ok(()), "what is there already is not fetched again");
    assert!(!server.take_requests().contains(&path));

    // What was there before stays until the new one is right.
    std::fs::write(&file, b"older").unwrap();
    assert_eq!(fetch(), Err("repository-incomplete"));
    assert_eq!(std::fs::read(&file).unwrap(), b"older");
}
