//! Transfers without the gateway: what the DICOMweb plugin needs for them, and what they let users of Orthanc do.

use google_credentials::{Failure, HttpSettings, PeerVerification};
use orthanc_sdk::Version;

use crate::{gateway::names, status::LiveAccount};

/// The first Orthanc that uses the system's CAs while `HttpsCACertificates` is empty. To those before, libcurl reports an error
/// for every TLS connection.
const USES_SYSTEM_CAS: Version = Version::new(1, 12, 6);

/// Why no transfer of the DICOMweb plugin's can succeed, if that is known. The plugin's own requests say nothing about it:
/// while `HttpsCACertificates` is empty, they use the system's CAs.
pub(crate) fn failure(orthanc: Version, http: &HttpSettings, store_url: &str) -> Option<Failure> {
    let verifies = http.verify_peers == PeerVerification::Required;
    let is_tls = store_url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
    (orthanc < USES_SYSTEM_CAS && verifies && is_tls && http.ca_certificates.is_none()).then(|| {
        Failure::of_option(
            "HttpsCACertificates",
            format!(
                "HttpsCACertificates is empty, and with that Orthanc {orthanc} opens no TLS connection: every direct transfer fails"
            ),
            "set it to /etc/ssl/certs/ca-certificates.crt (Debian's package ca-certificates), or use the gateway, and restart Orthanc",
        )
    })
}

/// Tells the log, once a start, which accounts are not contained in their store, and which cannot transfer anything.
pub(crate) fn report<'a>(accounts: impl Iterator<Item = &'a LiveAccount> + Clone) {
    let direct = accounts.filter(|live| live.transport.is_direct());
    let with_tokens = direct.clone().filter(|live| live.account.source.is_some());
    if let Some(names) = names(with_tokens.map(|live| &live.account)) {
        tracing::warn!(
            "{names}: direct transfers: every user of Orthanc's REST API can read and delete whatever the account may, outside its DICOM store as well; set Gateway to true, or grant the account a role on this store alone"
        );
    }
    for live in direct {
        if let Some(failure) = &live.transport_failure {
            tracing::error!("{}: {failure}", live.account.title());
        }
    }
}

#[cfg(test)]
mod tests {
    use orthanc_gcp_configuration::Configuration;

    use super::*;

    #[test]
    fn an_orthanc_without_cas_is_recognised() {
        let empty = Configuration::default().http;
        let named = HttpSettings { ca_certificates: Some("/ca.pem".into()), ..empty.clone() };
        let trusting = HttpSettings { verify_peers: PeerVerification::Off, ..empty.clone() };
        let (old, new) = (Version::new(1, 12, 5), Version::new(1, 12, 6));
        for (orthanc, http, url, expected) in [
            (old, &empty, "https://h/", true),
            (Version::new(1, 10, 1), &empty, "HTTPS://h/", true),
            (new, &empty, "https://h/", false),
            (old, &empty, "http://127.0.0.1/", false),
            (old, &named, "https://h/", false),
            (old, &trusting, "https://h/", false),
        ] {
            assert_eq!(failure(orthanc, http, url).is_some(), expected, "{orthanc} {http:?} {url}");
        }
    }
}
