//! The parts of a server's certificate that a person wants to see (RFC 5280). What it is worth is rustls' business.

mod der;
mod usage;

use std::time::{Duration, SystemTime};

use crate::strike_out::sentence;
pub(crate) use der::{Der, OBJECT_IDENTIFIER, SEQUENCE};
pub(crate) use usage::{SERVER_AUTH, Usage};

/// A server's certificate, trusted or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whose it is, the most particular first: `CN=healthcare.googleapis.com`. Often empty nowadays.
    pub subject: String,
    /// Who signed it: `CN=WE2, O=Google Trust Services, C=US`.
    pub issuer: String,
    /// From when on it is valid.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
}

impl PeerCertificate {
    /// Reads a certificate in DER; `None` where it is none.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let certificate = Der(der).element(SEQUENCE)?;
        let mut fields = Der(Der(certificate).element(SEQUENCE)?);
        // The version is left out in certificates of version 1 (section 4.1.2.1).
        let (tag, _) = fields.next()?;
        if tag == VERSION {
            fields.element(INTEGER)?;
        }
        fields.element(SEQUENCE)?;
        let issuer = name(fields.element(SEQUENCE)?)?;
        let mut validity = Der(fields.element(SEQUENCE)?);
        let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
        let subject = name(fields.element(SEQUENCE)?)?;
        Some(Self { subject, issuer, not_before, not_after })
    }

    /// How long it is still valid; `None` if it has expired.
    pub fn left(&self, now: SystemTime) -> Option<Duration> {
        self.not_after.duration_since(now).ok()
    }
}

const INTEGER: u8 = 0x02;
const SET: u8 = 0x31;
const BMP_STRING: u8 = 0x1e;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, constructed.
const VERSION: u8 = 0xa0;

/// The last byte of the attributes' object identifiers below 2.5.4 (X.520), and their short names (RFC 4514 section 3).
const ATTRIBUTES: [(u8, &str); 6] = [(3, "CN"), (6, "C"), (7, "L"), (8, "ST"), (10, "O"), (11, "OU")];

/// A distinguished name as RFC 4514 writes it, the last part first. Attributes that nobody shows are left out.
fn name(content: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    let mut sets = Der(content);
    while !sets.0.is_empty() {
        let mut set = Der(sets.element(SET)?);
        while !set.0.is_empty() {
            let mut attribute = Der(set.element(SEQUENCE)?);
            let kind = attribute.element(OBJECT_IDENTIFIER)?;
            let value = attribute.next()?;
            let short = ATTRIBUTES.iter().find(|(last, _)| kind == [0x55, 0x04, *last]);
            if let Some((_, short)) = short {
                parts.push(format!("{short}={}", text(value)));
            }
        }
    }
    parts.reverse();
    // Anybody can write anything into a certificate.
    Some(sentence(&parts.join(", ")))
}

/// A string of any of the kinds that names have; what is not its kind's is replaced.
fn text((tag, content): (u8, &[u8])) -> String {
    if tag == BMP_STRING {
        let units: Vec<u16> =
            content.as_chunks().0.iter().map(|unit: &[u8; 2]| u16::from_be_bytes(*unit)).collect();
        return String::from_utf16_lossy(&units);
    }
    String::from_utf8_lossy(content).into_owned()
}

/// A date (section 4.1.2.5): two digits of a year mean 1950 to 2049. What lies before 1970 is taken for its first second.
fn time((tag, content): (u8, &[u8])) -> Option<SystemTime> {
    let digits = str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let digits = match tag {
        UTC_TIME if digits.len() == 12 => {
            let century = if digits.get(..2)? < "50" { "20" } else { "19" };
            format!("{century}{digits}")
        }
        GENERALIZED_TIME if digits.len() == 14 => digits.to_owned(),
        _ => return None,
    };
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    let (year, month, day) = (part(0, 4), part(4, 6), part(6, 8));
    if year < "1970" {
        return Some(SystemTime::UNIX_EPOCH);
    }
    let (hour, minute, second) = (part(8, 10), part(10, 12), part(12, 14));
    humantime::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["store.example".to_owned()]).unwrap();
        params.distinguished_name.remove(DnType::CommonName);
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn at(rfc3339: &str) -> SystemTime {
        humantime::parse_rfc3339(rfc3339).unwrap()
    }

    #[test]
    fn names_and_dates_are_read() {
        let der = certificate(|params| {
            params.distinguished_name.push(DnType::CountryName, "DE");
            params.distinguished_name.push(DnType::OrganizationName, "Spital \u{e4}\u{df}\ntwo");
            let wide = rcgen::string::BmpString::try_from("R\u{f6}ntgen").unwrap();
            params.distinguished_name.push(DnType::OrganizationalUnitName, DnValue::BmpString(wide));
            params.distinguished_name.push(DnType::CommonName, "store.example");
            params.not_before = rcgen::date_time_ymd(2026, 11, 23);
            params.not_after = rcgen::date_time_ymd(2027, 2, 28);
        });
        let read = PeerCertificate::read(&der).unwrap();
        let name = "CN=store.example, OU=R\u{f6}ntgen, O=Spital \u{e4}\u{df} two, C=DE";
        assert_eq!((read.subject.as_str(), read.issuer.as_str()), (name, name));
        assert_eq!(read.not_before, at("2026-11-23T00:00:00Z"));
        assert_eq!(read.not_after, at("2027-02-28T00:00:00Z"));
        assert_eq!(read.left(at("2027-02-27T00:00:00Z")), Some(Duration::from_secs(86_400)));
        assert_eq!(read.left(at("2027-03-01T00:00:00Z")), None);
    }

    #[test]
    fn dates_of_other_centuries_and_empty_names_are_read() {
        let der = certificate(|params| {
            params.not_before = rcgen::date_time_ymd(1960, 1, 1);
            params.not_after = rcgen::date_time_ymd(2999, 12, 31);
        });
        let read = PeerCertificate::read(&der).unwrap();
        assert_eq!(read.subject, "");
        assert_eq!(read.not_before, SystemTime::UNIX_EPOCH);
        assert_eq!(read.not_after, at("2999-12-31T00:00:00Z"));
    }

    #[test]
    fn what_breaks_off_is_none() {
        let der = certificate(|_| ());
        // What comes behind the subject is not looked at, but the outer lengths are.
        for length in 0..der.len() {
            assert_eq!(PeerCertificate::read(&der[..length]), None, "{length}");
        }
    }

    #[test]
    fn nothing_panics() {
        let whole = certificate(|_| ());
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8);
        proptest!(|(changes in changes)| {
            let mut der = whole.clone();
            for (at, byte) in changes {
                let at = at.index(der.len());
                der[at] = byte;
            }
            let _read = PeerCertificate::read(&der);
        });
    }
}
