//! Instances whose UIDs are taken.

use dicomweb_gateway::OnConflict;
use google_emulator::{Emulator, Fault, Keep, Route};

use super::{bounds::begun, *};

/// A stage whose far store has the study already, by another way than through the gateway.
fn filled(on_conflict: OnConflict, version: &str, study: &Study) -> Stage {
    let emulator = FarStore::start(Emulator::builder().keep(Keep::Memory));
    let stage = Stage::with_version(emulator, version, on_conflict, |_| {});
    let (status, _) = upload(&stage, &files(study));
    assert_eq!(status, 200);
    stage.emulator.clear_requests();
    stage
}

#[test]
fn fail_refuses_what_differs_and_nothing_else() {
    let study = ct(1, 3, 1000);
    let stage = filled(OnConflict::Fail, "v1", &study);
    let other = different(&study.instances[1].bytes);
    let sent = [study.instances[0].bytes.as_slice(), &other, &study.instances[2].bytes];
    let (status, answer) = upload(&stage, &sent);
    assert_eq!(status, 409);
    assert_eq!(failed(&answer), [study.instances[1].uid.as_str()]);
    assert!(answer["00081198"]["Value"][0]["00091097"]["Value"][0].as_str().unwrap().contains("checksum"));
    assert_holds(&stage, &files(&study));
}

#[test]
fn keep_reports_what_differs_as_stored_with_a_warning() {
    let study = ct(1, 3, 1000);
    let stage = filled(OnConflict::Keep, "v1", &study);
    let other = different(&study.instances[1].bytes);
    let sent = [study.instances[0].bytes.as_slice(), &other, &study.instances[2].bytes];
    let (status, answer) = upload(&stage, &sent);
    assert_eq!(status, 202);
    assert_eq!(stored(&answer), all_uids(&study));
    assert_eq!(failed(&answer), Vec::<&str>::new());
    let warnings: Vec<&Value> = answer["00081199"]["Value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["00081196"]["Value"][0])
        .collect();
    assert_eq!(warnings, [&Value::Null, &Value::from(0xB000), &Value::Null]);
    assert_holds(&stage, &files(&study));
}

#[test]
fn keep_reports_nothing_as_stored_that_is_not_there() {
    let study = ct(1, 3, 1000);
    let stage = staged(OnConflict::Keep, |_| {});
    let uid = study.instances[1].uid.as_str();
    stage.emulator.faults().add(Fault::refuse_instance(uid, "a patient with this ID already exists"));
    let (status, answer) = upload(&stage, &files(&study));
    assert_eq!((status, failed(&answer)), (409, vec![uid]));
}

#[test]
fn overwrite_deletes_nothing_that_it_has_not_got() {
    let study = ct(1, 1, 3000);
    let stage = filled(OnConflict::Overwrite, "v1", &study);
    let portal =
        Fault::answer(Route::WadoInstance, 200, "<html>").header("content-type", "application/dicom");
    stage.emulator.faults().add(portal.until_cleared());
    assert_eq!(upload(&stage, &[&different(&study.instances[0].bytes)]).0, 409);
    assert_eq!(seen(&stage, Route::Delete).len(), 0);
    assert_holds(&stage, &files(&study));
    assert_nothing_left(&stage);
}

#[test]
fn overwrite_replaces_what_differs() {
    for version in ["v1", "v1beta1"] {
        for spool_over in [1 << 20, 2000] {
            let study = ct(1, 3, 3000);
            let emulator = FarStore::start(Emulator::builder().keep(Keep::Memory));
            let stage = Stage::with_version(emulator, version, OnConflict::Overwrite, |settings| {
                settings.spool_over = spool_over;
            });
            assert_eq!(upload(&stage, &files(&study)).0, 200);
            stage.emulator.clear_requests();
            let other = different(&study.instances[1].bytes);
            let sent = [study.instances[0].bytes.as_slice(), &other, &study.instances[2].bytes];
            let (status, answer) = upload(&stage, &sent);
            assert_eq!(status, 200, "{answer}");
            assert_eq!(stored(&answer), all_uids(&study));
            assert_holds(&stage, &sent);
            let (updates, deletions) = (seen(&stage, Route::Update).len(), seen(&stage, Route::Delete).len());
            assert_eq!((updates, deletions), if version == "v1" { (0, 1) } else { (1, 0) });
            assert_nothing_left(&stage);
        }
    }
}

#[test]
fn overwrite_waits_while_google_deletes() {
    let study = ct(1, 1, 3000);
    let stage = filled(OnConflict::Overwrite, "v1", &study);
    let other = different(&study.instances[0].bytes);
    let being_deleted = |uid: &str| {
        Fault::refuse_instance(uid, "the instance is being deleted, and its UIDs cannot be used").times(3)
    };
    // Each counts every time that the instance comes, and the first one speaks. The first attempt meets the stored instance; the two after the deletion are refused.
    stage
        .emulator
        .faults()
        .add(Fault::refuse_instance(&study.instances[0].uid, "it already exists").times(1));
    stage.emulator.faults().add(being_deleted(&study.instances[0].uid));
    let (status, answer) = upload(&stage, &[&other]);
    assert_eq!(status, 200, "{answer}");
    assert_holds(&stage, &[&other]);
}

#[test]
fn overwrite_puts_the_old_one_back_where_the_new_one_is_refused() {
    let study = ct(1, 1, 3000);
    let stage = filled(OnConflict::Overwrite, "v1", &study);
    let uid = study.instances[0].uid.as_str();
    stage.emulator.faults().add(Fault::refuse_instance(uid, "it already exists").times(1));
    stage.emulator.faults().add(Fault::refuse_instance(uid, "no more room").times(2));
    let (status, answer) = upload(&stage, &[&different(&study.instances[0].bytes)]);
    assert_eq!(status, 409);
    assert_eq!(answer["00081198"]["Value"][0]["00091097"]["Value"][0], "no more room");
    assert_holds(&stage, &files(&study));
    assert_eq!(seen(&stage, Route::Delete).len(), 1);
    assert_nothing_left(&stage);
}

#[test]
fn overwrite_leaves_the_old_one_in_a_file_where_neither_can_be_stored() {
    let study = ct(1, 1, 3000);
    let stage = filled(OnConflict::Overwrite, "v1", &study);
    let uid = study.instances[0].uid.as_str();
    stage.emulator.faults().add(Fault::refuse_instance(uid, "it already exists").times(1));
    stage.emulator.faults().add(Fault::refuse_instance(uid, "no more room").times(3));
    assert_eq!(upload(&stage, &[&different(&study.instances[0].bytes)]).0, 409);
    assert_holds(&stage, &[]);
    let kept: Vec<_> = std::fs::read_dir(stage.folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "dcm"))
        .collect();
    assert_eq!(kept.len(), 1);
    assert!(std::fs::read(&kept[0]).unwrap() == study.instances[0].bytes);
}

