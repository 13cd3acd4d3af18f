//! What wrong input gets: Orthanc starts, the other accounts work, and the log says once where, what, and what to do.

mod mistakes;

use std::{fs, os::unix::fs::PermissionsExt};

use orthanc_testbed::merge;
use serde_json::{Value, json};

use crate::stage::{Scene, lines_at};
use mistakes::Mistake;

/// The errors that speak of `path` below `Accounts`, and of nothing below that.
fn errors_of(log: &str, path: &str) -> Vec<String> {
    let path = format!("GoogleCloudPlatform.Accounts.{path}: ");
    lines_at(log, 'E').into_iter().filter(|line| line.contains(&path)).collect()
}

#[test]
fn a_mistake_costs_its_account_and_one_line() {
    let scene = Scene::new();
    let mistakes = mistakes::mistakes(&scene);
    let mut accounts = json!({"good": scene.service_account()});
    for Mistake { name, account, .. } in &mistakes {
        accounts[name] = account.clone();
    }
    // Files are read again every second, and --verbose shows that they were.
    let orthanc = scene
        .direct(&accounts)
        .configuration(&json!({"GoogleCloudPlatform": {"RefreshInterval": 1}}))
        .argument("--verbose")
        .bound_by_permissions();
    let stage = scene.start(orthanc);
    stage.wait_until_ready("good");
    assert_eq!(stage.search("good").0, 200);
    for (path, _) in mistakes.iter().flat_map(|mistake| &mistake.lines) {
        if path.ends_with("File") && !path.starts_with("typed-credential") {
            stage.wait_for(&[&format!("Accounts.{path}: attempt 3 failed as before")]);
        }
    }

    let log = stage.orthanc.log();
    for (path, says) in mistakes.iter().flat_map(|mistake| &mistake.lines) {
        let lines = errors_of(&log, path);
        assert_eq!(lines.len(), 1, "{path}: {lines:#?}");
        for said in says {
            assert!(lines[0].contains(said), "{path}: {said}\nis not in\n{}", lines[0]);
        }
    }
    // And not one more.
    assert_eq!(lines_at(&log, 'E').len(), mistakes.len(), "{:#?}", lines_at(&log, 'E'));
    assert_eq!(stage.servers().into_iter().collect::<Vec<_>>(), ["good"]);

    // What was missing may come later.
    stage.scene.emulator.write_service_account_key(&stage.scene.path("absent.json")).unwrap();
    stage.wait_until_ready("absent");
    assert_eq!(stage.search("absent").0, 200);
    stage.stop();
}

