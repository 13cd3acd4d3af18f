//! Every credential, in a real Orthanc: the right ones lead to the store, the wrong ones to one line with a remedy.

mod files;
mod sources;

use google_emulator::Route;
use serde_json::{Value, json};

use crate::{
    between::dead_address,
    stage::{Scene, Stage, lines_at, text},
};
use sources::{Source, sources};

/// The variable that lets credential files run programs (AIP-4117).
const ALLOW_PROGRAMS: &str = "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES";

/// All accounts are ready, the store answers each, and the log holds no error.
fn all_work(stage: &Stage, names: &[&str]) {
    for name in names {
        stage.wait_until_ready(name);
        assert_eq!(stage.search(name).0, 200, "{name}");
    }
    let searches = stage.requests(Route::Qido);
    assert_eq!(searches.len(), names.len());
    assert!(searches.iter().all(|search| search.status == Some(200)));
    let log = stage.orthanc.log();
    assert_eq!(lines_at(&log, 'E'), [""; 0], "{log}");
}

#[test]
fn every_source_leads_to_the_store() {
    let scene = Scene::new();
    let sources = sources(&scene);
    let mut accounts = json!({});
    for Source { name, account } in &sources {
        accounts[*name] = account.clone();
    }
    let key = scene.path("key.json");
    let orthanc = scene
        .orthanc(&accounts)
        .environment(ALLOW_PROGRAMS, "1")
        .environment("GOOGLE_APPLICATION_CREDENTIALS", key)
        .environment("GCE_METADATA_HOST", scene.emulator.metadata_host())
        .configuration(&server_that_adds_a_token(&scene, "none"));
    let stage = scene.start(orthanc);
    let names: Vec<&str> = sources.iter().map(|source| source.name).collect();
    all_work(&stage, &names);
    // Of the file, unless the account names another; only a login's files name any.
    let billed = [
        ("user-file", "demo"),
        ("any-user", "demo"),
        ("impersonation-of-user", "demo"),
        ("quota-project", "the-wards-bill"),
        ("external-account-authorized-user", "demo"),
    ];
    assert_eq!(quota_projects(&stage, &names), billed.map(|(name, project)| (name, project.to_owned())));
    // Each kind of way was really taken.
    for route in [Route::Token, Route::Sts, Route::Iam, Route::Metadata, Route::Subject, Route::Imds] {
        let seen = stage.requests(route);
        assert!(!seen.is_empty() && seen.iter().all(|request| request.status == Some(200)), "{route:?}");
    }
    let scopes: Vec<String> =
        stage.token_requests().iter().filter_map(|asked| claim(asked, "scope")).collect();
    assert!(scopes.contains(&sources::CLOUD_HEALTHCARE.to_owned()), "{scopes:?}");
    assert!(scopes.contains(&"https://www.googleapis.com/auth/cloud-platform".to_owned()), "{scopes:?}");
    stage.stop();
}

/// A proxy that authenticates by itself, played by a header that the DICOMweb plugin is told to send.
fn server_that_adds_a_token(scene: &Scene, name: &str) -> Value {
    let hour = std::time::Duration::from_secs(3600);
    let token = scene.emulator.mint_token(sources::CLOUD_HEALTHCARE, hour).unwrap();
    json!({"DicomWeb": {"Servers": {name: {
        "Url": "http://127.0.0.1:1/",
        "HttpHeaders": {"Authorization": format!("Bearer {token}")},
    }}}})
}

/// The accounts whose search named a project to bill; `names` in the order of their searches.
fn quota_projects<'a>(stage: &Stage, names: &[&'a str]) -> Vec<(&'a str, String)> {
    let searches = stage.requests(Route::Qido);
    let project =
        |search: &google_emulator::SeenRequest| search.header("x-goog-user-project").map(str::to_owned);
    names.iter().zip(&searches).filter_map(|(name, search)| Some((*name, project(search)?))).collect()
}

/// A claim of the assertion in a token request; `None` where it has none.
fn claim(request: &google_emulator::SeenRequest, name: &str) -> Option<String> {
    sources::part(request.fields.get("assertion")?, 1)[name].as_str().map(str::to_owned)
}

