//! Update, pages of searches, and the ways to keep instances, at the HTTP boundary.

#[cfg(test)]
mod support;

use google_emulator::{CLOUD_HEALTHCARE, Emulator, Keep, Route};
use reqwest::blocking::Response;
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};
use support::{
    ANY_SYNTAX, EXPLICIT_LITTLE, Google, IMPLICIT_LITTLE, JPEG_BASELINE, error, made, multipart, parts,
};

const MULTIPART: &str = "multipart/related; type=\"application/dicom\"; boundary=BOUNDARY";

#[cfg(test)]
fn keeping(keep: Keep) -> Google {
    Google::from(Emulator::builder().keep(keep).start().unwrap())
}

#[cfg(test)]
fn update(google: &Google, version: &str, path: &str, kind: &str, body: Vec<u8>) -> Response {
    let base = google.emulator.healthcare_base_url(version);
    let url = format!("{base}{}/dicomWeb/{path}", google.emulator.store());
    let request = google.client.put(url).bearer_auth(google.token()).header("Content-Type", kind);
    request.header("Accept", "application/dicom+json").body(body).send().unwrap()
}

#[test]
fn updates_store_and_replace_but_in_v1beta1_alone() {
    for keep in [Keep::Disk, Keep::Memory] {
        let google = keeping(keep);
        let [one, two] = [1, 2].map(|number| made(1, 1, number));
        let old = [one, two].map(|instance| instance.file(EXPLICIT_LITTLE));
        let new = [one.file(IMPLICIT_LITTLE), old[1].clone(), made(1, 2, 1).file(JPEG_BASELINE)];
        assert_eq!(google.store("studies", &old).status(), 200);
        assert_eq!(google.store("studies", &new[..1]).status(), 409);
        let study = format!("studies/{}", one.study_uid());
        for path in ["studies", &study] {
            let response = update(&google, "v1beta1", path, MULTIPART, multipart(&new));
            assert_eq!(response.status(), 200);
            let body: Value = response.json().unwrap();
            assert_eq!(body["00081199"]["Value"].as_array().unwrap().len(), 3);
            assert!(body.get("00081198").is_none());
            assert_eq!(parts(google.get(&study, ANY_SYNTAX)), new);
        }
        let single = update(&google, "v1beta1", &study, "application/dicom", old[0].clone());
        assert_eq!(single.status(), 200);
        let found: Vec<_> = google.emulator.instances().iter().map(|found| found.bytes).collect();
        assert_eq!(found, [&old[0], &new[1], &new[2]].map(|file| file.len() as u64));
        assert_eq!(update(&google, "v1beta1", "studies/9.9", MULTIPART, multipart(&new)).status(), 409);
        assert!(google.emulator.requests().iter().any(|seen| seen.route == Route::Update));

        let json = "multipart/related; type=\"application/dicom+json\"; boundary=BOUNDARY";
        for (version, kind, status) in [("v1", MULTIPART, 404), ("v1beta1", json, 400)] {
            let response = update(&google, version, &study, kind, multipart(&new));
            assert_eq!(response.status().as_u16(), status, "{version} {kind}");
        }
        assert_eq!(parts(google.get(&one.path(), ANY_SYNTAX)), old[..1], "as it was");
        let left = std::fs::read_dir(google.emulator.data_dir().join("incoming")).unwrap().count();
        assert_eq!(left, 0);
    }
}

#[test]
fn updates_ask_for_a_token_and_a_permission_of_their_own() {
    let google = Google::start();
    let put = |token: &str, store: &str| {
        let base = google.emulator.healthcare_base_url("v1beta1");
        let name = google.emulator.store().to_string().replace("dicomStores/store", store);
        let request = google.client.put(format!("{base}{name}/dicomWeb/studies")).bearer_auth(token);
        let response = request.header("Content-Type", MULTIPART).body(multipart(&[])).send().unwrap();
        (response.status().as_u16(), response.json::<Value>().unwrap())
    };
    let narrow = google.emulator.mint_token("openid", Duration::from_secs(60)).unwrap();
    let good = google.emulator.mint_token(CLOUD_HEALTHCARE, Duration::from_secs(60)).unwrap();
    assert_eq!(put("unknown", "dicomStores/store").0, 401);
    assert_eq!(put(&narrow, "dicomStores/store").0, 403);
    let (status, body) = put(&good, "dicomStores/other");
    let message = error(&body)["message"].as_str().unwrap();
    assert_eq!(status, 403);
    assert!(message.contains("healthcare.dicomStores.dicomWebUpdate"), "{message}");
}

