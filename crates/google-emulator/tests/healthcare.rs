//! The DICOM store at its HTTP boundary: who comes in, search, retrieve, delete.

#[cfg(test)]
mod support;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use google_emulator::{CLOUD_HEALTHCARE, EmptySearch};
use serde_json::{Value, json};
use std::time::Duration;
use support::{ANY_SYNTAX, EXPLICIT_LITTLE, Google, IMPLICIT_LITTLE, JPEG_BASELINE, error, made, parts};

#[test]
fn only_a_live_token_of_sufficient_scope_comes_in() {
    let google = Google::start();
    let url = format!("{}/studies", google.emulator.dicom_web_url());
    let narrow = google.emulator.mint_token("openid", Duration::from_secs(60)).unwrap();
    let healthcare = google.emulator.mint_token(CLOUD_HEALTHCARE, Duration::from_secs(60)).unwrap();
    let expired = google.emulator.mint_token(CLOUD_HEALTHCARE, Duration::ZERO).unwrap();
    let get = |authorization: Option<String>| {
        let mut request = google.client.get(&url);
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        request.send().unwrap()
    };
    for (authorization, status, reason, challenge) in [
        (None, 401, "CREDENTIALS_MISSING", ""),
        (Some("Bearer ya29.unknown".to_owned()), 401, "ACCESS_TOKEN_TYPE_UNSUPPORTED", "invalid_token"),
        (Some(format!("Basic {healthcare}")), 401, "ACCESS_TOKEN_TYPE_UNSUPPORTED", "invalid_token"),
        (Some(format!("Bearer {expired}")), 401, "ACCESS_TOKEN_EXPIRED", "invalid_token"),
        (Some(format!("Bearer {narrow}")), 403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficient_scope"),
    ] {
        let response = get(authorization);
        assert_eq!(response.status().as_u16(), status, "{reason}");
        assert!(response.headers()["www-authenticate"].to_str().unwrap().contains(challenge));
        let body: Value = response.json().unwrap();
        let error = error(&body);
        assert_eq!(error["code"], status);
        assert_eq!(error["details"][0]["reason"], reason);
        assert_eq!(error["details"][0]["metadata"]["service"], "healthcare.googleapis.com");
    }
    assert_eq!(get(Some(format!("Bearer {healthcare}"))).status(), 204);
    google.emulator.revoke_tokens();
    assert_eq!(get(Some(format!("Bearer {healthcare}"))).status(), 401);
    // A token that expires while it is used: the emulator's clock decides.
    let short = google.emulator.mint_token(CLOUD_HEALTHCARE, Duration::from_secs(60)).unwrap();
    assert_eq!(get(Some(format!("Bearer {short}"))).status(), 204);
    google.emulator.set_clock_offset(61);
    assert_eq!(get(Some(format!("Bearer {short}"))).status(), 401);
}

#[test]
fn errors_have_googles_form() {
    let google = Google::start();
    let other_store = google.emulator.dicom_web_url().replace("dicomStores/store", "dicomStores/other");
    let missing = |method: &str| {
        let url = format!("{other_store}/studies/1.2");
        let request = google.client.request(method.parse().unwrap(), url).bearer_auth(google.token());
        let response = request.send().unwrap();
        (response.status().as_u16(), response.json::<Value>().unwrap())
    };
    let (status, body) = missing("GET");
    assert_eq!((status, &error(&body)["status"]), (403, &json!("PERMISSION_DENIED")));
    assert_eq!(
        error(&body)["message"],
        "Permission healthcare.dicomStores.dicomWebRead denied on resource \
         'projects/demo/locations/us-central1/datasets/ds/dicomStores/other' (or it may not exist)."
    );
    // Delete does not stream, so its errors are not in an array.
    let (status, body) = missing("DELETE");
    assert_eq!((status, &body["error"]["status"]), (403, &json!("PERMISSION_DENIED")));
    for (method, path, status) in [
        ("GET", "studies/1.2.3", 404),
        ("GET", "studies/1.2.3/series/1/instances/1", 404),
        ("GET", "studies/1.2.3/metadata", 404),
        ("DELETE", "studies/1.2.3", 404),
        ("DELETE", "studies/1.2.3/series/1/instances/1", 404),
        ("GET", "studies/a", 404),
        ("GET", "nonsense", 404),
        ("GET", "studies/1.2.3/rendered", 501),
        ("PUT", "studies", 404),
    ] {
        let response = google.dicom_web(method, path).send().unwrap();
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
    }
}

#[test]
fn searches_find_at_three_levels() {
    let google = Google::filled();
    let (one, two) = (made(1, 1, 1), made(2, 2, 1));
    let (study, series) = (one.study_uid(), one.series_uid());
    for (path, found) in [
        ("studies".to_owned(), 2),
        ("series".to_owned(), 4),
        ("instances".to_owned(), 8),
        (format!("studies/{study}/series"), 2),
        (format!("studies/{study}/instances"), 4),
        (format!("studies/{study}/series/{series}/instances"), 2),
        ("studies/1.2.3/series".to_owned(), 0),
        ("studies?PatientID=P2".to_owned(), 1),
        ("studies?00100020=P2".to_owned(), 1),
        ("studies?PatientName=doe&fuzzymatching=true".to_owned(), 1),
        ("studies?PatientName=doe".to_owned(), 0),
        ("studies?StudyDate=20200101-20200102".to_owned(), 1),
        (format!("series?StudyInstanceUID={study}&Modality=CT"), 1),
        (format!("instances?SOPInstanceUID={}", two.instance_uid()), 1),
        ("instances?limit=3".to_owned(), 3),
        ("instances?limit=3&offset=5".to_owned(), 3),
        ("instances?limit=3&offset=6".to_owned(), 2),
        ("instances?offset=8".to_owned(), 0),
        ("studies?limit=0".to_owned(), 0),
    ] {
        let response = google.get(&path, "application/dicom+json");
        let count = match response.status().as_u16() {
            204 => 0,
            200 => response.json::<Value>().unwrap().as_array().unwrap().len(),
            other => panic!("{path} {other}"),
        };
        assert_eq!(count, found, "{path}");
    }
    for wrong in [
        "studies?limit=5001",
        "instances?limit=50001",
        "studies?offset=1000001",
        "studies?ModalitiesInStudy=CT",
    ] {
        assert_eq!(google.get(wrong, "*/*").status(), 400, "{wrong}");
    }
    assert_eq!(google.get("studies", "text/html").status(), 406);
    google.emulator.change_settings(|settings| settings.empty_search = EmptySearch::EmptyArray);
    let response = google.get("studies?PatientID=nobody", "*/*");
    assert_eq!((response.status().as_u16(), response.text().unwrap().as_str()), (200, "[]"));
}

#[test]
fn searches_return_googles_attributes() {
    let google = Google::filled();
    let first = |path: &str| google.get(path, "*/*").json::<Value>().unwrap()[0].clone();
    let study = first("studies?PatientID=P2");
    let tags: Vec<&str> = study.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "00080020", "00080030", "00080050", "00080090", "00100010", "00100020", "00100030", "00100040",
        "0020000D", "00200010",
    ];
    assert_eq!(tags, expected);
    assert_eq!(study["00100010"], json!({ "vr": "PN", "Value": [{ "Alphabetic": "Doe^John" }] }));
    assert_eq!(study["00100030"], json!({ "vr": "DA" }), "an attribute that is absent");
    assert_eq!(study["00080050"], json!({ "vr": "SH" }), "an attribute that is empty");
    let with = |field: &str| first(&format!("studies?includefield={field}"));
    assert_eq!(with("Manufacturer")["00080070"]["Value"][0], "Größe & Söhne");
    assert_eq!(with("00080070,SeriesNumber")["00200011"], json!({ "vr": "IS" }));
    assert_eq!(with("all")["00280010"]["Value"][0], 8);
    let instance = first("instances");
    assert_eq!(instance["00280011"]["Value"][0], 8);
    assert_eq!(instance["00080018"]["Value"][0], made(1, 1, 1).instance_uid());
}

