//! A request, which knows what of it is secret.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::{Secret, strike_out::Sent};

/// A request, which knows which of its parts are secret.
#[derive(Debug, Clone)]
pub struct Request {
    /// How.
    pub method: Method,
    /// The absolute URL.
    pub url: String,
    /// The header fields, apart from those of the body and the connection.
    pub headers: Vec<(String, Field)>,
    /// What is sent.
    pub body: Body,
    /// Which way it takes.
    pub way: Way,
}

/// The methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

impl From<Method> for reqwest::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Post => Self::POST,
            Method::Put => Self::PUT,
            Method::Delete => Self::DELETE,
        }
    }
}

/// What a request carries.
#[derive(Debug, Clone)]
pub enum Body {
    /// Nothing.
    Empty,
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(&'static str, Field)>),
    /// `application/json`, without a secret in it.
    Json(Value),
}

/// Which way a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Through the proxy, if there is one, and for as long as the settings allow.
    Usual,
    /// To a metadata server: never through a proxy, which would get a token of its own machine, and for three seconds,
    /// because on a machine without one nobody answers.
    MetadataServer,
}

/// A field's value.
#[derive(Debug, Clone)]
pub enum Field {
    /// May be logged.
    Plain(String),
    /// Never appears but on the wire.
    Secret(Secret),
}

impl Request {
    /// A POST of a form.
    pub fn form(url: impl Into<String>, fields: Vec<(&'static str, Field)>) -> Self {
        Self { body: Body::Form(fields), ..Self::new(Method::Post, url) }
    }

    /// A POST of JSON.
    pub fn json(url: impl Into<String>, body: Value) -> Self {
        Self { body: Body::Json(body), ..Self::new(Method::Post, url) }
    }

    /// A request without a body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: Body::Empty, way: Way::Usual }
    }

    /// With a header field that may be logged.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), Field::Plain(value.into())));
        self
    }

    /// With a header field that is a secret.
    #[must_use]
    pub fn secret_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), Field::Secret(Secret::new(value))));
        self
    }

    /// To a metadata server.
    #[must_use]
    pub fn to_metadata_server(mut self) -> Self {
        self.way = Way::MetadataServer;
        self
    }

    /// Everything in it that is secret; of `Authorization: Bearer …` the part behind the space as well, of `Basic …` also
    /// the pair that it holds and the password (RFC 7617 section 2).
    pub(super) fn secrets(&self) -> Sent {
        let form = if let Body::Form(fields) = &self.body { fields.as_slice() } else { &[] };
        let fields = self.headers.iter().map(|(_, value)| value).chain(form.iter().map(|(_, value)| value));
        Sent::new(fields.flat_map(|field| {
            let Field::Secret(secret) = field else { return Vec::new() };
            let Some((scheme, credentials)) = secret.expose().split_once(' ') else {
                return vec![secret.clone()];
            };
            let pair = STANDARD.decode(credentials).ok().filter(|_| scheme == "Basic");
            let pair = pair.and_then(|pair| String::from_utf8(pair).ok()).map(Secret::new);
            let password = pair.as_ref().and_then(|pair| pair.expose().split_once(':'));
            let password = password.map(|(_, password)| Secret::new(password));
            // Whole before part: what holds another is struck out first.
            [secret.clone(), Secret::new(credentials)].into_iter().chain(pair).chain(password).collect()
        }))
    }

    /// As a log may show it.
    pub(super) fn shown(&self) -> String {
        let mut shown = format!("{} {}", self.method.name(), shown_url(&self.url));
        for (name, value) in &self.headers {
            shown = format!("{shown} [{name}: {}]", value.shown());
        }
        match &self.body {
            Body::Empty => shown,
            Body::Form(fields) => {
                let fields = fields.iter().map(|(name, value)| format!("{name}={}", value.shown()));
                format!("{shown} {}", fields.collect::<Vec<_>>().join("&"))
            }
            Body::Json(body) => format!("{shown} {body}"),
        }
    }
}

impl Field {
    /// The value itself, for the wire.
    pub fn expose(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(secret) => secret.expose(),
        }
    }

    fn shown(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(_) => "[struck out]",
        }
    }
}

/// The form as it goes over the wire (URL standard, section 5.2).
pub(super) fn encoded(form: &[(&'static str, Field)]) -> String {
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form {
        encoded.append_pair(name, value.expose());
    }
    encoded.finish()
}

/// An address as a log may show it: without user and password, and without its query. The one way of showing any.
pub fn shown_url(url: &str) -> String {
    let url = url.trim();
    let without_query = |url: &str| url.split(['?', '#']).next().unwrap_or_default().to_owned();
    let Some(parsed) = Url::parse(url).ok().filter(Url::has_host) else {
        // Nobody knows where a password ends that has a slash or a question mark in it, but not later than here.
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let behind = rest.rsplit_once('@').map(|(_, behind)| without_query(behind));
        return match behind {
            None => without_query(url),
            Some(behind) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) && !scheme.is_empty() => {
                format!("{scheme}://{behind}")
            }
            Some(behind) => behind,
        };
    };
    let path = parsed.path();
    let in_path = path.rsplit_once('@').filter(|(before, _)| before.contains(':'));
    if parsed.username().is_empty() && parsed.password().is_none() && in_path.is_none() {
        return without_query(url);
    }
    // A user and a slash in the password look like a host and a path.
    let path = in_path.map_or_else(|| path.to_owned(), |(_, behind)| format!("/[struck out]@{behind}"));
    let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{path}", parsed.scheme(), parsed.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_shown_without_its_secrets() {
        let request = Request::form(
            "https://bob:hunter2@t/token?key=hush",
            vec![
                ("grant_type", Field::Plain("refresh_token".to_owned())),
                ("refresh_token", Field::Secret(Secret::new("1//secret"))),
            ],
        )
        .secret_header("Authorization", "Bearer ya29.hush");
        assert_eq!(
            request.shown(),
            "POST https://t/token [Authorization: [struck out]] grant_type=refresh_token&refresh_token=[struck out]"
        );
        let echo = request.secrets().strike("unknown 1//secret and ya29.hush");
        assert_eq!(echo, "unknown [struck out] and [struck out]");
    }

    #[test]
    fn addresses_are_shown_without_passwords() {
        for (url, shown) in [
            ("https://t/token", "https://t/token"),
            ("https://t", "https://t"),
            ("https://t:443/Token?x=y#z", "https://t:443/Token"),
            ("http://bob:pw@t:8080/token?x=y#z", "http://t:8080/token"),
            ("http://bob@t/", "http://t/"),
            ("HTTP:\\\\bob:pw@t\\x", "http://t/x"),
            ("bob:pw@t/x", "t/x"),
            ("bob:p?w@t/x", "t/x"),
            ("http://bob:p/w@t/x", "http://t/x"),
            ("http://bob:p?w@t/x", "http://t/x"),
            ("http://bob:p#w@t:1/x?y", "http://t:1/x"),
            ("http://bob:p@w@t/x", "http://t/x"),
            ("http://bob/p:w@t/x", "http://bob/[struck out]@t/x"),
            ("/login?key=hush", "/login"),
            ("https://t/v1/a@p.example:generate", "https://t/v1/a@p.example:generate"),
            ("http://[::1]:80/x?y", "http://[::1]:80/x"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
    }
}
