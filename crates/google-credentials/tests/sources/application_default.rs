//! Application default credentials: the order of AIP-4110, and the sentence when there are none.

use std::fs;

use google_credentials::{
    Credential,
    FailureKind::{Configuration, NeedsPerson, Transient},
    Source,
};
use google_emulator::{
    Route::{Metadata, Sts, Token},
    SubjectForm, SubjectSource,
};

use crate::stage::{Stage, routes};

const NAME: &str = "application_default_credentials.json";

/// The login's file names no token endpoint, and so would ask Google.
fn source(stage: &Stage) -> Source {
    let token_uri = Some(stage.emulator.token_url());
    Source { token_uri, ..stage.source(Credential::ApplicationDefault) }
}

#[test]
fn the_first_place_that_holds_something_decides() {
    let mut stage = Stage::new().on_google();
    let (home, config, data) = (stage.path("home"), stage.path("config"), stage.path("data"));
    for folder in [&home.join(".config/gcloud"), &config, &data.join("gcloud")] {
        fs::create_dir_all(folder).unwrap();
    }
    let named = stage.path("named.json");
    // From the last place to the first: each is preferred to those before.
    assert_eq!(routes(&stage.granted(&source(&stage)).1), [Metadata]);
    stage.set_env("HOME", home.to_str().unwrap());
    assert_eq!(routes(&stage.granted(&source(&stage)).1), [Metadata], "there is no file yet");

    stage.emulator.write_authorized_user(&home.join(".config/gcloud").join(NAME)).unwrap();
    let (grant, seen) = stage.granted(&source(&stage));
    assert_eq!((routes(&seen), grant.quota_project.as_deref()), (vec![Token], Some("demo")));
    assert_eq!(seen[0].fields["grant_type"], "refresh_token");

    stage.set_env("APPDATA", data.to_str().unwrap());
    assert_eq!(routes(&stage.granted(&source(&stage)).1), [Metadata], "APPDATA decides, and holds nothing");
    stage.emulator.write_service_account_key(&data.join("gcloud").join(NAME)).unwrap();
    let (grant, seen) = stage.granted(&source(&stage));
    assert_eq!((routes(&seen), grant.principal), (vec![Token], Some(stage.emulator.service_account())));

    stage.set_env("CLOUDSDK_CONFIG", config.to_str().unwrap());
    assert_eq!(routes(&stage.granted(&source(&stage)).1), [Metadata], "CLOUDSDK_CONFIG holds nothing");
    stage.emulator.write_authorized_user(&config.join(NAME)).unwrap();
    assert_eq!(stage.granted(&source(&stage)).1[0].fields["grant_type"], "refresh_token");

    stage.set_env("GOOGLE_APPLICATION_CREDENTIALS", named.to_str().unwrap());
    let failure = stage.refused(&source(&stage));
    assert_eq!((failure.kind, failure.option), (Configuration, Some("ApplicationDefaultCredentials")));
    assert!(failure.cause.contains(named.to_str().unwrap()), "{failure}");
    assert_eq!(stage.emulator.requests().len(), 0, "a file that is named is not passed over");
    let subject = SubjectSource::TextFile(stage.subject(SubjectForm::Text));
    stage.emulator.external_account(&subject).write(&named).unwrap();
    let without_token_uri = stage.source(Credential::ApplicationDefault);
    assert_eq!(routes(&stage.granted(&without_token_uri).1), [Sts]);
}

#[test]
fn a_file_that_is_there_and_wrong_is_not_passed_over() {
    let mut stage = Stage::new().on_google();
    let config = stage.path("config");
    fs::create_dir_all(config.join(NAME)).unwrap();
    stage.set_env("CLOUDSDK_CONFIG", config.to_str().unwrap());
    let failure = stage.refused(&source(&stage));
    assert_eq!(failure.kind, Configuration);
    assert!(failure.cause.contains("it is no regular file"), "{failure}");
    fs::remove_dir(config.join(NAME)).unwrap();
    fs::write(config.join(NAME), r#"{"type":"authorized_user"}"#).unwrap();
    let failure = stage.refused(&source(&stage));
    assert!(failure.cause.contains(NAME) && failure.cause.contains("lacks `client_id`"), "{failure}");
    stage.emulator.gdch_service_account().write(&config.join(NAME)).unwrap();
    let failure = stage.refused(&source(&stage));
    assert!(failure.cause.contains("type `gdch_service_account`: Google Distributed Cloud"), "{failure}");
    assert_eq!(stage.emulator.requests().len(), 0);
}

#[test]
fn where_nothing_is_found_it_is_said_where_was_looked() {
    // Nobody listens on port 1.
    let mut stage = Stage::new().env("GCE_METADATA_HOST", "127.0.0.1:1");
    let failure = stage.refused(&source(&stage));
    assert_eq!((failure.kind, failure.option), (Transient, Some("ApplicationDefaultCredentials")));
    assert!(failure.cause.contains("there is no home folder"), "{failure}");
    stage.set_env("HOME", "/nonexistent");
    let failure = stage.refused(&source(&stage));
    for said in [
        "GOOGLE_APPLICATION_CREDENTIALS is not set",
        "/nonexistent/.config/gcloud/application_default_credentials.json is not there",
        "127.0.0.1:1",
        "gcloud auth application-default login",
        "run Orthanc on Google Cloud",
    ] {
        assert!(failure.to_string().contains(said), "{said}: {failure}");
    }
    // A machine of Google's without a service account is another matter.
    let mut stage = stage.on_google();
    stage.emulator.change_settings(|settings| settings.metadata_service_account_attached = false);
    stage.set_env("HOME", "/nonexistent");
    let failure = stage.refused(&source(&stage));
    assert_eq!((failure.kind, failure.option), (NeedsPerson, Some("ApplicationDefaultCredentials")));
    assert!(failure.remedy.contains("attach a service account"), "{failure}");
}
