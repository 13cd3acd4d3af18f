//! What comes from outside, in any state: a function for each, which takes arbitrary bytes and panics where a promise is
//! broken. `fuzz/` feeds them from libFuzzer, the tests below from documents that were damaged at random.
//!
//! The promises: no panic; a failure's sentence is one line, of bounded length, and holds no secret of what was read; a token
//! can be sent as a header and lives for a while, but not for ever; a secret is not in any `Debug`.

use std::{
    io,
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::{
    BoxFuture, Command, CommandOutput, Credential, FileContent, Grant, Request, Response, Source,
    TransportError, World,
};

/// No sentence is longer, in characters.
const LONGEST_SENTENCE: usize = 4000;
/// So much of a secret counts as the secret.
const TELLING: usize = 20;
/// A token's longest life: the sum with a date must stay a date.
const LONGEST_LIFE: Duration = Duration::from_secs(366 * 24 * 3600);
/// What sentences say of their own accord.
const OUR_WORDS: [&str; 2] = ["-----BEGIN PRIVATE KEY-----", "urn:ietf:params:oauth:token-type:id_token"];
/// Members that hold a secret, in any of the documents.
const SECRET_MEMBERS: [&str; 12] = [
    "accessToken",
    "access_token",
    "client_secret",
    "id_token",
    "private_key",
    "refresh_token",
    "saml_response",
    "SecretAccessKey",
    "subject_token",
    "Token",
    "token",
    "x-identity-header",
];
const FILE: &str = "credential.json";
const SUBJECT_FILE: &str = "subject-token";
/// Where the file is asked for a token.
const TOKEN_URL: &str = "https://google.test/token";
const STATUSES: [u16; 8] = [200, 200, 200, 400, 401, 403, 429, 500];

/// The credential's file, of whatever type it says it has. Whatever it asks for, it is given.
pub fn credential_file(data: &[u8]) -> String {
    check(data, &Scripted { file: data.to_vec(), ..Scripted::default() })
}

/// The answer of a token endpoint; the first byte chooses the status.
pub fn token_answer(data: &[u8]) -> String {
    let file = json!({"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", "token_uri": TOKEN_URL});
    answered(&file, data, TOKEN_URL)
}

/// The answer of the token exchange; the first byte chooses the status.
pub fn exchange_answer(data: &[u8]) -> String {
    answered(&external(&json!({"file": SUBJECT_FILE})), data, TOKEN_URL)
}

/// The answer of `generateAccessToken`; the first byte chooses the status.
pub fn impersonation_answer(data: &[u8]) -> String {
    let mut file = external(&json!({"file": SUBJECT_FILE}));
    let url = "https://google.test/v1/projects/-/serviceAccounts/target@example.com:generateAccessToken";
    set(&mut file, "service_account_impersonation_url", url.into());
    answered(&file, data, url)
}

/// What a program prints, and what it left in its output file.
pub fn executable_output(data: &[u8]) -> String {
    let executable = json!({"command": "/bin/get-token", "output_file": SUBJECT_FILE});
    let file = external(&json!({"executable": executable})).to_string().into_bytes();
    let (printed, left) = data.split_at(data.len().min(usize::from(data.first().copied().unwrap_or(0)) * 8));
    let scripted = Scripted { file, printed: data.to_vec(), subject: left.to_vec(), ..Scripted::default() };
    let said = check(data, &scripted);
    check(data, &Scripted { printed: printed.to_vec(), subject: data.to_vec(), ..scripted }) + &said
}

/// A subject token in a file or at an address; the first byte chooses which, and whether it is text or JSON.
pub fn subject_token(data: &[u8]) -> String {
    let Some((choice, content)) = data.split_first() else { return String::new() };
    let format = json!({"type": "json", "subject_token_field_name": "subject_token"});
    let source = match choice % 4 {
        0 => json!({"file": SUBJECT_FILE}),
        1 => json!({"file": SUBJECT_FILE, "format": format}),
        2 => json!({"url": "https://subject.test/"}),
        _ => json!({"url": "https://subject.test/", "format": format}),
    };
    let file = external(&source).to_string().into_bytes();
    let answer = ("https://subject.test/".to_owned(), 200, content.to_vec());
    check(content, &Scripted { file, subject: content.to_vec(), answer, ..Scripted::default() })
}

/// What the AWS instance metadata service answers about region, role and credentials; the first byte chooses to which.
pub fn aws_answer(data: &[u8]) -> String {
    let Some((choice, content)) = data.split_first() else { return String::new() };
    let urls = [
        "https://aws.test/session",
        "https://aws.test/zone",
        "https://aws.test/role",
        "https://aws.test/role/x",
    ];
    let source = json!({
        "environment_id": "aws1",
        "imdsv2_session_token_url": urls[0],
        "region_url": urls[1],
        "url": urls[2],
        "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity",
    });
    let url = urls.get(usize::from(choice % 4)).copied().unwrap_or_default().to_owned();
    let file = external(&source).to_string().into_bytes();
    check(content, &Scripted { file, answer: (url, 200, content.to_vec()), ..Scripted::default() })
}

fn external(source: &Value) -> Value {
    json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b",
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "token_url": TOKEN_URL,
        "credential_source": source,
    })
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

