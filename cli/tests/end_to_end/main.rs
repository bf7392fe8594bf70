//! The command against the tools it works with: archives that Docker, podman, skopeo, buildah and umoci wrote, repositories that python-tuf wrote.
//!
//! What is missing on a machine is skipped, and said to be. With everything there, and skipping forbidden:
//!
//! ```sh
//! PLIMSOLL_REQUIRE_TOOLS=1 .ci/with-docker cargo test --release -p plimsoll-cli --test end_to_end
//! ```

// Behind `cfg(test)`, as all of a test is, so that the lints know these for tests too.
#[cfg(test)]
mod archive;
#[cfg(test)]
mod compose;
#[cfg(test)]
mod debian;
#[cfg(test)]
mod debian_image;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod forms;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod load;
#[cfg(test)]
mod packages;
#[cfg(test)]
mod packages_rpm;
#[cfg(test)]
mod plimsoll;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod publish;
#[cfg(test)]
mod python_tuf;
#[cfg(test)]
mod repository;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod writers;
