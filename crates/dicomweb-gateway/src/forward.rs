//! Everything that passes through as it is: searches, metadata, single instances, frames, deletions, other uploads.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;

use crate::{
    accept::TransferSyntaxes,
    body::{self, Broken, ResponseBody, copy_answer},
    content::Content,
    exchange::{Answer, AnswerBody, Ask, Attempts, without_query},
    gateway::Shared,
    path::Target,
    refusal::Refusal,
    retrieve,
    store::Store,
    trouble::Act,
};
use google_credentials::TransportError;

/// Passes the request on and its answer back. `instance`: it is for one instance as the body itself, in these transfer
/// syntaxes.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    store: &Store,
    target: &Target<'_>,
    request: Request<Incoming>,
    instance: Option<&TransferSyntaxes>,
) -> Response<ResponseBody> {
    let (parts, incoming) = request.into_parts();
    let ask = Ask {
        path: match target.query {
            Some(query) => format!("{}?{query}", target.path),
            None => target.path.to_owned(),
        },
        headers: parts.headers,
        content: match parts.method {
            Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS => Content::Empty,
            // Whether Google has already done it is not known after a failure, so it is sent once.
            _ => Content::once(reqwest::Body::wrap(incoming)),
        },
        method: parts.method,
        patience: shared.settings.patience_of_requests,
    };
    let act = if ask.method.is_safe() { Act::Reading } else { Act::Change };
    if act == Act::Change {
        shared.remembered.changes(&store.name, target.path);
    }
    let answer = match instance {
        None => begin(shared, store, &ask).await,
        Some(syntaxes) => retrieve::single::begin(shared, store, &ask, syntaxes).await,
    };
    let is_gone = answer.as_ref().err().is_none_or(|refusal| refusal.status() == StatusCode::NOT_FOUND);
    let gave_up =
        ask.method == Method::DELETE && is_gone && shared.remembered.given_up(&store.name, target.path);
    match answer {
        Ok(response) => {
            shared.troubles.mended(store, act);
            response
        }
        // What never came there is deleted with that.
        Err(_) if gave_up => done(),
        Err(refusal) => {
            let what = format!("{} {}", ask.method, without_query(&ask.path));
            shared.troubles.tell(store, act, &what, &refusal, shared.world.now());
            refusal.into_response()
        }
    }
}

/// As Google answers a deletion.
fn done() -> Response<ResponseBody> {
    Response::new(body::whole("{}"))
}

/// The beginning of a good answer. Until its first bytes are here, the request can be sent again.
async fn begin(shared: &Arc<Shared>, store: &Store, ask: &Ask) -> Result<Response<ResponseBody>, Refusal> {
    let mut attempts = Attempts::new(shared, store, ask, None);
    loop {
        let answer = match attempts.next().await {
            // What an attempt has deleted is gone for the next.
            Err(refusal)
                if refusal.status() == StatusCode::NOT_FOUND
                    && ask.method == Method::DELETE
                    && attempts.may_be_done() =>
            {
                return Ok(done());
            }
            answer => answer?,
        };
        match begun(answer).await {
            Ok(response) => return Ok(response),
            Err(error) => attempts.broke(&error).await?,
        }
    }
}

/// The answer as it is passed on, when its first bytes are here.
///
/// # Errors
/// It broke off before them.
pub(crate) async fn begun(answer: Answer) -> Result<Response<ResponseBody>, TransportError> {
    let Answer { status, headers, mut body } = answer;
    let mut response = Response::new(match body.chunk().await? {
        None => body::empty(),
        Some(first) => streamed(first, body),
    });
    *response.status_mut() = status;
    copy_answer(&headers, response.headers_mut());
    Ok(response)
}

/// The first bytes and those that follow them.
fn streamed(first: Bytes, body: AnswerBody) -> ResponseBody {
    let frames = stream::unfold((Some(first), body), |(first, mut body)| async {
        let chunk = match first {
            Some(first) => Ok(Some(first)),
            None => body.chunk().await,
        };
        match chunk {
            Ok(None) => None,
            Ok(Some(chunk)) => Some((Ok(Frame::data(chunk)), (None, body))),
            Err(error) => {
                tracing::warn!(
                    "an answer of the DICOM store broke off, and what was asked for it is incomplete: {error}"
                );
                Some((Err(Broken(error.cause)), (None, body)))
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// The header fields of a request that becomes others: without those that speak of its body, or of the one that answers it.
pub(crate) fn passed_on_of_transfer(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [
        header::ACCEPT,
        header::ACCEPT_ENCODING,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        HeaderName::from_static("content-md5"),
        HeaderName::from_static("digest"),
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("repr-digest"),
        header::CONTENT_RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
        header::RANGE,
    ] {
        headers.remove(name);
    }
    headers
}
