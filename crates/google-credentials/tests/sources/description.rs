//! What each credential is called, and whom it stands for.

use std::fs;

use google_credentials::{Credential, Impersonation, Secret, Source};
use google_emulator::{SourceCredentials, SubjectForm, SubjectSource};
use serde_json::json;

use crate::stage::Stage;

#[track_caller]
fn check(stage: &Stage, credential: Credential, kind: &str, principal: Option<&str>) {
    check_source(stage, &stage.source(credential), kind, principal);
}

#[track_caller]
fn check_source(stage: &Stage, source: &Source, kind: &str, principal: Option<&str>) {
    let (quick, full) = stage.described(source);
    assert_eq!(quick, full);
    assert_eq!((quick.kind.as_str(), quick.principal.as_deref()), (kind, principal));
}

#[test]
fn keys_and_users() {
    let stage = Stage::new();
    let files = stage.emulator.write_files(stage.folder.path(), &[]).unwrap();
    let (key, user) = (files.service_account, files.authorized_user);
    let email = stage.emulator.service_account();
    check(&stage, Credential::ServiceAccountFile(key.clone()), "service account key", Some(&email));
    check(&stage, Credential::CredentialsFile(key.clone()), "service account key", Some(&email));
    check(&stage, Credential::AuthorizedUserFile(user.clone()), "user", None);
    check(&stage, Credential::CredentialsFile(user), "user", None);
    let inline = Credential::AuthorizedUser {
        client_id: "id".to_owned(),
        client_secret: Secret::new("GOCSPX-hush-hush-hush"),
        refresh_token: Secret::new("1//hush-hush-hush"),
    };
    check(&stage, inline, "user", None);
    let named = stage.path("named.json");
    let login = json!({"type": "authorized_user", "account": "ann@ward.example", "client_id": "i",
        "client_secret": "s", "refresh_token": "r"});
    fs::write(&named, login.to_string()).unwrap();
    check(&stage, Credential::CredentialsFile(named.clone()), "user", Some("ann@ward.example"));
    check(&stage, Credential::AuthorizedUserFile(named), "user", Some("ann@ward.example"));
    let source = Source {
        impersonation: Impersonation::parse("between@x.y,target@x.y"),
        ..stage.source(Credential::ServiceAccountFile(key))
    };
    check_source(
        &stage,
        &source,
        "service account key, acting as another service account",
        Some("target@x.y"),
    );
}

#[test]
fn files_that_cannot_be_read() {
    let stage = Stage::new();
    let missing = stage.path("missing.json");
    check(&stage, Credential::ServiceAccountFile(missing.clone()), "service account key", None);
    check(&stage, Credential::AuthorizedUserFile(missing.clone()), "user", None);
    check(&stage, Credential::CredentialsFile(missing), "credential", None);
    let odd = stage.path("odd.json");
    fs::write(&odd, r#"{"type": "of another time"}"#).unwrap();
    check(&stage, Credential::CredentialsFile(odd), "credential", None);
}

#[test]
fn federation_and_impersonation() {
    let stage = Stage::new();
    let emulator = &stage.emulator;
    let account = |source: &SubjectSource| emulator.external_account(source);
    let text = SubjectSource::TextFile(stage.subject(SubjectForm::Text));
    let workforce = SubjectSource::WorkforceFile(stage.subject(SubjectForm::Workforce));
    let program = SubjectSource::Executable { command: "/bin/x".to_owned(), output_file: None };
    let target = emulator.impersonation_target();
    for (file, kind, impersonating) in [
        (account(&text), "workload identity federation (file)", false),
        (account(&text).impersonating(), "workload identity federation (file)", true),
        (account(&SubjectSource::TextUrl), "workload identity federation (URL)", false),
        (account(&program), "workload identity federation (program)", false),
        (account(&SubjectSource::Aws), "workload identity federation (AWS)", false),
        (account(&workforce), "workforce identity federation (file)", false),
    ] {
        let audience = file.json()["audience"].as_str().unwrap().to_owned();
        let principal = if impersonating { &target } else { &audience };
        check_source(&stage, &stage.file(&file), kind, Some(principal));
    }
    let user = emulator.external_account_authorized_user();
    check_source(&stage, &stage.file(&user), "workforce identity federation (user)", None);
    let by_key = emulator.impersonated_service_account(SourceCredentials::ServiceAccount);
    let kind = "service account key, acting as another service account";
    check_source(&stage, &stage.file(&by_key), kind, Some(&target));
}

#[test]
fn a_metadata_server_says_whose_machine_it_is() {
    let mut stage = Stage::new().on_google();
    let named = Credential::MetadataServer(Some("named@x.y".to_owned()));
    check(&stage, named, "metadata server", Some("named@x.y"));
    assert_eq!(stage.emulator.requests().len(), 0);
    for (credential, kind) in [
        (Credential::MetadataServer(None), "metadata server"),
        (Credential::ApplicationDefault, "application default credentials: metadata server"),
    ] {
        let (quick, full) = stage.described(&stage.source(credential));
        assert_eq!((quick.kind.as_str(), quick.principal), (kind, None));
        assert_eq!(full.kind, kind);
        let principal = full.principal.unwrap();
        assert_eq!(principal, "machine@demo.iam.gserviceaccount.com");
    }
    let key = stage.path("key.json");
    stage.emulator.write_service_account_key(&key).unwrap();
    stage.set_env("GOOGLE_APPLICATION_CREDENTIALS", key.to_str().unwrap());
    let email = stage.emulator.service_account();
    let kind = "application default credentials: service account key";
    check(&stage, Credential::ApplicationDefault, kind, Some(&email));
    // Nobody answers here.
    stage.set_env("GOOGLE_APPLICATION_CREDENTIALS", "");
    stage.set_env("GCE_METADATA_HOST", "127.0.0.1:1");
    check(&stage, Credential::MetadataServer(None), "metadata server", None);
}
