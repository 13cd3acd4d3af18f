//! Instances whose UIDs are not valid: they keep no other from being retrieved.

use dicomweb_gateway::{OnConflict, Stage as Standing};
use google_emulator::{Emulator, Fault, Keep, Route};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    far_store::FarStore,
    stage::{Stage, block_on},
    support::{ANY, Got, Scene, directly, get, store},
};

/// What a search for the instances of the study gives.
fn listing(scene: &Scene) -> Vec<Value> {
    let text = block_on(async {
        let path = format!("studies/{}/instances", scene.study);
        let answer = directly(&scene.stage.emulator, Method::GET, &path).send().await.unwrap();
        answer.text().await.unwrap()
    });
    serde_json::from_str(&text).unwrap()
}

/// Lets every search for instances give these rows on its first page.
fn answer_searches(scene: &Scene, rows: &[Value]) {
    let faults = scene.stage.emulator.faults();
    let rows = serde_json::to_string(rows).unwrap();
    faults.clear();
    faults.add(Fault::answer(Route::Qido, 200, rows).on_path("/instances"));
    faults.add(Fault::answer(Route::Qido, 204, "").on_path("/instances").until_cleared());
    scene.stage.emulator.clear_requests();
}

fn row(series: &Value, instance: &Value) -> Value {
    json!({ "0020000E": series, "00080018": instance })
}

fn uid(text: &str) -> Value {
    json!({ "vr": "UI", "Value": [text] })
}

#[test]
fn an_odd_uid_that_is_safe_in_a_path_is_requested_as_it_is() {
    for series in [1, 4] {
        let scene = Scene::new(series, 5, 64);
        // The store has it with a dot at the end, and so does its file.
        let mut files = scene.files.clone();
        let (old, file) = files.pop_first().unwrap();
        let odd = format!("{}.", &old[..old.len() - 1]);
        let mut changed = file.clone();
        for at in 0..file.len() - old.len() {
            if file[at..].starts_with(old.as_bytes()) {
                changed[at..at + old.len()].copy_from_slice(odd.as_bytes());
            }
        }
        assert_ne!(changed, file);
        files.insert(odd, changed);
        let emulator = FarStore::start(Emulator::builder().keep(Keep::Memory));
        store(&emulator, files.values());
        let stage = Stage::with(emulator, OnConflict::Fail, |_| {});
        let got = get(&stage, &format!("studies/{}", scene.study), ANY);
        let Got::Parts(parts) = got else { panic!("{got:?}: {:?}", stage.gateway.transfers()[0].failures) };
        assert_eq!(parts.len(), 5 * series);
        assert!(parts.iter().all(|(_, came)| files.values().any(|file| file == came)));
    }
}

#[test]
fn an_odd_row_fails_alone_and_is_named() {
    let scene = Scene::new(1, 5, 64);
    let all = listing(&scene);
    let series = uid(&scene.series[0]);
    for (odd, named) in [
        (row(&series, &uid("1.2.9.34.")), "SOPInstanceUID \"1.2.9.34.\""),
        (row(&series, &uid("1.2.9.abc")), "SOPInstanceUID \"1.2.9.abc\""),
        (row(&series, &uid(&"1".repeat(65))), "SOPInstanceUID \"11111"),
        (row(&series, &uid("")), "with an empty SOPInstanceUID"),
        (row(&series, &uid("..")), "SOPInstanceUID of 2 characters"),
        (row(&series, &uid("../../../other")), "SOPInstanceUID of 14 characters"),
        (row(&series, &json!({ "vr": "UI" })), "without a SOPInstanceUID"),
        (row(&series, &json!({ "vr": "UI", "Value": [1.2] })), "without a SOPInstanceUID"),
        (row(&Value::Null, &uid("1.2.3")), "without a SeriesInstanceUID"),
        (json!(7), "without a SOPInstanceUID"),
    ] {
        let mut rows = all.clone();
        rows.insert(2, odd);
        answer_searches(&scene, &rows);
        let got = scene.retrieve();
        assert!(matches!(got, Got::Broken(_)), "{named}: {got:?}");
        let report = scene.ended();
        assert_eq!((report.stage, report.instances_done, report.instances_failed), (Standing::Failed, 5, 1));
        assert!(report.failures[0].contains(named), "{named}: {:?}", report.failures);
        assert!(!scene.requests().iter().any(|request| request.path.contains("other")));

        // Nothing else to write: the refusal is the answer.
        answer_searches(&scene, &rows[2..3]);
        let Got::Refused(502, body) = scene.retrieve() else { panic!("{named}") };
        assert!(body.contains(&named.replace('"', "\\\"")), "{body}");
    }
}

#[test]
fn odd_but_readable_uids_are_like_others() {
    let scene = Scene::new(1, 5, 64);
    let mut rows = listing(&scene);
    for row in &mut rows {
        let text = row["00080018"]["Value"][0].as_str().unwrap();
        row["00080018"]["Value"][0] = json!(format!(" {text}\0"));
    }
    // Twice the same is once.
    rows.push(rows[0].clone());
    answer_searches(&scene, &rows);
    scene.assert_whole(&scene.retrieve());
    assert_eq!(scene.ended().instances_done, 5);
}