#[test]
fn overwrite_deletes_nothing_it_could_not_keep() {
    let study = ct(1, 1, 3000);
    let emulator = FarStore::start(Emulator::builder().keep(Keep::Memory));
    let stage = Stage::with(emulator, OnConflict::Overwrite, |settings| {
        settings.spool_folder = "/nonexistent".into();
    });
    assert_eq!(upload(&stage, &files(&study)).0, 200);
    let (status, answer) = upload(&stage, &[&different(&study.instances[0].bytes)]);
    assert_eq!(status, 409);
    assert_eq!(answer["00081198"]["Value"][0]["00081197"]["Value"][0], 0xA700);
    assert_eq!(seen(&stage, Route::Delete).len(), 0);
    assert_holds(&stage, &files(&study));
}

#[test]
fn overwriting_outlives_the_client_and_is_waited_for() {
    let study = ct(1, 1, 3000);
    let mut stage = filled(OnConflict::Overwrite, "v1", &study);
    let other = different(&study.instances[0].bytes);
    // The client has gone before the new one is stored: the far store is down until then.
    stage
        .emulator
        .faults()
        .add(Fault::refuse_instance(&study.instances[0].uid, "it already exists").times(1));
    stage.emulator.faults().add(Fault::latency(Route::Delete, Duration::from_secs(5)).times(1));
    let stream = begun(&stage, &multipart(&[&other]));
    until("the old one is being deleted", || !seen(&stage, Route::Delete).is_empty());
    stage.emulator.faults().add(Fault::answer(Route::Stow, 503, "").until_cleared());
    let before = seen(&stage, Route::Stow).len();
    drop(stream);
    until("the client is forgotten", || stage.gateway.transfers_under_way() == 0);
    until("it is tried again", || seen(&stage, Route::Stow).len() > before + 1);
    stage.emulator.faults().clear();
    stage.stop();
    // The new one, or the old one again if the client was quicker than the deletion.
    assert_eq!(stage.emulator.instances().len(), 1);
    assert_holds(&stage, &[&other]);
    assert_nothing_left(&stage);
}
