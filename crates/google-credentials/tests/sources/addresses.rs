//! Addresses hold secrets: a user and password, or a key in the query. None of it is said.

use google_credentials::{Credential, Source};
use serde_json::json;

use crate::stage::Stage;

#[test]
fn secrets_of_a_subject_token_s_address_are_not_shown() {
    let stage = Stage::new();
    let http = stage.emulator.http_url().trim_start_matches("http://").to_owned();
    let text = json!({"type": "text"});
    let in_json = json!({"type": "json", "subject_token_field_name": "t"});
    for (url, format) in [
        ("http://ann:hunter2hush@127.0.0.1:1/x?key=AbC-hush-123".to_owned(), &text),
        (format!("http://ann:hunter2hush@{http}/nowhere?key=AbC-hush-123#hush"), &text),
        (format!("http://ann:hunter2hush@{http}/nowhere?key=AbC-hush-123"), &in_json),
        ("http://ann:hunter2/hush@127.0.0.1:1/x".to_owned(), &text),
        ("http://ann:hunter2?hush@127.0.0.1:1/x".to_owned(), &text),
        ("http://ann/hunter2:hush@127.0.0.1:1/x".to_owned(), &text),
    ] {
        let path = stage.path("federated.json");
        let file = json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "credential_source": {"url": url, "format": format},
        });
        std::fs::write(&path, file.to_string()).unwrap();
        let source = Source::of(Credential::CredentialsFile(path));
        let failure = stage.fetch(&source).unwrap_err();
        let (before, fully) = stage.described(&source);
        let said = format!("{failure} {failure:?} {before:?} {fully:?} {}", stage.said.text());
        assert!(!said.contains("hush") && !said.contains("hunter2"), "{url}: {said}");
    }
}
