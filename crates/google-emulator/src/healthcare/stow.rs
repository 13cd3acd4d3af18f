//! Store (PS3.18 section 10.5): every part goes to disk as it arrives, only its header is parsed.

use super::stow_answer::{Failure, Form, Outcome, answer};
use crate::{
    archive::{Insertion, StoreName, read},
    google_error::GoogleError,
    media_type::{MediaType, accepted, content_type},
    multipart::{Cutter, Malformed, Piece},
    rsa_key::hex,
    world::World,
};
use axum::{body::BodyDataStream, http::HeaderMap, response::Response};
use bytes::Bytes;
use futures_util::StreamExt;
use ring::digest::{Context, SHA256};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{fs::File, io::AsyncWriteExt};

/// The store that the request goes to, and the study that its URL names.
#[derive(Clone)]
struct Target {
    world: Arc<World>,
    store: StoreName,
    study: Option<String>,
}

/// The longest boundary taken, in bytes.
const MAX_BOUNDARY: usize = 128;

/// Stores all instances of the request's body.
pub(crate) async fn store(
    world: &Arc<World>,
    store: &StoreName,
    study: Option<&str>,
    base: &str,
    headers: &HeaderMap,
    body: &mut BodyDataStream,
) -> Result<Response, GoogleError> {
    let form = answer_form(headers)?;
    let target = Target { world: Arc::clone(world), store: store.clone(), study: study.map(str::to_owned) };
    let content_type = content_type(headers).ok_or_else(|| unsupported("none"))?;
    let outcomes = match content_type.essence.as_str() {
        "application/dicom" => vec![single(&target, body).await?],
        "multipart/related" => multipart(&target, &content_type, body).await?,
        other => return Err(unsupported(other)),
    };
    if outcomes.is_empty() {
        return Err(GoogleError::bad_request("the request contains no DICOM instances"));
    }
    Ok(answer(form, base, study, &outcomes))
}

fn answer_form(headers: &HeaderMap) -> Result<Form, GoogleError> {
    for range in accepted(headers) {
        if range.covers("application/dicom+xml") {
            return Ok(Form::Xml);
        }
        if range.covers("application/dicom+json") || range.covers("application/json") {
            return Ok(Form::Json);
        }
    }
    Err(GoogleError::not_acceptable(
        "unsupported Accept: use application/dicom+xml or application/dicom+json",
    ))
}

fn unsupported(what: &str) -> GoogleError {
    GoogleError::bad_request(format!(
        "unsupported Content-Type ({what}): use multipart/related; type=\"application/dicom\" or application/dicom"
    ))
}

async fn single(target: &Target, body: &mut BodyDataStream) -> Result<Outcome, GoogleError> {
    let mut part = Part::create(target).await.map_err(GoogleError::internal)?;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| malformed(Malformed::Broken))?;
        part.write(&chunk).await.map_err(GoogleError::internal)?;
    }
    part.finish(target).await.map_err(GoogleError::internal)
}

async fn multipart(
    target: &Target,
    content_type: &MediaType,
    body: &mut BodyDataStream,
) -> Result<Vec<Outcome>, GoogleError> {
    match content_type.parameter("type") {
        Some(kind) if kind.eq_ignore_ascii_case("application/dicom") => {}
        kind => return Err(unsupported(&format!("multipart/related; type={}", kind.unwrap_or("none")))),
    }
    // RFC 2046 section 5.1.1 allows 70 characters; Orthanc's boundaries are two UUIDs long, and Google takes them.
    let boundary = content_type
        .parameter("boundary")
        .filter(|boundary| (1..=MAX_BOUNDARY).contains(&boundary.len()))
        .ok_or_else(|| GoogleError::bad_request("multipart/related without a valid boundary"))?;
    let mut cutter = Cutter::new(body, boundary);
    let (mut outcomes, mut current) = (Vec::new(), None::<Part>);
    while let Some(piece) = cutter.next().await.map_err(malformed)? {
        match piece {
            Piece::Begin(fields) => {
                refuse_other_part(&fields)?;
                current = Some(Part::create(target).await.map_err(GoogleError::internal)?);
            }
            Piece::Data(bytes) => {
                if let Some(part) = &mut current {
                    part.write(&bytes).await.map_err(GoogleError::internal)?;
                }
            }
            Piece::End => {
                if let Some(part) = current.take() {
                    outcomes.push(part.finish(target).await.map_err(GoogleError::internal)?);
                }
            }
        }
    }
    Ok(outcomes)
}

fn malformed(error: Malformed) -> GoogleError {
    GoogleError::bad_request(error.to_string())
}

fn refuse_other_part(fields: &[(String, String)]) -> Result<(), GoogleError> {
    let declared = fields.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str());
    match declared.and_then(MediaType::parse) {
        Some(part) if part.essence == "application/dicom" => Ok(()),
        _ => Err(unsupported(&format!("part of type {}", declared.unwrap_or("none")))),
    }
}

/// A part on its way to disk; the file disappears with it unless it was taken into the store.
struct Part {
    path: PathBuf,
    file: File,
    digest: Context,
}

impl Part {
    async fn create(target: &Target) -> io::Result<Self> {
        let path = target.world.archive.incoming_file();
        let file = File::create(&path).await?;
        Ok(Self { path, file, digest: Context::new(&SHA256) })
    }

    async fn write(&mut self, bytes: &Bytes) -> io::Result<()> {
        self.digest.update(bytes);
        self.file.write_all(bytes).await
    }

    async fn finish(mut self, target: &Target) -> io::Result<Outcome> {
        self.file.flush().await?;
        let sha256 = hex(self.digest.clone().finish().as_ref());
        let (path, target) = (self.path.clone(), target.clone());
        tokio::task::spawn_blocking(move || take(&path, sha256, &target)).await?
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Gone already when the store took it.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Parses a complete part and takes it into the store. Blocking.
fn take(path: &Path, sha256: String, target: &Target) -> io::Result<Outcome> {
    let header = match read(path) {
        Ok(header) => header,
        Err(error) => {
            return Ok(Outcome { instance: None, failure: Some(Failure::Unparseable(error.to_string())) });
        }
    };
    let instance =
        Some([&header.study, &header.series, &header.instance, &header.sop_class].map(Clone::clone));
    if target.study.as_ref().is_some_and(|study| *study != header.study) {
        return Ok(Outcome { instance, failure: Some(Failure::OtherStudy) });
    }
    let failure = match target.world.archive.insert(&target.store, path, sha256, header)? {
        Insertion::Stored | Insertion::IdenticalDuplicate => None,
        Insertion::DifferentDuplicate => Some(Failure::Different),
    };
    Ok(Outcome { instance, failure })
}
