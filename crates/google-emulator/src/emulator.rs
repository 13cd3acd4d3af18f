//! A running emulator: a thread of its own, with a runtime of its own.

use crate::{
    archive::{StoreName, StoredInstance},
    builder::Builder,
    faults::Faults,
    files::{WrittenFiles, write_all, write_private},
    gauges::Gauges,
    identity::{AuthorizedUser, Identity},
    oauth,
    record::SeenRequest,
    rsa_key::KeyError,
    settings::Settings,
    world::World,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::oneshot};

/// How long tasks that are in the middle of disk work may take to end. Connections, hanging ones too, end at once.
const GRACE: Duration = Duration::from_secs(2);

/// A running emulator. Dropped, it is stopped: every connection closed, every thread joined.
pub struct Emulator {
    // First, so that nothing writes into the temporary folder when that goes.
    running: Running,
    world: Arc<World>,
    store: StoreName,
    folder: PathBuf,
    ca_file: PathBuf,
    _temporary: Option<TempDir>,
}

impl Emulator {
    /// How to start one.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Gives the runtime, whose listeners are accepting already, a thread to live on.
    pub(crate) fn run(
        runtime: Runtime,
        world: Arc<World>,
        store: StoreName,
        folder: PathBuf,
        temporary: Option<TempDir>,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let name = "google-emulator".to_owned();
        let thread = std::thread::Builder::new().name(name).spawn(move || live(runtime, stopped))?;
        let running = Running { stop: Some(stop), thread: Some(thread) };
        let ca_file = folder.join("ca.pem");
        Ok(Self { running, world, store, folder, ca_file, _temporary: temporary })
    }

    /// `http://127.0.0.1:PORT`, without a final slash.
    pub fn http_url(&self) -> &str {
        self.world.http_url()
    }

    /// `https://127.0.0.1:PORT`, without a final slash. Its certificate is also good for `localhost`.
    pub fn https_url(&self) -> &str {
        self.world.https_url()
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

    /// A live token of the service account with the given space-separated scopes, without any request.
    ///
    /// # Errors
    ///
    /// The operating system has no randomness to give.
    pub fn mint_token(&self, scope: &str, lifetime: Duration) -> Result<String, KeyError> {
        let scopes = scope.split_whitespace().map(str::to_owned).collect();
        oauth::mint(&self.world, scopes, lifetime.as_secs(), self.world.service_account())
            .map_err(|_| KeyError::NoRandomness)
    }

    /// Every access token issued so far, oldest first.
    pub fn tokens_issued(&self) -> Vec<String> {
        self.world.tokens_issued()
    }

    /// Everything that must never appear in a log: access, ID and subject tokens, assertions, refresh tokens, client secrets,
    /// Basic authentication, AWS secrets and session tokens, and the lines of all private keys.
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

    /// How much went on at once since the start or [`Emulator::reset_gauges`].
    pub fn gauges(&self) -> Gauges {
        self.world.meters.read()
    }

    /// Counts requests, connections and handshakes anew, and the most at once from what there is now.
    pub fn reset_gauges(&self) {
        self.world.meters.reset();
    }

    /// Every instance that the stores hold, ordered by store, study, series and instance; where instances are not kept, what
    /// is remembered of them.
    pub fn instances(&self) -> Vec<StoredInstance> {
        self.world.archive.instances()
    }

    /// Stops now instead of at the drop.
    pub fn stop(mut self) {
        self.running.end();
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
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
