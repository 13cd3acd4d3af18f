//! Which certificates of a CA file make which servers trusted. No connection is made.

use std::{fs, io::Write, time::Duration};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;

use super::*;
use crate::{Verbosity, certificate::SEQUENCE};

const STORE: &str = "store.example";
/// 2026-12-01.
const NOW: u64 = 1_796_083_200;

/// A self-signed certificate for [`STORE`], its key, and what it was made of.
struct Made {
    certificate: Certificate,
    key: KeyPair,
    params: CertificateParams,
}

impl Made {
    fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(vec![STORE.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "pacs of the ward");
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), key, params }
    }

    fn authority() -> Self {
        Self::new(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
    }

    fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for `name` that this one's key has signed.
    fn issue(&self, name: &str) -> CertificateDer<'static> {
        let issuer = Issuer::from_params(&self.params, &self.key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.signed_by(&key, &issuer).unwrap().der().clone()
    }
}

fn settings(path: &Path) -> HttpSettings {
    HttpSettings {
        ca_certificates: Some(path.to_owned()),
        verify_peers: PeerVerification::Required,
        proxy: None,
        timeout: Duration::from_secs(30),
        verbose: Verbosity::Quiet,
    }
}

/// What becomes of a server called `name` that shows `shown`, with `pem` as the CA file: "" if it is trusted.
fn outcome(pem: &[u8], shown: &CertificateDer<'_>, name: &str) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem).unwrap();
    let verifier = match verifier(&settings(file.path())) {
        Ok(verifier) => verifier,
        Err(error) => return error.cause,
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
    let name = ServerName::try_from(name).unwrap();
    match verifier.verify_server_cert(shown, &[], &name, &[], now) {
        Ok(_) => String::new(),
        Err(error) => crate::transport::of_tls(&error).1,
    }
}

fn assert_refused(outcome: &str, why: &str) {
    assert!(outcome.contains(why) && !why.is_empty(), "{outcome:?} lacks {why:?}");
}

#[test]
fn server_certificate_in_the_ca_file_is_no_ca() {
    use ExtendedKeyUsagePurpose::ClientAuth;
    for (is_ca, usages, purposes) in [
        (IsCa::ExplicitNoCa, vec![], vec![]),
        (IsCa::NoCa, vec![], vec![]),
        (IsCa::NoCa, vec![KeyUsagePurpose::DigitalSignature], vec![]),
        (IsCa::ExplicitNoCa, vec![KeyUsagePurpose::KeyCertSign], vec![]),
        (IsCa::Ca(BasicConstraints::Unconstrained), vec![KeyUsagePurpose::DigitalSignature], vec![]),
        (IsCa::Ca(BasicConstraints::Unconstrained), vec![], vec![ClientAuth]),
    ] {
        let listed = Made::new(|params| {
            (params.is_ca, params.key_usages, params.extended_key_usages) = (is_ca, usages, purposes);
        });
        for name in ["oauth2.googleapis.com", STORE] {
            let forged = listed.issue(name);
            let refused = outcome(listed.pem().as_bytes(), &forged, name);
            assert_refused(&refused, "issued by CN=pacs of the ward, whose certificate is listed");
            let with_another = listed.pem() + &Made::authority().pem();
            assert_refused(&outcome(with_another.as_bytes(), &forged, name), "issued by");
        }
    }
}

#[test]
fn server_certificate_in_the_ca_file_is_trusted_itself() {
    let ca = Made::authority().pem();
    for change in [
        |_: &mut CertificateParams| (),
        |params: &mut CertificateParams| params.is_ca = IsCa::ExplicitNoCa,
        |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        |params: &mut CertificateParams| {
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        },
    ] {
        let server = Made::new(change);
        for file in [server.pem(), format!("{ca}{}", server.pem())] {
            assert_eq!(outcome(file.as_bytes(), &server.der(), STORE), "");
            let elsewhere = outcome(file.as_bytes(), &server.der(), "oauth2.googleapis.com");
            assert_refused(&elsewhere, "for another name");
        }
        let same = Made::new(change);
        let refused = outcome(server.pem().as_bytes(), &same.der(), STORE);
        assert!(!refused.is_empty(), "another certificate of the same name is trusted");
    }
}

#[test]
fn listed_certificate_needs_dates_and_use_of_a_server() {
    use ExtendedKeyUsagePurpose::ClientAuth;
    type Change = fn(&mut CertificateParams);
    let cases: [(Change, &str); 4] = [
        (|params| params.not_after = date_time_ymd(2020, 2, 29), "has expired"),
        (|params| params.not_before = date_time_ymd(2199, 1, 1), "not valid yet"),
        (|params| params.extended_key_usages = vec![ClientAuth], "not for servers"),
        (|params| params.key_usages = vec![KeyUsagePurpose::CrlSign], "not for servers"),
    ];
    for (change, why) in cases {
        for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
            let server = Made::new(|params| {
                params.is_ca = is_ca;
                change(params);
            });
            assert_refused(&outcome(server.pem().as_bytes(), &server.der(), STORE), why);
        }
    }
}

