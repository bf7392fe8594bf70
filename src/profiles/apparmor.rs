//! AppArmor profiles: a check of their syntax, the names that loading them would take, and what a container's profile may not hold.
//!
//! `apparmor_parser` has the last word on syntax; this one is for machines that have none, and for what that tool is right to accept on a host and a fetched profile must not
//! have:
//! - a name that is a path, or an attachment: the profile would confine programs of the host;
//! - a name that engines and hosts use for their own;
//! - flags that do not confine, and rules that lead out of confinement: `change_profile`, running a program unconfined or under a profile of the host;
//! - rules that Docker's own profile denies or has not: mounts, changes of policy, tracing of others, all files of includes beyond the abstractions.
//!
//! What paths a profile allows is not compared with Docker's own. The container's other walls stand: its namespaces, capabilities, and the masks over `/proc` and `/sys`.

use super::PROFILE_MAX;
use super::error::{Code, Refusal};
use crate::text::quoted;

/// Blocks within blocks: profile, child, qualifier.
const DEPTH_MAX: usize = 4;
const STATEMENTS_MAX: usize = 65_536;
const WORD_MAX: usize = 4096;

/// Names that engines, and what else runs containers, give their profiles.
const TAKEN: [&str; 6] = [
    "docker-default",
    "unconfined",
    "crio-default",
    "cri-containerd.apparmor.d",
    "nerdctl-default",
    "buildkit-default",
];
const TAKEN_PREFIXES: [&str; 8] =
    ["containers-default", "lxc", "libvirt", "snap", "lxd", "kubelet", "docker-", "podman"];

/// Words that a rule may start with.
const RULES: [&str; 10] =
    ["capability", "network", "signal", "ptrace", "unix", "file", "link", "umount", "set", "audit"];
/// Rules that Docker's profile has not, or denies; here they may only deny.
const ONLY_DENIED: [&str; 12] = [
    "mount",
    "remount",
    "pivot_root",
    "dbus",
    "change_profile",
    "userns",
    "io_uring",
    "mqueue",
    "all",
    "rlimit",
    "change_hat",
    "alias",
];

/// A file of profiles, each of which confines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppArmorProfiles {
    /// The names of the profiles at the top, in their order.
    names: Vec<String>,
}

impl AppArmorProfiles {
    /// Reads a file of profiles; `complaining`: whether they may only complain.
    ///
    /// # Errors
    ///
    /// [`Code::Malformed`], [`Code::Unconfined`], [`Code::NameTaken`], [`Code::Include`], [`Code::WidensHost`], [`Code::Loosens`].
    pub fn parse(bytes: &[u8], complaining: bool) -> Result<Self, Refusal> {
        if bytes.len() > PROFILE_MAX {
            return Err(Refusal::malformed("", format!("longer than {PROFILE_MAX} bytes")));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Refusal::malformed("", "not UTF-8"))?;
        if let Some(c) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
            return Err(Refusal::malformed("", "a control character").found(quoted(&c.to_string())));
        }
        let mut reader =
            Reader { statements: statements(text)?.into_iter().peekable(), complaining, names: Vec::new() };
        reader.file()?;
        if reader.names.is_empty() {
            return Err(Refusal::malformed("", "there is no profile in it"));
        }
        Ok(Self { names: reader.names })
    }

    /// The names that loading the file takes; those of children begin with their parent's.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The profile for a container: the one that was asked for, or the only one.
    ///
    /// # Errors
    ///
    /// [`Code::Contradictory`] if it is not there, or nothing says which of several it is.
    pub fn chosen(&self, asked: Option<&str>) -> Result<String, Refusal> {
        match (asked, self.names.as_slice()) {
            (None, [one]) => Ok(one.clone()),
            (None, several) => {
                Err(Refusal::new(Code::Contradictory, "", "several profiles, and run.json does not say which")
                    .expected("its name as \"apparmor\"")
                    .found(several.join(", ")))
            }
            (Some(name), all) if all.iter().any(|other| other == name) => Ok(name.to_owned()),
            (Some(name), all) => {
                Err(Refusal::new(Code::Contradictory, "", "the profile that run.json names is not in it")
                    .expected(quoted(name))
                    .found(all.join(", ")))
            }
        }
    }
}

/// How a statement ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Comma,
    Open,
    /// The `}` that ends a block; it has no words.
    Close,
    /// The line: includes and variables.
    Line,
}

