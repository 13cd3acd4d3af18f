//! Store (PS3.18 section 10.5), and Google's update, which differs in replacing what is there: every part goes to where it
//! is kept as it arrives, only its header is parsed.

use super::stow_answer::{Failure, Form, Outcome, answer};
use crate::{
    archive::{Incoming, Insertion, OnConflict, Received, StoreName},
    fault::{Aim, Refusal},
    google_error::GoogleError,
    media_type::{MediaType, accepted, content_type},
    multipart::{Cutter, Malformed, Piece},
    world::World,
};
use axum::{body::BodyDataStream, http::HeaderMap, http::request::Parts, response::Response};
use futures_util::StreamExt;
use std::{io, sync::Arc};

/// Where the instances go.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) world: Arc<World>,
    pub(super) store: StoreName,
    /// The study that the URL names.
    pub(super) study: Option<String>,
    pub(super) on_conflict: OnConflict,
    /// The request, for faults that refuse an instance of it.
    pub(super) aim: Aim,
}

/// The longest boundary taken, in bytes.
const MAX_BOUNDARY: usize = 128;

/// Stores all instances of the request's body.
pub(super) async fn store(
    target: &Target,
    base: &str,
    parts: &Parts,
    body: &mut BodyDataStream,
) -> Result<Response, GoogleError> {
    let form = answer_form(&parts.headers)?;
    let content_type = content_type(&parts.headers).ok_or_else(|| unsupported("none"))?;
    let outcomes = match content_type.essence.as_str() {
        "application/dicom" => vec![single(target, body).await?],
        "multipart/related" => multipart(target, &content_type, body).await?,
        other => return Err(unsupported(other)),
    };
    if outcomes.is_empty() {
        return Err(GoogleError::bad_request("the request contains no DICOM instances"));
    }
    Ok(answer(form, base, target.study.as_deref(), &outcomes))
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
    let mut part = Incoming::begin(&target.world.archive).await.map_err(GoogleError::internal)?;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| malformed(Malformed::Broken))?;
        part.write(&chunk).await.map_err(GoogleError::internal)?;
    }
    take(part, target).await.map_err(GoogleError::internal)
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
    let (mut outcomes, mut current) = (Vec::new(), None::<Incoming>);
    while let Some(piece) = cutter.next().await.map_err(malformed)? {
        match piece {
            Piece::Begin(fields) => {
                refuse_other_part(&fields)?;
                current = Some(Incoming::begin(&target.world.archive).await.map_err(GoogleError::internal)?);
            }
            Piece::Data(bytes) => {
                if let Some(part) = &mut current {
                    part.write(&bytes).await.map_err(GoogleError::internal)?;
                }
            }
            Piece::End => {
                if let Some(part) = current.take() {
                    outcomes.push(take(part, target).await.map_err(GoogleError::internal)?);
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

/// Reads a complete part's header and takes it into the store.
async fn take(part: Incoming, target: &Target) -> io::Result<Outcome> {
    let received = part.finish().await?;
    if !received.blocks() {
        return decide(received, target);
    }
    let target = target.clone();
    tokio::task::spawn_blocking(move || decide(received, &target)).await?
}

/// Blocking where the part is a file.
fn decide(received: Received, target: &Target) -> io::Result<Outcome> {
    let header = match received.header()? {
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
    if let Some(Refusal { reason, detail, .. }) = target.world.faults.refusal(&target.aim, &header.instance) {
        return Ok(Outcome { instance, failure: Some(Failure::Fault { reason, detail }) });
    }
    let inserted = target.world.archive.insert(&target.store, received, header, target.on_conflict)?;
    let failure = match inserted {
        Insertion::Stored | Insertion::IdenticalDuplicate => None,
        Insertion::DifferentDuplicate => Some(Failure::Different),
    };
    Ok(Outcome { instance, failure })
}
