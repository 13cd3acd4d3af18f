//! `"Gateway": false`: what the DICOMweb plugin's own transfers need, and what users of Orthanc may do with them.

use google_emulator::Route;
use orthanc_testbed::Release;
use serde_json::{Value, json};

use crate::stage::{Scene, Stage, lines_at};

/// What the log says once of accounts that are not contained in their store.
const WARNING: &str =
    "direct transfers: every user of Orthanc's REST API can read and delete whatever the account may";

/// Deletes a study, of this store or of another.
fn delete(stage: &Stage, server: &str, study: &str) -> u16 {
    let body = json!({"Level": "Study", "StudyInstanceUID": study}).to_string();
    stage.orthanc.post(&format!("/dicom-web/servers/{server}/delete"), body).unwrap().status
}

fn account(stage: &Stage) -> Value {
    stage.orthanc.get("/google-cloud-platform/accounts/g").unwrap().json().unwrap()
}

#[test]
fn nothing_is_deleted_unless_the_user_has_asked_for_it() {
    let scene = Scene::new();
    let accounts = json!({"closed": scene.service_account(), "open": scene.service_account()});
    let orthanc = scene.direct(&accounts).configuration(&json!({
        "DicomWeb": {"Servers": {"open": {"Url": "http://elsewhere/", "HasDelete": true}}},
    }));
    let stage = scene.start(orthanc);
    for name in ["closed", "open"] {
        stage.wait_until_ready(name);
        assert_eq!(stage.search(name).0, 200);
    }
    for study in ["1.2.3", "../../../other-store", "../../../../dicomStores/other/dicomWeb/studies/1.2"] {
        assert_ne!(delete(&stage, "closed", study), 200, "{study}");
    }
    let deleted = |path: &str| {
        let seen = stage.scene.emulator.requests().into_iter().filter(|seen| seen.method == "DELETE");
        seen.map(|seen| seen.path).any(|seen| seen.ends_with(path))
    };
    assert!(!deleted(""));
    delete(&stage, "open", "1.2.3");
    assert!(deleted("/studies/1.2.3"));
    let log = stage.stop();
    let said: Vec<_> = lines_at(&log, 'W').into_iter().filter(|line| line.contains(WARNING)).collect();
    assert_eq!(said.len(), 1, "{log}");
    assert!(said[0].contains("accounts \"closed\", \"open\": "), "{}", said[0]);
}

#[test]
fn the_gateway_and_accounts_without_a_token_are_not_warned_about() {
    let scene = Scene::new();
    let mut bare = scene.account(&json!({"AccessToken": "none"}));
    bare["Gateway"] = json!(false);
    let orthanc = scene.orthanc(&json!({"g": scene.service_account(), "bare": bare}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    stage.wait_until_ready("bare");
    assert!(!stage.orthanc.log().contains("direct transfers"), "{}", stage.orthanc.log());
}

/// Orthanc before 1.12.6 gives libcurl an empty name of a file then.
#[test]
fn without_a_ca_file_an_older_orthanc_transfers_nothing_and_says_so() {
    let scene = Scene::new();
    let mut token_by_http = scene.user_strings();
    token_by_http["TokenUri"] = json!(format!("{}/token", scene.emulator.http_url()));
    let orthanc =
        scene.direct(&json!({"g": token_by_http})).configuration(&json!({"HttpsCACertificates": ""}));
    let stage = scene.start(orthanc);
    if stage.orthanc.release() != Release::Bookworm {
        // Whether it gets a token depends on the CAs of its system.
        stage.wait_until("the account was tried", || account(&stage)["State"] != "starting");
        assert!(!stage.orthanc.log().contains("HttpsCACertificates is empty"));
        return;
    }
    stage.wait_until("a token", || account(&stage)["Refreshes"] == 1);
    assert_ne!(stage.search("g").0, 200);
    let line =
        stage.wait_for_line("Account \"g\": HttpsCACertificates is empty, and with that Orthanc 1.10.1");
    assert!(
        line.starts_with('E') && line.contains("; set it to /etc/ssl/certs/ca-certificates.crt"),
        "{line}"
    );
    stage.wait_until("the server is there", || account(&stage)["DicomWebServer"] == "held");
    let found = account(&stage);
    let error = &found["LastError"];
    assert_eq!((&found["State"], &error["Of"]), (&json!("failing"), &json!("transport")), "{found:#}");
    let check = stage.orthanc.post("/google-cloud-platform/accounts/g/check", "").unwrap().json().unwrap();
    assert_eq!((&check["State"], &check["Steps"][0]["Name"]), (&json!("failed"), &json!("transport")));
    assert!(!stage.orthanc.log().contains("Account \"g\": ready"));
    assert!(stage.requests(Route::Qido).is_empty());
}

#[test]
fn where_no_certificate_is_verified_none_is_needed() {
    let scene = Scene::new();
    let patch = json!({"HttpsCACertificates": "", "HttpsVerifyPeers": false});
    let orthanc = scene.direct(&json!({"g": scene.service_account()})).configuration(&patch);
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    assert_eq!(stage.search("g").0, 200);
    assert_eq!(account(&stage)["State"], "ok");
}
