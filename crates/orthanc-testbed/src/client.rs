//! A tiny HTTP client for Orthanc's REST API and for whatever else a test talks to on this machine.

use std::time::Duration;

use serde_json::Value;
use ureq::{Agent, http::Request};

use crate::Error;

/// No request of a test takes longer; one that does hangs.
const DEADLINE: Duration = Duration::from_secs(300);

/// An HTTP answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The `Content-Type`, empty when there is none.
    pub content_type: String,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text; what is not UTF-8 in it is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`Error::Json`], which quotes the status and the beginning of the body.
    pub fn json(&self) -> Result<Value, Error> {
        serde_json::from_slice(&self.body).map_err(|source| Error::Json {
            what: format!(
                "the answer with status {}, {:?},",
                self.status,
                self.text().chars().take(200).collect::<String>()
            ),
            source,
        })
    }
}

/// A blocking client without TLS, without proxies, and with a new connection for every request: Orthanc may have
/// been restarted in between.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
}

impl Default for Client {
    fn default() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(0)
            .proxy(None)
            .timeout_global(Some(DEADLINE))
            .build();
        Self { agent: config.into() }
    }
}

impl Client {
    /// Sends `method` without a body.
    ///
    /// # Errors
    /// [`Error::Http`] when no complete answer comes; never because of its status.
    pub fn send(&self, method: &str, url: &str) -> Result<Answer, Error> {
        self.run(method, url, &[], ())
    }

    /// Sends `method` with a body.
    ///
    /// # Errors
    /// [`Error::Http`] when no complete answer comes; never because of its status.
    pub fn send_body(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Error> {
        self.run(method, url, headers, body)
    }

    fn run(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: impl ureq::AsSendBody,
    ) -> Result<Answer, Error> {
        let failed = |source: ureq::Error| Error::Http {
            method: method.to_owned(),
            url: url.to_owned(),
            source: Box::new(source),
        };
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).map_err(|error| failed(error.into()))?;
        let mut answer = self.agent.run(request).map_err(failed)?;
        let content_type = answer
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let body = answer.body_mut().with_config().limit(u64::MAX).read_to_vec().map_err(failed)?;
        Ok(Answer { status: answer.status().as_u16(), content_type, body })
    }
}
