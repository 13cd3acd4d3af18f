//! An upload under way: what is read, what is sent, and when.

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use super::{
    broken::{self, Broken},
    gather::Gatherer,
    instance::{Held, Kept, Outcome},
    intake::{Arrival, Intake},
    job::Job,
    listing,
    parallelism::{self, Parallelism},
    reason,
    records::Records,
    send::{self, Sent, Way},
};
use crate::{
    client_gone::ClientGone, dicom_identity::Uid, refusal::Refusal, store::OnConflict, transfers::Transfer,
};

/// Batches that are read ahead of those under way: the next one, and one that waits for a twin.
const READ_AHEAD: usize = 2;
/// Instances that are wholly on disk and not yet at the store: more connections would not be faster, and disk is scarce.
const SPOOLED: usize = 4;
/// A client that is refused is listened to for so long before it is told: ten gigabytes of the DICOMweb plugin's.
const LISTEN: Duration = Duration::from_secs(60);
/// A client that is answered before it has sent everything is listened to for so long, so that it comes to reading.
const DRAIN: Duration = Duration::from_secs(10);

/// An upload under way.
pub(super) struct Upload<'a> {
    pub(super) way: Way<'a>,
    pub(super) transfer: &'a Transfer,
    pub(super) began: SystemTime,
    pub(super) records: Records,
    /// Which instances each study has in the store, where that was asked; `None` where it could not be found out.
    listings: HashMap<Uid, Option<HashSet<Uid>>>,
    under_way: HashSet<Uid>,
    /// The numbers of the instances that are wholly on disk and of which it is not known what becomes of them.
    spooled: HashSet<usize>,
    parallelism: Parallelism,
    pub(super) requests: usize,
    pub(super) most_at_once: usize,
}

/// How the reading of an upload ended.
pub(super) enum End {
    /// It was read, and of everything it is known what became of it.
    Known,
    /// It is not worth going on.
    Refused(Box<Refusal>),
    /// The client went away.
    Gone,
}

/// An intake that is reading, and gives itself back.
type Reading = Pin<Box<dyn Future<Output = (Intake, Result<Arrival, Broken>)> + Send>>;

impl<'a> Upload<'a> {
    pub(super) fn new(way: Way<'a>, transfer: &'a Transfer, job: Option<Job>) -> Self {
        let now = way.shared.world.now();
        Self {
            way,
            transfer,
            began: now,
            records: Records::new(way.shared, &way.store.name, job),
            listings: HashMap::new(),
            under_way: HashSet::new(),
            spooled: HashSet::new(),
            parallelism: Parallelism::new(now),
            requests: 0,
            most_at_once: 0,
        }
    }

