//! Advisories against what is installed, and what statements silence of them.

use std::sync::Arc;

use super::error::Unreadable;
use super::os_release::Distro;
use super::osv::{Advisories, Advisory, Affected, Findings};
use super::package::Package;
use super::vex::{ImageProduct, Statement, Vex};

/// What signed advisories and statements say of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assessment {
    /// The packages that an advisory concerns, and no statement silences it.
    pub affected: Vec<Affected>,
    /// Those for which it is silenced.
    pub silenced: Vec<Silenced>,
    /// Entries of advisories that could not be evaluated and may concern the image.
    pub not_evaluated: usize,
    /// Entries for packages of languages, which are not looked at.
    pub of_languages: usize,
}

/// An advisory that statements say needs no attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silenced {
    /// What is silenced.
    pub affected: Affected,
    /// The statements, one for each vulnerability that the advisory is about.
    pub by: Vec<Arc<Statement>>,
}

/// Assesses an image of this distribution with these packages.
///
/// # Errors
///
/// Those of [`Advisories::affecting`].
pub fn assess(
    advisories: &Advisories,
    vex: Option<&Vex>,
    image: &ImageProduct<'_>,
    distro: &Distro,
    installed: &[Package],
) -> Result<Assessment, Unreadable> {
    let Findings { affected, not_evaluated, of_languages } = advisories.affecting(distro, installed)?;
    let mut assessment = Assessment { not_evaluated, of_languages, ..Assessment::default() };
    for affected in affected {
        let by = vex.and_then(|vex| silenced_by(vex, &affected.advisory, &affected.package, image));
        match by {
            Some(by) => {
                let by = by.into_iter().map(|statement| Arc::new(statement.clone())).collect();
                assessment.silenced.push(Silenced { affected, by });
            }
            None => assessment.affected.push(affected),
        }
    }
    Ok(assessment)
}

/// The statements that silence an advisory: one about the advisory itself, or one about each of the vulnerabilities that it bundles.
///
/// Distributions list the vulnerabilities of an advisory as upstream ones, and older records as aliases, although those are to be other names of one vulnerability
/// [OSV, aliases]. So CVE numbers, wherever they stand, are vulnerabilities that all have to be silenced. `related` silences nothing.
fn silenced_by<'v>(
    vex: &'v Vex,
    advisory: &Advisory,
    package: &Package,
    image: &ImageProduct<'_>,
) -> Option<Vec<&'v Statement>> {
    let is_cve = |id: &&str| id.starts_with("CVE-");
    let names: Vec<&str> = [advisory.id()].into_iter().chain(advisory.aliases().filter(|id| !is_cve(id))).collect();
    // What is said of the advisory itself goes before what is said of its parts, also if that is that it does concern the package.
    if let Some(statement) = vex.newest(&names, package, image) {
        return statement.status().silences().then(|| vec![statement]);
    }
    // `UBUNTU-CVE-2024-1` stands beside `CVE-2024-1` and is the same.
    let cve = |id: &'_ str| id.find("CVE-").and_then(|at| id.get(at..)).unwrap_or(id).to_owned();
    let mut parts: Vec<String> = advisory.aliases().filter(is_cve).chain(advisory.upstream()).map(cve).collect();
    parts.sort();
    parts.dedup();
    if parts.is_empty() {
        return None;
    }
    parts.iter().map(|part| vex.silences(&[part], package, image)).collect()
}

#[cfg(test)]
mod tests;
