//! What the store says to an account that it does not let in: in the log, with the role and whom to grant it to.

use std::time::Duration;

use google_emulator::Route;
use serde_json::{Value, json};

use crate::{
    between::Door,
    stage::{Scene, Stage, is_own, lines_at},
};

const HOUR: Duration = Duration::from_secs(3600);

/// How it stands with the account `g`.
fn account(stage: &Stage) -> Value {
    stage.orthanc.get("/google-cloud-platform/accounts/g").unwrap().json().unwrap()
}

/// The lines about the account `g`'s store that somebody has to read.
fn told(log: &str) -> Vec<String> {
    let all = lines_at(log, 'E').into_iter().chain(lines_at(log, 'W'));
    all.filter(|line| line.contains("the DICOM store")).collect()
}

#[test]
fn a_store_that_lets_the_account_in_is_asked_once_and_tells_nothing() {
    let scene = Scene::new();
    let orthanc = scene.orthanc(&json!({"g": scene.service_account()})).argument("--verbose");
    let stage = scene.start(orthanc);
    stage.wait_for_line("Account \"g\": Google lets it use the DICOM store");
    let own = || stage.scene.emulator.requests().into_iter().filter(is_own);
    let asked: Vec<_> = own().filter(|request| request.route == Route::Qido).collect();
    assert_eq!(asked.len(), 1);
    // It is a search that finds nobody.
    assert_eq!(asked[0].query.as_deref(), Some("StudyInstanceUID=2.25.0&limit=1"));
    let log = stage.stop();
    assert_eq!(lines_at(&log, 'E'), [""; 0]);
}

#[test]
fn a_missing_role_is_named_with_whom_to_grant_it_to() {
    let scene = Scene::new();
    // Renewed at half its life: each new token is a reason to ask again.
    scene.emulator.set_token_lifetime(Duration::from_secs(24));
    let principal = scene.emulator.service_account();
    let denied = principal.clone();
    scene.emulator.change_settings(|settings| settings.denied_principals.push(denied));
    let orthanc = scene.orthanc(&json!({"g": scene.service_account()}));
    let stage = scene.start(orthanc);
    let line = stage.wait_for(&[
        "Account \"g\": Google refuses the DICOM store: ",
        "healthcare.dicomStores.dicomWebRead",
    ]);
    let remedy = format!("grant {principal} the role roles/healthcare.dicomEditor");
    assert!(line.starts_with('E') && line.contains(&remedy), "{line}");
    stage.scene.emulator.change_settings(|settings| settings.denied_principals.clear());
    stage.wait_for_line("Account \"g\": Google lets it use the DICOM store now");
    assert_eq!(lines_at(&stage.stop(), 'E').len(), 1);
}

#[test]
fn an_api_that_is_off_is_named_with_googles_link() {
    let scene = Scene::new();
    let off = "healthcare.googleapis.com".to_owned();
    scene.emulator.change_settings(|settings| settings.disabled_apis.push(off));
    let orthanc = scene.orthanc(&json!({"g": scene.service_account()}));
    let stage = scene.start(orthanc);
    stage.wait_for(&[
        "Account \"g\": Google refuses the DICOM store: ",
        "https://console.",
        "enable the Cloud Healthcare API",
    ]);
}

#[test]
fn a_role_that_is_taken_away_later_is_seen() {
    let scene = Scene::new();
    scene.emulator.set_token_lifetime(Duration::from_secs(24));
    let orthanc = scene.orthanc(&json!({"g": scene.service_account()})).argument("--verbose-plugins");
    let stage = scene.start(orthanc);
    stage.wait_for_line("Account \"g\": Google lets it use the DICOM store");
    assert_eq!(account(&stage)["State"], "ok");
    let denied = stage.scene.emulator.service_account();
    stage.scene.emulator.change_settings(|settings| settings.denied_principals.push(denied));
    let line = stage.wait_for_line("Account \"g\": Google refuses the DICOM store: ");
    assert!(line.contains("the role roles/healthcare.dicomEditor"), "{line}");
    let failing = account(&stage);
    assert_eq!((&failing["State"], &failing["LastError"]["Of"]), (&json!("failing"), &json!("store")));
    stage.scene.emulator.change_settings(|settings| settings.denied_principals.clear());
    stage.wait_for_line("Account \"g\": Google lets it use the DICOM store now");
    assert_eq!(account(&stage)["State"], "ok");
    assert_eq!(told(&stage.stop()).len(), 2);
}

