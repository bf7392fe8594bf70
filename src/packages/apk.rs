//! The database of apk: `lib/apk/db/installed`.

use super::error::Unreadable;
use super::package::{Kind, Package};
use super::push;
use crate::text::quoted;

/// The packages in `lib/apk/db/installed`, in the file's order: records of `K:value` lines with an empty line between them [apk-db(5)]. Of them
/// the name (`P`), version (`V`), architecture (`A`) and origin (`o`) are read; keys have case.
///
/// # Errors
///
/// [`Unreadable`] if a line is not of this form, and for a record without a name or version, or with two of what is read.
pub fn installed(bytes: &[u8]) -> Result<Vec<Package>, Unreadable> {
    let mut packages = Vec::new();
    let mut record = Record::default();
    let mut number = 0_u64;
    for line in bytes.split(|byte| *byte == b'\n') {
        number = number.saturating_add(1);
        if line.is_empty() {
            if let Some(package) = std::mem::take(&mut record).package()? {
                push(&mut packages, package)?;
            }
        } else {
            record.line(line, number)?;
        }
    }
    if let Some(package) = record.package()? {
        push(&mut packages, package)?;
    }
    Ok(packages)
}

#[derive(Default)]
struct Record<'a> {
    /// The number of its first line; none before that.
    start: Option<u64>,
    name: Option<&'a str>,
    version: Option<&'a str>,
    arch: Option<&'a str>,
    origin: Option<&'a str>,
}

impl<'a> Record<'a> {
    fn line(&mut self, line: &'a [u8], number: u64) -> Result<(), Unreadable> {
        self.start.get_or_insert(number);
        let wrong = |what: &str| Err(Unreadable::new(format!("line {number}: {what}")));
        let [key, b':', value @ ..] = line else {
            return wrong("expected a letter, a colon and a value");
        };
        // Where C ends a string.
        if !key.is_ascii_alphabetic() || value.contains(&0) {
            return wrong("expected a letter, a colon and a value without NUL");
        }
        let field = match key {
            b'P' => &mut self.name,
            b'V' => &mut self.version,
            b'A' => &mut self.arch,
            b'o' => &mut self.origin,
            _ => return Ok(()),
        };
        let Ok(value) = str::from_utf8(value) else { return wrong("it is not UTF-8") };
        if let Some(before) = field.replace(value) {
            return wrong(&format!("{} after {} in one record", quoted(value), quoted(before)));
        }
        Ok(())
    }

    /// None if there was no record.
    fn package(self) -> Result<Option<Package>, Unreadable> {
        let Some(start) = self.start else { return Ok(None) };
        let wrong = |what: &str| Unreadable::new(format!("line {start}: {what}"));
        let name = self.name.ok_or_else(|| wrong("a record without a name (P:)"))?;
        let version = self.version.ok_or_else(|| wrong("a record without a version (V:)"))?;
        let package = Package::new(Kind::Apk, name, version, self.arch);
        let package = match self.origin {
            Some(origin) if !origin.is_empty() => package.and_then(|package| package.with_source(origin, version)),
            _ => package,
        };
        Ok(Some(package.map_err(|error| wrong(&error.to_string()))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "C:Q1abc=\nP:a\nV:1.2-r3\nA:x86_64\nS:1\no:s\nF:lib\nR:P\nZ:Q1x=\n";

    #[test]
    fn records_are_packages_or_nothing_is() {
        let a = "a 1.2-r3 x86_64 <s>";
        for (name, text, expected) in [
            ("nothing", String::new(), Ok(vec![])),
            ("one", GOOD.into(), Ok(vec![a])),
            ("and an empty line", format!("{GOOD}\n\n"), Ok(vec![a])),
            ("no last newline", GOOD.trim_end().into(), Ok(vec![a])),
            ("two", format!("\n{GOOD}\n{GOOD}"), Ok(vec![a, a])),
            ("no architecture", GOOD.replace("A:x86_64\n", ""), Ok(vec!["a 1.2-r3 <s>"])),
            ("no origin", GOOD.replace("o:s", "o:"), Ok(vec!["a 1.2-r3 x86_64 <>"])),
            ("keys have case", GOOD.replace("o:s", "p:x\nv:7\na:0:0:1\nO:x"), Ok(vec!["a 1.2-r3 x86_64 <>"])),
            ("a text that is not UTF-8 elsewhere", GOOD.replace("S:1", "T:\u{e9}"), Ok(vec![a])),
            ("no name", GOOD.replace("P:a\n", ""), Err("line 1: a record without a name (P:)")),
            ("no version", format!("{GOOD}\nP:b\n"), Err("line 11: a record without a version (V:)")),
            ("files of nothing", format!("{GOOD}\nF:etc\n"), Err("line 11: a record without a name (P:)")),
            ("an empty name", GOOD.replace("P:a", "P:"), Err("line 1: a package whose name is empty: \"\"")),
            ("two names", format!("{GOOD}P:b\n"), Err("line 10: \"b\" after \"a\" in one record")),
            ("two versions", format!("{GOOD}V:1.2-r3\n"), Err("line 10: \"1.2-r3\" after \"1.2-r3\" in one record")),
            ("two architectures", format!("{GOOD}A:x\n"), Err("line 10: \"x\" after \"x86_64\" in one record")),
            ("two origins", format!("{GOOD}o:x\n"), Err("line 10: \"x\" after \"s\" in one record")),
            (
                "a return",
                GOOD.replace("V:1.2-r3", "V:1.2-r3\r"),
                Err("line 1: a package whose version holds white space or control characters: \"1.2-r3\\u{d}\""),
            ),
            (
                "one letter, which ends a record for apk",
                format!("{GOOD}x\n"),
                Err("line 10: expected a letter, a colon and a value"),
            ),
            ("no colon", format!("{GOOD}Pb\n"), Err("line 10: expected a letter, a colon and a value")),
            ("no letter", format!("{GOOD}::b\n"), Err("line 10: expected a letter, a colon and a value without NUL")),
            ("a NUL", format!("{GOOD}T:\0\n"), Err("line 10: expected a letter, a colon and a value without NUL")),
        ] {
            let show =
                |package: &Package| format!("{package} <{}>", package.source().map_or("", |source| &source.name));
            let shown = installed(text.as_bytes()).map(|packages| packages.iter().map(show).collect::<Vec<_>>());
            let expected = expected.map(|all| all.into_iter().map(str::to_owned).collect()).map_err(str::to_owned);
            assert_eq!(shown.map_err(|error| error.to_string()), expected, "{name}");
        }
        assert_eq!(installed(b"P:\xff\nV:1\n").unwrap_err().to_string(), "line 1: it is not UTF-8");
        assert!(installed(b"P:a\nV:1\nT:\xff\n").is_ok());
        assert_eq!(installed(GOOD.as_bytes()).unwrap()[0].source().unwrap().version, "1.2-r3");
    }
}
