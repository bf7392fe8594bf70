//! A repository over HTTP or HTTPS (feature `http`).
//!
//! Whatever the server sends is as untrusted as a file on a stick: TLS guards privacy and availability, the pinned root guards trust.
//!
//! Rules:
//! - Missing is 404 or 403 and nothing else. Time-outs, every other status, a body shorter than announced and a connection that breaks
//!   are errors, for "missing" ends the search for newer roots.
//! - What arrives is the file: no content encoding is asked for, and none is accepted.
//! - Redirects are few and never lead from HTTPS to HTTP.
//! - A server must go on at a minimum rate, and a request ends after some minutes ([`HttpLimits`]).
//! - Names are encoded here once: role names arrive as one encoded segment, target paths are encoded segment by segment.
//! - User name and password in an address go to the server and never into a message.

use std::fmt;
use std::io::{self, Read};
use std::iter;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ureq::http::header::CONTENT_ENCODING;
use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, BodyReader, Error, ResponseExt, Timeout};

use super::encoded;
use super::source::{Source, SourceError, is_plain};
use crate::limits::HttpLimits;

/// A repository on a web server.
///
/// The environment's proxy is used (`ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), and the machine's certificate authorities
/// (`SSL_CERT_FILE` names others). No request is made before the first file is asked for.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use plimsoll::client::{Client, HttpSource, Store};
///
/// let source = HttpSource::repository("https://images.example/repository")?;
/// let client = Client::new(std::fs::read("root.json")?, source, Store::folder("/var/lib/app/trusted"));
/// println!("targets version {}", client.refresh()?.trusted().targets().version());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HttpSource {
    metadata: BaseUrl,
    targets: BaseUrl,
    limits: HttpLimits,
    user_agent: String,
    uses_proxy: bool,
    agents: Agents,
}

/// Made when first needed.
#[derive(Debug, Default)]
struct Agents {
    /// Follows no redirect, and knows no authorities: to read those of a machine takes longer than a refresh from a server nearby.
    in_clear: OnceLock<Agent>,
    /// For all else.
    full: OnceLock<Agent>,
}

impl HttpSource {
    /// The repository at `url`: metadata below `url/metadata/`, targets below `url/targets/`.
    ///
    /// # Errors
    ///
    /// [`SourceError::UnsupportedUrl`] if it is no `http` or `https` address of a folder.
    pub fn repository(url: &str) -> Result<Self, SourceError> {
        let base = BaseUrl::parse(url)?;
        Ok(Self::at(base.folder("metadata"), base.folder("targets")))
    }

    /// A repository whose metadata and targets are at two places. Both addresses are folders, with or without a slash at the end.
    ///
    /// # Errors
    ///
    /// As [`repository`](Self::repository).
    pub fn new(metadata: &str, targets: &str) -> Result<Self, SourceError> {
        Ok(Self::at(BaseUrl::parse(metadata)?, BaseUrl::parse(targets)?))
    }

    fn at(metadata: BaseUrl, targets: BaseUrl) -> Self {
        Self {
            metadata,
            targets,
            limits: HttpLimits::default(),
            user_agent: concat!("plimsoll/", env!("CARGO_PKG_VERSION")).to_owned(),
            uses_proxy: true,
            agents: Agents::default(),
        }
    }

    /// Other limits.
    #[must_use]
    pub fn with_limits(self, limits: HttpLimits) -> Self {
        Self { limits, agents: Agents::default(), ..self }
    }

    /// Tells servers that it is `user_agent`. Default `plimsoll/` and the version. Anything but printable ASCII is left out.
    #[must_use]
    pub fn with_user_agent(self, user_agent: &str) -> Self {
        let user_agent = user_agent.chars().filter(|c| (' '..='~').contains(c)).collect();
        Self { user_agent, agents: Agents::default(), ..self }
    }

    /// Asks the server itself, whatever proxy the environment names.
    #[must_use]
    pub fn without_proxy(self) -> Self {
        Self { uses_proxy: false, agents: Agents::default(), ..self }
    }

