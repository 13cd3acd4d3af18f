//! Service-account keys: the JWT bearer grant (RFC 7523 section 2.1, AIP-4112).

mod rsa_key;

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::{Value, json};

use crate::{
    AccessToken, Failure, FailureKind, Field, Secret, credential_file::CredentialFile,
    source::DEFAULT_TOKEN_URI,
};
use rsa_key::rsa_key;

/// The longest that Google lets an assertion live.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(3600);
/// Google refuses an assertion from the future: so much may this machine's clock be fast.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(10);

/// A service account's key, as its JSON file holds it.
pub(crate) struct ServiceAccountKey {
    pub(crate) client_email: String,
    /// Which of the account's keys it is, where the file says so: the header's `kid` (RFC 7515 section 4.1.4) is optional.
    private_key_id: Option<String>,
    key: RsaKeyPair,
    pub(crate) token_uri: Option<String>,
}

impl ServiceAccountKey {
    pub(crate) fn read(file: &CredentialFile) -> Result<Self, Failure> {
        Ok(Self {
            client_email: file.mandatory("client_email")?.to_owned(),
            private_key_id: file.extra("private_key_id"),
            key: rsa_key(file.secret("private_key")?.expose()).map_err(|what| {
                file.wrong_with(
                    &format!("holds a `private_key` that is no RSA key in PEM: {what}"),
                    "create a new key with `gcloud iam service-accounts keys create`, put its file in place and do not edit it",
                )
            })?,
            token_uri: file.token_endpoint("token_uri")?,
        })
    }

    /// The fields of the token request (RFC 7523 section 2.1) for `scopes`, separated by spaces.
    pub(crate) fn form(&self, scopes: &str, now: SystemTime) -> Result<Vec<(&'static str, Field)>, Failure> {
        let assertion = self.assertion(scopes, now)?;
        Ok(vec![
            ("grant_type", Field::Plain("urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned())),
            ("assertion", Field::Secret(assertion)),
        ])
    }

    /// A token that the service account signs itself, which asks no token endpoint (AIP-4111, with scopes).
    pub(crate) fn self_signed(&self, scopes: &str, now: SystemTime) -> Result<AccessToken, Failure> {
        let (issued_at, expires_at) = lifetime(now);
        let value = self.signed(&json!({
            "iss": self.client_email,
            "sub": self.client_email,
            "scope": scopes,
            "iat": issued_at,
            "exp": expires_at,
        }))?;
        Ok(AccessToken { value, obtained_at: now, expires_at: now + ASSERTION_LIFETIME - CLOCK_TOLERANCE })
    }

    /// The signed assertion (RFC 7523 section 3).
    fn assertion(&self, scopes: &str, now: SystemTime) -> Result<Secret, Failure> {
        let (issued_at, expires_at) = lifetime(now);
        // The audience is the endpoint that the key's file names, not the way that the request takes to it.
        self.signed(&json!({
            "iss": self.client_email,
            "scope": scopes,
            "aud": self.token_uri.as_deref().unwrap_or(DEFAULT_TOKEN_URI),
            "iat": issued_at,
            "exp": expires_at,
        }))
    }

    /// The claims as a signed token (RFC 7515 section 7.1).
    fn signed(&self, claims: &Value) -> Result<Secret, Failure> {
        let header = match &self.private_key_id {
            Some(id) => json!({"alg": "RS256", "typ": "JWT", "kid": id}),
            None => json!({"alg": "RS256", "typ": "JWT"}),
        };
        let mut token = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature).map_err(
            |ring::error::Unspecified| {
                let cause = format!("the assertion for {} could not be signed", self.client_email);
                Failure::new(FailureKind::Transient, cause, "it is tried again")
            },
        )?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Secret::new(token))
    }
}

/// When an assertion made `now` begins and ends, in seconds since 1970.
fn lifetime(now: SystemTime) -> (u64, u64) {
    let issued_at = now.checked_sub(CLOCK_TOLERANCE);
    let issued_at = issued_at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let issued_at = issued_at.unwrap_or_default().as_secs();
    (issued_at, issued_at + ASSERTION_LIFETIME.as_secs())
}
