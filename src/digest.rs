//! SHA-256 and SHA-512 as bytes, never as strings: two digests are equal when their bytes are.

use std::fmt;
use std::io::{self, Read};

use ring::digest;

/// A SHA-256 digest. Shown as `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; 32]);

/// A SHA-512 digest. Shown as `sha512:` and 128 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha512([u8; 64]);

impl Sha256 {
    /// Hashes `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Sha256Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Reads 64 hex digits, of either case, without a prefix.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        hex_to_array(text).map(Self)
    }

    /// Reads a digest as OCI documents write it: `sha256:` and 64 *lower-case* hex digits [OCI image-spec, descriptor, Digests].
    #[must_use]
    pub fn from_oci(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        if hex.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        Self::from_hex(hex)
    }

    /// The 64 lower-case hex digits, without a prefix.
    #[must_use]
    pub fn to_hex(self) -> String {
        bytes_to_hex(&self.0)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Sha512 {
    /// Hashes `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Sha512Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Reads 128 hex digits, of either case, without a prefix.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        hex_to_array(text).map(Self)
    }

    /// The 128 lower-case hex digits, without a prefix.
    #[must_use]
    pub fn to_hex(self) -> String {
        bytes_to_hex(&self.0)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Sha512 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha512:{}", self.to_hex())
    }
}

impl fmt::Debug for Sha512 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// SHA-256 over bytes that arrive in pieces.
#[derive(Clone)]
pub struct Sha256Hasher(digest::Context);

impl Sha256Hasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    #[must_use]
    pub fn finish(self) -> Sha256 {
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(self.0.finish().as_ref()) {
            *to = *from;
        }
        Sha256(out)
    }
}

impl Default for Sha256Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sha256Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256Hasher")
    }
}

/// SHA-512 over bytes that arrive in pieces.
#[derive(Clone)]
pub struct Sha512Hasher(digest::Context);

impl Sha512Hasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA512))
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    #[must_use]
    pub fn finish(self) -> Sha512 {
        let mut out = [0; 64];
        for (to, from) in out.iter_mut().zip(self.0.finish().as_ref()) {
            *to = *from;
        }
        Sha512(out)
    }
}

impl Default for Sha512Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sha512Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha512Hasher")
    }
}

/// A reader that hashes and counts what passes through it.
#[derive(Debug)]
pub struct HashingReader<R> {
    inner: R,
    hasher: Sha256Hasher,
    size: u64,
}

impl<R: Read> HashingReader<R> {
    /// Wraps `inner`; nothing has passed yet.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256Hasher::new(), size: 0 }
    }

    /// The digest and the number of the bytes that passed.
    pub fn finish(self) -> (Sha256, u64) {
        (self.hasher.finish(), self.size)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if let Some(passed) = buf.get(..n) {
            self.hasher.update(passed);
        }
        self.size = self.size.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
        Ok(n)
    }
}

/// Decodes hex digits of either case. `None` for anything else, an odd number of digits included.
#[must_use]
pub fn hex_to_bytes(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(hex_digit(*high)? << 4 | hex_digit(*low)?)).collect()
}

/// Encodes bytes as lower-case hex digits.
#[must_use]
pub fn bytes_to_hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 0xf)]).collect()
}

/// The same where it is known how many bytes there must be. A package list has one digest for each file of an image.
fn hex_to_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit & 0xf),
        b'a'..=b'f' | b'A'..=b'F' => Some((digit & 0xf).saturating_add(9)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_match_the_published_vectors() {
        // FIPS 180-4, the vectors for "abc".
        assert_eq!(
            Sha256::of(b"abc").to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(Sha512::of(b"abc").to_hex().starts_with("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea2"));
        let mut reader = HashingReader::new(&b"abc"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(reader.finish(), (Sha256::of(b"abc"), 3));
    }

    #[test]
    fn hex_is_strict() {
        let good = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let cases: &[(&str, String, bool)] = &[
            ("64 digits", format!("sha256:{good}"), true),
            ("upper case", format!("sha256:{}", good.to_uppercase()), false),
            ("no prefix", good.to_owned(), false),
            ("upper-case prefix", format!("SHA256:{good}"), false),
            ("63 digits", format!("sha256:{}", &good[1..]), false),
            ("66 digits", format!("sha256:{good}00"), false),
            ("a sign where a digit should be", format!("sha256:+{}", &good[1..]), false),
            ("not hex", format!("sha256:g{}", &good[1..]), false),
            ("another algorithm", format!("sha512:{good}"), false),
        ];
        for (name, text, ok) in cases {
            assert_eq!(Sha256::from_oci(text).is_some(), *ok, "{name}");
        }
        assert_eq!(hex_to_bytes("0aFF"), Some(vec![0x0a, 0xff]));
        assert_eq!(hex_to_bytes("0"), None);
        assert_eq!(hex_to_bytes(""), Some(vec![]));
        for byte in 0..=u8::MAX {
            assert_eq!(hex_digit(byte).map(u32::from), char::from(byte).to_digit(16), "{byte}");
        }
        assert_eq!(Sha256::from_hex(&good.to_uppercase()).unwrap().to_hex(), good);
        assert_eq!(Sha512::from_hex(good), None);
    }
}
