//! No whole answer came back: where the way to a server broke off, in words that are not those of a library.

use std::{error::Error, io};

use rustls::{AlertDescription, CertificateError, OtherError, PeerIncompatible};

use crate::{
    http::{Proxies, ProxyBefore},
    names::UnknownName,
    tls::Untrusted,
};

/// No whole answer came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct TransportError {
    /// Where it broke off.
    pub kind: TransportErrorKind,
    /// What happened, in plain words.
    pub cause: String,
}

/// Where the way to a server broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportErrorKind {
    /// The settings (CA file, proxy) cannot be used; what a person can do about it.
    Settings(&'static str),
    /// The URL is none.
    Address,
    /// The host's name has no address.
    Name,
    /// No connection.
    Connection,
    /// The proxy cannot be reached, or refuses; the option or variable that sets it.
    Proxy(&'static str),
    /// The server's certificate was not signed by anybody who is trusted here.
    UntrustedCertificate,
    /// The server's certificate, or that of its issuer, is not one that could be trusted here.
    UnusableCertificate,
    /// The server's certificate is for another name.
    CertificateName,
    /// The server's certificate is for another time.
    CertificateTime,
    /// What answers does not speak TLS.
    NotTls,
    /// The server takes only what is refused here as unsafe.
    OldTls,
    /// TLS failed in another way.
    Tls,
    /// What answers does not speak HTTP as it should.
    NotHttp,
    /// Connected, and then broken off.
    Interrupted,
    /// Nothing, or not all, came in time.
    Timeout,
}

impl TransportErrorKind {
    /// Whether reading the CA file again may help: libcurl reads it for every request.
    pub(crate) fn is_of_certificate(self) -> bool {
        matches!(
            self,
            Self::UntrustedCertificate
                | Self::UnusableCertificate
                | Self::CertificateName
                | Self::CertificateTime
        )
    }
}

impl TransportError {
    /// Returns what the client's error means, in words that hold neither the address nor anything that was sent.
    ///
    /// Where it went wrong is told by the type of the errors and by where the request went, never by words in their text,
    /// which may hold the address.
    pub(crate) fn of(error: &reqwest::Error, proxies: &Proxies) -> Self {
        let levels = levels(error);
        let Some(before) = error.url().and_then(|url| proxies.before(url)) else {
            let (kind, cause) = plain(error, &levels);
            return Self { kind, cause };
        };
        match before.check() {
            Ok(()) => Self::behind(before, error, &levels),
            Err(unusable) => unusable,
        }
    }

    /// What an error means where a proxy is on the way.
    fn behind(before: ProxyBefore<'_>, error: &reqwest::Error, levels: &[&(dyn Error + 'static)]) -> Self {
        use TransportErrorKind as Kind;

        let to_http = error.url().is_some_and(|url| url.scheme() == "http");
        // The tunnel's error has no public type; its sentence begins its own level and holds no address.
        let of_tunnel =
            levels.iter().map(ToString::to_string).find(|level| level.starts_with("tunnel error: "));
        let of_tunnel = of_tunnel.as_deref().and_then(|level| level.strip_prefix("tunnel error: "));
        let of_socks =
            levels.iter().map(ToString::to_string).find(|level| level.starts_with("SOCKS error: "));
        // Whatever fails before the tunnel stands is the proxy's.
        let is_of_target = levels.iter().any(|level| level.to_string() == "error resolving for socks proxy");
        let at_proxy =
            error.is_connect() && !is_of_target && (to_http || of_tunnel.is_some() || of_socks.is_some());
        let (kind, cause) = plain(error, levels);
        let ProxyBefore { proxy, set_by } = before;
        let shown = format!("{}, set by {set_by}", proxy.address);
        let cause = match of_tunnel {
            _ if !at_proxy && kind == Kind::Timeout => {
                return Self { kind, cause: format!("{cause} (through the proxy {shown})") };
            }
            _ if !at_proxy => return Self { kind, cause },
            Some("proxy authorization required") => {
                "the proxy answered 407: it wants a user and password".to_owned()
            }
            Some("unsuccessful") => "the proxy refuses to open the way there".to_owned(),
            _ => {
                let of_system = levels.iter().find_map(|level| of_system(*level));
                let of_tls = levels.iter().find_map(|level| of_rustls(*level)).map(|error| of_tls(error).1);
                let of_name = (kind == Kind::Name).then(|| cause.clone());
                let why = of_tls.or(of_name).or(of_system).or(of_socks);
                let why = why.or_else(|| levels.last().map(ToString::to_string)).unwrap_or_default();
                format!("the proxy cannot be reached ({why})")
            }
        };
        Self { kind: Kind::Proxy(set_by), cause: format!("{cause} ({shown})") }
    }
}

