//! The one thread on which everything happens, from `OrthancStarted` to `OrthancStopped`.
//!
//! Its work is asynchronous throughout, names are looked up without the C library, and so all of it can be dropped at
//! any moment: stopping never waits for the network.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread,
};

use google_credentials::{
    Keeping, Kept, Outside, TokenHandle, World, keep_for_ever, token_channel, watch_files,
};
use orthanc_gcp_configuration::{Account, Configuration, SECTION};
use orthanc_sdk::Host;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinSet,
};

use crate::{
    dicomweb::DicomWeb,
    direct,
    gateway::{self, Transport},
    logging,
    port::Port,
    publication::Wipe,
    publisher::Publisher,
    status::{self, History, Live, LiveAccount, Phase, Status, Trouble},
    store_check::check_store,
};

/// Orthanc shows the first 16 bytes of it.
const THREAD_NAME: &str = "GOOGLE-CLOUD";

/// The thread. Dropped, it has ended.
pub(crate) struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    /// Starts the thread.
    pub(crate) fn start(
        host: Host,
        configuration: Configuration,
        wipe: Wipe,
        status: Arc<Status>,
        port: Port,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(move || {
            host.name_current_thread(THREAD_NAME);
            let log = logging::into_log_of(&host);
            let world = Outside::new(configuration.http.clone());
            tell_of_defects(&status, &world, || {
                runtime.block_on(run(&host, configuration, wipe, &status, &port, stopped));
            });
            drop(runtime);
            drop(log);
            host.clear_current_thread_name();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been told by the hook, and there is nothing left to do about it.
            drop(thread.join());
        }
    }
}

/// Does the thread's work. A panic in it was told by the hook; that nothing is kept up any more from then on, whoever asks.
fn tell_of_defects(status: &Status, world: &dyn World, work: impl FnOnce()) {
    // Nothing that a panic leaves behind is looked at again: the phase goes, and what it held.
    if panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
        let words = "a defect in this plugin has ended its work; restart Orthanc, and please report the line with \"Defect in this plugin\" in its log";
        let trouble = Trouble { path: SECTION, words: words.to_owned(), since: world.now() };
        status.advance(Phase::Unusable(trouble));
    }
}

async fn run(
    host: &Host,
    configuration: Configuration,
    wipe: Wipe,
    status: &Status,
    port: &Port,
    stopped: oneshot::Receiver<()>,
) {
    let Configuration { accounts, dicomweb: settings, http, look_every, gateway_port, disk_reserve, .. } =
        configuration;
    let dicomweb = DicomWeb::new(host.clone(), settings.root);
    let checked = match dicomweb.check() {
        Ok(()) if !settings.enabled => Err("DicomWeb.Enable is false; set it to true".to_owned()),
        checked => checked,
    };
    if let Err(trouble) = checked {
        tracing::error!("no account can be used: {trouble}");
        let since = Outside::new(http).now();
        status.advance(Phase::Unusable(Trouble { path: "DicomWeb", words: trouble, since }));
        return;
    }

    let world: Arc<dyn World> = Arc::new(Outside::new(http.clone()));
    let (new_tokens, mut tokens) = mpsc::unbounded_channel();
    let mut keepers = JoinSet::new();
    let mut kept_accounts = Vec::new();
    let mut watched = Vec::new();
    for (index, account) in accounts.into_iter().enumerate() {
        let (sender, handle) = token_channel(world.now());
        if let Some(source) = &account.source {
            let changed = Arc::new(Notify::new());
            watched.push((source.clone(), Arc::clone(&changed)));
            let keeping = Keeping {
                source: source.clone(),
                look_every,
                name: account.title(),
                option_path: account.option_path(),
                changed,
            };
            keepers.spawn(keep_for_ever(Arc::clone(&world), keeping, sender));
            keepers.spawn(announce(index, handle.kept(), new_tokens.clone()));
        }
        kept_accounts.push((account, handle));
    }
    keepers.spawn(watch_files(Arc::clone(&world), watched));
    let (transports, serving) =
        gateway::begin(host, http.clone(), &world, (gateway_port, port), disk_reserve, &kept_accounts);
    let shows_tokens = transports.iter().any(Transport::is_direct);
    if settings.servers_in_database && shows_tokens {
        tracing::warn!(
            "DicomWeb.ServersInDatabase is true: the DICOMweb plugin writes every token in clear into Orthanc's database; set it to false (what is written there is deleted when Orthanc stops)"
        );
    }
    for (index, ((account, _), transport)) in kept_accounts.iter().zip(&transports).enumerate() {
        // Nothing to wait for: the server takes requests without a token, or the gateway waits for it.
        if account.source.is_none() || matches!(transport, Transport::Gateway { .. }) {
            let (Ok(()) | Err(_)) = new_tokens.send(index);
        }
    }
    let live = |((account, handle), transport): ((Account, TokenHandle), Transport)| {
        let failure = transport.is_direct().then(|| direct::failure(host.version(), &http, account.url()));
        let live = LiveAccount::new(account, transport, handle, world.now());
        Arc::new(live.with_transport_failure(failure.flatten()))
    };
    let accounts: Vec<_> = kept_accounts.into_iter().zip(transports).map(live).collect();
    direct::report(accounts.iter().map(|live| &**live));
    for account in &accounts {
        keepers.spawn(check_store(Arc::clone(&world), Arc::clone(account)));
    }
    for account in accounts.iter().filter(|live| live.account.source.is_some()) {
        keepers.spawn(status::describe(Arc::clone(&world), Arc::clone(account)));
    }
    let (jobs, asked) = status::jobs();
    keepers.spawn(status::serve_jobs(Arc::clone(&world), http, asked));
    let gateway = serving.as_ref().map(|serving| serving.gateway().clone());
    let history = Arc::new(History::default());
    if let Some(gateway) = &gateway {
        keepers.spawn(status::keep_history(Arc::clone(&world), gateway.clone(), Arc::clone(&history)));
    }
    let live = Live { world: Arc::clone(&world), accounts: accounts.clone(), gateway, history, jobs };
    status.advance(Phase::Running(Arc::new(live)));
    let mut publisher = Publisher::new(dicomweb, world, look_every, wipe, accounts);
    tokio::select! {
        // Sent or dropped: either way the plugin stops.
        _ = stopped => {}
        () = publisher.run(&mut tokens) => {}
    }
    drop(serving);
    keepers.shutdown().await;
    if settings.servers_in_database {
        publisher.withdraw_all();
    }
}

/// Tells the publisher of each new token of an account.
async fn announce(account: usize, mut kept: watch::Receiver<Kept>, new_tokens: mpsc::UnboundedSender<usize>) {
    while kept.changed().await.is_ok() && new_tokens.send(account).is_ok() {}
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn after_a_defect_no_account_is_said_to_work() {
        let world = Outside::new(Configuration::default().http);
        let status = Status::new(&Configuration::default(), &[], UNIX_EPOCH);
        tell_of_defects(&status, &world, || {});
        assert!(matches!(status.phase(), Phase::Starting));
        tell_of_defects(&status, &world, || panic!("this is what the test is about"));
        let Phase::Unusable(trouble) = status.phase() else { panic!("it goes on") };
        assert!(trouble.words.contains("restart Orthanc"));
        // Orthanc's will goes before.
        status.enter(Phase::Stopped);
        tell_of_defects(&status, &world, || panic!("this too"));
        assert!(matches!(status.phase(), Phase::Stopped));
    }
}
