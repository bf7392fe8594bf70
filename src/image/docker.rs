//! What `docker load` would load: the image that `manifest.json` of an archive describes.
//!
//! Nothing here is signed and nothing is trusted; [`crate::image::check`] decides. This file says which bytes docker would take.
//!
//! Rules:
//! - One item. docker loads every item, one after the other, and the last one keeps a shared name.
//! - Paths are spelled as entries are. containerd does not clean them, docker and containers/image do.
//! - The config is a regular file. A layer is one, or a link to one: `docker save` up to 24 writes a repeated layer so.
//! - Every name in `RepoTags` has a tag and no digest.

use crate::image::error::{Code, Refusal};
use crate::image::manifest::{digest, known_keys};
use crate::image::tar::{Entry, Kind, Table};
use crate::limits::ArchiveLimits;
use crate::metadata::json::{self, At, Error, Value};
use crate::name::ImageName;
use crate::text::{escaped, quoted};

/// The file that makes an archive a docker-archive.
pub(crate) const MANIFEST: &str = "manifest.json";

const ITEM_KEYS: &[&str] = &["Config", "RepoTags", "Layers", "Parent", "LayerSources"];
const SOURCE_KEYS: &[&str] =
    &["mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"];

/// The one item of `manifest.json`.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) config: String,
    pub(crate) layers: Vec<String>,
    pub(crate) names: Vec<ImageName>,
}

impl Item {
    /// Reads `manifest.json`.
    pub(crate) fn parse(bytes: &[u8], limits: &ArchiveLimits) -> Result<Self, Refusal> {
        let value = json::parse(bytes)?;
        let at = At::document(&value);
        let items: Vec<At<'_>> = at.items()?.collect();
        let item = match items.as_slice() {
            [item] => item,
            [] => return Err(Refusal::new(Code::ArchiveNoImage, MANIFEST, "no image is listed")),
            several => {
                return Err(Refusal::new(Code::ArchiveSeveralImages, MANIFEST, "a loader would load them all")
                    .expected("one image")
                    .found(several.len()));
            }
        };
        known_keys(item, ITEM_KEYS)?;
        refuse_parent(item)?;
        refuse_foreign_sources(item)?;
        let layers = strings(item, "Layers", "layers", limits.layers)?;
        let names = strings(item, "RepoTags", "names", limits.names)?;
        Ok(Self {
            config: item.field("Config")?.string()?.to_owned(),
            layers,
            names: names.iter().map(|name| claim(MANIFEST, name)).collect::<Result<_, _>>()?,
        })
    }

    /// The config's entry.
    pub(crate) fn config<'a>(&self, table: &'a Table) -> Result<&'a Entry, Refusal> {
        regular_file(table, &self.config, "the config")
    }

    /// The entry that holds layer `i`'s bytes, for every layer, base first.
    pub(crate) fn layers<'a>(&self, table: &'a Table) -> Result<Vec<&'a Entry>, Refusal> {
        self.layers.iter().map(|name| layer_file(table, name)).collect()
    }
}

fn layer_file<'a>(table: &'a Table, name: &str) -> Result<&'a Entry, Refusal> {
    match table.get(name).map(|e| &e.kind) {
        Some(Kind::Symlink { target }) => regular_file(table, target, "the layer"),
        _ => regular_file(table, name, "the layer"),
    }
}

/// The regular file with exactly this name.
pub(crate) fn regular_file<'a>(table: &'a Table, name: &str, what: &str) -> Result<&'a Entry, Refusal> {
    let refused = |found: &str| {
        Refusal::new(Code::ArchiveMissingFile, escaped(name), format!("{what} is not in the archive"))
            .expected("a regular file with exactly this name")
            .found(found)
    };
    match table.get(name) {
        Some(entry) if entry.kind == Kind::File => Ok(entry),
        Some(Entry { kind: Kind::Directory, .. }) => Err(refused("a directory")),
        Some(_) => Err(refused("a link")),
        None => Err(refused("nothing")),
    }
}

/// A name that the archive claims, normalised.
pub(crate) fn claim(subject: &str, name: &str) -> Result<ImageName, Refusal> {
    ImageName::parse_claim(name).map_err(|e| Refusal::new(Code::NameMalformed, subject, e.to_string()))
}

/// A list of strings; Go writes an empty one as `null`. Every writer writes the key: where it is missing it was damaged, and with it
/// the names would be gone.
fn strings(item: &At<'_>, key: &str, what: &str, limit: usize) -> Result<Vec<String>, Refusal> {
    let list = item.field(key)?;
    if *list.value() == Value::Null {
        return Ok(Vec::new());
    }
    let list = list.items()?;
    if list.len() > limit {
        return Err(Refusal::new(Code::ArchiveLimit, MANIFEST, format!("too many {what}"))
            .expected(format!("at most {limit}"))
            .found(list.len()));
    }
    Ok(list.map(|text| text.string().map(str::to_owned)).collect::<Result<_, Error>>()?)
}

/// `Parent` links to another image of the archive, and there is none.
fn refuse_parent(item: &At<'_>) -> Result<(), Refusal> {
    match item.optional("Parent")?.map(|p| p.string()).transpose()? {
        None | Some("") => Ok(()),
        Some(parent) => {
            Err(Refusal::new(Code::ArchiveSeveralImages, MANIFEST, "the image has a parent image")
                .found(quoted(parent)))
        }
    }
}

/// `LayerSources` says where else layers are. On Linux nobody reads it; on Windows it is what makes docker fetch them.
fn refuse_foreign_sources(item: &At<'_>) -> Result<(), Refusal> {
    let Some(sources) = item.optional("LayerSources")?.filter(|s| *s.value() != Value::Null) else { return Ok(()) };
    for (_, source) in sources.fields()? {
        known_keys(&source, SOURCE_KEYS)?;
        let media_type = source.field("mediaType")?;
        let fetched = source.optional("urls")?.is_some() || media_type.string()?.contains(".foreign.");
        if fetched || media_type.string()?.contains(".nondistributable.") {
            return Err(Refusal::new(
                Code::ForeignContent,
                MANIFEST,
                format!("{} would be fetched from elsewhere", source.path()),
            ));
        }
        digest(&source.field("digest")?)?;
    }
    Ok(())
}
