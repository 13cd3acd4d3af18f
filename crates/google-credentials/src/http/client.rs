//! What every client has in common: whom it trusts, where names lead, which proxy, and that it is not led elsewhere.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{ClientBuilder, dns::Resolve, header::HeaderValue, redirect};
use rustls::ClientConfig;

use super::{HttpSettings, Proxies, proxy};
use crate::{Secret, TransportError, TransportErrorKind, names::Names, tls};

/// Proxies and gateways add fields; libcurl takes 5,000 of them.
const MOST_HEADER_FIELDS: usize = 2000;

/// A client, and the proxies that it goes through.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) requests: reqwest::Client,
    pub(crate) proxies: Arc<Proxies>,
}

/// For token requests, which come once an hour: a connection kept that long is closed by the other side.
pub(crate) fn for_one_request(
    settings: &HttpSettings,
    tls: ClientConfig,
    names: impl Resolve + 'static,
) -> Result<Client, TransportError> {
    let proxies = Arc::new(settings.proxies());
    let builder = through(base(tls, names), &proxies)?;
    let requests = built(builder.http1_only().pool_max_idle_per_host(0))?;
    Ok(Client { requests, proxies })
}

/// For the metadata server, which speaks HTTP alone: this trusts nobody, needs no CA file, and knows no proxy.
pub(super) fn direct() -> Result<Client, TransportError> {
    let builder = base(tls::no_servers()?, Names::default()).no_proxy();
    let requests = built(builder.http1_only().pool_max_idle_per_host(0))?;
    Ok(Client { requests, proxies: Arc::default() })
}

pub(super) fn base(tls: ClientConfig, names: impl Resolve + 'static) -> ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(names)
        // Neither a token endpoint (RFC 6749 section 3.2) nor a DICOM store redirects; what does is a portal that wants
        // the credential.
        .redirect(redirect::Policy::none())
        .http1_max_headers(MOST_HEADER_FIELDS)
        .user_agent(concat!("orthanc-google-cloud-platform/", env!("CARGO_PKG_VERSION")))
}

pub(super) fn built(builder: ClientBuilder) -> Result<reqwest::Client, TransportError> {
    builder.build().map_err(|error| TransportError {
        kind: TransportErrorKind::Settings("please report this"),
        cause: format!("no HTTP client can be made ({error})"),
    })
}

/// Through these proxies, and no others.
pub(super) fn through(
    builder: ClientBuilder,
    proxies: &Arc<Proxies>,
) -> Result<ClientBuilder, TransportError> {
    // The client reads the environment in its own way.
    let mut builder = builder.no_proxy();
    for (scheme, (set_by, proxy)) in proxies.all() {
        let of_scheme = Arc::clone(proxies);
        let mut intercepting = reqwest::Proxy::custom(move |url| {
            if url.scheme() != scheme {
                return None;
            }
            let before = of_scheme.before(url)?;
            Some(before.proxy.url().map_or_else(|| NOWHERE.to_owned(), String::from))
        });
        if let Some((user, password)) = proxy.user() {
            // Not in the address, which would be percent-decoded once more.
            intercepting = intercepting.custom_http_auth(basic(set_by, user, password)?);
        }
        builder = builder.proxy(intercepting);
    }
    Ok(builder)
}

/// Instead of a proxy that cannot be used: nobody can listen at port 0, so that nothing is sent, and certainly not without
/// the proxy.
const NOWHERE: &str = "http://127.0.0.1:0";

/// `Proxy-Authorization: Basic …` (RFC 7617 section 2).
fn basic(set_by: &str, user: &str, password: &Secret) -> Result<HeaderValue, TransportError> {
    let encoded = Secret::new(STANDARD.encode(format!("{user}:{}", password.expose())));
    let value = HeaderValue::from_str(&format!("Basic {}", encoded.expose()));
    let mut value = value.map_err(|error| TransportError {
        kind: TransportErrorKind::Settings(proxy::REMEDY),
        cause: format!("{set_by}: user and password cannot be sent ({error})"),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
