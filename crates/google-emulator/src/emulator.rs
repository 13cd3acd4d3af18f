//! Starting and stopping: the emulator on a thread of its own, with a runtime of its own.

use crate::{
    archive::{Archive, StoreName},
    faults::Faults,
    files::{WrittenFiles, write_all, write_private},
    identity::{AuthorizedUser, Identity, IdentityError},
    listen::accept,
    oauth,
    record::SeenRequest,
    rsa_key::KeyError,
    settings::{EmptySearch, Settings},
    world::World,
};
use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    thread::JoinHandle,
    time::Duration,
};
use tokio::{runtime::Runtime, sync::oneshot};
use tokio_rustls::TlsAcceptor;

/// How long tasks that are in the middle of disk work may take to end. Connections, hanging ones too, end at once.
const GRACE: Duration = Duration::from_secs(2);

/// How to start an emulator. The defaults: loopback, free ports, a temporary folder, tokens of 3599 s, one store.
#[derive(Clone, Debug)]
pub struct Builder {
    address: IpAddr,
    http_port: u16,
    https_port: u16,
    data_dir: Option<PathBuf>,
    stores: Vec<StoreName>,
    settings: Settings,
    verbose: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            http_port: 0,
            https_port: 0,
            data_dir: None,
            stores: Vec::new(),
            settings: Settings::default(),
            verbose: false,
        }
    }
}

/// Why the emulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken, or the address is not this machine's.
    #[error("cannot listen on {address}: {source}; choose another address or port, 0 for a free one")]
    Listen {
        /// The address and port asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}: {source}; choose an empty folder, or one that an emulator made", path.display())]
    Data {
        /// The folder.
        path: PathBuf,
        /// What the operating system said, or what is wrong in a file.
        source: io::Error,
    },
    /// No keys or certificates.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// TLS refused what was made.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// No thread or runtime.
    #[error("cannot start the emulator's thread: {0}")]
    Thread(io::Error),
}

impl Builder {
    /// The address to listen on. Anything but loopback shows secrets to the network, see the control routes.
    #[must_use]
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// The port for HTTP, 0 for a free one.
    #[must_use]
    pub fn http_port(mut self, port: u16) -> Self {
        self.http_port = port;
        self
    }

    /// The port for HTTPS, 0 for a free one.
    #[must_use]
    pub fn https_port(mut self, port: u16) -> Self {
        self.https_port = port;
        self
    }

    /// Keeps instances, keys and certificates in `folder`, for the next start as well.
    #[must_use]
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(folder.into());
        self
    }

    /// Adds a DICOM store; the default one exists only where none is added.
    #[must_use]
    pub fn store(mut self, name: StoreName) -> Self {
        self.stores.push(name);
        self
    }

    /// Life of tokens, in whole seconds.
    #[must_use]
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.token_lifetime_seconds = lifetime.as_secs();
        self
    }

    /// What a search without results is answered.
    #[must_use]
    pub fn empty_search(mut self, answer: EmptySearch) -> Self {
        self.settings.empty_search = answer;
        self
    }

    /// Prints a line for each request to standard output, without query and header fields.
    #[must_use]
    pub fn verbose(mut self) -> Self {
        self.verbose = true;
        self
    }

    /// Starts. When this returns, requests are answered.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what is wrong, and what to do.
    pub fn start(self) -> Result<Emulator, StartError> {
        let (folder, temporary) = if let Some(folder) = self.data_dir {
            (folder, None)
        } else {
            let made = tempfile::Builder::new().prefix("google-emulator-").tempdir();
            let made = made.map_err(|source| StartError::Data { path: std::env::temp_dir(), source })?;
            (made.path().to_owned(), Some(made))
        };
        let data = |source| StartError::Data { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(data)?;
        let folder = folder.canonicalize().map_err(data)?;
        let identity = identity(&folder)?;
        let mut stores = self.stores;
        if stores.is_empty() {
            stores.push(StoreName::default());
        }
        let store = stores.first().cloned().unwrap_or_default();
        let archive = Archive::open(&folder, &stores).map_err(data)?;
        let http = listen(self.address, self.http_port)?;
        let https = listen(self.address, self.https_port)?;
        let acceptor = acceptor(&identity, self.address)?;
        let url = |scheme: &str, listener: &TcpListener| {
            let mut address = listener.local_addr().map_err(StartError::Thread)?;
            if address.ip().is_unspecified() {
                address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
            }
            Ok::<_, StartError>(format!("{scheme}://{address}"))
        };
        let urls = vec![url("http", &http)?, url("https", &https)?];
        let ca_file = folder.join("ca.pem");
        fs::write(&ca_file, &identity.ca_certificate_pem).map_err(data)?;
        let world = Arc::new(World::new(identity, archive, self.settings, urls, self.verbose));

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("google-emulator")
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let connections = Arc::new(AtomicU64::default());
        for (listener, tls) in [(http, None), (https, Some(acceptor))] {
            let _entered = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::Thread)?;
            runtime.spawn(accept(listener, tls, Arc::clone(&world), Arc::clone(&connections)));
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("google-emulator".to_owned())
            .spawn(move || live(runtime, stopped))
            .map_err(StartError::Thread)?;
        let running = Running { stop: Some(stop), thread: Some(thread) };
        Ok(Emulator { running, world, store, folder, ca_file, _temporary: temporary })
    }
}

