//! A DICOMweb server on this machine without TLS that forgets what it gets and gives from memory: what Orthanc itself can
//! send and take in.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::Result;
use http_body_util::BodyExt as _;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Handle};

use super::{
    body::{BOUNDARY, Parts, Pieces},
    studies::Study,
};

/// The running server. It lives as long as the runtime.
pub(super) struct Loopback {
    /// The DICOMweb root, with a final slash.
    pub(super) url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    study: Mutex<Option<Arc<Study>>>,
    taken: Mutex<Option<Taken>>,
}

/// The last store request that was read to its end.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    pub(super) at: Instant,
    pub(super) instances: usize,
}

impl Loopback {
    /// Starts it.
    pub(super) fn start(runtime: &Handle) -> Result<Self> {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let url = format!("http://{}/dicom-web/", listener.local_addr()?);
        let shared = Arc::new(Shared::default());
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { url, shared })
    }

    /// What it gives and expects from now on.
    pub(super) fn expect(&self, study: &Arc<Study>) {
        *lock(&self.shared.study) = Some(Arc::clone(study));
        *lock(&self.shared.taken) = None;
    }

    /// What it has taken since.
    pub(super) fn taken(&self) -> Option<Taken> {
        *lock(&self.shared.taken)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // Large writes of few packets; waiting for more would only cost time.
        stream.set_nodelay(true).ok();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| answer(request, Arc::clone(&shared)));
            // Whatever ends a connection shows at Orthanc.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Pieces>, hyper::Error> {
    let study = lock(&shared.study).clone();
    let Some(study) = study else { return Ok(status(StatusCode::NOT_FOUND)) };
    let path = request.uri().path().to_owned();
    if *request.method() == Method::POST && path == "/dicom-web/studies" {
        return take(request, &study, &shared).await;
    }
    if *request.method() == Method::GET && path == format!("/dicom-web/studies/{}", study.uid) {
        let kind = format!("multipart/related; type=\"application/dicom\"; boundary={BOUNDARY}");
        return Ok(typed(&kind, Pieces::multipart(&study.instances)));
    }
    Ok(status(StatusCode::NOT_FOUND))
}

/// Reads and forgets, and answers as a store that kept everything (PS3.18 section 10.5.3).
async fn take(
    request: Request<Incoming>,
    study: &Study,
    shared: &Shared,
) -> Result<Response<Pieces>, hyper::Error> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let boundary = kind.and_then(|kind| kind.split("boundary=").nth(1)?.split(';').next());
    let Some(boundary) = boundary else { return Ok(status(StatusCode::BAD_REQUEST)) };
    let mut parts = Parts::new(boundary.trim().trim_matches('"'));
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        if let Some(chunk) = frame?.data_ref() {
            parts.feed(chunk);
        }
    }
    *lock(&shared.taken) = Some(Taken { at: Instant::now(), instances: parts.count });
    let stored = study.instances.iter().take(parts.count);
    let item = |uid: &str| {
        json!({
            "00081150": { "vr": "UI", "Value": [CT_IMAGE_STORAGE] },
            "00081155": { "vr": "UI", "Value": [uid] },
        })
    };
    let sequence: Vec<Value> = stored.map(|instance| item(&instance.uid)).collect();
    let answer = json!({ "00081199": { "vr": "SQ", "Value": sequence } });
    Ok(typed("application/dicom+json", Pieces::of(answer.to_string())))
}

/// The SOP class of every instance here (PS3.4 table B.5-1).
const CT_IMAGE_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.2";

fn typed(kind: &str, body: Pieces) -> Response<Pieces> {
    let mut response = Response::new(body);
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

fn status(status: StatusCode) -> Response<Pieces> {
    let mut response = Response::new(Pieces::default());
    *response.status_mut() = status;
    response
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
