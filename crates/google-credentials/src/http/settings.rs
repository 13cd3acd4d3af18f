//! Orthanc's HTTP options, which hold for the whole server.

use std::{path::PathBuf, time::Duration};

use super::{Proxies, Proxy};

/// How requests are sent: Orthanc's own HTTP options, which hold for the whole server.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// `HttpsCACertificates`: a file of PEM certificates; the system's roots where there is none.
    pub ca_certificates: Option<PathBuf>,
    /// `HttpsVerifyPeers`.
    pub verify_peers: PeerVerification,
    /// `HttpProxy`; those of the environment where there is none, as libcurl has it.
    pub proxy: Option<Proxy>,
    /// One exchange, from the first look-up of the name to the last byte of the answer.
    pub timeout: Duration,
    /// `HttpVerbose`: log every request and answer, secrets struck out.
    pub verbose: Verbosity,
}

impl HttpSettings {
    /// Returns which proxy these settings and the process's environment put before which server.
    #[expect(clippy::disallowed_methods, reason = "the client is made for this process, as libcurl's is")]
    pub fn proxies(&self) -> Proxies {
        Proxies::read(self.proxy.as_ref(), |name| std::env::var(name).ok())
    }
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
