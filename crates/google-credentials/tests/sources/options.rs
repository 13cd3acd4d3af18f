//! `Scopes`, `QuotaProject` and `UniverseDomain`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use google_credentials::{Credential, FailureKind, Source};
use google_emulator::{
    Route::{Iam, Token},
    SourceCredentials, SubjectForm, SubjectSource,
};
use serde_json::{Value, json};

use crate::stage::{Stage, routes};

const PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
const IAM: &str = "https://www.googleapis.com/auth/iam";
const HEALTHCARE: &str = "https://www.googleapis.com/auth/cloud-healthcare";

/// Header and claims of a signed token (RFC 7519 section 3).
fn parts(token: &str) -> [Value; 2] {
    let mut parts = token.split('.');
    std::array::from_fn(|_| {
        let bytes = URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    })
}

fn key(stage: &Stage, change: impl FnOnce(&mut Value)) -> Source {
    let mut content: Value = serde_json::from_str(&stage.emulator.service_account_key_json()).unwrap();
    change(&mut content);
    let path = stage.path("key.json");
    std::fs::write(&path, content.to_string()).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    stage.source(Credential::ServiceAccountFile(path))
}

fn scopes(scopes: &[&str]) -> Vec<String> {
    scopes.iter().map(|&scope| scope.to_owned()).collect()
}

#[test]
fn the_scope_of_the_healthcare_api_suffices() {
    let stage = Stage::new().on_google();
    let subject = SubjectSource::TextFile(stage.subject(SubjectForm::Text));
    let path = stage.path("federated.json");
    stage.emulator.external_account(&subject).write(&path).unwrap();
    let machine = stage.source(Credential::MetadataServer(None));
    let federated = stage.source(Credential::CredentialsFile(path));
    for (wanted, joined) in [
        (None, PLATFORM.to_owned()),
        (Some(scopes(&[HEALTHCARE])), HEALTHCARE.to_owned()),
        (Some(scopes(&[HEALTHCARE, "openid"])), format!("{HEALTHCARE} openid")),
    ] {
        let with = |source: Source| Source { scopes: wanted.clone(), ..source };
        let (_, seen) = stage.granted(&with(key(&stage, |_| ())));
        assert_eq!(parts(&seen[0].fields["assertion"])[1]["scope"], joined);
        assert_eq!(stage.granted(&with(federated.clone())).1[0].fields["scope"], joined);
        let query = wanted.as_ref().map(|wanted| format!("scopes={}", wanted.join(",")));
        assert_eq!(stage.granted(&with(machine.clone())).1[0].query, query);
        let impersonated = stage.emulator.impersonated_service_account(SourceCredentials::ServiceAccount);
        let (_, seen) = stage.granted(&with(stage.file(&impersonated)));
        assert_eq!(parts(&seen[0].fields["assertion"])[1]["scope"], IAM, "the source's is its own");
        let list: Vec<&str> = joined.split(' ').collect();
        assert_eq!(serde_json::from_str::<Value>(&seen[1].fields["scope"]).unwrap(), json!(list));
    }
    let wrong = Source { scopes: Some(scopes(&["https://example.com/scope"])), ..key(&stage, |_| ()) };
    let failure = stage.refused(&wrong);
    assert_eq!(failure.kind, FailureKind::NeedsPerson);
    assert!(failure.cause.contains("invalid_scope"), "{failure}");
}

/// A login's scopes were chosen when the user logged in: Google refuses others, and the login's are what counts.
#[test]
fn a_login_keeps_its_own_scopes() {
    let stage = Stage::new();
    let path = stage.path("user.json");
    stage.emulator.write_authorized_user(&path).unwrap();
    let source = Source {
        token_uri: Some(stage.emulator.token_url()),
        scopes: Some(scopes(&[HEALTHCARE])),
        ..stage.source(Credential::AuthorizedUserFile(path))
    };
    let (_, seen) = stage.granted(&source);
    assert_eq!(seen[0].fields.get("scope"), None);
}