#[test]
fn a_store_out_of_reach_is_told_once_and_when_it_is_back() {
    let scene = Scene::new();
    scene.emulator.set_token_lifetime(Duration::from_secs(24));
    let mut door = Door::before(scene.emulator.https_url());
    let base = format!("https://{}/v1beta1/", door.address());
    let orthanc = scene
        .orthanc(&json!({"g": scene.service_account()}))
        .configuration(&json!({"GoogleCloudPlatform": {"BaseUrl": base}}));
    door.close();
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    assert_eq!(account(&stage)["State"], "ok", "the token is there, and the store was not asked twice");
    let line = stage.wait_for_line("Account \"g\": the DICOM store cannot be used: ");
    assert!(line.contains(&door.address()) && line.contains("; check the port (in BaseUrl"), "{line}");
    let failing = account(&stage);
    assert_eq!((&failing["State"], &failing["LastError"]["Kind"]), (&json!("failing"), &json!("transient")));
    assert!(failing["SecondsToExpiry"].as_i64().unwrap() > 0, "the token itself is good");
    // It fails many times more.
    let renewed = failing["Refreshes"].as_u64().unwrap() + 2;
    let had = || account(&stage)["Refreshes"].as_u64().unwrap() >= renewed;
    stage.orthanc.wait_until("more tokens", Duration::from_secs(60), || Ok(had())).unwrap();
    assert_eq!(account(&stage)["State"], "failing");
    door.open();
    stage.wait_for_line("Account \"g\": Google lets it use the DICOM store now");
    assert_eq!(account(&stage)["State"], "ok");
    assert_eq!(told(&stage.stop()).len(), 2);
}

#[test]
fn a_store_is_asked_for_an_account_without_a_credential_too() {
    let scene = Scene::new();
    let stage = {
        let accounts = json!({"g": scene.account(&json!({"AccessToken": "none"}))});
        let orthanc = scene.orthanc(&accounts);
        scene.start(orthanc)
    };
    let line = stage.wait_for_line("Account \"g\": Google refuses the DICOM store: ");
    assert!(line.contains(" answered 401") && line.contains("an emulator's or a proxy's"), "{line}");
    assert_eq!(account(&stage)["State"], "failing");
    let own = stage.scene.emulator.requests().into_iter().find(is_own).unwrap();
    assert_eq!((own.route, own.header("authorization")), (Route::Qido, None));
}

#[test]
fn an_account_is_asked_for_with_the_header_fields_of_its_server() {
    let scene = Scene::new();
    let token = scene.emulator.mint_token("https://www.googleapis.com/auth/cloud-platform", HOUR).unwrap();
    let proof = format!("Bearer {token}");
    let mut login: Value = serde_json::from_str(&scene.emulator.authorized_user_json()).unwrap();
    login["quota_project_id"] = json!("of-the-login");
    let file = scene.write("login.json", login.to_string());
    scene.emulator.change_settings(|settings| settings.required_quota_project = Some("the-wards".into()));
    let orthanc = scene
        .orthanc(&json!({
            "proved": scene.account(&json!({"AccessToken": "none"})),
            "billed": scene.account(&json!({
                "AuthorizedUserFile": file, "TokenUri": scene.emulator.token_url(),
            })),
        }))
        .configuration(&json!({"DicomWeb": {"Servers": {
            "proved": {"Url": "http://127.0.0.1:1/", "HttpHeaders": {"Authorization": proof}},
            "billed": {"Url": "http://127.0.0.1:1/", "HttpHeaders": {
                "x-goog-user-project": "the-wards", "X-Site": "ward 7 of the north wing",
            }},
        }}}))
        .argument("--verbose-plugins");
    let stage = scene.start(orthanc);
    for name in ["proved", "billed"] {
        stage.wait_for_line(&format!("Account \"{name}\": Google lets it use the DICOM store"));
        let check = format!("/google-cloud-platform/accounts/{name}/check");
        let check = stage.orthanc.post(&check, "{\"Write\": true}").unwrap().json().unwrap();
        assert_eq!(check["State"], "passed", "{check:#}");
        assert_eq!(stage.search(name).0, 200);
    }
    // Each look, each step of a check, and the DICOMweb plugin itself.
    let (mut of_proved, mut of_billed) = (0, 0);
    for seen in stage.scene.emulator.requests() {
        if !matches!(seen.route, Route::Qido | Route::Stow) {
            continue;
        }
        let fields = (seen.header("x-goog-user-project"), seen.header("x-site"));
        if seen.header("authorization") == Some(proof.as_str()) {
            assert_eq!(fields, (None, None));
            of_proved += 1;
        } else {
            assert_eq!(fields, (Some("the-wards"), Some("ward 7 of the north wing")));
            of_billed += 1;
        }
    }
    // The look, the check's search and upload, and the search of the DICOMweb plugin; more to measure with.
    assert!(of_proved >= 4 && of_billed >= 4, "{of_proved} {of_billed}");
    let log = stage.stop();
    assert_eq!(told(&log), [""; 0]);
    assert!(!log.contains("ward 7 of the north wing") && !log.contains(&token));
}

