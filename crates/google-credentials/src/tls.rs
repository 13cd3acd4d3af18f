//! Which servers are trusted: rustls with ring (and P-521), and the roots that Orthanc was given.

mod algorithms;
mod untrusted;

use std::{io, path::Path, sync::Arc, time::Duration, time::SystemTime};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use crate::{
    PeerCertificate, TransportError, TransportErrorKind,
    ca_file::{CaFile, Listed},
    certificate::Usage,
    http::{HttpSettings, PeerVerification},
};
pub(crate) use untrusted::Untrusted;

/// The client's side of TLS, as `settings` want it.
///
/// The CA file is parsed once and its result shared by every account: with Debian's bundle of 144 certificates this is
/// the dearest part of asking for a token.
pub(crate) fn client_config(settings: &HttpSettings) -> Result<ClientConfig, TransportError> {
    config_of(verifier(settings)?)
}

/// Who decides whether a server is trusted, as `settings` want it.
pub(crate) fn verifier(settings: &HttpSettings) -> Result<Arc<dyn ServerCertVerifier>, TransportError> {
    let provider = Arc::new(algorithms::provider());
    let trust = match settings.verify_peers {
        PeerVerification::Off => Trust::Anybody,
        PeerVerification::Required => trust(settings, &provider)?,
    };
    Ok(Arc::new(Verifier { trust, provider }))
}

/// The client's side of TLS, with this one to decide.
pub(crate) fn config_of(verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, TransportError> {
    Ok(ClientConfig::builder_with_provider(Arc::new(algorithms::provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string(), TRY_AGAIN))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// For connections without TLS: no server is trusted, and no CA file is read.
pub(crate) fn no_servers() -> Result<ClientConfig, TransportError> {
    let config = ClientConfig::builder_with_provider(Arc::new(algorithms::provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string(), TRY_AGAIN))?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// Returns what is wrong with single certificates of `HttpsCACertificates` where the others are used, each with its remedy.
pub(crate) fn warnings(settings: &HttpSettings) -> Vec<String> {
    let Some(path) = settings.ca_certificates.as_deref() else { return Vec::new() };
    if settings.verify_peers == PeerVerification::Off {
        return Vec::new();
    }
    let shown = path.display();
    let Ok(file) = std::fs::read(path).map(|pem| CaFile::parse(&pem)) else { return Vec::new() };
    let unreadable = file.listed.iter().filter(|listed| Usage::read(&listed.certificate).is_none());
    let mut damaged: Vec<usize> =
        file.damaged.iter().copied().chain(unreadable.map(|listed| listed.line)).collect();
    damaged.sort_unstable();
    let damaged = damaged.into_iter().map(|line| {
        format!("HttpsCACertificates: the certificate at line {line} of {shown} is damaged and was ignored; replace it")
    });
    let version_1 = file
        .listed
        .iter()
        .filter(|listed| Usage::read(&listed.certificate).is_some_and(|usage| usage.is_version_1));
    let version_1 = version_1.map(|listed| {
        let line = listed.line;
        format!(
            "HttpsCACertificates: the certificate at line {line} of {shown} was ignored: it is an X.509 version 1 \
             certificate, which does not say whether it is that of a CA; replace it by one of version 3 \
             (basicConstraints=CA:TRUE)"
        )
    });
    damaged.chain(version_1).collect()
}

fn trust(settings: &HttpSettings, provider: &Arc<CryptoProvider>) -> Result<Trust, TransportError> {
    const CERTIFICATES: &str = "put the certificates of the trusted CAs there, in PEM";
    let (certificates, roots_from) = match &settings.ca_certificates {
        Some(path) => (read_certificates(path)?, format!("HttpsCACertificates: {}", path.display())),
        None => (rustls_native_certs::load_native_certs().certs, "the system's certificate store".to_owned()),
    };
    let mut roots = RootCertStore::empty();
    let mut listed = Vec::new();
    for certificate in certificates {
        let Some(usage) = Usage::read(&certificate) else { continue };
        let is_authority = usage.is_authority();
        // Bundles hold certificates that webpki does not take for roots; libcurl passes over them as well.
        let is_root = is_authority && roots.add(certificate.clone()).is_ok();
        if !is_root || usage.is_for_servers() {
            listed.push(certificate);
        }
    }
    if roots.is_empty() && listed.is_empty() {
        let remedy = if settings.ca_certificates.is_some() {
            CERTIFICATES
        } else {
            "install the package ca-certificates, or set HttpsCACertificates"
        };
        return Err(unusable(format!("{roots_from} holds no certificate of a CA"), remedy));
    }
    let web_pki = if roots.is_empty() {
        None
    } else {
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        Some(builder.build().map_err(|error| unusable(error.to_string(), TRY_AGAIN))?)
    };
    Ok(Trust::Roots { web_pki, listed })
}

/// For what has no cause that anybody has seen.
const TRY_AGAIN: &str = "please report this";

/// `HttpsCACertificates`, as far as it can be read.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let shown = path.display();
    let pem = std::fs::read(path).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "put the file there, or correct the path",
            io::ErrorKind::PermissionDenied => "let the user that runs Orthanc read it",
            _ => "name a file of certificates in PEM",
        };
        unusable(format!("HttpsCACertificates: {shown} cannot be read: {error}"), remedy)
    })?;
    let file = CaFile::parse(&pem);
    if file.listed.is_empty() && !file.damaged.is_empty() {
        let remedy = "replace it with a file of whole certificates in PEM";
        return Err(unusable(format!("HttpsCACertificates: {shown} holds a damaged certificate"), remedy));
    }
    Ok(file.listed.into_iter().map(|Listed { certificate, .. }| certificate).collect())
}

