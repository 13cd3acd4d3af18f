//! Uploads that are begun again.

use std::io::{Read as _, Write as _};

use dicomweb_gateway::Stage as Ended;
use google_emulator::{Fault, Route};

use super::{bounds::begun, *};

fn bytes_sent(stage: &Stage) -> u64 {
    seen(stage, Route::Stow).iter().map(|request| request.body_bytes).sum()
}

/// An upload that fails, because the store refuses the last of these files; it has all others.
fn failed_at_the_last(stage: &Stage, study: &Study, files: &[&[u8]]) {
    let refused = &study.instances[files.len() - 1].uid;
    stage.emulator.faults().add(Fault::refuse_instance(refused, "not today").until_cleared());
    let (status, answer) = upload(stage, files);
    assert_eq!((status, failed(&answer)), (409, vec![refused.as_str()]));
    stage.emulator.faults().clear();
    stage.emulator.clear_requests();
}

#[test]
fn what_is_there_already_is_not_sent_again() {
    let stage = stage();
    let study = ct(1, 400, 20_000);
    failed_at_the_last(&stage, &study, &files(&study));
    // Google's pages may be shorter than what is asked for.
    stage.emulator.change_settings(|settings| settings.largest_page = Some(150));
    let (status, answer) = upload(&stage, &files(&study));
    assert_eq!(status, 200);
    assert_eq!(stored(&answer), all_uids(&study));
    assert_eq!((seen(&stage, Route::Stow).len(), seen(&stage, Route::Qido).len()), (1, 4));
    let report = last(&stage);
    assert_eq!((report.instances_done, report.instances_present, report.stage), (400, 399, Ended::Succeeded));
    assert_eq!(stage.gateway.counts().instances_duplicate, 399);
    assert_holds(&stage, &files(&study));
    // Whoever sends it once more after that has a reason: somebody may have deleted it, which searches show late.
    assert_eq!(upload(&stage, &files(&study)).0, 200);
    assert_eq!(last(&stage).instances_present, 0);
    assert_eq!(seen(&stage, Route::Qido).len(), 4);
}

#[test]
fn what_is_new_different_or_gone_is_sent() {
    let stage = stage();
    let study = ct(1, 10, 20_000);
    failed_at_the_last(&stage, &study, &files(&study)[..9]);
    // By another way than through the gateway.
    let gone = &study.instances[3];
    let path = format!("studies/{}/series/{}/instances/{}", study.uid, gone.series_uid, gone.uid);
    let url = format!("{}/{path}", stage.emulator.dicom_web_url());
    let token = stage.emulator.tokens_issued().pop().unwrap();
    let status =
        block_on(async { stage.client().delete(url).bearer_auth(token).send().await.unwrap().status() });
    assert_eq!(status, 200);
    stage.emulator.clear_requests();
    let (status, answer) = upload(&stage, &files(&study));
    assert_eq!((status, stored(&answer)), (200, all_uids(&study)));
    assert_eq!(last(&stage).instances_present, 7);
    assert!(bytes_sent(&stage) < 4 * 21_000, "{}", bytes_sent(&stage));
    assert_holds(&stage, &files(&study));
    let other = different(&study.instances[0].bytes);
    assert_eq!(upload(&stage, &[&other]).0, 409);
}

#[test]
fn whoever_overwrites_sends_everything() {
    let stage = staged(OnConflict::Overwrite, |_| {});
    let study = ct(1, 3, 20_000);
    failed_at_the_last(&stage, &study, &files(&study));
    assert_eq!(upload(&stage, &files(&study)).0, 200);
    assert_eq!((last(&stage).instances_present, seen(&stage, Route::Qido).len()), (0, 0));
}

#[test]
fn what_the_store_has_refused_is_missing_for_its_reason() {
    let stage = stage();
    // Each is a request of its own.
    let study = ct(1, 5, 5 << 20);
    let refused = &study.instances[2].uid;
    stage.emulator.faults().add(Fault::refuse_instance(refused, "not today").until_cleared());
    let mut body = multipart(&files(&study)[..4]);
    body.truncate(body.len() - (5 << 20) - 1000);
    let stream = begun(&stage, &body);
    until("three are settled", || {
        let report = last(&stage);
        (report.instances_done, report.instances_failed) == (2, 1)
    });
    drop(stream);
    assert_nothing_left(&stage);
    stage.emulator.faults().clear();
    let (status, answer) = upload(&stage, &files(&study)[3..]);
    assert_eq!((status, failed(&answer)), (409, vec![refused.as_str()]));
    let words = answer["00081198"]["Value"][0]["00091097"]["Value"][0].as_str().unwrap();
    assert!(words.contains("could not store this instance") && words.contains("not today"), "{words}");
}

