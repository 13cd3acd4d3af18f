//! Token servers that are stopped, hang, or answer nonsense, until the tokens are over and beyond.

use std::{thread, time::Duration};

use google_emulator::{Fault, Route, SubjectForm, SubjectSource};
use serde_json::{Value, json};

use super::{google, refused, while_asking};
use crate::{
    between::Door,
    stage::{Scene, Stage, lines_at},
};

/// The tokens' life: long enough for an outage to begin within it.
const LIFE: Duration = Duration::from_secs(40);
/// A minute after an outage's end there is a token; a busy machine gets more. A request that hangs when it ends is given up
/// within that.
const HEALED: Duration = Duration::from_secs(150);

/// How each account's token server fails, with words of the log for it.
const OUTAGES: [(&str, &str); 5] = [
    ("stopped", "no answer from https://127.0.0.1:"),
    ("hanging", "the answer to the request for a new one is not there yet"),
    ("erring", "answered 500"),
    ("lying", "Welcome to the hotel"),
    ("foreign", "without the header `Metadata-Flavor: Google`"),
];

/// An account for each outage, and one without any.
fn accounts(scene: &Scene, door: &Door) -> Value {
    let emulator = &scene.emulator;
    // Its subject token lies in a file, so that the exchange alone can fail.
    let subject = scene.path("subject.txt");
    emulator.write_subject_token(SubjectForm::Text, &subject, Duration::from_secs(3600)).unwrap();
    emulator.external_account(&SubjectSource::TextFile(subject)).write(&scene.path("hanging.json")).unwrap();
    emulator.external_account(&SubjectSource::TextUrl).write(&scene.path("erring.json")).unwrap();
    let of_door = json!({
        "ServiceAccountFile": scene.path("key.json"),
        "TokenUri": format!("https://{}/token", door.address()),
    });
    let impersonation = json!({
        "ServiceAccountFile": scene.path("key.json"),
        "ImpersonateServiceAccount": emulator.impersonation_target(),
        "IamUri": emulator.https_url(),
    });
    json!({
        "good": scene.service_account(),
        "stopped": scene.account(&of_door),
        "hanging": scene.account(&json!({"CredentialsFile": scene.path("hanging.json")})),
        "erring": scene.account(&json!({"CredentialsFile": scene.path("erring.json")})),
        "lying": scene.account(&impersonation),
        "foreign": scene.account(&json!({"MetadataServer": true})),
    })
}

/// All token servers but that of the good account fail, each in its own way.
fn fail(stage: &Stage, door: &mut Door) {
    let faults = stage.scene.emulator.faults();
    let hotel = "<html>Welcome to the hotel</html>";
    door.close();
    faults.add(Fault::hang(Route::Sts).until_cleared());
    faults.add(Fault::answer(Route::Subject, 500, "").until_cleared());
    faults.add(Fault::answer(Route::Iam, 200, hotel).header("Content-Type", "text/html").until_cleared());
    faults.add(Fault::answer(Route::Metadata, 200, "{}").until_cleared());
}

#[test]
fn outages_beyond_the_end_of_the_tokens() {
    let scene = google(LIFE);
    let mut door = Door::before(scene.emulator.https_url());
    let orthanc = scene
        .direct(&accounts(&scene, &door))
        .environment("GCE_METADATA_HOST", scene.emulator.metadata_host());
    let stage = scene.start(orthanc);
    let names: Vec<&str> = OUTAGES.iter().map(|(name, _)| *name).chain(["good"]).collect();
    for name in &names {
        stage.wait_until_ready(name);
    }
    while_asking(&stage, &names, || {
        fail(&stage, &mut door);
        for (name, said) in OUTAGES {
            let account = format!("Account \"{name}\": its token expired at ");
            let told = |line: &str| line.contains(&account) && line.contains(said);
            stage.orthanc.wait_for_log(told, LIFE * 4).unwrap();
        }
        assert!(
            refused(&stage).iter().all(|search| search.contains("without a token")),
            "{:?}",
            refused(&stage)
        );
        thread::sleep(Duration::from_secs(3));
        // Nobody gets past the entry without a token, and whoever tries is told so.
        for (name, _) in OUTAGES {
            assert_ne!(stage.search(name).0, 200, "{name}");
        }
        assert!(refused(&stage).len() >= OUTAGES.len());
        assert_eq!(stage.servers().len(), names.len());

        stage.scene.emulator.faults().clear();
        door.open();
        for (name, _) in OUTAGES {
            let again = format!("Account \"{name}\": tokens come again after ");
            stage.orthanc.wait_for_log(|line| line.contains(&again), HEALED).unwrap();
        }
    });
    assert!(refused(&stage).iter().all(|search| search.contains("without a token")), "{:?}", refused(&stage));
    stage.scene.emulator.clear_requests();
    while_asking(&stage, &names, || thread::sleep(Duration::from_secs(5)));
    assert_eq!(refused(&stage), [""; 0]);
    let log = stage.stop();
    assert!(lines_at(&log, 'E').iter().all(|line| !line.contains("\"good\"")), "{log}");
}
