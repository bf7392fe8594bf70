//! The test server behind TLS, with certificates of the tests' own (`tests/tls`).

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::repo::Repo;
use super::server::Server;

/// Who vouches for the server.
pub const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/authority.pem");
/// Who does not.
pub const OTHER_AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/other-authority.pem");

/// A server that speaks HTTPS only.
pub fn server(repo: &Repo) -> Server {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);

    let (server, listener) = Server::listen(repo, "https");
    let this = server.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (this, config) = (this.clone(), Arc::clone(&config));
            thread::spawn(move || {
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                this.serve(&mut stream);
                // Without it the end of a body without a length looks like an attack.
                stream.conn.send_close_notify();
                let _gone = stream.flush();
            });
        }
    });
    server
}
