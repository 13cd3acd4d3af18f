//! What goes wrong on the way, and what becomes of it.

use std::{collections::BTreeMap, time::Duration};

use dicomweb_gateway::Stage as Standing;
use google_emulator::{Answer, Effect, Fault, Route};
use reqwest::Method;

use crate::{
    stage::block_on,
    support::{ANY, Got, Scene, get},
};

fn answer(status: u16) -> Effect {
    Effect::Answer(Answer {
        status,
        headers: BTreeMap::default(),
        body: "{}".to_owned(),
        after_handling: false,
    })
}

/// One request in five, each time in another way.
fn all_kinds(on: Route) -> Fault {
    let effects = [
        answer(503),
        answer(429),
        Effect::Reset { after_bytes: 0 },
        Effect::CutBody { after_bytes: 5_000 },
        Effect::Latency { milliseconds: 30 },
        Effect::CutBody { after_bytes: 0 },
    ];
    Fault::in_turn(on, effects).every(5)
}

#[test]
fn one_request_in_five_fails_and_nothing_is_lost() {
    for (series, instances) in [(1, 60), (10, 6), (40, 1)] {
        let scene = Scene::new(series, instances, 64);
        scene.stage.emulator.change_settings(|settings| settings.largest_page = Some(25));
        for route in [Route::WadoInstance, Route::WadoSeries, Route::Qido] {
            scene.stage.emulator.faults().add(all_kinds(route));
        }
        scene.assert_whole(&scene.retrieve());
        let report = scene.ended();
        assert_eq!((report.stage, report.instances_done), (Standing::Succeeded, (series * instances) as u64));
        assert!(report.retries > 0);
    }
}

#[test]
fn what_a_stream_breaks_off_before_comes_one_by_one() {
    let scene = Scene::new(4, 6, 64);
    // In the middle of the third instance of each.
    scene.stage.emulator.faults().add(Fault::cut_body(Route::WadoSeries, 25_000).until_cleared());
    scene.assert_whole(&scene.retrieve());
    assert_eq!((scene.series_requests(), scene.single_requests()), (4, 16));
    assert_eq!(scene.ended().instances_done, 24);
}

#[test]
fn a_stream_that_breaks_off_within_what_is_passed_on_is_continued() {
    // Each instance is larger than what is collected: it is passed through.
    let scene = Scene::with(4, 3, 256, |settings| settings.spool_over = 50_000);
    scene.stage.emulator.faults().add(Fault::cut_body(Route::WadoSeries, 200_000).until_cleared());
    scene.assert_whole(&scene.retrieve());
    assert_eq!((scene.series_requests(), scene.single_requests()), (4, 8));
    assert_eq!(scene.ended().instances_done, 12);
}

#[test]
fn a_large_instance_is_continued_where_it_broke_off() {
    let scene = Scene::with(1, 2, 1000, |settings| settings.spool_over = 100_000);
    let cuts = [1_000_000, 300_000, 0, 1_500_000, 99_000, 1_999_999];
    let effects = cuts.into_iter().flat_map(|after_bytes| [Effect::CutBody { after_bytes }, answer(503)]);
    scene.stage.emulator.faults().add(Fault::in_turn(Route::WadoInstance, effects).times(12));
    scene.assert_whole(&scene.retrieve());
    let report = scene.ended();
    assert_eq!((report.stage, report.instances_done), (Standing::Succeeded, 2));
    assert_eq!(report.retries, 12);
}

#[test]
fn an_instance_that_has_become_another_is_never_mixed() {
    for other_length in [500_000, 2_000_844] {
        let scene = Scene::with(1, 1, 1000, |settings| settings.spool_over = 100_000);
        let mut other = Fault::answer(Route::WadoInstance, 200, "x".repeat(other_length));
        other = other.header("Content-Type", "application/dicom");
        let effects = [Effect::CutBody { after_bytes: 1_000_000 }, other.effect];
        scene.stage.emulator.faults().add(Fault::in_turn(Route::WadoInstance, effects).times(2));
        let Got::Broken(bytes) = scene.retrieve() else { panic!() };
        assert!(bytes < 1_001_000, "{bytes}");
        let report = scene.ended();
        assert_eq!((report.stage, report.instances_failed), (Standing::Failed, 1));
        assert!(report.failures[0].contains("another one"), "{:?}", report.failures);
    }
}

