//! What was asked of the emulator: every request, in order of arrival.

use crate::fault::Route;
use axum::http::{HeaderMap, Version, request::Parts};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// One request as it was seen. It may hold tokens and keys, since tests compare them: never log it.
#[derive(Clone, Serialize)]
pub struct SeenRequest {
    /// Counted from 1 since the start, never reused.
    pub number: u64,
    /// The connection it came on, counted from 1 since the start.
    pub connection: u64,
    /// Whether that connection was TLS.
    pub tls: bool,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub http_version: &'static str,
    /// What kind of request it is.
    pub route: Route,
    /// `GET`, `POST`, …
    pub method: String,
    /// The path as it was sent, percent-encoding kept.
    pub path: String,
    /// The query as it was sent, without the question mark.
    pub query: Option<String>,
    /// All header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body that have arrived so far.
    pub body_bytes: u64,
    /// Requests for tokens: the form's or JSON body's fields; a value that is no string is there as JSON.
    pub fields: BTreeMap<String, String>,
    /// The status answered; `None` while there is no answer, and for good when a fault withheld it.
    pub status: Option<u16>,
}

impl SeenRequest {
    /// The first header field called `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(seen, _)| seen == name).map(|(_, value)| value.as_str())
    }
}

/// The number of a request in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestNumber(pub(crate) u64);

/// The connection a request came on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) tls: bool,
    pub(crate) host: Host,
}

/// Which of Google's hosts a port stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// The APIs, and the other clouds' sources of subject tokens.
    Apis,
    /// `metadata.google.internal`.
    Metadata,
}

/// The requests so far.
#[derive(Default)]
pub(crate) struct Record {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last: u64,
    seen: BTreeMap<u64, Entry>,
}

struct Entry {
    seen: SeenRequest,
    /// Stands for [`SeenRequest::body_bytes`], which is written with every chunk that arrives.
    body_bytes: BodyBytes,
}

impl Entry {
    fn read(&self) -> SeenRequest {
        SeenRequest { body_bytes: self.body_bytes.read(), ..self.seen.clone() }
    }
}

/// Counts the bytes of a request's body while they arrive.
#[derive(Clone, Default)]
pub(crate) struct BodyBytes {
    count: Arc<AtomicU64>,
}

impl BodyBytes {
    pub(crate) fn add(&self, bytes: usize) {
        self.count.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Record {
    /// Writes down a request whose head has arrived.
    pub(crate) fn begin(
        &self,
        parts: &Parts,
        route: Route,
        connection: Connection,
    ) -> (RequestNumber, BodyBytes) {
        let headers = header_fields(&parts.headers);
        let mut inner = self.lock();
        inner.last += 1;
        let number = inner.last;
        let seen = SeenRequest {
            number,
            connection: connection.number,
            tls: connection.tls,
            http_version: if parts.version == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" },
            route: route.recorded(),
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers,
            body_bytes: 0,
            fields: BTreeMap::new(),
            status: None,
        };
        let body_bytes = BodyBytes::default();
        inner.seen.insert(number, Entry { seen, body_bytes: body_bytes.clone() });
        (RequestNumber(number), body_bytes)
    }

    /// Writes down the parameters of a token request.
    pub(crate) fn note_fields(&self, number: RequestNumber, fields: &BTreeMap<String, String>) {
        if let Some(entry) = self.lock().seen.get_mut(&number.0) {
            entry.seen.fields.clone_from(fields);
        }
    }

    /// Writes down the status answered.
    pub(crate) fn finish(&self, number: RequestNumber, status: u16) {
        if let Some(entry) = self.lock().seen.get_mut(&number.0) {
            entry.seen.status = Some(status);
        }
    }

    /// All requests since the start or the last `clear`.
    pub(crate) fn seen(&self) -> Vec<SeenRequest> {
        self.lock().seen.values().map(Entry::read).collect()
    }

    /// Forgets all requests; numbers go on.
    pub(crate) fn clear(&self) {
        self.lock().seen.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn header_fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
