//! What the DICOMweb plugin is given without the gateway, and when.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use google_emulator::Route;
use serde_json::json;

use crate::stage::{Scene, Stage, lines_at};

#[test]
fn the_server_is_published_and_works() {
    let stage = Stage::ready_and_direct("my-google");
    assert!(stage.servers().contains("my-google"));
    assert_eq!(stage.search("my-google").0, 200);
    let issued = stage.scene.emulator.tokens_issued();
    assert_eq!(issued.len(), 1);
    assert_eq!(stage.last_authorization(), Some(format!("Bearer {}", issued[0])));
    let log = stage.stop();
    assert_eq!(lines_at(&log, 'E'), [""; 0]);
}

#[test]
fn published_fields() {
    let stage = Stage::ready_and_direct("my-google");
    let expanded = stage.orthanc.get("/dicom-web/servers?expand").unwrap().json().unwrap();
    let server = &expanded["my-google"];
    assert_eq!(server["Timeout"], 3600, "{server}");
    assert_eq!(server.get("HasDelete"), None, "{server}");
    assert_eq!(server["HttpHeaders"], json!(["Authorization"]), "{server}");
    let url = format!(
        "{}{}/dicomWeb/",
        stage.scene.emulator.healthcare_base_url("v1beta1"),
        stage.scene.emulator.store()
    );
    assert_eq!(server["Url"], url);
}

#[test]
fn options_of_the_same_server_are_kept() {
    let scene = Scene::new();
    let orthanc = scene.direct(&json!({"g": scene.service_account()})).configuration(&json!({
        "DicomWeb": {"Servers": {
            "g": {"Url": "http://elsewhere/", "Timeout": 77, "ChunkedTransfers": false,
                "HasWadoRsUniversalTransferSyntax": false, "HttpHeaders": {"X-Site": "ward 7"}},
            "other": ["http://other/"],
        }},
    }));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    let expanded = stage.orthanc.get("/dicom-web/servers?expand").unwrap().json().unwrap();
    let server = &expanded["g"];
    assert_eq!(server["Timeout"], 77, "{server}");
    assert_eq!(server["ChunkedTransfers"], "0", "{server}");
    assert_eq!(server["HasWadoRsUniversalTransferSyntax"], "0", "{server}");
    assert_eq!(server["HttpHeaders"], json!(["Authorization", "X-Site"]), "{server}");
    assert_eq!(expanded["other"]["Url"], "http://other/");
    assert_eq!(stage.search("g").0, 200);
    let seen = stage.requests(Route::Qido).pop().unwrap();
    assert_eq!(seen.header("x-site"), Some("ward 7"));
}

#[test]
fn the_time_limit_is_the_accounts_or_orthancs() {
    let scene = Scene::new();
    let mut own = scene.service_account();
    own["HttpTimeout"] = json!(1234);
    let orthanc = scene
        .direct(&json!({"own": own, "of-orthanc": scene.service_account()}))
        .configuration(&json!({"HttpTimeout": 600}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("own");
    stage.wait_until_ready("of-orthanc");
    let expanded = stage.orthanc.get("/dicom-web/servers?expand").unwrap().json().unwrap();
    assert_eq!(expanded["own"]["Timeout"], 1234);
    assert_eq!(expanded["of-orthanc"]["Timeout"], 600);
}

#[test]
fn the_quota_project_of_a_login_is_published() {
    let scene = Scene::new();
    let mut user: serde_json::Value = serde_json::from_str(&scene.emulator.authorized_user_json()).unwrap();
    user["quota_project_id"] = json!("billed-project");
    let file = scene.write("adc.json", user.to_string());
    let account = scene.account(&json!({"AuthorizedUserFile": file, "TokenUri": scene.emulator.token_url()}));
    let orthanc = scene.direct(&json!({"g": account}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    assert_eq!(stage.search("g").0, 200);
    let seen = stage.requests(Route::Qido).pop().unwrap();
    assert_eq!(seen.header("x-goog-user-project"), Some("billed-project"));
}

#[test]
fn what_a_user_deletes_stays_deleted_until_the_next_token() {
    let scene = Scene::new();
    // Renewed at half its life.
    scene.emulator.set_token_lifetime(Duration::from_secs(24));
    let orthanc = scene.direct(&json!({"g": scene.service_account()}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    assert_eq!(stage.orthanc.delete("/dicom-web/servers/g").unwrap().status, 200);
    while stage.scene.emulator.tokens_issued().len() < 2 {
        // Asked before the number of tokens, so that no token can have come in between.
        let before = stage.servers().contains("g");
        if stage.scene.emulator.tokens_issued().len() < 2 {
            assert!(!before, "the server came back before the next token");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    stage.wait_until("the server is back", || stage.servers().contains("g"));
    assert_eq!(stage.search("g").0, 200);
}

#[test]
fn each_new_token_is_published() {
    let scene = Scene::new();
    // Renewed at half its life: a busy machine has ten seconds to publish it before the former one ends.
    scene.emulator.set_token_lifetime(Duration::from_secs(20));
    let orthanc = scene.direct(&json!({"g": scene.service_account()}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    // Through four renewals, the store never sees a token that it does not take.
    while stage.scene.emulator.tokens_issued().len() < 5 {
        assert_eq!(stage.search("g").0, 200, "{}", stage.orthanc.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    let searches = stage.requests(Route::Qido);
    assert!(
        searches.iter().all(|search| search.status == Some(204) || search.status == Some(200)),
        "{}",
        stage.orthanc.log()
    );
}

#[test]
fn servers_in_the_database_are_warned_about_and_taken_back() {
    let scene = Scene::new();
    let orthanc = scene
        .direct(&json!({"g": scene.service_account(), "h": scene.service_account()}))
        .configuration(&json!({"DicomWeb": {"ServersInDatabase": true}}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    stage.wait_until_ready("h");
    assert_eq!(stage.search("g").0, 200);
    let index = find(stage.orthanc.work_dir(), "index");
    let token = stage.scene.emulator.tokens_issued().pop().unwrap();
    assert!(
        servers_in(&index).contains(&token),
        "the DICOMweb plugin no longer writes tokens into the database"
    );
    let log = stage.stop();
    assert_eq!(
        lines_at(&log, 'W').iter().filter(|line| line.contains("ServersInDatabase")).count(),
        1,
        "{log}"
    );
    let left = servers_in(&index);
    assert!(
        !left.contains("Bearer") && !left.contains("healthcare") && !left.contains("dicomStores"),
        "{left}"
    );
}

/// Asks for the global property that the DICOMweb plugin keeps its servers in.
const QUERY: &str = "import sqlite3, sys; \
    print(sqlite3.connect(sys.argv[1]).execute('SELECT value FROM GlobalProperties WHERE property=5468').fetchall())";

/// What the DICOMweb plugin has stored in Orthanc's index: the global property 5468. A copy is asked, because a
/// running Orthanc keeps its index locked.
pub(crate) fn servers_in(index: &Path) -> String {
    let copies = tempfile::TempDir::new().unwrap();
    for name in ["index", "index-wal"] {
        let original = index.with_file_name(name);
        if original.exists() {
            std::fs::copy(original, copies.path().join(name)).unwrap();
        }
    }
    let index = copies.path().join("index");
    let output = Command::new("python3").args(["-c", QUERY]).arg(index).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn find(folder: &Path, name: &str) -> PathBuf {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let here = files.into_iter().find(|path| path.file_name().is_some_and(|found| found == name));
    here.unwrap_or_else(|| folders.iter().find(|folder| folder.join(name).exists()).unwrap().join(name))
}
