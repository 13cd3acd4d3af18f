//! Every way to end: nothing hangs, nothing crashes, nothing is left.

use std::{net::TcpListener, time::Duration};

use google_emulator::{Fault, Route};
use serde_json::json;

use crate::{
    network::names::NameServer,
    stage::{SOON, Scene, Stage},
};

/// Far below the hour that a token request may take here, and above what Orthanc itself needs to stop on a busy machine.
const WITHOUT_WAITING: Duration = Duration::from_secs(45);

fn stop_while(fault: Fault) {
    let scene = Scene::new();
    scene.emulator.faults().add(fault);
    let orthanc = scene
        .orthanc(&json!({"g": scene.service_account(), "h": scene.user_strings()}))
        .configuration(&json!({"GoogleCloudPlatform": {"Timeout": 3600}}));
    let stage = scene.start(orthanc);
    // The keeper's thread is there, and waits for an answer that never comes.
    stage.wait_until("the plugin's thread runs", || {
        stage.orthanc.threads().unwrap().iter().any(|name| name == "GOOGLE-CLOUD")
    });
    std::thread::sleep(Duration::from_millis(500));
    let stopped = stage.orthanc.stop().unwrap();
    assert_eq!(stopped.code(), Some(0), "{:?}", stopped.signal());
    assert!(stopped.took < WITHOUT_WAITING, "{:?}", stopped.took);
    assert!(stage.token_requests().iter().all(|request| request.status.is_none()));
}

#[test]
fn while_the_token_server_hangs() {
    stop_while(Fault::hang(Route::Token).until_cleared());
}

#[test]
fn while_the_token_server_hangs_before_tls() {
    stop_while(Fault::hang_before_tls().until_cleared());
}

#[test]
fn while_the_answer_is_slow() {
    stop_while(Fault::latency(Route::Token, Duration::from_secs(300)).until_cleared());
}

#[test]
fn while_names_are_looked_up() {
    let names = NameServer::silent();
    let scene = Scene::new();
    let mut account = scene.service_account();
    account["TokenUri"] = json!("https://google.test/token");
    let orthanc = scene
        .orthanc(&json!({"g": account}))
        .configuration(&json!({"GoogleCloudPlatform": {"Timeout": 3600}}))
        // The C library would wait for minutes, and it cannot be interrupted.
        .resolv_conf(&format!("{}options timeout:30 attempts:5\n", names.line()));
    let stage = scene.start(orthanc);
    stage.wait_until("the name server is asked", || !names.asked().is_empty());
    let stopped = stage.orthanc.stop().unwrap();
    assert_eq!(stopped.code(), Some(0), "{:?}", stopped.signal());
    assert!(stopped.took < WITHOUT_WAITING, "{:?}", stopped.took);
    assert!(names.asked().iter().all(|name| name == "google.test"), "{:?}", names.asked());
}

#[test]
fn the_thread_ends_with_orthanc_stopped() {
    let stage = Stage::ready("g");
    let threads = || stage.orthanc.threads().unwrap_or_default();
    assert_eq!(threads().iter().filter(|name| *name == "GOOGLE-CLOUD").count(), 1);
    stage.stop();
}

#[test]
fn reset_ten_times() {
    let stage = Stage::ready("g");
    for round in 1..=10 {
        let lines = stage.orthanc.log_lines().len();
        stage.orthanc.post("/tools/reset", "").unwrap();
        let ready = |line: &str| line.contains("Account \"g\": ready, as DICOMweb server");
        stage
            .orthanc
            .wait_for_log_after(lines, ready, SOON)
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(stage.search("g").0, 200, "round {round}");
        let threads = stage.orthanc.threads().unwrap();
        assert_eq!(
            threads.iter().filter(|name| *name == "GOOGLE-CLOUD").count(),
            1,
            "round {round}: {threads:?}"
        );
    }
    assert_eq!(stage.scene.emulator.tokens_issued().len(), 11);
    stage.stop();
}

#[test]
fn a_port_that_is_taken_ends_orthanc_without_a_crash() {
    let scene = Scene::new();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let orthanc = scene
        .orthanc(&json!({"g": scene.service_account()}))
        .configuration(&json!({"HttpPort": port}))
        .spawn()
        .unwrap();
    let status = orthanc.wait_for_end(SOON).unwrap();
    // Orthanc's own error code; a crash would be a signal.
    assert!(status.code().is_some_and(|code| code != 0), "{status}\n{}", orthanc.log());
    assert!(orthanc.log().contains("already in use"), "{}", orthanc.log());
}

#[test]
fn another_plugin_that_fails_after_ours_ends_orthanc_without_a_crash() {
    let scene = Scene::new();
    let broken = scene.write("libBroken.so", "this is no library");
    let orthanc = scene.orthanc(&json!({"g": scene.service_account()})).plugin(broken).spawn().unwrap();
    if orthanc.wait_until_started().is_ok() {
        // Some Orthancs pass over a file that is no library, and live.
        assert_eq!(orthanc.stop().unwrap().code(), Some(0));
    } else {
        let status = orthanc.wait_for_end(SOON).unwrap();
        assert!(status.code().is_some(), "{status}\n{}", orthanc.log());
    }
}
