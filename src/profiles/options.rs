//! The options of `docker run` and `podman run` that put signed profiles in force.

use super::capability::Capabilities;
use super::run::{Cpus, RunProfile};
use super::{Engine, Kind};

/// Profiles that were read, are bound to the image, and are within the baseline: made by [`super::baseline::Baseline`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    pub(super) run: RunProfile,
    pub(super) memory: Option<u64>,
    pub(super) pids: Option<u64>,
    pub(super) cpus: Option<Cpus>,
    pub(super) read_only: bool,
    /// Of Docker's default capabilities, those that go.
    pub(super) dropped: Capabilities,
    /// What stays.
    pub(super) kept: Capabilities,
    pub(super) has_seccomp: bool,
    pub(super) apparmor: Option<String>,
    pub(super) selinux: Option<String>,
}

impl Confinement {
    /// The name of the AppArmor profile, which must be loaded before a container starts.
    #[must_use]
    pub fn apparmor(&self) -> Option<&str> {
        self.apparmor.as_deref()
    }

    /// The type of the container's processes, whose SELinux module must be loaded before a container starts.
    #[must_use]
    pub fn selinux(&self) -> Option<&str> {
        self.selinux.as_deref()
    }

    /// The capabilities that a container of Docker keeps.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.kept
    }

    /// The same, without the AppArmor profile: for a kernel that has none.
    #[must_use]
    pub fn without_apparmor(self) -> Self {
        Self { apparmor: None, ..self }
    }

    /// The same, without the SELinux module: for a kernel that has none.
    #[must_use]
    pub fn without_selinux(self) -> Self {
        Self { selinux: None, ..self }
    }

    /// The arguments, each a word of its own. `path` says where a profile was written.
    pub fn options(&self, engine: Engine, path: &dyn Fn(Kind) -> String) -> Vec<String> {
        let mut options: Vec<String> = Vec::new();
        let mut option = |name: &str, value: String| options.extend([name.to_owned(), value]);
        if self.has_seccomp {
            option("--security-opt", format!("seccomp={}", path(Kind::Seccomp)));
        }
        if let Some(name) = &self.apparmor {
            option("--security-opt", format!("apparmor={name}"));
        }
        if let Some(kind) = &self.selinux {
            option("--security-opt", format!("label=type:{kind}"));
        }
        if self.run.no_new_privileges {
            option("--security-opt", "no-new-privileges".to_owned());
        }
        if self.run.drops_all {
            option("--cap-drop", "ALL".to_owned());
        } else {
            self.dropped.names().iter().for_each(|name| option("--cap-drop", (*name).to_owned()));
        }
        // Podman gives fewer than Docker: what it does not give is not asked for unless run.json does.
        self.run.adds.names().iter().for_each(|name| option("--cap-add", (*name).to_owned()));
        if let Some(bytes) = self.memory {
            option("--memory", bytes.to_string());
        }
        if let Some(pids) = self.pids {
            option("--pids-limit", pids.to_string());
        }
        if let Some(cpus) = self.cpus {
            option("--cpus", cpus.to_string());
        }
        if let Some(user) = self.run.user {
            let group = user.group.map(|group| format!(":{group}")).unwrap_or_default();
            option("--user", format!("{}{group}", user.user));
        }
        if self.run.no_network {
            option("--network", "none".to_owned());
        }
        for (path, size) in &self.run.tmpfs {
            option("--tmpfs", format!("{path}:rw,noexec,nosuid,nodev,size={size}"));
        }
        if self.read_only {
            options.push("--read-only".to_owned());
            if engine == Engine::Podman {
                // Podman makes some folders writable again, which Docker does not.
                options.push("--read-only-tmpfs=false".to_owned());
            }
        }
        options
    }
}

/// Words as a POSIX shell reads them back.
///
/// ```
/// use plimsoll::profiles::options::shell_line;
///
/// let words = ["--user", "7:7", "it's", ""].map(String::from);
/// assert_eq!(shell_line(&words), r"--user 7:7 'it'\''s' ''");
/// ```
#[must_use]
pub fn shell_line(words: &[String]) -> String {
    let is_plain =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(&b));
    let word = |word: &String| if is_plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}
