//! Credential files that come late, are replaced, are being written, or hold a login that is over.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use google_emulator::SeenRequest;
use serde_json::json;

use super::{errors_of, sources::part};
use crate::stage::{Scene, Stage, lines_at};

/// A new key is used within 30 s; a busy machine gets more. By itself a token lasts for an hour here.
const NOTICED: Duration = Duration::from_secs(120);
/// Longer than the pause between two looks at the files, so that one of them meets the half of it.
const SLOW: Duration = Duration::from_secs(25);

#[test]
fn files_may_come_late_change_and_be_met_half_written() {
    let scene = Scene::new();
    scene.emulator.write_service_account_key(&scene.path("torn.json")).unwrap();
    let of_file = |name| scene.account(&json!({"ServiceAccountFile": scene.path(name)}));
    let login = json!({"CredentialsFile": scene.path("user.json"), "TokenUri": scene.emulator.token_url()});
    let accounts = json!({
        "rotated": of_file("key.json"),
        "torn": of_file("torn.json"),
        "late": of_file("late.json"),
        "login": scene.account(&login),
    });
    let orthanc = scene.direct(&accounts).argument("--verbose");
    let stage = scene.start(orthanc);
    for account in ["rotated", "torn", "login"] {
        stage.wait_until_ready(account);
    }
    stage.wait_for(&["Accounts.late.ServiceAccountFile", "put the file there"]);
    let old_key = stage.token_requests().iter().find_map(key_id).unwrap();

    // The user takes the login back, and something touches the file: Google's refusal is told, and is not repeated.
    let emulator = &stage.scene.emulator;
    emulator.revoke_refresh_token();
    stage.scene.write("user.json", emulator.authorized_user_json() + "\n");
    // The key is replaced, by a slow hand. One file is left in the middle.
    emulator.rotate_service_account_key().unwrap();
    let key = emulator.service_account_key_json();
    stage.scene.write("torn.json", &key.as_bytes()[..key.len() / 2]);
    thread::scope(|scope| {
        scope.spawn(|| write_slowly(&stage.scene.path("key.json"), key.as_bytes()));
        stage.wait_for(&["Accounts.torn.ServiceAccountFile", "breaks off", "works until"]);
        stage.wait_for(&[
            "\"login\"",
            "Token has been expired or revoked",
            "application-default login",
            "works until",
        ]);
        stage.scene.write("late.json", &key);
        stage.scene.write("torn.json", &key);
        // Once a second, while the files are as they are: the tokens at hand go on.
        let begin = Instant::now();
        while begin.elapsed() < SLOW {
            for account in ["rotated", "torn", "login"] {
                assert_eq!(stage.search(account).0, 200, "{account}");
            }
            thread::sleep(Duration::from_secs(1));
        }
    });

    let renewed = |account: &str| format!("Account \"{account}\": its server has the new token");
    for account in ["rotated", "torn"] {
        stage.orthanc.wait_for_log(|line| line.contains(&renewed(account)), NOTICED).unwrap();
    }
    stage.wait_until_ready("late");
    let signed = |request: &&SeenRequest| key_id(request).is_some_and(|id| id != old_key);
    let by_new_key: Vec<SeenRequest> = stage.token_requests().iter().filter(signed).cloned().collect();
    assert_eq!(by_new_key.len(), 3);
    assert!(by_new_key.iter().all(|request| request.status == Some(200)));

    // A new login, or any other credential in the same file, is used as soon as it is seen.
    stage.scene.write("user.json", &key);
    stage.orthanc.wait_for_log(|line| line.contains(&renewed("login")), NOTICED).unwrap();
    for account in ["rotated", "torn", "late", "login"] {
        assert_eq!(stage.search(account).0, 200, "{account}");
    }
    let refreshes = stage.token_requests().into_iter().filter(|request| key_id(request).is_none());
    assert_eq!(refreshes.map(|request| request.status).collect::<Vec<_>>(), [Some(200), Some(400)]);
    let log = stage.orthanc.log();
    assert_eq!(errors_of(&log, "rotated"), [""; 0]);
    assert_eq!(lines_at(&log, 'E').len(), 3, "{log}");
    assert_eq!(refused(&stage), 0);
    stage.stop();
}

/// The key that signed a token request; `None` for a refresh token.
fn key_id(request: &SeenRequest) -> Option<String> {
    part(request.fields.get("assertion")?, 0)["kid"].as_str().map(str::to_owned)
}

/// How many searches the store has refused.
fn refused(stage: &Stage) -> usize {
    stage.requests(google_emulator::Route::Qido).iter().filter(|search| search.status != Some(200)).count()
}

/// Writes a file so that for [`SLOW`] no two looks see the same, and all see a part.
fn write_slowly(path: &Path, content: &[u8]) {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    let steps = u32::try_from(SLOW.as_millis() / 250).unwrap();
    for chunk in content.chunks(content.len() / usize::try_from(steps).unwrap()) {
        file.write_all(chunk).unwrap();
        thread::sleep(SLOW / steps);
    }
}
