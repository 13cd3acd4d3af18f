//! Requests and answers, and the client that carries them.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use reqwest::{NoProxy, header::HeaderValue, redirect};
use serde_json::Value;
use url::form_urlencoded;

use crate::{
    Secret, TransportError, TransportErrorKind,
    gate::Gates,
    names::Names,
    strike_out::{Sent, strike_out, strike_out_answer},
    tls, transport,
};

/// How requests are sent: Orthanc's own HTTP options, which hold for the whole server.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// `HttpsCACertificates`: a file of PEM certificates; the system's roots where there is none.
    pub ca_certificates: Option<PathBuf>,
    /// `HttpsVerifyPeers`.
    pub verify_peers: PeerVerification,
    /// `HttpProxy`; the environment's `https_proxy` where there is none, as libcurl has it.
    pub proxy: Option<Proxy>,
    /// One exchange, from the first look-up of the name to the last byte of the answer.
    pub timeout: Duration,
    /// `HttpVerbose`: log every request and answer, secrets struck out.
    pub verbose: Verbosity,
}

/// Whether a server has to show a certificate that can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerVerification {
    /// Yes.
    Required,
    /// `HttpsVerifyPeers: false`: anybody in between can take the credential.
    Off,
}

/// Whether requests and answers are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Changes of state alone.
    Quiet,
    /// Each request and each answer.
    Verbose,
}

/// `HttpProxy` as Orthanc takes it: `host:port`, `user:password@host:port`, with or without a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Scheme, host and port, without the password.
    pub address: String,
    user: Option<(String, Secret)>,
}

