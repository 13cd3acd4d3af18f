//! What a refusal means and what to do about it: the tables, which `docs/errors.md` shows, and how they are used.

mod store;

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::{
    Failure, FailureKind, Response, TransportError, TransportErrorKind,
    http::shown_url,
    strike_out::{one_line, strike_out},
};
use FailureKind::{Configuration, NeedsPerson, Transient};

pub use store::{STORE_REFUSALS, of_store};

/// A line of the table: which refusals of a token endpoint it covers, how they are handled, and the remedy.
#[derive(Debug)]
pub struct Row {
    /// The lowest and highest status code.
    pub status: (u16, u16),
    /// The OAuth error code (RFC 6749 section 5.2) or Google's `error_subtype`, or Google's status or the reason of its
    /// `ErrorInfo` (AIP-193); empty for any.
    pub error: &'static str,
    /// A part of Google's sentence; empty for any.
    pub words: &'static str,
    /// How the failure is handled.
    pub kind: FailureKind,
    /// What a person can do.
    pub remedy: &'static str,
}

/// The refusals of a token endpoint, the most particular first. The last line covers whatever is left.
///
/// Only what carries an OAuth error code waits for a person: a status alone may come from a portal or proxy in between,
/// and heals without one.
#[rustfmt::skip]
pub const TOKEN_REFUSALS: &[Row] = &[
    Row { status: (400, 401), error: "invalid_rapt", words: "", kind: NeedsPerson,
        remedy: "the Google Workspace of this user ends logins after a while: log in again with `gcloud auth application-default login`, or use a service account" },
    Row { status: (400, 401), error: "rapt_required", words: "", kind: NeedsPerson,
        remedy: "the Google Workspace of this user ends logins after a while: log in again with `gcloud auth application-default login`, or use a service account" },
    Row { status: (400, 401), error: "invalid_grant", words: "reasonable timeframe", kind: Transient,
        remedy: "set this machine's clock (NTP): Google accepts a signed request only within minutes of its own time" },
    Row { status: (400, 401), error: "invalid_grant", words: "Invalid JWT Signature", kind: NeedsPerson,
        remedy: "the key was deleted or belongs to another account: create a new one with `gcloud iam service-accounts keys create` and put its file in place" },
    Row { status: (400, 401), error: "invalid_grant", words: "account not found", kind: NeedsPerson,
        remedy: "the service account was deleted or disabled: enable it, or use the key of another one" },
    Row { status: (400, 401), error: "invalid_grant", words: "Invalid JWT", kind: NeedsPerson,
        remedy: "the key file does not fit the service account: create a new key and put its file in place" },
    Row { status: (400, 401), error: "invalid_grant", words: "", kind: NeedsPerson,
        remedy: "the login is over (revoked, six months unused, or replaced): log in again with `gcloud auth application-default login`, or use a service account" },
    Row { status: (400, 401), error: "invalid_client", words: "", kind: NeedsPerson,
        remedy: "Google does not know this client_id and client_secret: take both from the file that holds the refresh_token" },
    Row { status: (400, 401), error: "unauthorized_client", words: "", kind: NeedsPerson,
        remedy: "the client may not use this grant: take client_id, client_secret and refresh_token from the same file" },
    Row { status: (400, 400), error: "invalid_target", words: "", kind: NeedsPerson,
        remedy: "the workload identity pool or its provider is unknown or disabled: compare `audience` in the credential's file with the provider in the console" },
    Row { status: (400, 400), error: "invalid_request", words: "", kind: NeedsPerson,
        remedy: "Google does not take the request as it stands: create the credential's file again with the tool that made it" },
    Row { status: (400, 401), error: "disabled_client", words: "", kind: NeedsPerson,
        remedy: "the OAuth client was disabled: use another credential" },
    Row { status: (400, 401), error: "invalid_scope", words: "", kind: NeedsPerson,
        remedy: "the login was not given this scope: log in again with `gcloud auth application-default login`" },
    Row { status: (400, 499), error: "server_error", words: "", kind: Transient,
        remedy: "the trouble is on Google's side and usually short" },
    Row { status: (400, 499), error: "temporarily_unavailable", words: "", kind: Transient,
        remedy: "the trouble is on Google's side and usually short" },
    Row { status: (400, 499), error: "internal_failure", words: "", kind: Transient,
        remedy: "the trouble is on Google's side and usually short" },
    Row { status: (429, 429), error: "", words: "", kind: Transient,
        remedy: "too many requests come from this account or address: if it lasts, look for other programs that use the same credential" },
    Row { status: (408, 408), error: "", words: "", kind: Transient,
        remedy: "the line is slow or the server busy: if it lasts, look at the way to that address" },
    Row { status: (407, 407), error: "", words: "", kind: Transient,
        remedy: "the proxy wants a user and password: give them in HttpProxy (`user:password@host:port`)" },
    Row { status: (404, 405), error: "", words: "", kind: Transient,
        remedy: "there is no token endpoint at this address: correct TokenUri, or `token_uri` in the key file" },
    Row { status: (300, 399), error: "", words: "", kind: Transient,
        remedy: "a token endpoint never redirects: a captive portal or proxy stands between, or TokenUri is wrong" },
    Row { status: (500, 599), error: "", words: "", kind: Transient,
        remedy: "the trouble is on the server's side and usually short" },
    Row { status: (400, 499), error: "", words: "", kind: Transient,
        remedy: "a token endpoint gives an OAuth error with such a status, and this has none: check TokenUri, and whether a proxy answers in Google's place" },
    Row { status: (0, 999), error: "", words: "", kind: Transient,
        remedy: "this is no answer of a token endpoint: check TokenUri, and whether a proxy answers in Google's place" },
];

