//! Delete, and the long-running operations that study and series deletions are (google.longrunning.Operation).

use super::address::Scope;
use crate::{
    archive::StoreName,
    clock::rfc3339,
    google_error::GoogleError,
    rsa_key::random_bytes,
    world::{World, lock},
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Deletes what `scope` names: `{}` for an instance, an operation for a study or series. The deletion is done at once;
/// the operation reports so after as many polls as the settings say.
pub(crate) async fn delete(
    world: &Arc<World>,
    store: &StoreName,
    scope: Scope,
    method: &str,
) -> Result<Response, GoogleError> {
    let Scope { study, series, instance } = scope;
    let study = study.ok_or_else(|| GoogleError::bad_request("missing StudyInstanceUID"))?;
    let single = instance.is_some();
    let (shared, owned_store, what) = (Arc::clone(world), store.clone(), (study, series, instance));
    let removal = move || {
        let (study, series, instance) = what;
        shared.archive.remove(&owned_store, &study, series.as_deref(), instance.as_deref())
    };
    let removed = tokio::task::spawn_blocking(removal).await.map_err(GoogleError::internal)?;
    let removed = removed.map_err(GoogleError::internal)?;
    if removed == 0 {
        return Err(GoogleError::not_found(if single {
            "DICOM instance does not exist."
        } else {
            "DICOM study or series does not exist."
        }));
    }
    if single {
        return Ok(Json(json!({})).into_response());
    }
    let name = new_name(store)?;
    let metadata = metadata(world, method, removed, &name);
    lock(&world.operations).insert(name.clone(), (metadata, world.settings().pending_polls));
    Ok(Json(json!({ "name": name })).into_response())
}

/// `GET /v1/{operation}`.
pub(crate) fn poll(world: &World, name: &str) -> Result<Response, GoogleError> {
    let mut operations = lock(&world.operations);
    let (metadata, pending) = operations
        .get_mut(name)
        .ok_or_else(|| GoogleError::not_found(format!("operation {name} not found")))?;
    let mut answer = json!({ "name": name, "metadata": metadata });
    let Some(object) = answer.as_object_mut() else { return Err(GoogleError::internal("no operation")) };
    if *pending > 0 {
        *pending -= 1;
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("endTime");
        }
    } else {
        object.insert("done".to_owned(), json!(true));
        object.insert("response".to_owned(), json!({ "@type": "type.googleapis.com/google.protobuf.Empty" }));
    }
    Ok(Json(answer).into_response())
}

fn new_name(store: &StoreName) -> Result<String, GoogleError> {
    let random = random_bytes(8).map_err(GoogleError::internal)?;
    let number = random.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    Ok(format!("{}/operations/{number}", store.dataset()))
}

fn metadata(world: &World, method: &str, removed: usize, name: &str) -> Value {
    let now = rfc3339(world.now());
    json!({
        "@type": "type.googleapis.com/google.cloud.healthcare.v1.OperationMetadata",
        "apiMethodName": method,
        "createTime": now,
        "endTime": now,
        "logsUrl": format!("https://console.cloud.google.com/logs/query?{name}"),
        "counter": { "success": removed.to_string() },
    })
}
