//! Package lists in SPDX 2.2 and 2.3, as JSON.
//!
//! What counts of a document, by clauses of SPDX 2.3:
//! - `packages[]`: `name` [7.1], `versionInfo` [7.3] and the package URLs in `externalRefs[]` [7.21, F.3.5]. What has none is not compared.
//! - `files[]`: `fileName` [8.1] and the SHA256 in `checksums[]` [8.4].
//!
//! The rest (relationships, snippets, licences) says nothing about what is installed, and is only checked to be JSON. Keys and words count exactly as
//! they are written in the specification, upper and lower case included.

use std::borrow::Cow;
use std::cell::RefCell;

use serde::Deserialize;
use serde::de::MapAccess;

use super::entry::{Entry, FileDigest};
use super::error::Unreadable;
use super::list::{Draft, FilePath, PackageList};
use super::stream::{self, Members, Value};
use crate::text::quoted;

const VERSIONS: [&str; 2] = ["SPDX-2.2", "SPDX-2.3"];

/// Reads a list.
///
/// # Errors
///
/// [`Unreadable`] for what is not strict JSON, for another version of SPDX, and for an entry that is wrong in itself: a package whose name, version and
/// package URLs disagree, or a file with a path or digests that cannot be.
pub fn read(bytes: &[u8]) -> Result<PackageList, Unreadable> {
    let list = RefCell::<Draft>::default();
    stream::read(bytes, Document { list: &list, version: None })?;
    list.into_inner().finish()
}

struct Document<'l> {
    list: &'l RefCell<Draft>,
    version: Option<String>,
}

impl<'de> Members<'de> for Document<'_> {
    const WHAT: &'static str = "an SPDX document";

    fn member<A: MapAccess<'de>>(&mut self, key: &str, value: Value<'_, 'de, A>) -> Result<(), A::Error> {
        let list = self.list;
        match key {
            "spdxVersion" => self.version = Some(value.string()?),
            "packages" => value.each_object(|| Package { list, entry: Entry::default(), is_image: false })?,
            "files" => value.each_object(|| File { list, name: None, digest: FileDigest::default() })?,
            _ => value.ignore()?,
        }
        Ok(())
    }

    fn end(self) -> Result<(), Unreadable> {
        match self.version.as_deref() {
            Some(version) if VERSIONS.contains(&version) => Ok(()),
            Some(version) => Err(Unreadable::new(format!(
                "spdxVersion: expected {}, found {}",
                VERSIONS.join(" or "),
                quoted(version)
            ))),
            None => Err(Unreadable::new("not an SPDX document: it has no spdxVersion")),
        }
    }
}

struct Package<'l> {
    list: &'l RefCell<Draft>,
    entry: Entry,
    /// It is the image itself.
    is_image: bool,
}

impl<'de> Members<'de> for Package<'_> {
    const WHAT: &'static str = "a package";

    fn member<A: MapAccess<'de>>(&mut self, key: &str, value: Value<'_, 'de, A>) -> Result<(), A::Error> {
        match key {
            "name" => self.entry.name = Some(value.string()?),
            "versionInfo" => self.entry.version = Some(value.string()?),
            "externalRefs" => value.each(|reference: ExternalRef<'_>| external(&mut self.entry, &reference))?,
            "primaryPackagePurpose" => self.is_image = value.string()? == "CONTAINER",
            _ => value.ignore()?,
        }
        Ok(())
    }

    fn end(self) -> Result<(), Unreadable> {
        // Told as something that is not compared, it would look as if a package were left out.
        if self.is_image && self.entry.may_be_image() {
            return self.entry.is_named();
        }
        self.entry.list(&mut self.list.borrow_mut())
    }
}

#[derive(Deserialize)]
struct ExternalRef<'a> {
    #[serde(borrow, rename = "referenceCategory")]
    category: Cow<'a, str>,
    #[serde(borrow, rename = "referenceType")]
    kind: Cow<'a, str>,
    #[serde(borrow, rename = "referenceLocator")]
    locator: Cow<'a, str>,
}