/// The refusals of a token exchange (RFC 8693) that mean something else than those of other grants, which cover the rest.
///
/// A subject token is somebody else's: what provides it may be late or down, and heals by itself.
#[rustfmt::skip]
pub const EXCHANGE_REFUSALS: &[Row] = &[
    Row { status: (400, 401), error: "invalid_grant", words: "", kind: Transient,
        remedy: "what the identity provider gave was not accepted: check that its token is renewed in time, and compare its issuer, audience and subject with the provider's settings (`gcloud iam workload-identity-pools providers describe`)" },
    Row { status: (400, 401), error: "invalid_client", words: "", kind: NeedsPerson,
        remedy: "Google does not know the client_id and client_secret of the credential's file: create the file again, with those of an OAuth client that exists" },
    Row { status: (400, 403), error: "unauthorized_client", words: "", kind: NeedsPerson,
        remedy: "grant the identity the role roles/serviceusage.serviceUsageConsumer on the project that `workforce_pool_user_project` names in the credential's file" },
];

/// The refusals of the IAM Service Account Credentials API, the most particular first. `{principal}` and `{target}` stand
/// for who asks and whom it wants to be.
#[rustfmt::skip]
pub const IMPERSONATION_REFUSALS: &[Row] = &[
    Row { status: (403, 403), error: "PERMISSION_DENIED", words: "iam.serviceAccounts.getAccessToken", kind: NeedsPerson,
        remedy: "grant {principal} the role roles/iam.serviceAccountTokenCreator on {target}, and each delegate the same on the next one (`gcloud iam service-accounts add-iam-policy-binding`); it takes some minutes to come into force" },
    Row { status: (403, 403), error: "PERMISSION_DENIED", words: "has not been used in project", kind: NeedsPerson,
        remedy: "enable the IAM Service Account Credentials API at the address that Google names, and wait some minutes" },
    Row { status: (403, 403), error: "PERMISSION_DENIED", words: "scopes", kind: NeedsPerson,
        remedy: "the token of {principal} lacks a scope: give the machine, or the login, the scope https://www.googleapis.com/auth/cloud-platform" },
    Row { status: (403, 403), error: "", words: "", kind: NeedsPerson,
        remedy: "grant {principal} the role roles/iam.serviceAccountTokenCreator on {target}" },
    Row { status: (404, 404), error: "NOT_FOUND", words: "", kind: NeedsPerson,
        remedy: "there is no service account {target}: correct ImpersonateServiceAccount, or the credential's file" },
    Row { status: (400, 400), error: "INVALID_ARGUMENT", words: "lifetime", kind: NeedsPerson,
        remedy: "tokens of more than an hour need the organization policy iam.allowServiceAccountCredentialLifetimeExtension: ask for 3600 s in the credential's file" },
    Row { status: (400, 400), error: "INVALID_ARGUMENT", words: "", kind: NeedsPerson,
        remedy: "correct Scopes and ImpersonateServiceAccount, or the credential's file" },
    Row { status: (401, 401), error: "", words: "", kind: Transient,
        remedy: "the token of {principal} was not accepted; another is asked for" },
    Row { status: (429, 429), error: "", words: "", kind: Transient,
        remedy: "the quota of the IAM Service Account Credentials API is used up: if it lasts, look for other programs that use {target}" },
    Row { status: (500, 599), error: "", words: "", kind: Transient,
        remedy: "the trouble is on Google's side and usually short" },
    Row { status: (0, 999), error: "", words: "", kind: Transient,
        remedy: "this is no answer of Google's: check the address, and whether a proxy or captive portal answers in Google's place" },
];

