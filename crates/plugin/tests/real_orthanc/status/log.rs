//! The log of a run in which everything goes wrong, read as an administrator reads it.

use std::{collections::BTreeMap, thread};

use google_emulator::{Fault, Route};
use orthanc_testbed::study::{self, Ct};
use serde_json::{Value, json};

use crate::stage::{Scene, Stage};

/// News that ask nobody to do anything.
const NEWS: [&str; 5] = [
    ": ready, as DICOMweb server",
    ": tokens come again after",
    "lets it use the DICOM store now",
    " work again",
    "Google Cloud Platform plugin",
];

/// Every line of the plugin, at whatever level.
pub(super) fn lines(log: &str) -> Vec<String> {
    // What the plugin writes itself before Orthanc 1.12.4, and what Orthanc writes since.
    let marks = ["Google Cloud Platform: ", " google-cloud-platform:"];
    let ours = log.lines().filter(|line| marks.iter().any(|mark| line.contains(mark)));
    ours.map(str::to_owned).collect()
}

/// A line without what differs from one time to the next: numbers, and whatever the log puts before the sentence.
fn normalised(line: &str) -> String {
    let sentence = line.split_once("] ").map_or(line, |(_, sentence)| sentence);
    let mut shape = String::new();
    for letter in sentence.chars() {
        match letter {
            '0'..='9' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            letter => shape.push(letter),
        }
    }
    shape
}

/// Uploads and retrievals through the account `way` that fail, again and again.
fn transfer_in_vain(stage: &Stage) {
    let faults = stage.scene.emulator.faults();
    let study = study::ct(&Ct { series: 1, ..Ct::default() }).unwrap();
    for instance in &study.instances {
        assert_eq!(stage.orthanc.post("/instances", &instance.bytes).unwrap().status, 200);
    }
    let studies = stage.orthanc.get("/studies").unwrap().json().unwrap();
    let ask = |operation: &str, body: &Value| {
        for _ in 0..12 {
            // DICOMweb 1.7 leaves some failed jobs without an answer.
            drop(stage.orthanc.post(&format!("/dicom-web/servers/way/{operation}"), body.to_string()));
        }
    };
    let refused = Fault::refuse_instance(&study.instances[1].uid, "the pixel data is not what it says");
    faults.add(refused.until_cleared());
    ask("stow", &json!({"Resources": studies}));
    stage.wait_for(&["Account \"way\": ", "could not be stored"]);
    faults.clear();
    let denied = json!({"error": {"code": 403, "message": "Permission denied"}}).to_string();
    for (route, operation, body) in [
        (Route::Stow, "stow", json!({"Resources": studies})),
        (Route::Wado, "retrieve", json!({"Resources": [{"Study": study.uid}]})),
    ] {
        faults.add(Fault::answer(route, 403, denied.as_str()).until_cleared());
        ask(operation, &body);
        faults.clear();
    }
}

#[test]
fn a_whole_run_of_faults_can_be_read() {
    let scene = Scene::new();
    scene.emulator.revoke_refresh_token();
    // Renewed every few seconds, so that every fault is met many times.
    scene.emulator.set_token_lifetime(std::time::Duration::from_secs(20));
    let mut misspelt = scene.service_account();
    misspelt["Projetc"] = json!("p");
    let mut way = scene.service_account();
    way["Gateway"] = json!(true);
    let orthanc = scene.orthanc(&json!({
        "direct": scene.service_account(),
        "misspelt": misspelt,
        "incomplete": {"ServiceAccountFile": 7},
        "no file": scene.account(&json!({"ServiceAccountFile": scene.path("absent.json")})),
        "refused": scene.user_strings(),
        "nobody": scene.account(&json!({
            "ServiceAccountFile": scene.path("key.json"), "TokenUri": "https://127.0.0.1:1/token",
        })),
        "way": way,
    }));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("direct");
    stage.wait_until_ready("way");

    let faults = stage.scene.emulator.faults();
    for (status, words) in [(403, "Permission denied"), (400, "not a search")] {
        let body = json!({"error": {"code": status, "message": words}}).to_string();
        faults.add(Fault::answer(Route::Qido, status, body).until_cleared());
        for _ in 0..15 {
            stage.search("way");
        }
        stage.wait_for(&["Account \"way\": GET studies failed: ", &format!(" answered {status}")]);
        faults.clear();
    }
    transfer_in_vain(&stage);
    faults.add(Fault::answer(Route::Token, 500, "").until_cleared());
    stage.wait_for(&["Account \"direct\": its token expired"]);
    // Side by side: the gateway waits for a token as long as somebody in front of a screen does.
    thread::scope(|scope| {
        for _ in 0..15 {
            scope.spawn(|| (stage.search("way"), stage.search("direct")));
        }
    });
    faults.clear();
    stage.wait_for_line("Account \"direct\": tokens come again");
    stage.wait_until("the gateway answers again", || stage.search("way").0 == 200);
    let failures = |stage: &Stage| {
        let account = stage.orthanc.get("/google-cloud-platform/accounts/nobody").unwrap().json().unwrap();
        account["Failures"]["Transient"].as_u64().unwrap()
    };
    stage.wait_until("many attempts have failed", || failures(&stage) >= 5);
    let log = stage.stop();

    let ours = lines(&log);
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for line in &ours {
        *times.entry(normalised(line)).or_default() += 1;
    }
    assert!(times.len() >= 8, "{times:#?}");
    let repeated: Vec<_> = times.iter().filter(|(_, times)| **times > 10).collect();
    assert!(repeated.is_empty(), "{repeated:#?}");
    for line in ours.iter().filter(|line| line.starts_with(['E', 'W'])) {
        // The sentences are of the form `what is wrong; what to do (what goes on meanwhile)`.
        let has_remedy = line.contains("; ") || NEWS.iter().any(|news| line.contains(news));
        assert!(has_remedy, "no remedy: {line}");
    }
}

#[test]
fn a_line_a_request_is_there_for_those_who_ask_for_it() {
    let scene = Scene::new();
    let orthanc = crate::gateway::orthanc(&scene).argument("--verbose-plugins");
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    let body = json!({"Uri": "/studies", "Arguments": {"PatientName": "Doe^John", "limit": "3"}});
    let answer = stage.orthanc.post("/dicom-web/servers/g/qido", body.to_string()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let line = stage.wait_for(&["Account \"g\": GET studies answered 200 after ", " ms (attempt 1)"]);
    assert!(line.starts_with('I'), "{line}");
    let echo = r#"{"error":{"code":400,"message":"nobody is called Doe^John"}}"#;
    stage.scene.emulator.faults().add(Fault::answer(Route::Qido, 400, echo));
    let answer = stage.orthanc.post("/dicom-web/servers/g/qido", body.to_string()).unwrap();
    assert_ne!(answer.status, 200);
    stage.wait_for(&["Account \"g\": GET studies failed: ", " answered 400"]);
    stage.wait_for(&["Account \"g\": new token, valid until ", "the next refresh is at "]);
    let log = stage.stop();
    let ours = lines(&log);
    assert!(ours.len() >= 3, "{ours:#?}");
    for line in ours {
        assert!(!line.contains("Doe") && !line.contains("PatientName"), "{line}");
    }
}
