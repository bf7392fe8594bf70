//! What a bundle says that it holds, and what is there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde_json::json;

use super::unreadable;
use crate::image::manifest::Platform;
use crate::metadata::json::{self, At};
use crate::name::ImageName;
use crate::text::escaped;
use crate::verdict::Finding;
use crate::verify::Stop;

pub(super) const METADATA: &str = "metadata/";
pub(super) const TARGETS: &str = "targets/";
pub(super) const ARCHIVES: &str = "archives/";
pub(super) const CONTENTS: &str = "bundle.json";
const SCHEMA: &str = "plimsoll/bundle-contents/v1";
/// A line for each file; a repository with a million files is larger than any known.
const CONTENTS_MAX: u64 = 64 << 20;
/// More files than any bundle has, and few enough to list in memory.
const FILES_MAX: usize = 1 << 20;
/// Deeper than any target path that is signed: a name has at most 255 characters, so 128 components.
const DEPTH_MAX: usize = 160;

/// `bundle.json`. Nobody signs it: what it names is looked for and checked, and what is there without being named is a finding.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) images: Vec<ImageName>,
    pub(super) archives: Vec<ArchiveHint>,
    /// Files that an earlier bundle has brought, with `targets/` or `archives/` in front.
    pub(super) left_out: Vec<String>,
}

/// An archive, and as what it verifies. It is checked as just that.
#[derive(Debug, Clone)]
pub(super) struct ArchiveHint {
    /// Its name below `archives/`.
    pub(super) file: String,
    /// Where it claims no name of its own.
    pub(super) image: Option<ImageName>,
    /// Where several platforms are signed.
    pub(super) platform: Option<Platform>,
}

impl Contents {
    pub(super) fn read(bundle: &Path) -> Result<Self, Stop> {
        let path = bundle.join(CONTENTS);
        let found = fs::symlink_metadata(&path).map_err(|error| unreadable(&path, &error))?;
        if !found.is_file() || found.len() > CONTENTS_MAX {
            return Err(malformed(&format!("expected a file of at most {CONTENTS_MAX} bytes")));
        }
        // It may grow between the look at it and the reading.
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(CONTENTS_MAX).read_to_end(&mut bytes));
        read.map_err(|error| unreadable(&path, &error))?;
        Self::parse(&bytes).map_err(|error| malformed(&error))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value = json::parse(bytes).map_err(|e| e.to_string())?;
        let at = At::document(&value);
        let shape = |error: json::Error| error.to_string();
        let schema = at.field("schema").map_err(shape)?.string().map_err(shape)?.to_owned();
        if schema != SCHEMA {
            return Err(format!("expected the schema {SCHEMA}, found {}", escaped(&schema)));
        }
        let mut contents = Self::default();
        for item in at.field("images").map_err(shape)?.items().map_err(shape)? {
            contents.images.push(image(item.string().map_err(shape)?)?);
        }
        if contents.images.is_empty() {
            return Err("it names no image".to_owned());
        }
        for item in at.field("archives").map_err(shape)?.items().map_err(shape)? {
            let file = item.field("file").map_err(shape)?.string().map_err(shape)?.to_owned();
            if !is_archive_name(&file) {
                return Err(format!("expected the name of an archive, found {}", escaped(&file)));
            }
            if contents.archives.iter().any(|other| other.file == file) {
                return Err(format!("the archive {} is there twice", escaped(&file)));
            }
            let text = |key| -> Result<Option<String>, json::Error> {
                item.optional(key)?.map(|at| at.string().map(str::to_owned)).transpose()
            };
            let image = text("image").map_err(shape)?.map(|text| image(&text)).transpose()?;
            let platform = text("platform").map_err(shape)?;
            let platform = platform.map(|text| Platform::parse(&text).map_err(|e| e.to_string())).transpose()?;
            contents.archives.push(ArchiveHint { file, image, platform });
        }
        for item in at.field("left_out").map_err(shape)?.items().map_err(shape)? {
            contents.left_out.push(item.string().map_err(shape)?.to_owned());
        }
        Ok(contents)
    }

    pub(super) fn to_json(&self) -> String {
        let archives = self.archives.iter().map(|archive| {
            let mut entry = json!({"file": archive.file});
            if let (Some(image), Some(fields)) = (&archive.image, entry.as_object_mut()) {
                fields.insert("image".to_owned(), json!(image.to_string()));
            }
            if let (Some(platform), Some(fields)) = (&archive.platform, entry.as_object_mut()) {
                fields.insert("platform".to_owned(), json!(platform.to_string()));
            }
            entry
        });
        let images = self.images.iter().map(ToString::to_string);
        let text = json!({
            "schema": SCHEMA,
            "images": images.collect::<Vec<_>>(),
            "archives": archives.collect::<Vec<_>>(),
            "left_out": self.left_out,
        });
        format!("{text:#}\n")
    }

    pub(super) fn leaves_out(&self, folder: &str, file: &str) -> bool {
        self.left_out.iter().any(|left| left.strip_prefix(folder) == Some(file))
    }
}

