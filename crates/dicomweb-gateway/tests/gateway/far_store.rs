//! The DICOM store behind the gateway: the emulator's own, or a real Orthanc behind the emulator's tokens, faults and record.

use std::{collections::BTreeSet, env, fmt::Write as _, ops::Deref, process::Command};

use google_emulator::{Builder, Emulator, StoredInstance};
use orthanc_testbed::{Orthanc, Release};
use ring::digest::{SHA256, digest};
use serde_json::Value;

/// Set to `orthanc`, it makes that the store of every test.
const STORE: &str = "GATEWAY_TEST_STORE";

/// A pretend Google, perhaps with a real Orthanc as its DICOM store.
pub(crate) struct FarStore {
    emulator: Emulator,
    orthanc: Option<Orthanc>,
}

impl Deref for FarStore {
    type Target = Emulator;

    fn deref(&self) -> &Emulator {
        &self.emulator
    }
}

impl FarStore {
    /// Starts one.
    pub(crate) fn start(builder: Builder) -> Self {
        if !env::var(STORE).is_ok_and(|store| store == "orthanc") {
            return Self { emulator: builder.start().unwrap(), orthanc: None };
        }
        // The machine's own: 1.10.1 with the DICOMweb plugin 1.7.
        let orthanc = Orthanc::builder().release(Release::Bookworm).dicomweb().start().unwrap();
        Self::over(Some(orthanc), builder)
    }

    /// Starts one over the Orthanc of another.
    pub(crate) fn over(orthanc: Option<Orthanc>, builder: Builder) -> Self {
        let builder = match &orthanc {
            None => builder,
            Some(orthanc) => builder.upstream(format!("{}/dicom-web/", orthanc.url())),
        };
        Self { emulator: builder.start().unwrap(), orthanc }
    }

    /// Whether a real Orthanc is behind it.
    pub(crate) fn is_orthanc(&self) -> bool {
        self.orthanc.is_some()
    }

    /// Ends the pretend Google, and gives the Orthanc behind it.
    pub(crate) fn stop(self) -> Option<Orthanc> {
        self.emulator.stop();
        self.orthanc
    }

    /// What the store holds.
    pub(crate) fn instances(&self) -> Vec<StoredInstance> {
        let Some(orthanc) = &self.orthanc else { return self.emulator.instances() };
        let json =
            |path: &str| -> Value { serde_json::from_slice(&orthanc.get(path).unwrap().body).unwrap() };
        let ids = json("/instances");
        ids.as_array()
            .unwrap()
            .iter()
            .map(|id| {
                let path = format!("/instances/{}", id.as_str().unwrap());
                let tags = json(&format!("{path}/simplified-tags"));
                let tag = |name: &str| tags[name].as_str().unwrap().to_owned();
                let file = orthanc.get(&format!("{path}/file")).unwrap().body;
                StoredInstance {
                    store: self.emulator.store().to_string(),
                    study: tag("StudyInstanceUID"),
                    series: tag("SeriesInstanceUID"),
                    instance: tag("SOPInstanceUID"),
                    transfer_syntax: String::new(),
                    bytes: file.len() as u64,
                    sha256: Some(sha256(&file)),
                }
            })
            .collect()
    }
}

/// In hexadecimal digits.
pub(crate) fn sha256(file: &[u8]) -> String {
    digest(&SHA256, file).as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// Runs every test of this program once more with a real Orthanc as the store. Those of `excepted`, each with its reason, are
/// about what Google's stores do and Orthanc's does not: they must fail, or they are no exceptions.
pub(crate) fn run_all_with_orthanc(not_again: &[&str], excepted: &[(&str, &str)]) {
    let mut child = Command::new(env::current_exe().unwrap());
    let output = child
        .env(STORE, "orthanc")
        .args(not_again.iter().flat_map(|name| ["--skip", name]))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let names = |end: &str| -> BTreeSet<&str> {
        text.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(end)).collect()
    };
    let (passed, failed) = (names(" ... ok"), names(" ... FAILED"));
    let excepted: BTreeSet<&str> = excepted.iter().map(|(name, _)| *name).collect();
    let lost: Vec<_> = failed.difference(&excepted).collect();
    let needless: Vec<_> = excepted.difference(&failed).collect();
    assert!(
        lost.is_empty() && needless.is_empty() && !passed.is_empty(),
        "with Orthanc as the store, these fail: {lost:#?}; these are excepted and do not fail: {needless:#?}\n{text}"
    );
}
