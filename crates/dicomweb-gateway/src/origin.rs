//! Browsers as clients: which web pages may ask (the Fetch standard's CORS protocol), and which must not.
//!
//! A page from anywhere can make a browser send requests to this machine. So one that says it comes from a page (`Origin`) is
//! answered only if that page's origin is allowed; and without a secret, the name that was looked up (`Host`) has to be
//! this machine's, or a page could have its own name point here (DNS rebinding).

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::body::{self, ResponseBody};

/// What a page may send beyond what the protocol always allows.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, accept");
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE");
/// How long a browser remembers that, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Whether the request comes from a page that may not ask.
pub(crate) fn is_foreign(headers: &HeaderMap, allowed: &[String]) -> bool {
    headers.get(header::ORIGIN).is_some_and(|origin| !is_allowed(origin, allowed))
}

/// Whether the request was sent to an address of this machine's, and not to a name that leads here.
pub(crate) fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// The answer to a browser's question whether a page may ask (a preflight request), if this is one.
pub(crate) fn preflight<B>(request: &Request<B>, allowed: &[String]) -> Option<Response<ResponseBody>> {
    let asks = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() != Method::OPTIONS || !asks || is_foreign(request.headers(), allowed) {
        return None;
    }
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    Some(response)
}

/// Lets the page that asked read the answer.
pub(crate) fn let_read(
    origin: Option<HeaderValue>,
    response: &mut Response<ResponseBody>,
    allowed: &[String],
) {
    if allowed.is_empty() {
        return;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.filter(|origin| is_allowed(origin, allowed)) {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

fn is_allowed(origin: &HeaderValue, allowed: &[String]) -> bool {
    allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_here_are_not_this_machine() {
        for (host, expected) in [
            ("127.0.0.1:8043", true),
            ("localhost", true),
            ("[::1]:8043", true),
            ("evil.example:8043", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            assert_eq!(is_for_this_machine(&headers), expected, "{host}");
        }
        assert!(!is_for_this_machine(&HeaderMap::new()));
    }
}
