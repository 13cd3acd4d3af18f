//! Key files that went through other hands: what can be read safely is read, and what cannot is named.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use google_credentials::{Credential, FailureKind::Configuration, Source};
use serde_json::{Value, json};

use crate::stage::Stage;

fn write(stage: &Stage, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
    let path = stage.path("odd.json");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn of(stage: &Stage, content: impl AsRef<[u8]>) -> Source {
    stage.source(Credential::ServiceAccountFile(write(stage, content, 0o600)))
}

fn key(stage: &Stage) -> Value {
    serde_json::from_str(&stage.emulator.service_account_key_json()).unwrap()
}

fn utf16(text: &str, little: bool, mark: bool) -> Vec<u8> {
    let text = if mark { format!("\u{feff}{text}") } else { text.to_owned() };
    let bytes = |unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn files_in_other_encodings_are_read() {
    let stage = Stage::new();
    let json = format!("{:#}", key(&stage));
    let in_lines: Vec<String> = STANDARD
        .encode(&json)
        .as_bytes()
        .chunks(76)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    for content in [
        utf16(&json, true, true),
        utf16(&json, false, true),
        utf16(&json, true, false),
        utf16(&json, false, false),
        [b"\xef\xbb\xbf", json.as_bytes()].concat(),
        STANDARD.encode(&json).into_bytes(),
        STANDARD.encode(&json).trim_end_matches('=').as_bytes().to_vec(),
        in_lines.join("\r\n").into_bytes(),
        utf16(&in_lines.join("\r\n"), true, true),
        Value::from(json.clone()).to_string().into_bytes(),
    ] {
        stage.granted(&of(&stage, content));
    }
    // What is wrong inside is told with the form.
    for (content, form) in [
        (utf16("{\"type\": \"service_account\"}", true, true), "UTF-16"),
        (STANDARD.encode("{\"type\": \"service_account\", \"x\": 0}").into_bytes(), "base64"),
    ] {
        let failure = stage.refused(&of(&stage, content));
        assert!(failure.cause.contains(&format!("(read as {form}) lacks `client_email`")), "{failure}");
    }
}

#[test]
fn keys_whose_line_ends_were_changed_are_read() {
    let stage = Stage::new();
    let whole = key(&stage);
    let pem = whole["private_key"].as_str().unwrap();
    let body = pem.split("-----").nth(2).unwrap().trim();
    for changed in [
        pem.replace('\n', "\\n"),
        format!("{}\n", pem.replace('\n', "\\n")),
        pem.replace('\n', "\\\\n"),
        pem.replace('\n', "\r\n"),
        pem.replace('\n', "\\r\\n"),
        pem.replace('\n', " "),
        pem.replace('\n', ""),
        format!("\"{pem}\""),
        format!("Bag Attributes\n{pem}"),
        STANDARD.encode(pem),
        body.to_owned(),
    ] {
        let mut content = whole.clone();
        content["private_key"] = json!(changed);
        stage.granted(&of(&stage, content.to_string()));
    }
    // The header's `kid` is optional.
    let mut content = whole.clone();
    content.as_object_mut().unwrap().remove("private_key_id");
    let failure = stage.fetch(&of(&stage, content.to_string())).err().map(|failure| failure.kind);
    assert_ne!(failure, Some(Configuration));
    assert_eq!(stage.emulator.requests().len(), 1);
}

#[test]
fn keys_that_cannot_be_read_are_named() {
    let stage = Stage::new();
    let elliptic = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let locked = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    for (private_key, said) in [
        (pem("ENCRYPTED PRIVATE KEY"), "the key is encrypted"),
        (locked.to_owned(), "the key is encrypted"),
        (elliptic.clone(), "it is an EC key, and Google's service accounts sign with RSA"),
        (pem("EC PRIVATE KEY"), "it is an EC key"),
        (pem("PUBLIC KEY"), "it is the public key"),
        (pem("CERTIFICATE"), "it is a certificate"),
        (pem("OPENSSH PRIVATE KEY"), "it is a key of OpenSSH"),
        (pem("PRIVATE KEY"), "its content is damaged"),
        ("my key".to_owned(), "there is no whole"),
    ] {
        let mut content = key(&stage);
        content["private_key"] = json!(private_key);
        let failure = stage.refused(&of(&stage, content.to_string()));
        assert!(
            failure.cause.contains("no RSA key in PEM") && failure.cause.contains(said),
            "{said}: {failure}"
        );
        assert!(failure.remedy.contains("gcloud iam service-accounts keys create"), "{failure}");
    }
    for (content, said) in [
        (elliptic.into_bytes(), "in PEM alone"),
        (b"\x30\x82\x0a\x00\x02\x01\x03".to_vec(), "PKCS#12"),
        (b"\x1f\x8b\x08\x00".to_vec(), "gzip"),
        (b"<html>".to_vec(), "a web page"),
    ] {
        let failure = stage.refused(&of(&stage, content));
        assert!(failure.cause.contains(said), "{said}: {failure}");
    }
    assert_eq!(stage.emulator.requests().len(), 0);
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let stage = Stage::new();
    let json = stage.emulator.service_account_key_json();
    for mode in [0o620, 0o602, 0o660, 0o666] {
        let path = write(&stage, &json, mode);
        let failure = stage.refused(&stage.source(Credential::ServiceAccountFile(path.clone())));
        assert_eq!((failure.kind, failure.option), (Configuration, Some("ServiceAccountFile")));
        assert!(failure.cause.contains("is writable by its group or by every user"), "{failure}");
        assert!(failure.remedy.contains(&format!("chmod go-w {}", path.display())), "{failure}");
    }
    for mode in [0o600, 0o640, 0o644, 0o400] {
        stage.granted(&stage.source(Credential::ServiceAccountFile(write(&stage, &json, mode))));
    }
}

/// Whatever option or variable has to hold a path, it may hold the credential itself.
#[test]
fn a_credential_in_the_place_of_a_path_is_not_shown() {
    let mut stage = Stage::new();
    let whole = key(&stage);
    let pem = whole["private_key"].as_str().unwrap().to_owned();
    let user = stage.emulator.authorized_user();
    let body: String = pem.split("-----").nth(2).unwrap().split_whitespace().collect();
    let sensitive =
        [body, STANDARD.encode(whole.to_string()), user.refresh_token.clone(), user.client_secret.clone()];
    for secret in [
        whole.to_string(),
        format!("{whole:#}"),
        format!("\n {whole:#}"),
        pem.clone(),
        STANDARD.encode(whole.to_string()),
        stage.emulator.authorized_user_json(),
        user.refresh_token,
        user.client_secret,
    ] {
        for option in
            [Credential::ServiceAccountFile, Credential::AuthorizedUserFile, Credential::CredentialsFile]
        {
            said_without(&stage, &stage.source(option(PathBuf::from(&secret))), &sensitive);
        }
        stage.set_env("GOOGLE_APPLICATION_CREDENTIALS", secret.clone());
        let failure = said_without(&stage, &stage.source(Credential::ApplicationDefault), &sensitive);
        if secret.contains("private_key") {
            assert!(
                failure.contains("GOOGLE_APPLICATION_CREDENTIALS holds the credential itself, not a path"),
                "{failure}"
            );
        }
        stage.set_env("GOOGLE_APPLICATION_CREDENTIALS", "");
        for variable in ["CLOUDSDK_CONFIG", "HOME", "GCE_METADATA_HOST"] {
            stage.set_env(variable, secret.clone());
            said_without(&stage, &stage.source(Credential::ApplicationDefault), &sensitive);
            stage.set_env(variable, "");
        }
        let mut content = whole.clone();
        content["type"] = json!(secret);
        said_without(&stage, &of(&stage, content.to_string()), &sensitive);
    }
}

/// No run of eight characters of a secret is in the failure.
fn said_without(stage: &Stage, source: &Source, sensitive: &[String]) -> String {
    let failure = stage.refused(source).to_string();
    for secret in sensitive {
        for run in secret.as_bytes().windows(8).map(|run| std::str::from_utf8(run).unwrap()) {
            assert!(!failure.contains(run), "{run}: {failure}");
        }
    }
    failure
}
