//! What is answered, and what was sent for it.

use std::io::{Read as _, Write as _};

use dicomweb_gateway::{Kind, OnConflict, Stage as Ended};
use google_emulator::{Fault, Route};

use super::{bounds::begun, *};

#[test]
fn a_study_of_small_instances_goes_in_few_requests_and_comes_whole() {
    let stage = stage();
    let study = ct(1, 2500, 4096);
    let (status, answer) = upload(&stage, &files(&study));
    assert_eq!(status, 200);
    assert_eq!(stored(&answer), all_uids(&study));
    let root = stage.emulator.dicom_web_url();
    assert_eq!(answer["00081190"]["Value"][0], format!("{root}/studies/{}", study.uid));
    let instance = &study.instances[0];
    let url =
        format!("{root}/studies/{}/series/{}/instances/{}", study.uid, instance.series_uid, instance.uid);
    assert_eq!(answer["00081199"]["Value"][0]["00081190"]["Value"][0], url);
    assert_holds(&stage, &files(&study));
    let requests = seen(&stage, Route::Stow);
    let least = study.size().div_ceil(5 << 20);
    assert!((least..=least + 12).contains(&requests.len()), "{} requests", requests.len());
    let report = last(&stage);
    assert_eq!((report.kind, report.stage), (Kind::Store, Ended::Succeeded));
    assert_eq!(
        (report.instances_total, report.instances_done, report.instances_failed),
        (Some(2500), 2500, 0)
    );
    assert_eq!((report.bytes_done, report.study), (study.size() as u64, Some(study.uid.clone())));
    assert_eq!(stage.gateway.counts().instances_stored, 2500);
    assert_nothing_left(&stage);
}

#[test]
fn the_answer_is_xml_unless_json_is_asked_for() {
    let stage = stage();
    let study = ct(1, 2, 1000);
    let answer = block_on(async {
        let request = stage.request(Method::POST, "studies").header("content-type", content_type());
        let answer = request.body(multipart(&files(&study))).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/dicom+xml");
        answer.text().await.unwrap()
    });
    let position = |instance: &orthanc_testbed::Instance| {
        let uid =
            format!("keyword=\"ReferencedSOPInstanceUID\"><Value number=\"1\">{}</Value>", instance.uid);
        answer.find(&uid).unwrap()
    };
    assert!(position(&study.instances[0]) < position(&study.instances[1]));
    assert!(answer.contains("<Item number=\"2\">"));
}

#[test]
fn an_instance_that_google_refuses_is_the_only_one_that_fails() {
    for parsable in [true, false] {
        let stage = stage();
        let study = ct(1, 20, 1000);
        let refused = study.instances[7].uid.as_str();
        stage.emulator.faults().add(Fault::refuse_instance(refused, "it is <odd>"));
        if !parsable {
            // Then each instance is sent alone, and only that is answered so that it can be understood.
            stage.emulator.faults().add(Fault::answer(Route::Stow, 409, "<html>").after_handling().times(1));
        }
        let (status, answer) = upload(&stage, &files(&study));
        assert_eq!(status, 409);
        assert_eq!(failed(&answer), [refused]);
        let item = &answer["00081198"]["Value"][0];
        assert_eq!(item["00081197"]["Value"][0], 272);
        assert_eq!(item["00091097"]["Value"][0], "it is <odd>");
        let mut others = all_uids(&study);
        others.remove(7);
        assert_eq!(stored(&answer), others);
        let mut held = files(&study);
        held.remove(7);
        assert_holds(&stage, &held);
        let report = last(&stage);
        assert_eq!((report.stage, report.instances_done, report.instances_failed), (Ended::Failed, 19, 1));
        assert!(report.remedy.unwrap().contains("send the study again"));
        assert_eq!(
            (&report.failures[..], &report.failed_instances[..]),
            (
                &["failure reason 0x0110 (processing failure): it is …".to_owned()][..],
                &[refused.to_owned()][..]
            )
        );
    }
}

#[test]
fn what_is_no_dicom_fails_alone_and_in_its_place() {
    let stage = stage();
    let study = ct(1, 2, 1000);
    let files = [study.instances[0].bytes.as_slice(), b"no DICOM", &study.instances[1].bytes, b""];
    let (status, answer) = upload(&stage, &files);
    assert_eq!(status, 409);
    assert_eq!(stored(&answer), all_uids(&study));
    let failed = answer["00081198"]["Value"].as_array().unwrap();
    assert_eq!(failed.len(), 2);
    assert!(failed.iter().all(|item| item.get("00081155").is_none() && item["00081197"]["Value"][0] == 272));
    assert_holds(&stage, &[files[0], files[2]]);
}

