//! What a certificate may be used for, by its extensions (RFC 5280 section 4.2.1).

use super::{
    INTEGER, VERSION,
    der::{Der, OBJECT_IDENTIFIER, SEQUENCE},
};

const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
/// `[3]`, constructed.
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.15
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// 2.5.29.19
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// 2.5.29.37
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// anyExtendedKeyUsage, 2.5.29.37.0
const ANY_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
/// id-kp-serverAuth, 1.3.6.1.5.5.7.3.1
pub(crate) const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
/// digitalSignature, keyEncipherment, keyAgreement: one of them is needed for TLS.
const TLS_BITS: u8 = 0b1010_1000;
const KEY_CERT_SIGN: u8 = 0b0000_0100;

/// What a certificate may be used for. `None`: the certificate does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// Version 1 has no extensions, so that such a certificate says nothing.
    pub(crate) is_version_1: bool,
    /// `cA` of the basic constraints.
    authority: Option<bool>,
    /// The key usage allows to sign certificates.
    signs_certificates: Option<bool>,
    /// The key usage allows TLS.
    tls: Option<bool>,
    /// The extended key usage allows to be a TLS server.
    server: Option<bool>,
}

impl Usage {
    /// Reads a certificate in DER; `None` where it is not a valid one.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let certificate = Der(der).element(SEQUENCE)?;
        let mut fields = Der(Der(certificate).element(SEQUENCE)?);
        let mut usage = Self::default();
        if fields.0.first() == Some(&VERSION) {
            fields.next()?;
        } else {
            usage.is_version_1 = true;
        }
        fields.element(INTEGER)?;
        // The signature's algorithm, issuer, validity, subject and key.
        for _ in 0..5 {
            fields.element(SEQUENCE)?;
        }
        while !fields.0.is_empty() {
            let (tag, content) = fields.next()?;
            if tag == EXTENSIONS {
                usage.read_extensions(content)?;
            }
        }
        Some(usage)
    }

    fn read_extensions(&mut self, content: &[u8]) -> Option<()> {
        let mut extensions = Der(Der(content).element(SEQUENCE)?);
        while !extensions.0.is_empty() {
            let mut extension = Der(extensions.element(SEQUENCE)?);
            let kind = extension.element(OBJECT_IDENTIFIER)?;
            if extension.0.first() == Some(&BOOLEAN) {
                extension.next()?;
            }
            let value = extension.element(OCTET_STRING)?;
            match kind {
                BASIC_CONSTRAINTS => {
                    let authority = Der(Der(value).element(SEQUENCE)?).next();
                    self.authority =
                        Some(authority.is_some_and(|(tag, value)| tag == BOOLEAN && value != [0]));
                }
                KEY_USAGE => {
                    let bits = *Der(value).element(BIT_STRING)?.get(1).unwrap_or(&0);
                    self.signs_certificates = Some(bits & KEY_CERT_SIGN != 0);
                    self.tls = Some(bits & TLS_BITS != 0);
                }
                EXTENDED_KEY_USAGE => {
                    let mut purposes = Der(Der(value).element(SEQUENCE)?);
                    let mut server = false;
                    while !purposes.0.is_empty() {
                        let purpose = purposes.element(OBJECT_IDENTIFIER)?;
                        server |= [SERVER_AUTH, ANY_EXTENDED_KEY_USAGE].contains(&purpose);
                    }
                    self.server = Some(server);
                }
                _ => {}
            }
        }
        Some(())
    }

    /// Returns whether the certificate says that it is the certificate of a CA whose servers can be trusted.
    ///
    /// As OpenSSL's `check_ca`, but for certificates of version 1: OpenSSL takes each self-signed one for a CA. Nobody
    /// makes CAs like that today, but self-signed certificates of servers are made so, and whoever has the key of such
    /// a server could be any other.
    pub(crate) fn is_authority(self) -> bool {
        !self.is_version_1
            && self.signs_certificates != Some(false)
            && self.server != Some(false)
            && self.authority.or(self.signs_certificates) == Some(true)
    }

    /// Returns whether a server may show the certificate.
    pub(crate) fn is_for_servers(self) -> bool {
        self.tls != Some(false) && self.server != Some(false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    };

    use super::*;

    const CA: IsCa = IsCa::Ca(BasicConstraints::Unconstrained);

    fn certificate(is_ca: IsCa, usages: &[KeyUsagePurpose], purposes: &[ExtendedKeyUsagePurpose]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["store.example".to_owned()]).unwrap();
        params.is_ca = is_ca;
        params.key_usages = usages.to_vec();
        params.extended_key_usages = purposes.to_vec();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn extensions_decide_what_a_certificate_is_for() {
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
        use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyCertSign, KeyEncipherment};
        for (is_ca, usages, purposes, authority, server) in [
            (CA, &[][..], &[][..], true, true),
            (CA, &[KeyCertSign, CrlSign], &[], true, false),
            (CA, &[KeyCertSign, DigitalSignature], &[ServerAuth], true, true),
            (CA, &[KeyCertSign], &[Any], true, false),
            (CA, &[DigitalSignature], &[], false, true),
            (CA, &[KeyCertSign], &[ClientAuth], false, false),
            (IsCa::ExplicitNoCa, &[], &[], false, true),
            (IsCa::ExplicitNoCa, &[KeyCertSign], &[], false, false),
            (IsCa::ExplicitNoCa, &[KeyEncipherment], &[ServerAuth, ClientAuth], false, true),
            (IsCa::ExplicitNoCa, &[DigitalSignature], &[ClientAuth], false, false),
            (IsCa::NoCa, &[], &[], false, true),
            // As OpenSSL: without basic constraints, the key usage is what says it.
            (IsCa::NoCa, &[KeyCertSign, DigitalSignature], &[], true, true),
        ] {
            let usage = Usage::read(&certificate(is_ca, usages, purposes)).unwrap();
            let found = (usage.is_authority(), usage.is_for_servers());
            assert_eq!(found, (authority, server), "{is_ca:?} {usages:?} {purposes:?}");
        }
    }

    #[test]
    fn version_1_is_not_an_authority() {
        let v1 = Usage { is_version_1: true, ..Usage::default() };
        assert!(!v1.is_authority() && v1.is_for_servers());
    }

    #[test]
    fn nothing_panics() {
        let whole = certificate(CA, &[KeyUsagePurpose::KeyCertSign], &[ExtendedKeyUsagePurpose::ServerAuth]);
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8);
        proptest!(|(changes in changes, length in 0..=whole.len())| {
            let mut der = whole.clone();
            for (at, byte) in changes {
                let at = at.index(der.len());
                der[at] = byte;
            }
            let _usage = Usage::read(&der[..length]);
        });
    }
}
