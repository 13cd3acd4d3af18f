//! The token endpoint: `POST /token` (RFC 6749 sections 3.2, 4.5 and 6; RFC 7523).

use crate::{
    assertion::{self, OAuthError},
    record::RequestNumber,
    serve::drain,
    tokens::{CLOUD_PLATFORM, Principal, Token, token_text},
    world::World,
};
use axum::{
    Extension, Json,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// The longest body of a token request, in bytes: an assertion has about one thousand.
const LONGEST_BODY: usize = 1 << 20;

/// The scopes that the user gave to the OAuth client, as `gcloud auth application-default login` asks for them.
const USERS_SCOPES: [&str; 4] = [
    "https://www.googleapis.com/auth/userinfo.email",
    "https://www.googleapis.com/auth/sqlservice.login",
    CLOUD_PLATFORM,
    "openid",
];

/// The user behind the authorized-user credential.
pub(crate) const USER: &str = "user@example.com";

/// Answers one request to the token endpoint.
pub(crate) async fn token(
    State(world): State<Arc<World>>,
    Extension(number): Extension<RequestNumber>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if method != Method::POST {
        drain(body, u64::MAX).await;
        let error = OAuthError::new(405, "invalid_request", "The token endpoint takes POST requests only.");
        return answer(&world, Err(error));
    }
    let result = match to_bytes(body, LONGEST_BODY).await {
        Ok(body) => fields(&headers, &body).and_then(|fields| {
            world.record.note_fields(number, &fields);
            grant(&world, &fields)
        }),
        Err(_) => Err(OAuthError::new(400, "invalid_request", "The body could not be read.")),
    };
    answer(&world, result)
}

/// The request's parameters: a form as RFC 6749 has it, or JSON, which Google takes too.
fn fields(headers: &HeaderMap, body: &[u8]) -> Result<BTreeMap<String, String>, OAuthError> {
    let invalid = |text: &str| OAuthError::new(400, "invalid_request", text);
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/x-www-form-urlencoded" => form(body),
        "application/json" => {
            let parsed: Value =
                serde_json::from_slice(body).map_err(|_| invalid("Invalid JSON payload received."))?;
            let object = parsed.as_object().ok_or_else(|| invalid("Invalid JSON payload received."))?;
            Ok(object
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect())
        }
        _ => Err(invalid("Content-Type must be application/x-www-form-urlencoded or application/json.")),
    }
}

/// The parameters of a form, none of which may come twice (RFC 6749 section 3.2).
pub(crate) fn form(body: &[u8]) -> Result<BTreeMap<String, String>, OAuthError> {
    let mut fields = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(body) {
        if fields.insert(name.clone().into_owned(), value.into_owned()).is_some() {
            let text = format!("Parameter not allowed more than once: {name}");
            return Err(OAuthError::new(400, "invalid_request", text));
        }
    }
    Ok(fields)
}

/// What a successful grant gives.
struct Granted {
    access_token: String,
    lifetime: u64,
    /// Only a refresh-token grant says which scopes the token has.
    scope: Option<String>,
    principal: Principal,
}

fn grant(world: &World, fields: &BTreeMap<String, String>) -> Result<Granted, OAuthError> {
    let field = |name: &str| fields.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let required = |name: &str| {
        field(name).ok_or_else(|| {
            OAuthError::new(400, "invalid_request", format!("Missing required parameter: {name}"))
        })
    };
    match required("grant_type")? {
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => by_assertion(world, required("assertion")?),
        "refresh_token" => by_refresh_token(
            world,
            required("client_id")?,
            required("client_secret")?,
            required("refresh_token")?,
            field("scope"),
        ),
        other => Err(OAuthError::new(400, "unsupported_grant_type", format!("Invalid grant_type: {other}"))),
    }
}

fn by_assertion(world: &World, text: &str) -> Result<Granted, OAuthError> {
    world.note_secret(text);
    let (scopes, email) = {
        let identity = world.identity();
        let scopes = assertion::check(text, &identity, &world.token_urls(), world.now())?;
        (scopes, identity.client_email.clone())
    };
    issue(world, scopes, None, Principal::ServiceAccount(email))
}

