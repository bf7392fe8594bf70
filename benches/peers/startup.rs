//! Start-up: what a call costs that has next to nothing to do.

use std::process::Command;

use crate::archives::{assert_trusted, verify};
use crate::fixtures::{self, emptied};
use crate::race::{Contender, Scenario};
use crate::tools::{plimsoll, program};
use crate::{Planned, Setting};

/// What a reader of the table must know.
pub(crate) const NOTE: &str = "Each does its own work: not a comparison of equals, but of what a call costs.";

pub(crate) fn scenarios(setting: &Setting) -> Vec<Planned> {
    let (fixtures, scratch) = (setting.fixtures.clone(), setting.scratch.clone());
    vec![Planned::new("start-up, tiny image".to_owned(), move |name| {
        // The repository has not changed since the store was filled.
        let folder = fixtures::folder(&fixtures, "roots 0");
        let (image, store) = (folder.join("image.tar"), scratch.join("filled"));
        emptied(&store);
        let command = verify(&folder, &image, &store);
        assert_trusted(&crate::process::measure(&command));
        let mut scenario = Scenario::new(name);
        scenario.add("", Ok(contender("plimsoll verify", command, assert_trusted)));
        let mut version = Command::new(plimsoll());
        version.arg("--version");
        scenario.add("", Ok(contender("plimsoll --version", version, |_| {})));
        let openssl = program("openssl").map(|openssl| {
            let mut command = Command::new(openssl);
            command.args(["dgst", "-sha256"]).arg(&image);
            contender("openssl dgst -sha256", command, |_| {})
        });
        scenario.add("openssl dgst -sha256", openssl);
        let skopeo = program("skopeo").map(|skopeo| {
            let mut command = Command::new(skopeo);
            command.args(["inspect", "--raw"]).arg(format!("docker-archive:{}", image.display()));
            contender("skopeo inspect --raw", command, |_| {})
        });
        scenario.add("skopeo inspect --raw", skopeo);
        scenario
    })]
}

fn contender(name: &str, command: Command, after: fn(&crate::process::Measured)) -> Contender {
    Contender { name: name.to_owned(), command, before: Box::new(|| {}), after: Box::new(after) }
}
