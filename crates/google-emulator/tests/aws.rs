//! AWS as a source of subject tokens: the instance metadata service, and signed `GetCallerIdentity` requests.

#[cfg(test)]
mod support;

use google_emulator::{AwsCredentials, CLOUD_PLATFORM, Route, SubjectSource};
use reqwest::blocking::RequestBuilder;
use ring::{digest, hmac};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write};
use support::{Google, now};

const ROLES: &str = "/latest/meta-data/iam/security-credentials";

fn imds(google: &Google, method: &str, path: &str) -> RequestBuilder {
    google.client.request(method.parse().unwrap(), format!("{}{path}", google.emulator.http_url()))
}

fn status(request: RequestBuilder) -> u16 {
    request.send().unwrap().status().as_u16()
}

fn session(google: &Google, seconds: &str) -> String {
    let request =
        imds(google, "PUT", "/latest/api/token").header("X-aws-ec2-metadata-token-ttl-seconds", seconds);
    request.send().unwrap().error_for_status().unwrap().text().unwrap()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The form `20250102T030405Z` of a time, by way of the emulator-independent `date` arithmetic of days.
fn stamp(seconds: i64) -> String {
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let leap = |year: i64| i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    while days >= 365 + leap(year) {
        days -= 365 + leap(year);
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{:02}T{hour:02}{minute:02}{second:02}Z", days + 1)
}

/// A request to be signed, and what is done to it afterwards.
struct Signing {
    credentials: AwsCredentials,
    date: String,
    region: String,
    url: String,
    method: &'static str,
    /// Signed, in addition to `host`, `x-amz-date` and the session token.
    signed: BTreeMap<&'static str, String>,
    /// Added unsigned; an empty value takes away what is there.
    unsigned: Vec<(&'static str, String)>,
}

impl Signing {
    fn new(google: &Google, credentials: AwsCredentials) -> Self {
        let region = google.emulator.aws_region().to_owned();
        Self {
            credentials,
            date: stamp(now()),
            url: format!("https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"),
            region,
            method: "POST",
            signed: BTreeMap::from([("x-goog-cloud-target-resource", audience(google))]),
            unsigned: Vec::new(),
        }
    }

    /// Signature Version 4, then the JSON of AIP-4117, not yet URL-encoded.
    fn serialize(self) -> String {
        let host = self.url.trim_start_matches("https://").split(['?', '/']).next().unwrap().to_owned();
        let mut headers = self.signed;
        headers.insert("host", host);
        headers.insert("x-amz-date", self.date.clone());
        if let Some(token) = &self.credentials.session_token {
            headers.insert("x-amz-security-token", token.clone());
        }
        let names: Vec<&str> = headers.keys().copied().collect();
        let names = names.join(";");
        let lines = headers
            .iter()
            .fold(String::new(), |text, (name, value)| format!("{text}{name}:{}\n", value.trim()));
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        let nothing = hex(digest::digest(&digest::SHA256, b""));
        let canonical = format!("{}\n/\n{query}\n{lines}\n{names}\n{nothing}", self.method);
        let day = &self.date[..8];
        let scope = format!("{day}/{}/sts/aws4_request", self.region);
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", self.date);
        let mut key = format!("AWS4{}", self.credentials.secret_access_key).into_bytes();
        for step in [day, &self.region, "sts", "aws4_request", &to_sign] {
            key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), step.as_bytes()).as_ref().to_vec();
        }
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            self.credentials.access_key_id,
            hex(key)
        );
        headers.insert("Authorization", authorization);
        for (name, value) in self.unsigned {
            if value.is_empty() {
                headers.remove(name);
            } else {
                headers.insert(name, value);
            }
        }
        let headers: Vec<Value> =
            headers.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        json!({ "url": self.url, "method": self.method, "headers": headers }).to_string()
    }
}

fn audience(google: &Google) -> String {
    google.emulator.external_account(&SubjectSource::Aws).json()["audience"].as_str().unwrap().to_owned()
}

fn percent_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

fn exchange(google: &Google, subject_token: &str) -> (u16, Value) {
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", &audience(google)),
            ("scope", CLOUD_PLATFORM),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", subject_token),
            ("subject_token_type", "urn:ietf:params:aws:token-type:aws4_request"),
        ])
        .finish();
    let request = google.client.post(format!("{}/v1/token", google.emulator.https_url())).body(body);
    let response = request.header("Content-Type", "application/x-www-form-urlencoded").send().unwrap();
    (response.status().as_u16(), response.json().unwrap())
}

