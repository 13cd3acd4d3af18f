//! The way through the gateway: whether it can be taken, and the thread that serves it.

use std::{cell::RefCell, io, net::TcpListener, sync::Arc, thread, time::Duration};

use dicomweb_gateway::{Gateway, Settings, Store, proxy_before_loopback};
use google_credentials::{Failure, FailureKind, HttpSettings, HttpVersion, Secret, TokenHandle, World};
use orthanc_gcp_configuration::{Account, DiskReserve, GatewayUse};
use orthanc_sdk::{Host, Version};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::{
    runtime::Runtime,
    sync::{Notify, oneshot},
};
use tracing::subscriber::DefaultGuard;

use crate::{
    logging,
    port::{Port, RefuseAtEnd},
};

/// The variable of the environment with which `cargo xtask bench transfer` tries HTTP/2; no option, since it is slower.
const HTTP_VERSION: &str = "ORTHANC_GCP_GATEWAY_HTTP";
/// What comes from the DICOMweb plugin and what goes to Google is each work for a processor.
const WORKERS: usize = 2;
/// Orthanc shows the first 16 bytes of it.
const THREAD_NAME: &str = "GOOGLE-GATEWAY";
/// The first Orthanc to which a time limit of 0 means none; to those before it means 60 s.
const KNOWS_NO_LIMIT: Version = Version::new(1, 13, 0);
/// For those before: a day, in seconds.
const LONGEST: u64 = 86_400;

/// A write or read of a temporary file that is under way when Orthanc stops is waited for so long.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// How an account's requests reach Google.
#[derive(Debug, Clone)]
pub(crate) enum Transport {
    /// From the DICOMweb plugin, with a token that it is given.
    Direct,
    /// The same, because the gateway does not work and `"prefer"` allows it; why.
    FallenBack(Failure),
    /// Not at all, because the gateway does not work; why. No server is registered, and no token leaves the plugin.
    Blocked(Failure),
    /// Through the gateway.
    Gateway {
        /// The account's root there.
        url: String,
        /// What the gateway wants to see before it serves.
        secret: Secret,
        /// What the DICOMweb plugin is told, in seconds: the gateway has the limits that matter.
        timeout: u64,
        /// Notified when requests fail there.
        in_trouble: Arc<Notify>,
    },
}

impl Transport {
    /// Whether the DICOMweb plugin talks to Google itself.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self, Self::Direct | Self::FallenBack(_))
    }
}

/// Begins to serve those accounts that want the gateway: how each account's requests travel, and the thread, if there is one.
pub(crate) fn begin(
    host: &Host,
    http: HttpSettings,
    world: &Arc<dyn World>,
    (port, held): (u16, &Port),
    disk_reserve: DiskReserve,
    accounts: &[(Account, TokenHandle)],
) -> (Vec<Transport>, Option<Serving>) {
    if !accounts.iter().any(|(account, _)| account.gateway.is_on()) {
        return (vec![Transport::Direct; accounts.len()], None);
    }
    match try_begin(host, http, world, (port, held), disk_reserve, accounts) {
        Ok((transports, serving)) => (transports, Some(serving)),
        Err(trouble) => {
            // Whoever connects is refused, and does not wait in vain.
            held.release();
            let transport = |(account, _): &(Account, TokenHandle)| match account.gateway {
                GatewayUse::Off => Transport::Direct,
                GatewayUse::Preferred => Transport::FallenBack(trouble.clone()),
                GatewayUse::Required => Transport::Blocked(trouble.clone()),
            };
            report(accounts, &trouble);
            (accounts.iter().map(transport).collect(), None)
        }
    }
}

/// What the failure of the gateway means for whom.
fn report(accounts: &[(Account, TokenHandle)], trouble: &Failure) {
    let names = |wanted| {
        names(accounts.iter().map(|(account, _)| account).filter(|account| account.gateway == wanted))
    };
    if let Some(names) = names(GatewayUse::Required) {
        tracing::error!(
            "the gateway does not work, so that {names} cannot be used and no DICOMweb server leads to Google: {trouble}"
        );
    }
    if let Some(names) = names(GatewayUse::Preferred) {
        tracing::error!(
            "the gateway does not work, so that the DICOMweb plugin sends the requests of {names} directly to Google: {trouble}"
        );
    }
}

