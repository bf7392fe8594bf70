//! A web server for one repository, on a port of this machine. It serves what it holds, misbehaves where it is told to, and writes down
//! what it was asked for.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::repo::Repo;

/// Answers one request in its own way: all that goes to the client is written by it.
pub type Answer = Arc<dyn Fn(&mut dyn Write) + Send + Sync>;

#[derive(Clone)]
pub struct Server {
    /// The address of the repository, with a slash at the end.
    pub url: String,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    files: BTreeMap<String, Vec<u8>>,
    answers: BTreeMap<String, Answer>,
    requests: Vec<String>,
    headers: Vec<String>,
}

/// The repository is in a folder whose name must be sent as it is: encoded twice or decoded it is another one.
const PREFIX: &str = "/r%5B1%5D/";

impl Server {
    pub fn new(repo: &Repo) -> Self {
        let (server, listener) = Self::listen(repo, "http");
        let this = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let this = this.clone();
                thread::spawn(move || this.serve(stream));
            }
        });
        server
    }

    /// The server and where it listens, for whoever puts something between the two.
    pub fn listen(repo: &Repo, scheme: &str) -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}{PREFIX}", listener.local_addr().unwrap());
        let server = Self { url, inside: Arc::default() };
        server.publish(repo);
        (server, listener)
    }

    /// Serves these files from now on.
    pub fn publish(&self, repo: &Repo) {
        self.inside.lock().unwrap().files = repo.files.clone();
    }

    /// Answers requests for `path` in a way of its own.
    pub fn answer(&self, path: &str, answer: impl Fn(&mut dyn Write) + Send + Sync + 'static) -> &Self {
        self.inside.lock().unwrap().answers.insert(path.to_owned(), Arc::new(answer));
        self
    }

    pub fn remove(&self, path: &str) {
        self.inside.lock().unwrap().files.remove(path);
    }

    pub fn insert(&self, path: &str, bytes: &[u8]) {
        self.inside.lock().unwrap().files.insert(path.to_owned(), bytes.to_vec());
    }

    /// The paths asked for since the last call, as they were sent; `metadata/` is left out.
    pub fn take_requests(&self) -> Vec<String> {
        let requests = std::mem::take(&mut self.inside.lock().unwrap().requests);
        requests.iter().map(|path| path.trim_start_matches("metadata/").to_owned()).collect()
    }

    /// The headers of each request, lower case.
    pub fn headers(&self) -> Vec<String> {
        self.inside.lock().unwrap().headers.clone()
    }

    /// One request, one answer, then the connection is closed. A client that has left is not missed.
    pub fn serve(&self, mut stream: impl Read + Write) {
        let mut head = String::new();
        let mut reader = BufReader::new(&mut stream);
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let sent = head.split(' ').nth(1).unwrap();
        let path = sent.strip_prefix(PREFIX).map_or_else(|| format!("outside: {sent}"), str::to_owned);
        let (file, answer) = {
            let mut inside = self.inside.lock().unwrap();
            inside.requests.push(path.clone());
            inside.headers.push(head.to_lowercase());
            // The names of role files are encoded already; the paths of targets are encoded for the way only.
            let name = if path.starts_with("metadata/") { path.clone() } else { decoded(&path) };
            (inside.files.get(&name).cloned(), inside.answers.get(&path).cloned())
        };
        match (answer, file) {
            (Some(answer), _) => answer(&mut stream),
            (None, Some(bytes)) => ok(&mut stream, "", &bytes),
            (None, None) => status(&mut stream, "404 Not Found", ""),
        }
        let _gone = stream.flush();
    }
}

/// `200` with more headers and a body.
pub fn ok(stream: &mut dyn Write, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    let _gone = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// An answer without a body.
pub fn status(stream: &mut dyn Write, status: &str, headers: &str) {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: 0\r\n\r\n");
    let _gone = stream.write_all(head.as_bytes());
}

/// Sends a request on to where it finds its answer.
pub fn redirect(location: &str) -> impl Fn(&mut dyn Write) + Send + Sync + 'static {
    let header = format!("Location: {location}\r\n");
    move |stream| status(stream, "302 Found", &header)
}

/// What percent-encoding stands for.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// A connection that is closed before anything is said.
pub fn hang_up(_: &mut dyn Write) {}

/// The answer's type, for tables.
pub type Sends = fn(&mut dyn Write, &[u8]);

/// A connection to a server, for those that listen themselves.
pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().unwrap().0
}
