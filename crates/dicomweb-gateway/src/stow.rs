//! Uploads (STOW-RS, PS3.18 section 10.5): cut into instances as they arrive, and sent on in batches side by side.
//!
//! `intake` reads instances, `gather` makes batches of them, `send` sends one and finds out what became of its instances,
//! `parallelism` says how many are under way at once, and `answer` puts one response together.

mod answer;
mod conflict;
mod gather;
mod instance;
mod intake;
mod listing;
mod parallelism;
mod records;
mod remembered;
mod said;
mod send;
mod spool;

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;

pub(crate) use self::{conflict::Overwriting, remembered::Remembered};
use self::{
    gather::Gatherer,
    instance::{Held, Outcome},
    intake::{Arrival, Broken, Intake},
    parallelism::Parallelism,
    records::Records,
    send::{Sent, Way},
};
use crate::{
    accept::{self, AnswerFormat},
    body::{self, ResponseBody},
    dicom_identity::Uid,
    gateway::Shared,
    multipart,
    refusal::Refusal,
    store::Store,
    transfers::{Kind, Stage, Transfer},
};

/// Batches that are read ahead of those under way: the next one, and one that waits for a twin.
const READ_AHEAD: usize = 2;
/// A client that is answered before it has sent everything is listened to for so long, so that it comes to reading.
const DRAIN: Duration = Duration::from_secs(10);

/// Answers an upload: `POST studies` or `POST studies/{study}` of `multipart/related; type="application/dicom"`.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    store: &Store,
    study: Option<&str>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let (parts, incoming) = request.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = match multipart::boundary_of(content_type.unwrap_or_default()) {
        Ok(related) => related.boundary,
        Err(error) => {
            let remedy = "send multipart/related; type=\"application/dicom\"; boundary=…";
            return Refusal::own(StatusCode::BAD_REQUEST, &error.to_string(), remedy).into_response();
        }
    };
    let transfer = shared.transfers.begin(&store.name, Kind::Store, shared.world.now());
    let complaints = AtomicU64::new(0);
    let way = Way { shared, store, study, transfer: Some(&transfer), complaints: &complaints };
    let mut upload = Upload::new(way, &transfer);
    let intake = Intake::new(shared, &store.name, incoming, &boundary);
    let end = upload.run(intake).await;
    let (response, stage) = upload.finish(end, accept::stow_answer_format(&parts.headers)).await;
    drop(upload);
    if let Some(stage) = stage {
        transfer.end(stage, shared.world.now());
    }
    response
}

/// An upload under way.
struct Upload<'a> {
    way: Way<'a>,
    transfer: &'a Transfer,
    began: SystemTime,
    records: Records,
    /// Which instances each study has in the store, where that was asked; `None` where it could not be found out.
    listings: HashMap<Uid, Option<HashSet<Uid>>>,
    under_way: HashSet<Uid>,
    parallelism: Parallelism,
    requests: usize,
    most_at_once: usize,
}

/// How the reading of an upload ended.
enum End {
    /// It was read, and of everything it is known what became of it.
    Known,
    /// It is not worth going on.
    Refused(Refusal),
    /// The client went away.
    Gone,
}

/// An intake that is reading, and gives itself back.
type Reading = Pin<Box<dyn Future<Output = (Intake, Result<Arrival, Broken>)> + Send>>;

impl<'a> Upload<'a> {
    fn new(way: Way<'a>, transfer: &'a Transfer) -> Self {
        let now = way.shared.world.now();
        Self {
            way,
            transfer,
            began: now,
            records: Records::new(way.shared, &way.store.name),
            listings: HashMap::new(),
            under_way: HashSet::new(),
            parallelism: Parallelism::new(now),
            requests: 0,
            most_at_once: 0,
        }
    }

