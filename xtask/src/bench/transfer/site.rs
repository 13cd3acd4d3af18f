//! The Orthancs: one without the gateway, one with it for each version of HTTP.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use orthanc_testbed::{Orthanc, Release};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Direction,
    far::{self, Far},
    link::Interrupt,
    loopback::Loopback,
    studies::Study,
};
use crate::bench::process;

/// The server of [`Loopback`], as Orthanc's DICOMweb plugin knows it.
const LOOPBACK: &str = "loopback";
/// An account is published within a second; a loaded machine gets this long.
const PUBLISHED_DEADLINE: Duration = Duration::from_secs(60);
/// No transfer takes longer; one that does hangs.
const TRANSFER_DEADLINE: Duration = Duration::from_secs(300);
/// How often Orthanc is asked how many instances it has.
const LOOK: Duration = Duration::from_millis(20);
/// How often Orthanc is asked how the job is doing.
const JOB_LOOK: Duration = Duration::from_millis(100);

/// How the plugin is told to transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Direct,
    Gateway,
    GatewayHttp2,
    /// As Direct, but in an Orthanc of its own: what it keeps of the memory must not count as Direct's.
    Alone,
}

impl Mode {
    fn has_gateway(self) -> bool {
        matches!(self, Self::Gateway | Self::GatewayHttp2)
    }
}

/// Whom Orthanc transfers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Partner {
    /// The store at the far end.
    Far,
    /// This machine's server that forgets.
    Loopback,
}

/// An Orthanc with our plugin, its account ready. It lives in memory.
pub(super) struct Site {
    orthanc: Orthanc,
    account: String,
    /// Orthanc's own identifier of the study, as long as it has it.
    study: Option<String>,
    _folder: TempDir,
}

/// What one transfer took of Orthanc.
pub(super) struct Cost {
    pub(super) took: Duration,
    /// Of Orthanc's process, the plugin included.
    pub(super) cpu: Duration,
    /// The most memory it had meanwhile, bytes.
    pub(super) peak: u64,
}

impl Site {
    pub(super) fn start(
        mode: Mode,
        release: Release,
        plugin: &Path,
        far: &Far,
        loopback: &Loopback,
    ) -> Result<Self> {
        let folder = far::in_memory("orthanc-bench-")?;
        let theirs = |key: &str| far.configuration.get(key).cloned().unwrap_or_default();
        let mut section = theirs("GoogleCloudPlatform");
        let members = section.as_object_mut().context("the store has written no section")?;
        members.insert("Gateway".to_owned(), json!(mode.has_gateway()));
        let accounts = section.get("Accounts").and_then(Value::as_object);
        let account = accounts.and_then(|accounts| accounts.keys().next()).context("no account")?.clone();
        let mut orthanc = Orthanc::builder().release(release).dicomweb().plugin(plugin);
        if mode == Mode::GatewayHttp2 {
            orthanc = orthanc.environment("ORTHANC_GCP_GATEWAY_HTTP", "2");
        }
        let orthanc = orthanc.configuration(&json!({
            "StorageDirectory": folder.path(),
            "IndexDirectory": folder.path(),
            "HttpsCACertificates": theirs("HttpsCACertificates"),
            // Seconds. The default of 60 ends a transfer in its middle, that to the loopback too.
            "HttpTimeout": TRANSFER_DEADLINE.as_secs(),
            "StableAge": 60,
            "DicomWeb": { "Servers": { LOOPBACK: { "Url": loopback.url } } },
            "GoogleCloudPlatform": section,
        }));
        let site = Self { orthanc: orthanc.start()?, account, study: None, _folder: folder };
        site.wait_until_published(mode)?;
        Ok(site)
    }

    /// Waits for the server and checks that it leads where `mode` says.
    fn wait_until_published(&self, mode: Mode) -> Result<()> {
        let start = Instant::now();
        loop {
            let servers = self.orthanc.get("/dicom-web/servers?expand")?.json()?;
            if let Some(server) = servers.get(&self.account) {
                let url = server.get("Url").and_then(Value::as_str).unwrap_or_default();
                // The gateway is reached without TLS, the store never.
                let through_gateway = url.starts_with("http://127.0.0.1:");
                ensure!(
                    through_gateway == mode.has_gateway(),
                    "the plugin leads to {url} although it was told {mode:?}; its log says why, if it knows a gateway:\n{}",
                    self.complaints()
                );
                return Ok(());
            }
            ensure!(
                start.elapsed() < PUBLISHED_DEADLINE,
                "`{}` does not become a DICOMweb server:\n{}",
                self.account,
                self.complaints()
            );
            thread::sleep(LOOK);
        }
    }

    /// Makes sure that Orthanc has the study.
    pub(super) fn fill(&mut self, study: &Study) -> Result<()> {
        if self.study.is_some() {
            return Ok(());
        }
        for instance in &study.instances {
            let answer = self.orthanc.post("/instances", &instance.file)?;
            ensure!(answer.status == 200, "Orthanc answered {} to an instance", answer.status);
            let parent = answer.json()?.get("ParentStudy").and_then(Value::as_str).map(str::to_owned);
            self.study = Some(parent.context("Orthanc names no study")?);
        }
        self.expect(study.instances.len())
    }

