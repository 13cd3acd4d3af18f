//! `orthanc-gcp token`.

use std::fs;

use google_emulator::{Fault, Route};
use serde_json::json;

use crate::stage::{Run, Stage};

fn token(stage: &Stage) -> Run {
    let configuration = stage.configuration();
    stage.run(&["token", "my-google", "--config", configuration.to_str().unwrap()])
}

#[test]
fn the_token_is_alone_on_standard_output() {
    let stage = Stage::new();
    let run = token(&stage);
    assert_eq!(run.code, 0, "{run:?}");
    let issued = stage.emulator.tokens_issued();
    assert_eq!(run.out, format!("{}\n", issued.last().unwrap()));
    let said = "Account \"my-google\": a token for orthanc@demo.iam.gserviceaccount.com, good for 59 min";
    assert!(run.err.starts_with(said), "{}", run.err);
}

#[test]
fn without_a_token_the_reason_and_the_remedy_are_said() {
    let stage = Stage::new();
    stage.emulator.faults().add(Fault::answer(Route::Token, 503, "").until_cleared());
    let run = token(&stage);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("answered 503; the trouble is on the server's side"), "{}", run.err);

    let stage = Stage::new();
    fs::remove_file(&stage.files.service_account).unwrap();
    let run = token(&stage);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("my-google.ServiceAccountFile: "), "{}", run.err);

    let run = token(&Stage::new().with_account(&json!({"Project": null})));
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("my-google.Project: is missing or empty; copy it"), "{}", run.err);

    let none = json!({"ServiceAccountFile": null, "AccessToken": "none"});
    let run = token(&Stage::new().with_account(&none));
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("AccessToken is \"none\""), "{}", run.err);
}