    fn get(&self, base: &BaseUrl, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        let file = format!("{}{name}", base.shown);
        let response = self.ask(&format!("{}{name}", base.url), base.is_https);
        let response = response.map_err(|error| self.failed(&file, error))?;
        if leaves_https(&response) {
            return Err(SourceError::Redirect { file, why: "it leads from https to http" });
        }
        match response.status().as_u16() {
            200 => {}
            403 | 404 => {
                self.paced(response, file).read_away();
                return Ok(None);
            }
            status => return Err(SourceError::Status { file, status }),
        }
        for encoding in response.headers().get_all(CONTENT_ENCODING) {
            if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") {
                let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
                return Err(SourceError::ContentEncoding { file, encoding });
            }
        }
        Ok(Some(Box::new(self.paced(response, file))))
    }

    fn paced(&self, response: Response<Body>, file: String) -> Paced<'_, BodyReader<'static>> {
        let body = response.into_body().into_reader();
        Paced { body, source: self, file, waited: Duration::ZERO, arrived: 0 }
    }

    fn ask(&self, url: &str, is_https: bool) -> Result<Response<Body>, Error> {
        let in_clear = || self.configured(0, RootCerts::from(iter::empty()));
        let in_clear = (!is_https).then(|| self.agents.in_clear.get_or_init(in_clear));
        // A proxy may be one that is reached by TLS, and so may be what a redirect leads to.
        if let Some(agent) = in_clear.filter(|agent| agent.config().proxy().is_none()) {
            let response = agent.get(url).call()?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
        }
        let full = || self.configured(self.limits.redirects, authorities());
        self.agents.full.get_or_init(full).get(url).call()
    }

    fn configured(&self, redirects: u32, authorities: RootCerts) -> Agent {
        let limits = &self.limits;
        // TLS by rustls on ring.
        let tls = TlsConfig::builder()
            .root_certs(authorities)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let mut config = Agent::config_builder()
            .timeout_global(Some(limits.request))
            .timeout_connect(Some(limits.connect))
            .timeout_recv_response(Some(limits.window))
            .timeout_per_read(Some(limits.window))
            .max_redirects(redirects)
            .save_redirect_history(true)
            // A redirect after HTTPS must not ask for anything in clear.
            .https_only(self.metadata.is_https && self.targets.is_https)
            .http_status_as_error(false)
            .accept_encoding("identity")
            .user_agent(self.user_agent.as_str())
            .tls_config(tls);
        if !self.uses_proxy {
            config = config.proxy(None);
        }
        config.build().into()
    }

    /// Says what went wrong. The library's own texts may hold the address with the password, so only their kinds are used.
    fn failed(&self, file: &str, error: Error) -> SourceError {
        let file = file.to_owned();
        let limits = &self.limits;
        match error {
            Error::Timeout(timeout) => SourceError::TooSlow { file, what: exceeded(timeout, limits) },
            Error::TooManyRedirects => SourceError::Redirect { file, why: "there are too many" },
            Error::RequireHttpsOnly(_) => SourceError::Redirect { file, why: "it leads from https to http" },
            Error::RedirectFailed | Error::BadUri(_) => {
                SourceError::Redirect { file, why: "it leads to no address that can be used" }
            }
            error => SourceError::Io { file, source: error.into_io() },
        }
    }
}

impl Source for HttpSource {
    fn metadata(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        let is_segment = |b: u8| b.is_ascii_alphanumeric() || b"-._~%".contains(&b);
        if !is_plain(name) || !name.bytes().all(is_segment) {
            return Err(SourceError::Path(name.to_owned()));
        }
        self.get(&self.metadata, name)
    }

    fn target(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        // `..` would be resolved on the way, before or behind the server, and an empty part dropped.
        if !is_plain(name) {
            return Err(SourceError::Path(name.to_owned()));
        }
        let segments: Vec<String> = name.split('/').map(encoded).collect();
        self.get(&self.targets, &segments.join("/"))
    }
}

/// An address that file names can be put behind.
struct BaseUrl {
    /// Ends in a slash.
    url: String,
    /// The same without user name and password.
    shown: String,
    is_https: bool,
}

impl BaseUrl {
    fn parse(text: &str) -> Result<Self, SourceError> {
        let unsupported = |why| SourceError::UnsupportedUrl { url: without_user_info(text), why };
        // Checked first, for the parser drops what follows `#`.
        if text.contains(['?', '#']) {
            return Err(unsupported("it has a query or a fragment, and file names go behind it"));
        }
        // So is the scheme, for the parser has its own idea of what others may look like.
        let is_https = match text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(unsupported("only http and https are supported")),
        };
        let uri: Uri = text.parse().map_err(|_| unsupported("it is no URL"))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(unsupported("it names no host"));
        }
        let url = format!("{}/", text.trim_end_matches('/'));
        Ok(Self { shown: without_user_info(&url), url, is_https })
    }

    fn folder(&self, name: &str) -> Self {
        let below = |url: &str| format!("{url}{name}/");
        Self { url: below(&self.url), shown: below(&self.shown), is_https: self.is_https }
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn without_user_info(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// Whether one request of the chain was over HTTPS and the next in clear, which the library forbids only where all must be HTTPS.
fn leaves_https(response: &Response<Body>) -> bool {
    let is_https = |uri: &Uri| uri.scheme_str() == Some("https");
    let chain = response.get_redirect_history().unwrap_or_default();
    chain.iter().zip(chain.iter().skip(1)).any(|(from, to)| is_https(from) && !is_https(to))
}

/// The machine's authorities. Where there are none, no certificate is accepted.
fn authorities() -> RootCerts {
    let found = rustls_native_certs::load_native_certs();
    RootCerts::from(found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()))
}

fn exceeded(timeout: Timeout, limits: &HttpLimits) -> String {
    let seconds = |limit: Duration| format!("{} s", limit.as_secs_f32());
    match timeout {
        Timeout::Resolve | Timeout::Connect => format!("no connection within {}", seconds(limits.connect)),
        Timeout::RecvResponse => format!("no answer within {}", seconds(limits.window)),
        Timeout::PerRead | Timeout::PerWrite => format!("nothing arrived for {}", seconds(limits.window)),
        _ => format!("not finished within {}", seconds(limits.request)),
    }
}

/// A body that must arrive at the minimum rate. Only the time spent waiting for it counts, not what the reader does with it.
struct Paced<'s, R> {
    body: R,
    source: &'s HttpSource,
    file: String,
    /// In this window.
    waited: Duration,
    arrived: u64,
}

