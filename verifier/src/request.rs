//! What containerd asks: the arguments, and the descriptor on standard input.

use std::ffi::OsString;
use std::io::Read;

use plimsoll::digest::Sha256;
use plimsoll::text::quoted;
use serde::Deserialize;

/// Descriptors have some hundred bytes; with all the annotations that a registry may send, below the limit of a manifest.
const STDIN_MAX: u64 = 4 << 20;
const DESCRIPTOR: &str = "application/vnd.oci.descriptor.v1+json";
const INPUT: &str = "application/vnd.containerd.image-verifier.input.v1+json";

/// The media types of what can be pulled as an image. The type says how the bytes are read, so another one would be another image.
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];

/// What the arguments say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) name: String,
    digest: String,
    stdin: String,
}

/// The image that is to be admitted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) digest: Sha256,
    pub(crate) size: u64,
    pub(crate) is_index: bool,
}

impl Arguments {
    /// Reads `-name REF -digest DIGEST -stdin-media-type TYPE`, and passes over other flags of this form, for containerd adds to them.
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let (mut name, mut digest, mut stdin) = (None, None, None);
        let mut arguments = arguments.map(|argument| {
            argument
                .into_string()
                .map_err(|argument| format!("an argument is not UTF-8: {}", quoted(&argument.to_string_lossy())))
        });
        while let Some(flag) = arguments.next().transpose()? {
            let plain = flag.strip_prefix("--").or_else(|| flag.strip_prefix('-'));
            let plain = plain.filter(|plain| !plain.is_empty() && !plain.starts_with('-'));
            let plain = plain.ok_or_else(|| format!("expected a flag such as -name, found {}", quoted(&flag)))?;
            let (flag, value) = match plain.split_once('=') {
                Some((flag, value)) => (flag, value.to_owned()),
                None => {
                    (plain, arguments.next().transpose()?.ok_or_else(|| format!("-{} has no value", quoted(plain)))?)
                }
            };
            let place = match flag {
                "name" => &mut name,
                "digest" => &mut digest,
                "stdin-media-type" => &mut stdin,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(format!("-{flag} stands twice"));
            }
        }
        let need = |value: Option<String>, flag: &str| value.ok_or_else(|| format!("-{flag} is missing"));
        Ok(Self { name: need(name, "name")?, digest: need(digest, "digest")?, stdin: need(stdin, "stdin-media-type")? })
    }

    /// Reads the descriptor, which must be of the same digest as the arguments say.
    pub(crate) fn request(&self, stdin: impl Read) -> Result<Request, String> {
        let digest = Sha256::from_oci(&self.digest).ok_or_else(|| {
            format!("-digest: expected sha256 and 64 lower-case hex digits, found {}", quoted(&self.digest))
        })?;
        let mut bytes = Vec::new();
        let read = stdin.take(STDIN_MAX.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|e| format!("cannot read the descriptor from standard input: {e}"))?;
        if u64::try_from(bytes.len()).map_or(true, |n| n > STDIN_MAX) {
            return Err(format!("standard input goes on after {STDIN_MAX} bytes"));
        }
        let descriptor: Descriptor = match self.stdin.as_str() {
            DESCRIPTOR => serde_json::from_slice(&bytes),
            INPUT => serde_json::from_slice::<Input>(&bytes).map(|input| input.descriptor),
            other => {
                return Err(format!("-stdin-media-type: expected {DESCRIPTOR} or {INPUT}, found {}", quoted(other)));
            }
        }
        .map_err(|e| format!("standard input is no {}: {}", self.stdin, plimsoll::text::escaped(&e.to_string())))?;
        if descriptor.digest != self.digest {
            let found = quoted(&descriptor.digest);
            return Err(format!("the descriptor on standard input has the digest {found}, and -digest is {digest}"));
        }
        let media_type = descriptor.media_type.as_str();
        let is_index = INDEXES.contains(&media_type);
        if !is_index && !MANIFESTS.contains(&media_type) {
            return Err(format!("its media type is {}, which is none of an image", quoted(media_type)));
        }
        Ok(Request { digest, size: descriptor.size, is_index })
    }
}

#[derive(Deserialize)]
struct Input {
    descriptor: Descriptor,
}

