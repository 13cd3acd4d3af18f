//! An answer of the store that brings instances.

use bytes::Bytes;
use google_credentials::{TransportError, TransportErrorKind};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::part::Differs;
use crate::{
    exchange::{Answer, AnswerBody},
    media_type::MediaType,
    multipart::{self, Cutter, Event, Malformed, NotRelated},
    refusal::Refusal,
};

/// Why an answer did not bring what it should have.
pub(crate) enum Broke {
    /// It broke off: another one may do.
    Off(TransportError),
    /// It is something else: no other one would be better.
    Nonsense(Box<Refusal>),
}

impl Broke {
    pub(super) fn nonsense(cause: &str, remedy: &str) -> Self {
        Self::Nonsense(Box::new(Refusal::own(StatusCode::BAD_GATEWAY, cause, remedy)))
    }

    /// Why, for the log.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Off(error) => error.to_string(),
            Self::Nonsense(refusal) => refusal.in_words(),
        }
    }

    fn not_one(what: &str) -> Self {
        let cause = format!("the response to the request for one instance has {what}");
        Self::nonsense(&cause, "check which server responds at the account's address")
    }
}

impl From<TransportError> for Broke {
    fn from(error: TransportError) -> Self {
        Self::Off(error)
    }
}

impl From<Malformed> for Broke {
    fn from(malformed: Malformed) -> Self {
        Self::Off(TransportError { kind: TransportErrorKind::Interrupted, cause: malformed.to_string() })
    }
}

impl From<Differs> for Broke {
    fn from(differs: Differs) -> Self {
        Self::Nonsense(Box::new(differs.into()))
    }
}

/// What brings instances.
pub(super) enum Incoming {
    /// One, as the body itself.
    Single(Box<Single>),
    /// Any number, as parts of the body.
    Parts(Box<Parts>),
}

pub(super) struct Single {
    pub(super) content_type: HeaderValue,
    /// Bytes.
    pub(super) length: Option<u64>,
    body: AnswerBody,
}

pub(super) struct Parts {
    cutter: Cutter,
    body: AnswerBody,
}

/// A response to the request for one instance, which is the body itself or its only part.
pub(crate) struct One {
    pub(crate) content_type: HeaderValue,
    /// Bytes, where the response states them.
    pub(crate) length: Option<u64>,
    incoming: Incoming,
    has_ended: bool,
}

impl One {
    /// Reads the head of the instance.
    ///
    /// # Errors
    /// The response is something else, or breaks off.
    pub(crate) async fn begin(answer: Answer) -> Result<Self, Broke> {
        let (content_type, length, incoming) = match incoming(answer)? {
            Incoming::Single(single) => {
                (single.content_type.clone(), single.length, Incoming::Single(single))
            }
            Incoming::Parts(mut parts) => {
                let Event::Part(headers) = parts.next().await? else { return Err(Broke::not_one("no part")) };
                let (content_type, length) = part(&headers)?;
                (content_type, length, Incoming::Parts(parts))
            }
        };
        Ok(Self { content_type, length, incoming, has_ended: false })
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The response breaks off, or holds more than one instance.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Broke> {
        let parts = match &mut self.incoming {
            Incoming::Single(single) => return single.next().await,
            Incoming::Parts(parts) => parts,
        };
        while !self.has_ended {
            match parts.next().await? {
                Event::Data(bytes) => return Ok(Some(bytes)),
                Event::EndOfPart => {}
                Event::Part(_) => return Err(Broke::not_one("several parts")),
                Event::End => self.has_ended = true,
            }
        }
        Ok(None)
    }
}

/// Sees what an answer brings.
pub(super) fn incoming(answer: Answer) -> Result<Incoming, Broke> {
    let encoding = answer.headers.get(header::CONTENT_ENCODING);
    if let Some(encoding) = encoding.filter(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let cause = format!("the answer is compressed ({encoding:?}), which nobody has asked for");
        return Err(Broke::nonsense(&cause, "see what answers at the account's address"));
    }
    let content_type = answer.headers.get(header::CONTENT_TYPE).cloned();
    let text = content_type.as_ref().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match (multipart::boundary_of(text), content_type.as_ref()) {
        (Ok(related), _) => {
            let cutter = Cutter::new(related.boundary.as_bytes());
            Ok(Incoming::Parts(Box::new(Parts { cutter, body: answer.body })))
        }
        (Err(NotRelated::OtherType), Some(kind)) if is_dicom(text) => {
            let (content_type, body) = (kind.clone(), answer.body);
            Ok(Incoming::Single(Box::new(Single { content_type, length: body.length(), body })))
        }
        _ => Err(something_else(text)),
    }
}

/// The `Content-Type` and length of a part that is to be an instance.
pub(super) fn part(headers: &HeaderMap) -> Result<(HeaderValue, Option<u64>), Broke> {
    // Without one it would be text (RFC 2046 section 5.1), but the type of all parts was said before.
    let content_type = headers.get(header::CONTENT_TYPE).cloned().unwrap_or(multipart::DICOM);
    let text = content_type.to_str().unwrap_or_default();
    if !is_dicom(text) {
        return Err(something_else(text));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    Ok((content_type, length))
}

fn is_dicom(content_type: &str) -> bool {
    MediaType::parse(content_type).is_some_and(|kind| kind.essence == "application/dicom")
}

fn something_else(content_type: &str) -> Broke {
    let cause = format!("instances were asked for, and the answer is something else ({content_type})");
    Broke::nonsense(&cause, "see what answers at the account's address")
}

impl Single {
    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Broke> {
        Ok(self.body.chunk().await?)
    }
}

impl Parts {
    /// What comes next; the last is [`Event::End`], without which the answer was not complete.
    pub(super) async fn next(&mut self) -> Result<Event, Broke> {
        loop {
            if let Some(event) = self.cutter.next()? {
                if event == Event::End {
                    self.rest().await;
                }
                return Ok(event);
            }
            let Some(bytes) = self.body.chunk().await? else {
                self.cutter.finish()?;
                return Ok(Event::End);
            };
            self.cutter.feed(bytes);
        }
    }

    /// Lets the connection be used again. Whatever comes behind the end is nothing.
    async fn rest(&mut self) {
        while let Ok(Some(_)) = self.body.chunk().await {}
    }
}