/// What an error means where no proxy is on the way.
fn plain(error: &reqwest::Error, levels: &[&(dyn Error + 'static)]) -> (TransportErrorKind, String) {
    use TransportErrorKind as Kind;

    let of_system = levels.iter().find_map(|level| of_system(*level));
    let of_http = levels.iter().find_map(|level| level.downcast_ref::<hyper::Error>());
    let why = || of_system.clone().or_else(|| levels.last().map(ToString::to_string)).unwrap_or_default();
    if let Some(error) = levels.iter().find_map(|level| of_rustls(*level)) {
        of_tls(error)
    } else if let Some(unknown) = levels.iter().find_map(|level| level.downcast_ref::<UnknownName>()) {
        (Kind::Name, unknown.to_string())
    } else if error.is_timeout() {
        (Kind::Timeout, "nothing came in time".to_owned())
    } else if error.is_builder() {
        (Kind::Address, "that is no address of an HTTP server".to_owned())
    } else if error.is_connect() {
        (Kind::Connection, format!("no connection ({})", why()))
    } else if of_http.is_some_and(hyper::Error::is_parse_too_large) {
        (Kind::NotHttp, "the header of the answer is too large".to_owned())
    } else if of_http.is_some_and(hyper::Error::is_parse) {
        (Kind::NotHttp, "what answers there does not speak HTTP".to_owned())
    } else {
        let why = of_system.map(|why| format!(" ({why})")).unwrap_or_default();
        (Kind::Interrupted, format!("the connection broke off before the whole answer was there{why}"))
    }
}

/// Whatever else a server may have against all suites of rustls, this is what it nearly always is.
const NO_SUITE: &str = "it takes none of the cipher suites that are offered, TLS 1.3 and TLS 1.2 with ECDHE and \
     AES-GCM or ChaCha20 (RSA key exchange and CBC are refused here as unsafe)";

/// Returns what rustls found wrong, and which kind it is.
pub(crate) fn of_tls(error: &rustls::Error) -> (TransportErrorKind, String) {
    use CertificateError as Wrong;
    use TransportErrorKind::{
        CertificateName, CertificateTime, NotTls, OldTls, Tls, UntrustedCertificate, UnusableCertificate,
    };

    let wrong = match error {
        rustls::Error::InvalidCertificate(wrong) => wrong,
        rustls::Error::InvalidMessage(_) => {
            return (NotTls, "what answers there does not speak TLS".to_owned());
        }
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)
        | rustls::Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            return (OldTls, NO_SUITE.to_owned());
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            return (OldTls, "it offers only TLS 1.1 or older, which is refused here as unsafe".to_owned());
        }
        error => return (Tls, format!("TLS failed ({error})")),
    };
    match wrong {
        Wrong::UnknownIssuer => {
            (UntrustedCertificate, "its certificate was issued by a CA that is not trusted here".to_owned())
        }
        // Another CA of the same name is trusted: so it is after a hospital has made its own anew.
        Wrong::BadSignature => (
            UntrustedCertificate,
            "its certificate was issued by a CA that is not trusted here, only one of the same name is"
                .to_owned(),
        ),
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
            (CertificateName, "its certificate is for another name".to_owned())
        }
        Wrong::Expired | Wrong::ExpiredContext { .. } => {
            (CertificateTime, "its certificate has expired".to_owned())
        }
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            (CertificateTime, "its certificate is not valid yet".to_owned())
        }
        Wrong::InvalidPurpose | Wrong::InvalidPurposeContext { .. } => (
            UnusableCertificate,
            "its certificate is not for servers, by its key usage or extended key usage".to_owned(),
        ),
        Wrong::Other(OtherError(other)) => match other.downcast_ref::<Untrusted>() {
            Some(untrusted) => (UnusableCertificate, untrusted.to_string()),
            None if matches!(other.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) => {
                (UnusableCertificate, "its certificate is that of a CA, not of a server".to_owned())
            }
            None => (UntrustedCertificate, format!("its certificate cannot be trusted ({other})")),
        },
        Wrong::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => {
            (UnusableCertificate, unsupported(&[signature_algorithm_id]))
        }
        Wrong::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            public_key_algorithm_id,
        } => (UnusableCertificate, unsupported(&[signature_algorithm_id, public_key_algorithm_id])),
        other => (UntrustedCertificate, format!("its certificate cannot be trusted ({other})")),
    }
}

