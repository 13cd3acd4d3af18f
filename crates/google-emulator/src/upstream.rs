//! Another DICOMweb server behind the pretend Google: callers, faults and the record are the emulator's, the store is not.

use crate::google_error::GoogleError;
use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderName, HeaderValue, Request, header, request::Parts, uri::Authority},
    response::Response,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Fields that are about one connection (RFC 9110 section 7.6.1), or about who asks.
const NOT_PASSED_ON: [HeaderName; 6] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::AUTHORIZATION,
    header::HOST,
];

/// The DICOMweb root of a server that takes requests without credentials.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    authority: Authority,
    /// With its last slash.
    path: String,
}

impl Upstream {
    /// Of a URL `http://HOST:PORT/PATH/`.
    pub(crate) fn at(url: &str) -> Option<Self> {
        let (authority, path) = url.strip_prefix("http://")?.split_once('/')?;
        Some(Self { authority: authority.parse().ok()?, path: format!("/{}/", path.trim_end_matches('/')) })
    }

    /// Sends the request on, each on a connection of its own.
    pub(crate) async fn answer(
        &self,
        parts: &Parts,
        body: &mut BodyDataStream,
    ) -> Result<Response, GoogleError> {
        let (_, below) = parts.uri.path().split_once("/dicomWeb").unwrap_or_default();
        let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{}{}{query}", self.path, below.trim_start_matches('/'));
        let body = std::mem::replace(body, Body::empty().into_data_stream());
        let mut request = Request::new(Body::from_stream(body));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = target.parse().map_err(|_| GoogleError::bad_request("invalid target"))?;
        let has_body = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
            .iter()
            .any(|name| parts.headers.contains_key(name));
        if !has_body && parts.version < axum::http::Version::HTTP_2 {
            *request.body_mut() = Body::empty();
        }
        let passed_on = parts.headers.iter().filter(|(name, _)| !NOT_PASSED_ON.contains(name));
        request.headers_mut().extend(passed_on.map(|(name, value)| (name.clone(), value.clone())));
        let host = HeaderValue::from_str(self.authority.as_str()).map_err(GoogleError::internal)?;
        request.headers_mut().insert(header::HOST, host);

        let stream = TcpStream::connect(self.authority.as_str()).await.map_err(GoogleError::internal)?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(GoogleError::internal)?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(GoogleError::internal)?;
        let mut response = response.map(Body::new);
        for name in &NOT_PASSED_ON {
            response.headers_mut().remove(name);
        }
        response.headers_mut().remove("keep-alive");
        Ok(response)
    }
}
