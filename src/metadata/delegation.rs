//! Who else may sign which files: path patterns, hash bins, succinct hash bins [TUF 4.5, TAP 15].

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::json::{At, Error, Value};
use super::key::{Key, KeyId, read_keys};
use super::{MetadataError, RoleKeys, plain, twice};
use crate::digest::Sha256;
use crate::limits::MetadataLimits;
use crate::text::quoted;

/// The `delegations` object of a targets role.
#[derive(Debug, Clone)]
pub struct Delegations {
    keys: BTreeMap<KeyId, Key>,
    roles: Roles,
}

#[derive(Debug, Clone)]
enum Roles {
    Listed(Vec<DelegatedRole>),
    Succinct(SuccinctRoles),
}

/// A role that another delegates to, with the keys that the *delegating* role gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegatedRole {
    name: Box<str>,
    keys: Arc<RoleKeys>,
    terminating: bool,
    paths: Paths,
}

/// What in a delegation makes it apply to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// This path pattern.
    Pattern(String),
    /// The SHA-256 of the path, in hex, begins with this.
    HashPrefix(String),
    /// The path falls into this bin of several, by the SHA-256 of the path.
    Bin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Paths {
    Patterns(Texts),
    HashPrefixes(Texts),
    /// A bin of [`SuccinctRoles`]; the path was matched when the bin was named.
    Bin,
}

/// Strings with NUL behind each, which none has in it. In one piece, for tens of thousands of roles may have a few of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Texts(Box<str>);

impl Texts {
    fn read(at: At<'_>) -> Result<Self, Error> {
        let texts: Vec<&str> = at.items()?.map(|item| item.string()).collect::<Result<_, _>>()?;
        Self::of(texts.iter().copied())
    }

    fn of<'t>(texts: impl Iterator<Item = &'t str> + Clone) -> Result<Self, Error> {
        let mut length = 0_usize;
        for text in texts.clone() {
            if text.contains('\0') {
                return Err(Error::Nul);
            }
            length = length.saturating_add(text.len()).saturating_add(1);
        }
        let mut all = String::with_capacity(length);
        for text in texts {
            all.push_str(text);
            all.push('\0');
        }
        Ok(Self(all.into_boxed_str()))
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator('\0')
    }
}

/// Many equal bins described in one go [TAP 15]: `bit_length` bits of a path's SHA-256 are its bin's number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SuccinctRoles {
    keys: Arc<RoleKeys>,
    bit_length: u32,
    name_prefix: String,
}

impl Delegations {
    /// `listed` are the roles, as they were handed over.
    pub(super) fn read(at: At<'_>, listed: Listed, limits: &MetadataLimits) -> Result<Self, MetadataError> {
        let keys = read_keys(at.field("keys")?)?;
        let roles = match (at.optional("roles")?, at.optional("succinct_roles")?) {
            (Some(roles), None) => Roles::Listed(listed.finish(roles)?),
            (None, Some(succinct)) => Roles::Succinct(SuccinctRoles::read(succinct, limits)?),
            _ => return Err(at.wrong("either roles or succinct_roles").into()),
        };
        Ok(Self { keys, roles })
    }

    /// The keys that this role gives to the roles that it delegates to.
    #[must_use]
    pub fn keys(&self) -> &BTreeMap<KeyId, Key> {
        &self.keys
    }

    /// What is said of the role called `name`, which may be a bin. `None`: nothing is delegated to it.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<DelegatedRole> {
        match &self.roles {
            Roles::Listed(roles) => roles.iter().find(|role| *role.name == *name).cloned(),
            Roles::Succinct(succinct) => succinct.bin(name),
        }
    }

    /// The names of the roles that are listed one by one, in order of priority; bins are not.
    pub fn listed(&self) -> impl Iterator<Item = &str> {
        let roles = match &self.roles {
            Roles::Listed(roles) => roles.as_slice(),
            Roles::Succinct(_) => &[],
        };
        roles.iter().map(DelegatedRole::name)
    }

    /// Into how many bins the paths are divided; `None` if the roles are listed one by one.
    #[must_use]
    pub fn bins(&self) -> Option<u64> {
        match &self.roles {
            Roles::Listed(_) => None,
            Roles::Succinct(succinct) => Some(succinct.count()),
        }
    }

    /// The roles that may sign the file at `path`, in order of appearance, which is the order of priority [TUF 5.6.7.2].
    #[must_use]
    pub fn roles_for(&self, path: &str) -> Vec<DelegatedRole> {
        match &self.roles {
            Roles::Listed(roles) => {
                let path = Path::new(path);
                roles.iter().filter(|role| role.paths.match_path(&path)).cloned().collect()
            }
            Roles::Succinct(succinct) => vec![succinct.bin_for(path)],
        }
    }
}

