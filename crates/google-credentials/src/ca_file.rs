//! Reads certificates in PEM (RFC 7468) as OpenSSL does, which reads the same file for Orthanc's own requests.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::CertificateDer;

use crate::certificate::{Der, OBJECT_IDENTIFIER, SEQUENCE, SERVER_AUTH};

const BOM: &[u8] = b"\xef\xbb\xbf";
/// `[0]`, constructed.
const REJECTED: u8 = 0xa0;
/// anyExtendedKeyUsage, 2.5.29.37.0
const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

/// A certificate of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) certificate: CertificateDer<'static>,
    /// The number of the line on which it begins, from 1.
    pub(crate) line: usize,
}

/// What a file of certificates holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CaFile {
    pub(crate) listed: Vec<Listed>,
    /// The lines on which damaged certificates begin.
    pub(crate) damaged: Vec<usize>,
}

impl CaFile {
    /// Reads the content of a file: any text, line ends of any system, and a byte order mark are passed over, and so are
    /// blocks that are not certificates.
    pub(crate) fn parse(pem: &[u8]) -> Self {
        let mut file = Self::default();
        let mut block: Option<Block> = None;
        for (line, text) in lines(pem.strip_prefix(BOM).unwrap_or(pem)) {
            if let Some(label) = marker(text, b"-----BEGIN ") {
                file.close(block.take(), false);
                block = Kind::of(label).map(|kind| Block { kind, line, base64: Vec::new() });
            } else if let Some(label) = marker(text, b"-----END ") {
                let whole = block.as_ref().is_some_and(|block| Kind::of(label) == Some(block.kind));
                file.close(block.take(), whole);
            } else if let Some(block) = &mut block {
                block.base64.extend(text.iter().filter(|byte| !byte.is_ascii_whitespace()));
            }
        }
        file.close(block, false);
        file
    }

    fn close(&mut self, block: Option<Block>, whole: bool) {
        let Some(block) = block else { return };
        let line = block.line;
        match block.decoded().filter(|_| whole) {
            Some(Decoded::Trusted(certificate)) => self.listed.push(Listed { certificate, line }),
            Some(Decoded::Distrusted) => {}
            None => self.damaged.push(line),
        }
    }
}

/// The lines with their numbers, without what ends them: `\n`, `\r\n` or `\r`.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    lines.flat_map(|(number, line)| {
        line.split(|byte| *byte == b'\r').map(move |part| (number + 1, part.trim_ascii()))
    })
}

/// The label of a line such as `-----BEGIN X-----`.
fn marker<'a>(line: &'a [u8], begin: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(begin)?.strip_suffix(b"-----")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `CERTIFICATE`, or `X509 CERTIFICATE` as it was once called.
    Plain,
    /// `TRUSTED CERTIFICATE`: followed by what OpenSSL shall trust it for.
    Trusted,
}

impl Kind {
    fn of(label: &[u8]) -> Option<Self> {
        match label {
            b"CERTIFICATE" | b"X509 CERTIFICATE" => Some(Self::Plain),
            b"TRUSTED CERTIFICATE" => Some(Self::Trusted),
            _ => None,
        }
    }
}

struct Block {
    kind: Kind,
    line: usize,
    base64: Vec<u8>,
}