fn by_refresh_token(
    world: &World,
    client_id: &str,
    client_secret: &str,
    refresh_token: &str,
    scope: Option<&str>,
) -> Result<Granted, OAuthError> {
    {
        let identity = world.identity();
        if client_id != identity.user.client_id {
            return Err(OAuthError::new(401, "invalid_client", "The OAuth client was not found."));
        }
        if client_secret != identity.user.client_secret {
            return Err(OAuthError::new(401, "invalid_client", "Unauthorized"));
        }
        if refresh_token != identity.user.refresh_token {
            return Err(OAuthError::invalid_grant("Bad Request"));
        }
        if identity.refresh_token_revoked {
            return Err(OAuthError::invalid_grant("Token has been expired or revoked."));
        }
    }
    let granted = USERS_SCOPES.map(str::to_owned).to_vec();
    let scopes = match scope {
        None => granted,
        Some(list) => {
            let asked: Vec<String> =
                list.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
            // A cloud-platform consent covers the narrower Healthcare scope, nothing else is implied.
            let covered = |scope: &String| granted.contains(scope) || scope == crate::CLOUD_HEALTHCARE;
            if asked.is_empty() || !asked.iter().all(covered) {
                return Err(OAuthError::new(400, "invalid_scope", "Some requested scopes were invalid."));
            }
            asked
        }
    };
    let list = scopes.join(" ");
    issue(world, scopes, Some(list), Principal::User(USER.to_owned()))
}

fn issue(
    world: &World,
    scopes: Vec<String>,
    scope: Option<String>,
    principal: Principal,
) -> Result<Granted, OAuthError> {
    let lifetime = world.settings().token_lifetime_seconds;
    let access_token = mint(world, scopes, lifetime, principal.clone())?;
    Ok(Granted { access_token, lifetime, scope, principal })
}

/// A new live token.
pub(crate) fn mint(
    world: &World,
    scopes: Vec<String>,
    lifetime: u64,
    principal: Principal,
) -> Result<String, OAuthError> {
    let text = token_text().map_err(|error| OAuthError::new(500, "server_error", error.to_string()))?;
    let expires_at = world.now().saturating_add_unsigned(lifetime);
    world.enter_token(text.clone(), Token { expires_at, scopes, principal });
    Ok(text)
}

fn answer(world: &World, result: Result<Granted, OAuthError>) -> Response {
    match result {
        Ok(granted) => uncached(Json(success(world, &granted))),
        Err(error) => error_answer(&error),
    }
}

/// An error as the token endpoints write it (RFC 6749 section 5.2).
pub(crate) fn error_answer(error: &OAuthError) -> Response {
    let mut body = json!({ "error": error.error });
    if !error.description.is_empty() {
        insert(&mut body, "error_description", json!(error.description));
    }
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    uncached((status, Json(body)))
}

/// Tokens must not be kept by caches (RFC 6749 section 5.1).
pub(crate) fn uncached(answer: impl IntoResponse) -> Response {
    let cache = [
        (header::CACHE_CONTROL, "no-cache, no-store, max-age=0, must-revalidate"),
        (header::PRAGMA, "no-cache"),
    ];
    (cache, answer).into_response()
}

fn success(world: &World, granted: &Granted) -> Value {
    let settings = world.settings();
    let expires_in = if settings.expires_in_as_string {
        json!(granted.lifetime.to_string())
    } else {
        json!(granted.lifetime)
    };
    let mut body = json!({
        "access_token": granted.access_token,
        "expires_in": expires_in,
        "token_type": "Bearer",
    });
    if let Some(scope) = &granted.scope {
        insert(&mut body, "scope", json!(scope));
    }
    if settings.id_token {
        let id_token = id_token(world, granted);
        world.note_secret(&id_token);
        insert(&mut body, "id_token", json!(id_token));
    }
    body
}

fn insert(body: &mut Value, name: &str, value: Value) {
    if let Some(object) = body.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

/// An ID token (`OpenID` Connect Core section 2). Google signs it with a key of its own; here the service account's serves,
/// since nobody checks it.
fn id_token(world: &World, granted: &Granted) -> String {
    let identity = world.identity();
    let now = world.now();
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": identity.key.id });
    let claims = json!({
        "iss": "https://accounts.google.com",
        "aud": identity.user.client_id,
        "sub": "113243434343434343434",
        "email": granted.principal.name(),
        "email_verified": true,
        "iat": now,
        "exp": now.saturating_add_unsigned(granted.lifetime),
    });
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let signature = identity.key.sign(signed.as_bytes()).unwrap_or_default();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
