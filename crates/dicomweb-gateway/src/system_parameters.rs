//! Parameters and header fields with which Google's servers are steered, and not the DICOM store: method, credential, format,
//! who pays (<https://cloud.google.com/apis/docs/system-parameters>).
//!
//! The gateway adds the account's token to a request. Whoever may only search must not turn a search into something else, or
//! into a script for a web page, by a parameter that no DICOMweb request has.

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode;

/// Parameters that Google's servers take for themselves, in lower case and without `$`, `_` or other marks.
const PARAMETERS: [&str; 22] = [
    "accesstoken",
    "alt",
    "apikey",
    "apiversion",
    "bearertoken",
    "callback",
    "fields",
    "httpheaders",
    "httpmethod",
    "key",
    "oauthtoken",
    "outputdefaults",
    "prettyprint",
    "quotauser",
    "upload",
    "uploadid",
    "uploadprotocol",
    "uploadtype",
    "userip",
    "userproject",
    "xgafv",
    "xhttpmethodoverride",
];

/// How often a name is decoded, so that one that was encoded several times is found.
const DECODINGS: usize = 4;

/// The parameter of the query that steers Google's servers, if there is one, in words that quote nothing of the query.
///
/// Names of attributes (PS3.18 section 8.3.4.1) are hexadecimal or keywords of PS3.6, and none of these looks like such a
/// parameter in any spelling.
pub(crate) fn in_query(query: &str) -> Option<&'static str> {
    query.split(['&', ';']).find_map(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default().as_bytes().to_vec();
        let name = (0..DECODINGS).fold(name, |name, _| percent_decode(&name).collect());
        let is_blank = |byte: &u8| byte.is_ascii_whitespace() || byte.is_ascii_control() || *byte == b'+';
        if name.iter().find(|byte| !is_blank(byte)) == Some(&b'$') {
            return Some("whose name begins with `$`");
        }
        let plain: Vec<u8> = name.iter().filter(|byte| byte.is_ascii_alphanumeric()).copied().collect();
        let plain = plain.to_ascii_lowercase();
        if plain.starts_with(b"xgoog") {
            return Some("whose name begins with `X-Goog-`");
        }
        PARAMETERS.into_iter().find(|known| known.as_bytes() == plain)
    })
}

/// Fields that say another method than the request line, or that the gateway itself answers for.
const FIELDS: [&str; 4] = ["x-http-method", "x-http-method-override", "x-method", "x-method-override"];
/// With these begin Google's own.
const PREFIXES: [&str; 2] = ["x-goog-", "x-upload-"];
/// Those of Google's that steer nothing: what its client libraries say of themselves, what a login of Google's in front of
/// the gateway says of a user (none of it is passed on), and who pays.
const HARMLESS: [&str; 7] = [
    "x-goog-api-client",
    "x-goog-authenticated-user-email",
    "x-goog-authenticated-user-id",
    "x-goog-iap-jwt-assertion",
    "x-goog-request-params",
    "x-goog-request-reason",
    "x-goog-user-project",
];

/// The header field that steers Google's servers, if there is one that the administrator has not named (`named`).
pub(crate) fn in_headers<'a>(headers: &'a HeaderMap, named: &[String]) -> Option<&'a str> {
    headers.keys().map(HeaderName::as_str).find(|name| {
        // Some servers take both marks for the same.
        let dashed = name.replace('_', "-");
        let is_googles = PREFIXES.iter().any(|prefix| dashed.starts_with(prefix))
            && !HARMLESS.contains(&dashed.as_str())
            && !named.iter().any(|named| named.eq_ignore_ascii_case(name));
        FIELDS.contains(&dashed.as_str()) || is_googles
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn system_parameters_are_found_in_every_spelling() {
        for query in [
            "$httpMethod=DELETE",
            "$callback=x",
            "$ct=text/html",
            "$alt=sse",
            "$.xgafv=1",
            "$anything",
            "%24httpMethod=DELETE",
            "%2524httpMethod=DELETE",
            "$http%4Dethod=DELETE",
            "limit=1&access_token=x",
            "access%5Ftoken=x",
            "Access_Token=x",
            "%61ccess_token=x",
            "+key=1",
            "%20$ct=1",
            "%00key=1",
            "KEY=1",
            "key",
            "limit=1;key=2",
            "alt=media",
            "fields=x",
            "quotaUser=x",
            "userProject=x",
            "upload_protocol=raw",
            "uploadType=media",
            "prettyPrint=false",
            "oauth_token=x",
            "callback=x",
            "X-Goog-Api-Key=x",
        ] {
            assert!(in_query(query).is_some(), "{query}");
        }
    }

    #[test]
    fn parameters_of_dicomweb_are_none() {
        for query in [
            "",
            "&&",
            "=",
            "limit=1&offset=2&includefield=all&fuzzymatching=true&emptyvaluematching=true",
            "PatientName=key*&00100020=alt&StudyDate=20200101-20201231&ModalitiesInStudy=CT%5CMR",
            "00081115.0008103E=x&RequestAttributesSequence.ScheduledProcedureStepID=$key",
            "accept=multipart/related;type=%22application/dicom%22;transfer-syntax=*",
            "charset=utf-8&quality=90&viewport=1,2&window=40,400,linear&iccprofile=no&annotation=patient",
            "sort=StudyDate&orderby=x",
        ] {
            assert_eq!(in_query(query), None, "{query}");
        }
    }

    #[test]
    fn fields_that_steer_are_found() {
        let found = |name: &'static str, named: &[String]| {
            let headers = HeaderMap::from_iter([
                (HeaderName::from_static("accept"), HeaderValue::from_static("*/*")),
                (HeaderName::from_static(name), HeaderValue::from_static("x")),
            ]);
            in_headers(&headers, named).is_some()
        };
        for name in [
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
            "x_http_method_override",
            "x-goog-api-key",
            "x-goog-fieldmask",
            "x-goog-upload-protocol",
            "x-goog-encode-response-if-executable",
            "x-goog-iam-authorization-token",
            "x-upload-content-length",
        ] {
            assert!(found(name, &[]), "{name}");
        }
        for name in ["authorization", "x-goog-user-project", "x-goog-api-client", "x-goog-iap-jwt-assertion"]
        {
            assert!(!found(name, &[]), "{name}");
        }
        let named = ["X-Goog-Own".to_owned(), "X-HTTP-Method".to_owned()];
        assert!(!found("x-goog-own", &named) && found("x-http-method", &named));
    }
}
