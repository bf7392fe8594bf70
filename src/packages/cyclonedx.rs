//! Package lists in CycloneDX 1.4 to 1.6, as JSON.
//!
//! What counts of a document are its `components[]`, and theirs in turn at any depth:
//! - one of type `file` is a file: `name` is its path, and `hashes[]` has its SHA-256;
//! - one with a package URL in `purl` is a package, and `name` and `version` must agree with that;
//! - one of type `operating-system` names the distribution, and is neither;
//! - what else there is, is not compared.
//!
//! `metadata.component` is what the list is about, not what is in it. The rest (dependencies, services, properties) says nothing about what is installed, and
//! is only checked to be JSON. Keys and words count exactly as they are written in the specification.

use std::borrow::Cow;
use std::cell::RefCell;

use serde::Deserialize;
use serde::de::MapAccess;

use super::entry::{Entry, FileDigest};
use super::error::Unreadable;
use super::list::{Draft, FilePath, PackageList};
use super::stream::{self, Members, Value};
use crate::text::quoted;

const VERSIONS: [&str; 3] = ["1.4", "1.5", "1.6"];

/// Reads a list.
///
/// # Errors
///
/// [`Unreadable`] for what is not strict JSON, for another format or version, and for a component that is wrong in itself: a package whose name, version and
/// package URL disagree, a file with a path or digests that cannot be, one that is a package and something else, and one that is listed as left out.
pub fn read(bytes: &[u8]) -> Result<PackageList, Unreadable> {
    let list = RefCell::<Draft>::default();
    stream::read(bytes, Document { list: &list, format: None, version: None })?;
    list.into_inner().finish()
}

struct Document<'l> {
    list: &'l RefCell<Draft>,
    format: Option<String>,
    version: Option<String>,
}

impl<'de> Members<'de> for Document<'_> {
    const WHAT: &'static str = "a CycloneDX document";

    fn member<A: MapAccess<'de>>(&mut self, key: &str, value: Value<'_, 'de, A>) -> Result<(), A::Error> {
        let list = self.list;
        match key {
            "bomFormat" => self.format = Some(value.string()?),
            "specVersion" => self.version = Some(value.string()?),
            "components" => value.each_object(|| Component::new(list))?,
            _ => value.ignore()?,
        }
        Ok(())
    }

    fn end(self) -> Result<(), Unreadable> {
        match self.format.as_deref() {
            Some("CycloneDX") => {}
            Some(format) => {
                return Err(Unreadable::new(format!("bomFormat: expected CycloneDX, found {}", quoted(format))));
            }
            None => return Err(Unreadable::new("not a CycloneDX document: it has no bomFormat")),
        }
        match self.version.as_deref() {
            Some(version) if VERSIONS.contains(&version) => Ok(()),
            version => Err(Unreadable::new(format!(
                "specVersion: expected {}, found {}",
                VERSIONS.join(", "),
                version.map_or_else(|| "none".to_owned(), |version| quoted(version).to_string())
            ))),
        }
    }
}

struct Component<'l> {
    list: &'l RefCell<Draft>,
    kind: Option<String>,
    excluded: bool,
    /// Whether it has components of its own.
    nested: bool,
    entry: Entry,
    digest: FileDigest,
}

impl<'l> Component<'l> {
    fn new(list: &'l RefCell<Draft>) -> Self {
        Self {
            list,
            kind: None,
            excluded: false,
            nested: false,
            entry: Entry::default(),
            digest: FileDigest::default(),
        }
    }
}

#[derive(Deserialize)]
struct Hash<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    content: Cow<'a, str>,
}

