//! What the library does, done again: slowly, in the plainest way, and without the library, so that the two can be compared.
//!
//! JSON is read by hand, signatures are counted by trying every key on every signature.

use std::collections::BTreeSet;

use ring::digest::{SHA256, SHA512, digest};
use ring::signature::{ED25519, UnparsedPublicKey};

/// A JSON document that has one meaning.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// The digits of an integer from -2^63 to 2^64 - 1, with a minus sign if it is below 0.
    Integer(String),
    /// Any other number.
    Fraction(f64),
    String(String),
    Array(Vec<Json>),
    /// Sorted by key.
    Object(Vec<(String, Json)>),
}

impl Json {
    pub fn get(&self, key: &str) -> Option<&Json> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub fn text(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    pub fn number(&self) -> Option<u64> {
        if let Self::Integer(digits) = self { digits.parse().ok() } else { None }
    }

    pub fn items(&self) -> &[Json] {
        if let Self::Array(items) = self { items } else { &[] }
    }

    pub fn members(&self) -> &[(String, Json)] {
        if let Self::Object(members) = self { members } else { &[] }
    }

    /// How many values there are, this one included.
    pub fn values(&self) -> usize {
        let inner = match self {
            Self::Array(items) => items.iter().map(Self::values).sum(),
            Self::Object(members) => members.iter().map(|(_, value)| value.values()).sum(),
            _ => 0,
        };
        inner + 1
    }

    /// The OLPC canonical form; there is none where a number is not an integer.
    pub fn canonical(&self) -> Option<Vec<u8>> {
        fn string(text: &str) -> Vec<u8> {
            let mut out = vec![b'"'];
            for byte in text.bytes() {
                if byte == b'"' || byte == b'\\' {
                    out.push(b'\\');
                }
                out.push(byte);
            }
            out.push(b'"');
            out
        }
        Some(match self {
            Self::Null => b"null".to_vec(),
            Self::Bool(value) => value.to_string().into_bytes(),
            Self::Integer(digits) => digits.clone().into_bytes(),
            Self::Fraction(_) => return None,
            Self::String(text) => string(text),
            Self::Array(items) => {
                let items = items.iter().map(Self::canonical).collect::<Option<Vec<_>>>()?;
                [b"[", items.join(&b","[..]).as_slice(), b"]"].concat()
            }
            Self::Object(members) => {
                let member =
                    |(key, value): &(String, Self)| Some([string(key), b":".to_vec(), value.canonical()?].concat());
                let members = members.iter().map(member).collect::<Option<Vec<_>>>()?;
                [b"{", members.join(&b","[..]).as_slice(), b"}"].concat()
            }
        })
    }
}

/// Reads a document: RFC 8259, UTF-8, no key twice, no NUL, at most 64 levels. How many values there are is not looked at.
pub fn parse(bytes: &[u8]) -> Option<Json> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut reader = Reader { rest: text };
    let value = reader.value(64)?;
    reader.space();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn takes(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = rest;
        true
    }

    fn token(&mut self, token: &str) -> bool {
        self.space();
        self.takes(token)
    }

    fn value(&mut self, levels: usize) -> Option<Json> {
        if self.token("null") {
            return Some(Json::Null);
        }
        if self.token("true") {
            return Some(Json::Bool(true));
        }
        if self.token("false") {
            return Some(Json::Bool(false));
        }
        if self.token("\"") {
            return Some(Json::String(self.string()?));
        }
        if self.token("[") {
            let levels = levels.checked_sub(1)?;
            let mut items = Vec::new();
            if self.token("]") {
                return Some(Json::Array(items));
            }
            loop {
                items.push(self.value(levels)?);
                if self.token("]") {
                    return Some(Json::Array(items));
                }
                self.token(",").then_some(())?;
            }
        }
        if self.token("{") {
            let levels = levels.checked_sub(1)?;
            let mut members: Vec<(String, Json)> = Vec::new();
            if self.token("}") {
                return Some(Json::Object(members));
            }
            loop {
                self.token("\"").then_some(())?;
                let key = self.string()?;
                self.token(":").then_some(())?;
                let value = self.value(levels)?;
                if members.iter().any(|(other, _)| *other == key) {
                    return None;
                }
                members.push((key, value));
                if self.token("}") {
                    members.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
                    return Some(Json::Object(members));
                }
                self.token(",").then_some(())?;
            }
        }
        self.number()
    }

