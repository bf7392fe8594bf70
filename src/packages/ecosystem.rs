//! Which distribution and release an advisory's ecosystem is [OSV 1.7, defined ecosystems].
//!
//! `Debian:12`, `Alpine:v3.20`, `Ubuntu:Pro:22.04:LTS`, `Red Hat:enterprise_linux:9::appstream`. What cannot be told is [`Applies::Unknown`], never "no".

use super::os_release::Distro;
use super::package::Kind;

/// Whether an ecosystem is that of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applies {
    /// It is of another package system, or of another release.
    No,
    /// It is the image's, or that of every release of its distribution. `pro`: what Ubuntu offers to subscribers.
    Yes { pro: bool },
    /// It is of the same package system, and what is known of the image does not tell.
    Unknown,
}

/// An ecosystem, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ecosystem<'a> {
    /// A distribution, and what follows the first colon.
    Distribution(&'static Distribution, Option<&'a str>),
    /// The packages of a language or of a forge, which no database of a distribution lists.
    Other,
    /// Not known to this version of the schema.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Distribution {
    name: &'static str,
    kind: Kind,
    /// `ID` in os-release.
    ids: &'static [&'static str],
    /// Whether advisories name the package as it was built from (the source package, the origin) and nothing else.
    pub(super) by_source: bool,
    release: fn(&str, &Distro) -> Applies,
}

const DISTRIBUTIONS: &[Distribution] = &[
    distribution("Debian", Kind::Deb, &["debian"], true, numbered),
    distribution("Ubuntu", Kind::Deb, &["ubuntu"], true, ubuntu),
    distribution("Alpine", Kind::Apk, &["alpine"], true, |release, distro| {
        numbered(release.strip_prefix('v').unwrap_or(release), distro)
    }),
    distribution("Alpaquita", Kind::Apk, &["alpaquita"], true, numbered),
    distribution("Wolfi", Kind::Apk, &["wolfi"], false, numbered),
    distribution("Chainguard", Kind::Apk, &["chainguard", "wolfi"], false, numbered),
    distribution("MinimOS", Kind::Apk, &["minimos"], false, numbered),
    distribution("Red Hat", Kind::Rpm, &["rhel"], false, red_hat),
    distribution("Rocky Linux", Kind::Rpm, &["rocky"], false, numbered),
    distribution("AlmaLinux", Kind::Rpm, &["almalinux"], false, numbered),
    distribution("Fedora", Kind::Rpm, &["fedora"], false, numbered),
    distribution("Mageia", Kind::Rpm, &["mageia"], false, numbered),
    distribution("Photon OS", Kind::Rpm, &["photon"], false, numbered),
    distribution("Azure Linux", Kind::Rpm, &["azurelinux", "mariner"], false, numbered),
    distribution("openEuler", Kind::Rpm, &["openEuler"], false, numbered),
    distribution("openSUSE", Kind::Rpm, &["opensuse-leap", "opensuse-tumbleweed"], false, opensuse),
    distribution("SUSE", Kind::Rpm, &["sles", "sled", "sle_hpc", "sles_sap"], false, suse),
];

const fn distribution(
    name: &'static str,
    kind: Kind,
    ids: &'static [&'static str],
    by_source: bool,
    release: fn(&str, &Distro) -> Applies,
) -> Distribution {
    Distribution { name, kind, ids, by_source, release }
}

/// Ecosystems of OSV whose packages are in no database that is read here.
const OTHERS: &[&str] = &[
    "Android",
    "Bioconductor",
    "Bitnami",
    "CRAN",
    "ConanCenter",
    "FreeBSD",
    "GHC",
    "GIT",
    "GitHub Actions",
    "Go",
    "Hackage",
    "Hex",
    "Julia",
    "Kubernetes",
    "Linux",
    "Maven",
    "NuGet",
    "OSS-Fuzz",
    "Packagist",
    "Pub",
    "PyPI",
    "RubyGems",
    "SwiftURL",
    "VSCode",
    "crates.io",
    "npm",
    "opam",
];

