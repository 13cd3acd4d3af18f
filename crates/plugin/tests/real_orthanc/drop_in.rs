//! The library in place of the C++ plugin: the Orthanc Book's configurations, and everything users do with them.

use google_emulator::{EmptySearch, Emulator, Route, StoreName};
use orthanc_testbed::{Builder, Ct, Orthanc, study};
use serde_json::{Value, json};

use crate::stage::{SOON, Scene, Stage, lines_at, plugin, servers, text};

/// The store of the Book's examples.
const BOOKS_STORE: &str = "projects/osimis-test/locations/europe-west2/datasets/test/dicomStores/dicom";

/// The Book's configuration, with what its account holds in place of `CREDENTIAL`.
const BOOK: &str = r#"{
    "HttpsCACertificates": "/etc/ssl/certs/ca-certificates.crt",
    "Plugins" : [ "." ],
    "GoogleCloudPlatform" : {
      "Accounts": {
        "my-google" : {
          "Project" : "osimis-test",
          "Location" : "europe-west2",
          "Dataset" : "test",
          "DicomStore" : "dicom",
          CREDENTIAL
        }
      }
    }
}"#;
const SERVICE_ACCOUNT: &str = r#""ServiceAccountFile" : "dicom-osimis.json""#;
const USER_FILE: &str = r#""AuthorizedUserFile" : "dicom-osimis.json""#;
const USER_STRINGS: &str = r#""AuthorizedUserClientId": "XXXXXXXXXX.apps.googleusercontent.com",
          "AuthorizedUserClientSecret": "ZmssLNXXXXXX",
          "AuthorizedUserRefreshToken": "1/e2ngXXXXXX""#;

#[test]
fn it_introduces_itself() {
    let stage = Stage::ready("g");
    let plugin = stage.orthanc.get("/plugins/google-cloud-platform").unwrap().json().unwrap();
    assert_eq!(plugin["ID"], "google-cloud-platform");
    assert_eq!(plugin["Version"], env!("CARGO_PKG_VERSION"));
    assert!(plugin["Description"].as_str().unwrap().contains("Google Cloud Healthcare API"));
    // Relative to Orthanc Explorer at /app/explorer.html.
    assert_eq!(plugin["RootUri"], "../google-cloud-platform/app/index.html");
    assert_eq!(stage.orthanc.get("/google-cloud-platform/app/index.html").unwrap().status, 200);
}

#[test]
fn the_books_service_account() {
    book(SERVICE_ACCOUNT, |emulator, folder| {
        std::fs::write(folder.join("dicom-osimis.json"), emulator.service_account_key_json()).unwrap();
    });
}

#[test]
fn the_books_user_file() {
    book(USER_FILE, |emulator, folder| {
        std::fs::write(folder.join("dicom-osimis.json"), emulator.authorized_user_json()).unwrap();
    });
}

#[test]
fn the_books_user_strings() {
    book(USER_STRINGS, |_, _| {});
}