/// A line of the table of ways on which no whole answer came.
#[derive(Debug)]
pub struct TransportRow {
    /// Where the way broke off.
    pub what: TransportErrorKind,
    /// How the failure is handled.
    pub kind: FailureKind,
    /// What a person can do.
    pub remedy: &'static str,
}

/// Where the way to a server breaks off. Settings that cannot be used are not here: their remedies come with them.
#[rustfmt::skip]
pub const TRANSPORT_FAILURES: &[TransportRow] = &[
    TransportRow { what: TransportErrorKind::Address, kind: Configuration,
        remedy: "correct BaseUrl if it is the DICOM store's; if not, TokenUri, or `token_uri` in the credential's file" },
    TransportRow { what: TransportErrorKind::Name, kind: Transient,
        remedy: "check the name and this machine's DNS, or set HttpProxy if the way out leads through one" },
    TransportRow { what: TransportErrorKind::Connection, kind: Transient,
        remedy: "check the port (in BaseUrl if it is the DICOM store's), the network and the firewall (HTTPS to that host), or set HttpProxy if the way out leads through one" },
    TransportRow { what: TransportErrorKind::Proxy(HTTP_PROXY), kind: Transient,
        remedy: "check HttpProxy (`user:password@host:port`) and that the proxy allows that host" },
    TransportRow { what: TransportErrorKind::UntrustedCertificate, kind: Transient,
        remedy: "if a proxy opens TLS here, or the server is your own, add its CA to the file of HttpsCACertificates" },
    TransportRow { what: TransportErrorKind::UnusableCertificate, kind: Transient,
        remedy: "replace that certificate at the server, or at the proxy that opens TLS: another CA in the file of HttpsCACertificates does not help" },
    TransportRow { what: TransportErrorKind::CertificateName, kind: Transient,
        remedy: "correct the address, or give the server a certificate for the name in it" },
    TransportRow { what: TransportErrorKind::CertificateTime, kind: Transient,
        remedy: "check this machine's clock; if the server is your own, renew its certificate" },
    TransportRow { what: TransportErrorKind::NotTls, kind: Transient,
        remedy: "check that the address is right, `https://` and the port: correct BaseUrl if it is the DICOM store's; if not, TokenUri, or `token_uri` in the credential's file" },
    TransportRow { what: TransportErrorKind::OldTls, kind: Transient,
        remedy: "enable TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM, at that server or at the proxy that opens TLS there; Orthanc's libcurl may still take what it offers now" },
    TransportRow { what: TransportErrorKind::Tls, kind: Transient,
        remedy: "check that the address is right and that no proxy or firewall meddles with HTTPS there" },
    TransportRow { what: TransportErrorKind::NotHttp, kind: Transient,
        remedy: "check that the address is right, `http://` or `https://` and the port: correct BaseUrl if it is the DICOM store's; if not, TokenUri, or `token_uri` in the credential's file" },
    TransportRow { what: TransportErrorKind::Interrupted, kind: Transient,
        remedy: "if it lasts, look for a proxy or firewall that cuts connections or changes answers" },
    TransportRow { what: TransportErrorKind::Timeout, kind: Transient,
        remedy: "check the port (in BaseUrl if it is the DICOM store's), the network and the firewall; a slow line may need a longer Timeout" },
];

/// The option of which the remedy for proxies speaks; where a variable of the environment sets the proxy, of that one.
const HTTP_PROXY: &str = "HttpProxy";

/// Who a refusal is about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Parties<'a> {
    /// Who asks.
    pub(crate) principal: Option<&'a str>,
    /// Whom it wants to be.
    pub(crate) target: Option<&'a str>,
}

/// What the token endpoint `url` meant by an answer other than 200 to a request sent at `sent_at`.
pub(crate) fn of_refusal(url: &str, response: &Response, sent_at: SystemTime) -> Failure {
    of_table(TOKEN_REFUSALS.iter(), url, response, sent_at, Parties::default())
}

/// What the token exchange at `url` meant by an answer other than 200.
pub(crate) fn of_exchange(url: &str, response: &Response, sent_at: SystemTime) -> Failure {
    let rows = EXCHANGE_REFUSALS.iter().chain(TOKEN_REFUSALS);
    of_table(rows, url, response, sent_at, Parties::default())
}

