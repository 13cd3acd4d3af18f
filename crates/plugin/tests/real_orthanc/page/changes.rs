//! What the page makes of changes while somebody is on it.

use std::net::TcpListener;

use orthanc_testbed::Ct;
use serde_json::json;

use super::{Visit, button, card, showcase};
use crate::stage::Scene;

#[test]
fn what_fails_comes_first_and_whoever_is_there_stays_there() {
    let scene = Scene::new();
    let mut typed = scene.service_account();
    typed.as_object_mut().unwrap().remove("Project");
    let accounts = json!({
        "archive": scene.user_strings(),
        "site-10": scene.service_account(),
        "site-9": scene.service_account(),
        "typed": typed,
    });
    let orthanc = scene.orthanc(&accounts);
    let stage = scene.start(orthanc);
    for name in ["archive", "site-9", "site-10"] {
        stage.wait_until_ready(name);
    }
    let visit = Visit::of(stage);
    let browser = &visit.browser;
    let order = |names: &[&str]| {
        let found =
            "JSON.stringify([...document.querySelectorAll('.account h3')].map((name) => name.innerText))";
        browser.wait_for(&format!("{found} === {}", json!(json!(names).to_string())));
    };
    order(&["typed", "archive", "site-9", "site-10"]);

    // The token of the last one is still good, but cannot be renewed.
    visit.stage.scene.emulator.rotate_service_account_key().unwrap();
    browser.value(&format!(
        "const button = document.querySelector(\"{}\"); button.focus(); button.addEventListener('blur', () => {{ window.wasThrownOff = true }})",
        button("site-10", 2)
    ));
    browser.press("Enter");
    browser.wait_for_text(&card("site-10"), "Expiring");
    order(&["typed", "site-10", "archive", "site-9"]);
    assert_eq!(browser.value("document.activeElement.textContent"), "Refresh site-10");
    assert_eq!(browser.value("window.wasThrownOff === undefined"), true);
    // That is what the error is of; since when it fails stands above.
    browser.wait_for_text(&format!("{} .error", card("site-10")), "The token, last attempt at ");
    // The refresh was answered with 502, which the console tells.
    visit.end(&["status of 502"]);
}

#[test]
fn another_start_of_orthanc_counts_anew() {
    let scene = Scene::new();
    let orthanc = scene.orthanc(&json!({"hospital": scene.service_account()}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("hospital");
    let study = showcase::bring(&stage, &Ct::default());
    assert_eq!(showcase::send(showcase::stow(&stage, "hospital", &study)), 200);
    let visit = Visit::of(stage);
    let browser = &visit.browser;
    browser.wait_for_text(".ended-succeeded", &study.uid);

    // The next day Orthanc is started again, and another study gets the same number.
    let (study, under_way) = ("2.25.42", "2.25.43");
    let next_day = format!(
        "const asked = window.fetch; \
         window.fetch = async (path, request) => {{ \
           const answer = await asked(path, request); \
           if (!path.endsWith('/transfers')) return answer; \
           const told = await answer.json(); \
           const [first] = told.Ended; \
           const anew = {{...first, Began: '2042-01-01T00:00:00Z', StudyInstanceUID: '{study}', State: 'failed', Failures: ['no']}}; \
           const now = {{...first, Began: window.began ?? '2042-01-01T00:00:00Z', StudyInstanceUID: '{under_way}', State: 'running', Ended: null}}; \
           return new Response(JSON.stringify({{...told, Running: [now], Ended: [anew]}})); \
         }}; 0"
    );
    browser.value(&next_day);
    browser.wait_for_text(".ended", study);
    browser.wait_for_text("#announcements", "Upload, hospital failed: no");
    browser.wait_for_text(".running", under_way);
    let shown = "document.querySelectorAll('.running .transfer, .ended .transfer').length";
    assert_eq!(browser.value(shown), 2);
    // One that is under way, too, is another one where it began at another time.
    browser.value(
        "window.before = document.querySelector('.running .transfer'); window.began = '2042-01-02T00:00:00Z'",
    );
    browser.wait_for(
        "!window.before.isConnected && document.querySelectorAll('.running .transfer').length === 1",
    );
    visit.end(&[]);
}

#[test]
fn a_gateway_that_cannot_work_is_not_advised() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let scene = Scene::new();
    let orthanc = scene
        .orthanc(&json!({"hospital": scene.service_account()}))
        .configuration(&json!({"GoogleCloudPlatform": {"Gateway": "prefer", "GatewayPort": port}}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("hospital");
    let visit = Visit::of(stage);
    visit.browser.wait_for_text("#transfers", "The gateway is wanted but does not work: see the account");
    visit.browser.wait_for_text(&card("hospital"), "Direct, although the gateway is wanted: ");
    assert!(!visit.browser.text("#transfers").contains("\"Gateway\": true"));
    visit.end(&[]);
}
