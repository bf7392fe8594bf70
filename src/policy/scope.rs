//! Scopes: which image names a part of a policy is about.
//!
//! Rules:
//! - A scope is written in full, for a short one means one thing to its writer and another to its reader: `docker.io/library/alpine`, never `alpine`.
//! - It matches whole components. `registry.example/team` is about `registry.example/team/app`, not about `registry.example/teammate/app` nor
//!   `registry.example:5000/team`.
//! - Letter case makes no other host: `Registry.Example/team` falls under `registry.example/team`, whose rule it would else slip, and `Index.Docker.io` under
//!   `docker.io`.
//! - A scope with a tag is about references by that tag alone. Of a reference with a digest the tag is a claim, which whoever writes the reference may
//!   choose; so the repository's scope governs it, as it governs the same digest without a tag.

use std::fmt;

use crate::name::ImageName;
use crate::text::quoted;

/// The images that a part of a policy is about.
///
/// The order is from the least specific to the most specific of those that match one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Kind);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Any,
    /// [`canonical`], as in all others.
    Host(String),
    /// The repository of this path and all below it.
    Below {
        host: String,
        path: String,
    },
    Tag {
        host: String,
        repository: String,
        tag: String,
    },
}

/// Why a text is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// A name that leaves its host, or a part of its repository, to be filled in.
    #[error("expected a scope in full, in quotes, such as {}, found {}", quoted(.full), quoted(.found))]
    Short {
        /// What it most likely means.
        full: String,
        /// What was written.
        found: String,
    },
    /// A text that could be two scopes.
    #[error("expected a scope that means one thing, {} or {}, found {}", quoted(.one), quoted(.other), quoted(.found))]
    Ambiguous {
        /// One of them, as it is to be written.
        one: String,
        /// The other.
        other: String,
        /// What was written.
        found: String,
    },
    /// A digest is one image; what is demanded of it is demanded of its repository.
    #[error("expected HOST/REPOSITORY[:TAG], found {}: an image by digest falls under the scope of its repository", quoted(.0))]
    Digest(String),
    /// Anything else.
    #[error("expected \"*\", HOST, HOST/REPOSITORY or HOST/REPOSITORY:TAG, found {}: {why}", quoted(.found))]
    Malformed {
        /// What was written.
        found: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Scope {
    /// Reads a scope: `*`, `HOST`, `HOST/REPOSITORY` (and all below it) or `HOST/REPOSITORY:TAG`.
    ///
    /// A slash at the end says that all below is meant where a name alone could be something else: `registry:5000/`, `docker.io/grafana/`.
    ///
    /// # Errors
    ///
    /// [`ScopeError`].
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let malformed = |why: &str| ScopeError::Malformed { found: text.to_owned(), why: why.to_owned() };
        if text == "*" {
            return Ok(Self(Kind::Any));
        }
        if text.contains('*') {
            return Err(malformed("* stands alone; a scope holds all that is below it"));
        }
        if text.contains("://") {
            return Err(malformed("a scope is a part of an image's name, not an address"));
        }
        if text.contains('@') {
            return Err(ScopeError::Digest(text.to_owned()));
        }
        let (trimmed, has_slash) = text.strip_suffix('/').map_or((text, false), |trimmed| (trimmed, true));
        match trimmed.split_once('/') {
            None => host_alone(text, trimmed, has_slash),
            Some((first, _)) if !is_host(first) => Err(short(text, trimmed)),
            Some((host, path)) => repository(text, host, path, has_slash),
        }
    }

    /// Whether it is about this name. Of a name with a digest, a tag is left out of account: no scope with a tag is about it.
    #[must_use]
    pub fn matches(&self, name: &ImageName) -> bool {
        let is_host = |host: &String| *host == canonical(name.host());
        match &self.0 {
            Kind::Any => true,
            Kind::Host(host) => is_host(host),
            Kind::Below { host, path } => is_host(host) && is_at_or_below(name.repository(), path),
            Kind::Tag { .. } => name.digest().is_none() && self.matches_claim(name),
        }
    }

    /// Whether it is a scope with a tag, and this name claims that tag of that repository, whatever selects the image.
    pub(crate) fn matches_claim(&self, name: &ImageName) -> bool {
        match &self.0 {
            Kind::Tag { host, repository, tag } => {
                *host == canonical(name.host()) && repository == name.repository() && name.tag() == Some(tag)
            }
            Kind::Any | Kind::Host(_) | Kind::Below { .. } => false,
        }
    }
}