#[test]
fn uploads_of_single_instances_are_answered_for_their_own() {
    // As scripts send them that forward what comes in: by the DICOMweb plugin, one job an instance, and by others.
    let of_job = |number| {
        let uuid = format!("{number}f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1");
        format!("{uuid}-{uuid}")
    };
    for boundary_of in [&of_job as &dyn Fn(usize) -> String, &|_| "cut".to_owned(), &|_| BOUNDARY.to_owned()]
    {
        for fault in [None, Some(Fault::answer(Route::Stow, 403, "{}"))] {
            let stage = stage();
            let study = ct(1, 6, 20_000);
            let refused = Fault::refuse_instance(&study.instances[2].uid, "not today").until_cleared();
            for (number, file) in files(&study).into_iter().enumerate() {
                stage.emulator.faults().clear();
                if number == 2 {
                    stage.emulator.faults().add(fault.clone().unwrap_or_else(|| refused.clone()));
                }
                let (status, answer) = upload_of(&boundary_of(number), &stage, &[file]);
                let uid = study.instances[number].uid.as_str();
                let expected = match (number, &fault) {
                    (2, Some(_)) => (403, vec![], vec![]),
                    (2, None) => (409, vec![uid], vec![]),
                    _ => (200, vec![], vec![uid]),
                };
                assert_eq!((status, failed(&answer), stored(&answer)), expected);
            }
        }
    }
}

#[test]
fn what_one_job_left_out_is_no_matter_of_another() {
    let stage = stage();
    let study = ct(1, 10, 700_000);
    let (beginning, rest) = (&files(&study)[..6], &files(&study)[6..]);
    broken_off(&stage, beginning);
    let other = BOUNDARY.replace("0f3c", "1f3c");
    for boundary in [other.as_str(), &BOUNDARY[..36], "cut"] {
        let (status, answer) = upload_of(boundary, &stage, rest);
        assert_eq!((status, stored(&answer), failed(&answer)), (200, all_uids(&study)[6..].to_vec(), vec![]));
    }
    assert_eq!((upload(&stage, rest).0, failed(&upload(&stage, rest).1).len()), (409, 6));
}

#[test]
fn what_was_deleted_through_the_gateway_is_sent_without_asking() {
    let stage = stage();
    let study = ct(1, 3, 20_000);
    failed_at_the_last(&stage, &study, &files(&study));
    block_on(async {
        let path = format!("studies/{}", study.uid);
        assert_eq!(stage.request(Method::DELETE, &path).send().await.unwrap().status(), 200);
    });
    stage.emulator.clear_requests();
    assert_eq!(upload(&stage, &files(&study)).0, 200);
    assert_eq!((last(&stage).instances_present, seen(&stage, Route::Qido).len()), (0, 0));
    assert_holds(&stage, &files(&study));
}

#[test]
fn where_the_store_cannot_be_asked_everything_is_sent() {
    let stage =
        staged(OnConflict::Fail, |settings| settings.patience_of_requests = Duration::from_millis(10));
    let study = ct(1, 10, 20_000);
    failed_at_the_last(&stage, &study, &files(&study));
    stage.emulator.faults().add(Fault::answer(Route::Qido, 503, "").until_cleared());
    let (status, answer) = upload(&stage, &files(&study));
    assert_eq!((status, stored(&answer)), (200, all_uids(&study)));
    assert_eq!(last(&stage).instances_present, 0);
}

#[test]
fn large_instances_are_not_sent_again_either() {
    let stage = staged(OnConflict::Fail, |settings| settings.spool_over = 1 << 20);
    let study = ct(1, 3, 5 << 20);
    failed_at_the_last(&stage, &study, &files(&study));
    assert_eq!(upload(&stage, &files(&study)).0, 200);
    assert_eq!((last(&stage).instances_present, seen(&stage, Route::Stow).len()), (2, 1));
    let other = different(&study.instances[0].bytes);
    assert_eq!(upload(&stage, &[&other]).0, 409);
    assert_holds(&stage, &files(&study));
    assert_nothing_left(&stage);
}

