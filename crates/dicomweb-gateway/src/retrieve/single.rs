//! One instance for a client that takes it as the body itself, whichever format the store returns.

use std::sync::Arc;

use futures_util::stream;
use http::{HeaderMap, Method, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use super::incoming::{Broke, One};
use crate::{
    accept::TransferSyntaxes,
    body::{Broken, ResponseBody, copy_answer},
    content::Content,
    exchange::{Answer, Ask, Attempts},
    forward,
    gateway::Shared,
    instance_format::Format,
    multipart,
    refusal::Refusal,
    store::Store,
};

/// The beginning of the answer to `ask`.
///
/// # Errors
/// The store's refusal, or what kept it from answering.
pub(crate) async fn begin(
    shared: &Arc<Shared>,
    store: &Store,
    ask: &Ask,
    syntaxes: &TransferSyntaxes,
) -> Result<Response<ResponseBody>, Refusal> {
    let mut format = shared.instance_formats.of(store);
    if format == Format::Body {
        // With the fields as the client has sent them.
        match begin_as(shared, store, ask, format).await {
            Err(refusal) => format = format.after(&refusal).ok_or(refusal)?,
            response => return response,
        }
    }
    let mut headers = ask.headers.clone();
    headers.insert(header::ACCEPT, format.accept(syntaxes));
    // A range of a multipart body is none of the instance.
    headers.remove(header::RANGE);
    headers.remove(header::IF_RANGE);
    let ask = Ask {
        method: Method::GET,
        path: ask.path.clone(),
        headers,
        content: Content::Empty,
        patience: ask.patience,
    };
    begin_as(shared, store, &ask, format).await
}

async fn begin_as(
    shared: &Arc<Shared>,
    store: &Store,
    ask: &Ask,
    format: Format,
) -> Result<Response<ResponseBody>, Refusal> {
    let mut attempts = Attempts::new(shared, store, ask, None);
    loop {
        let answer = attempts.next().await?;
        shared.instance_formats.worked(store, format);
        let begun = if is_multipart(&answer.headers) {
            taken_out(answer).await
        } else {
            forward::begun(answer).await.map_err(Broke::Off)
        };
        match begun {
            Ok(response) => return Ok(response),
            Err(Broke::Off(error)) => attempts.broke(&error).await?,
            Err(Broke::Nonsense(refusal)) => return Err(*refusal),
        }
    }
}

fn is_multipart(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|content_type| multipart::boundary_of(content_type).is_ok())
}

/// The only part of a multipart body, as the body itself.
async fn taken_out(answer: Answer) -> Result<Response<ResponseBody>, Broke> {
    let mut headers = HeaderMap::new();
    copy_answer(&answer.headers, &mut headers);
    for of_body in [
        header::CONTENT_LENGTH,
        header::ETAG,
        header::HeaderName::from_static("content-md5"),
        header::HeaderName::from_static("content-digest"),
        header::HeaderName::from_static("mime-version"),
    ] {
        headers.remove(of_body);
    }
    let mut one = One::begin(answer).await?;
    let first = one.next().await?;
    headers.insert(header::CONTENT_TYPE, one.content_type.clone());
    let frames = stream::unfold((first, one), |(bytes, mut one)| async {
        let bytes = match bytes {
            Some(bytes) => Ok(Some(bytes)),
            None => one.next().await,
        };
        match bytes {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((Ok(Frame::data(bytes)), (None, one))),
            Err(broke) => {
                let cause = broke.in_words();
                tracing::warn!("a single instance was broken off on its way from the store: {cause}");
                Some((Err(Broken(cause)), (None, one)))
            }
        }
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    *response.headers_mut() = headers;
    Ok(response)
}
