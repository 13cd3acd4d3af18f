//! What happens at Google in the middle of a transfer: tokens end, the service restarts, an instance is refused.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    time::Duration,
};

use google_emulator::{EmptySearch, Emulator, Fault, Route, SeenRequest};

use super::{
    client::{end, part, upload, with_secret},
    transfer::{Holdings, Study, assert_in_orthanc, assert_stored, empty, last, retrieve, stow},
    *,
};
use crate::stage::{is_own, lines_at};

/// The credentials that were shown with these requests.
fn shown(requests: &[SeenRequest]) -> BTreeSet<String> {
    requests.iter().map(|request| request.header("authorization").unwrap_or_default().to_owned()).collect()
}

#[test]
fn tokens_end_several_times_during_a_transfer() {
    let scene = Scene::new();
    // Renewed at half its life.
    scene.emulator.set_token_lifetime(Duration::from_secs(12));
    let orthanc = orthanc(&scene);
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    let study = Study::of_requests(1, 10);
    let resources = study.put(&stage);
    let before = Holdings::of(&stage);
    // Google is busy until two more tokens were given.
    let faults = stage.scene.emulator.faults();
    let busy = |route| faults.add(Fault::answer(route, 503, "{}").until_cleared());
    let outlast = |route| {
        stage.wait_until("a transfer under way", || !stage.requests(route).is_empty());
        let issued = || stage.scene.emulator.tokens_issued().len();
        let before = issued();
        stage.wait_until("two more tokens", || issued() >= before + 2);
        faults.clear();
    };
    busy(Route::Stow);
    let job = stow(&stage, &resources);
    outlast(Route::Stow);
    job.succeeds();
    assert_stored(&stage, &study.instances);
    let tokens = shown(&stage.requests(Route::Stow)).len();
    assert!(tokens >= 2, "{tokens}");

    empty(&stage.orthanc);
    busy(Route::Wado);
    let job = retrieve(&stage, &[&study]);
    outlast(Route::Wado);
    job.succeeds();
    assert_in_orthanc(&stage.orthanc, &[&study]);
    let tokens = shown(&stage.requests(Route::Wado)).len();
    assert!(tokens >= 2, "{tokens}");
    before.assert_nothing_left(&stage);
    stage.stop();
}

#[test]
fn an_upload_lasts_for_the_lives_of_four_tokens() {
    let scene = Scene::new();
    // Renewed at half its life: a busy machine has some seconds to show it.
    scene.emulator.set_token_lifetime(Duration::from_secs(16));
    let (stage, secret) = with_secret(scene);
    // 2.2 MB: as nothing else is under way, each is sent on when it is read.
    let study = Study::new(1, 1, 4, 1040);
    let before = Holdings::of(&stage);
    let body = [study.instances.iter().map(part).collect::<Vec<_>>().concat(), end()].concat();
    let mut stream = upload(&stage, &secret, body.len());
    let mut body = body.as_slice();
    for stored in 1..=study.instances.len() {
        // With the beginning of the next delimiter, which ends it; of the last one that is the end of all.
        let length = part(&study.instances[stored - 1]).len();
        let (now, later) = body.split_at(length + if stored == 1 { end().len() } else { 0 });
        body = later;
        stream.write_all(now).unwrap();
        if later.is_empty() {
            break;
        }
        stage.wait_until("it is stored", || stage.scene.emulator.instances().len() >= stored);
        let tokens = || {
            let account = stage.orthanc.get("/google-cloud-platform/accounts/g").unwrap().json().unwrap();
            account["Refreshes"].as_u64().unwrap()
        };
        let so_far = tokens();
        stage.wait_until("another token", || tokens() > so_far);
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_stored(&stage, &study.instances);
    assert_eq!(shown(&stage.requests(Route::Stow)).len(), 4);
    drop(stream);
    before.assert_nothing_left(&stage);
    stage.stop();
}

#[test]
fn tokens_are_revoked_in_the_middle() {
    let stage = ready();
    let study = Study::of_requests(1, 10);
    let resources = study.put(&stage);
    let before = Holdings::of(&stage);
    let faults = stage.scene.emulator.faults();
    faults.add(Fault::latency(Route::Stow, Duration::from_secs(3)).until_cleared());
    let job = stow(&stage, &resources);
    stage.wait_until("an upload under way", || !stage.requests(Route::Stow).is_empty());
    stage.scene.emulator.revoke_tokens();
    job.succeeds();
    assert_stored(&stage, &study.instances);
    let refused = |route| stage.requests(route).iter().filter(|seen| seen.status == Some(401)).count();
    assert!(refused(Route::Stow) > 0);
    // However many were refused, one token was asked for.
    assert_eq!(stage.scene.emulator.tokens_issued().len(), 2);

    empty(&stage.orthanc);
    faults.clear();
    faults.add(Fault::latency(Route::WadoInstance, Duration::from_secs(3)).until_cleared());
    let job = retrieve(&stage, &[&study]);
    stage.wait_until("a retrieval under way", || !stage.requests(Route::Wado).is_empty());
    stage.scene.emulator.revoke_tokens();
    job.succeeds();
    assert_in_orthanc(&stage.orthanc, &[&study]);
    before.assert_nothing_left(&stage);
    let log = stage.stop();
    assert_eq!(lines_at(&log, 'E'), [""; 0], "{log}");
}

/// An emulator in a folder that outlives it.
fn lasting(folder: &std::path::Path) -> google_emulator::Builder {
    Emulator::builder().empty_search(EmptySearch::EmptyArray).data_dir(folder)
}

/// Ends the emulator and starts it again on the same ports, with what it has kept.
fn restart(stage: &mut Stage, folder: &std::path::Path) {
    // In its place for a moment; with its keys, since making some takes seconds.
    let other = tempfile::tempdir().unwrap();
    for kept in ["identity.json", "federation.json"] {
        fs::copy(folder.join(kept), other.path().join(kept)).unwrap();
    }
    let port = |url: &str| url.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let emulator = &stage.scene.emulator;
    let (http, https) = (port(emulator.http_url()), port(emulator.https_url()));
    let placeholder = lasting(other.path()).start().unwrap();
    std::mem::replace(&mut stage.scene.emulator, placeholder).stop();
    // Meanwhile the port may be that of somebody's connection, for a moment.
    let mut started = None;
    stage.wait_until("Google's start", || {
        started = lasting(folder).http_port(http).https_port(https).start().ok();
        started.is_some()
    });
    stage.scene.emulator = started.unwrap();
}

#[test]
fn google_restarts_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::of(lasting(folder.path()).start().unwrap());
    let orthanc = orthanc(&scene);
    let mut stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    let study = Study::of_requests(1, 10);
    let resources = study.put(&stage);
    let before = Holdings::of(&stage);
    for way in ["there", "back"] {
        let on = if way == "there" { Route::Stow } else { Route::WadoInstance };
        stage.scene.emulator.faults().add(Fault::hang(on).every(2));
        let begin = || if way == "there" { stow(&stage, &resources) } else { retrieve(&stage, &[&study]) };
        let id = begin().into_id();
        // Some have been answered; of three that have come one after the other, one hangs at least.
        let gauges = |stage: &Stage| stage.scene.emulator.gauges();
        stage.wait_until("the middle", || gauges(&stage).requests_now >= 3);
        restart(&mut stage, folder.path());
        transfer::Job::known(&stage, id).succeeds();
        assert_stored(&stage, &study.instances);
        assert!(last(&stage)["Retries"].as_u64() >= Some(1), "{:#}", last(&stage));
        if way == "there" {
            empty(&stage.orthanc);
        }
    }
    assert_in_orthanc(&stage.orthanc, &[&study]);
    before.assert_nothing_left(&stage);
    let log = stage.stop();
    assert_eq!(lines_at(&log, 'E'), [""; 0], "{log}");
}