#[test]
fn instances_come_back_byte_for_byte() {
    let google = Google::filled();
    let one = made(1, 1, 1);
    let study = format!("studies/{}", one.study_uid());
    let all: Vec<Vec<u8>> =
        [(1, 1), (1, 2), (2, 1), (2, 2)].map(|(s, i)| made(1, s, i).file(EXPLICIT_LITTLE)).to_vec();
    assert_eq!(parts(google.get(&study, ANY_SYNTAX)), all);
    assert_eq!(parts(google.get(&study, "*/*")), all);
    assert_eq!(parts(google.get(&format!("{study}/series/{}", one.series_uid()), ANY_SYNTAX)), all[..2]);
    assert_eq!(parts(google.get(&one.path(), ANY_SYNTAX)), all[..1]);
    let response = google.get(&one.path(), "application/dicom; transfer-syntax=*");
    assert_eq!(
        response.headers()["content-type"],
        format!("application/dicom; transfer-syntax={EXPLICIT_LITTLE}")
    );
    assert_eq!(response.bytes().unwrap(), all[0]);
    for (path, accept, status) in [
        (study.as_str(), "application/dicom", 406),
        (&study, "image/png", 406),
        (&study, "multipart/related; type=\"image/jpeg\"", 406),
        (&study, "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2", 406),
        (
            &study,
            "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.4.50",
            400,
        ),
        (&study, "image/png, multipart/related; type=\"application/dicom\"", 200),
    ] {
        assert_eq!(google.get(path, accept).status().as_u16(), status, "{accept}");
    }
}

