//! The way to the token endpoint: certificates, proxies, time limits, and what `HttpVerbose` shows of it.

pub mod names;

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use google_emulator::{Emulator, Fault, Route};
use serde_json::{Value, json};

use crate::{
    between::{Admits, Proxy, SelfSigned, SelfSignedServer, authority, dead_address},
    stage::{Scene, Stage, lines_at},
};

/// Starts an Orthanc with the service account `g` and `patch` over its configuration. Without the gateway: so the way of libcurl
/// to the store is tried as well.
fn start(scene: Scene, patch: &Value) -> Stage {
    let orthanc = scene.direct(&json!({"g": scene.service_account()})).configuration(patch);
    scene.start(orthanc)
}

/// Waits for the one error of account `g`, which has to say all of `parts`.
fn wait_for_error(stage: &Stage, parts: &[&str]) {
    stage.wait_for(&["Account \"g\": "]);
    let errors = lines_at(&stage.orthanc.log(), 'E');
    assert_eq!(errors.len(), 1, "{errors:#?}");
    for part in parts {
        assert!(errors[0].contains(part), "{part}\nis not in\n{}", errors[0]);
    }
}

/// The account has become ready and can be used.
fn expect_ready(stage: &Stage) {
    stage.wait_until_ready("g");
    assert_eq!(stage.search("g").0, 200, "{}", stage.orthanc.log());
}

#[test]
fn a_ca_file_that_comes_late() {
    let scene = Scene::new();
    let late = scene.path("late.pem");
    let patch = json!({"HttpsCACertificates": late, "GoogleCloudPlatform": {"RefreshInterval": 1}});
    let stage = start(scene, &patch);
    let shown = late.display().to_string();
    let says = ["HttpsCACertificates: ", &shown, "No such file", "put the file there, or correct the path"];
    wait_for_error(&stage, &says);
    assert!(stage.token_requests().is_empty());
    assert_eq!(stage.orthanc.get("/system").unwrap().status, 200);
    fs::copy(stage.scene.emulator.ca_file(), &late).unwrap();
    expect_ready(&stage);
    assert!(stage.token_requests().iter().all(|request| request.tls));
    assert_eq!(lines_at(&stage.orthanc.log(), 'E').len(), 1);
}

#[test]
fn a_ca_file_that_holds_none() {
    for (content, what) in [
        ("", "holds no certificate of a CA"),
        ("hospital CA", "holds no certificate of a CA"),
        ("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n", "holds a damaged certificate"),
    ] {
        let scene = Scene::new();
        let file = scene.write("bad.pem", content);
        let patch = json!({"HttpsCACertificates": file, "GoogleCloudPlatform": {"RefreshInterval": 1}});
        let stage = start(scene, &patch);
        let shown = file.display().to_string();
        wait_for_error(&stage, &["HttpsCACertificates: ", &shown, what, "in PEM"]);
        fs::copy(stage.scene.emulator.ca_file(), &file).unwrap();
        expect_ready(&stage);
    }
}

/// Nothing is sent to the emulator while `trusted` alone is trusted.
fn check_untrusted(trusted: &str, says: &str) {
    let scene = Scene::new();
    let file = scene.write("authorities.pem", trusted);
    let stage = start(scene, &json!({"HttpsCACertificates": file}));
    let token_url = stage.scene.emulator.token_url();
    let no_answer =
        format!("no answer from {token_url}: its certificate was issued by a CA that is not trusted here");
    wait_for_error(&stage, &[&no_answer, says, "; ", "add its CA to the file of HttpsCACertificates"]);
    assert!(stage.token_requests().is_empty(), "the credential went to a server that is not trusted");
    // The remedy helps without a restart.
    let mut authorities = fs::read(&file).unwrap();
    authorities.extend(fs::read(stage.scene.emulator.ca_file()).unwrap());
    fs::write(&file, authorities).unwrap();
    expect_ready(&stage);
    assert_eq!(lines_at(&stage.orthanc.log(), 'E').len(), 1);
}

