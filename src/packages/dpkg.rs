//! The database of dpkg, and the package list that is written as its stanzas are.

use std::collections::BTreeSet;

use super::deb822::{Stanza, Stanzas};
use super::error::Unreadable;
use super::list::{Draft, PackageList};
use super::package::{Kind, Package};
use super::push;
use crate::text::quoted;

/// Records in `updates`, each of which is looked for in all of `status`. dpkg merges them when there are 250.
const UPDATES_MAX: usize = 1000;

/// The packages that `var/lib/dpkg/status` says are there: those in every state but `not-installed` and `config-files`, in the file's order.
/// A package that is there twice is here twice.
///
/// # Errors
///
/// [`Unreadable`] if it is not stanzas [`deb822`](super::deb822), and if one is not of a package whose state is known: dpkg always writes a
/// `Status`, takes a stanza without one for a package that is not installed, and other readers take it for one that is.
pub fn status(bytes: &[u8]) -> Result<Vec<Package>, Unreadable> {
    merged(Some(bytes), &[])
}

/// The same, with the records of `var/lib/dpkg/updates` that dpkg has not merged into `status` yet: it reads them on top, in the order of their
/// names. `updates` are the names of the regular files there, and what is in them.
///
/// A file whose name is not all digits is none of dpkg's records. A record stands for the one package of its name, or for that of its
/// architecture if all of its name are `Multi-Arch: same`.
///
/// # Errors
///
/// As [`status`]; and if the names of records differ in length, which dpkg refuses, or it is not clear which package a record is of.
pub fn merged(status: Option<&[u8]>, updates: &[(&str, &[u8])]) -> Result<Vec<Package>, Unreadable> {
    let mut records = Vec::new();
    for stanza in Stanzas::new(status.unwrap_or_default()) {
        push(&mut records, Record::read(&stanza?)?)?;
    }
    refuse_undone(&records)?;
    let mut updates: Vec<_> =
        updates.iter().filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_digit())).collect();
    updates.sort_unstable();
    if updates.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a.len() != b.len() || a == b)) {
        return Err(Unreadable::new(
            "the names of the records in updates are not of one length, so their order is not known",
        ));
    }
    let mut count = 0_usize;
    for (name, bytes) in updates {
        let of_file = |error: Unreadable| error.of(&format!("updates/{name}"));
        for stanza in Stanzas::new(bytes) {
            let record = stanza.and_then(|stanza| Record::read(&stanza)).map_err(of_file)?;
            count = count.saturating_add(1);
            if count > UPDATES_MAX {
                return Err(of_file(Unreadable::new(format!(
                    "too many records in updates, expected at most {UPDATES_MAX}"
                ))));
            }
            update(&mut records, record).map_err(of_file)?;
        }
    }
    Ok(records.into_iter().filter_map(|record| record.package).collect())
}

/// The packages of one file of `var/lib/dpkg/status.d`, where images without dpkg have one for each package. A stanza without a `Status` is a
/// package that is there.
///
/// # Errors
///
/// As [`status`], but for that.
pub fn status_d(bytes: &[u8]) -> Result<Vec<Package>, Unreadable> {
    let mut packages = Vec::new();
    for stanza in Stanzas::new(bytes) {
        let stanza = stanza?;
        if state(&stanza)?.is_none_or(|state| state == State::Present) {
            push(&mut packages, package(&stanza)?)?;
        }
    }
    Ok(packages)
}

/// A package list of stanzas as in `Packages` or `status`: `packages.deb822`. A stanza without a `Status` is a package that is to be there.
///
/// # Errors
///
/// As [`status_d`].
pub fn list(bytes: &[u8]) -> Result<PackageList, Unreadable> {
    let mut list = Draft::default();
    for package in status_d(bytes)? {
        list.push(package);
    }
    list.finish()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Present,
    Absent,
}

/// A stanza of `status`.
struct Record {
    /// None if it is not there.
    package: Option<Package>,
    name: String,
    arch: Option<String>,
    /// `Multi-Arch: same`: there may be one of its name for each architecture.
    same: bool,
}

impl Record {
    fn read(stanza: &Stanza<'_>) -> Result<Self, Unreadable> {
        let name = stanza.get("Package")?.ok_or_else(|| stanza.wrong("a stanza without the field Package"))?;
        let state = state(stanza)?.ok_or_else(|| stanza.wrong("a stanza without the field Status"))?;
        Ok(Self {
            package: if state == State::Present { Some(package(stanza)?) } else { None },
            name: name.to_owned(),
            arch: stanza.get("Architecture")?.filter(|arch| !arch.is_empty()).map(str::to_owned),
            same: stanza.get("Multi-Arch")? == Some("same"),
        })
    }
}