impl<'a> Ecosystem<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let (name, release) = text.split_once(':').map_or((text, None), |(name, release)| (name, Some(release)));
        match DISTRIBUTIONS.iter().find(|distribution| distribution.name == name) {
            Some(distribution) => Self::Distribution(distribution, release),
            None if OTHERS.contains(&name) => Self::Other,
            None => Self::Unknown,
        }
    }

    /// Whether it is the ecosystem of packages of this kind in this image.
    pub(super) fn applies(self, kind: Kind, distro: &Distro) -> Applies {
        match self {
            Self::Other => Applies::No,
            Self::Unknown => Applies::Unknown,
            Self::Distribution(distribution, _) if distribution.kind != kind => Applies::No,
            // The same package system, another distribution: a derivative, or an image that does not say what it is.
            Self::Distribution(distribution, _) if !distribution.ids.contains(&distro.id.as_str()) => Applies::Unknown,
            Self::Distribution(_, None | Some("")) => Applies::Yes { pro: false },
            Self::Distribution(distribution, Some(release)) => (distribution.release)(release, distro),
        }
    }
}

/// `12`, `9.4`, `3.20`: the image's release begins with it.
fn numbered(release: &str, distro: &Distro) -> Applies {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(version) = distro.version_id.as_deref() else { return Applies::Unknown };
    if !release.split('.').all(is_number) {
        return Applies::Unknown;
    }
    let mut parts = version.split('.');
    for wanted in release.split('.') {
        match parts.next() {
            Some(part) if part == wanted => {}
            Some(part) if is_number(part) => return Applies::No,
            _ => return Applies::Unknown,
        }
    }
    Applies::Yes { pro: false }
}

/// `22.04`, `22.04:LTS`, `Pro:22.04:LTS`. Other pockets, such as `Pro:FIPS:22.04:LTS`, are for packages that no os-release tells from the usual ones.
fn ubuntu(release: &str, distro: &Distro) -> Applies {
    let (pro, release) = release.strip_prefix("Pro:").map_or((false, release), |release| (true, release));
    match numbered(release.strip_suffix(":LTS").unwrap_or(release), distro) {
        Applies::Yes { .. } => Applies::Yes { pro },
        other => other,
    }
}

/// A CPE without its front: `enterprise_linux:9::appstream`, `rhel_eus:9.2::baseos`. Other products have packages beside those of the distribution.
fn red_hat(cpe: &str, distro: &Distro) -> Applies {
    let mut parts = cpe.split(':');
    match (parts.next(), parts.next()) {
        // Of every release that is meant only the main one is named: `9`, or `9.4` for a stream of one.
        (Some("enterprise_linux" | "rhel_eus" | "rhel_aus" | "rhel_tus" | "rhel_e4s" | "rhel_els"), Some(version)) => {
            numbered(version, distro)
        }
        _ => Applies::Unknown,
    }
}

/// `Leap 15.6`, `Tumbleweed`.
fn opensuse(release: &str, distro: &Distro) -> Applies {
    match (release.split_once(' '), distro.id.as_str()) {
        (None, "opensuse-tumbleweed") if release == "Tumbleweed" => Applies::Yes { pro: false },
        (None, "opensuse-leap") if release == "Tumbleweed" => Applies::No,
        (Some(("Leap", _)), "opensuse-tumbleweed") => Applies::No,
        (Some(("Leap", version)), _) => numbered(version, distro),
        _ => Applies::Unknown,
    }
}