/// With these options beside a good account, the errors are exactly these, and it works all the same.
fn check_options(options: &Value, errors: &[&[&str]]) {
    let scene = Scene::new();
    let orthanc = scene
        .orthanc(&json!({"good": scene.service_account()}))
        .configuration(&json!({"GoogleCloudPlatform": options}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("good");
    assert_eq!(stage.search("good").0, 200);
    let lines = lines_at(&stage.orthanc.log(), 'E');
    assert_eq!(lines.len(), errors.len(), "{lines:#?}");
    for (line, parts) in lines.iter().zip(errors) {
        assert!(parts.iter().all(|part| line.contains(part)), "{line}\nlacks one of {parts:?}");
    }
}

#[test]
fn negative_seconds() {
    check_options(
        &json!({"Timeout": -1, "RefreshInterval": -5}),
        &[
            &["GoogleCloudPlatform.Timeout: is -1, not a whole number of seconds; use 60"],
            &["GoogleCloudPlatform.RefreshInterval: is -5, not a whole number of seconds; use 60"],
        ],
    );
}

#[test]
fn textual_seconds() {
    check_options(
        &json!({"Timeout": "soon", "RefreshInterval": "often"}),
        &[
            &["GoogleCloudPlatform.Timeout: is not a number of seconds; use 60"],
            &["GoogleCloudPlatform.RefreshInterval: is not a number of seconds; use 60"],
        ],
    );
}

/// Orthanc with this section starts, and says this one thing.
fn check_section(section: &Value, error: &str) {
    let scene = Scene::new();
    let orthanc = scene.orthanc(&json!({})).configuration(&json!({"GoogleCloudPlatform": section}));
    let stage = scene.start(orthanc);
    let line = stage.wait_for_line(error);
    assert_eq!(lines_at(&stage.orthanc.log(), 'E'), [line]);
    assert_eq!(stage.orthanc.get("/system").unwrap().status, 200);
}

#[test]
fn accounts_that_are_no_object() {
    check_section(
        &json!({"Accounts": ["hospital"]}),
        "GoogleCloudPlatform.Accounts: is not an object; use { \"NAME\": ",
    );
}

#[test]
fn a_section_that_is_no_object() {
    check_section(&json!("hospital"), "GoogleCloudPlatform: is not an object; use { \"Accounts\": ");
}

#[test]
fn what_can_be_lived_with_is_one_warning() {
    let scene = Scene::new();
    let public = scene.write("public.json", scene.emulator.service_account_key_json());
    fs::set_permissions(&public, fs::Permissions::from_mode(0o644)).unwrap();
    let user = scene.path("user.json");
    let with = |mut account: Value, patch: Value| {
        merge(&mut account, &patch);
        account
    };
    let service = || scene.service_account();
    let cases = [
        (
            "unknown",
            with(service(), json!({"DicomStor": "x"})),
            ".DicomStor: unknown key, which is ignored; did you mean DicomStore?",
        ),
        (
            "unlike",
            with(service(), json!({"Colour": "red"})),
            ".Colour: unknown key, which is ignored; remove it",
        ),
        (
            "case",
            with(
                scene.account(&json!({})),
                json!({"AuthorizedUserfile": user, "TokenUri": scene.emulator.token_url()}),
            ),
            ".AuthorizedUserfile: is taken for AuthorizedUserFile; write it so",
        ),
        (
            "both",
            with(service(), json!({"AuthorizedUserFile": user})),
            ".ServiceAccountFile: is used, and AuthorizedUserFile is ignored; keep one credential",
        ),
        (
            "public",
            with(service(), json!({"ServiceAccountFile": public})),
            &format!(
                ".ServiceAccountFile: {} can be read by every user of this machine; take that right away with `chmod o-r`",
                public.display()
            ),
        ),
    ];
    let mut accounts = json!({});
    for (name, account, _) in &cases {
        accounts[name] = account.clone();
    }
    let base_url = scene.emulator.healthcare_base_url("v1beta1");
    let orthanc = scene.orthanc(&accounts).configuration(&json!({"GoogleCloudPlatform": {
        "BaseUrl": base_url.trim_end_matches('/'), "RefreshIntervall": 9,
    }}));
    let stage = scene.start(orthanc);
    for (name, _, _) in &cases {
        stage.wait_until_ready(name);
        assert_eq!(stage.search(name).0, 200, "{name}");
    }
    let log = stage.orthanc.log();
    assert_eq!(lines_at(&log, 'E'), [""; 0]);
    let mut warnings = lines_at(&log, 'W');
    warnings.retain(|line| line.contains(" GoogleCloudPlatform."));
    let mut expected: Vec<String> =
        cases.iter().map(|(name, _, line)| format!("GoogleCloudPlatform.Accounts.{name}{line}")).collect();
    expected.push(format!("GoogleCloudPlatform.BaseUrl: lacks its last slash; `{base_url}` is used"));
    expected.push(
        "GoogleCloudPlatform.RefreshIntervall: unknown key, which is ignored; did you mean RefreshInterval?"
            .to_owned(),
    );
    for expected in &expected {
        let found: Vec<_> = warnings.iter().filter(|line| line.contains(expected.as_str())).collect();
        assert_eq!(found.len(), 1, "{expected}: {warnings:#?}");
    }
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
}

#[test]
fn timeouts_that_end_every_transfer() {
    let scene = Scene::new();
    let orthanc =
        scene.direct(&json!({"good": scene.service_account()})).configuration(&json!({"HttpTimeout": 60}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("good");
    let log = stage.orthanc.log_lines();
    let says =
        "HttpTimeout: ends every transfer with Google after a minute or less; raise it, or give the account";
    let warned = log.iter().filter(|line| line.starts_with('W') && line.contains(says));
    assert_eq!(warned.count(), 1, "{log:#?}");
}

/// Names of accounts, each with whether Orthanc can route a path that has it as a segment.
const NAMES: [(&str, bool); 26] = [
    ("a", true),
    ("a b", true),
    (" a", true),
    ("\u{dc}bersee", true),
    ("a%41", true),
    ("a%5Cb", true),
    ("%2e%2e", true),
    ("%", true),
    ("..a", true),
    ("a..", true),
    (".a", true),
    ("a+b", true),
    ("a?b", true),
    ("a#b", true),
    ("a;b", true),
    ("a&b=c", true),
    ("a:b@c", true),
    ("*", true),
    ("a\\b", false),
    ("\\a", false),
    ("a\\", false),
    ("...", false),
    ("..", false),
    (".", false),
    ("a//b", false),
    ("", false),
];

#[test]
fn names_that_orthanc_cannot_route_are_rejected_and_all_others_work() {
    for gateway in [false, true] {
        let scene = Scene::new();
        let mut account = scene.service_account();
        account["Gateway"] = json!(gateway);
        let accounts: Value = NAMES.iter().map(|(name, _)| ((*name).to_owned(), account.clone())).collect();
        let orthanc = scene.orthanc(&accounts);
        let stage = scene.start(orthanc);
        let working: Vec<_> = NAMES.iter().filter(|(_, works)| *works).map(|(name, _)| *name).collect();
        stage.wait_until("every name that works is a server", || stage.servers().len() == working.len());
        for name in &working {
            let segment = name.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
            assert_eq!(stage.search(&segment).0, 200, "{name}, gateway {gateway}");
        }
        let errors = lines_at(&stage.orthanc.log(), 'E');
        assert!(
            errors.iter().all(|line| line.contains("cannot be the name of a DICOMweb server")),
            "{errors:#?}"
        );
        assert_eq!(errors.len(), NAMES.len() - working.len(), "{errors:#?}");
    }
}

#[test]
fn a_credential_file_in_orthancs_configuration_folder_is_reported() {
    let scene = Scene::new();
    let key = fs::read_to_string(scene.path("key.json")).unwrap();
    let orthanc =
        scene.orthanc(&json!({"good": scene.service_account()})).configuration_text("key.json", &key);
    let stage = scene.start(orthanc);
    stage.wait_until_ready("good");
    let errors = lines_at(&stage.orthanc.log(), 'E');
    assert!(
        errors.len() == 1
            && errors[0].contains("private_key: belongs to a Google credential file")
            && errors[0].contains("move the credential file to another folder, such as /etc/orthanc-gcp"),
        "{errors:#?}"
    );
}

#[test]
fn a_misspelled_section_is_reported() {
    let scene = Scene::new();
    let mut section = scene.configuration(&json!({"good": scene.service_account()}));
    let misspelled = section["GoogleCloudPlatform"].take();
    let orthanc = scene
        .orthanc(&json!({}))
        .configuration(&json!({"GoogleCloudPlatform": null, "GoogleCloudPlattform": misspelled}));
    let stage = scene.start(orthanc);
    stage.wait_for_line(
        "GoogleCloudPlattform: is not a section that anything reads; write GoogleCloudPlatform",
    );
    assert_eq!(stage.orthanc.get("/system").unwrap().status, 200);
}
