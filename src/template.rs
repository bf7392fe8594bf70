//! Where the signed files of an image are among the targets of a repository: a template, the same for publisher and verifier.
//!
//! The default is `{host}/{repository}/{tag}/{file}`. Tools that allow one folder for each role, or none, take a flat one, such as
//! `role/{host}~{repository}~{tag}~{file}`.
//!
//! Rules:
//! - Each of the four placeholders stands exactly once. All other text stands for itself.
//! - `{tag}` of a reference with a digest is `@sha256-<hex>`; a tag that it has too is only a claim, and has no part in it.
//! - Where `{repository}` has a path segment for itself, its `/` separates segments. Elsewhere each of them becomes `~`, which no repository holds.
//! - The text between two placeholders begins with a character that the value before it cannot hold, and ends with one that the value after it cannot
//!   hold; of the repository nothing is demanded. So what stands before the repository can be read from the left, what stands after it from the right,
//!   and the repository is what is left: no two images share a path, by construction. [`TargetPaths::read`] does just that.
//! - Every path is relative, without empty segment, `.` or `..`.

use std::fmt;
use std::str::FromStr;

use crate::digest::Sha256;
use crate::name::ImageName;
use crate::text::quoted;

/// The template if nothing else is said.
pub const DEFAULT: &str = "{host}/{repository}/{tag}/{file}";
/// No path of a target is longer on any file system in use; a template is a part of it.
const TEMPLATE_MAX: usize = 1024;
/// A file name has up to 255 bytes on the file systems in use, of which a SHA-256 and its dot take 65 in front.
const FILE_MAX: usize = 190;
/// What a digest looks like in the place of a tag.
const DIGEST: &str = "@sha256-";
/// What stands for `/` in the repository of a flat template.
const FLAT: char = '~';

/// A template for target paths, parsed and found to be unambiguous.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use plimsoll::template::TargetPaths;
///
/// let paths: TargetPaths = "releases/{host}~{repository}~{tag}~{file}".parse()?;
/// let path = paths.path(&"registry.example/team/app:1.4".parse()?, "manifest.json")?;
/// assert_eq!(path, "releases/registry.example~team~app~1.4~manifest.json");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetPaths {
    /// As it was written.
    template: String,
    before: String,
    first: Placeholder,
    /// Each placeholder after the first, with the text in front of it.
    rest: [(String, Placeholder); 3],
    after: String,
    /// What stands for the `/` of a repository.
    slash: char,
}

/// Why a template cannot be used, or a file cannot be named by one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// Longer than any path.
    #[error("the target path template is longer than {TEMPLATE_MAX} characters")]
    Long,
    /// A brace that is not one of a placeholder, or a placeholder that there is not.
    #[error("{}: expected {{host}}, {{repository}}, {{tag}} or {{file}}, found {}", quoted(.template), quoted(.found))]
    Placeholder {
        /// The template.
        template: String,
        /// What stands there.
        found: String,
    },
    /// A placeholder is missing, or stands there more than once.
    #[error("{}: expected {placeholder} once, found it {times} times", quoted(.template))]
    Count {
        /// The template.
        template: String,
        /// With its braces.
        placeholder: &'static str,
        /// How often.
        times: usize,
    },
    /// The text between two placeholders is missing, or where it borders on one it may be a part of its value.
    #[error("{}: between {before} and {after}, expected text that cannot be a part of {clash}, such as \"/\" or \"~\", found {}", quoted(.template), quoted(.found))]
    Ambiguous {
        /// The template.
        template: String,
        /// The placeholder before the text.
        before: &'static str,
        /// The placeholder after it.
        after: &'static str,
        /// The placeholder in whose value it may occur.
        clash: &'static str,
        /// The text.
        found: String,
    },
    /// A path segment that is empty, `.` or `..`.
    #[error("{}: expected a relative path, found the segment {}", quoted(.template), quoted(.segment))]
    Segment {
        /// The template.
        template: String,
        /// The segment.
        segment: String,
    },
    /// Text that is not the same on all systems: a backslash, a control character, one beyond ASCII, or a pattern of delegations.
    #[error("{}: expected printable ASCII without \\, * and ?, found {}", quoted(.template), quoted(.found))]
    Character {
        /// The template.
        template: String,
        /// The first such character.
        found: String,
    },
    /// A file that no path is made for: empty, `.`, `..`, or with `/`, `\`, `~` or a control character in it, or of more than 190 bytes.
    #[error("{}: expected a file name of at most {FILE_MAX} bytes without /, \\, ~ and control characters", quoted(.0))]
    FileName(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placeholder {
    Host,
    Repository,
    Tag,
    File,
}

impl Placeholder {
    const ALL: [Self; 4] = [Self::Host, Self::Repository, Self::Tag, Self::File];

    fn as_str(self) -> &'static str {
        match self {
            Self::Host => "{host}",
            Self::Repository => "{repository}",
            Self::Tag => "{tag}",
            Self::File => "{file}",
        }
    }

    /// Whether a value of it may hold the character. Of the repository none counts: it is what is left when all others have been read.
    fn may_hold(self, c: char) -> bool {
        match self {
            // A domain name or an address, with or without a port; see `name`.
            Self::Host => c.is_ascii_alphanumeric() || "-.:[]".contains(c),
            Self::Tag => c.is_ascii_alphanumeric() || "_.-@".contains(c),
            Self::File => is_file_character(c),
            Self::Repository => false,
        }
    }
}

