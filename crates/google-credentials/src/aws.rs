//! Subject tokens from AWS: a signed request that Google's STS sends in our place (AIP-4117, "AWS").

use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};
use serde_json::{Value, json};

use crate::{
    Failure, FailureKind, Request, Secret,
    asking::Asking,
    http::{Method, shown_url},
};

/// What RFC 3986 section 2.3 leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const REMEDY: &str = "check that this machine runs on AWS with a role attached, or set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION for Orthanc";

/// `credential_source` with `environment_id`: `aws1`.
#[derive(Debug, Clone)]
pub(crate) struct Aws {
    pub(crate) region_url: Option<String>,
    /// Lists the role; its credentials are below it.
    pub(crate) url: Option<String>,
    /// With `{region}`.
    pub(crate) regional_cred_verification_url: String,
    pub(crate) imdsv2_session_token_url: Option<String>,
}

/// AWS' own security credentials.
struct Credentials {
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Option<Secret>,
}

impl Aws {
    /// The serialized request, URL-encoded, that STS takes as a subject token.
    pub(crate) async fn subject_token(&self, asking: &Asking<'_>, audience: &str) -> Result<Secret, Failure> {
        let world = asking.world;
        let env = |name: &str| world.env(name).filter(|value| !value.is_empty());
        let of_environment = match (env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY")) {
            (Some(access_key_id), Some(secret)) => Some(Credentials {
                access_key_id,
                secret_access_key: Secret::new(secret),
                session_token: env("AWS_SESSION_TOKEN").map(Secret::new),
            }),
            _ => None,
        };
        let region = env("AWS_REGION").or_else(|| env("AWS_DEFAULT_REGION"));
        let session =
            if of_environment.is_some() && region.is_some() { None } else { self.session(asking).await? };
        let region = match region {
            Some(region) => region,
            None => self.region(asking, session.as_ref()).await?,
        };
        let credentials = match of_environment {
            Some(credentials) => credentials,
            None => self.credentials(asking, session.as_ref()).await?,
        };
        let url = self.regional_cred_verification_url.replace("{region}", &region);
        signed_request(&url, &region, audience, &credentials, world.now())
    }

    /// A session of `IMDSv2`, where the file names its address.
    async fn session(&self, asking: &Asking<'_>) -> Result<Option<Secret>, Failure> {
        let Some(url) = &self.imdsv2_session_token_url else { return Ok(None) };
        let request = Request::new(Method::Put, url)
            .header("X-aws-ec2-metadata-token-ttl-seconds", "300")
            .to_metadata_server();
        asking.text(&request, REMEDY).await.map(|token| Some(Secret::new(token)))
    }

    async fn region(&self, asking: &Asking<'_>, session: Option<&Secret>) -> Result<String, Failure> {
        // An availability zone: a region and a letter.
        let mut zone = get(asking, self.region_url.as_deref(), "region_url", session).await?;
        zone.pop();
        named(&zone, "-", "region_url", "region")?;
        Ok(zone)
    }

    async fn credentials(
        &self,
        asking: &Asking<'_>,
        session: Option<&Secret>,
    ) -> Result<Credentials, Failure> {
        let role = get(asking, self.url.as_deref(), "url", session).await?;
        // What IAM allows in a role's name.
        named(&role, "+=,.@_-", "url", "role")?;
        let url = format!("{}/{role}", self.url.as_deref().unwrap_or_default());
        let answer = get(asking, Some(&url), "url", session).await?;
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        let text = |name: &str| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        match (text("AccessKeyId"), text("SecretAccessKey")) {
            (Some(id), Some(secret)) => Ok(Credentials {
                access_key_id: id.to_owned(),
                secret_access_key: Secret::new(secret),
                session_token: text("Token").map(Secret::new),
            }),
            _ => Err(Failure::new(
                FailureKind::Transient,
                format!("{} gives no security credentials", shown_url(&url)),
                REMEDY,
            )),
        }
    }
}

async fn get(
    asking: &Asking<'_>,
    url: Option<&str>,
    member: &str,
    session: Option<&Secret>,
) -> Result<String, Failure> {
    let Some(url) = url else {
        let cause = format!(
            "the credential's `credential_source` lacks `{member}`, and the environment does not say it"
        );
        return Err(Failure::new(FailureKind::Configuration, cause, REMEDY));
    };
    let mut request = Request::new(Method::Get, url).to_metadata_server();
    if let Some(session) = session {
        request = request.secret_header("X-aws-ec2-metadata-token", session.expose());
    }
    asking.text(&request, REMEDY).await.map(|text| text.trim().to_owned())
}