#[test]
fn the_quota_project_is_the_options_else_the_files_else_the_environments() {
    let file = |stage: &Stage| stage.emulator.external_account_authorized_user();
    for (option, of_file, of_environment, expected) in [
        (None, None, "", None),
        (None, None, "of-environment", Some("of-environment")),
        (None, Some("of-file"), "", Some("of-file")),
        (None, Some("of-file"), "of-environment", Some("of-file")),
        (Some("of-option"), Some("of-file"), "of-environment", Some("of-option")),
        (Some("of-option"), None, "", Some("of-option")),
    ] {
        let stage = Stage::new().env("GOOGLE_CLOUD_QUOTA_PROJECT", of_environment);
        let source = stage.file(&file(&stage).set("quota_project_id", json!(of_file)));
        let source = Source { quota_project: option.map(str::to_owned), ..source };
        let grant = stage.fetch(&source).unwrap();
        assert_eq!(grant.quota_project.as_deref(), expected);
    }
}

#[test]
fn a_store_that_wants_a_quota_project_is_told_one() {
    let stage = Stage::new();
    stage.emulator.change_settings(|settings| settings.required_quota_project = Some("demo".to_owned()));
    let path = stage.path("user.json");
    stage.emulator.write_authorized_user(&path).unwrap();
    let source = Source {
        token_uri: Some(stage.emulator.token_url()),
        ..stage.source(Credential::AuthorizedUserFile(path))
    };
    stage.granted(&source);
    let other = stage.fetch(&Source { quota_project: Some("other".to_owned()), ..source }).unwrap();
    assert_eq!(stage.search(&other), 403);
}

#[test]
fn in_another_universe_a_service_account_signs_for_itself() {
    let stage = Stage::new();
    let account = stage.emulator.service_account();
    let expected = "apis-berlin.example";
    for of_file in [Some("apis-berlin.example"), Some("APIS-Berlin.example"), Some(""), None] {
        let mut source = key(&stage, |content| {
            content["universe_domain"] = json!(of_file);
            content["token_uri"] = json!("https://oauth2.googleapis.com/token");
        });
        source.universe_domain = expected.to_owned();
        let grant = stage.fetch(&source).unwrap();
        assert_eq!(stage.emulator.requests().len(), 0, "no token endpoint is asked there");
        let token = grant.token.value.expose();
        orthanc_testbed::assert_no_secret(&stage.said.text(), &[token.to_owned()]);
        let [header, claims] = parts(token);
        assert_eq!((&header["alg"], &header["typ"]), (&json!("RS256"), &json!("JWT")));
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!(account), &json!(account)));
        assert_eq!((&claims["scope"], claims.get("aud")), (&json!(PLATFORM), None));
        let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert_eq!(life, 3600);
        assert!(grant.token.lifetime().as_secs() <= 3600);

        // To act as somebody else it asks the universe's own IAM, whose name nobody knows here.
        source.impersonation = google_credentials::Impersonation::parse("target@example.com");
        source.iam_uri = None;
        let failure = stage.refused(&source);
        assert!(
            failure.cause.contains(&format!("https://iamcredentials.{expected}/v1/projects/-/")),
            "{failure}"
        );
    }
}

#[test]
fn a_token_uri_of_the_configuration_is_asked_in_any_universe() {
    let stage = Stage::new();
    let source = key(&stage, |content| content["universe_domain"] = json!("apis-berlin.example"));
    let universe_domain = "apis-berlin.example".to_owned();
    let source = Source { token_uri: Some(stage.emulator.token_url()), universe_domain, ..source };
    assert_eq!(routes(&stage.granted(&source).1), [Token]);
}

#[test]
fn an_iam_uri_of_the_configuration_is_asked_in_any_universe() {
    let stage = Stage::new();
    let target = stage.emulator.impersonation_target();
    let source = key(&stage, |content| content["universe_domain"] = json!("apis-berlin.example"));
    let source = Source {
        token_uri: Some(stage.emulator.token_url()),
        universe_domain: "apis-berlin.example".to_owned(),
        impersonation: google_credentials::Impersonation::parse(&target),
        ..source
    };
    assert_eq!(routes(&stage.granted(&source).1), [Token, Iam]);
}
