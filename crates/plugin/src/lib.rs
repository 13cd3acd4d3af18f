//! `libOrthancGoogleCloudPlatform.so`: joins Orthanc to DICOM stores of the Google Cloud Healthcare API.
//!
//! Wiring only. The crate `configuration` turns Orthanc's JSON into accounts, `google-credentials` keeps a token for each,
//! [`publication`] decides and `publisher` does what it takes that the DICOMweb plugin holds a server for each
//! account, with the newest token in it. `running` is the one thread on which all of it happens.
//!
//! Nothing here stops Orthanc: it refuses a host that is too old, and whatever else is wrong is one line in the log.
#![deny(unsafe_code)]
#![allow(non_snake_case, reason = "administrators know the library by this name")]

mod dicomweb;
mod direct;
mod gateway;
mod logging;
mod metrics;
mod page;
mod port;
pub mod publication;
mod publisher;
mod running;
mod server;
mod status;
mod store_check;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod without_libm;

use std::{
    ffi::CStr,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError},
};

use google_credentials::{Outside, World as _};
use orthanc_gcp_configuration::{Configuration, Finding, SECTION, Severity};
use orthanc_sdk::{Change, Host, Plugin, Refusal, RestReply, RestRequest, Version};
use port::Port;
use publication::Wipe;
use running::Running;
use status::{Phase, Status, Trouble};

/// The plugin, between `OrthancPluginInitialize` and `OrthancPluginFinalize`.
pub struct GoogleCloudPlatform {
    host: Host,
    configuration: Configuration,
    wipe: Wipe,
    status: Arc<Status>,
    running: Mutex<Option<Running>>,
    /// The gateway's, until `OrthancPluginFinalize`.
    port: Port,
}

impl Plugin for GoogleCloudPlatform {
    const NAME: &'static CStr = c"google-cloud-platform";
    const VERSION: &'static CStr = VERSION;
    // The C++ plugin's limit: the oldest Orthanc whose DICOMweb plugin has the servers' REST API.
    const OLDEST_HOST: Version = Version::new(1, 5, 4);

    fn initialize(host: &Host) -> Result<Self, Refusal> {
        // A panic refuses the host, and a refusal ends Orthanc: a mistake in here must cost no more than the accounts.
        let (configuration, findings) =
            panic::catch_unwind(AssertUnwindSafe(|| read_configuration(host))).unwrap_or_default();
        let now = Outside::new(configuration.http.clone()).now();
        let status = Arc::new(Status::new(&configuration, &findings, now));
        host.set_description(
            "Keeps DICOM stores of the Google Cloud Healthcare API available as remote DICOMweb servers.",
        );
        page::announce(host);
        Ok(Self {
            host: host.clone(),
            configuration,
            wipe: dicomweb::wipe(),
            status,
            running: Mutex::new(None),
            port: Port::default(),
        })
    }

    fn on_change(&self, change: Change) {
        match change {
            Change::OrthancStarted => self.start(),
            Change::OrthancStopped => self.stop(),
            _ => {}
        }
    }

    fn routes(&self) -> Vec<String> {
        vec![status::ROUTE.to_owned()]
    }

    fn on_rest(&self, request: &RestRequest<'_>) -> RestReply {
        status::answer(&self.status, request)
    }

    fn refresh_metrics(&self) {
        metrics::refresh(&self.host, &self.status);
    }
}

orthanc_sdk::export_plugin!(GoogleCloudPlatform);

/// The workspace's version, as C wants it.
const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

impl GoogleCloudPlatform {
    /// Begins to keep tokens, on a thread of the plugin's own: callbacks of all plugins share one lock.
    fn start(&self) {
        self.end();
        self.status.enter(Phase::Starting);
        let _log = logging::into_log_of(&self.host);
        if self.configuration.accounts.is_empty() {
            tracing::warn!(
                "No Google Cloud Platform account is configured that can be used: name one in GoogleCloudPlatform.Accounts, or correct what is wrong there"
            );
            return;
        }
        match Running::start(
            self.host.clone(),
            self.configuration.clone(),
            self.wipe,
            Arc::clone(&self.status),
            self.port.clone(),
        ) {
            Ok(running) => *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running),
            Err(error) => {
                let words = format!(
                    "no thread could be started ({error}); free memory or raise the limit of threads, and restart Orthanc"
                );
                tracing::error!("no account can be used: {words}");
                let since = Outside::new(self.configuration.http.clone()).now();
                self.status.enter(Phase::Unusable(Trouble { path: SECTION, words, since }));
            }
        }
    }

    /// From now on there is nothing to tell.
    fn stop(&self) {
        self.status.enter(Phase::Stopped);
        self.end();
    }

    /// Ends the thread and waits for it, as short as that takes: nothing it does blocks.
    fn end(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(running);
    }
}

impl Drop for GoogleCloudPlatform {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Reads the configuration and tells the log everything that is wrong with it.
fn read_configuration(host: &Host) -> (Configuration, Vec<Finding>) {
    let _log = logging::into_log_of(host);
    let text = match host.configuration() {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(
                "no account can be used: Orthanc does not give its configuration ({error}); restart Orthanc"
            );
            return Default::default();
        }
    };
    let environment = Outside::new(Configuration::default().http);
    let (configuration, findings) = orthanc_gcp_configuration::read_in(&text, &|name| environment.env(name));
    for finding in &findings {
        match finding.severity {
            Severity::Error => tracing::error!("{finding}"),
            Severity::Warning => tracing::warn!("{finding}"),
        }
    }
    (configuration, findings)
}
