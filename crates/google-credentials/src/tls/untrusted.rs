//! Why a certificate is not trusted, where rustls has no error of its own for it.

use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError, pki_types::CertificateDer};

use crate::PeerCertificate;

/// Why a certificate is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untrusted {
    #[error(
        "its certificate was issued by {0}, whose certificate is listed, but is not that of a CA (basicConstraints)"
    )]
    IssuerIsNotAuthority(String),
    #[error("its certificate is an X.509 version 1 certificate, which holds no name of a server")]
    Version1,
}

impl Untrusted {
    /// Returns the listed certificate that is named as the issuer of the last certificate of a chain, but is not that of
    /// a CA.
    pub(super) fn issuer(
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        listed: &[CertificateDer<'_>],
    ) -> Option<Self> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        let issuers: Vec<String> = chain
            .filter_map(|der| PeerCertificate::read(der))
            .map(|certificate| certificate.issuer)
            .collect();
        let mut named = listed.iter().filter_map(|der| PeerCertificate::read(der));
        let found = named.find(|listed| !listed.subject.is_empty() && issuers.contains(&listed.subject));
        found.map(|listed| Self::IssuerIsNotAuthority(listed.subject))
    }
}

impl From<Untrusted> for Error {
    fn from(untrusted: Untrusted) -> Self {
        CertificateError::Other(OtherError(Arc::new(untrusted))).into()
    }
}
