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
mod gateway;
mod logging;
pub mod publication;
mod publisher;
mod running;
mod server;
mod store_check;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod without_libm;

use std::{
    ffi::CStr,
    panic::{self, AssertUnwindSafe},
    sync::{Mutex, PoisonError},
};

use orthanc_gcp_configuration::{Configuration, Severity};
use orthanc_sdk::{Change, Host, Plugin, Refusal, Version};
use publication::Wipe;
use running::Running;

/// The plugin, between `OrthancPluginInitialize` and `OrthancPluginFinalize`.
pub struct GoogleCloudPlatform {
    host: Host,
    configuration: Configuration,
    wipe: Wipe,
    running: Mutex<Option<Running>>,
}

impl Plugin for GoogleCloudPlatform {
    const NAME: &'static CStr = c"google-cloud-platform";
    const VERSION: &'static CStr = VERSION;
    // The C++ plugin's limit: the oldest Orthanc whose DICOMweb plugin has the servers' REST API.
    const OLDEST_HOST: Version = Version::new(1, 5, 4);

    fn initialize(host: &Host) -> Result<Self, Refusal> {
        // A panic refuses the host, and a refusal ends Orthanc: a mistake in here must cost no more than the accounts.
        let configuration =
            panic::catch_unwind(AssertUnwindSafe(|| read_configuration(host))).unwrap_or_default();
        host.set_description(
            "Keeps DICOM stores of the Google Cloud Healthcare API available as remote DICOMweb servers.",
        );
        // Where users search and retrieve; relative to Orthanc Explorer, so that it works behind a path prefix.
        host.set_root_uri(&format!("..{}app/client/index.html", configuration.dicomweb.root));
        Ok(Self { host: host.clone(), configuration, wipe: dicomweb::wipe(), running: Mutex::new(None) })
    }

    fn on_change(&self, change: Change) {
        match change {
            Change::OrthancStarted => self.start(),
            Change::OrthancStopped => self.stop(),
            _ => {}
        }
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
        self.stop();
        let _log = logging::into_log_of(&self.host);
        if self.configuration.accounts.is_empty() {
            tracing::warn!(
                "No Google Cloud Platform account is configured that can be used: name one in GoogleCloudPlatform.Accounts, or correct what is wrong there"
            );
            return;
        }
        match Running::start(self.host.clone(), self.configuration.clone(), self.wipe) {
            Ok(running) => *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running),
            Err(error) => tracing::error!(
                "no account can be used: no thread could be started ({error}); free memory or raise the limit of threads, and restart Orthanc"
            ),
        }
    }

    /// Ends the thread and waits for it, as short as that takes: nothing it does blocks.
    fn stop(&self) {
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
fn read_configuration(host: &Host) -> Configuration {
    let _log = logging::into_log_of(host);
    let text = match host.configuration() {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(
                "no account can be used: Orthanc does not give its configuration ({error}); restart Orthanc"
            );
            return Configuration::default();
        }
    };
    let (configuration, findings) = orthanc_gcp_configuration::read(&text);
    for finding in findings {
        match finding.severity {
            Severity::Error => tracing::error!("{finding}"),
            Severity::Warning => tracing::warn!("{finding}"),
        }
    }
    configuration
}
