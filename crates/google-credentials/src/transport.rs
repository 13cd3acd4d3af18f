//! No whole answer came back: where the way to a server broke off, in words that are not those of a library.

use std::{error::Error, io};

use rustls::CertificateError;

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
    /// The proxy cannot be reached, or refuses.
    Proxy,
    /// The server's certificate was not signed by anybody who is trusted here.
    UntrustedCertificate,
    /// The server's certificate is for another name.
    CertificateName,
    /// The server's certificate is for another time.
    CertificateTime,
    /// What answers does not speak TLS as it should.
    Tls,
    /// Connected, and then broken off.
    Interrupted,
    /// Nothing, or not all, came in time.
    Timeout,
}

impl TransportErrorKind {
    /// Whether reading the CA file again may help: libcurl reads it for every request.
    pub(crate) fn is_of_certificate(self) -> bool {
        matches!(self, Self::UntrustedCertificate | Self::CertificateName | Self::CertificateTime)
    }
}

impl From<&reqwest::Error> for TransportError {
    /// What the client's error means, in words that hold neither the address nor anything that was sent.
    fn from(error: &reqwest::Error) -> Self {
        use TransportErrorKind as Kind;

        let levels = levels(error);
        let texts: Vec<String> = levels.iter().map(ToString::to_string).collect();
        let whole = texts.join(": ").to_lowercase();
        let of_system = levels.iter().find_map(|level| of_system(*level));
        let (kind, cause) = if let Some(error) = levels.iter().find_map(|level| of_rustls(*level)) {
            certificate(error)
        } else if error.is_timeout() {
            (Kind::Timeout, "nothing came in time".to_owned())
        } else if error.is_builder() {
            (Kind::Address, "that is no address of an HTTP server".to_owned())
        } else if whole.contains("proxy authorization required") {
            (Kind::Proxy, "the proxy answered 407: it wants a user and password".to_owned())
        } else if whole.contains("tunnel error: unsuccessful") {
            (Kind::Proxy, "the proxy refuses to open the way there".to_owned())
        } else if whole.contains("tunnel") || whole.contains("proxy") {
            let why = of_system.or_else(|| texts.last().cloned()).unwrap_or_default();
            (Kind::Proxy, format!("the proxy cannot be reached ({why})"))
        } else if whole.contains("dns error") {
            (Kind::Name, of_dns(texts.last().map_or("", String::as_str)))
        } else if error.is_connect() {
            let why = of_system.or_else(|| texts.last().cloned()).unwrap_or_default();
            (Kind::Connection, format!("no connection ({why})"))
        } else {
            let why = of_system.map(|why| format!(" ({why})")).unwrap_or_default();
            (Kind::Interrupted, format!("the connection broke off before the whole answer was there{why}"))
        };
        Self { kind, cause }
    }
}

/// Why a name has no address, from the resolver's words.
pub(crate) fn of_dns(why: &str) -> String {
    if why.to_lowercase().contains("no records found") {
        "DNS knows no address of that name".to_owned()
    } else {
        format!("DNS does not tell the address of that name ({why})")
    }
}

/// What rustls found wrong, and which kind it is.
fn certificate(error: &rustls::Error) -> (TransportErrorKind, String) {
    use CertificateError as Wrong;
    use TransportErrorKind::{CertificateName, CertificateTime, Tls, UntrustedCertificate};

    let wrong = match error {
        rustls::Error::InvalidCertificate(wrong) => wrong,
        rustls::Error::InvalidMessage(_) => return (Tls, "what answers there does not speak TLS".to_owned()),
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
        other => (UntrustedCertificate, format!("its certificate cannot be trusted ({other})")),
    }
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
            let (found, cause) = certificate(&rustls::Error::InvalidCertificate(wrong));
            assert_eq!(found, kind);
            assert!(cause.contains(said), "{cause}");
        }
        let (kind, cause) = certificate(&rustls::Error::DecryptError);
        assert_eq!(kind, TransportErrorKind::Tls);
        assert!(cause.starts_with("TLS failed ("), "{cause}");
    }
}
