//! What is asked for when: the pages of the list, and the instances on them, side by side.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::SystemTime,
};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use http::StatusCode;

use super::{
    Retrieval, instance,
    ledger::{Key, Ledger},
    listing::{self, Found, Row},
    odd::Odd,
    part::Part,
    plan, stream,
};
use crate::{
    dicom_identity::Uid,
    refusal::Refusal,
    transfers::{Report, Stage},
    trouble::Act,
};

/// So many pages in a row may bring nothing new, because instances that are stored meanwhile push others to the next page.
/// A server that repeats itself for longer would do so for ever.
const PAGES_WITHOUT_NEWS: usize = 8;
/// So many instances that could not be retrieved are named in a message.
const MOST_NAMED: usize = 5;

/// Fetches everything, and says what came of it to the client, the log and the record of transfers.
pub(super) async fn fetch_all(retrieval: Retrieval) {
    let mut counts = Counts::default();
    let outcome = fetch(&retrieval, &mut counts).await;
    let now = retrieval.shared.world.now();
    let (listed, written) = retrieval.ledger().listed_and_written();
    let what = format!("GET {}", retrieval.path());
    let Retrieval { shared, store, transfer, output, .. } = retrieval;
    match outcome {
        Ok(()) => {
            // Streams may have brought what the search did not know.
            transfer.has_instances(listed as u64);
            let report = transfer.report();
            shared.troubles.mended(&store, Act::Retrieval);
            let title = store.title();
            output.end(move || {
                tracing::info!("{title}: {what}: {}", counts.in_words(&report, now));
                transfer.end(Stage::Succeeded, now);
            });
        }
        Err(refusal) => {
            let words = refusal.in_words();
            let told = if written == 0 {
                what
            } else {
                format!("{what}, broken off after {written} of {listed} instances,")
            };
            shared.troubles.tell(&store, Act::Retrieval, &told, &refusal, now);
            transfer.failed((listed - written) as u64, &words);
            transfer.end(Stage::Failed, now);
            output.fail(refusal);
        }
    }
}

/// What it took, for the log.
#[derive(Default)]
struct Counts {
    requests: usize,
    most_at_once: usize,
}

impl Counts {
    fn in_words(&self, report: &Report, now: SystemTime) -> String {
        let seconds = now.duration_since(report.began).unwrap_or_default().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
        let megabytes = report.bytes_done as f64 / 1e6;
        format!(
            "{} instances, {megabytes:.1} MB in {seconds:.1} s ({:.1} MB/s), {} requests, at most {} at once, {} sent again",
            report.instances_done,
            megabytes / seconds.max(0.001),
            self.requests as u64 + report.retries,
            self.most_at_once,
            report.retries,
        )
    }
}

/// What can be asked for.
enum Step {
    Page { offset: usize },
    FewSeries,
    Series(Uid, usize),
    Instance(Key),
    Odd(Odd),
    Unlisted,
}

/// What was asked for and came.
enum Done {
    Page { offset: usize, found: Vec<Row> },
    FewSeries(Vec<Uid>),
    Series(Uid),
    Rest,
}

impl Step {
    /// How many places it takes.
    fn places(&self) -> usize {
        match self {
            Self::Page { .. } | Self::FewSeries => 0,
            Self::Series(_, instances) => plan::places_of_stream(*instances),
            Self::Instance(_) | Self::Odd(_) | Self::Unlisted => 1,
        }
    }

    async fn run(self, retrieval: &Retrieval) -> Result<Done, Refusal> {
        match self {
            Self::Page { offset } => {
                let found = listing::page(retrieval, offset).await?;
                Ok(Done::Page { offset, found })
            }
            Self::FewSeries => {
                let series = listing::few_series(retrieval, plan::MOST_EARLY_STREAMS).await;
                Ok(Done::FewSeries(series))
            }
            Self::Series(series, _) => {
                stream::series(retrieval, &series).await?;
                Ok(Done::Series(series))
            }
            Self::Instance(key) => {
                if retrieval.ledger().claim(&key) {
                    let bytes = instance::fetch(retrieval, &key, Part::new(retrieval)).await?;
                    retrieval.wrote(&key, bytes);
                }
                Ok(Done::Rest)
            }
            Self::Odd(odd) => {
                odd_instance(retrieval, odd).await;
                Ok(Done::Rest)
            }
            Self::Unlisted => {
                stream::unlisted(retrieval).await?;
                Ok(Done::Rest)
            }
        }
    }
}

