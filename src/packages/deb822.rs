//! Stanzas of fields, as dpkg and apt write them [deb822(5)]: `Name: value` lines, continued by lines that start with a space or a tab, and
//! an empty line between stanzas.
//!
//! Where dpkg and other readers would see different fields, nothing is read: a line of white space only, a field that occurs twice, a name
//! that starts with `#` (a field for dpkg, a comment for others) or stands apart from its colon, a NUL, and a Ctrl-Z, which ends a line for
//! dpkg. The one thing that dpkg refuses and this accepts is a last line without its newline.

use std::collections::BTreeSet;

use super::error::Unreadable;
use crate::text::quoted;

/// Fields of one stanza. Real ones have some 25; it keeps what is held of a stanza small beside its bytes.
const FIELDS_MAX: usize = 1024;

/// The stanzas of a file, in order. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Stanzas<'a> {
    rest: &'a [u8],
    /// Lines that were read.
    line: u64,
}

/// One stanza, which has a field at least.
#[derive(Debug, Clone)]
pub struct Stanza<'a> {
    line: u64,
    fields: Vec<Field<'a>>,
}

#[derive(Debug, Clone)]
struct Field<'a> {
    name: &'a str,
    /// What stands on the line of the name.
    value: &'a [u8],
    /// Whether more lines of it follow: nothing that is read here has such.
    continued: bool,
}

impl<'a> Stanzas<'a> {
    /// The stanzas in these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, line: 0 }
    }

    fn next_line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, rest) = match end.and_then(|end| self.rest.split_at_checked(end)) {
            Some((line, rest)) => (line, rest.strip_prefix(b"\n").unwrap_or_default()),
            None => (self.rest, <&[u8]>::default()),
        };
        self.rest = rest;
        self.line = self.line.saturating_add(1);
        Some(line)
    }

    fn stanza(&mut self) -> Result<Option<Stanza<'a>>, Unreadable> {
        let mut stanza = Stanza { line: 0, fields: Vec::new() };
        let mut names = BTreeSet::new();
        while let Some(line) = self.next_line() {
            if line.is_empty() {
                if stanza.fields.is_empty() {
                    continue;
                }
                break;
            }
            let wrong = |what: &str| Unreadable::new(format!("line {}: {what}", self.line));
            if line.iter().any(|byte| matches!(*byte, 0 | 0x1a)) {
                return Err(wrong("a NUL or a Ctrl-Z"));
            }
            if line.trim_ascii().is_empty() {
                return Err(wrong("white space only, where some readers see the end of a stanza"));
            }
            if matches!(line.first(), Some(b' ' | b'\t')) {
                let Some(field) = stanza.fields.last_mut() else {
                    return Err(wrong("it continues a field, and there is none before it"));
                };
                field.continued = true;
                continue;
            }
            let field = Field::read(line).ok_or_else(|| wrong("neither a field nor the continuation of one"))?;
            if stanza.fields.is_empty() {
                stanza.line = self.line;
            }
            if stanza.fields.len() == FIELDS_MAX {
                return Err(wrong("more than 1,024 fields in a stanza"));
            }
            if !names.insert(field.name.to_ascii_lowercase()) {
                return Err(wrong(&format!("a second field {} in one stanza", quoted(field.name))));
            }
            stanza.fields.push(field);
        }
        Ok(Some(stanza).filter(|stanza| !stanza.fields.is_empty()))
    }
}

impl<'a> Iterator for Stanzas<'a> {
    type Item = Result<Stanza<'a>, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        let stanza = self.stanza();
        if stanza.is_err() {
            self.rest = &[];
        }
        stanza.transpose()
    }
}

impl<'a> Stanza<'a> {
    /// The number of its first line, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Whether it has this field, whatever its value. The case of names is ignored.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// The value of a field that has one line, without white space around it. The case of names is ignored.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if the value has more lines or is not UTF-8.
    pub fn get(&self, name: &str) -> Result<Option<&'a str>, Unreadable> {
        let Some(field) = self.field(name) else { return Ok(None) };
        let wrong = |what| self.wrong(&format!("the field {name} of the stanza that starts here {what}"));
        if field.continued {
            return Err(wrong("has more than one line"));
        }
        let text = str::from_utf8(field.value).map_err(|_| wrong("is not UTF-8"))?;
        Ok(Some(text.trim_matches([' ', '\t'])))
    }

    fn field(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// What is wrong with it, and where it starts.
    pub(super) fn wrong(&self, what: &str) -> Unreadable {
        Unreadable::new(format!("line {}: {what}", self.line))
    }
}

