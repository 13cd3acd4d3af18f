//! The same credentials in the hands of google-auth, Google's own library for Python: what the pretend Google sees of both
//! must agree in every fact, apart from a list of intended differences. Needs Python 3 with `venv` and pip; without
//! them it fails.

mod intended;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use google_credentials::{Credential, Impersonation, Source};
use google_emulator::{SourceCredentials, SubjectForm, SubjectSource};
use serde_json::{Value, json};

use crate::{comparison::Comparison, facts::Attempt, stage::Stage};
use intended::INTENDED;

const PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
const HEALTHCARE: &str = "https://www.googleapis.com/auth/cloud-healthcare";
/// The emulator's own tests use the same packages, and the same folder for them.
const REQUIREMENTS: &str = include_str!("../../../google-emulator/tests/requirements.txt");

#[test]
fn google_auth_asks_the_same() {
    let python = python();
    let mut stage = Stage::new().on_google().allowing_programs();
    let cases = cases(&stage);
    let theirs = ask_google_auth(&python, &stage, &cases);
    let mut comparison = Comparison::new(INTENDED);
    for case in &cases {
        let ours = case.ask_ours(&mut stage).facts();
        let answer = &theirs[&case.name];
        let second = |name: &str| answer[name].as_u64().unwrap();
        let theirs = Attempt {
            seen: answer["seen"].as_array().unwrap().clone(),
            token: answer["token"].as_str().unwrap().to_owned(),
            time: second("before")..=second("after"),
        };
        comparison.add(&case.name, &ours, &theirs.facts());
    }
    comparison.assert_as_intended();
}

/// One credential, for us and for them.
struct Case {
    name: String,
    source: Source,
    environment: Vec<(String, String)>,
    /// What google-auth calls it.
    kind: &'static str,
}

impl Case {
    fn ask_ours(&self, stage: &mut Stage) -> Attempt {
        for (name, value) in &self.environment {
            stage.set_env(name, value);
        }
        let start = stage.seconds();
        let grant = stage.fetch(&self.source).unwrap_or_else(|failure| panic!("{}: {failure}", self.name));
        let end = stage.seconds();
        for (name, _) in &self.environment {
            stage.set_env(name, "");
        }
        Attempt {
            seen: stage.emulator.requests().iter().map(|seen| serde_json::to_value(seen).unwrap()).collect(),
            token: grant.token.value.expose().to_owned(),
            time: start..=end,
        }
    }

    fn for_google_auth(&self) -> Value {
        let (file, account) = match &self.source.credential {
            Credential::ServiceAccountFile(path)
            | Credential::AuthorizedUserFile(path)
            | Credential::CredentialsFile(path) => (Some(path), None),
            Credential::MetadataServer(account) => (None, account.as_ref()),
            Credential::ApplicationDefault | Credential::AuthorizedUser { .. } => (None, None),
        };
        let environment: serde_json::Map<_, _> =
            self.environment.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        // A machine's scopes are its own unless others are wished for, and so are a login's.
        let unless_said =
            if matches!(self.kind, "metadata" | "user") { Value::Null } else { json!([PLATFORM]) };
        json!({
            "name": self.name,
            "kind": self.kind,
            "file": file,
            "account": account,
            "env": environment,
            "scopes": self.source.scopes.as_ref().map_or(unless_said, |scopes| json!(scopes)),
        })
    }
}

fn cases(stage: &Stage) -> Vec<Case> {
    let emulator = &stage.emulator;
    let mut cases = Vec::new();
    let mut add = |name: &str, kind, source| {
        cases.push(Case { name: name.to_owned(), source, environment: Vec::new(), kind });
    };
    let files = emulator.write_files(&stage.path("files"), &[]).unwrap();
    let key = stage.source(Credential::ServiceAccountFile(files.service_account.clone()));
    let two = Some(vec![HEALTHCARE.to_owned(), "openid".to_owned()]);
    add("key", "service_account", key.clone());
    add(
        "key, PKCS#1",
        "service_account",
        stage.source(Credential::ServiceAccountFile(files.service_account_pkcs1)),
    );
    add("key, two scopes", "service_account", Source { scopes: two.clone(), ..key });
    let user = Source {
        token_uri: Some(emulator.token_url()),
        ..stage.source(Credential::AuthorizedUserFile(files.authorized_user))
    };
    add("login", "user", user.clone());
    add("login, scopes", "user", Source { scopes: Some(vec![PLATFORM.to_owned()]), ..user });
    add("machine", "metadata", stage.source(Credential::MetadataServer(None)));
    let named = Credential::MetadataServer(Some(emulator.metadata_service_account()));
    add("machine, by name", "metadata", stage.source(named));
    add(
        "machine, scopes",
        "metadata",
        Source { scopes: two.clone(), ..stage.source(Credential::MetadataServer(None)) },
    );
    let impersonating = Source {
        impersonation: Impersonation::parse(&emulator.impersonation_target()),
        iam_uri: Some(format!("{}/", emulator.https_url())),
        ..stage.source(Credential::MetadataServer(None))
    };
    add("machine, impersonating", "impersonating_machine", impersonating);
    for (name, kind, credential) in credential_files(stage) {
        let path = stage.path(&format!("{name}.json"));
        credential.write(&path).unwrap();
        add(name, kind, stage.source(Credential::CredentialsFile(path)));
    }
    let mut berlin: Value = serde_json::from_str(&emulator.service_account_key_json()).unwrap();
    berlin["universe_domain"] = json!("apis-berlin.example");
    let path = stage.path("berlin.json");
    fs::write(&path, berlin.to_string()).unwrap();
    add(
        "key of another universe",
        "service_account",
        Source {
            scopes: two,
            universe_domain: "apis-berlin.example".to_owned(),
            ..stage.source(Credential::ServiceAccountFile(path))
        },
    );

    let aws = emulator.aws_user_credentials();
    let role = emulator.aws_role_credentials();
    for (name, credentials) in [("AWS, user's keys", aws), ("AWS, role's keys", role)] {
        let environment = [
            ("AWS_ACCESS_KEY_ID", Some(credentials.access_key_id)),
            ("AWS_SECRET_ACCESS_KEY", Some(credentials.secret_access_key)),
            ("AWS_SESSION_TOKEN", credentials.session_token),
            ("AWS_REGION", Some(emulator.aws_region().to_owned())),
        ];
        let environment = environment.into_iter();
        let environment = environment.filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let source = stage.source(Credential::CredentialsFile(stage.path("AWS.json")));
        cases.push(Case { name: name.to_owned(), source, environment: environment.collect(), kind: "aws" });
    }
    let named = |path: &Path| vec![("GOOGLE_APPLICATION_CREDENTIALS".to_owned(), path.display().to_string())];
    for (name, environment) in [
        ("default, key", named(&files.service_account)),
        ("default, federated", named(&stage.path("file, text.json"))),
        ("default, workforce login", named(&stage.path("workforce login.json"))),
        ("default, machine", vec![("HOME".to_owned(), stage.path("").display().to_string())]),
    ] {
        let source = stage.source(Credential::ApplicationDefault);
        cases.push(Case { name: name.to_owned(), source, environment, kind: "default" });
    }
    cases
}

