//! Google's security token service: token exchange (RFC 8693, AIP-4117) and the refresh of workforce sessions.

use crate::{
    assertion::{OAuthError, scopes},
    federation::{Provider, workforce_principal},
    identity::PROJECT,
    oauth::{error_answer, form, mint, uncached},
    record::RequestNumber,
    rsa_key::random_bytes,
    serve::drain,
    sigv4::{self, percent_decode},
    subject,
    tokens::{CLOUD_PLATFORM, Principal},
    world::World,
};
use axum::{
    Extension, Json,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, Method, header},
    response::Response,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) const TOKEN_PATH: &str = "/v1/token";
pub(crate) const OAUTH_TOKEN_PATH: &str = "/v1/oauthtoken";

/// The longest body of an exchange, in bytes.
const LONGEST_BODY: usize = 1 << 20;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

type Fields = BTreeMap<String, String>;

/// Answers one request to the token exchange.
pub(crate) async fn token(
    State(world): State<Arc<World>>,
    Extension(number): Extension<RequestNumber>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match read(&world, number, &method, &headers, body)
        .await
        .and_then(|fields| exchange(&world, &headers, &fields))
    {
        Ok(answer) => uncached(Json(answer)),
        Err(error) => error_answer(&error),
    }
}

/// Answers one request to refresh a workforce session (`external_account_authorized_user`).
pub(crate) async fn oauth_token(
    State(world): State<Arc<World>>,
    Extension(number): Extension<RequestNumber>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match read(&world, number, &method, &headers, body)
        .await
        .and_then(|fields| refresh(&world, &headers, &fields))
    {
        Ok(answer) => uncached(Json(answer)),
        Err(error) => error_answer(&error),
    }
}

async fn read(
    world: &World,
    number: RequestNumber,
    method: &Method,
    headers: &HeaderMap,
    body: Body,
) -> Result<Fields, OAuthError> {
    if method != Method::POST {
        drain(body, u64::MAX).await;
        return Err(OAuthError::new(405, "invalid_request", "The token endpoint takes POST requests only."));
    }
    let body =
        to_bytes(body, LONGEST_BODY).await.map_err(|_| invalid_request("The body could not be read."))?;
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(invalid_request("Content-Type must be application/x-www-form-urlencoded."));
    }
    let fields = form(&body)?;
    world.record.note_fields(number, &fields);
    Ok(fields)
}

fn exchange(world: &World, headers: &HeaderMap, fields: &Fields) -> Result<Value, OAuthError> {
    let required = |name: &str| required(fields, name);
    let subject_token = fields.get("subject_token");
    if let Some(token) = subject_token {
        world.note_secret(token);
    }
    let client = client(world, headers)?;
    if required("grant_type")? != EXCHANGE {
        return Err(OAuthError::new(400, "unsupported_grant_type", "Invalid value for \"grant_type\"."));
    }
    if required("requested_token_type")? != ACCESS_TOKEN {
        return Err(invalid_request("Invalid value for \"requested_token_type\"."));
    }
    let audience = required("audience")?;
    let provider = Provider::named(audience).ok_or_else(|| {
        OAuthError::new(
            400,
            "invalid_target",
            "The target service indicated by the \"audience\" parameters is invalid. This might either be because the pool or \
             provider is disabled or deleted or because it doesn't exist.",
        )
    })?;
    let scope = required("scope")?;
    let scopes =
        scopes(scope).ok_or_else(|| OAuthError::new(400, "invalid_scope", "Invalid value for \"scope\"."))?;
    check_options(provider, client, fields.get("options").map(String::as_str))?;
    let (kind, token) = (required("subject_token_type")?, required("subject_token")?);
    let now = world.now();
    match (provider, kind) {
        (
            Provider::Oidc | Provider::Workforce,
            "urn:ietf:params:oauth:token-type:jwt" | "urn:ietf:params:oauth:token-type:id_token",
        ) => subject::check_jwt(token, provider, world.federation(), now)?,
        (Provider::Saml, "urn:ietf:params:oauth:token-type:saml2") => subject::check_saml(token, world)?,
        (Provider::Aws, "urn:ietf:params:aws:token-type:aws4_request") => {
            sigv4::check(token, audience, world.federation(), now).map_err(OAuthError::invalid_grant)?;
        }
        _ => return Err(invalid_request("Invalid value for \"subject_token_type\".")),
    }
    let lifetime = world.settings().token_lifetime_seconds;
    let access_token = mint(world, scopes, lifetime, Principal::Federated(provider.principal()))?;
    Ok(json!({
        "access_token": access_token,
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": expires_in(world, lifetime),
    }))
}

