//! What wrong input gets: Orthanc starts, the other accounts work, and the log says once where, what, and what to do.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use orthanc_testbed::merge;
use serde_json::{Value, json};

use crate::stage::{SOON, Scene, lines_at};

/// A mistake in an account, and the only lines that it may cause: each the key's path below `Accounts`, and words that
/// have to be there.
struct Mistake {
    name: String,
    account: Value,
    lines: Vec<(String, Vec<String>)>,
}

/// Collects mistakes, each with an account of its own.
struct Mistakes<'a> {
    scene: &'a Scene,
    all: Vec<Mistake>,
}

impl Mistakes<'_> {
    /// An account with `patch` over the service account's; `key` is at fault.
    fn account(&mut self, name: &str, patch: &Value, key: &str, says: &[&str]) {
        let mut account = self.scene.service_account();
        merge(&mut account, patch);
        let says = says.iter().map(|&text| text.to_owned()).collect();
        self.all.push(Mistake {
            name: name.to_owned(),
            account,
            lines: vec![(format!("{name}{key}"), says)],
        });
    }

    /// An account whose credential is the file at `path`.
    fn path(&mut self, name: &str, option: &str, path: &Path, says: &[&str]) {
        let mut account = self.scene.account(&json!({}));
        account[option] = json!(path);
        let shown = path.display().to_string();
        let says = [shown.as_str()].iter().chain(says).map(|&text| text.to_owned()).collect();
        let lines = vec![(format!("{name}.{option}"), says)];
        self.all.push(Mistake { name: name.to_owned(), account, lines });
    }

    /// An account whose credential is a file with this content.
    fn file(&mut self, name: &str, option: &str, content: impl AsRef<[u8]>, says: &[&str]) {
        let path = self.scene.write(&format!("{name}.json"), content);
        self.path(name, option, &path, says);
    }
}

fn mistakes(scene: &Scene) -> Vec<Mistake> {
    let mut mistakes = Mistakes { scene, all: Vec::new() };
    files(&mut mistakes);
    fields(&mut mistakes);
    keys(&mut mistakes);
    mistakes.all
}