#[test]
fn an_instance_that_cannot_be_had_breaks_the_connection_off() {
    for (series, instances) in [(1, 12), (4, 3)] {
        let scene = Scene::with(series, instances, 64, |settings| settings.patience = Duration::from_secs(4));
        scene.stage.wait_for_token();
        let uid = scene.files.keys().nth(5).unwrap();
        let faults = scene.stage.emulator.faults();
        // The series' streams end before it, whichever holds it.
        faults.add(Fault::cut_body(Route::WadoSeries, 12_000).until_cleared());
        // Slowly: the others are there when it is given up.
        let late = Fault::latency(Route::WadoInstance, Duration::from_secs(2)).on_path(uid);
        faults.add(late.until_cleared());
        faults.add(
            Fault::answer(Route::WadoInstance, 503, r#"{"error":{"message":"no such backend"}}"#)
                .on_path(uid)
                .until_cleared(),
        );
        let got = scene.retrieve();
        if series == 1 {
            let Got::Broken(bytes) = got else { panic!("{got:?}") };
            assert!(bytes > 0);
            let report = scene.ended();
            assert_eq!(report.stage, Standing::Failed);
            assert_eq!((report.instances_done, report.instances_failed), (11, 1));
            assert!(report.failures[0].contains("no such backend"), "{:?}", report.failures);
        } else if !matches!(got, Got::Broken(_)) {
            // It was the first of its stream.
            scene.assert_whole(&got);
        }
    }
}

#[test]
fn an_answer_that_is_something_else_is_no_instance() {
    let scene = Scene::new(1, 3, 64);
    let portal = Fault::answer(Route::WadoInstance, 200, "<html>").header("Content-Type", "text/html");
    scene.stage.emulator.faults().add(portal.until_cleared());
    assert!(matches!(scene.retrieve(), Got::Refused(502, body) if body.contains("text/html")));
    scene.stage.emulator.faults().clear();
    let compressed = Fault::answer(Route::WadoInstance, 200, "\u{1f}compressed")
        .header("Content-Type", "application/dicom")
        .header("Content-Encoding", "gzip");
    scene.stage.emulator.faults().add(compressed.until_cleared());
    assert!(matches!(scene.retrieve(), Got::Refused(502, body) if body.contains("gzip")));
    scene.stage.emulator.faults().clear();
    scene.stage.emulator.faults().add(Fault::answer(Route::Qido, 200, "<html>").until_cleared());
    assert!(matches!(scene.retrieve(), Got::Refused(502, body) if body.contains("search")));
}

#[test]
fn a_token_revoked_in_the_middle_is_replaced() {
    let scene = Scene::with(1, 40, 500, |settings| settings.memory = 2 << 20);
    let path = format!("studies/{}", scene.study);
    let got = block_on(async {
        let mut answer = scene.stage.request(Method::GET, &path).header("Accept", ANY).send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        let mut body = answer.chunk().await.unwrap().unwrap().to_vec();
        scene.stage.emulator.revoke_tokens();
        while let Some(bytes) = answer.chunk().await.unwrap() {
            body.extend_from_slice(&bytes);
        }
        Got::Parts(crate::support::parts(&kind, &body))
    });
    scene.assert_whole(&got);
    assert!(scene.requests().iter().any(|request| request.status == Some(401)));
    assert_eq!(scene.ended().stage, Standing::Succeeded);
}

#[test]
fn a_client_that_vanishes_ends_everything() {
    let scene = Scene::with(4, 10, 500, |settings| settings.memory = 4 << 20);
    let path = format!("studies/{}", scene.study);
    block_on(async {
        let mut answer = scene.stage.request(Method::GET, &path).header("Accept", ANY).send().await.unwrap();
        answer.chunk().await.unwrap().unwrap();
    });
    let report = scene.ended();
    assert_eq!(report.stage, Standing::Cancelled);
    assert!(report.instances_done < 40);
    assert!(report.ended >= Some(report.began), "{report:?}");

    // One that goes before it has an answer.
    scene.stage.emulator.clear_requests();
    scene.stage.emulator.faults().add(Fault::hang(Route::Qido).until_cleared());
    block_on(async {
        let is_asked = async {
            while scene.requests().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let request = scene.stage.request(Method::GET, &path).header("Accept", ANY);
        tokio::select! {
            answer = request.send() => panic!("{answer:?}"),
            () = is_asked => {}
        }
    });
    assert_eq!(scene.ended().stage, Standing::Cancelled);
    assert_eq!(scene.stage.gateway.transfers().len(), 2);

    // And it goes on well.
    scene.stage.emulator.faults().clear();
    let got = get(&scene.stage, &path, ANY);
    scene.assert_whole(&got);
}
