//! AWS Signature Version 4, written a second time: what the emulator verifies is made here.

use super::{Google, now};
use google_emulator::{AwsCredentials, SubjectSource};
use ring::{digest, hmac};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write};

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The form `20250102T030405Z` of a time.
pub(crate) fn stamp(seconds: i64) -> String {
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
pub(crate) struct Signing {
    pub(crate) credentials: AwsCredentials,
    pub(crate) date: String,
    pub(crate) region: String,
    pub(crate) url: String,
    pub(crate) method: &'static str,
    /// Signed, in addition to `host`, `x-amz-date` and the session token.
    pub(crate) signed: BTreeMap<&'static str, String>,
    /// Added unsigned; an empty value takes away what is there.
    pub(crate) unsigned: Vec<(&'static str, String)>,
}

impl Signing {
    pub(crate) fn new(google: &Google, credentials: AwsCredentials) -> Self {
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
    pub(crate) fn serialize(self) -> String {
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
        let day = self.date.split('T').next().unwrap();
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

pub(crate) fn audience(google: &Google) -> String {
    google.emulator.external_account(&SubjectSource::Aws).json()["audience"].as_str().unwrap().to_owned()
}
