//! Signed statements that a vulnerability does not concern an image, `advisories.openvex.json` [OpenVEX 0.2.0, and its drafts].
//!
//! Rules:
//! - Only `not_affected` and `fixed` silence an advisory.
//! - Of the statements about one vulnerability and one package, the newest counts. If several are the newest and one of them does not silence, nothing is silenced.
//! - A statement is about a package if a product is the package, or if a product is the image and the package is among its subcomponents, or it lists none.
//! - What is not understood of a product (another kind of identifier, a qualifier that is not known) makes it the product of nothing.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::Deserializer;

use super::error::Unreadable;
use super::package::{Kind, Package};
use super::strict::{self, List, Texts};
use crate::digest::Sha256;
use crate::name::ImageName;
use crate::text::{escaped, quoted};

/// The file's name in messages.
const FILE: &str = "advisories.openvex.json";
/// The document's size: some hundred thousand statements. In memory it takes some ten times as much.
const SIZE_MAX: usize = 32 * 1024 * 1024;
const STATEMENTS_MAX: usize = 100_000;
/// Products of a statement, and subcomponents of a product.
const PRODUCTS_MAX: usize = 65_536;

/// Statements that were read.
#[derive(Debug, Clone, Default)]
pub struct Vex {
    statements: Vec<Statement>,
    /// The places of the statements about a vulnerability.
    about: HashMap<String, Vec<usize>>,
}

/// One statement about one vulnerability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    vulnerability: String,
    status: Status,
    justification: Option<Justification>,
    impact: Option<String>,
    timestamp: DateTime<Utc>,
    products: Vec<Product>,
}

impl Statement {
    /// The vulnerability's name.
    #[must_use]
    pub fn vulnerability(&self) -> &str {
        &self.vulnerability
    }

    /// What it says of the products.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Why they are not affected, as one of five reasons.
    #[must_use]
    pub fn justification(&self) -> Option<Justification> {
        self.justification
    }

    /// Why they are not affected, in words. Untrusted text.
    #[must_use]
    pub fn impact(&self) -> Option<&str> {
        self.impact.as_deref()
    }

    /// Since when it is known: the statement's own time or the document's.
    #[must_use]
    pub fn timestamp(&self) -> DateTime<Utc> {
        self.timestamp
    }
}

/// What a statement says of its products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The vulnerability does them no harm.
    NotAffected,
    /// It does.
    Affected,
    /// It does no more.
    Fixed,
    /// That is not known yet.
    UnderInvestigation,
}

impl Status {
    /// The word for it in a statement.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAffected => "not_affected",
            Self::Affected => "affected",
            Self::Fixed => "fixed",
            Self::UnderInvestigation => "under_investigation",
        }
    }

    /// Whether an advisory needs no more attention.
    #[must_use]
    pub fn silences(self) -> bool {
        matches!(self, Self::NotAffected | Self::Fixed)
    }
}

/// Why a product is not affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Justification {
    /// The component is not in it.
    ComponentNotPresent,
    /// The code is not in it.
    VulnerableCodeNotPresent,
    /// The code is never run.
    VulnerableCodeNotInExecutePath,
    /// Nobody hostile gets at the code.
    VulnerableCodeCannotBeControlledByAdversary,
    /// Something else protects it.
    InlineMitigationsAlreadyExist,
}

impl Justification {
    /// The word for it in a statement.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ComponentNotPresent => "component_not_present",
            Self::VulnerableCodeNotPresent => "vulnerable_code_not_present",
            Self::VulnerableCodeNotInExecutePath => "vulnerable_code_not_in_execute_path",
            Self::VulnerableCodeCannotBeControlledByAdversary => "vulnerable_code_cannot_be_controlled_by_adversary",
            Self::InlineMitigationsAlreadyExist => "inline_mitigations_already_exist",
        }
    }
}

/// What makes a product in a statement the image that is looked at.
#[derive(Debug, Clone)]
pub struct ImageProduct<'a> {
    name: &'a ImageName,
    digests: &'a [Sha256],
}

impl<'a> ImageProduct<'a> {
    /// An image by its signed name, with the digests of its manifest and of the index that lists it, where there is one.
    #[must_use]
    pub fn new(name: &'a ImageName, digests: &'a [Sha256]) -> Self {
        Self { name, digests }
    }

    /// Whether an identifier is the image's: `pkg:oci/APP@sha256%3A<hex>` with one of the digests, `pkg:oci/APP?repository_url=HOST/REPO&tag=TAG` with its
    /// name, both at once, or the plain name `HOST/REPO:TAG`. A `repository_url` or `tag` that is not the image's makes it another's.
    #[must_use]
    pub fn accepts(&self, identifier: &str) -> bool {
        let Some(purl) = identifier.starts_with("pkg:").then(|| Purl::parse(identifier)) else {
            return identifier == self.name.to_string();
        };
        purl.is_some_and(|purl| self.is(&purl))
    }