/// A running emulator. Dropped, it is stopped: every connection closed, every thread joined.
pub struct Emulator {
    // First, so that nothing writes into the temporary folder when that goes.
    running: Running,
    world: Arc<World>,
    store: StoreName,
    folder: PathBuf,
    ca_file: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Emulator {
    /// How to start one.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// `http://127.0.0.1:PORT`, without a final slash.
    pub fn http_url(&self) -> &str {
        self.world.urls.first().map_or("", String::as_str)
    }

    /// `https://127.0.0.1:PORT`, without a final slash. Its certificate is also good for `localhost`.
    pub fn https_url(&self) -> &str {
        self.world.urls.last().map_or("", String::as_str)
    }

    /// The token endpoint, HTTPS.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.https_url())
    }

    /// The Healthcare API's root for `v1` or `v1beta1`, HTTPS, with a final slash: the plugin's `BaseUrl`.
    pub fn healthcare_base_url(&self, version: &str) -> String {
        format!("{}/{version}/", self.https_url())
    }

    /// The DICOMweb root of the first store, `v1`, HTTPS, without a final slash.
    pub fn dicom_web_url(&self) -> String {
        format!("{}{}/dicomWeb", self.healthcare_base_url("v1"), self.store())
    }

    /// The first store.
    pub fn store(&self) -> &StoreName {
        &self.store
    }

    /// The certificate authority's certificate, a PEM file.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The folder with the data, ca.pem included.
    pub fn data_dir(&self) -> &Path {
        &self.folder
    }

    /// A service-account key file's content, `private_key` in PKCS#8, `token_uri` this emulator's.
    pub fn service_account_key_json(&self) -> String {
        self.key_file(|pkcs8, _| pkcs8).to_string()
    }

    /// The same with `private_key` in PKCS#1.
    pub fn service_account_key_pkcs1_json(&self) -> String {
        self.key_file(|_, pkcs1| pkcs1).to_string()
    }

    /// Writes [`Emulator::service_account_key_json`] with mode 0600.
    ///
    /// # Errors
    ///
    /// Those of writing files.
    pub fn write_service_account_key(&self, path: &Path) -> io::Result<()> {
        write_private(path, &self.key_file(|pkcs8, _| pkcs8))
    }

    /// Writes [`Emulator::service_account_key_pkcs1_json`] with mode 0600.
    ///
    /// # Errors
    ///
    /// Those of writing files.
    pub fn write_pkcs1_service_account_key(&self, path: &Path) -> io::Result<()> {
        write_private(path, &self.key_file(|_, pkcs1| pkcs1))
    }

    /// An authorized-user file's content, as `gcloud auth application-default login` writes it.
    pub fn authorized_user_json(&self) -> String {
        self.world.identity().authorized_user_file().to_string()
    }

    /// Writes [`Emulator::authorized_user_json`] with mode 0600.
    ///
    /// # Errors
    ///
    /// Those of writing files.
    pub fn write_authorized_user(&self, path: &Path) -> io::Result<()> {
        write_private(path, &self.world.identity().authorized_user_file())
    }

    /// The three strings of the user's credential.
    pub fn authorized_user(&self) -> AuthorizedUser {
        self.world.identity().user.clone()
    }

