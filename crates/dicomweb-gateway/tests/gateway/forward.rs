//! What passes through as it is.

use std::time::Duration;

use dicomweb_gateway::OnConflict;
use google_emulator::{EmptySearch, Emulator, Fault, Route, SeenRequest};
use reqwest::Method;
use serde_json::Value;

use crate::far_store::FarStore;
use crate::stage::{PAYER, SECRET, Stage, block_on};

fn searches(stage: &Stage) -> Vec<SeenRequest> {
    let mut seen = stage.emulator.requests();
    seen.retain(|request| request.path.contains("dicomWeb"));
    seen
}

/// Searches and gives status and body.
fn search(stage: &Stage) -> (u16, String) {
    block_on(async {
        let answer =
            stage.request(Method::GET, "studies?limit=3").header("X-Site", "7").send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    })
}

#[test]
fn a_request_reaches_google_with_the_token_and_without_the_secret() {
    let stage = Stage::new();
    assert!(matches!(search(&stage), (200 | 204, _)));
    let all = searches(&stage);
    assert_eq!(all.len(), 1);
    let seen = &all[0];
    assert!(seen.path.ends_with("/dicomWeb/studies"), "{}", seen.path);
    let token = stage.emulator.tokens_issued().pop().unwrap();
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {token}").as_str()));
    // The administrator has named it.
    assert_eq!(seen.header("x-site"), Some("7"));
    assert!(!seen.headers.iter().any(|(_, value)| value.contains(SECRET)));
}

#[test]
fn who_asks_and_from_where_is_not_told() {
    let stage = Stage::new();
    let fields = [
        "X-Forwarded-For",
        "X-Forwarded-User",
        "X-Real-IP",
        "X-Remote-User",
        "Remote-User",
        "From",
        "Forwarded",
        "Via",
        "X-Auth-Request-Email",
        "X-Goog-IAP-JWT-Assertion",
        "Cf-Access-Jwt-Assertion",
        "SSL-Client-Subject-DN",
        "X-Original-Forwarded-For",
        "OIDC_access_token",
        "X-Id-Token",
        "X-Userinfo",
        "X-Nobody-Knows-It",
        "Cookie",
        "Baggage",
        "Content-Disposition",
    ];
    let mut request = stage.request(Method::GET, "studies");
    for field in fields {
        request = request.header(field, "dr.smith");
    }
    assert!(block_on(request.send()).unwrap().status().is_success());
    let seen = searches(&stage).pop().unwrap();
    let told = |(_, value): &&(String, String)| value.contains("smith");
    assert_eq!(seen.headers.iter().find(told), None);
}

#[test]
fn one_project_pays() {
    for own in [None, Some("another")] {
        let stage = Stage::new();
        let mut request = stage.request(Method::GET, "studies");
        if let Some(own) = own {
            request = request.header("X-Goog-User-Project", own);
        }
        block_on(request.send()).unwrap();
        let seen = searches(&stage).pop().unwrap();
        let named = seen.headers.iter().filter(|(name, _)| name == "x-goog-user-project");
        assert_eq!(named.map(|(_, value)| value.as_str()).collect::<Vec<_>>(), [own.unwrap_or(PAYER)]);
    }
}

#[test]
fn what_is_sent_once_makes_way_for_the_next() {
    let stage = Stage::new();
    search(&stage);
    stage.emulator.revoke_tokens();
    let post = || {
        let request = stage.request(Method::POST, "studies").header("content-type", "application/dicom");
        block_on(request.body("no DICOM").send()).unwrap().status().as_u16()
    };
    assert_eq!(post(), 401);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while post() == 401 {
        assert!(std::time::Instant::now() < deadline, "nobody has asked for another token");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_passes_is_tried_again_and_counted() {
    for fault in [
        Fault::answer(Route::Qido, 503, "{}"),
        Fault::answer(Route::Qido, 429, "{}").header("retry-after", "1"),
        Fault::answer(Route::Qido, 408, ""),
        Fault::reset(Route::Qido, 0),
    ] {
        let stage = Stage::new();
        stage.emulator.faults().add(fault.times(2));
        assert!(matches!(search(&stage), (200 | 204, _)));
        assert_eq!(searches(&stage).len(), 3);
        assert_eq!(stage.gateway.counts().retries, 2);
    }
}

#[test]
fn googles_words_come_through() {
    let stage = Stage::new();
    let words = r#"[{"error":{"code":403,"message":"Permission 'x' denied","status":"PERMISSION_DENIED"}}]"#;
    stage.emulator.faults().add(Fault::answer(Route::Qido, 403, words).until_cleared());
    assert_eq!(search(&stage), (403, words.to_owned()));
    assert_eq!(searches(&stage).len(), 1);
}

#[test]
fn nobody_is_led_away() {
    let stage = Stage::new();
    for status in [301, 302, 307, 308] {
        let portal =
            Fault::answer(Route::Qido, status, "<html>").header("location", "http://portal.example/");
        stage.emulator.faults().add(portal.times(1));
        let answer = block_on(stage.request(Method::GET, "studies").send()).unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers().get("location")), (502, None));
        let body: Value = serde_json::from_slice(&block_on(answer.bytes()).unwrap()).unwrap();
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(&status.to_string()), "{body}");
        assert!(body["error"]["remedy"].as_str().unwrap().contains("BaseUrl"), "{body}");
    }
}

#[test]
fn a_revoked_token_costs_one_more_request() {
    let stage = Stage::new();
    search(&stage);
    stage.emulator.revoke_tokens();
    stage.emulator.clear_requests();
    assert!(matches!(search(&stage), (200 | 204, _)));
    let seen = searches(&stage);
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[0].header("authorization"), seen[1].header("authorization"));
}

