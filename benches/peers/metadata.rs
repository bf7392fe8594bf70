//! TUF: refresh, look up and fetch one target, each time with nothing but the pinned root, beside python-tuf and tough.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::archives::{assert_trusted, verify};
use crate::fixtures::{self, MANIFEST, emptied};
use crate::goals::Goal;
use crate::process::Measured;
use crate::race::{Contender, Scenario};
use crate::server::Server;
use crate::support::image::Image;
use crate::tools::{python, source_tree, tough, tuf_client};
use crate::{Planned, Setting};

/// What a reader of the table must know.
pub(crate) const NOTE: &str =
    "All begin with nothing but the pinned root, and ask the same server. tough waits 100 ms before each request.";

const PYTHON_TUF: &str = "python-tuf";
/// tough reads every delegated role, and waits 100 ms before each.
const MOST_BINS_FOR_TOUGH: usize = 256;

/// A repository, and the target that is fetched from it.
struct Fetch {
    folder: PathBuf,
    target: String,
    content: Vec<u8>,
    scratch: PathBuf,
}

pub(crate) fn scenarios(setting: &Setting, server: &Server) -> Vec<Planned> {
    let wall = |most| Goal::Wall { peer: PYTHON_TUF, most };
    let requests = |number| Goal::Requests { peer: PYTHON_TUF, number };
    let sizes = |full: &[usize], quick: usize| if setting.quick { vec![quick] } else { full.to_vec() };
    let sweep = |sizes: &[usize]| if setting.sweep { sizes.to_vec() } else { Vec::new() };
    let mut planned = vec![flat(setting, server, 8, vec![wall(1.0 / 20.0), requests(5)])];
    for targets in [sweep(&[1_000, 10_000]), sizes(&[100_000, 1_000_000], 300)].concat() {
        let is_largest = targets == 1_000_000;
        planned.push(flat(
            setting,
            server,
            targets,
            if is_largest { vec![wall(1.0 / 25.0), requests(5)] } else { vec![requests(5)] },
        ));
    }
    for bits in [sweep(&[6, 8, 10, 12]), sizes(&[14], 6)].concat() {
        let goals = if bits == 14 { vec![wall(1.0 / 20.0), requests(6)] } else { vec![requests(6)] };
        planned.push(bins(setting, server, bits, goals));
    }
    for rotations in [sweep(&[10, 100]), sizes(&[1000], 20)].concat() {
        let goals = |most| if rotations == 1000 { vec![wall(most)] } else { Vec::new() };
        let exact = requests(rotations + 5);
        planned.push(roots(setting, server, rotations, [goals(0.4), vec![exact]].into_iter().flatten().collect()));
        planned.push(roots_in_folder(setting, rotations, goals(0.1)));
    }
    planned
}

fn flat(setting: &Setting, server: &Server, targets: usize, mut goals: Vec<Goal>) -> Planned {
    let name = if targets < 10 {
        "small".to_owned()
    } else {
        format!("flat, {} targets", crate::table::count(targets as u64))
    };
    let open = opener(setting, format!("flat {targets}"), move || fixtures::looked_up(targets));
    let server = server.clone();
    Planned::new(name, move |name| {
        let fetch = open();
        if targets == 1_000_000 {
            let file = fs::metadata(fetch.folder.join("metadata/1.targets.json")).unwrap().len();
            goals.push(Goal::Peak { most: file * 3 / 2, why: " (1.5 times targets.json)".to_owned() });
        }
        fetch.over_http(name, &server, Ok(()), goals)
    })
}

fn bins(setting: &Setting, server: &Server, bits: usize, goals: Vec<Goal>) -> Planned {
    let bins = 1 << bits;
    let targets = (bins * 6).min(100_000);
    let open = opener(setting, format!("bins {bits} {targets}"), move || fixtures::looked_up(targets));
    let server = server.clone();
    let tough = if bins <= MOST_BINS_FOR_TOUGH {
        Ok(())
    } else {
        Err(format!("it reads all bins, 100 ms each: {} minutes", bins / 600))
    };
    Planned::new(format!("{} hash bins", crate::table::count(bins as u64)), move |name| {
        open().over_http(name, &server, tough, goals)
    })
}

fn roots(setting: &Setting, server: &Server, rotations: usize, goals: Vec<Goal>) -> Planned {
    let open = opener(setting, format!("roots {rotations}"), tiny_image);
    let server = server.clone();
    let name = format!("{} root rotations", crate::table::count(rotations as u64));
    Planned::new(name, move |name| open().over_http(name, &server, Ok(()), goals))
}

