//! The client for many large transfers: to the DICOM store, over connections that are kept.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{HttpSettings, client};
use crate::{TransportError, names::Names, tls};

/// An idle connection is kept this long: a study follows the one before within minutes, and Google closes after four.
const IDLE: Duration = Duration::from_secs(90);
/// A handshake takes a few round trips; who has not answered so long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// TCP asks a silent peer whether it still lives.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);
/// What has been sent is confirmed within this time, or the connection is dead (`TCP_USER_TIMEOUT`).
#[cfg(target_os = "linux")]
const UNCONFIRMED: Duration = Duration::from_secs(30);
/// What a peer may send on one stream before it is read: 100 MB/s at 40 ms. HTTP/2 begins with 64 kB, which is 1.6 MB/s.
const STREAM_WINDOW: u32 = 4 << 20;
/// … and on all streams of a connection together: a limit to what lies in memory unread.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Larger frames than the 16 kB of the standard: less work for each byte.
const FRAME: u32 = 64 << 10;
/// All fields of an answer's header together, as libcurl takes them (`MAX_HTTP_RESP_HEADER_SIZE`).
const LARGEST_HEADER: u32 = 300 << 10;
/// A ping while streams are open and nothing comes; often enough for firewalls, rare enough for Google's front ends.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Without an answer to it in this time the connection is dead.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Which HTTP a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1 alone (RFC 9112): a connection for each request under way.
    One,
    /// HTTP/2 (RFC 9113) where the server chooses it in the TLS handshake (ALPN, RFC 7301), HTTP/1.1 where not, and
    /// without TLS. All requests share one connection to a server.
    Two,
}

impl HttpSettings {
    /// A client with the roots, proxy and resolver of these settings whose connections are kept and shared, without a
    /// limit to their number, and closed when they were idle for 90 s.
    ///
    /// It connects within 10 s or not at all; there is no other time limit, so `timeout` and `verbose` do not count
    /// here. It follows no redirects and decompresses nothing.
    ///
    /// # Errors
    /// The CA file or the proxy's address cannot be used.
    pub fn long_lived_client(&self, version: HttpVersion) -> Result<reqwest::Client, TransportError> {
        let mut tls = tls::client_config(self)?;
        tls.alpn_protocols = match version {
            HttpVersion::One => vec![b"http/1.1".to_vec()],
            HttpVersion::Two => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        let builder = client::through(client::base(tls, Names::default()), &Arc::new(self.proxies()))?
            .pool_max_idle_per_host(usize::MAX)
            .pool_idle_timeout(IDLE)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(TCP_KEEPALIVE);
        #[cfg(target_os = "linux")]
        let builder = builder.tcp_user_timeout(UNCONFIRMED);
        client::built(match version {
            HttpVersion::One => builder.http1_only(),
            HttpVersion::Two => builder
                .http2_initial_stream_window_size(STREAM_WINDOW)
                .http2_initial_connection_window_size(CONNECTION_WINDOW)
                .http2_max_frame_size(FRAME)
                .http2_max_header_list_size(LARGEST_HEADER)
                .http2_keep_alive_interval(PING_EVERY)
                .http2_keep_alive_timeout(PING_TIMEOUT),
        })
    }
}

/// A long-lived client that is made when it is first wanted, and made anew after a server's certificate was refused or
/// while it cannot be made: a CA file may come or be completed late, and libcurl reads it for every request.
#[derive(Debug)]
pub struct KeptAlive {
    settings: HttpSettings,
    version: HttpVersion,
    made: Mutex<Option<reqwest::Client>>,
}

impl KeptAlive {
    /// Makes nothing yet.
    pub fn new(settings: HttpSettings, version: HttpVersion) -> Self {
        Self { settings, version, made: Mutex::new(None) }
    }

    /// The client; cheap to have again and again, and to be asked for before each request.
    ///
    /// # Errors
    /// As [`HttpSettings::long_lived_client`].
    pub fn client(&self) -> Result<reqwest::Client, TransportError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*made {
            return Ok(client.clone());
        }
        let client = self.settings.long_lived_client(self.version)?;
        *made = Some(client.clone());
        Ok(client)
    }

    /// What a request's failure means. If the server's certificate was refused, the next request gets a new client;
    /// what is under way with the present one goes on.
    pub fn failed(&self, error: &reqwest::Error) -> TransportError {
        let error = TransportError::of(error, &self.settings.proxies());
        if error.kind.is_of_certificate() {
            self.made.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        error
    }
}