/// Fetches and writes an instance whose UIDs are not valid. If it cannot be retrieved, the others still are.
async fn odd_instance(retrieval: &Retrieval, odd: Odd) {
    let outcome = match odd.path() {
        None => Err("it cannot be requested".to_owned()),
        Some(path) => {
            let fetched = instance::fetch_at(retrieval, path, Part::new(retrieval)).await;
            fetched.map_err(|refusal| refusal.failure().cause.clone())
        }
    };
    match outcome {
        Ok(bytes) => {
            retrieval.ledger().wrote_odd();
            retrieval.transfer.done(bytes);
        }
        Err(why) => retrieval.ledger().lost_odd(odd, why),
    }
}

/// The instances that could not be retrieved because their UIDs are not valid, while all others were.
fn lost(ledger: &Ledger) -> Option<Refusal> {
    let lost: Vec<String> =
        ledger.lost().take(MOST_NAMED).map(|(odd, why)| format!("one {}: {why}", odd.name())).collect();
    if lost.is_empty() {
        return None;
    }
    let cause = format!(
        "{} instances have UIDs that are not valid (PS3.5 section 9.1) and could not be retrieved: {}",
        ledger.lost().count(),
        lost.join("; ")
    );
    let remedy = "retrieve the others by series or one by one; correct or delete these in the store";
    Some(Refusal::own(StatusCode::BAD_GATEWAY, &cause, remedy))
}

/// What is under way, with the places that each takes.
type Running<'a> = FuturesUnordered<BoxFuture<'a, (usize, Result<Done, Refusal>)>>;

/// Fetches everything that there is, and writes it.
async fn fetch(retrieval: &Retrieval, counts: &mut Counts) -> Result<(), Refusal> {
    let mut queue = Queue::new(retrieval);
    let mut running = Running::new();
    let mut taken = 0;
    loop {
        let places = plan::places(retrieval.sizes.average().or(queue.estimate));
        // Whatever its places, one is always under way.
        while let Some(step) = queue.next(|step| taken == 0 || taken + step.places() <= places) {
            let places = step.places();
            taken += places;
            running.push(Box::pin(async move { (places, step.run(retrieval).await) }));
            counts.requests += 1;
        }
        counts.most_at_once = counts.most_at_once.max(running.len());
        if queue.awaits_few_series && queue.is_planned && running.len() == 1 {
            // It would have been a hint, and everything is here without it.
            break;
        }
        let Some((places, done)) = running.next().await else { break };
        taken -= places;
        queue.go_on(done?).map_err(|refusal| *refusal)?;
    }
    let (listed, written) = retrieval.ledger().listed_and_written();
    if listed == 0 {
        let cause = "the study or series has no instances";
        return Err(Refusal::own(StatusCode::NOT_FOUND, cause, "check its UID; a deletion may be under way"));
    }
    if let Some(lost) = lost(&retrieval.ledger()) {
        return Err(lost);
    }
    if written != listed {
        let cause = format!("{written} of {listed} instances were fetched and no request failed");
        return Err(Refusal::own(StatusCode::INTERNAL_SERVER_ERROR, &cause, "report this"));
    }
    Ok(())
}

/// What is still to be asked for.
struct Queue<'a> {
    retrieval: &'a Retrieval,
    steps: VecDeque<Step>,
    /// What was listed and has no steps yet.
    listed: HashMap<Uid, Batch>,
    /// The same of those without valid UIDs, which are fetched after the others.
    odd: Vec<Odd>,
    /// The pages that have come: for the first instance of each how many there were.
    pages: BTreeMap<usize, usize>,
    /// Pages that have not come yet.
    pages_asked: usize,
    /// Whether the first pages have been turned into steps.
    is_planned: bool,
    /// Whether the list of series is asked for and has not come.
    awaits_few_series: bool,
    /// Series whose streams are asked for, or will be. What else is listed of them waits until they have ended.
    streams: HashMap<Uid, StreamState>,
    without_news: usize,
    /// Bytes of an instance, where the listing says something about it.
    estimate: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamState {
    Asked,
    Ended,
}

/// What a page has of one series.
#[derive(Default)]
struct Batch {
    keys: Vec<Key>,
    pixels: u64,
    with_pixels: u64,
}

impl<'a> Queue<'a> {
    fn new(retrieval: &'a Retrieval) -> Self {
        let pages = listing::first_pages().map(|offset| Step::Page { offset });
        let series = retrieval.series().is_none().then_some(Step::FewSeries);
        Self {
            retrieval,
            awaits_few_series: series.is_some(),
            pages_asked: listing::first_pages().count(),
            is_planned: false,
            steps: series.into_iter().chain(pages).collect(),
            listed: HashMap::new(),
            odd: Vec::new(),
            pages: BTreeMap::new(),
            streams: HashMap::new(),
            without_news: 0,
            estimate: None,
        }
    }