/// The names of these accounts in words; `None` where there is none.
pub(crate) fn names<'a>(accounts: impl Iterator<Item = &'a Account>) -> Option<String> {
    let names: Vec<String> = accounts.map(|account| format!("\"{}\"", account.name)).collect();
    let word = if names.len() == 1 { "account" } else { "accounts" };
    (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")))
}

/// Why the gateway does not work.
fn trouble(cause: String, remedy: &str) -> Failure {
    Failure::new(FailureKind::Configuration, cause, remedy)
}

fn try_begin(
    host: &Host,
    http: HttpSettings,
    world: &Arc<dyn World>,
    (port, held): (u16, &Port),
    disk_reserve: DiskReserve,
    accounts: &[(Account, TokenHandle)],
) -> Result<(Vec<Transport>, Serving), Failure> {
    if let Some(proxy) = proxy_before_loopback(&**world, &http) {
        return Err(trouble(
            format!("{proxy} would get the requests that are for 127.0.0.1"),
            "set the environment variable NO_PROXY=127.0.0.1 for Orthanc, and restart it",
        ));
    }
    let (listener, port) = held.listen(port).map_err(|error| {
        trouble(
            format!("127.0.0.1:{port} cannot be listened on ({error})"),
            "set GoogleCloudPlatform.GatewayPort to a free port, or remove it, and restart Orthanc",
        )
    })?;
    // To the Orthancs before 1.13 a limit of 0 means 60 s.
    let without_limit = if host.version() >= KNOWS_NO_LIMIT { 0 } else { LONGEST };
    let mut transports = Vec::new();
    let mut stores = Vec::new();
    for (account, handle) in accounts {
        if !account.gateway.is_on() {
            transports.push(Transport::Direct);
            continue;
        }
        let secret = secret()?;
        let in_trouble = Arc::new(Notify::new());
        transports.push(Transport::Gateway {
            url: format!("http://127.0.0.1:{port}/{}/", account.encoded_name()),
            secret: secret.clone(),
            timeout: account.own_timeout.unwrap_or(without_limit),
            in_trouble: Arc::clone(&in_trouble),
        });
        stores.push(Store {
            name: account.name.clone(),
            secret: Some(secret),
            root: account.url().to_owned(),
            tokens: account.source.is_some().then(|| handle.clone()),
            authorization: account.own_authorization(),
            on_conflict: account.on_conflict,
            passed_fields: account.header_fields().map(str::to_owned).collect(),
            in_trouble,
        });
    }
    let mut settings = Settings::new(http);
    settings.disk_reserve = disk_reserve;
    if world.env(HTTP_VERSION).as_deref() == Some("2") {
        settings.http_version = HttpVersion::Two;
    }
    let gateway = Gateway::new(settings, Arc::clone(world), stores);
    let serving = Serving::start(host.clone(), listener, held.clone(), gateway);
    let serving = serving.map_err(|error| {
        trouble(
            format!("its thread could not be started ({error})"),
            "free memory or raise the limit of threads, and restart Orthanc",
        )
    })?;
    Ok((transports, serving))
}

/// Nobody can guess it; one for each account, so that none leads to another's store.
fn secret() -> Result<Secret, Failure> {
    let mut bytes = [0_u8; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| {
        trouble("the system gives no random numbers for a secret".to_owned(), "restart Orthanc")
    })?;
    Ok(Secret::new(bytes.map(|byte| format!("{byte:02x}")).concat()))
}

/// The gateway's thread. Dropped, it has ended, with every connection.
pub(crate) struct Serving {
    gateway: Gateway,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Serving {
    /// Starts to serve `gateway` at `listener`, of `port`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(host: Host, listener: TcpListener, port: Port, gateway: Gateway) -> io::Result<Self> {
        let served = gateway.clone();
        let runtime = runtime(&host)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(move || {
            // However the thread ends: behind it nobody takes connections.
            let refuse_at_end = RefuseAtEnd(port);
            host.name_current_thread(THREAD_NAME);
            let log = logging::into_log_of(&host);
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    // Sent or dropped: either way the plugin stops, and Orthanc does not wait for transfers.
                    _ = stopped => {}
                    () = serve(&served, listener) => {}
                }
            });
            end(runtime);
            drop(refuse_at_end);
            drop(log);
            host.clear_current_thread_name();
        })?;
        Ok(Self { gateway, stop: Some(stop), thread: Some(thread) })
    }

    /// What it serves, to be asked how that goes.
    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }
}

/// Ends everything that is under way. What hangs at a disk cannot be ended: it is left to itself, for Orthanc has to stop. It
/// holds nothing of Orthanc's, and the library stays in memory (`-z nodelete`).
fn end(runtime: Runtime) {
    runtime.shutdown_timeout(LAST_WRITES);
}

/// A runtime whose threads write to Orthanc's log, and show up in it by name.
fn runtime(host: &Host) -> io::Result<Runtime> {
    thread_local! {
        static LOG: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
    }
    let (host, ending) = (host.clone(), host.clone());
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name(THREAD_NAME)
        .on_thread_start(move || {
            host.name_current_thread(THREAD_NAME);
            LOG.set(Some(logging::into_log_of(&host)));
        })
        .on_thread_stop(move || {
            LOG.set(None);
            ending.clear_current_thread_name();
        })
        .enable_all()
        .build()
}

async fn serve(gateway: &Gateway, listener: TcpListener) {
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => gateway.serve(listener, std::future::pending()).await,
        Err(error) => {
            tracing::error!(
                "the gateway cannot serve ({error}); raise the limit of open files, and restart Orthanc"
            );
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been told by the hook, and there is nothing left to do about it.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_hangs_keeps_nobody() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (disk, hangs) = std::sync::mpsc::channel::<()>();
        let (begun, is_begun) = std::sync::mpsc::channel();
        drop(runtime.spawn_blocking(move || {
            begun.send(()).unwrap();
            hangs.recv()
        }));
        is_begun.recv().unwrap();
        end(runtime);
        drop(disk);
    }
}
