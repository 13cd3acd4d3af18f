//! An answer, read whole.

use std::time::{Duration, SystemTime};

use super::shown_url;
use crate::strike_out::{Sent, strike_out};

/// An answer, read whole.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers that a remedy needs, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// What the request held in secret: to be struck out of whatever is quoted of this.
    pub sent: Sent,
}

/// The headers that are kept.
pub(super) const KEPT_HEADERS: [&str; 5] =
    ["content-type", "date", "location", "metadata-flavor", "retry-after"];
/// A server may ask for any pause; a mistake there must not silence an account for a day.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

impl Response {
    /// A kept header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(kept, _)| *kept == name).map(|(_, value)| value.as_str())
    }

    /// The body as a log may quote it.
    pub(crate) fn quoted(&self) -> String {
        strike_out(self.sent.strike(&String::from_utf8_lossy(&self.body)).as_bytes())
    }

    /// `Retry-After` (RFC 9110 section 10.2.3), in seconds or as a date that is compared with `now`; at most 5 minutes.
    pub fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let value = self.header("retry-after")?.trim();
        let pause = match value.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default(),
        };
        Some(pause.min(LONGEST_RETRY_AFTER))
    }
}

/// The headers as a log may show them.
pub(super) fn shown_headers(answer: &Response) -> String {
    let shown = |(name, value): &(&'static str, String)| {
        let value = if *name == "location" { shown_url(value) } else { value.clone() };
        format!("{name}: {}", strike_out(answer.sent.strike(&value).as_bytes()))
    };
    answer.headers.iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 12:00:00 GMT").unwrap();
        for (value, expected) in [
            ("7", Some(7)),
            ("100000", Some(300)),
            ("Mon, 23 Nov 2026 12:00:09 GMT", Some(9)),
            ("Mon, 23 Nov 2026 11:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            let response = Response {
                status: 429,
                headers: vec![("retry-after", value.to_owned())],
                ..Response::default()
            };
            assert_eq!(response.retry_after(now).map(|pause| pause.as_secs()), expected, "{value}");
        }
    }
}
