//! What the image of a name must be, and who says so.

use crate::client::Client;
use crate::map::Repositories;
use crate::name::ImageName;
use crate::packages::check::PackageChecks;
use crate::template::TargetPaths;

/// Who says what an image is, where that is signed, and what is checked besides.
#[derive(Debug)]
pub struct Terms<S> {
    pub(crate) authority: Authority<S>,
    pub(crate) target_paths: TargetPaths,
    pub(super) packages: PackageChecks,
    pub(super) requirements: Requirements,
    pub(crate) source: Option<String>,
}

/// Who says what an image is.
#[derive(Debug)]
pub(crate) enum Authority<S> {
    One(Box<Client<S>>),
    Map(Repositories<S>),
}

/// What an image must be besides signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requirements {
    /// It must not run as user 0, by its config and its own `/etc/passwd`: [`crate::image::user`].
    pub non_root: bool,
    /// It must be built on this image, which is signed under the terms of its own name: [`crate::image::base`].
    pub base: Option<ImageName>,
}

impl Requirements {
    /// An image that must not run as user 0.
    #[must_use]
    pub fn with_non_root(self) -> Self {
        Self { non_root: true, ..self }
    }

    /// An image that must be built on `base`.
    #[must_use]
    pub fn with_base(self, base: ImageName) -> Self {
        Self { base: Some(base), ..self }
    }
}

impl<S> Terms<S> {
    /// Images are what one repository signs.
    pub fn new(client: Client<S>) -> Self {
        Self::by(Authority::One(Box::new(client)))
    }

    /// A signed file is what as many repositories agree on as the map demands [TAP 4].
    pub fn by_map(repositories: Repositories<S>) -> Self {
        Self::by(Authority::Map(repositories))
    }

    fn by(authority: Authority<S>) -> Self {
        let (target_paths, packages) = (TargetPaths::default(), PackageChecks::default());
        Self { authority, target_paths, packages, requirements: Requirements::default(), source: None }
    }

    /// Where the signed files of an image are, if not in the folder [`ImageName::target_folder`]. It is part of what is pinned: it is never taken from the
    /// repository, nor guessed.
    #[must_use]
    pub fn with_target_paths(self, target_paths: TargetPaths) -> Self {
        Self { target_paths, ..self }
    }

    /// What of the packages and files in an image is checked. By default its packages, where a list is signed beside it.
    #[must_use]
    pub fn with_packages(self, packages: PackageChecks) -> Self {
        Self { packages, ..self }
    }

    /// What an image must be besides signed. By default nothing.
    #[must_use]
    pub fn with_requirements(self, requirements: Requirements) -> Self {
        Self { requirements, ..self }
    }

    /// What to say of where these terms come from: the scope of a policy, and its file. It stands in verdicts.
    #[must_use]
    pub fn with_source(self, source: impl Into<String>) -> Self {
        Self { source: Some(source.into()), ..self }
    }
}

/// Says under which terms the image of a name is verified.
pub trait Govern<S> {
    /// The terms for a name. They are the same object each time: what is signed under them is looked up in one refresh.
    ///
    /// # Errors
    ///
    /// [`NotGoverned`], and then nothing of that name is trusted.
    fn terms(&self, name: &ImageName) -> Result<&Terms<S>, NotGoverned>;
}

/// Why there are no terms for a name.
///
/// As everywhere, what is refused and what is not known are different things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotGoverned {
    /// No image of the name is trusted.
    Refused {
        /// A stable code, in kebab-case.
        code: &'static str,
        /// Why, for people.
        message: String,
    },
    /// What holds for it could not be found out.
    Undecided {
        /// A stable code, in kebab-case.
        code: &'static str,
        /// Why, for people.
        message: String,
    },
}

/// The same terms for every name.
impl<S> Govern<S> for Terms<S> {
    fn terms(&self, _: &ImageName) -> Result<&Self, NotGoverned> {
        Ok(self)
    }
}

impl<S, G: Govern<S> + ?Sized> Govern<S> for Box<G> {
    fn terms(&self, name: &ImageName) -> Result<&Terms<S>, NotGoverned> {
        (**self).terms(name)
    }
}
