//! The DICOMweb plugin, asked through Orthanc's REST API.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Mutex, PoisonError},
};

use orthanc_sdk::{Host, Method, Version};
use serde_json::Value;

use crate::publication::Wipe;

/// The first version whose servers can be changed at run time.
const OLDEST: Version = Version::new(1, 0, 0);

/// Whether the DICOMweb plugin's wipe of its servers is still to come: not if the plugin was loaded before us.
///
/// Orthanc tells no plugin of the order in which it loads them, but each library is in this process' memory from the
/// moment it is loaded. To be asked in `initialize`. Only the first answer in the life of the image counts: after
/// `POST /tools/reset`, which loads in the same order, glibc may have kept the library all the while.
pub(crate) fn wipe() -> Wipe {
    static LOADED_BEFORE: Mutex<Option<bool>> = Mutex::new(None);
    let mut known = LOADED_BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let is_loaded = || {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        maps.to_lowercase()
            .lines()
            .any(|line| line.rsplit('/').next().is_some_and(|file| file.contains("dicomweb")))
    };
    if *known.get_or_insert_with(is_loaded) { Wipe::Over } else { Wipe::ToCome }
}

/// The remote servers of the DICOMweb plugin, at `{DicomWeb.Root}servers`.
#[derive(Debug, Clone)]
pub(crate) struct DicomWeb {
    host: Host,
    root: String,
}

impl DicomWeb {
    pub(crate) fn new(host: Host, root: String) -> Self {
        Self { host, root }
    }

    /// Whether there is a DICOMweb plugin to work with; if not, the sentence for the log.
    pub(crate) fn check(&self) -> Result<(), String> {
        const INSTALL: &str = "install the DICOMweb plugin (Debian's package orthanc-dicomweb), name it in Orthanc's option Plugins, and restart Orthanc";
        let answer = self.host.rest_call(Method::Get, "/plugins/dicom-web", &[]).map_err(|error| {
            format!("Orthanc does not say whether the DICOMweb plugin is there ({error}); {INSTALL}")
        })?;
        if answer.status != 200 {
            return Err(format!("the DICOMweb plugin is not loaded; {INSTALL}"));
        }
        let description: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let version = description.get("Version").and_then(Value::as_str).unwrap_or_default();
        match version.parse::<Version>() {
            Ok(found) if found >= OLDEST => Ok(()),
            _ => Err(format!(
                "the DICOMweb plugin is version `{version}`, and {OLDEST} is the oldest that works; {INSTALL}"
            )),
        }
    }

    /// The names of the servers it holds now.
    pub(crate) fn servers(&self) -> Result<BTreeSet<String>, String> {
        let uri = format!("{}servers", self.root);
        let answer = self.host.rest_call(Method::Get, &uri, &[]).map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("GET {uri} is answered with {}", answer.status));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| format!("GET {uri} gives no list of names ({error})"))
    }

    /// Adds a server, or replaces the one of that name whole.
    pub(crate) fn publish(&self, name: &str, server: &Value) -> Result<(), String> {
        self.host
            .rest_put(&self.server_uri(name), server.to_string().as_bytes())
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Takes a server away.
    pub(crate) fn withdraw(&self, name: &str) -> Result<(), String> {
        self.host.rest_delete(&self.server_uri(name)).map_err(|error| error.to_string())
    }

    /// Orthanc takes the URIs of plugins to the letter: percent-encoded, the name would be another one.
    fn server_uri(&self, name: &str) -> String {
        format!("{}servers/{name}", self.root)
    }
}
