//! Sending a batch, and finding out what became of each of its instances.

use std::sync::{Arc, atomic::AtomicU64};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{
    conflict,
    gather::Batch,
    instance::{Held, Kept, OUT_OF_RESOURCES, Outcome},
    said,
    spool::Spool,
};
use crate::{
    content::{Content, Piece, Source},
    exchange::{Ask, Attempts},
    gateway::Shared,
    multipart::Writer,
    refusal::Refusal,
    store::Store,
    transfers::Transfer,
};

/// What is read of an answer: for each instance it has some 500 bytes.
const LARGEST_ANSWER: usize = 16 << 20;

/// Where to send, and on whose behalf.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) store: &'a Store,
    /// The study that the client's request names.
    pub(super) study: Option<&'a str>,
    /// Header fields of the client's that reach Google.
    pub(super) headers: &'a HeaderMap,
    pub(super) transfer: Option<&'a Transfer>,
    /// How often the server has complained of load.
    pub(super) complaints: &'a AtomicU64,
}

/// A batch that was sent.
pub(super) struct Sent {
    pub(super) batch: Batch,
    /// What became of its instances, by their numbers; of those that are missing, nothing is known.
    pub(super) outcomes: Vec<(usize, Outcome)>,
    /// Why it is not worth going on.
    pub(super) refusal: Option<Refusal>,
}

/// Sends a batch until it is known of each instance what became of it, or it is not worth going on.
pub(super) async fn send(way: Way<'_>, batch: Batch) -> Sent {
    let together: Vec<&Held> = batch.instances.iter().map(Arc::as_ref).collect();
    let mut outcomes = Vec::new();
    let mut refusal = None;
    match together_sent(way, &together).await {
        Err(refused) => refusal = Some(refused),
        Ok(known) => {
            for (held, outcome) in batch.instances.iter().zip(known) {
                let outcome = match outcome {
                    Some(outcome) => outcome,
                    // What the answer does not speak of is sent again, alone.
                    None => match alone_sent(way, held).await {
                        Ok(outcome) => outcome,
                        Err(refused) => {
                            refusal = Some(refused);
                            break;
                        }
                    },
                };
                outcomes.push((held.index, conflict::settle(way, held, outcome).await));
            }
        }
    }
    for held in &batch.instances {
        if let Kept::Spool(spool) = &held.kept {
            spool.give_up();
        }
    }
    Sent { batch, outcomes, refusal }
}

/// Sends instances in one request. What is not known of an instance may be found out by sending it alone.
async fn together_sent(way: Way<'_>, instances: &[&Held]) -> Result<Vec<Option<Outcome>>, Refusal> {
    if let [held] = instances {
        return Ok(vec![Some(alone_sent(way, held).await?)]);
    }
    match post(way, Method::POST, way.study, instances).await {
        Ok(answer) => Ok(resolved(instances, Some(&answer))),
        Err(refusal) if is_of_instances(&refusal) => Ok(resolved(instances, refusal.google_body())),
        Err(refusal) => Err(refusal),
    }
}

/// Sends an instance in a request of its own.
async fn alone_sent(way: Way<'_>, held: &Held) -> Result<Outcome, Refusal> {
    sent_alone_with(way, Method::POST, way.study, held).await
}

/// The same with another method. Whatever is answered is about this instance.
pub(super) async fn sent_alone_with(
    way: Way<'_>,
    method: Method,
    study: Option<&str>,
    held: &Held,
) -> Result<Outcome, Refusal> {
    match post(way, method, study, &[held]).await {
        Ok(answer) => Ok(resolved(&[held], Some(&answer)).pop().flatten().unwrap_or_else(|| {
            Outcome::failed("the store's answer does not say that the instance was stored")
        })),
        Err(refusal) if is_of_instances(&refusal) => {
            Ok(resolved(&[held], refusal.google_body())
                .pop()
                .flatten()
                // A refusal that speaks of success is none.
                .filter(|outcome| !outcome.is_stored())
                .unwrap_or_else(|| Outcome::failed(refusal.failure().cause.clone())))
        }
        Err(refusal) if refusal.google_body().is_none() && !is_repeatable(held) => Ok(Outcome::Failed {
            reason: OUT_OF_RESOURCES,
            detail: format!(
                "there was no room on disk for a copy, and the only attempt failed: {}",
                refusal.failure().cause
            ),
        }),
        Err(refusal) => Err(refusal),
    }
}