/// The roles that are listed one by one, as they pass; or what is wrong with the first that is wrong.
#[derive(Debug)]
pub struct Listed(Result<Vec<DelegatedRole>, MetadataError>);

impl Default for Listed {
    fn default() -> Self {
        Self(Ok(Vec::new()))
    }
}

impl Listed {
    pub(super) fn add(&mut self, at: At<'_>, limits: &MetadataLimits) {
        let Ok(roles) = &mut self.0 else { return };
        match DelegatedRole::read(at, roles.last(), limits) {
            Ok(role) => roles.push(role),
            Err(error) => self.0 = Err(error),
        }
    }

    /// Adds a role by its text, if that is of the usual form, and it has the keys of the role before it.
    pub(super) fn add_usual(&mut self, text: &str) -> bool {
        let Ok(roles) = &mut self.0 else { return false };
        let role = roles.last().and_then(|before| DelegatedRole::usual(text, before));
        role.is_some_and(|role| {
            roles.push(role);
            true
        })
    }

    /// `at` is where they were.
    fn finish(self, at: At<'_>) -> Result<Vec<DelegatedRole>, MetadataError> {
        if *at.value() != Value::Taken {
            return Err(at.wrong("an array").into());
        }
        let roles = self.0?;
        match twice(roles.iter().map(DelegatedRole::name)) {
            None => Ok(roles),
            Some(name) => {
                let (path, found) = (at.path(), format!("two of {}", quoted(name)));
                Err(Error::Shape { path, expected: "role names that differ", found }.into())
            }
        }
    }
}

impl DelegatedRole {
    /// `before` is the one before it, which nearly always has the same keys.
    fn read(at: At<'_>, before: Option<&Self>, limits: &MetadataLimits) -> Result<Self, MetadataError> {
        let paths = match (at.optional("paths")?, at.optional("path_hash_prefixes")?) {
            (Some(patterns), None) => Paths::Patterns(Texts::read(patterns)?),
            (None, Some(prefixes)) => Paths::HashPrefixes(Texts::read(prefixes)?),
            _ => return Err(at.wrong("either paths or path_hash_prefixes").into()),
        };
        let name = at.field("name")?;
        Ok(Self {
            name: read_role_name(name, name.string()?)?.into(),
            keys: match before {
                Some(before) if before.keys.are(at)? => Arc::clone(&before.keys),
                _ => Arc::new(RoleKeys::read(at, limits)?),
            },
            terminating: at.field("terminating")?.boolean()?,
            paths,
        })
    }

    /// The same, if it is written as nearly all are. `None` decides nothing.
    fn usual(text: &str, before: &Self) -> Option<Self> {
        let plain::UsualRole { name, are_prefixes, paths, terminating } = plain::usual_role(text, &before.keys)?;
        let paths = Texts::of(paths).ok()?;
        let paths = if are_prefixes { Paths::HashPrefixes(paths) } else { Paths::Patterns(paths) };
        let name = Some(name).filter(|name| !is_top_level(name))?.into();
        Some(Self { name, keys: Arc::clone(&before.keys), terminating, paths })
    }

    /// The name of the role; never that of a top-level one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The keys that the delegating role gives it.
    #[must_use]
    pub fn keys(&self) -> &RoleKeys {
        &self.keys
    }

