//! What Orthanc's threads have done by the plugin's: they wait for it, and are told when the plugin stops.

use std::sync::{Arc, Mutex};

use google_credentials::{Failure, HttpSettings, World};
use orthanc_gcp_doctor::Writing;
use serde_json::Value;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
};

use super::{LiveAccount, check::check, description::describe_fully, locked};

/// Something to do. Where somebody waits for it, dropping the sender tells that it will not be done.
pub(crate) enum Job {
    /// Another token.
    Refresh(Arc<LiveAccount>, oneshot::Sender<Result<(), Failure>>),
    /// An examination; what it has found, as JSON.
    Check(Arc<LiveAccount>, Writing, oneshot::Sender<Value>),
    /// The metadata server is asked whose tokens it gives.
    Describe(Arc<LiveAccount>),
}

/// How many of Orthanc's threads may wait here at once. Orthanc has 50 (`HttpThreadsCount`) for everybody, and while Google
/// hangs, each that waits is gone for as long as a request may take.
pub(super) const MOST_WAIT: usize = 8;

/// Where Orthanc's threads have something done.
pub(crate) struct Jobs {
    queue: mpsc::UnboundedSender<Job>,
    is_open: Arc<Mutex<bool>>,
    waiting: Semaphore,
}

/// The other end.
pub(crate) struct Asked {
    queue: mpsc::UnboundedReceiver<Job>,
    is_open: Arc<Mutex<bool>>,
}

/// Why something is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotDone {
    /// Enough threads wait already.
    Busy,
    /// The plugin stops, or has met a defect.
    GivenUp,
}

/// Both ends.
pub(crate) fn jobs() -> (Jobs, Asked) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let is_open = Arc::new(Mutex::new(true));
    let waiting = Semaphore::new(MOST_WAIT);
    (Jobs { queue: sender, is_open: Arc::clone(&is_open), waiting }, Asked { queue: receiver, is_open })
}

impl Jobs {
    /// Has something done and waits for its outcome.
    pub(super) fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, NotDone> {
        let _place = self.waiting.try_acquire().map_err(|_| NotDone::Busy)?;
        let (done, outcome) = oneshot::channel();
        self.push(job(done));
        outcome.blocking_recv().map_err(|_| NotDone::GivenUp)
    }

    /// Has something done that nobody waits for. Where the plugin stops, it is dropped.
    pub(super) fn push(&self, job: Job) {
        let is_open = locked(&self.is_open);
        if *is_open {
            let (Ok(()) | Err(_)) = self.queue.send(job);
        }
    }
}

#[cfg(test)]
impl Asked {
    /// Waits for a job as the plugin's thread does.
    pub(super) fn next(&mut self) -> Job {
        self.queue.blocking_recv().unwrap()
    }
}

impl Drop for Asked {
    /// What the queue holds is dropped with it, and whoever waits is told. A job that is sent at the very same time would not
    /// be: it would stay in the queue for as long as somebody waits for it.
    fn drop(&mut self) {
        *locked(&self.is_open) = false;
    }
}

/// Does them, side by side, until nobody is left to ask. Dropped, it has ended them all.
pub(crate) async fn serve_jobs(world: Arc<dyn World>, http: HttpSettings, mut asked: Asked) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            job = asked.queue.recv() => match job {
                None => return,
                Some(job) => drop(under_way.spawn(run(Arc::clone(&world), http.clone(), job))),
            },
            // A panic was told by the hook, and who waits is told by the sender that it has dropped.
            Some(_) = under_way.join_next() => {}
        }
    }
}

async fn run(world: Arc<dyn World>, http: HttpSettings, job: Job) {
    match job {
        Job::Refresh(account, done) => {
            let outcome = account.handle.refresh().await.map(drop);
            // Who has asked waits until it is told, or is gone.
            drop(done.send(outcome));
        }
        Job::Check(account, writing, done) => {
            check(world, http, Arc::clone(&account), writing).await;
            // At once: another may begin as soon as this one has ended.
            drop(done.send(account.checks.json()));
        }
        Job::Describe(account) => describe_fully(world, account).await,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicBool, Ordering::SeqCst},
            mpsc,
        },
        thread,
        time::Duration,
    };

    use google_credentials::token_channel;

    use super::*;
    use crate::gateway::Transport;

    fn account() -> Arc<LiveAccount> {
        let document = r#"{"GoogleCloudPlatform": {"Accounts": {"a": {
            "Project": "p", "Location": "l", "Dataset": "d", "DicomStore": "s", "AccessToken": "none"
        }}}}"#;
        let account = orthanc_gcp_configuration::read(document).0.accounts.remove(0);
        let now = std::time::UNIX_EPOCH;
        Arc::new(LiveAccount::new(account, Transport::Direct, token_channel(now).1, now))
    }

    fn ask(jobs: &Jobs, account: &Arc<LiveAccount>) -> Result<Value, NotDone> {
        jobs.ask(|done| Job::Check(Arc::clone(account), Writing::Nothing, done))
    }

    #[test]
    fn who_comes_when_enough_wait_is_sent_away_until_one_has_gone() {
        let (jobs, mut asked) = jobs();
        let account = account();
        thread::scope(|scope| {
            let waiting: Vec<_> = (0..MOST_WAIT).map(|_| scope.spawn(|| ask(&jobs, &account))).collect();
            let mut taken: Vec<_> = (0..MOST_WAIT).map(|_| asked.next()).collect();
            assert_eq!(ask(&jobs, &account), Err(NotDone::Busy));
            let Some(Job::Check(_, _, done)) = taken.pop() else { panic!("it is none") };
            done.send(Value::Null).unwrap();
            while jobs.waiting.available_permits() == 0 {
                thread::yield_now();
            }
            let another = scope.spawn(|| ask(&jobs, &account));
            taken.push(asked.next());
            drop((taken, asked));
            let mut outcomes: Vec<_> = waiting.into_iter().map(|one| one.join().unwrap()).collect();
            outcomes.push(another.join().unwrap());
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
            assert_eq!(
                outcomes.iter().filter(|outcome| **outcome == Err(NotDone::GivenUp)).count(),
                MOST_WAIT
            );
            // Not waited for either.
            assert_eq!(ask(&jobs, &account), Err(NotDone::GivenUp));
        });
    }

    #[test]
    fn nobody_waits_for_ever_who_asks_while_the_plugin_stops() {
        let account = account();
        // tokio's channel alone loses one of a thousand or two.
        for round in 0..5_000 {
            let (jobs, asked) = jobs();
            let (told, outcome) = mpsc::channel();
            let (account, begun) = (Arc::clone(&account), Arc::new(AtomicBool::new(false)));
            let begins = Arc::clone(&begun);
            let asks = move || {
                begins.store(true, SeqCst);
                told.send(ask(&jobs, &account)).unwrap();
            };
            thread::Builder::new().spawn(asks).unwrap();
            while !begun.load(SeqCst) {
                thread::yield_now();
            }
            for _ in 0..round % 50 {
                std::hint::spin_loop();
            }
            drop(asked);
            let outcome = outcome.recv_timeout(Duration::from_secs(120));
            assert_eq!(outcome, Ok(Err(NotDone::GivenUp)), "in round {round}");
        }
    }
}