/// An algorithm of the chain that cannot be verified, by its name.
fn unsupported(identifiers: &[&Vec<u8>]) -> String {
    let names: Vec<&str> = identifiers.iter().filter_map(|identifier| algorithm(identifier)).collect();
    let what = if names.is_empty() { "an unknown algorithm".to_owned() } else { names.join(" with ") };
    format!("its certificate, or that of a CA above it, is signed by {what}, which is not accepted here")
}

/// The name of the algorithm or curve that an identifier ends with (RFC 5280 section 4.1.1.2, RFC 5480 section 2.1.1.1).
fn algorithm(identifier: &[u8]) -> Option<&'static str> {
    const NAMES: [(&[u8], &str); 14] = [
        (&[0x2b, 0x81, 0x04, 0x00, 0x23], "the curve P-521"),
        (&[0x2b, 0x81, 0x04, 0x00, 0x22], "the curve P-384"),
        (&[0x2b, 0x81, 0x04, 0x00, 0x21], "the curve P-224"),
        (&[0x2b, 0x81, 0x04, 0x00, 0x0a], "the curve secp256k1"),
        (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], "the curve P-256"),
        (&[0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01], "a Brainpool curve"),
        (&[0x2b, 0x65, 0x71], "Ed448"),
        (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], "RSA with SHA-1"),
        (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], "RSA with MD5"),
        (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a], "RSA-PSS"),
        (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], "ECDSA with SHA-1"),
        (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02], "ECDSA with SHA-256"),
        (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], "ECDSA with SHA-384"),
        (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04], "ECDSA with SHA-512"),
    ];
    NAMES
        .iter()
        .find(|(oid, _)| identifier.windows(oid.len()).any(|part| part == *oid))
        .map(|(_, name)| *name)
}

/// The error and all below it. I/O errors hide what they carry from `source`, so that is looked for too.
fn levels<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut levels = vec![error];
    let mut next = error.source();
    while let Some(level) = next {
        levels.push(level);
        next = match level.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => level.source(),
        };
    }
    levels
}

fn of_rustls<'a>(level: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    level.downcast_ref()
}

/// What the operating system said.
fn of_system(level: &(dyn Error + 'static)) -> Option<String> {
    let error = level.downcast_ref::<io::Error>()?;
    error.raw_os_error().map(|_| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_spoken_of_plainly() {
        for (wrong, kind, said) in [
            (CertificateError::UnknownIssuer, TransportErrorKind::UntrustedCertificate, "not trusted here"),
            (CertificateError::NotValidForName, TransportErrorKind::CertificateName, "another name"),
            (CertificateError::Expired, TransportErrorKind::CertificateTime, "has expired"),
            (CertificateError::NotValidYet, TransportErrorKind::CertificateTime, "not valid yet"),
            (CertificateError::BadSignature, TransportErrorKind::UntrustedCertificate, "of the same name"),
            (CertificateError::Revoked, TransportErrorKind::UntrustedCertificate, "cannot be trusted"),
        ] {
            let (found, cause) = of_tls(&rustls::Error::InvalidCertificate(wrong));
            assert_eq!(found, kind);
            assert!(cause.contains(said), "{cause}");
        }
        let on_curve = CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: vec![6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4],
            public_key_algorithm_id: vec![6, 5, 0x2b, 0x81, 4, 0, 0x22],
        };
        let (kind, cause) = of_tls(&rustls::Error::InvalidCertificate(on_curve));
        assert_eq!(kind, TransportErrorKind::UnusableCertificate);
        assert!(cause.contains("ECDSA with SHA-512 with the curve P-384"), "{cause}");
        for (error, said) in [
            (rustls::Error::AlertReceived(AlertDescription::HandshakeFailure), "none of the cipher suites"),
            (rustls::Error::AlertReceived(AlertDescription::ProtocolVersion), "TLS 1.1 or older"),
        ] {
            let (kind, cause) = of_tls(&error);
            assert!(kind == TransportErrorKind::OldTls && cause.contains(said), "{cause}");
        }
        let (kind, cause) = of_tls(&rustls::Error::DecryptError);
        assert_eq!(kind, TransportErrorKind::Tls);
        assert!(cause.starts_with("TLS failed ("), "{cause}");
    }
}