#[test]
fn a_refusal_that_is_a_number_alone_is_told_with_what_it_means() {
    let stage = stage();
    let study = ct(1, 1, 1000);
    let uid = &study.instances[0].uid;
    let item =
        format!(r#"{{"00081155":{{"vr":"UI","Value":["{uid}"]}},"00081197":{{"vr":"US","Value":[43264]}}}}"#);
    let refusal = format!(r#"{{"00081198":{{"vr":"SQ","Value":[{item}]}}}}"#);
    stage.emulator.faults().add(Fault::answer(Route::Stow, 409, &refusal).until_cleared());
    let (status, answer) = upload(&stage, &files(&study));
    assert_eq!((status, &answer["00081198"]["Value"][0]["00081197"]["Value"][0]), (409, &43264.into()));
    assert_eq!(last(&stage).failures, ["failure reason 0xA900 (data set does not match SOP class)"]);
}

#[test]
fn many_parts_without_a_name_are_refused_and_cost_few_requests() {
    for part in [b"".as_slice(), b"no DICOM"] {
        let stage = stage();
        let answer = block_on(post(&stage, "studies").body(multipart(&vec![part; 5000])).send()).unwrap();
        assert_eq!(answer.status(), 400);
        let body = block_on(answer.text()).unwrap();
        assert!(body.contains("more than 100 parts") && body.contains("send DICOM files"), "{body}");
        assert!(seen(&stage, Route::Stow).len() <= 100);
        // Up to there each is answered for itself, and what is empty without asking.
        stage.emulator.clear_requests();
        let (status, answer) = upload(&stage, &[part; 5]);
        assert_eq!((status, failed(&answer).len()), (409, 5));
        assert_eq!(seen(&stage, Route::Stow).len(), if part.is_empty() { 0 } else { 5 });
    }
}

#[test]
fn an_upload_of_more_instances_than_memory_has_names_for_is_refused() {
    let stage = staged(OnConflict::Fail, |settings| settings.memory = 256 << 10);
    let study = ct(1, 1, 8);
    let (file, uid) = (&study.instances[0].bytes, study.instances[0].uid.as_bytes());
    let places: Vec<usize> =
        file.windows(uid.len()).enumerate().filter(|(_, text)| *text == uid).map(|(at, _)| at).collect();
    // The last digits of a UID that nothing else begins with.
    let files: Vec<Vec<u8>> = (0..20_000_u64)
        .map(|number| {
            let digits = format!("{:020}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let mut file = file.clone();
            for at in &places {
                let end = at + uid.len();
                file[end - 20..end].copy_from_slice(digits.as_bytes());
            }
            file
        })
        .collect();
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let (status, answer) = upload(&stage, &files);
    // What is stored until then is told; the rest is not sent.
    assert_eq!(status, 409);
    let last_words =
        answer["00081198"]["Value"].as_array().unwrap().last().unwrap()["00091097"]["Value"][0].to_string();
    assert!(last_words.contains("more instances than there is memory for their names"), "{last_words}");
    assert!(stored(&answer).len() < 20_000);
    assert_nothing_left(&stage);
}

#[test]
fn a_study_in_the_path_holds_for_every_batch() {
    let stage = stage();
    let (study, other) = (ct(1, 2, 1000), ct(2, 1, 1000));
    let (status, answer) = block_on(async {
        let all = [files(&study), files(&other)].concat();
        let answer =
            post(&stage, &format!("studies/{}", study.uid)).body(multipart(&all)).send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap())
    });
    assert_eq!(status, 409);
    assert_eq!((stored(&answer), failed(&answer)), (all_uids(&study), all_uids(&other)));
    assert!(seen(&stage, Route::Stow).iter().all(|request| request.path.ends_with(&study.uid)));
}

#[test]
fn the_client_s_header_fields_reach_google_but_those_of_its_body_and_its_secret() {
    let stage = stage();
    let study = ct(1, 1, 1000);
    let own = [("x-site", "7"), ("x-goog-user-project", "another"), ("content-md5", "x"), ("cookie", "x")];
    let request =
        own.iter().fold(post(&stage, "studies"), |request, (name, value)| request.header(*name, *value));
    let status = block_on(request.body(multipart(&files(&study))).send()).unwrap().status();
    assert_eq!(status, 200);
    let seen = &seen(&stage, Route::Stow)[0];
    let found = own.map(|(name, _)| seen.header(name));
    assert_eq!(found, [Some("7"), Some("another"), None, None]);
    assert!(!seen.headers.iter().any(|(_, value)| value.contains(crate::stage::SECRET)));
    assert_ne!(seen.header("content-type"), Some(content_type().as_str()));
}

#[test]
fn an_upload_without_an_instance_is_an_error() {
    let stage = stage();
    let (status, answer) = upload(&stage, &[]);
    assert_eq!(status, 400);
    assert!(answer["error"]["remedy"].as_str().unwrap().contains("again"), "{answer}");
    assert_eq!(seen(&stage, Route::Stow).len(), 0);
    assert_eq!(last(&stage).stage, Ended::Failed);
}

#[test]
fn an_upload_that_ends_in_the_middle_is_an_error_and_nothing_half_is_stored() {
    let stage = stage();
    let study = ct(1, 1, 3000);
    let mut body = multipart(&files(&study));
    body.truncate(2000);
    let status = block_on(async { post(&stage, "studies").body(body).send().await.unwrap().status() });
    assert_eq!(status, 400);
    assert_holds(&stage, &[]);
    assert_nothing_left(&stage);
}

#[test]
fn an_upload_that_ends_in_the_middle_is_no_success_though_what_came_before_is_stored() {
    let stage = stage();
    let study = ct(1, 2, 5 << 20);
    let body = multipart(&files(&study));
    let middle = body.len() * 3 / 4;
    let mut stream = begun(&stage, &body[..middle]);
    until("the first one is stored", || stage.gateway.counts().instances_stored == 1);
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 409");
    assert_holds(&stage, &files(&study)[..1]);
    assert_nothing_left(&stage);
    assert_eq!(last(&stage).stage, Ended::Failed);
}

#[test]
fn a_refusal_of_the_account_is_answered_in_googles_words_before_everything_is_read() {
    let words = r#"[{"error":{"code":403,"message":"Permission healthcare.dicomStores.dicomWebWrite denied","status":"PERMISSION_DENIED"}}]"#;
    for status in [403, 404] {
        let stage = stage();
        stage.emulator.faults().add(Fault::answer(Route::Stow, status, words).until_cleared());
        let study = ct(1, 40, 2 << 20);
        let mut beginning = multipart(&files(&study));
        let rest = beginning.split_off(12 << 20);
        let (answered, body) = block_on(async {
            let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
            let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
                Some((receiver.recv().await?, receiver))
            });
            let sending = post(&stage, "studies").body(reqwest::Body::wrap_stream(stream)).send();
            let feeding = async {
                sender.send(Ok(beginning)).await.unwrap();
                // The rest comes when the gateway has been refused, and not before, however slow that is.
                let refused = ("POST".to_owned(), status);
                while !stage.gateway.counts().requests.contains_key(&refused) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                // Whether anybody still wants it is the client's business.
                drop(sender.send(Ok(rest)).await);
                drop(sender);
            };
            let (answer, ()) = tokio::join!(sending, feeding);
            let answer = answer.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        });
        assert_eq!((answered, body.as_str()), (status, words));
        assert!(seen(&stage, Route::Stow).len() < 20, "{}", seen(&stage, Route::Stow).len());
        assert_holds(&stage, &[]);
        assert_eq!(last(&stage).stage, Ended::Failed);
        assert_nothing_left(&stage);
    }
}