enum Decoded {
    Trusted(CertificateDer<'static>),
    /// The file itself says that it is not to be trusted for servers.
    Distrusted,
}

impl Block {
    fn decoded(&self) -> Option<Decoded> {
        let bytes = STANDARD.decode(&self.base64).ok()?;
        let mut rest = Der(&bytes);
        let certificate = rest.whole().filter(|whole| whole.first() == Some(&SEQUENCE))?;
        if self.kind == Kind::Trusted && !trusted_for_servers(rest)? {
            return Some(Decoded::Distrusted);
        }
        Some(Decoded::Trusted(CertificateDer::from(certificate.to_vec())))
    }
}

/// Reads `X509_CERT_AUX` of OpenSSL: a list of purposes that the certificate is trusted for, and one of those it is not.
fn trusted_for_servers(mut rest: Der<'_>) -> Option<bool> {
    if rest.0.is_empty() {
        return Some(true);
    }
    let mut settings = Der(rest.element(SEQUENCE)?);
    let mut trusted = true;
    while !settings.0.is_empty() {
        match settings.next()? {
            (SEQUENCE, purposes) => trusted &= names_servers(purposes)?,
            (REJECTED, purposes) => trusted &= !names_servers(purposes)?,
            _ => {}
        }
    }
    Some(trusted)
}

fn names_servers(purposes: &[u8]) -> Option<bool> {
    let mut purposes = Der(purposes);
    let mut servers = false;
    while !purposes.0.is_empty() {
        let purpose = purposes.element(OBJECT_IDENTIFIER)?;
        servers |= purpose == SERVER_AUTH || purpose == ANY_PURPOSE;
    }
    Some(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sequence with this content stands for a certificate.
    fn der(content: &[u8]) -> Vec<u8> {
        [&[SEQUENCE, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    /// The lines of what is listed and of what is damaged.
    fn parsed(pem: impl AsRef<[u8]>) -> (Vec<usize>, Vec<usize>) {
        let file = CaFile::parse(pem.as_ref());
        (file.listed.iter().map(|listed| listed.line).collect(), file.damaged)
    }

    #[test]
    fn every_form_that_openssl_reads_is_read() {
        let (one, two) = (pem("CERTIFICATE", &der(b"one")), pem("CERTIFICATE", &der(b"two")));
        for (content, lines) in [
            (one.clone(), &[1][..]),
            (format!("\u{feff}{one}{two}"), &[1, 4]),
            (format!("subject=CN=a\n\n{one}trailing\n{two}"), &[3, 7]),
            (format!("{one}{two}").replace('\n', "\r\n"), &[1, 4]),
            (one.replace('\n', "\r"), &[1]),
            (one.replace('\n', " \n"), &[1]),
            (one.trim_end().to_owned(), &[1]),
            (pem("X509 CERTIFICATE", &der(b"one")), &[1]),
            (pem("TRUSTED CERTIFICATE", &der(b"one")), &[1]),
            (format!("{}{one}", pem("X509 CRL", b"revoked")), &[4]),
            (format!("{}{one}", pem("PRIVATE KEY", b"secret")), &[4]),
            (String::new(), &[]),
            ("hospital CA".to_owned(), &[]),
        ] {
            assert_eq!(parsed(&content), (lines.to_vec(), vec![]), "{content:?}");
        }
        let latin = [b"# geh\xf6rt\n".as_slice(), one.as_bytes()].concat();
        assert_eq!(parsed(latin), (vec![2], vec![]));
        let listed = CaFile::parse(pem("CERTIFICATE", &der(b"one")).as_bytes()).listed;
        assert_eq!(listed[0].certificate.as_ref(), der(b"one"));
    }

    #[test]
    fn a_damaged_block_is_named_and_costs_no_other() {
        let (one, two) = (pem("CERTIFICATE", &der(b"one")), pem("CERTIFICATE", &der(b"two")));
        let damaged = "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n";
        let cut_off = "-----BEGIN CERTIFICATE-----\nMIIB\n";
        for (content, listed, broken) in [
            (format!("{one}{damaged}{two}"), &[1, 7][..], &[4][..]),
            (format!("{cut_off}{one}"), &[3], &[1]),
            (format!("{one}{cut_off}"), &[1], &[4]),
            (pem("CERTIFICATE", b"no sequence"), &[], &[1]),
            (pem("CERTIFICATE", &der(b"cut off")[..5]), &[], &[1]),
            (one.replace("END CERTIFICATE", "END X509 CRL"), &[], &[1]),
            (damaged.to_owned(), &[], &[1]),
        ] {
            assert_eq!(parsed(&content), (listed.to_vec(), broken.to_vec()), "{content}");
        }
    }

    #[test]
    fn what_openssl_is_told_to_trust_a_certificate_for_counts() {
        let purpose = |oid: &[u8]| [&[OBJECT_IDENTIFIER, u8::try_from(oid.len()).unwrap()], oid].concat();
        let client = [&SERVER_AUTH[..7], &[2]].concat();
        let rejected = |purposes: &[u8]| {
            let list = der(purposes);
            [&[REJECTED], &list[1..]].concat()
        };
        for (settings, trusted) in [
            (der(&[]), true),
            (der(&der(&purpose(SERVER_AUTH))), true),
            (der(&der(&purpose(ANY_PURPOSE))), true),
            (der(&der(&purpose(&client))), false),
            (der(&rejected(&purpose(SERVER_AUTH))), false),
            (der(&rejected(&purpose(&client))), true),
            // An alias, as `openssl x509 -setalias` writes it.
            (der(&[0x0c, 1, b'a']), true),
        ] {
            let block = pem("TRUSTED CERTIFICATE", &[der(b"one"), settings.clone()].concat());
            let expected = if trusted { vec![1] } else { vec![] };
            assert_eq!(parsed(&block), (expected, vec![]), "{settings:?}");
        }
    }
}
