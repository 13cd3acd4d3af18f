//! `OnConflict`: an instance was changed in Orthanc after it had been sent.

use super::{
    transfer::{Holdings, Study, assert_stored, last, put, retrieve, sha256, stow},
    *,
};
use crate::stage::SOON;

/// Sends a study, changes one of its instances, and sends it again: with these options the job ends so, the transfer so, and
/// the store has the new instance or the old one.
fn changed(google: &Value, ends: &str, has_new: bool) -> (Stage, Study) {
    let scene = Scene::new();
    let mut google = google.clone();
    if google["BaseUrl"] == "v1" {
        google["BaseUrl"] = json!(scene.emulator.healthcare_base_url("v1"));
    }
    let orthanc = orthanc(&scene).configuration(&json!({"GoogleCloudPlatform": google}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    let mut study = Study::new(1, 1, 12, 100);
    let mut resources = study.put(&stage);
    let before = Holdings::of(&stage);
    stow(&stage, &resources).succeeds();

    let change = json!({
        "Replace": {"SeriesDescription": "corrected", "SOPInstanceUID": study.instances[0].uid},
        "Keep": ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"],
        "Force": true,
    });
    let path = format!("/instances/{}", resources[0]);
    let new = stage.orthanc.post(&format!("{path}/modify"), change.to_string()).unwrap();
    assert_eq!(new.status, 200, "{}", new.text());
    assert!(new.body != study.instances[0].bytes);
    assert_eq!(stage.orthanc.delete(&path).unwrap().status, 200);
    resources[0] = put(&stage.orthanc, &new.body);
    if has_new {
        study.instances[0].bytes = new.body;
    }

    assert_eq!(stow(&stage, &resources).end()["State"], ends);
    assert_stored(&stage, &study.instances);
    before.assert_nothing_left(&stage);
    (stage, study)
}

#[test]
fn a_different_instance_is_refused() {
    let (stage, _) = changed(&json!({}), "Failure", false);
    let line = stage.wait_for(&[
        "1 of 12 instances of an upload of study ",
        " could not be stored",
        "already exists",
    ]);
    assert!(line.starts_with('E'), "{line}");
    assert_eq!(last(&stage)["State"], "failed");
    stage.stop();
}

#[test]
fn a_different_instance_is_kept() {
    let (stage, _) = changed(&json!({"OnConflict": "Keep"}), "Success", false);
    assert_eq!(last(&stage)["State"], "succeeded");
    stage.stop();
}

#[test]
fn a_different_instance_is_overwritten_by_an_update() {
    let (stage, study) = changed(&json!({"OnConflict": "Overwrite"}), "Success", true);
    comes_back(&stage, &study);
}

#[test]
fn a_different_instance_is_overwritten_where_there_is_no_update() {
    let (stage, study) = changed(&json!({"OnConflict": "Overwrite", "BaseUrl": "v1"}), "Success", true);
    comes_back(&stage, &study);
}

fn comes_back(stage: &Stage, study: &Study) {
    transfer::empty(&stage.orthanc);
    retrieve(stage, &[study]).succeeds();
    transfer::assert_in_orthanc(&stage.orthanc, &[study]);
    let held = stage.scene.emulator.instances();
    let new = held.iter().find(|one| one.instance == study.instances[0].uid).unwrap();
    assert_eq!(new.sha256, Some(sha256(&study.instances[0].bytes)));
    stage
        .orthanc
        .wait_until("no job", SOON, || Ok(transfer::transfers(stage)["Running"] == json!([])))
        .unwrap();
    stage.stop();
}
