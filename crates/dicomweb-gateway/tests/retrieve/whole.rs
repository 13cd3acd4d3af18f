//! What is asked of the store, and what comes.

use std::time::Duration;

use dicomweb_gateway::{Kind, OnConflict, Stage as Standing};
use google_emulator::{EmptySearch, Emulator, Fault, Keep, Route, SeenRequest};
use reqwest::Method;

use crate::{
    far_store::FarStore,
    stage::{Stage, block_on},
    support::{ANY, DEFAULT, Got, Scene, directly, get, store},
};

#[test]
fn several_series_come_as_streams() {
    let scene = Scene::new(4, 5, 64);
    let got = scene.retrieve();
    scene.assert_whole(&got);
    let Got::Parts(parts) = got else { panic!() };
    assert!(parts.iter().all(|(kind, _)| kind.starts_with("application/dicom")));
    assert_eq!((scene.series_requests(), scene.single_requests()), (4, 0));
    let report = scene.ended();
    assert_eq!((report.kind, report.stage), (Kind::Retrieve, Standing::Succeeded));
    assert_eq!((report.instances_total, report.instances_done, report.instances_failed), (Some(20), 20, 0));
    assert_eq!(report.bytes_done, scene.files.values().map(|file| file.len() as u64).sum::<u64>());
    assert_eq!((report.retries, report.study.as_deref()), (0, Some(scene.study.as_str())));
    assert_eq!(scene.stage.gateway.counts().instances_retrieved, 20);
}

#[test]
fn one_series_comes_instance_by_instance() {
    let scene = Scene::new(2, 20, 64);
    let path = format!("studies/{}/series/{}", scene.study, scene.series[1]);
    let Got::Parts(parts) = get(&scene.stage, &path, ANY) else { panic!() };
    assert_eq!(parts.len(), 20);
    assert!(parts.iter().all(|(_, file)| scene.files.values().any(|sent| sent == file)));
    assert_eq!((scene.series_requests(), scene.single_requests()), (0, 20));
    assert_eq!(scene.ended().series.as_deref(), Some(scene.series[1].as_str()));
}

#[test]
fn any_shape_of_a_study_comes() {
    for (series, instances, side) in
        [(1, 1, 64), (1, 3, 1500), (30, 1, 64), (12, 2, 64), (2, 40, 16), (5, 9, 300)]
    {
        let scene = Scene::new(series, instances, side);
        scene.assert_whole(&scene.retrieve());
        scene.ended();
    }
}

#[test]
fn a_large_series_is_not_left_alone_beside_small_ones() {
    let scene = Scene::of(&[40, 3, 4, 1], 64, |_| {});
    let late = Fault::latency(Route::Qido, Duration::from_secs(3)).on_path("/instances");
    scene.stage.emulator.faults().add(late.until_cleared());
    let later = Fault::latency(Route::WadoSeries, Duration::from_secs(6)).on_path(&scene.series[0]);
    scene.stage.emulator.faults().add(later.times(1));
    scene.assert_whole(&scene.retrieve());
    // Four series may be streams, and begin before it is known that the first is most of the study: single requests help it.
    assert_eq!(scene.series_requests(), 4);
    assert!((1..=41).contains(&scene.single_requests()), "{}", scene.single_requests());

    // Where the list of instances comes first, it decides.
    let scene = Scene::of(&[40, 3, 4, 1], 64, |_| {});
    let late = Fault::latency(Route::Qido, Duration::from_secs(3)).on_path("/series");
    scene.stage.emulator.faults().add(late.until_cleared());
    scene.assert_whole(&scene.retrieve());
    assert_eq!((scene.series_requests(), scene.single_requests()), (2, 41));

    // Of nine there is no such haste.
    let scene = Scene::of(&[40, 3, 4, 1, 1, 1, 1, 1, 1], 64, |_| {});
    scene.assert_whole(&scene.retrieve());
    assert_eq!((scene.series_requests(), scene.single_requests()), (2, 46));
}

/// How many pages of the list of instances were asked for.
fn pages(scene: &Scene) -> usize {
    let is_page = |request: &SeenRequest| request.query.is_some() && request.path.ends_with("/instances");
    scene.requests().into_iter().filter(is_page).count()
}

#[test]
fn thousands_of_instances_come_page_by_page() {
    let scene = Scene::new(5, 500, 4);
    scene.assert_whole(&scene.retrieve());
    // Four at once, and the one that confirms that there are no more.
    assert_eq!(pages(&scene), 5);
    // Two series fill the first page, and are streams nevertheless.
    assert_eq!((scene.series_requests(), scene.single_requests()), (5, 0));
}