    fn is(&self, purl: &Purl) -> bool {
        let last = self.name.repository().rsplit('/').next().unwrap_or_default();
        if purl.kind != "oci" || purl.namespace.is_some() || !purl.name.eq_ignore_ascii_case(last) {
            return false;
        }
        let repository = format!("{}/{}", self.name.host(), self.name.repository());
        let (mut repository_named, mut tag_named) = (false, false);
        for (key, value) in &purl.qualifiers {
            match key.as_str() {
                "repository_url" if *value == repository => repository_named = true,
                "tag" if Some(value.as_str()) == self.name.tag() => tag_named = true,
                // One image has one platform; what else is listed under the digest of an index has no digest of its own here.
                "arch" | "os" => {}
                _ => return false,
            }
        }
        match &purl.version {
            Some(version) => Sha256::from_oci(version).is_some_and(|digest| self.digests.contains(&digest)),
            None => repository_named && tag_named,
        }
    }
}

/// Reads statements.
///
/// # Errors
///
/// [`Unreadable`] if the document is not strict JSON, is over 32 MiB or is not OpenVEX, and if a statement lacks what makes it one: a vulnerability, a product, a status,
/// a time; or says `not_affected` and not why.
pub fn read(bytes: &[u8]) -> Result<Vex, Unreadable> {
    let raw: RawDocument = strict::read(FILE, bytes, SIZE_MAX)?;
    if raw.context != "https://openvex.dev/ns" && !raw.context.starts_with("https://openvex.dev/ns/v0.") {
        return Err(Unreadable::new(format!(
            "{FILE}: its @context is {}, no version of OpenVEX 0",
            quoted(&raw.context)
        )));
    }
    let document_time = raw.timestamp.as_deref().map(time).transpose()?;
    let mut vex = Vex::default();
    for (at, statement) in raw.statements.0.into_iter().enumerate() {
        let place = format!("{FILE}: statements[{at}]");
        let (names, statement) = statement.read(document_time).map_err(|error| error.of(&place))?;
        for name in names {
            let places = vex.about.entry(name).or_default();
            if places.last() != Some(&at) {
                places.push(at);
            }
        }
        vex.statements.push(statement);
    }
    Ok(vex)
}

impl Vex {
    /// All statements.
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The statement for which a vulnerability in a package of the image needs no more attention, if there is one. `ids` are names of this one vulnerability.
    #[must_use]
    pub fn silences(&self, ids: &[&str], package: &Package, image: &ImageProduct<'_>) -> Option<&Statement> {
        self.newest(ids, package, image).filter(|statement| statement.status.silences())
    }

    /// The statement that counts: of the newest, one that does not silence if there is such.
    pub(crate) fn newest(&self, ids: &[&str], package: &Package, image: &ImageProduct<'_>) -> Option<&Statement> {
        let places = ids.iter().filter_map(|id| self.about.get(*id)).flatten();
        let about = places.filter_map(|place| self.statements.get(*place)).filter(|s| s.is_about(package, image));
        let newest = about.clone().map(|statement| statement.timestamp).max()?;
        let newest = about.filter(|statement| statement.timestamp == newest);
        newest.min_by_key(|statement| statement.status.silences())
    }
}

impl Statement {
    fn is_about(&self, package: &Package, image: &ImageProduct<'_>) -> bool {
        self.products.iter().any(|product| {
            let whole = product.subcomponents.is_empty();
            let inside = || whole || product.subcomponents.iter().any(|part| part.is(package));
            (whole && product.component.is(package)) || (product.component.is_image(image) && inside())
        })
    }
}

/// A product; the vulnerability is in its subcomponents if there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Product {
    component: Component,
    subcomponents: Vec<Component>,
}

/// What identifies a product: identifiers that must all be the thing's. Without any it is nothing's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Component(Texts);

impl Component {
    fn is(&self, package: &Package) -> bool {
        !self.0.is_empty() && self.0.iter().all(|id| Purl::parse(id).is_some_and(|purl| purl.is(package)))
    }

    fn is_image(&self, image: &ImageProduct<'_>) -> bool {
        !self.0.is_empty() && self.0.iter().all(|id| image.accepts(id))
    }
}

/// A package URL as far as it is compared.
struct Purl {
    kind: String,
    namespace: Option<String>,
    name: String,
    version: Option<String>,
    qualifiers: Vec<(String, String)>,
}

