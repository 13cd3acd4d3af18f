//! What a request to the store carries besides the token: the same as the DICOMweb plugin's own requests.

use google_credentials::{Field, Grant, Secret};
use orthanc_gcp_configuration::Account;
use serde_json::Value;

const QUOTA_PROJECT: &str = "X-Goog-User-Project";
/// Of the connection, of a body, or of what an answer may be: each request has its own.
const OF_EACH_REQUEST: [&str; 11] = [
    "Accept",
    "Accept-Encoding",
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "Expect",
    "Host",
    "TE",
    "Transfer-Encoding",
    "Upgrade",
];

/// The header fields that the user has set in `DicomWeb.Servers.<name>.HttpHeaders`, and the quota project of the credential
/// unless one stands there. `Authorization` is among them only where the account has no credential.
pub fn header_fields(account: &Account, grant: Option<&Grant>) -> Vec<(String, Field)> {
    let mut fields = Vec::new();
    let of_user = account.options.get("HttpHeaders").and_then(Value::as_object);
    for (name, value) in of_user.into_iter().flatten() {
        let Some(value) = value.as_str() else { continue };
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if OF_EACH_REQUEST.into_iter().any(is) || (is("Authorization") && account.source.is_some()) {
            continue;
        }
        // Google names the project in its refusals, which shall be read.
        let value = if is(QUOTA_PROJECT) {
            Field::Plain(value.to_owned())
        } else {
            Field::Secret(Secret::new(value))
        };
        fields.push((name.clone(), value));
    }
    let has_own = fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(QUOTA_PROJECT));
    if let Some(project) = grant.and_then(|grant| grant.quota_project.as_ref()).filter(|_| !has_own) {
        fields.push((QUOTA_PROJECT.to_owned(), Field::Plain(project.clone())));
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use google_credentials::{AccessToken, Renewal};
    use serde_json::json;

    use super::*;

    fn account(credential: (&str, &str), headers: &Value) -> Account {
        let (key, value) = credential;
        let document = json!({
            "GoogleCloudPlatform": {"Accounts": {"a": {
                "Project": "p", "Location": "l", "Dataset": "d", "DicomStore": "s", key: value,
            }}},
            "DicomWeb": {"Servers": {"a": {"Url": "http://elsewhere/", "HttpHeaders": headers}}},
        });
        orthanc_gcp_configuration::read(&document.to_string()).0.accounts.remove(0)
    }

    fn grant(quota_project: &str) -> Grant {
        let now = SystemTime::UNIX_EPOCH;
        Grant {
            token: AccessToken { value: Secret::new("ya29.t"), obtained_at: now, expires_at: now },
            principal: None,
            quota_project: Some(quota_project.to_owned()),
            exposed: None,
            renewal: Renewal::BeforeExpiry,
        }
    }

    /// Name and value of each, and whether it may be shown.
    fn told(account: &Account, grant: Option<&Grant>) -> Vec<(String, String, bool)> {
        let fields = header_fields(account, grant).into_iter();
        fields
            .map(|(name, value)| (name, value.expose().to_owned(), matches!(value, Field::Plain(_))))
            .collect()
    }

    fn one(name: &str, value: &str, is_shown: bool) -> (String, String, bool) {
        (name.to_owned(), value.to_owned(), is_shown)
    }

    #[test]
    fn a_user_s_fields_go_along_but_for_the_token_s_place_and_those_of_the_request() {
        let headers = json!({
            "authorization": "Basic eDp5", "X-Site": "ward 7", "content-type": "text/plain", "HOST": "h",
        });
        let with_key = account(("ServiceAccountFile", "/key.json"), &headers);
        let quota = one("X-Goog-User-Project", "billed", true);
        assert_eq!(told(&with_key, Some(&grant("billed"))), [one("X-Site", "ward 7", false), quota]);
        let without = account(("AccessToken", "none"), &headers);
        let mut fields = told(&without, None);
        fields.sort();
        assert_eq!(fields, [one("X-Site", "ward 7", false), one("authorization", "Basic eDp5", false)]);
    }

    #[test]
    fn a_user_s_quota_project_goes_before_the_credential_s() {
        let headers = json!({"x-goog-user-project": "the-wards"});
        let account = account(("ServiceAccountFile", "/key.json"), &headers);
        assert_eq!(told(&account, Some(&grant("billed"))), [one("x-goog-user-project", "the-wards", true)]);
    }
}
