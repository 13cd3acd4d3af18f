//! Stores that return a single instance as the only part of a multipart body, and nothing else.

use dicomweb_gateway::Stage as Standing;
use google_emulator::{Effect, Fault, Route};
use reqwest::Method;

use crate::{
    stage::block_on,
    support::{ANY, Scene},
};

/// What a client sends that wants the instance itself.
const SINGLE: &str = "application/dicom; transfer-syntax=*";

fn refusing(scene: &Scene, status: u16) {
    scene.stage.emulator.change_settings(|settings| settings.single_part_refused_with = Some(status));
}

/// The requests for single instances that the store has refused.
fn refused(scene: &Scene) -> usize {
    let is_refused = |status: Option<u16>| matches!(status, Some(400 | 406 | 415));
    scene.requests().iter().filter(|request| is_refused(request.status)).count()
}

/// Status, `Content-Type` and body of one instance.
fn single(scene: &Scene, uid: &str, accept: &str) -> (u16, String, Vec<u8>) {
    let series = scene.series_of(uid);
    block_on(async {
        let path = format!("studies/{}/series/{series}/instances/{uid}", scene.study);
        let answer = scene.stage.request(Method::GET, &path).header("Accept", accept).send().await.unwrap();
        let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        (answer.status().as_u16(), kind.unwrap_or_default(), answer.bytes().await.unwrap().to_vec())
    })
}

#[test]
fn a_store_that_refuses_single_instances_as_the_body_gives_them_in_multipart() {
    for status in [400, 406, 415] {
        let scene = Scene::new(1, 150, 64);
        refusing(&scene, status);
        scene.assert_whole(&scene.retrieve());
        // Those that were under way before the first answer.
        // Of a real Orthanc the gateway knows it by then.
        let least = usize::from(!scene.stage.emulator.is_orthanc());
        assert!((least..=64).contains(&refused(&scene)), "{}", refused(&scene));
        assert_eq!(scene.ended().stage, Standing::Succeeded);

        // It is remembered.
        scene.stage.emulator.clear_requests();
        scene.assert_whole(&scene.retrieve());
        assert_eq!((refused(&scene), scene.single_requests()), (0, 150));
    }
}

#[test]
fn what_breaks_off_is_continued_in_multipart() {
    for (series, instances, spool_over) in [(1, 6, 50_000), (4, 6, 50_000), (4, 6, 1 << 20)] {
        let scene = Scene::with(series, instances, 256, |settings| settings.spool_over = spool_over);
        refusing(&scene, 400);
        let effects = [0, 60_000, 90_000].map(|after_bytes| Effect::CutBody { after_bytes });
        scene.stage.emulator.faults().add(Fault::in_turn(Route::WadoInstance, effects).times(3));
        scene.stage.emulator.faults().add(Fault::cut_body(Route::WadoSeries, 200_000).until_cleared());
        scene.assert_whole(&scene.retrieve());
        assert_eq!(scene.ended().stage, Standing::Succeeded);
    }
}

#[test]
fn a_client_that_wants_the_instance_itself_gets_it_from_any_store() {
    let scene = Scene::new(1, 2, 64);
    let (uid, file) = scene.files.iter().next().unwrap();
    for status in [None, Some(400), Some(406), Some(415)] {
        scene.stage.emulator.change_settings(|settings| settings.single_part_refused_with = status);
        let (status, kind, body) = single(&scene, uid, SINGLE);
        assert!(status == 200 && kind.starts_with("application/dicom"), "{status} {kind}");
        assert!(body == *file);
    }
    // Whoever takes multipart gets what the store has.
    let (status, kind, _) = single(&scene, uid, ANY);
    assert!(status == 200 && kind.starts_with("multipart/related"), "{status} {kind}");
    // What is not there is not there in any format.
    let missing = single(&scene, &format!("{uid}9"), SINGLE);
    assert_eq!(missing.0, 404);
    // A refusal for another reason remains one.
    let unknown = single(&scene, uid, "application/dicom; transfer-syntax=1.2.3.4");
    assert!(matches!(unknown.0, 400 | 406), "{}", unknown.0);
}

#[test]
fn an_instance_taken_out_of_multipart_is_whole_or_broken_off() {
    let scene = Scene::new(1, 1, 256);
    refusing(&scene, 406);
    let (uid, file) = scene.files.iter().next().unwrap();
    assert!(single(&scene, uid, SINGLE).2 == *file);
    // Before the first byte of the instance it is requested again, after that it is broken off.
    scene.stage.emulator.faults().add(Fault::cut_body(Route::WadoInstance, 10).times(1));
    assert!(single(&scene, uid, SINGLE).2 == *file);
    scene.stage.emulator.faults().add(Fault::cut_body(Route::WadoInstance, 90_000).until_cleared());
    let outcome = block_on(async {
        let path = format!("studies/{}/series/{}/instances/{uid}", scene.study, scene.series_of(uid));
        let answer = scene.stage.request(Method::GET, &path).header("Accept", SINGLE).send().await.unwrap();
        answer.bytes().await
    });
    assert!(outcome.is_err());
    scene.stage.emulator.faults().clear();
    for (parts, words) in [(0, "no part"), (2, "several parts")] {
        let part = "--b\r\nContent-Type: application/dicom\r\n\r\nDICM\r\n".repeat(parts);
        let several = Fault::answer(Route::WadoInstance, 200, format!("{part}--b--"))
            .header("Content-Type", "multipart/related; type=\"application/dicom\"; boundary=b");
        scene.stage.emulator.faults().add(several.times(1));
        let path = format!("studies/{}/series/{}/instances/{uid}", scene.study, scene.series_of(uid));
        let outcome = block_on(async {
            let answer = scene.stage.request(Method::GET, &path).header("Accept", SINGLE).send().await?;
            Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.text().await?))
        });
        match outcome {
            Ok((502, text)) if parts == 0 => assert!(text.contains(words), "{text}"),
            // Its head may have been sent.
            Err(_) if parts == 2 => {}
            other => panic!("{other:?}"),
        }
    }
}
