//! The pretend Google, and Orthancs that use it with many accounts.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use google_emulator::Emulator;
use orthanc_testbed::{Orthanc, Release};
use serde_json::{Map, Value, json};

use crate::{
    apt,
    workspace::{self, Profile},
};

/// The CAs that Debian trusts: the setting in which the C++ plugin was measured.
const DEBIANS_CAS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Accounts are ready within a second; a loaded machine gets this long.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// Everything but the Orthancs.
pub(super) struct Stage {
    emulator: Emulator,
    plugin: PathBuf,
    cas: PathBuf,
    keys: PathBuf,
}

impl Stage {
    /// Installs and builds what is missing, and starts the pretend Google with keys for `most` accounts.
    pub(super) fn new(most: usize) -> Result<Self> {
        apt::ensure(&["orthanc", "orthanc-dicomweb", "ca-certificates"])?;
        let plugin = workspace::build_plugin(Profile::Release)?;
        let emulator = Emulator::builder().start()?;
        let cas = emulator.data_dir().join("bundle.pem");
        let mut bundle =
            fs::read_to_string(DEBIANS_CAS).with_context(|| format!("cannot read {DEBIANS_CAS}"))?;
        bundle.push_str(&fs::read_to_string(emulator.ca_file())?);
        fs::write(&cas, bundle)?;
        let keys = emulator.data_dir().join("keys");
        fs::create_dir(&keys)?;
        for number in 0..most {
            emulator.write_service_account_key(&keys.join(format!("{number}.json")))?;
        }
        Ok(Self { emulator, plugin, cas, keys })
    }

    /// Starts an Orthanc with so many accounts, or without the plugin, and waits until all of them are ready.
    pub(super) fn start(&self, accounts: Option<usize>) -> Result<Running> {
        let configured: Map<String, Value> =
            (0..accounts.unwrap_or_default()).map(|number| self.account(number)).collect();
        let mut orthanc = Orthanc::builder().release(Release::Bookworm).dicomweb();
        if accounts.is_some() {
            orthanc = orthanc.plugin(&self.plugin);
        }
        let section = json!({
            "BaseUrl": self.emulator.healthcare_base_url("v1beta1"),
            // By name, so that looking it up counts.
            "TokenUri": self.emulator.token_url().replace("127.0.0.1", "localhost"),
            "Accounts": configured,
        });
        let orthanc = orthanc.configuration(&json!({
            "HttpsCACertificates": self.cas,
            "GoogleCloudPlatform": section,
        }));
        let running = Running { orthanc: orthanc.start()?, accounts: accounts.unwrap_or_default() };
        running.wait_until_ready()?;
        running.orthanc.forbid_in_log(self.emulator.secrets());
        Ok(running)
    }

    fn account(&self, number: usize) -> (String, Value) {
        let store = self.emulator.store().to_string();
        let part = |index| store.split('/').nth(index).unwrap_or_default();
        let account = json!({
            "Project": part(1), "Location": part(3), "Dataset": part(5), "DicomStore": part(7),
            "ServiceAccountFile": self.keys.join(format!("{number}.json")),
        });
        (format!("account-{number}"), account)
    }
}

/// An Orthanc with all of its accounts ready.
pub(super) struct Running {
    pub(super) orthanc: Orthanc,
    accounts: usize,
}

impl Running {
    fn wait_until_ready(&self) -> Result<()> {
        let start = Instant::now();
        while self.ready_lines().len() < self.accounts {
            if start.elapsed() > READY_DEADLINE {
                let (ready, all) = (self.ready_lines().len(), self.accounts);
                bail!("only {ready} of {all} accounts are ready; Orthanc's log:\n{}", self.orthanc.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// From "Orthanc has started" to the last account's "ready", by the clock of Orthanc's log.
    pub(super) fn last_ready(&self) -> Result<Duration> {
        let log = self.orthanc.log_lines();
        let started = log.iter().find(|line| line.contains("Orthanc has started"));
        let started =
            started.and_then(|line| time_of_day(line)).context("Orthanc's log has lost its form")?;
        let ready = self.ready_lines().iter().filter_map(|line| time_of_day(line)).max();
        let ready = ready.unwrap_or(started);
        // Midnight may lie between.
        let ready = if ready < started { ready + Duration::from_secs(86_400) } else { ready };
        Ok(ready.saturating_sub(started))
    }

    fn ready_lines(&self) -> Vec<String> {
        let mut lines = self.orthanc.log_lines();
        lines.retain(|line| line.contains(": ready, as DICOMweb server"));
        lines
    }
}

/// The time in a line such as `W1123 15:35:12.671725 …`, since midnight.
fn time_of_day(line: &str) -> Option<Duration> {
    let mut parts = line.split_whitespace().nth(1)?.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = hours.parse::<u64>().ok()? * 3600 + minutes.parse::<u64>().ok()? * 60;
    Some(Duration::from_secs(whole) + Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_log_line() {
        let line = "W1123 15:35:12.671725 main.cpp:857] Orthanc has started";
        assert_eq!(time_of_day(line), Some(Duration::from_micros(56_112_671_725)));
        assert_eq!(time_of_day("terminate called"), None);
    }
}
