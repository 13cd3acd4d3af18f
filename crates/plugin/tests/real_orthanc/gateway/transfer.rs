//! Studies on their way, and what is left when they have arrived.

use std::{collections::BTreeMap, fs, time::Duration};

use orthanc_testbed::{Ct, Orthanc, Syntax, assert_no_secret, study};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::port;
use crate::stage::{SOON, Stage};

/// No transfer of these tests takes longer, whatever else this machine does.
const TRANSFERRED: Duration = Duration::from_secs(180);

/// The name of every patient here.
const PATIENT: &str = "Phantom^Generated";

/// A study of several transfer syntaxes.
pub(super) struct Study {
    pub(super) uid: String,
    patient_id: String,
    pub(super) instances: Vec<Instance>,
}

pub(super) struct Instance {
    pub(super) uid: String,
    pub(super) series: String,
    pub(super) syntax: Syntax,
    pub(super) bytes: Vec<u8>,
}

impl Study {
    /// One of so many series of so many instances, each of twice the square of `side` bytes and a little more.
    pub(super) fn new(seed: u64, series: usize, instances: usize, side: u16) -> Self {
        let study = study::ct(&Ct { seed, series, instances, rows: side, columns: side }).unwrap();
        let syntaxes = [Syntax::Explicit, Syntax::Implicit, Syntax::Jpeg].into_iter().cycle();
        let instance = |(instance, syntax): (&orthanc_testbed::Instance, Syntax)| {
            let made = instance.in_syntax(syntax).unwrap();
            Instance { uid: made.uid, series: made.series_uid, syntax, bytes: made.bytes }
        };
        let instances = study.instances.iter().zip(syntaxes).map(instance).collect();
        Self { uid: study.uid, patient_id: study.patient_id, instances }
    }

    /// One that the gateway sends in so many requests, and fetches in twice as many.
    pub(super) fn of_requests(seed: u64, requests: usize) -> Self {
        // Two of these are a batch.
        Self::new(seed, 1, 2 * requests, 1040)
    }

    /// Puts it into Orthanc, whose log shall not name the patient; Orthanc's identifiers of its instances, in their order.
    pub(super) fn put(&self, stage: &Stage) -> Vec<String> {
        stage.orthanc.forbid_in_log([PATIENT, &self.patient_id]);
        self.instances.iter().map(|instance| put(&stage.orthanc, &instance.bytes)).collect()
    }

    /// Where it lies below a DICOMweb root.
    pub(super) fn path(&self) -> String {
        format!("/studies/{}", self.uid)
    }

    /// Where one of its instances lies there.
    pub(super) fn path_of(&self, instance: &Instance) -> String {
        format!("{}/series/{}/instances/{}", self.path(), instance.series, instance.uid)
    }
}

/// Puts a file into Orthanc and gives its identifier there.
pub(super) fn put(orthanc: &Orthanc, file: &[u8]) -> String {
    let answer = orthanc.post("/instances", file).unwrap();
    let answer = answer.json().unwrap();
    assert_eq!(answer["Status"], "Success", "{answer}");
    answer["ID"].as_str().unwrap().to_owned()
}

/// Deletes whatever Orthanc has.
pub(super) fn empty(orthanc: &Orthanc) {
    let patients = orthanc.get("/patients").unwrap().json().unwrap();
    for patient in patients.as_array().unwrap() {
        let answer = orthanc.delete(&format!("/patients/{}", patient.as_str().unwrap())).unwrap();
        assert_eq!(answer.status, 200);
    }
}

/// A job of the DICOMweb plugin's.
pub(super) struct Job<'a> {
    stage: &'a Stage,
    id: String,
}

/// Begins to send what has these identifiers.
pub(super) fn stow<'a>(stage: &'a Stage, resources: &[String]) -> Job<'a> {
    begin(stage, "stow", &json!({"Resources": resources, "Synchronous": false}))
}

/// Begins to retrieve these studies.
pub(super) fn retrieve<'a>(stage: &'a Stage, studies: &[&Study]) -> Job<'a> {
    let resources: Vec<Value> = studies.iter().map(|study| json!({"Study": study.uid})).collect();
    begin(stage, "retrieve", &json!({"Resources": resources, "Synchronous": false}))
}