/// In lower case, and Docker's host by one of its names. Of a name, that is replaced where it is in lower case alone, as Docker does.
fn canonical(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    if host == "index.docker.io" { DOCKER.to_owned() } else { host }
}

fn is_at_or_below(repository: &str, path: &str) -> bool {
    repository.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `registry.example`, `localhost`, `registry.example:5000`, `registry:5000/`.
fn host_alone(text: &str, host: &str, has_slash: bool) -> Result<Scope, ScopeError> {
    if !is_host(host) {
        return Err(short(text, host));
    }
    // Docker takes `registry:5000` for an image called registry, with the tag 5000.
    let is_plain = host.contains(['.', '[']) || host.starts_with("localhost:");
    if let Some((name, tag)) = host.split_once(':').filter(|_| !has_slash && !is_plain) {
        if tag.bytes().any(|b| !b.is_ascii_digit()) {
            return Err(short(text, host));
        }
        let one = format!("docker.io/library/{name}:{tag}");
        return Err(ScopeError::Ambiguous { one, other: format!("{host}/"), found: text.to_owned() });
    }
    // The grammar of hosts is that of names.
    let probe = ImageName::parse(&format!("{host}/x:1"));
    match probe {
        // `alpine.x:3.20` is no host, and a name in Docker's short form.
        Err(_) if !has_slash && ImageName::parse(text).is_ok() => Err(short(text, host)),
        Err(error) => Err(ScopeError::Malformed { found: text.to_owned(), why: error.to_string() }),
        Ok(name) => Ok(Scope(Kind::Host(canonical(name.host())))),
    }
}

fn repository(text: &str, host: &str, path: &str, has_slash: bool) -> Result<Scope, ScopeError> {
    let malformed = |why: String| ScopeError::Malformed { found: text.to_owned(), why };
    let is_tagged = path.contains(':');
    if is_tagged && has_slash {
        return Err(malformed("there is nothing below a tag".to_owned()));
    }
    // A probe below the path: so that Docker's rule for names of one component changes nothing in it.
    let probe = if is_tagged { format!("{host}/{path}") } else { format!("{host}/{path}/x:1") };
    let name = ImageName::parse(&probe).map_err(|error| malformed(error.to_string()))?;
    let (canonical, is_one) = (canonical(name.host()), !path.contains('/'));
    if let Some(tag) = name.tag().filter(|_| is_tagged) {
        if canonical == DOCKER && is_one {
            return Err(ScopeError::Short { full: name.to_string(), found: text.to_owned() });
        }
        let (repository, tag) = (name.repository().to_owned(), tag.to_owned());
        return Ok(Scope(Kind::Tag { host: canonical, repository, tag }));
    }
    if canonical == DOCKER && is_one && !has_slash {
        let (one, other) = (format!("{DOCKER}/library/{path}"), format!("{DOCKER}/{path}/"));
        return Err(ScopeError::Ambiguous { one, other, found: text.to_owned() });
    }
    Ok(Scope(Kind::Below { host: canonical, path: path.to_owned() }))
}

const DOCKER: &str = "docker.io";

/// As in a name, the first component is a host only if it looks like one.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase)
}