/// Of two stanzas of one package dpkg keeps the last. One that says that it is there beside one that says that it is not is refused: who takes the first for the
/// package sees another image. Two that are there are for the comparison. dpkg ignores the case of names.
fn refuse_undone(records: &[Record]) -> Result<(), Unreadable> {
    let key = |record: &Record| (record.name.to_ascii_lowercase(), record.arch.clone());
    let gone: BTreeSet<_> = records.iter().filter(|record| record.package.is_none()).map(key).collect();
    let mut there = records.iter().filter(|record| record.package.is_some());
    match there.find(|record| gone.contains(&key(record))) {
        None => Ok(()),
        Some(record) => Err(Unreadable::new(format!(
            "one stanza says that the package {} is there, and another that it is not",
            quoted(&record.name)
        ))),
    }
}

/// Puts a record on top of others: instead of the one that it is of, or beside them.
fn update(records: &mut Vec<Record>, record: Record) -> Result<(), Unreadable> {
    let mut of_name: Vec<_> =
        records.iter_mut().filter(|other| other.name.eq_ignore_ascii_case(&record.name)).collect();
    let all_same = record.same && of_name.iter().all(|other| other.same);
    if all_same {
        of_name.retain(|other| other.arch == record.arch);
    }
    match of_name.as_mut_slice() {
        [] => return push(records, record),
        [one] if all_same || !(one.same || record.same) => **one = record,
        _ => {
            return Err(Unreadable::new(format!(
                "it is not clear which package of the name {} the record is of",
                quoted(&record.name)
            )));
        }
    }
    Ok(())
}

/// What the field `Status` says: what is wanted, a flag, and the state, in dpkg's words. None if there is no such field.
fn state(stanza: &Stanza<'_>) -> Result<Option<State>, Unreadable> {
    let Some(status) = stanza.get("Status")? else { return Ok(None) };
    let wrong = || {
        stanza.wrong(&format!(
            "Status is {}, expected what is wanted, a flag and a state as dpkg has them",
            quoted(status)
        ))
    };
    let words: Vec<&str> = status.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let ["unknown" | "install" | "hold" | "deinstall" | "purge", "ok" | "reinstreq", state] = *words.as_slice() else {
        return Err(wrong());
    };
    match state {
        "not-installed" | "config-files" => Ok(Some(State::Absent)),
        "half-installed" | "unpacked" | "half-configured" | "triggers-awaited" | "triggers-pending" | "installed" => {
            Ok(Some(State::Present))
        }
        _ => Err(wrong()),
    }
}

fn package(stanza: &Stanza<'_>) -> Result<Package, Unreadable> {
    // dpkg takes it for the end of the version, and nothing has written it since the nineties.
    for old in ["Revision", "Package-Revision", "Package_Revision"] {
        if stanza.has(old) {
            return Err(stanza.wrong(&format!("a stanza with the field {old}, which changes the version")));
        }
    }
    let missing = |name| stanza.wrong(&format!("a stanza without the field {name}"));
    let name = stanza.get("Package")?.ok_or_else(|| missing("Package"))?;
    let version = stanza.get("Version")?.ok_or_else(|| missing("Version"))?;
    let package = Package::new(Kind::Deb, name, version, stanza.get("Architecture")?);
    let package = package.map_err(|error| stanza.wrong(&error.to_string()))?;
    let (source, source_version) = match stanza.get("Source")? {
        None => (name, version),
        Some(text) => source(text, version)
            .ok_or_else(|| stanza.wrong(&format!("Source is {}, expected NAME or NAME (VERSION)", quoted(text))))?,
    };
    package.with_source(source, source_version).map_err(|error| stanza.wrong(&error.to_string()))
}