    /// Writes credentials, the CA, and an Orthanc configuration that loads `plugins`, into `folder`.
    ///
    /// # Errors
    ///
    /// Those of writing files.
    pub fn write_files(&self, folder: &Path, plugins: &[PathBuf]) -> io::Result<WrittenFiles> {
        write_all(&self.world, &self.healthcare_base_url("v1beta1"), self.store(), folder, plugins)
    }

    /// Gives the service account a new key; the old one is unknown from now on.
    ///
    /// # Errors
    ///
    /// The operating system has no randomness to give.
    pub fn rotate_service_account_key(&self) -> Result<(), KeyError> {
        self.world.change_identity(Identity::rotate_key)
    }

    /// The user takes the consent back: the refresh token is refused from now on.
    pub fn revoke_refresh_token(&self) {
        self.world.change_identity(|identity| identity.refresh_token_revoked = true);
    }

    /// Every access token issued so far is refused from now on.
    pub fn revoke_tokens(&self) {
        self.world.revoke_tokens();
    }

    /// A live token with the given space-separated scopes, without any request.
    ///
    /// # Errors
    ///
    /// The operating system has no randomness to give.
    pub fn mint_token(&self, scope: &str, lifetime: Duration) -> Result<String, KeyError> {
        let scopes = scope.split_whitespace().map(str::to_owned).collect();
        oauth::mint(&self.world, scopes, lifetime.as_secs()).map_err(|_| KeyError::NoRandomness)
    }

    /// Every access token issued so far, oldest first.
    pub fn tokens_issued(&self) -> Vec<String> {
        self.world.tokens_issued()
    }

    /// Everything that must never appear in a log: tokens, assertions, the refresh token, the client secret, and the lines
    /// of all private keys.
    pub fn secrets(&self) -> Vec<String> {
        self.world.secrets()
    }

    /// Misbehaviour.
    pub fn faults(&self) -> &Faults {
        &self.world.faults
    }

    /// The switches in force.
    pub fn settings(&self) -> Settings {
        self.world.settings()
    }

    /// Changes switches.
    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        self.world.change_settings(change);
    }

    /// Sets the emulator's clock ahead of the machine's by so many seconds; negative is behind.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.change_settings(|settings| settings.clock_offset_seconds = seconds);
    }

    /// Life of the tokens issued from now on, in whole seconds.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.change_settings(|settings| settings.token_lifetime_seconds = lifetime.as_secs());
    }

    /// Every request seen since the start or [`Emulator::clear_requests`], in order of arrival.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.world.record.seen()
    }

    /// Forgets the requests seen.
    pub fn clear_requests(&self) {
        self.world.record.clear();
    }

    /// Stops now instead of at the drop.
    pub fn stop(mut self) {
        self.running.end();
    }

    fn key_file(&self, form: impl for<'a> Fn(&'a str, &'a str) -> &'a str) -> serde_json::Value {
        let identity = self.world.identity();
        identity
            .service_account_key(&self.token_url(), form(&identity.key.pkcs8_pem, &identity.key.pkcs1_pem))
    }
}

struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn end(&mut self) {
        // Dropping the sender is the signal.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed; here nothing is left to do about it.
            drop(thread.join());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn live(runtime: Runtime, stopped: oneshot::Receiver<()>) {
    drop(runtime.block_on(stopped));
    runtime.shutdown_timeout(GRACE);
}

fn listen(address: IpAddr, port: u16) -> Result<TcpListener, StartError> {
    let address = SocketAddr::new(address, port);
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|source| StartError::Listen { address, source })
}

/// The identity that the folder holds, or a new one.
fn identity(folder: &Path) -> Result<Identity, StartError> {
    let path = folder.join("identity.json");
    let data = |source| StartError::Data { path: path.clone(), source };
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| data(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let identity = Identity::generate()?;
            let value = serde_json::to_value(&identity).map_err(|error| data(error.into()))?;
            write_private(&path, &value).map_err(data)?;
            Ok(identity)
        }
        Err(error) => Err(data(error)),
    }
}

fn acceptor(identity: &Identity, address: IpAddr) -> Result<TlsAcceptor, StartError> {
    let (chain, key) = identity.server_certificate(address)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
