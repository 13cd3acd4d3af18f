//! Subject tokens of external accounts: where they are read, and what is said when they are not there.

use google_credentials::FailureKind::{Configuration, NeedsPerson, Transient};
use google_emulator::{
    Fault,
    Route::{Iam, Imds, Sts, Subject},
    SubjectForm, SubjectSource,
};
use serde_json::{Value, json};

use crate::stage::{Stage, routes};

#[test]
fn a_file_is_read_again_at_every_refresh() {
    let stage = Stage::new();
    for (form, kind) in [
        (SubjectForm::Text, SubjectSource::TextFile as fn(_) -> _),
        (SubjectForm::Json, SubjectSource::JsonFile),
        (SubjectForm::Saml, SubjectSource::SamlFile),
    ] {
        let path = stage.subject(form);
        let source = stage.file(&stage.emulator.external_account(&kind(path)));
        let sent = || stage.granted(&source).1[0].fields["subject_token"].clone();
        let first = sent();
        assert_eq!(sent(), first, "{form:?}");
        stage.subject(form);
        assert_ne!(sent(), first, "{form:?}: the new token is not used");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let stage = Stage::new();
    let (text, json) = (stage.path("token.txt"), stage.path("token.json"));
    let of_text = stage.emulator.external_account(&SubjectSource::TextFile(text.clone()));
    let of_json = stage.emulator.external_account(&SubjectSource::JsonFile(json.clone()));
    for (file, path, content, said) in [
        (&of_text, &text, None, "cannot be read: No such file or directory"),
        (&of_text, &text, Some(&b" \n"[..]), "is empty"),
        (&of_text, &text, Some(&b"\xff\xfe\x00"[..]), "holds no text"),
        (&of_json, &json, Some(&b"eyJhbGciOi"[..]), "holds no JSON"),
        (&of_json, &json, Some(&br#"{"token":"eyJhbGciOi"}"#[..]), "lacks `access_token`"),
        (&of_json, &json, Some(&br#"{"access_token":7}"#[..]), "lacks `access_token`"),
        (&of_json, &json, Some(&br#"{"access_token":""}"#[..]), "is empty"),
    ] {
        if let Some(content) = content {
            std::fs::write(path, content).unwrap();
        }
        let failure = stage.refused(&stage.file(file));
        assert_eq!((failure.kind, failure.option), (Transient, Some("CredentialsFile")), "{failure}");
        let sentence = failure.to_string();
        assert!(sentence.contains(said) && sentence.contains(&path.display().to_string()), "{sentence}");
        assert!(sentence.contains("check that the program that provides the token"), "{sentence}");
        assert!(!sentence.contains("eyJ"), "{sentence}");
        assert_eq!(stage.emulator.requests().len(), 0, "{said}");
    }
    // It heals with the file.
    stage.emulator.write_subject_token(SubjectForm::Json, &json, std::time::Duration::from_secs(60)).unwrap();
    stage.granted(&stage.file(&of_json));
}

#[test]
fn a_url_is_asked_with_its_headers() {
    let stage = Stage::new();
    let file = stage.emulator.external_account(&SubjectSource::TextUrl);
    let credential_source = file.json()["credential_source"].clone();
    let (name, value) = credential_source["headers"].as_object().unwrap().iter().next().unwrap();
    let (_, seen) = stage.granted(&stage.file(&file));
    assert_eq!(seen[0].header(&name.to_lowercase()), value.as_str());
    assert_eq!((seen[0].method.as_str(), seen[0].body_bytes), ("GET", 0));

    let mut without = credential_source.clone();
    without["headers"] = json!({});
    let failure = stage.refused(&stage.file(&file.clone().set("credential_source", without)));
    assert_eq!((failure.kind, failure.option), (Transient, Some("CredentialsFile")));
    assert!(failure.cause.ends_with("/external/subject-token answered 400"), "{failure}");
    assert!(failure.remedy.contains("`credential_source`"), "{failure}");

    let mut wrong = credential_source.clone();
    wrong["headers"] = json!({ name.as_str(): 7 });
    let failure = stage.refused(&stage.file(&file.clone().set("credential_source", wrong)));
    assert_eq!(failure.kind, Configuration);
    assert!(failure.cause.contains("something else than strings in `headers`"), "{failure}");

    stage.emulator.faults().add(Fault::answer(Subject, 200, "{").times(1));
    let failure = stage.refused(&stage.file(&stage.emulator.external_account(&SubjectSource::JsonUrl)));
    assert!(failure.cause.contains("/external/subject-token.json holds no JSON"), "{failure}");
}

#[test]
fn aws_credentials_come_from_the_environment_first() {
    let mut stage = Stage::new();
    let user = stage.emulator.aws_user_credentials();
    let file = stage.emulator.external_account(&SubjectSource::Aws);
    let source = stage.file(&file);
    stage.set_env("AWS_ACCESS_KEY_ID", &user.access_key_id);
    stage.set_env("AWS_SECRET_ACCESS_KEY", &user.secret_access_key);
    // A session and the region are still needed.
    assert_eq!(routes(&stage.granted(&source).1), [Imds, Imds, Sts]);
    for region in ["AWS_DEFAULT_REGION", "AWS_REGION"] {
        stage.set_env(region, stage.emulator.aws_region());
        assert_eq!(routes(&stage.granted(&source).1), [Sts], "{region}");
    }
    // AWS_REGION decides before AWS_DEFAULT_REGION.
    stage.set_env("AWS_DEFAULT_REGION", "us-gov-west-1");
    let request = subject_request(&stage.granted(&source).1[0].fields["subject_token"]);
    let url = request["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with(&format!("https://sts.{}.amazonaws.com", stage.emulator.aws_region())), "{url}");

    // The role's credentials come with a session token, which has to be signed and sent.
    let role = stage.emulator.aws_role_credentials();
    stage.set_env("AWS_ACCESS_KEY_ID", &role.access_key_id);
    stage.set_env("AWS_SECRET_ACCESS_KEY", &role.secret_access_key);
    stage.set_env("AWS_SESSION_TOKEN", role.session_token.clone().unwrap());
    assert_eq!(routes(&stage.granted(&source).1), [Sts]);

    stage.set_env("AWS_SECRET_ACCESS_KEY", "not-the-one-that-belongs-to-it");
    let failure = stage.refused(&source);
    assert_eq!(failure.kind, Transient);
    assert!(failure.cause.contains("SignatureDoesNotMatch"), "{failure}");
}

/// The request that a subject token of AWS holds.
fn subject_request(token: &str) -> Value {
    let form = format!("token={token}");
    let decoded = url::form_urlencoded::parse(form.as_bytes()).next().unwrap().1.into_owned();
    serde_json::from_str(&decoded).unwrap()
}

#[test]
fn aws_instances_without_credentials_say_so() {
    let stage = Stage::new();
    let file = stage.emulator.external_account(&SubjectSource::Aws);
    let mut without_session = file.json()["credential_source"].clone();
    without_session["imdsv2_session_token_url"] = Value::Null;
    let without_session = file.clone().set("credential_source", without_session);
    let failure = stage.refused(&stage.file(&without_session));
    assert_eq!(failure.kind, Transient);
    assert!(
        failure.cause.ends_with("answered 401") && failure.remedy.contains("AWS_ACCESS_KEY_ID"),
        "{failure}"
    );
    stage.emulator.change_settings(|settings| settings.imds_v2_required = false);
    assert_eq!(routes(&stage.granted(&stage.file(&without_session)).1), [Imds, Imds, Imds, Sts]);

    stage.emulator.faults().add(Fault::answer(Imds, 404, "").on_path("security-credentials").times(1));
    let failure = stage.refused(&stage.file(&file));
    assert!(failure.cause.ends_with("/security-credentials answered 404"), "{failure}");
    stage.emulator.faults().clear();
    stage.emulator.faults().add(Fault::answer(Imds, 200, "{}").on_path("security-credentials/").times(1));
    let failure = stage.refused(&stage.file(&file));
    assert!(failure.cause.ends_with("gives no security credentials"), "{failure}");
}

#[test]
fn refusals_of_the_exchange_are_explained() {
    let stage = Stage::new();
    let file = stage.emulator.external_account(&SubjectSource::TextFile(stage.subject(SubjectForm::Text)));
    let expired = stage.path("expired");
    let nothing = std::time::Duration::ZERO;
    stage.emulator.write_subject_token(SubjectForm::Text, &expired, nothing).unwrap();
    let expired = stage.emulator.external_account(&SubjectSource::TextFile(expired));
    let elsewhere =
        "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/no/providers/such";
    let client = || file.clone().set("client_id", json!("nobody"));
    for (file, kind, cause, remedy) in [
        (file.clone().set("audience", json!(elsewhere)), NeedsPerson, "invalid_target", "compare `audience`"),
        (expired, Transient, "is stale to sign-in", "renewed in time"),
        (client().set("client_secret", json!("no-such-secret")), NeedsPerson, "invalid_client", "client_id"),
        (
            file.clone().set("subject_token_type", json!("urn:ietf:params:oauth:token-type:saml2")),
            NeedsPerson,
            "subject_token_type",
            "create the credential's file again",
        ),
        (
            file.clone().set("token_url", json!(format!("{}/x", stage.emulator.https_url()))),
            Transient,
            "answered 404",
            "",
        ),
    ] {
        let failure = stage.refused(&stage.file(&file));
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.cause.contains(cause) && failure.remedy.contains(remedy), "{failure}");
        assert!(!failure.remedy.contains("auth application-default login"), "no person logged in: {failure}");
    }
}

#[test]
fn the_life_of_impersonated_tokens_is_the_files() {
    let stage = Stage::new();
    let text = SubjectSource::TextFile(stage.subject(SubjectForm::Text));
    let file =
        |seconds| stage.emulator.external_account(&text).impersonating().token_lifetime_seconds(seconds);
    let (grant, seen) = stage.granted(&stage.file(&file(600)));
    assert_eq!(routes(&seen), [Sts, Iam]);
    assert_eq!(seen[1].fields["lifetime"], "600s");
    assert!((590..=600).contains(&grant.token.lifetime().as_secs()));
    let failure = stage.refused(&stage.file(&file(7200)));
    assert_eq!(failure.kind, NeedsPerson);
    assert!(failure.remedy.contains("allowServiceAccountCredentialLifetimeExtension"), "{failure}");
    let target = stage.emulator.impersonation_target();
    stage.emulator.change_settings(|settings| settings.extended_lifetime_accounts = vec![target]);
    let (grant, _) = stage.granted(&stage.file(&file(43_200)));
    assert!((43_190..=43_200).contains(&grant.token.lifetime().as_secs()));
    for seconds in [0, 599, 43_201] {
        let failure = stage.refused(&stage.file(&file(seconds)));
        assert_eq!(failure.kind, Configuration);
        assert!(failure.cause.contains(&format!("tokens of {seconds} s")), "{failure}");
        assert_eq!(stage.emulator.requests().len(), 0);
    }
}

#[test]
fn files_that_name_no_source_or_an_unknown_one_are_refused() {
    let stage = Stage::new();
    let file = stage.emulator.external_account(&SubjectSource::TextUrl);
    for (credential_source, said) in [
        (json!({}), "names no source of a subject token"),
        (json!(7), "holds a number as `credential_source`, not an object"),
        (Value::Null, "lacks `credential_source`"),
        (json!({"environment_id": "aws2"}), "names the environment `aws2`"),
        (json!({"environment_id": "aws1"}), "lacks `regional_cred_verification_url`"),
        (json!({"certificate": {}}), "client certificate (X.509 federation), which is not supported"),
        (json!({"file": "x", "format": {"type": "xml"}}), "is of the type `xml`"),
        (json!({"file": "x", "format": {"type": "json"}}), "lacks `subject_token_field_name`"),
        (json!({"executable": {}}), "lacks `command`"),
    ] {
        let failure = stage.refused(&stage.file(&file.clone().set("credential_source", credential_source)));
        assert_eq!((failure.kind, failure.option), (Configuration, Some("CredentialsFile")), "{failure}");
        assert!(failure.cause.contains(said), "{said}: {failure}");
    }
    // A file is preferred to an address, as AIP-4117 has it.
    let both = json!({"file": stage.subject(SubjectForm::Text), "url": "http://127.0.0.1:9/"});
    let seen = stage.granted(&stage.file(&file.set("credential_source", both))).1;
    assert_eq!(routes(&seen), [Sts]);
}
