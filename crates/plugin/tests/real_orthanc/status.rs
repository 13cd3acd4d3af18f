//! The routes of the status, held against their description.

mod log;
mod metrics;
mod openapi;
mod transfers;

use std::{collections::BTreeSet, net::TcpListener};

use google_emulator::{Fault, Route};
use orthanc_testbed::{Answer, Client};
use serde_json::{Value, json};

use crate::stage::{Scene, Stage};
use openapi::OpenApi;

const ACCOUNTS: &str = "/google-cloud-platform/accounts";

/// An Orthanc whose every answer is held against the description.
struct Described {
    stage: Stage,
    openapi: OpenApi,
}

impl Described {
    fn new(stage: Stage) -> Self {
        let document = stage.orthanc.get("/google-cloud-platform/openapi.json").unwrap();
        assert_eq!((document.status, document.content_type.as_str()), (200, "application/json"));
        Self { stage, openapi: OpenApi::new(document.json().unwrap()) }
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.seen("get", path, &self.stage.orthanc.get(path).unwrap())
    }

    fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.seen("post", path, &self.stage.orthanc.post(path, body).unwrap())
    }

    fn account(&self, name: &str) -> Value {
        let (status, account) = self.get(&format!("{ACCOUNTS}/{name}"));
        assert_eq!(status, 200, "{account}");
        account
    }

    #[track_caller]
    fn seen(&self, method: &str, path: &str, answer: &Answer) -> (u16, Value) {
        for secret in self.stage.scene.emulator.secrets() {
            assert!(!answer.text().contains(&secret), "{method} {path} tells a secret");
        }
        let body = answer.json().unwrap_or(Value::Null);
        self.openapi.check(method, path, answer.status, &body);
        (answer.status, body)
    }
}

#[test]
fn an_account_that_works() {
    let described = Described::new(Stage::ready("hospital"));
    let stage = &described.stage;
    stage.wait_until("the server is seen", || described.account("hospital")["DicomWebServer"] == "held");
    let account = described.account("hospital");
    assert_eq!(account["State"], "ok", "{account:#}");
    assert_eq!(account["CredentialKind"], "service account key");
    let key: Value = serde_json::from_str(&stage.scene.emulator.service_account_key_json()).unwrap();
    assert_eq!(account["Principal"], key["client_email"]);
    let base = stage.scene.emulator.healthcare_base_url("v1beta1");
    assert_eq!(account["StoreUrl"], format!("{base}{}/dicomWeb/", stage.scene.emulator.store()));
    assert_eq!((&account["Transport"], &account["Refreshes"]), (&json!("Gateway"), &json!(1)));
    assert!(account["SecondsToExpiry"].as_i64().unwrap() > 3000, "{account:#}");

    let (status, refreshed) = described.post(&format!("{ACCOUNTS}/hospital/refresh"), "");
    assert_eq!((status, &refreshed["Refreshes"]), (200, &json!(2)), "{refreshed:#}");
    assert_eq!(stage.token_requests().len(), 2);

    let (status, check) = described.post(&format!("{ACCOUNTS}/hospital/check"), "");
    assert_eq!((status, &check["State"]), (200, &json!("passed")), "{check:#}");
    assert_eq!(described.account("hospital")["Check"], check);
    let steps: Vec<_> = check["Steps"].as_array().unwrap().iter().map(|step| &step["Name"]).collect();
    assert!(steps.contains(&&json!("token")) && steps.contains(&&json!("store")), "{check:#}");
    let (status, transfers) = described.get("/google-cloud-platform/transfers");
    assert_eq!((status, &transfers["Gateway"]), (200, &json!(true)));
    described.stage.stop();
}

