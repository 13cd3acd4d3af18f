//! The control routes under `/emulator`: plain JSON, no token needed, never recorded. They show secrets: bind to loopback.

use crate::{
    archive::StoredInstance, fault::Fault, federation::Provider, gauges::Gauges, iam::Grants, oauth,
    rsa_key::KeyError, settings::Settings, subject, world::World,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

type Shared = State<Arc<World>>;

pub(crate) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/emulator", get(about))
        .route("/emulator/requests", get(requests).delete(clear_requests))
        .route("/emulator/gauges", get(gauges).delete(reset_gauges))
        .route("/emulator/instances", get(instances))
        .route("/emulator/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/emulator/settings", get(settings).patch(change_settings))
        .route("/emulator/service-account-key", get(service_account_key).post(rotate_service_account_key))
        .route("/emulator/tokens", post(mint_token).delete(revoke_tokens))
        .route("/emulator/subject-token", post(subject_token))
        .route("/emulator/impersonation", post(allow_impersonation).delete(deny_impersonation))
        .route("/emulator/refresh-token", axum::routing::delete(revoke_refresh_token))
}

async fn about(State(world): Shared) -> Json<Value> {
    Json(json!({
        "urls": world.urls,
        "token_urls": world.token_urls(),
        "metadata_host": world.metadata_host,
        "stores": world.archive.stores(),
        "ca_pem": world.identity().ca_certificate_pem,
    }))
}

async fn requests(State(world): Shared) -> Response {
    Json(world.record.seen()).into_response()
}

async fn clear_requests(State(world): Shared) -> StatusCode {
    world.record.clear();
    StatusCode::NO_CONTENT
}

async fn gauges(State(world): Shared) -> Json<Gauges> {
    Json(world.meters.read())
}

async fn reset_gauges(State(world): Shared) -> StatusCode {
    world.meters.reset();
    StatusCode::NO_CONTENT
}

async fn instances(State(world): Shared) -> Json<Vec<StoredInstance>> {
    Json(world.archive.instances())
}

async fn faults(State(world): Shared) -> Json<Vec<Fault>> {
    Json(world.faults.list())
}

async fn add_fault(State(world): Shared, body: Bytes) -> Response {
    match serde_json::from_slice(&body) {
        Ok(fault) => {
            world.faults.add(fault);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => refuse(&error),
    }
}

async fn clear_faults(State(world): Shared) -> StatusCode {
    world.faults.clear();
    StatusCode::NO_CONTENT
}

async fn settings(State(world): Shared) -> Json<Settings> {
    Json(world.settings())
}

/// Only the members given are changed (RFC 7396).
async fn change_settings(State(world): Shared, body: Bytes) -> Response {
    let changed = serde_json::to_value(world.settings()).and_then(|mut merged| {
        let changes: serde_json::Map<String, Value> = serde_json::from_slice(&body)?;
        if let Some(object) = merged.as_object_mut() {
            object.extend(changes);
        }
        serde_json::from_value::<Settings>(merged)
    });
    match changed {
        Ok(new) => {
            world.change_settings(|settings| *settings = new.clone());
            Json(new).into_response()
        }
        Err(error) => refuse(&error),
    }
}

async fn service_account_key(State(world): Shared) -> Json<Value> {
    Json(key_file(&world))
}

async fn rotate_service_account_key(State(world): Shared) -> Response {
    let rotating = Arc::clone(&world);
    let rotate = move || rotating.change_identity(crate::identity::Identity::rotate_key);
    match tokio::task::spawn_blocking(rotate).await {
        Ok(Ok(())) => Json(key_file(&world)).into_response(),
        Ok(Err(error)) => failure(&error),
        Err(_) => failure(&KeyError::Rejected),
    }
}

fn key_file(world: &World) -> Value {
    let token_url = world.token_urls().pop().unwrap_or_default();
    let identity = world.identity();
    identity.service_account_key(&token_url, &identity.key.pkcs8_pem)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Minting {
    scope: String,
    lifetime_seconds: u64,
}

async fn mint_token(State(world): Shared, body: Bytes) -> Response {
    match serde_json::from_slice::<Minting>(&body) {
        Ok(asked) => {
            let scopes = asked.scope.split_whitespace().map(str::to_owned).collect();
            match oauth::mint(&world, scopes, asked.lifetime_seconds, world.service_account()) {
                Ok(token) => Json(json!({ "access_token": token })).into_response(),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.description).into_response(),
            }
        }
        Err(error) => refuse(&error),
    }
}

async fn revoke_tokens(State(world): Shared) -> StatusCode {
    world.revoke_tokens();
    StatusCode::NO_CONTENT
}

async fn revoke_refresh_token(State(world): Shared) -> StatusCode {
    world.change_identity(|identity| identity.refresh_token_revoked = true);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectToken {
    lifetime_seconds: u64,
}

async fn subject_token(State(world): Shared, body: Bytes) -> Response {
    match serde_json::from_slice::<SubjectToken>(&body) {
        Ok(asked) => match subject::jwt(&world, Provider::Oidc, asked.lifetime_seconds) {
            Ok(token) => Json(json!({ "subject_token": token })).into_response(),
            Err(error) => failure(&error),
        },
        Err(error) => refuse(&error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Impersonation {
    from: String,
    to: String,
}

async fn allow_impersonation(State(world): Shared, body: Bytes) -> Response {
    change_grants(&world, &body, |grants, pair| {
        grants.insert(pair);
    })
}

async fn deny_impersonation(State(world): Shared, body: Bytes) -> Response {
    change_grants(&world, &body, |grants, pair| {
        grants.remove(&pair);
    })
}

fn change_grants(world: &World, body: &[u8], change: impl FnOnce(&mut Grants, (String, String))) -> Response {
    match serde_json::from_slice::<Impersonation>(body) {
        Ok(Impersonation { from, to }) => {
            world.change_grants(|grants| change(grants, (from, to)));
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &serde_json::Error) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error.to_string() }))).into_response()
}

fn failure(error: &KeyError) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": error.to_string() }))).into_response()
}
