//! A data folder keeps what it holds.

#[cfg(test)]
mod support;

use google_emulator::{CLOUD_PLATFORM, Emulator, StartError, StoreName, SubjectSource};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use support::{ANY_SYNTAX, EXPLICIT_LITTLE, Google, made, parts};

#[test]
fn instances_keys_and_authority_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Google::from(Emulator::builder().data_dir(folder.path()).start().unwrap());
    let (one, two) = (made(1, 1, 1), made(1, 2, 1));
    let google = start();
    let files = [one.file(EXPLICIT_LITTLE), two.file(EXPLICIT_LITTLE)];
    assert_eq!(google.store("studies", &files).status(), 200);
    let (assertion, client) = (
        google.assertion(&json!({}), &json!({ "aud": "https://oauth2.googleapis.com/token" })),
        google.client,
    );
    google.emulator.stop();

    let mut google = start();
    // The old client trusts the new emulator: the authority is the same.
    google.client = client;
    assert_eq!(google.ask_with_assertion(&assertion).0, 200);
    assert_eq!(parts(google.get(&format!("studies/{}", one.study_uid()), ANY_SYNTAX)), files);
    assert_eq!(google.store("studies", &files).status(), 200, "still known to be identical");
    assert_eq!(google.dicom_web("DELETE", &two.path()).send().unwrap().status(), 200);
    drop(google);

    let google = start();
    assert_eq!(parts(google.get(&format!("studies/{}", one.study_uid()), ANY_SYNTAX)), files[..1]);
    let mode = std::fs::metadata(folder.path().join("identity.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_the_world_outside_holds_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = Emulator::builder().data_dir(folder.path()).start().unwrap();
    let token = first.subject_token(std::time::Duration::from_secs(3_600)).unwrap();
    let (role, session) = (first.aws_role_credentials(), first.workforce_session());
    first.stop();

    let google = Google::from(Emulator::builder().data_dir(folder.path()).start().unwrap());
    assert!(google.emulator.aws_role_credentials() == role && google.emulator.workforce_session() == session);
    let file = google.emulator.external_account(&SubjectSource::TextUrl).json();
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", file["audience"].as_str().unwrap()),
            ("scope", CLOUD_PLATFORM),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", &token),
            ("subject_token_type", file["subject_token_type"].as_str().unwrap()),
        ])
        .finish();
    let request = google.client.post(file["token_url"].as_str().unwrap()).body(form);
    let answer = request.header("Content-Type", "application/x-www-form-urlencoded").send().unwrap();
    assert_eq!(answer.status(), 200);
    let mode = std::fs::metadata(folder.path().join("federation.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_temporary_folder_goes_with_the_emulator() {
    let google = Google::start();
    let folder = google.emulator.data_dir().to_owned();
    assert_eq!(google.store("studies", &[made(1, 1, 1).file(EXPLICIT_LITTLE)]).status(), 200);
    assert!(folder.exists());
    drop(google);
    assert!(!folder.exists());
}

#[test]
fn stores_are_those_that_were_declared() {
    let name = "projects/p/locations/europe-west6/datasets/d.1/dicomStores/s.2";
    let emulator = Emulator::builder().store(StoreName::parse(name).unwrap()).start().unwrap();
    let google = Google::from(emulator);
    assert!(google.emulator.dicom_web_url().ends_with(&format!("/v1/{name}/dicomWeb")));
    assert_eq!(google.get("studies", "*/*").status(), 204);
    let default =
        format!("{}{}/dicomWeb/studies", google.emulator.healthcare_base_url("v1"), StoreName::default());
    assert_eq!(google.client.get(default).bearer_auth(google.token()).send().unwrap().status(), 403);
}

#[test]
fn what_cannot_start_says_why() {
    let google = Google::start();
    let port = google.emulator.http_url().rsplit(':').next().unwrap().parse().unwrap();
    let taken = Emulator::builder().http_port(port).start().err().unwrap();
    assert!(matches!(taken, StartError::Listen { .. }), "{taken}");
    let taken = Emulator::builder().metadata_port(port).start().err().unwrap();
    assert!(matches!(taken, StartError::Listen { .. }), "{taken}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("identity.json"), "{}").unwrap();
    let broken = Emulator::builder().data_dir(folder.path()).start().err().unwrap();
    assert!(broken.to_string().contains("identity.json"), "{broken}");
}
