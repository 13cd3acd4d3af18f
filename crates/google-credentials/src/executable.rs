//! Subject tokens from a program (AIP-4117, "Executable-sourced credentials").

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::{Failure, FailureKind, Secret, World, quoted::quoted, strike_out::one_line};

/// Google's switch: a configuration file must not be enough to have programs run.
const ALLOW: &str = "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES";
/// What is allowed if nothing is said.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A program that prints a subject token.
#[derive(Debug, Clone)]
pub(crate) struct Executable {
    /// The path and its arguments, separated by spaces.
    pub(crate) command: String,
    pub(crate) timeout: Option<Duration>,
    /// Where the program leaves its answer for the next time.
    pub(crate) output_file: Option<String>,
}

/// What to run, and in which environment. The rest of the environment is inherited.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables set for it.
    pub environment: Vec<(&'static str, String)>,
    /// It is killed after this.
    pub time_limit: Duration,
}

/// What a program left behind.
#[derive(Clone)]
pub struct CommandOutput {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
}

/// What the program is told and has to answer to.
pub(crate) struct Wanted<'a> {
    pub(crate) option: &'static str,
    pub(crate) audience: &'a str,
    pub(crate) token_type: &'a str,
    pub(crate) impersonated_email: Option<&'a str>,
}

impl Executable {
    pub(crate) async fn subject_token(
        &self,
        world: &dyn World,
        wanted: &Wanted<'_>,
    ) -> Result<Secret, Failure> {
        if world.env(ALLOW).as_deref() != Some("1") {
            return Err(Failure::of_option(
                wanted.option,
                format!("the credential runs the program {}, which is not allowed", self.program()),
                format!("set the environment variable {ALLOW}=1 for Orthanc if you trust the file"),
            ));
        }
        if let Some(token) = self.left_behind(world, wanted)? {
            return Ok(token);
        }
        let output = world.run(&self.command(wanted)).await.map_err(|error| {
            let cause = format!("the program {} cannot be run: {error}", self.program());
            Failure {
                option: Some(wanted.option),
                ..Failure::new(
                    FailureKind::Transient,
                    cause,
                    "check that it is there, executable, and quick enough",
                )
            }
        })?;
        if output.code != Some(0) {
            let how = output.code.map_or("a signal".to_owned(), |code| format!("code {code}"));
            let cause = format!("the program {} ended with {how}", self.program());
            return Err(Failure {
                option: Some(wanted.option),
                ..Failure::new(FailureKind::Transient, cause, "run it by hand to see why")
            });
        }
        self.read(&output.stdout, wanted, world.now())
    }

    /// The answer of an earlier run, if it is still good.
    fn left_behind(&self, world: &dyn World, wanted: &Wanted<'_>) -> Result<Option<Secret>, Failure> {
        let Some(path) = &self.output_file else { return Ok(None) };
        let Ok(content) = world.read_file(Path::new(path)) else { return Ok(None) };
        match Answer::read(&content.bytes) {
            Ok(answer) if answer.success && answer.is_fresh(world.now()) => {
                self.read(&content.bytes, wanted, world.now()).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The command as a log may show it: an argument may be a secret.
    fn program(&self) -> String {
        quoted(self.command.split_whitespace().next().unwrap_or_default())
    }

    fn command(&self, wanted: &Wanted<'_>) -> Command {
        let mut words = self.command.split_whitespace().map(str::to_owned);
        let mut environment = vec![
            ("GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE", wanted.audience.to_owned()),
            ("GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE", wanted.token_type.to_owned()),
            ("GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE", "0".to_owned()),
        ];
        if let Some(email) = wanted.impersonated_email {
            environment.push(("GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL", email.to_owned()));
        }
        if let Some(path) = &self.output_file {
            environment.push(("GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE", path.clone()));
        }
        Command {
            program: words.next().unwrap_or_default(),
            arguments: words.collect(),
            environment,
            time_limit: self.timeout.unwrap_or(TIMEOUT),
        }
    }

    fn read(&self, output: &[u8], wanted: &Wanted<'_>, now: SystemTime) -> Result<Secret, Failure> {
        let wrong = |kind, what: String| {
            let cause = format!("the program {} {what}", self.program());
            Failure {
                option: Some(wanted.option),
                ..Failure::new(kind, cause, "see what AIP-4117 wants such a program to print")
            }
        };
        let answer = Answer::read(output).map_err(|what| wrong(FailureKind::Transient, what))?;
        if !answer.success {
            return Err(wrong(FailureKind::Transient, format!("gave no token: {}", answer.said)));
        }
        if answer.token_type != wanted.token_type {
            let what = format!("gave a token of another type than {}", quoted(wanted.token_type));
            return Err(wrong(FailureKind::Configuration, what));
        }
        if self.output_file.is_some() && answer.expires_at.is_none() {
            let what = "names no `expiration_time`, which the output file needs".to_owned();
            return Err(wrong(FailureKind::Configuration, what));
        }
        if answer.expires_at.is_some_and(|at| at <= now) {
            return Err(wrong(FailureKind::Transient, "gave a token that has expired".to_owned()));
        }
        answer.token.ok_or_else(|| wrong(FailureKind::Transient, "gave no token".to_owned()))
    }
}

/// What the program printed.
struct Answer {
    success: bool,
    token_type: String,
    token: Option<Secret>,
    expires_at: Option<SystemTime>,
    /// Its own words for a failure.
    said: String,
}

impl Answer {
    fn read(output: &[u8]) -> Result<Self, String> {
        let answer: Value = serde_json::from_slice(output).map_err(|_| "did not print JSON".to_owned())?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        match answer.get("version").and_then(Value::as_u64) {
            Some(1) => {}
            _ => return Err("printed no answer of version 1".to_owned()),
        }
        let Some(success) = answer.get("success").and_then(Value::as_bool) else {
            return Err("does not say `success`".to_owned());
        };
        let token_type = text("token_type").to_owned();
        let name = if token_type.ends_with(":saml2") { "saml_response" } else { "id_token" };
        let seconds = answer.get("expiration_time").and_then(Value::as_u64).map(Duration::from_secs);
        Ok(Self {
            success,
            token: Some(text(name)).filter(|token| !token.is_empty()).map(Secret::new),
            expires_at: seconds.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(seconds)),
            said: one_line(&format!("{} {}", text("code"), text("message"))),
            token_type,
        })
    }

    fn is_fresh(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|at| at > now)
    }
}
