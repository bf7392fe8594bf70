//! What `docker load` would load: the images that `manifest.json` of an archive describes.
//!
//! Nothing here is signed and nothing is trusted; [`crate::image::check`] decides. This file says which bytes docker would take.
//!
//! Rules:
//! - docker loads every item, one after the other, so none is skipped.
//! - Paths are spelled as entries are. containerd does not clean them, docker and containers/image do.
//! - The config is a regular file. A layer is one, or a link to one: `docker save` up to 24 writes a repeated layer so.
//! - Every name in `RepoTags` has a tag and no digest.

use crate::digest::Sha256;
use crate::image::documents::{Documents, regular_file};
use crate::image::error::{ArchiveError, Code, Refusal};
use crate::image::manifest::{Config, at_most, digest, known_keys};
use crate::image::tar::{Entry, Kind, Table};
use crate::limits::{ArchiveLimits, Bound, bound};
use crate::metadata::json::{self, At, Error, Value};
use crate::name::ImageName;

/// The file that makes an archive a docker-archive.
pub(crate) const MANIFEST: &str = "manifest.json";

const ITEM_KEYS: &[&str] = &["Config", "RepoTags", "Layers", "Parent", "LayerSources"];
const SOURCE_KEYS: &[&str] =
    &["mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"];

/// An image that docker would load.
#[derive(Debug)]
pub(crate) struct DockerImage {
    pub(crate) names: Vec<ImageName>,
    /// The config digest of the image that docker links it to.
    pub(crate) parent: Option<Sha256>,
    pub(crate) config_entry: Entry,
    pub(crate) config_digest: Sha256,
    pub(crate) config: Config,
    /// The name of each layer's entry, links followed, base first.
    pub(crate) layers: Vec<String>,
}

impl DockerImage {
    /// Follows `manifest.json`, whose bytes are given, to the configs and layers of `table`.
    pub(crate) fn read_all(
        manifest_json: &[u8],
        table: &Table,
        documents: &mut dyn Documents,
        limits: &ArchiveLimits,
    ) -> Result<Vec<Self>, ArchiveError> {
        let items = Item::parse_all(manifest_json, limits).map_err(|r| r.about(MANIFEST))?;
        items.into_iter().map(|item| Self::read(item, table, documents, limits)).collect()
    }

    fn read(
        item: Item,
        table: &Table,
        documents: &mut dyn Documents,
        limits: &ArchiveLimits,
    ) -> Result<Self, ArchiveError> {
        let config_entry = regular_file(table, &item.config, "the config")?.clone();
        let layers = item.layers.iter().map(|name| Ok(layer_file(table, name)?.name.clone()));
        let layers = layers.collect::<Result<_, Refusal>>()?;
        let bytes = documents.document(&config_entry, bound!(limits, config))?;
        let config = Config::parse(&bytes, limits).map_err(|r| r.about(&config_entry.name))?;
        let config_digest = Sha256::of(&bytes);
        Ok(Self { names: item.names, parent: item.parent, config_entry, config_digest, config, layers })
    }
}

/// An item of `manifest.json`.
#[derive(Debug)]
struct Item {
    config: String,
    layers: Vec<String>,
    names: Vec<ImageName>,
    parent: Option<Sha256>,
}

impl Item {
    /// Reads `manifest.json`.
    fn parse_all(bytes: &[u8], limits: &ArchiveLimits) -> Result<Vec<Self>, Refusal> {
        let value = json::parse(bytes)?;
        let at = At::document(&value);
        let items = at.items()?;
        if items.len() == 0 {
            return Err(Refusal::new(Code::ArchiveNoImage, MANIFEST, "no image is listed"));
        }
        at_most("images", items.len(), bound!(limits, images))?;
        items.map(|item| Self::read(&item, limits)).collect()
    }

    fn read(item: &At<'_>, limits: &ArchiveLimits) -> Result<Self, Refusal> {
        known_keys(item, ITEM_KEYS)?;
        refuse_foreign_sources(item)?;
        let layers = strings(item, "Layers", "layers", bound!(limits, layers))?;
        let names = strings(item, "RepoTags", "names", bound!(limits, names))?;
        Ok(Self {
            config: item.field("Config")?.string()?.to_owned(),
            layers,
            names: names.iter().map(|name| claim(MANIFEST, name)).collect::<Result<_, _>>()?,
            parent: parent(item)?,
        })
    }
}

fn layer_file<'a>(table: &'a Table, name: &str) -> Result<&'a Entry, Refusal> {
    match table.get(name).map(|e| &e.kind) {
        Some(Kind::Symlink { target }) => regular_file(table, target, "the layer"),
        _ => regular_file(table, name, "the layer"),
    }
}

/// A name that the archive claims, normalised.
pub(crate) fn claim(subject: &str, name: &str) -> Result<ImageName, Refusal> {
    ImageName::parse_claim(name).map_err(|e| Refusal::new(Code::NameMalformed, subject, e.to_string()))
}

/// A list of strings; Go writes an empty one as `null`. Every writer writes the key: where it is missing it was damaged, and with it
/// the names would be gone.
fn strings(item: &At<'_>, key: &str, what: &str, limit: Bound) -> Result<Vec<String>, Refusal> {
    let list = item.field(key)?;
    if *list.value() == Value::Null {
        return Ok(Vec::new());
    }
    let list = list.items()?;
    at_most(what, list.len(), limit)?;
    Ok(list.map(|text| text.string().map(str::to_owned)).collect::<Result<_, Error>>()?)
}

/// The image ID in `Parent`, which docker writes for images that it built itself.
fn parent(item: &At<'_>) -> Result<Option<Sha256>, Refusal> {
    let parent = item.optional("Parent")?.filter(|parent| *parent.value() != Value::Null);
    parent.filter(|parent| parent.string() != Ok("")).map(|parent| digest(&parent)).transpose()
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