    /// Reads and sends, until everything is sent or it is not worth going on. Whatever is still under way then is cancelled.
    async fn run(&mut self, intake: Intake) -> End {
        let mut gatherer = Gatherer::default();
        let mut sending = FuturesUnordered::new();
        let (mut idle, mut reading) = (Some(intake), None::<Reading>);
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
                if is_full || is_read || gatherer.ready() >= READ_AHEAD {
                    idle = Some(intake);
                } else {
                    reading = Some(Box::pin(async move {
                        let arrival = intake.next().await;
                        (intake, arrival)
                    }));
                }
            }
            tokio::select! {
                Some(sent) = sending.next() => {
                    let under_way = sending.len() + 1;
                    if let Some(refusal) = self.settle(sent, under_way) {
                        break End::Refused(refusal);
                    }
                }
                (intake, arrival) = read(&mut reading) => {
                    reading = None;
                    idle = Some(intake);
                    match arrival {
                        Ok(Arrival::Instance(held)) => {
                            self.read(&held);
                            if self.is_present(&held).await {
                                self.present(held.index);
                            } else {
                                gatherer.push(held);
                            }
                        }
                        Ok(Arrival::Beginning(held)) => {
                            self.read(&held);
                            gatherer.push(held);
                        }
                        Ok(Arrival::Whole(index, length, digest)) => self.records.whole(index, length, digest),
                        Ok(Arrival::Full) => is_full = true,
                        Ok(Arrival::End) => {
                            is_read = true;
                            self.transfer.has_instances(self.records.len() as u64);
                            self.transfer.has_bytes(self.records.bytes);
                        }
                        Err(Broken::Gone(error)) => {
                            tracing::info!("{}: an upload was broken off by the client: {error}", self.way.store.title());
                            break End::Gone;
                        }
                        Err(broken) => break End::Refused(refusal_of(&broken)),
                    }
                }
                () = room(&mut idle), if is_full => is_full = false,
            }
        };
        drop(sending);
        drop(gatherer);
        if !matches!(end, End::Gone) {
            drop(tokio::spawn(tokio::time::timeout(DRAIN, drained(idle, reading))));
        }
        end
    }

    /// Books an instance that was read.
    fn read(&mut self, held: &Held) {
        self.records.read(held);
        if let Some(name) = &held.name {
            self.transfer.is_about(name.study.as_str(), None);
        }
    }

    /// Books a batch that was sent; the refusal, if it is not worth going on.
    fn settle(&mut self, sent: Sent, under_way: usize) -> Option<Refusal> {
        for held in &sent.batch.instances {
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
                Outcome::Failed { detail, .. } => self.transfer.failed(1, detail),
            }
            self.records.became(index, outcome);
        }
        sent.refusal
    }

    /// Whether the store has this very instance: it was stored through this gateway a short time ago, and is still listed.
    async fn is_present(&mut self, held: &Held) -> bool {
        let (Some(name), Some((_, digest))) = (&held.name, &held.whole) else { return false };
        let Way { shared, store, .. } = self.way;
        if !shared.remembered.was_stored(&store.name, name, digest, shared.world.now()) {
            return false;
        }
        self.listing(&name.study).await.is_some_and(|listed| listed.contains(&name.instance))
    }

    /// The instances of a study that the store has, asked once; `None` where that could not be found out.
    async fn listing(&mut self, study: &Uid) -> Option<&HashSet<Uid>> {
        let Way { shared, store, .. } = self.way;
        if !self.listings.contains_key(study) {
            let listed = listing::present(Arc::clone(shared), store.clone(), study.clone()).await;
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

    /// Books an instance that was not sent, because the store has it.
    fn present(&mut self, index: usize) {
        self.transfer.present();
        self.records.present += 1;
        self.records.became(index, Outcome::STORED);
    }

    /// The answer, and how the transfer ended; no stage where the client went away.
    async fn finish(&mut self, end: End, format: AnswerFormat) -> (Response<ResponseBody>, Option<Stage>) {
        let Way { shared, store, study, .. } = self.way;
        let what = study.map_or("POST studies", |_| "POST studies/{study}");
        let refusal = match end {
            End::Gone => return (Response::new(body::empty()), None),
            End::Refused(refusal) => Some(refusal),
            End::Known if self.records.len() == 0 => Some(Refusal::own(
                StatusCode::BAD_REQUEST,
                "the upload carries no instance",
                "send the study again as a whole, with a new job: one that is resubmitted sends only what it had not read before",
            )),
            End::Known => None,
        };
        if let Some(refusal) = refusal {
            shared.troubles.tell(store, what, &refusal);
            let unknown = self.records.len() - self.records.known();
            self.transfer.failed(unknown as u64, &refusal.in_words());
            if self.records.stored() == 0 {
                return (refusal.into_response(), Some(Stage::Failed));
            }
            let items = self.records.items(&format!("not sent: {}", refusal.failure().cause));
            self.log();
            return (self.merged(format, &items), Some(Stage::Failed));
        }
        let mut items = self.records.items("");
        if self.records.is_all_stored() {
            shared.troubles.mended(store);
            items.extend(self.still_missing().await);
        } else {
            let words = self.transfer.report().failures.join("; ");
            tracing::error!(
                "{}: {} of {} instances of an upload could not be stored: {words}; correct them at their source, or send the \
                 study again",
                store.title(),
                self.records.len() - self.records.stored(),
                self.records.len()
            );
        }
        self.log();
        let stage =
            if items.iter().all(|item| item.outcome.is_stored()) { Stage::Succeeded } else { Stage::Failed };
        (self.merged(format, &items), Some(stage))
    }

    /// Instances of the same studies that earlier uploads have read and not stored, and that the store still lacks.
    async fn still_missing(&mut self) -> Vec<answer::Item> {
        let Way { shared, store, .. } = self.way;
        let stored = self.records.names();
        let mut items = Vec::new();
        for study in self.records.studies() {
            let mut missing = shared.remembered.missing(&store.name, &study);
            missing.retain(|name| !stored.contains(name));
            if missing.is_empty() {
                continue;
            }
            let listed = self.listing(&study).await;
            let (found, missing): (Vec<_>, Vec<_>) = missing
                .into_iter()
                .partition(|name| listed.is_some_and(|listed| listed.contains(&name.instance)));
            shared.remembered.found(&store.name, found.iter().map(Arc::as_ref));
            items.extend(missing.into_iter().map(|name| answer::Item {
                name: Some(name),
                outcome: Outcome::failed(
                    "an earlier upload of this study ended before this instance was stored; send the study again as a whole",
                ),
            }));
        }
        if !items.is_empty() {
            let words = "instances that an earlier upload of the study has read are not in the store";
            self.transfer.failed(items.len() as u64, words);
            tracing::error!(
                "{}: everything of this upload is stored, but {} {words}; send the study again as a whole, with a new job: one \
                 that is resubmitted sends only what it had not read before",
                store.title(),
                items.len()
            );
        }
        items
    }

    fn merged(&self, format: AnswerFormat, items: &[answer::Item]) -> Response<ResponseBody> {
        let root = self.way.store.url(None, "");
        let merged = answer::merged(format, &root, self.way.study, items);
        let mut response = Response::new(body::whole(merged.body));
        *response.status_mut() = merged.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(merged.content_type));
        response
    }

    fn log(&self) {
        let seconds =
            self.way.shared.world.now().duration_since(self.began).unwrap_or_default().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "it is told with one decimal")]
        let megabytes = self.records.bytes as f64 / 1e6;
        let (all, stored) = (self.records.len(), self.records.stored());
        tracing::info!(
            "{}: uploaded {all} instances, {megabytes:.1} MB, in {seconds:.1} s ({:.0} MB/s) with {} batches, at most {} at once, \
             {} sent again; {} of them were in the store already, {} failed",
            self.way.store.title(),
            megabytes / seconds.max(0.001),
            self.requests,
            self.most_at_once,
            self.transfer.report().retries,
            self.records.present,
            all - stored
        );
    }
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

/// Listens to a client that is answered already.
async fn drained(idle: Option<Intake>, reading: Option<Reading>) {
    let intake = match (idle, reading) {
        (Some(intake), _) => intake,
        (None, Some(reading)) => reading.await.0,
        (None, None) => return,
    };
    intake.drain().await;
}

fn refusal_of(broken: &Broken) -> Refusal {
    let (status, remedy) = match broken {
        Broken::Silent(_) => (StatusCode::REQUEST_TIMEOUT, "send the study again"),
        _ => (StatusCode::BAD_REQUEST, "send the instances as PS3.18 section 10.5 has it"),
    };
    Refusal::own(status, &broken.to_string(), remedy)
}