#[test]
fn twins_in_one_upload_are_stored_in_their_order() {
    let stage = staged(OnConflict::Overwrite, |_| {});
    let study = ct(1, 2, 1000);
    let other = different(&study.instances[0].bytes);
    let twins =
        [study.instances[0].bytes.as_slice(), &study.instances[1].bytes, &study.instances[0].bytes, &other];
    let (status, answer) = upload(&stage, &twins);
    assert_eq!((status, stored(&answer).len()), (200, 4));
    assert_holds(&stage, &[&study.instances[1].bytes, &other]);
}

#[test]
fn detail_of_a_failure_reaches_the_client_alone() {
    let study = ct(1, 3, 1000);
    let stage = stage();
    let uid = study.instances[1].uid.as_str();
    let detail = "instance of patient Maria MILLER (ID 4711), born 1970-01-02, already exists as 1.2.840.1";
    stage.emulator.faults().add(Fault::refuse_instance(uid, detail));
    let (status, answer) = upload(&stage, &files(&study));
    assert_eq!((status, failed(&answer)), (409, vec![uid]));
    assert!(answer.to_string().contains(detail), "{answer}");
    let expected = "failure reason 0x0110 (processing failure): instance of patient … (ID …), born …, already exists as 1.2.840.1";
    assert_eq!(last(&stage).failures, [expected]);
}
