//! Package URLs, `pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS#SUBPATH`, as far as packages are compared [purl-spec].
//!
//! Rules:
//! - Percent escapes are decoded once; a raw `:` or `+` stands for itself, as tools write both, and `+` is never a space.
//! - Nothing is read in one of two possible ways: what splits differently from the left and from the right is an error.
//! - Of a type whose databases are not read, the type is all that counts, so nothing else of it is looked at.
//! - The epoch may stand in the version or in the qualifier `epoch`. If it is in both, they must say the same.
//! - Namespace and subpath, and qualifiers other than `arch` and `epoch`, are not compared.

use std::fmt::Write;

use super::error::Unreadable;
use super::package::{Kind, Package};
use crate::text::quoted;

/// What a package URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purl {
    /// A package that can be installed, of a system whose database is read.
    Package(Package),
    /// What is not compared, by its type in lower case. Sources of packages are here too, for they are installed nowhere: `arch=source` with `deb`,
    /// `arch=src` with `rpm`.
    Other(String),
}

impl Purl {
    /// Reads a package URL.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if it is none, if it can be understood in two ways, or if it names no package that can be.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        read(text).map_err(|why| Unreadable::new(format!("the package URL {}: {why}", quoted(text))))
    }
}

/// The package URL of a package, in canonical form but for the `distro`, which is not checked.
///
/// `namespace` is the vendor (`debian`, `alpine`, `fedora`), `distro` a release of it (`debian-12`). Neither is compared when the URL is read again.
#[must_use]
pub fn of(package: &Package, namespace: Option<&str>, distro: Option<&str>) -> String {
    let (version, epoch) = match package.kind() {
        Kind::Rpm => without_epoch(package.version()),
        Kind::Apk | Kind::Deb => (package.version(), None),
    };
    let qualifiers = [("arch", package.arch()), ("distro", distro), ("epoch", epoch)];
    write(package.kind().as_str(), namespace, package.name(), version, &qualifiers)
}

/// A package URL of these parts. `qualifiers` are in the order of their keys; those without a value are left out.
pub(super) fn write(
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    version: &str,
    qualifiers: &[(&str, Option<&str>)],
) -> String {
    let mut url = format!("pkg:{kind}/");
    for part in namespace.iter().flat_map(|namespace| namespace.split('/')).filter(|part| !part.is_empty()) {
        encode(&mut url, part);
        url.push('/');
    }
    encode(&mut url, name);
    url.push('@');
    encode(&mut url, version);
    let given = qualifiers.iter().filter_map(|(key, value)| Some((key, value.filter(|value| !value.is_empty())?)));
    for (n, (key, value)) in given.enumerate() {
        url.push(if n == 0 { '?' } else { '&' });
        url.push_str(key);
        url.push('=');
        encode(&mut url, value);
    }
    url
}

/// An RPM version without its epoch, where the two can be told apart when they are read again.
fn without_epoch(version: &str) -> (&str, Option<&str>) {
    match version.split_once(':') {
        Some((epoch, rest)) if is_number(epoch) && !rest.contains(':') => (rest, Some(epoch)),
        _ => (version, None),
    }
}

fn read(text: &str) -> Result<Purl, String> {
    let (scheme, rest) = text.split_once(':').ok_or("it has no scheme")?;
    if !scheme.eq_ignore_ascii_case("pkg") {
        return Err("its scheme is not pkg".to_owned());
    }
    // "pkg://deb/..." is the same [purl-spec, rules for the scheme].
    let rest = rest.trim_start_matches('/');
    let (word, rest) = rest.split_once('/').ok_or("it has no name")?;
    let word = word.to_ascii_lowercase();
    if !is_type(&word) {
        return Err("its type is not one".to_owned());
    }
    match Kind::from_purl_type(&word) {
        Some(kind) => compared(kind, rest),
        None => Ok(Purl::Other(word)),
    }
}

