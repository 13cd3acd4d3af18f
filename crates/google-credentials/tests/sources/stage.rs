//! A pretend Google, a world whose environment and clock are the test's own, and a record of all that is said.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use google_credentials::{
    BoxFuture, Command, CommandOutput, Credential, Description, Failure, FileContent, FileStamp, Grant,
    HttpSettings, Method, Outside, PeerVerification, Proxy, Request, Response, Source, TransportError,
    Verbosity, World,
};
use google_emulator::{CredentialFile, Emulator, Route, SeenRequest, SubjectForm};
use orthanc_testbed::assert_no_secret;
use tokio::runtime::Runtime;
use tracing::{Event, Metadata, Subscriber, field, span};

/// In seconds.
const HOUR: u64 = 3600;

/// The real world, but for the clock, which can be set, and the environment, which the test gives.
pub(crate) struct Staged {
    outside: Outside,
    environment: BTreeMap<String, String>,
    /// How far this machine's clock is ahead, in seconds.
    ahead: i64,
}

/// Where a test plays. Everything said in it is searched for secrets after each attempt.
pub(crate) struct Stage {
    pub(crate) emulator: Emulator,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) said: Arc<Said>,
    world: Staged,
    settings: HttpSettings,
    runtime: Runtime,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let emulator = Emulator::builder().start().unwrap();
        let settings = HttpSettings {
            ca_certificates: Some(emulator.ca_file().to_owned()),
            verify_peers: PeerVerification::Required,
            proxy: None,
            timeout: Duration::from_secs(30),
            // Says the most, and so may leak the most.
            verbose: Verbosity::Verbose,
        };
        Self {
            folder: tempfile::tempdir().unwrap(),
            said: Arc::default(),
            world: Staged { outside: Outside::new(settings.clone()), environment: BTreeMap::new(), ahead: 0 },
            settings,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            emulator,
        }
    }

    /// With a variable of the environment; an empty value takes it away.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set_env(name, value);
        self
    }

    pub(crate) fn set_env(&mut self, name: &str, value: impl Into<String>) {
        self.world.environment.insert(name.to_owned(), value.into());
        self.world.environment.retain(|_, value| !value.is_empty());
    }

    /// On a machine of the pretend Google.
    pub(crate) fn on_google(self) -> Self {
        let host = self.emulator.metadata_host().to_owned();
        self.env("GCE_METADATA_HOST", host)
    }

    /// With programs allowed.
    pub(crate) fn allowing_programs(self) -> Self {
        self.env("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")
    }

    pub(crate) fn set_clock_ahead(&mut self, seconds: i64) {
        self.world.ahead = seconds;
    }

    /// Through this proxy, and with this much time.
    pub(crate) fn with_proxy(mut self, proxy: &str, timeout: Duration) -> Self {
        self.settings = HttpSettings { proxy: Proxy::parse(proxy), timeout, ..self.settings.clone() };
        self.world.outside = Outside::new(self.settings.clone());
        self
    }

    /// A path in the stage's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a credential's file and gives a source that reads it.
    pub(crate) fn file(&self, credential: &CredentialFile) -> Source {
        let path = self.path("credential.json");
        credential.write(&path).unwrap();
        self.source(Credential::CredentialsFile(path))
    }

    /// A source that may send credentials to the pretend Google.
    pub(crate) fn source(&self, credential: Credential) -> Source {
        Source { iam_uri: Some(format!("{}/", self.emulator.https_url())), ..Source::of(credential) }
    }

    /// A subject token in a file of the stage's own folder, good for an hour.
    pub(crate) fn subject(&self, form: SubjectForm) -> PathBuf {
        let path = self.path(&format!("subject-{form:?}"));
        self.emulator.write_subject_token(form, &path, Duration::from_secs(HOUR)).unwrap();
        path
    }

    /// Asks once.
    pub(crate) fn fetch(&self, source: &Source) -> Result<Grant, Failure> {
        let _listening = tracing::subscriber::set_default(Listener(self.said.clone()));
        self.emulator.clear_requests();
        let outcome = self.block_on(source.fetch(&self.world));
        match &outcome {
            Ok(grant) => self.said.add(format!("{grant:?}")),
            Err(failure) => self.said.add(format!("{failure} {failure:?}")),
        }
        self.said.add(format!("{source:?}"));
        self.assert_nothing_leaked();
        outcome
    }

    /// The source in words, as far as it says so itself and fully.
    pub(crate) fn described(&self, source: &Source) -> (Description, Description) {
        let said = (source.described(&self.world), self.block_on(source.described_fully(&self.world)));
        self.said.add(format!("{said:?}"));
        self.assert_nothing_leaked();
        said
    }

    /// Asks once and is given a token that opens the store; with the requests that this took, each answered with 200.
    #[track_caller]
    pub(crate) fn granted(&self, source: &Source) -> (Grant, Vec<SeenRequest>) {
        let grant = self.fetch(source).unwrap_or_else(|failure| panic!("{failure}"));
        let seen = self.emulator.requests();
        for request in &seen {
            assert_eq!(request.status, Some(200), "{} {}", request.method, request.path);
            let clear = matches!(request.route, Route::Metadata | Route::Subject | Route::Imds);
            assert_eq!(request.tls, !clear, "{} {}", request.method, request.path);
        }
        assert_eq!(self.search(&grant), 204, "the token does not open the store");
        (grant, seen)
    }

    /// Asks once and is refused.
    #[track_caller]
    pub(crate) fn refused(&self, source: &Source) -> Failure {
        match self.fetch(source) {
            Ok(_) => panic!("granted"),
            Err(failure) => failure,
        }
    }

    /// Runs it to its end.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// This machine's time, in seconds since 1970.
    pub(crate) fn seconds(&self) -> u64 {
        self.world.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    /// What the store answers to a search with the token.
    pub(crate) fn search(&self, grant: &Grant) -> u16 {
        let url = format!("{}/studies", self.emulator.dicom_web_url());
        let mut request = Request::new(Method::Get, url)
            .secret_header("Authorization", format!("Bearer {}", grant.token.value.expose()));
        if let Some(project) = &grant.quota_project {
            request = request.header("X-Goog-User-Project", project);
        }
        self.block_on(self.world.send(&request)).unwrap().status
    }

    /// Fails if a secret has been said.
    #[track_caller]
    pub(crate) fn assert_nothing_leaked(&self) {
        assert_no_secret(&self.said.text(), &self.emulator.secrets());
    }
}

