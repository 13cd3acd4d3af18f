//! The store at the far end: the pretend Google as a program of its own, asked from its own end of the link.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use google_emulator::CLOUD_PLATFORM;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{client, link::Link, studies::Study};

/// It answers within a second; a loaded machine gets this long.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How often the record is looked at, at least.
const LOOK: Duration = Duration::from_millis(20);

/// The running store. Dropped, it is killed.
pub(super) struct Far {
    child: Child,
    pub(super) link: Link,
    /// The DICOMweb root, HTTPS, without a final slash.
    pub(super) dicom_web: String,
    /// The account's configuration that the store has written for Orthanc.
    pub(super) configuration: Value,
    pub(super) ca: PathBuf,
    http: String,
    // Last, so that it goes after the process.
    _folder: TempDir,
}

/// What the store was asked in one transfer.
pub(super) struct Asked {
    pub(super) connections: usize,
    /// All requests to the DICOM store, searches included.
    pub(super) requests: usize,
    /// Such as `HTTP/1.1`.
    pub(super) versions: BTreeSet<String>,
}

impl Far {
    /// Starts `program` at the far end of `link`, which is up.
    pub(super) fn start(program: &Path, link: Link) -> Result<Self> {
        let folder = in_memory("far-store-")?;
        let (said, files) = (folder.path().join("said"), folder.path().join("files"));
        let mut command = link.at_far_end(program);
        command.arg("--bind").arg(link.address()).args(["--keep", "memory"]);
        command.arg("--data").arg(folder.path().join("data")).arg("--files").arg(&files);
        let child = command.stdin(Stdio::null()).stdout(File::create(&said)?).spawn();
        let child = child.with_context(|| format!("cannot start {}", program.display()))?;
        let mut far = Self {
            child,
            link,
            dicom_web: String::new(),
            configuration: Value::Null,
            ca: files.join("ca.pem"),
            http: String::new(),
            _folder: folder,
        };
        let text = far.introduction(&said)?;
        let word = |name: &str| {
            let rest = text.lines().find_map(|row| row.strip_prefix(name));
            rest.map(|rest| rest.trim().to_owned()).with_context(|| format!("the store names no {name}"))
        };
        far.http = word("HTTP ")?;
        far.dicom_web = word("DICOMweb ")?;
        far.configuration = serde_json::from_slice(&fs::read(files.join("orthanc.json"))?)?;
        Ok(far)
    }

    /// What it says when it is ready.
    fn introduction(&mut self, said: &Path) -> Result<String> {
        let start = Instant::now();
        loop {
            let text = fs::read_to_string(said)?;
            if text.contains("Ctrl-C ends it") {
                return Ok(text);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the pretend Google ended with {status}");
            }
            ensure!(start.elapsed() < START_DEADLINE, "the pretend Google does not start");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        // `setpriv` and `ip` replace themselves by the program.
        self.child.id()
    }

    /// Runs `act` with a client at the far end: what it does takes no time on the link.
    pub(super) fn near<T: Send>(&self, act: impl AsyncFnOnce(&Client) -> Result<T> + Send) -> Result<T> {
        let run = || {
            self.link.go_to_far_end()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { act(&client::of(&self.ca)?).await })
        };
        // A thread of its own, since a thread goes to a namespace for good.
        thread::scope(|scope| scope.spawn(run).join()).map_err(|_| anyhow!("the client panicked"))?
    }

    /// A token for the store.
    pub(super) fn token(&self) -> Result<String> {
        let body = json!({ "scope": CLOUD_PLATFORM, "lifetime_seconds": 86_400 }).to_string();
        self.near(async |client| {
            let answer = client.post(format!("{}/emulator/tokens", self.http)).body(body).send().await?;
            let answer: Value = serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?;
            let token = answer.get("access_token").and_then(Value::as_str);
            Ok(token.context("the store gives no token")?.to_owned())
        })
    }

    /// How many instances of the study it has.
    pub(super) fn count(&self, study: &Study) -> Result<usize> {
        let (token, url) = (self.token()?, self.study_url(study));
        self.near(async |client| {
            let search = format!("{url}/instances?limit=50000");
            let answer = client.get(search).bearer_auth(token).send().await?.error_for_status()?;
            if answer.status() == StatusCode::NO_CONTENT {
                return Ok(0);
            }
            let found: Vec<Value> = serde_json::from_slice(&answer.bytes().await?)?;
            Ok(found.len())
        })
    }

