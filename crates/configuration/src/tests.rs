use google_credentials::{Credential, Source};
use serde_json::json;

use super::*;

/// A configuration whose account `a` is complete, with `patch` laid over the section (`null` removes).
fn section(patch: &Value) -> Value {
    let mut document = json!({"GoogleCloudPlatform": {"Accounts": {"a": {
        "Project": "p", "Location": "l", "Dataset": "d", "DicomStore": "s", "ServiceAccountFile": "/key.json",
    }}}});
    lay_over(&mut document["GoogleCloudPlatform"], patch);
    document
}

fn account(patch: &Value) -> Value {
    section(&json!({"Accounts": {"a": patch}}))
}

fn lay_over(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(key);
                } else if value.is_object() && target.get(key).is_some_and(Value::is_object) {
                    lay_over(&mut target[key], value);
                } else {
                    target.insert(key.clone(), value.clone());
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

fn read_json(document: &Value) -> (Configuration, Vec<String>) {
    let (configuration, findings) = read(&document.to_string());
    let letter = |severity| if severity == Severity::Error { 'E' } else { 'W' };
    (
        configuration,
        findings.iter().map(|finding| format!("{} {finding}", letter(finding.severity))).collect(),
    )
}

/// The findings are exactly those that begin as `expected`, and so many accounts can be used.
#[track_caller]
fn check(document: &Value, accounts: usize, expected: &[&str]) -> Configuration {
    let (configuration, findings) = read_json(document);
    assert_eq!(configuration.accounts.len(), accounts, "{findings:#?}");
    assert_eq!(findings.len(), expected.len(), "{findings:#?}");
    for (finding, expected) in findings.iter().zip(expected) {
        assert!(finding.starts_with(expected), "{finding}\n  does not begin as\n{expected}");
        assert!(finding.contains("; ") || finding.contains("did you mean"), "no remedy: {finding}");
    }
    configuration
}

fn source(configuration: &Configuration) -> &Source {
    configuration.accounts[0].source.as_ref().unwrap()
}

#[test]
fn a_complete_account() {
    let configuration = check(&account(&json!({})), 1, &[]);
    let account = &configuration.accounts[0];
    assert_eq!(account.name, "a");
    assert_eq!(
        account.url(),
        "https://healthcare.googleapis.com/v1beta1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb/"
    );
    assert_eq!(account.http_timeout, 3600);
    assert_eq!(configuration.look_every, Duration::from_secs(60));
    assert_eq!(configuration.http.timeout, Duration::from_secs(60));
    assert_eq!(configuration.dicomweb.root, "/dicom-web/");
}

#[test]
fn nothing_configured_is_nothing_wrong() {
    check(&json!({}), 0, &[]);
    check(&json!({"GoogleCloudPlatform": {}}), 0, &[]);
    check(&json!({"GoogleCloudPlatform": {"Accounts": {}}}), 0, &[]);
}

#[test]
fn what_costs_an_account_names_its_key() {
    let a = "E GoogleCloudPlatform.Accounts.a";
    for (patch, expected) in [
        (json!({"Project": null}), ".Project: is missing or empty"),
        (json!({"Location": ""}), ".Location: is missing or empty"),
        (json!({"Dataset": 42}), ".Dataset: is not a string"),
        (json!({"DicomStore": "s/../t"}), ".DicomStore: holds `/`, which is not allowed in a DICOM store ID"),
        (json!({"DicomStore": ".."}), ".DicomStore: is `..`, which is not a DICOM store ID"),
        (
            json!({"Project": "projects/p/locations/l"}),
            ".Project: holds more than the project ID; write only `p`",
        ),
        (json!({"ServiceAccountFile": null}), ": has no credential"),
        (json!({"ServiceAccountFile": ""}), ": has no credential"),
        (json!({"ServiceAccountFile": ["x"]}), ".ServiceAccountFile: is not a string"),
        (json!({"TokenUri": "nonsense"}), ".TokenUri: `nonsense` is no address"),
        (json!({"TokenUri": "ftp://x/"}), ".TokenUri: `ftp://x/` is no address"),
    ] {
        check(&account(&patch), 0, &[&format!("{a}{expected}")]);
    }
    check(&section(&json!({"Accounts": {"a": "x"}})), 0, &[&format!("{a}: is not an object")]);
    check(&section(&json!({"Accounts": []})), 0, &["E GoogleCloudPlatform.Accounts: is not an object"]);
    check(&json!({"GoogleCloudPlatform": []}), 0, &["E GoogleCloudPlatform: is not an object"]);
    check(
        &section(&json!({"BaseUrl": "nonsense"})),
        0,
        &["E GoogleCloudPlatform.BaseUrl: `nonsense` is no address"],
    );
    check(&section(&json!({"BaseUrl": 1})), 0, &["E GoogleCloudPlatform.BaseUrl: is not a string"]);
}

#[test]
fn what_a_finding_quotes_moves_no_cursor_and_breaks_no_line() {
    let name = "a\nb\u{1b}[2J";
    let mut document = section(&json!({}));
    let accounts = &mut document["GoogleCloudPlatform"]["Accounts"];
    accounts[name] = accounts["a"].take();
    accounts.as_object_mut().unwrap().remove("a");
    accounts[name]["Project"] = json!("p\u{7}é");
    accounts[name]["X\r"] = json!(1);
    document["DicomWeb"] = json!({"Servers": {name: {"Username": "u"}}});
    let (_, findings) = read_json(&document);
    assert!(findings.len() == 4, "{findings:#?}");
    assert!(!findings.iter().any(|finding| finding.contains(char::is_control)), "{findings:#?}");
    let of_name = r"GoogleCloudPlatform.Accounts.a\nb\u{1b}[2J";
    for expected in [
        format!("E {of_name}: cannot be the name"),
        format!(r"E {of_name}.Project: holds \u{{7}}, which"),
        format!(r"W {of_name}: DicomWeb.Servers.a\nb\u{{1b}}[2J.Username is not used"),
        format!(r"W {of_name}.X\r: unknown key"),
    ] {
        assert!(findings.iter().any(|finding| finding.starts_with(&expected)), "{expected}: {findings:#?}");
    }
}

#[test]
fn an_incomplete_triple_names_what_is_missing() {
    let patch =
        json!({"ServiceAccountFile": null, "AuthorizedUserClientId": "i", "AuthorizedUserClientSecret": "s"});
    let expected = ["E GoogleCloudPlatform.Accounts.a.AuthorizedUserRefreshToken: is missing or empty"];
    check(&account(&patch), 0, &expected);
    let patch = json!({"ServiceAccountFile": null, "AuthorizedUserClientId": "i"});
    let expected = [
        "E GoogleCloudPlatform.Accounts.a.AuthorizedUserClientSecret: is missing or empty",
        "E GoogleCloudPlatform.Accounts.a.AuthorizedUserRefreshToken: is missing or empty",
    ];
    check(&account(&patch), 0, &expected);
}

#[test]
fn all_mistakes_come_at_once_and_the_others_work() {
    let document = section(&json!({
        "Timeout": -1,
        "RefreshInterval": "often",
        "Accounts": {"b": {"Projet": "p", "Location": 7}, "c/d": {
            "Project": "p", "Location": "l", "Dataset": "d", "DicomStore": "s", "AuthorizedUserFile": "u.json",
        }},
    }));
    let b = "GoogleCloudPlatform.Accounts.b";
    let configuration = check(
        &document,
        1,
        &[
            "E GoogleCloudPlatform.Timeout: is -1",
            "E GoogleCloudPlatform.RefreshInterval: is not a number",
            &format!("E {b}.Project: is missing or empty"),
            &format!("E {b}.Location: is not a string"),
            &format!("E {b}.Dataset: is missing or empty"),
            &format!("E {b}.DicomStore: is missing or empty"),
            &format!("E {b}: has no credential"),
            &format!("W {b}.Projet: unknown key, which is ignored; did you mean Project?"),
            "E GoogleCloudPlatform.Accounts.c/d: cannot be the name",
        ],
    );
    assert_eq!(configuration.http.timeout, TIMEOUT);
    assert_eq!(configuration.look_every, REFRESH_INTERVAL);
}

#[test]
fn what_works_with_a_warning() {
    let a = "W GoogleCloudPlatform.Accounts.a";
    for (patch, expected) in [
        (
            json!({"AuthorizedUserFile": "/u"}),
            ".ServiceAccountFile: is used, and AuthorizedUserFile is ignored; ",
        ),
        (json!({"AuthorizedUserClientId": "i"}), ".ServiceAccountFile: is used, and AuthorizedUserClientId"),
        (
            json!({"ServiceAcountFile": "/x"}),
            ".ServiceAcountFile: unknown key, which is ignored; did you mean ServiceAccountFile?",
        ),
        (json!({"Xyz": 1}), ".Xyz: unknown key, which is ignored; remove it"),
        (json!({"TokenUri": "http://far/"}), ".TokenUri: is not https"),
        (
            json!({"Gateway": false, "OnConflict": "Keep"}),
            ".OnConflict: has no effect, because only the gateway",
        ),
        (json!({"project": "q"}), ".project: is ignored, because Project is there too; "),
    ] {
        check(&account(&patch), 1, &[&format!("{a}{expected}")]);
    }
    let other_case = json!({"ServiceAccountFile": null, "AuthorizedUserfile": "/u"});
    let expected = format!("{a}.AuthorizedUserfile: is taken for AuthorizedUserFile; ");
    let configuration = check(&account(&other_case), 1, &[&expected]);
    let credential = &source(&configuration).credential;
    assert!(format!("{credential:?}").contains("AuthorizedUserFile(\"/u\")"), "{credential:?}");

    let no_slash = section(&json!({"BaseUrl": "https://e/v1"}));
    let configuration = check(&no_slash, 1, &["W GoogleCloudPlatform.BaseUrl: lacks its last slash"]);
    assert!(configuration.accounts[0].url().starts_with("https://e/v1/projects/p/"));

    for (url, clear) in [
        ("http://e/v1/", true),
        ("http://192.0.2.1:80/", true),
        ("http://localhost.example/", true),
        ("http://127.0.0.2:8042/", false),
        ("http://[::1]/", false),
        ("http://[::ffff:127.0.0.1]/", false),
        ("http://LOCALHOST./", false),
        ("http://store.localhost/", false),
        ("https://e/v1/", false),
    ] {
        let section = section(&json!({"BaseUrl": url, "TokenUri": url, "IamUri": url}));
        let warned = [
            "W GoogleCloudPlatform.BaseUrl: is not https: tokens and images of patients travel in clear",
            "W GoogleCloudPlatform.TokenUri: is not https: the credential travels in clear",
            "W GoogleCloudPlatform.IamUri: is not https: the credential travels in clear",
        ];
        check(&section, 1, if clear { &warned } else { &[] });
    }

    let proxy = |value: &str| {
        let mut document = section(&json!({}));
        document["HttpProxy"] = json!(value);
        document
    };
    for value in ["ftp://hush:21", "socks9://hush", "http://hush:hush", "hush:99999"] {
        let configuration =
            check(&proxy(value), 1, &["E HttpProxy: cannot be used, and nothing is sent without it: "]);
        assert!(configuration.http.proxy.unwrap().problem().is_some());
        let (_, findings) = read(&proxy(value).to_string());
        assert!(!format!("{findings:?}").contains("hush"), "{findings:?}");
    }
    check(&proxy("socks5://proxy:1080"), 1, &[]);

    let timeout = section(&json!({"Timeout": 0}));
    assert_eq!(check(&timeout, 1, &["W GoogleCloudPlatform.Timeout: 0 would"]).http.timeout, TIMEOUT);

    let mut document = section(&json!({}));
    document["googleCloudPlatform"] = document["GoogleCloudPlatform"].take();
    document.as_object_mut().unwrap().remove("GoogleCloudPlatform");
    check(&document, 1, &["W googleCloudPlatform: is taken for GoogleCloudPlatform; "]);
}

#[test]
fn addresses_hold_no_password_and_a_wrong_one_is_not_passed_over() {
    for (patch, expected) in [
        (
            json!({"TokenUri": "127.0.0.1/token"}),
            "E GoogleCloudPlatform.TokenUri: `127.0.0.1/token` is no address",
        ),
        (
            json!({"TokenUri": "https://bob:hush@t/token"}),
            "E GoogleCloudPlatform.TokenUri: holds a user or a password",
        ),
        (json!({"TokenUri": "bob:hush@t/token"}), "E GoogleCloudPlatform.TokenUri: it is no address"),
        (json!({"IamUri": "x"}), "E GoogleCloudPlatform.IamUri: `x` is no address"),
        (
            json!({"BaseUrl": "https://bob:hush@h/v1/"}),
            "E GoogleCloudPlatform.BaseUrl: holds a user or a password",
        ),
        (json!({"BaseUrl": "https://h/v1/?x=y"}), "E GoogleCloudPlatform.BaseUrl: holds a query"),
    ] {
        check(&section(&patch), 0, &[expected]);
    }
    let own = json!({"TokenUri": "x", "Accounts": {"a": {"TokenUri": "https://t/token"}}});
    check(&section(&own), 1, &["E GoogleCloudPlatform.TokenUri: `x` is no address"]);
    let blanks = section(&json!({"BaseUrl": " https://h/v1/ "}));
    assert!(check(&blanks, 1, &[]).accounts[0].url().starts_with("https://h/v1/projects/"));
    let float = section(&json!({"Timeout": 7.0}));
    assert_eq!(check(&float, 1, &[]).http.timeout, Duration::from_secs(7));
    check(
        &section(&json!({"Timeout": 7.5})),
        1,
        &["E GoogleCloudPlatform.Timeout: is 7.5, not a whole number"],
    );
}

#[test]
fn token_uri_of_the_account_wins() {
    let both =
        section(&json!({"TokenUri": "https://g/t", "Accounts": {"a": {"TokenUri": "http://localhost:1/t"}}}));
    assert_eq!(source(&check(&both, 1, &[])).token_uri.as_deref(), Some("http://localhost:1/t"));
    let global = section(&json!({"TokenUri": "https://g/t"}));
    assert_eq!(source(&check(&global, 1, &[])).token_uri.as_deref(), Some("https://g/t"));
}

#[test]
fn the_time_limit_of_transfers() {
    for (account_key, server, orthanc, expected) in [
        (None, None, None, 3600),
        (None, None, Some(600), 600),
        (None, None, Some(0), 86_400),
        (None, Some(900), Some(600), 900),
        (Some(1200), Some(900), Some(600), 1200),
        (Some(0), None, None, 86_400),
    ] {
        let mut document = account(&json!({}));
        if let Some(seconds) = account_key {
            document["GoogleCloudPlatform"]["Accounts"]["a"]["HttpTimeout"] = json!(seconds);
        }
        if let Some(seconds) = server {
            document["DicomWeb"] = json!({"Servers": {"a": {"Url": "http://x/", "Timeout": seconds}}});
        }
        if let Some(seconds) = orthanc {
            document["HttpTimeout"] = json!(seconds);
        }
        assert_eq!(check(&document, 1, &[]).accounts[0].http_timeout, expected);
    }
    // The gateway has limits of its own.
    let mut document = account(&json!({}));
    document["HttpTimeout"] = json!(60);
    check(&document, 1, &[]);
    document["GoogleCloudPlatform"]["Gateway"] = json!(false);
    assert_eq!(check(&document, 1, &["W HttpTimeout: ends every transfer"]).accounts[0].http_timeout, 60);
}

#[test]
fn only_who_has_no_credential_has_an_authorization_of_its_own() {
    let none = json!({"ServiceAccountFile": null, "AccessToken": "none"});
    let headers = json!({"X-Site": "7", "authorization": "Basic eDp5"});
    for (patch, headers, expected) in [
        (&none, &headers, Some("Basic eDp5")),
        (&none, &json!({"X-Site": "7"}), None),
        (&json!({}), &headers, None),
    ] {
        let mut document = account(patch);
        document["DicomWeb"] = json!({"Servers": {"a": {"Url": "http://x/", "HttpHeaders": headers}}});
        let found = check(&document, 1, &[]).accounts[0].own_authorization();
        assert_eq!(found.as_ref().map(google_credentials::Secret::expose), expected, "{patch} {headers}");
    }
}

#[test]
fn a_client_certificate_needs_direct_transfers() {
    let a = "W GoogleCloudPlatform.Accounts.a: DicomWeb.Servers.a";
    for (options, gateway, expected) in [
        (json!({"CertificateFile": "/c.pem"}), json!(null), Some(".CertificateFile is not used, because")),
        (json!({"Pkcs11": true}), json!("prefer"), Some(".Pkcs11 is not used, because the gateway")),
        (json!({"Pkcs11": false}), json!(null), None),
        (json!({"CertificateFile": "/c.pem"}), json!(false), None),
    ] {
        let mut document = account(&json!({"Gateway": gateway}));
        document["DicomWeb"] = json!({"Servers": {"a": options}});
        let expected: Vec<String> = expected.iter().map(|expected| format!("{a}{expected}")).collect();
        check(&document, 1, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn roots_are_completed() {
    for (written, expected) in
        [("/dicom-web/", "/dicom-web/"), ("/dw", "/dw/"), ("dw", "/dw/"), ("/a/b/", "/a/b/")]
    {
        let document = json!({"DicomWeb": {"Root": written}});
        assert_eq!(check(&document, 0, &[]).dicomweb.root, expected);
    }
}

#[test]
fn nothing_secret_is_shown() {
    let patch = json!({"ServiceAccountFile": null, "AuthorizedUserClientId": "i",
        "AuthorizedUserClientSecret": "GOCSPX-s", "AuthorizedUserRefreshToken": "1//r"});
    let mut document = account(&patch);
    document["HttpProxy"] = json!("user:hush@proxy:3128");
    let shown = format!("{:?}", check(&document, 1, &[]));
    for secret in ["GOCSPX", "1//r", "hush"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn every_credential() {
    let without_key_file = |patch: Value| {
        let mut whole = json!({"ServiceAccountFile": null});
        lay_over(&mut whole, &patch);
        account(&whole)
    };
    for (patch, expected) in [
        (json!({"CredentialsFile": "/c"}), Credential::CredentialsFile("/c".into())),
        (json!({"ApplicationDefaultCredentials": true}), Credential::ApplicationDefault),
        (json!({"MetadataServer": true}), Credential::MetadataServer(None)),
        (json!({"MetadataServer": "a@b.c"}), Credential::MetadataServer(Some("a@b.c".to_owned()))),
        (json!({"MetadataServer": false, "CredentialsFile": "/c"}), Credential::CredentialsFile("/c".into())),
    ] {
        assert_eq!(source(&check(&without_key_file(patch), 1, &[])).credential, expected);
    }
    let none = check(&without_key_file(json!({"AccessToken": "none"})), 1, &[]);
    assert!(none.accounts[0].source.is_none());
    let two = json!({"CredentialsFile": "/c", "MetadataServer": true});
    let expected =
        ["W GoogleCloudPlatform.Accounts.a.CredentialsFile: is used, and MetadataServer is ignored; "];
    check(&without_key_file(two), 1, &expected);
}

#[test]
fn how_a_credential_is_used() {
    let patch = json!({"Scopes": ["https://www.googleapis.com/auth/cloud-healthcare"], "QuotaProject": "billed",
        "ImpersonateServiceAccount": "d@p.x, t@p.x", "UniverseDomain": "cloud.example", "IamUri": "https://iam"});
    let configuration = check(&account(&patch), 1, &[]);
    let source = source(&configuration);
    assert_eq!(
        source.scopes.as_deref(),
        Some(&["https://www.googleapis.com/auth/cloud-healthcare".to_owned()][..])
    );
    assert_eq!(source.quota_project.as_deref(), Some("billed"));
    assert_eq!(source.impersonation.as_ref().unwrap().target, "t@p.x");
    assert_eq!(source.impersonation.as_ref().unwrap().delegates, ["d@p.x"]);
    assert_eq!(source.universe_domain, "cloud.example");
    assert_eq!(source.iam_uri.as_deref(), Some("https://iam/"));
    assert!(configuration.accounts[0].url().starts_with("https://healthcare.cloud.example/v1beta1/"));
    let a = "E GoogleCloudPlatform.Accounts.a";
    for (patch, expected) in [
        (json!({"Scopes": "healthcare"}), ".Scopes: is no list of scopes"),
        (json!({"Scopes": [1]}), ".Scopes: is no list of scopes"),
        (json!({"ImpersonateServiceAccount": "nobody"}), ".ImpersonateServiceAccount: `nobody` is no e-mail"),
        (json!({"UniverseDomain": "x/y"}), ".UniverseDomain: `x/y` is no domain"),
        (json!({"IamUri": "x"}), ".IamUri: `x` is no address"),
        (json!({"QuotaProject": 7}), ".QuotaProject: is not a string"),
    ] {
        check(&account(&patch), 0, &[&format!("{a}{expected}")]);
    }
    for (patch, expected) in [
        (json!({"ServiceAccountFile": null, "AccessToken": "ya29.x"}), ".AccessToken: can only be \"none\""),
        (json!({"ServiceAccountFile": null, "MetadataServer": "yes"}), ".MetadataServer: is neither true"),
        (
            json!({"ServiceAccountFile": null, "ApplicationDefaultCredentials": "true"}),
            ".ApplicationDefaultCredentials: is neither",
        ),
    ] {
        check(&account(&patch), 0, &[&format!("{a}{expected}")]);
    }
}

#[test]
fn the_gateway_of_the_account_wins() {
    use GatewayUse::{Off, Preferred, Required};
    for (global, own, expected) in [
        (json!(null), json!(null), Required),
        (json!(""), json!(" "), Required),
        (json!(true), json!(null), Required),
        (json!(false), json!(null), Off),
        (json!("prefer"), json!(null), Preferred),
        (json!(true), json!(false), Off),
        (json!(false), json!(true), Required),
        (json!(false), json!("Prefer"), Preferred),
        (json!("prefer"), json!(false), Off),
        (json!("prefer"), json!(true), Required),
    ] {
        let document = section(&json!({"Gateway": global, "Accounts": {"a": {"Gateway": own}}}));
        assert_eq!(check(&document, 1, &[]).accounts[0].gateway, expected, "{global} {own}");
    }
    for (global, own, expected) in [
        (json!(null), json!(null), OnConflict::Fail),
        (json!("Keep"), json!(null), OnConflict::Keep),
        (json!("Keep"), json!("Overwrite"), OnConflict::Overwrite),
        (json!("Overwrite"), json!("Fail"), OnConflict::Fail),
    ] {
        let patch = json!({"Gateway": true, "OnConflict": global, "Accounts": {"a": {"OnConflict": own}}});
        assert_eq!(check(&section(&patch), 1, &[]).accounts[0].on_conflict, expected, "{global} {own}");
    }
    assert_eq!(check(&section(&json!({"GatewayPort": 8043})), 1, &[]).gateway_port, 8043);
    assert_eq!(check(&section(&json!({})), 1, &[]).gateway_port, 0);
    for (value, expected) in [(json!(null), None), (json!(0), Some(0)), (json!(2048), Some(2 << 30))] {
        let document = section(&json!({"GatewayDiskReserve": value}));
        assert_eq!(check(&document, 1, &[]).disk_reserve.bytes, expected, "{value}");
    }
    for wrong in [json!("1 GB"), json!(-1), json!(0.5), json!(true)] {
        let expected = "E GoogleCloudPlatform.GatewayDiskReserve: is not a whole number";
        assert_eq!(
            check(&section(&json!({"GatewayDiskReserve": wrong})), 1, &[expected]).disk_reserve.bytes,
            None
        );
    }
}

#[test]
fn a_mistake_about_the_gateway_costs_the_option_only() {
    let of_section = "GoogleCloudPlatform";
    for (patch, expected) in [
        (json!({"Gateway": "yes"}), format!("E {of_section}.Gateway: is neither true, false nor \"prefer\"")),
        (json!({"GatewayPort": 65_536}), format!("E {of_section}.GatewayPort: is 65536, not a port")),
        (json!({"GatewayPort": "8043"}), format!("E {of_section}.GatewayPort: is not a number of a port")),
        (
            json!({"OnConflict": "Replace"}),
            format!("E {of_section}.OnConflict: `Replace` is unknown, and Fail"),
        ),
        (json!({"OnConflict": true}), format!("E {of_section}.OnConflict: is not a string")),
        (
            json!({"Gateway": false, "OnConflict": "Keep"}),
            format!("W {of_section}.OnConflict: has no effect"),
        ),
        (
            json!({"Accounts": {"a": {"OnConflict": "keep"}}}),
            format!("E {of_section}.Accounts.a.OnConflict: `keep` is unknown"),
        ),
        (
            json!({"Gateway": true, "Accounts": {"a": {"Gateway": false, "OnConflict": "Keep"}}}),
            format!("W {of_section}.Accounts.a.OnConflict: has no effect"),
        ),
    ] {
        assert_eq!(check(&section(&patch), 1, &[&expected]).gateway_port, 0);
    }
    let unknown = section(&json!({"Gateway": true, "OnConflict": "Replace"}));
    let expected = ["E GoogleCloudPlatform.OnConflict: `Replace` is unknown, and Fail"];
    assert_eq!(check(&unknown, 1, &expected).accounts[0].on_conflict, OnConflict::Fail);
    // One account that uses it is enough for the section's key to make sense.
    check(&section(&json!({"OnConflict": "Keep"})), 1, &[]);
    for own in [json!(true), json!("prefer")] {
        let patch = json!({"Gateway": false, "OnConflict": "Keep", "Accounts": {"a": {"Gateway": own}}});
        check(&section(&patch), 1, &[]);
    }
    // Whatever is wrong, nothing goes around the gateway because of it.
    for wrong in [json!("true"), json!("false"), json!("no"), json!(0), json!([]), json!({})] {
        let patch = json!({"Gateway": false, "Accounts": {"a": {"Gateway": wrong}}});
        let expected = ["E GoogleCloudPlatform.Accounts.a.Gateway: is neither true, false nor"];
        assert_eq!(
            check(&section(&patch), 1, &expected).accounts[0].gateway,
            GatewayUse::Required,
            "{wrong}"
        );
    }
}

#[test]
fn a_path_keeps_the_dots_of_names() {
    let (_, findings) = read(r#"{"GoogleCloudPlatform": {"Accounts": {"a.b": 7}}}"#);
    assert_eq!(findings[0].path.keys(), ["GoogleCloudPlatform", "Accounts", "a.b"]);
    assert_eq!(findings[0].path.to_string(), "GoogleCloudPlatform.Accounts.a.b");
}
