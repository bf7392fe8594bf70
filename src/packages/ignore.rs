//! Files that nobody lists and that are no finding: what package managers and the system write for themselves, and what an operator names.
//!
//! Whoever can put a file into an image can put it where it is ignored, so nothing is ignored that could be run: no file with an execute bit, setuid or setgid,
//! none that starts as a program or a script does. The maintainer scripts of dpkg are the one exception, for dpkg keeps them where it keeps all else. Nor is what a link from
//! elsewhere leads to: there it may be a module, a profile or whatever else needs no execute bit.
//! What is listed is never ignored, and what is ignored is counted.

use std::fmt;

use crate::text::quoted;

/// Where package managers and the system keep what they write themselves.
const FOLDERS: &[&str] = &[
    "var/lib/dpkg/",
    "var/lib/apt/",
    "var/lib/rpm/",
    "var/lib/pam/",
    "var/lib/systemd/",
    "usr/lib/sysimage/rpm/",
    "lib/apk/",
    "usr/lib/apk/",
    "etc/apk/",
    "var/cache/",
    "var/log/",
];

/// What container engines and the system write at each start.
const FILES: &[&str] = &[
    "etc/ld.so.cache",
    "etc/machine-id",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/mtab",
    "etc/.pwd.lock",
    ".dockerenv",
];

const SCRIPTS: &str = "var/lib/dpkg/info/";
/// What dpkg runs [deb-preinst(5), deb-postinst(5), deb-prerm(5), deb-postrm(5), deb-config of debconf].
const SCRIPT_NAMES: &[&str] = &["preinst", "postinst", "prerm", "postrm", "config"];

/// What of a file decides whether it may be ignored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Permissions, with setuid, setgid and the sticky bit.
    pub(crate) mode: u32,
    /// Whether it starts as an ELF program or a script does.
    pub(crate) is_program: bool,
    /// Whether a link from where nothing is ignored leads to it.
    pub(crate) is_linked: bool,
}

/// The class by which a file that nobody lists is ignored: a folder, a file, or what the operator named.
pub(crate) fn class(path: &[u8], look: Look, globs: &[Glob]) -> Option<String> {
    if let Some(glob) = globs.iter().find(|glob| glob.matches(path)) {
        return Some(glob.to_string());
    }
    let is_quiet = look.mode & 0o6111 == 0 && !look.is_program;
    if !look.is_linked && (is_quiet || is_maintainer_script(path, look)) {
        let folder = FOLDERS.iter().find(|folder| path.starts_with(folder.as_bytes()));
        let file = FILES.iter().find(|file| path == file.as_bytes());
        return folder.or(file).map(|class| (*class).to_owned());
    }
    None
}

/// Whether what is at a path, or below it, may be ignored by a class.
pub(crate) fn is_inside(path: &[u8]) -> bool {
    let whole = [path, b"/"].concat();
    FOLDERS.iter().any(|folder| whole.starts_with(folder.as_bytes()))
        || FILES.iter().any(|file| path == file.as_bytes())
}

/// The same of only a part of what is below it.
pub(crate) fn is_above(path: &[u8]) -> bool {
    let whole = [path, b"/"].concat();
    path.is_empty() || FOLDERS.iter().chain(FILES).any(|class| class.as_bytes().starts_with(&whole))
}

fn is_maintainer_script(path: &[u8], look: Look) -> bool {
    let Some(name) = path.strip_prefix(SCRIPTS.as_bytes()) else { return false };
    let ending = name.iter().rposition(|b| *b == b'.').and_then(|at| name.get(at.saturating_add(1)..));
    let is_script = ending.is_some_and(|ending| SCRIPT_NAMES.iter().any(|known| known.as_bytes() == ending));
    is_script && !name.contains(&b'/') && look.mode & 0o6000 == 0
}

/// Which files an operator wants ignored where nobody lists them: a path below the image's root, in which `*` stands for anything within a name, `?` for one
/// byte of it, and `**` as a whole part for any number of folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<String>);

