//! Which header fields of a request reach the DICOM store: those of DICOMweb and of HTTP's own negotiation.
//!
//! Clients, proxies and the logins before them say in fields of their own who asks, from where, and with which credential.
//! Nobody knows all of them. So the known ones are passed on, and no others but those that the administrator has named.

use http::{HeaderMap, HeaderName};

use crate::body::copy_end_to_end;

/// What is passed on (PS3.18 section 8.4; RFC 9110; RFC 9530; RFC 7240). `User-Agent` names a program.
const PASSED: [&str; 22] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-digest",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-range",
    "content-type",
    "digest",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "prefer",
    "range",
    "repr-digest",
    "user-agent",
    // Who pays, where that is not the project of the store.
    "x-goog-user-project",
];

/// What the gateway itself says to the store, whatever is named.
const OWN: [&str; 4] = ["authorization", "content-length", "expect", "host"];

/// Leaves the fields that are passed on, and those in `named`, which are compared in any letter case.
pub(crate) fn retain(headers: &mut HeaderMap, named: &[String]) {
    let mut end_to_end = HeaderMap::new();
    copy_end_to_end(headers, &mut end_to_end);
    let is_passed = |name: &HeaderName| {
        let is_named = named.iter().any(|named| named.eq_ignore_ascii_case(name.as_str()));
        PASSED.contains(&name.as_str()) || (is_named && !OWN.contains(&name.as_str()))
    };
    headers.clear();
    for (name, value) in end_to_end.iter().filter(|(name, _)| is_passed(name)) {
        headers.append(name.clone(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_known_and_named_fields_are_left() {
        let fields = [
            ("accept", "a/b"),
            ("accept", "c/d"),
            ("content-type", "e/f"),
            ("x-goog-user-project", "payer"),
            ("x-site", "7"),
            ("authorization", "Bearer secret"),
            ("host", "h"),
            ("cookie", "c"),
            ("oidc_access_token", "t"),
            ("oidc-access-token", "t"),
            ("x-id-token", "t"),
            ("x-userinfo", "u"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-ms-client-principal", "p"),
            ("content-disposition", "filename=Doe.dcm"),
            ("baggage", "user=doe"),
            ("connection", "range, x-hop"),
            ("range", "bytes=0-1"),
            ("x-hop", "1"),
            ("te", "trailers"),
        ];
        let left = |named: &[&str]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
            retain(&mut headers, &named);
            let left = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
            left.collect::<Vec<_>>()
        };
        let known = ["accept: a/b", "accept: c/d", "content-type: e/f", "x-goog-user-project: payer"];
        let mut found = left(&[]);
        found.sort();
        assert_eq!(found, known);
        let mut found = left(&["X-Site", "Authorization", "Host", "X-Hop"]);
        found.sort();
        assert_eq!(found, [&known[..], &["x-site: 7"]].concat());
    }
}
