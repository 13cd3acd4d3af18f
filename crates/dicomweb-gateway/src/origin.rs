//! Browsers as clients: which web pages may ask (the Fetch standard's CORS protocol), and which must not.
//!
//! A page from anywhere can make a browser send requests to this machine. One that says it comes from a page (`Origin`) is
//! answered only if that page's origin is allowed. Images, frames and links come without `Origin`; of these the browser says
//! in `Sec-Fetch-Site` (Fetch Metadata) whether another site has made it ask. Without a secret, the name that was looked up
//! (`Host`) has to be this machine's, or a page could have its own name point here (DNS rebinding).

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::body::{self, ResponseBody};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// What a page may send where it does not say what it wants to. What it asks for it may send: few fields are passed on, and
/// those that steer Google's servers are refused.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, accept");
/// What a page may read beyond what the protocol always allows.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("Content-Location, ETag, Retry-After, Warning");
/// How long a browser remembers that, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
/// Questions of browsers whether a page of the internet may ask a private network (WICG Private Network Access, and its
/// successor Local Network Access), and the answers.
const PRIVATE_NETWORK: [(HeaderName, HeaderName); 2] = [
    (
        HeaderName::from_static("access-control-request-private-network"),
        HeaderName::from_static("access-control-allow-private-network"),
    ),
    (
        HeaderName::from_static("access-control-request-local-network"),
        HeaderName::from_static("access-control-allow-local-network"),
    ),
];

/// An origin as browsers send it (RFC 6454 section 6.2), for [`Settings::allowed_origins`](crate::Settings).
///
/// # Errors
/// No browser sends `text` as an origin, or every page could: why, and what to write instead.
pub fn origin(text: &str) -> Result<String, String> {
    if text.contains('*') {
        return Err("would let any web page ask; name the origin of each viewer".to_owned());
    }
    if text.eq_ignore_ascii_case("null") {
        return Err("is what every sandboxed page sends; name the origin of each viewer".to_owned());
    }
    let form = || "is not a valid origin; write scheme and host, such as `https://viewer.example`".to_owned();
    let (scheme, host) = text.split_once("://").ok_or_else(form)?;
    let found = if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        let url = reqwest::Url::parse(text).map_err(|_| form())?;
        url.origin().ascii_serialization()
    } else {
        // Of browsers' extensions and of programs that are made of pages.
        let is_in_host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_:".contains(c);
        let is_origin = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
            && !host.is_empty()
            && host.chars().all(is_in_host);
        if is_origin { text.to_owned() } else { return Err(form()) }
    };
    if found == text {
        Ok(found)
    } else {
        Err(format!("is not written as browsers send it; write `{found}`"))
    }
}

