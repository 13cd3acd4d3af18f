//! What else goes through the gateway: every route of the DICOMweb plugin's, transfers in a row, and a second Orthanc.

use google_emulator::{Fault, Route};

use super::{
    transfer::{
        Holdings, Study, assert_in_orthanc, assert_stored, connections_to_google, empty, retrieve, stow,
    },
    *,
};
use crate::stage::SOON;

/// Asks by one of the DICOMweb plugin's routes.
fn ask(stage: &Stage, operation: &str, body: &Value) -> orthanc_testbed::Answer {
    let path = format!("/dicom-web/servers/g/{operation}");
    let answer = stage.orthanc.post(&path, body.to_string()).unwrap();
    assert_eq!(answer.status, 200, "{operation}: {}", answer.text());
    answer
}

#[test]
fn searches_metadata_single_instances_and_deletions() {
    let stage = ready();
    let study = Study::new(1, 2, 3, 64);
    let resources = study.put(&stage);
    let before = Holdings::of(&stage);
    stow(&stage, &resources).succeeds();
    // Whatever is asked, its first attempt fails.
    stage.scene.emulator.faults().add(Fault::answer(Route::Any, 503, "{}").every(2));
    for (uri, count) in [
        ("/studies".to_owned(), 1),
        (format!("{}/series", study.path()), 2),
        (format!("{}/instances", study.path()), 6),
    ] {
        let found = ask(&stage, "qido", &json!({"Uri": uri, "Arguments": {"limit": "50"}})).json().unwrap();
        assert_eq!(found.as_array().unwrap().len(), count, "{uri}: {found:#}");
    }
    let uri = format!("{}/metadata", study.path());
    let headers = json!({"Accept": "application/dicom+json"});
    let metadata = ask(&stage, "get", &json!({"Uri": uri, "HttpHeaders": headers})).json().unwrap();
    assert_eq!(metadata.as_array().unwrap().len(), 6);
    let one = &study.instances[1];
    let headers = json!({"Accept": "multipart/related; type=\"application/dicom\"; transfer-syntax=*"});
    let got = ask(&stage, "get", &json!({"Uri": study.path_of(one), "HttpHeaders": headers}));
    assert!(got.body.windows(one.bytes.len()).any(|part| part == one.bytes));

    let level = json!({"Level": "Instance", "StudyInstanceUID": study.uid, "SeriesInstanceUID": one.series,
        "SOPInstanceUID": one.uid});
    ask(&stage, "delete", &level);
    assert_stored(&stage, study.instances.iter().filter(|other| other.uid != one.uid));
    ask(&stage, "delete", &json!({"Level": "Study", "StudyInstanceUID": study.uid}));
    assert_stored(&stage, []);
    // What was deleted is not taken for stored.
    stow(&stage, &resources).succeeds();
    assert_stored(&stage, &study.instances);
    before.assert_nothing_left(&stage);
    stage.stop();
}

#[test]
fn ten_transfers_leave_no_more_than_one() {
    let stage = ready();
    let studies: Vec<Study> = (1..=5).map(|seed| Study::new(seed, 1, 20, 64)).collect();
    let resources: Vec<Vec<String>> = studies.iter().map(|study| study.put(&stage)).collect();
    let before = Holdings::of(&stage);
    for (study, resources) in studies.iter().zip(&resources) {
        stow(&stage, resources).succeeds();
        retrieve(&stage, &[study]).succeeds();
    }
    assert_stored(&stage, studies.iter().flat_map(|study| &study.instances));
    let gauges = stage.scene.emulator.gauges();
    assert!(gauges.requests > 100, "{gauges:?}");
    // Connections are kept and used again. One may be made while another becomes free, but not with every transfer.
    let enough = 2 * gauges.most_requests_at_once;
    assert!(gauges.connections <= enough, "{gauges:?}");
    let kept = connections_to_google(&stage) as u64;
    assert!((1..=enough).contains(&kept), "{kept}, {gauges:?}");
    before.assert_nothing_left(&stage);
    stage.stop();
}

#[test]
fn a_second_orthanc_gets_what_the_first_has_sent() {
    let stage = ready();
    let study = Study::new(1, 4, 6, 100);
    let resources = study.put(&stage);
    stow(&stage, &resources).succeeds();
    let second = orthanc(&stage.scene).start().unwrap();
    second.wait_for_log(|line| line.contains("Account \"g\": ready, as DICOMweb server"), SOON).unwrap();
    stage.scene.emulator.faults().add(Fault::cut_body(Route::Wado, 3000).every(5));
    let body = json!({"Resources": [{"Study": study.uid}], "Synchronous": true});
    let answer = second.post("/dicom-web/servers/g/retrieve", body.to_string()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_in_orthanc(&second, &[&study]);
    second.forbid_in_log(stage.scene.emulator.secrets());
    assert_eq!(second.stop().unwrap().code(), Some(0));
    empty(&stage.orthanc);
    stage.stop();
}
