//! A web server for folders, on a port of this machine: HTTP/1.1 with connections that stay open, a thread for each, and files straight
//! from the disk. It counts what it is asked for and what it sends.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each bench uses its own part of this")]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// Serves until the program ends.
#[derive(Debug, Clone)]
pub struct Server {
    /// The address of the folder, with a slash at the end.
    pub url: String,
    inside: Arc<Inside>,
}

#[derive(Debug)]
struct Inside {
    folder: PathBuf,
    traffic: Mutex<Traffic>,
}

/// What went over the wire, headers not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    pub connections: u64,
    /// The paths asked for, in order, as files are named; also those that are not there.
    pub requests: Vec<String>,
    /// Of bodies.
    pub bytes: u64,
}

impl Server {
    /// Serves the files below `folder`.
    pub fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = Self { url, inside: Arc::new(Inside { folder: folder.to_owned(), traffic: Mutex::default() }) };
        let this = Arc::clone(&server.inside);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let this = Arc::clone(&this);
                // A client that has left is not missed.
                thread::spawn(move || this.serve(&stream).unwrap_or_default());
            }
        });
        server
    }

    /// What it was asked for since the last call.
    pub fn take_traffic(&self) -> Traffic {
        std::mem::take(&mut self.inside.traffic.lock().unwrap())
    }
}

impl Inside {
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        self.traffic.lock().unwrap().connections += 1;
        let mut reader = BufReader::new(stream);
        while let Some((path, is_last)) = request(&mut reader)? {
            let file = self.open(&path);
            let length = file.as_ref().map_or(0, |(_, length)| *length);
            {
                let mut traffic = self.traffic.lock().unwrap();
                traffic.requests.push(path);
                traffic.bytes += length;
            }
            let mut out = stream;
            let status = if file.is_some() { "200 OK" } else { "404 Not Found" };
            let connection = if is_last { "close" } else { "keep-alive" };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n");
            out.write_all(head.as_bytes())?;
            if let Some((file, length)) = file {
                // The kernel copies: the bytes do not pass through here.
                io::copy(&mut file.take(length), &mut out)?;
            }
            if is_last {
                break;
            }
        }
        Ok(())
    }

    fn open(&self, path: &str) -> Option<(File, u64)> {
        let path = Path::new(path);
        path.components().all(|part| matches!(part, Component::Normal(_))).then_some(())?;
        let file = File::open(self.folder.join(path)).ok()?;
        let meta = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((file, meta.len()))
    }
}

/// The path that the next request asks for, without the slash at its start, and whether it is the last on this connection. `None` at its end.
fn request(reader: &mut impl BufRead) -> io::Result<Option<(String, bool)>> {
    let (mut path, mut is_last, mut line) = (None, false, String::new());
    while reader.read_line(&mut line)? > 0 {
        let text = line.trim_end();
        match &path {
            None => path = Some(decoded(text.split(' ').nth(1).unwrap_or_default().trim_start_matches('/'))),
            Some(path) if text.is_empty() => return Ok(Some((path.clone(), is_last))),
            Some(_) => is_last |= text.eq_ignore_ascii_case("connection: close"),
        }
        line.clear();
    }
    Ok(None)
}

/// What percent-encoding stands for: clients differ in what they encode. So no file here may have a name with `%` in it.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let digits = if byte == b'%' { [rest.next(), rest.next()] } else { [None; 2] };
        let [Some(high), Some(low)] = digits.map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16))) else {
            bytes.push(byte);
            continue;
        };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
