//! Orthanc's HTTP options, which hold for the whole server.

use std::{path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;

use crate::Secret;

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
    /// User and password.
    pub(super) user: Option<(String, Secret)>,
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
}
