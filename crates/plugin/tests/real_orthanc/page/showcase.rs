//! Everything at once: accounts in several states, transfers under way, done and failed. Looked at light and dark, wide and
//! narrow; the pictures in the README are of it.

use std::{path::Path, thread, time::Duration};

use google_emulator::{EmptySearch, Emulator, Fault, Route, StoreName};
use orthanc_testbed::{Client, Ct, Study, study};
use serde_json::{Value, json};

use super::{Visit, axe::assert_accessible, browser::Scheme, button, card};
use crate::stage::{Scene, Stage};

/// What Google says of an instance that it does not take.
const REFUSED: &str = "The DICOM instance is invalid: attribute (0008,0018) is malformed";

#[test]
fn everything_at_once() {
    let store = "projects/hospital-pacs/locations/europe-west2/datasets/radiology/dicomStores/ct";
    let emulator = Emulator::builder().store(StoreName::parse(store).unwrap());
    let scene = Scene::of(emulator.empty_search(EmptySearch::EmptyArray).start().unwrap());
    let mut teaching = scene.service_account();
    teaching["DicomStor"] = teaching["DicomStore"].take();
    teaching["ServiceAccountFile"] = json!("/etc/orthanc-gcp/teaching.json");
    // Of a user who has left.
    scene.emulator.revoke_refresh_token();
    let accounts = json!({
        "radiology": scene.service_account(),
        "archive": scene.user_strings(),
        "teaching": teaching,
    });
    let gateway = json!({"Name": "ORTHANC-RADIOLOGY", "GoogleCloudPlatform": {"Gateway": true}});
    let orthanc = scene.orthanc(&accounts).configuration(&gateway);
    let stage = scene.start(orthanc);
    stage.wait_until_ready("radiology");
    // One that succeeds and comes back, and one of which an instance is refused.
    let stored = bring(&stage, &Ct { seed: 1, series: 2, instances: 12, ..Ct::default() });
    assert_eq!(send(stow(&stage, "radiology", &stored)), 200);
    let retrieval = json!({"Resources": [{"Study": stored.uid}], "Synchronous": true});
    assert_eq!(send(request(&stage, "radiology/retrieve", &retrieval)), 200);
    let failed = bring(&stage, &Ct { seed: 2, instances: 6, ..Ct::default() });
    let refusal = Fault::refuse_instance(&failed.instances[1].uid, REFUSED);
    stage.scene.emulator.faults().add(refusal);
    send(stow(&stage, "radiology", &failed));

    let visit = Visit::of(stage);
    let browser = &visit.browser;
    browser.wait_for_text(&card("radiology"), "OK");
    browser.wait_for_text(&card("archive"), "Failing");
    browser.wait_for_text(&card("archive"), "invalid_grant");
    browser.wait_for_text(&card("teaching"), "Misconfigured");
    browser.wait_for_text(".ended-failed", &failed.uid);
    browser.wait_for_text(".ended-failed .failures", REFUSED);
    browser.wait_for_text(".ended-failed .failures", &failed.instances[1].uid);
    browser.wait_for_text(".ended-succeeded", &stored.uid);
    browser.wait_for_text("figcaption", "1 failed transfer");
    assert_eq!(browser.value("document.querySelectorAll('.canvas .failure').length"), 1);
    browser.click("#only-failed");
    assert_eq!(browser.value("document.querySelectorAll('.ended > li').length"), 1);
    browser.click("#only-failed");
    assert_eq!(browser.value("document.querySelectorAll('.ended > li').length"), 3);

    in_flight(&visit);
    browser.click(&button("radiology", 1));
    browser.wait_for_text(&card("radiology"), "Check passed");
    browser.value("scrollTo(0, 0)");
    browser.look(1280, 800, Scheme::Light);
    picture(&visit, "accounts");
    from_all_sides(&visit);
    visit.end(&[]);
}

/// A study in Orthanc.
pub(super) fn bring(stage: &Stage, ct: &Ct) -> Study {
    let study = study::ct(ct).unwrap();
    for instance in &study.instances {
        assert_eq!(stage.orthanc.post("/instances", &instance.bytes).unwrap().status, 200);
    }
    study
}

/// The request that has a study uploaded.
pub(super) fn stow(stage: &Stage, account: &str, study: &Study) -> (String, String) {
    let found = stage.orthanc.post("/tools/lookup", &study.uid).unwrap().json().unwrap();
    request(stage, &format!("{account}/stow"), &json!({"Resources": [found[0]["ID"]], "Synchronous": true}))
}

/// Address and body of a request to the DICOMweb plugin.
fn request(stage: &Stage, what: &str, body: &Value) -> (String, String) {
    (format!("{}/dicom-web/servers/{what}", stage.orthanc.url()), body.to_string())
}

pub(super) fn send((url, body): (String, String)) -> u16 {
    Client::default().send_body("POST", &url, &[], body.as_bytes()).unwrap().status
}

/// A transfer while it goes on.
fn in_flight(visit: &Visit) {
    let faults = visit.stage.scene.emulator.faults();
    faults.clear();
    let study = bring(&visit.stage, &Ct { seed: 3, instances: 40, rows: 512, columns: 512, ..Ct::default() });
    // Every other batch is not answered until the page has been looked at.
    faults.add(Fault::latency(Route::Stow, Duration::from_secs(20)).every(2));
    let upload = stow(&visit.stage, "radiology", &study);
    let sending = thread::spawn(move || send(upload));
    visit.browser.wait_for_text("#transfers-summary", "1 under way");
    visit.browser.wait_for_text(".running .transfer", "Upload, radiology");
    visit.browser.wait_for_text(".running .transfer", &study.uid);
    assert_eq!(visit.browser.value("document.querySelectorAll('.running progress').length"), 1);
    visit.browser.wait_for("document.querySelector('.running progress').value > 0");
    assert!(visit.browser.text(".running .transfer").contains(" left"), "{}", visit.browser.text(".running"));
    assert_accessible(&visit.browser, "in flight");
    visit.browser.look(1100, 800, Scheme::Dark);
    visit.browser.value("document.getElementById('transfers-title').scrollIntoView()");
    picture(visit, "transfers");
    visit.browser.look(1100, 800, Scheme::Light);
    assert_eq!(sending.join().unwrap(), 200);
    faults.clear();
    visit.browser.wait_for_text("#transfers-summary", "None under way");
    visit.browser.wait_for_text(".ended-succeeded", &study.uid);
}

/// Nothing is beyond reach, whatever the window.
fn from_all_sides(visit: &Visit) {
    visit.browser.value("document.querySelectorAll('details').forEach((details) => { details.open = true })");
    for (name, width, scheme) in [
        ("wide-light", 1280, Scheme::Light),
        ("wide-dark", 1280, Scheme::Dark),
        ("narrow-light", 360, Scheme::Light),
        ("narrow-dark", 360, Scheme::Dark),
    ] {
        visit.browser.look(width, 1000, scheme);
        visit.browser.value("new Promise(requestAnimationFrame)");
        let too_wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(visit.browser.value(too_wide), 0, "{name}");
        assert_accessible(&visit.browser, name);
        visit.browser.value("scrollTo(0, 0)");
        picture(visit, name);
    }
}

fn picture(visit: &Visit, name: &str) {
    visit.browser.picture(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}.png")));
}