/// A name as people type it, in full; what is no name at all is told as such.
fn short(text: &str, name: &str) -> ScopeError {
    match ImageName::parse(name) {
        Ok(full) => {
            let whole = full.to_string();
            // The tag that nobody wrote.
            let is_tagged = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
            let full = if is_tagged { whole } else { format!("{}/{}", full.host(), full.repository()) };
            ScopeError::Short { full, found: text.to_owned() }
        }
        Err(error) => ScopeError::Malformed { found: text.to_owned(), why: error.to_string() },
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Any => f.write_str("*"),
            Kind::Host(host) => f.write_str(host),
            Kind::Below { host, path } => write!(f, "{host}/{path}"),
            Kind::Tag { host, repository, tag } => write!(f, "{host}/{repository}:{tag}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_scope_is_written_in_full_and_means_one_thing() {
        let full = |full: &str, found: &str| ScopeError::Short { full: full.into(), found: found.into() };
        let either = |one: &str, other: &str, found: &str| ScopeError::Ambiguous {
            one: one.into(),
            other: other.into(),
            found: found.into(),
        };
        let cases: &[(&str, Result<&str, Option<ScopeError>>)] = &[
            ("*", Ok("*")),
            ("registry.example", Ok("registry.example")),
            ("registry.example/", Ok("registry.example")),
            ("Registry.Example", Ok("registry.example")),
            ("registry.example:5000", Ok("registry.example:5000")),
            ("registry:5000/", Ok("registry:5000")),
            ("localhost", Ok("localhost")),
            ("localhost:5000", Ok("localhost:5000")),
            ("[::1]:5000", Ok("[::1]:5000")),
            ("docker.io", Ok("docker.io")),
            ("index.docker.io", Ok("docker.io")),
            ("Index.Docker.io", Ok("docker.io")),
            ("Index.Docker.io/library/alpine", Ok("docker.io/library/alpine")),
            ("registry.example/team", Ok("registry.example/team")),
            ("registry.example/team/", Ok("registry.example/team")),
            ("registry.example/team/app:1.4", Ok("registry.example/team/app:1.4")),
            ("registry.example/app:1.4", Ok("registry.example/app:1.4")),
            ("registry:5000/app", Ok("registry:5000/app")),
            ("docker.io/library/alpine", Ok("docker.io/library/alpine")),
            ("docker.io/library/alpine:3", Ok("docker.io/library/alpine:3")),
            ("index.docker.io/library/alpine", Ok("docker.io/library/alpine")),
            ("docker.io/grafana/", Ok("docker.io/grafana")),
            ("docker.io/grafana/grafana", Ok("docker.io/grafana/grafana")),
            ("alpine", Err(Some(full("docker.io/library/alpine", "alpine")))),
            ("alpine/", Err(Some(full("docker.io/library/alpine", "alpine/")))),
            ("alpine:3.20", Err(Some(full("docker.io/library/alpine:3.20", "alpine:3.20")))),
            ("alpine:edge", Err(Some(full("docker.io/library/alpine:edge", "alpine:edge")))),
            ("team/app", Err(Some(full("docker.io/team/app", "team/app")))),
            ("team/app:1", Err(Some(full("docker.io/team/app:1", "team/app:1")))),
            ("docker.io/alpine:3", Err(Some(full("docker.io/library/alpine:3", "docker.io/alpine:3")))),
            ("registry:5000", Err(Some(either("docker.io/library/registry:5000", "registry:5000/", "registry:5000")))),
            (
                "docker.io/grafana",
                Err(Some(either("docker.io/library/grafana", "docker.io/grafana/", "docker.io/grafana"))),
            ),
            (
                "index.docker.io/grafana",
                Err(Some(either("docker.io/library/grafana", "docker.io/grafana/", "index.docker.io/grafana"))),
            ),
            ("", Err(None)),
            ("/", Err(None)),
            ("**", Err(None)),
            ("registry.example/*", Err(None)),
            ("registry.example/team*", Err(None)),
            ("https://registry.example/team", Err(None)),
            ("registry.example//team", Err(None)),
            ("registry.example/team//", Err(None)),
            ("registry.example/../team", Err(None)),
            ("registry.example/Team", Err(None)),
            ("registry.example/team ", Err(None)),
            ("registry.example/team:", Err(None)),
            ("registry.example/team:1/", Err(None)),
            ("registry.example/team:1/app", Err(None)),
            (
                "registry.example:port",
                Err(Some(full("docker.io/library/registry.example:port", "registry.example:port"))),
            ),
            ("registry..example", Err(None)),
            ("registry.example/team@sha256:0", Err(Some(ScopeError::Digest("registry.example/team@sha256:0".into())))),
        ];
        for (text, expected) in cases {
            match (Scope::parse(text), expected) {
                (Ok(scope), Ok(shown)) => assert_eq!(scope.to_string(), *shown, "{text}"),
                (Err(error), Err(Some(expected))) => assert_eq!(error, *expected, "{text}"),
                (Err(ScopeError::Malformed { .. }), Err(None)) => {}
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_scope_matches_whole_components_and_nothing_by_its_text() {
        let digest = |text: &str| format!("{text}@{DIGEST}");
        let cases: &[(&str, String, bool)] = &[
            ("*", "alpine".into(), true),
            ("registry.example", "registry.example/team/app:1".into(), true),
            ("registry.example", "registry.example:5000/team/app:1".into(), false),
            ("registry.example", "registry.example.evil.example/team/app:1".into(), false),
            ("registry.example", "evil.registry.example/team/app:1".into(), false),
            ("registry.example", "docker.io/registry.example/app:1".into(), false),
            ("registry.example:5000", "registry.example:5000/app:1".into(), true),
            ("registry.example:5000", "registry.example/app:1".into(), false),
            ("registry.example:5000", "registry.example:50000/app:1".into(), false),
            ("registry.example/team", "registry.example/team:1".into(), true),
            ("registry.example/team", "registry.example/team/app:1".into(), true),
            ("registry.example/team", "registry.example/team/a/b:1".into(), true),
            ("registry.example/team", digest("registry.example/team/app"), true),
            ("registry.example/team", digest("registry.example/team/app:1"), true),
            ("registry.example/team", "Registry.EXAMPLE/team/app:1".into(), true),
            ("docker.io", "Docker.io/library/alpine:1".into(), true),
            ("docker.io", "Index.Docker.io/library/alpine:1".into(), true),
            ("docker.io/library/alpine", "INDEX.DOCKER.IO/library/alpine:1".into(), true),
            ("docker.io/library/alpine:1", "index.docker.IO/library/alpine:1".into(), true),
            ("docker.io", "xindex.docker.io/library/alpine:1".into(), false),
            ("registry.example/team", "registry.example/teammate/app:1".into(), false),
            ("registry.example/team", "registry.example/team-b/app:1".into(), false),
            ("registry.example/team", "registry.example/team.app:1".into(), false),
            ("registry.example/team", "registry.example/a/team/app:1".into(), false),
            ("registry.example/team", "registry.example/tea:m".into(), false),
            ("registry.example/team", "registry.example:5000/team/app:1".into(), false),
            ("registry.example/team", "team/app:1".into(), false),
            ("registry.example/team/app:1", "registry.example/team/app:1".into(), true),
            ("registry.example/team/app:1", "registry.example/team/app:1.0".into(), false),
            ("registry.example/team/app:latest", "registry.example/team/app".into(), true),
            ("registry.example/team/app:1", "registry.example/team/app/b:1".into(), false),
            ("registry.example/team/app:1", digest("registry.example/team/app"), false),
            ("registry.example/team/app:1", digest("registry.example/team/app:1"), false),
            ("docker.io/library/alpine", "alpine".into(), true),
            ("docker.io/library/alpine", "index.docker.io/library/alpine:3".into(), true),
            ("docker.io/library/alpine", "alpine.example/library/alpine:3".into(), false),
            ("docker.io/library/", "alpine:3".into(), true),
            ("docker.io/grafana/", "grafana/grafana:1".into(), true),
            ("docker.io/grafana/", "grafana:1".into(), false),
        ];
        for (scope, name, expected) in cases {
            let name = ImageName::parse(name).unwrap();
            assert_eq!(Scope::parse(scope).unwrap().matches(&name), *expected, "{scope} {name}");
        }
    }

    #[test]
    fn of_those_that_match_the_more_specific_comes_later() {
        let name = ImageName::parse("registry.example/team/app/web:1").unwrap();
        let rising = [
            "*",
            "registry.example",
            "registry.example/team",
            "registry.example/team/app",
            "registry.example/team/app/web",
            "registry.example/team/app/web:1",
        ];
        let scopes: Vec<Scope> = rising.iter().map(|text| Scope::parse(text).unwrap()).collect();
        assert!(scopes.iter().all(|scope| scope.matches(&name)));
        assert!(scopes.is_sorted());
    }
}