fn begin<'a>(stage: &'a Stage, operation: &str, body: &Value) -> Job<'a> {
    let path = format!("/dicom-web/servers/g/{operation}");
    let answer = stage.orthanc.post(&path, body.to_string()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    Job { stage, id: answer.json().unwrap()["ID"].as_str().unwrap().to_owned() }
}

impl<'a> Job<'a> {
    /// The one with this identifier.
    pub(super) fn known(stage: &'a Stage, id: String) -> Self {
        Self { stage, id }
    }

    /// Its identifier.
    pub(super) fn into_id(self) -> String {
        self.id
    }

    /// What Orthanc says of it.
    pub(super) fn look(&self) -> Value {
        self.stage.orthanc.get(&format!("/jobs/{}", self.id)).unwrap().json().unwrap()
    }

    pub(super) fn state(&self) -> String {
        self.look()["State"].as_str().unwrap().to_owned()
    }

    /// Cancels, pauses, resumes or resubmits it.
    pub(super) fn is_to(&self, act: &str) {
        let answer = self.stage.orthanc.post(&format!("/jobs/{}/{act}", self.id), "").unwrap();
        assert_eq!(answer.status, 200, "{act}: {}", answer.text());
    }

    /// Waits until it is in one of these states, and gives what Orthanc says of it then.
    pub(super) fn wait_for(&self, states: &[&str]) -> Value {
        let reached = || Ok(states.contains(&self.state().as_str()));
        let reached = self.stage.orthanc.wait_until(&format!("a job's {states:?}"), TRANSFERRED, reached);
        reached.unwrap_or_else(|error| panic!("{error}\n{:#}\n{:#}", self.look(), transfers(self.stage)));
        self.look()
    }

    /// Waits for its end, which says nothing of a secret.
    pub(super) fn end(&self) -> Value {
        let end = self.wait_for(&["Success", "Failure"]);
        assert_no_secret(&end.to_string(), &self.stage.scene.emulator.secrets());
        end
    }

    /// Waits for its end, which is a success.
    pub(super) fn succeeds(&self) -> Value {
        let end = self.end();
        assert_eq!(end["State"], "Success", "{end:#}\n{}", self.stage.orthanc.log());
        end
    }

    /// Waits for its end, which is a failure.
    pub(super) fn fails(&self) -> Value {
        let end = self.end();
        assert_eq!(end["State"], "Failure", "{end:#}\n{}", self.stage.orthanc.log());
        end
    }
}

/// What the plugin tells of the transfers.
pub(super) fn transfers(stage: &Stage) -> Value {
    stage.orthanc.get("/google-cloud-platform/transfers").unwrap().json().unwrap()
}

/// What the plugin tells of the transfer that ended last.
pub(super) fn last(stage: &Stage) -> Value {
    transfers(stage)["Ended"][0].clone()
}

/// Transfer syntaxes and digests, by SOP Instance UID.
type Contents = BTreeMap<String, (String, String)>;

fn contents<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Contents {
    let of = |one: &Instance| (one.uid.clone(), (one.syntax.uid().to_owned(), sha256(&one.bytes)));
    instances.into_iter().map(of).collect()
}

/// The SHA-256 in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

fn stored(stage: &Stage) -> Contents {
    let instances = stage.scene.emulator.instances().into_iter();
    instances.map(|one| (one.instance, (one.transfer_syntax, one.sha256.unwrap()))).collect()
}

/// The store holds these instances byte for byte, and no other.
#[track_caller]
pub(super) fn assert_stored<'a>(stage: &Stage, instances: impl IntoIterator<Item = &'a Instance>) {
    let (stored, expected) = (stored(stage), contents(instances));
    // Not compared as a whole: nobody can read hundreds of digests.
    let wrong: Vec<_> = expected.iter().filter(|(uid, of)| stored.get(*uid) != Some(of)).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} are not stored as sent: {:?}",
        wrong.len(),
        expected.len(),
        wrong[0].0
    );
    assert_eq!(stored.len(), expected.len());
}

/// Whatever the store holds is one of these instances, byte for byte; how many they are.
#[track_caller]
pub(super) fn assert_stored_whole<'a>(
    stage: &Stage,
    instances: impl IntoIterator<Item = &'a Instance>,
) -> usize {
    let (stored, sent) = (stored(stage), contents(instances));
    assert!(stored.iter().all(|(uid, of)| sent.get(uid) == Some(of)), "the store has what nobody sent");
    stored.len()
}

