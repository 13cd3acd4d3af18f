//! An instance that is too large for memory.

use google_emulator::{Effect, Fault, Route};

use super::{
    transfer::{Holdings, Study, assert_in_orthanc, assert_stored, empty, last, retrieve, stow},
    *,
};

#[test]
fn an_instance_on_disk_is_sent_as_often_as_it_takes() {
    let stage = ready();
    // 35 MB.
    let study = Study::new(1, 1, 1, 4200);
    assert!(study.instances[0].bytes.len() > 32 << 20);
    let resources = study.put(&stage);
    let before = Holdings::of(&stage);
    let busy = Fault::answer(Route::Any, 503, "{}").effect;
    let effects = || {
        [
            Effect::Reset { after_bytes: 20_000_000 },
            busy.clone(),
            Effect::CutBody { after_bytes: 30 },
            Effect::Reset { after_bytes: 0 },
        ]
    };
    stage.scene.emulator.faults().add(Fault::in_turn(Route::Stow, effects()).times(4));
    let job = stow(&stage, &resources);
    let is_spool = |target: &String| target.ends_with("(deleted)") && !target.contains("/etilqs_");
    stage.wait_until("a file without a name", || stage.orthanc.descriptors().unwrap().iter().any(is_spool));
    job.succeeds();
    assert_stored(&stage, &study.instances);
    assert_eq!(last(&stage)["Retries"], 4);
    before.assert_nothing_left(&stage);

    empty(&stage.orthanc);
    let effects = [Effect::CutBody { after_bytes: 20_000_000 }, busy, Effect::CutBody { after_bytes: 7 }];
    stage.scene.emulator.faults().add(Fault::in_turn(Route::Wado, effects).times(3));
    retrieve(&stage, &[&study]).succeeds();
    assert_in_orthanc(&stage.orthanc, &[&study]);
    assert_eq!(last(&stage)["Retries"], 3);
    before.assert_nothing_left(&stage);
    stage.stop();
}