#[test]
fn sessions_come_first_in_version_2() {
    let google = Google::start();
    let token = session(&google, "300");
    let get =
        |path: &str| imds(&google, "GET", path).header("X-aws-ec2-metadata-token", &token).send().unwrap();
    let zone = get("/latest/meta-data/placement/availability-zone").text().unwrap();
    assert_eq!(zone, format!("{}a", google.emulator.aws_region()));
    let role = get(ROLES).text().unwrap();
    let credentials: Value = get(&format!("{ROLES}/{role}")).json().unwrap();
    let known = google.emulator.aws_role_credentials();
    assert_eq!(credentials["Code"], "Success");
    assert_eq!(credentials["AccessKeyId"], known.access_key_id);
    assert_eq!(credentials["SecretAccessKey"], known.secret_access_key);
    assert_eq!(credentials["Token"], known.session_token.clone().unwrap());
    let secrets = google.emulator.secrets();
    assert!(
        [&token, &known.secret_access_key, &known.session_token.unwrap()]
            .iter()
            .all(|secret| secrets.contains(secret))
    );
    assert!(
        google.emulator.requests().iter().all(|seen| seen.route == Route::Imds && seen.status == Some(200))
    );

    assert_eq!(get(&format!("{ROLES}/nobody")).status(), 404);
    assert_eq!(status(imds(&google, "GET", ROLES)), 401, "version 1");
    assert_eq!(status(imds(&google, "GET", ROLES).header("X-aws-ec2-metadata-token", "wrong")), 401);
    google.emulator.set_clock_offset(301);
    assert_eq!(get(ROLES).status(), 401, "the session is over");
    google.emulator.change_settings(|settings| settings.imds_v2_required = false);
    assert_eq!(status(imds(&google, "GET", ROLES)), 200, "version 1 where it is allowed");
}

#[test]
fn sessions_are_opened_by_put_with_a_time_to_live() {
    let google = Google::start();
    let put = || imds(&google, "PUT", "/latest/api/token");
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds";
    assert_eq!(status(put()), 400);
    for (seconds, expected) in [("0", 400), ("21601", 400), ("x", 400), ("1", 200), ("21600", 200)] {
        assert_eq!(status(put().header(ttl, seconds)), expected, "{seconds}");
    }
    assert_eq!(status(put().header(ttl, "300").header("X-Forwarded-For", "10.0.0.1")), 403);
    assert_eq!(status(imds(&google, "GET", "/latest/api/token").header(ttl, "300")), 405);
}

#[test]
fn the_subject_tokens_url_asks_for_its_header() {
    let google = Google::start();
    for (source, is_json) in [(SubjectSource::TextUrl, false), (SubjectSource::JsonUrl, true)] {
        let source = google.emulator.external_account(&source).json()["credential_source"].clone();
        let (name, value) = source["headers"].as_object().unwrap().iter().next().unwrap();
        let get = || google.client.get(source["url"].as_str().unwrap());
        let text = get().header(name, value.as_str().unwrap()).send().unwrap().text().unwrap();
        let token = if is_json {
            let field = source["format"]["subject_token_field_name"].as_str().unwrap();
            serde_json::from_str::<Value>(&text).unwrap()[field].as_str().unwrap().to_owned()
        } else {
            text
        };
        assert_eq!(token.split('.').count(), 3);
        let secrets = google.emulator.secrets();
        assert!(secrets.contains(&token) && secrets.contains(&value.as_str().unwrap().to_owned()));
        assert_eq!(status(get()), 400);
        assert_eq!(status(get().header(name, "wrong")), 401);
    }
    assert!(google.emulator.requests().iter().all(|seen| seen.route == Route::Subject));
}

#[test]
fn good_signatures_are_exchanged() {
    let google = Google::start();
    let (role, user) = (google.emulator.aws_role_credentials(), google.emulator.aws_user_credentials());
    let make = |credentials: &AwsCredentials| Signing::new(&google, credentials.clone());
    let slash = |mut signing: Signing| {
        signing.url = signing.url.replace(".com?", ".com/?");
        signing
    };
    let unsigned_target = |mut signing: Signing| {
        let target = signing.signed.remove("x-goog-cloud-target-resource").unwrap();
        // As google-auth does: with the name of the resource outside the signature, here with the scheme.
        signing.unsigned.push(("x-goog-cloud-target-resource", format!("https:{target}")));
        signing
    };
    for signing in [make(&role), make(&user), slash(make(&role)), unsigned_target(make(&user))] {
        let (status, answer) = exchange(&google, &percent_encoded(&signing.serialize()));
        assert_eq!(status, 200, "{answer}");
    }
}