/// `Linux Enterprise Server 15 SP5`, `Linux Enterprise Module for Basesystem 15 SP5`, `Linux Enterprise Server 12 SP5-LTSS`: 15.5, 15.5, 12.5.
fn suse(product: &str, distro: &Distro) -> Applies {
    let mut words = product.rsplit(' ');
    let last = words.next().unwrap_or_default();
    let last = last.split_once('-').map_or(last, |(last, _)| last);
    let version = match (last.strip_prefix("SP"), words.next()) {
        (Some(pack), Some(version)) => format!("{version}.{pack}"),
        _ => last.to_owned(),
    };
    match numbered(&version, distro) {
        // 15 is the release before the first service pack, and not every one.
        Applies::Yes { .. } if distro.version_id.as_deref() != Some(version.as_str()) => Applies::No,
        applies => applies,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ecosystem_is_that_of_the_image_or_not_or_cannot_be_told() {
        use Applies::{No, Unknown, Yes};
        use Kind::{Apk, Deb, Rpm};
        let yes = Yes { pro: false };
        for (ecosystem, kind, id, version, expected) in [
            ("Debian:12", Deb, "debian", "12", yes),
            ("Debian:11", Deb, "debian", "12", No),
            ("Debian:1", Deb, "debian", "12", No),
            ("Debian", Deb, "debian", "12", yes),
            ("Debian:sid", Deb, "debian", "12", Unknown),
            ("Debian:12", Deb, "debian", "", Unknown),
            ("Debian:12", Deb, "linux", "12", Unknown),
            ("Debian:12", Deb, "ubuntu", "22.04", Unknown),
            ("Debian:12", Rpm, "debian", "12", No),
            ("debian:12", Deb, "debian", "12", Unknown),
            ("Alpine:v3.20", Apk, "alpine", "3.20.3", yes),
            ("Alpine:v3.2", Apk, "alpine", "3.20.3", No),
            ("Alpine:v3.21", Apk, "alpine", "3.20.3", No),
            ("Alpine:3.20", Apk, "alpine", "3.20.3", yes),
            ("Alpine:edge", Apk, "alpine", "3.21_alpha20240923", Unknown),
            ("Alpine:v3.21", Apk, "alpine", "3.21_alpha20240923", Unknown),
            ("Ubuntu:22.04:LTS", Deb, "ubuntu", "22.04", yes),
            ("Ubuntu:22.04", Deb, "ubuntu", "22.04", yes),
            ("Ubuntu:24.04:LTS", Deb, "ubuntu", "22.04", No),
            ("Ubuntu:Pro:22.04:LTS", Deb, "ubuntu", "22.04", Yes { pro: true }),
            ("Ubuntu:Pro:20.04:LTS", Deb, "ubuntu", "22.04", No),
            ("Ubuntu:Pro:FIPS:22.04:LTS", Deb, "ubuntu", "22.04", Unknown),
            ("Red Hat:enterprise_linux:9::appstream", Rpm, "rhel", "9.4", yes),
            ("Red Hat:enterprise_linux:8::baseos", Rpm, "rhel", "9.4", No),
            ("Red Hat:rhel_eus:9.4::baseos", Rpm, "rhel", "9.4", yes),
            ("Red Hat:rhel_eus:9.2::baseos", Rpm, "rhel", "9.4", No),
            ("Red Hat:openshift:4.12::el8", Rpm, "rhel", "8.6", Unknown),
            ("Red Hat", Rpm, "rhel", "8.6", yes),
            ("Red Hat:enterprise_linux:9::baseos", Rpm, "centos", "9", Unknown),
            ("Rocky Linux:9", Rpm, "rocky", "9.4", yes),
            ("Rocky Linux:8", Rpm, "rocky", "9.4", No),
            ("AlmaLinux:10", Rpm, "almalinux", "10.0", yes),
            ("AlmaLinux:9.4", Rpm, "almalinux", "9", Unknown),
            ("openSUSE:Leap 15.6", Rpm, "opensuse-leap", "15.6", yes),
            ("openSUSE:Leap 15.5", Rpm, "opensuse-leap", "15.6", No),
            ("openSUSE:Tumbleweed", Rpm, "opensuse-tumbleweed", "20240901", yes),
            ("openSUSE:Tumbleweed", Rpm, "opensuse-leap", "15.6", No),
            ("openSUSE:Leap Micro 5.5", Rpm, "opensuse-leap", "15.6", Unknown),
            ("SUSE:Linux Enterprise Server 15 SP5", Rpm, "sles", "15.5", yes),
            ("SUSE:Linux Enterprise Module for Basesystem 15 SP4", Rpm, "sles", "15.5", No),
            ("SUSE:Linux Enterprise Server 12 SP5-LTSS", Rpm, "sles", "12.5", yes),
            ("SUSE:Linux Enterprise Server 15", Rpm, "sles", "15.5", No),
            ("SUSE:Linux Enterprise Server 15", Rpm, "sles", "15", yes),
            ("SUSE:Manager Proxy", Rpm, "sles", "15.5", Unknown),
            ("Wolfi", Apk, "wolfi", "20230201", yes),
            ("Chainguard", Apk, "chainguard", "20230214", yes),
            ("PyPI", Deb, "debian", "12", No),
            ("Distro of 2030:1", Deb, "debian", "12", Unknown),
            ("", Deb, "debian", "12", Unknown),
        ] {
            let distro = Distro { id: id.to_owned(), version_id: Some(version.to_owned()).filter(|v| !v.is_empty()) };
            assert_eq!(Ecosystem::parse(ecosystem).applies(kind, &distro), expected, "{ecosystem} on {id} {version}");
        }
    }
}
