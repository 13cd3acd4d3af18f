//! Notices when a credential's file has new content.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ring::digest::{SHA256, digest};
use tokio::sync::Notify;

use crate::{FileStamp, Source, World};

/// How often the files are looked at. With the pause below, a new key is used within half a minute.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// New content has to stay so long: it may be met while it is being written.
const SETTLES_IN: Duration = Duration::from_secs(1);

/// A file that was written so shortly before a look may be written again without another size or time: file systems count time
/// in steps of up to two seconds.
const MAY_LOOK_THE_SAME: Duration = Duration::from_secs(3);

/// A file as it was last looked at.
#[derive(Clone)]
struct Seen {
    /// Its size, times and identity; `None` where it cannot be looked at.
    stamp: Option<FileStamp>,
    /// A digest of what it holds: nothing that is secret. `None` where it cannot be read.
    content: Option<Vec<u8>>,
    /// The stamp may stay the same although the content changes.
    is_fresh: bool,
}

type Files = BTreeMap<PathBuf, Seen>;

/// Looks at the files of all sources again and again, and tells of those with new content; dropping the future ends it.
///
/// One watcher for all accounts. A file is read, for a moment, where its size, times or identity have changed: it mostly holds a
/// private key. What counts is its content: Kubernetes replaces links, editors replace files, and a network file system tells
/// nobody.
pub async fn watch_files(world: Arc<dyn World>, watched: Vec<(Source, Arc<Notify>)>) {
    let mut known = look(&*world, &watched, &Files::new());
    loop {
        world.sleep(LOOK_EVERY).await;
        let seen = look(&*world, &watched, &known);
        if contents(&seen).eq(contents(&known)) {
            known = seen;
            continue;
        }
        world.sleep(SETTLES_IN).await;
        let settled = look(&*world, &watched, &seen);
        let content = |files: &Files, path: &PathBuf| files.get(path).map(|file| file.content.clone());
        for (source, changed) in &watched {
            let differs = |path: &PathBuf| {
                content(&settled, path) != content(&known, path)
                    && content(&settled, path) == content(&seen, path)
            };
            if source.files(&*world).iter().any(differs) {
                changed.notify_one();
            }
        }
        // What has not settled is compared with what was known before, at the next look.
        known.extend(
            settled.into_iter().filter(|(path, file)| content(&seen, path) == Some(file.content.clone())),
        );
    }
}

fn contents(files: &Files) -> impl Iterator<Item = (&PathBuf, &Option<Vec<u8>>)> {
    files.iter().map(|(path, file)| (path, &file.content))
}

fn look(world: &dyn World, watched: &[(Source, Arc<Notify>)], known: &Files) -> Files {
    let mut files = Files::new();
    for path in watched.iter().flat_map(|(source, _)| source.files(world)) {
        files.entry(path).or_insert_with_key(|path| look_at(world, path, known.get(path)));
    }
    files
}

fn look_at(world: &dyn World, path: &Path, known: Option<&Seen>) -> Seen {
    let stamp = world.stamp(path).ok();
    let age = stamp.as_ref().and_then(|stamp| world.now().duration_since(stamp.modified?).ok());
    let is_fresh = age.is_some_and(|age| age < MAY_LOOK_THE_SAME);
    let content = match known {
        Some(known) if known.stamp == stamp && !known.is_fresh => known.content.clone(),
        // A file that is not there need not be read to know that.
        _ if stamp.is_none() => None,
        _ => {
            let content = world.read_file(path).ok();
            content.map(|content| digest(&SHA256, &content.bytes).as_ref().to_vec())
        }
    };
    Seen { stamp, content, is_fresh }
}

#[cfg(test)]
mod tests;
