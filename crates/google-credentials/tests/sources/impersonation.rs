//! `ImpersonateServiceAccount` over every kind of credential, and the refusals of IAM.

use google_credentials::{
    Credential,
    FailureKind::{NeedsPerson, Transient},
    Impersonation, Renewal, Source,
};
use google_emulator::{
    Fault,
    Route::{Iam, Metadata, Sts, Token},
    SourceCredentials, SubjectForm, SubjectSource,
};
use serde_json::{Value, json};

use crate::stage::{Stage, routes};

const PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
const IAM: &str = "https://www.googleapis.com/auth/iam";
const HEALTHCARE: &str = "https://www.googleapis.com/auth/cloud-healthcare";

fn impersonating(stage: &Stage, source: Source, accounts: &[&str]) -> Source {
    Source {
        impersonation: Some(Impersonation::parse(&accounts.join(",")).unwrap()),
        iam_uri: Some(format!("{}/", stage.emulator.https_url())),
        ..source
    }
}

fn by_key(stage: &Stage) -> Source {
    let path = stage.path("key.json");
    stage.emulator.write_service_account_key(&path).unwrap();
    stage.source(Credential::ServiceAccountFile(path))
}

#[test]
fn any_credential_can_act_as_another_account() {
    let stage = Stage::new().on_google();
    let (target, delegate) = (stage.emulator.impersonation_target(), stage.emulator.impersonation_delegate());
    let user = stage.path("user.json");
    stage.emulator.write_authorized_user(&user).unwrap();
    let user = Source {
        token_uri: Some(stage.emulator.token_url()),
        ..stage.source(Credential::AuthorizedUserFile(user))
    };
    let subject = SubjectSource::TextFile(stage.subject(SubjectForm::Text));
    let bases = [
        ("key", by_key(&stage), Token, None),
        ("login", user, Token, Some("demo")),
        ("metadata server", stage.source(Credential::MetadataServer(None)), Metadata, None),
        ("federated", stage.file(&stage.emulator.external_account(&subject)), Sts, None),
    ];
    for (name, base, route, quota_project) in bases {
        for (accounts, delegates) in [
            (&[target.as_str()][..], json!([])),
            (&[&delegate, &target], json!([format!("projects/-/serviceAccounts/{delegate}")])),
        ] {
            let mut source = impersonating(&stage, base.clone(), accounts);
            source.scopes = Some(vec![HEALTHCARE.to_owned()]);
            let (grant, seen) = stage.granted(&source);
            assert_eq!(routes(&seen), [route, Iam], "{name}");
            let fields = |field: &str| serde_json::from_str::<Value>(&seen[1].fields[field]).unwrap();
            assert_eq!((fields("scope"), fields("delegates")), (json!([HEALTHCARE]), delegates), "{name}");
            assert_eq!(seen[1].fields["lifetime"], "3600s");
            assert_eq!(seen[1].header("x-goog-user-project"), quota_project, "{name}: of the login");
            assert_eq!(seen[1].header("content-type"), Some("application/json"));
            let path = format!("/v1/projects/-/serviceAccounts/{target}:generateAccessToken");
            assert_eq!((seen[1].method.as_str(), &seen[1].path), ("POST", &path));
            // What is asked for first is the right to act as somebody else, whatever the second is for.
            if route == Sts {
                assert_eq!(seen[0].fields["scope"], IAM);
            }
            assert_eq!(seen[0].query, None, "{name}");
            assert_eq!(grant.principal.as_deref(), Some(target.as_str()), "{name}");
            assert_eq!(grant.renewal, Renewal::BeforeExpiry, "{name}");
            assert_eq!(grant.quota_project.as_deref(), quota_project, "{name}");
        }
    }
}

#[test]
fn a_refused_link_names_who_lacks_what() {
    let stage = Stage::new();
    let emulator = &stage.emulator;
    let [account, delegate, target] =
        [emulator.service_account(), emulator.impersonation_delegate(), emulator.impersonation_target()];
    let direct = impersonating(&stage, by_key(&stage), &[&target]);
    let chain = impersonating(&stage, by_key(&stage), &[&delegate, &target]);
    let in_file = stage.file(&emulator.impersonated_service_account(SourceCredentials::ServiceAccount));
    emulator.deny_impersonation(&account, &target);
    for source in [&direct, &in_file] {
        let failure = stage.refused(source);
        assert_eq!(failure.kind, NeedsPerson);
        let said = "answered 403 PERMISSION_DENIED: \"Permission 'iam.serviceAccounts.getAccessToken' denied";
        assert!(failure.cause.contains(said), "{failure}");
        let remedy = format!("grant {account} the role roles/iam.serviceAccountTokenCreator on {target}");
        assert!(failure.remedy.contains(&remedy), "{failure}");
    }
    stage.granted(&chain);
    emulator.deny_impersonation(&delegate, &target);
    let failure = stage.refused(&chain);
    assert!(failure.remedy.contains("and each delegate the same on the next one"), "{failure}");
    // Permission given, no restart.
    emulator.allow_impersonation(&account, &target);
    stage.granted(&direct);
}

