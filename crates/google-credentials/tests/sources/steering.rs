//! Members of credential files that lead somewhere: nothing is asked that neither Google nor the configuration names.

use google_credentials::{Credential, FailureKind::Configuration, Source};
use google_emulator::{SourceCredentials, SubjectForm, SubjectSource};
use serde_json::{Value, json};

use crate::stage::Stage;

const ATTACKER: &str = "https://attacker.example/token";

/// A source whose configuration names no server of its own.
fn of(stage: &Stage, content: &Value) -> Source {
    let path = stage.path("steering.json");
    std::fs::write(&path, content.to_string()).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    Source::of(Credential::CredentialsFile(path))
}

fn with(mut content: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    content.pointer_mut(parent).unwrap()[name] = value;
    content
}

/// The same file with all of Google's own addresses.
fn at_google(stage: &Stage, content: &Value) -> Value {
    let of = |host: &str| format!("https://{host}.googleapis.com");
    let text = content.to_string();
    let text = text.replace(
        &format!("{}/v1/projects", stage.emulator.https_url()),
        &(of("iamcredentials") + "/v1/projects"),
    );
    let text = text.replace(stage.emulator.https_url(), &of("sts"));
    serde_json::from_str(&text).unwrap()
}

fn files(stage: &Stage) -> [Value; 6] {
    let emulator = &stage.emulator;
    let subject = SubjectSource::TextFile(stage.subject(SubjectForm::Text));
    let parse = |text: String| serde_json::from_str(&text).unwrap();
    [
        parse(emulator.service_account_key_json()),
        parse(emulator.authorized_user_json()),
        emulator.external_account(&subject).impersonating().json(),
        emulator.external_account_authorized_user().json(),
        emulator.impersonated_service_account(SourceCredentials::ServiceAccount).json(),
        emulator.external_account(&SubjectSource::Aws).json(),
    ]
    .map(|file| at_google(stage, &file))
}

#[test]
fn a_file_of_another_universe_is_refused() {
    let stage = Stage::new();
    let [key, user, federated, workforce, impersonated, _] = files(&stage);
    for file in [&key, &user, &federated, &workforce, &impersonated] {
        for named in [
            "attacker.example",
            "x@127.0.0.1:18443/attacker?",
            "googleapis.com.attacker.example",
            "googleapis.com/",
        ] {
            let failure = stage.refused(&of(&stage, &with(file.clone(), "/universe_domain", json!(named))));
            assert_eq!((failure.kind, failure.option), (Configuration, Some("UniverseDomain")), "{failure}");
            assert!(failure.cause.contains("the account's universe is googleapis.com"), "{failure}");
            assert!(failure.remedy.contains("set UniverseDomain"), "{failure}");
        }
        let failure = stage.refused(&of(&stage, &with(file.clone(), "/universe_domain", json!(7))));
        assert!(failure.cause.contains("holds a number as `universe_domain`"), "{failure}");
    }
    let inside = with(impersonated, "/source_credentials/universe_domain", json!("attacker.example"));
    let failure = stage.refused(&of(&stage, &inside));
    assert!(failure.cause.contains("in `source_credentials`, has `attacker.example`"), "{failure}");
    // The configuration's universe does not let a file of Google's own cloud in either.
    let berlin =
        Source { universe_domain: "apis-berlin.example".to_owned(), ..of(&stage, &user_of_google(user)) };
    assert_eq!(stage.refused(&berlin).option, Some("UniverseDomain"));
    assert_eq!(stage.emulator.requests().len(), 0);
}

fn user_of_google(user: Value) -> Value {
    with(user, "/universe_domain", json!("googleapis.com"))
}

#[test]
fn no_member_sends_a_credential_elsewhere() {
    let stage = Stage::new();
    let [key, user, federated, workforce, impersonated, aws] = files(&stage);
    let target = "/v1/projects/-/serviceAccounts/t@p.iam.gserviceaccount.com:generateAccessToken";
    let own = stage.emulator.https_url();
    for (file, member, address, allow) in [
        (&key, "/token_uri", ATTACKER.to_owned(), "TokenUri"),
        (&key, "/token_uri", "http://oauth2.googleapis.com/token".to_owned(), "TokenUri"),
        (&key, "/token_uri", format!("{own}/token"), "TokenUri"),
        (&user, "/token_uri", ATTACKER.to_owned(), "TokenUri"),
        (&federated, "/token_url", ATTACKER.to_owned(), "TokenUri"),
        (&federated, "/token_info_url", ATTACKER.to_owned(), "TokenUri"),
        (
            &federated,
            "/service_account_impersonation_url",
            format!("https://attacker.example{target}"),
            "IamUri",
        ),
        (
            &federated,
            "/service_account_impersonation_url",
            format!("http://iamcredentials.googleapis.com{target}"),
            "IamUri",
        ),
        (&workforce, "/token_url", ATTACKER.to_owned(), "TokenUri"),
        (&impersonated, "/service_account_impersonation_url", format!("{own}{target}"), "IamUri"),
        (&impersonated, "/source_credentials/token_uri", ATTACKER.to_owned(), "TokenUri"),
        (&aws, "/token_url", ATTACKER.to_owned(), "TokenUri"),
    ] {
        let failure = stage.refused(&of(&stage, &with(file.clone(), member, json!(address))));
        assert_eq!(failure.kind, Configuration, "{failure}");
        let name = member.rsplit('/').next().unwrap();
        assert!(failure.cause.contains(&format!("`{name}` names")), "{member}: {failure}");
        assert!(failure.remedy.contains(&format!("set {allow} to")), "{member}: {failure}");
    }
    let with_user = with(key, "/token_uri", json!("https://bob:hush@oauth2.googleapis.com/token"));
    let failure = stage.refused(&of(&stage, &with_user));
    assert!(failure.cause.contains("a user or a password in its `token_uri`"), "{failure}");
    assert!(!failure.to_string().contains("hush"), "{failure}");
    assert_eq!(stage.emulator.requests().len(), 0);
}

