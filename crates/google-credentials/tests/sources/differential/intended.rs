//! Where we do otherwise than google-auth, on purpose.

use crate::comparison::{Intended, intended};

const PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
const FOR_ONE_AUDIENCE: &str =
    "x-goog-cloud-target-resource is signed as well, so that the request is good for one audience alone";
const DETECTION: &str = "google-auth asks about the machine before it asks for a token; the token's answer says whether it is there";

/// All of them. What is not here must agree, and what is here must occur.
#[rustfmt::skip]
pub(super) const INTENDED: &[Intended] = &[
    intended("header user-agent", concat!("orthanc-google-cloud-platform/", env!("CARGO_PKG_VERSION")), "*", "each says who it is"),
    intended("header x-goog-api-client", "-", "*", "Google counts its own libraries by it"),
    intended("header accept-encoding", "-", "gzip, deflate", "a token's answer is 1 kB: no decompressor in Orthanc's process for that"),
    intended("header connection", "-", "keep-alive", "the default of HTTP/1.1 (RFC 9112 section 9.3), need not be said"),
    intended("claim iat", "\"10 s ago\"", "\"0 s ago\"", "Google refuses assertions from the future, and clocks differ"),
    intended("assertion claim aud", "\"https://HOST/token\"", "\"https://oauth2.googleapis.com/token\"", "google-auth writes a constant; ours is the file's `token_uri`, which is the same in every file of Google's"),
    intended("POST /token | field scope", "-", PLATFORM, "a login's scopes were chosen with the login, and Google refuses others: with none it gives those"),
    intended("field delegates", "[]", "null", "the same to Google's JSON"),
    intended("field options", "{\"userProject\":\"demo\"}", "%7B%22userProject%22%3A%20%22demo%22%7D", "google-auth encodes twice; AIP-4117 wants JSON in a form"),
    intended("/default/token | query", "", "*", "google-auth asks for the scopes that the machine has, which it gives without being asked"),
    intended("/default/token | query", "scopes=https://www.googleapis.com/auth/cloud-healthcare,openid", "scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-healthcare%2Copenid", "the same query (RFC 3986 section 3.4 allows / : and , as they are)"),
    intended("service-accounts/default/ | sent", "-", "yes", DETECTION),
    intended("service-accounts/machine@demo.iam.gserviceaccount.com/ | sent", "-", "yes", DETECTION),
    intended("universe/universe-domain | sent", "-", "yes", "`UniverseDomain` says it"),
    intended("service-accounts/default/token | sent", "-", "yes", "google-auth asks for the default account's token whatever account was named"),
    intended("service-accounts/machine@demo.iam.gserviceaccount.com/token | sent", "yes", "-", "the account that was named is the one asked for"),
    intended("GET / | sent", "-", "yes", DETECTION),
    intended("project/project-id | sent", "-", "yes", "the store's project is the account's, whatever the machine's is"),
    intended("/latest/api/token (request 2) | sent", "-", "yes", "one session does for the region and the credentials"),
    intended("Authorization SignedHeaders", "host;x-amz-date;x-goog-cloud-target-resource", "host;x-amz-date", FOR_ONE_AUDIENCE),
    intended("Authorization SignedHeaders", "host;x-amz-date;x-amz-security-token;x-goog-cloud-target-resource", "host;x-amz-date;x-amz-security-token", FOR_ONE_AUDIENCE),
];