    /// The patterns of the paths that it may sign; none if it is by hashes of paths.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        let patterns = if let Paths::Patterns(patterns) = &self.paths { Some(patterns) } else { None };
        patterns.into_iter().flat_map(Texts::iter)
    }

    /// What makes this delegation apply to `path`; `None` if it does not. Of several patterns or prefixes, the first.
    #[must_use]
    pub fn matched_by(&self, path: &str) -> Option<Match> {
        self.paths.matched_by(&Path::new(path))
    }

    /// The prefixes of the hashes of the paths that it may sign; none if it is by patterns, or a bin.
    pub fn hash_prefixes(&self) -> impl Iterator<Item = &str> {
        let prefixes = if let Paths::HashPrefixes(prefixes) = &self.paths { Some(prefixes) } else { None };
        prefixes.into_iter().flat_map(Texts::iter)
    }

    /// Whether the search for a path that this delegation matches ends below this role [TUF 5.6.7.2.1].
    #[must_use]
    pub fn terminating(&self) -> bool {
        self.terminating
    }
}

/// A delegated role may not call itself as a top-level one: its file would take that one's place.
fn read_role_name<'a>(at: At<'_>, name: &'a str) -> Result<&'a str, MetadataError> {
    if is_top_level(name) { Err(at.wrong("the name of a delegated role").into()) } else { Ok(name) }
}

/// Or nothing.
fn is_top_level(name: &str) -> bool {
    matches!(name, "" | "root" | "timestamp" | "snapshot" | "targets")
}

/// A path that is looked for. There may be thousands of bins, and it is hashed once for all of them.
struct Path<'p> {
    text: &'p str,
    hash: OnceCell<String>,
}

impl<'p> Path<'p> {
    fn new(text: &'p str) -> Self {
        Self { text, hash: OnceCell::new() }
    }

    /// The SHA-256 of the path, in hex.
    fn hash(&self) -> &str {
        self.hash.get_or_init(|| Sha256::of(self.text.as_bytes()).to_hex())
    }

    fn is_like(&self, pattern: &str) -> bool {
        pattern_matches(pattern, self.text)
    }

    fn is_below(&self, prefix: &str) -> bool {
        self.hash().starts_with(prefix)
    }
}

impl Paths {
    fn matched_by(&self, path: &Path<'_>) -> Option<Match> {
        match self {
            Self::Patterns(patterns) => {
                let mut patterns = patterns.iter();
                patterns.find(|pattern| path.is_like(pattern)).map(|it| Match::Pattern(it.to_owned()))
            }
            Self::HashPrefixes(prefixes) => {
                let mut prefixes = prefixes.iter();
                prefixes.find(|prefix| path.is_below(prefix)).map(|it| Match::HashPrefix(it.to_owned()))
            }
            Self::Bin => Some(Match::Bin),
        }
    }

    fn match_path(&self, path: &Path<'_>) -> bool {
        match self {
            Self::Patterns(patterns) => patterns.iter().any(|pattern| path.is_like(pattern)),
            Self::HashPrefixes(prefixes) => prefixes.iter().any(|prefix| path.is_below(prefix)),
            Self::Bin => true,
        }
    }
}

/// Whether `path` matches a `PATHPATTERN`: `*` is any run of characters, `?` any one, neither crosses `/` [TUF 4.5].
///
/// Everything else stands for itself, `[` and `**` included.
pub(crate) fn pattern_matches(pattern: &str, path: &str) -> bool {
    let mut patterns = pattern.split('/');
    let mut segments = path.split('/');
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return true,
            (Some(pattern), Some(segment)) if segment_matches(pattern, segment) => {}
            _ => return false,
        }
    }
}

/// One segment; time is bounded by the product of the lengths: only the last `*` is ever tried again.
fn segment_matches(pattern: &str, segment: &str) -> bool {
    let (mut pattern, mut rest) = (pattern.chars(), segment.chars());
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (mut p, mut s) = (pattern.clone(), rest.clone());
        match (p.next(), s.next()) {
            (Some('*'), _) => {
                retry = Some((p.clone(), rest.clone()));
                pattern = p;
                continue;
            }
            (None, None) => return true,
            (Some(want), Some(have)) if want == '?' || want == have => {
                (pattern, rest) = (p, s);
                continue;
            }
            _ => {}
        }
        // Let the last `*` swallow one character more.
        let Some((after_star, mut from)) = retry.take() else { return false };
        if from.next().is_none() {
            return false;
        }
        retry = Some((after_star.clone(), from.clone()));
        (pattern, rest) = (after_star, from);
    }
}

