//! Orthanc stops, restarts inside its process, or is killed in the middle of transfers.

use std::{
    net::{TcpListener, TcpStream},
    time::Duration,
};

use google_emulator::{Fault, Route};

use super::{
    transfer::{Study, assert_in_orthanc, assert_stored, assert_stored_whole, empty, retrieve, stow},
    *,
};
use crate::stage::SOON;

/// Orthanc alone takes three seconds to stop, more on a busy machine; nobody may wait for an answer, for which the gateway has
/// a minute or more.
const WITHOUT_WAITING: Duration = Duration::from_secs(45);

/// An upload that hangs, and some of it is stored.
fn uploading(stage: &Stage) -> (Study, Vec<String>) {
    let study = Study::of_requests(1, 6);
    let resources = study.put(stage);
    stow(stage, &resources[..3]).succeeds();
    stage.scene.emulator.faults().add(Fault::hang(Route::Stow).until_cleared());
    stow(stage, &resources);
    stage.wait_until("an upload under way", || stage.scene.emulator.gauges().requests_now > 2);
    (study, resources)
}

#[test]
fn port_stays_taken_while_jobs_go_on() {
    let stage = ready();
    let port = port(&stage);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| stage.orthanc.stop().unwrap());
        // Orthanc's HTTP server goes on for some seconds after its plugins were told to stop, and so do its jobs.
        while !stopping.is_finished() {
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                let http = TcpStream::connect(("127.0.0.1", stage.orthanc.port()));
                assert!(http.is_err(), "another program could listen where Orthanc's jobs send images");
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(stopping.join().unwrap().code(), Some(0));
    });
    drop(TcpListener::bind(("127.0.0.1", port)).unwrap());
}

fn stops_at_once(stage: &Stage) {
    let stopped = stage.orthanc.stop().unwrap();
    assert_eq!(stopped.code(), Some(0), "{:?}\n{}", stopped.signal(), stage.orthanc.log());
    assert!(stopped.took < WITHOUT_WAITING, "{:?}", stopped.took);
    // Nobody waits for them any more.
    let gauges = || stage.scene.emulator.gauges();
    stage.wait_until("no request", || gauges().requests_now == 0 && gauges().connections_now == 0);
}

#[test]
fn orthanc_stops_while_an_upload_hangs() {
    let stage = ready();
    let (study, _) = uploading(&stage);
    stops_at_once(&stage);
    assert_eq!(assert_stored_whole(&stage, &study.instances), 3);
}

#[test]
fn orthanc_stops_while_a_retrieval_hangs() {
    let stage = ready();
    let study = Study::new(1, 1, 30, 200);
    let resources = study.put(&stage);
    stow(&stage, &resources).succeeds();
    empty(&stage.orthanc);
    stage.scene.emulator.faults().add(Fault::hang(Route::WadoInstance).every(3));
    retrieve(&stage, &[&study]);
    stage.wait_until("a retrieval under way", || stage.scene.emulator.gauges().requests_now > 2);
    stops_at_once(&stage);
}

#[test]
fn orthanc_restarts_inside_its_process_while_an_upload_hangs() {
    let stage = ready();
    let (study, resources) = uploading(&stage);
    let lines = stage.orthanc.log_lines().len();
    stage.orthanc.post("/tools/reset", "").unwrap();
    let ready = |line: &str| line.contains("Account \"g\": ready, as DICOMweb server");
    stage.orthanc.wait_for_log_after(lines, ready, SOON).unwrap();
    stage.wait_until("nobody waits", || stage.scene.emulator.gauges().requests_now == 0);
    assert_eq!(assert_stored_whole(&stage, &study.instances), 3);
    let gateways = |stage: &Stage| {
        stage.orthanc.threads().unwrap().iter().filter(|name| *name == "GOOGLE-GATEWAY").count()
    };
    // One that waits and two that work: those of the life before are gone. A thread has its name a moment after it began, and
    // is seen for a moment after its end.
    stage.wait_until("three threads of the gateway", || gateways(&stage) == 3);
    stage.scene.emulator.faults().clear();
    stow(&stage, &resources).succeeds();
    assert_stored(&stage, &study.instances);
    empty(&stage.orthanc);
    retrieve(&stage, &[&study]).succeeds();
    assert_in_orthanc(&stage.orthanc, &[&study]);
    stage.stop();
}