/// A credential's file of every newer kind.
fn credential_files(stage: &Stage) -> Vec<(&'static str, &'static str, google_emulator::CredentialFile)> {
    let emulator = &stage.emulator;
    let account = |source: &SubjectSource| emulator.external_account(source);
    let text = SubjectSource::TextFile(stage.subject(SubjectForm::Text));
    let workforce = SubjectSource::WorkforceFile(stage.subject(SubjectForm::Workforce));
    let command = stage.subject(SubjectForm::Executable).display().to_string();
    let program = SubjectSource::Executable { command, output_file: None };
    let session = emulator.workforce_session();
    let client = account(&workforce)
        .set("client_id", session.client_id.clone().into())
        .set("client_secret", session.client_secret.clone().into());
    let impersonated = |source| emulator.impersonated_service_account(source);
    let by_user = impersonated(SourceCredentials::AuthorizedUser);
    let mut user = by_user.json()["source_credentials"].clone();
    user["token_uri"] = emulator.token_url().into();
    vec![
        ("file, text", "identity_pool", account(&text)),
        ("file, JSON", "identity_pool", account(&SubjectSource::JsonFile(stage.subject(SubjectForm::Json)))),
        ("file, SAML", "identity_pool", account(&SubjectSource::SamlFile(stage.subject(SubjectForm::Saml)))),
        ("file, workforce", "identity_pool", account(&workforce)),
        ("file, workforce with a client", "identity_pool", client),
        ("file, impersonating", "identity_pool", account(&text).impersonating().token_lifetime_seconds(1800)),
        ("URL, text", "identity_pool", account(&SubjectSource::TextUrl)),
        ("URL, JSON", "identity_pool", account(&SubjectSource::JsonUrl).impersonating()),
        ("program", "pluggable", account(&program)),
        ("program, impersonating", "pluggable", account(&program).impersonating()),
        ("AWS", "aws", account(&SubjectSource::Aws)),
        ("AWS, impersonating", "aws", account(&SubjectSource::Aws).impersonating()),
        ("workforce login", "workforce_user", emulator.external_account_authorized_user()),
        ("impersonated by a key", "impersonated", impersonated(SourceCredentials::ServiceAccount)),
        ("impersonated by a user", "impersonated", by_user.set("source_credentials", user)),
        (
            "impersonated with a delegate",
            "impersonated",
            impersonated(SourceCredentials::ServiceAccount).delegates(&[&emulator.impersonation_delegate()]),
        ),
    ]
}

fn ask_google_auth(python: &Path, stage: &Stage, cases: &[Case]) -> Value {
    let place = json!({
        "http": stage.emulator.http_url(),
        "https": stage.emulator.https_url(),
        "token_url": stage.emulator.token_url(),
        "ca": stage.emulator.ca_file(),
        "target": stage.emulator.impersonation_target(),
        "cases": cases.iter().map(Case::for_google_auth).collect::<Vec<_>>(),
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sources/google_auth.py");
    let host = stage.emulator.metadata_host();
    let mut command = Command::new(python);
    command
        .arg(script)
        .arg(place.to_string())
        .env_clear()
        .env("GCE_METADATA_HOST", host)
        .env("GCE_METADATA_IP", host);
    serde_json::from_slice(&run(&mut command)).unwrap()
}

/// The interpreter of a virtual environment with the pinned packages, made once and used again.
fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("google-emulator-oracles");
    let (python, stamp) = (folder.join("bin/python"), folder.join("requirements.txt"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
        return python;
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
    let wanted = folder.join("wanted.txt");
    fs::write(&wanted, REQUIREMENTS).unwrap();
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(&python).args(pip).arg(&wanted));
    // Last, so that an interrupted installation is begun again.
    fs::rename(wanted, stamp).unwrap();
    python
}

/// What it prints, which may be secret and is not shown.
fn run(command: &mut Command) -> Vec<u8> {
    let program = command.get_program().to_owned();
    let output = command.output().unwrap_or_else(|error| {
        panic!("{}: {error}; install python3 and python3-venv", program.display());
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "this test needs python3 with venv and pip\n{said}");
    output.stdout
}
