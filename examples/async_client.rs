//! Drives the checks of `plimsoll::trust` from async code: refresh, look a target up, fetch it.
//!
//! ```sh
//! cargo run --example async_client -- test-repos/good test-repos/root.json registry.example/team/app/1.4/manifest.json
//! ```

#![allow(clippy::print_stdout, reason = "it is a command")]

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use plimsoll::trust::{Found, RoleRequest, Roots, Rotation, Rules, Step, Trusted, check_target};
use tokio::io::AsyncReadExt;

pub(crate) type Fallible<T> = Result<T, Box<dyn std::error::Error>>;
/// What was trusted, by file name; each refresh verifies it again. It is the memory that protects from rollback: a program that ends
/// must write it down, as `plimsoll::client` does.
pub(crate) type Kept = BTreeMap<String, Vec<u8>>;

/// A repository in a folder, which stands in for any async transport.
pub(crate) struct Repository(pub(crate) PathBuf);

impl Repository {
    /// Reads at most `limit` bytes. `None` is for a file that is not there and nothing else: on a time-out it would hide a new root.
    async fn read(&self, name: &str, limit: u64) -> Fallible<Option<Vec<u8>>> {
        // Role names and target paths are what a signer chose, and signers do not choose paths on this machine.
        if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("{name:?} cannot be a file name here").into());
        }
        let file = match tokio::fs::File::open(self.0.join(name)).await {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = vec![];
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).await?;
        if u64::try_from(bytes.len())? > limit { Err(format!("{name} is too long").into()) } else { Ok(Some(bytes)) }
    }

    async fn require(&self, name: &str, limit: u64) -> Fallible<Vec<u8>> {
        self.read(name, limit).await?.ok_or_else(|| format!("the repository has no file {name}").into())
    }

    /// Reads what the checks ask for, its name percent-encoded [TUF 6.2].
    async fn role(&self, request: &RoleRequest, consistent: bool) -> Fallible<Vec<u8>> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let quoted = |byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") };
        let role: String = request.role().as_str().bytes().map(quoted).collect();
        let version = if consistent { format!("{}.", request.version()) } else { String::new() };
        self.require(&format!("metadata/{version}{role}.json"), request.limit()).await
    }
}

/// From the pinned root to the current top-level targets file [TUF 5.2 to 5.6].
pub(crate) async fn refresh(repo: &Repository, kept: &mut Kept, pinned: &[u8], rules: Rules) -> Fallible<Trusted> {
    let limits = rules.limits().clone();
    let mut roots = Roots::pin(pinned, rules)?;
    while let Some(bytes) = kept.get(&format!("{}.root.json", roots.next_version()?)) {
        let _acted_on_when_it_was_new = roots.rotate(bytes)?;
    }
    for followed in 0.. {
        let name = format!("{}.root.json", roots.next_version()?);
        let Some(bytes) = repo.read(&format!("metadata/{name}"), limits.root).await? else { break };
        if followed == limits.root_rotations {
            return Err("too many new roots".into());
        }
        if roots.rotate(&bytes)? == Rotation::Forget {
            kept.retain(|name, _| name != "timestamp.json" && name != "snapshot.json");
        }
        kept.insert(name, bytes);
    }
    let mut root = roots.finish()?;
    // What does not verify any more is no floor, and no reason to stop.
    kept.get("timestamp.json").and_then(|bytes| root.remember_timestamp(bytes).ok());
    kept.get("snapshot.json").and_then(|bytes| root.remember_snapshot(bytes).ok());
    let timestamp = root.timestamp(&repo.require("metadata/timestamp.json", limits.timestamp).await?)?;
    kept.insert("timestamp.json".to_owned(), timestamp.timestamp().bytes().to_vec());
    let consistent = timestamp.root().consistent_snapshot();
    let snapshot = timestamp.snapshot(&repo.role(&timestamp.snapshot_request(), consistent).await?)?;
    kept.insert("snapshot.json".to_owned(), snapshot.snapshot().bytes().to_vec());
    Ok(snapshot.targets(&repo.role(&snapshot.targets_request(), consistent).await?)?)
}

/// Walks the delegations, bringing each role that the search asks for [TUF 5.6.7].
pub(crate) async fn find(repo: &Repository, trusted: &mut Trusted, path: &str) -> Fallible<Found> {
    let consistent = trusted.root().consistent_snapshot();
    let mut search = trusted.search(path);
    loop {
        match search.step()? {
            Step::Found(found) => return Ok(found),
            Step::Absent(why) => return Err(why.into()),
            Step::Need(request) => drop(search.provide(repo.role(&request, consistent).await?)?),
        }
    }
}

/// Brings a target and checks its length and hashes [TUF 5.7].
pub(crate) async fn fetch(repo: &Repository, trusted: &Trusted, found: &Found) -> Fallible<Vec<u8>> {
    let (path, file, hashes) = (found.path(), found.file(), found.file().hashes());
    let hash = hashes.sha256().map(|hash| hash.to_hex()).or_else(|| Some(hashes.sha512()?.to_hex()));
    let hash = hash.filter(|_| trusted.root().consistent_snapshot()).map_or(String::new(), |hash| hash + ".");
    let (folder, name) = path.split_at(path.rfind('/').map_or(0, |slash| slash.saturating_add(1)));
    let limit = file.length().min(trusted.rules().limits().target_in_memory);
    let bytes = repo.require(&format!("targets/{folder}{hash}{name}"), limit).await?;
    check_target(path, file, &bytes)?;
    Ok(bytes)
}

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, root, path] = arguments.as_slice() else { return Err("usage: REPOSITORY ROOT.json TARGET".into()) };
    let (repo, rules) = (Repository(folder.into()), Rules::at(chrono::Utc::now()));
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        let mut trusted = refresh(&repo, &mut Kept::new(), &tokio::fs::read(root).await?, rules).await?;
        let found = find(&repo, &mut trusted, path).await?;
        let bytes = fetch(&repo, &trusted, &found).await?;
        println!("{path}: {} bytes, signed by {:?}", bytes.len(), found.delegations());
        Ok(())
    })
}