fn external(entry: &mut Entry, reference: &ExternalRef<'_>) -> Result<(), Unreadable> {
    // The type may be written out [SPDX 2.2, the example of its JSON form].
    if !matches!(&*reference.kind, "purl" | "http://spdx.org/rdf/references/purl") {
        return Ok(());
    }
    // With - in the text of the specification and with _ in the JSON schema of version 2.2.
    if !matches!(&*reference.category, "PACKAGE-MANAGER" | "PACKAGE_MANAGER") {
        return Err(Unreadable::new(format!(
            "a package URL in the category {} instead of PACKAGE-MANAGER",
            quoted(&reference.category)
        )));
    }
    entry.add_purl(&reference.locator)
}

struct File<'l> {
    list: &'l RefCell<Draft>,
    name: Option<FilePath>,
    digest: FileDigest,
}

#[derive(Deserialize)]
struct Checksum<'a> {
    #[serde(borrow)]
    algorithm: Cow<'a, str>,
    #[serde(borrow, rename = "checksumValue")]
    value: Cow<'a, str>,
}

impl<'de> Members<'de> for File<'_> {
    const WHAT: &'static str = "a file";

    fn member<A: MapAccess<'de>>(&mut self, key: &str, value: Value<'_, 'de, A>) -> Result<(), A::Error> {
        match key {
            "fileName" => self.name = Some(value.parse(FilePath::parse)?),
            "checksums" => value.each(|sum: Checksum<'_>| match &*sum.algorithm {
                "SHA256" => self.digest.add(&sum.value),
                _ => Ok(()),
            })?,
            _ => value.ignore()?,
        }
        Ok(())
    }

    fn end(self) -> Result<(), Unreadable> {
        let name = self.name.ok_or_else(|| Unreadable::new("a file has no fileName"))?;
        self.list.borrow_mut().add_file(name, self.digest.0);
        Ok(())
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
        format!(r#"{{"spdxVersion":"SPDX-2.3",{members}}}"#)
    }

    fn package(members: &str, purls: &[&str]) -> String {
        let refs = purls.iter().map(|purl| {
            format!(r#"{{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"{purl}"}}"#)
        });
        document(&format!(r#""packages":[{{{members},"externalRefs":[{}]}}]"#, refs.collect::<Vec<_>>().join(",")))
    }

    fn files(entries: &[(&str, &[(&str, &str)])]) -> String {
        let entries = entries.iter().map(|(path, sums)| {
            let sums = sums.iter().map(|(name, sum)| format!(r#"{{"algorithm":"{name}","checksumValue":"{sum}"}}"#));
            format!(r#"{{"fileName":"{path}","checksums":[{}]}}"#, sums.collect::<Vec<_>>().join(","))
        });
        document(&format!(r#""files":[{}]"#, entries.collect::<Vec<_>>().join(",")))
    }

    #[test]
    fn the_image_itself_is_no_package_in_it() {
        let image = |more: &str| format!(r#""name":"app","versionInfo":"1"{more}"#);
        let purpose = |purpose: &str| image(&format!(r#","primaryPackagePurpose":"{purpose}""#));
        let (oci, deb) = ("pkg:oci/app@sha256:00", "pkg:deb/debian/app@1?arch=all");
        check(&[
            ("a package", package(&image(""), &[]), Ok(r#""" 1"#)),
            ("the image", package(&purpose("CONTAINER"), &[]), Ok("")),
            ("with a URL of its own", package(&purpose("CONTAINER"), &[oci]), Ok("")),
            ("another purpose", package(&purpose("LIBRARY"), &[]), Ok(r#""" 1"#)),
            ("a package that says that it is an image", package(&purpose("CONTAINER"), &[deb]), Ok("deb app 1 all")),
        ]);
    }

    #[test]
    fn a_package_says_the_same_in_all_places() {
        let named = |name: &str, version: &str| format!(r#""name":"{name}","versionInfo":"{version}""#);
        let zlib = named("zlib1g", "1:1.2-1");
        let [image, library] =
            ["CONTAINER", "LIBRARY"].map(|what| format!(r#"{zlib},"primaryPackagePurpose":"{what}""#));
        let tiny = named("tiny", "1:2-3");
        let deb = "pkg:deb/debian/zlib1g@1:1.2-1?arch=amd64";
        let rpm = "pkg:rpm/fedora/tiny@2-3?epoch=1";
        check(&[
            ("deb", package(&zlib, &[deb]), Ok("deb zlib1g 1:1.2-1 amd64")),
            (
                "deb, epoch as a qualifier",
                package(&zlib, &["pkg:deb/debian/zlib1g@1.2-1?epoch=1"]),
                Ok("deb zlib1g 1:1.2-1"),
            ),
            ("deb, epoch in the URL alone", package(&named("zlib1g", "1.2-1"), &[deb]), Ok("deb zlib1g 1:1.2-1 amd64")),
            (
                "deb, epoch only beside the URL",
                package(&zlib, &["pkg:deb/debian/zlib1g@1.2-1"]),
                Err("the package \"zlib1g\" \"1:1.2-1\" has the package URL of zlib1g 1.2-1"),
            ),
            ("deb, epoch of nought beside the URL", package(&named("a", "0:1"), &["pkg:deb/a@1"]), Ok("deb a 1")),
            (
                "deb, another epoch",
                package(&named("zlib1g", "2:1.2-1"), &[deb]),
                Err("the package \"zlib1g\" \"2:1.2-1\" has the package URL of zlib1g 1:1.2-1 amd64"),
            ),
            (
                "deb, another version",
                package(&named("zlib1g", "1:1.2-2"), &[deb]),
                Err("the package \"zlib1g\" \"1:1.2-2\" has the package URL of zlib1g 1:1.2-1 amd64"),
            ),
            (
                "deb, another name",
                package(&named("zlib", "1:1.2-1"), &[deb]),
                Err("the package \"zlib\" has the package URL of zlib1g 1:1.2-1 amd64"),
            ),
            (
                "deb, another case",
                package(&named("Zlib1g", "1:1.2-1"), &[deb]),
                Err("the package \"Zlib1g\" has the package URL of zlib1g 1:1.2-1 amd64"),
            ),
            ("deb, no version beside the URL", package(r#""name":"zlib1g""#, &[deb]), Ok("deb zlib1g 1:1.2-1 amd64")),
            (
                "deb, an empty one",
                package(&named("zlib1g", ""), &[deb]),
                Err("the package \"zlib1g\" \"\" has the package URL of zlib1g 1:1.2-1 amd64"),
            ),
            ("rpm", package(&tiny, &[rpm]), Ok("rpm tiny 1:2-3")),
            ("rpm, epoch in the URL alone", package(&named("tiny", "2-3"), &[rpm]), Ok("rpm tiny 1:2-3")),
            (
                "rpm, epoch only beside the URL",
                package(&tiny, &["pkg:rpm/tiny@2-3"]),
                Err("the package \"tiny\" \"1:2-3\" has the package URL of tiny 2-3"),
            ),
            (
                "rpm, no release",
                package(&named("tiny", "2"), &["pkg:rpm/tiny@2-3"]),
                Err("the package \"tiny\" \"2\" has the package URL of tiny 2-3"),
            ),
            ("rpm, a key for signatures", package(&named("gpg-pubkey", "1-2"), &["pkg:rpm/gpg-pubkey@1-2"]), Ok("")),
            (
                "rpm, what is called as such a key",
                package(&named("gpg-pubkey", "1-2"), &["pkg:rpm/gpg-pubkey@1-2?arch=noarch"]),
                Ok("rpm gpg-pubkey 1-2 noarch"),
            ),
            (
                "deb, what is called as such a key",
                package(&named("gpg-pubkey", "1-2"), &["pkg:deb/gpg-pubkey@1-2"]),
                Ok("deb gpg-pubkey 1-2"),
            ),
            ("apk", package(&named("a", "1-r0"), &["pkg:apk/alpine/a@1-r0"]), Ok("apk a 1-r0")),
            (
                "apk, what would be an epoch elsewhere",
                package(&named("a", "1-r0"), &["pkg:apk/alpine/a@0:1-r0"]),
                Err("the package \"a\" \"1-r0\" has the package URL of a 0:1-r0"),
            ),
            ("no name", package(r#""versionInfo":"1:1.2-1""#, &[deb]), Err("a package has no name")),
            ("no URL", package(&zlib, &[]), Ok("\"\" 1")),
            ("the image itself, no URL", package(&image, &[]), Ok("")),
            ("the image itself", package(&image, &["pkg:oci/app@sha256:1"]), Ok("")),
            ("the image itself, another purpose", package(&library, &["pkg:oci/app@sha256:1"]), Ok("\"oci\" 1")),
            ("what only claims to be the image", package(&image, &["pkg:npm/a@1"]), Ok("\"npm\" 1")),
            ("a package that claims to be the image", package(&image, &[deb]), Ok("deb zlib1g 1:1.2-1 amd64")),
            (
                "an image without a name",
                package(r#""primaryPackagePurpose":"CONTAINER""#, &[]),
                Err("a package has no name"),
            ),
            ("URL of another type", package(&zlib, &["pkg:npm/x@1"]), Ok("\"npm\" 1")),
            ("no URL at all", package(&zlib, &["zlib1g"]), Err("the package URL \"zlib1g\": it has no scheme")),
            ("one URL twice", package(&zlib, &[deb, deb]), Ok("deb zlib1g 1:1.2-1 amd64")),
            (
                "two URLs of one package",
                package(&zlib, &[&format!("{deb}&repository_id=a"), &format!("{deb}&repository_id=b")]),
                Ok("deb zlib1g 1:1.2-1 amd64"),
            ),
            (
                "two packages",
                package(&zlib, &[deb, "pkg:deb/debian/zlib1g@1:1.2-1?arch=i386"]),
                Err("package URLs of one entry disagree: deb zlib1g 1:1.2-1 amd64 and deb zlib1g 1:1.2-1 i386"),
            ),
            (
                "two packages, one not compared",
                package(&zlib, &[deb, "pkg:generic/zlib@1.2"]),
                Err("package URLs of one entry disagree: deb zlib1g 1:1.2-1 amd64 and one of type generic"),
            ),
            (
                "the same, the other way round",
                package(&zlib, &["pkg:generic/zlib@1.2", deb]),
                Err("package URLs of one entry disagree: one of type generic and deb zlib1g 1:1.2-1 amd64"),
            ),
            ("two not compared", package(&zlib, &["pkg:github/zlib", "pkg:generic/zlib@1.2"]), Ok("\"github\" 1")),
        ]);
    }

    #[test]
    fn a_package_url_is_where_it_belongs() {
        let reference = |category: &str, kind: &str| {
            let reference = format!(
                r#"{{"referenceCategory":"{category}","referenceType":"{kind}","referenceLocator":"pkg:deb/a@1"}}"#
            );
            document(&format!(r#""packages":[{{"name":"a","externalRefs":[{reference}]}}]"#))
        };
        check(&[
            ("2.3", reference("PACKAGE-MANAGER", "purl"), Ok("deb a 1")),
            ("2.2", reference("PACKAGE_MANAGER", "purl"), Ok("deb a 1")),
            ("written out", reference("PACKAGE_MANAGER", "http://spdx.org/rdf/references/purl"), Ok("deb a 1")),
            (
                "elsewhere",
                reference("OTHER", "purl"),
                Err("a package URL in the category \"OTHER\" instead of PACKAGE-MANAGER"),
            ),
            ("something else", reference("PACKAGE-MANAGER", "bower"), Ok("\"\" 1")),
            ("no string", document(r#""packages":[{"name":1}]"#), Err("invalid type: integer `1`, expected a string")),
        ]);
    }

    #[test]
    fn a_file_has_one_path_and_one_digest() {
        check(&[
            ("SHA256", files(&[("./a/b", &[("SHA1", "00"), ("SHA256", A)])]), Ok("a/b ca97")),
            ("upper case digits", files(&[("/a", &[("SHA256", &A.to_uppercase())])]), Ok("a ca97")),
            ("SHA1 alone", files(&[("a", &[("SHA1", &"0".repeat(40))])]), Ok("a none")),
            ("another spelling", files(&[("a", &[("sha256", A)])]), Ok("a none")),
            ("none", files(&[("a", &[])]), Ok("a none")),
            ("no list of them", document(r#""files":[{"fileName":"a"}]"#), Ok("a none")),
            ("too short", files(&[("a", &[("SHA256", &A[1..])])]), Err(&format!("\"{}\" is no SHA-256", &A[1..]))),
            ("twice", files(&[("a", &[("SHA256", A), ("SHA256", A)])]), Ok("a ca97")),
            ("two", files(&[("a", &[("SHA256", A), ("SHA256", B)])]), Err("a file has two SHA-256 digests")),
            ("one path twice", files(&[("a", &[("SHA256", A)]), ("/a", &[("SHA256", A)])]), Ok("a ca97")),
            (
                "two digests for it",
                files(&[("a", &[("SHA256", A)]), ("/a", &[("SHA256", B)])]),
                Err("it gives the file \"a\" two digests"),
            ),
            (
                "one and none",
                files(&[("a", &[("SHA256", A)]), ("/a", &[])]),
                Err("it gives the file \"a\" two digests"),
            ),
            ("dots in a name", files(&[("a..b/...", &[("SHA256", A)])]), Ok("a..b/... ca97")),
            ("up and away", files(&[("a/../b", &[("SHA256", A)])]), Err("the path \"a/../b\" holds .. or NUL")),
            ("no path", document(r#""files":[{"checksums":[]}]"#), Err("a file has no fileName")),
            ("the root", files(&[("/", &[("SHA256", A)])]), Err("the path \"/\" names no file")),
        ]);
    }

    #[test]
    fn only_known_versions_are_read() {
        let of = |version: &str| format!(r#"{{"packages":[{{"name":"a"}}],"spdxVersion":{version}}}"#);
        check(&[
            ("2.2", of(r#""SPDX-2.2""#), Ok("\"\" 1")),
            ("2.3", of(r#""SPDX-2.3""#), Ok("\"\" 1")),
            ("2.1", of(r#""SPDX-2.1""#), Err("spdxVersion: expected SPDX-2.2 or SPDX-2.3, found \"SPDX-2.1\"")),
            ("3.0", of(r#""SPDX-3.0""#), Err("spdxVersion: expected SPDX-2.2 or SPDX-2.3, found \"SPDX-3.0\"")),
            (
                "in lower case",
                of(r#""spdx-2.3""#),
                Err("spdxVersion: expected SPDX-2.2 or SPDX-2.3, found \"spdx-2.3\""),
            ),
            ("a number", of("2.3"), Err("invalid type: floating point `2.3`, expected a string")),
            ("none", r#"{"packages":[]}"#.to_owned(), Err("not an SPDX document: it has no spdxVersion")),
            (
                "3.0 as its files are",
                r#"{"@context":"x","@graph":[]}"#.to_owned(),
                Err("not an SPDX document: it has no spdxVersion"),
            ),
            (
                "key twice in what is ignored",
                document(r#""x":[{"y":{"a":1,"a":2}}]"#),
                Err("the key \"a\" occurs twice in one object"),
            ),
            (
                "packages twice",
                document(r#""packages":[],"packages":[]"#),
                Err("the key \"packages\" occurs twice in one object"),
            ),
            ("another case is another key", document(r#""Packages":[{"name":"a"}]"#), Ok("")),
            ("more after it", document(r#""x":1"#) + "{}", Err("trailing characters")),
            ("cut", document(r#""x":1"#).trim_end_matches('}').to_owned(), Err("EOF while parsing an object")),
        ]);
    }

    #[test]
    fn no_list_that_is_cut_is_read() {
        let whole = package(r#""name":"zlib1g""#, &["pkg:deb/debian/zlib1g@1?arch=amd64"]);
        assert!(read(whole.as_bytes()).is_ok());
        for end in 0..whole.len() {
            assert!(read(&whole.as_bytes()[..end]).is_err(), "{end}");
        }
    }
}
