//! The JWT of the JWT-bearer grant, checked claim by claim (RFC 7523 section 3, AIP-4112).

use crate::{identity::Identity, tokens::KNOWN_SCOPES};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

/// How far in the future `iat` may lie, in seconds. Google documents "small"; clients that hedge set `iat` 10 s back.
const CLOCK_SKEW: i64 = 10;

/// The longest life of an assertion, in seconds.
const LONGEST_LIFE: i64 = 3_600;

/// Audiences that Google accepts whatever the URL that was used.
const GOOGLES_AUDIENCES: [&str; 3] = [
    "https://oauth2.googleapis.com/token",
    "https://accounts.google.com/o/oauth2/token",
    "https://www.googleapis.com/oauth2/v4/token",
];

/// An OAuth error answer (RFC 6749 section 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OAuthError {
    pub(crate) status: u16,
    pub(crate) error: &'static str,
    pub(crate) description: String,
}

impl OAuthError {
    pub(crate) fn new(status: u16, error: &'static str, description: impl Into<String>) -> Self {
        Self { status, error, description: description.into() }
    }

    pub(crate) fn invalid_grant(description: impl Into<String>) -> Self {
        Self::new(400, "invalid_grant", description)
    }
}

/// The scopes that `assertion` may have, or what Google says against it. `own_urls` are the emulator's token URLs.
pub(crate) fn check(
    assertion: &str,
    identity: &Identity,
    own_urls: &[String],
    now: i64,
) -> Result<Vec<String>, OAuthError> {
    let malformed = || OAuthError::invalid_grant("Bad Request");
    let (signed, signature) = assertion.rsplit_once('.').ok_or_else(malformed)?;
    let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
    let header = object(header).ok_or_else(malformed)?;
    let claims = object(claims).ok_or_else(malformed)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;

    let text = |map: &Map<String, Value>, name: &str| map.get(name)?.as_str().map(str::to_owned);
    if text(&header, "alg").as_deref() != Some("RS256") {
        return Err(OAuthError::invalid_grant("Invalid JWT: alg must be RS256."));
    }
    if header.get("typ").is_some_and(|typ| typ != "JWT") {
        return Err(OAuthError::invalid_grant("Invalid JWT: typ must be JWT."));
    }
    let issuer =
        text(&claims, "iss").ok_or_else(|| OAuthError::invalid_grant("Invalid JWT: iss field missing."))?;
    if issuer != identity.client_email {
        return Err(OAuthError::invalid_grant("Invalid grant: account not found"));
    }
    let known_key = header.get("kid").is_none_or(|kid| *kid == Value::String(identity.key.id.clone()));
    if !known_key || !identity.key.verifies(signed.as_bytes(), &signature) {
        return Err(OAuthError::invalid_grant("Invalid JWT Signature."));
    }
    check_times(&claims, now)?;
    let audience = text(&claims, "aud").unwrap_or_default();
    if !GOOGLES_AUDIENCES.contains(&audience.as_str()) && !own_urls.contains(&audience) {
        return Err(OAuthError::invalid_grant(
            "Invalid JWT: Failed audience check. The right audience is https://oauth2.googleapis.com/token",
        ));
    }
    if text(&claims, "sub").is_some_and(|subject| subject != issuer) {
        return Err(OAuthError::new(
            401,
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the \
             scopes requested.",
        ));
    }
    let scope = text(&claims, "scope").unwrap_or_default();
    scopes(&scope).ok_or_else(|| {
        OAuthError::new(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
    })
}

/// The scopes of a space-separated list (RFC 6749 section 3.3), `None` when it is empty or one of them is unknown.
pub(crate) fn scopes(list: &str) -> Option<Vec<String>> {
    let scopes: Vec<String> = list.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
    let known = scopes.iter().all(|scope| KNOWN_SCOPES.contains(&scope.as_str()));
    (known && !scopes.is_empty()).then_some(scopes)
}

fn check_times(claims: &Map<String, Value>, now: i64) -> Result<(), OAuthError> {
    let time = |name| claims.get(name).and_then(Value::as_i64);
    let reasonable = match (time("iat"), time("exp")) {
        (Some(issued), Some(expires)) => {
            issued <= now + CLOCK_SKEW
                && expires > now - CLOCK_SKEW
                && issued < expires
                && expires - issued <= LONGEST_LIFE
                // An assertion from long ago with a far `exp` was refused above; this bounds both to the hour.
                && expires <= now + LONGEST_LIFE + CLOCK_SKEW
        }
        _ => false,
    };
    if reasonable {
        return Ok(());
    }
    Err(OAuthError::invalid_grant(
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp \
         values in the JWT claim.",
    ))
}

fn object(segment: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(segment).ok()?;
    serde_json::from_slice(&bytes).ok()
}