impl Purl {
    /// `pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS`. `None` for what is not one, and for one with a subpath, which is a part of a package.
    fn parse(text: &str) -> Option<Self> {
        if text.contains('#') {
            return None;
        }
        let rest = text.strip_prefix("pkg:")?.trim_start_matches('/');
        let (rest, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
        // The last @ starts the version: namespaces of other types begin with one.
        let (path, version) = rest.rsplit_once('@').map_or((rest, None), |(path, version)| (path, Some(version)));
        let (kind, path) = path.split_once('/')?;
        let (namespace, name) = path.rsplit_once('/').map_or((None, path), |(namespace, name)| (Some(namespace), name));
        let mut read = Vec::new();
        for qualifier in qualifiers.split('&').filter(|qualifier| !qualifier.is_empty()) {
            let (key, value) = qualifier.split_once('=')?;
            let key = key.to_ascii_lowercase();
            if read.iter().any(|(before, _)| *before == key) {
                return None;
            }
            read.push((key, decoded(value)?));
        }
        let version = version.map(decoded).map_or(Some(None), |version| version.map(Some))?;
        let namespace = namespace.map(decoded).map_or(Some(None), |namespace| namespace.map(Some))?;
        let name = decoded(name).filter(|name| !name.is_empty())?;
        Some(Self {
            kind: kind.to_ascii_lowercase(),
            namespace: namespace.filter(|namespace| !namespace.is_empty()),
            name,
            version: version.filter(|version| !version.is_empty()),
            qualifiers: read,
        })
    }

    /// Whether it is this package: what it does not state, it does not restrict. The namespace and the distribution are not known of a package.
    fn is(&self, package: &Package) -> bool {
        if Kind::from_purl_type(&self.kind) != Some(package.kind()) {
            return false;
        }
        let (mut arch, mut epoch) = (None, None);
        for (key, value) in &self.qualifiers {
            match key.as_str() {
                "arch" => arch = Some(value.as_str()),
                "epoch" if package.kind() == Kind::Rpm => epoch = Some(value.as_str()),
                "distro" | "upstream" => {}
                _ => return false,
            }
        }
        let of_source = matches!(arch, Some("source" | "src"));
        let own = (package.name(), package.version());
        let source = package.source().map_or(own, |source| (source.name.as_str(), source.version.as_str()));
        let (name, version) = if of_source { source } else { own };
        self.name == name
            && self.version.as_deref().is_none_or(|wanted| is_version(package.kind(), wanted, epoch, version))
            && (of_source || arch.is_none_or(|arch| package.arch() == Some(arch)))
    }
}

/// Whether a version, with the epoch that RPMs have in a qualifier, is the installed one. No epoch is an epoch of 0.
fn is_version(kind: Kind, wanted: &str, epoch: Option<&str>, version: &str) -> bool {
    let wanted = match epoch {
        Some(epoch) if !wanted.starts_with(&format!("{epoch}:")) => format!("{epoch}:{wanted}"),
        _ => wanted.to_owned(),
    };
    let wanted = if kind == Kind::Apk { &wanted } else { wanted.strip_prefix("0:").unwrap_or(&wanted) };
    wanted == version
}

/// Without percent escapes; `+` is itself.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

fn time(text: &str) -> Result<DateTime<Utc>, Unreadable> {
    let time = DateTime::parse_from_rfc3339(text);
    time.map(|time| time.to_utc()).map_err(|_| Unreadable::new(format!("{FILE}: not a time: {}", quoted(text))))
}

#[derive(Deserialize)]
struct RawDocument {
    #[serde(rename = "@context")]
    context: String,
    timestamp: Option<String>,
    statements: List<RawStatement, STATEMENTS_MAX>,
}

#[derive(Deserialize)]
struct RawStatement {
    vulnerability: RawVulnerability,
    #[serde(default)]
    products: List<RawProduct, PRODUCTS_MAX>,
    /// In drafts, those of all products.
    #[serde(default)]
    subcomponents: List<RawComponent, PRODUCTS_MAX>,
    status: Status,
    justification: Option<String>,
    impact_statement: Option<String>,
    timestamp: Option<String>,
}

impl RawStatement {
    /// The statement, and the names of its vulnerability.
    fn read(self, document_time: Option<DateTime<Utc>>) -> Result<(Vec<String>, Statement), Unreadable> {
        let fail = |why: String| Err(Unreadable::new(why));
        let names = self.vulnerability.names();
        let Some(vulnerability) = names.first().cloned() else {
            return fail("its vulnerability has no name".to_owned());
        };
        let justification = self.justification.filter(|label| !label.is_empty());
        let justification = match justification {
            Some(label) => match serde_json::from_value(label.as_str().into()) {
                Ok(justification) => Some(justification),
                Err(_) => return fail(format!("no justification of VEX: {}", quoted(&label))),
            },
            None => None,
        };
        let impact = self.impact_statement.filter(|text| !text.trim().is_empty());
        if self.status == Status::NotAffected && justification.is_none() && impact.is_none() {
            return fail(format!("{}: not_affected, and not why", escaped(&vulnerability)));
        }
        let timestamp = self.timestamp.as_deref().map(time).transpose()?.or(document_time);
        let Some(timestamp) = timestamp else { return fail(format!("{}: no timestamp", escaped(&vulnerability))) };
        if self.products.0.is_empty() {
            return fail(format!("{}: no products", escaped(&vulnerability)));
        }
        // What stands at the statement is true of each product, so a product with its own keeps both.
        let shared: Vec<Component> = self.subcomponents.0.into_iter().map(RawComponent::component).collect();
        if self.products.0.len().saturating_mul(shared.len()) > PRODUCTS_MAX {
            return fail(format!("{}: too many subcomponents of too many products", escaped(&vulnerability)));
        }
        let products = self.products.0.into_iter().map(|product| {
            let subcomponents = product.subcomponents.0.into_iter().map(RawComponent::component);
            Product {
                subcomponents: subcomponents.chain(shared.iter().cloned()).collect(),
                component: product.of.component(),
            }
        });
        let products = products.collect();
        let statement = Statement { vulnerability, status: self.status, justification, impact, timestamp, products };
        Ok((names, statement))
    }
}

/// A name, or an object with it.
struct RawVulnerability {
    id: Option<String>,
    name: Option<String>,
    aliases: Texts,
}

impl RawVulnerability {
    /// The name first; the `@id`, an address, only where there is no name.
    fn names(&self) -> Vec<String> {
        let name = self.name.as_ref().or(self.id.as_ref()).filter(|name| !name.is_empty());
        let Some(name) = name else { return Vec::new() };
        [name.as_str()]
            .into_iter()
            .chain(self.aliases.iter().filter(|alias| !alias.is_empty()))
            .map(str::to_owned)
            .collect()
    }
}

#[derive(Deserialize)]
struct VulnerabilityObject {
    #[serde(rename = "@id")]
    id: Option<String>,
    name: Option<String>,
    #[serde(default)]
    aliases: Texts,
}

impl<'de> Deserialize<'de> for RawVulnerability {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        Ok(match reader.deserialize_any(TextOr::<VulnerabilityObject>::new())? {
            Either::Text(name) => Self { id: None, name: Some(name), aliases: Texts::default() },
            Either::Object(VulnerabilityObject { id, name, aliases }) => Self { id, name, aliases },
        })
    }
}

