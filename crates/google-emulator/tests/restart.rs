//! A data folder keeps what it holds.

#[cfg(test)]
mod support;

use google_emulator::{CLOUD_PLATFORM, Emulator, StartError, StoreName, SubjectSource};
use serde_json::json;
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use support::{ANY_SYNTAX, EXPLICIT_LITTLE, Google, made, parts};

const HOUR: Duration = Duration::from_secs(3_600);

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
    let token = first.subject_token(Duration::from_secs(3_600)).unwrap();
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

/// The ports of an emulator, HTTP and HTTPS.
#[cfg(test)]
fn ports(emulator: &Emulator) -> [u16; 2] {
    [emulator.http_url(), emulator.https_url()].map(|url| url.rsplit(':').next().unwrap().parse().unwrap())
}

#[test]
fn a_client_goes_on_with_its_token_after_a_restart_on_the_same_ports() {
    let folder = tempfile::tempdir().unwrap();
    let first = Google::from(Emulator::builder().data_dir(folder.path()).start().unwrap());
    let [http, https] = ports(&first.emulator);
    let (token, revoked) = (first.token(), first.emulator.mint_token(CLOUD_PLATFORM, HOUR).unwrap());
    let short = first.emulator.mint_token(CLOUD_PLATFORM, Duration::from_secs(30)).unwrap();
    let url = format!("{}/studies", first.emulator.dicom_web_url());
    let client = first.client.clone();
    let search = |token: &str| client.get(&url).bearer_auth(token).send().unwrap().status();
    let one = made(1, 1, 1).file(EXPLICIT_LITTLE);
    assert_eq!(first.store("studies", &[one]).status(), 200);
    drop(first);

    let again = || {
        let builder = Emulator::builder().data_dir(folder.path());
        builder.http_port(http).https_port(https).start().unwrap()
    };
    let second = again();
    assert_eq!(search(&token), 200);
    assert_eq!(search(&revoked), 200);
    assert!(second.secrets().contains(&token));
    second.set_clock_offset(31);
    assert_eq!((search(&short).as_u16(), search(&token).as_u16()), (401, 200));
    second.revoke_tokens();
    assert_eq!(search(&revoked), 401);
    drop(second);

    let third = again();
    assert_eq!(search(&revoked), 401, "revoked for good");
    assert!(third.secrets().contains(&revoked), "and still nothing for a log");
    let mode = std::fs::metadata(folder.path().join("tokens.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_index_that_a_kill_left_incomplete_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Google::from(Emulator::builder().data_dir(folder.path()).start().unwrap());
    let files = [1, 2, 3].map(|number| made(1, 1, number).file(EXPLICIT_LITTLE));
    let first = start();
    assert_eq!(first.store("studies", &files).status(), 200);
    let before = first.emulator.instances();
    drop(first);
    let notes: Vec<_> = notes_below(folder.path());
    assert_eq!(notes.len(), 3);
    std::fs::remove_file(&notes[0]).unwrap();
    std::fs::write(&notes[1], "{").unwrap();

    let second = start();
    assert!(second.emulator.instances() == before);
    let found = second.get("instances?includefield=Manufacturer", "*/*").json::<serde_json::Value>().unwrap();
    assert!(found.as_array().unwrap().iter().all(|found| found["00080070"]["Value"][0] == "Größe & Söhne"));
    assert_eq!(second.store("studies", &files).status(), 200, "still known to be identical");
    assert_eq!(notes_below(folder.path()).len(), 3);
}

/// The files beside the instances, ordered.
#[cfg(test)]
fn notes_below(folder: &Path) -> Vec<PathBuf> {
    let below = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    // Project, location, dataset, store, study, series.
    let mut folders = vec![folder.join("dicom")];
    for _ in 0..6 {
        folders = folders.into_iter().flat_map(below).collect();
    }
    let files = folders.into_iter().flat_map(below);
    let mut notes: Vec<PathBuf> = files.filter(|path| path.extension().unwrap() == "json").collect();
    notes.sort();
    notes
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