    /// Makes sure that Orthanc has nothing.
    pub(super) fn empty(&mut self) -> Result<()> {
        let studies = self.orthanc.get("/studies")?.json()?;
        for study in studies.as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.orthanc.delete(&format!("/studies/{study}"))?;
        }
        self.study = None;
        self.expect(0)
    }

    /// Sends the study. The end is the moment when the receiver had the last byte and had answered every request: the job
    /// of the DICOMweb plugin notices in steps of half a second.
    pub(super) fn stow(
        &self,
        partner: Partner,
        far: &Far,
        loopback: &Loopback,
        study: &Arc<Study>,
        interrupt: &Interrupt,
    ) -> Result<Cost> {
        let id = self.study.as_deref().context("Orthanc has no study to send")?;
        let meter = Meter::start(&self.orthanc)?;
        let job = self.submit(partner, "stow", &json!({ "Resources": [id], "Synchronous": false }))?;
        let ended = AtomicBool::new(false);
        let stored = thread::scope(|scope| {
            let watch = scope.spawn(|| match partner {
                Partner::Far => far.wait_until_stored(study, || ended.load(Ordering::SeqCst)),
                Partner::Loopback => Ok(None),
            });
            let followed = self.follow(&job, interrupt);
            ended.store(true, Ordering::SeqCst);
            let stored = watch.join();
            followed.and(stored.map_err(|_| anyhow::anyhow!("the watcher panicked"))?)
        })?;
        let stored = match partner {
            Partner::Far => stored,
            Partner::Loopback => loopback
                .taken()
                .filter(|taken| taken.instances == study.instances.len())
                .map(|taken| taken.at),
        };
        meter.stop(stored.context("the job says Success, but not all has arrived")?)
    }

    /// Retrieves the study, which Orthanc must not have. The end is the moment when it had the last instance.
    pub(super) fn retrieve(
        &self,
        partner: Partner,
        study: &Arc<Study>,
        interrupt: &Interrupt,
    ) -> Result<Cost> {
        self.expect(0)?;
        let meter = Meter::start(&self.orthanc)?;
        let body = json!({ "Resources": [{ "Study": study.uid }], "Synchronous": false });
        let job = self.submit(partner, "retrieve", &body)?;
        let ended = AtomicBool::new(false);
        let last = thread::scope(|scope| {
            let watch = scope.spawn(|| {
                loop {
                    // Asked first, so that there is one look after the end.
                    let last = ended.load(Ordering::SeqCst);
                    let now = Instant::now();
                    if self.count()? >= study.instances.len() as u64 {
                        return Ok(Some(now));
                    }
                    if last {
                        return anyhow::Ok(None);
                    }
                    thread::sleep(LOOK);
                }
            });
            let followed = self.follow(&job, interrupt);
            ended.store(true, Ordering::SeqCst);
            let last = watch.join();
            followed.and(last.map_err(|_| anyhow::anyhow!("the watcher panicked"))?)
        })?;
        self.expect(study.instances.len())?;
        meter.stop(last.context("the job says Success, but not all has arrived")?)
    }

    /// Submits a job and gives its path.
    fn submit(&self, partner: Partner, verb: &str, body: &Value) -> Result<String> {
        let server = match partner {
            Partner::Far => &self.account,
            Partner::Loopback => LOOPBACK,
        };
        let answer = self.orthanc.post(&format!("/dicom-web/servers/{server}/{verb}"), body.to_string())?;
        let job = answer.json().ok().and_then(|job| Some(job.get("ID")?.as_str()?.to_owned()));
        Ok(format!("/jobs/{}", job.with_context(|| format!("Orthanc took no job: {}", answer.text()))?))
    }

    /// Waits for the end of a job, which must be good.
    fn follow(&self, job: &str, interrupt: &Interrupt) -> Result<()> {
        let start = Instant::now();
        loop {
            let state = self.orthanc.get(job)?.json()?;
            match state.get("State").and_then(Value::as_str).unwrap_or_default() {
                "Success" => return Ok(()),
                "Failure" => {
                    let why = state.get("ErrorDescription").cloned().unwrap_or_default();
                    bail!("the job failed: {why}\n{}", self.complaints());
                }
                _ => {}
            }
            interrupt.check()?;
            ensure!(start.elapsed() < TRANSFER_DEADLINE, "the job does not end\n{}", self.complaints());
            thread::sleep(JOB_LOOK);
        }
    }

    /// Fails unless Orthanc has so many instances.
    fn expect(&self, instances: usize) -> Result<()> {
        let count = self.count()?;
        ensure!(count == instances as u64, "Orthanc has {count} instances instead of {instances}");
        Ok(())
    }

    fn count(&self) -> Result<u64> {
        let statistics = self.orthanc.get("/statistics")?.json()?;
        statistics.get("CountInstances").and_then(Value::as_u64).context("Orthanc does not count")
    }

    /// The last warnings and errors of the log.
    fn complaints(&self) -> String {
        let mut lines = self.orthanc.log_lines();
        lines.retain(|line| line.starts_with(['W', 'E']));
        lines.split_off(lines.len().saturating_sub(6)).join("\n")
    }
}

/// Measures from just before a transfer.
struct Meter<'a> {
    orthanc: &'a Orthanc,
    start: Instant,
    cpu: Duration,
}

impl<'a> Meter<'a> {
    fn start(orthanc: &'a Orthanc) -> Result<Self> {
        process::forget_peak(orthanc.pid())?;
        Ok(Self { orthanc, cpu: process::cpu(orthanc.pid())?, start: Instant::now() })
    }

    fn stop(self, end: Instant) -> Result<Cost> {
        let pid = self.orthanc.pid();
        Ok(Cost {
            took: end.saturating_duration_since(self.start),
            cpu: process::cpu(pid)?.saturating_sub(self.cpu),
            peak: process::peak(pid)?,
        })
    }
}

/// Both directions begin and end the same way.
pub(super) fn prepare(site: &mut Site, direction: Direction, study: &Study) -> Result<()> {
    match direction {
        Direction::Stow => site.fill(study),
        Direction::Wado => site.empty(),
    }
}
