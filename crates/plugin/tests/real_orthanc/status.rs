//! The routes of the status, held against their description.
mod openapi;

use google_emulator::{Fault, Route};
use orthanc_testbed::Answer;
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
        self.seen("get", path, self.stage.orthanc.get(path).unwrap())
    }

    fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.seen("post", path, self.stage.orthanc.post(path, body).unwrap())
    }

    fn account(&self, name: &str) -> Value {
        let (status, account) = self.get(&format!("{ACCOUNTS}/{name}"));
        assert_eq!(status, 200, "{account}");
        account
    }

    #[track_caller]
    fn seen(&self, method: &str, path: &str, answer: Answer) -> (u16, Value) {
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
    assert_eq!((&account["Transport"], &account["Refreshes"]), (&json!("Direct"), &json!(1)));
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
    assert_eq!((status, &transfers["Gateway"]), (200, &json!(false)));
    described.stage.stop();
}