/// Whether the store holds these instances byte for byte.
pub(super) fn is_stored<'a>(stage: &Stage, instances: impl IntoIterator<Item = &'a Instance>) -> bool {
    let stored = stored(stage);
    contents(instances).iter().all(|(uid, of)| stored.get(uid) == Some(of))
}

/// Orthanc holds these studies byte for byte, and no other.
#[track_caller]
pub(super) fn assert_in_orthanc(orthanc: &Orthanc, studies: &[&Study]) {
    let list = orthanc.get("/instances?expand").unwrap().json().unwrap();
    let mut held = BTreeMap::new();
    for instance in list.as_array().unwrap() {
        let file = orthanc.get(&format!("/instances/{}/file", instance["ID"].as_str().unwrap())).unwrap();
        held.insert(instance["MainDicomTags"]["SOPInstanceUID"].as_str().unwrap().to_owned(), file.body);
    }
    let expected: Vec<&Instance> = studies.iter().flat_map(|study| &study.instances).collect();
    assert_eq!(held.len(), expected.len());
    for instance in expected {
        assert!(held.get(&instance.uid) == Some(&instance.bytes), "{} is another one", instance.uid);
    }
}

/// What Orthanc's process holds while nothing goes through the gateway.
pub(super) struct Holdings {
    threads: usize,
    files: Vec<String>,
}

impl Holdings {
    pub(super) fn of(stage: &Stage) -> Self {
        // SQLite makes files of its own while it sorts.
        let is_file = |target: &String| !target.starts_with("socket:") && !target.contains("/etilqs_");
        let files = stage.orthanc.descriptors().unwrap().into_iter().filter(is_file).collect();
        Self { threads: stage.orthanc.threads().unwrap().len(), files }
    }

    /// Waits until nothing is left of any transfer: no task, request, connection, temporary file, descriptor, thread.
    #[track_caller]
    pub(super) fn assert_nothing_left(&self, stage: &Stage) {
        let mut left = Vec::new();
        let nothing_left = || {
            left = self.left(stage);
            Ok(left.is_empty())
        };
        let outcome = stage.orthanc.wait_until("nothing left", SOON, nothing_left);
        outcome.unwrap_or_else(|_| panic!("left: {left:#?}"));
    }

    fn left(&self, stage: &Stage) -> Vec<String> {
        let mut left = Vec::new();
        let transfers = transfers(stage);
        if transfers["Running"] != json!([]) || transfers["MemoryInUse"] != 0 {
            left.push(format!("{:#}, {} bytes", transfers["Running"], transfers["MemoryInUse"]));
        }
        let requests = stage.scene.emulator.gauges().requests_now;
        if requests > 0 {
            left.push(format!("{requests} requests at Google"));
        }
        let now = Self::of(stage);
        if now.threads > self.threads {
            left.push(format!("{} threads instead of {}", now.threads, self.threads));
        }
        let is_new = |file: &&String| file.contains("(deleted)") && !self.files.contains(file);
        left.extend(now.files.iter().filter(is_new).cloned());
        if now.files.len() > self.files.len() {
            left.push(format!("{:?} instead of {:?}", now.files, self.files));
        }
        let to_us = connections(stage, port(stage));
        if to_us > 0 {
            left.push(format!("{to_us} ends of connections to the gateway"));
        }
        left
    }
}

/// The connections to Google that Orthanc's process holds.
pub(super) fn connections_to_google(stage: &Stage) -> usize {
    let url = stage.scene.emulator.https_url();
    connections(stage, url.rsplit(':').next().unwrap().parse().unwrap())
}

/// The ends of connections from or to a port that Orthanc's process holds, in whatever state.
fn connections(stage: &Stage, port: u16) -> usize {
    const LISTENS: &str = "0A";
    let held = stage.orthanc.descriptors().unwrap();
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let is_ours = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_at = |address: &str| address.ends_with(&format!(":{port:04X}"));
        fields[3] != LISTENS
            && (is_at(fields[1]) || is_at(fields[2]))
            && held.contains(&format!("socket:[{}]", fields[9]))
    };
    table.lines().skip(1).filter(is_ours).count()
}