#[derive(Debug)]
struct Statement {
    line: usize,
    words: Vec<String>,
    end: End,
}

/// The statements of a file, in order. Words are as they stand there, quotes and all.
fn statements(text: &str) -> Result<Vec<Statement>, Refusal> {
    let mut all: Vec<Statement> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut started = 0;
    for (number, line) in (1_usize..).zip(text.lines()) {
        let mut rest = line.trim();
        if words.is_empty() {
            started = number;
            // The old spelling is a comment to the eye only.
            let include = rest.strip_prefix('#').map(str::trim_start).filter(|rest| rest.starts_with("include"));
            rest = include.unwrap_or(rest);
            if is_whole_line(rest) {
                let mut words = Vec::new();
                while let Some((word, after)) = next_word(rest, number)? {
                    words.push(word);
                    rest = after;
                }
                push(&mut all, Statement { line: number, words, end: End::Line })?;
                continue;
            }
        }
        while let Some((mut word, after)) = next_word(rest, number)? {
            rest = after;
            if words.is_empty() {
                started = number;
            }
            let end = match word.as_str() {
                "{" => Some(End::Open),
                "}" => Some(End::Close),
                _ if word.ends_with(',') => {
                    word.pop();
                    if !word.is_empty() {
                        words.push(word);
                    }
                    Some(End::Comma)
                }
                _ => {
                    words.push(word);
                    None
                }
            };
            if let Some(end) = end {
                if (end == End::Close) != words.is_empty() {
                    return Err(at_line(number, "a rule without its end, or an end without a rule"));
                }
                push(&mut all, Statement { line: started, words: std::mem::take(&mut words), end })?;
            }
        }
    }
    if words.is_empty() { Ok(all) } else { Err(at_line(started, "a rule without its end").expected("a comma")) }
}

fn is_whole_line(line: &str) -> bool {
    let is_include = line.strip_prefix("include").is_some_and(|rest| rest.starts_with([' ', '\t', '<', '"']));
    is_include || line.starts_with("@{") && line.contains('=') && !line.trim_end().ends_with(',')
}

fn push(all: &mut Vec<Statement>, statement: Statement) -> Result<(), Refusal> {
    if all.len() >= STATEMENTS_MAX {
        return Err(Refusal::malformed("", format!("more than {STATEMENTS_MAX} rules")));
    }
    all.push(statement);
    Ok(())
}

/// The next word of a line, and what follows it. A word ends at white space that is not within quotes, brackets or braces; one in parentheses goes up to the last of them.
fn next_word(line: &str, number: usize) -> Result<Option<(String, &str)>, Refusal> {
    let line = line.trim_start();
    // The parser takes the old spelling of an include for one behind a rule and within one, too.
    if line.strip_prefix('#').is_some_and(|comment| comment.trim_start().starts_with("include")) {
        return Err(Refusal::new(Code::Include, format!("line {number}"), "an include that looks like a comment")
            .expected("a line of its own, outside rules"));
    }
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    for brace in ["{", "}"] {
        if let Some(rest) = line.strip_prefix(brace)
            && (brace == "}" || rest.is_empty() || rest.starts_with(char::is_whitespace))
        {
            return Ok(Some((brace.to_owned(), rest)));
        }
    }
    let (mut open, mut is_quoted, mut is_escaped) = (Vec::new(), false, false);
    for (at, c) in line.char_indices() {
        if at > WORD_MAX {
            return Err(at_line(number, "a word of far too many letters"));
        }
        if is_escaped {
            is_escaped = false;
            continue;
        }
        match c {
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '{' => open.push('}'),
            '[' => open.push(']'),
            '(' => open.push(')'),
            '}' | ']' | ')' if open.pop() != Some(c) => {
                return Err(at_line(number, "brackets that do not match").found(quoted(line)));
            }
            ',' if open.is_empty() => {
                let (word, rest) = line.split_at_checked(at.saturating_add(1)).unwrap_or((line, ""));
                return Ok(Some((word.to_owned(), rest)));
            }
            c if open.is_empty() && c.is_whitespace() => {
                let (word, rest) = line.split_at_checked(at).unwrap_or((line, ""));
                return Ok(Some((word.to_owned(), rest)));
            }
            _ => {}
        }
        if open.len() > 16 {
            return Err(at_line(number, "brackets within brackets, far too deep"));
        }
    }
    if is_quoted || is_escaped || !open.is_empty() {
        return Err(at_line(number, "a quote or bracket without its end").found(quoted(line)));
    }
    Ok(Some((line.to_owned(), "")))
}

