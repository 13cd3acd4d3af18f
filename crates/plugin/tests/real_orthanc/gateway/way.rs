//! The way itself: what is published, who may take it, and when it cannot be taken.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
};

use super::*;
use crate::{
    between::reserve,
    publication::{find, servers_in},
    stage::SOON,
};

#[test]
fn the_gateway_is_published_and_works() {
    let stage = ready();
    let server = server(&stage.orthanc);
    assert_eq!(server["Url"], format!("http://127.0.0.1:{}/g/", port(&stage)));
    assert_eq!(server["HttpHeaders"], json!(["Authorization"]));
    assert_eq!(server["HasDelete"], "1");
    // 1.13 takes 0 for no limit, those before for a minute.
    let expected = if stage.orthanc.release() == Release::Sid { 0 } else { 86_400 };
    assert_eq!(server["Timeout"], expected);
    assert_eq!(stage.search("g").0, 200);
    let issued = stage.scene.emulator.tokens_issued();
    let seen = stage.scene.emulator.requests();
    let searched = seen.iter().rfind(|request| request.route == Route::Qido).unwrap();
    assert_eq!(searched.header("authorization"), Some(format!("Bearer {}", issued[0]).as_str()));
    stage.stop();
}

#[test]
fn a_renewed_token_needs_no_publication() {
    let stage = ready();
    assert_eq!(stage.search("g").0, 200);
    stage.scene.emulator.revoke_tokens();
    assert_eq!(stage.search("g").0, 200);
    assert_eq!(stage.scene.emulator.tokens_issued().len(), 2);
}

#[test]
fn nothing_leaves_the_store() {
    let stage = ready();
    stage.scene.emulator.clear_requests();
    for uri in ["/../../../other", "/../g/../x", "/studies/../../x", "//x", "/%2e%2e/%2e%2e/x", "/..%2fx"] {
        let body = json!({"Uri": uri}).to_string();
        let answer = stage.orthanc.post("/dicom-web/servers/g/get", body).unwrap();
        assert_ne!(answer.status, 200, "{uri}");
    }
    let outside: Vec<String> = stage
        .scene
        .emulator
        .requests()
        .into_iter()
        .filter(|request| request.route != Route::Token && !request.path.contains("/dicomWeb/"))
        .map(|request| request.path)
        .collect();
    assert_eq!(outside, [""; 0]);
}

#[test]
fn only_this_machine_can_connect() {
    let stage = ready();
    let port = port(&stage);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    // 127.0.0.2 is this machine as well, and would be served by a listener on every address.
    assert!(TcpStream::connect(("127.0.0.2", port)).is_err());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let everywhere = format!("00000000:{port:04X}");
    assert!(!table.contains(&everywhere), "{table}");
}

#[test]
fn no_token_lies_in_the_database() {
    let scene = Scene::new();
    let orthanc = orthanc(&scene).configuration(&json!({"DicomWeb": {"ServersInDatabase": true}}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    assert_eq!(stage.search("g").0, 200);
    let index = find(stage.orthanc.work_dir(), "index");
    let token = stage.scene.emulator.tokens_issued().pop().unwrap();
    let held = servers_in(&index);
    assert!(held.contains("127.0.0.1") && !held.contains(&token), "{held}");
    let log = stage.stop();
    assert!(!log.contains("writes every token"), "{log}");
    // The secret is one of this start; it is taken back all the same.
    assert!(!servers_in(&index).contains("Bearer"));
}

#[test]
fn a_port_of_ones_own() {
    // Nobody who wants any free port gets this one.
    let reserved = reserve(SocketAddr::from(([127, 0, 0, 1], 0)));
    let free = reserved.local_addr().unwrap().port();
    let scene = Scene::new();
    let orthanc = orthanc(&scene).configuration(&json!({"GoogleCloudPlatform": {"GatewayPort": free}}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    assert_eq!(port(&stage), free);
    assert_eq!(stage.search("g").0, 200);
    // The port is free again in time for the next start in the same process.
    let lines = stage.orthanc.log_lines().len();
    stage.orthanc.post("/tools/reset", "").unwrap();
    let ready = |line: &str| line.contains("Account \"g\": ready, as DICOMweb server");
    stage.orthanc.wait_for_log_after(lines, ready, SOON).unwrap();
    assert_eq!(port(&stage), free);
    assert_eq!(stage.search("g").0, 200);
}

#[test]
fn a_proxy_that_spares_this_machine_is_no_obstacle() {
    let scene = Scene::new();
    let orthanc = orthanc(&scene)
        .configuration(&json!({"HttpProxy": "127.0.0.1:9"}))
        .environment("NO_PROXY", "127.0.0.1,localhost");
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    port(&stage);
    assert_eq!(stage.search("g").0, 200);
}