    /// Reads and sends, until everything is sent or it is not worth going on. Whatever is still under way then is cancelled.
    pub(super) async fn run(&mut self, intake: Intake, mut client: Option<ClientGone>) -> End {
        let mut gatherer = Gatherer::default();
        let mut sending = FuturesUnordered::new();
        let (mut idle, mut reading) = (Some(intake), None::<Reading>);
        let stop = Arc::new(Notify::new());
        let (mut is_full, mut is_read) = (false, false);
        let end = loop {
            if is_full || is_read {
                gatherer.flush();
            }
            if self.way.complaints.swap(0, Ordering::Relaxed) > 0 {
                self.parallelism.complained(self.way.shared.world.now());
            }
            while sending.len() < self.parallelism.limit()
                && let Some(batch) = gatherer.take(&self.under_way)
            {
                let names =
                    batch.instances.iter().filter_map(|held| Some(held.name.as_ref()?.instance.clone()));
                self.under_way.extend(names);
                sending.push(send::send(self.way, batch));
                self.requests += 1;
                self.most_at_once = self.most_at_once.max(sending.len());
            }
            if is_read && sending.is_empty() {
                break End::Known;
            }
            if let Some(mut intake) = idle.take() {
                if is_full && sending.is_empty() {
                    // Nothing of this upload will give memory back, and those of others may wait for it as well.
                    intake.spill().await;
                    is_full = false;
                }
                if is_full || is_read || gatherer.ready() >= READ_AHEAD || self.spooled.len() >= SPOOLED {
                    idle = Some(intake);
                } else {
                    reading = Some(read_on(intake, Arc::clone(&stop)));
                }
            }
            if self.records.is_full() {
                break End::Refused(Box::new(broken::too_many()));
            }
            tokio::select! {
                Some(sent) = sending.next() => {
                    let under_way = sending.len() + 1;
                    if let Some(refusal) = self.settle(sent, under_way) {
                        break End::Refused(Box::new(refusal));
                    }
                }
                (intake, arrival) = read(&mut reading) => {
                    reading = None;
                    idle = Some(intake);
                    match arrival {
                        Ok(Arrival::Instance(held)) => {
                            if let Some(held) = self.unknown(held).await {
                                gatherer.push(held);
                            }
                        }
                        Ok(Arrival::Beginning(held)) => {
                            self.read(&held);
                            gatherer.push(held);
                        }
                        Ok(Arrival::Whole(index, length, digest)) => {
                            if !self.records.is_known(index) {
                                self.spooled.insert(index);
                            }
                            self.records.whole(index, length, digest);
                        }
                        Ok(Arrival::Full) => is_full = true,
                        Ok(Arrival::Stopped) => {}
                        Ok(Arrival::End) => {
                            is_read = true;
                            self.records.is_complete = true;
                            self.transfer.has_instances(self.records.len() as u64);
                            self.transfer.has_bytes(self.records.bytes);
                        }
                        Err(Broken::Gone(error)) => {
                            tracing::info!("{}: an upload was broken off by the client: {error}", self.way.store.title());
                            break End::Gone;
                        }
                        Err(broken) => break End::Refused(Box::new(broken.refusal())),
                    }
                }
                () = room(&mut idle), if is_full => is_full = false,
                () = self.way.shared.world.sleep(parallelism::PATIENCE),
                    if gatherer.ready() > 0 && self.parallelism.is_blind() => self.parallelism.waited(),
                () = gone(&mut client) => {
                    tracing::info!("{}: a client went away in the middle of its upload", self.way.store.title());
                    break End::Gone;
                }
            }
        };
        drop(sending);
        drop(gatherer);
        stop.notify_one();
        let left = if let Some(reading) = reading { Some(reading.await.0) } else { idle };
        self.records.is_complete |= listen_on(left, &end).await;
        end
    }

    /// Books an instance that was read.
    fn read(&mut self, held: &Held) {
        self.records.read(held);
        if let Some(name) = &held.name {
            self.transfer.is_about(name.study.as_str(), None);
        }
    }

    /// Books an instance that was read whole, and gives it back if it has to be sent.
    async fn unknown(&mut self, held: Held) -> Option<Held> {
        self.read(&held);
        if held.whole.is_some_and(|(length, _)| length == 0) {
            self.empty(held.index);
            return None;
        }
        if self.is_present(&held).await {
            self.present(held.index);
            return None;
        }
        if matches!(held.kept, Kept::Spool(_)) {
            self.spooled.insert(held.index);
        }
        Some(held)
    }

    /// Books a batch that was sent; the refusal, if it is not worth going on.
    fn settle(&mut self, sent: Sent, under_way: usize) -> Option<Refusal> {
        for held in &sent.batch.instances {
            self.spooled.remove(&held.index);
            if let Some(name) = &held.name {
                self.under_way.remove(&name.instance);
            }
        }
        if sent.refusal.is_none() {
            let bytes = sent.batch.instances.iter().map(|held| self.records.length(held.index)).sum();
            self.parallelism.acknowledged(self.way.shared.world.now(), bytes, under_way);
        }
        for (index, outcome) in sent.outcomes {
            match &outcome {
                Outcome::Stored { .. } => self.transfer.done(self.records.length(index)),
                Outcome::Failed { reason, detail } => {
                    self.transfer.failed(1, &reason::in_report(*reason, detail));
                    if let Some(name) = self.records.name(index) {
                        self.transfer.lacks(name.instance.as_str());
                    }
                }
            }
            self.records.became(index, outcome);
        }
        sent.refusal
    }