/// What `generateAccessToken` at `url` meant by an answer other than 200.
pub(crate) fn of_impersonation(
    url: &str,
    response: &Response,
    sent_at: SystemTime,
    parties: Parties<'_>,
) -> Failure {
    of_table(IMPERSONATION_REFUSALS.iter(), url, response, sent_at, parties)
}

fn of_table(
    mut rows: impl Iterator<Item = &'static Row>,
    url: &str,
    response: &Response,
    sent_at: SystemTime,
    parties: Parties<'_>,
) -> Failure {
    let words = Words::read(response);
    let status = response.status;
    let row = rows.find(|row| {
        (row.status.0..=row.status.1).contains(&status)
            && (row.error.is_empty() || row.error == words.error || row.error == words.subtype)
            && words.description.contains(row.words)
    });
    let (kind, remedy) = row.map_or((Transient, ""), |row| (row.kind, row.remedy));
    let principal = parties.principal.unwrap_or("whom the credential stands for");
    let mut remedy = remedy.replace("{principal}", principal);
    remedy = remedy.replace("{target}", parties.target.unwrap_or("the service account"));
    if row.is_some_and(|row| row.words == "reasonable timeframe")
        && let Some(off) = clock_error(response, sent_at)
    {
        remedy = format!("{off}; {remedy}");
    }
    let mut cause = format!("{} answered {status}", shown_url(url));
    if !words.error.is_empty() {
        cause = format!("{cause} {}", words.error);
    }
    if !words.description.is_empty() {
        cause = format!("{cause}: \"{}\"", words.description);
    }
    if let Some(location) = response.header("location") {
        cause =
            format!("{cause}, towards {}", strike_out(response.sent.strike(&shown_url(location)).as_bytes()));
    }
    Failure {
        retry_after: response.retry_after(sent_at),
        throttled: status == 429,
        ..Failure::new(kind, cause, remedy)
    }
}

/// What a request to `url` that got no whole answer means.
pub fn of_transport(url: &str, error: &TransportError) -> Failure {
    if let TransportErrorKind::Settings(remedy) = error.kind {
        return Failure::new(Configuration, error.cause.as_str(), remedy);
    }
    let (kind, set_by) = match error.kind {
        TransportErrorKind::Proxy(set_by) => (TransportErrorKind::Proxy(HTTP_PROXY), set_by),
        kind => (kind, HTTP_PROXY),
    };
    let row = TRANSPORT_FAILURES.iter().find(|row| row.what == kind);
    let (kind, remedy) = row.map_or((Transient, ""), |row| (row.kind, row.remedy));
    let remedy = remedy.replace("check HttpProxy", &format!("check {set_by}"));
    Failure::new(kind, format!("no answer from {}: {}", shown_url(url), one_line(&error.cause)), remedy)
}

/// Google's own words in an error answer: OAuth's form (RFC 6749 section 5.2) or Google's (AIP-193).
#[derive(Default)]
struct Words {
    error: String,
    subtype: String,
    description: String,
}

impl Words {
    fn read(response: &Response) -> Self {
        let quoted = |text: &str| one_line(&response.sent.strike(text));
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(quoted).unwrap_or_default();
        let Ok(answer) = serde_json::from_slice::<Value>(&response.body) else {
            let body = response.sent.strike(&String::from_utf8_lossy(&response.body));
            return Self { description: strike_out(body.as_bytes()).trim().to_owned(), ..Self::default() };
        };
        // Streaming methods of Google's wrap the error in an array.
        let answer = answer.get(0).unwrap_or(&answer);
        match answer.get("error") {
            Some(Value::Object(error)) => Self {
                error: text(error.get("status")),
                subtype: text(error.get("details").and_then(reason)),
                description: text(error.get("message")),
            },
            error => Self {
                error: text(error),
                subtype: text(answer.get("error_subtype")),
                description: text(answer.get("error_description")),
            },
        }
    }
}

/// The `reason` of the `ErrorInfo` among the details (AIP-193).
fn reason(details: &Value) -> Option<&Value> {
    details.as_array()?.iter().find_map(|detail| detail.get("reason"))
}

/// By how much this machine's clock differs from the server's `Date`, in words.
fn clock_error(response: &Response, sent_at: SystemTime) -> Option<String> {
    let there = httpdate::parse_http_date(response.header("date")?).ok()?;
    let (off, direction) = match sent_at.duration_since(there) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    (off >= Duration::from_secs(30))
        .then(|| format!("this machine's clock is {} {direction} the token server's", in_words(off)))
}

