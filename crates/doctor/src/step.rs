//! A step of an examination, and the report that collects them.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use google_credentials::{Failure, World};
use orthanc_gcp_configuration::printable;

/// What a step looks at, in the order of an examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// The credential's file: there, readable, whole, and for nobody else; the strings of an inline one.
    Credential,
    /// How transfers travel, where that is known to fail.
    Transport,
    /// The proxy on the way out.
    Proxy,
    /// The addresses of a host's name.
    Dns,
    /// A connection to it.
    Tcp,
    /// Its certificate.
    Tls,
    /// This machine's clock against its own.
    Clock,
    /// A token: whose, for what, and for how long.
    Token,
    /// The DICOM store: that it is there, and lets the account search.
    Store,
    /// Storing, retrieving and deleting an instance.
    Write,
    /// Round trip and throughput.
    Speed,
}

impl Name {
    /// The word for it in JSON and at a terminal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Transport => "transport",
            Self::Proxy => "proxy",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Clock => "clock",
            Self::Token => "token",
            Self::Store => "store",
            Self::Write => "write",
            Self::Speed => "speed",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Ok,
    /// It works, but somebody should do something.
    Warning,
    /// It does not work.
    Failed,
    /// It was not tried: it was not wanted, has no meaning here, or needs a step that failed.
    Skipped,
}

impl Outcome {
    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// A finished step. Its texts hold no secret and are one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was looked at.
    pub name: Name,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found.
    pub words: String,
    /// What to do; always there where it failed or there is a warning.
    pub remedy: Option<String>,
    /// How long it took.
    pub duration: Duration,
}

/// The steps of one examination.
pub(crate) struct Report<'a> {
    world: &'a dyn World,
    tell: &'a mut (dyn FnMut(&Step) + Send),
    begun: SystemTime,
    failed: bool,
}

impl<'a> Report<'a> {
    pub(crate) fn new(world: &'a dyn World, tell: &'a mut (dyn FnMut(&Step) + Send)) -> Self {
        Self { world, tell, begun: world.now(), failed: false }
    }

    /// No step has failed so far.
    pub(crate) fn is_well(&self) -> bool {
        !self.failed
    }

    /// The next step begins now, and not when the last one ended.
    pub(crate) fn begin(&mut self) {
        self.begun = self.world.now();
    }

    pub(crate) fn ok(&mut self, name: Name, words: impl Into<String>) {
        self.push(name, Outcome::Ok, words.into(), None);
    }

    pub(crate) fn warning(&mut self, name: Name, words: impl Into<String>, remedy: impl Into<String>) {
        self.push(name, Outcome::Warning, words.into(), Some(remedy.into()));
    }

    pub(crate) fn failed(&mut self, name: Name, words: impl Into<String>, remedy: impl Into<String>) {
        self.push(name, Outcome::Failed, words.into(), Some(remedy.into()));
    }

    pub(crate) fn failure(&mut self, name: Name, failure: &Failure) {
        self.failed(name, failure.cause.as_str(), failure.remedy.as_str());
    }

    pub(crate) fn skipped(&mut self, name: Name, words: impl Into<String>) {
        self.push(name, Outcome::Skipped, words.into(), None);
    }

    fn push(&mut self, name: Name, outcome: Outcome, words: String, remedy: Option<String>) {
        self.failed |= outcome == Outcome::Failed;
        let now = self.world.now();
        let duration = now.duration_since(self.begun).unwrap_or_default();
        self.begun = now;
        // They quote certificates, files and answers.
        let line = |text: String| printable(&text).into_owned();
        (self.tell)(&Step { name, outcome, words: line(words), remedy: remedy.map(line), duration });
    }
}
