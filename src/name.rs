//! Image references: `HOST/REPO:TAG` and `HOST/REPO@sha256:...`, parsed once, in Docker's grammar and with Docker's normalisation.
//!
//! Rules:
//! - The part before the first `/` is a host if it holds `.` or `:`, is `localhost`, or has an upper-case letter. Otherwise the host is
//!   `docker.io`, where a repository of one component gets `library/` in front. `index.docker.io` is `docker.io`.
//! - Neither tag nor digest means `latest`. With both, the digest selects and the tag is a claim.
//! - 64 hex digits alone are an image ID, not a name.
//! - Hosts are compared as they are written. Docker does not fold their case, so folding here would make two images one.
//! - A name that an archive claims ([`ImageName::parse_claim`]) has a tag and no digest: nothing is filled in for an attacker.

use std::fmt;
use std::str::FromStr;

use crate::digest::Sha256;
use crate::text::quoted;

const DEFAULT_HOST: &str = "docker.io";
const LEGACY_DEFAULT_HOST: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";

/// Host and repository together, as in the oldest and strictest version of Docker's parser.
const NAME_MAX: usize = 255;
/// From the tag's grammar.
const TAG_MAX: usize = 128;

/// The name of an image, normalised: two references are the same image name exactly if they are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Sha256>,
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing, or nothing before the tag.
    #[error("{}: no repository", quoted(.0))]
    Empty(String),
    /// 64 hex digits: an image ID.
    #[error("{}: 64 hex digits are an image ID, not an image name", quoted(.0))]
    ImageId(String),
    /// The host is not a domain name, an IPv4 address or a bracketed IPv6 address, with or without a port.
    #[error("{}: expected a host such as registry.example:5000, found {}", quoted(.name), quoted(.host))]
    Host {
        /// The whole text.
        name: String,
        /// The part that should be a host.
        host: String,
    },
    /// A component of the repository breaks the grammar: lower-case letters and digits, separated by one `.`, one or two `_` or any
    /// number of `-`.
    #[error("{}: expected lower-case letters and digits with single separators, found {}", quoted(.name), quoted(.component))]
    Repository {
        /// The whole text.
        name: String,
        /// The offending component.
        component: String,
    },
    /// The tag is not `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
    #[error("{}: expected a tag of at most {TAG_MAX} letters, digits, '_', '.' and '-', found {}", quoted(.name), quoted(.tag))]
    Tag {
        /// The whole text.
        name: String,
        /// The part that should be a tag.
        tag: String,
    },
    /// The digest is not `sha256:` and 64 lower-case hex digits.
    #[error("{}: expected sha256: and 64 lower-case hex digits, found {}", quoted(.name), quoted(.digest))]
    Digest {
        /// The whole text.
        name: String,
        /// The part that should be a digest.
        digest: String,
    },
    /// Host and repository together are longer than 255 characters.
    #[error("{}: longer than {NAME_MAX} characters", quoted(.0))]
    Long(String),
    /// A name in an archive has no tag, so loaders fill in one that nobody wrote.
    #[error("{}: a name in an archive must have a tag", quoted(.0))]
    ClaimWithoutTag(String),
    /// A name in an archive has a digest, which no loader takes from there.
    #[error("{}: a name in an archive must not have a digest", quoted(.0))]
    ClaimWithDigest(String),
}

