//! Retrieve (PS3.18 section 10.4): instances streamed from their files, and metadata.

use super::{
    address::Scope,
    transcode::{
        EXPLICIT_LITTLE, LARGEST_FILE, is_target, is_uncompressed, to_explicit_little, transcoded_length,
    },
};
use crate::{
    archive::{Contents, Instance, StoreName},
    google_error::GoogleError,
    media_type::accepted,
    rsa_key::{hex, random_bytes},
    world::World,
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use serde_json::{Map, Value};
use std::{
    io::{self, Write},
    sync::Arc,
};
use tokio::{fs::File, io::AsyncReadExt, sync::mpsc};

/// Bytes read from a file at a time.
const CHUNK: usize = 256 * 1024;

/// Chunks and documents that wait for a slow client at most.
const QUEUE: usize = 4;

type Sender = mpsc::Sender<io::Result<Bytes>>;

/// What the client wants.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    multipart: bool,
    /// `*` is whatever is stored.
    transfer_syntax: String,
}

/// Streams the instances of a study, a series, or one instance.
pub(crate) async fn retrieve(
    world: &Arc<World>,
    store: &StoreName,
    scope: &Scope,
    headers: &HeaderMap,
) -> Result<Response, GoogleError> {
    let wanted = wanted(headers, scope.instance.is_some())?;
    if let Some(status) = world.settings().single_part_refused_with.filter(|_| !wanted.multipart) {
        return Err(GoogleError::new(status, "cannot generate application/dicom: use multipart/related"));
    }
    let instances = select(world, store, scope)?;
    for instance in &instances {
        check_possible(instance, &wanted.transfer_syntax)?;
    }
    if !wanted.multipart {
        let Some(instance) = instances.into_iter().next() else { return Err(missing()) };
        let syntax = result_syntax(&instance, &wanted).to_owned();
        let source = Source::open(&instance, &wanted).await.map_err(GoogleError::internal)?;
        let length = source.length().await.map_err(|error| {
            GoogleError::bad_request(format!("cannot transcode the instance to {syntax}: {error}"))
        })?;
        let mut response =
            streamed(&format!("application/dicom; transfer-syntax={syntax}"), |sender| async move {
                let _ends = source.send(&sender).await;
            });
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        return Ok(response);
    }
    let boundary = hex(&random_bytes(20).map_err(GoogleError::internal)?);
    let kind = format!("multipart/related; type=\"application/dicom\"; boundary={boundary}");
    Ok(streamed(&kind, |sender| async move {
        for instance in instances {
            if send_part(&instance, &wanted, &boundary, &sender).await.is_none() {
                return;
            }
        }
        let _ends = sender.send(Ok(Bytes::from(format!("\r\n--{boundary}--\r\n")))).await;
    }))
}

/// Streams the metadata of a study, a series, or one instance as a JSON array.
pub(crate) fn metadata(
    world: &Arc<World>,
    store: &StoreName,
    scope: &Scope,
    base: &str,
    headers: &HeaderMap,
) -> Result<Response, GoogleError> {
    let json = ["application/dicom+json", "application/json"];
    if !accepted(headers).iter().any(|range| json.iter().any(|json| range.covers(json))) {
        return Err(GoogleError::not_acceptable("unsupported Accept: use application/dicom+json"));
    }
    let instances = select(world, store, scope)?;
    let base = base.to_owned();
    Ok(streamed("application/dicom+json", |sender| async move {
        for (position, instance) in instances.into_iter().enumerate() {
            let url = format!(
                "{base}/studies/{}/series/{}/instances/{}",
                instance.study, instance.series, instance.uid
            );
            let read = tokio::task::spawn_blocking(move || instance.metadata()).await;
            let document = read.map_err(io::Error::other).and_then(|read| read).map(|mut metadata| {
                resolve_bulk(&mut metadata, &url);
                let comma = if position == 0 { '[' } else { ',' };
                Bytes::from(format!("{comma}{}", Value::Object(metadata)))
            });
            let failed = document.is_err();
            if sender.send(document).await.is_err() || failed {
                return;
            }
        }
        let _ends = sender.send(Ok(Bytes::from_static(b"]"))).await;
    }))
}

fn wanted(headers: &HeaderMap, single_instance: bool) -> Result<Wanted, GoogleError> {
    let mut refused = None;
    for range in accepted(headers) {
        let multipart = if range.covers("multipart/related") {
            true
        } else if range.covers("application/dicom") && single_instance {
            false
        } else {
            continue;
        };
        let kind = range.parameter("type").unwrap_or("application/dicom");
        if multipart && !kind.eq_ignore_ascii_case("application/dicom") {
            continue;
        }
        let transfer_syntax = range.parameter("transfer-syntax").unwrap_or(EXPLICIT_LITTLE).to_owned();
        if transfer_syntax == "*" || is_target(&transfer_syntax) {
            return Ok(Wanted { multipart, transfer_syntax });
        }
        refused = Some(transfer_syntax);
    }
    Err(GoogleError::not_acceptable(match refused {
        Some(syntax) => format!("unsupported transfer-syntax {syntax}"),
        None => "unsupported Accept: use multipart/related; type=\"application/dicom\"; transfer-syntax=*"
            .to_owned(),
    }))
}

fn select(world: &World, store: &StoreName, scope: &Scope) -> Result<Vec<Arc<Instance>>, GoogleError> {
    let (study, series, instance) =
        (scope.study.as_deref(), scope.series.as_deref(), scope.instance.as_deref());
    let instances = world.archive.select(store, study, series, instance);
    if !instances.is_empty() {
        return Ok(instances);
    }
    if instance.is_some() {
        Err(missing())
    } else {
        Err(GoogleError::not_found("DICOM study or series does not exist."))
    }
}