#[test]
fn every_flaw_of_a_signed_request_is_seen() {
    let google = Google::start();
    let role = google.emulator.aws_role_credentials();
    type Flaw = Box<dyn Fn(&mut Signing)>;
    let flaw = |change: fn(&mut Signing)| -> Flaw { Box::new(change) };
    for (name, words, flaw) in [
        ("secret", "SignatureDoesNotMatch", flaw(|signing| signing.credentials.secret_access_key.push('x'))),
        ("key id", "InvalidClientTokenId", flaw(|signing| signing.credentials.access_key_id.push('X'))),
        ("no session", "InvalidClientTokenId", flaw(|signing| signing.credentials.session_token = None)),
        (
            "unsigned session",
            "SignedHeader",
            flaw(|signing| {
                let token = signing.credentials.session_token.take().unwrap();
                signing.unsigned.push(("x-amz-security-token", token));
            }),
        ),
        ("old", "SignatureDoesNotMatch", flaw(|signing| signing.date = stamp(now() - 1_000))),
        ("early", "SignatureDoesNotMatch", flaw(|signing| signing.date = stamp(now() + 1_000))),
        (
            "redated",
            "does not match",
            flaw(|signing| signing.unsigned.push(("x-amz-date", stamp(now() - 60)))),
        ),
        ("region", "Credential should be scoped", flaw(|signing| signing.region = "us-east-1".to_owned())),
        ("method", "not a POST", flaw(|signing| signing.method = "GET")),
        ("http", "not one of AWS", flaw(|signing| signing.url = signing.url.replace("https:", "http:"))),
        (
            "host",
            "not a regional host",
            flaw(|signing| signing.url = signing.url.replace("amazonaws", "example")),
        ),
        ("action", "not GetCallerIdentity", flaw(|signing| signing.url = signing.url.replace("Get", "Set"))),
        (
            "other host",
            "not a POST to the host's root",
            flaw(|signing| signing.unsigned.push(("host", "sts.example.com".to_owned()))),
        ),
        (
            "target",
            "is not the audience",
            flaw(|signing| {
                signing.unsigned.push(("x-goog-cloud-target-resource", "//iam.googleapis.com/x".to_owned()));
            }),
        ),
        (
            "no target",
            "x-goog-cloud-target-resource is missing",
            flaw(|signing| signing.unsigned.push(("x-goog-cloud-target-resource", String::new()))),
        ),
        (
            "no date",
            "x-amz-date is missing",
            flaw(|signing| signing.unsigned.push(("x-amz-date", String::new()))),
        ),
        (
            "no signature",
            "authorization is missing",
            flaw(|signing| signing.unsigned.push(("Authorization", String::new()))),
        ),
        (
            "another algorithm",
            "Authorization header is malformed",
            flaw(|signing| signing.unsigned.push(("Authorization", "AWS4-ECDSA-P256-SHA256 x".to_owned()))),
        ),
        (
            "unsigned x-amz header",
            "SignedHeader",
            flaw(|signing| signing.unsigned.push(("x-amz-target", "x".to_owned()))),
        ),
    ] {
        let mut signing = Signing::new(&google, role.clone());
        flaw(&mut signing);
        let (status, answer) = exchange(&google, &percent_encoded(&signing.serialize()));
        assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")), "{name}");
        let said = answer["error_description"].as_str().unwrap();
        assert!(said.contains(words), "{name}: {said}");
    }
    let plain = Signing::new(&google, role.clone()).serialize();
    let (status, answer) = exchange(&google, &plain);
    assert_eq!((status, &answer["error_description"]), (400, &json!("the subject token is not URL-encoded")));
    let extended = plain.replacen('{', "{\"body\":\"x\",", 1);
    assert_eq!(exchange(&google, &percent_encoded(&extended)).0, 400);
    let twice = plain.replacen("\"headers\":[", "\"headers\":[{\"key\":\"Host\",\"value\":\"x\"},", 1);
    let (_, answer) = exchange(&google, &percent_encoded(&twice));
    assert!(answer["error_description"].as_str().unwrap().contains("twice"), "{answer}");
    assert!(google.emulator.requests().iter().all(|seen| seen.route == Route::Sts));
}
