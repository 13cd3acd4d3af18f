//! Programs that print subject tokens: what they are told, and what happens when they fail or do not end.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use google_credentials::{
    FailureKind::{Configuration, Transient},
    Source,
};
use google_emulator::{SubjectForm, SubjectSource};
use serde_json::{Value, json};

use crate::stage::Stage;

/// A script in the stage's folder.
fn script(stage: &Stage, content: &str) -> PathBuf {
    let path = stage.path("program");
    fs::write(&path, format!("#!/bin/sh\n{content}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn source(stage: &Stage, command: &Path, more: &Value) -> Source {
    let file = stage.emulator.external_account(&SubjectSource::Executable {
        command: command.display().to_string(),
        output_file: None,
    });
    let mut executable = json!({ "command": command });
    for (name, value) in more.as_object().unwrap() {
        executable[name] = value.clone();
    }
    stage.file(&file.set("credential_source", json!({ "executable": executable })))
}

#[test]
fn programs_run_only_where_google_s_switch_allows_it() {
    let mut stage = Stage::new();
    let witness = stage.path("ran");
    let program = script(&stage, &format!("touch {}", witness.display()));
    let source = source(&stage, &program, &json!({}));
    for value in ["", "0", "true", "yes"] {
        stage.set_env("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", value);
        let failure = stage.refused(&source);
        assert_eq!((failure.kind, failure.option), (Configuration, Some("CredentialsFile")));
        assert!(failure.cause.contains("which is not allowed"), "{failure}");
        assert!(failure.remedy.contains("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1"), "{failure}");
        assert!(!witness.exists(), "it ran");
    }
}

#[test]
fn programs_are_told_what_is_wanted() {
    let stage = Stage::new().allowing_programs();
    let (token, output) = (stage.subject(SubjectForm::ExecutableOutput), stage.path("left-behind"));
    let told = stage.path("told");
    let program = script(
        &stage,
        &format!(
            "env | grep ^GOOGLE_EXTERNAL_ACCOUNT_ | sort > {}; echo \"$@\" >> {0}; cat {}",
            told.display(),
            token.display()
        ),
    );
    let file = stage.emulator.external_account(&SubjectSource::TextUrl).impersonating();
    let executable =
        json!({ "command": format!("{} --for  google", program.display()), "output_file": output });
    stage.granted(&stage.file(&file.clone().set("credential_source", json!({ "executable": executable }))));
    let text = |name: &str| file.json()[name].as_str().unwrap().to_owned();
    let expected = [
        format!("GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE={}", text("audience")),
        format!("GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL={}", stage.emulator.impersonation_target()),
        "GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE=0".to_owned(),
        format!("GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE={}", output.display()),
        format!("GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE={}", text("subject_token_type")),
        "--for google".to_owned(),
    ];
    assert_eq!(fs::read_to_string(told).unwrap().lines().collect::<Vec<_>>(), expected);
}

#[test]
fn an_output_file_is_used_while_it_is_good() {
    let stage = Stage::new().allowing_programs();
    let output = stage.subject(SubjectForm::ExecutableOutput);
    let good = fs::read_to_string(&output).unwrap();
    let runs = stage.path("runs");
    let kept = stage.path("kept");
    fs::write(&kept, &good).unwrap();
    let program = script(&stage, &format!("echo run >> {}; cat {}", runs.display(), kept.display()));
    let source = source(&stage, &program, &json!({ "output_file": output }));
    let count = || fs::read_to_string(&runs).unwrap_or_default().lines().count();
    stage.granted(&source);
    assert_eq!(count(), 0, "the file's answer is good");
    let mut over: Value = serde_json::from_str(&good).unwrap();
    over["expiration_time"] = json!(1_000_000_000);
    let mut unsuccessful = over.clone();
    unsuccessful["success"] = json!(false);
    let left = [over.to_string(), unsuccessful.to_string(), "{".to_owned(), String::new()];
    for (number, content) in left.iter().enumerate() {
        fs::write(&output, content).unwrap();
        stage.granted(&source);
        assert_eq!(count(), number + 1, "{number}");
    }
    fs::remove_file(&output).unwrap();
    stage.granted(&source);
    assert_eq!(count(), left.len() + 1, "no file");
}

#[test]
fn what_a_program_does_wrong_is_said() {
    let stage = Stage::new().allowing_programs();
    let good = fs::read_to_string(stage.subject(SubjectForm::ExecutableOutput)).unwrap();
    let with = |name: &str, value: Value| {
        let mut answer: Value = serde_json::from_str(&good).unwrap();
        answer[name] = value;
        answer.to_string()
    };
    let said = |answer: &str| format!("printf '%s' '{answer}'");
    let refusal = r#"{"version":1,"success":false,"code":"401","message":"Caller not authorized."}"#;
    for (content, kind, cause) in [
        ("exit 3".to_owned(), Transient, "ended with code 3"),
        ("kill -TERM $$".to_owned(), Transient, "ended with a signal"),
        (String::new(), Transient, "did not print JSON"),
        (said("{}"), Transient, "printed no answer of version 1"),
        (said(&with("version", json!(2))), Transient, "printed no answer of version 1"),
        (said(&with("success", Value::Null)), Transient, "does not say `success`"),
        (said(refusal), Transient, "gave no token: 401 Caller not authorized."),
        (said(&with("token_type", json!("x"))), Configuration, "gave a token of another type"),
        (said(&with("expiration_time", json!(1))), Transient, "gave a token that has expired"),
        (said(&with("id_token", Value::Null)), Transient, "gave no token"),
        ("head -c 2000000 /dev/zero".to_owned(), Transient, "it printed more than 1 MiB"),
    ] {
        let program = script(&stage, &content);
        let with_argument = json!({ "command": format!("{} --key=hush-hush", program.display()) });
        let failure = stage.refused(&source(&stage, &program, &with_argument));
        assert!(!stage.said.text().contains("hush-hush"), "arguments may be secret: {failure}");
        assert_eq!((failure.kind, failure.option), (kind, Some("CredentialsFile")), "{failure}");
        assert!(failure.cause.contains(cause), "{cause}: {failure}");
        assert!(failure.cause.contains(&program.display().to_string()), "{failure}");
        assert_eq!(stage.emulator.requests().len(), 0);
        assert_eq!(children(), Vec::<String>::new(), "{cause}");
    }
    let failure = stage.refused(&source(&stage, Path::new("/nonexistent/program"), &json!({})));
    assert_eq!(failure.kind, Transient);
    assert!(failure.cause.contains("cannot be run: No such file or directory"), "{failure}");
}

#[test]
fn a_program_that_does_not_end_is_killed() {
    let stage = Stage::new().allowing_programs();
    let pid = stage.path("pid");
    let say = format!("echo $$ > {}", pid.display());
    for hanging in [
        format!("{say}; exec sleep 600"),
        // Closes what it writes to first.
        format!("{say}; exec >&- 2>&-; exec sleep 600"),
        format!("{say}; trap '' TERM INT HUP; while :; do sleep 600; done"),
        format!("{say}; sleep 600"),
        format!("{say}; sleep 600 & wait"),
        // Ends itself, and leaves what it writes to with another.
        format!("{say}; sleep 600 &"),
    ] {
        let program = script(&stage, &hanging);
        let failure = stage.refused(&source(
            &stage,
            &program,
            &json!({ "timeout_millis": 2000, "output_file": stage.path("none") }),
        ));
        assert_eq!(failure.kind, Transient, "{failure}");
        assert!(failure.cause.contains("it took more than 2 s"), "{failure}");
        let pid = fs::read_to_string(&pid).unwrap();
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "{hanging}: it lives, or was not waited for");
        assert_eq!(children(), Vec::<String>::new(), "{hanging}");
        // What was killed is gone in a moment.
        let mut looks = (0..1000).map(|_| survivors(&stage));
        assert!(looks.any(|survivors| survivors.is_empty()), "{hanging}: what it started goes on");
    }
}

/// The children of this thread, zombies included.
fn children() -> Vec<String> {
    let threads = fs::read_to_string("/proc/thread-self/children").unwrap();
    threads.split_whitespace().map(str::to_owned).collect()
}

/// Processes whose environment names the stage's folder, as the output file's variable does: the program and all that it
/// has started.
fn survivors(stage: &Stage) -> Vec<String> {
    let folder = stage.folder.path().display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if name.parse::<u32>().is_ok() && String::from_utf8_lossy(&environment).contains(&folder) {
            found.push(name);
        }
    }
    found
}
