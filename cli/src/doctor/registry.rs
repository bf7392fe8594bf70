//! A registry on this machine, with one image that holds nothing: what containerd is made to pull.
//!
//! A pull looks the name up before verifiers are asked, so there must be an answer. All of the image is there: without a verifier, the pull succeeds.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use plimsoll::digest::Sha256;
use plimsoll::policy::PROBE;

const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// A request's head; containerd's have some hundred bytes.
const HEAD_MAX: u64 = 64 << 10;

/// Starts to serve, until the program ends; the port.
pub(super) fn serve() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::Builder::new().spawn(move || {
        for stream in listener.incoming().flatten() {
            // One after the other: nobody else is served.
            let _who_hangs_up_is_not_missed = answer(stream);
        }
    })?;
    Ok(port)
}

fn manifest() -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[]}}"#,
        Sha256::of(CONFIG.as_bytes()),
        CONFIG.len()
    )
}

/// One request, one answer [OCI distribution-spec, pull].
fn answer(stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new((&stream).take(HEAD_MAX));
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let manifest = manifest();
    let blob = format!("/v2/{PROBE}/blobs/{}", Sha256::of(CONFIG.as_bytes()));
    let (status, kind, body) = if path.starts_with(&format!("/v2/{PROBE}/manifests/")) {
        ("200 OK", MANIFEST_TYPE, manifest.as_str())
    } else if path == blob {
        ("200 OK", "application/octet-stream", CONFIG)
    } else if path == "/v2/" {
        ("200 OK", "application/json", "{}")
    } else {
        ("404 Not Found", "application/json", "{}")
    };
    let digest = Sha256::of(body.as_bytes());
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nDocker-Content-Digest: {digest}\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\r\n"
    );
    let mut stream = &stream;
    stream.write_all(head.as_bytes())?;
    if method != "HEAD" {
        stream.write_all(body.as_bytes())?;
    }
    stream.flush()
}