impl<'de> Members<'de> for Component<'_> {
    const WHAT: &'static str = "a component";

    fn member<A: MapAccess<'de>>(&mut self, key: &str, value: Value<'_, 'de, A>) -> Result<(), A::Error> {
        let list = self.list;
        match key {
            "type" => self.kind = Some(value.string()?),
            "name" => self.entry.name = Some(value.string()?),
            "version" => self.entry.version = Some(value.string()?),
            "purl" => value.parse(|purl| self.entry.add_purl(purl))?,
            "scope" => self.excluded = value.parse(|scope| Ok(scope == "excluded"))?,
            "hashes" => value.each(|hash: Hash<'_>| match &*hash.alg {
                "SHA-256" => self.digest.add(&hash.content),
                _ => Ok(()),
            })?,
            "components" => value.each_object(|| {
                self.nested = true;
                Component::new(list)
            })?,
            _ => value.ignore()?,
        }
        Ok(())
    }

    fn end(self) -> Result<(), Unreadable> {
        let Self { list, kind, excluded, nested, entry, digest } = self;
        let mut list = list.borrow_mut();
        let kind = kind.ok_or_else(|| Unreadable::new("a component has no type"))?;
        if let (Some(package), "file" | "operating-system") = (entry.package(), kind.as_str()) {
            return Err(Unreadable::new(format!("a component of type {kind} has the package URL of {package}")));
        }
        let is_compared = kind == "file" || entry.package().is_some();
        // What is in something that is left out would be left out as well.
        if excluded && (is_compared || nested) {
            let name = entry.name.unwrap_or_default();
            return Err(Unreadable::new(format!("the component {} is listed as excluded", quoted(&name))));
        }
        match kind.as_str() {
            "file" => {
                let name = entry.name.ok_or_else(|| Unreadable::new("a file has no name"))?;
                list.add_file(FilePath::parse(&name)?, digest.0);
                Ok(())
            }
            "operating-system" => Ok(()),
            _ => entry.list(&mut list),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::list::tests::shown;
    use super::*;

    const A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    const B: &str = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";

    fn check(cases: &[(&str, String, Result<&str, &str>)]) {
        for (name, text, expected) in cases {
            assert_eq!(
                shown(read(text.as_bytes())),
                expected.map(str::to_owned).map_err(str::to_owned),
                "{name}: {text}"
            );
        }
    }

    fn document(members: &str) -> String {
        format!(r#"{{"bomFormat":"CycloneDX","specVersion":"1.6",{members}}}"#)
    }

    fn component(members: &str) -> String {
        document(&format!(r#""components":[{{{members}}}]"#))
    }

    fn file(path: &str, hashes: &[(&str, &str)]) -> String {
        let hashes = hashes.iter().map(|(alg, content)| format!(r#"{{"alg":"{alg}","content":"{content}"}}"#));
        let hashes = hashes.collect::<Vec<_>>().join(",");
        format!(r#"{{"type":"file","name":"{path}","hashes":[{hashes}]}}"#)
    }

    fn files(entries: &[String]) -> String {
        document(&format!(r#""components":[{}]"#, entries.join(",")))
    }

    #[test]
    fn a_component_is_one_thing() {
        let deb = r#""name":"a","version":"1:2-1","purl":"pkg:deb/debian/a@1%3A2-1?arch=all""#;
        let of = |kind: &str, members: &str| component(&format!(r#""type":"{kind}",{members}"#));
        check(&[
            ("package", of("library", deb), Ok("deb a 1:2-1 all")),
            (
                "package, as trivy has the epoch",
                of("library", r#""name":"a","version":"1:2-1","purl":"pkg:deb/debian/a@2-1?epoch=1""#),
                Ok("deb a 1:2-1"),
            ),
            (
                "package, epoch in the URL alone",
                of("library", r#""name":"a","version":"2-1","purl":"pkg:deb/debian/a@1:2-1""#),
                Ok("deb a 1:2-1"),
            ),
            (
                "package, another version",
                of("library", r#""name":"a","version":"1:2-2","purl":"pkg:deb/debian/a@1:2-1""#),
                Err("the package \"a\" \"1:2-2\" has the package URL of a 1:2-1"),
            ),
            (
                "package, another name",
                of("library", r#""name":"b","version":"1:2-1","purl":"pkg:deb/debian/a@1:2-1""#),
                Err("the package \"b\" has the package URL of a 1:2-1"),
            ),
            ("package, with a group", of("library", &format!(r#"{deb},"group":"debian""#)), Ok("deb a 1:2-1 all")),
            ("package that is a program", of("application", deb), Ok("deb a 1:2-1 all")),
            ("package, order of members", component(&format!(r#"{deb},"type":"library""#)), Ok("deb a 1:2-1 all")),
            (
                "package that is a file",
                of("file", deb),
                Err("a component of type file has the package URL of a 1:2-1 all"),
            ),
            ("file of no compared package", of("file", r#""name":"a","purl":"pkg:generic/a@1""#), Ok("a none")),
            ("system", of("operating-system", r#""name":"debian","version":"12""#), Ok("")),
            (
                "system that is a package",
                of("operating-system", deb),
                Err("a component of type operating-system has the package URL of a 1:2-1 all"),
            ),
            ("required", of("library", &format!(r#"{deb},"scope":"required""#)), Ok("deb a 1:2-1 all")),
            (
                "excluded",
                of("library", &format!(r#"{deb},"scope":"excluded""#)),
                Err("the component \"a\" is listed as excluded"),
            ),
            (
                "excluded file",
                of("file", r#""name":"a","scope":"excluded""#),
                Err("the component \"a\" is listed as excluded"),
            ),
            ("excluded, not compared", of("library", r#""name":"a","scope":"excluded""#), Ok("\"\" 1")),
            ("another type", of("library", r#""name":"x","version":"2","purl":"pkg:npm/y@1""#), Ok("\"npm\" 1")),
            ("no URL", of("library", r#""name":"x""#), Ok("\"\" 1")),
            ("no type", component(deb), Err("a component has no type")),
            ("no name", of("library", r#""purl":"pkg:deb/debian/a@1""#), Err("a package has no name")),
            ("file without a name", of("file", r#""version":"1""#), Err("a file has no name")),
            (
                "two URLs",
                of("library", &format!(r#"{deb},"purl":"pkg:deb/debian/a@1:2-1""#)),
                Err("package URLs of one entry disagree: deb a 1:2-1 all and deb a 1:2-1"),
            ),
            (
                "one URL twice",
                of("library", &format!(r#"{deb},"purl":"pkg:deb/debian/a@1:2-1?arch=all""#)),
                Err("the key \"purl\" occurs twice in one object"),
            ),
            ("no URL at all", of("library", r#""name":"a","purl":"""#), Err("the package URL \"\": it has no scheme")),
        ]);
    }

    #[test]
    fn nested_components_count_and_what_the_list_is_about_does_not() {
        let deb = r#"{"type":"library","name":"a","purl":"pkg:deb/a@1"}"#;
        let nested = |n: usize| {
            let open = r#"{"type":"library","name":"x","components":["#.repeat(n);
            document(&format!(r#""components":[{open}{deb}{}]"#, "]}".repeat(n)))
        };
        check(&[
            ("once", nested(0), Ok("deb a 1")),
            ("twice", nested(1), Ok("deb a 1; \"\" 1")),
            ("as deep as can be", nested(30), Ok("deb a 1; \"\" 30")),
            ("too deep", nested(32), Err("nested deeper than 64 levels")),
            (
                "about a package",
                document(&format!(r#""metadata":{{"component":{deb},"tools":{{"components":[{deb}]}}}}"#)),
                Ok(""),
            ),
            (
                "in something that is left out",
                component(&format!(r#""type":"application","name":"x","scope":"excluded","components":[{deb}]"#)),
                Err("the component \"x\" is listed as excluded"),
            ),
            (
                "file in a package",
                component(&format!(r#""type":"library","name":"a","components":[{}]"#, file("/a", &[]))),
                Ok("\"\" 1; a none"),
            ),
        ]);
    }

    #[test]
    fn a_file_has_one_path_and_one_digest() {
        check(&[
            ("SHA-256", files(&[file("/a/b", &[("SHA-1", "00"), ("SHA-256", A)])]), Ok("a/b ca97")),
            ("SHA-1 alone", files(&[file("/a", &[("SHA-1", "00")])]), Ok("a none")),
            ("as SPDX has it", files(&[file("/a", &[("SHA256", A)])]), Ok("a none")),
            ("no hex", files(&[file("/a", &[("SHA-256", "x")])]), Err("\"x\" is no SHA-256")),
            ("two", files(&[file("/a", &[("SHA-256", A), ("SHA-256", B)])]), Err("a file has two SHA-256 digests")),
            ("one path twice", files(&[file("/a", &[("SHA-256", A)]), file("./a", &[("SHA-256", A)])]), Ok("a ca97")),
            (
                "two digests for it",
                files(&[file("/a", &[("SHA-256", A)]), file("./a", &[("SHA-256", B)])]),
                Err("it gives the file \"a\" two digests"),
            ),
            ("up and away", files(&[file("/../a", &[("SHA-256", A)])]), Err("the path \"/../a\" holds .. or NUL")),
        ]);
    }

    #[test]
    fn only_known_versions_are_read() {
        let of = |format: &str, version: &str| {
            format!(
                r#"{{"bomFormat":"{format}","specVersion":"{version}","components":[{{"type":"library","name":"a"}}]}}"#
            )
        };
        check(&[
            ("1.4", of("CycloneDX", "1.4"), Ok("\"\" 1")),
            ("1.6", of("CycloneDX", "1.6"), Ok("\"\" 1")),
            ("1.3", of("CycloneDX", "1.3"), Err("specVersion: expected 1.4, 1.5, 1.6, found \"1.3\"")),
            ("1.7", of("CycloneDX", "1.7"), Err("specVersion: expected 1.4, 1.5, 1.6, found \"1.7\"")),
            ("in lower case", of("cyclonedx", "1.6"), Err("bomFormat: expected CycloneDX, found \"cyclonedx\"")),
            (
                "no version",
                r#"{"bomFormat":"CycloneDX"}"#.to_owned(),
                Err("specVersion: expected 1.4, 1.5, 1.6, found none"),
            ),
            ("no format", r#"{"specVersion":"1.6"}"#.to_owned(), Err("not a CycloneDX document: it has no bomFormat")),
            (
                "key twice in what is ignored",
                document(r#""dependencies":[{"ref":"a","ref":"a"}]"#),
                Err("the key \"ref\" occurs twice in one object"),
            ),
            ("more after it", document(r#""x":1"#) + "{}", Err("trailing characters")),
        ]);
    }
}
