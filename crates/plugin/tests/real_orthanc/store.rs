//! What the store says to an account that it does not let in: in the log, with the role and whom to grant it to.

use std::time::Duration;

use google_emulator::Route;
use serde_json::json;

use crate::stage::{Scene, is_own, lines_at};

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
