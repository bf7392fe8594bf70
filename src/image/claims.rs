//! The images that an archive claims to hold: each with what docker and what the loaders of OCI layouts would take for it.
//!
//! Nothing here is signed; [`crate::image::check`] decides about each image on its own.
//!
//! Rules:
//! - A loader loads all images that its half lists, so each has to be signed; none is skipped.
//! - In a hybrid both halves list the same images: as many, and in pairs of one config.
//! - No two images have one name, to no loader: the last would keep it, whatever was verified under it before. podman makes
//!   `localhost/app` of a short `app`, which to docker is `docker.io/library/app`.
//! - Of several images none is named by its tag alone, of which each loader makes a name of its own.
//! - An image may name a parent (docker's own link for its build history) only if that is another image of the archive.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Sha256;
use crate::image::docker::{self, DockerImage};
use crate::image::error::{Code, Refusal};
use crate::image::oci::{self, Layout, Top};
use crate::name::ImageName;
use crate::text::quoted;

/// One image of an archive, as the archive describes it.
#[derive(Debug)]
pub struct ClaimedImage {
    pub(crate) names: Vec<ImageName>,
    pub(crate) tags: Vec<String>,
    pub(crate) docker: Option<DockerImage>,
    pub(crate) oci: Option<Top>,
}

impl ClaimedImage {
    /// Every distinct name that the archive gives the image, normalised and sorted.
    #[must_use]
    pub fn names(&self) -> &[ImageName] {
        &self.names
    }

    /// Every distinct bare tag that the archive gives the image, as OCI layouts do; the check compares it with the tags of the allowed
    /// names.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    fn new(docker: Option<DockerImage>, oci: Option<Layout>) -> Self {
        let (mut names, mut tags, mut top) = (Vec::new(), Vec::new(), None);
        names.extend(docker.iter().flat_map(|image| image.names.iter().cloned()));
        if let Some(layout) = oci {
            names.extend(layout.names);
            tags.extend(layout.tags);
            top = Some(layout.top);
        }
        names.sort();
        names.dedup();
        tags.sort();
        tags.dedup();
        Self { names, tags, docker, oci: top }
    }
}

/// The images of an archive from what its halves list, in the order in which they are listed.
pub(crate) fn images(docker: Option<Vec<DockerImage>>, oci: Option<Vec<Layout>>) -> Result<Vec<ClaimedImage>, Refusal> {
    refuse_strange_parents(docker.as_deref().unwrap_or_default())?;
    refuse_tags_alone(oci.as_deref().unwrap_or_default())?;
    let images = match (docker, oci) {
        (Some(docker), Some(oci)) => pairs(docker, oci)?,
        (docker, oci) => {
            let docker = docker.into_iter().flatten().map(|image| ClaimedImage::new(Some(image), None));
            docker.chain(oci.into_iter().flatten().map(|layout| ClaimedImage::new(None, Some(layout)))).collect()
        }
    };
    refuse_shared_names(&images)?;
    Ok(images)
}

/// One image in each half is one pair: whether they are the same is for the check to say, and it says more than that they differ.
fn pairs(docker: Vec<DockerImage>, mut oci: Vec<Layout>) -> Result<Vec<ClaimedImage>, Refusal> {
    let differ = || Refusal::new(Code::ArchiveSeveralImages, oci::INDEX, "the two halves do not list the same images");
    if docker.len() != oci.len() {
        return Err(differ().expected(format!("{} images, as in {}", docker.len(), docker::MANIFEST)).found(oci.len()));
    }
    let only = docker.len() == 1;
    let mut images = Vec::new();
    for image in docker {
        let same = |layout: &Layout| only || layout.top.configs().any(|config| config == image.config_digest);
        let place = oci.iter().position(same);
        let place = place.ok_or_else(|| differ().expected(format!("an image of config {}", image.config_digest)))?;
        images.push(ClaimedImage::new(Some(image), Some(oci.remove(place))));
    }
    Ok(images)
}

fn refuse_shared_names(images: &[ClaimedImage]) -> Result<(), Refusal> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (place, image) in images.iter().enumerate() {
        for name in &image.names {
            for reading in readings(name) {
                if seen.insert(reading, place).is_some_and(|before| before != place) {
                    let message = "two images of the archive have this name, at least to podman, and a loader would keep the last";
                    return Err(Refusal::new(Code::ArchiveSeveralImages, name, message));
                }
            }
        }
    }
    Ok(())
}

/// A name as docker and containerd read it, and as podman does if it was written without a host. How it was written is not known any more.
fn readings(name: &ImageName) -> Vec<String> {
    let mut readings = vec![name.to_string()];
    if name.host() == "docker.io" {
        readings.push(format!("localhost/{}", name.familiar()));
        readings.push(format!("localhost/{}", name.to_string().trim_start_matches("docker.io/")));
    }
    readings
}

/// `docker save` and containerd write the full name beside the tag. One image alone may have its tag alone, as OCI tools write it.
fn refuse_tags_alone(images: &[Layout]) -> Result<(), Refusal> {
    let alone = images.iter().find_map(|image| image.tag_alone.as_ref()).filter(|_| images.len() > 1);
    match alone {
        None => Ok(()),
        Some(tag) => {
            let message =
                "one of several images is named by its tag alone, of which each loader makes a name of its own";
            Err(Refusal::new(Code::ArchiveSeveralImages, oci::INDEX, message)
                .expected("a full name")
                .found(quoted(tag)))
        }
    }
}

/// `Parent` links an image to another of the same archive, and to nothing else.
fn refuse_strange_parents(images: &[DockerImage]) -> Result<(), Refusal> {
    let known: BTreeSet<Sha256> = images.iter().map(|image| image.config_digest).collect();
    for image in images {
        let strange = |parent: &Sha256| *parent == image.config_digest || !known.contains(parent);
        if let Some(parent) = image.parent.filter(strange) {
            let message = "the image has a parent that is no other image of the archive";
            return Err(Refusal::new(Code::ArchiveSeveralImages, docker::MANIFEST, message).found(parent));
        }
    }
    Ok(())
}