impl SuccinctRoles {
    fn read(at: At<'_>, limits: &MetadataLimits) -> Result<Self, MetadataError> {
        let bits = at.field("bit_length")?;
        let bit_length = u32::try_from(bits.unsigned()?).ok().filter(|n| (1..=32).contains(n));
        Ok(Self {
            keys: Arc::new(RoleKeys::read(at, limits)?),
            bit_length: bit_length.ok_or_else(|| bits.wrong("a number of bits from 1 to 32"))?,
            name_prefix: at.field("name_prefix")?.string()?.to_owned(),
        })
    }

    /// The bin of `path`: `<prefix>-<number>`, the number in hex with as many digits as the last bin's.
    fn bin_for(&self, path: &str) -> DelegatedRole {
        let [a, b, c, d, ..] = *Sha256::of(path.as_bytes()).as_bytes();
        let bin = u32::from_be_bytes([a, b, c, d]).checked_shr(32_u32.saturating_sub(self.bit_length)).unwrap_or(0);
        self.numbered(bin.into())
    }

    /// The bin called `name`.
    fn bin(&self, name: &str) -> Option<DelegatedRole> {
        let number = name.strip_prefix(&self.name_prefix)?.strip_prefix('-')?;
        let bin = u64::from_str_radix(number, 16).ok().filter(|bin| *bin < self.count())?;
        // One number has one spelling.
        Some(self.numbered(bin)).filter(|role| *role.name == *name)
    }

    fn count(&self) -> u64 {
        1_u64.checked_shl(self.bit_length).unwrap_or(0)
    }

