//! What every client has in common: whom it trusts, where names lead, which proxy, and that it is not led elsewhere.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{ClientBuilder, NoProxy, dns::Resolve, header::HeaderValue, redirect};
use rustls::ClientConfig;

use super::HttpSettings;
use crate::{Secret, TransportError, TransportErrorKind, names::Names, tls};

/// For token requests, which come once an hour: a connection kept that long is closed by the other side.
pub(crate) fn for_one_request(
    settings: &HttpSettings,
    tls: ClientConfig,
    names: impl Resolve + 'static,
) -> Result<reqwest::Client, TransportError> {
    let builder = through_proxy(base(tls, names), settings)?;
    built(builder.http1_only().pool_max_idle_per_host(0))
}

/// For the metadata server, which speaks HTTP alone: this trusts nobody, needs no CA file, and knows no proxy.
pub(super) fn direct() -> Result<reqwest::Client, TransportError> {
    built(base(tls::no_servers()?, Names::default()).no_proxy().http1_only().pool_max_idle_per_host(0))
}

pub(super) fn base(tls: ClientConfig, names: impl Resolve + 'static) -> ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(names)
        // Neither a token endpoint (RFC 6749 section 3.2) nor a DICOM store redirects; what does is a portal that wants
        // the credential.
        .redirect(redirect::Policy::none())
        .user_agent(concat!("orthanc-google-cloud-platform/", env!("CARGO_PKG_VERSION")))
}

pub(super) fn built(builder: ClientBuilder) -> Result<reqwest::Client, TransportError> {
    builder
        .build()
        .map_err(|error| unusable(format!("no HTTP client can be made ({error})"), "please report this"))
}

/// Through `HttpProxy`; the environment's where there is none.
pub(super) fn through_proxy(
    builder: ClientBuilder,
    settings: &HttpSettings,
) -> Result<ClientBuilder, TransportError> {
    let Some(proxy) = &settings.proxy else { return Ok(builder) };
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
    Ok(builder.proxy(all))
}

fn unusable(cause: String, remedy: &'static str) -> TransportError {
    TransportError { kind: TransportErrorKind::Settings(remedy), cause }
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