#[test]
fn a_ca_that_is_not_trusted() {
    let another =
        SelfSignedServer::start(SelfSigned::Authority, "pacs.hospital.example", "http://127.0.0.1:1");
    check_untrusted(&another.certificate, "");
}

#[test]
fn a_ca_that_was_made_anew() {
    let former = Emulator::builder().start().unwrap();
    let former = fs::read_to_string(former.ca_file()).unwrap();
    check_untrusted(&former, "only one of the same name is");
}

#[test]
fn peers_that_are_not_verified() {
    let (scene, other) = (Scene::new(), Emulator::builder().start().unwrap());
    let patch = json!({"HttpsCACertificates": other.ca_file(), "HttpsVerifyPeers": false});
    let stage = start(scene, &patch);
    expect_ready(&stage);
    assert_eq!(lines_at(&stage.orthanc.log(), 'E'), [""; 0]);
}

/// Orthanc whose tokens and store both come by way of `server`, which alone is trusted.
fn behind(scene: Scene, server: &SelfSignedServer) -> Stage {
    let mut account = scene.service_account();
    account["TokenUri"] = json!(format!("{}/token", server.url()));
    let orthanc = scene.orthanc(&json!({"g": account})).configuration(&json!({
        "HttpsCACertificates": scene.write("self-signed.pem", &server.certificate),
        "GoogleCloudPlatform": {"BaseUrl": format!("{}/v1beta1/", server.url())},
    }));
    scene.start(orthanc)
}

#[test]
fn a_self_signed_server_that_is_listed_itself() {
    for kind in [SelfSigned::Authority, SelfSigned::Server] {
        let scene = Scene::new();
        let server = SelfSignedServer::start(kind, "127.0.0.1", scene.emulator.http_url());
        let stage = behind(scene, &server);
        // libcurl, on the way to the store, takes it too.
        expect_ready(&stage);
        assert_eq!(lines_at(&stage.orthanc.log(), 'E'), [""; 0], "{kind:?}");
    }
}

#[test]
fn a_self_signed_server_of_another_name() {
    for kind in [SelfSigned::Authority, SelfSigned::Server] {
        let scene = Scene::new();
        let server = SelfSignedServer::start(kind, "pacs.hospital.example", scene.emulator.http_url());
        let stage = behind(scene, &server);
        let says =
            ["its certificate is for another name", "or give the server a certificate for the name in it"];
        wait_for_error(&stage, &says);
        assert!(stage.token_requests().is_empty(), "{kind:?}");
    }
}

#[test]
fn a_self_signed_server_that_has_expired() {
    let scene = Scene::new();
    let server = SelfSignedServer::start(SelfSigned::Expired, "127.0.0.1", scene.emulator.http_url());
    let stage = behind(scene, &server);
    wait_for_error(&stage, &["its certificate has expired", "check this machine's clock"]);
    assert!(stage.token_requests().is_empty());
}

#[test]
fn a_server_without_tls() {
    let scene = Scene::new();
    let address = scene.emulator.http_url().replace("http:", "https:");
    let mut account = scene.service_account();
    account["TokenUri"] = json!(format!("{address}/token"));
    let orthanc = scene.orthanc(&json!({"g": account}));
    let stage = scene.start(orthanc);
    wait_for_error(&stage, &["what answers there does not speak TLS", "check that the address is right"]);
}

/// As `HttpProxy` and `https_proxy` have it: user and password percent-encoded.
fn with_user(proxy: &Proxy) -> String {
    format!("{USER}:p%40ss%3Aword-%2541-of-the-proxy@{}", proxy.address())
}

const USER: &str = "orthanc";
const PASSWORD: &str = "p@ss:word-%41-of-the-proxy";

fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")))
}

/// The proxy saw the way to the emulator and to nothing else, always with `authorization` in the end.
fn check_proxy(proxy: &Proxy, stage: &Stage, authorization: Option<&str>) {
    let asked = proxy.asked();
    let emulator = authority(stage.scene.emulator.https_url());
    assert!(asked.iter().all(|asked| asked.target == emulator), "{asked:?}");
    // Of the token request and of the search at least.
    let granted = asked.iter().filter(|asked| asked.authorization.as_deref() == authorization);
    assert!(granted.count() >= 2, "{asked:?}");
}

