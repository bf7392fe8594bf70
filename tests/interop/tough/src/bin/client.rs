//! Fetches one target with `tough`'s client, as a program that uses it would. For `cargo bench --bench peers`.
//!
//! ```text
//! client ROOT DATASTORE METADATA_URL TARGETS_URL TARGET FILE
//! ```
//!
//! ROOT is the pinned root; DATASTORE is an empty folder. Limits are raised where a repository of the bench is larger than what `tough`
//! expects; nothing else differs from its defaults.

use std::fs;
use std::path::Path;

use futures_util::TryStreamExt;
use tough::{HttpTransport, Limits, RepositoryLoader, TargetName};

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [root, datastore, metadata, targets, target, file] = words.as_slice() else {
        return Err("usage: client ROOT DATASTORE METADATA_URL TARGETS_URL TARGET FILE".into());
    };
    let root = fs::read(root)?;
    let loader = RepositoryLoader::new(&root, metadata.parse()?, targets.parse()?)
        .transport(HttpTransport::default())
        .limits(Limits {
            max_root_updates: 2048,
            max_snapshot_size: 1 << 30,
            max_targets_size: 1 << 30,
            ..Limits::default()
        })
        .datastore(datastore);
    let bytes = tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(fetch(loader, target))?;
    Ok(fs::write(Path::new(file), bytes)?)
}

async fn fetch(loader: RepositoryLoader<'_>, target: &str) -> Result<Vec<u8>, Error> {
    let repository = loader.load().await?;
    let name = TargetName::new(target)?;
    let stream = repository.read_target(&name).await?.ok_or_else(|| format!("{target} is not signed"))?;
    let pieces: Vec<_> = stream.try_collect().await?;
    Ok(pieces.concat())
}