/// Whether the request comes from a page that may not ask.
pub(crate) fn is_foreign(headers: &HeaderMap, allowed: &[String]) -> bool {
    if headers.contains_key(header::ORIGIN) {
        return !headers.get_all(header::ORIGIN).iter().all(|origin| is_allowed(origin, allowed));
    }
    // `none` is the user, who has typed the address.
    let is_own = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    !headers.get_all(SEC_FETCH_SITE).iter().all(is_own)
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
    let asked = request.headers();
    let asks = asked.contains_key(header::ORIGIN)
        && asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && request.method() == Method::OPTIONS;
    if !asks || is_foreign(asked, allowed) {
        return None;
    }
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    let wanted = asked.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS);
    for names in wanted.iter().filter(|names| is_list_of_names(names)) {
        headers.append(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.entry(header::ACCESS_CONTROL_ALLOW_HEADERS).or_insert(ALLOWED_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    for (question, answer) in PRIVATE_NETWORK {
        if asked.get(question).is_some_and(|asked| asked == "true") {
            headers.insert(answer, HeaderValue::from_static("true"));
        }
    }
    Some(response)
}

fn is_list_of_names(names: &HeaderValue) -> bool {
    let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~, \t".contains(byte);
    !names.is_empty() && names.as_bytes().iter().all(is_in_name)
}

/// Says who may read the answer: the allowed page that asked, and no other by any way of embedding it.
///
/// A page that is allowed asks with CORS, for which `Cross-Origin-Resource-Policy` does not count (Fetch, "cross-origin
/// resource policy check").
pub(crate) fn protect(
    origin: Option<HeaderValue>,
    response: &mut Response<ResponseBody>,
    allowed: &[String],
) {
    let headers = response.headers_mut();
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if allowed.is_empty() {
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.filter(|origin| is_allowed(origin, allowed)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
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

    #[test]
    fn origins_are_those_that_browsers_send() {
        for text in [
            "https://viewer.example",
            "http://localhost:3000",
            "http://[::1]:3000",
            "https://xn--bcher-kva.example",
            "chrome-extension://abcdefghijklmnop",
            "app://viewer",
        ] {
            assert_eq!(origin(text), Ok(text.to_owned()));
        }
        for (text, remedy) in [
            ("*", "any web page"),
            ("https://*.example", "any web page"),
            ("null", "sandboxed"),
            ("https://viewer.example/", "write `https://viewer.example`"),
            ("https://viewer.example/path?x", "write `https://viewer.example`"),
            ("https://viewer.example:443", "write `https://viewer.example`"),
            ("HTTPS://Viewer.example", "write `https://viewer.example`"),
            ("https://user:secret@viewer.example", "write `https://viewer.example`"),
            ("https://b\u{fc}cher.example", "write `https://xn--bcher-kva.example`"),
            ("viewer.example", "not a valid origin"),
            ("", "not a valid origin"),
            ("https://", "not a valid origin"),
            (" https://viewer.example", "not a valid origin"),
            ("https://viewer.example, https://other.example", "not a valid origin"),
            ("file://", "not a valid origin"),
            ("app://viewer/", "not a valid origin"),
        ] {
            let refused = origin(text).unwrap_err();
            assert!(refused.contains(remedy), "{text}: {refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }

    #[test]
    fn pages_that_are_not_allowed_are_foreign_with_and_without_origin() {
        let allowed = ["https://viewer.example".to_owned()];
        let site = |value| (SEC_FETCH_SITE, HeaderValue::from_static(value));
        let origin = |value| (header::ORIGIN, HeaderValue::from_static(value));
        for (fields, expected) in [
            (vec![], false),
            (vec![site("none")], false),
            (vec![site("same-origin")], false),
            (vec![site("same-site")], true),
            (vec![site("cross-site")], true),
            (vec![site("Cross-Site")], true),
            (vec![site("")], true),
            (vec![site("none"), site("cross-site")], true),
            (vec![origin("https://viewer.example"), site("cross-site")], false),
            (vec![origin("https://viewer.example")], false),
            (vec![origin("https://evil.example"), site("same-origin")], true),
            (vec![origin("https://viewer.example"), origin("https://evil.example")], true),
            (vec![origin("null"), site("none")], true),
            (vec![origin("https://viewer.example.evil.example")], true),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, value);
            }
            assert_eq!(is_foreign(&headers, &allowed), expected, "{headers:?}");
        }
    }

    #[test]
    fn preflights_of_allowed_pages_get_what_they_ask_for() {
        let allowed = ["https://viewer.example".to_owned()];
        let ask = |origin: Option<&str>, headers: &str| {
            let mut request = Request::builder().method(Method::OPTIONS);
            request = request.header("access-control-request-method", "GET");
            request = request.header("access-control-request-private-network", "true");
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            if !headers.is_empty() {
                request = request.header("access-control-request-headers", headers);
            }
            let mut response = preflight(&request.body(()).unwrap(), &allowed)?;
            protect(origin.map(|origin| origin.parse().unwrap()), &mut response, &allowed);
            Some(response.headers().clone())
        };
        let text = |headers: &HeaderMap, name: &str| headers[name].to_str().unwrap().to_owned();
        for (asked, expected) in [
            ("accept,authorization,x-requested-with", "accept,authorization,x-requested-with"),
            ("range, cache-control, pragma, if-none-match", "range, cache-control, pragma, if-none-match"),
            ("", "authorization, content-type, accept"),
            ("a\u{e4}", "authorization, content-type, accept"),
        ] {
            let headers = ask(Some("https://viewer.example"), asked).unwrap();
            assert_eq!(text(&headers, "access-control-allow-headers"), expected);
            assert_eq!(text(&headers, "access-control-allow-private-network"), "true");
            assert_eq!(text(&headers, "access-control-allow-origin"), "https://viewer.example");
            assert!(!headers.contains_key("access-control-allow-local-network"));
        }
        assert_eq!(ask(Some("https://evil.example"), ""), None);
        assert_eq!(ask(None, ""), None);
    }
}
