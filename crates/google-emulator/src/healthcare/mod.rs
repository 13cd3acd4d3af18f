//! The Cloud Healthcare API's DICOMweb side: who may come in, and what each URL does.

mod address;
mod delete;
mod qido;
mod query;
mod stow;
mod stow_answer;
mod transcode;
mod wado;

pub(crate) use address::kind;
pub(crate) use stow_answer::PROCESSING_FAILURE;

use crate::{
    access::{HEALTHCARE, caller, check_quota_project},
    archive::{OnConflict, StoreName},
    fault::Aim,
    google_error::GoogleError,
    record::Connection,
    serve::drain,
    world::World,
};
use address::{Action, Address, Nowhere};
use axum::{
    body::{Body, BodyDataStream},
    extract::{Request, State},
    http::{Uri, header, request::Parts, uri::Authority},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use std::sync::Arc;
use stow::Target;

/// Bodies of everything but STOW are limited to 10 MB.
const LONGEST_OTHER_BODY: usize = 10 * 1024 * 1024;

/// Answers one request under `/v1` or `/v1beta1`.
pub(crate) async fn answer(State(world): State<Arc<World>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let result = dispatch(&world, &parts, &mut body).await;
    // A client that is still sending would not see an answer on a connection that is closed under it.
    drain(Body::from_stream(body), u64::MAX).await;
    result.unwrap_or_else(IntoResponse::into_response)
}

async fn dispatch(
    world: &Arc<World>,
    parts: &Parts,
    body: &mut BodyDataStream,
) -> Result<Response, GoogleError> {
    let address = address::parse(&parts.method, parts.uri.path()).map_err(|nowhere| match nowhere {
        Nowhere::Unknown => GoogleError::not_found("The requested URL was not found on this server."),
        Nowhere::NotOffered => {
            GoogleError::new(501, "google-emulator does not offer this part of the Healthcare API.")
        }
    })?;
    let (store, action) = match address {
        Address::Operation(name) => {
            caller(world, &parts.headers, &HEALTHCARE, "google.longrunning.Operations.GetOperation")?;
            return delete::poll(world, &name);
        }
        Address::Dicom { store, action } => (store, action),
    };
    let streams = action.streams();
    perform(world, parts, body, &store, action)
        .await
        .map_err(|error| GoogleError { streaming: streams, ..error })
}

async fn perform(
    world: &Arc<World>,
    parts: &Parts,
    body: &mut BodyDataStream,
    store: &StoreName,
    action: Action,
) -> Result<Response, GoogleError> {
    // An update there is in v1beta1 alone.
    let version = if matches!(action, Action::Update { .. }) { "v1beta1" } else { "v1" };
    let name = action.method_name();
    let method = format!("google.cloud.healthcare.{version}.dicomweb.DicomWebService.{name}");
    let principal = caller(world, &parts.headers, &HEALTHCARE, &method)?;
    check_quota_project(world, &parts.headers, &principal)?;
    let denied = world.settings().denied_principals.iter().any(|denied| denied == principal.name());
    if denied || !world.archive.has_store(store) {
        // Google does not tell a missing store from a forbidden one.
        let permission = action.permission();
        return Err(GoogleError::new(
            403,
            format!("Permission {permission} denied on resource '{store}' (or it may not exist)."),
        ));
    }
    if let Some(upstream) = &world.upstream {
        return upstream.answer(parts, body).await;
    }
    if !matches!(action, Action::Store { .. } | Action::Update { .. }) {
        refuse_long_body(body).await?;
    }
    let base = web_base(parts, store);
    let replaces = matches!(action, Action::Update { .. });
    match action {
        Action::Store { study } | Action::Update { study } => {
            let on_conflict = if replaces { OnConflict::Replace } else { OnConflict::Refuse };
            let aim = Aim::new(kind(&parts.method, parts.uri.path()), parts);
            let (world, store) = (Arc::clone(world), store.clone());
            stow::store(&Target { world, store, study, on_conflict, aim }, &base, parts, body).await
        }
        Action::Search(level, scope) => qido::search(world, store, level, &scope, parts),
        Action::Retrieve(scope) => wado::retrieve(world, store, &scope, &parts.headers).await,
        Action::Metadata(scope) => wado::metadata(world, store, &scope, &base, &parts.headers),
        Action::Delete(scope) => delete::delete(world, store, scope, &method).await,
    }
}

async fn refuse_long_body(body: &mut BodyDataStream) -> Result<(), GoogleError> {
    let mut read = 0;
    while let Some(Ok(chunk)) = body.next().await {
        read += chunk.len();
        if read > LONGEST_OTHER_BODY {
            return Err(GoogleError::new(413, "Request payload size exceeds the limit: 10485760 bytes."));
        }
    }
    Ok(())
}

/// The store's DICOMweb root as the client sees it, without a final slash.
fn web_base(parts: &Parts, store: &StoreName) -> String {
    let tls = parts.extensions.get::<Connection>().is_some_and(|connection| connection.tls);
    let scheme = if tls { "https" } else { "http" };
    let host = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(Authority::as_str)).unwrap_or("localhost");
    let version = version(&parts.uri);
    format!("{scheme}://{host}/{version}/{store}/dicomWeb")
}

fn version(uri: &Uri) -> &str {
    uri.path().split('/').nth(1).unwrap_or("v1")
}