#[test]
fn a_server_may_give_less_than_it_is_asked_for() {
    let scene = Scene::new(5, 500, 4);
    // And say "none" otherwise.
    scene.stage.emulator.change_settings(|settings| {
        settings.largest_page = Some(100);
        settings.empty_search = EmptySearch::EmptyArray;
    });
    scene.assert_whole(&scene.retrieve());
    // One for each hundred, and the last.
    assert_eq!(pages(&scene), 25 + 1 + 1);
}

#[test]
fn what_is_not_there_is_answered_as_google_does() {
    let scene = Scene::new(1, 1, 16);
    for empty in [EmptySearch::NoContent, EmptySearch::EmptyArray] {
        scene.stage.emulator.change_settings(|settings| settings.empty_search = empty);
        for path in ["studies/1.2.3".to_owned(), format!("studies/{}/series/1.2.3", scene.study)] {
            let Got::Refused(404, body) = get(&scene.stage, &path, ANY) else { panic!("{path}") };
            let expected = block_on(async {
                directly(&scene.stage.emulator, Method::GET, &path)
                    .header("Accept", ANY)
                    .send()
                    .await
                    .unwrap()
                    .text()
                    .await
            });
            assert_eq!(body, expected.unwrap());
            let report = scene.ended();
            assert!(report.failures[0].contains("the store has no such s"), "{:?}", report.failures);
            assert!(!report.failures[0].contains("compare"), "{:?}", report.failures);
        }
    }
    assert_eq!(scene.ended().stage, Standing::Failed);
}

#[test]
fn a_search_that_lags_behind_loses_nothing() {
    // It finds nothing at all.
    let scene = Scene::new(2, 3, 64);
    scene.stage.emulator.faults().add(Fault::answer(Route::Qido, 200, "[]").until_cleared());
    scene.assert_whole(&scene.retrieve());
    assert_eq!(scene.ended().instances_done, 6);

    // It misses one instance of each series, which the streams bring.
    let scene = Scene::new(4, 3, 64);
    let listing = block_on(async {
        let path = format!("studies/{}/instances", scene.study);
        let answer = directly(&scene.stage.emulator, Method::GET, &path).send().await.unwrap();
        answer.text().await.unwrap()
    });
    let mut all: Vec<serde_json::Value> = serde_json::from_str(&listing).unwrap();
    assert_eq!(all.len(), 12);
    all.sort_by_key(|row| row["0020000E"]["Value"][0].to_string());
    let mut number = 0;
    all.retain(|_| {
        number += 1;
        number % 3 != 0
    });
    let faults = scene.stage.emulator.faults();
    let all = serde_json::to_string(&all).unwrap();
    faults.add(Fault::answer(Route::Qido, 200, all).on_path("/instances"));
    faults.add(Fault::answer(Route::Qido, 204, "").on_path("/instances").until_cleared());
    scene.stage.emulator.clear_requests();
    scene.assert_whole(&scene.retrieve());
    assert_eq!(scene.ended().instances_total, Some(12));
    assert_eq!(scene.series_requests(), 4);
}

#[test]
fn a_search_that_repeats_itself_ends() {
    let scene = Scene::new(1, 2, 16);
    let listing = block_on(async {
        let path = format!("studies/{}/instances", scene.study);
        directly(&scene.stage.emulator, Method::GET, &path).send().await.unwrap().text().await.unwrap()
    });
    scene.stage.emulator.faults().add(Fault::answer(Route::Qido, 200, listing).until_cleared());
    assert!(!matches!(scene.retrieve(), Got::Parts(_)));
    assert_eq!(scene.ended().stage, Standing::Failed);
}

#[test]
fn transfer_syntaxes_that_there_are_not_are_refused() {
    let scene = Scene::new(2, 3, 16);
    let path = format!("studies/{}", scene.study);
    let unknown = r#"multipart/related; type="application/dicom"; transfer-syntax=1.2.3.4"#;
    assert!(matches!(get(&scene.stage, &path, unknown), Got::Refused(406, body) if body.contains("1.2.3.4")));
    // A known one for which the emulator has no codec.
    let jpeg = r#"multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50"#;
    assert!(matches!(get(&scene.stage, &path, jpeg), Got::Refused(400, body) if body.contains("transcode")));
}

