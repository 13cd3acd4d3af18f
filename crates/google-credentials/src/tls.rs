//! Which servers are trusted: rustls with ring, and the roots that Orthanc was given.

use std::{io, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

use crate::{
    TransportError, TransportErrorKind,
    http::{HttpSettings, PeerVerification},
};

/// The client's side of TLS, as `settings` want it.
///
/// The CA file is parsed once and its result shared by every account: with Debian's bundle of 144 certificates this is
/// the dearest part of asking for a token.
pub(crate) fn client_config(settings: &HttpSettings) -> Result<ClientConfig, TransportError> {
    config_of(verifier(settings)?)
}

/// Who decides whether a server is trusted, as `settings` want it.
pub(crate) fn verifier(settings: &HttpSettings) -> Result<Arc<dyn ServerCertVerifier>, TransportError> {
    let provider = Arc::new(ring::default_provider());
    let trust = match settings.verify_peers {
        PeerVerification::Off => Trust::Anybody,
        PeerVerification::Required => trust(settings, &provider)?,
    };
    Ok(Arc::new(Verifier { trust, provider }))
}

/// The client's side of TLS, with this one to decide.
pub(crate) fn config_of(verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, TransportError> {
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string(), TRY_AGAIN))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// For connections without TLS: no server is trusted, and no CA file is read.
pub(crate) fn no_servers() -> Result<ClientConfig, TransportError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string(), TRY_AGAIN))?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn trust(settings: &HttpSettings, provider: &Arc<CryptoProvider>) -> Result<Trust, TransportError> {
    const CERTIFICATES: &str = "put the certificates of the trusted CAs there, in PEM";
    let (listed, roots_from) = match &settings.ca_certificates {
        Some(path) => (read_certificates(path)?, format!("HttpsCACertificates: {}", path.display())),
        None => (rustls_native_certs::load_native_certs().certs, "the system's certificate store".to_owned()),
    };
    let mut roots = RootCertStore::empty();
    // Bundles hold certificates that webpki does not take for roots; libcurl passes over them as well.
    let (usable, _) = roots.add_parsable_certificates(listed.iter().cloned());
    if usable == 0 {
        let remedy = if settings.ca_certificates.is_some() {
            CERTIFICATES
        } else {
            "install the package ca-certificates, or set HttpsCACertificates"
        };
        return Err(unusable(format!("{roots_from} holds no certificate of a CA"), remedy));
    }
    let web_pki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| unusable(error.to_string(), TRY_AGAIN))?;
    let itself_listed = if settings.ca_certificates.is_some() { listed } else { Vec::new() };
    Ok(Trust::Roots { web_pki, itself_listed })
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
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| {
        let remedy = "replace it with a file of whole certificates in PEM";
        unusable(format!("HttpsCACertificates: {shown} holds a damaged certificate"), remedy)
    })
}

fn unusable(cause: String, remedy: &'static str) -> TransportError {
    TransportError { kind: TransportErrorKind::Settings(remedy), cause }
}

/// Whose certificate is taken.
#[derive(Debug)]
enum Trust {
    /// `HttpsVerifyPeers: false`: the handshake has to be sound, but anybody may have signed the certificate.
    Anybody,
    /// As webpki, except that a self-signed server certificate is accepted where it is itself listed in the CA file.
    ///
    /// libcurl does so and hospitals rely on it; webpki refuses such a certificate as `CaUsedAsEndEntity`. It does that
    /// after the dates were checked and before the name is, so the name is checked here.
    Roots { web_pki: Arc<WebPkiServerVerifier>, itself_listed: Vec<CertificateDer<'static>> },
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
        let Trust::Roots { web_pki, itself_listed } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        match web_pki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(error)
                if is_ca_used_as_end_entity(&error)
                    && itself_listed.iter().any(|listed| listed == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            outcome => outcome,
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

fn is_ca_used_as_end_entity(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref::<webpki::Error>(), Some(webpki::Error::CaUsedAsEndEntity))
}