impl<R: Read> Read for Paced<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let started = Instant::now();
        let read = self.body.read(buf);
        self.waited = self.waited.saturating_add(started.elapsed());
        let n = read.map_err(|error| self.failed(error))?;
        self.arrived = self.arrived.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
        if n > 0 {
            self.check_rate()?;
        }
        Ok(n)
    }
}

/// What a server may say about a file that it does not have before its connection is given up.
const ANSWER_MAX: u64 = 16 * 1024;

impl<R: Read> Paced<'_, R> {
    /// Reads what nobody wants, for only then the connection can be used again: each refresh ends its search for a newer root with such an answer.
    fn read_away(self) {
        let _no_connection_is_kept_then = io::copy(&mut self.take(ANSWER_MAX), &mut io::sink());
    }
}

impl<R> Paced<'_, R> {
    fn check_rate(&mut self) -> io::Result<()> {
        let HttpLimits { window, rate, .. } = self.source.limits;
        if self.waited < window {
            return Ok(());
        }
        let due = u128::from(rate).saturating_mul(self.waited.as_millis()) / 1000;
        if u128::from(self.arrived) < due {
            let what = format!("less than {rate} bytes per second over {} s", window.as_secs_f32());
            return Err(io::Error::other(SourceError::TooSlow { file: self.file.clone(), what }));
        }
        (self.waited, self.arrived) = (Duration::ZERO, 0);
        Ok(())
    }

    /// The library's errors come wrapped in an [`io::Error`]; a plain one is the connection's.
    fn failed(&self, error: io::Error) -> io::Error {
        let error = match error.downcast::<Error>() {
            Ok(error) => self.source.failed(&self.file, error),
            Err(source) => SourceError::Io { file: self.file.clone(), source },
        };
        io::Error::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_folders_on_web_servers() {
        let cases: &[(&str, Result<&str, &str>)] = &[
            ("http://host", Ok("http://host/")),
            ("https://host/", Ok("https://host/")),
            ("https://host:8443/a/b", Ok("https://host:8443/a/b/")),
            ("https://host/a/b/", Ok("https://host/a/b/")),
            ("HTTPS://host/a", Ok("HTTPS://host/a/")),
            ("http://[::1]:80/a%20b", Ok("http://[::1]:80/a%20b/")),
            ("https://user:secret@host/a", Ok("https://host/a/")),
            ("ftp://host/a", Err("only http and https are supported")),
            ("file:///srv/repository", Err("only http and https are supported")),
            ("host/a", Err("only http and https are supported")),
            ("https://", Err("it is no URL")),
            ("https://host/a b", Err("it is no URL")),
            ("https://host/?a=b", Err("it has a query or a fragment, and file names go behind it")),
            ("https://host/#a", Err("it has a query or a fragment, and file names go behind it")),
        ];
        for (url, expected) in cases {
            let got = BaseUrl::parse(url);
            match (&got, expected) {
                (Ok(base), Ok(shown)) => assert_eq!(base.shown, *shown, "{url}"),
                (Err(SourceError::UnsupportedUrl { why, .. }), Err(expected)) => assert_eq!(why, expected, "{url}"),
                _ => panic!("{url}: {got:?}"),
            }
        }
    }

    #[test]
    fn passwords_are_not_echoed() {
        for url in ["https://user:secret@host/a?b", "ftp://user:secret@host", "http://user:p@secret@host/ "] {
            let error = HttpSource::repository(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
        let source = HttpSource::repository("https://user:secret@host/a").unwrap();
        assert!(!format!("{source:?}").contains("secret"));
    }

    #[test]
    fn names_are_encoded_once_and_stay_below_their_folder() {
        // Nothing listens there, so a name that passes ends in an error of another kind.
        let source = HttpSource::repository("http://127.0.0.1:1").unwrap().without_proxy();
        let refused = |result: Result<_, SourceError>| matches!(result.map(drop), Err(SourceError::Path(_)));
        for (name, refusal) in [
            ("1.root.json", false),
            ("..%2Fa.json", false),
            ("a%25b.json", false),
            ("a/b.json", true),
            ("..", true),
            ("", true),
            ("a?b.json", true),
            ("é.json", true),
        ] {
            assert_eq!(refused(source.metadata(name)), refusal, "{name}");
        }
        for (name, refusal) in [
            ("a/b", false),
            ("a?b#c%d é", false),
            ("..a/b..", false),
            ("../a", true),
            ("a/../b", true),
            ("a//b", true),
            ("/a", true),
            ("./a", true),
            ("a\0b", true),
        ] {
            assert_eq!(refused(source.target(name)), refusal, "{name}");
        }
    }
}