    /// Deletes the study, if it is there.
    pub(super) fn delete(&self, study: &Study) -> Result<()> {
        if self.count(study)? == 0 {
            return Ok(());
        }
        let (token, url) = (self.token()?, self.study_url(study));
        self.near(async |client| {
            client.delete(url).bearer_auth(token).send().await?.error_for_status()?;
            Ok(())
        })?;
        let left = self.count(study)?;
        ensure!(left == 0, "{left} instances were not deleted from the store");
        Ok(())
    }

    /// Makes sure that the whole study is there.
    pub(super) fn fill(&self, study: &Study) -> Result<()> {
        if self.count(study)? != study.instances.len() {
            let token = self.token()?;
            for instance in &study.instances {
                self.near(async |client| client::store(client, &self.dicom_web, &token, &[instance]).await)?;
            }
        }
        self.expect(study)
    }

    /// Fails unless the whole study is there.
    pub(super) fn expect(&self, study: &Study) -> Result<()> {
        let (there, whole) = (self.count(study)?, study.instances.len());
        ensure!(there == whole, "the store has {there} of {whole} instances");
        Ok(())
    }

    /// Forgets what it was asked.
    pub(super) fn forget(&self) -> Result<()> {
        self.near(async |client| {
            let url = format!("{}/emulator/requests", self.http);
            client.delete(url).send().await?.error_for_status()?;
            Ok(())
        })
    }

    /// What it was asked since, of the study. The plugin's own look whether it is let in is not counted.
    pub(super) fn asked(&self, study: &Study) -> Result<Asked> {
        let seen = self.near(async |client| self.record(client).await)?;
        let text =
            |seen: &Value, key: &str| seen.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let of_study: Vec<&Value> = seen
            .iter()
            .filter(|seen| {
                let [path, query] = ["path", "query"].map(|key| text(seen, key));
                is_stow(seen) || path.contains(&study.uid) || query.contains(&study.uid)
            })
            .collect();
        let connections: BTreeSet<u64> =
            of_study.iter().filter_map(|seen| seen.get("connection")?.as_u64()).collect();
        Ok(Asked {
            connections: connections.len(),
            requests: of_study.len(),
            versions: of_study.iter().map(|seen| text(seen, "http_version")).collect(),
        })
    }

    /// The moment when every byte of the study had come and every request was answered; none if `given_up` became
    /// true before.
    pub(super) fn wait_until_stored(
        &self,
        study: &Study,
        given_up: impl Fn() -> bool + Send + Sync,
    ) -> Result<Option<Instant>> {
        self.near(async |client| {
            loop {
                // Asked first, so that there is one look after the end.
                let last = given_up();
                let start = Instant::now();
                let seen = self.record(client).await?;
                let stows = seen.iter().filter(|seen| is_stow(seen));
                let answered = stows.filter(|seen| seen.get("status") == Some(&json!(200)));
                let bytes: u64 =
                    answered.filter_map(|seen| seen.get("body_bytes").and_then(Value::as_u64)).sum();
                if bytes >= study.bytes() {
                    return Ok(Some(start));
                }
                if last {
                    return Ok(None);
                }
                // However long the record, most of the time it is left alone.
                tokio::time::sleep(LOOK.max(start.elapsed())).await;
            }
        })
    }

    async fn record(&self, client: &Client) -> Result<Vec<Value>> {
        let answer = client.get(format!("{}/emulator/requests", self.http)).send().await?;
        Ok(serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?)
    }

    fn study_url(&self, study: &Study) -> String {
        format!("{}/studies/{}", self.dicom_web, study.uid)
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Whether the request is one of STOW-RS.
fn is_stow(seen: &Value) -> bool {
    let path = seen.get("path").and_then(Value::as_str).unwrap_or_default();
    path.contains("/dicomWeb/studies") && seen.get("method") == Some(&json!("POST"))
}

/// A folder that is no disk, where there is such a thing: what disks do is not measured here.
pub(super) fn in_memory(prefix: &str) -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    Ok(tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?)
}
