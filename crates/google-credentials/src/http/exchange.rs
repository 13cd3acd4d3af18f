//! Token requests: one at a time, each over a connection of its own, within a time limit, and read whole.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::header::HeaderValue;

use super::{
    Body, Field, HttpSettings, Method, Request, Response, Verbosity, Way,
    client::{self, Client},
    request::encoded,
    response::{KEPT_HEADERS, shown_headers},
    shown_url,
};
use crate::{
    TransportError, TransportErrorKind,
    gate::Gates,
    names::Names,
    strike_out::{sentence, strike_out_answer},
    tls,
};

/// A token answer is about 1 kB; what is larger comes from somewhere else.
const LARGEST_BODY: usize = 1 << 20;
/// What Google's libraries give a metadata server (`GCE_METADATA_TIMEOUT`): it answers at once or is not there.
const METADATA_SERVER_TIMEOUT: Duration = Duration::from_secs(3);

/// The HTTP client. It is made at the first request, and made again while that fails or the server's certificate is
/// refused, so that a CA file may come or be completed late.
pub(crate) struct Http {
    settings: HttpSettings,
    client: Mutex<Option<Client>>,
    /// What was last said of single certificates of the CA file.
    warned: Mutex<Vec<String>>,
    /// For the metadata server: no proxy, no TLS.
    direct: Mutex<Option<Client>>,
    gates: Gates,
}

impl Http {
    pub(crate) fn new(settings: HttpSettings) -> Self {
        Self {
            settings,
            client: Mutex::new(None),
            warned: Mutex::default(),
            direct: Mutex::new(None),
            gates: Gates::default(),
        }
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
        exchange(&client, request).await.map(|(_, answer)| answer)
    }

    fn client(&self, way: Way) -> Result<Client, TransportError> {
        let client = match way {
            Way::Usual => &self.client,
            Way::MetadataServer => &self.direct,
        };
        let mut made = client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*made {
            return Ok(client.clone());
        }
        let client = match way {
            Way::Usual => {
                let tls = tls::client_config(&self.settings)?;
                self.warn_of_certificates();
                client::for_one_request(&self.settings, tls, Names::default())?
            }
            Way::MetadataServer => client::direct()?,
        };
        *made = Some(client.clone());
        Ok(client)
    }

    /// Says which certificates of the CA file are not used, once for each state of the file.
    fn warn_of_certificates(&self) {
        let warnings = tls::warnings(&self.settings);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if *warned != warnings {
            for warning in &warnings {
                tracing::warn!("{warning}");
            }
            *warned = warnings;
        }
    }
}

/// Sends a request and reads its answer whole; with the address that it came from.
pub(crate) async fn exchange(
    client: &Client,
    request: &Request,
) -> Result<(Option<SocketAddr>, Response), TransportError> {
    let mut sending = client.requests.request(request.method.into(), &request.url);
    for (name, value) in &request.headers {
        let mut field = HeaderValue::from_str(value.expose()).map_err(|_| TransportError {
            kind: TransportErrorKind::Address,
            cause: format!("the value of the header {name} cannot be sent"),
        })?;
        field.set_sensitive(matches!(value, Field::Secret(_)));
        sending = sending.header(name, field);
    }
    sending = match &request.body {
        Body::Empty if matches!(request.method, Method::Get | Method::Delete) => sending,
        Body::Empty => sending.header("Content-Length", "0"),
        Body::Form(fields) => {
            sending.header("Content-Type", "application/x-www-form-urlencoded").body(encoded(fields))
        }
        Body::Json(body) => sending.header("Content-Type", "application/json").body(body.to_string()),
    };
    let failed = |error: reqwest::Error| TransportError::of(&error, &client.proxies);
    let mut answer = sending.send().await.map_err(failed)?;
    let address = answer.remote_addr();
    let headers = KEPT_HEADERS
        .into_iter()
        .filter_map(|name| {
            let value = answer.headers().get(name)?;
            Some((name, String::from_utf8_lossy(value.as_bytes()).into_owned()))
        })
        .collect();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST_BODY {
            return Err(TransportError {
                kind: TransportErrorKind::Interrupted,
                cause: "the answer is larger than 1 MiB, which no token is".to_owned(),
            });
        }
    }
    if let Some(coding) = compression(&answer).filter(|_| !body.is_empty()) {
        return Err(TransportError {
            kind: TransportErrorKind::Interrupted,
            cause: format!("the answer is compressed ({coding}), which was not asked for"),
        });
    }
    let status = answer.status().as_u16();
    Ok((address, Response { status, headers, body, sent: request.secrets() }))
}

/// How the answer is compressed, if it is: no coding was asked for, but RFC 9110 section 12.5.3 allows any.
fn compression(answer: &reqwest::Response) -> Option<String> {
    let coding = answer.headers().get("content-encoding")?;
    let coding = sentence(&String::from_utf8_lossy(coding.as_bytes()));
    (!coding.trim().is_empty() && !coding.trim().eq_ignore_ascii_case("identity")).then_some(coding)
}
