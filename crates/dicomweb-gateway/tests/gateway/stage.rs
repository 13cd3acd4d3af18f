//! A pretend Google, a gateway in front of it with a thread of its own, and a client that knows the secret.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use dicomweb_gateway::{Gateway, OnConflict, Settings, Store};
use google_credentials::{
    Credential, HttpSettings, HttpVersion, Keeping, Outside, PeerVerification, Secret, Source, Verbosity,
    World, keep, token_channel,
};
use google_emulator::Emulator;

use reqwest::{Method, RequestBuilder};
use tokio::{
    net::TcpListener,
    sync::{Notify, oneshot},
};

use crate::far_store::FarStore;

/// The account's name: one that has to be encoded in a path.
pub(crate) const ACCOUNT: &str = "my store";
/// What the client shows.
pub(crate) const SECRET: &str = "knock-knock-knock-knock";

/// The header field that the administrator has named.
pub(crate) const NAMED_FIELD: &str = "X-Site";

/// The account's `QuotaProject`.
pub(crate) const PAYER: &str = "payer";

/// A gateway that serves. Dropped, it has ended.
pub(crate) struct Stage {
    pub(crate) emulator: FarStore,
    pub(crate) gateway: Gateway,
    /// The account's root at the gateway, with its last slash.
    pub(crate) url: String,
    pub(crate) port: u16,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    folder: tempfile::TempDir,
}

impl Stage {
    /// With the defaults.
    pub(crate) fn new() -> Self {
        Self::with(FarStore::start(Emulator::builder()), OnConflict::Fail, |_| {})
    }

    /// With an emulator, and settings changed.
    pub(crate) fn with(
        emulator: FarStore,
        on_conflict: OnConflict,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let version = "v1";
        Self::with_version(emulator, version, on_conflict, change)
    }

    /// With a version of the Healthcare API, `v1` or `v1beta1`.
    pub(crate) fn with_version(
        emulator: FarStore,
        version: &str,
        on_conflict: OnConflict,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        Self::begin(emulator, version, Some(SECRET), on_conflict, change)
    }

    /// Serving everybody on this machine, as `orthanc-gcp gateway` without a secret; pages of `origin` may ask.
    pub(crate) fn without_secret(origin: &str) -> Self {
        let origins = vec![origin.to_owned()];
        let emulator = FarStore::start(Emulator::builder());
        Self::begin(emulator, "v1", None, OnConflict::Fail, |settings| settings.allowed_origins = origins)
    }

    fn begin(
        emulator: FarStore,
        version: &str,
        secret: Option<&str>,
        on_conflict: OnConflict,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key.json");
        emulator.write_service_account_key(&key).unwrap();
        let http = HttpSettings {
            ca_certificates: Some(emulator.ca_file().to_owned()),
            verify_peers: PeerVerification::Required,
            proxy: None,
            timeout: Duration::from_secs(30),
            verbose: Verbosity::Quiet,
        };
        let client = http.long_lived_client(HttpVersion::One).unwrap();
        let mut settings = Settings::new(http.clone());
        folder.path().clone_into(&mut settings.spool_folder);
        change(&mut settings);

        let world: Arc<dyn World> = Arc::new(Outside::new(http));
        let (sender, tokens) = token_channel(SystemTime::now());
        let root = emulator.dicom_web_url().replace("/v1/", &format!("/{version}/"));
        let root = format!("{}/", root.trim_end_matches('/'));
        let store = Store {
            name: ACCOUNT.to_owned(),
            secret: secret.map(Secret::new),
            root,
            tokens: Some(tokens),
            authorization: None,
            on_conflict,
            passed_fields: vec![NAMED_FIELD.to_owned()],
            in_trouble: Arc::default(),
        };
        let gateway = Gateway::new(settings, Arc::clone(&world), vec![store]);
        let mut source = Source::of(Credential::ServiceAccountFile(key));
        source.quota_project = Some(PAYER.to_owned());
        // The key file names the emulator as its token server, which only the configuration can allow.
        source.iam_uri = Some(format!("{}/", emulator.https_url()));
        let keeping = Keeping {
            source,
            look_every: Duration::from_secs(60),
            name: format!("Account \"{ACCOUNT}\""),
            option_path: ACCOUNT.to_owned(),
            changed: Arc::new(Notify::new()),
        };

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = gateway.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = keep(world, keeping, sender) => {}
                    () = served.serve(listener, async { drop(stopped.await) }) => {}
                }
            });
        });
        Self {
            emulator,
            gateway,
            url: format!("http://127.0.0.1:{port}/my%20store/"),
            port,
            client,
            stop: Some(stop),
            thread: Some(thread),
            folder,
        }
    }

    /// Waits until the account has a token, for those who then give little time.
    pub(crate) fn wait_for_token(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let search = || block_on(self.request(Method::GET, "studies").send()).unwrap().status();
        while !search().is_success() {
            assert!(Instant::now() < deadline, "there is no token");
        }
    }

    /// A request below the account's root, with the secret.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).bearer_auth(SECRET)
    }

    /// A client that trusts the pretend Google.
    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Where temporary files are made.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Lets the gateway end what is under way, and waits until it has.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && !thread::panicking()
        {
            thread.join().unwrap();
        }
    }
}

/// Runs a future of the client's.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
