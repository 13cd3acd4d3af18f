//! External subject tokens: given out here, and checked as Google's security token service checks them.

use crate::{
    assertion::OAuthError,
    clock::rfc3339,
    federation::{Federation, ISSUER, Provider, SUBJECT, WORKFORCE_AUDIENCE},
    rsa_key::{KeyError, hex, random_bytes},
    world::World,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// How far in the future `iat` may lie, in seconds.
const CLOCK_SKEW: i64 = 10;

/// The longest that Google lets a subject token live, in seconds.
const LONGEST_LIFE: i64 = 24 * 3_600;

/// SAML assertions given out, with the second they end.
pub(crate) type Assertions = HashMap<String, i64>;

/// A JWT of the external identity provider, for the workload or the workforce pool.
pub(crate) fn jwt(world: &World, provider: Provider, lifetime: u64) -> Result<String, KeyError> {
    let (now, key) = (world.now(), &world.federation().provider_key.clone());
    let header = json!({ "alg": "ES256", "typ": "JWT", "kid": key.id });
    let claims = json!({
        "iss": ISSUER,
        "sub": if provider == Provider::Workforce { "radiologist" } else { SUBJECT },
        "aud": expected_audience(provider),
        "iat": now,
        "exp": now.saturating_add_unsigned(lifetime),
        "jti": hex(&random_bytes(8)?),
    });
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())?));
    world.note_secret(&token);
    Ok(token)
}

/// A SAML 2.0 response in base64. It carries no signature: Google's side recognises what was given out here.
pub(crate) fn saml(world: &World, lifetime: u64) -> Result<String, KeyError> {
    let (now, id) = (world.now(), hex(&random_bytes(16)?));
    let ends = now.saturating_add_unsigned(lifetime);
    let (issued, until) = (rfc3339(now), rfc3339(ends));
    let xml = format!(
        r#"<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns="urn:oasis:names:tc:SAML:2.0:assertion" ID="r{id}" Version="2.0" IssueInstant="{issued}"><Issuer>{ISSUER}</Issuer><Assertion ID="a{id}" Version="2.0" IssueInstant="{issued}"><Issuer>{ISSUER}</Issuer><Subject><NameID>{SUBJECT}</NameID></Subject><Conditions NotOnOrAfter="{until}"/></Assertion></samlp:Response>"#
    );
    let token = STANDARD.encode(xml);
    world.note_secret(&token);
    world.assertions().insert(token.clone(), ends);
    Ok(token)
}

/// Checks an ID token of the external identity provider (`OpenID` Connect Core section 3.1.3.7).
pub(crate) fn check_jwt(
    text: &str,
    provider: Provider,
    federation: &Federation,
    now: i64,
) -> Result<(), OAuthError> {
    let malformed = || OAuthError::invalid_grant("The given ID Token is malformed.");
    let (signed, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
    let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
    let header = object(header).ok_or_else(malformed)?;
    let claims = object(claims).ok_or_else(malformed)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
    let key = &federation.provider_key;
    if header.get("alg").is_none_or(|alg| alg != "ES256")
        || header.get("kid").is_none_or(|kid| *kid != *key.id)
        || !key.verifies(signed.as_bytes(), &signature)
    {
        return Err(OAuthError::invalid_grant("The signature of the ID Token could not be verified."));
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("iss") != ISSUER {
        let issuer = text("iss");
        return Err(OAuthError::invalid_grant(format!(
            "The issuer in ID Token {issuer} does not match the expected ones: {ISSUER}."
        )));
    }
    let (audience, expected) = (text("aud"), expected_audience(provider));
    if audience != expected {
        return Err(OAuthError::invalid_grant(format!(
            "The audience in ID Token [{audience}] does not match the expected audience {expected}."
        )));
    }
    let time = |name: &str| claims.get(name).and_then(Value::as_i64);
    match (time("iat"), time("exp")) {
        (Some(issued), Some(expires)) if expires - issued <= LONGEST_LIFE && issued <= now + CLOCK_SKEW => {
            if expires > now {
                Ok(())
            } else {
                Err(OAuthError::invalid_grant(format!("ID Token issued at {issued} is stale to sign-in.")))
            }
        }
        _ => Err(OAuthError::invalid_grant("The ID Token's iat and exp claims are not acceptable.")),
    }
}

/// Checks a SAML response: one that was given out, and is still good.
pub(crate) fn check_saml(text: &str, world: &World) -> Result<(), OAuthError> {
    let ends = world.assertions().get(text).copied();
    match ends {
        Some(ends) if world.now() < ends => Ok(()),
        Some(_) => Err(OAuthError::invalid_grant("The SAML assertion has expired.")),
        None => Err(OAuthError::invalid_grant("The SAML response could not be verified.")),
    }
}

fn expected_audience(provider: Provider) -> String {
    if provider == Provider::Workforce {
        WORKFORCE_AUDIENCE.to_owned()
    } else {
        format!("https:{}", provider.audience())
    }
}

fn object(segment: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(segment).ok()?;
    serde_json::from_slice(&bytes).ok()
}