#[test]
fn checks_that_write_have_a_limit_of_rate() {
    let described = Described::new(Stage::ready("hospital"));
    let stage = &described.stage;
    let path = format!("{ACCOUNTS}/hospital/check");
    let uploads = || {
        let requests = stage.scene.emulator.requests();
        requests.iter().filter(|seen| matches!(seen.route, Route::Stow)).count()
    };
    for count in 1..=6 {
        let (status, check) = described.post(&path, r#"{"Write": true}"#);
        assert_eq!((status, &check["State"], uploads()), (200, &json!("passed"), count), "{check:#}");
    }
    let (status, refusal) = described.post(&path, r#"{"Write": true}"#);
    assert_eq!((status, &refusal["status"], uploads()), (503, &json!(503), 6), "{refusal:#}");
    // What writes nothing has no such limit.
    assert_eq!(described.post(&path, "").0, 200);
    described.stage.stop();
}

/// One account of each kind of trouble; `good` has none.
fn troubled(scene: &Scene) -> Value {
    let mut misspelt = scene.service_account();
    misspelt["Projetc"] = json!("p");
    let mut incomplete = scene.account(&json!({"ServiceAccountFile": 7}));
    incomplete.as_object_mut().unwrap().remove("Project");
    json!({
        "good": misspelt,
        "incomplete": incomplete,
        "no file": scene.account(&json!({"ServiceAccountFile": scene.path("absent.json")})),
        "open": scene.account(&json!({"AccessToken": "none"})),
        "refused": scene.user_strings(),
    })
}

fn start_troubled() -> Described {
    let scene = Scene::new();
    scene.emulator.revoke_refresh_token();
    let orthanc = scene.orthanc(&troubled(&scene));
    let described = Described::new(scene.start(orthanc));
    described.stage.wait_until_ready("good");
    // The strict store takes nobody without a token.
    for name in ["no%20file", "open", "refused"] {
        let fails = || described.account(name)["State"] == "failing";
        described.stage.wait_until("the account fails", fails);
    }
    described
}

#[test]
fn accounts_that_do_not_work() {
    let described = start_troubled();
    let (status, answer) = described.get(ACCOUNTS);
    assert_eq!((status, &answer["Mistakes"]), (200, &json!([])));
    let accounts = answer["Accounts"].as_array().unwrap();
    let told: Vec<_> =
        accounts.iter().map(|one| [&one["Name"], &one["State"], &one["CredentialKind"]]).collect();
    let expected = [
        ["good", "ok", "service account key"],
        ["incomplete", "misconfigured", ""],
        ["no file", "failing", "service account key"],
        ["open", "failing", "none"],
        ["refused", "failing", "user"],
    ];
    let shown = |[name, state, kind]: &[&Value; 3]| {
        [name, state, kind].map(|value| value.as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(told.iter().map(shown).collect::<Vec<_>>(), expected, "{answer:#}");

    let mistakes = |index: usize| -> Vec<String> {
        let mistakes = accounts[index]["Mistakes"].as_array().unwrap();
        mistakes.iter().map(|one| format!("{} {}", one["Severity"], one["Path"]).replace('"', "")).collect()
    };
    assert_eq!(mistakes(0), ["warning GoogleCloudPlatform.Accounts.good.Projetc"]);
    let of_incomplete: BTreeSet<_> = mistakes(1).into_iter().collect();
    assert!(
        of_incomplete.contains("error GoogleCloudPlatform.Accounts.incomplete.Project"),
        "{of_incomplete:?}"
    );
    assert!(of_incomplete.contains("error GoogleCloudPlatform.Accounts.incomplete.ServiceAccountFile"));
    assert!(mistakes(2).is_empty() && mistakes(3).is_empty() && mistakes(4).is_empty());

    let error = &accounts[2]["LastError"];
    assert_eq!((&error["Kind"], &error["Of"]), (&json!("configuration"), &json!("token")));
    assert_eq!(error["Option"], "GoogleCloudPlatform.Accounts.no file.ServiceAccountFile");
    let error = &accounts[4]["LastError"];
    assert_eq!((&error["Kind"], &error["Healed"]), (&json!("needs_person"), &json!(false)));
    assert!(error["Message"].as_str().unwrap().contains("invalid_grant"), "{error:#}");
    assert!(!error["Remedy"].as_str().unwrap().is_empty());
    assert!(accounts[4]["Failures"]["NeedsPerson"].as_u64() >= Some(1));
    described.stage.stop();
}

#[test]
fn every_operation_is_answered_as_described() {
    let described = start_troubled();
    let orthanc = &described.stage.orthanc;
    assert_eq!(described.get(&format!("{ACCOUNTS}/god")).0, 404);
    let (_, unknown) = described.get(&format!("{ACCOUNTS}/god"));
    assert!(unknown["remedy"].as_str().unwrap().contains("\"good\""), "{unknown}");
    for operation in ["refresh", "check"] {
        let path = |name: &str| format!("{ACCOUNTS}/{name}/{operation}");
        assert_eq!(described.post(&path("nobody"), "").0, 404);
        assert_eq!(described.post(&path("incomplete"), "").0, 409);
        assert_eq!(described.post(&path("good"), "").0, 200);
        let url = format!("{}{}", orthanc.url(), path("good"));
        for foreign in [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://elsewhere.example")] {
            let answer = Client::default().send_body("POST", &url, &[foreign], b"").unwrap();
            assert_eq!(described.seen("post", &path("good"), &answer).0, 403, "{foreign:?}");
        }
        let answer = Client::default().send_body("POST", &url, &[("Origin", &orthanc.url())], b"").unwrap();
        assert_eq!(described.seen("post", &path("good"), &answer).0, 200);
    }
    assert_eq!(described.post(&format!("{ACCOUNTS}/open/refresh"), "").0, 409);
    let (status, refused) = described.post(&format!("{ACCOUNTS}/refused/refresh"), "");
    assert_eq!(status, 502);
    assert!(refused["message"].as_str().unwrap().contains("invalid_grant"), "{refused}");
    assert!(!refused["remedy"].as_str().unwrap().is_empty());
    let (status, checked) = described.post(&format!("{ACCOUNTS}/refused/check"), "{}");
    assert_eq!((status, &checked["State"], &checked["Write"]), (200, &json!("failed"), &json!(false)));
    let without_remedy = |step: &&Value| step["Outcome"] == "failed" && step["Remedy"].is_null();
    assert_eq!(checked["Steps"].as_array().unwrap().iter().find(without_remedy), None);
    let (status, checked) = described.post(&format!("{ACCOUNTS}/good/check"), r#"{"Write": true}"#);
    assert_eq!(
        (status, &checked["State"], &checked["Write"]),
        (200, &json!("passed"), &json!(true)),
        "{checked:#}"
    );
    for wrong in ["[]", "{", r#"{"Write": 1}"#, r#"{"write": true}"#] {
        assert_eq!(described.post(&format!("{ACCOUNTS}/good/check"), wrong).0, 400, "{wrong}");
    }
    assert_eq!(described.get(ACCOUNTS).0, 200);
    assert_eq!(described.get("/google-cloud-platform/transfers").0, 200);
    assert_eq!(described.get("/google-cloud-platform/openapi.json").0, 200);

    let client = Client::default();
    for (template, wanted) in described.openapi.operations() {
        let path = template.replace("{name}", "good");
        for method in ["get", "post", "put", "delete"].into_iter().filter(|method| *method != wanted) {
            let answer = client.send(&method.to_uppercase(), &format!("{}{path}", orthanc.url())).unwrap();
            assert_eq!(described.seen(method, &path, &answer).0, 405, "{method} {path}");
        }
    }
    for path in ["/google-cloud-platform/nothing", "/google-cloud-platform/accounts/good/other"] {
        let answer = orthanc.get(path).unwrap();
        let body = answer.json().unwrap();
        assert_eq!((answer.status, &body["status"]), (404, &json!(404)));
        assert!(body["remedy"].as_str().unwrap().contains("openapi.json"), "{body}");
    }
    // Seen where an Orthanc can be held between two of its states: under the fake host. There is no defect to be shown.
    let mut unseen = described.openapi.unseen();
    unseen.retain(|one| ![" 405", " 500", " 503"].iter().any(|status| one.ends_with(status)));
    assert_eq!(unseen, [""; 0]);
    described.stage.stop();
}

#[test]
fn a_store_that_refuses_the_account_makes_it_fail() {
    let scene = Scene::new();
    let denied = scene.emulator.service_account();
    scene.emulator.change_settings(|settings| settings.denied_principals.push(denied));
    let orthanc = scene.orthanc(&json!({"g": scene.service_account()}));
    let described = Described::new(scene.start(orthanc));
    described.stage.wait_until("the store has refused it", || described.account("g")["State"] == "failing");
    let account = described.account("g");
    let error = &account["LastError"];
    assert_eq!((&error["Of"], &error["Healed"]), (&json!("store"), &json!(false)));
    assert!(error["Remedy"].as_str().unwrap().contains("roles/healthcare.dicomEditor"), "{error:#}");
    assert!(account["SecondsToExpiry"].as_i64().unwrap() > 0, "the token itself is good");

    described.stage.scene.emulator.change_settings(|settings| settings.denied_principals.clear());
    let (_, check) = described.post(&format!("{ACCOUNTS}/g/check"), "");
    assert_eq!(check["State"], "passed", "{check:#}");
    let account = described.account("g");
    assert_eq!((&account["State"], &account["LastError"]["Healed"]), (&json!("ok"), &json!(true)));
}

#[test]
fn whose_tokens_the_metadata_server_gives() {
    let scene = Scene::new();
    let orthanc = scene
        .orthanc(&json!({"m": scene.account(&json!({"MetadataServer": true}))}))
        .environment("GCE_METADATA_HOST", scene.emulator.metadata_host());
    let described = Described::new(scene.start(orthanc));
    described.stage.wait_until_ready("m");
    let expected = described.stage.scene.emulator.metadata_service_account();
    described.stage.wait_until("it is asked", || described.account("m")["Principal"] == expected.as_str());
    assert_eq!(described.account("m")["CredentialKind"], "metadata server");
}

#[test]
fn a_gateway_that_cannot_work_is_told_with_the_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let scene = Scene::new();
    let orthanc = scene
        .orthanc(&json!({"g": scene.service_account()}))
        .configuration(&json!({"GoogleCloudPlatform": {"Gateway": "prefer", "GatewayPort": port}}));
    let described = Described::new(scene.start(orthanc));
    described.stage.wait_until_ready("g");
    let account = described.account("g");
    assert_eq!(account["Transport"], "FallenBack");
    assert!(account["FallenBackBecause"].as_str().unwrap().contains("GatewayPort"), "{account:#}");
}

#[test]
fn a_token_that_is_refused_is_not_said_to_be_good() {
    for gateway in [true, false] {
        let scene = Scene::new();
        let orthanc = scene
            .orthanc(&json!({"g": scene.user_strings()}))
            .configuration(&json!({"GoogleCloudPlatform": {"Gateway": gateway}}));
        let described = Described::new(scene.start(orthanc));
        described.stage.wait_until_ready("g");
        let before = described.account("g");
        assert!(before["SecondsToExpiry"].as_i64().unwrap() > 3000, "{before:#}");
        described.stage.scene.emulator.revoke_refresh_token();
        described.stage.scene.emulator.revoke_tokens();
        // Without the gateway the look at the store finds out, or who examines the account.
        if gateway {
            assert_ne!(described.stage.search("g").0, 200);
        } else {
            described.post(&format!("{ACCOUNTS}/g/check"), "");
        }
        described.stage.wait_until("it fails", || described.account("g")["LastError"]["Of"] == "token");
        let account = described.account("g");
        assert_eq!(account["State"], "failing", "{account:#}");
        assert_eq!((&account["Expiry"], &account["SecondsToExpiry"]), (&json!(null), &json!(null)));
        assert!(account["LastError"]["Remedy"].as_str().unwrap().contains("log in again"), "{account:#}");
        let log = described.stage.orthanc.log();
        assert!(!log.contains("the token at hand works until"), "{log}");
    }
}

#[test]
fn a_refresh_is_given_up_when_orthanc_stops() {
    let described = Described::new(Stage::ready("hospital"));
    let stage = &described.stage;
    stage.scene.emulator.faults().add(Fault::hang(Route::Token).until_cleared());
    std::thread::scope(|scope| {
        let url = format!("{}{ACCOUNTS}/hospital/refresh", stage.orthanc.url());
        let waiting = scope.spawn(move || Client::default().send("POST", &url));
        stage.wait_until("the refresh waits", || stage.token_requests().len() == 2);
        stage.stop();
        // Orthanc may have closed the connection before the answer was written.
        if let Ok(answer) = waiting.join().unwrap() {
            assert_eq!((answer.status, &answer.json().unwrap()["status"]), (503, &json!(503)));
        }
    });
}

#[test]
fn without_the_dicomweb_plugin_it_is_told_why_nothing_works() {
    let scene = Scene::new();
    let accounts = json!({"g": scene.service_account()});
    let orthanc = scene.orthanc(&accounts).configuration(&json!({"DicomWeb": {"Enable": false}}));
    let described = Described::new(scene.start(orthanc));
    described.stage.wait_until("it is known", || described.account("g")["State"] == "misconfigured");
    let account = described.account("g");
    let words = account["Mistakes"][0]["Message"].as_str().unwrap();
    assert!(
        words.contains("install the DICOMweb plugin") || words.contains("DicomWeb.Enable"),
        "{account:#}"
    );
    assert_eq!(described.post(&format!("{ACCOUNTS}/g/refresh"), "").0, 409);
}