#[test]
fn one_instance_that_google_refuses() {
    let stage = ready();
    let study = Study::new(1, 2, 15, 200);
    let resources = study.put(&stage);
    let before = Holdings::of(&stage);
    let refused = &study.instances[7].uid;
    let words = "the instance has an unsupported character set";
    stage.scene.emulator.faults().add(Fault::refuse_instance(refused, words));
    let end = stow(&stage, &resources).fails();
    let others = || study.instances.iter().filter(|instance| instance.uid != *refused);
    assert_stored(&stage, others());
    // Where the DICOMweb plugin shows the reason, and where we do.
    assert!(!end.to_string().contains("Bearer"), "{end:#}");
    let told = last(&stage);
    assert_eq!(
        [&told["State"], &told["InstancesDone"], &told["InstancesFailed"]],
        [&json!("failed"), &json!(29), &json!(1)]
    );
    let log = stage.orthanc.log();
    assert_eq!(log.matches(words).count(), 1, "{log}");
    let line = log.lines().find(|line| line.contains(words)).unwrap();
    assert!(line.starts_with('E') && line.contains("1 of 30 instances"), "{line}");
    assert!(line.contains("correct what is refused"), "{line}");

    // Sent again, it is refused again; once Google takes it, the rest is there already.
    stow(&stage, &resources).fails();
    stage.scene.emulator.faults().clear();
    stow(&stage, &resources).succeeds();
    assert_stored(&stage, &study.instances);
    assert_eq!(last(&stage)["InstancesPresent"], 29);
    before.assert_nothing_left(&stage);
    stage.stop();
}

#[test]
fn what_google_refuses_shows_in_the_account() {
    let stage = ready();
    let account = || stage.orthanc.get("/google-cloud-platform/accounts/g").unwrap().json().unwrap();
    let is_a_look = |seen: &SeenRequest| is_own(seen) && seen.route == Route::Qido && seen.status.is_some();
    stage.wait_until("the first look", || stage.scene.emulator.requests().iter().any(is_a_look));
    let denied = stage.scene.emulator.service_account();
    stage.scene.emulator.change_settings(|settings| settings.denied_principals.push(denied));
    // The token is good for an hour, and nobody looks before that without a reason.
    assert_eq!(account()["State"], "ok");
    assert_eq!(stage.search("g").0, 401);
    stage.wait_until("it is seen", || account()["State"] == "failing");
    assert_eq!(account()["LastError"]["Of"], "store");
    stage.stop();
}