impl TargetPaths {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// [`TemplateError`], for the first rule that it breaks.
    pub fn parse(template: &str) -> Result<Self, TemplateError> {
        if template.len() > TEMPLATE_MAX {
            return Err(TemplateError::Long);
        }
        let all = || template.to_owned();
        let (before, parts) = split(template)?;
        for placeholder in Placeholder::ALL {
            let times = parts.iter().filter(|(other, _)| *other == placeholder).count();
            if times != 1 {
                return Err(TemplateError::Count { template: all(), placeholder: placeholder.as_str(), times });
            }
        }
        // The four, each with the text that follows it.
        let [(first, gap1), (second, gap2), (third, gap3), (fourth, after)] = parts.as_slice() else {
            return Err(TemplateError::Count { template: all(), placeholder: "{host}", times: 0 });
        };
        for text in [before, *gap1, *gap2, *gap3, *after] {
            if let Some(c) = text.chars().find(|c| !(*c == ' ' || c.is_ascii_graphic()) || "\\*?".contains(*c)) {
                return Err(TemplateError::Character { template: all(), found: c.to_string() });
            }
        }
        for (left, gap, right) in [(*first, *gap1, *second), (*second, *gap2, *third), (*third, *gap3, *fourth)] {
            let clash = match (gap.chars().next(), gap.chars().next_back()) {
                (Some(c), _) if left.may_hold(c) => left,
                (_, Some(c)) if right.may_hold(c) => right,
                (Some(_), Some(_)) => continue,
                _ => left,
            };
            let (before, after, clash) = (left.as_str(), right.as_str(), clash.as_str());
            return Err(TemplateError::Ambiguous { template: all(), before, after, clash, found: gap.to_string() });
        }
        // No value is empty, `.` or `..`, and braces are not either: what is wrong with a segment is wrong in the template already.
        if let Some(segment) = template.split('/').find(|segment| matches!(*segment, "" | "." | "..")) {
            return Err(TemplateError::Segment { template: all(), segment: segment.to_owned() });
        }
        let has_segment = template.split('/').any(|segment| segment == Placeholder::Repository.as_str());
        let part = |gap: &str, placeholder: &Placeholder| (gap.to_owned(), *placeholder);
        Ok(Self {
            template: all(),
            before: before.to_owned(),
            first: *first,
            rest: [part(gap1, second), part(gap2, third), part(gap3, fourth)],
            after: (*after).to_owned(),
            slash: if has_segment { '/' } else { FLAT },
        })
    }

    /// The target path of a file of an image.
    ///
    /// # Errors
    ///
    /// [`TemplateError::FileName`].
    pub fn path(&self, image: &ImageName, file: &str) -> Result<String, TemplateError> {
        if !is_file_name(file) {
            return Err(TemplateError::FileName(file.to_owned()));
        }
        let value = |placeholder| match placeholder {
            Placeholder::Host => image.host().to_owned(),
            Placeholder::Repository => image.repository().replace('/', &self.slash.to_string()),
            Placeholder::Tag => tag(image),
            Placeholder::File => file.to_owned(),
        };
        let mut path = format!("{}{}", self.before, value(self.first));
        for (gap, placeholder) in &self.rest {
            path.push_str(gap);
            path.push_str(&value(*placeholder));
        }
        path.push_str(&self.after);
        Ok(path)
    }

