//! What is wrong with a configuration, with its place; and the exit codes.

use std::fs;

use serde_json::json;

use crate::stage::{Stage, run};

/// The two files of a folder, with a comment, a variable, and mistakes in both.
const ORTHANC: &str = r#"{
  // What belongs to Orthanc.
  "Name": "site", /* and */
  "HttpTimeout": 60,
}"#;
const GOOGLE: &str = r#"{
  "GoogleCloudPlatform": {
    "Timeout": -1,
    "Accounts": {
      "hospital": {
        "Projet": "p", "Location": "l",
        "Dataset": "${DATASET:-d}",
        "DicomStore": "${STORE}",
        "serviceaccountfile": "/key.json"
      },
      "b.c": 7
    }
  }
}"#;

#[test]
fn every_mistake_has_its_place() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("orthanc.json"), ORTHANC).unwrap();
    fs::write(folder.path().join("google.json"), GOOGLE).unwrap();
    fs::write(folder.path().join("notes.txt"), "no configuration").unwrap();
    let run = run(&["check", "."], &[], folder.path());
    assert_eq!((run.code, run.err.as_str()), (1, ""), "{run:?}");
    for expected in [
        "./google.json:8:24: warning: ${STORE} is not set here, and becomes nothing; set it for Orthanc",
        "./google.json:3:5: error: GoogleCloudPlatform.Timeout: is -1, not a whole number",
        "./google.json:5:7: error: GoogleCloudPlatform.Accounts.hospital.Project: is missing or empty; copy it",
        "./google.json:8:9: error: GoogleCloudPlatform.Accounts.hospital.DicomStore: is missing or empty; copy it",
        "./google.json:6:9: warning: GoogleCloudPlatform.Accounts.hospital.Projet: unknown key, which is ignored; did you mean Project?",
        "./google.json:9:9: warning: GoogleCloudPlatform.Accounts.hospital.serviceaccountfile: is taken for ServiceAccountFile; write it so",
        "./google.json:11:7: error: GoogleCloudPlatform.Accounts.b.c: is not an object; use {",
    ] {
        assert!(
            run.out.lines().any(|line| line.starts_with(expected)),
            "{expected}\n  is not in\n{}",
            run.out
        );
    }
    assert!(run.out.contains("\nhospital  cannot be used: correct the errors above\n"), "{}", run.out);
    assert!(run.out.ends_with("\n4 things are wrong, with 3 warnings.\n"), "{}", run.out);
}

#[test]
fn what_the_dicomweb_plugin_is_told_counts_too() {
    let in_database = json!({"DicomWeb": {"Enable": false, "ServersInDatabase": true}});
    let stage = Stage::new().with(&in_database);
    let run = stage.check(&[]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(!run.out.contains("ServersInDatabase"), "the gateway gives the token to nobody: {}", run.out);
    let stage = stage.with(&json!({"GoogleCloudPlatform": {"Gateway": false}}));
    let run = stage.check(&[]);
    assert_eq!(run.code, 1, "{run:?}");
    for expected in [
        "error: DicomWeb.Enable: is false, so that no account can be used; set it to true",
        "warning: DicomWeb.ServersInDatabase: is true: the DICOMweb plugin writes every token in clear",
    ] {
        let said = |line: &str| line.contains("orthanc.json:") && line.contains(expected);
        assert!(run.out.lines().any(said), "{expected}\n  is not in\n{}", run.out);
    }
}

#[test]
fn direct_transfers_are_warned_about_and_need_a_ca() {
    let open = "warning: GoogleCloudPlatform.Gateway: is false for \"my-google\": every user of Orthanc's REST API can read and delete";
    let without_ca = "error: HttpsCACertificates: is empty, and Gateway is false for \"my-google\"";
    for (patch, expected) in [
        (json!({}), [false, false]),
        (json!({"GoogleCloudPlatform": {"Gateway": false}}), [true, false]),
        (json!({"GoogleCloudPlatform": {"Gateway": false}, "HttpsCACertificates": ""}), [true, true]),
        (json!({"HttpsCACertificates": ""}), [false, false]),
        (
            json!({
                "GoogleCloudPlatform": {"Gateway": false}, "HttpsCACertificates": "", "HttpsVerifyPeers": false,
            }),
            [true, false],
        ),
    ] {
        let stage = Stage::new().with(&patch);
        let run = stage.check(&[]);
        let said = [open, without_ca].map(|words| run.out.contains(words));
        assert_eq!(said, expected, "{patch}: {}", run.out);
    }
}

#[test]
fn an_account_alone() {
    let stage =
        Stage::new().with(&json!({"GoogleCloudPlatform": {"Accounts": {"broken": {"Project": "p"}}}}));
    let (code, document) = stage.check_json(&[]);
    assert_eq!(code, 1);
    let account = |name| {
        let accounts = document["accounts"].as_array().unwrap();
        accounts.iter().find(|account| account["name"] == name).unwrap()
    };
    assert_eq!(*account("broken"), json!({"name": "broken", "store": null, "steps": [], "ok": false}));
    assert_eq!(account("my-google")["ok"], true, "{document}");

    let (code, document) = stage.check_json(&["--account", "my-google"]);
    assert_eq!(code, 0, "the others' mistakes do not count: {document}");
    assert_eq!(document["findings"], json!([]));
    assert_eq!(document["accounts"].as_array().unwrap().len(), 1);

    let (code, document) = stage.check_json(&["--account", "broken"]);
    assert_eq!((code, &document["ok"]), (1, &json!(false)));
    let finding = &document["findings"][0];
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["path"], "GoogleCloudPlatform.Accounts.broken.Location");
    assert!(finding["line"].as_u64().unwrap() > 1 && finding["column"].as_u64().unwrap() > 1, "{finding}");
}