/// Runs one of the Book's examples as it stands there, in a folder that holds the plugins and the credential. Changed
/// are the CA certificates, the endpoints, and the user's own strings.
#[track_caller]
fn book(credential: &str, write: impl Fn(&Emulator, &std::path::Path)) {
    let store = StoreName::parse(BOOKS_STORE).unwrap();
    let emulator = Emulator::builder().store(store).empty_search(EmptySearch::EmptyArray).start().unwrap();
    let user = emulator.authorized_user();
    let endpoints = format!(
        r#""GoogleCloudPlatform" : {{ "BaseUrl": "{}", "TokenUri": "{}","#,
        emulator.healthcare_base_url("v1beta1"),
        emulator.token_url()
    );
    let configuration = BOOK
        .replace("CREDENTIAL", credential)
        .replace("/etc/ssl/certs/ca-certificates.crt", &text(emulator.ca_file()))
        .replace(r#""GoogleCloudPlatform" : {"#, &endpoints)
        .replace("XXXXXXXXXX.apps.googleusercontent.com", &user.client_id)
        .replace("ZmssLNXXXXXX", &user.client_secret)
        .replace("1/e2ngXXXXXX", &user.refresh_token);
    let builder = Orthanc::builder()
        .dicomweb()
        .plugin(plugin())
        .plugins_in_folder()
        .configuration_text("orthanc.json", &configuration);
    write(&emulator, builder.work_dir());
    let scene = Scene::of(emulator);
    let stage = scene.start(builder);
    stage.wait_until_ready("my-google");
    there_and_back(&stage, "my-google");
    let log = stage.stop();
    assert_eq!(lines_at(&log, 'E'), [""; 0], "{log}");
}

/// STOW-RS, QIDO-RS, WADO-RS into an emptied Orthanc, and DELETE, each through the DICOMweb plugin.
#[track_caller]
fn there_and_back(stage: &Stage, server: &str) {
    let orthanc = &stage.orthanc;
    let study = study::ct(&Ct::default()).unwrap();
    for instance in &study.instances {
        assert_eq!(orthanc.post("/instances", &instance.bytes).unwrap().status, 200);
    }
    let ids = |path: &str| orthanc.get(path).unwrap().json().unwrap().as_array().unwrap().clone();
    let stored = ids("/studies")[0].as_str().unwrap().to_owned();
    let ask = |operation: &str, body: Value| {
        let answer =
            orthanc.post(&format!("/dicom-web/servers/{server}/{operation}"), body.to_string()).unwrap();
        assert_eq!(answer.status, 200, "{operation}: {}\n{}", answer.text(), orthanc.log());
        answer.json().unwrap_or_default()
    };

    ask("stow", json!({"Resources": [stored]}));
    let found = ask("qido", json!({"Uri": "/studies", "Arguments": {"StudyInstanceUID": study.uid}}));
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");

    assert_eq!(orthanc.delete(&format!("/studies/{stored}")).unwrap().status, 200);
    assert!(ids("/instances").is_empty());
    ask("retrieve", json!({"Resources": [{"Study": study.uid}]}));
    let mut back: Vec<Vec<u8>> = ids("/instances")
        .iter()
        .map(|id| orthanc.get(&format!("/instances/{}/file", id.as_str().unwrap())).unwrap().body)
        .collect();
    let mut sent: Vec<Vec<u8>> = study.instances.iter().map(|instance| instance.bytes.clone()).collect();
    back.sort();
    sent.sort();
    assert_eq!(back.len(), sent.len());
    assert!(back == sent, "an instance came back changed");

    ask("delete", json!({"Level": "Study", "StudyInstanceUID": study.uid}));
    let gone = || ask("qido", json!({"Uri": "/studies"})).as_array().is_some_and(Vec::is_empty);
    stage.wait_until("the study is deleted", gone);
    for route in [Route::Stow, Route::Qido, Route::Wado, Route::Delete] {
        assert!(!stage.requests(route).is_empty(), "{route:?} never reached the store");
    }
}

#[test]
fn loaded_before_the_dicomweb_plugin() {
    let scene = Scene::new();
    let orthanc = Orthanc::builder()
        .plugin(plugin())
        .dicomweb()
        .configuration(&scene.configuration(&json!({"g": scene.service_account()})))
        .configuration(&json!({"DicomWeb": {"Servers": {"other": ["http://other/"]}}}));
    held(scene, orthanc);
}

#[test]
fn loaded_after_the_dicomweb_plugin() {
    let scene = Scene::new();
    let orthanc = scene
        .orthanc(&json!({"g": scene.service_account()}))
        .configuration(&json!({"DicomWeb": {"Servers": {"other": ["http://other/"]}}}));
    held(scene, orthanc);
}

/// A plugin whose `OrthancStarted` takes four seconds.
const SLOW: &str = r#"
#include <OrthancCPlugin.h>
#include <unistd.h>
static OrthancPluginErrorCode Changed(OrthancPluginChangeType change, OrthancPluginResourceType t, const char* id) {
  if (change == OrthancPluginChangeType_OrthancStarted) sleep(4);
  return OrthancPluginErrorCode_Success;
}
int32_t OrthancPluginInitialize(OrthancPluginContext* context) {
  OrthancPluginRegisterOnChangeCallback(context, Changed);
  return 0;
}
void OrthancPluginFinalize() {}
const char* OrthancPluginGetName() { return "slow"; }
const char* OrthancPluginGetVersion() { return "1"; }
"#;

#[test]
fn a_slow_neighbour_between_us_and_the_dicomweb_plugin() {
    let scene = Scene::new();
    let (source, library) = (scene.write("slow.c", SLOW), scene.path("libSlow.so"));
    let compiled = std::process::Command::new("gcc")
        .args(["-shared", "-fPIC", "-I/usr/include/orthanc", "-o"])
        .args([&library, &source])
        .status();
    assert!(compiled.unwrap().success());
    let orthanc = Orthanc::builder()
        .plugin(plugin())
        .plugin(library)
        .dicomweb()
        .configuration(&scene.configuration(&json!({"g": scene.service_account()})));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    // Published long before the wipe, which comes after the neighbour's four seconds, and published again after it.
    std::thread::sleep(std::time::Duration::from_secs(6));
    stage.wait_until("the server is there", || stage.servers().contains("g"));
    assert_eq!(stage.search("g").0, 200);
    assert!(!stage.orthanc.log().contains("somebody deleted"), "{}", stage.orthanc.log());
}

/// The server holds beyond the DICOMweb plugin's own start, and works.
#[track_caller]
fn held(scene: Scene, orthanc: Builder) {
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    std::thread::sleep(std::time::Duration::from_secs(3));
    let names: Vec<String> = stage.servers().into_iter().collect();
    assert_eq!(names, ["g", "other"]);
    assert_eq!(stage.search("g").0, 200);
    // One token was enough, however often it had to be published.
    assert_eq!(stage.token_requests().len(), 1);
}

#[test]
fn another_root_of_the_dicomweb_plugin() {
    let scene = Scene::new();
    let orthanc = scene
        .orthanc(&json!({"g": scene.service_account()}))
        .configuration(&json!({"DicomWeb": {"Root": "/dw"}}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    assert!(servers(&stage.orthanc, "/dw/").contains("g"));
}

#[test]
fn names_of_all_kinds() {
    let scene = Scene::new();
    let names = [
        "my-google",
        "my google",
        "Klinik Süd",
        "a%20b",
        "100%",
        "a+b&c=d",
        "[x]{y}",
        "ü.1_2~3",
        "who?",
        "#1",
        "a;b:c@d",
    ];
    let accounts: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), scene.service_account())).collect();
    let orthanc = scene.orthanc(&Value::Object(accounts));
    let stage = scene.start(orthanc);
    for name in names {
        stage.wait_until_ready(name);
        assert!(stage.servers().contains(name), "{name}: {:?}", stage.servers());
    }
    assert_eq!(stage.search("my%20google").0, 200);
    assert_eq!(stage.search("Klinik%20S%C3%BCd").0, 200);
}