    /// After the opening quote.
    fn string(&mut self) -> Option<String> {
        let mut out = String::new();
        loop {
            let mut chars = self.rest.chars();
            let next = chars.next()?;
            self.rest = chars.as_str();
            match next {
                '"' => return Some(out),
                '\\' => out.push(self.escape()?),
                '\0'..='\x1f' => return None,
                _ => out.push(next),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        for (token, meaning) in
            [("\"", '"'), ("\\", '\\'), ("/", '/'), ("b", '\x08'), ("f", '\x0c'), ("n", '\n'), ("r", '\r'), ("t", '\t')]
        {
            if self.takes(token) {
                return Some(meaning);
            }
        }
        let high = self.unit()?;
        let code = match high {
            0xd800..=0xdbff => {
                self.takes("\\").then_some(())?;
                let low = self.unit().filter(|low| (0xdc00..=0xdfff).contains(low))?;
                0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
            }
            unit => unit,
        };
        char::from_u32(code).filter(|meaning| *meaning != '\0')
    }

    /// `u` and four hex digits.
    fn unit(&mut self) -> Option<u32> {
        self.takes("u").then_some(())?;
        let digits = self.rest.get(..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        self.rest = self.rest.get(4..)?;
        u32::from_str_radix(digits, 16).ok()
    }

    fn digits(&mut self) -> Option<String> {
        let end = self.rest.find(|next: char| !next.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!digits.is_empty()).then(|| digits.to_owned())
    }

    fn number(&mut self) -> Option<Json> {
        self.space();
        let all = self.rest;
        let negative = self.takes("-");
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        let mut integer = !(negative && whole == "0");
        if self.takes(".") {
            integer = false;
            self.digits()?;
        }
        if self.takes("e") || self.takes("E") {
            integer = false;
            let _ = self.takes("+") || self.takes("-");
            self.digits()?;
        }
        let text = &all[..all.len() - self.rest.len()];
        let fits = if negative { text.parse::<i64>().is_ok() } else { text.parse::<u64>().is_ok() };
        if integer && fits {
            return Some(Json::Integer(text.to_owned()));
        }
        text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Json::Fraction)
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

pub fn sha512(bytes: &[u8]) -> String {
    hex(digest(&SHA512, bytes).as_ref())
}

/// The Ed25519 keys, in lower-case hex, that the ids in `role` stand for in `keys`. Of other kinds of key a fuzzer has no signature.
pub fn role_keys(role: &Json, keys: &Json) -> BTreeSet<String> {
    let ids = role.get("keyids").map_or(&[][..], Json::items);
    ids.iter().filter_map(|id| ed25519(keys.get(id.text()?)?)).collect()
}

fn ed25519(key: &Json) -> Option<String> {
    let is = |field: &str| key.get(field).and_then(Json::text) == Some("ed25519");
    let public = key.get("keyval")?.get("public")?.text()?;
    let hex = public.len() == 64 && public.bytes().all(|digit| digit.is_ascii_hexdigit());
    (is("keytype") && is("scheme") && hex).then(|| public.to_lowercase())
}

/// Whether at least as many different keys signed `file` as `role`, whose keys are in `keys`, demands. Who claims to have signed does not
/// matter: every key is tried on every signature.
pub fn is_signed(file: &Json, role: &Json, keys: &Json) -> bool {
    let Some(message) = file.get("signed").and_then(Json::canonical) else { return false };
    let Some(threshold) = role.get("threshold").and_then(Json::number).filter(|threshold| *threshold > 0) else {
        return false;
    };
    let signatures = file.get("signatures").map_or(&[][..], Json::items);
    let signatures: Vec<Vec<u8>> = signatures.iter().filter_map(|one| from_hex(one.get("sig")?.text()?)).collect();
    let signed = |key: &String| {
        let key = UnparsedPublicKey::new(&ED25519, from_hex(key).unwrap_or_default());
        signatures.iter().any(|signature| key.verify(&message, signature).is_ok())
    };
    let signers = role_keys(role, keys).iter().filter(|key| signed(key)).count();
    u64::try_from(signers).is_ok_and(|signers| signers >= threshold)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| Some(digit(pair.first()?)? * 16 + digit(pair.get(1)?)?);
    text.as_bytes().chunks(2).map(pair).collect()
}

/// `*` and `?` within one segment of a path, by trying everything.
pub fn matches(pattern: &str, path: &str) -> bool {
    fn from(pattern: &[char], path: &[char]) -> bool {
        match pattern.split_first() {
            None => path.is_empty(),
            Some(('*', rest)) => {
                let run = path.iter().position(|next| *next == '/').unwrap_or(path.len());
                (0..=run).any(|length| from(rest, &path[length..]))
            }
            Some((want, rest)) => path
                .split_first()
                .is_some_and(|(have, path)| (want == have || (*want == '?' && *have != '/')) && from(rest, path)),
        }
    }
    from(&pattern.chars().collect::<Vec<_>>(), &path.chars().collect::<Vec<_>>())
}

/// The names of the roles that `delegations` gives the file at `path` to, each with its own `keyids` and `threshold`, in order.
pub fn delegated<'d>(delegations: &'d Json, path: &str) -> Vec<(String, &'d Json)> {
    let hash = sha256(path.as_bytes());
    if let Some(bins) = delegations.get("succinct_roles") {
        let bits = bins.get("bit_length").and_then(Json::number).unwrap_or(0);
        let prefix = bins.get("name_prefix").and_then(Json::text).unwrap_or_default();
        let number = u64::from_str_radix(&hash[..8], 16).unwrap_or(0) >> (32 - bits.min(32));
        // As many digits as the last bin's number has.
        let digits = format!("{:x}", (1_u64 << bits.min(32)) - 1).len();
        return vec![(format!("{prefix}-{number:0digits$x}"), bins)];
    }
    let roles = delegations.get("roles").map_or(&[][..], Json::items);
    let any = |role: &Json, field: &str, hit: &dyn Fn(&str) -> bool| {
        role.get(field).map_or(&[][..], Json::items).iter().any(|item| item.text().is_some_and(hit))
    };
    roles
        .iter()
        .filter(|role| {
            any(role, "paths", &|pattern| matches(pattern, path))
                || any(role, "path_hash_prefixes", &|prefix| hash.starts_with(prefix))
        })
        .map(|role| (role.get("name").and_then(Json::text).unwrap_or_default().to_owned(), role))
        .collect()
}
