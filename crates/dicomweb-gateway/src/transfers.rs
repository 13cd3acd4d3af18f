//! What goes through the gateway now, and what went through it last.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use google_credentials::World;

/// How many transfers are remembered after their end.
const REMEMBERED: usize = 100;
/// How many failures of one transfer are kept in words.
const FAILURES_IN_WORDS: usize = 20;
/// How many instances that failed are named.
pub(crate) const FAILED_INSTANCES: usize = 100;

/// What a transfer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// STOW-RS.
    Store,
    /// WADO-RS of a study or series.
    Retrieve,
}

/// How a transfer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Under way.
    Running,
    /// Every instance arrived.
    Succeeded,
    /// Not every instance arrived.
    Failed,
    /// The client went away.
    Cancelled,
}

/// A transfer at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its number since the start of the gateway.
    pub id: u64,
    /// The account.
    pub account: String,
    /// What it does.
    pub kind: Kind,
    /// How it stands.
    pub stage: Stage,
    /// `StudyInstanceUID`, once known; of an upload of several, the first.
    pub study: Option<String>,
    /// `SeriesInstanceUID`, where one alone is retrieved.
    pub series: Option<String>,
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: Option<SystemTime>,
    /// How many instances there are; `None` while nobody knows.
    pub instances_total: Option<u64>,
    /// Instances stored or passed on, including those that were there already.
    pub instances_done: u64,
    /// … of these, those that the store had already, so that they were not sent.
    pub instances_present: u64,
    /// Instances that failed for good.
    pub instances_failed: u64,
    /// Bytes of all instances; `None` while nobody knows, and where instances are retrieved.
    pub bytes_total: Option<u64>,
    /// Bytes of instances done.
    pub bytes_done: u64,
    /// Requests to Google that were sent again.
    pub retries: u64,
    /// Why requests are sent again, as long as no instance has come through since.
    pub held_up_by: Option<String>,
    /// The first failures, with the remedy: Google's words as far as they can hold no value of a patient's.
    pub failures: Vec<String>,
    /// What a person can do about instances that failed one by one, which Google's words do not say.
    pub remedy: Option<String>,
    /// SOP Instance UIDs of the first hundred instances that were read and are not in the store.
    pub failed_instances: Vec<String>,
}

/// What a gateway has done since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were answered, by method and status.
    pub requests: BTreeMap<(String, u16), u64>,
    /// Requests to Google that were sent again.
    pub retries: u64,
    /// Bytes of bodies sent to Google.
    pub bytes_sent: u64,
    /// Bytes of bodies received from Google.
    pub bytes_received: u64,
    /// Instances that Google has stored.
    pub instances_stored: u64,
    /// Instances that were to be stored and were not.
    pub instances_failed: u64,
    /// Instances that the store had already.
    pub instances_duplicate: u64,
    /// Instances that were passed on to whoever retrieved them.
    pub instances_retrieved: u64,
    /// Connections that were closed because others needed their places.
    pub connections_refused: u64,
    /// Transfers that ended, by kind and stage; those that have not happened are not there.
    pub transfers: BTreeMap<(Kind, Stage), u64>,
    /// The same of each account that has had a transfer.
    pub accounts: BTreeMap<String, AccountCounts>,
}

/// What the transfers of one account have done since the gateway's start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountCounts {
    /// Instances that Google has stored.
    pub instances_stored: u64,
    /// Instances that were to be stored and were not.
    pub instances_failed: u64,
    /// Instances that the store had already.
    pub instances_duplicate: u64,
    /// Instances that were passed on to the client.
    pub instances_retrieved: u64,
    /// Transfers that ended, by kind and stage; those that have not happened are not there.
    pub transfers: BTreeMap<(Kind, Stage), u64>,
}

/// All transfers of a gateway.
pub(crate) struct Transfers {
    /// The clock.
    world: Arc<dyn World>,
    next: AtomicU64,
    now: Mutex<Vec<Arc<Entry>>>,
    last: Mutex<VecDeque<Report>>,
    pub(crate) totals: Totals,
}

/// The counts, as they grow.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    retries: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    accounts: Mutex<BTreeMap<String, AccountCounts>>,
}