/// `NAME` is of the package's version, `NAME (VERSION)` is not [deb822 of binary packages, Debian policy 5.6.1].
fn source<'a>(text: &'a str, version: &'a str) -> Option<(&'a str, &'a str)> {
    let Some((name, rest)) = text.split_once('(') else { return Some((text, version)) };
    Some((name.trim_end_matches(' '), rest.strip_suffix(')')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stanza of `status`, with a line instead of another where it is not `None`.
    fn stanza(edits: &[(&str, &str)]) -> String {
        let mut lines: Vec<String> = [
            "Package: a",
            "Status: install ok installed",
            "Maintainer: x",
            "Architecture: amd64",
            "Version: 1:1.2-3",
            "Description: d\n Package: no",
        ]
        .map(str::to_owned)
        .to_vec();
        for (name, line) in edits {
            match lines.iter_mut().find(|have| have.starts_with(&format!("{name}:"))) {
                Some(have) => *have = (*line).to_owned(),
                None => lines.push((*line).to_owned()),
            }
        }
        lines.retain(|line| !line.is_empty());
        lines.join("\n") + "\n"
    }

    fn shown(packages: Result<Vec<Package>, Unreadable>) -> Result<String, String> {
        let show = |package: &Package| {
            let source = package.source().unwrap();
            format!("{package} <{} {}>", source.name, source.version)
        };
        packages.map(|packages| packages.iter().map(show).collect::<Vec<_>>().join(", ")).map_err(|e| e.to_string())
    }

    const A: &str = "a 1:1.2-3 amd64 <a 1:1.2-3>";

    #[test]
    fn a_package_is_there_in_every_state_but_two() {
        let bad = |status: &str| {
            Err(format!("line 1: Status is {status:?}, expected what is wanted, a flag and a state as dpkg has them"))
        };
        for (status, expected) in [
            ("install ok installed", Ok(A.to_owned())),
            ("hold ok installed", Ok(A.to_owned())),
            ("deinstall reinstreq half-installed", Ok(A.to_owned())),
            ("unknown ok unpacked", Ok(A.to_owned())),
            ("install  ok\thalf-configured ", Ok(A.to_owned())),
            ("install ok triggers-awaited", Ok(A.to_owned())),
            ("install ok triggers-pending", Ok(A.to_owned())),
            ("deinstall ok config-files", Ok(String::new())),
            ("purge ok not-installed", Ok(String::new())),
            ("install ok Installed", bad("install ok Installed")),
            ("install ok gone", bad("install ok gone")),
            ("install installed", bad("install installed")),
            ("install ok installed x", bad("install ok installed x")),
            ("want ok installed", bad("want ok installed")),
            ("install bad installed", bad("install bad installed")),
            ("", bad("")),
        ] {
            let text = stanza(&[("Status", &format!("Status: {status}"))]);
            assert_eq!(shown(super::status(text.as_bytes())), expected, "{status}");
        }
    }

    #[test]
    fn what_is_read_of_a_package() {
        let wrong = |what: &str| Err(format!("line 1: {what}"));
        let ok = |text: &str| Ok(text.to_owned());
        for (name, line, expected) in [
            ("Package", "pAckage: b", ok("b 1:1.2-3 amd64 <b 1:1.2-3>")),
            ("Package", "", wrong("a stanza without the field Package")),
            ("Package", "Package:", wrong("a package whose name is empty: \"\"")),
            (
                "Package",
                "Package:\n a",
                wrong("the field Package of the stanza that starts here has more than one line"),
            ),
            ("Status", "", wrong("a stanza without the field Status")),
            ("Version", "Version: 0:1-1", ok("a 1-1 amd64 <a 1-1>")),
            ("Version", "", wrong("a stanza without the field Version")),
            (
                "Version",
                "Version: 1\r",
                wrong("a package whose version holds white space or control characters: \"1\\u{d}\""),
            ),
            ("Architecture", "", ok("a 1:1.2-3 <a 1:1.2-3>")),
            ("Architecture", "Architecture:", ok("a 1:1.2-3 <a 1:1.2-3>")),
            ("Source", "Source: s", ok("a 1:1.2-3 amd64 <s 1:1.2-3>")),
            ("Source", "source: s (0:5+b1)", ok("a 1:1.2-3 amd64 <s 5+b1>")),
            ("Source", "Source: s (5", wrong("Source is \"s (5\", expected NAME or NAME (VERSION)")),
            ("Source", "Source: s ()", wrong("a package whose source version is empty: \"\"")),
            (
                "Source",
                "Source: s 5",
                wrong("a package whose source name holds white space or control characters: \"s 5\""),
            ),
            ("Revision", "Revision: 2", wrong("a stanza with the field Revision, which changes the version")),
        ] {
            assert_eq!(shown(status(stanza(&[(name, line)]).as_bytes())), expected, "{line:?}");
        }
        // What is not there needs no version.
        let removed = stanza(&[("Status", "Status: purge ok not-installed"), ("Version", "")]);
        assert_eq!(shown(status(removed.as_bytes())), ok(""));
        let twice = format!("{}\n{}", stanza(&[]), stanza(&[]));
        assert_eq!(shown(status(twice.as_bytes())), Ok(format!("{A}, {A}")));
    }

    #[test]
    fn in_a_folder_of_stanzas_and_in_a_list_no_status_is_needed() {
        for (line, expected) in [
            ("", Ok(A)),
            ("Status: install ok installed", Ok(A)),
            ("Status: deinstall ok config-files", Ok("")),
            ("Status: x", Err("line 1: Status is \"x\", expected what is wanted, a flag and a state as dpkg has them")),
        ] {
            let text = stanza(&[("Status", line)]);
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(shown(status_d(text.as_bytes())), expected, "{line}");
            assert_eq!(shown(list(text.as_bytes()).map(|list| list.packages().to_vec())), expected, "{line}");
        }
        assert!(list(b"").unwrap().packages().is_empty());
        assert_eq!(
            list(b"-----BEGIN PGP SIGNED MESSAGE-----\n").unwrap_err().to_string(),
            "line 1: neither a field nor the continuation of one"
        );
    }

    #[test]
    fn records_lie_on_top_as_dpkg_lays_them() {
        let arch = |arch: &str, same: bool, version: &str| {
            let (arch, version) = (format!("Architecture: {arch}"), format!("Version: {version}"));
            stanza(&[
                ("Architecture", &arch),
                ("Version", &version),
                ("Multi-Arch", if same { "Multi-Arch: same" } else { "" }),
            ])
        };
        let (one, i386) = (arch("amd64", false, "1"), arch("i386", false, "2"));
        let both = format!("{}\n{}", arch("amd64", true, "1"), arch("i386", true, "1"));
        let removed = "Package: a\nStatus: purge ok not-installed\n";
        let unclear = |file: &str| {
            Err(format!("updates/{file}: it is not clear which package of the name \"a\" the record is of"))
        };
        let ok = |text: &str| Ok(text.to_owned());
        let order =
            Err("the names of the records in updates are not of one length, so their order is not known".to_owned());
        for (name, status, updates, expected) in [
            ("none", &one, vec![], ok("a 1 amd64 <a 1>")),
            ("not a record", &one, vec![("tmp.i", &i386)], ok("a 1 amd64 <a 1>")),
            ("an empty one", &one, vec![("0000", &String::new())], ok("a 1 amd64 <a 1>")),
            ("a later version", &one, vec![("0000", &arch("amd64", false, "3"))], ok("a 3 amd64 <a 3>")),
            (
                "in order of name",
                &one,
                vec![("0001", &arch("amd64", false, "3")), ("0000", &removed.to_owned())],
                ok("a 3 amd64 <a 3>"),
            ),
            (
                "and the other way",
                &one,
                vec![("0000", &arch("amd64", false, "3")), ("0001", &removed.to_owned())],
                ok(""),
            ),
            ("another architecture", &one, vec![("0000", &i386)], ok("a 2 i386 <a 2>")),
            ("added to none", &String::new(), vec![("0000", &i386)], ok("a 2 i386 <a 2>")),
            ("one of two", &both, vec![("0000", &arch("i386", true, "3"))], ok("a 1 amd64 <a 1>, a 3 i386 <a 3>")),
            (
                "a third",
                &both,
                vec![("0000", &arch("arm64", true, "3"))],
                ok("a 1 amd64 <a 1>, a 1 i386 <a 1>, a 3 arm64 <a 3>"),
            ),
            ("which of two", &both, vec![("0000", &i386)], unclear("0000")),
            ("not the same kind", &one, vec![("0000", &arch("i386", true, "3"))], unclear("0000")),
            ("lengths", &one, vec![("0000", &i386), ("1", &one)], order),
            (
                "no stanza",
                &one,
                vec![("0000", &"x".to_owned())],
                Err("updates/0000: line 1: neither a field nor the continuation of one".to_owned()),
            ),
        ] {
            let updates: Vec<_> = updates.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
            assert_eq!(shown(merged(Some(status.as_bytes()), &updates)), expected, "{name}");
        }
        assert_eq!(shown(merged(None, &[("0", i386.as_bytes())])), ok("a 2 i386 <a 2>"));
        let many = |count: usize| (0..count).map(|_| format!("{i386}\n")).collect::<String>();
        assert!(merged(None, &[("0", many(1000).as_bytes())]).is_ok());
        let error = merged(None, &[("0", many(1001).as_bytes())]).unwrap_err();
        assert_eq!(error.to_string(), "updates/0: too many records in updates, expected at most 1000");
    }
}