    fn numbered(&self, bin: u64) -> DelegatedRole {
        let digits = usize::try_from(self.bit_length.div_ceil(4)).unwrap_or(8);
        DelegatedRole {
            name: format!("{}-{bin:0digits$x}", self.name_prefix).into(),
            keys: Arc::clone(&self.keys),
            // A path has one bin and no other; the search goes on below it only [TAP 15].
            terminating: true,
            paths: Paths::Bin,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::metadata::json::{Document, Kept, Part};
    use crate::metadata::members::Unshaped;

    #[test]
    fn patterns_match_within_a_segment() {
        let cases = [
            ("a", "a", true),
            ("a", "b", false),
            ("a", "A", false),
            ("*", "anything", true),
            ("*", "", true),
            ("*", "a/b", false),
            ("**", "a/b", false),
            ("**", "ab", true),
            ("*/*", "a/b", true),
            ("*/*", "a/b/c", false),
            ("a/*", "a/", true),
            ("a/*", "a", false),
            ("a/*/*/*", "a/app/1.4/manifest.json", true),
            ("a/*/*/*", "a/x/app/1.4/manifest.json", false),
            ("?", "a", true),
            ("?", "", false),
            ("?", "é", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("*.zip", "x.zip", true),
            ("*.zip", "x.zip.sig", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("*a*", "bab", true),
            // A glob library would see more in these.
            ("[ab]", "a", false),
            ("[ab]", "[ab]", true),
            ("{a,b}", "a", false),
            ("!a", "b", false),
            ("\\*", "*", false),
            ("a/../b", "b", false),
            ("/a", "a", false),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(pattern_matches(pattern, path), expected, "{pattern} against {path}");
        }
    }

    #[test]
    fn a_pattern_of_stars_takes_no_exponential_time() {
        let pattern = "*a".repeat(2000);
        assert!(!pattern_matches(&pattern, &"a".repeat(1999)));
        assert!(pattern_matches(&pattern, &"a".repeat(2000)));
    }

    fn delegations(text: &str) -> Result<Delegations, MetadataError> {
        read(text, true).map(|(delegations, _)| delegations)
    }

    /// With how many roles were taken by their text, if that `may_be`; and whether all is canonical.
    fn read(text: &str, may_be: bool) -> Result<(Delegations, (usize, bool)), MetadataError> {
        let (listed, limits) = (RefCell::new(Listed::default()), MetadataLimits::default());
        let count = RefCell::new(0_usize);
        let take = |at: At<'_>| listed.borrow_mut().add(at, &limits);
        let usual = |text: &str| {
            let is_usual = may_be && listed.borrow_mut().add_usual(text);
            count.replace_with(|n| n.saturating_add(usize::from(is_usual)));
            is_usual
        };
        let roles = Part { path: &["roles"], kept: Kept::Items { usual: &usual, take: &take } };
        let document = Document::without::<Unshaped>(text.as_bytes(), &[roles])?;
        let read = Delegations::read(At::document(document.value()), listed.take(), &limits)?;
        Ok((read, (count.take(), document.is_canonical())))
    }

    /// Of roles taken by their text, and of those that are built, nothing differs: neither what is accepted, nor what is made of it, nor what is canonical.
    #[test]
    fn a_usual_role_is_what_it_is_when_it_is_built() {
        let role = |name: &str, paths: &str, end: &str| {
            format!(r#"{{"keyids":["k","é"],"name":"{name}",{paths},"terminating":{end},"threshold":1}}"#)
        };
        let text = |last: &str| {
            let (first, second) = (role("a", r#""paths":["x"]"#, "true"), role("c", r#""paths":["["]"#, "true"));
            format!(r#"{{"keys":{{}},"roles":[{first},{second},{last}],"x":["\\"]}}"#)
        };
        let usual = [
            role("b", r#""path_hash_prefixes":["00","01"]"#, "false"),
            role("b", r#""paths":["]","a/*",""]"#, "true"),
            role("ü", r#""paths":[]"#, "true"),
        ];
        for last in &usual {
            assert_eq!(read(&text(last), true).unwrap().1, (2, true), "{last}");
        }
        let unusual = [
            ("another threshold", usual[0].replace(":1}", ":2}")),
            ("another key", usual[0].replace("\"k\"", "\"l\"")),
            ("one key more", usual[0].replace("\"k\"", "\"j\",\"k\"")),
            ("one key less", usual[0].replace("\"k\",", "")),
            ("keys in another order", usual[0].replace("\"k\",\"é\"", "\"é\",\"k\"")),
            ("two keys in one", usual[0].replace("\"k\",\"é\"", "\"k\\\",\\\"é\"")),
            ("an unknown field", usual[0].replace(":1}", ":1,\"x\":[]}")),
            ("a field twice", usual[0].replace(":1}", ":1,\"threshold\":1}")),
            ("both kinds of paths", usual[0].replace(",\"terminating\"", ",\"paths\":[],\"terminating\"")),
            ("white space", usual[0].replace(":1}", ": 1}")),
            ("an escape", usual[0].replace("00", "\\u0030")),
            ("an escaped quote", usual[0].replace("00", "0\\\",\\\"0")),
            ("NUL", usual[0].replace("00", "\\u0000")),
            ("a lone surrogate", usual[0].replace("00", "\\ud800")),
            ("a number for a path", usual[0].replace("\"00\"", "0")),
            ("the name of a top-level role", usual[0].replace("\"b\"", "\"targets\"")),
            ("no name", usual[0].replace("\"b\"", "\"\"")),
            ("the same name", usual[0].replace("\"b\"", "\"a\"")),
            ("null", "null".to_owned()),
        ];
        let same = |last: &str| {
            let text = text(last);
            let (by_text, built) = (read(&text, true), read(&text, false));
            let roles = |read: &Result<(Delegations, (usize, bool)), MetadataError>| {
                read.as_ref().map_err(ToString::to_string).map(|(delegations, (_, canonical))| {
                    let Roles::Listed(roles) = &delegations.roles else { panic!("{text}") };
                    (roles.clone(), *canonical)
                })
            };
            assert_eq!(roles(&by_text), roles(&built), "{text}");
            by_text.map_or(0, |(_, (count, _))| count)
        };
        for (name, last) in &unusual {
            assert!(!usual.contains(last), "{name}: nothing was changed");
            assert!(same(last) < 2, "{name}");
        }
        let mut taken = 0;
        for last in &usual {
            for (at, byte) in (0..=last.len()).flat_map(|at| (0..128_u8).map(move |byte| (at, char::from(byte)))) {
                let Some((before, after)) = last.split_at_checked(at) else { continue };
                taken += usize::from(same(&format!("{before}{byte}{after}")) == 2);
                if let Some(after) = after.get(1..) {
                    taken += usize::from(same(&format!("{before}{byte}{after}")) == 2);
                }
            }
        }
        assert!(taken > 2000, "{taken}");
    }

    fn names(delegations: &Delegations, path: &str) -> Vec<String> {
        delegations.roles_for(path).iter().map(|role| role.name().to_owned()).collect()
    }

    #[test]
    fn hash_prefixes_are_of_the_sha256_of_the_path() {
        // SHA-256 of "file1.txt" starts with 55ae75d9.
        let roles = |prefixes: &str| {
            delegations(&format!(
                r#"{{"keys":{{}},"roles":[{{"name":"bin","keyids":["k"],"threshold":1,"terminating":false,"path_hash_prefixes":[{prefixes}]}}]}}"#
            ))
            .unwrap()
        };
        let hash = Sha256::of(b"file1.txt").to_hex();
        let (first, other) = (hash[..2].to_owned(), if hash.starts_with("00") { "01" } else { "00" });
        assert_eq!(names(&roles(&format!("\"{first}\"")), "file1.txt"), ["bin"]);
        assert_eq!(names(&roles(&format!("\"{hash}\"")), "file1.txt"), ["bin"]);
        assert_eq!(names(&roles(&format!("\"{other}\",\"{first}\"")), "file1.txt"), ["bin"]);
        assert!(names(&roles(&format!("\"{other}\"")), "file1.txt").is_empty());
        assert!(names(&roles(&format!("\"{hash}0\"")), "file1.txt").is_empty());
        assert!(names(&roles(""), "file1.txt").is_empty());
    }

    #[test]
    fn succinct_bins_are_named_as_tap_15_says() {
        let succinct = |bits: u64| {
            delegations(&format!(
                r#"{{"keys":{{}},"succinct_roles":{{"keyids":["k"],"threshold":1,"bit_length":{bits},"name_prefix":"bin"}}}}"#
            ))
        };
        // SHA-256 of "abc" starts with ba7816bf.
        for (bits, name) in [
            (1, "bin-1"),
            (4, "bin-b"),
            (5, "bin-17"),
            (8, "bin-ba"),
            (14, "bin-2e9e"),
            (16, "bin-ba78"),
            (32, "bin-ba7816bf"),
        ] {
            assert_eq!(names(&succinct(bits).unwrap(), "abc"), [name], "{bits} bits");
        }
        assert!(succinct(0).is_err());
        assert!(succinct(33).is_err());
        assert!(succinct(1).unwrap().roles_for("abc").iter().all(DelegatedRole::terminating));
    }

    #[test]
    fn a_delegation_has_one_meaning() {
        let role = |name: &str, paths: &str| {
            format!(r#"{{"name":"{name}","keyids":["k"],"threshold":1,"terminating":false{paths}}}"#)
        };
        let roles = |list: &[String]| format!(r#"{{"keys":{{}},"roles":[{}]}}"#, list.join(","));
        let (all, prefix) = (r#","paths":["*"]"#, r#","path_hash_prefixes":["0"]"#);
        let cases: &[(&str, String, bool)] = &[
            ("two roles", roles(&[role("a", all), role("b", prefix)]), true),
            ("a name twice", roles(&[role("a", all), role("a", prefix)]), false),
            ("both kinds of paths", roles(&[role("a", &format!("{all}{prefix}"))]), false),
            ("no paths", roles(&[role("a", "")]), false),
            ("a top-level name", roles(&[role("targets", all)]), false),
            ("an empty name", roles(&[role("", all)]), false),
            ("neither kind of roles", r#"{"keys":{}}"#.to_owned(), false),
            (
                "both kinds of roles",
                r#"{"keys":{},"roles":[],"succinct_roles":{"keyids":[],"threshold":1,"bit_length":1,"name_prefix":"b"}}"#.to_owned(),
                false,
            ),
            ("no keys", r#"{"roles":[]}"#.to_owned(), false),
            ("threshold 0", roles(&[role("a", all).replace("\"threshold\":1", "\"threshold\":0")]), false),
            ("a key id twice", roles(&[role("a", all).replace("[\"k\"]", "[\"k\",\"k\"]")]), false),
            ("terminating is missing", roles(&[role("a", all).replace("\"terminating\":false,", "")]), false),
        ];
        for (name, text, ok) in cases {
            assert_eq!(delegations(text).is_ok(), *ok, "{name}");
        }
    }
}