fn resolved(instances: &[&Held], answer: Option<&Bytes>) -> Vec<Option<Outcome>> {
    let items = answer.and_then(|answer| said::items(answer)).unwrap_or_default();
    said::outcomes(instances.iter().copied(), &items)
}

/// Whether the server refuses what is sent, and not who sends it or where.
fn is_of_instances(refusal: &Refusal) -> bool {
    matches!(
        refusal.status(),
        StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY
    ) && refusal.google_body().is_some()
}

fn is_repeatable(held: &Held) -> bool {
    match &held.kept {
        Kept::Memory(..) => true,
        Kept::Spool(spool) => spool.is_repeatable(),
    }
}

/// Sends instances and gives the answer to a success.
async fn post(
    way: Way<'_>,
    method: Method,
    study: Option<&str>,
    instances: &[&Held],
) -> Result<Bytes, Refusal> {
    let mut writer = Writer::new(way.shared.dice());
    let content_type = writer.content_type("application/dicom");
    let content = content(&mut writer, instances);
    let ask = Ask {
        method,
        path: study.map_or_else(|| "studies".to_owned(), |study| format!("studies/{study}")),
        headers: way.headers_with(&content_type),
        content,
        patience: way.shared.settings.patience,
    };
    let mut attempts = Attempts::new(way.shared, way.store, &ask, way.transfer).counting(way.complaints);
    Ok(attempts.whole(LARGEST_ANSWER).await?.2)
}

impl Way<'_> {
    /// Header fields of a store request whose body has the given type.
    pub(super) fn headers_with(&self, content_type: &str) -> HeaderMap {
        let mut headers = self.headers_accepting("application/dicom+json");
        if let Ok(content_type) = HeaderValue::from_str(content_type) {
            headers.insert(header::CONTENT_TYPE, content_type);
        }
        headers
    }

    /// Header fields of a request without a body.
    pub(super) fn headers_accepting(&self, media_type: &'static str) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(header::ACCEPT, HeaderValue::from_static(media_type));
        headers
    }
}

fn content(writer: &mut Writer, instances: &[&Held]) -> Content {
    if let [Held { kept: Kept::Spool(spool), content_type, .. }] = instances {
        let before = writer.part(content_type, None);
        return Content::Of(Box::new(Enclosed {
            before,
            spool: Arc::clone(spool),
            after: writer.clone().end(),
        }));
    }
    let mut pieces = Vec::new();
    for held in instances {
        // A spool never has company.
        if let Kept::Memory(bytes, _) = &held.kept {
            pieces.push(Piece::Memory(writer.part(&held.content_type, Some(held.length()))));
            pieces.extend(bytes.iter().cloned().map(Piece::Memory));
        }
    }
    pieces.push(Piece::Memory(writer.clone().end()));
    Content::Pieces(pieces.into())
}

/// An instance in a spool between the delimiters of a multipart body.
struct Enclosed {
    before: Bytes,
    spool: Arc<Spool>,
    after: Bytes,
}

impl Source for Enclosed {
    fn body(&self) -> reqwest::Body {
        let around = |bytes: &Bytes| stream::iter([Ok(bytes.clone())]);
        let bytes = around(&self.before).chain(self.spool.bytes()).chain(around(&self.after));
        reqwest::Body::wrap_stream(bytes)
    }

    fn is_repeatable(&self) -> bool {
        self.spool.is_repeatable()
    }
}