impl ImageName {
    /// Reads a reference as a person types it: `alpine`, `team/app:1.4`, `registry.example:5000/team/app@sha256:...`.
    ///
    /// # Errors
    ///
    /// [`NameError`], for the first part that breaks the grammar. White space is never trimmed.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let written = Written::split(text)?;
        let mut name = written.normalised(text)?;
        if name.tag.is_none() && name.digest.is_none() {
            name.tag = Some(DEFAULT_TAG.to_owned());
        }
        Ok(name)
    }

    /// Reads a name that an archive claims: as [`parse`](Self::parse), but it must have a tag and no digest.
    ///
    /// # Errors
    ///
    /// [`NameError`]; the two cases of a claim come last.
    pub fn parse_claim(text: &str) -> Result<Self, NameError> {
        let name = Written::split(text)?.normalised(text)?;
        if name.digest.is_some() {
            return Err(NameError::ClaimWithDigest(text.to_owned()));
        }
        if name.tag.is_none() {
            return Err(NameError::ClaimWithoutTag(text.to_owned()));
        }
        Ok(name)
    }

    /// The registry: `docker.io`, `registry.example:5000`, `[::1]:5000`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository within the registry: `library/alpine`, `team/app`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag. `None` only where there is a digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest or index, if the reference has one.
    #[must_use]
    pub fn digest(&self) -> Option<Sha256> {
        self.digest
    }

    /// The folder of the image's TUF targets: `HOST/REPO/TAG/`, or `HOST/REPO/@sha256-<hex>/` for a reference with a digest, which
    /// then alone decides.
    ///
    /// No two different references of one kind share a folder, and no part of it is `.` or `..`.
    #[must_use]
    pub fn target_folder(&self) -> String {
        match (self.digest, &self.tag) {
            (Some(digest), _) => format!("{}/{}/@sha256-{}/", self.host, self.repository, digest.to_hex()),
            (None, tag) => format!("{}/{}/{}/", self.host, self.repository, tag.as_deref().unwrap_or(DEFAULT_TAG)),
        }
    }

    /// The short form that people know: `alpine:latest` for `docker.io/library/alpine:latest`. It parses to the same name.
    #[must_use]
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let short = full.strip_prefix("docker.io/").map(|s| s.strip_prefix(OFFICIAL).unwrap_or(s));
        match short {
            // `docker.io/localhost/app` would come back as the host `localhost`.
            Some(short) if Self::parse(short).as_ref() == Ok(self) => short.to_owned(),
            _ => full,
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ImageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

/// The parts as they were written, before anything is filled in or checked.
struct Written<'a> {
    host: Option<&'a str>,
    repository: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Written<'a> {
    fn split(text: &'a str) -> Result<Self, NameError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NameError::ImageId(text.to_owned()));
        }
        let (host, rest) = match text.split_once('/') {
            Some((first, rest)) if is_host(first) => (Some(first), rest),
            _ => (None, text),
        };
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if repository.is_empty() {
            return Err(NameError::Empty(text.to_owned()));
        }
        Ok(Self { host, repository, tag, digest })
    }

    fn normalised(&self, text: &str) -> Result<ImageName, NameError> {
        let name = || text.to_owned();
        let host = match self.host {
            None | Some(LEGACY_DEFAULT_HOST) => DEFAULT_HOST,
            Some(host) => host,
        };
        if !is_valid_host(host) {
            return Err(NameError::Host { name: name(), host: host.to_owned() });
        }
        if let Some(component) = self.repository.split('/').find(|c| !is_valid_component(c)) {
            return Err(NameError::Repository { name: name(), component: component.to_owned() });
        }
        let official = host == DEFAULT_HOST && !self.repository.contains('/');
        let repository = if official { format!("{OFFICIAL}{}", self.repository) } else { self.repository.to_owned() };
        if host.len().saturating_add(1).saturating_add(repository.len()) > NAME_MAX {
            return Err(NameError::Long(name()));
        }
        if let Some(tag) = self.tag.filter(|tag| !is_valid_tag(tag)) {
            return Err(NameError::Tag { name: name(), tag: tag.to_owned() });
        }
        let digest = match self.digest {
            None => None,
            Some(digest) => Some(
                Sha256::from_oci(digest)
                    .ok_or_else(|| NameError::Digest { name: name(), digest: digest.to_owned() })?,
            ),
        };
        Ok(ImageName { host: host.to_owned(), repository, tag: self.tag.map(str::to_owned), digest })
    }
}

/// Whether the first component of a name is a host rather than a part of the repository.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase)
}

/// A domain name, an IPv4 address or a bracketed IPv6 address, with or without a port.
fn is_valid_host(host: &str) -> bool {
    let (address, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => {
                let hex = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
                return hex && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
            }
            None => return false,
        },
        None => match host.split_once(':') {
            Some((address, port)) => (address, Some(port)),
            None => (host, None),
        },
    };
    port.is_none_or(is_port) && address.split('.').all(is_domain_label)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

