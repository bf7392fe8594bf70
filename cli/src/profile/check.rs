//! `plimsoll profile check`: what `fetch` would say of profiles, said to their author.

use std::process::ExitCode;

use plimsoll::profiles::{Engine, Kind};
use serde_json::{Map, Value, json};

use super::args::Check;
use super::{Finding, Stop, baseline, end, host, read_all};

pub(super) fn check(arguments: &Check) -> ExitCode {
    let subject = arguments.files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
    end(&subject, arguments.format, checked(arguments))
}

fn checked(arguments: &Check) -> Result<(Map<String, Value>, String), Stop> {
    if arguments.kind.is_some() && arguments.files.len() > 1 {
        return Err(Stop::undecided(Finding::new("usage", "--kind is for one file")));
    }
    let files = read_all(&arguments.files, arguments.kind.map(Kind::from))?;
    let confinement = baseline(&arguments.baseline)?.check_unbound(&files)?;
    let mut text = String::new();
    for kind in files.keys() {
        text.push_str(&format!("accepted: {}\n", kind.file()));
    }
    let by_tool = match files.get(&Kind::AppArmor) {
        Some(bytes) => Some(host::apparmor_parser(bytes)?),
        None => None,
    };
    if by_tool == Some(false) {
        text.push_str("not checked: apparmor.profile by apparmor_parser, which is not installed\n");
    }
    let options = confinement.options(Engine::Docker, &|kind| kind.file().to_owned());
    let object = json!({
        "files": files.keys().map(|kind| kind.file()).collect::<Vec<_>>(),
        "apparmor_parser": by_tool,
        "options": options,
    });
    let Value::Object(object) = object else { return Ok((Map::new(), text)) };
    Ok((object, text))
}
