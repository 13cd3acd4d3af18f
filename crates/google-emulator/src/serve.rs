//! One request from arrival to answer: recorded, struck by faults, routed.

use crate::{
    clock::http_date,
    control,
    fault::{Aim, Answer, Effect, Route},
    gauges::MeteredBody,
    google_error::GoogleError,
    healthcare, iam, metadata, oauth,
    record::{BodyBytes, Connection, Host},
    sources, sts,
    world::World,
};
use axum::{
    Router,
    body::Body,
    http::{HeaderName, HeaderValue, Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper_util::service::TowerToHyperService;
use std::{io, io::Write, sync::Arc, time::Duration};

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed by a fault")]
pub(crate) struct Aborted;

/// The routes of the pretend Google, faults not included.
pub(crate) fn routes(world: &Arc<World>) -> Router {
    Router::new()
        .route("/token", any(oauth::token))
        .route(sts::TOKEN_PATH, any(sts::token))
        .route(sts::OAUTH_TOKEN_PATH, any(sts::oauth_token))
        .route("/v1/projects/{project}/serviceAccounts/{resource}", any(iam::answer))
        .route(sources::TEXT_PATH, any(sources::subject_token))
        .route(sources::JSON_PATH, any(sources::subject_token))
        .route("/latest/{*path}", any(sources::imds))
        .route("/v1/{*path}", any(healthcare::answer))
        .route("/v1beta1/{*path}", any(healthcare::answer))
        .merge(control::routes())
        .fallback(nothing_here)
        .with_state(Arc::clone(world))
}

/// The routes of the metadata server.
pub(crate) fn metadata_routes(world: &Arc<World>) -> Router {
    Router::new().fallback(metadata::answer).with_state(Arc::clone(world))
}

/// What kind of request it is, for faults and the record.
fn kind(host: Host, method: &Method, path: &str) -> Route {
    match path {
        _ if host == Host::Metadata => Route::Metadata,
        "/token" => Route::Token,
        sts::TOKEN_PATH | sts::OAUTH_TOKEN_PATH => Route::Sts,
        sources::TEXT_PATH | sources::JSON_PATH => Route::Subject,
        _ if path.starts_with("/latest/") => Route::Imds,
        _ if path.starts_with("/v1/projects/") && path.contains("/serviceAccounts/") => Route::Iam,
        _ => healthcare::kind(method, path),
    }
}

async fn nothing_here(request: Request<Body>) -> GoogleError {
    drain(request.into_body(), u64::MAX).await;
    GoogleError::not_found("The requested URL was not found on this server.")
}

/// Answers one request, with whatever faults are in force.
pub(crate) async fn serve<B>(
    world: Arc<World>,
    routes: Router,
    connection: Connection,
    request: Request<B>,
) -> Result<Response, Aborted>
where
    B: axum::body::HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let control = path == "/emulator" || path.starts_with("/emulator/");
    if control && connection.host == Host::Apis {
        return Ok(route(routes, Request::from_parts(parts, Body::new(body))).await);
    }
    let kind = kind(connection.host, &parts.method, &path);
    let entered = world.meters.requests.enter();
    let (number, body_bytes) = world.record.begin(&parts, kind, connection);
    let body = counted(body_bytes.clone(), Body::new(body));
    let mut effects = world.faults.strike(&Aim::new(kind, &parts));
    for effect in &effects {
        if let Effect::Latency { milliseconds } = effect {
            tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
        }
    }
    effects.retain(|effect| !matches!(effect, Effect::Latency { .. }));

    let method = parts.method.clone();
    parts.extensions.insert(number);
    parts.extensions.insert(connection);
    let request = Request::from_parts(parts, body);
    let mut response = match effects.into_iter().next() {
        None => route(routes, request).await,
        Some(Effect::Answer(answer)) => {
            if answer.after_handling {
                let response = route(routes, request).await;
                drain(response.into_body(), u64::MAX).await;
            } else {
                drain(request.into_body(), u64::MAX).await;
            }
            false_answer(&answer)
        }
        Some(Effect::CutBody { after_bytes }) => cut(route(routes, request).await, after_bytes),
        Some(Effect::Reset { after_bytes }) => {
            drain(request.into_body(), after_bytes).await;
            return Err(Aborted);
        }
        Some(_) => {
            // A client that leaves in the middle of its body is not noticed any more once the body has failed.
            if !drain(request.into_body(), u64::MAX).await {
                return Err(Aborted);
            }
            std::future::pending().await
        }
    };
    if let Ok(date) = HeaderValue::from_str(&http_date(world.now())) {
        response.headers_mut().insert(header::DATE, date);
    }
    world.record.finish(number, response.status().as_u16());
    if world.verbose {
        access_line(connection, method.as_str(), &path, response.status(), body_bytes.read());
    }
    Ok(response.map(|body| Body::new(MeteredBody::new(body, entered))))
}

async fn route(routes: Router, request: Request<Body>) -> Response {
    match hyper::service::Service::call(&TowerToHyperService::new(routes), request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Reads and drops the body up to `bytes` of it; false where it broke off.
pub(crate) async fn drain(body: Body, bytes: u64) -> bool {
    let mut stream = body.into_data_stream();
    let mut read = 0;
    while read < bytes {
        match stream.next().await {
            Some(Ok(chunk)) => read += chunk.len() as u64,
            Some(Err(_)) => return false,
            None => break,
        }
    }
    true
}

fn counted(body_bytes: BodyBytes, body: Body) -> Body {
    Body::from_stream(body.into_data_stream().inspect_ok(move |chunk| body_bytes.add(chunk.len())))
}

fn false_answer(answer: &Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body.clone()).into_response();
    let json = HeaderValue::from_static("application/json; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The same answer, broken off in its body. A body of known length keeps announcing it, one of unknown length is chunked
/// and lacks its last chunk.
fn cut(response: Response, after_bytes: u64) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = axum::body::HttpBody::size_hint(&body).exact() {
        let announced = length.max(after_bytes.saturating_add(1));
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(announced));
    }
    let mut left = usize::try_from(after_bytes).unwrap_or(usize::MAX);
    let kept = body.into_data_stream().map_err(io::Error::other).scan((), move |(), chunk| {
        let chunk = chunk.map(|mut chunk| {
            chunk.truncate(left);
            left -= chunk.len();
            chunk
        });
        std::future::ready((!matches!(&chunk, Ok(bytes) if bytes.is_empty())).then_some(chunk))
    });
    let broken = stream::once(async {
        // What was written must have left before the connection is torn down.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(io::Error::other("cut by a fault"))
    });
    Response::from_parts(parts, Body::from_stream(kept.chain(broken)))
}

/// One line a request on standard output: neither query (patients' names) nor header fields (tokens).
fn access_line(connection: Connection, method: &str, path: &str, status: StatusCode, body_bytes: u64) {
    let scheme = if connection.tls { "https" } else { "http" };
    let line = format!(
        "#{} {scheme} {method} {path} {body_bytes} bytes -> {}\n",
        connection.number,
        status.as_u16()
    );
    // A closed standard output is no reason to fail a request.
    drop(io::stdout().write_all(line.as_bytes()));
}