#[derive(Debug)]
struct Entry {
    report: Mutex<Report>,
}

/// A transfer under way; dropped without an end, it was cancelled.
#[derive(Debug)]
pub(crate) struct Transfer {
    entry: Arc<Entry>,
    all: Arc<Transfers>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Transfers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { world: _, next: _, now, last, totals } = self;
        let mut out = out.debug_struct("Transfers");
        out.field("now", now).field("last", last).field("totals", totals).finish_non_exhaustive()
    }
}

impl Transfers {
    /// None yet. `world` is the clock.
    pub(crate) fn new(world: Arc<dyn World>) -> Self {
        Self {
            world,
            next: AtomicU64::default(),
            now: Mutex::default(),
            last: Mutex::default(),
            totals: Totals::default(),
        }
    }

    /// Begins a transfer.
    pub(crate) fn begin(self: &Arc<Self>, account: &str, kind: Kind, now: SystemTime) -> Transfer {
        let report = Report {
            id: self.next.fetch_add(1, Relaxed) + 1,
            account: account.to_owned(),
            kind,
            stage: Stage::Running,
            study: None,
            series: None,
            began: now,
            ended: None,
            instances_total: None,
            instances_done: 0,
            instances_present: 0,
            instances_failed: 0,
            bytes_total: None,
            bytes_done: 0,
            retries: 0,
            held_up_by: None,
            failures: Vec::new(),
            remedy: None,
            failed_instances: Vec::new(),
        };
        let entry = Arc::new(Entry { report: Mutex::new(report) });
        locked(&self.now).push(Arc::clone(&entry));
        Transfer { entry, all: Arc::clone(self) }
    }

    /// Those under way, then those that ended, the newest first.
    pub(crate) fn reports(&self) -> Vec<Report> {
        // Both at once, as where one ends: each is in one of them.
        let now = locked(&self.now);
        let last = locked(&self.last);
        let now = now.iter().rev().map(|entry| locked(&entry.report).clone());
        now.chain(last.iter().rev().cloned()).collect()
    }

    /// How many are under way.
    pub(crate) fn under_way(&self) -> usize {
        locked(&self.now).len()
    }
}

impl Totals {
    pub(crate) fn answered(&self, method: &str, status: u16) {
        *locked(&self.requests).entry((method.to_owned(), status)).or_default() += 1;
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.bytes_sent.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.bytes_received.fetch_add(bytes, Relaxed);
    }

    fn count(&self, account: &str, count: impl FnOnce(&mut AccountCounts)) {
        let mut accounts = locked(&self.accounts);
        match accounts.get_mut(account) {
            Some(counts) => count(counts),
            None => count(accounts.entry(account.to_owned()).or_default()),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let accounts = locked(&self.accounts).clone();
        let sum = |count: fn(&AccountCounts) -> u64| accounts.values().map(count).sum();
        let mut transfers = BTreeMap::new();
        for (key, count) in accounts.values().flat_map(|account| &account.transfers) {
            *transfers.entry(*key).or_default() += count;
        }
        Counts {
            requests: locked(&self.requests).clone(),
            retries: self.retries.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            instances_stored: sum(|account| account.instances_stored),
            instances_failed: sum(|account| account.instances_failed),
            instances_duplicate: sum(|account| account.instances_duplicate),
            instances_retrieved: sum(|account| account.instances_retrieved),
            connections_refused: 0,
            transfers,
            accounts,
        }
    }
}

impl Transfer {
    fn change(&self, change: impl FnOnce(&mut Report)) {
        change(&mut locked(&self.entry.report));
    }

    fn count(&self, count: impl FnOnce(&mut AccountCounts, Kind)) {
        let report = locked(&self.entry.report);
        self.all.totals.count(&report.account, |counts| count(counts, report.kind));
    }

    /// What it is about.
    pub(crate) fn is_about(&self, study: &str, series: Option<&str>) {
        self.change(|report| {
            report.study.get_or_insert_with(|| study.to_owned());
            if let Some(series) = series {
                report.series.get_or_insert_with(|| series.to_owned());
            }
        });
    }