fn is_domain_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Lower-case letters and digits, separated by one `.`, one or two `_`, or any number of `-`.
fn is_valid_component(component: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !component.starts_with(is_word) || !component.ends_with(is_word) {
        return false;
    }
    component
        .split(is_word)
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

pub(crate) fn is_valid_tag(tag: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn names_are_normalised_as_docker_does() {
        let cases: &[(&str, &str, &str)] = &[
            ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
            ("library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("index.docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("team/app:1.4", "docker.io/team/app:1.4", "team/app:1.4"),
            ("registry.example/app:1.4", "registry.example/app:1.4", "registry.example/app:1.4"),
            (
                "registry.example:5000/team/app",
                "registry.example:5000/team/app:latest",
                "registry.example:5000/team/app:latest",
            ),
            ("localhost/app:1", "localhost/app:1", "localhost/app:1"),
            ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
            // Without a second component there is no host at all.
            ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
            ("docker.io/localhost/app:1", "docker.io/localhost/app:1", "docker.io/localhost/app:1"),
            ("docker.io/a.b/app:1", "docker.io/a.b/app:1", "docker.io/a.b/app:1"),
            ("Registry/app:1", "Registry/app:1", "Registry/app:1"),
            ("REGISTRY.example/app:1", "REGISTRY.example/app:1", "REGISTRY.example/app:1"),
            ("[::1]:5000/app:1", "[::1]:5000/app:1", "[::1]:5000/app:1"),
            ("[2001:db8::1]/app:1", "[2001:db8::1]/app:1", "[2001:db8::1]/app:1"),
            ("127.0.0.1:5000/app:1", "127.0.0.1:5000/app:1", "127.0.0.1:5000/app:1"),
            ("a__b/c---d/e.f_g:T_1.x-y", "docker.io/a__b/c---d/e.f_g:T_1.x-y", "a__b/c---d/e.f_g:T_1.x-y"),
        ];
        for (text, full, familiar) in cases {
            let name = ImageName::parse(text).unwrap();
            assert_eq!(name.to_string(), *full, "{text}");
            assert_eq!(name.familiar(), *familiar, "{text}");
            assert_eq!(ImageName::parse(&name.familiar()).unwrap(), name, "{text}");
            assert_eq!(ImageName::parse(full).unwrap(), name, "{text}");
        }
    }

    #[test]
    fn a_digest_selects_and_the_tag_stays_a_claim() {
        let name = ImageName::parse(&format!("registry.example/app:1.4@sha256:{HEX}")).unwrap();
        assert_eq!((name.host(), name.repository(), name.tag()), ("registry.example", "app", Some("1.4")));
        assert_eq!(name.digest(), Sha256::from_hex(HEX));
        assert_eq!(name.target_folder(), format!("registry.example/app/@sha256-{HEX}/"));
        let name = ImageName::parse(&format!("alpine@sha256:{HEX}")).unwrap();
        assert_eq!(name.tag(), None);
        assert_eq!(name.familiar(), format!("alpine@sha256:{HEX}"));
        assert_eq!(ImageName::parse("alpine").unwrap().target_folder(), "docker.io/library/alpine/latest/");
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        let long = |n: usize| format!("h.example/{}:1", "a".repeat(n));
        let cases: &[(&str, String, &str)] = &[
            ("empty", String::new(), "no repository"),
            ("only a tag", ":1".into(), "no repository"),
            ("a host alone", "registry.example/".into(), "no repository"),
            ("64 hex digits", HEX.into(), "image ID"),
            ("63 hex digits", HEX[1..].into(), ""),
            ("64 hex digits with a tag", format!("{HEX}:1"), ""),
            ("upper case", "library/Alpine".into(), "lower-case"),
            ("upper case in one component", "Alpine".into(), "lower-case"),
            ("two dots", "a..b".into(), "lower-case"),
            ("two underscores", "a__b".into(), ""),
            ("three underscores", "a___b".into(), "lower-case"),
            ("mixed separators", "a_-b".into(), "lower-case"),
            ("leading separator", "x/-a".into(), "lower-case"),
            ("trailing separator", "x/a-".into(), "lower-case"),
            ("parent directory", "x/../a".into(), "lower-case"),
            ("empty component", "x//a".into(), "lower-case"),
            ("leading slash", "/x/a".into(), "lower-case"),
            ("white space", "a b".into(), "lower-case"),
            ("trailing newline", "alpine:1\n".into(), "a tag"),
            ("not ASCII", "ä".into(), "lower-case"),
            ("a scheme", "https://registry.example/app".into(), "a host"),
            ("empty port", "registry.example:/app".into(), "a host"),
            ("port with letters", "registry.example:5k/app".into(), "a host"),
            ("two ports", "registry.example:1:2/app".into(), "a host"),
            ("label with a hyphen at the end", "a-.example/app".into(), "a host"),
            ("empty label", "a..example/app".into(), "a host"),
            ("IPv6 without brackets", "::1/app".into(), "a host"),
            ("IPv6 with a zone", "[fe80::1%eth0]/app".into(), "a host"),
            ("open bracket", "[::1/app".into(), "a host"),
            ("empty tag", "app:".into(), "a tag"),
            ("tag with a dot first", "app:.1".into(), "a tag"),
            ("a port and no tag", "app:1/2".into(), ""),
            ("tag with a slash", "x/app:1/2".into(), "a tag"),
            ("tag of 128", format!("app:{}", "a".repeat(128)), ""),
            ("tag of 129", format!("app:{}", "a".repeat(129)), "a tag"),
            ("two tags", "app:1:2".into(), "a tag"),
            ("name of 255", long(245), ""),
            ("name of 256", long(246), "longer than"),
            ("upper-case digest", format!("app@sha256:{}", HEX.to_uppercase()), "lower-case hex"),
            ("short digest", format!("app@sha256:{}", &HEX[1..]), "lower-case hex"),
            ("another algorithm", format!("app@sha512:{HEX}{HEX}"), "lower-case hex"),
            ("two digests", format!("app@sha256:{HEX}@sha256:{HEX}"), "lower-case hex"),
            ("digest before the tag", format!("app@sha256:{HEX}:1"), "lower-case hex"),
        ];
        for (name, text, expected) in cases {
            match ImageName::parse(text) {
                Ok(_) => assert_eq!(*expected, "", "{name}"),
                Err(e) => assert!(!expected.is_empty() && e.to_string().contains(expected), "{name}: {e}"),
            }
        }
    }

    #[test]
    fn a_claim_says_everything_itself() {
        let parse = |text: &str| ImageName::parse_claim(text).map(|n| n.to_string());
        assert_eq!(parse("demo:1.0"), Ok("docker.io/library/demo:1.0".to_owned()));
        assert_eq!(parse("demo"), Err(NameError::ClaimWithoutTag("demo".to_owned())));
        let both = format!("demo:1.0@sha256:{HEX}");
        assert_eq!(parse(&both), Err(NameError::ClaimWithDigest(both.clone())));
        assert!(matches!(parse("demo:1.0 "), Err(NameError::Tag { .. })));
    }
}