/// An upload of which the client vanishes in the last of these files; none of them is stored.
fn broken_off(stage: &Stage, files: &[&[u8]]) {
    stage.emulator.faults().add(Fault::hang(Route::Stow).until_cleared());
    let mut body = multipart(files);
    body.truncate(body.len() - 200_000);
    let stream = begun(stage, &body);
    until("it is being sent", || !seen(stage, Route::Stow).is_empty());
    drop(stream);
    assert_nothing_left(stage);
    assert_eq!(last(stage).stage, Ended::Cancelled);
    stage.emulator.faults().clear();
    stage.emulator.clear_requests();
}

#[test]
fn the_rest_of_a_study_is_no_success_while_its_beginning_is_missing() {
    let stage = stage();
    let study = ct(1, 10, 700_000);
    let (beginning, rest) = (&files(&study)[..6], &files(&study)[6..]);
    broken_off(&stage, beginning);
    // What the DICOMweb plugin does with a job that is resubmitted.
    for _ in 0..2 {
        let (status, answer) = upload(&stage, rest);
        assert_eq!(status, 409);
        assert_eq!(stored(&answer), &all_uids(&study)[6..]);
        let mut missing = failed(&answer);
        missing.sort_unstable();
        let mut expected = all_uids(&study)[..6].to_vec();
        expected.sort_unstable();
        assert_eq!(missing, expected);
        let words = answer["00081198"]["Value"][0]["00091097"]["Value"][0].as_str().unwrap();
        assert!(words.contains("send the study again as a whole"), "{words}");
        assert_eq!(last(&stage).stage, Ended::Failed);
    }
    // Another job is not concerned.
    assert_eq!(upload_of("cut", &stage, &files(&ct(2, 1, 1000))).0, 200);
    // A new job mends it.
    let (status, answer) = upload(&stage, &files(&study));
    assert_eq!((status, stored(&answer)), (200, all_uids(&study)));
    assert_eq!(last(&stage).instances_present, 4);
    assert_eq!(upload(&stage, rest).0, 200);
}

#[test]
fn a_refusal_is_told_when_the_client_has_sent_everything() {
    let stage = stage();
    let study = ct(1, 30, 1 << 20);
    stage.emulator.faults().add(Fault::answer(Route::Stow, 403, "{}").until_cleared());
    let all = multipart(&files(&study)[..20]);
    let (beginning, rest) = all.split_at(all.len() / 2);
    let mut stream = begun(&stage, beginning);
    until("it is refused", || !seen(&stage, Route::Stow).is_empty());
    // curl drops what it holds as soon as it is refused, and the DICOMweb plugin takes that for sent.
    for some in rest.chunks(1 << 20) {
        stream.set_nonblocking(true).unwrap();
        assert!(stream.peek(&mut [0]).is_err(), "it is answered before it has sent everything");
        stream.set_nonblocking(false).unwrap();
        write!(stream, "{:x}\r\n", some.len()).unwrap();
        stream.write_all(some).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    stage.emulator.faults().clear();
    // Its job has nothing left to send, so that this is another's.
    let (status, answer) = upload(&stage, &files(&study)[20..]);
    assert_eq!((status, stored(&answer).len()), (200, 10));
}

#[test]
fn what_a_refused_client_sends_after_its_answer_is_missing_as_well() {
    let stage = stage();
    let study = ct(1, 30, 1 << 20);
    stage.emulator.faults().add(Fault::answer(Route::Stow, 403, "{}").until_cleared());
    let mut body = multipart(&files(&study)[..10]);
    // The DICOMweb plugin has more to send.
    body.truncate(body.len() - 2 - BOUNDARY.len() - 4);
    let mut stream = begun(&stage, &body);
    // Whoever closes with something unread takes back what is on its way, and who ends what it sends before it is answered has
    // vanished.
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n{}") {
        let mut byte = [0];
        std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
        answer.push(char::from(byte[0]));
    }
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    drop(stream);
    assert_nothing_left(&stage);
    stage.emulator.faults().clear();
    // What has arrived is still read for a moment.
    until("all ten are missing", || {
        let (status, answer) = upload(&stage, &files(&study)[10..]);
        assert_eq!((status, stored(&answer).len()), (409, 20));
        failed(&answer).len() == 10
    });
}