fn at_line(line: usize, message: &str) -> Refusal {
    Refusal::malformed(format!("line {line}"), message)
}

fn refused(code: Code, statement: &Statement, message: &str) -> Refusal {
    Refusal::new(code, format!("line {}", statement.line), message).found(quoted(&statement.words.join(" ")))
}

struct Reader {
    statements: std::iter::Peekable<std::vec::IntoIter<Statement>>,
    complaining: bool,
    names: Vec<String>,
}

impl Reader {
    fn file(&mut self) -> Result<(), Refusal> {
        while let Some(statement) = self.statements.next() {
            let first = statement.words.first().map(String::as_str).unwrap_or_default();
            match statement.end {
                End::Line => line(&statement, true)?,
                End::Comma if first == "abi" => abi(&statement)?,
                End::Open => {
                    let name = self.header(&statement, None)?;
                    if self.names.contains(&name) {
                        return Err(refused(Code::Contradictory, &statement, "a second profile of this name"));
                    }
                    self.names.push(name.clone());
                    self.body(&name, 1)?;
                }
                End::Comma | End::Close => {
                    return Err(refused(Code::Malformed, &statement, "a rule outside all profiles"));
                }
            }
        }
        Ok(())
    }

    /// The name of a profile, of its first line.
    fn header(&self, statement: &Statement, parent: Option<&str>) -> Result<String, Refusal> {
        let mut words = statement.words.iter().map(String::as_str);
        let first = words.next().unwrap_or_default();
        let (name, mut rest): (&str, Vec<&str>) = match (first, parent) {
            ("profile", _) => (words.next().unwrap_or_default(), words.collect()),
            ("hat", Some(_)) => (words.next().unwrap_or_default(), words.collect()),
            (hat, Some(_)) if hat.starts_with('^') => (hat.trim_start_matches('^'), words.collect()),
            (first, None) if first.starts_with(['/', '@', '"', '{', '*']) => {
                return Err(refused(Code::WidensHost, statement, "it would confine a program of the host")
                    .expected("profile NAME {"));
            }
            _ => {
                return Err(refused(Code::Malformed, statement, "not the head of a profile").expected("profile NAME {"));
            }
        };
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        let is_plain = (1..=128).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !is_plain {
            let is_of_host = name.starts_with(['/', '@', ':']);
            let code = if is_of_host && parent.is_none() { Code::WidensHost } else { Code::Malformed };
            // A child is attached by its name, within its parent.
            if parent.is_none() || !name.starts_with('/') {
                return Err(refused(code, statement, "not a name for a container's profile")
                    .expected("letters, digits and ._- alone"));
            }
        }
        if parent.is_none() && (TAKEN.contains(&name) || TAKEN_PREFIXES.iter().any(|taken| name.starts_with(taken))) {
            return Err(refused(Code::NameTaken, statement, "engines and hosts have profiles of this name"));
        }
        if let Some(attachment) = rest.first().filter(|word| !word.starts_with('(') && !word.contains('=')) {
            if parent.is_none() {
                return Err(refused(Code::WidensHost, statement, "it would confine a program of the host")
                    .found(quoted(attachment)));
            }
            rest.remove(0);
        }
        for word in rest {
            let flags = word.strip_prefix("flags=").unwrap_or(word);
            let flags = flags.strip_prefix('(').and_then(|flags| flags.strip_suffix(')'));
            let flags =
                flags.ok_or_else(|| refused(Code::Malformed, statement, "not flags").expected("flags=(...)"))?;
            for flag in flags.split([',', ' ', '\t']).filter(|flag| !flag.is_empty()) {
                match flag {
                    "attach_disconnected" | "mediate_deleted" | "enforce" | "kill" | "audit" => {}
                    "complain" if self.complaining => {}
                    "complain" | "unconfined" | "prompt" | "default_allow" => {
                        return Err(refused(Code::Unconfined, statement, "a flag with which it confines nothing"));
                    }
                    _ => return Err(refused(Code::Unknown, statement, "an unknown flag")),
                }
            }
        }
        Ok(parent.map_or_else(|| name.to_owned(), |parent| format!("{parent}//{name}")))
    }