    /// The image and the file that a target path is of; `None` if this template does not make it. The reference has a tag or a digest, never both.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<(ImageName, String)> {
        let mut left = path.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        let mut values: Vec<(Placeholder, &str)> = Vec::new();
        // From the left up to the repository, then from the right down to it.
        let mut ahead = self.first;
        let mut rest = self.rest.iter();
        while ahead != Placeholder::Repository {
            let (gap, next) = rest.next()?;
            let (value, after) = left.split_once(gap.as_str())?;
            values.push((ahead, value));
            (left, ahead) = (after, *next);
        }
        for (gap, placeholder) in rest.rev() {
            let (before, value) = left.rsplit_once(gap.as_str())?;
            values.push((*placeholder, value));
            left = before;
        }
        let value = |of| values.iter().find(|(placeholder, _)| *placeholder == of).map(|(_, value)| *value);
        let (host, tag, file) = (value(Placeholder::Host)?, value(Placeholder::Tag)?, value(Placeholder::File)?);
        let repository = left.replace(self.slash, "/");
        let selector = match tag.strip_prefix(DIGEST) {
            Some(hex) => format!("@sha256:{}", Sha256::from_hex(hex)?.to_hex()),
            None => format!(":{tag}"),
        };
        let image = ImageName::parse(&format!("{host}/{repository}{selector}")).ok()?;
        // Whatever was filled in, folded or taken for something else on the way: it must lead back here.
        let is_same = self.path(&image, file).is_ok_and(|again| again == path);
        is_same.then(|| (image, file.to_owned()))
    }

    /// The file that a target path is of, if it is one of this image.
    #[must_use]
    pub fn file_of(&self, image: &ImageName, path: &str) -> Option<String> {
        let (_, file) = self.read(path)?;
        let is_of_image = self.path(image, &file).is_ok_and(|own| own == path);
        is_of_image.then_some(file)
    }
}

impl Default for TargetPaths {
    fn default() -> Self {
        let gap = |placeholder| ("/".to_owned(), placeholder);
        Self {
            template: DEFAULT.to_owned(),
            before: String::new(),
            first: Placeholder::Host,
            rest: [gap(Placeholder::Repository), gap(Placeholder::Tag), gap(Placeholder::File)],
            after: String::new(),
            slash: '/',
        }
    }
}

impl FromStr for TargetPaths {
    type Err = TemplateError;

    fn from_str(template: &str) -> Result<Self, TemplateError> {
        Self::parse(template)
    }
}

impl fmt::Display for TargetPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.template)
    }
}

/// The text before the first placeholder, and each placeholder with the text that follows it.
type Parts<'t> = (&'t str, Vec<(Placeholder, &'t str)>);

fn split(template: &str) -> Result<Parts<'_>, TemplateError> {
    let stray = |found: &str| TemplateError::Placeholder { template: template.to_owned(), found: found.to_owned() };
    let mut pieces = template.split('{');
    let before = pieces.next().unwrap_or_default();
    if before.contains('}') {
        return Err(stray("}"));
    }
    let mut parts = Vec::new();
    for piece in pieces {
        let (name, text) = piece.split_once('}').ok_or_else(|| stray(&format!("{{{piece}")))?;
        let named = format!("{{{name}}}");
        let found = Placeholder::ALL.into_iter().find(|placeholder| placeholder.as_str() == named);
        let placeholder = found.ok_or_else(|| stray(&named))?;
        if text.contains('}') {
            return Err(stray("}"));
        }
        parts.push((placeholder, text));
    }
    Ok((before, parts))
}

fn tag(image: &ImageName) -> String {
    match (image.digest(), image.tag()) {
        (Some(digest), _) => format!("{DIGEST}{}", digest.to_hex()),
        // A name has one or the other.
        (None, tag) => tag.unwrap_or_default().to_owned(),
    }
}

fn is_file_name(file: &str) -> bool {
    !matches!(file, "" | "." | "..") && file.len() <= FILE_MAX && file.chars().all(is_file_character)
}

