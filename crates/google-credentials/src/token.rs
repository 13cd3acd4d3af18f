//! The access token, and reading one from a token endpoint's answer (RFC 6749 section 5.1).

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::{Failure, FailureKind, Response, Secret, http::shown_url, remedy, strike_out::strike_out};

/// An OAuth 2.0 bearer token (RFC 6750) with the time at which it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The token itself.
    pub value: Secret,
    /// The wall-clock time from before the request was sent: no token is older than that.
    pub obtained_at: SystemTime,
    /// When Google stops to accept it: `obtained_at` plus `expires_in`.
    pub expires_at: SystemTime,
}

impl AccessToken {
    /// How long the token was given for.
    pub fn lifetime(&self) -> Duration {
        self.expires_at.duration_since(self.obtained_at).unwrap_or_default()
    }
}

/// `expires_in` is only recommended (RFC 6749 section 5.1); Google's tokens live for an hour.
const LIFETIME_UNLESS_STATED: Duration = Duration::from_secs(3600);
/// Longer lives are taken for this: the sum with today's date must stay a date.
const LONGEST_LIFETIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads what the token endpoint `url` answered to a request that was sent at `sent_at`.
pub(crate) fn read_answer(
    url: &str,
    response: &Response,
    sent_at: SystemTime,
) -> Result<AccessToken, Failure> {
    if response.status != 200 {
        return Err(remedy::of_refusal(url, response, sent_at));
    }
    let wrong = |what: &str| Failure {
        retry_after: response.retry_after(sent_at),
        ..Failure::new(
            FailureKind::Transient,
            format!("{} answered 200, but {what}", shown_url(url)),
            "a proxy or captive portal may have answered in Google's place: look at the way to that address",
        )
    };
    if response.body.iter().all(u8::is_ascii_whitespace) {
        return Err(wrong("with an empty body"));
    }
    let answer: Map<String, Value> = serde_json::from_slice(&response.body).map_err(|error| {
        let what = if error.is_eof() { "its JSON breaks off" } else { "not with the JSON object of a token" };
        wrong(&format!(
            "{what}: \"{}\"",
            strike_out(response.sent.strike(&String::from_utf8_lossy(&response.body)).as_bytes())
        ))
    })?;
    let value = match answer.get("access_token") {
        Some(Value::String(token)) if is_header_value(token) => Secret::new(token),
        Some(_) => return Err(wrong("its `access_token` is no token")),
        None => return Err(wrong("without `access_token`")),
    };
    match answer.get("token_type") {
        None => {}
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("Bearer") => {}
        Some(_) => return Err(wrong("its `token_type` is not Bearer")),
    }
    let Some(lifetime) = lifetime(answer.get("expires_in")) else {
        return Err(wrong("its `expires_in` is no number of seconds above 0"));
    };
    Ok(AccessToken { value, obtained_at: sent_at, expires_at: sent_at + lifetime.min(LONGEST_LIFETIME) })
}

/// `expires_in`: seconds, which some servers send as a string.
fn lifetime(expires_in: Option<&Value>) -> Option<Duration> {
    let seconds = match expires_in {
        None | Some(Value::Null) => return Some(LIFETIME_UNLESS_STATED),
        Some(Value::Number(number)) => number.as_f64()?,
        Some(Value::String(text)) => text.trim().parse().ok()?,
        Some(_) => return None,
    };
    if seconds.is_nan() || seconds < 1.0 {
        return None;
    }
    Duration::try_from_secs_f64(seconds.floor()).ok().or(Some(LONGEST_LIFETIME))
}

/// The token goes into an `Authorization` header: visible ASCII (RFC 6750 section 2.1 allows even less).
pub(crate) fn is_header_value(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<AccessToken, Failure> {
        let response = Response {
            status: 200,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
            ..Response::default()
        };
        read_answer("https://t/token", &response, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn lifetimes() {
        for (expires_in, expected) in [
            (r#","expires_in":3599"#, Some(3599)),
            (r#","expires_in":"3599""#, Some(3599)),
            (r#","expires_in":30.9"#, Some(30)),
            ("", Some(3600)),
            (r#","expires_in":1e300"#, Some(LONGEST_LIFETIME.as_secs())),
            (r#","expires_in":0"#, None),
            (r#","expires_in":-5"#, None),
            (r#","expires_in":"soon""#, None),
            (r#","expires_in":"NaN""#, None),
            (r#","expires_in":[]"#, None),
        ] {
            let token = read(&format!(r#"{{"access_token":"ya29.x"{expires_in}}}"#));
            assert_eq!(token.ok().map(|token| token.lifetime().as_secs()), expected, "{expires_in}");
        }
    }

    #[test]
    fn wrong_answers_say_what_they_are() {
        for (body, said) in [
            ("", "with an empty body"),
            (" \n", "with an empty body"),
            ("<html>Welcome to Wi-Fi</html>", "<html>Welcome to Wi-Fi</html>"),
            (r#"{"access_token":"ya29.c.abcdefghijklmnopqrstuvwxyz"#, "its JSON breaks off"),
            ("[]", "not with the JSON object"),
            ("{}", "without `access_token`"),
            (r#"{"access_token":42}"#, "`access_token` is no token"),
            (r#"{"access_token":""}"#, "`access_token` is no token"),
            (r#"{"access_token":"a\nb"}"#, "`access_token` is no token"),
            (r#"{"access_token":"a","token_type":"mac"}"#, "not Bearer"),
        ] {
            let failure = read(body).unwrap_err();
            assert!(failure.cause.contains(said), "{body}: {failure}");
            assert!(!failure.to_string().contains("ya29"), "{failure}");
            assert_eq!(failure.kind, FailureKind::Transient);
        }
    }
}