#[test]
fn the_default_transfer_syntax_is_explicit_little_endian() {
    let google = Google::start();
    let (implicit, jpeg) = (made(1, 1, 1), made(1, 1, 2));
    let files = [implicit.file(IMPLICIT_LITTLE), jpeg.file(JPEG_BASELINE)];
    assert_eq!(google.store("studies", &files).status(), 200);
    let any = google.get(&format!("studies/{}", implicit.study_uid()), ANY_SYNTAX);
    assert_eq!(parts(any), files);
    let response = google.get(&implicit.path(), "application/dicom");
    assert_eq!(
        response.headers()["content-type"],
        format!("application/dicom; transfer-syntax={EXPLICIT_LITTLE}")
    );
    let object = dicom_object::from_reader(std::io::Cursor::new(response.bytes().unwrap())).unwrap();
    let pixels = |object: &dicom_object::DefaultDicomObject| {
        object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().to_vec()
    };
    assert_eq!(object.meta().transfer_syntax(), EXPLICIT_LITTLE);
    let original = dicom_object::from_reader(std::io::Cursor::new(&files[0])).unwrap();
    assert_eq!(pixels(&object), pixels(&original));
    let response = google.get(&jpeg.path(), "application/dicom");
    assert_eq!(response.status(), 400);
    let study = format!("studies/{}", jpeg.study_uid());
    assert_eq!(google.get(&study, "*/*").status(), 400);
    assert_eq!(std::fs::read_dir(google.emulator.data_dir().join("incoming")).unwrap().count(), 0);
}

#[test]
fn metadata_leaves_out_the_pixels() {
    let google = Google::filled();
    let one = made(1, 1, 1);
    let study = format!("studies/{}", one.study_uid());
    for (path, count) in [
        (format!("{study}/metadata"), 4),
        (format!("{study}/series/{}/metadata", one.series_uid()), 2),
        (format!("{}/metadata", one.path()), 1),
    ] {
        let body: Value = google.get(&path, "application/dicom+json").json().unwrap();
        let all = body.as_array().unwrap();
        assert_eq!(all.len(), count);
        assert_eq!(all[0]["00080018"]["Value"][0], one.instance_uid());
        assert_eq!(all[0]["00080070"]["Value"][0], "Größe & Söhne");
        let uri = all[0]["7FE00010"]["BulkDataURI"].as_str().unwrap();
        assert_eq!(uri, format!("{}/{}/bulkdata/7FE00010", google.emulator.dicom_web_url(), one.path()));
    }
    assert_eq!(google.get(&format!("{study}/metadata"), "application/dicom+xml").status(), 406);
}