#[test]
fn what_came_by_another_way_is_missing_no_longer() {
    let stage = stage();
    let study = ct(1, 4, 700_000);
    let (beginning, rest) = (&files(&study)[..3], &files(&study)[3..]);
    broken_off(&stage, beginning);
    let token = stage.emulator.mint_token(google_emulator::CLOUD_PLATFORM, Duration::from_secs(60)).unwrap();
    block_on(async {
        let url = format!("{}/studies", stage.emulator.dicom_web_url());
        let request = stage.client().post(url).bearer_auth(token).header("content-type", content_type());
        assert_eq!(request.body(multipart(beginning)).send().await.unwrap().status(), 200);
    });
    assert_eq!(upload(&stage, rest).0, 200);
    assert_holds(&stage, &files(&study));
}

#[test]
fn while_the_store_cannot_be_asked_they_count_as_missing() {
    let stage =
        staged(OnConflict::Fail, |settings| settings.patience_of_requests = Duration::from_millis(10));
    let study = ct(1, 4, 700_000);
    let (beginning, rest) = (&files(&study)[..3], &files(&study)[3..]);
    broken_off(&stage, beginning);
    stage.emulator.faults().add(Fault::answer(Route::Qido, 503, "").until_cleared());
    let (status, answer) = upload(&stage, rest);
    assert_eq!((status, failed(&answer).len()), (409, 3));
}

#[test]
fn what_had_no_place_in_memory_yet_is_missing_as_well() {
    // Sizes at which memory ends in the beginning of an instance, in its middle and in its end.
    for memory in (0..6).map(|step| 400_000 + step * 37_000) {
        let stage = staged(OnConflict::Fail, |settings| settings.memory = memory);
        stage.emulator.faults().add(Fault::hang(Route::Stow).until_cleared());
        let study = ct(1, 60, 20_000);
        let (beginning, rest) = (&files(&study)[..40], &files(&study)[40..]);
        let body = multipart(beginning);
        let stream = begun(&stage, &body[..body.len() - 2 - BOUNDARY.len() - 4]);
        until("memory is full", || stage.gateway.memory_in_use() + 40_000 > memory);
        drop(stream);
        assert_nothing_left(&stage);
        stage.emulator.faults().clear();
        let (status, answer) = upload(&stage, rest);
        assert_eq!((status, failed(&answer).len()), (409, 40), "{memory}");
    }
}

#[test]
fn what_shall_never_be_there_is_forgotten_when_it_is_deleted() {
    let stage = stage();
    let study = ct(1, 6, 700_000);
    let (beginning, rest) = (&files(&study)[..3], &files(&study)[3..]);
    broken_off(&stage, beginning);
    let series = format!("studies/{}/series/{}", study.uid, study.instances[0].series_uid);
    let instance = |number: usize| format!("{series}/instances/{}", study.instances[number].uid);
    let delete = |path: &str| {
        block_on(async { stage.request(Method::DELETE, path).send().await.unwrap().status().as_u16() })
    };
    assert_eq!(upload(&stage, rest).0, 409);
    // Only who names it has given it up: a job that is resubmitted would send a part of what is deleted here.
    assert_eq!(delete(&series), 200);
    assert_eq!(upload(&stage, rest).0, 409);
    let report = last(&stage);
    assert_eq!((report.stage, report.instances_done, report.instances_failed), (Ended::Failed, 3, 0));
    let mut missing = report.failed_instances.clone();
    missing.sort_unstable();
    let mut expected = all_uids(&study)[..3].to_vec();
    expected.sort_unstable();
    assert_eq!(missing, expected);
    assert!(report.failures.iter().any(|words| words.contains("send the study again")), "{report:?}");
    assert_eq!(stage.gateway.counts().instances_failed, 0, "none of them was refused");
    assert_eq!(delete(&instance(0)), 200);
    assert_eq!(failed(&upload(&stage, rest).1).len(), 2);
    assert_eq!((delete(&instance(1)), delete(&instance(2))), (200, 200));
    assert_eq!(upload(&stage, rest).0, 200);
    assert_eq!(delete(&instance(1)), 404);
}