struct RawProduct {
    of: RawComponent,
    subcomponents: List<RawComponent, PRODUCTS_MAX>,
}

#[derive(Deserialize)]
struct ProductObject {
    #[serde(rename = "@id")]
    id: Option<String>,
    #[serde(default)]
    identifiers: Option<Identifiers>,
    #[serde(default)]
    subcomponents: List<RawComponent, PRODUCTS_MAX>,
}

impl<'de> Deserialize<'de> for RawProduct {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        Ok(match reader.deserialize_any(TextOr::<ProductObject>::new())? {
            Either::Text(id) => Self { of: RawComponent { id: Some(id), purl: None }, subcomponents: List::default() },
            Either::Object(ProductObject { id, identifiers, subcomponents }) => {
                Self { of: RawComponent { id, purl: identifiers.and_then(|all| all.purl) }, subcomponents }
            }
        })
    }
}

struct RawComponent {
    id: Option<String>,
    purl: Option<String>,
}

#[derive(Deserialize)]
struct ComponentObject {
    #[serde(rename = "@id")]
    id: Option<String>,
    #[serde(default)]
    identifiers: Option<Identifiers>,
}

#[derive(Deserialize)]
struct Identifiers {
    purl: Option<String>,
}

impl<'de> Deserialize<'de> for RawComponent {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        Ok(match reader.deserialize_any(TextOr::<ComponentObject>::new())? {
            Either::Text(id) => Self { id: Some(id), purl: None },
            Either::Object(ComponentObject { id, identifiers }) => {
                Self { id, purl: identifiers.and_then(|all| all.purl) }
            }
        })
    }
}

impl RawComponent {
    /// A package URL says what it is; an `@id` that is none counts only where there is no package URL, for it may be a name within the document.
    fn component(self) -> Component {
        let mut identifiers = Texts::default();
        if let Some(purl) = &self.purl {
            identifiers.push(purl);
        }
        if let Some(id) = self.id.filter(|id| self.purl.is_none() || id.starts_with("pkg:")) {
            identifiers.push(&id);
        }
        Component(identifiers)
    }
}

enum Either<T> {
    Text(String),
    Object(T),
}

/// Reads a string, or an object as `T`.
struct TextOr<T>(std::marker::PhantomData<T>);

impl<T> TextOr<T> {
    fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for TextOr<T> {
    type Value = Either<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string or an object")
    }

    fn visit_str<E>(self, text: &str) -> Result<Either<T>, E> {
        Ok(Either::Text(text.to_owned()))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Either<T>, A::Error> {
        T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Either::Object)
    }
}

#[cfg(test)]
mod tests;