    /// The next step, if it fits.
    fn next(&mut self, fits: impl FnOnce(&Step) -> bool) -> Option<Step> {
        if fits(self.steps.front()?) { self.steps.pop_front() } else { None }
    }

    /// Adds what follows from what came.
    fn go_on(&mut self, done: Done) -> Result<(), Box<Refusal>> {
        match done {
            Done::Page { offset, found } => self.page(offset, found),
            Done::FewSeries(series) => {
                self.awaits_few_series = false;
                if !self.is_planned && plan::are_streams(series.len()) {
                    for series in series {
                        self.streams.insert(series.clone(), StreamState::Asked);
                        self.steps.push_back(Step::Series(series, usize::MAX));
                    }
                }
                Ok(())
            }
            Done::Series(series) => {
                let waiting = self.retrieval.ledger().waiting(&series);
                for key in waiting {
                    self.steps.push_front(Step::Instance(key));
                }
                self.streams.insert(series, StreamState::Ended);
                Ok(())
            }
            Done::Rest => Ok(()),
        }
    }

    fn page(&mut self, offset: usize, found: Vec<Row>) -> Result<(), Box<Refusal>> {
        self.pages.insert(offset, found.len());
        self.pages_asked -= 1;
        let (was_empty, mut is_news) = (found.is_empty(), false);
        for row in found {
            let Found { key, pixels } = match row {
                Row::Instance(found) => found,
                Row::Odd(odd) => {
                    if self.retrieval.ledger().list_odd(odd.clone()) {
                        is_news = true;
                        self.odd.push(odd);
                    }
                    continue;
                }
            };
            if self.retrieval.ledger().list(key.clone()) {
                is_news = true;
                let batch = self.listed.entry(key.series.clone()).or_default();
                batch.pixels = batch.pixels.saturating_add(pixels.unwrap_or_default());
                batch.with_pixels += u64::from(pixels.is_some());
                batch.keys.push(key);
            }
        }
        self.without_news = if !is_news && !was_empty { self.without_news + 1 } else { 0 };
        if self.without_news > PAGES_WITHOUT_NEWS {
            let cause = "the search for instances gives the same again and again";
            let refusal = Refusal::own(StatusCode::BAD_GATEWAY, cause, "retrieve single series");
            return Err(Box::new(refusal));
        }
        let all = self.retrieval.ledger().listed();
        self.retrieval.transfer.has_instances(all as u64);
        // All of the first pages: on one alone, a series that fills it would look like most of the study.
        if self.pages_asked == 0 {
            let listed = std::mem::take(&mut self.listed);
            self.is_planned = true;
            self.plan(listed, all);
            self.steps.extend(std::mem::take(&mut self.odd).into_iter().map(Step::Odd));
            match listing::next_page(&self.pages) {
                Some(offset) => {
                    self.pages_asked = 1;
                    self.steps.push_front(Step::Page { offset });
                }
                None if all == 0 => self.steps.push_back(Step::Unlisted),
                None => self.retrieval.ledger().listed_whole(),
            }
        }
        Ok(())
    }

    /// Adds the steps for what a page has brought: the streams first, the longest before all others, so that none is left
    /// alone at the end.
    fn plan(&mut self, batches: HashMap<Uid, Batch>, all: usize) {
        let (pixels, count) = batches.values().fold((0_u64, 0), |(pixels, count), batch| {
            (pixels.saturating_add(batch.pixels), count + batch.with_pixels)
        });
        self.estimate = pixels.checked_div(count).filter(|bytes| *bytes > 0).or(self.estimate);
        let mut batches: Vec<(Uid, Batch)> = batches.into_iter().collect();
        batches.sort_by_key(|(_, batch)| std::cmp::Reverse(batch.keys.len()));
        let mut single = Vec::new();
        for (series, batch) in batches {
            let estimate = batch.pixels.checked_div(batch.with_pixels);
            let is_stream = plan::is_stream(batch.keys.len(), all, estimate);
            match self.streams.get(&series) {
                Some(StreamState::Asked) if is_stream => {}
                // It began before this was known. Single requests help it from the other end, and it ends where they meet.
                Some(StreamState::Asked) => single.extend(batch.keys.into_iter().rev()),
                None if is_stream => {
                    self.streams.insert(series.clone(), StreamState::Asked);
                    self.steps.push_back(Step::Series(series, batch.keys.len()));
                }
                None | Some(StreamState::Ended) => {
                    self.streams.insert(series, StreamState::Ended);
                    single.extend(batch.keys);
                }
            }
        }
        self.steps.extend(single.into_iter().map(Step::Instance));
    }
}