impl Proxy {
    /// Reads the option; `None` where it is empty.
    ///
    /// User and password are percent-encoded (RFC 3986 section 3.2.1), as libcurl has it. It ends them at the first `@`;
    /// here it is the last one, so that a password with a bare `@` does not send its rest to a name server.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // A password may hold `://` as well.
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => (scheme, rest),
            _ => ("http", text),
        };
        if rest.is_empty() {
            return None;
        }
        let (user, host) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((user, host)) => {
                let (name, password) = user.split_once(':').unwrap_or((user, ""));
                let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
                (Some((decoded(name).into_owned(), Secret::new(decoded(password)))), host)
            }
        };
        Some(Self { address: format!("{scheme}://{host}"), user })
    }
}

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
    fn secrets(&self) -> Sent {
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
    fn shown(&self) -> String {
        let method = match self.method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
        };
        let mut shown = format!("{method} {}", shown_url(&self.url));
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
const KEPT_HEADERS: [&str; 5] = ["content-type", "date", "location", "metadata-flavor", "retry-after"];
/// A token answer is about 1 kB; what is larger comes from somewhere else.
const LARGEST_BODY: usize = 1 << 20;
/// What Google's libraries give a metadata server (`GCE_METADATA_TIMEOUT`): it answers at once or is not there.
const METADATA_SERVER_TIMEOUT: Duration = Duration::from_secs(3);
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

/// The HTTP client. It is made at the first request, and made again while that fails or the server's certificate is
/// refused, so that a CA file may come or be completed late.
pub(crate) struct Http {
    settings: HttpSettings,
    client: Mutex<Option<reqwest::Client>>,
    /// For the metadata server: no proxy, no TLS.
    direct: Mutex<Option<reqwest::Client>>,
    gates: Gates,
}

impl Http {
    pub(crate) fn new(settings: HttpSettings) -> Self {
        Self { settings, client: Mutex::new(None), direct: Mutex::new(None), gates: Gates::default() }
    }

    pub(crate) async fn send(&self, request: &Request) -> Result<Response, TransportError> {
        let verbose = self.settings.verbose == Verbosity::Verbose;
        if verbose {
            tracing::warn!("HttpVerbose: > {}", request.shown());
        }
        let limit = match request.way {
            Way::Usual => self.settings.timeout,
            Way::MetadataServer => self.settings.timeout.min(METADATA_SERVER_TIMEOUT),
        };
        // Before the time limit begins, which is that of the request itself.
        let turn = self.gates.enter(&request.url).await;
        let outcome = match tokio::time::timeout(limit, self.exchange(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(TransportError {
                kind: TransportErrorKind::Timeout,
                cause: format!("no whole answer within {} s", limit.as_secs()),
            }),
        };
        drop(turn);
        if outcome.as_ref().is_err_and(|error| error.kind.is_of_certificate()) {
            self.client.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        if verbose {
            match &outcome {
                Ok(answer) => tracing::warn!(
                    "HttpVerbose: < {} from {} ({}) {}",
                    answer.status,
                    shown_url(&request.url),
                    shown_headers(answer),
                    strike_out_answer(&answer.body, &answer.sent)
                ),
                Err(error) => {
                    tracing::warn!("HttpVerbose: < nothing from {}: {error}", shown_url(&request.url));
                }
            }
        }
        outcome
    }

    async fn exchange(&self, request: &Request) -> Result<Response, TransportError> {
        let client = self.client(request.way)?;
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        };
        let mut sending = client.request(method, &request.url);
        for (name, value) in &request.headers {
            let mut field = HeaderValue::from_str(value.expose()).map_err(|_| TransportError {
                kind: TransportErrorKind::Address,
                cause: format!("the value of the header {name} cannot be sent"),
            })?;
            field.set_sensitive(matches!(value, Field::Secret(_)));
            sending = sending.header(name, field);
        }
        sending = match &request.body {
            Body::Empty if request.method == Method::Get => sending,
            Body::Empty => sending.header("Content-Length", "0"),
            Body::Form(fields) => {
                sending.header("Content-Type", "application/x-www-form-urlencoded").body(encoded(fields))
            }
            Body::Json(body) => sending.header("Content-Type", "application/json").body(body.to_string()),
        };
        let mut answer = sending.send().await.map_err(|error| transport::of_client(&error))?;
        let headers = KEPT_HEADERS
            .into_iter()
            .filter_map(|name| {
                let value = answer.headers().get(name)?;
                Some((name, String::from_utf8_lossy(value.as_bytes()).into_owned()))
            })
            .collect();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| transport::of_client(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_BODY {
                return Err(TransportError {
                    kind: TransportErrorKind::Interrupted,
                    cause: "the answer is larger than 1 MiB, which no token is".to_owned(),
                });
            }
        }
        Ok(Response { status: answer.status().as_u16(), headers, body, sent: request.secrets() })
    }

    fn client(&self, way: Way) -> Result<reqwest::Client, TransportError> {
        let client = match way {
            Way::Usual => &self.client,
            Way::MetadataServer => &self.direct,
        };
        let mut made = client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*made {
            return Ok(client.clone());
        }
        let client = match way {
            Way::Usual => new_client(&self.settings)?,
            Way::MetadataServer => direct_client()?,
        };
        *made = Some(client.clone());
        Ok(client)
    }
}

fn base_client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .dns_resolver(Names::default())
        // A token endpoint does not redirect (RFC 6749 section 3.2); what does is a portal that wants the credential.
        .redirect(redirect::Policy::none())
        // Tokens are asked for once an hour: a connection kept that long is closed by the other side.
        .pool_max_idle_per_host(0)
        .user_agent(concat!("orthanc-google-cloud-platform/", env!("CARGO_PKG_VERSION")))
}

fn unusable(cause: String, remedy: &'static str) -> TransportError {
    TransportError { kind: TransportErrorKind::Settings(remedy), cause }
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, TransportError> {
    builder
        .build()
        .map_err(|error| unusable(format!("no HTTP client can be made ({error})"), "please report this"))
}

fn direct_client() -> Result<reqwest::Client, TransportError> {
    // The metadata server speaks HTTP alone: this trusts nobody and needs no CA file.
    built(base_client().tls_backend_preconfigured(tls::no_servers()?).no_proxy())
}

fn new_client(settings: &HttpSettings) -> Result<reqwest::Client, TransportError> {
    let mut builder = base_client().tls_backend_preconfigured(tls::client_config(settings)?);
    if let Some(proxy) = &settings.proxy {
        let mut all = reqwest::Proxy::all(&proxy.address)
            .map_err(|_| {
                unusable(
                    format!("HttpProxy: `{}` is no address of a proxy", proxy.address),
                    "write `host:port` or `user:password@host:port`, and restart Orthanc",
                )
            })?
            .no_proxy(NoProxy::from_env());
        if let Some((user, password)) = &proxy.user {
            // Not `basic_auth`, which percent-decodes once more.
            all = all.custom_http_auth(basic(user, password)?);
        }
        builder = builder.proxy(all);
    }
    built(builder)
}

/// `Proxy-Authorization: Basic …` (RFC 7617 section 2).
fn basic(user: &str, password: &Secret) -> Result<HeaderValue, TransportError> {
    let encoded = Secret::new(STANDARD.encode(format!("{user}:{}", password.expose())));
    let value = HeaderValue::from_str(&format!("Basic {}", encoded.expose()));
    let mut value = value.map_err(|error| TransportError {
        kind: TransportErrorKind::Settings("write `user:password@host:port`, and restart Orthanc"),
        cause: format!("HttpProxy: user and password cannot be sent ({error})"),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The form as it goes over the wire (URL standard, section 5.2).
fn encoded(form: &[(&'static str, Field)]) -> String {
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form {
        encoded.append_pair(name, value.expose());
    }
    encoded.finish()
}

/// The headers as a log may show them.
fn shown_headers(answer: &Response) -> String {
    let shown = |(name, value): &(&'static str, String)| {
        format!("{name}: {}", strike_out(answer.sent.strike(value).as_bytes()))
    };
    answer.headers.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// An address as a log may show it: without user and password, and without its query.
pub(crate) fn shown_url(url: &str) -> String {
    let without_query = url.split(['?', '#']).next().unwrap_or(url);
    match without_query.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!("{scheme}://{}{path}", host.rsplit('@').next().unwrap_or(host))
        }
        None => without_query.rsplit('@').next().unwrap_or(without_query).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies() {
        for (text, address, user) in [
            ("192.168.0.1:3128", "http://192.168.0.1:3128", None),
            ("http://proxy:80/", "http://proxy:80/", None),
            ("u:p@proxy:3128", "http://proxy:3128", Some(("u", "p"))),
            ("u%5C1:p%40ss%3Aw@proxy:3128", "http://proxy:3128", Some(("u\\1", "p@ss:w"))),
            ("u:p@ss:w@proxy:3128", "http://proxy:3128", Some(("u", "p@ss:w"))),
            ("https://u@proxy", "https://proxy", Some(("u", ""))),
            ("user:hunter2://x@proxy:1", "http://proxy:1", Some(("user", "hunter2://x"))),
        ] {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!(proxy.address, address);
            let shown = proxy.user.as_ref().map(|(user, password)| (user.as_str(), password.expose()));
            assert_eq!(shown, user);
            assert!(!format!("{proxy:?}").contains("p@ss"));
        }
        assert_eq!(Proxy::parse(" "), None);
    }

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
            ("http://bob:pw@t:80/token?x=y#z", "http://t:80/token"),
            ("bob:pw@t/x", "t/x"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
    }
}