fn unusable(cause: String, remedy: &'static str) -> TransportError {
    TransportError { kind: TransportErrorKind::Settings(remedy), cause }
}

/// Whose certificate is taken.
#[derive(Debug)]
enum Trust {
    /// `HttpsVerifyPeers: false`: the handshake has to be sound, but anybody may have signed the certificate.
    Anybody,
    /// What the CAs of the file have issued; and what is itself listed there, as the certificate of that server alone.
    ///
    /// libcurl accepts such a certificate and hospitals rely on it. It must not become a root: whoever has its key could
    /// then be any server. webpki refuses it, so that dates, name and use are checked here.
    Roots {
        /// `None` where the file holds no certificate of a CA.
        web_pki: Option<Arc<WebPkiServerVerifier>>,
        /// The certificates that are not roots, and the roots that a server may show.
        listed: Vec<CertificateDer<'static>>,
    },
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Roots { web_pki, listed } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let outcome = match web_pki {
            Some(web_pki) => {
                web_pki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match outcome {
            Ok(verified) => Ok(verified),
            Err(_) if listed.contains(end_entity) => verify_listed(end_entity, server_name, now),
            Err(
                error @ Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                ),
            ) => Err(Untrusted::issuer(end_entity, intermediates, listed).map_or(error, Error::from)),
            Err(error) => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies a certificate that is itself trusted: it has to be of this time, for this name, and for servers.
fn verify_listed(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let unreadable = || Error::from(CertificateError::BadEncoding);
    let usage = Usage::read(certificate).ok_or_else(unreadable)?;
    if usage.is_version_1 {
        return Err(Untrusted::Version1.into());
    }
    let dates = PeerCertificate::read(certificate).ok_or_else(unreadable)?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
    if now < dates.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > dates.not_after {
        return Err(CertificateError::Expired.into());
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name)?;
    if !usage.is_for_servers() {
        return Err(CertificateError::InvalidPurpose.into());
    }
    Ok(ServerCertVerified::assertion())
}

#[cfg(test)]
mod tests;
