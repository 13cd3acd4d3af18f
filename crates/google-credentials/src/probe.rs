//! The way to a server, step by step, for those who look for where it breaks off.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{
    HttpSettings, Method, PeerCertificate, PeerVerification, Request, Response, TransportError,
    TransportErrorKind, http, names::Names, tls,
};

/// Which certificates make a server trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// Those of `HttpsCACertificates`.
    File(PathBuf),
    /// Those of the system's certificate store.
    System,
    /// None are needed: `HttpsVerifyPeers` is false.
    NotVerified,
}

impl fmt::Display for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "HttpsCACertificates: {}", path.display()),
            Self::System => f.write_str("the system's certificate store"),
            Self::NotVerified => f.write_str("nothing: HttpsVerifyPeers is false"),
        }
    }
}

impl HttpSettings {
    /// Which roots these settings lead to.
    pub fn roots(&self) -> Roots {
        match (self.verify_peers, &self.ca_certificates) {
            (PeerVerification::Off, _) => Roots::NotVerified,
            (PeerVerification::Required, Some(path)) => Roots::File(path.clone()),
            (PeerVerification::Required, None) => Roots::System,
        }
    }
}

/// What was seen on the way to a server.
#[derive(Debug)]
pub struct Probe {
    /// The names that were looked up, each with its addresses: of the server, or of the proxy.
    pub looked_up: Vec<(String, Vec<IpAddr>)>,
    /// The address that was connected to, where an answer came: the server's, or the proxy's.
    pub connected_to: Option<SocketAddr>,
    /// The server's certificate, be it trusted or not; also where nothing came after it.
    pub certificate: Option<PeerCertificate>,
    /// The answer, whatever its status, or where the way broke off.
    pub outcome: Result<Response, TransportError>,
}

/// Goes to `url` as token requests do, through the proxy if there is one and within the same time, with a GET that holds no
/// credential.
pub async fn probe(settings: &HttpSettings, url: &str) -> Probe {
    let seen = Arc::new(Seen::default());
    let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let (connected_to, outcome) = match go(settings, url, &seen).await {
        Ok((address, answer)) => (address, Ok(answer)),
        Err(error) => (None, Err(error)),
    };
    let looked_up = std::mem::take(&mut *lock(&seen.looked_up));
    let certificates = lock(&seen.certificates);
    // An HTTPS proxy shows one as well.
    let of_server = certificates.iter().rev().find(|(name, _)| host.as_deref() == Some(name));
    let certificate = of_server.and_then(|(_, der)| PeerCertificate::read(der));
    Probe { looked_up, connected_to, certificate, outcome }
}

async fn go(
    settings: &HttpSettings,
    url: &str,
    seen: &Arc<Seen>,
) -> Result<(Option<SocketAddr>, Response), TransportError> {
    let verifier = Recording { inner: tls::verifier(settings)?, seen: Arc::clone(seen) };
    let names = Recording { inner: Names::default(), seen: Arc::clone(seen) };
    let client = http::for_one_request(settings, tls::config_of(Arc::new(verifier))?, names)?;
    let request = Request::new(Method::Get, url);
    match tokio::time::timeout(settings.timeout, http::exchange(&client, &request)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(TransportError {
            kind: TransportErrorKind::Timeout,
            cause: format!("no whole answer within {} s", settings.timeout.as_secs()),
        }),
    }
}

/// The addresses of a host's name, by the machine's `/etc/resolv.conf` and `/etc/hosts` of this moment.
///
/// # Errors
/// The name has none, or no name server tells.
pub async fn resolve(host: &str) -> Result<Vec<IpAddr>, TransportError> {
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok(vec![address]);
    }
    Names::default().addresses(host).await
}

/// What happens below a request, which its answer does not tell.
#[derive(Debug, Default)]
struct Seen {
    looked_up: Mutex<Vec<(String, Vec<IpAddr>)>>,
    certificates: Mutex<Vec<(String, Vec<u8>)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does what the inner one does, and writes it down.
struct Recording<T> {
    inner: T,
    seen: Arc<Seen>,
}

impl<T> fmt::Debug for Recording<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}

impl Resolve for Recording<Names> {
    fn resolve(&self, name: Name) -> Resolving {
        let (host, seen) = (name.as_str().to_owned(), Arc::clone(&self.seen));
        let resolving = self.inner.resolve(name);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = resolving.await?.collect();
            let found = addresses.iter().map(SocketAddr::ip).collect();
            lock(&seen.looked_up).push((host, found));
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

impl ServerCertVerifier for Recording<Arc<dyn ServerCertVerifier>> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // An IPv6 address stands in brackets in a URL.
        let host = match server_name {
            ServerName::IpAddress(address) => match IpAddr::from(*address) {
                IpAddr::V6(address) => format!("[{address}]"),
                IpAddr::V4(address) => address.to_string(),
            },
            name => name.to_str().into_owned(),
        };
        lock(&self.seen.certificates).push((host, end_entity.to_vec()));
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