#[test]
fn refusals_come_through_before_anything_else() {
    let scene = Scene::new(2, 3, 16);
    scene.stage.wait_for_token();
    let words = r#"[{"error":{"code":403,"message":"Permission 'x' denied","status":"PERMISSION_DENIED"}}]"#;
    scene.stage.emulator.faults().add(Fault::answer(Route::Any, 403, words).until_cleared());
    assert!(matches!(scene.retrieve(), Got::Refused(403, body) if body == words));
    assert!(matches!(get(&scene.stage, "studies/x", ANY), Got::Refused(400, _)));
    assert_eq!(scene.stage.gateway.transfers()[0].failures.len(), 1);
}

#[test]
fn transfer_syntaxes_are_kept_or_made_as_asked() {
    let emulator = FarStore::start(Emulator::builder().keep(Keep::Memory));
    let files: Vec<Vec<u8>> = (1..=6).map(implicit).collect();
    store(&emulator, files.iter());
    let stage = Stage::with(emulator, OnConflict::Fail, |_| {});
    let Got::Parts(kept) = get(&stage, "studies/1.2.1", ANY) else { panic!() };
    assert_eq!(kept.len(), 6);
    for (kind, file) in kept {
        assert_eq!(kind, "application/dicom; transfer-syntax=1.2.840.10008.1.2");
        assert!(files.contains(&file));
    }
    let explicit = format!("{DEFAULT}; transfer-syntax=1.2.840.10008.1.2.1");
    for accept in [DEFAULT, explicit.as_str(), "*/*"] {
        let Got::Parts(mut made) = get(&stage, "studies/1.2.1", accept) else { panic!("{accept}") };
        let direct = block_on(async {
            let answer = directly(&stage.emulator, Method::GET, "studies/1.2.1").header("Accept", DEFAULT);
            let answer = answer.send().await.unwrap();
            let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
            (kind, answer.bytes().await.unwrap())
        });
        // The emulator begins with a line's end.
        let mut direct = crate::support::parts(&direct.0, &direct.1[2..]);
        assert!(direct.iter().all(|(kind, _)| kind.ends_with("=1.2.840.10008.1.2.1")));
        direct.sort();
        made.sort();
        assert!(made == direct, "{accept}");
    }
}

/// A file in Implicit VR Little Endian.
fn implicit(number: usize) -> Vec<u8> {
    let padded = |text: &str| {
        let mut value = text.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), 0);
        value
    };
    let class = "1.2.840.10008.5.1.4.1.1.7";
    let instance = format!("1.2.1.1.{number}");
    let mut meta = Vec::new();
    let mut put = |element: u16, vr: &[u8; 2], value: &[u8]| {
        meta.extend_from_slice(&[2, 0]);
        meta.extend_from_slice(&element.to_le_bytes());
        meta.extend_from_slice(vr);
        if vr == b"OB" {
            meta.extend_from_slice(&[0, 0]);
            meta.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
        } else {
            meta.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
        }
        meta.extend_from_slice(value);
    };
    put(1, b"OB", &[0, 1]);
    put(2, b"UI", &padded(class));
    put(3, b"UI", &padded(&instance));
    put(0x10, b"UI", &padded("1.2.840.10008.1.2"));
    put(0x12, b"UI", &padded("1.2.3"));
    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM\x02\x00\x00\x00UL\x04\x00");
    file.extend_from_slice(&u32::try_from(meta.len()).unwrap().to_le_bytes());
    file.extend_from_slice(&meta);
    let mut put = |group: u16, element: u16, value: &[u8]| {
        file.extend_from_slice(&group.to_le_bytes());
        file.extend_from_slice(&element.to_le_bytes());
        file.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
        file.extend_from_slice(value);
    };
    put(0x08, 0x16, &padded(class));
    put(0x08, 0x18, &padded(&instance));
    put(0x20, 0x0D, &padded("1.2.1"));
    put(0x20, 0x0E, &padded("1.2.1.1"));
    let pixels: Vec<u8> = (0..40_000).map(|index| u8::try_from((index * number) % 251).unwrap()).collect();
    for (element, value) in
        [(0x02, 1_u16), (0x10, 100), (0x11, 200), (0x100, 16), (0x101, 16), (0x102, 15), (0x103, 0)]
    {
        put(0x28, element, &value.to_le_bytes());
    }
    put(0x7FE0, 0x10, &pixels);
    file
}

#[test]
fn a_hint_that_does_not_come_is_not_waited_for() {
    let scene = Scene::new(4, 5, 64);
    let no_series = Fault::answer(Route::Qido, 503, "").on_path("/series");
    scene.stage.emulator.faults().add(no_series.header("retry-after", "100").until_cleared());
    scene.assert_whole(&scene.retrieve());
    let asked = |request: &&SeenRequest| request.query.is_some() && request.path.ends_with("/series");
    assert_eq!(scene.requests().iter().filter(asked).count(), 1);
}
