//! The subject token of AWS: a signed but unsent `GetCallerIdentity` request, verified as AWS would (Signature Version 4).

use crate::{
    clock::basic_iso8601,
    federation::{AwsCredentials, Federation},
    rsa_key::hex,
};
use ring::{digest, hmac};
use serde::Deserialize;
use std::collections::BTreeMap;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How far `x-amz-date` may lie from now, in seconds.
const CLOCK_SKEW: i64 = 15 * 60;

/// The request, in the JSON form that AIP-4117 gives it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsent {
    url: String,
    method: String,
    headers: Vec<Field>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    key: String,
    value: String,
}

/// The parts of the `Authorization` field.
struct Authorization<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

/// Checks the subject token `text` for the exchange with `audience` at the time `now`. The error is what is wrong.
pub(crate) fn check(text: &str, audience: &str, federation: &Federation, now: i64) -> Result<(), String> {
    if text.contains(['{', '"', ' ']) {
        return Err("the subject token is not URL-encoded".to_owned());
    }
    let decoded = percent_decode(text).ok_or("the subject token is not URL-encoded")?;
    let request: Unsent =
        serde_json::from_slice(&decoded).map_err(|error| format!("not a serialized request: {error}"))?;
    let mut headers = BTreeMap::new();
    for Field { key, value } in &request.headers {
        if headers.insert(key.to_ascii_lowercase(), value.as_str()).is_some() {
            return Err(format!("the header {key} is there twice"));
        }
    }
    let header =
        |name: &str| headers.get(name).copied().ok_or_else(|| format!("the header {name} is missing"));

    let target = header("x-goog-cloud-target-resource")?;
    if target.strip_prefix("https:").unwrap_or(target) != audience {
        return Err(format!("x-goog-cloud-target-resource {target} is not the audience"));
    }
    let (host, path, query) = parts(&request.url).ok_or("the URL is not one of AWS")?;
    let region = host.strip_prefix("sts.").and_then(|rest| rest.strip_suffix(".amazonaws.com"));
    let region = region.ok_or_else(|| format!("{host} is not a regional host of AWS STS"))?;
    if request.method != "POST" || path != "/" || header("host")? != host {
        return Err("the request is not a POST to the host's root".to_owned());
    }
    let query = canonical_query(query).ok_or("the query is malformed")?;
    if query != "Action=GetCallerIdentity&Version=2011-06-15" {
        return Err("the request is not GetCallerIdentity".to_owned());
    }

    let authorization = parse(header("authorization")?).ok_or("the Authorization header is malformed")?;
    let credentials = [&federation.aws_user, &federation.aws_role]
        .into_iter()
        .find(|credentials| credentials.access_key_id == authorization.access_key_id)
        .ok_or_else(|| {
            aws("InvalidClientTokenId", "The security token included in the request is invalid.")
        })?;
    if headers.get("x-amz-security-token").copied() != credentials.session_token.as_deref() {
        return Err(aws("InvalidClientTokenId", "The security token included in the request is invalid"));
    }
    let date = header("x-amz-date")?;
    let [earliest, latest] = [now - CLOCK_SKEW, now + CLOCK_SKEW].map(basic_iso8601);
    // The form is of fixed width, so the order of texts is the order of times.
    if date.len() != earliest.len() || date < earliest.as_str() || date > latest.as_str() {
        return Err(aws("SignatureDoesNotMatch", &format!("Signature expired or not yet current: {date}")));
    }
    if !date.starts_with(authorization.date) || authorization.region != region {
        return Err(aws(
            "SignatureDoesNotMatch",
            "Credential should be scoped to the date and a valid region.",
        ));
    }
    let canonical_headers = canonical_headers(authorization.signed_headers, &headers)?;
    let canonical_request = format!(
        "{}\n{path}\n{query}\n{canonical_headers}\n{}\n{}",
        request.method,
        authorization.signed_headers,
        sha256(b"")
    );
    if signature(credentials, &authorization, date, &canonical_request) == authorization.signature {
        return Ok(());
    }
    Err(aws(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and \
         signing method. Consult the service documentation for details.",
    ))
}

/// Google's words for an answer of AWS.
fn aws(kind: &str, message: &str) -> String {
    format!("Received invalid AWS response of type {kind} with error message: {message}")
}

