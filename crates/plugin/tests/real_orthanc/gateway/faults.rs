//! A bad network and a busy Google: every fifth request fails, and nobody notices but the log.

use google_emulator::{Effect, Fault, Route};

use super::{
    transfer::{Holdings, Study, assert_in_orthanc, assert_stored, empty, last, retrieve, stow, transfers},
    *,
};

/// A fifth of the requests.
const FIFTH: u64 = 5;

/// Both ways are gone while every fifth request has one of these fates.
fn survives(on: [Route; 2], effects: &[Effect], is_sent_again: bool) {
    let [on_the_way_there, on_the_way_back] = on;
    let stage = ready();
    // The second one comes back by one request for each series.
    let (large, small) = (Study::of_requests(1, 10), Study::new(2, 4, 6, 64));
    let resources = [large.put(&stage), small.put(&stage)].concat();
    let before = Holdings::of(&stage);
    let faults = stage.scene.emulator.faults();
    let effects = || effects.iter().cloned();

    faults.add(Fault::in_turn(on_the_way_there, effects()).every(FIFTH));
    stow(&stage, &resources).succeeds();
    assert_stored(&stage, large.instances.iter().chain(&small.instances));
    let sent = last(&stage);
    assert_eq!(
        (sent["Kind"].as_str(), sent["State"].as_str(), sent["InstancesDone"].as_u64()),
        (Some("store"), Some("succeeded"), Some(44))
    );
    assert_eq!(sent["Retries"].as_u64() >= Some(2), is_sent_again, "{sent:#}");
    assert!(stage.requests(Route::Stow).len() >= 10);
    before.assert_nothing_left(&stage);

    empty(&stage.orthanc);
    faults.clear();
    faults.add(Fault::in_turn(on_the_way_back, effects()).every(FIFTH));
    retrieve(&stage, &[&large, &small]).succeeds();
    assert_in_orthanc(&stage.orthanc, &[&large, &small]);
    let ended = transfers(&stage)["Ended"].as_array().unwrap().clone();
    assert!(ended.iter().all(|one| one["State"] == "succeeded"), "{ended:#?}");
    let retries = ended[0]["Retries"].as_u64().unwrap() + ended[1]["Retries"].as_u64().unwrap();
    assert_eq!(retries >= 4, is_sent_again, "{ended:#?}");
    before.assert_nothing_left(&stage);
    stage.stop();
}

fn answer(status: u16) -> Effect {
    Fault::answer(Route::Any, status, r#"{"error":{"message":"not now"}}"#).effect
}

fn too_many() -> Effect {
    Fault::answer(Route::Any, 429, "{}").header("Retry-After", "1").effect
}

const RESET: Effect = Effect::Reset { after_bytes: 1_000_000 };
const CUT: Effect = Effect::CutBody { after_bytes: 100 };
const DELAY: Effect = Effect::Latency { milliseconds: 1000 };

#[test]
fn every_fifth_request_is_answered_503() {
    survives([Route::Stow, Route::Wado], &[answer(503)], true);
}

#[test]
fn every_fifth_request_is_answered_429_with_retry_after() {
    survives([Route::Stow, Route::Wado], &[too_many()], true);
}

#[test]
fn every_fifth_request_is_reset() {
    survives([Route::Stow, Route::Wado], &[RESET, Effect::Reset { after_bytes: 0 }], true);
}

#[test]
fn every_fifth_answer_is_cut() {
    survives([Route::Stow, Route::Wado], &[CUT, Effect::CutBody { after_bytes: 0 }], true);
}

#[test]
fn every_fifth_answer_is_late() {
    survives([Route::Stow, Route::Wado], &[DELAY], false);
}

#[test]
fn every_fifth_request_has_one_of_these_fates_in_turn() {
    // Requests for tokens and searches too.
    survives([Route::Any; 2], &[answer(503), RESET, CUT, DELAY, too_many()], true);
}
