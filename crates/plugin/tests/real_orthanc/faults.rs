//! Without the gateway: a client that asks the store once a second, while tokens end, clocks step and token servers fail: no request carries
//! a token that is over.

mod clock;
mod outages;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use google_emulator::{EmptySearch, Emulator, Route, SeenRequest, SubjectSource};
use serde_json::{Value, json};

use crate::stage::{Scene, Stage, lines_at};

/// One account for each way that tokens come: signed, by login, from the machine, by exchange, by impersonation.
const ACCOUNTS: [&str; 5] = ["key", "login", "machine", "exchange", "impersonation"];

/// A pretend Google whose tokens live so long.
fn google(life: Duration) -> Scene {
    let emulator = Emulator::builder().empty_search(EmptySearch::EmptyArray).token_lifetime(life);
    Scene::of(emulator.start().unwrap())
}

/// [`ACCOUNTS`], with a subject token that is fetched anew each time.
fn accounts(scene: &Scene) -> Value {
    let emulator = &scene.emulator;
    let impersonation = json!({
        "ServiceAccountFile": scene.path("key.json"),
        "ImpersonateServiceAccount": emulator.impersonation_target(),
        "IamUri": emulator.https_url(),
    });
    emulator.external_account(&SubjectSource::TextUrl).write(&scene.path("exchange.json")).unwrap();
    json!({
        "key": scene.service_account(),
        "login": scene.user_strings(),
        "machine": scene.account(&json!({"MetadataServer": true})),
        "exchange": scene.account(&json!({"CredentialsFile": scene.path("exchange.json")})),
        "impersonation": scene.account(&impersonation),
    })
}

/// Starts Orthanc with all [`ACCOUNTS`], and waits until they are ready.
fn start(scene: Scene, configuration: &Value) -> Stage {
    let orthanc = scene
        .direct(&accounts(&scene))
        .environment("GCE_METADATA_HOST", scene.emulator.metadata_host())
        .configuration(configuration)
        .clock_of_its_own()
        .unwrap();
    let stage = scene.start(orthanc);
    for account in ACCOUNTS {
        stage.wait_until_ready(account);
    }
    stage
}

/// Does `act` while a client asks the store through each account once a second.
fn while_asking<T>(stage: &Stage, accounts: &[&str], act: impl FnOnce() -> T) -> T {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for account in accounts {
                    stage.search(account);
                }
                thread::sleep(Duration::from_secs(1));
            }
        });
        // Also when a test fails: nobody waits for ever.
        let _stop = Stop(&over);
        act()
    })
}

/// The searches that the store did not answer with 200, in words without secrets: who had which token.
fn refused(stage: &Stage) -> Vec<String> {
    let refused = stage.requests(Route::Qido).into_iter().filter(|search| search.status != Some(200));
    let word = |search: SeenRequest| match search.header("authorization") {
        Some(_) => format!("request {}: {:?} with a token", search.number, search.status),
        None => format!("request {}: {:?} without a token", search.number, search.status),
    };
    refused.map(word).collect()
}

/// How often the store has answered.
fn answered(stage: &Stage) -> usize {
    stage.requests(Route::Qido).len()
}

/// Whether the store answers every account now.
fn live_searches(stage: &Stage) -> bool {
    ACCOUNTS.iter().all(|account| stage.search(account).0 == 200)
}

/// How often each account has asked for a token and had it, the least of them.
fn lives(stage: &Stage) -> usize {
    let had = |route| stage.requests(route).iter().filter(|request| request.status == Some(200)).count();
    // Key, login, and the key that impersonates.
    let others = [Route::Metadata, Route::Sts, Route::Iam].map(had);
    others.into_iter().fold(had(Route::Token) / 3, usize::min)
}

/// As long as Google is well, every search is answered and nothing is wrong.
fn live(life: u64, lives_wanted: usize) {
    let stage = start(google(Duration::from_secs(life)), &json!({}));
    let deadline = Duration::from_secs(life * u64::try_from(lives_wanted).unwrap());
    while_asking(&stage, &ACCOUNTS, || {
        let lived = || Ok(lives(&stage) >= lives_wanted);
        stage.orthanc.wait_until("the tokens' lives", deadline, lived).unwrap();
        thread::sleep(Duration::from_secs(5));
    });
    assert_eq!(refused(&stage), [""; 0]);
    assert!(answered(&stage) > ACCOUNTS.len() * 10, "{}", answered(&stage));
    let log = stage.stop();
    assert_eq!(lines_at(&log, 'E'), [""; 0], "{log}");
}

#[test]
fn tokens_that_live_half_a_minute() {
    live(30, 5);
}

#[test]
fn tokens_that_live_a_minute_and_a_half() {
    live(90, 3);
}