#[test]
fn what_cannot_be_read_is_another_exit_code() {
    let stage = Stage::new();
    let broken = stage.path("broken.json");
    fs::write(&broken, "{\n  \"A\": 1\n  \"B\": 2\n}").unwrap();
    let broken = broken.to_str().unwrap().to_owned();
    for (arguments, said) in [
        (&["check", "/nowhere/orthanc.json"][..], "/nowhere/orthanc.json: it cannot be read"),
        (&["check", &broken], "broken.json:3:3: a comma is missing before this"),
        (&["check", &broken, &broken], "a comma is missing"),
        (
            &["check", "files/orthanc.json", "--account", "x"],
            "there is no account `x`; use one of: my-google",
        ),
        (&["check", "files/orthanc.json", "files/orthanc.json"], "stands in files/orthanc.json:"),
        (&["check", "--colour"], "--colour"),
        (&["token", "x", "--config", "files/orthanc.json"], "there is no account `x`"),
        (&["token"], "<NAME>"),
        (&["chek"], "check"),
        (&[], "Usage"),
    ] {
        let run = stage.run(arguments);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{arguments:?}: {run:?}");
        assert!(run.err.contains(said), "{arguments:?}: {}", run.err);
    }
    let run = stage.run(&["check", "--json", &broken]);
    assert_eq!(run.code, 2);
    let document: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(document["ok"], false);
    assert!(document["error"].as_str().unwrap().contains("broken.json:3:3"), "{document}");
}

#[test]
fn every_file_that_cannot_be_read_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.json"), "{\n  \"A\": 1\n  \"B\": 2\n}").unwrap();
    fs::write(folder.path().join("b.json"), "{\"C\": yes}").unwrap();
    let arguments = ["check", "a.json", "b.json", "missing.json"];
    let said = run(&arguments, &[], folder.path());
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
    let lines: Vec<_> = said.err.lines().collect();
    assert_eq!(lines.len(), 3, "{said:?}");
    for (line, expected) in
        lines.iter().zip(["a.json:3:3: a comma", "b.json:1:7: this is", "missing.json: it"])
    {
        assert!(line.starts_with(&format!("orthanc-gcp: {expected}")), "{said:?}");
    }
    let said = run(&[&arguments[..], &["--json"]].concat(), &[], folder.path());
    let document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let findings = document["findings"].as_array().unwrap();
    let place = |finding: &serde_json::Value| ["file", "line", "column"].map(|key| finding[key].clone());
    assert_eq!(
        findings.iter().map(place).collect::<Vec<_>>(),
        [
            [json!("a.json"), json!(3), json!(3)],
            [json!("b.json"), json!(1), json!(7)],
            [json!("missing.json"), json!(null), json!(null)]
        ]
    );
    assert!(findings[0]["text"].as_str().unwrap().starts_with("a comma is missing"), "{document}");
    assert_eq!((said.code, &document["ok"]), (2, &json!(false)));
}

#[test]
fn a_configuration_without_an_account_is_not_well() {
    let stage = Stage::new().with(&json!({"GoogleCloudPlatform": null}));
    let run = stage.check(&[]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.out.contains("GoogleCloudPlatform.Accounts: names no account; add one"), "{}", run.out);
}

