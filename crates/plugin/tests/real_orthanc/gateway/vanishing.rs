//! Clients of the gateway that vanish, and what others are told.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use google_emulator::{Fault, Route};
use orthanc_testbed::assert_no_secret;

use super::{
    client::{ACCEPT, part, request, upload, upload_rest, with_secret},
    transfer::{Holdings, Instance, Study, assert_stored, assert_stored_whole, last, stow},
    *,
};

/// Begins to upload: the last of these instances only in part.
fn begin_upload(stage: &Stage, secret: &str, instances: &[Instance]) -> TcpStream {
    let mut body = instances.iter().map(part).collect::<Vec<_>>().concat();
    let mut stream = upload(stage, secret, body.len());
    body.truncate(body.len() - 100_000);
    stream.write_all(&body).unwrap();
    stream
}

#[test]
fn in_the_middle_of_an_upload() {
    let (stage, secret) = with_secret(Scene::new());
    // 720 kB each.
    let study = Study::new(1, 1, 10, 600);
    let resources = study.put(&stage);
    let before = Holdings::of(&stage);
    let (beginning, rest) = study.instances.split_at(6);
    stage.scene.emulator.faults().add(Fault::hang(Route::Stow).until_cleared());
    let stream = begin_upload(&stage, &secret, beginning);
    stage.wait_until("an upload under way", || !stage.requests(Route::Stow).is_empty());
    drop(stream);
    before.assert_nothing_left(&stage);
    assert_eq!(last(&stage)["State"], "cancelled");
    assert_stored(&stage, []);

    // What the DICOMweb plugin sends when a job is resubmitted: the rest, under the boundary of the job.
    stage.scene.emulator.faults().clear();
    assert_eq!(upload_rest(&stage, &secret, rest), "HTTP/1.1 409 Conflict");
    assert_stored(&stage, rest);
    let told = last(&stage);
    let missing = told["FailedSOPInstanceUIDList"].as_array().unwrap().len();
    assert_eq!((&told["State"], missing), (&json!("failed"), 6), "{told:#}");
    stage.wait_for(&["but 6 instances are missing: an earlier upload", "send the study again as a whole"]);
    stow(&stage, &resources).succeeds();
    assert_stored(&stage, &study.instances);
    assert_eq!(last(&stage)["InstancesPresent"], 4);
    before.assert_nothing_left(&stage);
    stage.stop();
}

#[test]
fn with_more_in_the_connection_than_the_gateway_has_read() {
    let (stage, secret) = with_secret(Scene::new());
    // 4.4 MB: each is a batch of its own, and the gateway reads ten of them ahead.
    let study = Study::new(1, 1, 15, 1490);
    let before = Holdings::of(&stage);
    stage.scene.emulator.faults().add(Fault::answer(Route::Stow, 503, "{}").until_cleared());
    let parts: Vec<Vec<u8>> = study.instances[..14].iter().map(part).collect();
    let mut stream = upload(&stage, &secret, usize::MAX >> 1);
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let body = parts.concat();
    let mut taken = 0;
    while let Ok(now) = stream.write(&body[taken..])
        && now > 0
    {
        taken += now;
    }
    drop(stream);
    let starts = parts.iter().scan(0, |at, part| Some(std::mem::replace(at, *at + part.len())));
    // A name stands in the first 2 kB.
    let begun = starts.filter(|start| start + 2000 < taken).count();
    // How much the connection takes is the kernel's business. What it has not yet passed on hides the end of the connection.
    before.assert_nothing_left(&stage);
    assert_eq!(last(&stage)["State"], "cancelled");
    stage.scene.emulator.faults().clear();
    assert_stored(&stage, []);

    // The DICOMweb plugin believes that it has sent all that it has written.
    assert_eq!(upload_rest(&stage, &secret, &study.instances[14..]), "HTTP/1.1 409 Conflict");
    let told = last(&stage);
    let missing = told["FailedSOPInstanceUIDList"].as_array().unwrap().len();
    assert_eq!((&told["State"], missing), (&json!("failed"), begun), "{told:#}");
    stage.stop();
}

#[test]
fn in_the_middle_of_a_large_instance() {
    let (stage, secret) = with_secret(Scene::new());
    let study = Study::new(1, 1, 1, 4200);
    stage.orthanc.forbid_in_log([study.uid.clone()]);
    let before = Holdings::of(&stage);
    let stream = begin_upload(&stage, &secret, &study.instances);
    stage.wait_until("an upload under way", || {
        stage.requests(Route::Stow).last().is_some_and(|request| request.body_bytes > 20_000_000)
    });
    drop(stream);
    before.assert_nothing_left(&stage);
    assert_eq!(last(&stage)["State"], "cancelled");
    assert_stored(&stage, []);
}

#[test]
fn in_the_middle_of_a_retrieval() {
    let (stage, secret) = with_secret(Scene::new());
    let study = Study::new(1, 1, 30, 500);
    let resources = study.put(&stage);
    let before = Holdings::of(&stage);
    stow(&stage, &resources).succeeds();
    // However much the kernel takes for the client, the last one is not there when it vanishes.
    let missing = Fault::hang(Route::WadoInstance).on_path(&study.instances[29].uid);
    stage.scene.emulator.faults().add(missing.until_cleared());
    let mut stream = request(&stage, &secret, &format!("GET /g{}", study.path()), ACCEPT);
    let mut some = vec![0; 1_000_000];
    stream.read_exact(&mut some).unwrap();
    assert!(some.starts_with(b"HTTP/1.1 200"));
    drop(stream);
    before.assert_nothing_left(&stage);
    assert_eq!(last(&stage)["State"], "cancelled");
    assert_eq!(assert_stored_whole(&stage, &study.instances), 30);
    stage.stop();
}

#[test]
fn refusals_tell_no_secret() {
    let (stage, secret) = with_secret(Scene::new());
    let refusal = r#"{"error":{"code":403,"message":"not for you"}}"#;
    stage.scene.emulator.faults().add(Fault::answer(Route::Any, 403, refusal).until_cleared());
    let mut secrets = stage.scene.emulator.secrets();
    secrets.push(secret.clone());
    for (shown, status) in [(secret.as_str(), 403), ("wrong", 401)] {
        for path in ["/g/studies?PatientID=1", "/g/studies/1.2", "/g/../x", "/h/studies"] {
            let fields = format!("{ACCEPT}\r\nConnection: close");
            let mut stream = request(&stage, shown, &format!("GET {path}"), &fields);
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let expected = match path {
                "/g/../x" => 400,
                "/h/studies" => 401,
                _ => status,
            };
            assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{path}: {answer}");
            assert_no_secret(&answer, &secrets);
        }
    }
}