#[test]
fn a_federated_identity_is_named_by_its_audience() {
    let stage = Stage::new();
    let subject = SubjectSource::TextFile(stage.subject(SubjectForm::Text));
    let target = stage.emulator.impersonation_target();
    stage.emulator.deny_impersonation(&stage.emulator.federated_principal(&subject), &target);
    let file = stage.emulator.external_account(&subject).impersonating();
    let failure = stage.refused(&stage.file(&file));
    let audience = file.json()["audience"].as_str().unwrap().to_owned();
    for said in [audience.as_str(), "roles/iam.serviceAccountTokenCreator", &target] {
        assert!(failure.remedy.contains(said), "{said}: {failure}");
    }
}

#[test]
fn a_disabled_api_comes_with_google_s_link() {
    let stage = Stage::new();
    let source = impersonating(&stage, by_key(&stage), &[&stage.emulator.impersonation_target()]);
    stage.emulator.change_settings(|settings| {
        settings.disabled_apis = vec!["iamcredentials.googleapis.com".to_owned()];
    });
    let failure = stage.refused(&source);
    assert_eq!(failure.kind, NeedsPerson);
    for said in [
        "https://console.developers.google.com/apis/api/iamcredentials.googleapis.com/overview?project=",
        "enable the IAM Service Account Credentials API",
    ] {
        assert!(failure.to_string().contains(said), "{said}: {failure}");
    }
}

#[test]
fn other_answers_of_iam_have_their_sentence() {
    let stage = Stage::new().on_google();
    let target = stage.emulator.impersonation_target();
    let source = impersonating(&stage, by_key(&stage), &[&target]);
    let nobody = "nobody@demo.iam.gserviceaccount.com";
    let failure = stage.refused(&impersonating(&stage, by_key(&stage), &[nobody]));
    assert_eq!(failure.kind, NeedsPerson);
    assert!(failure.remedy.contains(nobody), "{failure}");

    let mut unknown = source.clone();
    unknown.scopes = Some(vec!["https://www.googleapis.com/auth/no-such-scope".to_owned()]);
    let failure = stage.refused(&unknown);
    assert_eq!(failure.kind, NeedsPerson);
    assert!(failure.remedy.contains("correct Scopes"), "{failure}");

    // A machine whose scopes do not reach IAM.
    stage.emulator.change_settings(|settings| settings.metadata_scopes = vec![HEALTHCARE.to_owned()]);
    let machine = stage.source(Credential::MetadataServer(None));
    let failure = stage.refused(&impersonating(&stage, machine, &[&target]));
    assert_eq!(failure.kind, NeedsPerson);
    assert!(failure.remedy.contains("lacks a scope") && failure.remedy.contains(PLATFORM), "{failure}");

    for (fault, kind, said) in [
        (Fault::answer(Iam, 503, ""), Transient, "answered 503"),
        (Fault::answer(Iam, 429, "").header("Retry-After", "9"), Transient, "quota"),
        (Fault::answer(Iam, 200, "<html>"), Transient, "not with JSON"),
        (Fault::answer(Iam, 200, "{}"), Transient, "without `accessToken`"),
        (
            Fault::answer(Iam, 200, r#"{"accessToken":"ya29.without-an-end-of-its-life"}"#),
            Transient,
            "without a date as `expireTime`",
        ),
        (
            Fault::answer(Iam, 200, r#"{"accessToken":"ya29.over","expireTime":"2001-01-01T00:00:00Z"}"#),
            Transient,
            "whose time is over",
        ),
        (
            Fault::answer(
                Iam,
                200,
                "{\"accessToken\":\"ya29\\r\\nX: y\",\"expireTime\":\"2101-01-01T00:00:00Z\"}",
            ),
            Transient,
            "`accessToken` is no token",
        ),
        (Fault::cut_body(Iam, 20), Transient, "broke off"),
        (
            Fault::answer(Iam, 302, "").header("Location", "https://portal.example/"),
            Transient,
            "portal.example",
        ),
    ] {
        stage.emulator.faults().add(fault.times(1));
        let failure = stage.refused(&source);
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.to_string().contains(said), "{said}: {failure}");
        assert!(!failure.to_string().contains("ya29"), "{failure}");
        stage.emulator.faults().clear();
    }
    stage.granted(&source);
}

/// `expireTime` is a date by Google's clock: the life of a token does not depend on how wrong this machine's is.
#[test]
fn a_wrong_clock_does_not_change_the_life_of_a_token() {
    let mut stage = Stage::new().on_google();
    let target = stage.emulator.impersonation_target();
    let machine = impersonating(&stage, stage.source(Credential::MetadataServer(None)), &[&target]);
    for ahead in [-86_400, -1_800, 0, 1_800, 7_200, 86_400] {
        stage.set_clock_ahead(ahead);
        let life = stage.granted(&machine).0.token.lifetime().as_secs();
        assert!((3590..=3600).contains(&life), "{ahead} s ahead: {life} s");
    }
}