#[test]
fn a_proxy_with_user_and_password() {
    let proxy = Proxy::start(Admits::Only(basic()));
    let stage = start(Scene::new(), &json!({"HttpProxy": with_user(&proxy)}));
    stage.orthanc.forbid_in_log([PASSWORD, &basic()]);
    // libcurl, on the way to the store, reads the option alike.
    expect_ready(&stage);
    check_proxy(&proxy, &stage, Some(&basic()));
    assert_eq!(lines_at(&stage.orthanc.log(), 'E'), [""; 0]);
}

#[test]
fn a_proxy_that_wants_a_password() {
    let proxy = Proxy::start(Admits::Only(basic()));
    let stage = start(Scene::new(), &json!({"HttpProxy": proxy.address()}));
    wait_for_error(
        &stage,
        &[
            "the proxy answered 407: it wants a user and password",
            "check HttpProxy (`user:password@host:port`)",
        ],
    );
    stage.wait_until("it is asked again", || proxy.asked().len() >= 2);
    assert!(stage.token_requests().is_empty());
    assert_eq!(lines_at(&stage.orthanc.log(), 'E').len(), 1);
}

#[test]
fn a_proxy_that_forbids() {
    let proxy = Proxy::start(Admits::Nobody);
    let stage = start(Scene::new(), &json!({"HttpProxy": proxy.address()}));
    wait_for_error(
        &stage,
        &["the proxy refuses to open the way there", "and that the proxy allows that host"],
    );
    stage.wait_until("it is asked again", || proxy.asked().len() >= 2);
    assert_eq!(lines_at(&stage.orthanc.log(), 'E').len(), 1);
}

#[test]
fn a_dead_proxy() {
    let address = dead_address();
    let stage = start(Scene::new(), &json!({"HttpProxy": address}));
    wait_for_error(&stage, &["the proxy cannot be reached (Connection refused", "check HttpProxy"]);
    assert!(stage.token_requests().is_empty());
    stage.stop();
}

#[test]
fn a_proxy_that_is_no_address() {
    for (value, what) in [
        ("http://ward 7:x/", "it is no address of a proxy"),
        ("ftp://127.0.0.1:21", "its scheme is not that of a proxy"),
    ] {
        let stage = start(Scene::new(), &json!({"HttpProxy": value}));
        stage.wait_for(&["Account \"g\": HttpProxy: ", what, "so that nothing is sent"]);
        let errors = lines_at(&stage.orthanc.log(), 'E');
        // Once as a mistake of the configuration, once as what it does to the account.
        assert_eq!(errors.len(), 2, "{errors:#?}");
        assert!(errors.iter().all(|line| line.contains("HttpProxy") && line.contains("write `host:port`")));
        assert!(errors.iter().all(|line| !line.contains(value)), "{errors:#?}");
        assert!(stage.token_requests().is_empty(), "a request has passed the proxy by");
        stage.stop();
    }
}

#[test]
fn the_proxy_of_the_environment() {
    let proxy = Proxy::start(Admits::Only(basic()));
    let scene = Scene::new();
    let orthanc = scene
        .orthanc(&json!({"g": scene.service_account()}))
        .environment("https_proxy", format!("http://{}", with_user(&proxy)))
        .forbid_in_log([PASSWORD.to_owned(), basic()]);
    let stage = scene.start(orthanc);
    expect_ready(&stage);
    check_proxy(&proxy, &stage, Some(&basic()));
    assert_eq!(lines_at(&stage.orthanc.log(), 'E'), [""; 0]);
}

#[test]
fn hosts_that_need_no_proxy() {
    let proxy = Proxy::start(Admits::Everybody);
    let scene = Scene::new();
    let orthanc = scene
        .orthanc(&json!({"g": scene.service_account()}))
        .configuration(&json!({"HttpProxy": proxy.address()}))
        .environment("no_proxy", "127.0.0.1");
    let stage = scene.start(orthanc);
    expect_ready(&stage);
    assert_eq!(proxy.asked(), []);
}

