//! What becomes of an instance if the store has a different one with the same UIDs.
//!
//! To overwrite where there is no update (v1) means to delete and to store again. In between the store has neither. So the
//! old one is first fetched into a file with a name, which outlives this process, and is removed when one of the two is
//! stored; and from the deletion on it is a task of the gateway's, not of the client's request.

use std::{
    collections::hash_map::DefaultHasher,
    fs::File,
    hash::{Hash as _, Hasher as _},
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use http::{Method, StatusCode};
use ring::digest::{Context, SHA256};
use tokio::{sync::oneshot, task::JoinSet};

use super::{
    instance::{Digest, Held, Kept, Name, OUT_OF_RESOURCES, Outcome},
    listing, said,
    send::{self, Way},
};
use crate::{
    content::{Content, Piece},
    dicom_identity::Reader,
    exchange::{Answer, Ask, Attempts},
    instance_format::Format,
    multipart::{self, Writer},
    refusal::Refusal,
    retrieve::incoming::{Broke, One},
    retry::{self, Failed},
    store::{OnConflict, Store},
    words,
};

/// `WarningReason` of an instance that the store has otherwise than it was sent: "Coercion of Data Elements" (PS3.18 table
/// I.2-1). Of the three there are it is the one that means that what is stored has other values than what came. "Elements
/// Discarded" (B006) would mean that something of it was stored, and B007 that the instance itself is wrong.
const STORED_OTHERWISE: u16 = 0xB000;

/// Overwriting that is under way.
#[derive(Debug)]
pub(crate) struct Overwriting {
    /// Those that go on when the client has gone.
    tasks: Mutex<JoinSet<()>>,
    /// Held while an instance whose name has this hash is overwritten: two at once would delete each other's.
    locks: [Arc<tokio::sync::Mutex<()>>; 64],
}

impl Default for Overwriting {
    fn default() -> Self {
        Self { tasks: Mutex::default(), locks: std::array::from_fn(|_| Arc::default()) }
    }
}

impl Overwriting {
    /// Waits until nothing is under way.
    pub(crate) async fn finished(&self) {
        loop {
            let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
            if tasks.is_empty() {
                return;
            }
            while tasks.join_next().await.is_some() {}
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    async fn lock(&self, store: &Store, name: &Name) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        let mut hasher = DefaultHasher::new();
        (&store.name, name).hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % 64).unwrap_or_default();
        Some(Arc::clone(self.locks.get(index)?).lock_owned().await)
    }
}

/// Whether Google says that it has a different instance with the same UIDs ("DICOM conformance statement", STOW-RS).
fn is_conflict(detail: &str) -> bool {
    detail.to_ascii_lowercase().contains("already exists")
}

/// Whether Google says that it is still deleting.
fn is_being_deleted(detail: &str) -> bool {
    let detail = detail.to_ascii_lowercase();
    detail.contains("being deleted") || detail.contains("deletion") || is_conflict(&detail)
}

/// The outcome of an instance, after what the account says about conflicts.
pub(super) async fn settle(way: Way<'_>, held: &Arc<Held>, outcome: Outcome) -> Outcome {
    let name = match (&outcome, &held.name) {
        (Outcome::Failed { detail, .. }, Some(name)) if is_conflict(detail) => Arc::clone(name),
        _ => return outcome,
    };
    match way.store.on_conflict {
        OnConflict::Fail => outcome,
        // Not on Google's word alone: it may have meant something else.
        OnConflict::Keep => match listing::has(way, &name).await {
            Ok(true) => Outcome::Stored { warning: Some(STORED_OTHERWISE), name: None },
            Ok(false) | Err(_) => outcome,
        },
        OnConflict::Overwrite => overwrite(way, held, name).await,
    }
}

async fn overwrite(way: Way<'_>, held: &Arc<Held>, name: Arc<Name>) -> Outcome {
    way.shared.remembered.forget(&way.store.name, name.instance.as_str());
    if way.store.url("").contains("/v1beta1/") {
        // Google's own update, in one step.
        let sent = send::sent_alone_with(way, Method::PUT, way.study, held).await;
        return sent.unwrap_or_else(|refusal| Outcome::failed(refusal.in_words()));
    }
    if let Kept::Spool(spool) = &held.kept
        && !spool.is_complete().await
    {
        return Outcome::Failed {
            reason: OUT_OF_RESOURCES,
            detail: "there was no room on disk for a copy, without which the stored instance is not replaced"
                .to_owned(),
        };
    }
    let (reply, replied) = oneshot::channel();
    let (shared, store, study) = (Arc::clone(way.shared), way.store.clone(), way.study.map(str::to_owned));
    let headers = way.headers.clone();
    let held = Arc::clone(held);
    way.shared.overwriting.spawn(async move {
        let complaints = AtomicU64::new(0);
        let way = Way {
            shared: &shared,
            store: &store,
            study: study.as_deref(),
            headers: &headers,
            transfer: None,
            complaints: &complaints,
        };
        let outcome = replace(way, &held, &name, &reply).await;
        // The client may have gone.
        drop(reply.send(outcome));
    });
    replied.await.unwrap_or_else(|_| Outcome::failed("the gateway stopped"))
}

/// Deletes the stored instance and stores the new one.
async fn replace(way: Way<'_>, held: &Held, name: &Name, reply: &oneshot::Sender<Outcome>) -> Outcome {
    let _alone = way.shared.overwriting.lock(way.store, name).await;
    let old = match fetch(way, name).await {
        Ok(old) => old,
        Err(outcome) => return outcome,
    };
    if old.as_ref().is_some_and(|old| held.whole.is_some_and(|(_, digest)| digest == old.digest)) {
        return Outcome::STORED;
    }
    if reply.is_closed() {
        return Outcome::failed("the client went away");
    }
    let store = || insist(way, || send::sent_alone_with(way, Method::POST, way.study, held));
    let Some(old) = old else { return store().await };
    old.is_the_only_one(true);
    let outcome = match delete(way, name).await {
        // Whether it is deleted is not known where the connection broke.
        Err(refusal) if refusal.status() != StatusCode::NOT_FOUND => Outcome::failed(refusal.in_words()),
        _ => store().await,
    };
    if outcome.is_stored() {
        old.is_the_only_one(false);
        return outcome;
    }
    restored(way, &old, outcome).await
}

/// Stores what takes the place of something that was deleted: Google refuses for as long as it is still deleting.
async fn insist<F: Future<Output = Result<Outcome, Refusal>>>(
    way: Way<'_>,
    mut store: impl FnMut() -> F,
) -> Outcome {
    let (world, patience) = (&way.shared.world, way.shared.settings.patience);
    let began = world.now();
    let mut attempts = 0;
    loop {
        let outcome = store().await.unwrap_or_else(|refusal| Outcome::failed(refusal.in_words()));
        let Outcome::Failed { detail, .. } = &outcome else { return outcome };
        attempts += 1;
        let elapsed = world.now().duration_since(began).unwrap_or_default();
        let pause = retry::pause(Failed::Status(503, None), attempts, elapsed, patience, world.dice());
        match pause.filter(|_| is_being_deleted(detail)) {
            Some(pause) => world.sleep(pause).await,
            None => return outcome,
        }
    }
}

/// Puts the old instance back; the new one has failed with `outcome`.
async fn restored(way: Way<'_>, old: &Old, outcome: Outcome) -> Outcome {
    let stored = insist(way, || async {
        let mut writer = Writer::new(way.shared.dice());
        let content_type = writer.content_type("application/dicom");
        let before = writer.part(&multipart::DICOM, Some(old.length));
        let pieces = [
            Piece::Memory(before),
            Piece::File(Arc::clone(&old.file), old.length),
            Piece::Memory(writer.end()),
        ];
        let ask = Ask {
            method: Method::POST,
            path: "studies".to_owned(),
            headers: way.headers_with(&content_type),
            content: Content::Pieces(Arc::new(pieces)),
            patience: way.shared.settings.patience,
        };
        let (_, _, body) = Attempts::new(way.shared, way.store, &ask, None).whole(1 << 20).await?;
        let is_stored = said::items(&body).is_some_and(|items| items.iter().any(said::Item::is_stored));
        Ok(if is_stored {
            Outcome::STORED
        } else {
            Outcome::failed("Google does not say that it was stored")
        })
    })
    .await;
    old.is_the_only_one(!stored.is_stored());
    if let Outcome::Failed { detail, .. } = stored {
        tracing::error!(
            "{}: an instance was to be replaced: the stored one was deleted, and neither the new one nor the old one could be \
             stored: {}",
            way.store.title(),
            words::without_values(&detail)
        );
    }
    outcome
}

async fn delete(way: Way<'_>, name: &Name) -> Result<(), Refusal> {
    let ask = Ask {
        method: Method::DELETE,
        path: name.path(),
        headers: way.headers.clone(),
        content: Content::Empty,
        patience: way.shared.settings.patience,
    };
    Attempts::new(way.shared, way.store, &ask, None).whole(1 << 20).await.map(drop)
}

/// The instance that the store has, in a file of which the name is known: it is still there if this process ends.
struct Old {
    /// The account, for the log.
    title: String,
    file: Arc<File>,
    path: PathBuf,
    length: u64,
    digest: Digest,
    /// Nobody else may have it: then the file stays, whatever happens.
    is_the_only_one: AtomicBool,
}

impl Old {
    fn is_the_only_one(&self, it_is: bool) {
        self.is_the_only_one.store(it_is, Ordering::Relaxed);
    }

    /// Writes the instance that a response holds. The inner error: it has come, and cannot be kept.
    async fn copy(
        &mut self,
        way: Way<'_>,
        answer: Answer,
        name: &Name,
    ) -> Result<Result<(), Outcome>, Broke> {
        let (mut digest, mut reader) = (Context::new(&SHA256), Reader::new());
        let mut one = One::begin(answer).await?;
        while let Some(bytes) = one.next().await? {
            digest.update(&bytes);
            reader.feed(&bytes);
            let (file, offset) = (Arc::clone(&self.file), self.length);
            self.length += bytes.len() as u64;
            let settings = &way.shared.settings;
            let (folder, reserve) = (settings.spool_folder.clone(), settings.disk_reserve);
            let write = move || {
                reserve.allows(&folder, bytes.len() as u64)?;
                file.write_all_at(&bytes, offset)
            };
            let written = tokio::task::spawn_blocking(write).await;
            if let Err(error) = written.map_err(io::Error::other).and_then(|done| done) {
                return Ok(Err(no_disk(error)));
            }
        }
        if reader.identity().sop_instance_uid.as_ref() != Some(&name.instance) {
            return Ok(Err(Outcome::failed(
                "the stored instance was asked for, and something else came, so it is not replaced",
            )));
        }
        let file = Arc::clone(&self.file);
        let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
        self.digest.copy_from_slice(digest.finish().as_ref());
        Ok(synced.map_err(io::Error::other).and_then(|done| done).map_err(no_disk))
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        if self.is_the_only_one.load(Ordering::Relaxed) {
            tracing::error!(
                "{}: the stored instance that was to be replaced is perhaps only in the file {} now: store it again if the \
                 store lacks it, then delete the file",
                self.title,
                self.path.display()
            );
        } else {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Fetches the instance that the store has; `None` where it has none.
async fn fetch(way: Way<'_>, name: &Name) -> Result<Option<Old>, Outcome> {
    let mut format = way.shared.instance_formats.of(way.store);
    let refusal = loop {
        match fetch_as(way, name, format).await {
            Ok(old) => return old.map(Some),
            Err(refusal) if refusal.status() == StatusCode::NOT_FOUND => return Ok(None),
            Err(refusal) => match format.after(&refusal) {
                Some(other) => format = other,
                None => break refusal,
            },
        }
    };
    Err(Outcome::failed(format!(
        "the stored instance cannot be fetched, and is not replaced: {}",
        refusal.in_words()
    )))
}

/// Fetches it in one format. The inner error: it has come, and cannot be kept.
async fn fetch_as(way: Way<'_>, name: &Name, format: Format) -> Result<Result<Old, Outcome>, Refusal> {
    let ask = Ask {
        method: Method::GET,
        path: name.path(),
        headers: way.headers_accepting(format.accept_as_stored()),
        content: Content::Empty,
        patience: way.shared.settings.patience,
    };
    let mut attempts = Attempts::new(way.shared, way.store, &ask, None);
    loop {
        let answer = attempts.next().await?;
        way.shared.instance_formats.worked(way.store, format);
        let mut old = match create(way) {
            Ok(old) => old,
            Err(error) => return Ok(Err(no_disk(error))),
        };
        match old.copy(way, answer, name).await {
            Ok(kept) => return Ok(kept.map(|()| old)),
            Err(Broke::Off(error)) => attempts.broke(&error).await?,
            Err(Broke::Nonsense(refusal)) => return Err(*refusal),
        }
    }
}

fn create(way: Way<'_>) -> io::Result<Old> {
    let folder = &way.shared.settings.spool_folder;
    way.shared.settings.disk_reserve.allows(folder, 0)?;
    let made = tempfile::Builder::new().prefix("being-replaced-").suffix(".dcm").tempfile_in(folder)?;
    // A drop of the file's guard at the process' end would be the loss that it is there to prevent.
    let (file, path) = made.keep().map_err(|error| error.error)?;
    let old = Old {
        title: way.store.title(),
        file: Arc::new(file),
        path,
        length: 0,
        digest: Digest::default(),
        is_the_only_one: false.into(),
    };
    // Its name shall survive a power failure as well, where the folder can be opened and its file system can do that.
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::info!("{}: a power failure might lose {}: {error}", old.title, old.path.display());
    }
    Ok(old)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn no_disk(error: io::Error) -> Outcome {
    let detail =
        format!("the stored instance cannot be kept in a temporary file, and is not replaced: {error}");
    Outcome::Failed { reason: OUT_OF_RESOURCES, detail }
}
