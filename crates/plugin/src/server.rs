//! What the DICOMweb plugin is told of an account.

use google_credentials::{DEFAULT_UNIVERSE_DOMAIN, Kept};
use orthanc_gcp_configuration::Account;
use serde_json::{Map, Value, json};

use crate::gateway::Transport;

/// The body of `PUT {DicomWeb.Root}servers/{name}`: the user's options, and over them what leads to Google or to the gateway.
pub(crate) fn server(account: &Account, transport: &Transport, kept: &Kept) -> Value {
    let mut server = account.options.clone();
    let headers = server.entry("HttpHeaders").or_insert_with(|| json!({}));
    let (url, timeout) = match transport {
        Transport::Gateway { url, secret, timeout, .. } => {
            if let Value::Object(headers) = headers {
                headers.retain(|name, _| !name.eq_ignore_ascii_case("Authorization"));
                headers.insert("Authorization".to_owned(), format!("Bearer {}", secret.expose()).into());
            }
            (url.clone(), *timeout)
        }
        Transport::Direct | Transport::FallenBack(_) => {
            if let Value::Object(headers) = headers {
                authorize(headers, account, kept);
            }
            let universe_domain =
                kept.grant().map_or(DEFAULT_UNIVERSE_DOMAIN, |grant| &grant.universe_domain);
            (account.url(universe_domain), account.http_timeout)
        }
    };
    server.insert("Url".to_owned(), url.into());
    server.insert("Timeout".to_owned(), timeout.into());
    server.entry("HasDelete").or_insert_with(|| "1".into());
    Value::Object(server)
}

/// Puts the token into the header fields. Without one that is good, Google refuses at once whatever uses the server.
fn authorize(headers: &mut Map<String, Value>, account: &Account, kept: &Kept) {
    if account.source.is_some() {
        headers.retain(|name, _| !name.eq_ignore_ascii_case("Authorization"));
    }
    if let Kept::Token(grant) = kept {
        let value = format!("Bearer {}", grant.token.value.expose());
        headers.insert("Authorization".to_owned(), value.into());
    }
    let quota_project = kept.grant().and_then(|grant| grant.quota_project.as_deref());
    let has_own = headers.keys().any(|key| key.eq_ignore_ascii_case("X-Goog-User-Project"));
    if let Some(project) = quota_project.filter(|_| !has_own) {
        headers.insert("X-Goog-User-Project".to_owned(), project.into());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, SystemTime},
    };

    use google_credentials::{AccessToken, Grant, Renewal, Secret};

    use super::*;

    /// The account `a`, with a credential and what `DicomWeb.Servers` holds of it.
    fn account(credential: &Value, of_server: &Value) -> Account {
        let mut account = json!({"Project": "p", "Location": "l", "Dataset": "d", "DicomStore": "s"});
        orthanc_testbed::merge(&mut account, credential);
        let document = json!({
            "GoogleCloudPlatform": {"Accounts": {"a": account}},
            "DicomWeb": {"Servers": {"a": of_server}},
        });
        let (mut configuration, findings) = orthanc_gcp_configuration::read(&document.to_string());
        configuration.accounts.pop().unwrap_or_else(|| panic!("{findings:?}"))
    }

    fn with_a_key_file(of_server: &Value) -> Account {
        account(&json!({"ServiceAccountFile": "/key.json"}), of_server)
    }

    fn kept(quota_project: Option<&str>) -> Kept {
        let now = SystemTime::UNIX_EPOCH;
        let value = Secret::new("ya29.t");
        Kept::Token(Grant {
            token: AccessToken { value, obtained_at: now, expires_at: now + Duration::from_secs(3600) },
            principal: None,
            quota_project: quota_project.map(str::to_owned),
            universe_domain: "googleapis.com".to_owned(),
            exposed: None,
            renewal: Renewal::BeforeExpiry,
        })
    }

    #[test]
    fn what_a_user_set_for_the_server_is_kept() {
        let account = with_a_key_file(&json!({
            "Url": "http://elsewhere/", "ChunkedTransfers": false, "HasWadoRsUniversalTransferSyntax": "0",
            "HttpHeaders": {"X-Site": "7", "authorization": "Basic eDp5"}, "Nested": {}, "Timeout": 7,
            "Username": "u",
        }));
        assert_eq!(
            server(&account, &Transport::Direct, &kept(Some("billed"))),
            json!({
                "Url": account.url("googleapis.com"), "Timeout": 7, "HasDelete": "1", "ChunkedTransfers": false,
                "HasWadoRsUniversalTransferSyntax": "0",
                "HttpHeaders": {"X-Site": "7", "Authorization": "Bearer ya29.t", "X-Goog-User-Project": "billed"},
            })
        );
    }

    #[test]
    fn a_server_with_nothing_of_the_users() {
        let account = with_a_key_file(&json!({}));
        assert_eq!(
            server(&account, &Transport::Direct, &kept(None)),
            json!({"Url": account.url("googleapis.com"), "Timeout": 3600, "HasDelete": "1",
                "HttpHeaders": {"Authorization": "Bearer ya29.t"}})
        );
    }

    #[test]
    fn a_server_without_a_credential() {
        let account = account(&json!({"AccessToken": "none"}), &json!({}));
        assert_eq!(server(&account, &Transport::Direct, &Kept::Nothing)["HttpHeaders"], json!({}));
    }

    #[test]
    fn an_expired_token_is_not_shown_as_good() {
        let Kept::Token(grant) = kept(Some("billed")) else { panic!("a token") };
        let server = server(&with_a_key_file(&json!({})), &Transport::Direct, &Kept::Expired(grant));
        assert_eq!(server["HttpHeaders"], json!({"X-Goog-User-Project": "billed"}));
    }

    #[test]
    fn through_the_gateway_no_token_is_shown() {
        let account = with_a_key_file(&json!({"HttpHeaders": {"X-Site": "7"}}));
        let url = "http://127.0.0.1:4711/a/";
        let transport = Transport::Gateway {
            url: url.to_owned(),
            secret: Secret::new("knock knock"),
            timeout: 86_400,
            in_trouble: Arc::default(),
        };
        assert_eq!(
            server(&account, &transport, &kept(Some("billed"))),
            json!({"Url": url, "Timeout": 86_400, "HasDelete": "1",
                "HttpHeaders": {"X-Site": "7", "Authorization": "Bearer knock knock"}})
        );
    }
}
