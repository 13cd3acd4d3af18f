//! What goes through the gateway, as the routes tell it.

use google_emulator::{Fault, Route};
use orthanc_testbed::study::{self, Ct, Study};
use serde_json::{Value, json};

use super::{Described, log};
use crate::{gateway, stage::Scene};

const TRANSFERS: &str = "/google-cloud-platform/transfers";

impl Described {
    fn transfers(&self) -> Value {
        let (status, transfers) = self.get(TRANSFERS);
        assert_eq!(status, 200, "{transfers}");
        transfers
    }

    /// Puts a study into Orthanc and gives its identifier there.
    fn put(&self, study: &Study) -> String {
        for instance in &study.instances {
            assert_eq!(self.stage.orthanc.post("/instances", &instance.bytes).unwrap().status, 200);
        }
        let studies = self.stage.orthanc.get("/studies").unwrap().json().unwrap();
        studies[0].as_str().unwrap().to_owned()
    }

    /// Has the DICOMweb plugin do something with the account `g`.
    fn ask(&self, operation: &str, body: &Value) -> u16 {
        let path = format!("/dicom-web/servers/g/{operation}");
        self.stage.orthanc.post(&path, body.to_string()).unwrap().status
    }
}

#[test]
fn an_upload_that_fails_in_part_and_a_retrieval() {
    let scene = Scene::new();
    let orthanc = gateway::orthanc(&scene).argument("--verbose-plugins");
    let described = Described::new(scene.start(orthanc));
    described.stage.wait_until_ready("g");
    assert_eq!(described.transfers()["Gateway"], true);
    let study = study::ct(&Ct::default()).unwrap();
    let id = described.put(&study);
    let refused = &study.instances[2];
    let why = "the pixel data is not what it says";
    described.stage.scene.emulator.faults().add(Fault::refuse_instance(&refused.uid, why).until_cleared());
    described.ask("stow", &json!({"Resources": [id]}));
    described.stage.wait_until("the upload has ended", || described.transfers()["Ended"][0].is_object());
    let transfers = described.transfers();
    let upload = &transfers["Ended"][0];
    assert_eq!(
        (&upload["Account"], &upload["Kind"], &upload["State"]),
        (&json!("g"), &json!("store"), &json!("failed"))
    );
    assert_eq!(upload["StudyInstanceUID"], study.uid.as_str());
    let instances =
        ["InstancesTotal", "InstancesDone", "InstancesFailed"].map(|field| upload[field].as_u64());
    assert_eq!(instances, [Some(6), Some(5), Some(1)], "{upload:#}");
    assert_eq!(upload["BytesTotal"], study.size());
    assert_eq!(upload["BytesDone"], study.size() - refused.bytes.len());
    assert!(upload["Failures"][0].as_str().unwrap().contains(why), "{upload:#}");
    assert_eq!(upload["FailedSOPInstanceUIDList"], json!([refused.uid]));
    assert!(upload["Remedy"].as_str().unwrap().starts_with("correct what is refused"), "{upload:#}");
    let minute = transfers["LastHour"].as_array().unwrap().last().unwrap();
    assert!(minute["Seconds"].as_f64() < Some(90.0), "{minute:#}");
    let hour = |field: &str| -> u64 {
        let minutes = transfers["LastHour"].as_array().unwrap().iter();
        minutes.map(|minute| minute[field].as_u64().unwrap()).sum()
    };
    assert_eq!(["InstancesStored", "InstancesFailed", "TransfersFailed"].map(hour), [5, 1, 1]);
    assert!(hour("BytesSent") > upload["BytesDone"].as_u64().unwrap());

    assert_eq!(described.stage.orthanc.delete(&format!("/studies/{id}")).unwrap().status, 200);
    assert_eq!(described.ask("retrieve", &json!({"Resources": [{"Study": study.uid}]})), 200);
    described.stage.wait_until("the retrieval has ended", || described.transfers()["Ended"][1].is_object());
    let transfers = described.transfers();
    let retrieval = &transfers["Ended"][0];
    assert_eq!(
        (&retrieval["Kind"], &retrieval["State"]),
        (&json!("retrieve"), &json!("succeeded")),
        "{retrieval:#}"
    );
    assert_eq!(retrieval["InstancesDone"], 5);
    assert_eq!(transfers["Ended"][1]["Id"], upload["Id"]);
    let lines = log::lines(&described.stage.stop());
    assert!(lines.iter().any(|line| line.contains("POST studies")), "{lines:#?}");
    let tells = |line: &&String| line.contains("Phantom") || line.contains(&study.patient_id);
    assert_eq!(lines.iter().find(tells), None, "a patient is in the log");
}

#[test]
fn a_transfer_under_way_is_seen_and_orthanc_stops_all_the_same() {
    let described = Described::new(gateway::ready());
    let study = study::ct(&Ct::default()).unwrap();
    let id = described.put(&study);
    described.stage.scene.emulator.faults().add(Fault::hang(Route::Stow).until_cleared());
    std::thread::scope(|scope| {
        let url = format!("{}/dicom-web/servers/g/stow", described.stage.orthanc.url());
        let body = json!({"Resources": [id]}).to_string();
        let client = orthanc_testbed::Client::default();
        let upload = scope.spawn(move || client.send_body("POST", &url, &[], body.as_bytes()));
        let is_read = || described.transfers()["Running"][0]["InstancesTotal"] == 6;
        described.stage.wait_until("the upload waits for Google", is_read);
        let running = &described.transfers()["Running"][0];
        assert_eq!((&running["State"], &running["Ended"]), (&json!("running"), &Value::Null));
        assert_eq!((&running["InstancesDone"], &running["BytesTotal"]), (&json!(0), &json!(study.size())));
        let metrics = described.stage.orthanc.get("/tools/metrics-prometheus").unwrap().text();
        assert!(metrics.contains("orthanc_gcp_gateway_transfers_in_flight 1 "), "{metrics}");
        let memory = described.transfers()["MemoryInUse"].as_u64();
        assert!(memory >= Some(study.size() as u64), "{memory:?}");
        // Orthanc waits for the requests that it is answering: ours must not keep them.
        let stopped = described.stage.orthanc.stop().unwrap();
        assert_eq!(stopped.code(), Some(0));
        drop(upload.join().unwrap());
    });
}
