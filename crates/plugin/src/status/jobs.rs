//! What Orthanc's threads have done by the plugin's: they wait for it, and are told when the plugin stops.

use std::sync::Arc;

use google_credentials::{Failure, HttpSettings, World};
use orthanc_gcp_doctor::Writing;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{Live, LiveAccount, check::check, description::describe_fully};

/// Something to do. Where somebody waits for it, dropping the sender tells that it will not be done.
pub(crate) enum Job {
    /// Another token.
    Refresh(Arc<LiveAccount>, oneshot::Sender<Result<(), Failure>>),
    /// An examination.
    Check(Arc<LiveAccount>, Writing, oneshot::Sender<()>),
    /// The metadata server is asked whose tokens it gives.
    Describe(Arc<LiveAccount>),
}

impl Live {
    /// Has something done and waits for its outcome; `None` if the plugin stops before.
    pub(super) fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Option<T> {
        let (done, outcome) = oneshot::channel();
        self.jobs.send(job(done)).ok()?;
        outcome.blocking_recv().ok()
    }
}

/// Does them, side by side, until nobody is left to ask. Dropped, it has ended them all.
pub(crate) async fn serve_jobs(
    world: Arc<dyn World>,
    http: HttpSettings,
    mut jobs: mpsc::UnboundedReceiver<Job>,
) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            job = jobs.recv() => match job {
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
            check(world, http, account, writing).await;
            let (Ok(()) | Err(())) = done.send(());
        }
        Job::Describe(account) => describe_fully(world, account).await,
    }
}
