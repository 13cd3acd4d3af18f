//! Store at its HTTP boundary.

#[cfg(test)]
mod support;

use google_emulator::{Emulator, Keep, Route};
use serde_json::{Value, json};
use std::{io::Write, net::TcpStream, path::Path};
use support::raw::{nested, raw_file};
use support::{ANY_SYNTAX, EXPLICIT_LITTLE, Google, IMPLICIT_LITTLE, error, made, multipart, parts, until};

#[test]
fn stow_answers_in_xml_unless_asked_for_json() {
    let google = Google::start();
    let one = made(1, 1, 1);
    let post = |accept: Option<&str>| {
        let mut request = google.dicom_web("POST", "studies").header("Content-Type", "application/dicom");
        if let Some(accept) = accept {
            request = request.header("Accept", accept);
        }
        request.body(one.file(EXPLICIT_LITTLE)).send().unwrap()
    };
    let root = google.emulator.dicom_web_url();
    let response = post(None);
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/dicom+xml");
    let body = response.text().unwrap();
    let uid = one.study_uid();
    for expected in [
        "<NativeDicomModel><DicomAttribute tag=\"00081190\" vr=\"UR\" keyword=\"RetrieveURL\">",
        &format!("<Value number=\"1\">{root}/studies/{uid}</Value>"),
        "<DicomAttribute tag=\"00081199\" vr=\"SQ\" keyword=\"ReferencedSOPSequence\"><Item number=\"1\">",
        &format!("<Value number=\"1\">{root}/{}</Value>", one.path()),
    ] {
        assert!(body.contains(expected), "{expected} in {body}");
    }
    // The same bytes again are no error.
    let response = post(Some("application/dicom+json"));
    assert_eq!(response.status(), 200);
    let body: Value = response.json().unwrap();
    assert_eq!(body["00081190"]["Value"][0], format!("{root}/studies/{uid}"));
    assert_eq!(body["00081199"]["Value"][0]["00081155"]["Value"][0], one.instance_uid());
    assert_eq!(post(Some("text/html")).status(), 406);
    assert_eq!(post(Some("*/*")).headers()["content-type"], "application/dicom+xml");
}

#[test]
fn stow_reports_what_it_did_not_store() {
    let google = Google::start();
    let (one, two) = (made(1, 1, 1), made(1, 1, 2));
    assert_eq!(google.store("studies", &[one.file(EXPLICIT_LITTLE)]).status(), 200);
    let different = one.file(IMPLICIT_LITTLE);
    let response =
        google.store("studies", &[different.clone(), two.file(EXPLICIT_LITTLE), b"no DICOM".to_vec()]);
    assert_eq!(response.status(), 409);
    let body: Value = response.json().unwrap();
    let failed = body["00081198"]["Value"].as_array().unwrap();
    assert_eq!(failed.len(), 2);
    assert_eq!(failed[0]["00081155"]["Value"][0], one.instance_uid());
    assert_eq!(failed[0]["00081197"], json!({ "vr": "US", "Value": [272] }));
    assert!(failed[0]["00091097"]["Value"][0].as_str().unwrap().contains("checksum mismatch"));
    assert!(failed[1].get("00081155").is_none());
    assert_eq!(body["00081199"]["Value"].as_array().unwrap().len(), 1);
    // What was there stays as it was.
    assert_eq!(parts(google.get(&one.path(), ANY_SYNTAX)), [one.file(EXPLICIT_LITTLE)]);

    let xml = google.dicom_web("POST", "studies").header("Content-Type", "application/dicom").body(different);
    let body = xml.send().unwrap().text().unwrap();
    assert!(
        body.contains("tag=\"00090097\" vr=\"LT\" keyword=\"FailureDetail\" privateCreator=\"GOOGLE\""),
        "{body}"
    );

    let response = google.store("studies/9.9", &[made(3, 1, 1).file(EXPLICIT_LITTLE)]);
    assert_eq!(response.status(), 409);
    assert_eq!(google.get("studies", "*/*").json::<Value>().unwrap().as_array().unwrap().len(), 1);
    let study = format!("studies/{}", one.study_uid());
    assert_eq!(google.store(&study, &[made(1, 2, 1).file(EXPLICIT_LITTLE)]).status(), 200);
}