#[test]
fn a_new_token_that_is_refused_is_sent_again_within_the_time_and_then_google_answers() {
    let emulator = FarStore::start(Emulator::builder());
    let stage = Stage::with(emulator, OnConflict::Fail, |settings| {
        // The keeper asks for another token five seconds after the first.
        settings.patience_of_requests = Duration::from_secs(9);
    });
    stage.wait_for_token();
    stage.emulator.clear_requests();
    let words = r#"{"error":{"code":401,"message":"no","status":"UNAUTHENTICATED"}}"#;
    stage.emulator.faults().add(Fault::answer(Route::Qido, 401, words).until_cleared());
    assert_eq!(search(&stage), (401, words.to_owned()));
    // One with each of the two tokens at least. What is sent again has the second.
    let seen = searches(&stage);
    assert!(seen.len() > 2, "{}", seen.len());
    assert_eq!(stage.emulator.tokens_issued().len(), 2);
    assert!(seen[1..].iter().all(|again| again.header("authorization") == seen[1].header("authorization")));
}

#[test]
fn two_refusals_of_tokens_in_a_row_are_survived() {
    for times in [2, 3] {
        let stage = Stage::new();
        search(&stage);
        stage.emulator.clear_requests();
        stage.emulator.faults().add(Fault::answer(Route::Qido, 401, "{}").times(times));
        assert!(matches!(search(&stage), (200 | 204, _)));
        assert_eq!(searches(&stage).len(), usize::try_from(times).unwrap() + 1);
        assert_eq!(stage.emulator.tokens_issued().len(), 2);
    }
}

#[test]
fn a_token_refused_after_other_trouble_is_another_one() {
    let stage = Stage::new();
    search(&stage);
    stage.emulator.clear_requests();
    let answers = [401, 503, 401].map(|status| Fault::answer(Route::Qido, status, "{}").effect);
    stage.emulator.faults().add(Fault::in_turn(Route::Qido, answers).times(3));
    assert!(matches!(search(&stage), (200 | 204, _)));
    assert_eq!(searches(&stage).len(), 4);
}

#[test]
fn an_outage_of_the_token_server_is_waited_for() {
    let stage = Stage::new();
    search(&stage);
    stage.emulator.revoke_tokens();
    stage.emulator.faults().add(Fault::answer(Route::Token, 503, "").times(2));
    assert!(matches!(search(&stage), (200 | 204, _)));
}

#[test]
fn without_a_token_the_cause_and_the_remedy_are_answered() {
    let emulator = FarStore::start(Emulator::builder());
    let refusal = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
    emulator.faults().add(Fault::answer(Route::Token, 400, refusal).until_cleared());
    let stage = Stage::with(emulator, OnConflict::Fail, |_| {});
    let (status, body) = search(&stage);
    assert_eq!(status, 503);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert!(body["error"]["message"].as_str().unwrap().contains("Invalid JWT Signature"), "{body}");
    assert!(!body["error"]["remedy"].as_str().unwrap().is_empty());
    assert_eq!(searches(&stage).len(), 0);
}

#[test]
fn nobody_waits_for_ever() {
    let emulator = FarStore::start(Emulator::builder());
    let stage = Stage::with(emulator, OnConflict::Fail, |settings| {
        settings.inactivity = Duration::from_millis(500);
        settings.patience_of_requests = Duration::from_secs(1);
    });
    stage.wait_for_token();
    stage.emulator.faults().add(Fault::hang(Route::Qido).until_cleared());
    let (status, body) = search(&stage);
    assert_eq!(status, 504, "{body}");
    assert!(body.contains("remedy"), "{body}");
}

#[test]
fn an_answer_that_breaks_off_is_an_error_and_not_an_end() {
    // `[]`, of which one byte comes.
    let emulator = FarStore::start(Emulator::builder().empty_search(EmptySearch::EmptyArray));
    let stage = Stage::with(emulator, OnConflict::Fail, |_| {});
    stage.emulator.faults().add(Fault::cut_body(Route::Qido, 1).until_cleared());
    let outcome = block_on(async {
        let answer = stage.request(Method::GET, "studies").send().await.unwrap();
        if answer.status().is_success() {
            answer.bytes().await.map(drop)
        } else {
            Err(answer.error_for_status().unwrap_err())
        }
    });
    assert!(outcome.is_err());
}

#[test]
fn deleting_what_the_first_attempt_has_deleted_is_success() {
    let stage = Stage::new();
    let delete = || {
        block_on(async {
            let path = "studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.5";
            stage.request(Method::DELETE, path).send().await.unwrap().status().as_u16()
        })
    };
    let gone = || Fault::answer(Route::Delete, 404, "{}").times(1);
    stage.emulator.faults().add(gone());
    assert_eq!(delete(), 404);
    // Whom Google has not let in has deleted nothing.
    for status in [401, 429] {
        stage.emulator.faults().add(Fault::answer(Route::Delete, status, "{}").times(1));
        assert_eq!(delete(), 404, "{status}");
    }
    stage.emulator.faults().add(Fault::reset(Route::Delete, 0).times(1));
    stage.emulator.faults().add(gone());
    assert_eq!(delete(), 200);
}

#[test]
fn an_end_waits_for_what_is_under_way() {
    let mut stage = Stage::new();
    stage.emulator.faults().add(Fault::latency(Route::Qido, Duration::from_millis(1500)).times(1));
    let request = stage.request(Method::GET, "studies").send();
    let asked = std::thread::spawn(|| block_on(async { request.await.unwrap().status() }));
    while searches(&stage).is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    stage.stop();
    assert!(asked.join().unwrap().is_success());
    assert!(std::net::TcpStream::connect(("127.0.0.1", stage.port)).is_err());
}
