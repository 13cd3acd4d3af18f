//! Jobs that are cancelled, paused, resumed and resubmitted in the middle: they never say more than is true.

use std::time::Duration;

use google_emulator::{Fault, Route};

use super::{
    transfer::{
        Holdings, Instance, Job, Study, assert_in_orthanc, assert_stored, empty, is_stored, last, retrieve,
        stow, transfers,
    },
    *,
};

/// Long enough for whatever a test does in the middle.
const SLOW: Duration = Duration::from_secs(3);

/// An upload in its middle: the first four instances are stored, others are on their way and cannot be stored yet, and the
/// rest is not yet read.
struct Middle {
    stage: Stage,
    study: Study,
    resources: Vec<String>,
    before: Holdings,
}

impl Middle {
    /// Of a study of so many requests. The gateway reads those of ten, and some more are in the connection.
    fn new(requests: usize) -> Self {
        let stage = ready();
        let study = Study::of_requests(1, requests);
        let resources = study.put(&stage);
        let before = Holdings::of(&stage);
        stow(&stage, &resources[..4]).succeeds();
        stage.scene.emulator.faults().add(Fault::answer(Route::Stow, 503, "{}").until_cleared());
        stage.scene.emulator.clear_requests();
        Self { stage, study, resources, before }
    }

    /// The job that sends all of it.
    fn begin(&self) -> Job<'_> {
        let job = stow(&self.stage, &self.resources);
        // As many as there are at once before anything is known of the line.
        self.stage.wait_until("the middle", || self.stage.requests(Route::Stow).len() >= 8);
        job
    }

    /// Google is as always.
    fn mend(&self) {
        self.stage.scene.emulator.faults().clear();
    }

    fn is_complete(&self) -> bool {
        is_stored(&self.stage, &self.study.instances)
    }

    /// The job ends, and with a success only if everything is stored.
    fn is_true_of(&self, job: &Job<'_>) {
        let end = job.end();
        assert!(end["State"] == "Failure" || self.is_complete(), "{end:#}\n{:#}", transfers(&self.stage));
    }

    /// A new job sends it as a whole, and only what was missing, if something was. It goes back whole, too.
    fn sent_as_a_whole(&self, stored_by_the_job: u64) {
        let all = self.study.instances.len() as u64;
        let least = if self.is_complete() { 0 } else { stored_by_the_job };
        self.stage.scene.emulator.clear_requests();
        stow(&self.stage, &self.resources).succeeds();
        assert_stored(&self.stage, &self.study.instances);
        let told = last(&self.stage);
        let there = told["InstancesPresent"].as_u64().unwrap();
        assert!((least..=all).contains(&there), "{told:#}");
        let bytes: u64 = self.stage.requests(Route::Stow).iter().map(|request| request.body_bytes).sum();
        let size = |instance: &Instance| instance.bytes.len() as u64;
        let missing = (all - there) * self.study.instances.iter().map(size).max().unwrap();
        assert!(bytes <= missing + 100_000, "{bytes} bytes for {}", all - there);
        empty(&self.stage.orthanc);
        retrieve(&self.stage, &[&self.study]).succeeds();
        assert_in_orthanc(&self.stage.orthanc, &[&self.study]);
        self.before.assert_nothing_left(&self.stage);
        self.stage.stop();
    }
}

#[test]
fn a_job_that_is_cancelled_and_resubmitted() {
    let middle = Middle::new(20);
    let job = middle.begin();
    job.is_to("cancel");
    // The DICOMweb plugin notices it when it is asked for more; how much it has sent until then differs.
    middle.mend();
    job.wait_for(&["Failure"]);
    middle.before.assert_nothing_left(&middle.stage);
    // The DICOMweb plugin sends what it had not read before.
    job.is_to("resubmit");
    middle.is_true_of(&job);
    middle.sent_as_a_whole(4);
}

#[test]
fn a_job_that_is_paused_and_resumed() {
    let middle = Middle::new(15);
    let job = middle.begin();
    job.is_to("pause");
    middle.mend();
    job.wait_for(&["Paused"]);
    job.is_to("resume");
    middle.is_true_of(&job);
    middle.sent_as_a_whole(4);
}

#[test]
fn a_job_that_failed_and_is_resubmitted() {
    let middle = Middle::new(12);
    middle.mend();
    let faults = middle.stage.scene.emulator.faults();
    // Google refuses when the gateway has read more than is stored already: what goes out at first comes back.
    faults.add(Fault::answer(Route::Stow, 503, "{}").times(8));
    let refusal = r#"{"error":{"code":403,"message":"no healthcare.dicomStores.dicomWebWrite for you"}}"#;
    faults.add(Fault::answer(Route::Stow, 403, refusal).until_cleared());
    let job = stow(&middle.stage, &middle.resources);
    job.fails();
    assert!(!middle.is_complete());
    let log = middle.stage.orthanc.log();
    assert_eq!(log.matches("for you").count(), 1, "{log}");
    middle.mend();
    job.is_to("resubmit");
    job.fails();
    assert!(!middle.is_complete(), "{:#}", transfers(&middle.stage));
    middle.sent_as_a_whole(0);
}

#[test]
fn a_retrieval_that_is_cancelled_and_resubmitted() {
    let stage = ready();
    let study = Study::new(1, 1, 40, 200);
    let resources = study.put(&stage);
    let before = Holdings::of(&stage);
    stow(&stage, &resources).succeeds();
    empty(&stage.orthanc);
    let faults = stage.scene.emulator.faults();
    faults.add(Fault::latency(Route::WadoInstance, SLOW).every(2));
    let job = retrieve(&stage, &[&study]);
    stage
        .wait_until("the middle", || stage.orthanc.get("/instances").unwrap().json().unwrap()[5].is_string());
    job.is_to("cancel");
    job.wait_for(&["Failure"]);
    before.assert_nothing_left(&stage);
    faults.clear();
    job.is_to("resubmit");
    let end = job.end();
    if end["State"] == "Success" {
        assert_in_orthanc(&stage.orthanc, &[&study]);
    }
    retrieve(&stage, &[&study]).succeeds();
    assert_in_orthanc(&stage.orthanc, &[&study]);
    before.assert_nothing_left(&stage);
    stage.stop();
}