#[test]
fn nothing_comes_in_time() {
    let scene = Scene::new();
    scene.emulator.faults().add(Fault::hang(Route::Token).times(3));
    let stage = start(scene, &json!({"GoogleCloudPlatform": {"Timeout": 10}}));
    wait_for_error(&stage, &["no whole answer within 10 s", "a slow line may need a longer Timeout"]);
    // Each of the three was given up, or the fourth would never have been sent.
    stage.wait_until_ready("g");
    assert_eq!(stage.token_requests().len(), 4);
}

#[test]
fn a_redirect_is_not_followed() {
    let (scene, elsewhere) = (Scene::new(), Emulator::builder().start().unwrap());
    let target = format!("{}/token", elsewhere.http_url());
    let portal = Fault::answer(Route::Token, 302, "").header("Location", &target);
    scene.emulator.faults().add(portal.times(2));
    let stage = start(scene, &json!({}));
    wait_for_error(
        &stage,
        &[
            &format!("answered 302, towards {target}"),
            "a token endpoint never redirects: a captive portal or proxy",
        ],
    );
    expect_ready(&stage);
    assert!(elsewhere.requests().is_empty());
    assert_eq!(stage.token_requests().len(), 3);
}

#[test]
fn names_that_lead_nowhere() {
    let scene = Scene::new();
    let at = |address: &str| {
        let mut account = scene.service_account();
        account["TokenUri"] = json!(format!("{address}/token"));
        account
    };
    let dead = format!("https://{}", dead_address());
    let orthanc = scene.orthanc(&json!({
        "g": scene.service_account(),
        // RFC 6761 section 6.4: a name that never has an address.
        "unknown": at("https://token.hospital.invalid"),
        "dead": at(&dead),
        "local": at(&scene.emulator.https_url().replace("127.0.0.1", "localhost")),
    }));
    let stage = scene.start(orthanc);
    expect_ready(&stage);
    stage.wait_until_ready("local");
    let line = stage.wait_for_line("Account \"unknown\": ");
    let says =
        "no answer from https://token.hospital.invalid/token: DNS knows no address of that name; check";
    assert!(line.contains(says), "{line}");
    let line = stage.wait_for_line("Account \"dead\": ");
    let says =
        format!("no answer from {dead}/token: no connection (Connection refused (os error 111)); check");
    assert!(line.contains(&says), "{line}");
    assert_eq!(lines_at(&stage.orthanc.log(), 'E').len(), 2, "{}", stage.orthanc.log());
}

#[test]
fn http_verbose_shows_everything_but_secrets() {
    let scene = Scene::new();
    scene.emulator.change_settings(|settings| settings.id_token = true);
    let refusal = r#"{"error":"temporarily_unavailable","error_description":"Please try again."}"#;
    scene.emulator.faults().add(Fault::answer(Route::Token, 503, refusal).times(1));
    let orthanc = scene
        .orthanc(&json!({"service": scene.service_account(), "user": scene.user_strings()}))
        .configuration(&json!({"HttpVerbose": true}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("service");
    stage.wait_until_ready("user");
    let log = stage.orthanc.log();
    let client_id = stage.scene.emulator.authorized_user().client_id;
    let url = stage.scene.emulator.token_url();
    for line in [
        format!(
            "HttpVerbose: > POST {url} grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=[struck out]"
        ),
        format!(
            "HttpVerbose: > POST {url} grant_type=refresh_token&client_id={client_id}&client_secret=[struck out]&refresh_token=[struck out]"
        ),
        format!("HttpVerbose: < 503 from {url} (content-type: application/json; charset=UTF-8, date: "),
        refusal.to_owned(),
        format!("HttpVerbose: < 200 from {url} (content-type: application/json, date: "),
        "\"access_token\":\"[struck out]\"".to_owned(),
        "\"id_token\":\"[struck out]\"".to_owned(),
        "\"expires_in\":3599".to_owned(),
    ] {
        assert!(log.contains(&line), "{line}\nis not in\n{log}");
    }
    let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!((count("HttpVerbose: > "), count("HttpVerbose: < ")), (3, 3), "{log}");
    // The stage, when it goes, looks for every secret in every form.
}
