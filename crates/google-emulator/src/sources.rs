//! Where external subject tokens come from: a URL as other clouds have it, and the instance metadata service of AWS.

use crate::{
    clock::rfc3339,
    federation::{AWS_REGION, AWS_ROLE, Provider, URL_HEADER},
    rsa_key::random_bytes,
    serve::drain,
    subject,
    world::World,
};
use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use std::{collections::HashMap, sync::Arc};

/// The token itself, as text.
pub(crate) const TEXT_PATH: &str = "/external/subject-token";
/// The token as the member [`JSON_FIELD`] of an object.
pub(crate) const JSON_PATH: &str = "/external/subject-token.json";
pub(crate) const JSON_FIELD: &str = "access_token";
pub(crate) const IMDS_TOKEN_PATH: &str = "/latest/api/token";
pub(crate) const IMDS_ROLE_PATH: &str = "/latest/meta-data/iam/security-credentials";
pub(crate) const IMDS_ZONE_PATH: &str = "/latest/meta-data/placement/availability-zone";

/// Life of the subject tokens given out here, in seconds.
const SUBJECT_TOKEN_LIFETIME: u64 = 3_600;
/// Life of the role's credentials as announced, in seconds.
const ROLE_LIFETIME: u64 = 6 * 3_600;
/// The longest life of a session of the instance metadata service, in seconds.
const LONGEST_SESSION: u64 = 21_600;

/// Sessions of the instance metadata service by their token, with the second they end.
pub(crate) type Sessions = HashMap<String, i64>;

/// Answers one request to the URL that gives subject tokens.
pub(crate) async fn subject_token(State(world): State<Arc<World>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    drain(body, u64::MAX).await;
    let refuse = |status: StatusCode, text: &str| {
        (status, Json(json!({ "error": "invalid_request", "error_description": text }))).into_response()
    };
    if parts.method != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "Only GET is supported");
    }
    match parts.headers.get(URL_HEADER) {
        None => return refuse(StatusCode::BAD_REQUEST, "Required metadata header not specified"),
        Some(value) if *value != *world.federation().url_header_value => {
            return refuse(StatusCode::UNAUTHORIZED, "The metadata header's value is wrong");
        }
        Some(_) => {}
    }
    match subject::jwt(&world, Provider::Oidc, SUBJECT_TOKEN_LIFETIME) {
        Ok(token) if parts.uri.path() == JSON_PATH => {
            Json(json!({ JSON_FIELD: token, "expires_in": SUBJECT_TOKEN_LIFETIME })).into_response()
        }
        Ok(token) => ([(header::CONTENT_TYPE, "text/plain")], token).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Answers one request to the instance metadata service (version 2: a session first; version 1 where it is allowed).
pub(crate) async fn imds(State(world): State<Arc<World>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    drain(body, u64::MAX).await;
    match instance_metadata(&world, &parts) {
        Ok((kind, text)) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(status) => status.into_response(),
    }
}

fn instance_metadata(world: &World, parts: &Parts) -> Result<(&'static str, String), StatusCode> {
    let path = parts.uri.path();
    if path == IMDS_TOKEN_PATH {
        return Ok(("text/plain", session(world, parts)?));
    }
    if parts.method != Method::GET {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    check_session(world, &parts.headers)?;
    let role = format!("{IMDS_ROLE_PATH}/{AWS_ROLE}");
    match path {
        IMDS_ZONE_PATH => Ok(("text/plain", format!("{AWS_REGION}a"))),
        "/latest/meta-data/placement/region" => Ok(("text/plain", AWS_REGION.to_owned())),
        _ if path.trim_end_matches('/') == IMDS_ROLE_PATH => Ok(("text/plain", AWS_ROLE.to_owned())),
        _ if path == role => {
            let credentials = &world.federation().aws_role;
            let now = world.now();
            let body = json!({
                "Code": "Success",
                "LastUpdated": rfc3339(now),
                "Type": "AWS-HMAC",
                "AccessKeyId": credentials.access_key_id,
                "SecretAccessKey": credentials.secret_access_key,
                "Token": credentials.session_token,
                "Expiration": rfc3339(now.saturating_add_unsigned(ROLE_LIFETIME)),
            });
            // AWS says text/plain though it is JSON.
            Ok(("text/plain", format!("{body:#}")))
        }
        _ => Err(StatusCode::NOT_FOUND),
    }
}

/// Opens a session. What a proxy passed on is refused.
fn session(world: &World, parts: &Parts) -> Result<String, StatusCode> {
    if parts.method != Method::PUT {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    if ["x-forwarded-for", "via"].iter().any(|name| parts.headers.contains_key(*name)) {
        return Err(StatusCode::FORBIDDEN);
    }
    let seconds =
        parts.headers.get("x-aws-ec2-metadata-token-ttl-seconds").and_then(|value| value.to_str().ok());
    let seconds: u64 = seconds.and_then(|text| text.parse().ok()).ok_or(StatusCode::BAD_REQUEST)?;
    if !(1..=LONGEST_SESSION).contains(&seconds) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let random = random_bytes(40).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let token = format!("AQAEA{}==", STANDARD.encode(random).trim_end_matches('='));
    world.note_secret(&token);
    world.imds_sessions().insert(token.clone(), world.now().saturating_add_unsigned(seconds));
    Ok(token)
}

fn check_session(world: &World, headers: &HeaderMap) -> Result<(), StatusCode> {
    match headers.get("x-aws-ec2-metadata-token") {
        None if world.settings().imds_v2_required => Err(StatusCode::UNAUTHORIZED),
        None => Ok(()),
        Some(token) => {
            let ends = token.to_str().ok().and_then(|token| world.imds_sessions().get(token).copied());
            if ends.is_some_and(|ends| world.now() < ends) { Ok(()) } else { Err(StatusCode::UNAUTHORIZED) }
        }
    }
}
