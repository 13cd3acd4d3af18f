//! A pretend Google with a configuration for it, and the program as a child.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use google_emulator::{Emulator, WrittenFiles};
use orthanc_testbed::{assert_no_secret, merge};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Everything a test needs.
pub(crate) struct Stage {
    pub(crate) emulator: Emulator,
    pub(crate) files: WrittenFiles,
    folder: TempDir,
    configuration: Value,
    environment: Vec<(String, String)>,
}

/// How the program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Stage {
    /// With the account `my-google`, which is in order.
    pub(crate) fn new() -> Self {
        let emulator = Emulator::builder().start().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let files = emulator.write_files(&folder.path().join("files"), &[]).unwrap();
        let configuration = serde_json::from_str(&fs::read_to_string(&files.orthanc).unwrap()).unwrap();
        let stage = Self { emulator, files, folder, configuration, environment: Vec::new() };
        // A name that nobody answers for must not take a minute; what is answered is, on a busy machine too.
        stage.with(&json!({"GoogleCloudPlatform": {"Timeout": 20}}))
    }

    /// With a patch over the configuration; `null` removes.
    pub(crate) fn with(mut self, patch: &Value) -> Self {
        merge(&mut self.configuration, patch);
        self
    }

    /// With a patch over the account.
    pub(crate) fn with_account(self, patch: &Value) -> Self {
        self.with(&json!({"GoogleCloudPlatform": {"Accounts": {"my-google": patch}}}))
    }

    /// With a variable of the environment.
    pub(crate) fn with_env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path in the stage's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration and gives its path.
    pub(crate) fn configuration(&self) -> PathBuf {
        let path = self.path("orthanc.json");
        fs::write(&path, format!("{:#}", self.configuration)).unwrap();
        path
    }

    /// Runs the program with these arguments. Nothing secret may be in what it says, unless it is `token`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let run = run(arguments, &self.environment, self.folder.path());
        let secrets = self.emulator.secrets();
        assert_no_secret(&run.err, &secrets);
        if arguments.first() != Some(&"token") {
            assert_no_secret(&run.out, &secrets);
        }
        run
    }

    /// `check` of the configuration, with these arguments behind.
    pub(crate) fn check(&self, arguments: &[&str]) -> Run {
        let configuration = self.configuration();
        let mut all = vec!["check", configuration.to_str().unwrap()];
        all.extend(arguments);
        self.run(&all)
    }

    /// `check --json`, as a document, with the exit code.
    #[track_caller]
    pub(crate) fn check_json(&self, arguments: &[&str]) -> (i32, Value) {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let run = self.check(&all);
        let document = serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {run:?}"));
        (run.code, document)
    }
}

/// Runs the program in `folder`, with these variables and hardly any other.
pub(crate) fn run(arguments: &[&str], environment: &[(String, String)], folder: &Path) -> Run {
    let output = program(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// The program, with a bare environment.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orthanc-gcp"));
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin");
    command
}

/// The steps of the first account: name, outcome, words, remedy.
pub(crate) fn steps(document: &Value) -> Vec<[String; 4]> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let steps = document["accounts"][0]["steps"].as_array().unwrap();
    steps.iter().map(|step| ["name", "outcome", "words", "remedy"].map(|key| text(&step[key]))).collect()
}
