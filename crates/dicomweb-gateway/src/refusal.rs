//! What is answered where a request did not succeed: Google's own answer, or why there is none.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use google_credentials::{Failure, FailureKind, Grant, Response, Sent, TransportError, remedy};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    body::{self, ResponseBody},
    words,
};

/// Why a request did not succeed.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    status: StatusCode,
    /// Google's answer, passed on as it is.
    google: Option<(HeaderMap, Bytes)>,
    failure: Failure,
    attempts: u32,
}

impl Refusal {
    /// Google answered with something else than success.
    pub(crate) fn of_google(
        url: &str,
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        sent_at: SystemTime,
        grant: Option<&Grant>,
    ) -> Self {
        let kept = ["content-type", "date", "location", "retry-after"]
            .into_iter()
            .filter_map(|name| Some((name, headers.get(name)?.to_str().ok()?.to_owned())));
        let response = Response {
            status: status.as_u16(),
            headers: kept.collect(),
            body: if may_repeat_a_patient(url, status) { Vec::new() } else { without_values(&body) },
            sent: Sent::new(grant.map(|grant| grant.token.value.clone())),
        };
        let principal = grant.and_then(|grant| grant.principal.as_deref());
        let failure = remedy::of_store(url, &response, sent_at, principal);
        Self { status, google: Some((headers, body)), failure, attempts: 1 }
    }

    /// Google did not answer.
    pub(crate) fn of_transport(url: &str, error: &TransportError) -> Self {
        let status = match error.kind {
            google_credentials::TransportErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self { status, google: None, failure: remedy::of_transport(url, error), attempts: 1 }
    }

    /// There is no token to ask with.
    pub(crate) fn without_token(failure: Failure) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, google: None, failure, attempts: 0 }
    }

    /// The gateway itself refuses.
    pub(crate) fn own(status: StatusCode, cause: &str, remedy: &str) -> Self {
        let failure = Failure::new(FailureKind::NeedsPerson, cause, remedy);
        Self { status, google: None, failure, attempts: 0 }
    }

    /// With another remedy, where more is known than the answer says.
    #[must_use]
    pub(crate) fn with_remedy(mut self, remedy: &str) -> Self {
        remedy.clone_into(&mut self.failure.remedy);
        self
    }

    /// After so many attempts.
    #[must_use]
    pub(crate) fn after(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Google's body, where the refusal is Google's.
    pub(crate) fn google_body(&self) -> Option<&Bytes> {
        self.google.as_ref().map(|(_, body)| body)
    }

    pub(crate) fn failure(&self) -> &Failure {
        &self.failure
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.failure.retry_after
    }

    /// The cause with the remedy, and how often it was tried.
    pub(crate) fn in_words(&self) -> String {
        if self.attempts > 1 {
            format!("{} (after {} attempts)", self.failure, self.attempts)
        } else {
            self.failure.to_string()
        }
    }

    /// The answer to whoever asked.
    pub(crate) fn into_response(self) -> http::Response<ResponseBody> {
        let mut response = http::Response::new(body::empty());
        *response.status_mut() = self.status;
        // Google does not redirect; what does is a portal or a proxy, which shall get neither the client's secret nor its
        // images, and whose page a client would take for success.
        let leads_away = self.status.is_redirection() && self.status != StatusCode::NOT_MODIFIED;
        if leads_away {
            *response.status_mut() = StatusCode::BAD_GATEWAY;
        }
        if let Some((headers, body)) = self.google.filter(|_| !leads_away) {
            body::copy_answer(&headers, response.headers_mut());
            // What is passed on may be shorter than what Google has sent.
            response.headers_mut().remove(header::CONTENT_LENGTH);
            *response.body_mut() = body::whole(body);
            return response;
        }
        let json = json!({ "error": {
            "code": response.status().as_u16(),
            "message": self.failure.cause,
            "remedy": self.failure.remedy,
        }});
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *response.body_mut() = body::whole(json.to_string());
        response
    }
}

/// Google's answer as far as the log may have it (AIP-193 for its form).
fn without_values(body: &[u8]) -> Vec<u8> {
    let Ok(mut answer) = serde_json::from_slice::<Value>(body) else {
        return words::without_values(&String::from_utf8_lossy(body)).into_bytes();
    };
    // Streaming methods wrap the error in an array.
    let error = if answer.is_array() { answer.get_mut(0) } else { Some(&mut answer) };
    if let Some(Value::String(message)) = error.and_then(|error| error.get_mut("error")?.get_mut("message")) {
        *message = words::without_values(message);
    }
    answer.to_string().into_bytes()
}

/// Parameters of a query that say nothing of a patient (PS3.18 sections 8.3.4 and 10.6).
const HARMLESS_PARAMETERS: [&str; 10] = [
    "includefield",
    "limit",
    "offset",
    "fuzzymatching",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "0020000D",
    "0020000E",
    "00080018",
];

/// Whether Google's words may repeat what a search asks for. They go to whoever has asked, and not into the log. What is
/// said of a missing right is needed there, and repeats no search.
fn may_repeat_a_patient(url: &str, status: StatusCode) -> bool {
    let (_, query) = url.split_once('?').unwrap_or_default();
    let is_harmless = |parameter: &str| {
        let name = parameter.split('=').next().unwrap_or_default();
        name.is_empty() || HARMLESS_PARAMETERS.iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    !query.split('&').all(is_harmless) && !matches!(status.as_u16(), 401 | 403)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_google_says_of_a_search_for_a_patient_stays_out_of_the_log() {
        let of = |query: &str, status: StatusCode| {
            let body = Bytes::from_static(br#"{"error":{"code":400,"message":"no such name: Doe"}}"#);
            let url = format!("https://healthcare.example/v1/studies{query}");
            let now = SystemTime::UNIX_EPOCH;
            let refusal = Refusal::of_google(&url, status, HeaderMap::new(), body, now, None);
            assert_eq!(refusal.google_body().map(|body| body.ends_with(b"Doe\"}}")), Some(true));
            refusal.in_words()
        };
        let of_upload =
            Bytes::from_static(br#"{"error":{"code":400,"message":"bad value Doe in '1.2.840.3'"}}"#);
        let (url, now) = ("https://healthcare.example/v1/studies", SystemTime::UNIX_EPOCH);
        let refusal =
            Refusal::of_google(url, StatusCode::BAD_REQUEST, HeaderMap::new(), of_upload, now, None);
        assert!(refusal.in_words().contains("bad value … in '1.2.840.3'"), "{}", refusal.in_words());
        for (query, status, is_quoted) in [
            ("", StatusCode::BAD_REQUEST, true),
            ("?limit=1&StudyInstanceUID=1.2", StatusCode::BAD_REQUEST, true),
            ("?limit=1&PatientName=Doe", StatusCode::BAD_REQUEST, false),
            ("?00100010=Doe", StatusCode::INTERNAL_SERVER_ERROR, false),
            ("?PatientName=Doe", StatusCode::FORBIDDEN, true),
        ] {
            let words = of(query, status);
            assert_eq!(words.contains("no such name"), is_quoted, "{query} {status}: {words}");
            assert!(!words.contains("Doe"), "{query} {status}: {words}");
        }
    }
}