    /// Whether the store has this very instance: an upload that failed a short time ago has stored it, and it is still listed.
    async fn is_present(&mut self, held: &Held) -> bool {
        let (Some(name), Some((_, digest))) = (&held.name, &held.whole) else { return false };
        let Way { shared, store, .. } = self.way;
        // Whoever wants to overwrite what is there shall not trust that it is what it was.
        if store.on_conflict == OnConflict::Overwrite
            || !shared.remembered.was_stored(&store.name, name, digest, shared.world.now())
        {
            return false;
        }
        self.listing(&name.study).await.is_some_and(|listed| listed.contains(&name.instance))
    }

    /// The instances of a study that the store has, asked once; `None` where that could not be found out.
    pub(super) async fn listing(&mut self, study: &Uid) -> Option<&HashSet<Uid>> {
        let store = self.way.store;
        if !self.listings.contains_key(study) {
            let remembered = &self.way.shared.remembered;
            let is_wanted = |instance: &Uid| {
                remembered.knows(&store.name, instance) || remembered.misses(&store.name, instance)
            };
            let listed = listing::present(self.way, study, is_wanted).await;
            if let Err(refusal) = &listed {
                tracing::warn!(
                    "{}: it could not be found out which instances of a study the store has, so none counts as stored: {}",
                    store.title(),
                    refusal.in_words()
                );
            }
            self.listings.insert(study.clone(), listed.ok());
        }
        self.listings.get(study)?.as_ref()
    }

    /// Books a part in which nothing is: the store need not be asked.
    fn empty(&mut self, index: usize) {
        let outcome = Outcome::failed("the part of the upload is empty: it holds no DICOM file");
        self.transfer.failed(1, outcome.detail().unwrap_or_default());
        self.records.became(index, outcome);
    }

    /// Books an instance that was not sent, because the store has it.
    fn present(&mut self, index: usize) {
        self.transfer.present();
        self.records.present += 1;
        self.records.became(index, Outcome::STORED);
    }
}

fn read_on(mut intake: Intake, stop: Arc<Notify>) -> Reading {
    Box::pin(async move {
        let arrival = intake.next_unless(&stop).await;
        (intake, arrival)
    })
}

/// What an intake that is reading has read; never, if none is.
async fn read(reading: &mut Option<Reading>) -> (Intake, Result<Arrival, Broken>) {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}

/// Waits until an intake that is not reading has memory.
async fn room(idle: &mut Option<Intake>) {
    match idle {
        Some(intake) => intake.room().await,
        None => std::future::pending().await,
    }
}

/// Waits until the client has gone.
async fn gone(client: &mut Option<ClientGone>) {
    match client {
        Some(client) => client.wait().await,
        None => std::future::pending().await,
    }
}

/// Listens on to a client that is not waited for any longer, or has gone: which instances it believes to have sent.
///
/// An answer that comes in the middle lets curl drop what it has already taken from the DICOMweb plugin, which then counts as
/// sent. So a refusal is told when the client has sent everything, or stops for a moment. Whether it has sent everything.
async fn listen_on(intake: Option<Intake>, end: &End) -> bool {
    let Some(mut intake) = intake else { return false };
    let (all_heard, heard) = oneshot::channel();
    // A task of its own: it outlives the answer, and the connection too.
    tokio::spawn(async move {
        drop(timeout(LISTEN, intake.hear_names()).await);
        intake.remember_left_out();
        all_heard.send(intake.is_complete()).ok();
        drop(timeout(DRAIN, intake.drain()).await);
    });
    // Whoever finds the upload ended finds written down what is missing.
    !matches!(end, End::Known) && heard.await.unwrap_or_default()
}
