//! A short run on damaged documents: the same at every run, so that what fails once fails again.

use google_emulator::{Emulator, SourceCredentials, SubjectForm, SubjectSource};

use super::*;

/// How many documents each target is given.
const CASES: u32 = 3000;
/// What is put in the place of something else.
const ODD: [&str; 16] = [
    "null",
    "0",
    "-1",
    "1e999",
    "18446744073709551616",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\" \"",
    "\"\\u0000\\r\\n\"",
    "\"\u{202e}\u{1f480}\"",
    "\"https://u:p@h/\"",
    "{\"",
    "\\",
    "\u{7f}",
];

/// Numbers that only look random (xorshift, G. Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(64) + 1)
    }

    /// One of the documents, damaged.
    fn damaged(&mut self, documents: &[Vec<u8>]) -> Vec<u8> {
        let mut document = documents[self.below(documents.len())].clone();
        for _ in 0..=self.below(4) {
            let length = document.len();
            match self.below(8) {
                0 => document.truncate(self.below(length + 1)),
                1 => {
                    if let Some(byte) = document.get_mut(self.below(length)) {
                        *byte ^= 1 << (self.0 % 8);
                    }
                }
                2 => drop(document.drain(self.range(length))),
                3 => {
                    let part = document[self.range(length)].to_vec();
                    let at = self.below(length + 1);
                    document.splice(at..at, part.repeat(1 + self.below(100)));
                }
                4 => {
                    let other = &documents[self.below(documents.len())];
                    let part = other[self.range(other.len())].to_vec();
                    document.splice(self.range(length), part);
                }
                // The other half of the damage leaves JSON to be JSON.
                _ => {
                    if let Ok(mut value) = serde_json::from_slice(&document) {
                        self.change(&mut value);
                        document = value.to_string().into_bytes();
                    }
                }
            }
        }
        document
    }

    fn change(&mut self, value: &mut Value) {
        match value {
            Value::Object(members) if !members.is_empty() && self.below(8) > 0 => {
                let at = self.below(members.len());
                let name = members.keys().nth(at).unwrap().clone();
                match self.below(6) {
                    0 => drop(members.remove(&name)),
                    1 => {
                        let other = members.values().nth(self.below(members.len())).unwrap().clone();
                        members.insert(name, other);
                    }
                    _ => self.change(&mut members[&name]),
                }
            }
            Value::String(text) if self.below(4) == 0 => *text = text.repeat(1 + self.below(2000)),
            _ => {
                let odd = ODD[self.below(ODD.len())];
                *value = serde_json::from_str(odd).unwrap_or_else(|_| odd.into());
            }
        }
    }
}

/// Gives the target damaged documents, and looks for what must not be told. Says how many gave a token.
fn run(target: fn(&[u8]) -> String, documents: &[Vec<u8>], secrets: &[String]) -> usize {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut granted = 0;
    let parts: Vec<&str> = secrets.iter().filter_map(|secret| secret.get(..TELLING)).collect();
    for number in 0..CASES {
        let at = usize::try_from(number).unwrap();
        let document = documents.get(at).cloned().unwrap_or_else(|| dice.damaged(documents));
        let shown = String::from_utf8_lossy(&document).into_owned();
        let said = std::panic::catch_unwind(|| target(&document)).unwrap_or_else(|_| panic!("on {shown}"));
        granted += usize::from(said.contains("AccessToken {"));
        if let Ok(Value::Object(_)) = serde_json::from_slice(&document) {
            continue;
        }
        // What is no JSON may hold a secret anywhere.
        assert!(!parts.iter().any(|part| said.contains(part)), "{said}\non {shown}");
    }
    granted
}

fn texts(documents: &[Value]) -> Vec<Vec<u8>> {
    documents.iter().map(|document| document.to_string().into_bytes()).collect()
}

/// Each with a byte before it, for targets that choose by it.
fn chosen(documents: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let choices = 0..8_u8;
    choices
        .flat_map(|choice| documents.iter().map(move |document| [&[choice], &document[..]].concat()))
        .collect()
}

const TOKEN: &str = "ya29.c.b0Aaekm1K-hush_hushHUSHhushHUSHhushHUSHhushHUSHhush";

