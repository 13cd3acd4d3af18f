//! What the DICOMweb plugin is told of an account.

use google_credentials::Kept;
use orthanc_gcp_configuration::Account;
use serde_json::{Map, Value, json};

use crate::gateway::Transport;

/// The body of `PUT {DicomWeb.Root}servers/{name}`: the user's options, and over them what leads to Google or to the gateway.
/// `None` where no server may lead there.
pub(crate) fn server(account: &Account, transport: &Transport, kept: &Kept) -> Option<Value> {
    let mut server = account.options.clone();
    let headers = server.entry("HttpHeaders").or_insert_with(|| json!({}));
    let (url, timeout) = match transport {
        Transport::Blocked(_) => return None,
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
            (account.url().to_owned(), account.http_timeout)
        }
    };
    server.insert("Url".to_owned(), url.into());
    server.insert("Timeout".to_owned(), timeout.into());
    // Without the gateway the DICOMweb plugin deletes outside the store as well: any user of Orthanc's REST API could.
    if !transport.is_direct() {
        server.entry("HasDelete").or_insert_with(|| "1".into());
    }
    Some(Value::Object(server))
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

    use google_credentials::{AccessToken, Failure, FailureKind, Grant, Renewal, Secret};

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

    fn direct(account: &Account, kept: &Kept) -> Value {
        server(account, &Transport::Direct, kept).unwrap()
    }

    fn kept(quota_project: Option<&str>) -> Kept {
        let now = SystemTime::UNIX_EPOCH;
        let value = Secret::new("ya29.t");
        Kept::Token(Grant {
            token: AccessToken { value, obtained_at: now, expires_at: now + Duration::from_secs(3600) },
            principal: None,
            quota_project: quota_project.map(str::to_owned),
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
            direct(&account, &kept(Some("billed"))),
            json!({
                "Url": account.url(), "Timeout": 7, "ChunkedTransfers": false,
                "HasWadoRsUniversalTransferSyntax": "0",
                "HttpHeaders": {"X-Site": "7", "Authorization": "Bearer ya29.t", "X-Goog-User-Project": "billed"},
            })
        );
    }

    #[test]
    fn a_server_with_nothing_of_the_users() {
        let account = with_a_key_file(&json!({}));
        assert_eq!(
            direct(&account, &kept(None)),
            json!({"Url": account.url(), "Timeout": 3600,
                "HttpHeaders": {"Authorization": "Bearer ya29.t"}})
        );
    }

    #[test]
    fn a_server_without_a_credential() {
        let account = account(&json!({"AccessToken": "none"}), &json!({}));
        assert_eq!(direct(&account, &Kept::Nothing)["HttpHeaders"], json!({}));
    }

    #[test]
    fn an_expired_token_is_not_shown_as_good() {
        let Kept::Token(grant) = kept(Some("billed")) else { panic!("a token") };
        let server = direct(&with_a_key_file(&json!({})), &Kept::Expired(grant));
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
            Some(json!({"Url": url, "Timeout": 86_400, "HasDelete": "1",
                "HttpHeaders": {"X-Site": "7", "Authorization": "Bearer knock knock"}}))
        );
        let without_delete = with_a_key_file(&json!({"HasDelete": false}));
        assert_eq!(server(&without_delete, &transport, &kept(None)).unwrap()["HasDelete"], false);
    }

    #[test]
    fn direct_servers_delete_only_where_the_user_has_asked_for_it() {
        let fallen_back =
            Transport::FallenBack(Failure::new(FailureKind::Configuration, "the port is taken", "free it"));
        for transport in [Transport::Direct, fallen_back] {
            for (options, expected) in [
                (json!({}), None),
                (json!({"HasDelete": true}), Some(json!(true))),
                (json!({"HasDelete": "1"}), Some(json!("1"))),
                (json!({"HasDelete": false}), Some(json!(false))),
            ] {
                let server = server(&with_a_key_file(&options), &transport, &kept(None)).unwrap();
                assert_eq!(server.get("HasDelete").cloned(), expected, "{options}");
            }
        }
    }

    #[test]
    fn without_its_gateway_an_account_has_no_server() {
        let blocked =
            Transport::Blocked(Failure::new(FailureKind::Configuration, "the port is taken", "free it"));
        assert_eq!(server(&with_a_key_file(&json!({"HasDelete": true})), &blocked, &kept(None)), None);
    }
}