/// The routes of requests, in order.
pub(crate) fn routes(seen: &[SeenRequest]) -> Vec<Route> {
    seen.iter().map(|request| request.route).collect()
}

impl World for Staged {
    fn now(&self) -> SystemTime {
        let now = self.outside.now();
        let ahead = Duration::from_secs(self.ahead.unsigned_abs());
        if self.ahead < 0 { now - ahead } else { now + ahead }
    }

    fn dice(&self) -> f64 {
        self.outside.dice()
    }

    fn read_file(&self, path: &Path) -> io::Result<FileContent> {
        self.outside.read_file(path)
    }

    fn stamp(&self, path: &Path) -> io::Result<FileStamp> {
        self.outside.stamp(path)
    }

    fn env(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }

    fn run<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, io::Result<CommandOutput>> {
        Box::pin(async move {
            loop {
                match self.outside.run(command).await {
                    // A child of another test, which is on its way to its own program, has what this one was written through.
                    Err(busy) if busy.kind() == io::ErrorKind::ExecutableFileBusy => {
                        self.outside.sleep(Duration::from_millis(5)).await;
                    }
                    outcome => return outcome,
                }
            }
        })
    }

    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, TransportError>> {
        self.outside.send(request)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.outside.sleep(duration)
    }
}

/// Everything said, a line each.
#[derive(Default)]
pub(crate) struct Said(Mutex<Vec<String>>);

impl Said {
    pub(crate) fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

/// Hears the events of every library at every level.
struct Listener(Arc<Said>);

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        struct Fields(String);
        impl field::Visit for Fields {
            fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
                self.0 = format!("{} {field}={value:?}", self.0);
            }
        }
        let mut fields = Fields(event.metadata().target().to_owned());
        event.record(&mut fields);
        self.0.add(fields.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
