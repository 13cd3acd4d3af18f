//! A pretend Google, and an Orthanc that uses it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use google_emulator::{EmptySearch, Emulator, Route, SeenRequest};
use orthanc_testbed::{Builder, Orthanc};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a test waits for what should happen at once: these machines may be busy. Far below the five minutes after which
/// the plugin tries by itself what a person has to mend.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// The plugin under test.
pub(crate) fn plugin() -> PathBuf {
    let built = || {
        let test = std::env::current_exe().expect("a running program has a path");
        test.with_file_name("libOrthancGoogleCloudPlatform.so")
    };
    let path = std::env::var_os("ORTHANC_GCP_PLUGIN").map_or_else(built, PathBuf::from);
    assert!(path.exists(), "{} is missing: run `cargo xtask test`", path.display());
    path
}

/// The emulator with credential files for it, before Orthanc starts.
pub(crate) struct Scene {
    pub(crate) emulator: Emulator,
    keys: TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        // The DICOMweb plugin reports an error where a search without results is answered with 204.
        let emulator = Emulator::builder().empty_search(EmptySearch::EmptyArray).start();
        Self::of(emulator.expect("the emulator starts"))
    }

    /// With an emulator of the test's own.
    pub(crate) fn of(emulator: Emulator) -> Self {
        let keys = TempDir::with_prefix("keys-").expect("a temporary folder can be made");
        let scene = Self { emulator, keys };
        scene.emulator.write_service_account_key(&scene.path("key.json")).unwrap();
        scene.emulator.write_pkcs1_service_account_key(&scene.path("pkcs1.json")).unwrap();
        scene.emulator.write_authorized_user(&scene.path("user.json")).unwrap();
        scene
    }

    /// A file beside the credentials.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.keys.path().join(name)
    }

    /// Writes a file beside the credentials, readable by its owner alone.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// An account for the emulator's store, with `credential` laid over it.
    pub(crate) fn account(&self, credential: &Value) -> Value {
        let store = self.emulator.store().to_string();
        let parts: Vec<&str> = store.split('/').collect();
        let mut account = json!({
            "Project": parts[1], "Location": parts[3], "Dataset": parts[5], "DicomStore": parts[7],
        });
        orthanc_testbed::merge(&mut account, credential);
        account
    }

    /// An account with the service account's key.
    pub(crate) fn service_account(&self) -> Value {
        self.account(&json!({"ServiceAccountFile": self.path("key.json")}))
    }

    /// An account with the user's three strings.
    pub(crate) fn user_strings(&self) -> Value {
        let user = self.emulator.authorized_user();
        self.account(&json!({
            "AuthorizedUserClientId": user.client_id,
            "AuthorizedUserClientSecret": user.client_secret,
            "AuthorizedUserRefreshToken": user.refresh_token,
            "TokenUri": self.emulator.token_url(),
        }))
    }

    /// Orthanc with both plugins and these accounts, not yet started.
    pub(crate) fn orthanc(&self, accounts: &Value) -> Builder {
        let orthanc = Orthanc::builder().dicomweb().plugin(plugin());
        orthanc.configuration(&self.configuration(accounts)).forbid_in_log(self.emulator.secrets())
    }

    /// The same without the gateway: the DICOMweb plugin talks to Google itself.
    pub(crate) fn direct(&self, accounts: &Value) -> Builder {
        self.orthanc(accounts).configuration(&json!({"GoogleCloudPlatform": {"Gateway": false}}))
    }

    /// The configuration of [`Scene::orthanc`].
    pub(crate) fn configuration(&self, accounts: &Value) -> Value {
        json!({
            "HttpsCACertificates": self.emulator.ca_file(),
            "GoogleCloudPlatform": {
                "BaseUrl": self.emulator.healthcare_base_url("v1beta1"),
                // So that credentials may be sent there, whatever address of it their files name.
                "IamUri": self.emulator.https_url(),
                "Accounts": accounts,
            },
        })
    }

    /// Starts Orthanc.
    pub(crate) fn start(self, orthanc: Builder) -> Stage {
        let orthanc = orthanc.start().expect("Orthanc starts");
        Stage { orthanc, scene: self }
    }
}

/// Both running.
pub(crate) struct Stage {
    pub(crate) orthanc: Orthanc,
    pub(crate) scene: Scene,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Searched when Orthanc is dropped, a moment later.
        self.orthanc.forbid_in_log(self.scene.emulator.secrets());
    }
}

