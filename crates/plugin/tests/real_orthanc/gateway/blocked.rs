//! A gateway that does not work: the accounts that are to use it have no way around it, unless they prefer it only.

use std::net::TcpListener;

use super::*;
use crate::{
    between::{Admits, Proxy},
    publication::{find, servers_in},
    stage::{SOON, is_own, lines_at},
};

/// A port that another program listens at.
struct Taken {
    listener: TcpListener,
    port: u16,
}

impl Taken {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    fn patch(&self) -> Value {
        json!({"GoogleCloudPlatform": {"GatewayPort": self.port}})
    }

    /// Nobody has connected to that other program.
    fn assert_untouched(&self) {
        let error = self.listener.accept().map(|(_, peer)| peer).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}

fn account(stage: &Stage, name: &str) -> Value {
    stage.orthanc.get(&format!("/google-cloud-platform/accounts/{name}")).unwrap().json().unwrap()
}

/// The account `g` fails with these words, has no server, and nothing but the plugin itself talks to the store.
fn is_blocked(stage: &Stage, says: &[&str]) {
    let mut parts = vec!["the gateway does not work, so that account \"g\" cannot be used"];
    parts.extend(says);
    let line = stage.wait_for(&parts);
    assert!(line.starts_with('E'), "{line}");
    let has_token = || account(stage, "g")["Refreshes"].as_u64().unwrap() > 0;
    stage.wait_until("a token, which goes nowhere", has_token);
    let found = account(stage, "g");
    assert_eq!((&found["State"], &found["Transport"]), (&json!("failing"), &json!("Gateway")), "{found:#}");
    assert_eq!((&found["DicomWebServer"], &found["FallenBackBecause"]), (&json!("withheld"), &Value::Null));
    let error = &found["LastError"];
    assert_eq!((&error["Of"], &error["Kind"]), (&json!("transport"), &json!("configuration")), "{error:#}");
    let told = format!("{}; {}", error["Message"].as_str().unwrap(), error["Remedy"].as_str().unwrap());
    for part in says {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(!stage.servers().contains("g"), "{:?}", stage.servers());
    assert_ne!(stage.search("g").0, 200);
    let uri = "/google-cloud-platform/accounts/g/check";
    let check = stage.orthanc.post(uri, "").unwrap().json().unwrap();
    assert_eq!((&check["State"], &check["Steps"][0]["Name"]), (&json!("failed"), &json!("transport")));
    assert_eq!(account(stage, "g")["State"], "failing");
    let others = stage.scene.emulator.requests().into_iter().filter(|seen| !is_own(seen));
    let others: Vec<String> = others.map(|seen| seen.path).collect();
    assert_eq!(others, [""; 0]);
    let log = stage.orthanc.log();
    assert!(!log.contains("Account \"g\": ready"), "{log}");
}

#[test]
fn a_port_that_is_taken_blocks_the_account() {
    let taken = Taken::new();
    let scene = Scene::new();
    let orthanc = orthanc(&scene).configuration(&taken.patch());
    let stage = scene.start(orthanc);
    is_blocked(&stage, &["cannot be listened on", "GatewayPort to a free port"]);
    taken.assert_untouched();
    let log = stage.stop();
    assert_eq!(lines_at(&log, 'E').len(), 1, "{log}");
}

#[test]
fn a_proxy_that_would_get_loopback_requests_blocks_the_account() {
    let scene = Scene::new();
    let proxy = Proxy::start(Admits::Everybody);
    let orthanc = orthanc(&scene)
        .configuration(&json!({"HttpProxy": proxy.address(), "GoogleCloudPlatform": {"Gateway": true}}));
    let stage = scene.start(orthanc);
    is_blocked(&stage, &["HttpProxy", "NO_PROXY=127.0.0.1"]);
}

#[test]
fn a_server_of_the_same_name_is_removed() {
    let taken = Taken::new();
    let scene = Scene::new();
    let orthanc = orthanc(&scene).configuration(&taken.patch()).configuration(&json!({
        "DicomWeb": {"Servers": {"g": {"Url": format!("http://127.0.0.1:{}/g/", taken.port)}, "other": ["http://other/"]}},
    }));
    let stage = scene.start(orthanc);
    stage.wait_for(&["Account \"g\": removed the DICOMweb server of the same name"]);
    stage.wait_until("it is gone", || !stage.servers().contains("g"));
    is_blocked(&stage, &["cannot be listened on"]);
    taken.assert_untouched();
    assert!(stage.servers().contains("other"));
}

#[test]
fn a_server_that_a_former_start_has_left_in_the_database_is_removed() {
    let taken = Taken::new();
    let scene = Scene::new();
    let in_database = json!({"DicomWeb": {"ServersInDatabase": true}});
    let orthanc = orthanc(&scene).configuration(&taken.patch()).configuration(&in_database);
    let stage = scene.start(orthanc);
    stage.wait_for(&["the gateway does not work, so that account \"g\" cannot be used"]);
    let index = find(stage.orthanc.work_dir(), "index");
    let lines = stage.orthanc.log_lines().len();
    let left = json!({"Url": format!("http://127.0.0.1:{}/left-behind/", taken.port)}).to_string();
    assert_eq!(stage.orthanc.put("/dicom-web/servers/g", left).unwrap().status, 200);
    stage.orthanc.post("/tools/reset", "").unwrap();
    let removed = |line: &str| line.contains("Account \"g\": removed the DICOMweb server of the same name");
    stage.orthanc.wait_for_log_after(lines, removed, SOON).unwrap();
    // Until then Orthanc is deaf to the signal that stops it.
    stage.orthanc.wait_for_log_after(lines, |line| line.contains("Orthanc has started"), SOON).unwrap();
    assert!(!stage.servers().contains("g"));
    stage.stop();
    assert!(!servers_in(&index).contains("left-behind"));
    taken.assert_untouched();
}

#[test]
fn who_only_prefers_it_goes_direct_and_who_has_none_is_not_concerned() {
    let taken = Taken::new();
    let scene = Scene::new();
    let with = |gateway: Value| {
        let mut account = scene.service_account();
        account["Gateway"] = gateway;
        account
    };
    let accounts = json!({
        "g": scene.service_account(), "prefers": with(json!("prefer")), "direct": with(json!(false)),
        "needs": with(json!(true)),
    });
    let orthanc = scene.orthanc(&accounts).configuration(&taken.patch());
    let stage = scene.start(orthanc);
    stage.wait_for(&["the gateway does not work, so that accounts \"g\", \"needs\" cannot be used"]);
    stage.wait_for(&[
        "E",
        "so that the DICOMweb plugin sends the requests of account \"prefers\" directly to Google",
        "GatewayPort",
    ]);
    let google = stage.scene.emulator.healthcare_base_url("v1beta1");
    for (name, transport) in [("prefers", "FallenBack"), ("direct", "Direct")] {
        stage.wait_until_ready(name);
        assert_eq!(stage.search(name).0, 200);
        let found = account(&stage, name);
        assert_eq!((&found["State"], &found["Transport"]), (&json!("ok"), &json!(transport)), "{found:#}");
        let expanded = stage.orthanc.get("/dicom-web/servers?expand").unwrap().json().unwrap();
        assert!(expanded[name]["Url"].as_str().unwrap().starts_with(&google), "{expanded:#}");
    }
    let why = account(&stage, "prefers")["FallenBackBecause"].as_str().unwrap().to_owned();
    assert!(why.contains("GatewayPort"), "{why}");
    let names: Vec<String> = stage.servers().into_iter().collect();
    assert_eq!(names, ["direct", "prefers"]);
    taken.assert_untouched();
}

#[test]
fn who_prefers_the_gateway_uses_it_where_it_works() {
    let scene = Scene::new();
    let orthanc = orthanc(&scene).configuration(&json!({"GoogleCloudPlatform": {"Gateway": "prefer"}}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    port(&stage);
    assert_eq!(stage.search("g").0, 200);
    assert_eq!(account(&stage, "g")["Transport"], "Gateway");
}