fn is_file_character(c: char) -> bool {
    !matches!(c, '/' | '\\' | FLAT) && !c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_template_gives_these_paths() {
        let cases: &[(&str, &str, &str)] = &[
            (DEFAULT, "registry.example/team/app:1.4", "registry.example/team/app/1.4/manifest.json"),
            (DEFAULT, "alpine", "docker.io/library/alpine/latest/manifest.json"),
            ("{host}~{repository}~{tag}~{file}", "r.example/team/app:1", "r.example~team~app~1~manifest.json"),
            ("role/{host}~{repository}~{tag}~{file}", "r.example/a:1", "role/r.example~a~1~manifest.json"),
            ("role/{host}~{repository}~{tag}~{file}", "[::1]:5000/a/b:1", "role/[::1]:5000~a~b~1~manifest.json"),
            (
                "images/{repository}/of/{host}/{tag}/{file}.x",
                "h.io:80/a/b:1",
                "images/a/b/of/h.io:80/1/manifest.json.x",
            ),
            ("v-{repository}/{host}/{tag}/{file}", "h.io/a/b:1", "v-a~b/h.io/1/manifest.json"),
            ("{file}~{tag}~{repository}/{host}", "h.io/a/b:1", "manifest.json~1~a~b/h.io"),
        ];
        for (template, name, expected) in cases {
            let paths = TargetPaths::parse(template).unwrap();
            let name = ImageName::parse(name).unwrap();
            assert_eq!(paths.path(&name, "manifest.json").as_deref(), Ok(*expected), "{template} {name}");
            assert_eq!(paths.to_string(), *template);
        }
        assert_eq!(TargetPaths::parse(DEFAULT), Ok(TargetPaths::default()));
        let name = ImageName::parse(&format!("r.example/app:1@sha256:{HEX}")).unwrap();
        let flat = TargetPaths::parse("{host}~{repository}~{tag}~{file}").unwrap();
        assert_eq!(flat.path(&name, "x").unwrap(), format!("r.example~app~@sha256-{HEX}~x"));
        for name in ["alpine", "[::1]:5000/a/b:1", "Registry/x:Y", &format!("a@sha256:{HEX}")] {
            let name = ImageName::parse(name).unwrap();
            assert_eq!(TargetPaths::default().path(&name, "x").unwrap(), format!("{}x", name.target_folder()));
        }
    }

    #[test]
    fn a_template_that_is_ambiguous_or_no_path_is_refused() {
        // Each with its accepted twin, which differs in the one thing.
        let cases: &[(&str, &str, &str)] = &[
            ("{host}/{repository}/{tag}", "{host}/{repository}/{tag}/{file}", "expected {file} once, found it 0 times"),
            ("{repository}/{tag}/{file}", DEFAULT, "expected {host} once, found it 0 times"),
            ("{host}/{tag}/{file}", DEFAULT, "expected {repository} once, found it 0 times"),
            ("{host}/{repository}/{file}", DEFAULT, "expected {tag} once, found it 0 times"),
            ("{host}/{host}/{repository}/{tag}/{file}", DEFAULT, "expected {host} once, found it 2 times"),
            ("", DEFAULT, "expected {host} once, found it 0 times"),
            ("{host}/{repository}/{tag}/{File}", DEFAULT, "found \"{File}\""),
            ("{host}/{repository}/{tag}/{file", DEFAULT, "found \"{file\""),
            ("{host}/{repository}/{tag}/{file}}", DEFAULT, "found \"}\""),
            ("}{host}/{repository}/{tag}/{file}", DEFAULT, "found \"}\""),
            ("{{host}}/{repository}/{tag}/{file}", DEFAULT, "found \"{\""),
            ("{host}{repository}/{tag}/{file}", DEFAULT, "between {host} and {repository}"),
            ("{host}/{repository}{tag}/{file}", DEFAULT, "between {repository} and {tag}"),
            ("{host}/{repository}/{tag}{file}", DEFAULT, "between {tag} and {file}"),
            ("{host}-{repository}/{tag}/{file}", "{host}_{repository}/{tag}/{file}", "cannot be a part of {host}"),
            ("{host}:{repository}/{tag}/{file}", "{host}~{repository}/{tag}/{file}", "cannot be a part of {host}"),
            ("{host}/{repository}-{tag}/{file}", "{host}/{repository}:{tag}/{file}", "cannot be a part of {tag}"),
            ("{host}/{repository}_{tag}/{file}", "{host}/{repository}~{tag}/{file}", "cannot be a part of {tag}"),
            ("{host}/{repository}@{tag}/{file}", "{host}/{repository}~{tag}/{file}", "cannot be a part of {tag}"),
            ("{host}/{repository}~x{tag}/{file}", "{host}/{repository}~x~{tag}/{file}", "cannot be a part of {tag}"),
            ("{host}/{repository}/{tag}:{file}", "{host}/{repository}/{tag}~{file}", "cannot be a part of {file}"),
            ("{host}/{repository}/{tag} {file}", "{host}/{repository}/{tag}~{file}", "cannot be a part of {file}"),
            ("{host}/{tag}.{repository}/{file}", "{host}/{tag}:{repository}/{file}", "cannot be a part of {tag}"),
            ("/{host}/{repository}/{tag}/{file}", "x/{host}/{repository}/{tag}/{file}", "the segment \"\""),
            ("{host}/{repository}/{tag}/{file}/", "{host}/{repository}/{tag}/{file}/x", "the segment \"\""),
            ("{host}//{repository}/{tag}/{file}", DEFAULT, "the segment \"\""),
            ("./{host}/{repository}/{tag}/{file}", ".x/{host}/{repository}/{tag}/{file}", "the segment \".\""),
            ("../{host}/{repository}/{tag}/{file}", "...x/{host}/{repository}/{tag}/{file}", "the segment \"..\""),
            ("{host}/../{repository}/{tag}/{file}", DEFAULT, "the segment \"..\""),
            ("{host}/{repository}/{tag}/{file}/..", "{host}/{repository}/{tag}/{file}/...", "the segment \"..\""),
            ("a\\{host}/{repository}/{tag}/{file}", "a{host}/{repository}/{tag}/{file}", "found \"\\\\\""),
            ("{host}/{repository}/{tag}/{file}\0", DEFAULT, "found \"\\u{0}\""),
            ("é/{host}/{repository}/{tag}/{file}", DEFAULT, "found \"é\""),
            ("*/{host}/{repository}/{tag}/{file}", DEFAULT, "found \"*\""),
        ];
        for (refused, accepted, why) in cases {
            let error = TargetPaths::parse(refused).unwrap_err();
            assert!(error.to_string().contains(why), "{refused}: {error}");
            assert!(TargetPaths::parse(accepted).is_ok(), "{accepted}");
        }
        let long = format!("{}{DEFAULT}", "x/".repeat(500));
        assert_eq!(TargetPaths::parse(&long), Err(TemplateError::Long));
        assert!(TargetPaths::parse(&long[10..]).is_ok());
    }

    #[test]
    fn a_file_that_could_be_taken_for_something_else_has_no_path() {
        let paths = TargetPaths::default();
        let name = ImageName::parse("alpine").unwrap();
        for file in ["", ".", "..", "a/b", "a\\b", "a~b", "a\0", "a\n", "\u{9b}", &"a".repeat(191)] {
            assert_eq!(paths.path(&name, file), Err(TemplateError::FileName(file.to_owned())), "{file:?}");
        }
        for file in ["...", ".a", "a:b", "ü", "manifest.linux-arm64-v8.json", "a b", &"a".repeat(190)] {
            assert!(paths.path(&name, file).is_ok(), "{file:?}");
        }
    }

    /// Names whose parts look like each other's, like separators and like digests.
    fn nasty_names() -> Vec<ImageName> {
        let hosts =
            ["docker.io", "a.b", "a.b:1", "[::1]", "[::1]:1", "localhost", "A", "A.b", "library.x", "1.4", "a-b.c"];
        let repositories = [
            "a",
            "a/b",
            "a/b/c",
            "b/c",
            "a.b",
            "a_b",
            "a__b",
            "a-b",
            "a--b",
            "1.4/a",
            "a/1.4",
            "1/manifest.json",
            "x/1",
        ];
        let digests = [HEX, &HEX.replace('b', "c")];
        let tags = ["1", "1.4", "a", "a-b", "_", "sha256-x", "manifest.json", "x", "b", "a.b"];
        let selectors = tags.iter().map(|tag| format!(":{tag}")).chain(digests.map(|hex| format!("@sha256:{hex}")));
        let selectors: Vec<String> = selectors.chain([format!(":sha256-{HEX}")]).collect();
        let mut names = Vec::new();
        for host in hosts {
            for repository in repositories {
                for selector in &selectors {
                    names.push(ImageName::parse(&format!("{host}/{repository}{selector}")).unwrap());
                }
            }
        }
        // `docker.io/a` is `docker.io/library/a`.
        names.sort();
        names.dedup();
        names
    }

    #[test]
    fn no_two_files_of_images_share_a_path_and_the_way_back_gives_what_went_in() {
        let orders = [[0, 1, 2, 3], [1, 0, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1], [0, 2, 3, 1], [1, 3, 2, 0], [0, 3, 1, 2]];
        let gaps = ["/", "~", "~~", "/a.b/", "~/", "~1~", "/~~/"];
        let ends = [("", ""), ("role/", ""), ("x.", ".y"), ("~", "~"), ("a/b~", "~c/d")];
        let names = nasty_names();
        let files = ["manifest.json", "manifest.linux-arm-v7.json", "1", "a:b@c", "...", "@sha256-x", "é"];
        let mut tried = 0;
        for (i, order) in orders.iter().enumerate() {
            for (j, (before, after)) in ends.iter().enumerate() {
                let [a, b, c, d] = order.map(|n| Placeholder::ALL[n].as_str());
                let gap = |n: usize| gaps[(i * 3 + j * 5 + n) % gaps.len()];
                let template = format!("{before}{a}{}{b}{}{c}{}{d}{after}", gap(0), gap(1), gap(2));
                let paths = TargetPaths::parse(&template).unwrap();
                let mut seen = BTreeMap::new();
                for name in &names {
                    for file in files {
                        let path = paths.path(name, file).unwrap();
                        let parts: Vec<&str> = path.split('/').collect();
                        assert!(!parts.iter().any(|part| matches!(*part, "" | "." | "..")), "{template}: {path}");
                        assert_eq!(paths.read(&path), Some((name.clone(), file.to_owned())), "{template}: {path}");
                        assert_eq!(paths.file_of(name, &path).as_deref(), Some(file));
                        let other = seen.insert(path.clone(), (name, file));
                        assert_eq!(other, None, "{template}: {path} is also of {name} {file}");
                        tried += 1;
                    }
                }
            }
        }
        assert!(tried > 300_000, "{tried}");
    }

    #[test]
    fn what_the_template_does_not_make_is_not_read() {
        let default = TargetPaths::default();
        let flat = TargetPaths::parse("role/{host}~{repository}~{tag}~{file}").unwrap();
        let hex = HEX.to_uppercase();
        for path in [
            "docker.io/library/alpine/manifest.json",
            "docker.io/alpine/latest/manifest.json",
            "index.docker.io/library/alpine/latest/manifest.json",
            "nohost/alpine/latest/manifest.json",
            "docker.io/library/alpine/latest/",
            "docker.io/library/Alpine/latest/x",
            "docker.io/library//latest/x",
            "docker.io/library/alpine/la@test/x",
            "docker.io/library/alpine:1/latest/x",
            "docker.io/library/alpine@sha256/latest/x",
            "docker.io/library/alpine/@sha256-12/x",
            "docker.io/library/alpine/latest/a~b",
            "",
            "/",
            &format!("docker.io/library/alpine/@sha256-{hex}/x"),
            &format!("docker.io/library/alpine/sha256:{HEX}/x"),
        ] {
            assert_eq!(default.read(path), None, "{path}");
        }
        for path in ["role/a.b~a~1", "a.b~a~1~x", "role/a.b~a/b~1~x", "role/a.b~~1~x", "role/a.b~a~~x", "role/", "role"]
        {
            assert_eq!(flat.read(path), None, "{path}");
        }
        let alpine = ImageName::parse("alpine").unwrap();
        assert_eq!(default.file_of(&alpine, "docker.io/library/alpine/3/x"), None);
        // A tag beside a digest has no part in the path, and is not read back.
        let both = ImageName::parse(&format!("alpine:3@sha256:{HEX}")).unwrap();
        let path = default.path(&both, "x").unwrap();
        assert_eq!(default.file_of(&both, &path).as_deref(), Some("x"));
        assert_eq!(
            default.read(&path),
            Some((ImageName::parse(&format!("alpine@sha256:{HEX}")).unwrap(), "x".to_owned()))
        );
    }
}