/// Of what else a descriptor has, nothing decides.
#[derive(Deserialize)]
struct Descriptor {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
    size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn parse(arguments: &[&str]) -> Result<Arguments, String> {
        Arguments::parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn flags_that_are_not_known_are_passed_over_with_their_values() {
        let expected = || Arguments { name: "n".into(), digest: "d".into(), stdin: "t".into() };
        for arguments in [
            &["-name", "n", "-digest", "d", "-stdin-media-type", "t"][..],
            &["-operation", "pull", "-name", "n", "-digest", "d", "-stdin-media-type", "t", "-new", "-name"],
            &["--name=n", "--digest", "d", "-stdin-media-type=t"],
        ] {
            assert_eq!(parse(arguments), Ok(expected()), "{arguments:?}");
        }
        for (arguments, expected) in [
            (&[][..], "-name is missing"),
            (&["-name", "n", "-digest", "d"], "-stdin-media-type is missing"),
            (&["-name"], "-\"name\" has no value"),
            (&["-name", "n", "-name", "m"], "-name stands twice"),
            (&["name", "n"], "expected a flag such as -name, found \"name\""),
            (&["--", "n"], "expected a flag such as -name, found \"--\""),
        ] {
            assert_eq!(parse(arguments), Err(expected.to_owned()), "{arguments:?}");
        }
    }

    #[test]
    fn the_descriptor_is_the_one_of_the_arguments() {
        let arguments =
            |digest: &str, stdin: &str| Arguments { name: "n".into(), digest: digest.into(), stdin: stdin.into() };
        let descriptor = |media_type: &str, digest: &str, size: &str| {
            format!("{{\"mediaType\":\"{media_type}\",\"digest\":\"{digest}\",\"size\":{size},\"annotations\":{{}}}}")
        };
        let good = descriptor(MANIFESTS[0], DIGEST, "7");
        let request = |is_index| Request { digest: Sha256::from_oci(DIGEST).unwrap(), size: 7, is_index };
        assert_eq!(arguments(DIGEST, DESCRIPTOR).request(good.as_bytes()), Ok(request(false)));
        let wrapped = format!("{{\"descriptor\":{},\"more\":1}}", descriptor(INDEXES[1], DIGEST, "7"));
        assert_eq!(arguments(DIGEST, INPUT).request(wrapped.as_bytes()), Ok(request(true)));

        let other = DIGEST.replace('b', "c");
        let long = format!("{good}{}", " ".repeat(4 << 20));
        for (case, arguments, stdin, expected) in [
            (
                "another digest",
                arguments(&other, DESCRIPTOR),
                good.clone(),
                "the descriptor on standard input has the digest",
            ),
            ("another algorithm", arguments("sha512:00", DESCRIPTOR), good.clone(), "-digest: expected sha256"),
            ("upper case", arguments(&DIGEST.to_uppercase(), DESCRIPTOR), good.clone(), "-digest: expected sha256"),
            ("another type", arguments(DIGEST, "text/plain"), good.clone(), "-stdin-media-type: expected"),
            ("the wrong one of two types", arguments(DIGEST, INPUT), good.clone(), "standard input is no"),
            ("nothing", arguments(DIGEST, DESCRIPTOR), String::new(), "standard input is no"),
            ("more after it", arguments(DIGEST, DESCRIPTOR), format!("{good}{good}"), "standard input is no"),
            ("too long", arguments(DIGEST, DESCRIPTOR), long, "standard input goes on"),
            (
                "a negative size",
                arguments(DIGEST, DESCRIPTOR),
                descriptor(MANIFESTS[0], DIGEST, "-7"),
                "standard input is no",
            ),
            (
                "the digest twice",
                arguments(DIGEST, DESCRIPTOR),
                good.replace("\"size\"", &format!("\"digest\":\"{other}\",\"size\"")),
                "standard input is no",
            ),
            (
                "a manifest of schema 1",
                arguments(DIGEST, DESCRIPTOR),
                descriptor("application/vnd.docker.distribution.manifest.v1+prettyjws", DIGEST, "7"),
                "its media type is",
            ),
        ] {
            let error = arguments.request(stdin.as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{case}: {error}");
        }
    }
}