impl Glob {
    /// Reads a pattern. A `/` at its front changes nothing; one at its end stands for all that is below.
    ///
    /// # Errors
    ///
    /// Says in words what is wrong: nothing there, a `.` or `..` part, `**` beside something else, a bracket or backslash (which do not stand for anything here).
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("{why} in the pattern {}", quoted(text)));
        let trimmed = text.strip_prefix('/').unwrap_or(text);
        let whole = if trimmed.ends_with('/') { format!("{trimmed}**") } else { trimmed.to_owned() };
        let parts: Vec<String> = whole.split('/').map(str::to_owned).collect();
        for part in &parts {
            match part.as_str() {
                "" => return wrong("an empty part"),
                "." | ".." => return wrong("a part that is no name"),
                "**" => {}
                part if part.contains("**") => return wrong("** beside something else"),
                part if part.contains(['[', ']', '{', '}', '\\', '\0']) => {
                    return wrong("a bracket, brace or backslash, which mean nothing here,");
                }
                _ => {}
            }
        }
        Ok(Self(parts))
    }

    fn matches(&self, path: &[u8]) -> bool {
        let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
        // Which parts of the pattern may come next, as each part of the path passes: linear in both, whatever the pattern.
        let mut next = vec![false; self.0.len().saturating_add(1)];
        self.reach(&mut next, 0);
        for part in parts {
            let mut after = vec![false; next.len()];
            for (at, pattern) in self.0.iter().enumerate().filter(|(at, _)| next.get(*at) == Some(&true)) {
                if pattern == "**" {
                    self.reach(&mut after, at);
                } else if is_like(pattern.as_bytes(), part) {
                    self.reach(&mut after, at.saturating_add(1));
                }
            }
            next = after;
        }
        next.last() == Some(&true)
    }

    /// Marks a place of the pattern, and those after it that a `**` lets be left out.
    fn reach(&self, places: &mut [bool], at: usize) {
        for (i, place) in places.iter_mut().enumerate().skip(at) {
            *place = true;
            if self.0.get(i).is_none_or(|part| part != "**") {
                break;
            }
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

/// Whether a name is like a pattern of one part.
fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    let mut states = vec![false; pattern.len().saturating_add(1)];
    let reach = |states: &mut [bool], at: usize| {
        for (i, state) in states.iter_mut().enumerate().skip(at) {
            *state = true;
            if pattern.get(i) != Some(&b'*') {
                break;
            }
        }
    };
    reach(&mut states, 0);
    for byte in name {
        let mut after = vec![false; states.len()];
        for (at, wanted) in pattern.iter().enumerate().filter(|(at, _)| states.get(*at) == Some(&true)) {
            match wanted {
                b'*' => reach(&mut after, at),
                b'?' => reach(&mut after, at.saturating_add(1)),
                wanted if wanted == byte => reach(&mut after, at.saturating_add(1)),
                _ => {}
            }
        }
        states = after;
    }
    states.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Look = Look { mode: 0o644, is_program: false, is_linked: false };

    #[test]
    fn what_could_be_run_is_not_ignored() {
        let (runs, script) = (
            Look { mode: 0o755, is_program: false, is_linked: false },
            Look { mode: 0o755, is_program: true, is_linked: false },
        );
        for (path, look, expected) in [
            ("var/lib/dpkg/status", QUIET, Some("var/lib/dpkg/")),
            ("var/lib/dpkg/status", runs, None),
            ("var/lib/dpkg/status", Look { mode: 0o644, is_program: true, is_linked: false }, None),
            ("var/lib/dpkg/status", Look { mode: 0o4644, is_program: false, is_linked: false }, None),
            ("var/lib/dpkg/status", Look { mode: 0o2644, is_program: false, is_linked: false }, None),
            ("var/lib/dpkg/status", Look { mode: 0o645, is_program: false, is_linked: false }, None),
            ("var/lib/dpkg/status", Look { mode: 0o1644, is_program: false, is_linked: false }, Some("var/lib/dpkg/")),
            ("var/lib/dpkg/info/a.postinst", script, Some("var/lib/dpkg/")),
            ("var/lib/dpkg/info/a:amd64.config", script, Some("var/lib/dpkg/")),
            ("var/lib/dpkg/info/a.postinst", Look { mode: 0o4755, is_program: true, is_linked: false }, None),
            ("var/lib/dpkg/info/a.post", script, None),
            ("var/lib/dpkg/info/postinst", script, None),
            ("var/lib/dpkg/info/x/a.postinst", script, None),
            ("var/lib/dpkg/a.postinst", script, None),
            ("var/lib/dpkgs/x", QUIET, None),
            ("etc/resolv.conf", QUIET, Some("etc/resolv.conf")),
            ("etc/resolv.conf.d/x", QUIET, None),
            ("etc/passwd", QUIET, None),
            ("x/etc/hosts", QUIET, None),
            ("root/.bashrc", QUIET, None),
            ("usr/lib/python3/x.pyc", QUIET, None),
            (".dockerenv", QUIET, Some(".dockerenv")),
            (".dockerenv", Look { is_linked: true, ..QUIET }, None),
            ("var/lib/dpkg/status", Look { is_linked: true, ..QUIET }, None),
            ("var/lib/dpkg/info/a.postinst", Look { is_linked: true, ..script }, None),
        ] {
            assert_eq!(class(path.as_bytes(), look, &[]).as_deref(), expected, "{path} {look:?}");
        }
    }

    #[test]
    fn patterns_match_as_shells_do() {
        for (pattern, path, expected) in [
            ("a/b", "a/b", true),
            ("/a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/", "a/b/c", true),
            ("a/", "a", true),
            ("a/*", "a/b", true),
            ("a/*", "a/b/c", false),
            ("a/**", "a/b/c", true),
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("**/x", "a/b/xy", false),
            ("a/**/x", "a/x", true),
            ("a/**/x", "b/x", false),
            ("**/*.pyc", "usr/lib/a.b.pyc", true),
            ("**/*.pyc", "usr/lib/a.pyc/b", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("a?c", "ac", false),
            ("*", "a", true),
            ("*a*b*", "xaxbx", true),
            ("*a*b*", "xbxax", false),
            ("**", "a/b", true),
        ] {
            assert_eq!(Glob::parse(pattern).unwrap().matches(path.as_bytes()), expected, "{pattern} {path}");
        }
        for wrong in ["", "/", "a//b", "a/../b", ".", "a**", "[a]", "{a,b}", "a\\*", "//a"] {
            assert!(Glob::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = Glob::parse(&"*a".repeat(200)).unwrap();
        assert!(!pattern.matches("a".repeat(199).as_bytes()));
        let pattern = Glob::parse(&format!("{}x", "**/".repeat(200))).unwrap();
        assert!(!pattern.matches("a/".repeat(200).as_bytes()));
    }

    #[test]
    fn what_an_operator_names_is_ignored_whatever_it_is() {
        let globs = [Glob::parse("usr/local/**").unwrap()];
        let look = Look { mode: 0o4755, is_program: true, is_linked: false };
        assert_eq!(class(b"usr/local/bin/x", look, &globs).as_deref(), Some("usr/local/**"));
        assert_eq!(class(b"usr/bin/x", look, &globs), None);
    }
}