/// Found before anything is asked, and named.
#[test]
fn members_that_are_no_address_are_named() {
    let stage = Stage::new();
    let [key, _, federated, workforce, impersonated, aws] = files(&stage);
    let url = stage.emulator.external_account(&SubjectSource::TextUrl).json();
    let url = at_google(&stage, &url);
    for (file, member) in [
        (&key, "/token_uri"),
        (&federated, "/token_url"),
        (&federated, "/token_info_url"),
        (&federated, "/service_account_impersonation_url"),
        (&workforce, "/token_url"),
        (&impersonated, "/service_account_impersonation_url"),
        (&url, "/credential_source/url"),
        (&aws, "/credential_source/url"),
        (&aws, "/credential_source/region_url"),
        (&aws, "/credential_source/imdsv2_session_token_url"),
        (&aws, "/credential_source/regional_cred_verification_url"),
    ] {
        for wrong in [
            "something_wrong",
            "ftp://sts.googleapis.com/",
            "https://",
            "https://sts.googleapis.com/\\u0000x",
            "/v1/token",
        ] {
            let failure = stage.refused(&of(&stage, &with(file.clone(), member, json!(wrong))));
            assert_eq!(failure.kind, Configuration, "{member} {wrong}: {failure}");
            let name = member.rsplit('/').next().unwrap();
            assert!(
                failure.cause.contains(&format!("`{name}` that is no address")),
                "{member} {wrong}: {failure}"
            );
        }
    }
    let iam = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts";
    for wrong in [
        format!("{iam}/:generateAccessToken"),
        format!("{iam}/nobody:generateAccessToken"),
        format!("{iam}/a@b.c:signBlob"),
        format!("{iam}/a@b.c:generateAccessToken?alt=json"),
        format!("{iam}/a@b/c:generateAccessToken"),
        "https://iamcredentials.googleapis.com/".to_owned(),
    ] {
        for file in [&federated, &impersonated] {
            let file = with(file.clone(), "/service_account_impersonation_url", json!(wrong));
            let failure = stage.refused(&of(&stage, &file));
            assert!(
                failure.cause.contains("`service_account_impersonation_url` that does not end"),
                "{failure}"
            );
        }
    }
    for (file, member, value, said) in [
        (
            &federated,
            "/service_account_impersonation",
            json!({"token_lifetime_seconds": "1800"}),
            "token_lifetime_seconds",
        ),
        (&federated, "/service_account_impersonation", json!(1800), "service_account_impersonation"),
        (&impersonated, "/delegates", json!(["nobody"]), "delegates"),
        (&url, "/credential_source/headers", json!({"a b": "c"}), "headers"),
        (&url, "/credential_source/headers", json!({"a": "c\nd"}), "headers"),
        (&url, "/credential_source/headers", json!({"a": 1}), "headers"),
        (&url, "/credential_source/headers", json!("a: b"), "headers"),
        (&workforce, "/quota_project_id", json!("a\nb"), "quota_project_id"),
    ] {
        let failure = stage.refused(&of(&stage, &with(file.clone(), member, value)));
        assert!(
            failure.kind == Configuration && failure.cause.contains(&format!("`{said}`")),
            "{member}: {failure}"
        );
    }
    assert_eq!(stage.emulator.requests().len(), 0);
}

/// `TokenUri` and `IamUri` name the servers of those who do not talk to Google.
#[test]
fn a_server_that_the_configuration_names_is_asked() {
    let stage = Stage::new();
    let key: Value = serde_json::from_str(&stage.emulator.service_account_key_json()).unwrap();
    let own = Some(stage.emulator.token_url());
    stage.granted(&Source { token_uri: own.clone(), ..of(&stage, &key) });
    // The file's own address is the audience alone.
    let elsewhere = with(key, "/token_uri", json!(ATTACKER));
    let failure = stage.refused(&Source { token_uri: own, ..of(&stage, &elsewhere) });
    assert!(failure.cause.starts_with(&stage.emulator.token_url()), "{failure}");
    let subject = SubjectSource::TextFile(stage.subject(SubjectForm::Text));
    let federated = stage.emulator.external_account(&subject).impersonating();
    stage.granted(&stage.file(&federated));
}