fn answers() -> Vec<Vec<u8>> {
    let mut documents = texts(&[
        json!({"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"}),
        json!({"access_token": TOKEN, "expires_in": "3599", "token_type": "Bearer", "id_token": TOKEN, "scope": "openid"}),
        json!({"access_token": TOKEN, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer", "expires_in": 3600, "refresh_token": TOKEN}),
        json!({"accessToken": TOKEN, "expireTime": "2026-11-23T13:00:00Z"}),
        json!({"error": "invalid_grant", "error_description": "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.", "error_subtype": "invalid_rapt", "error_uri": "https://support.google.com/a/answer/9368756"}),
        json!({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "Permission 'iam.serviceAccounts.getAccessToken' denied", "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "IAM_PERMISSION_DENIED"}]}}),
    ]);
    documents.push(b"<html><title>Sign in</title><body>captive portal</body></html>".to_vec());
    documents
}

#[test]
fn credential_files() {
    let emulator = Emulator::builder().start().unwrap();
    let account = |source: &SubjectSource| emulator.external_account(source);
    let program =
        SubjectSource::Executable { command: "/bin/x --y".to_owned(), output_file: Some("z".into()) };
    let parse = |text: String| serde_json::from_str(&text).unwrap();
    let documents = texts(&[
        parse(emulator.service_account_key_json()),
        parse(emulator.service_account_key_pkcs1_json()),
        parse(emulator.authorized_user_json()),
        account(&SubjectSource::TextFile("subject".into()))
            .impersonating()
            .token_lifetime_seconds(600)
            .json(),
        account(&SubjectSource::WorkforceFile("subject".into())).json(),
        account(&SubjectSource::JsonUrl).json(),
        account(&program).json(),
        account(&SubjectSource::Aws).json(),
        emulator.external_account_authorized_user().json(),
        emulator.impersonated_service_account(SourceCredentials::ServiceAccount).delegates(&["a@b"]).json(),
        emulator.impersonated_service_account(SourceCredentials::AuthorizedUser).json(),
        emulator.gdch_service_account().json(),
    ]);
    // At the one server that the configuration in this world names.
    let at_google = |document: Vec<u8>| match String::from_utf8(document) {
        Ok(text) => text.replace(emulator.https_url(), "https://google.test").into_bytes(),
        Err(error) => error.into_bytes(),
    };
    let documents: Vec<Vec<u8>> = documents.into_iter().map(at_google).collect();
    let granted = run(credential_file, &documents, &emulator.secrets());
    assert!(granted > 100, "hardly one of them was a credential: {granted}");
}

#[test]
fn answers_of_token_endpoints() {
    for target in [token_answer, exchange_answer, impersonation_answer] {
        let granted = run(target, &chosen(&answers()), &[TOKEN.to_owned()]);
        assert!(granted > 20, "hardly one of them was an answer: {granted}");
    }
}

#[test]
fn outputs_of_programs() {
    let answer = |name: &str, kind: &str| json!({"version": 1, "success": true, "token_type": format!("urn:ietf:params:oauth:token-type:{kind}"), name: TOKEN, "expiration_time": 2_000_000_000});
    let documents = texts(&[
        answer("id_token", "id_token"),
        answer("id_token", "jwt"),
        answer("saml_response", "saml2"),
        json!({"version": 1, "success": false, "code": "401", "message": "Caller not authorized."}),
    ]);
    let granted = run(executable_output, &documents, &[TOKEN.to_owned()]);
    assert!(granted > 20, "hardly one of them was an answer: {granted}");
}

#[test]
fn subject_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::builder().start().unwrap();
    let path = folder.path().join("token");
    let mut documents = Vec::new();
    for form in [SubjectForm::Text, SubjectForm::Saml] {
        emulator.write_subject_token(form, &path, Duration::from_secs(60)).unwrap();
        let token = std::fs::read_to_string(&path).unwrap();
        documents.push(json!({"subject_token": token, "expires_in": 60}).to_string().into_bytes());
        documents.push(token.into_bytes());
    }
    let granted = run(subject_token, &chosen(&documents), &emulator.secrets());
    assert!(granted > 500, "hardly one of them was a token: {granted}");
}

#[test]
fn answers_of_aws() {
    let mut documents = texts(&[
        json!({"Code": "Success", "AccessKeyId": "ASIA0", "SecretAccessKey": TOKEN, "Token": TOKEN, "Expiration": "2026-11-23T18:00:00Z"}),
    ]);
    documents.extend([b"eu-central-1a".to_vec(), b"imaging\n".to_vec(), TOKEN.as_bytes().to_vec()]);
    let granted = run(aws_answer, &chosen(&documents), &[TOKEN.to_owned()]);
    assert!(granted > 50, "hardly one of them was an answer: {granted}");
}