impl Stage {
    /// An Orthanc whose account `name` is the service account's, started and ready.
    pub(crate) fn ready(name: &str) -> Self {
        let scene = Scene::new();
        let orthanc = scene.orthanc(&json!({name: scene.service_account()}));
        let stage = scene.start(orthanc);
        stage.wait_until_ready(name);
        stage
    }

    /// The same without the gateway.
    pub(crate) fn ready_and_direct(name: &str) -> Self {
        let scene = Scene::new();
        let orthanc = scene.direct(&json!({name: scene.service_account()}));
        let stage = scene.start(orthanc);
        stage.wait_until_ready(name);
        stage
    }

    /// Waits for the plugin's word that an account is ready.
    pub(crate) fn wait_until_ready(&self, name: &str) {
        let said = format!("Account \"{name}\": ready, as DICOMweb server");
        self.wait_for_line(&said);
    }

    /// Waits for a line of the log that contains all of `parts`, and gives it.
    pub(crate) fn wait_for(&self, parts: &[&str]) -> String {
        let found = self.orthanc.wait_for_log(|line| parts.iter().all(|part| line.contains(part)), SOON);
        found.unwrap_or_else(|error| panic!("waited for {parts:?}: {error}"))
    }

    /// Waits for a line of the log that contains `part`, and gives it.
    pub(crate) fn wait_for_line(&self, part: &str) -> String {
        self.wait_for(&[part])
    }

    /// Waits until `condition` holds.
    pub(crate) fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        self.orthanc.wait_until(what, SOON, || Ok(condition())).unwrap();
    }

    /// The DICOMweb servers there are.
    pub(crate) fn servers(&self) -> BTreeSet<String> {
        servers(&self.orthanc, "/dicom-web/")
    }

    /// The token requests so far.
    pub(crate) fn token_requests(&self) -> Vec<SeenRequest> {
        self.requests(Route::Token)
    }

    /// The requests of one kind so far, without the plugin's own question to the store.
    pub(crate) fn requests(&self, route: Route) -> Vec<SeenRequest> {
        let wanted =
            |request: &SeenRequest| request.route == route && !(route == Route::Qido && is_own(request));
        self.scene.emulator.requests().into_iter().filter(wanted).collect()
    }

    /// Searches studies through a server of the DICOMweb plugin, and gives HTTP status and answer.
    pub(crate) fn search(&self, server: &str) -> (u16, Value) {
        let body = json!({"Uri": "/studies"}).to_string();
        let answer = self.orthanc.post(&format!("/dicom-web/servers/{server}/qido"), body).unwrap();
        (answer.status, answer.json().unwrap_or_default())
    }

    /// The `Authorization` that the store has seen last.
    pub(crate) fn last_authorization(&self) -> Option<String> {
        let seen = self.requests(Route::Qido).pop()?;
        seen.header("authorization").map(str::to_owned)
    }

    /// Stops Orthanc, which has to end well and say nothing of an error from now on, and gives its whole log.
    pub(crate) fn stop(&self) -> String {
        let stopped = self.orthanc.stop().expect("Orthanc stops");
        assert_eq!(stopped.code(), Some(0), "{:?}\n{}", stopped.signal(), self.orthanc.log());
        self.orthanc.log()
    }
}

/// Whether the plugin itself has wanted a request, and not the DICOMweb plugin. The gateway's requests have the same name, but no
/// other search finds nothing on purpose.
pub(crate) fn is_own(request: &SeenRequest) -> bool {
    let is_ours = |agent: &str| agent.starts_with("orthanc-google-cloud-platform/");
    let looks = request.query.as_deref() == Some("StudyInstanceUID=2.25.0&limit=1");
    request.header("user-agent").is_some_and(is_ours) && (looks || request.route != Route::Qido)
}

/// The DICOMweb servers that an Orthanc holds.
pub(crate) fn servers(orthanc: &Orthanc, root: &str) -> BTreeSet<String> {
    let answer = orthanc.get(&format!("{root}servers")).unwrap().json().unwrap();
    answer.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Every line that the plugin wrote at a level: `E`, `W` or `I`.
pub(crate) fn lines_at(log: &str, level: char) -> Vec<String> {
    // Orthanc's own mark of a plugin, before and since 1.12.4.
    let ours = ["Google Cloud Platform: ", " google-cloud-platform:"];
    let is_ours = |line: &&str| line.starts_with(level) && ours.iter().any(|mark| line.contains(mark));
    log.lines().filter(is_ours).map(str::to_owned).collect()
}

/// A path as configuration text.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
