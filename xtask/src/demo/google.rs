//! The Google that the demonstration talks to: the emulator, or the account of a configuration file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use google_emulator::Emulator;
use serde_json::{Map, Value, json};

/// The keys of the user's configuration that say how to reach Google. All others (storage, ports, users, other
/// plugins, databases) belong to the user's own Orthanc, which the demonstration leaves alone.
///
/// `HttpVerbose` stays out: it makes Orthanc's own HTTP client log the tokens it sends.
const TAKEN: [&str; 5] =
    ["GoogleCloudPlatform", "HttpsCACertificates", "HttpsVerifyPeers", "HttpProxy", "HttpTimeout"];

/// An account at Google, or at what pretends to be Google.
pub(crate) struct Google {
    /// The account's name, which is that of the DICOMweb server.
    pub(crate) account: String,
    /// What Orthanc must know to use it.
    pub(crate) configuration: Value,
    /// Where relative paths of the configuration begin.
    pub(crate) directory: PathBuf,
    /// One or more lines that introduce it.
    pub(crate) introduction: String,
    /// What a user may want to look at.
    pub(crate) places: Vec<(&'static str, String)>,
    /// What pretends to be Google; it ends when this is dropped.
    emulator: Option<Emulator>,
}

impl Google {
    /// Starts the emulator.
    pub(crate) fn emulated() -> Result<Self> {
        let emulator = Emulator::builder().start()?;
        let files = emulator.write_files(&emulator.data_dir().join("orthanc"), &[])?;
        let emulated = Self::from_file(&files.orthanc, None)?;
        Ok(Self {
            introduction: format!("The pretend Google runs at {}", emulator.https_url()),
            places: vec![
                ("pretend Google", format!("{} and {}", emulator.https_url(), emulator.http_url())),
                ("its certificate", files.ca.display().to_string()),
                ("its instances", emulator.data_dir().display().to_string()),
                ("account and key", emulated.directory.display().to_string()),
            ],
            emulator: Some(emulator),
            ..emulated
        })
    }

    /// Takes an account from an Orthanc configuration.
    pub(crate) fn from_file(file: &Path, account: Option<&str>) -> Result<Self> {
        let shown = file.display();
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
        let theirs = orthanc_testbed::parse(&text).with_context(|| format!("{shown}"))?;
        let accounts = theirs.pointer("/GoogleCloudPlatform/Accounts").and_then(Value::as_object);
        let accounts = accounts.with_context(|| format!("{shown} has no `GoogleCloudPlatform.Accounts`"))?;
        let names = accounts.keys().map(String::as_str).collect::<Vec<_>>();
        let account =
            account.or(names.first().copied()).with_context(|| format!("{shown} names no account"))?;
        if !names.contains(&account) {
            bail!("{shown} has no account `{account}`; it has: {}", names.join(", "));
        }
        let mut configuration: Map<String, Value> = TAKEN
            .iter()
            .filter_map(|&key| Some((key.to_owned(), theirs.get(key)?.clone())))
            .chain([("DicomWeb".to_owned(), dicomweb_of(&theirs, account))])
            .collect();
        if let Some(section) = configuration.get_mut("GoogleCloudPlatform").and_then(Value::as_object_mut) {
            section.insert("Accounts".to_owned(), json!({ account: accounts.get(account) }));
        }
        let directory = file.canonicalize()?.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self {
            introduction: format!("Google is your own: account `{account}` of {shown}"),
            account: account.to_owned(),
            configuration: configuration.into(),
            directory,
            places: Vec::new(),
            emulator: None,
        })
    }

    /// Whether it is a user's own, and nothing but our study may be touched.
    pub(crate) fn is_real(&self) -> bool {
        self.emulator.is_none()
    }
}

/// What the user's configuration says of this account's DICOMweb server, such as its `Timeout`.
fn dicomweb_of(theirs: &Value, account: &str) -> Value {
    let server = theirs.get("DicomWeb").and_then(|section| section.get("Servers")?.get(account));
    server.map_or(json!({}), |server| json!({ "Servers": { account: server } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_to_google_is_taken_from_a_users_configuration() {
        let folder = std::env::temp_dir().join(format!("xtask-google-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("orthanc.json");
        let text = r#"{ // a hospital's
            "StorageDirectory": "/var/lib/orthanc", "HttpPort": 8042, "HttpProxy": "proxy:3128",
            "DicomWeb": { "Root": "/x/", "Servers": { "b": { "Timeout": 9 }, "other": ["http://x/"] } },
            "GoogleCloudPlatform": { "Accounts": { "b": { "Project": "p" }, "a": {} } },
        }"#;
        fs::write(&file, text).unwrap();
        let google = Google::from_file(&file, Some("b")).unwrap();
        assert_eq!(
            google.configuration,
            json!({
                "HttpProxy": "proxy:3128",
                "DicomWeb": { "Servers": { "b": { "Timeout": 9 } } },
                "GoogleCloudPlatform": { "Accounts": { "b": { "Project": "p" } } },
            })
        );
        assert_eq!(google.directory, folder.canonicalize().unwrap());
        assert_eq!(Google::from_file(&file, None).unwrap().account, "b");
        let error = Google::from_file(&file, Some("c")).err().unwrap().to_string();
        assert!(error.ends_with("has no account `c`; it has: b, a"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