impl<'a> Field<'a> {
    /// The field on a line. A name is printable ASCII without a colon, and starts with neither `#` nor `-` [deb822(5)].
    fn read(line: &'a [u8]) -> Option<Self> {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        let plain = name.iter().all(u8::is_ascii_graphic) && !matches!(name.first(), None | Some(b'#' | b'-'));
        let name = str::from_utf8(name).ok().filter(|_| plain)?;
        Some(Self { name, value: value.strip_prefix(b":")?, continued: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Package: a\nDescription: text\n Package: b\n .\n\tc\n";

    fn read(bytes: &[u8]) -> Result<Vec<Stanza<'_>>, String> {
        Stanzas::new(bytes).collect::<Result<_, _>>().map_err(|error: Unreadable| error.to_string())
    }

    #[test]
    fn stanzas_are_what_dpkg_sees_or_nothing() {
        for (name, text, expected) in [
            ("nothing", String::new(), Ok(vec![])),
            ("empty lines", "\n\n".into(), Ok(vec![])),
            ("one", GOOD.into(), Ok(vec![1])),
            ("no last newline", GOOD.trim_end().into(), Ok(vec![1])),
            ("two", format!("\n{GOOD}\n\n{GOOD}\n"), Ok(vec![2, 9])),
            ("an empty value", format!("A:\nB: \n{GOOD}"), Ok(vec![1])),
            ("a field twice", format!("{GOOD}pACKAGE: b\n"), Err("line 6: a second field \"pACKAGE\" in one stanza")),
            ("a comment", format!("{GOOD}# c\n"), Err("line 6: neither a field nor the continuation of one")),
            (
                "a comment with a colon",
                format!("#c: d\n{GOOD}"),
                Err("line 1: neither a field nor the continuation of one"),
            ),
            ("a hyphen first", format!("-a: b\n{GOOD}"), Err("line 1: neither a field nor the continuation of one")),
            ("no colon", format!("{GOOD}x\n"), Err("line 6: neither a field nor the continuation of one")),
            ("no name", format!("{GOOD}: x\n"), Err("line 6: neither a field nor the continuation of one")),
            (
                "space before the colon",
                format!("{GOOD}A : x\n"),
                Err("line 6: neither a field nor the continuation of one"),
            ),
            (
                "a name with an umlaut",
                format!("{GOOD}\u{e4}: x\n"),
                Err("line 6: neither a field nor the continuation of one"),
            ),
            (
                "a byte order mark",
                format!("\u{feff}{GOOD}"),
                Err("line 1: neither a field nor the continuation of one"),
            ),
            (
                "a vertical tab first",
                format!("{GOOD}\u{b}x: y\n"),
                Err("line 6: neither a field nor the continuation of one"),
            ),
            (
                "blanks after a field",
                format!("{GOOD} \nA: b\n"),
                Err("line 6: white space only, where some readers see the end of a stanza"),
            ),
            (
                "blanks between stanzas",
                format!("{GOOD}\n\t\nA: b\n"),
                Err("line 7: white space only, where some readers see the end of a stanza"),
            ),
            (
                "a return alone",
                format!("{GOOD}\r\nA: b\n"),
                Err("line 6: white space only, where some readers see the end of a stanza"),
            ),
            (
                "a continuation of nothing",
                format!("{GOOD}\n b\n"),
                Err("line 7: it continues a field, and there is none before it"),
            ),
            ("a NUL", format!("{GOOD}A: \0\n"), Err("line 6: a NUL or a Ctrl-Z")),
            ("a Ctrl-Z", format!("{GOOD} \u{1a}A: b\n"), Err("line 6: a NUL or a Ctrl-Z")),
        ] {
            let lines = read(text.as_bytes()).map(|stanzas| stanzas.iter().map(Stanza::line).collect::<Vec<_>>());
            assert_eq!(lines, expected.map_err(str::to_owned), "{name}");
        }
    }

    #[test]
    fn nothing_comes_after_an_error() {
        let mut stanzas = Stanzas::new(b"x\nPackage: a\n");
        assert!(stanzas.next().unwrap().is_err());
        assert!(stanzas.next().is_none());
    }

    #[test]
    fn a_stanza_has_so_many_fields() {
        let fields = |count: usize| (0..count).map(|i| format!("F{i}: x\n")).collect::<String>();
        assert!(read(fields(1024).as_bytes()).is_ok());
        assert_eq!(read(fields(1025).as_bytes()).unwrap_err(), "line 1025: more than 1,024 fields in a stanza");
    }

    #[test]
    fn a_value_that_is_read_is_one_line_of_text() {
        for (line, expected) in [
            (&b"a: b"[..], Ok(Some("b"))),
            (b"A:b\t \n", Ok(Some("b"))),
            (b"A:\n", Ok(Some(""))),
            (b"B: \xff\n", Ok(None)),
            (b"A: \xff\n", Err("line 1: the field a of the stanza that starts here is not UTF-8")),
            (b"A: b\n c\n", Err("line 1: the field a of the stanza that starts here has more than one line")),
            // Kept, so that what reads the value can refuse it.
            (b"A: b\r\n", Ok(Some("b\r"))),
        ] {
            let stanza = read(line).unwrap().remove(0);
            assert_eq!(stanza.get("a").map_err(|e| e.to_string()), expected.map_err(str::to_owned), "{line:?}");
        }
    }
}