/// All that follows the type.
fn compared(kind: Kind, rest: &str) -> Result<Purl, String> {
    let rest = split_once(rest, '#')?.map_or(rest, |(before, _subpath)| before);
    let (path, qualifiers) = split_once(rest, '?')?.unwrap_or((rest, ""));
    let (path, version) = path.rsplit_once('@').ok_or("it has no version")?;
    if version.contains('/') {
        return Err("a / stands in its version, or an @ in its namespace".to_owned());
    }
    let name = path.rsplit_once('/').map_or(path, |(_namespace, name)| name);
    let (name, version) = (decode(name)?, decode(version)?);
    let qualifiers = Qualifiers::read(qualifiers)?;

    let arch = qualifiers.arch.as_deref();
    if matches!((kind, arch), (Kind::Deb, Some("source")) | (Kind::Rpm, Some("src" | "nosrc"))) {
        return Ok(Purl::Other(kind.as_str().to_owned()));
    }
    let version = with_epoch(kind, version, qualifiers.epoch.as_deref())?;
    let package = Package::new(kind, &name, &version, arch).map_err(|why| why.to_string())?;
    Ok(Purl::Package(package))
}

/// The version with the epoch that the qualifier gives.
fn with_epoch(kind: Kind, version: String, epoch: Option<&str>) -> Result<String, String> {
    let Some(epoch) = epoch else { return Ok(version) };
    if !is_number(epoch) {
        return Err(format!("its epoch {} is not a number", quoted(epoch)));
    }
    match version.split_once(':') {
        _ if kind == Kind::Apk => Err("versions of apk have no epoch".to_owned()),
        Some((own, _)) if is_number(own) => {
            if own == epoch {
                Ok(version)
            } else {
                Err(format!("the epoch is {own} in its version and {epoch} in its qualifiers"))
            }
        }
        _ => Ok(format!("{epoch}:{version}")),
    }
}

/// The qualifiers that count.
#[derive(Default)]
struct Qualifiers {
    arch: Option<String>,
    epoch: Option<String>,
}

impl Qualifiers {
    fn read(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for pair in text.split('&').filter(|_| !text.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or("one of its qualifiers has no =")?;
            let key = key.to_ascii_lowercase();
            if !is_key(&key) {
                return Err(format!("the key {} of a qualifier is not one", quoted(&key)));
            }
            // No URL has more than a handful, so what it costs to look through them is bounded as well.
            if seen.len() >= 64 {
                return Err("it has more than 64 qualifiers".to_owned());
            }
            if seen.contains(&key) {
                return Err(format!("its qualifier {key} occurs twice"));
            }
            // Without a value it is as if it were not there [purl-spec, rules for qualifiers].
            let value = Some(decode(value)?).filter(|value| !value.is_empty());
            match key.as_str() {
                "arch" => read.arch = value,
                "epoch" => read.epoch = value,
                _ => {}
            }
            seen.push(key);
        }
        Ok(read)
    }
}

/// Splits at the one `separator`. Two of them would be a matter of which is meant.
fn split_once(text: &str, separator: char) -> Result<Option<(&str, &str)>, String> {
    match text.split_once(separator) {
        Some((_, after)) if after.contains(separator) => Err(format!("it has two {separator}")),
        split => Ok(split),
    }
}

fn is_type(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase()) && word.bytes().all(|b| is_word(b) || b == b'+')
}

fn is_key(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase()) && word.bytes().all(|b| is_word(b) || b == b'_')
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-')
}

pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn decode(text: &str) -> Result<String, String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'%' => escaped_byte(&mut rest).ok_or("a % in it does not begin an escape")?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| "its escapes are not UTF-8".to_owned())
}

fn escaped_byte(digits: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(digits.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit()? << 4 | digit()?)
}

