//! Writes a TUF repository with `tough`'s editor, to show that plimsoll reads what others write.
//!
//! ```text
//! plimsoll-interop-tough --out DIR --expires RFC3339 --target PATH=FILE...
//!     [--delegate NAME=PATTERN]   the targets are signed by this role, to which the top-level one delegates PATTERN
//!     [--version N]               of timestamp, snapshot and targets roles (default: 1)
//! ```
//!
//! DIR gets `metadata/` and `targets/`, which are the repository; `root.json`, the root to pin; and `keys/`. Keys and root that are there
//! are used again, so a second run with `--version 2` is an update of the first.
//!
//! Every byte of metadata is tough's own. The target files are not: tough puts the hash of a consistent snapshot before the first folder
//! of the target path, the specification before the file name [TUF 5.7.3].

mod keys;

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use jiff::Timestamp;
use tough::TargetName;
use tough::editor::RepositoryEditor;
use tough::editor::signed::SignedRole;
use tough::key_source::KeySource;
use tough::schema::{KeyHolder, PathPattern, PathSet, RoleKeys, RoleType, Root, Target};

use self::keys::{Kind, key_files};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Which keys sign for a top-level role. All of them must. Together they are every kind that tough can sign with.
const TOP_LEVEL: [(RoleType, &[Kind]); 4] = [
    (RoleType::Root, Kind::ALL),
    (RoleType::Timestamp, &[Kind::Ed25519]),
    (RoleType::Snapshot, &[Kind::Ecdsa]),
    (RoleType::Targets, &[Kind::Rsa]),
];
/// The same for the delegated role, whose keys stand in the delegation and not in the root.
const DELEGATED: &[Kind] = Kind::ALL;

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    tokio::runtime::Builder::new_current_thread().build()?.block_on(write(&arguments))
}

/// What to write.
struct Arguments {
    out: PathBuf,
    expires: Timestamp,
    /// Target paths, each with the file that has its content.
    targets: Vec<(String, PathBuf)>,
    /// The name of a delegated role, and the pattern of the target paths that it may sign.
    delegate: Option<(String, String)>,
    version: NonZeroU64,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Error> {
        let (mut out, mut expires, mut targets, mut delegate, mut version) =
            (None, None, Vec::new(), None, NonZeroU64::MIN);
        while let Some(option) = words.next() {
            let value = words.next().ok_or_else(|| format!("{option} wants a value"))?;
            let pair = || value.split_once('=').ok_or_else(|| format!("{option} wants two values with = between"));
            match option.as_str() {
                "--out" => out = Some(PathBuf::from(value)),
                "--expires" => expires = Some(value.parse()?),
                "--target" => targets.push(pair().map(|(path, file)| (path.to_owned(), PathBuf::from(file)))?),
                "--delegate" => delegate = Some(pair().map(|(name, pattern)| (name.to_owned(), pattern.to_owned()))?),
                "--version" => version = value.parse()?,
                _ => return Err(format!("no such option: {option}").into()),
            }
        }
        let (out, expires) = (out.ok_or("--out is missing")?, expires.ok_or("--expires is missing")?);
        Ok(Self { out, expires, targets, delegate, version })
    }
}

/// Writes the whole repository.
async fn write(arguments: &Arguments) -> Result<(), Error> {
    let Arguments { out, expires, delegate, version, .. } = arguments;
    let key_folder = out.join("keys");
    let mut top_level = Vec::new();
    for (role, kinds) in TOP_LEVEL {
        top_level.push((role, key_files(&key_folder, &role.to_string(), kinds)?));
    }
    let root = out.join("root.json");
    if !root.exists() {
        write_root(&root, &top_level, *expires).await?;
    }
    let keys: Vec<_> = top_level.into_iter().flat_map(|(_, keys)| keys).collect();

    let mut editor = RepositoryEditor::new(root).await?;
    editor.timestamp_version(*version).timestamp_expires(*expires);
    editor.snapshot_version(*version).snapshot_expires(*expires);
    editor.targets_version(*version)?.targets_expires(*expires)?;
    match delegate {
        None => add_targets(&mut editor, arguments).await?,
        Some((name, pattern)) => {
            let delegated = key_files(&key_folder, "delegated", DELEGATED)?;
            let paths = PathSet::Paths(vec![PathPattern::new(pattern)?]);
            editor.delegate_role(name, &delegated, paths, true, all_of(&delegated)?, *expires, *version).await?;
            // From here to the next signature the editor's targets are those of the delegated role.
            editor.sign_targets_editor(&keys).await?.change_delegated_targets(name)?;
            editor.targets_version(*version)?.targets_expires(*expires)?;
            add_targets(&mut editor, arguments).await?;
            editor.sign_targets_editor(&delegated).await?;
        }
    }
    Ok(editor.sign(&keys).await?.write(out.join("metadata")).await?)
}

/// Makes a root that lists the keys, each role's with the threshold that all must sign, and signs it.
async fn write_root(
    path: &Path,
    top_level: &[(RoleType, Vec<Box<dyn KeySource>>)],
    expires: Timestamp,
) -> Result<(), Error> {
    let mut root = Root {
        spec_version: "1.0.0".to_owned(),
        consistent_snapshot: true,
        version: NonZeroU64::MIN,
        expires,
        keys: HashMap::new(),
        roles: HashMap::new(),
        _extra: HashMap::new(),
    };
    for (role, sources) in top_level {
        let mut keyids = Vec::new();
        for source in sources {
            let key = source.as_sign().await?.tuf_key();
            let keyid = key.key_id()?;
            root.keys.insert(keyid.clone(), key);
            keyids.push(keyid);
        }
        root.roles.insert(*role, RoleKeys { keyids, threshold: all_of(sources)?, _extra: HashMap::new() });
    }
    let signers = top_level.iter().find(|(role, _)| *role == RoleType::Root).ok_or("the root has keys")?;
    let signed = SignedRole::new(root.clone(), &KeyHolder::Root(root), &signers.1, &SystemRandom::new()).await?;
    Ok(fs::write(path, signed.buffer())?)
}

/// Lists the targets in the role that the editor is at, and copies their files to where the specification has them.
async fn add_targets(editor: &mut RepositoryEditor, arguments: &Arguments) -> Result<(), Error> {
    for (path, file) in &arguments.targets {
        let target = Target::from_path(file).await?;
        let hash: String = target.hashes.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = arguments.out.join("targets").join(folder);
        fs::create_dir_all(&folder)?;
        fs::copy(file, folder.join(format!("{hash}.{name}")))?;
        editor.add_target(TargetName::new(path)?, target)?;
    }
    Ok(())
}

/// The threshold that all of these keys meet together and no fewer do.
fn all_of(keys: &[Box<dyn KeySource>]) -> Result<NonZeroU64, Error> {
    Ok(NonZeroU64::try_from(u64::try_from(keys.len())?)?)
}
