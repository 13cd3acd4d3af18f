//! Credentials that cannot work, or no longer do: each is refused with its kind and its sentence.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use google_credentials::{
    Credential,
    FailureKind::{Configuration, NeedsPerson, Transient},
    Impersonation, Source,
};
use google_emulator::{Fault, Route, SourceCredentials, SubjectForm, SubjectSource};
use serde_json::{Value, json};

use crate::stage::Stage;

fn of_content(stage: &Stage, content: &str) -> Source {
    let path = stage.path("credential.json");
    fs::write(&path, content).unwrap();
    stage.source(Credential::CredentialsFile(path))
}

#[test]
fn files_that_hold_no_credential_are_refused_by_name() {
    let stage = Stage::new();
    let gdch = stage.emulator.gdch_service_account().json().to_string();
    let impersonated = stage.emulator.impersonated_service_account(SourceCredentials::ServiceAccount);
    let without = |name: &str| impersonated.clone().set(name, Value::Null).json().to_string();
    let nested = impersonated.clone().set("source_credentials", serde_json::from_str(&gdch).unwrap());
    let delegates = impersonated.clone().set("delegates", json!([1]));
    for (content, cause, remedy) in [
        (
            gdch.clone(),
            "`gdch_service_account`: Google Distributed Cloud has no Healthcare API",
            "external_account",
        ),
        (r#"{"type":"wrong"}"#.to_owned(), "type `wrong`, which is unknown", "impersonated_service_account"),
        ("{}".to_owned(), "lacks `type`", "create the file again"),
        (r#"{"token":"ya29.alone"}"#.to_owned(), "holds an access token alone", "application-default login"),
        (r#"{"installed":{}}"#.to_owned(), "describes an OAuth client", "--client-id-file"),
        ("[]".to_owned(), "holds an array, not a JSON object", "Google's tools"),
        ("nonsense".to_owned(), "is not JSON", "Google's tools"),
        (without("source_credentials"), "lacks `source_credentials`", ""),
        (without("service_account_impersonation_url"), "lacks `service_account_impersonation_url`", ""),
        (
            nested.json().to_string(),
            "in `source_credentials`, is a credential of type `gdch_service_account`",
            "",
        ),
        (delegates.json().to_string(), "something else than strings in `delegates`", ""),
    ] {
        let failure = stage.refused(&of_content(&stage, &content));
        assert_eq!((failure.kind, failure.option), (Configuration, Some("CredentialsFile")), "{failure}");
        assert!(failure.cause.contains(cause) && failure.remedy.contains(remedy), "{cause}: {failure}");
        assert_eq!(stage.emulator.requests().len(), 0);
    }
}

#[test]
fn each_missing_member_is_named() {
    let stage = Stage::new();
    let emulator = &stage.emulator;
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let subject = SubjectSource::TextUrl;
    for (content, members) in [
        (parse(&emulator.service_account_key_json()), &["client_email", "private_key"][..]),
        (parse(&emulator.authorized_user_json()), &["client_id", "client_secret", "refresh_token"]),
        (
            emulator.external_account(&subject).json(),
            &["audience", "subject_token_type", "token_url", "credential_source"],
        ),
        (
            emulator.external_account_authorized_user().json(),
            &["client_id", "client_secret", "refresh_token", "token_url"],
        ),
    ] {
        for member in members {
            for (value, said) in [
                (Value::Null, format!("lacks `{member}`")),
                (json!(7), format!("holds a number as `{member}`")),
            ] {
                let mut changed = content.clone();
                changed[member] = value;
                let failure = stage.refused(&of_content(&stage, &changed.to_string()));
                assert_eq!(failure.kind, Configuration);
                assert!(failure.cause.contains(&said), "{said}: {failure}");
            }
        }
    }
}

#[test]
fn logins_and_keys_that_are_over_say_so() {
    let stage = Stage::new();
    let source =
        |credential| Source { token_uri: Some(stage.emulator.token_url()), ..stage.source(credential) };
    let files = stage.emulator.write_files(stage.folder.path(), &[]).unwrap();
    let key = source(Credential::ServiceAccountFile(files.service_account.clone()));
    let user = source(Credential::CredentialsFile(files.authorized_user));
    let workforce = stage.source(Credential::CredentialsFile(files.more.external_account_authorized_user));
    for source in [&key, &user, &workforce] {
        stage.granted(source);
    }
    stage.emulator.rotate_service_account_key().unwrap();
    let failure = stage.refused(&key);
    assert_eq!(failure.kind, NeedsPerson);
    assert!(failure.remedy.contains("gcloud iam service-accounts keys create"), "{failure}");
    stage.emulator.write_service_account_key(&files.service_account).unwrap();
    stage.granted(&key);
    stage.emulator.revoke_refresh_token();
    let failure = stage.refused(&user);
    assert_eq!(failure.kind, NeedsPerson);
    assert!(failure.cause.contains("Token has been expired or revoked."), "{failure}");
    assert!(failure.remedy.contains("gcloud auth application-default login"), "{failure}");
}

#[test]
fn a_wrong_clock_is_measured_and_heals() {
    let mut stage = Stage::new();
    let path = stage.path("key.json");
    stage.emulator.write_service_account_key(&path).unwrap();
    let source = stage.source(Credential::ServiceAccountFile(path));
    for (ahead, said) in [(7_290, "2 h 1 min ahead of"), (-90_061, "1 d 1 h behind")] {
        stage.set_clock_ahead(ahead);
        let failure = stage.refused(&source);
        assert_eq!(failure.kind, Transient);
        assert!(failure.remedy.contains(said), "{failure}");
        assert!(failure.cause.contains("reasonable timeframe"), "{failure}");
    }
    stage.set_clock_ahead(0);
    stage.granted(&source);
}

/// Whatever an answer holds, no secret of the request comes back out of a failure.
#[test]
fn servers_that_quote_the_request_bring_no_secret_into_the_log() {
    let stage = Stage::new();
    let path = stage.path("user.json");
    stage.emulator.write_authorized_user(&path).unwrap();
    let source = Source {
        token_uri: Some(stage.emulator.token_url()),
        ..stage.source(Credential::AuthorizedUserFile(path))
    };
    let user = stage.emulator.authorized_user();
    let in_form = url::form_urlencoded::byte_serialize(user.refresh_token.as_bytes()).collect();
    for secret in [user.refresh_token, in_form, user.client_secret] {
        quotes(&stage, Route::Token, &source, &secret);
    }
    let workforce = stage.file(&stage.emulator.external_account_authorized_user());
    let session = stage.emulator.workforce_session();
    let pair = format!("{}:{}", session.client_id, session.client_secret);
    let basic = STANDARD.encode(&pair);
    for secret in [session.refresh_token, session.client_secret, pair, basic] {
        quotes(&stage, Route::Sts, &workforce, &secret);
    }
    // With a subject token that is known, and the token made from it that is not: IAM quotes what it was sent.
    let subject = SubjectSource::TextFile(stage.subject(SubjectForm::Text));
    let federated = stage.file(&stage.emulator.external_account(&subject).impersonating());
    let sent = stage.granted(&federated).1[0].fields["subject_token"].clone();
    quotes(&stage, Route::Sts, &federated, &sent);
    let machine = Stage::new().on_google();
    let token = machine.granted(&stage.source(Credential::MetadataServer(None))).0.token.value;
    let impersonating = Source {
        impersonation: Impersonation::parse(&machine.emulator.impersonation_target()),
        iam_uri: Some(format!("{}/", machine.emulator.https_url())),
        ..stage.source(Credential::MetadataServer(None))
    };
    // The metadata server gives the same token again, so that it is known what will be sent.
    quotes(&machine, Route::Iam, &impersonating, token.expose());
}

/// Has the endpoint quote `secret` in answers of every form; the stage looks for it in whatever is said.
fn quotes(stage: &Stage, route: Route, source: &Source, secret: &str) {
    let sentence = format!("no {secret}!");
    for (status, body) in [
        (400, json!({"error": "invalid_grant", "error_description": sentence}).to_string()),
        (403, json!({"error": {"status": "PERMISSION_DENIED", "message": sentence}}).to_string()),
        (400, json!({"error": secret}).to_string()),
        (500, format!("<html>you sent {secret}</html>")),
        (200, format!("<html>you sent {secret}</html>")),
        (200, json!({"token_type": secret, "access_token": "ya29.x"}).to_string()),
        (200, json!({"accessToken": secret, "expireTime": "never"}).to_string()),
    ] {
        stage.emulator.faults().add(Fault::answer(route, status, body).times(1));
        stage.refused(source);
    }
}

#[test]
fn answers_of_every_endpoint_that_are_none_are_transient() {
    let stage = Stage::new().allowing_programs();
    let files = stage.emulator.write_files(stage.folder.path(), &[]).unwrap();
    for (route, path) in [
        (Route::Token, files.service_account),
        (Route::Sts, files.more.external_account_file),
        (Route::Sts, files.more.external_account_authorized_user),
        (Route::Iam, files.more.impersonated_service_account),
    ] {
        let source = stage.source(Credential::CredentialsFile(path));
        let page =
            |status| Fault::answer(route, status, "<html>portal</html>").header("Content-Type", "text/html");
        for fault in [
            page(200),
            page(302).header("Location", "https://portal.example/login"),
            page(502),
            Fault::answer(route, 200, ""),
            Fault::answer(route, 503, "").header("Retry-After", "3"),
            Fault::answer(route, 429, "{}"),
            Fault::cut_body(route, 10),
            Fault::reset(route, 0),
        ] {
            let said = format!("{route:?} {:?}", fault.effect);
            stage.emulator.faults().add(fault.times(1));
            let failure = stage.refused(&source);
            assert_eq!(failure.kind, Transient, "{said}: {failure}");
            stage.emulator.faults().clear();
        }
        stage.granted(&source);
    }
}