    /// How many instances there are in all.
    pub(crate) fn has_instances(&self, total: u64) {
        self.change(|report| report.instances_total = Some(total));
    }

    /// How many bytes these have.
    pub(crate) fn has_bytes(&self, total: u64) {
        self.change(|report| report.bytes_total = Some(total));
    }

    /// An instance of so many bytes was stored, or passed on.
    pub(crate) fn done(&self, bytes: u64) {
        self.change(|report| {
            report.instances_done += 1;
            report.bytes_done += bytes;
            report.held_up_by = None;
        });
        self.count(|counts, kind| match kind {
            Kind::Store => counts.instances_stored += 1,
            Kind::Retrieve => counts.instances_retrieved += 1,
        });
    }

    /// An instance was not sent, because the store has it.
    pub(crate) fn present(&self) {
        self.change(|report| {
            report.instances_done += 1;
            report.instances_present += 1;
        });
        self.count(|counts, _| counts.instances_duplicate += 1);
    }

    /// So many instances failed for good, all for the same reason.
    pub(crate) fn failed(&self, instances: u64, words: &str) {
        self.change(|report| {
            report.instances_failed += instances;
            if report.failures.len() < FAILURES_IN_WORDS && !report.failures.iter().any(|had| had == words) {
                report.failures.push(words.to_owned());
            }
        });
        self.count(|counts, kind| {
            if kind == Kind::Store {
                counts.instances_failed += instances;
            }
        });
    }

    /// What a person can do about the instances that failed.
    pub(crate) fn can_be_mended(&self, remedy: &str) {
        self.change(|report| report.remedy = Some(remedy.to_owned()));
    }

    /// The instance with this SOP Instance UID is not in the store.
    pub(crate) fn lacks(&self, instance: &str) {
        self.change(|report| {
            if report.failed_instances.len() < FAILED_INSTANCES {
                report.failed_instances.push(instance.to_owned());
            }
        });
    }

    /// A request of it is sent again; `why`, in words.
    pub(crate) fn retried(&self, why: &str) {
        self.change(|report| {
            report.retries += 1;
            report.held_up_by = Some(why.to_owned());
        });
    }

    /// As it stands.
    pub(crate) fn report(&self) -> Report {
        locked(&self.entry.report).clone()
    }

    /// It ended.
    pub(crate) fn end(self, stage: Stage, now: SystemTime) {
        self.change(|report| {
            report.stage = stage;
            report.ended = Some(now);
        });
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let mut report = locked(&self.entry.report).clone();
        if report.stage == Stage::Running {
            report.stage = Stage::Cancelled;
            report.ended = Some(self.all.world.now());
        }
        report.held_up_by = None;
        self.all.totals.count(&report.account, |counts| {
            *counts.transfers.entry((report.kind, report.stage)).or_default() += 1;
        });
        // Who finds it no longer under way finds how it ended.
        let mut now = locked(&self.all.now);
        let mut last = locked(&self.all.last);
        now.retain(|entry| !Arc::ptr_eq(entry, &self.entry));
        while last.len() >= REMEMBERED {
            last.pop_front();
        }
        last.push_back(report);
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use google_credentials::{HttpSettings, Outside, PeerVerification, Verbosity};

    use super::*;

    #[test]
    fn who_finds_one_no_longer_under_way_finds_how_it_ended() {
        let http = HttpSettings {
            ca_certificates: None,
            verify_peers: PeerVerification::Required,
            proxy: None,
            timeout: Duration::from_secs(1),
            verbose: Verbosity::Quiet,
        };
        let transfers = Arc::new(Transfers::new(Arc::new(Outside::new(http))));
        thread::scope(|scope| {
            let (begun, to_end) = std::sync::mpsc::sync_channel::<Transfer>(0);
            scope.spawn(|| to_end.into_iter().for_each(drop));
            for id in 1..=2_000 {
                begun.send(transfers.begin("a", Kind::Store, SystemTime::UNIX_EPOCH)).unwrap();
                while transfers.under_way() > 0 {
                    thread::yield_now();
                }
                let newest = &transfers.reports()[0];
                assert_eq!((newest.id, newest.stage), (id, Stage::Cancelled));
            }
            drop(begun);
        });
    }
}
