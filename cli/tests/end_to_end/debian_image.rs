//! A whole Debian image: built, saved, signed, verified, spoilt in every part, and loaded.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::archive::{DockerArchive, Flippable, after, size, truncated, with_manifest};
use crate::debian::{Debian, FULL_NAME, NAME, TARGET};
use crate::plimsoll::Verify;
use crate::repository::Repository;
use crate::tools::{Need, Scratch, daemon_alone, docker, have, output};

const NEEDS: &[Need] = &[Need::PythonTuf, Need::Docker, Need::Skopeo, Need::Debootstrap];

/// The Debian image, and a repository that signs it.
fn signed(scratch: &Scratch) -> (&'static Debian, Repository) {
    let debian = Debian::get();
    let repository =
        Repository::create(scratch.join("repository"), &[(NAME, &debian.manifest)], &["--layout", "nested"]);
    (debian, repository)
}

/// Verifies an archive of the Debian image; each call starts with nothing trusted but the pinned root.
fn verify<'a>(archive: &'a Path, repository: &'a Repository, scratch: &Scratch) -> Verify<'a> {
    let store = scratch.join("store");
    let _ = std::fs::remove_dir_all(&store);
    Verify::new(archive, repository, store).image(NAME)
}

#[test]
fn what_docker_saved_is_trusted_and_loads_as_the_verdict_says() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let (debian, repository) = signed(&scratch);
    assert!(size(&debian.archive) > 100_000_000);
    assert!(DockerArchive::read(&debian.archive).layers.len() >= 3);
    let verdict = verify(&debian.archive, &repository, &scratch).run().assert_trusted();
    verify(&debian.archive, &repository, &scratch).image(FULL_NAME).run().assert_trusted();

    let _daemon = daemon_alone();
    assert_eq!(docker(["images", "--all", "--quiet"]), "", "a layer that the daemon knows it does not read");
    docker(["load", "--quiet", "--input", debian.archive.to_str().unwrap()]);
    let id = docker(["inspect", "--format", "{{.Id}}", NAME]);
    let codename = docker(["run", "--rm", "--network", "none", NAME, "bash", "-c", ". /etc/os-release; echo $ID"]);
    docker(["rmi", "--force", NAME]);

    assert_eq!(verdict.config(), id.trim());
    assert_eq!(codename.trim(), "debian");
}

#[test]
fn one_flipped_bit_in_any_part_is_refused() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let (debian, repository) = signed(&scratch);
    let parts = DockerArchive::read(&debian.archive);
    let copy = Flippable::copy(&debian.archive, scratch.join("flipped.tar"));
    let refused = |offset: u64, bit: u32| {
        copy.flipped(offset, bit, |archive| verify(archive, &repository, &scratch).run()).assert_refused()
    };

    for (number, layer) in (1..).zip(&parts.layers) {
        for (offset, bit) in [(layer.byte(0), 0), (layer.middle(), 3), (layer.last(), 7)] {
            refused(offset, bit).assert_refused_for("layer-diff-id-mismatch").assert_names(&format!("layer {number}"));
        }
    }
    // A digit that becomes another one, in a config that is still one; and, in the middle, what may be anything.
    let year = after(&debian.archive, &parts.config, r#""created":""#);
    refused(year, 0).assert_refused_for("config-digest-mismatch");
    refused(parts.config.middle(), 2).assert_names(&parts.config.name);
    refused(parts.manifest.middle(), 1);

    // What was flipped was flipped back: none of these was refused for another one's sake.
    verify(&copy.path, &repository, &scratch).run().assert_trusted();
}

#[test]
fn a_truncated_archive_is_refused() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let (debian, repository) = signed(&scratch);
    let parts = DockerArchive::read(&debian.archive);
    let large = parts.layers.iter().max_by_key(|layer| layer.size).unwrap();
    let cut = scratch.join("cut.tar");
    for length in [0, 511, large.middle(), parts.config.middle(), parts.manifest.last()] {
        truncated(&debian.archive, length, &cut);
        verify(&cut, &repository, &scratch).run().assert_refused();
    }
}

#[test]
fn a_tag_that_nobody_signed_is_refused_though_docker_would_set_it() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let (debian, repository) = signed(&scratch);
    let tagged = scratch.join("tagged.tar");
    with_manifest(&debian.archive, &tagged, |manifest| manifest[0]["RepoTags"] = json!([NAME, "debian:latest"]));
    verify(&tagged, &repository, &scratch).run().assert_refused_for("name-not-allowed").assert_names("debian:latest");

    // The good twin: rewritten in the same way, with the tag it had.
    with_manifest(&debian.archive, &tagged, |manifest| manifest[0]["RepoTags"] = json!([NAME]));
    verify(&tagged, &repository, &scratch).run().assert_trusted();
}