/// Host, path and query of an https URL without port, user and fragment.
fn parts(url: &str) -> Option<(&str, &str, &str)> {
    let rest = url.strip_prefix("https://")?;
    let (before, query) = rest.split_once('?')?;
    let (host, path) = match before.find('/') {
        Some(at) => before.split_at(at),
        None => (before, "/"),
    };
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
    (plain && !query.contains('#')).then_some((host, path, query))
}

/// The query sorted by encoded name and value, encoded anew.
fn canonical_query(query: &str) -> Option<String> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((percent_encode(&percent_decode(name)?), percent_encode(&percent_decode(value)?)));
    }
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    Some(pairs.join("&"))
}

/// `name:value` lines of the signed headers, values trimmed and runs of spaces made one.
fn canonical_headers(signed: &str, headers: &BTreeMap<String, &str>) -> Result<String, String> {
    let names: Vec<&str> = signed.split(';').collect();
    if !names.is_sorted_by(|one, next| one < next) {
        return Err(aws("IncompleteSignature", "SignedHeaders must be in order, each once."));
    }
    let amz = headers.keys().map(String::as_str).filter(|name| name.starts_with("x-amz-"));
    for needed in amz.chain(["host"]) {
        if !names.contains(&needed) {
            let message = format!("'{needed}' must be a 'SignedHeader' in the AWS Authorization.");
            return Err(aws("SignatureDoesNotMatch", &message));
        }
    }
    let mut lines = String::new();
    for name in names {
        let value =
            headers.get(name).ok_or_else(|| aws("SignatureDoesNotMatch", &format!("no header {name}")))?;
        let value: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
        lines.extend([name, ":", &value.join(" "), "\n"]);
    }
    Ok(lines)
}

fn parse(field: &str) -> Option<Authorization<'_>> {
    let rest = field.strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
    let mut members = BTreeMap::new();
    for member in rest.split(',') {
        let (name, value) = member.trim().split_once('=')?;
        members.insert(name, value);
    }
    let mut scope = members.get("Credential")?.split('/');
    let (access_key_id, date, region) = (scope.next()?, scope.next()?, scope.next()?);
    let last = [scope.next(), scope.next(), scope.next()];
    let known = last == [Some("sts"), Some("aws4_request"), None] && members.len() == 3 && date.len() == 8;
    let (signed_headers, signature) = (members.get("SignedHeaders")?, members.get("Signature")?);
    known.then_some(Authorization { access_key_id, date, region, signed_headers, signature })
}

fn signature(
    credentials: &AwsCredentials,
    authorization: &Authorization<'_>,
    date: &str,
    canonical_request: &str,
) -> String {
    let scope = format!("{}/{}/sts/aws4_request", authorization.date, authorization.region);
    let string_to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256(canonical_request.as_bytes()));
    let start = format!("AWS4{}", credentials.secret_access_key).into_bytes();
    let key = [authorization.date, authorization.region, "sts", "aws4_request"]
        .into_iter()
        .fold(start, |key, step| hmac_sha256(&key, step));
    hex(&hmac_sha256(&key, &string_to_sign))
}

fn hmac_sha256(key: &[u8], message: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// RFC 3986 section 2.1: everything but unreserved characters is encoded, in capitals.
fn percent_encode(bytes: &[u8]) -> String {
    let mut out = String::new();
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex(&[byte]).to_uppercase());
        }
    }
    out
}

/// `None` where a percent sign is not followed by two hexadecimal digits.
pub(crate) fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            out.push(digit(bytes.next()?)? << 4 | digit(bytes.next()?)?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of "Deriving a signing key" in AWS's General Reference.
    #[test]
    fn signing_keys_are_derived_as_in_awss_documentation() {
        let start = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec();
        let steps = ["20120215", "us-east-1", "iam", "aws4_request"];
        let key = steps.into_iter().fold(start, |key, step| hmac_sha256(&key, step));
        assert_eq!(hex(&key), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");
    }

    #[test]
    fn queries_are_sorted_and_encoded_anew() {
        assert_eq!(canonical_query("b=2&a=%7e&a=1 x").unwrap(), "a=1%20x&a=~&b=2");
        assert_eq!(canonical_query("a=%zz"), None);
        assert_eq!(percent_decode("a%2Fb%"), None);
    }
}