#[test]
fn without_the_dicomweb_plugin() {
    let scene = Scene::new();
    let configuration = scene.configuration(&json!({"g": scene.service_account()}));
    let orthanc = Orthanc::builder().plugin(plugin()).configuration(&configuration);
    let stage = scene.start(orthanc);
    stage.wait_for(&["E", "no account can be used: the DICOMweb plugin is not loaded; install"]);
    assert_eq!(stage.orthanc.get("/system").unwrap().status, 200);
    let log = stage.stop();
    assert_eq!(lines_at(&log, 'E').len(), 1, "{log}");
    assert_eq!(stage.token_requests().len(), 0);
}

#[test]
fn with_the_dicomweb_plugin_disabled() {
    let scene = Scene::new();
    let orthanc = scene
        .orthanc(&json!({"g": scene.service_account()}))
        .configuration(&json!({"DicomWeb": {"Enable": false}}));
    let stage = scene.start(orthanc);
    stage.wait_for(&["E", "no account can be used: DicomWeb.Enable is false; set it to true"]);
    let log = stage.stop();
    assert_eq!(lines_at(&log, 'E').len(), 1, "{log}");
}

#[test]
fn nothing_configured() {
    let orthanc = Orthanc::builder().dicomweb().plugin(plugin()).start().unwrap();
    orthanc
        .wait_for_log(|line| line.contains("No Google Cloud Platform account is configured"), SOON)
        .unwrap();
    assert_eq!(orthanc.stop().unwrap().code(), Some(0));
}
