//! The library in place of the C++ plugin.

use crate::stage::Stage;

#[test]
fn it_introduces_itself() {
    let stage = Stage::ready("g");
    let plugin = stage.orthanc.get("/plugins/google-cloud-platform").unwrap().json().unwrap();
    assert_eq!(plugin["ID"], "google-cloud-platform");
    assert_eq!(plugin["Version"], env!("CARGO_PKG_VERSION"));
    assert!(plugin["Description"].as_str().unwrap().contains("Google Cloud Healthcare API"));
    // Relative to Orthanc Explorer at /app/explorer.html.
    assert_eq!(plugin["RootUri"], "../dicom-web/app/client/index.html");
    assert_eq!(stage.orthanc.get("/dicom-web/app/client/index.html").unwrap().status, 200);
}