/// The command itself, for which a folder is a repository as good as a server. It verifies the tiny image as well.
fn roots_in_folder(setting: &Setting, rotations: usize, goals: Vec<Goal>) -> Planned {
    let open = opener(setting, format!("roots {rotations}"), tiny_image);
    let name = format!("{} root rotations in a folder", crate::table::count(rotations as u64));
    Planned::new(name, move |name| {
        let fetch = open();
        let mut scenario = Scenario::new(name);
        let store = fetch.scratch.join("plimsoll");
        scenario.add(
            "",
            Ok(Contender {
                name: "plimsoll verify".to_owned(),
                command: verify(&fetch.folder, &fetch.folder.join("image.tar"), &store),
                before: Box::new(move || emptied(&store)),
                after: Box::new(assert_trusted),
            }),
        );
        scenario.add(PYTHON_TUF, fetch.python_tuf(&format!("file://{}/", fetch.folder.display())));
        scenario.goals = goals;
        scenario
    })
}

fn tiny_image() -> (String, Vec<u8>) {
    (MANIFEST.to_owned(), Image::small().manifest())
}

/// Makes the repository when it is called.
fn opener<T>(setting: &Setting, what: String, target: T) -> impl Fn() -> Fetch + use<T>
where
    T: Fn() -> (String, Vec<u8>) + 'static,
{
    let (fixtures, scratch) = (setting.fixtures.clone(), setting.scratch.clone());
    move || {
        let (target, content) = target();
        Fetch { folder: fixtures::folder(&fixtures, &what), target, content, scratch: scratch.clone() }
    }
}

impl Fetch {
    fn over_http(&self, name: &str, server: &Server, for_tough: Result<(), String>, goals: Vec<Goal>) -> Scenario {
        let url = format!("{}{}/", server.url, self.folder.file_name().unwrap().to_str().unwrap());
        let mut scenario = Scenario::new(name);
        scenario.add("", Ok(self.plimsoll(&url)));
        scenario.add(PYTHON_TUF, self.python_tuf(&url));
        scenario.add("tough", for_tough.and_then(|()| self.tough(&url)));
        scenario.goals = goals;
        scenario
    }

    fn root(&self) -> PathBuf {
        self.folder.join("metadata/1.root.json")
    }

    fn plimsoll(&self, url: &str) -> Contender {
        let folder = self.scratch.join("plimsoll");
        let (metadata, targets) = (folder.join("metadata"), folder.join("targets"));
        let with_store = |metadata: &Path| {
            let mut command = Command::new(tuf_client());
            command.arg("--metadata-dir").arg(metadata);
            command
        };
        let mut command = with_store(&metadata);
        command.args(["--metadata-url", &format!("{url}metadata/"), "--target-base-url", &format!("{url}targets/")]);
        command.arg("--target-dir").arg(&targets).args(["--target-name", &self.target, "download"]);
        let root = self.root();
        let before = move || {
            emptied(&folder);
            fs::create_dir(folder.join("targets")).unwrap();
            assert!(with_store(&metadata).arg("init").arg(&root).status().unwrap().success());
        };
        let content = self.content.clone();
        let after = move |_: &Measured| {
            let files: Vec<PathBuf> = fs::read_dir(&targets).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(files.len() == 1 && fs::read(&files[0]).unwrap() == content, "plimsoll has not fetched the target");
        };
        Contender { name: "plimsoll".to_owned(), command, before: Box::new(before), after: Box::new(after) }
    }

    fn python_tuf(&self, url: &str) -> Result<Contender, String> {
        let mut command = Command::new(python()?);
        command.arg(source_tree().join("benches/peers/python_tuf_client.py"));
        Ok(self.peer(PYTHON_TUF, command, url))
    }

    fn tough(&self, url: &str) -> Result<Contender, String> {
        Ok(self.peer("tough", Command::new(tough()?), url))
    }

    /// Both peers are called alike.
    fn peer(&self, name: &str, mut command: Command, url: &str) -> Contender {
        let folder = self.scratch.join(name);
        let (metadata, file, content) = (folder.join("metadata"), folder.join("target"), self.content.clone());
        command.arg(self.root()).arg(&metadata).arg(format!("{url}metadata/")).arg(format!("{url}targets/"));
        command.arg(&self.target).arg(&file);
        let before = move || {
            emptied(&folder);
            fs::create_dir(&metadata).unwrap();
        };
        let who = name.to_owned();
        let after = move |_: &Measured| {
            assert!(fs::read(&file).is_ok_and(|bytes| bytes == content), "{who} has not fetched the target");
        };
        Contender { name: name.to_owned(), command, before: Box::new(before), after: Box::new(after) }
    }
}