#[test]
fn nothing_is_sent_where_no_token_is_wanted() {
    let scene = Scene::new();
    let orthanc = scene.orthanc(&json!({"bare": scene.account(&json!({"AccessToken": "none"}))}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("bare");
    // The strict store refuses it, and has seen no token.
    assert_ne!(stage.search("bare").0, 200);
    let seen = stage.requests(Route::Qido).pop().unwrap();
    assert_eq!((seen.status, seen.header("authorization")), (Some(401), None));
    assert!(stage.token_requests().is_empty());
    stage.stop();
}

#[test]
fn gclouds_well_known_file_is_found() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("gcloud")).unwrap();
    let mut login: Value = serde_json::from_str(&scene.emulator.authorized_user_json()).unwrap();
    login.as_object_mut().unwrap().remove("quota_project_id");
    scene.write("gcloud/application_default_credentials.json", login.to_string());
    scene.emulator.change_settings(|settings| settings.required_quota_project = Some("of-the-login".into()));
    let account = json!({"ApplicationDefaultCredentials": true, "TokenUri": scene.emulator.token_url()});
    let orthanc = scene
        .orthanc(&json!({"default": scene.account(&account)}))
        .environment("CLOUDSDK_CONFIG", scene.path("gcloud"))
        .environment("GCE_METADATA_HOST", scene.emulator.metadata_host())
        .environment("GOOGLE_CLOUD_QUOTA_PROJECT", "of-the-login");
    let stage = scene.start(orthanc);
    all_work(&stage, &["default"]);
    assert_eq!(stage.requests(Route::Metadata).len(), 0);
    stage.stop();
}

#[test]
fn without_files_the_metadata_server_is_found() {
    let scene = Scene::new();
    let account = json!({"ApplicationDefaultCredentials": true});
    let orthanc = scene
        .orthanc(&json!({"default": scene.account(&account)}))
        .environment("GCE_METADATA_HOST", scene.emulator.metadata_host());
    let stage = scene.start(orthanc);
    all_work(&stage, &["default"]);
    assert_eq!(stage.requests(Route::Metadata).len(), 1);
    stage.stop();
}

#[test]
fn what_is_wrong_costs_its_account_and_one_line() {
    let scene = Scene::new();
    let wrong = sources::wrong(&scene);
    let mut accounts = json!({"good": scene.service_account()});
    for (name, account, _) in &wrong {
        accounts[*name] = account.clone();
    }
    // Without the gateway a server comes with its first token.
    let orthanc =
        scene.direct(&accounts).environment("GCE_METADATA_HOST", dead_address()).argument("--verbose");
    let stage = scene.start(orthanc);
    all_become_errors(&stage, &wrong.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    stage.wait_until_ready("good");
    assert_eq!(stage.search("good").0, 200);
    // It goes on, and says no more.
    stage.wait_for_line("Account \"no-metadata-server\": attempt 3 failed as before");
    let log = stage.orthanc.log();
    for (name, _, says) in &wrong {
        let lines = errors_of(&log, name);
        assert_eq!(lines.len(), 1, "{name}: {lines:#?}");
        for said in says {
            assert!(lines[0].contains(said), "{name}: {said}\nis not in\n{}", lines[0]);
        }
    }
    assert_eq!(lines_at(&log, 'E').len(), wrong.len(), "{:#?}", lines_at(&log, 'E'));
    assert_eq!(stage.servers().into_iter().collect::<Vec<_>>(), ["good"]);

    // A role that was granted late is noticed when the credential's file is touched, without a restart.
    let emulator = &stage.scene.emulator;
    emulator.allow_impersonation(&emulator.service_account(), &emulator.impersonation_target());
    let key = emulator.service_account_key_json() + "\n";
    stage.scene.write("denied.json", key);
    stage.wait_until_ready("denied");
    assert_eq!(stage.search("denied").0, 200);
    stage.stop();
}

fn all_become_errors(stage: &Stage, names: &[&str]) {
    stage.wait_until("every wrong account has its line", || {
        let log = stage.orthanc.log();
        names.iter().all(|name| !errors_of(&log, name).is_empty())
    });
}

/// The errors about one account.
fn errors_of(log: &str, account: &str) -> Vec<String> {
    let of_account = [format!("Accounts.{account}."), format!("Account \"{account}\"")];
    let errors = lines_at(log, 'E').into_iter();
    errors.filter(|line| of_account.iter().any(|mark| line.contains(mark))).collect()
}

/// A credential file as an account's option.
fn credentials_file(scene: &Scene, name: &str) -> Value {
    json!({"CredentialsFile": text(&scene.path(name))})
}