    fn body(&mut self, name: &str, depth: usize) -> Result<(), Refusal> {
        if depth > DEPTH_MAX {
            return Err(Refusal::malformed("", format!("blocks nested deeper than {DEPTH_MAX} levels")));
        }
        while let Some(statement) = self.statements.next() {
            let first = statement.words.first().map(String::as_str).unwrap_or_default();
            match statement.end {
                End::Close => return Ok(()),
                End::Line => line(&statement, false)?,
                End::Open if matches!(first, "profile" | "hat") || first.starts_with('^') => {
                    let child = self.header(&statement, Some(name))?;
                    self.body(&child, depth.saturating_add(1))?;
                }
                // `deny { ... }`, `if ... { ... }`: seldom used, and what they mean depends on the parser's version.
                End::Open => return Err(refused(Code::Malformed, &statement, "a block that is no profile")),
                End::Comma => rule(&statement)?,
            }
        }
        Err(Refusal::malformed("", format!("the profile {} has no end", quoted(name))))
    }
}

/// `abi <abi/3.0>,`
fn abi(statement: &Statement) -> Result<(), Refusal> {
    let is_shared = |word: &String| {
        let path = word.strip_prefix('<').and_then(|word| word.strip_suffix('>'));
        path.is_some_and(|path| path.strip_prefix("abi/").is_some_and(is_plain_path))
    };
    match statement.words.as_slice() {
        [_, word] if is_shared(word) => Ok(()),
        _ => Err(refused(Code::Include, statement, "not one of the shared files").expected("abi <abi/...>,")),
    }
}

/// An include, or a variable.
fn line(statement: &Statement, at_top: bool) -> Result<(), Refusal> {
    let words: Vec<&str> = statement.words.iter().map(String::as_str).collect();
    let first = words.first().copied().unwrap_or_default();
    if first.starts_with("@{") {
        return if at_top { Ok(()) } else { Err(refused(Code::Malformed, statement, "a variable within a profile")) };
    }
    // Also `include<abstractions/base>` and `include if exists <...>`.
    let path = match words.as_slice() {
        [one] => one.strip_prefix("include").unwrap_or_default(),
        ["include", path] | ["include", "if", "exists", path] => path,
        _ => return Err(refused(Code::Malformed, statement, "not an include")),
    };
    let shared = path.strip_prefix('<').and_then(|path| path.strip_suffix('>'));
    let folder = if at_top { "tunables/" } else { "abstractions/" };
    let is_shared = shared.and_then(|path| path.strip_prefix(folder)).is_some_and(is_plain_path);
    // What these let a program do is for a desktop: to leave its confinement for a helper, to speak to the session.
    let is_loose =
        shared.is_some_and(|path| path.contains("ubuntu-") || path.contains("exo-open") || path.contains("xdg-open"));
    if is_shared && !is_loose {
        return Ok(());
    }
    Err(refused(Code::Include, statement, "not one of the shared files").expected(format!("include <{folder}...>")))
}

fn is_plain_path(path: &str) -> bool {
    path.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b))
        && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

fn rule(statement: &Statement) -> Result<(), Refusal> {
    let mut words: Vec<&str> = statement.words.iter().map(String::as_str).collect();
    let mut denies = false;
    while let Some(qualifier) =
        words.first().filter(|w| matches!(**w, "audit" | "quiet" | "allow" | "deny" | "owner" | "other"))
    {
        denies |= *qualifier == "deny";
        words.remove(0);
    }
    let Some(first) = words.first().copied() else {
        return Err(refused(Code::Malformed, statement, "a rule of qualifiers alone"));
    };
    if ONLY_DENIED.contains(&first) {
        return if denies {
            Ok(())
        } else {
            Err(refused(Code::Loosens, statement, "Docker's own profile has no such rule"))
        };
    }
    if first.starts_with(['/', '"', '@']) || is_permissions(first) {
        return file(statement, &words, denies);
    }
    match first {
        "file" if words.len() > 1 => file(statement, words.get(1..).unwrap_or_default(), denies),
        // Tracing is for processes of the same container alone.
        "ptrace" if !denies => {
            let own = |word: &&&str| matches!(**word, "peer=@{profile_name}" | "peer=(label=@{profile_name})");
            match words.iter().find(own) {
                Some(_) => Ok(()),
                None => {
                    Err(refused(Code::Loosens, statement, "it allows tracing of others")
                        .expected("peer=@{profile_name}"))
                }
            }
        }
        first if RULES.contains(&first) => Ok(()),
        _ => Err(refused(Code::Unknown, statement, "an unknown rule")),
    }
}

