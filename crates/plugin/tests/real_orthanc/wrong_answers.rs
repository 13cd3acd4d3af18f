//! Every wrong answer of a token endpoint: the account tries again, the log says once what was answered, Orthanc lives.

use std::thread;

use google_emulator::{Emulator, Fault, Route};
use serde_json::json;

use crate::stage::{Scene, lines_at};

/// A pretend Google of an account's own, with its fault.
struct Misbehaving {
    account: &'static str,
    google: Emulator,
    /// Whether the account asks by HTTPS.
    tls: bool,
    /// What its only error says.
    says: &'static [&'static str],
    /// A person has to do something before it is worth asking again soon.
    needs_person: bool,
}

const SERVER: &str = "the trouble is on the server's side and usually short";
const PORTAL: &str = "a proxy or captive portal may have answered in Google's place";
const CUT: &str = "if it lasts, look for a proxy or firewall that cuts connections";
const SLOW: &str = "the network and the firewall; a slow line may need a longer Timeout";

/// An account, what befalls its requests, whether it asks by HTTPS, and what its only error says.
type Case = (&'static str, Fault, bool, &'static [&'static str]);

fn cases() -> Vec<Case> {
    let answer = |status, body| Fault::answer(Route::Token, status, body);
    let html = |fault: Fault| fault.header("Content-Type", "text/html");
    let page = "<html><title>Ward Wi-Fi</title>Please log in.</html>";
    vec![
        (
            "status-500",
            html(answer(500, "<h1>Oops</h1>")),
            false,
            &["answered 500: \"<h1>Oops</h1>\"", SERVER],
        ),
        (
            "status-503",
            answer(503, r#"{"error":{"code":503,"message":"Try later.","status":"UNAVAILABLE"}}"#),
            true,
            &["answered 503 UNAVAILABLE: \"Try later.\"", SERVER],
        ),
        (
            "status-429",
            answer(
                429,
                r#"{"error":"rate_limit_exceeded","error_description":"Quota exceeded for quota metric."}"#,
            )
            .header("Retry-After", "2"),
            false,
            &[
                "answered 429 rate_limit_exceeded: \"Quota exceeded for quota metric.\"",
                "too many requests",
                "next attempt in 2 s",
            ],
        ),
        (
            "invalid-grant",
            answer(
                400,
                r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#,
            ),
            false,
            &[
                "answered 400 invalid_grant: \"Token has been expired or revoked.\"",
                "log in again with `gcloud auth application-default login`",
                "next attempt in 5 min 0 s",
            ],
        ),
        (
            "invalid-client",
            answer(401, r#"{"error":"invalid_client","error_description":"Unauthorized"}"#),
            false,
            &["answered 401 invalid_client: \"Unauthorized\"", "client_secret", "next attempt in 5 min 0 s"],
        ),
        (
            "status-401",
            answer(401, ""),
            true,
            &["answered 401; ", "check TokenUri, and whether a proxy answers in Google's place"],
        ),
        (
            "cut-json",
            answer(200, r#"{"access_token":"ya29.a0AfH6SMBx0123456789abcdefghij","expi"#),
            false,
            &["answered 200, but its JSON breaks off: \"{\"access_token\":\"[struck out]\",\"expi", PORTAL],
        ),
        ("html", html(answer(200, page)), false, &["answered 200, but not with", "Ward Wi-Fi", PORTAL]),
        ("empty", answer(200, ""), true, &["answered 200, but with an empty body", PORTAL]),
        ("no-token", answer(200, "{\"expires_in\":3599}"), false, &["but without `access_token`", PORTAL]),
        (
            "token-typed",
            answer(200, "{\"access_token\":7}"),
            false,
            &["its `access_token` is no token", PORTAL],
        ),
        (
            "no-time",
            answer(200, r#"{"access_token":"abc","expires_in":"soon"}"#),
            false,
            &["its `expires_in` is no number of seconds above 0", PORTAL],
        ),
        (
            "cut",
            Fault::cut_body(Route::Token, 10),
            false,
            &["no answer from ", "the connection broke off", CUT],
        ),
        (
            "cut-tls",
            Fault::cut_body(Route::Token, 10),
            true,
            &["no answer from ", "the connection broke off", CUT],
        ),
        (
            "reset",
            Fault::reset(Route::Token, 10),
            false,
            &["no answer from ", "the connection broke off", CUT],
        ),
        ("hanging", Fault::hang(Route::Token), false, &["no whole answer within 10 s", SLOW]),
        ("hanging-tls", Fault::hang(Route::Token), true, &["no whole answer within 10 s", SLOW]),
        ("hanging-handshake", Fault::hang_before_tls(), true, &["no whole answer within 10 s", SLOW]),
    ]
}

/// Starts a Google for each case.
fn misbehaving() -> Vec<Misbehaving> {
    // A key has to be made for each of them, so all are started at once.
    thread::scope(|scope| {
        let starting: Vec<_> = cases()
            .into_iter()
            .map(|(account, fault, tls, says)| {
                scope.spawn(move || {
                    let google = Emulator::builder().start().unwrap();
                    google.faults().add(fault.until_cleared());
                    let needs_person = says.contains(&"next attempt in 5 min 0 s");
                    Misbehaving { account, google, tls, says, needs_person }
                })
            })
            .collect();
        starting.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn the_account_tries_again_and_orthanc_lives() {
    let scene = Scene::new();
    let misbehaving = misbehaving();
    let mut accounts = json!({"good": scene.service_account()});
    let mut authorities = std::fs::read_to_string(scene.emulator.ca_file()).unwrap();
    for Misbehaving { account, google, tls, .. } in &misbehaving {
        let user = google.authorized_user();
        let root = if *tls { google.https_url() } else { google.http_url() };
        accounts[account] = scene.account(&json!({
            "AuthorizedUserClientId": user.client_id,
            "AuthorizedUserClientSecret": user.client_secret,
            "AuthorizedUserRefreshToken": user.refresh_token,
            "TokenUri": format!("{root}/token"),
        }));
        authorities += &std::fs::read_to_string(google.ca_file()).unwrap();
    }
    let authorities = scene.write("authorities.pem", authorities);
    // Each attempt after the first that fails in the same way is told at the level that --verbose shows.
    let orthanc = scene
        .orthanc(&accounts)
        .configuration(&json!({
            "HttpsCACertificates": authorities,
            // What is answered is answered within that, on a busy machine too.
            "GoogleCloudPlatform": {"Timeout": 10},
        }))
        .argument("--verbose");
    let stage = scene.start(orthanc);
    for Misbehaving { google, .. } in &misbehaving {
        stage.orthanc.forbid_in_log(google.secrets());
    }
    stage.wait_until_ready("good");
    assert_eq!(stage.search("good").0, 200);

    let healing = |broken: &&Misbehaving| !broken.needs_person;
    let mut pending: Vec<_> = misbehaving.iter().filter(healing).collect();
    stage.wait_until("every account has tried again and was healed", || {
        let log = stage.orthanc.log();
        pending.retain(|broken| {
            let again = format!("Account \"{}\": attempt 2 failed as before", broken.account);
            let tried_again = log.contains(&again);
            if tried_again {
                broken.google.faults().clear();
            }
            !tried_again
        });
        pending.is_empty()
    });
    for Misbehaving { account, google, .. } in misbehaving.iter().filter(healing) {
        stage.wait_until_ready(account);
        stage.wait_for(&[&format!("Account \"{account}\": tokens come again after ")]);
        stage.orthanc.forbid_in_log(google.secrets());
        let seen = google.requests();
        // The last one worked; what hung in its handshake was never a request.
        let failed = seen.iter().filter(|request| request.status != Some(200)).count();
        let lied_to = seen.iter().filter(|request| request.status == Some(200)).count() - 1;
        let expected = if *account == "hanging-handshake" { 0 } else { 2 };
        assert!(failed + lied_to >= expected, "{account}: {failed} + {lied_to}");
        assert!(seen.iter().all(|request| request.route == Route::Token), "{account}");
    }

    assert!(stage.orthanc.is_running());
    assert_eq!(stage.orthanc.get("/system").unwrap().status, 200);
    assert_eq!(stage.search("good").0, 200);
    let log = stage.stop();
    for Misbehaving { account, google, says, needs_person, .. } in &misbehaving {
        let errors = lines_at(&log, 'E');
        let errors: Vec<_> =
            errors.iter().filter(|line| line.contains(&format!("Account \"{account}\": "))).collect();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        for said in *says {
            assert!(errors[0].contains(said), "{said}\nis not in\n{}", errors[0]);
        }
        if *needs_person {
            assert_eq!(google.requests().len(), 1, "{account} asks although only a person can help");
            assert!(!log.contains(&format!("Account \"{account}\": ready")));
        }
    }
    assert_eq!(lines_at(&log, 'E').len(), misbehaving.len(), "{:#?}", lines_at(&log, 'E'));
}

#[test]
fn a_pause_that_the_server_asks_for_is_kept() {
    let scene = Scene::new();
    let busy = Fault::answer(Route::Token, 429, "").header("Retry-After", "100000");
    scene.emulator.faults().add(busy.until_cleared());
    let orthanc = scene.orthanc(&json!({"g": scene.service_account()}));
    let stage = scene.start(orthanc);
    let line = stage.wait_for_line("Account \"g\": ");
    assert!(line.contains("answered 429; too many requests"), "{line}");
    // The longest that is granted.
    assert!(line.contains("next attempt in 5 min 0 s"), "{line}");
    assert_eq!(stage.token_requests().len(), 1);
}

#[test]
fn answers_that_are_unusual_but_right() {
    let scene = Scene::new();
    scene.emulator.change_settings(|settings| {
        settings.expires_in_as_string = true;
        settings.token_lifetime_seconds = 30;
    });
    assert!(
        !scene.emulator.settings().id_token,
        "the C++ plugin demanded an id_token, and Google gives none"
    );
    let orthanc = scene.orthanc(&json!({"service": scene.service_account(), "user": scene.user_strings()}));
    let stage = scene.start(orthanc);
    for account in ["service", "user"] {
        stage.wait_until_ready(account);
        assert_eq!(stage.search(account).0, 200);
    }
    // The string was read as the seconds that it says: a new token is asked for after them, not after an hour.
    stage.wait_until("the tokens are renewed", || stage.token_requests().len() > 2);
    assert_eq!(lines_at(&stage.orthanc.log(), 'E'), [""; 0]);
}

#[test]
fn an_outage_leaves_the_token_at_hand() {
    let scene = Scene::new();
    // Renewed at half its life, so that much of it is left when that fails, on a busy machine too.
    scene.emulator.set_token_lifetime(std::time::Duration::from_secs(40));
    let orthanc = scene.orthanc(&json!({"g": scene.service_account()}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    stage.scene.emulator.faults().add(Fault::answer(Route::Token, 500, "").until_cleared());
    let line = stage.wait_for(&["Account \"g\": ", "answered 500"]);
    assert!(line.starts_with('W') && line.contains("the token at hand works until"), "{line}");
    assert_eq!(stage.search("g").0, 200);
    let line = stage.wait_for(&["Account \"g\": its token expired at ", "answered 500"]);
    assert!(line.starts_with('E'), "{line}");
    stage.scene.emulator.faults().clear();
    let line = stage.wait_for_line("Account \"g\": tokens come again after ");
    assert!(line.starts_with('W'), "{line}");
    stage.wait_until("the new token is published", || stage.search("g").0 == 200);
    let log = stage.orthanc.log();
    assert_eq!(lines_at(&log, 'E').len(), 1, "{log}");
}

/// Servers and proxies in between like to repeat what they were sent. The stage looks for the secrets when it goes.
#[test]
fn an_answer_that_repeats_the_credential() {
    let scene = Scene::new();
    let secret = scene.emulator.authorized_user().refresh_token;
    let escaped = secret.replace('/', "\\/");
    let form = secret.replace('/', "%2F");
    let echoes = [
        format!(r#"{{"error":"invalid_request","error_description":"unknown token {escaped}"}}"#),
        format!(r#"{{"error":"server_error","error_description":"refresh_token={form}&x=y"}}"#),
        format!("<p>No: refresh_token={form}</p>"),
        format!(r#"{{"access_token":"{escaped}","expires_in":"#),
    ];
    let accounts: serde_json::Map<String, serde_json::Value> = (0..echoes.len())
        .map(|index| {
            let mut account = scene.user_strings();
            account["TokenUri"] = json!(format!("{}?case={index}", scene.emulator.token_url()));
            (format!("echo-{index}"), account)
        })
        .collect();
    for echo in &echoes {
        scene.emulator.faults().add(Fault::answer(Route::Token, 400, echo));
    }
    let orthanc = scene.orthanc(&accounts.into()).configuration(&json!({"HttpVerbose": true}));
    let stage = scene.start(orthanc);
    stage.wait_until("every echo was told", || {
        let log = stage.orthanc.log();
        (0..echoes.len()).all(|index| log.contains(&format!("Account \"echo-{index}\": ")))
    });
    let log = stage.stop();
    assert!(log.contains("unknown token [struck out]"), "{log}");
}