#[test]
fn servers_of_a_listed_ca_are_trusted() {
    let ca = Made::authority();
    let without_constraints = Made::new(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    for ca in [ca, without_constraints] {
        assert_eq!(outcome(ca.pem().as_bytes(), &ca.issue(STORE), STORE), "");
        assert_refused(&outcome(ca.pem().as_bytes(), &Made::authority().issue(STORE), STORE), "CA");
    }
}

/// The same certificate as version 1 has it: without version and extensions. Nobody verifies a root's own signature.
fn as_version_1(der: &[u8]) -> Vec<u8> {
    use crate::certificate::Der;
    let sequence = |content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[SEQUENCE, 0x82], &length[..], content].concat()
    };
    let mut outer = Der(Der(der).element(SEQUENCE).unwrap());
    let mut fields = Der(outer.element(SEQUENCE).unwrap());
    fields.next().unwrap();
    let kept: Vec<&[u8]> = (0..6).map(|_| fields.whole().unwrap()).collect();
    sequence(&[sequence(&kept.concat()), outer.0.to_vec()].concat())
}

#[test]
fn version_1_certificate_is_not_a_root_and_the_log_says_so() {
    let old = Made::authority();
    let pem = pem(&as_version_1(&old.der()));
    let file = pem.clone() + &Made::authority().pem();
    assert_refused(&outcome(file.as_bytes(), &old.issue(STORE), STORE), "whose certificate is listed");
    let mut on_disk = tempfile::NamedTempFile::new().unwrap();
    on_disk.write_all(file.as_bytes()).unwrap();
    let said = warnings(&settings(on_disk.path()));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("line 1 ") && said[0].contains("version 1"), "{said:?}");
}

fn pem(der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}

#[test]
fn damaged_certificate_is_named_and_the_others_count() {
    let ca = Made::authority();
    let damaged = "-----BEGIN CERTIFICATE-----\nMIIB*\n-----END CERTIFICATE-----\n";
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{damaged}{}{}", pem(b"\x30\x03abc"), ca.pem()).unwrap();
    let content = fs::read(file.path()).unwrap();
    assert_eq!(outcome(&content, &ca.issue(STORE), STORE), "");
    let said = warnings(&settings(file.path()));
    assert_eq!(said.len(), 2, "{said:?}");
    for (said, line) in said.iter().zip(["line 1 ", "line 4 "]) {
        assert!(said.contains(line) && said.contains("damaged"), "{said:?}");
    }
    assert!(
        warnings(&HttpSettings { verify_peers: PeerVerification::Off, ..settings(file.path()) }).is_empty()
    );
}

/// With what Debian ships, nothing changes: each of its certificates is a CA's.
#[test]
fn each_certificate_of_the_system_is_that_of_a_ca() {
    let bundle = fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap();
    let ours = CaFile::parse(&bundle);
    let theirs: Vec<_> = CertificateDer::pem_slice_iter(&bundle).map(Result::unwrap).collect();
    assert!(ours.damaged.is_empty() && theirs.len() > 100);
    let read: Vec<_> = ours.listed.into_iter().map(|listed| listed.certificate).collect();
    assert_eq!(read, theirs);
    for certificate in &read {
        let shown = PeerCertificate::read(certificate).unwrap().subject;
        assert!(Usage::read(certificate).unwrap().is_authority(), "{shown}");
    }
}