/// Every byte but the letters, digits and `.-_~:` is escaped [purl-spec, character encoding: the colon never is].
fn encode(url: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~' | b':') {
            url.push(char::from(byte));
        } else {
            // Writing to a string cannot go wrong.
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        match Purl::parse(text) {
            Ok(Purl::Package(package)) => Ok(format!("{} {package}", package.kind())),
            Ok(Purl::Other(word)) => Ok(format!("other {word}")),
            Err(why) => {
                let (text, why) = (format!("the package URL {}: ", quoted(text)), why.to_string());
                Err(why.strip_prefix(&text).unwrap_or_else(|| panic!("{why}")).to_owned())
            }
        }
    }

    #[test]
    fn a_package_url_is_read_in_one_way() {
        let cases: &[(&str, Result<&str, &str>)] = &[
            // As syft and trivy write them.
            (
                "pkg:deb/debian/zlib1g@1%3A1.2.13.dfsg-1?arch=amd64&distro=debian-12&upstream=zlib",
                Ok("deb zlib1g 1:1.2.13.dfsg-1 amd64"),
            ),
            (
                "pkg:deb/debian/zlib1g@1.2.13.dfsg-1?arch=amd64&distro=debian-12.7&epoch=1",
                Ok("deb zlib1g 1:1.2.13.dfsg-1 amd64"),
            ),
            ("pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64", Ok("deb libstdc++6 12.2.0-14 amd64")),
            (
                "pkg:rpm/fedora/tiny@1.2~rc1-3.el9?arch=noarch&epoch=1&upstream=tiny-1.2~rc1-3.el9.src.rpm",
                Ok("rpm tiny 1:1.2~rc1-3.el9 noarch"),
            ),
            ("pkg:apk/alpine/busybox@1.36.1-r29?arch=x86_64&distro=3.20.3", Ok("apk busybox 1.36.1-r29 x86_64")),
            // Raw where it should be escaped, and the other way round.
            ("pkg:deb/debian/g++@4:12.2.0-3+b1?arch=amd64", Ok("deb g++ 4:12.2.0-3+b1 amd64")),
            ("pkg:deb/debian/%7al%69b@1%2e0", Ok("deb zlib 1.0")),
            ("pkg:deb/debian/a%20b@1", Err("a package whose name holds white space or control characters: \"a b\"")),
            ("pkg:deb/debian/a%2@1", Err("a % in it does not begin an escape")),
            ("pkg:deb/debian/a%2g@1", Err("a % in it does not begin an escape")),
            ("pkg:deb/debian/a%+1@1", Err("a % in it does not begin an escape")),
            ("pkg:deb/debian/%C3%A9@1", Ok("deb é 1")),
            ("pkg:deb/debian/%C3@1", Err("its escapes are not UTF-8")),
            ("pkg:deb/debian/a%00@1", Err("a package whose name holds white space or control characters: \"a\\u{0}\"")),
            // An escape of an escape is not one.
            ("pkg:deb/debian/a%252b@1", Ok("deb a%2b 1")),
            // Scheme and type.
            ("PKG:Deb/a@1", Ok("deb a 1")),
            ("pkg://deb/debian/a@1", Ok("deb a 1")),
            ("pkgs:deb/a@1", Err("its scheme is not pkg")),
            ("deb/a@1", Err("it has no scheme")),
            ("pkg:deb", Err("it has no name")),
            ("pkg:d%65b/a@1", Err("its type is not one")),
            ("pkg:/", Err("it has no name")),
            ("pkg:1/a@1", Err("its type is not one")),
            ("", Err("it has no scheme")),
            // The version is split at the last @.
            ("pkg:deb/a@1@2", Ok("deb a@1 2")),
            ("pkg:deb/@scope/a@2", Ok("deb a 2")),
            ("pkg:deb/a@1?x=@2", Ok("deb a 1")),
            ("pkg:deb/@scope/a", Err("a / stands in its version, or an @ in its namespace")),
            ("pkg:deb/debian/a", Err("it has no version")),
            ("pkg:deb/debian/a?v=@1", Err("it has no version")),
            ("pkg:deb/debian/a@", Err("a package whose version is empty: \"\"")),
            ("pkg:deb/debian/@1", Err("a package whose name is empty: \"\"")),
            // Qualifiers and subpath.
            ("pkg:deb/a@1?", Ok("deb a 1")),
            ("pkg:deb/a@1?arch=", Ok("deb a 1")),
            ("pkg:deb/a@1?Arch=all", Ok("deb a 1 all")),
            ("pkg:deb/a@1?arch=all&x=y=z", Ok("deb a 1 all")),
            ("pkg:deb/a@1?arch=all&Arch=all", Err("its qualifier arch occurs twice")),
            ("pkg:deb/a@1?x=1&x=2", Err("its qualifier x occurs twice")),
            ("pkg:deb/a@1?arch", Err("one of its qualifiers has no =")),
            ("pkg:deb/a@1?arch=all&", Err("one of its qualifiers has no =")),
            ("pkg:deb/a@1?=all", Err("the key \"\" of a qualifier is not one")),
            ("pkg:deb/a@1?%61rch=all", Err("the key \"%61rch\" of a qualifier is not one")),
            ("pkg:deb/a@1?arch=all?x=y", Err("it has two ?")),
            ("pkg:deb/a@1?arch=all#sub/path", Ok("deb a 1 all")),
            ("pkg:deb/a@1#sub?arch=all", Ok("deb a 1")),
            ("pkg:deb/a@1#sub#path", Err("it has two #")),
            // Epochs.
            ("pkg:deb/a@1:2?epoch=1", Ok("deb a 1:2")),
            ("pkg:deb/a@1:2?epoch=0", Err("the epoch is 1 in its version and 0 in its qualifiers")),
            ("pkg:rpm/a@2-1?epoch=0", Ok("rpm a 2-1")),
            ("pkg:rpm/a@1:2-1", Ok("rpm a 1:2-1")),
            ("pkg:rpm/a@1:2-1?epoch=", Ok("rpm a 1:2-1")),
            ("pkg:rpm/a@2-1?epoch=-1", Err("its epoch \"-1\" is not a number")),
            ("pkg:apk/a@1-r0?epoch=1", Err("versions of apk have no epoch")),
            // What is not compared.
            ("pkg:oci/app@sha256%3Aab?arch=", Ok("other oci")),
            ("pkg:npm/%40angular/animation@12.3.1", Ok("other npm")),
            ("pkg:generic/no?version#two#of?them", Ok("other generic")),
            ("pkg:deb/debian/attr@1:2.4.47-2?arch=source", Ok("other deb")),
            ("pkg:rpm/fedora/tiny@1-1?arch=src", Ok("other rpm")),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
        let many = |n: usize| (0..n).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join("&");
        assert_eq!(shown(&format!("pkg:deb/a@1?{}", many(64))), Ok("deb a 1".to_owned()));
        assert_eq!(shown(&format!("pkg:deb/a@1?{}", many(65))), Err("it has more than 64 qualifiers".to_owned()));
    }

    #[test]
    fn what_is_written_is_canonical_and_reads_back() {
        let cases = [
            (
                Kind::Deb,
                "zlib1g",
                "1:1.2.13.dfsg-1",
                Some("amd64"),
                "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1?arch=amd64&distro=debian-12",
            ),
            (
                Kind::Deb,
                "libstdc++6",
                "12.2.0-14+b1~x",
                None,
                "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bb1~x?distro=debian-12",
            ),
            (
                Kind::Rpm,
                "tiny",
                "1:1.2^git-3",
                Some("noarch"),
                "pkg:rpm/debian/tiny@1.2%5Egit-3?arch=noarch&distro=debian-12&epoch=1",
            ),
            (Kind::Rpm, "tiny", "1:2:3", None, "pkg:rpm/debian/tiny@1:2:3?distro=debian-12"),
            (Kind::Rpm, "tiny", "x:3", None, "pkg:rpm/debian/tiny@x:3?distro=debian-12"),
            (
                Kind::Apk,
                "a@/?#%&=é\"\\",
                "1:2@3",
                Some("x&epoch=1"),
                "pkg:apk/debian/a%40%2F%3F%23%25%26%3D%C3%A9%22%5C@1:2%403?arch=x%26epoch%3D1&distro=debian-12",
            ),
        ];
        for (kind, name, version, arch, expected) in cases {
            let package = Package::new(kind, name, version, arch).unwrap();
            let url = of(&package, Some("debian"), Some("debian-12"));
            assert_eq!(url, expected);
            assert_eq!(Purl::parse(&url), Ok(Purl::Package(package.clone())), "{url}");
            for (namespace, distro) in [(None, None), (Some(""), Some("")), (Some("a/b@c#"), Some("x&arch=y"))] {
                let url = of(&package, namespace, distro);
                assert_eq!(Purl::parse(&url), Ok(Purl::Package(package.clone())), "{url}");
            }
        }
    }
}
