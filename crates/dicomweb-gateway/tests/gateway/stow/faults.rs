//! A bad network and a busy server.

use std::io::{Read as _, Write as _};

use dicomweb_gateway::Stage as Ended;
use google_emulator::{Effect, Fault, Route};

use super::{bounds::begun, *};

/// Everything is stored whatever happens to every fifth request.
fn survives(effects: impl IntoIterator<Item = Effect>) {
    let stage = stage();
    stage.emulator.faults().add(Fault::in_turn(Route::Stow, effects).every(5));
    // More than a hundred requests, so that every effect has its turn.
    let study = ct(1, 104, 8000);
    for upload_of in study.instances.chunks(1) {
        let files: Vec<&[u8]> = upload_of.iter().map(|instance| instance.bytes.as_slice()).collect();
        let (status, answer) = upload(&stage, &files);
        assert_eq!(status, 200, "{answer}");
    }
    assert_holds(&stage, &files(&study));
    assert!(stage.gateway.counts().retries >= 20, "{:?}", stage.gateway.counts());
    assert_nothing_left(&stage);
}

fn busy(status: u16) -> Effect {
    Fault::answer(Route::Stow, status, "{}").effect
}

#[test]
fn every_fifth_request_is_refused() {
    survives([busy(503), busy(429), busy(500)]);
}

#[test]
fn every_fifth_request_is_cut() {
    survives([
        Effect::Reset { after_bytes: 0 },
        Effect::Reset { after_bytes: 3000 },
        Effect::CutBody { after_bytes: 0 },
        Effect::CutBody { after_bytes: 100 },
    ]);
}

#[test]
fn many_batches_at_once_survive_all_of_it_together() {
    let stage = stage();
    let effects = [
        busy(503),
        Effect::Reset { after_bytes: 1 << 20 },
        busy(429),
        Effect::CutBody { after_bytes: 10 },
        Effect::Latency { milliseconds: 100 },
    ];
    stage.emulator.faults().add(Fault::in_turn(Route::Stow, effects).every(3));
    let study = ct(1, 100, 1 << 20);
    let (status, answer) = upload(&stage, &files(&study));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(stored(&answer), all_uids(&study));
    assert_holds(&stage, &files(&study));
    assert!(last(&stage).retries >= 5);
    assert_nothing_left(&stage);
}

#[test]
fn a_silent_server_is_asked_again() {
    let stage = staged(OnConflict::Fail, |settings| settings.inactivity = Duration::from_secs(2));
    stage.emulator.faults().add(Fault::hang(Route::Stow).times(2));
    let study = ct(1, 3, 1000);
    assert_eq!(upload(&stage, &files(&study)).0, 200);
    assert_holds(&stage, &files(&study));
}

#[test]
fn tokens_that_end_in_the_middle_cost_a_request() {
    let stage = stage();
    let study = ct(1, 20, 1 << 20);
    let (first, second) = study.instances.split_at(10);
    let of = |instances: &[orthanc_testbed::Instance]| -> Vec<Vec<u8>> {
        instances.iter().map(|instance| instance.bytes.clone()).collect()
    };
    let (first, second) = (of(first), of(second));
    let body = |files: &[Vec<u8>], is_end: bool| {
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        let mut body = multipart(&files);
        if !is_end {
            body.truncate(body.len() - BOUNDARY.len() - 4);
        }
        body
    };
    let (status, answer) = block_on(async {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        });
        let sending = post(&stage, "studies").body(reqwest::Body::wrap_stream(stream)).send();
        let feeding = async {
            sender.send(Ok(body(&first, false))).await.unwrap();
            // Some of it has arrived with the first token.
            while stage.emulator.instances().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stage.emulator.revoke_tokens();
            sender.send(Ok(body(&second, true))).await.unwrap();
            drop(sender);
        };
        let (answer, ()) = tokio::join!(sending, feeding);
        let answer = answer.unwrap();
        (answer.status().as_u16(), serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap())
    });
    assert_eq!(status, 200, "{answer}");
    assert_eq!(stored(&answer), all_uids(&study));
    assert_holds(&stage, &files(&study));
    assert!(stage.emulator.tokens_issued().len() >= 2);
}

#[test]
fn an_outage_that_outlasts_the_patience_is_told_as_it_is() {
    let stage = staged(OnConflict::Fail, |settings| settings.patience = Duration::from_millis(300));
    stage.wait_for_token();
    stage
        .emulator
        .faults()
        .add(Fault::answer(Route::Stow, 503, r#"{"error":{"code":503,"message":"down"}}"#).until_cleared());
    let (status, answer) = upload(&stage, &files(&ct(1, 3, 1000)));
    assert_eq!((status, answer["error"]["message"].as_str()), (503, Some("down")));
    let report = last(&stage);
    assert_eq!((report.stage, report.instances_failed), (Ended::Failed, 3));
    assert_holds(&stage, &[]);
}

#[test]
fn a_far_store_that_starts_anew_in_the_middle_costs_no_instance() {
    let folder = tempfile::tempdir().unwrap();
    let builder = |port| Emulator::builder().data_dir(folder.path()).https_port(port);
    let emulator = FarStore::start(builder(0));
    let port = emulator.https_url().rsplit(':').next().unwrap().parse().unwrap();
    let mut stage = Stage::with(emulator, OnConflict::Fail, |_| {});
    // Whatever is quicker, some of it is there and some of it is under way when the store ends.
    stage.emulator.faults().add(Fault::hang(Route::Stow).every(2));
    let study = ct(1, 64, 1 << 20);
    let request = post(&stage, "studies").body(multipart(&files(&study)));
    let uploading = std::thread::spawn(move || {
        block_on(async {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    });
    until("some of it is there", || !stage.emulator.instances().is_empty());
    until("some of it is under way", || {
        seen(&stage, Route::Stow).iter().any(|request| request.status.is_none())
    });
    let another = FarStore::start(Emulator::builder());
    let store = std::mem::replace(&mut stage.emulator, another).stop();
    until("it is missed", || last(&stage).held_up_by.is_some_and(|why| why.contains("no connection")));
    stage.emulator = FarStore::over(store, builder(port));
    let (status, answer) = uploading.join().unwrap();
    assert_eq!(status, 200, "{answer}");
    assert_holds(&stage, &files(&study));
    assert!(last(&stage).retries > 0);
    assert_eq!(last(&stage).held_up_by, None);
}

#[test]
fn what_is_large_or_slow_has_as_much_patience_as_the_rest() {
    let stage = staged(OnConflict::Fail, |settings| {
        // It is looked twelve times in it whether something moves.
        settings.inactivity = Duration::from_secs(12);
        settings.patience = Duration::from_secs(6);
        settings.spool_over = 100_000;
    });
    let study = ct(1, 1, 5 << 20);
    stage.emulator.faults().add(Fault::reset(Route::Stow, 4 << 20).times(1));
    let body = multipart(&files(&study));
    let mut pieces = body.chunks(body.len() / 12);
    let mut stream = begun(&stage, pieces.next().unwrap());
    for piece in pieces {
        // The network, for longer than patience.
        std::thread::sleep(Duration::from_millis(750));
        write!(stream, "{:x}\r\n", piece.len()).unwrap();
        stream.write_all(piece).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_holds(&stage, &files(&study));
    assert_eq!(last(&stage).retries, 1);
    assert_nothing_left(&stage);
}