#[test]
fn text_is_read_in_the_character_set_that_the_instance_names() {
    let google = Google::start();
    let names: [(&str, &str, &[u8]); 4] = [
        ("ISO_IR 100", "Äneas^Rüdiger", b"\xc4neas^R\xfcdiger"),
        ("ISO_IR 144", "Люкceмбypг", b"\xbb\xee\xdace\xdc\xd1yp\xd3"),
        ("ISO 2022 IR 87", "山田^太郎", b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        ("GB18030", "王^小东", b"\xcd\xf5^\xd0\xa1\xb6\xab"),
    ];
    for (number, (character_set, name, bytes)) in (1..).zip(names) {
        let one = made(number, 1, 1);
        let mut object = dicom_object::from_reader(one.file(EXPLICIT_LITTLE).as_slice()).unwrap();
        object.remove_element(tags::MANUFACTURER);
        object.put_str(tags::SPECIFIC_CHARACTER_SET, VR::CS, character_set);
        object.put_str(tags::PATIENT_NAME, VR::PN, name);
        let mut file = Vec::new();
        object.write_all(&mut file).unwrap();
        assert!(file.windows(bytes.len()).any(|window| window == bytes), "{character_set}");
        assert_eq!(google.store("studies", &[file]).status(), 200);
        let path = format!("{}/metadata", one.path());
        let body: Value = google.get(&path, "application/dicom+json").json().unwrap();
        assert_eq!(body[0]["00100010"]["Value"][0]["Alphabetic"], name, "{character_set}");
    }
}

#[test]
fn deletions_are_operations_but_for_instances() {
    let google = Google::filled();
    let (one, two) = (made(1, 1, 1), made(2, 1, 1));
    let delete = |path: &str| google.dicom_web("DELETE", path).send().unwrap().json::<Value>().unwrap();
    assert_eq!(delete(&one.path()), json!({}));
    assert_eq!(google.get(&one.path(), ANY_SYNTAX).status(), 404);

    google.emulator.change_settings(|settings| settings.pending_polls = 1);
    let study = format!("studies/{}", two.study_uid());
    let operation = delete(&study);
    let name = operation["name"].as_str().unwrap();
    assert!(name.starts_with("projects/demo/locations/us-central1/datasets/ds/operations/"));
    let poll = |token: &str| {
        let url = format!("{}{name}", google.emulator.healthcare_base_url("v1"));
        google.client.get(url).bearer_auth(token).send().unwrap()
    };
    assert_eq!(poll("none").status(), 401);
    let pending: Value = poll(&google.token()).json().unwrap();
    assert!(pending.get("done").is_none());
    let done: Value = poll(&google.token()).json().unwrap();
    assert_eq!((&done["done"], &done["metadata"]["counter"]["success"]), (&json!(true), &json!("4")));
    assert_eq!(done["response"]["@type"], "type.googleapis.com/google.protobuf.Empty");
    assert_eq!(
        done["metadata"]["apiMethodName"],
        "google.cloud.healthcare.v1.dicomweb.DicomWebService.DeleteStudy"
    );
    assert_eq!(google.get(&study, ANY_SYNTAX).status(), 404);

    let series = format!("studies/{}/series/{}", one.study_uid(), one.series_uid());
    assert!(delete(&series)["name"].is_string());
    let left = google.get("instances", "*/*").json::<Value>().unwrap().as_array().unwrap().len();
    assert_eq!(left, 2);
}

#[test]
fn both_versions_and_both_schemes_serve_the_same_store() {
    let google = Google::filled();
    let (store, one) = (google.emulator.store(), made(1, 1, 1));
    for root in [google.emulator.http_url(), google.emulator.https_url()] {
        for version in ["v1", "v1beta1"] {
            let url = format!("{root}/{version}/{store}/dicomWeb/{}", one.path());
            let request = google.client.get(format!("{url}/metadata")).bearer_auth(google.token());
            let body: Value = request.send().unwrap().json().unwrap();
            assert!(body[0]["7FE00010"]["BulkDataURI"].as_str().unwrap().starts_with(&url), "{url}");
        }
    }
}