fn files(mistakes: &mut Mistakes<'_>) {
    let scene = mistakes.scene;
    let absent = scene.path("absent.json");
    mistakes.path(
        "absent",
        "ServiceAccountFile",
        &absent,
        &["No such file", "put the file there, or correct the path"],
    );
    mistakes.path("absent-user", "AuthorizedUserFile", &scene.path("no.json"), &["No such file"]);
    mistakes.path(
        "relative",
        "ServiceAccountFile",
        Path::new("key.json"),
        &["No such file", "a relative one starts at Orthanc's working directory"],
    );
    let unreadable = scene.write("unreadable.json", scene.emulator.service_account_key_json());
    fs::set_permissions(&unreadable, fs::Permissions::from_mode(0o000)).unwrap();
    mistakes.path(
        "unreadable",
        "ServiceAccountFile",
        &unreadable,
        &["Permission denied", "let the user that runs Orthanc read it"],
    );
    let folder = scene.path("folder.json");
    fs::create_dir(&folder).unwrap();
    mistakes.path(
        "folder",
        "ServiceAccountFile",
        &folder,
        &["no regular file", "give the path of a JSON file"],
    );

    let expected = "it has to be the JSON file of a credential of type `service_account`";
    for (name, content, what) in [
        ("empty", "", "is empty"),
        ("blank", " \n\t", "is empty"),
        ("no-json", "hospital key\n", "is not JSON"),
        (
            "cut-json",
            r#"{"type": "service_account", "private_key": "#,
            "breaks off in the middle of its JSON",
        ),
        ("array", "[]", "holds an array, not a JSON object"),
        ("string", r#""key""#, "holds a string, not a JSON object"),
    ] {
        mistakes.file(name, "ServiceAccountFile", content, &[what, expected]);
    }
    mistakes.file("binary", "ServiceAccountFile", [0xff, 0xfe, 0x00, 0x7b], &["is not JSON", expected]);
    mistakes.file(
        "empty-user",
        "AuthorizedUserFile",
        "",
        &["is empty", "it has to be the JSON file of a credential of type `authorized_user`"],
    );

    mistakes.file(
        "user-as-service",
        "ServiceAccountFile",
        scene.emulator.authorized_user_json(),
        &["of type `authorized_user`", "name the file with the option AuthorizedUserFile instead of"],
    );
    mistakes.file(
        "service-as-user",
        "AuthorizedUserFile",
        scene.emulator.service_account_key_json(),
        &["of type `service_account`", "name the file with the option ServiceAccountFile instead of"],
    );
    mistakes.file(
        "external",
        "ServiceAccountFile",
        r#"{"type": "external_account", "audience": "//iam"}"#,
        &["of type `external_account`", "AuthorizedUserFile takes `authorized_user`"],
    );
    // What `gcloud auth print-access-token --format json` writes today.
    let token = json!({"token": scene.emulator.mint_token("x", SOON).unwrap()}).to_string();
    for (name, option) in [("print", "AuthorizedUserFile"), ("print-service", "ServiceAccountFile")] {
        mistakes.file(
            name,
            option,
            &token,
            &["access token alone", "application_default_credentials.json with AuthorizedUserFile"],
        );
    }
    mistakes.file(
        "client",
        "AuthorizedUserFile",
        r#"{"installed": {"client_id": "i"}}"#,
        &["OAuth client", "gcloud auth application-default login --client-id-file"],
    );
}

/// Each mandatory field missing, empty, and of the wrong type; and keys that are none.
fn fields(mistakes: &mut Mistakes<'_>) {
    let service: Value = serde_json::from_str(&mistakes.scene.emulator.service_account_key_json()).unwrap();
    let user: Value = serde_json::from_str(&mistakes.scene.emulator.authorized_user_json()).unwrap();
    let remedy = "create the file again with Google's tools";
    let wrongs = [
        ("missing", Value::Null, "lacks `FIELD`"),
        ("empty", json!(""), "holds an empty `FIELD`"),
        ("typed", json!(42), "holds a number as `FIELD`, not a string"),
    ];
    for (option, whole, fields) in [
        ("ServiceAccountFile", &service, ["client_email", "private_key_id", "private_key"]),
        ("AuthorizedUserFile", &user, ["client_id", "client_secret", "refresh_token"]),
    ] {
        for field in fields {
            for (kind, value, says) in &wrongs {
                let mut content = whole.clone();
                merge(&mut content, &json!({field: value}));
                let says = says.replace("FIELD", field);
                mistakes.file(&format!("{kind}-{field}"), option, content.to_string(), &[&says, remedy]);
            }
        }
    }
    let no_block = "there is no whole `-----BEGIN PRIVATE KEY-----` block";
    for (name, key, what) in [
        ("pem-text", "my key".to_owned(), no_block),
        ("pem-cut", "-----BEGIN PRIVATE KEY-----\nMIIE".to_owned(), no_block),
        ("pem-public", pem("PUBLIC KEY", "AAAA"), no_block),
        ("pem-garbage", pem("PRIVATE KEY", "AAAA"), "its content is damaged"),
        ("pem-other", pem("EC PRIVATE KEY", "AAAA"), "another algorithm"),
        ("pem-elliptic", rcgen::KeyPair::generate().unwrap().serialize_pem(), "another algorithm"),
    ] {
        let mut content = service.clone();
        content["private_key"] = json!(key);
        let says = ["`private_key` that is no RSA key in PEM", what, remedy];
        mistakes.file(name, "ServiceAccountFile", content.to_string(), &says);
    }
}

fn pem(label: &str, body: &str) -> String {
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// Keys of the configuration itself.
fn keys(mistakes: &mut Mistakes<'_>) {
    for (name, account) in [
        ("text-account", json!("key.json")),
        ("list-account", json!(["key.json"])),
        ("false-account", json!(false)),
    ] {
        let says = ["is not an object", "use { \"Project\": "].map(str::to_owned).to_vec();
        mistakes.all.push(Mistake { name: name.to_owned(), account, lines: vec![(name.to_owned(), says)] });
    }
    for key in ["Project", "Location", "Dataset", "DicomStore"] {
        let remedy = "copy it from the store's full name";
        for (kind, value, what) in [
            ("missing", Value::Null, "is missing or empty"),
            ("empty", json!(""), "is missing or empty"),
            ("typed", json!(7), "is not a string"),
        ] {
            mistakes.account(
                &format!("{kind}-{key}"),
                &json!({key: value}),
                &format!(".{key}"),
                &[what, remedy],
            );
        }
    }
    mistakes.account(
        "slashed-Dataset",
        &json!({"Dataset": "datasets/d"}),
        ".Dataset",
        &["`datasets/d` holds a character that no such name has"],
    );
    mistakes.account(
        "no-credential",
        &json!({"ServiceAccountFile": null}),
        "",
        &["has no credential", "add ServiceAccountFile, or AuthorizedUserFile"],
    );
    mistakes.account(
        "typed-credential",
        &json!({"ServiceAccountFile": 1}),
        ".ServiceAccountFile",
        &["is not a string", "give the path"],
    );
    mistakes.account(
        "no-address",
        &json!({"TokenUri": "token.example"}),
        ".TokenUri",
        &["`token.example` is no address", "leave it out for Google's"],
    );
    for key in ["AuthorizedUserClientId", "AuthorizedUserClientSecret", "AuthorizedUserRefreshToken"] {
        let mut account = mistakes.scene.user_strings();
        merge(&mut account, &json!({key: null}));
        let says = ["is missing or empty, but the other two strings need it", "copy it from the JSON file"];
        let lines = vec![(format!("without-{key}.{key}"), says.map(str::to_owned).to_vec())];
        mistakes.all.push(Mistake { name: format!("without-{key}"), account, lines });
    }
    let says = ["cannot be the name of a DICOMweb server", "use letters, digits, `-` and `_`"];
    mistakes.account("a/b", &json!({}), "", &says);
}

/// The errors that speak of `path` below `Accounts`, and of nothing below that.
fn errors_of(log: &str, path: &str) -> Vec<String> {
    let path = format!("GoogleCloudPlatform.Accounts.{path}: ");
    lines_at(log, 'E').into_iter().filter(|line| line.contains(&path)).collect()
}

#[test]
fn a_mistake_costs_its_account_and_one_line() {
    let scene = Scene::new();
    let mistakes = mistakes(&scene);
    let mut accounts = json!({"good": scene.service_account()});
    for Mistake { name, account, .. } in &mistakes {
        accounts[name] = account.clone();
    }
    // Files are read again every second, and --verbose shows that they were.
    let orthanc = scene
        .orthanc(&accounts)
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
    stage.stop();
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
        scene.orthanc(&json!({"good": scene.service_account()})).configuration(&json!({"HttpTimeout": 60}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("good");
    let log = stage.orthanc.log_lines();
    let says =
        "HttpTimeout: ends every transfer with Google after a minute or less; raise it, or give the account";
    let warned = log.iter().filter(|line| line.starts_with('W') && line.contains(says));
    assert_eq!(warned.count(), 1, "{log:#?}");
}