fn is_permissions(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b"rwalkmxiuUpPcC".contains(&b))
}

/// A rule for files: path and permissions, in either order, and a profile to go to.
fn file(statement: &Statement, words: &[&str], denies: bool) -> Result<(), Refusal> {
    let is_path = |word: &&str| word.starts_with(['/', '"', '@']);
    let (permissions, goes_to) = match words {
        [path, permissions] | [permissions, path] if is_path(path) && is_permissions(permissions) => {
            (*permissions, None)
        }
        [path, permissions, "->", to] | [permissions, path, "->", to]
            if is_path(path) && is_permissions(permissions) =>
        {
            (*permissions, Some(*to))
        }
        _ => return Err(refused(Code::Malformed, statement, "not a rule for files").expected("PATH PERMISSIONS,")),
    };
    if denies || !permissions.contains('x') {
        return Ok(());
    }
    if permissions.contains(['u', 'U']) {
        return Err(refused(Code::Unconfined, statement, "the program runs unconfined").expected("ix or cx"));
    }
    if permissions.contains(['p', 'P']) {
        return Err(
            refused(Code::Loosens, statement, "the program runs under a profile of the host").expected("ix or cx")
        );
    }
    let is_child =
        goes_to.is_none_or(|to| !to.is_empty() && to.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
    // The parser takes "ix -> NAME" for a way to the profile of that name, "unconfined" among them; only with c is it a child of this one.
    if goes_to.is_some() && !permissions.contains(['c', 'C']) {
        return Err(refused(Code::Loosens, statement, "the program runs under a profile of the host, or under none")
            .expected("ix alone, or cx"));
    }
    if is_child && permissions.contains(['i', 'c', 'C']) {
        return Ok(());
    }
    Err(refused(Code::Malformed, statement, "nothing says under which profile the program runs").expected("ix or cx"))
}

#[cfg(test)]
pub(super) const SAMPLE: &str = "\
# Confines the sample.
abi <abi/3.0>,
#include <tunables/global>
@{APP}=/srv/app

profile app-1.4 flags=(attach_disconnected,mediate_deleted) {
  #include <abstractions/base>
  include if exists <abstractions/app.d>

  capability net_bind_service,
  network inet tcp,
  signal (receive) peer=unconfined,
  ptrace (trace, read) peer=@{profile_name},
  deny mount,
  deny @{PROC}/* w,   # deny write for all files directly in /proc
  @{APP}/{bin,lib}/** mrix,
  owner /tmp/[a-z]* rw,
  \"/srv/with space/\" r,
  rk /etc/passwd,
  file,
  /srv/app/helper cx -> helper,
  profile helper {
    /srv/app/helper mr,
  }
  ^hat {
    /dev/null rw,
  }
}
";

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<Code> {
        AppArmorProfiles::parse(text.as_bytes(), false).err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_container_profile_is_read_and_each_change_refused_has_its_reason() {
        assert_eq!(AppArmorProfiles::parse(SAMPLE.as_bytes(), false).unwrap().names(), ["app-1.4"]);
        let (malformed, widens, taken) = (Code::Malformed, Code::WidensHost, Code::NameTaken);
        for (old, new, expected) in [
            ("profile app-1.4", "profile app", None),
            ("profile app-1.4", "profile \"app\"", None),
            ("profile app-1.4", "app", Some(malformed)),
            ("profile app-1.4", "/usr/bin/dockerd", Some(widens)),
            ("profile app-1.4", "profile /usr/bin/dockerd", Some(widens)),
            ("profile app-1.4", "profile \"/usr/bin/dockerd\"", Some(widens)),
            ("profile app-1.4", "profile app /usr/bin/dockerd", Some(widens)),
            ("profile app-1.4", "profile :ns:app", Some(widens)),
            ("profile app-1.4", "profile docker-default", Some(taken)),
            ("profile app-1.4", "profile \"docker-default\"", Some(taken)),
            ("profile app-1.4", "profile containers-default-0.50.1", Some(taken)),
            ("profile app-1.4", "profile unconfined", Some(taken)),
            ("profile app-1.4", "profile a*", Some(malformed)),
            ("(attach_disconnected", "(complain", Some(Code::Unconfined)),
            ("(attach_disconnected", "(unconfined", Some(Code::Unconfined)),
            ("flags=(attach_disconnected", "(enforce", None),
            ("(attach_disconnected", "(sometimes", Some(Code::Unknown)),
            ("profile helper {", "profile helper flags=(complain) {", Some(Code::Unconfined)),
            ("  ^hat {", "  ^hat flags=(unconfined) {", Some(Code::Unconfined)),
            ("<abstractions/base>", "<abstractions/nameservice>", None),
            ("<abstractions/base>", "<abstractions/../local/x>", Some(Code::Include)),
            ("<abstractions/base>", "<local/app>", Some(Code::Include)),
            ("<abstractions/base>", "\"/etc/shadow\"", Some(Code::Include)),
            ("<abstractions/base>", "</etc/shadow>", Some(Code::Include)),
            ("<tunables/global>", "<abstractions/base>", Some(Code::Include)),
            ("exists <abstractions/app.d>", "exists </etc/x>", Some(Code::Include)),
            ("deny mount", "mount", Some(Code::Loosens)),
            ("deny mount", "audit mount fstype=proc", Some(Code::Loosens)),
            ("deny mount", "change_profile -> unconfined", Some(Code::Loosens)),
            ("deny mount", "all", Some(Code::Loosens)),
            ("deny mount", "umount", None),
            ("deny mount", "move_mount", Some(Code::Unknown)),
            (" peer=@{profile_name}", "", Some(Code::Loosens)),
            ("mrix", "mrUx", Some(Code::Unconfined)),
            ("mrix", "mrpux", Some(Code::Unconfined)),
            ("mrix", "mrPx", Some(Code::Loosens)),
            ("mrix", "mrpix", Some(Code::Loosens)),
            ("mrix", "mrx", Some(malformed)),
            ("mrix", "mrq", Some(malformed)),
            ("cx -> helper", "cx -> :root:unconfined", Some(malformed)),
            ("cx -> helper", "cix -> helper", None),
            ("cx -> helper", "ix -> helper", Some(Code::Loosens)),
            ("cx -> helper", "ix -> unconfined", Some(Code::Loosens)),
            ("cx -> helper", "mrix -> docker-default", Some(Code::Loosens)),
            ("{bin,lib}", "{bin,lib", Some(malformed)),
            ("[a-z]", "[a-z", Some(malformed)),
            ("\"/srv/with space/\"", "\"/srv/with space/", Some(malformed)),
            ("# deny write", "#include </etc/shadow>", Some(Code::Include)),
            ("deny mount", "deny\n#include </etc/shadow>\nmount", Some(Code::Include)),
            // A rule may go over several lines.
            ("file,", "file", None),
            ("/etc/passwd,", "/etc/passwd", Some(malformed)),
            ("  ^hat {", "  if $x {", Some(malformed)),
            ("    /dev/null rw,\n  }\n", "    /dev/null rw,\n", Some(malformed)),
            ("    /dev/null rw,\n  }\n", "    /dev/null rw,\n  }\n}\n", Some(malformed)),
            ("file,", "\u{1b}[2J,", Some(malformed)),
        ] {
            let text = SAMPLE.replacen(old, new, 1);
            assert_ne!(text, SAMPLE, "{old}");
            assert_eq!(code(&text), expected, "{text}");
        }
        for text in
            ["", "# nothing\n", "profile a {", "}", "profile a { } }", "deny mount,", "profile a {}\nprofile a {}\n"]
        {
            assert!(code(text).is_some(), "{text}");
        }
        // As one writes it on one line.
        assert_eq!(code("profile a { file, network, }"), None);
    }

    #[test]
    fn of_several_profiles_one_is_named() {
        let two = AppArmorProfiles::parse(b"profile a { file, }\nprofile b { file, }\n", false).unwrap();
        assert_eq!(two.names(), ["a", "b"]);
        assert_eq!(two.chosen(None).unwrap_err().code, Code::Contradictory);
        assert_eq!(two.chosen(Some("b")).unwrap(), "b");
        assert_eq!(two.chosen(Some("c")).unwrap_err().code, Code::Contradictory);
    }
}
