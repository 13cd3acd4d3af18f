//! Each credential that the configuration can name gives a token that opens the store.

use google_credentials::{Credential, Renewal, Secret, Source};
use google_emulator::{
    CredentialFile, Route,
    Route::{Iam, Imds, Metadata, Sts, Subject, Token},
    SourceCredentials, SubjectForm, SubjectSource,
};

use crate::stage::{Stage, routes};

/// What is asked, in order, and whom the token stands for where the credential says so.
struct Expected {
    routes: &'static [Route],
    principal: Option<String>,
    quota_project: Option<&'static str>,
}

fn check(stage: &Stage, name: &str, source: &Source, expected: &Expected) {
    let (grant, seen) = stage.granted(source);
    assert_eq!(routes(&seen), expected.routes, "{name}");
    assert_eq!(grant.principal, expected.principal, "{name}");
    assert_eq!(grant.quota_project.as_deref(), expected.quota_project, "{name}");
    assert_eq!(grant.exposed, None, "{name}");
    let metadata_server = matches!(source.credential, Credential::MetadataServer(_));
    let renewal = if metadata_server { Renewal::MetadataServer } else { Renewal::BeforeExpiry };
    assert_eq!(grant.renewal, renewal, "{name}");
    let life = grant.token.lifetime().as_secs();
    assert!((3590..=3600).contains(&life), "{name}: {life} s");
    // Nothing is kept from one attempt to the next: the second one asks the same again.
    let (_, again) = stage.granted(source);
    assert_eq!(routes(&again), expected.routes, "{name}, again");
}

#[test]
fn keys_and_logins() {
    let stage = Stage::new();
    let files = stage.emulator.write_files(stage.folder.path(), &[]).unwrap();
    let user = stage.emulator.authorized_user();
    let inline = Credential::AuthorizedUser {
        client_id: user.client_id.clone(),
        client_secret: Secret::new(user.client_secret.clone()),
        refresh_token: Secret::new(user.refresh_token.clone()),
    };
    let account = Some(stage.emulator.service_account());
    let quota = Some("demo");
    for (name, credential, principal, quota_project) in [
        ("PKCS#8", Credential::ServiceAccountFile(files.service_account.clone()), account.clone(), None),
        (
            "PKCS#1",
            Credential::ServiceAccountFile(files.service_account_pkcs1.clone()),
            account.clone(),
            None,
        ),
        ("any file, PKCS#8", Credential::CredentialsFile(files.service_account), account.clone(), None),
        ("any file, PKCS#1", Credential::CredentialsFile(files.service_account_pkcs1), account, None),
        ("login", Credential::AuthorizedUserFile(files.authorized_user.clone()), None, quota),
        ("any file, login", Credential::CredentialsFile(files.authorized_user), None, quota),
        ("login, inline", inline, None, None),
    ] {
        let source = Source { token_uri: Some(stage.emulator.token_url()), ..stage.source(credential) };
        check(&stage, name, &source, &Expected { routes: &[Token], principal, quota_project });
    }
}

/// A credential file, the requests that its token takes, and whether it stands for the service account impersonated.
type Case = (&'static str, CredentialFile, &'static [Route], bool);