/// People of a workforce pool have no project: without an OAuth client the request must name one to charge.
fn check_options(provider: Provider, client: Client, options: Option<&str>) -> Result<(), OAuthError> {
    let named = options.map(user_project).transpose()?;
    match (provider, named, client) {
        (Provider::Workforce, Some(project), _) if project != PROJECT => Err(OAuthError::new(
            403,
            "unauthorized_client",
            format!(
                "Caller does not have the permission serviceusage.services.use on the user project {project}."
            ),
        )),
        (Provider::Workforce, None, Client::Absent) => Err(invalid_request(
            "The userProject option is required for workforce pools without an OAuth client.",
        )),
        (Provider::Oidc | Provider::Saml | Provider::Aws, Some(_), _) => {
            Err(invalid_request("The userProject option is for workforce pools only."))
        }
        _ => Ok(()),
    }
}

/// The `options` are JSON; Google's own clients percent-encode it once more or do not.
fn user_project(options: &str) -> Result<String, OAuthError> {
    let wrong = || invalid_request("Invalid value for \"options\".");
    let decoded = if options.starts_with('{') {
        options.as_bytes().to_vec()
    } else {
        percent_decode(options).ok_or_else(wrong)?
    };
    let members: BTreeMap<String, String> = serde_json::from_slice(&decoded).map_err(|_| wrong())?;
    match members.iter().next() {
        Some((name, project)) if name == "userProject" && members.len() == 1 => Ok(project.clone()),
        _ => Err(wrong()),
    }
}

fn refresh(world: &World, headers: &HeaderMap, fields: &Fields) -> Result<Value, OAuthError> {
    if client(world, headers)? == Client::Absent {
        return Err(OAuthError::new(401, "invalid_client", "Client authentication is required."));
    }
    if required(fields, "grant_type")? != "refresh_token" {
        return Err(OAuthError::new(400, "unsupported_grant_type", "Invalid value for \"grant_type\"."));
    }
    let given = required(fields, "refresh_token")?;
    world.note_secret(given);
    let rotated = {
        let mut current = world.workforce_refresh_token();
        if *current != given {
            return Err(OAuthError::invalid_grant("The refresh token is invalid or has expired."));
        }
        if world.settings().rotate_refresh_tokens {
            let new =
                random_bytes(72).map_err(|error| OAuthError::new(500, "server_error", error.to_string()))?;
            *current = format!("1//wf{}", URL_SAFE_NO_PAD.encode(new));
            world.note_secret(&current);
            Some(current.clone())
        } else {
            None
        }
    };
    let lifetime = world.settings().token_lifetime_seconds;
    let scopes = vec![CLOUD_PLATFORM.to_owned(), "openid".to_owned()];
    let access_token = mint(world, scopes, lifetime, Principal::Federated(workforce_principal()))?;
    let mut answer = json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": expires_in(world, lifetime),
    });
    if let (Some(rotated), Some(object)) = (rotated, answer.as_object_mut()) {
        object.insert("refresh_token".to_owned(), json!(rotated));
    }
    Ok(answer)
}

fn expires_in(world: &World, lifetime: u64) -> Value {
    if world.settings().expires_in_as_string { json!(lifetime.to_string()) } else { json!(lifetime) }
}

/// Whether the request came from an OAuth client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    Absent,
    Known,
}

/// HTTP Basic client authentication (RFC 6749 section 2.3.1): absent, right, or refused.
fn client(world: &World, headers: &HeaderMap) -> Result<Client, OAuthError> {
    let Some(field) = headers.get(header::AUTHORIZATION) else { return Ok(Client::Absent) };
    let refused = || OAuthError::new(401, "invalid_client", "The OAuth client was not found.");
    let (scheme, encoded) = field.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(refused)?;
    world.note_secret(encoded);
    if !scheme.eq_ignore_ascii_case("Basic") {
        return Err(refused());
    }
    let known = &world.federation().workforce;
    let expected = format!("{}:{}", known.client_id, known.client_secret);
    match STANDARD.decode(encoded) {
        Ok(decoded) if decoded == expected.as_bytes() => Ok(Client::Known),
        _ => Err(refused()),
    }
}

fn required<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, OAuthError> {
    let value = fields.get(name).map(String::as_str).filter(|value| !value.is_empty());
    value.ok_or_else(|| invalid_request(&format!("Missing required parameter: {name}")))
}

fn invalid_request(text: &str) -> OAuthError {
    OAuthError::new(400, "invalid_request", text)
}
