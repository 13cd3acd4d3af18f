//! An account for each credential there is, and for each that goes wrong.

use std::{path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use google_emulator::{CredentialFile, SourceCredentials, SubjectForm, SubjectSource};
use serde_json::{Value, json};

use super::credentials_file;
use crate::stage::Scene;

/// What suffices for a DICOM store.
pub const CLOUD_HEALTHCARE: &str = "https://www.googleapis.com/auth/cloud-healthcare";

/// An account with a credential.
pub struct Source {
    pub name: &'static str,
    pub account: Value,
}

/// One account for every way to a token, with the files that they need.
pub fn sources(scene: &Scene) -> Vec<Source> {
    let emulator = &scene.emulator;
    let key = json!({"ServiceAccountFile": scene.path("key.json")});
    let user = json!({"AuthorizedUserFile": scene.path("user.json"), "TokenUri": emulator.token_url()});
    let (delegate, target) = (emulator.impersonation_delegate(), emulator.impersonation_target());
    let as_target = json!({"ImpersonateServiceAccount": target, "IamUri": emulator.https_url()});
    let delegated = json!({
        "ImpersonateServiceAccount": format!("{delegate},{target}"),
        "IamUri": emulator.https_url(),
    });
    let mut sources = vec![
        ("service-account", key.clone()),
        ("pkcs1", json!({"ServiceAccountFile": scene.path("pkcs1.json")})),
        ("user-file", user.clone()),
        ("any-service-account", credentials_file(scene, "key.json")),
        ("any-user", both(&credentials_file(scene, "user.json"), &json!({"TokenUri": emulator.token_url()}))),
        ("default", json!({"ApplicationDefaultCredentials": true})),
        ("metadata-server", json!({"MetadataServer": true})),
        ("metadata-server-by-name", json!({"MetadataServer": emulator.metadata_service_account()})),
        ("impersonation", both(&key, &as_target)),
        ("impersonation-by-delegate", both(&key, &delegated)),
        ("impersonation-of-user", both(&user, &as_target)),
        ("impersonation-of-machine", both(&json!({"MetadataServer": true}), &as_target)),
        ("scopes", both(&key, &json!({"Scopes": [CLOUD_HEALTHCARE]}))),
        ("quota-project", both(&key, &json!({"QuotaProject": "the-wards-bill"}))),
        ("none", json!({"AccessToken": "none"})),
    ];
    sources.extend(files(scene).into_iter().map(|(name, file)| {
        file.write(&scene.path(name)).unwrap();
        (name, credentials_file(scene, name))
    }));
    // This one's token endpoint is Google's, because a login's file names none.
    for (name, account) in &mut sources {
        if *name == "impersonated-user" {
            account["TokenUri"] = json!(emulator.token_url());
        }
    }
    let source = |(name, credential): (_, Value)| Source { name, account: scene.account(&credential) };
    let strings = Source { name: "user-strings", account: scene.user_strings() };
    sources.into_iter().map(source).chain([strings]).collect()
}

/// The credential files of the newer types, and the subject tokens that they name.
fn files(scene: &Scene) -> Vec<(&'static str, CredentialFile)> {
    let emulator = &scene.emulator;
    let subject = |form, name: &str| {
        let path = scene.path(name);
        emulator.write_subject_token(form, &path, Duration::from_secs(3600)).unwrap();
        path
    };
    let text = subject(SubjectForm::Text, "subject.txt");
    let program = |output_file: Option<PathBuf>| SubjectSource::Executable {
        command: format!("{} an-argument", subject(SubjectForm::Executable, "subject.sh").display()),
        output_file,
    };
    let output = subject(SubjectForm::ExecutableOutput, "subject-output.json");
    let of_text = emulator.external_account(&SubjectSource::TextFile(text));
    let external = |source: SubjectSource| emulator.external_account(&source);
    let impersonated = |source| emulator.impersonated_service_account(source);
    let delegate = emulator.impersonation_delegate();
    vec![
        ("external-text", of_text.clone()),
        ("external-json", external(SubjectSource::JsonFile(subject(SubjectForm::Json, "subject.json")))),
        ("external-saml", external(SubjectSource::SamlFile(subject(SubjectForm::Saml, "subject.saml")))),
        (
            "external-workforce",
            external(SubjectSource::WorkforceFile(subject(SubjectForm::Workforce, "workforce.txt"))),
        ),
        ("external-url", external(SubjectSource::TextUrl)),
        ("external-json-url", external(SubjectSource::JsonUrl)),
        ("external-program", external(program(None))),
        ("external-program-output", external(program(Some(output)))),
        ("external-aws", external(SubjectSource::Aws)),
        ("external-impersonating", of_text.impersonating()),
        ("external-account-authorized-user", emulator.external_account_authorized_user()),
        ("impersonated-service-account", impersonated(SourceCredentials::ServiceAccount)),
        ("impersonated-by-delegate", impersonated(SourceCredentials::ServiceAccount).delegates(&[&delegate])),
        ("impersonated-user", impersonated(SourceCredentials::AuthorizedUser)),
        // The workforce session pays for itself, but what it impersonates does not inherit that.
        ("impersonated-workforce", impersonated(SourceCredentials::ExternalAccountAuthorizedUser)),
    ]
}

/// Accounts that cannot have a token, and what their line says: the cause and the remedy.
pub fn wrong(scene: &Scene) -> Vec<(&'static str, Value, Vec<String>)> {
    let emulator = &scene.emulator;
    let said = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let (service_account, target) = (emulator.service_account(), emulator.impersonation_target());
    emulator.deny_impersonation(&service_account, &target);
    emulator.write_service_account_key(&scene.path("denied.json")).unwrap();
    let program = SubjectSource::Executable { command: "/bin/true".to_owned(), output_file: None };
    let absent = SubjectSource::TextFile(scene.path("not-mounted.txt"));
    let unknown = json!({"type": "moon_account", "private_key": "none"});
    for (name, file) in [
        ("gdch.json", emulator.gdch_service_account()),
        ("denied-inside.json", emulator.impersonated_service_account(SourceCredentials::ServiceAccount)),
        ("program.json", emulator.external_account(&program)),
        ("no-subject.json", emulator.external_account(&absent)),
    ] {
        file.write(&scene.path(name)).unwrap();
    }
    scene.write("unknown.json", unknown.to_string());
    let impersonation = json!({
        "ServiceAccountFile": scene.path("denied.json"),
        "ImpersonateServiceAccount": target,
        "IamUri": emulator.https_url(),
    });
    let role =
        said(&["PERMISSION_DENIED", &service_account, "roles/iam.serviceAccountTokenCreator", &target]);
    let file = |name| credentials_file(scene, name);
    let wrong = [
        ("gdch", file("gdch.json"), said(&["gdch_service_account", "CredentialsFile"])),
        ("denied", impersonation, role.clone()),
        ("denied-inside", file("denied-inside.json"), role),
        (
            "no-metadata-server",
            json!({"MetadataServer": true}),
            said(&["no answer from http://127.0.0.1:", "ServiceAccountFile or CredentialsFile"]),
        ),
        (
            "no-default",
            json!({"ApplicationDefaultCredentials": true}),
            said(&["GOOGLE_APPLICATION_CREDENTIALS is not set", "gcloud auth application-default login"]),
        ),
        ("program", file("program.json"), said(&[super::ALLOW_PROGRAMS, "1"])),
        ("no-subject", file("no-subject.json"), said(&["not-mounted.txt", "No such file"])),
        ("unknown", file("unknown.json"), said(&["moon_account", "external_account"])),
    ];
    wrong.into_iter().map(|(name, credential, says)| (name, scene.account(&credential), says)).collect()
}

/// A part of a JWT: 0 is the header, 1 the claims.
pub fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn both(one: &Value, other: &Value) -> Value {
    let mut both = one.clone();
    orthanc_testbed::merge(&mut both, other);
    both
}