fn federated(stage: &Stage) -> Vec<Case> {
    let emulator = &stage.emulator;
    let account = |source: &SubjectSource| emulator.external_account(source);
    let text = SubjectSource::TextFile(stage.subject(SubjectForm::Text));
    let json = SubjectSource::JsonFile(stage.subject(SubjectForm::Json));
    let saml = SubjectSource::SamlFile(stage.subject(SubjectForm::Saml));
    let workforce = SubjectSource::WorkforceFile(stage.subject(SubjectForm::Workforce));
    let command = stage.subject(SubjectForm::Executable).display().to_string();
    let program = SubjectSource::Executable { command: command.clone(), output_file: None };
    let words = SubjectSource::Executable { command: format!("{command}  --a  b"), output_file: None };
    let session = emulator.workforce_session();
    let client = account(&workforce)
        .set("workforce_pool_user_project", serde_json::Value::Null)
        .set("client_id", session.client_id.clone().into())
        .set("client_secret", session.client_secret.clone().into());
    vec![
        ("file, text", account(&text), &[Sts], false),
        ("file, JSON", account(&json), &[Sts], false),
        ("file, SAML", account(&saml), &[Sts], false),
        ("file, workforce", account(&workforce), &[Sts], false),
        ("file, workforce with a client", client, &[Sts], false),
        ("file, impersonating", account(&text).impersonating(), &[Sts, Iam], true),
        ("URL, text", account(&SubjectSource::TextUrl), &[Subject, Sts], false),
        ("URL, JSON", account(&SubjectSource::JsonUrl), &[Subject, Sts], false),
        ("URL, impersonating", account(&SubjectSource::TextUrl).impersonating(), &[Subject, Sts, Iam], true),
        ("program", account(&program), &[Sts], false),
        ("program with arguments", account(&words), &[Sts], false),
        ("program, impersonating", account(&program).impersonating(), &[Sts, Iam], true),
        // Session, region, role, credentials of the role.
        ("AWS", account(&SubjectSource::Aws), &[Imds, Imds, Imds, Imds, Sts], false),
        (
            "AWS, impersonating",
            account(&SubjectSource::Aws).impersonating(),
            &[Imds, Imds, Imds, Imds, Sts, Iam],
            true,
        ),
    ]
}

#[test]
fn federated_identities() {
    let stage = Stage::new().allowing_programs();
    let target = stage.emulator.impersonation_target();
    for (name, file, routes, impersonating) in federated(&stage) {
        let audience = file.json()["audience"].as_str().unwrap().to_owned();
        let principal = Some(if impersonating { target.clone() } else { audience });
        check(&stage, name, &stage.file(&file), &Expected { routes, principal, quota_project: None });
    }
}

#[test]
fn workforce_logins_and_impersonated_accounts() {
    let stage = Stage::new();
    let emulator = &stage.emulator;
    let target = Some(emulator.impersonation_target());
    let delegate = emulator.impersonation_delegate();
    let impersonated = |source| emulator.impersonated_service_account(source);
    // Google's tools write no token endpoint into a user's credential, which would mean Google's.
    let by_user = impersonated(SourceCredentials::AuthorizedUser);
    let mut user = by_user.json()["source_credentials"].clone();
    user["token_uri"] = emulator.token_url().into();
    let by_user = by_user.set("source_credentials", user);
    for (name, file, routes, principal, quota_project) in [
        (
            "workforce login",
            emulator.external_account_authorized_user(),
            &[Sts][..],
            None,
            emulator.external_account_authorized_user().json()["quota_project_id"].as_str().map(|_| "demo"),
        ),
        ("by a user", by_user, &[Token, Iam], target.clone(), None),
        ("by a key", impersonated(SourceCredentials::ServiceAccount), &[Token, Iam], target.clone(), None),
        (
            "by a workforce login",
            impersonated(SourceCredentials::ExternalAccountAuthorizedUser),
            &[Sts, Iam],
            target.clone(),
            None,
        ),
        (
            "with a delegate",
            impersonated(SourceCredentials::ServiceAccount).delegates(&[&delegate]),
            &[Token, Iam],
            target.clone(),
            None,
        ),
        (
            "with a quota project",
            impersonated(SourceCredentials::ServiceAccount).set("quota_project_id", "demo".into()),
            &[Token, Iam],
            target.clone(),
            Some("demo"),
        ),
    ] {
        check(&stage, name, &stage.file(&file), &Expected { routes, principal, quota_project });
    }
}

#[test]
fn machines_of_google() {
    let stage = Stage::new().on_google();
    let email = stage.emulator.metadata_service_account();
    for account in [None, Some(email)] {
        let source = stage.source(Credential::MetadataServer(account.clone()));
        let expected = Expected { routes: &[Metadata], principal: account, quota_project: None };
        check(&stage, "metadata server", &source, &expected);
    }
}
