//! Proxies, as libcurl reads them: Orthanc's DICOMweb plugin sends its requests with it, and all shall take the same way.

mod exceptions;

use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::{Secret, TransportError, TransportErrorKind};
use exceptions::{is_excepted, is_local};

/// The value of `HttpProxy`, or of a variable of the environment: `host:port`, `user:password@host:port`, with or without
/// a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Scheme, host and port, without the password; empty where the value is not understood.
    pub address: String,
    /// User and password.
    user: Option<(String, Secret)>,
    /// What is wrong with the value. Such a proxy is never passed by: nothing is sent.
    problem: Option<ProxyProblem>,
}

/// Why a proxy cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyProblem {
    /// What stands before `://` is not known.
    #[error(
        "its scheme is not that of a proxy; write `host:port`, or `http://`, `https://`, `socks4://`, `socks4a://`, `socks5://` or `socks5h://` before it"
    )]
    Scheme,
    /// No host, or no port.
    #[error("it is no address of a proxy; write `host:port` or `user:password@host:port`")]
    Address,
}

/// libcurl's port where none is given (`CURL_DEFAULT_PROXY_PORT`).
const DEFAULT_PORT: u16 = 1080;
const DEFAULT_HTTPS_PORT: u16 = 443;

impl Proxy {
    /// Reads the option; `None` where it is empty. A value that is not understood is a proxy that cannot be used.
    ///
    /// User and password are percent-encoded (RFC 3986 section 3.2.1), as libcurl has it. It ends them at the first `@`;
    /// here it is the last one, so that a password with a bare `@` does not send its rest to a name server.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        // A password may hold `://` as well.
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
                (scheme.to_ascii_lowercase(), rest)
            }
            _ => ("http".to_owned(), text),
        };
        let unusable = |problem| Self { address: String::new(), user: None, problem: Some(problem) };
        let scheme = match scheme.as_str() {
            // As libcurl.
            "socks" => "socks4",
            scheme @ ("http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h") => scheme,
            _ => return Some(unusable(ProxyProblem::Scheme)),
        };
        let (user, host) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((user, host)) => {
                let (name, password) = user.split_once(':').unwrap_or((user, ""));
                let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
                (Some((decoded(name).into_owned(), Secret::new(decoded(password)))), host)
            }
        };
        let default = if scheme == "https" { DEFAULT_HTTPS_PORT } else { DEFAULT_PORT };
        Some(match host_and_port(host, default) {
            Some(host) => Self { address: format!("{scheme}://{host}"), user, problem: None },
            None => unusable(ProxyProblem::Address),
        })
    }

    /// Returns what is wrong with the value, if anything is.
    pub fn problem(&self) -> Option<ProxyProblem> {
        self.problem
    }

    pub(super) fn user(&self) -> Option<&(String, Secret)> {
        self.user.as_ref()
    }

    /// Returns the address for the client; with user and password for SOCKS, which has no header field for them.
    pub(super) fn url(&self) -> Option<Url> {
        let mut url = Url::parse(&self.address).ok()?;
        if let Some((user, password)) = self.user.as_ref().filter(|_| self.address.starts_with("socks")) {
            url.set_username(user).ok()?;
            url.set_password(Some(password.expose())).ok()?;
        }
        Some(url)
    }
}

/// `host:port` without what may stand behind it; `None` where it is none.
fn host_and_port(text: &str, default: u16) -> Option<String> {
    let authority = text.split(['/', '?', '#', '\\']).next()?;
    // The first writes the host in its usual form, but leaves out port 80; the other leaves the host alone.
    let host = Url::parse(&format!("http://{authority}")).ok()?.host_str()?.to_owned();
    let port = Url::parse(&format!("proxy://{authority}")).ok()?.port().unwrap_or(default);
    (port != 0).then(|| format!("{host}:{port}"))
}

/// Which proxy stands before which server.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<Named>,
    https: Option<Named>,
    /// `no_proxy`.
    exceptions: String,
}

/// A proxy with the name of the option or variable that sets it.
type Named = (&'static str, Proxy);

/// The proxy before a server.
#[derive(Debug, Clone, Copy)]
pub struct ProxyBefore<'a> {
    /// The proxy.
    pub proxy: &'a Proxy,
    /// What sets it: `HttpProxy`, or a variable of the environment.
    pub set_by: &'static str,
}

impl Proxies {
    /// Reads Orthanc's option, else the environment, as libcurl does: small letters first, and `http_proxy` in small
    /// letters alone, because a CGI program's `HTTP_PROXY` is a header field of its client.
    pub fn read(configured: Option<&Proxy>, env: impl Fn(&str) -> Option<String>) -> Self {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let first = |names: &[&'static str]| {
            if let Some(proxy) = configured {
                return Some(("HttpProxy", proxy.clone()));
            }
            let (name, value) = names.iter().find_map(|name| Some((*name, env(name)?)))?;
            // Blanks are a value to libcurl, and a mistake.
            let proxy = Proxy::parse(&value).unwrap_or_else(|| Proxy {
                address: String::new(),
                user: None,
                problem: Some(ProxyProblem::Address),
            });
            Some((name, proxy))
        };
        Self {
            http: first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            exceptions: env("no_proxy").or_else(|| env("NO_PROXY")).unwrap_or_default(),
        }
    }

    /// Returns the proxy before the server of `url`; it may be one that cannot be used.
    pub fn before(&self, url: &Url) -> Option<ProxyBefore<'_>> {
        let named = match url.scheme() {
            "http" => self.http.as_ref(),
            "https" => self.https.as_ref(),
            _ => None,
        };
        let (set_by, proxy) = named?;
        let host = url.host()?;
        (!is_local(&host) && !is_excepted(&host, &self.exceptions)).then_some(ProxyBefore { proxy, set_by })
    }

    /// The proxies of each scheme.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &Named)> {
        [("http", &self.http), ("https", &self.https)]
            .into_iter()
            .filter_map(|(scheme, named)| Some((scheme, named.as_ref()?)))
    }
}

impl ProxyBefore<'_> {
    /// Fails where the proxy cannot be used.
    pub(crate) fn check(&self) -> Result<(), TransportError> {
        let Some(problem) = self.proxy.problem else { return Ok(()) };
        let problem = problem.to_string();
        let (what, _) = problem.split_once(';').unwrap_or((&problem, ""));
        Err(TransportError {
            kind: TransportErrorKind::Settings(REMEDY),
            cause: format!("{}: {what}, so that nothing is sent", self.set_by),
        })
    }
}

/// For a proxy that cannot be used.
pub(super) const REMEDY: &str =
    "write `host:port` or `user:password@host:port`, with a proxy's scheme or none, and restart Orthanc";

#[cfg(test)]
mod tests;