fn answered(file: &Value, data: &[u8], url: &str) -> String {
    let Some((choice, body)) = data.split_first() else { return String::new() };
    let status = STATUSES.get(usize::from(*choice) % STATUSES.len()).copied().unwrap_or(200);
    let answer = (url.to_owned(), status, body.to_vec());
    check(body, &Scripted { file: file.to_string().into_bytes(), answer, ..Scripted::default() })
}

/// Asks once, and holds what comes of it against the promises. Gives what was said.
fn check(input: &[u8], world: &Scripted) -> String {
    let iam_uri = Some("https://google.test/".to_owned());
    let source = Source { iam_uri, ..Source::of(Credential::CredentialsFile(FILE.into())) };
    let Poll::Ready(outcome) = pin!(source.fetch(world)).poll(&mut Context::from_waker(Waker::noop())) else {
        // Nothing in this world is ever waited for.
        return "pending".to_owned();
    };
    let said = match &outcome {
        Ok(grant) => {
            check_grant(grant, world);
            format!("{grant:?}")
        }
        Err(failure) => {
            let sentence = failure.to_string();
            assert!(sentence.chars().count() <= LONGEST_SENTENCE, "{} characters", sentence.len());
            assert!(!sentence.chars().any(char::is_control), "more than one line: {sentence:?}");
            format!("{sentence} {failure:?}")
        }
    };
    for secret in secrets(input) {
        assert!(!said.contains(&secret), "a secret is told: {said}");
    }
    said
}

fn check_grant(grant: &Grant, world: &Scripted) {
    let token = grant.token.value.expose();
    assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()), "no header's value");
    assert!(grant.token.expires_at > world.now(), "given when it was over");
    assert!(grant.token.lifetime() <= LONGEST_LIFE, "for ever");
}

/// Texts that must not be told: parts of the values of [`SECRET_MEMBERS`] that stand nowhere else in the document.
fn secrets(input: &[u8]) -> Vec<String> {
    let Ok(document) = serde_json::from_slice::<Value>(input) else { return Vec::new() };
    let (mut secret, mut public) = (Vec::new(), OUR_WORDS.map(str::to_owned).to_vec());
    sort(&document, false, &mut secret, &mut public);
    let mut parts: Vec<String> = Vec::new();
    for text in secret {
        let characters: Vec<char> = text.chars().collect();
        parts.extend(characters.chunks_exact(TELLING).map(String::from_iter));
    }
    parts.retain(|part| !public.iter().any(|text: &String| text.contains(part.as_str())));
    parts
}

fn sort(value: &Value, is_secret: bool, secret: &mut Vec<String>, public: &mut Vec<String>) {
    match value {
        Value::String(text) => if is_secret { secret } else { public }.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| sort(value, is_secret, secret, public)),
        Value::Object(members) => {
            for (name, value) in members {
                public.push(name.clone());
                sort(value, SECRET_MEMBERS.contains(&name.as_str()), secret, public);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A world in which everything is there, at once.
#[derive(Clone)]
struct Scripted {
    file: Vec<u8>,
    subject: Vec<u8>,
    printed: Vec<u8>,
    /// Address, status and body of the one answer that is not as it should be.
    answer: (String, u16, Vec<u8>),
}

impl Default for Scripted {
    fn default() -> Self {
        let expires = 2_000_000_000;
        let printed = json!({"version": 1, "success": true, "token_type": "urn:ietf:params:oauth:token-type:id_token", "id_token": "of.the.program", "expiration_time": expires});
        Self {
            file: Vec::new(),
            subject: b"of.the.file".to_vec(),
            printed: printed.to_string().into_bytes(),
            answer: (String::new(), 200, Vec::new()),
        }
    }
}

impl World for Scripted {
    fn now(&self) -> SystemTime {
        // The day on which this was written.
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_435_200)
    }

    fn dice(&self) -> f64 {
        0.5
    }

    fn read_file(&self, path: &Path) -> io::Result<FileContent> {
        let bytes = if path == Path::new(FILE) { &self.file } else { &self.subject };
        Ok(FileContent { bytes: bytes.clone().into(), readable_by_others: false, writable_by_others: false })
    }

    fn env(&self, name: &str) -> Option<String> {
        (name == "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES").then(|| "1".to_owned())
    }

    fn run<'a>(&'a self, _: &'a Command) -> BoxFuture<'a, io::Result<CommandOutput>> {
        let output = CommandOutput { code: Some(0), stdout: self.printed.clone() };
        Box::pin(std::future::ready(Ok(output)))
    }

    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, TransportError>> {
        let good = if request.url.ends_with("/role") || request.url.ends_with("/zone") {
            "x".to_owned()
        } else if request.url.ends_with("/role/x") {
            json!({"AccessKeyId": "x", "SecretAccessKey": "x"}).to_string()
        } else if request.url.ends_with(":generateAccessToken") {
            json!({"accessToken": "of.iam", "expireTime": "2026-11-23T13:00:00Z"}).to_string()
        } else {
            json!({"access_token": "of.google", "expires_in": 3599, "token_type": "Bearer"}).to_string()
        };
        let (url, status, body) = &self.answer;
        let (status, body) =
            if request.url == *url { (*status, body.clone()) } else { (200, good.into_bytes()) };
        let response = Response { status, body, ..Response::default() };
        Box::pin(std::future::ready(Ok(response)))
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests;