#[test]
fn a_credential_file_in_the_configuration_folder_is_named_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC";
    let key = json!({"type": "service_account", "client_email": "x@y", "private_key": secret}).to_string();
    let account = json!({"Project": "p", "Location": "l", "Dataset": "d", "DicomStore": "s",
        "AccessToken": "none"});
    let google = json!({"GoogleCloudPlatform": {"Accounts": {"a": account}}}).to_string();
    fs::write(folder.path().join("google.json"), google).unwrap();
    fs::write(folder.path().join("key.json"), &key).unwrap();
    let said = run(&["check", ".", "--account", "a"], &[], folder.path());
    let expected = "error: private_key: belongs to a Google credential file, which Orthanc has read";
    let line = said.out.lines().find(|line| line.contains(expected)).unwrap_or_default();
    assert!(said.code == 1 && line.starts_with("./key.json:1:"), "{said:?}");

    // Two of them keep Orthanc from starting.
    fs::write(folder.path().join("user.json"), r#"{"type": "authorized_user", "refresh_token": "1//x"}"#)
        .unwrap();
    let twice = run(&["check", "."], &[], folder.path());
    let expected = "./user.json:1:29: `refresh_token` belongs to a Google credential file";
    assert!(twice.code == 2 && twice.err.contains(expected), "{twice:?}");
    for said in [&said, &twice] {
        assert!(!said.out.contains(secret) && !said.err.contains(secret), "{said:?}");
        assert!(!said.out.contains("1//x") && !said.err.contains("1//x"), "{said:?}");
    }
}

#[test]
fn a_section_of_another_name_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let text = "{\n  \"Name\": \"site\",\n  \"GoogleCloudPlattform\": {\"Accounts\": {}}\n}";
    fs::write(folder.path().join("orthanc.json"), text).unwrap();
    let said = run(&["check", "orthanc.json"], &[], folder.path());
    let expected = "orthanc.json:3:3: error: GoogleCloudPlattform: is not a section that anything reads; write GoogleCloudPlatform";
    assert!(said.code == 1 && said.out.starts_with(expected), "{said:?}");
    assert!(said.out.ends_with("\n1 thing is wrong.\n"), "{said:?}");
}

#[test]
fn a_name_does_nothing_to_the_terminal() {
    let name = "a\nb\u{1b}[2J";
    let mut account = json!({"Project": "p", "Location": "l", "Dataset": "d", "DicomStore": "s"});
    account["AccessToken"] = json!("none");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("e\u{1b}[2J.json");
    let document = json!({"GoogleCloudPlatform": {"Accounts": {name: account}}});
    fs::write(&file, document.to_string()).unwrap();
    let file = file.to_str().unwrap();
    for (arguments, shown) in [
        (&["check", file][..], r"/e\u{1b}[2J.json:1:"),
        (&["check", file], r"GoogleCloudPlatform.Accounts.a\nb\u{1b}[2J: cannot be the name"),
        (&["check", file], "\na\\nb\\u{1b}[2J  cannot be used"),
        (
            &["check", file, "--account", "c\u{1b}"],
            r"there is no account `c\u{1b}`; use one of: a\nb\u{1b}[2J",
        ),
        (
            &["token", name, "--config", file],
            r"GoogleCloudPlatform.Accounts.a\nb\u{1b}[2J: cannot be the name",
        ),
    ] {
        let said = run(arguments, &[], folder.path());
        let all = format!("{}{}", said.out, said.err);
        assert!(!all.contains('\u{1b}') && all.contains(shown), "{shown}: {all}");
    }
}

#[test]
fn secrets_of_a_configuration_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"GoogleCloudPlatform": {"Accounts": {"a": {"Project": "p", "Location": "l", "Dataset": "d",
        "DicomStore": "s", "AuthorizedUserClientId": "i", "AuthorizedUserClientSecret": "GOCSPX-hush-hush",
        "AuthorizedUserRefreshToken": "${REFRESH}" }, }, }, "HttpProxy": "bob:hunter2hunter2@127.0.0.1:1" ! }"#;
    let environment = [("REFRESH".to_owned(), "1//hush-hush-hush".to_owned())];
    for text in [text.to_owned(), text.replace('!', "")] {
        fs::write(folder.path().join("orthanc.json"), text).unwrap();
        let run = run(&["check", "orthanc.json"], &environment, folder.path());
        assert_ne!(run.code, 0);
        for secret in ["hush", "hunter2"] {
            assert!(!run.out.contains(secret) && !run.err.contains(secret), "{run:?}");
        }
    }
}