#[test]
fn duplicates_are_what_they_are_at_google_in_both_forms() {
    let google = Google::start();
    let [known, other, new] = [1, 2, 3].map(|number| made(1, 1, number));
    let files = [known, other].map(|instance| instance.file(EXPLICIT_LITTLE));
    assert_eq!(google.store("studies", &files).status(), 200);
    let batch = multipart(&[files[0].clone(), other.file(IMPLICIT_LITTLE), new.file(EXPLICIT_LITTLE)]);
    let send = |accept: Option<&str>, batch: Vec<u8>| {
        let mut request = google
            .dicom_web("POST", "studies")
            .header("Content-Type", "multipart/related; type=\"application/dicom\"; boundary=BOUNDARY");
        if let Some(accept) = accept {
            request = request.header("Accept", accept);
        }
        let response = request.body(batch).send().unwrap();
        (response.status().as_u16(), response.text().unwrap())
    };
    let identical = multipart(&files[..1]);
    let (status, body) = send(Some("application/dicom+json"), identical.clone());
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, body.get("00081198")), (200, None));
    assert_eq!(body["00081199"]["Value"][0]["00081155"]["Value"][0], known.instance_uid());
    let (status, body) = send(None, identical);
    assert!(status == 200 && body.contains("ReferencedSOPSequence") && !body.contains("FailedSOPSequence"));

    let (status, body) = send(Some("application/dicom+json"), batch.clone());
    let body: Value = serde_json::from_str(&body).unwrap();
    let uids = |tag: &str| -> Vec<String> {
        let items = body[tag]["Value"].as_array().unwrap();
        items.iter().map(|item| item["00081155"]["Value"][0].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(status, 409, "Google has no 202");
    assert_eq!(uids("00081199"), [known.instance_uid(), new.instance_uid()]);
    assert_eq!(uids("00081198"), [other.instance_uid()]);
    let failure = &body["00081198"]["Value"][0];
    assert_eq!(failure["00081197"]["Value"][0], 272);
    assert!(failure["00091097"]["Value"][0].as_str().unwrap().contains("already exists"));

    let (status, body) = send(None, batch);
    assert_eq!(status, 409);
    let (failed, referenced) = body.split_once("keyword=\"ReferencedSOPSequence\"").unwrap();
    let uid = |instance: support::Made| format!("<Value number=\"1\">{}</Value>", instance.instance_uid());
    assert!(failed.contains("keyword=\"FailedSOPSequence\"") && failed.contains(&uid(other)), "{failed}");
    assert!(failed.contains("vr=\"US\" keyword=\"FailureReason\"><Value number=\"1\">272</Value>"));
    assert!(failed.contains("keyword=\"FailureDetail\"") && failed.contains("already exists"), "{failed}");
    assert!(referenced.contains(&uid(known)) && referenced.contains(&uid(new)), "{referenced}");
    assert!(!failed.contains(&uid(known)) && !referenced.contains(&uid(other)));
}

#[test]
fn stow_refuses_what_is_no_store_request() {
    let google = Google::start();
    let good = multipart(&[made(1, 1, 1).file(EXPLICIT_LITTLE)]);
    let cut = good[..good.len() - 10].to_vec();
    let dicom = "multipart/related; type=\"application/dicom\"; boundary=BOUNDARY";
    for (kind, body) in [
        (Some("application/json"), good.clone()),
        (Some("multipart/related; boundary=BOUNDARY"), good.clone()),
        (Some("multipart/related; type=\"application/dicom\""), good.clone()),
        (Some("multipart/related; type=\"application/dicom+json\"; boundary=BOUNDARY"), good.clone()),
        (Some("multipart/form-data; boundary=BOUNDARY"), good),
        (None, cut.clone()),
        (Some(dicom), cut),
        (Some(dicom), b"--BOUNDARY--\r\n".to_vec()),
        (Some(dicom), b"--BOUNDARY\r\nContent-Type: image/png\r\n\r\nx\r\n--BOUNDARY--\r\n".to_vec()),
        (Some(dicom), Vec::new()),
    ] {
        let mut request = google.dicom_web("POST", "studies");
        if let Some(kind) = kind {
            request = request.header("Content-Type", kind);
        }
        let response = request.body(body).send().unwrap();
        assert_eq!(response.status(), 400, "{kind:?}");
        assert_eq!(error(&response.json().unwrap())["status"], "INVALID_ARGUMENT");
    }
    let left = std::fs::read_dir(google.emulator.data_dir().join("incoming")).unwrap().count();
    assert_eq!(left, 0, "no part of a refused request may stay on disk");
}

#[test]
fn boundaries_may_be_as_long_as_orthancs() {
    let google = Google::start();
    let boundary = "0".repeat(73);
    let body = multipart(&[made(1, 1, 1).file(EXPLICIT_LITTLE)]);
    let body = [
        format!("--{boundary}").as_bytes(),
        &body[10..body.len() - 14],
        format!("--{boundary}--").as_bytes(),
    ]
    .concat();
    let kind = format!("multipart/related; type=\"application/dicom\"; boundary={boundary}");
    let response =
        google.dicom_web("POST", "studies").header("Content-Type", kind).body(body).send().unwrap();
    assert_eq!(response.status(), 200);
}

#[test]
fn of_two_different_instances_one_is_stored_however_they_race() {
    let google = Google::start();
    let one = made(1, 1, 1);
    let files = [one.file(EXPLICIT_LITTLE), one.file(IMPLICIT_LITTLE)];
    let statuses: Vec<(usize, u16)> = std::thread::scope(|scope| {
        let store = |number: usize| {
            let file = std::slice::from_ref(&files[number % 2]);
            (number % 2, google.store("studies", file).status().as_u16())
        };
        let threads: Vec<_> = (0..12).map(|number| scope.spawn(move || store(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let stored = parts(google.get(&one.path(), ANY_SYNTAX));
    let winner = files.iter().position(|file| *file == stored[0]).unwrap();
    for (file, status) in statuses {
        assert_eq!(status, if file == winner { 200 } else { 409 });
    }
    assert!(incoming_is_empty(&google));
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let google = Google::start();
    let address = google.emulator.http_url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let (store, token) = (google.emulator.store(), google.token());
    let head = format!(
        "POST /v1/{store}/dicomWeb/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000000\r\n\
         Content-Type: multipart/related; type=\"application/dicom\"; boundary=BOUNDARY\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let body = multipart(&[made(1, 1, 1).file(EXPLICIT_LITTLE), made(1, 1, 2).file(EXPLICIT_LITTLE)]);
    stream.write_all(&body[..body.len() - 100]).unwrap();
    let arrived = u64::try_from(body.len() - 100).unwrap();
    until(|| google.emulator.requests().first().is_some_and(|seen| seen.body_bytes == arrived));
    until(|| google.search().unwrap().status() == 200);
    drop(stream);
    until(|| incoming_is_empty(&google));
    let found = google.get("instances", "*/*").json::<Value>().unwrap();
    assert_eq!(found.as_array().unwrap().len(), 1, "what was complete is stored");
    assert_eq!(google.emulator.requests()[0].route, Route::Stow);
}

fn incoming_is_empty(google: &Google) -> bool {
    let incoming = Path::new(google.emulator.data_dir()).join("incoming");
    std::fs::read_dir(incoming).is_ok_and(|mut entries| entries.next().is_none())
}

#[test]
fn nesting_without_end_is_refused_and_ends_nothing() {
    for keep in [Keep::Disk, Keep::Memory, Keep::Digests] {
        let google = Google::of(Emulator::builder().keep(keep));
        for have_lengths in [false, true] {
            let uid = if have_lengths { "1.2.25.1.1" } else { "1.2.25.1.5" };
            let deep = raw_file(uid, *b"UI", &nested(2_000, have_lengths));
            let response = google.store("studies", &[deep]);
            // The archive that forgets instances reads no more than their UIDs, which stand before.
            if keep == Keep::Digests {
                assert_eq!(response.status(), 200);
                continue;
            }
            assert_eq!(response.status(), 409);
            let body: Value = response.json().unwrap();
            let detail = body["00081198"]["Value"][0]["00091097"]["Value"][0].as_str().unwrap();
            assert!(detail.contains("32 sequences within each other"), "{detail}");
        }
        if keep == Keep::Digests {
            continue;
        }
        let real = raw_file("1.2.25.1.2", *b"UI", &nested(32, true));
        assert_eq!(google.store("studies", &[real]).status(), 200);
        let path = "studies/1.2.25/series/1.2.25.1/instances/1.2.25.1.2/metadata";
        let metadata: Value = google.dicom_web("GET", path).send().unwrap().json().unwrap();
        assert_eq!(metadata[0]["0040A730"]["vr"], "SQ");
    }
}

#[test]
fn announced_gigabytes_are_refused() {
    let google = Google::start();
    let mut announced = [&0x41_u16.to_le_bytes()[..], &0x10_u16.to_le_bytes(), b"OB\0\0"].concat();
    announced.extend_from_slice(&0xFFFF_FFF0_u32.to_le_bytes());
    let response = google.store("studies", &[raw_file("1.2.25.1.3", *b"UI", &announced)]);
    assert_eq!(response.status(), 409);
    let body: Value = response.json().unwrap();
    let detail = body["00081198"]["Value"][0]["00091097"]["Value"][0].as_str().unwrap();
    assert!(detail.contains("bytes before the pixel data"), "{detail}");
}

#[test]
fn uids_of_unknown_vr_are_read() {
    let google = Google::start();
    assert_eq!(google.store("studies", &[raw_file("1.2.25.1.4", *b"UN", &[])]).status(), 200);
    let found: Value = google
        .dicom_web("GET", "studies/1.2.25/instances?SOPInstanceUID=1.2.25.1.4")
        .send()
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(found[0]["00080018"], json!({ "vr": "UI", "Value": ["1.2.25.1.4"] }));
    let path = "studies/1.2.25/series/1.2.25.1/instances/1.2.25.1.4/metadata";
    let metadata: Value = google.dicom_web("GET", path).send().unwrap().json().unwrap();
    assert_eq!(metadata[0]["0020000D"]["Value"][0], "1.2.25");
}