fn missing() -> GoogleError {
    GoogleError::not_found("DICOM instance does not exist.")
}

fn check_possible(instance: &Instance, target: &str) -> Result<(), GoogleError> {
    let stored = instance.transfer_syntax.as_str();
    if target == "*" || target == stored {
        return Ok(());
    }
    if target != EXPLICIT_LITTLE || !is_uncompressed(stored) {
        return Err(GoogleError::bad_request(format!(
            "cannot transcode {stored} to {target}: google-emulator has no codecs; ask for transfer-syntax=*"
        )));
    }
    if instance.bytes > LARGEST_FILE {
        return Err(GoogleError::bad_request("the instance is too large to be transcoded (limit 1 GB)"));
    }
    Ok(())
}

fn result_syntax<'a>(instance: &'a Instance, wanted: &'a Wanted) -> &'a str {
    if wanted.transfer_syntax == "*" { &instance.transfer_syntax } else { &wanted.transfer_syntax }
}

/// Where an instance's bytes come from.
enum Source {
    /// The file as it is.
    File { file: File, length: u64 },
    /// What is in memory.
    Memory(Arc<Instance>),
    /// What [`to_explicit_little`] makes of it, while it is sent.
    Transcoded(Arc<Instance>),
}

impl Source {
    async fn open(instance: &Arc<Instance>, wanted: &Wanted) -> io::Result<Self> {
        if result_syntax(instance, wanted) != instance.transfer_syntax {
            return Ok(Self::Transcoded(Arc::clone(instance)));
        }
        match &instance.contents {
            Contents::File(path) => {
                let file = File::open(path).await?;
                let length = file.metadata().await?.len();
                Ok(Self::File { file, length })
            }
            Contents::Memory(_) | Contents::Forgotten => Ok(Self::Memory(Arc::clone(instance))),
        }
    }

    /// How many bytes [`Source::send`] will send. What cannot be transcoded fails here, where it still gets a status.
    async fn length(&self) -> io::Result<u64> {
        match self {
            Self::File { length, .. } => Ok(*length),
            Self::Memory(instance) => Ok(instance.bytes),
            Self::Transcoded(instance) => {
                let instance = Arc::clone(instance);
                tokio::task::spawn_blocking(move || transcoded_length(instance.contents.open()?)).await?
            }
        }
    }

    /// `None` when the client is gone or the instance broke off.
    async fn send(self, sender: &Sender) -> Option<()> {
        let sent = match self {
            Self::File { file, .. } => send_file(file, sender).await,
            Self::Memory(instance) => {
                for piece in instance.contents.pieces() {
                    sender.send(Ok(piece.clone())).await.ok()?;
                }
                Ok(())
            }
            Self::Transcoded(instance) => {
                let mut chunks = Chunks { sender: sender.clone(), chunk: BytesMut::new() };
                let transcode = move || {
                    to_explicit_little(instance.contents.open()?, &mut chunks)?;
                    chunks.flush()
                };
                tokio::task::spawn_blocking(transcode).await.unwrap_or_else(|error| Err(error.into()))
            }
        };
        match sent {
            Ok(()) => Some(()),
            Err(error) => {
                // Too late for a status: the connection breaks off, so that nobody takes this for the end.
                sender.send(Err(error)).await.ok()?;
                None
            }
        }
    }
}

async fn send_file(mut file: File, sender: &Sender) -> io::Result<()> {
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        if file.read_buf(&mut chunk).await? == 0 {
            return Ok(());
        }
        sender.send(Ok(chunk.freeze())).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
    }
}

/// Sends what is written to it, at the client's pace. For blocking threads.
struct Chunks {
    sender: Sender,
    chunk: BytesMut,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = self.chunk.split().freeze();
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

async fn send_part(instance: &Arc<Instance>, wanted: &Wanted, boundary: &str, sender: &Sender) -> Option<()> {
    let source = match Source::open(instance, wanted).await {
        Ok(source) => source,
        Err(error) => {
            sender.send(Err(error)).await.ok()?;
            return None;
        }
    };
    let syntax = result_syntax(instance, wanted);
    let head =
        format!("\r\n--{boundary}\r\nContent-Type: application/dicom; transfer-syntax={syntax}\r\n\r\n");
    sender.send(Ok(Bytes::from(head))).await.ok()?;
    source.send(sender).await
}

/// An answer whose body is written by a task of its own, at the client's pace.
fn streamed<F: Future<Output = ()> + Send + 'static>(
    kind: &str,
    write: impl FnOnce(Sender) -> F,
) -> Response {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(write(sender));
    let chunks = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    let mut response = Response::new(Body::from_stream(chunks));
    if let Ok(kind) = HeaderValue::from_str(kind) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// Makes the relative references to bulk data absolute, at every level of nesting.
fn resolve_bulk(data_set: &mut Map<String, Value>, url: &str) {
    for attribute in data_set.values_mut() {
        let Some(attribute) = attribute.as_object_mut() else { continue };
        if let Some(Value::String(reference)) = attribute.get_mut("BulkDataURI") {
            *reference = format!("{url}/{reference}");
        }
        if let Some(Value::Array(items)) = attribute.get_mut("Value") {
            items.iter_mut().filter_map(Value::as_object_mut).for_each(|item| resolve_bulk(item, url));
        }
    }
}