/// Holds `text`, which becomes part of an address, to letters, digits and `others`: what answers may be anything.
fn named(text: &str, others: &str, member: &str, what: &str) -> Result<(), Failure> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || others.contains(character);
    if (1..=64).contains(&text.len()) && text.chars().all(allowed) {
        return Ok(());
    }
    let cause = format!("what the credential's `{member}` names did not answer with the name of a {what}");
    Err(Failure::new(FailureKind::Transient, cause, REMEDY))
}

/// Signs `POST {url}` with AWS Signature Version 4 and serializes it as AIP-4117 wants it.
fn signed_request(
    url: &str,
    region: &str,
    audience: &str,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<Secret, Failure> {
    let wrong = || {
        let cause = "`regional_cred_verification_url` is no address".to_owned();
        Failure::new(
            FailureKind::Configuration,
            cause,
            "create the file again with `gcloud iam workload-identity-pools create-cred-config`",
        )
    };
    let parsed = url::Url::parse(url).map_err(|_| wrong())?;
    let host = parsed.host_str().ok_or_else(wrong)?;
    let host = parsed.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
    let stamp = humantime::format_rfc3339_seconds(now).to_string().replace(['-', ':'], "");
    let mut headers = vec![("host".to_owned(), host), ("x-amz-date".to_owned(), stamp.clone())];
    if let Some(token) = &credentials.session_token {
        headers.push(("x-amz-security-token".to_owned(), token.expose().to_owned()));
    }
    headers.push(("x-goog-cloud-target-resource".to_owned(), audience.to_owned()));
    headers.sort();
    let authorization = authorization(&parsed, region, &stamp, &headers, credentials);
    headers.push(("Authorization".to_owned(), authorization));
    let headers: Vec<Value> =
        headers.into_iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    let request = json!({"url": url, "method": "POST", "headers": headers});
    Ok(Secret::new(utf8_percent_encode(&request.to_string(), UNRESERVED).to_string()))
}

/// The `Authorization` header of Signature Version 4, for a POST without a body; `headers` are in order and lower case.
fn authorization(
    url: &url::Url,
    region: &str,
    stamp: &str,
    headers: &[(String, String)],
    credentials: &Credentials,
) -> String {
    let mut query: Vec<String> = url
        .query_pairs()
        .map(|(name, value)| {
            format!("{}={}", utf8_percent_encode(&name, UNRESERVED), utf8_percent_encode(&value, UNRESERVED))
        })
        .collect();
    query.sort();
    let signed_headers: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let signed_headers = signed_headers.join(";");
    let canonical_headers: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical_headers = canonical_headers.concat();
    let canonical = format!(
        "POST\n{}\n{}\n{canonical_headers}\n{signed_headers}\n{}",
        url.path(),
        query.join("&"),
        sha256(b"")
    );
    let date: String = stamp.chars().take(8).collect();
    let scope = format!("{date}/{region}/sts/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let start = format!("AWS4{}", credentials.secret_access_key.expose());
    let key = [date.as_str(), region, "sts", "aws4_request"]
        .iter()
        .fold(start.into_bytes(), |key, part| sign(&key, part));
    let signature = hex(&sign(&key, &to_sign));
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed_headers}, Signature={signature}",
        credentials.access_key_id
    )
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signature was computed with botocore 1.40's `SigV4Auth` for the same request.
    #[test]
    fn the_signature_is_that_of_version_4() {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
        };
        let url = url::Url::parse(
            "https://sts.us-east-1.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
        )
        .unwrap();
        let headers = [
            ("host".to_owned(), "sts.us-east-1.amazonaws.com".to_owned()),
            ("x-amz-date".to_owned(), "20150830T123600Z".to_owned()),
        ];
        let header = authorization(&url, "us-east-1", "20150830T123600Z", &headers, &credentials);
        assert_eq!(
            header,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/sts/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5d0127c0c30e5d37ec488220bd15b058e0dbf1c17f31d2da6f73a1626d2fc696"
        );
    }
}