/// A span of time, to the two largest units.
pub fn in_words(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str, headers: &[(&'static str, &str)]) -> Failure {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let response = Response { status, headers, body: body.as_bytes().to_vec(), ..Response::default() };
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 12:00:00 GMT").unwrap();
        of_refusal("https://t/token", &response, now)
    }

    #[test]
    fn each_refusal_has_its_kind_and_remedy() {
        for (status, body, kind, said) in [
            (
                400,
                r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#,
                NeedsPerson,
                "gcloud auth application-default login",
            ),
            (
                400,
                r#"{"error":"invalid_grant","error_subtype":"invalid_rapt","error_description":"reauth related error (invalid_rapt)"}"#,
                NeedsPerson,
                "Workspace",
            ),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#,
                NeedsPerson,
                "keys create",
            ),
            (
                401,
                r#"{"error":"invalid_client","error_description":"The OAuth client was not found."}"#,
                NeedsPerson,
                "client_secret",
            ),
            (400, r#"{"error":"temporarily_unavailable"}"#, Transient, "Google's side"),
            (
                403,
                r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"No."}}"#,
                Transient,
                "PERMISSION_DENIED: \"No.\"",
            ),
            (429, "", Transient, "too many requests"),
            (500, "<html>oops</html>", Transient, "answered 500: \"<html>oops</html>\""),
            (404, "", Transient, "TokenUri"),
            (302, "", Transient, "captive portal"),
            (204, "", Transient, "no answer of a token endpoint"),
        ] {
            let failure = refusal(status, body, &[]);
            assert_eq!(failure.kind, kind, "{failure}");
            assert!(failure.to_string().contains(said), "{failure}");
        }
    }

    #[test]
    fn a_wrong_clock_is_measured() {
        let body = r#"{"error":"invalid_grant","error_description":"Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."}"#;
        let failure = refusal(400, body, &[("date", "Mon, 23 Nov 2026 15:30:00 GMT")]);
        assert_eq!(failure.kind, Transient);
        assert!(failure.remedy.contains("clock is 3 h 30 min behind the token server's"), "{failure}");
    }

    #[test]
    fn every_row_can_be_reached() {
        for (index, row) in TOKEN_REFUSALS.iter().enumerate() {
            let body = format!(r#"{{"error":"{}","error_description":"{}"}}"#, row.error, row.words);
            let reached = refusal(row.status.0, &body, &[]);
            let first = TOKEN_REFUSALS.iter().position(|other| reached.remedy == other.remedy).unwrap();
            assert_eq!(TOKEN_REFUSALS[first].remedy, row.remedy, "row {index}");
        }
    }

    #[test]
    fn every_way_to_break_off_has_its_remedy() {
        use TransportErrorKind as Kind;
        // Exhaustive: a new kind does not compile until it is here.
        let position = |kind: Kind| match kind {
            Kind::Settings(_) => None,
            Kind::Address
            | Kind::Name
            | Kind::Connection
            | Kind::Proxy(_)
            | Kind::UntrustedCertificate
            | Kind::UnusableCertificate
            | Kind::CertificateName
            | Kind::CertificateTime
            | Kind::NotTls
            | Kind::OldTls
            | Kind::Tls
            | Kind::NotHttp
            | Kind::Interrupted
            | Kind::Timeout => TRANSPORT_FAILURES.iter().position(|row| row.what == kind),
        };
        let all = [
            Kind::Address,
            Kind::Name,
            Kind::Connection,
            Kind::Proxy(HTTP_PROXY),
            Kind::UntrustedCertificate,
            Kind::UnusableCertificate,
            Kind::CertificateName,
            Kind::CertificateTime,
            Kind::NotTls,
            Kind::OldTls,
            Kind::Tls,
            Kind::NotHttp,
            Kind::Interrupted,
            Kind::Timeout,
        ];
        let found: Vec<_> = all.into_iter().map(position).collect();
        let expected: Vec<_> = (0..TRANSPORT_FAILURES.len()).map(Some).collect();
        assert_eq!(found, expected);
        let error = TransportError { kind: Kind::Timeout, cause: "nothing".to_owned() };
        assert!(of_transport("https://t/", &error).to_string().ends_with("a longer Timeout"));
        let error = TransportError { kind: Kind::Settings("do so"), cause: "x is wrong".to_owned() };
        assert_eq!(of_transport("https://t/", &error).to_string(), "x is wrong; do so");
        for set_by in ["HttpProxy", "https_proxy", "all_proxy"] {
            let error = TransportError { kind: Kind::Proxy(set_by), cause: "no".to_owned() };
            assert!(of_transport("https://t/", &error).remedy.contains(&format!("check {set_by} (")));
        }
    }
}