fn image(text: &str) -> Result<ImageName, String> {
    ImageName::parse(text).map_err(|e| e.to_string())
}

/// One file name that is the same everywhere, and none that this program gives to what is not in place yet.
pub(super) fn is_archive_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']) && !name.chars().any(char::is_control)
}

fn malformed(why: &str) -> Stop {
    Stop::Untrusted(vec![Finding::new("bundle-contents-malformed", format!("{CONTENTS}: {why}")).about(CONTENTS)])
}

/// Everything below a folder that is no folder, by its name with `/`; the value says whether it is a regular file.
pub(super) fn listing(top: &Path) -> Result<BTreeMap<String, bool>, Stop> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(String::new(), 0_usize)];
    while let Some((folder, depth)) = folders.pop() {
        let path = top.join(&folder);
        for entry in fs::read_dir(&path).map_err(|error| unreadable(&path, &error))? {
            let entry = entry.map_err(|error| unreadable(&path, &error))?;
            let kind = entry.file_type().map_err(|error| unreadable(&entry.path(), &error))?;
            // A name that is not UTF-8 is that of no file that could be meant: it is shown, and accounted for by nothing.
            let name = entry.file_name();
            let is_text = name.to_str().is_some();
            let name = format!("{folder}{}", name.to_string_lossy());
            if found.len().saturating_add(folders.len()) >= FILES_MAX || depth >= DEPTH_MAX {
                let text = format!("more than {FILES_MAX} files, or folders more than {DEPTH_MAX} deep");
                return Err(Stop::Untrusted(vec![Finding::new("bundle-extra-file", text).about(name)]));
            }
            if kind.is_dir() && is_text {
                folders.push((format!("{name}/"), depth.saturating_add(1)));
            } else {
                found.insert(name, kind.is_file() && is_text);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_come_back_as_they_were_written_and_nothing_else_is_taken() {
        let name = |text: &str| ImageName::parse(text).unwrap();
        let contents = Contents {
            images: vec![name("alpine"), name("registry.example/app:1")],
            archives: vec![
                ArchiveHint { file: "a.tar".into(), image: Some(name("alpine")), platform: None },
                ArchiveHint { file: "b.tar".into(), image: None, platform: Platform::parse("linux/arm/v7").ok() },
            ],
            left_out: vec!["targets/x".into()],
        };
        let text = contents.to_json();
        assert_eq!(Contents::parse(text.as_bytes()).unwrap().to_json(), text);
        assert!(contents.leaves_out("targets/", "x") && !contents.leaves_out("archives/", "x"));
        for (good, bad) in [
            ("bundle-contents/v1", "bundle-contents/v2"),
            ("\"a.tar\"", "\"b.tar\""),
            ("\"a.tar\"", "\"../a.tar\""),
            ("\"a.tar\"", "\".new-a.tar\""),
            ("\"a.tar\"", "\"\""),
            ("linux/arm/v7", "linux"),
            ("registry.example/app:1", "registry.example/App:1"),
            ("\"left_out\"", "\"left\""),
            ("\"targets/x\"", "1"),
            ("{", "["),
            ("\"docker.io/library/alpine:latest\",\n    \"registry.example/app:1\"", ""),
        ] {
            assert!(text.contains(good) && Contents::parse(text.replacen(good, bad, 1).as_bytes()).is_err(), "{bad}");
        }
    }
}
