//! Notices when a credential's file has new content.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use ring::digest::{SHA256, digest};
use tokio::sync::Notify;

use crate::{Source, World};

/// How often the files are read. With the pause below, a new key is used within half a minute.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// New content has to stay so long: it may be met while it is being written.
const SETTLES_IN: Duration = Duration::from_secs(1);

/// What a file holds: nothing that is secret. `None` where it cannot be read.
type Content = Option<Vec<u8>>;

/// Reads the files of all sources again and again, and tells of those with new content; dropping the future ends it.
///
/// One watcher for all accounts, by content and not by date: Kubernetes replaces links, editors replace files, and a
/// network file system tells nobody.
pub async fn watch_files(world: Arc<dyn World>, watched: Vec<(Source, Arc<Notify>)>) {
    let mut known = contents(&*world, &watched);
    loop {
        world.sleep(LOOK_EVERY).await;
        let seen = contents(&*world, &watched);
        if seen == known {
            continue;
        }
        world.sleep(SETTLES_IN).await;
        let settled = contents(&*world, &watched);
        for (source, changed) in &watched {
            let differs =
                |path: &PathBuf| settled.get(path) != known.get(path) && settled.get(path) == seen.get(path);
            if source.files(&*world).iter().any(differs) {
                changed.notify_one();
            }
        }
        // What has not settled is compared with what was known before, at the next look.
        known.extend(settled.into_iter().filter(|(path, content)| seen.get(path) == Some(content)));
    }
}

fn contents(world: &dyn World, watched: &[(Source, Arc<Notify>)]) -> BTreeMap<PathBuf, Content> {
    let mut contents = BTreeMap::new();
    for path in watched.iter().flat_map(|(source, _)| source.files(world)) {
        contents.entry(path).or_insert_with_key(|path| {
            let content = world.read_file(path).ok()?;
            Some(digest(&SHA256, &content.bytes).as_ref().to_vec())
        });
    }
    contents
}