#[test]
fn what_is_kept_in_memory_is_served_from_there() {
    let google = keeping(Keep::Memory);
    let (one, jpeg) = (made(1, 1, 1), made(1, 1, 2));
    // Longer than any piece that it may be kept in.
    let mut long = made(1, 2, 1).file(EXPLICIT_LITTLE);
    let at = long.len() - 128 - 4;
    long.truncate(at);
    long.extend_from_slice(&5_000_000_u32.to_le_bytes());
    long.extend((0..5_000_000_u32).map(|number| number.to_le_bytes()[1]));
    let files = [one.file(IMPLICIT_LITTLE), jpeg.file(JPEG_BASELINE), long];
    let study = format!("studies/{}", one.study_uid());
    for _ in 0..2 {
        assert_eq!(google.store("studies", &files).status(), 200, "new, and then identical");
    }
    let mut different = files[2].clone();
    *different.last_mut().unwrap() ^= 1;
    assert_eq!(google.store("studies", &[different]).status(), 409);
    assert!(parts(google.get(&study, ANY_SYNTAX)) == files);
    let response = google.get(&made(1, 2, 1).path(), "application/dicom; transfer-syntax=*");
    assert_eq!(response.content_length(), Some(files[2].len() as u64));
    assert!(response.bytes().unwrap() == files[2]);
    let transcoded = google.get(&one.path(), "application/dicom").bytes().unwrap();
    assert!(transcoded == one.file(EXPLICIT_LITTLE));
    assert_eq!(google.get(&jpeg.path(), "application/dicom").status(), 400);
    let found = google.get("studies?includefield=Manufacturer", "*/*").json::<Value>().unwrap();
    assert_eq!(found[0]["00080070"]["Value"][0], "Größe & Söhne");
    let metadata = google.get(&format!("{study}/metadata"), "*/*").json::<Value>().unwrap();
    assert!(metadata[2]["7FE00010"]["BulkDataURI"].is_string());
    assert!(!google.emulator.data_dir().join("dicom").exists(), "nothing on disk");

    let told = google.emulator.instances();
    // The digest that an emulator on disk computes while they come.
    let on_disk = Google::start();
    assert_eq!(on_disk.store("studies", &files).status(), 200);
    assert!(told == on_disk.emulator.instances());
    assert!(told[0].sha256.as_ref().is_some_and(|digest| digest.len() == 64));
    assert_eq!(google.dicom_web("DELETE", &one.path()).send().unwrap().status(), 200);
    assert_eq!(google.get(&one.path(), ANY_SYNTAX).status(), 404);
}

#[test]
fn what_is_not_kept_is_checked_and_remembered() {
    for (keep, on_difference) in [(Keep::Digests, 409), (Keep::Nothing, 200)] {
        let google = keeping(keep);
        let [one, two] = [1, 2].map(|number| made(1, 1, number));
        let files = [one, two].map(|instance| instance.file(EXPLICIT_LITTLE));
        for _ in 0..2 {
            let response = google.store("studies", &files);
            assert_eq!(response.status(), 200);
            let body: Value = response.json().unwrap();
            assert_eq!(body["00081199"]["Value"][1]["00081155"]["Value"][0], two.instance_uid());
        }
        assert_eq!(google.store("studies", &[one.file(IMPLICIT_LITTLE)]).status(), on_difference);
        let refused = google.store(&format!("studies/{}", one.study_uid()), &[b"no DICOM".to_vec()]);
        assert_eq!(refused.status(), 409);
        assert_eq!(google.store("studies/9.9", &files).status(), 409);
        assert_eq!(google.search().unwrap().status(), 204);
        assert_eq!(google.get(&one.path(), ANY_SYNTAX).status(), 404);
        let told = google.emulator.instances();
        let sizes: Vec<_> = told.iter().map(|told| (told.instance.clone(), told.bytes)).collect();
        let expected = [(one, &files[0]), (two, &files[1])];
        assert_eq!(sizes, expected.map(|(made, file)| (made.instance_uid(), file.len() as u64)));
        assert_eq!(told.iter().all(|told| told.sha256.is_some()), keep == Keep::Digests);
        assert_eq!(told[0].transfer_syntax, EXPLICIT_LITTLE);
        assert!(!google.emulator.data_dir().join("dicom").exists(), "nothing on disk");
        assert_eq!(google.dicom_web("DELETE", &one.path()).send().unwrap().status(), 200);
        assert_eq!(google.emulator.instances().len(), 1);
    }
}

#[test]
fn a_long_study_is_listed_page_by_page() {
    const INSTANCES: u32 = 2_500;
    let google = keeping(Keep::Memory);
    let all: Vec<_> = (0..INSTANCES).map(|number| made(1, number % 7, number)).collect();
    for batch in all.chunks(500) {
        let files: Vec<_> = batch.iter().map(|instance| instance.file(EXPLICIT_LITTLE)).collect();
        assert_eq!(google.store("studies", &files).status(), 200);
    }
    let study = format!("studies/{}", all[0].study_uid());
    let page = |query: &str| -> Vec<String> {
        let response = google.get(&format!("{study}/instances?{query}"), "application/dicom+json");
        if response.status() == 204 {
            return Vec::new();
        }
        let found: Value = response.json().unwrap();
        let uid = |found: &Value| found["00080018"]["Value"][0].as_str().unwrap().to_owned();
        found.as_array().unwrap().iter().map(uid).collect()
    };
    let listed = |limit: &str| {
        let (mut listed, mut lengths) = (Vec::new(), Vec::new());
        loop {
            let next = page(&format!("{limit}offset={}&includefield=AccessionNumber", listed.len()));
            if next.is_empty() {
                return (listed, lengths);
            }
            lengths.push(next.len());
            listed.extend(next);
        }
    };
    let whole = page("limit=50000");
    let expected: BTreeSet<String> = all.iter().map(|instance| instance.instance_uid()).collect();
    assert_eq!(whole.iter().cloned().collect::<BTreeSet<_>>(), expected);
    assert_eq!(whole.len(), expected.len());
    assert_eq!(listed(""), (whole.clone(), vec![1_000, 1_000, 500]), "Google's default");
    assert_eq!(listed("limit=2400&"), (whole.clone(), vec![2_400, 100]));
    google.emulator.change_settings(|settings| settings.largest_page = Some(900));
    assert_eq!(listed(""), (whole.clone(), vec![900, 900, 700]));
    assert_eq!(listed("limit=50000&"), (whole.clone(), vec![900, 900, 700]));
    assert_eq!(listed("limit=625&"), (whole, vec![625; 4]));
    assert_eq!(google.get(&format!("{study}/instances?limit=50001"), "*/*").status(), 400);
}