#[test]
fn a_proof_among_the_header_fields_that_the_store_refuses_is_told() {
    let scene = Scene::new();
    let header = json!({"Authorization": "Bearer ya29.long-over"});
    let orthanc = scene.orthanc(&json!({"g": scene.account(&json!({"AccessToken": "none"}))})).configuration(
        &json!({"DicomWeb": {"Servers": {
            "g": {"Url": "http://127.0.0.1:1/", "HttpHeaders": header},
        }}}),
    );
    let stage = scene.start(orthanc);
    stage.wait_for(&["Account \"g\": the DICOM store cannot be used: ", " answered 401"]);
    let own = stage.scene.emulator.requests().into_iter().find(is_own).unwrap();
    assert_eq!(own.header("authorization"), Some("Bearer ya29.long-over"));
    assert_ne!(stage.search("g").0, 200);
    assert_eq!(account(&stage)["State"], "failing");
    assert!(!stage.stop().contains("ya29.long-over"));
}

#[test]
fn an_examination_that_finds_the_store_closed_says_so_of_the_account() {
    let scene = Scene::new();
    let mut door = Door::before(scene.emulator.https_url());
    let base = format!("https://{}/v1beta1/", door.address());
    let orthanc = scene
        .orthanc(&json!({"g": scene.service_account()}))
        .configuration(&json!({"GoogleCloudPlatform": {"BaseUrl": base}}))
        .argument("--verbose-plugins");
    let stage = scene.start(orthanc);
    stage.wait_for_line("Account \"g\": Google lets it use the DICOM store");
    let check = || {
        let answer = stage.orthanc.post("/google-cloud-platform/accounts/g/check", "").unwrap();
        answer.json().unwrap()["State"].clone()
    };
    assert_eq!((check(), &account(&stage)["State"]), (json!("passed"), &json!("ok")));

    // What it finds counts at once.
    let denied = stage.scene.emulator.service_account();
    stage.scene.emulator.change_settings(|settings| settings.denied_principals.push(denied));
    assert_eq!(check(), "failed");
    let failing = account(&stage);
    let error = &failing["LastError"];
    assert_eq!((&failing["State"], &error["Of"]), (&json!("failing"), &json!("store")), "{failing:#}");
    assert_eq!((&error["Kind"], &error["Healed"]), (&json!("needs_person"), &json!(false)));
    assert!(error["Remedy"].as_str().unwrap().contains("roles/healthcare.dicomEditor"), "{error:#}");
    stage.scene.emulator.change_settings(|settings| settings.denied_principals.clear());
    // Looked at again soon, without anybody asking.
    stage.wait_until("it is seen to work", || account(&stage)["State"] == "ok");

    door.close();
    assert_eq!(check(), "failed");
    let failing = account(&stage);
    let error = &failing["LastError"];
    assert_eq!((&failing["State"], &error["Kind"]), (&json!("failing"), &json!("transient")), "{failing:#}");
    assert!(error["Message"].as_str().unwrap().contains(&door.address()), "{error:#}");
    assert!(error["Remedy"].as_str().unwrap().starts_with("check the port (in BaseUrl"), "{error:#}");
    door.open();
    assert_eq!((check(), &account(&stage)["State"]), (json!("passed"), &json!("ok")));
    assert_eq!(told(&stage.stop()).len(), 4);
}