#[test]
fn the_build_before_is_refused_however_it_is_brought_back() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let debian = Debian::get();
    let repository = Repository::create(scratch.join("repository"), &[(NAME, &debian.older_manifest)], &[]);
    let lagging = repository.mirror(scratch.join("mirror"));
    repository.publish(&[(NAME, &debian.manifest)]);
    let store = scratch.join("store");
    let verify = |archive, from| Verify::new(archive, from, store.clone()).image(NAME).run();

    verify(&debian.older_archive, &lagging).assert_trusted();
    verify(&debian.archive, &repository).assert_trusted();
    verify(&debian.older_archive, &repository).assert_refused_for("config-digest-mismatch");
    verify(&debian.older_archive, &lagging).assert_refused_for("metadata-rollback");
    verify(&debian.archive, &repository).assert_trusted();
}

#[test]
fn metadata_that_has_expired_is_refused() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let debian = Debian::get();
    let expires = &["--timestamp-expires", "2040-01-01T00:00:00Z", "--days", "10000"];
    let repository = Repository::create(scratch.join("repository"), &[(NAME, &debian.manifest)], expires);
    let at = |time| verify(&debian.archive, &repository, &scratch).options(&["--time", time]).run();
    at("2039-12-31T23:59:59Z").assert_trusted();
    at("2040-01-01T00:00:00Z").assert_refused_for("metadata-expired").assert_names("timestamp");
}

#[test]
fn what_podman_saved_is_the_same_image_and_as_brittle() {
    if !have(NEEDS) || !have(&[Need::Podman]) {
        return;
    }
    let scratch = Scratch::new();
    let (debian, repository) = signed(&scratch);
    let archive = debian.podman_save();
    let verdict = verify(&archive, &repository, &scratch).run().assert_trusted();
    let of_docker = verify(&debian.archive, &repository, &scratch).run().assert_trusted();
    assert_eq!(verdict.config(), of_docker.config());

    let parts = DockerArchive::read(&archive);
    let copy = Flippable::copy(&archive, scratch.join("flipped.tar"));
    for part in parts.layers.iter().chain([&parts.config, &parts.manifest]) {
        copy.flipped(part.middle(), 4, |archive| verify(archive, &repository, &scratch).run()).assert_refused();
    }
    let cut = scratch.join("cut.tar");
    truncated(&archive, parts.config.middle(), &cut);
    verify(&cut, &repository, &scratch).run().assert_refused();
    let tagged = scratch.join("tagged.tar");
    with_manifest(&archive, &tagged, |manifest| manifest[0]["RepoTags"] = json!([FULL_NAME, "debian:latest"]));
    verify(&tagged, &repository, &scratch).run().assert_refused_for("name-not-allowed").assert_names("debian:latest");
}

#[test]
fn an_oci_archive_is_trusted_by_its_own_manifest_only() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let (debian, repository) = signed(&scratch);
    let (archive, manifest) = debian.oci_archive();
    let oci = Repository::create(scratch.join("oci"), &[(NAME, &manifest)], &[]);
    assert_eq!(oci.fetch(TARGET), std::fs::read(&manifest).unwrap());
    verify(&archive, &oci, &scratch).run().assert_trusted();
    // skopeo rewrote the config, so it is another image, however alike.
    verify(&archive, &repository, &scratch).run().assert_refused();
    verify(&debian.archive, &oci, &scratch).run().assert_refused();
}

#[test]
fn an_archive_compressed_as_a_whole_is_verified_and_loads_as_it_is() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let (debian, repository) = signed(&scratch);
    let compressed = scratch.join("debian.tar.gz");
    let gzip = output(Command::new("gzip").args(["-1", "--stdout"]).arg(&debian.archive));
    std::fs::write(&compressed, &gzip).unwrap();
    let verdict = verify(&compressed, &repository, &scratch).run().assert_trusted();
    std::fs::write(scratch.join("cut.tar.gz"), &gzip[..gzip.len() / 2]).unwrap();
    verify(&scratch.join("cut.tar.gz"), &repository, &scratch).run().assert_refused_for("archive-corrupt");

    let daemon = daemon_alone();
    docker(["load", "--quiet", "--input", compressed.to_str().unwrap()]);
    let id = docker(["inspect", "--format", "{{.Id}}", NAME]);
    docker(["rmi", "--force", NAME]);
    drop(daemon);
    assert_eq!(verdict.config(), id.trim());

    let mut gunzip =
        Command::new("gzip").args(["-d", "--stdout"]).arg(&compressed).stdout(Stdio::piped()).spawn().unwrap();
    let unpacked = gunzip.stdout.take().unwrap();
    verify(Path::new("-"), &repository, &scratch).stdin(unpacked).run().assert_trusted();
    assert!(gunzip.wait().unwrap().success());
}
