//! What went wrong, as a value to decide on and a sentence to read.

use std::{fmt, time::Duration};

use crate::strike_out::sentence;

/// Why there is no new token: the cause in Google's (or the operating system's) words, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Decides when the next attempt is worth making.
    pub kind: FailureKind,
    /// The configuration option at fault (`ServiceAccountFile`), where one is.
    pub option: Option<&'static str>,
    /// What happened. Never holds a secret.
    pub cause: String,
    /// What a person can do about it.
    pub remedy: String,
    /// How long the server asked to be left alone (`Retry-After`, RFC 9110 section 10.2.3).
    pub retry_after: Option<Duration>,
    /// The server said that requests come too fast (429).
    pub throttled: bool,
}

/// How a failure is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Heals by itself: an outage, an overload, a broken line.
    Transient,
    /// Google refuses the credential until a person does something.
    NeedsPerson,
    /// The configuration, or a file that it names, is wrong.
    Configuration,
}

impl Failure {
    /// A failure of the given kind. Both sentences are made fit for a log: they may quote a file or an answer, which may
    /// hold anything.
    pub fn new(kind: FailureKind, cause: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self {
            kind,
            option: None,
            cause: sentence(cause.as_ref()),
            remedy: sentence(remedy.as_ref()),
            retry_after: None,
            throttled: false,
        }
    }

    /// A mistake in the configuration option `option`, or in the file it names.
    pub fn of_option(option: &'static str, cause: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self { option: Some(option), ..Self::new(FailureKind::Configuration, cause, remedy) }
    }

    /// Whether the server wants to be left alone for a while.
    pub(crate) fn leaves_alone(&self) -> bool {
        self.throttled || self.retry_after.is_some()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause, self.remedy)
    }
}

impl std::error::Error for Failure {}
