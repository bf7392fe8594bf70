//! What is in a verified image: its files, and the package databases and the users among them.

use std::cell::Cell;
use std::sync::Arc;

use super::check::{self, Beside, PackageChecks, PackageReport, Problem};
use super::error::Unreadable;
use super::installed::{self, Installed};
use super::overlay::{Found, Origin, Tree};
use super::vex::ImageProduct;
use crate::digest::Sha256;
use crate::image::VerifiedImage;
use crate::image::contents::{FileFacts, LayerContents};
use crate::image::error::{ArchiveError, Code, Refusal};
use crate::image::inventory::MeasuredInventory;
use crate::image::read_at::ReadAt;
use crate::limits::ArchiveLimits;
use crate::name::ImageName;
use crate::text::escaped;

/// How often a layer is read once more for a file. An image that is made with care needs it for a database or two.
const REREAD_MAX: usize = 64;

/// The files of a verified image, and what its package databases say.
pub(crate) struct ImageContents<'c> {
    pub(crate) tree: Tree<'c>,
    pub(crate) installed: Installed,
    /// `/etc/passwd`, wherever links lead to. `None` if there is no such file.
    pub(crate) passwd: Result<Option<Arc<[u8]>>, Unreadable>,
}

impl<'c> ImageContents<'c> {
    /// Stacks the layers of an image, which were listed while they were measured.
    pub(crate) fn of<R: ReadAt + Sync>(
        image: &VerifiedImage,
        measured: &'c MeasuredInventory<R>,
        limits: &ArchiveLimits,
    ) -> Result<Self, ArchiveError> {
        let mut layers: Vec<&LayerContents> = Vec::new();
        for layer in image.layers() {
            let name = &layer.entry().name;
            match measured.contents(name) {
                Some(Ok(contents)) => layers.push(contents),
                Some(Err(refusal)) => return Err(refusal.clone().into()),
                None => return Err(Refusal::new(Code::LayerTar, escaped(name), "the layer was not listed").into()),
            }
        }
        let tree = Tree::stack(&layers)?;
        // A database that a link leads to, where none is expected: the layer is read once more, and must be what was verified.
        let again = Cell::new(0_usize);
        let reread = |origin: Origin<'_>| -> Result<Arc<[u8]>, Unreadable> {
            again.set(again.get().saturating_add(1));
            if again.get() > REREAD_MAX {
                return Err(Unreadable::new(format!("more than {REREAD_MAX} files of databases are behind links")));
            }
            let layer = image.layers().get(origin.layer).ok_or_else(|| Unreadable::new("a layer that is not there"))?;
            measured
                .file(layer, origin.entry, origin.written, limits)
                .map_err(|error| Unreadable::new(error.to_string()))
        };
        let installed = Installed::of(&tree, &layers, &reread);
        let passwd = match tree.resolve(installed::PASSWD) {
            Some((_, Found::File { facts: FileFacts { content: Some(content), .. }, .. })) => {
                Ok(Some(Arc::clone(content)))
            }
            Some((_, Found::File { origin, .. })) => reread(origin).map(Some),
            _ => Ok(None),
        };
        Ok(Self { tree, installed, passwd })
    }

    /// Checks what is there against all that is signed beside the image under `name`.
    pub(crate) fn check(
        &self,
        image: &VerifiedImage,
        name: &ImageName,
        beside: &Beside,
        checks: &PackageChecks,
    ) -> (PackageReport, Vec<Problem>) {
        let digests: Vec<Sha256> = [image.manifest()].into_iter().chain(image.index()).map(|id| id.digest).collect();
        check::check(&self.tree, &self.installed, beside, &ImageProduct::new(name, &digests), checks)
    }
}
