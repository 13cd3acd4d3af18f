//! The gateway, which is on where nothing else is said: the DICOMweb plugin talks to us, and we to Google.

use google_emulator::Route;
use orthanc_testbed::{Builder, Orthanc, Release};
use serde_json::{Value, json};

use crate::stage::{Scene, Stage};

mod blocked;
mod client;
mod conflicts;
mod endings;
mod faults;
mod google;
mod jobs;
mod large;
mod others;
mod transfer;
mod vanishing;
mod way;

/// Orthanc with the account `g`, not yet started.
pub(crate) fn orthanc(scene: &Scene) -> Builder {
    scene.orthanc(&json!({"g": scene.service_account()}))
}

/// Started and ready.
pub(crate) fn ready() -> Stage {
    let scene = Scene::new();
    let orthanc = orthanc(&scene);
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    stage
}

/// What the DICOMweb plugin holds of the account.
pub(crate) fn server(orthanc: &Orthanc) -> Value {
    let expanded = orthanc.get("/dicom-web/servers?expand").unwrap().json().unwrap();
    expanded["g"].clone()
}

/// The gateway's port.
pub(crate) fn port(stage: &Stage) -> u16 {
    let url = server(&stage.orthanc)["Url"].as_str().unwrap().to_owned();
    let port = url.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.split('/').next());
    port.unwrap_or_else(|| panic!("{url} is not the gateway's")).parse().unwrap()
}
