//! Web pages of others, which must not make a browser change anything here with its user's login (cross-site request
//! forgery).
//!
//! Browsers say where a request comes from: in `Sec-Fetch-Site` (Fetch Metadata) over TLS and to the machine itself, in
//! `Origin` (RFC 6454 section 7) with every POST. Programs such as curl say neither, and nobody can make them ask.

use orthanc_sdk::RestRequest;

/// Whether a page of another site makes the browser ask.
///
/// Hosts are compared without their ports, which reverse proxies are used to leave out of `Host`.
pub(super) fn is_foreign(request: &RestRequest<'_>) -> bool {
    match request.header("sec-fetch-site") {
        // The browser knows the address that it was given, whatever a reverse proxy makes of `Host`. `none` is the user.
        Some("same-origin" | "none") => return false,
        // The same registrable domain is another host's page all the same. What it says else is not known.
        Some(_) => return true,
        None => {}
    }
    let Some(origin) = request.header("origin") else { return false };
    // `null`, of a page that does not say who it is, is no host.
    let Some((_, origin)) = origin.split_once("://") else { return true };
    let is_it = |field| {
        request.header(field).is_some_and(|named| host(named.trim()).eq_ignore_ascii_case(host(origin)))
    };
    !is_it("host") && !is_it("x-forwarded-host")
}

/// The host without its port (RFC 3986 section 3.2).
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use orthanc_sdk::Method;

    use super::*;

    #[test]
    fn pages_of_others_are_told_from_ours() {
        let here = ("host", "pacs.example:8042");
        for (fields, expected) in [
            (&[here][..], false),
            (&[here, ("sec-fetch-site", "cross-site")], true),
            (&[here, ("sec-fetch-site", "cross-site"), ("origin", "http://pacs.example:8042")], true),
            (&[here, ("sec-fetch-site", "same-origin")], false),
            (&[here, ("sec-fetch-site", "same-site"), ("origin", "https://wiki.example")], true),
            (&[here, ("sec-fetch-site", "same-site")], true),
            (&[here, ("sec-fetch-site", "same-site"), ("origin", "http://pacs.example:9999")], true),
            (&[here, ("sec-fetch-site", "Same-Site")], true),
            (&[here, ("sec-fetch-site", "")], true),
            (&[here, ("sec-fetch-site", "none")], false),
            (&[here, ("origin", "http://pacs.example:8042")], false),
            (&[here, ("origin", "http://pacs.example.evil.example")], true),
            (&[here, ("origin", "null")], true),
            (&[("host", "[::1]:8042"), ("origin", "http://[::1]:8042")], false),
            (&[("host", "[::1]:8042"), ("origin", "http://[::2]:8042")], true),
            (&[("origin", "http://pacs.example")], true),
            // Behind a reverse proxy.
            (&[("host", "PACS.example"), ("origin", "https://pacs.example:8443")], false),
            (
                &[
                    ("host", "127.0.0.1:8042"),
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "https://pacs.example"),
                ],
                false,
            ),
            (
                &[
                    ("host", "127.0.0.1:8042"),
                    ("x-forwarded-host", "pacs.example"),
                    ("origin", "http://pacs.example"),
                ],
                false,
            ),
            (&[("host", "127.0.0.1:8042"), ("origin", "http://pacs.example")], true),
        ] {
            let request = RestRequest {
                method: Method::Post,
                path: String::new(),
                groups: Vec::new(),
                query: Vec::new(),
                headers: fields
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                body: b"",
            };
            assert_eq!(is_foreign(&request), expected, "{fields:?}");
        }
    }
}
