//! The mistakes that cost an account, and what the log has to say of each.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use orthanc_testbed::merge;
use serde_json::{Value, json};

use crate::stage::{SOON, Scene};

/// A mistake in an account, and the only lines that it may cause: each the key's path below `Accounts`, and words that
/// have to be there.
pub struct Mistake {
    pub name: String,
    pub account: Value,
    pub lines: Vec<(String, Vec<String>)>,
}

/// Collects them, each with an account of its own.
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

/// All of them.
pub fn mistakes(scene: &Scene) -> Vec<Mistake> {
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

    let expected = "it has to be the JSON file of a credential";
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
        &["is empty", "it has to be the JSON file of a credential"],
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
        &["of type `external_account`", "with the option CredentialsFile instead of ServiceAccountFile"],
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
        ("ServiceAccountFile", &service, &["client_email", "private_key"][..]),
        ("AuthorizedUserFile", &user, &["client_id", "client_secret", "refresh_token"]),
    ] {
        for field in fields {
            for (kind, value, says) in &wrongs {
                let mut content = whole.clone();
                merge(&mut content, &json!({*field: value}));
                let says = says.replace("FIELD", field);
                mistakes.file(&format!("{kind}-{field}"), option, content.to_string(), &[&says, remedy]);
            }
        }
    }
    for (option, whole) in [("ServiceAccountFile", &service), ("AuthorizedUserFile", &user)] {
        let mut content = whole.clone();
        content["token_uri"] = json!("oauth2.googleapis.com/token");
        let says = ["holds a `token_uri` that is no address of an HTTP server", remedy];
        mistakes.file(&format!("address-{option}"), option, content.to_string(), &says);
    }
    let no_block = "there is no whole `-----BEGIN PRIVATE KEY-----` block";
    for (name, key, what) in [
        ("pem-text", "my key".to_owned(), no_block),
        ("pem-cut", "-----BEGIN PRIVATE KEY-----\nMIIE".to_owned(), no_block),
        ("pem-public", pem("PUBLIC KEY", "AAAA"), "it is the public key"),
        ("pem-garbage", pem("PRIVATE KEY", "AAAA"), "its content is damaged"),
        ("pem-other", pem("EC PRIVATE KEY", "AAAA"), "it is an EC key"),
        ("pem-elliptic", rcgen::KeyPair::generate().unwrap().serialize_pem(), "it is an EC key"),
    ] {
        let mut content = service.clone();
        content["private_key"] = json!(key);
        let remedy = "create a new key with `gcloud iam service-accounts keys create`";
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
    let whole = "projects/p/locations/l/datasets/d/dicomStores/s";
    for (name, key, value, says) in [
        ("slashed", "Dataset", "datasets/d", "holds more than the dataset ID; write only `d`"),
        ("whole", "DicomStore", whole, "holds more than the DICOM store ID; write only `s`"),
        ("parent", "DicomStore", "..", "is `..`, which is not a DICOM store ID"),
        ("spaced", "Location", "europe west2", "holds a space, which is not allowed in a location"),
    ] {
        mistakes.account(&format!("{name}-{key}"), &json!({key: value}), &format!(".{key}"), &[says]);
    }
    mistakes.account(
        "no-credential",
        &json!({"ServiceAccountFile": null}),
        "",
        &["has no credential", "add ServiceAccountFile, CredentialsFile, MetadataServer"],
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
