//! Everything at once: accounts in several states, transfers under way, done and failed. Looked at light and dark, wide and
//! narrow; the pictures in the README are of it.

use std::{path::Path, thread, time::Duration};

use google_emulator::{Fault, Route};
use orthanc_testbed::{Client, Ct, Study, study};
use serde_json::{Value, json};

use super::{HOSTILE, Visit, axe::assert_accessible, browser::Scheme, button, card};
use crate::stage::{Scene, Stage};

#[test]
fn everything_at_once() {
    let scene = Scene::new();
    let mut teaching = scene.service_account();
    teaching["DicomStor"] = teaching["DicomStore"].take();
    teaching["ServiceAccountFile"] = json!("/etc/orthanc/teaching.json");
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
    assert_eq!(send(stow(&stage, &stored)), 200);
    let retrieval = json!({"Resources": [{"Study": stored.uid}], "Synchronous": true});
    assert_eq!(send(request(&stage, "retrieve", &retrieval)), 200);
    let failed = bring(&stage, &Ct { seed: 2, instances: 6, ..Ct::default() });
    let refusal = Fault::refuse_instance(&failed.instances[1].uid, HOSTILE);
    stage.scene.emulator.faults().add(refusal);
    send(stow(&stage, &failed));

    let visit = Visit::of(stage);
    let browser = &visit.browser;
    browser.wait_for_text(&card("radiology"), "OK");
    browser.wait_for_text(&card("archive"), "Failing");
    browser.wait_for_text(&card("archive"), "invalid_grant");
    browser.wait_for_text(&card("teaching"), "Misconfigured");
    browser.wait_for_text(".ended-failed", &failed.uid);
    browser.wait_for_text(".ended-failed .failures", "<img src=x onerror=");
    browser.wait_for_text(".ended-succeeded", &stored.uid);
    browser.wait_for_text("figcaption", "1 failed transfer");
    assert_eq!(browser.value("document.querySelectorAll('.canvas .failure').length"), 1);
    assert_eq!(browser.value("document.querySelectorAll('main img').length"), 0);
    browser.click("#only-failed");
    assert_eq!(browser.value("document.querySelectorAll('.ended > li').length"), 1);
    browser.click("#only-failed");
    assert_eq!(browser.value("document.querySelectorAll('.ended > li').length"), 3);

    in_flight(&visit);
    browser.click(&button("radiology", 1));
    browser.wait_for_text(&card("radiology"), "Check passed");
    from_all_sides(&visit);
    visit.end(&[]);
}

/// A study in Orthanc.
fn bring(stage: &Stage, ct: &Ct) -> Study {
    let study = study::ct(ct).unwrap();
    for instance in &study.instances {
        assert_eq!(stage.orthanc.post("/instances", &instance.bytes).unwrap().status, 200);
    }
    study
}

/// The request that has a study uploaded.
fn stow(stage: &Stage, study: &Study) -> (String, String) {
    let found = stage.orthanc.post("/tools/lookup", &study.uid).unwrap().json().unwrap();
    request(stage, "stow", &json!({"Resources": [found[0]["ID"]], "Synchronous": true}))
}

/// Address and body of a request to the DICOMweb plugin.
fn request(stage: &Stage, what: &str, body: &Value) -> (String, String) {
    (format!("{}/dicom-web/servers/radiology/{what}", stage.orthanc.url()), body.to_string())
}

fn send((url, body): (String, String)) -> u16 {
    Client::default().send_body("POST", &url, &[], body.as_bytes()).unwrap().status
}

/// A transfer while it goes on.
fn in_flight(visit: &Visit) {
    let faults = visit.stage.scene.emulator.faults();
    faults.clear();
    let study = bring(&visit.stage, &Ct { seed: 3, instances: 8, ..Ct::default() });
    // Not answered until the page has been looked at.
    faults.add(Fault::latency(Route::Stow, Duration::from_secs(4)).until_cleared());
    let upload = stow(&visit.stage, &study);
    let sending = thread::spawn(move || send(upload));
    visit.browser.wait_for_text("#transfers-summary", "1 under way");
    visit.browser.wait_for_text(".running .transfer", "Upload, radiology");
    visit.browser.wait_for_text(".running .transfer", &study.uid);
    assert_eq!(visit.browser.value("document.querySelectorAll('.running progress').length"), 1);
    assert_accessible(&visit.browser, "in flight");
    picture(visit, "in-flight");
    assert_eq!(sending.join().unwrap(), 200);
    faults.clear();
    visit.browser.wait_for_text("#transfers-summary", "None under way");
    visit.browser.wait_for_text(".ended-succeeded", &study.uid);
}

/// Nothing is beyond reach, whatever the window.
fn from_all_sides(visit: &Visit) {
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
