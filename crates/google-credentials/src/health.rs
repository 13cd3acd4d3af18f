//! How it stands with an account, for those who look after it: state, times, numbers and the newest failure.

use std::time::{Duration, SystemTime};

use crate::{Failure, FailureKind, Grant, keeper};

/// A snapshot of an account. Times are of this machine's wall clock. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// In one word.
    pub state: HealthState,
    /// Since when that word.
    pub since: SystemTime,
    /// Whom the newest token stands for, where that is known.
    pub principal: Option<String>,
    /// The end of the newest token, be it over or not.
    pub expires_at: Option<SystemTime>,
    /// When the newest token was asked for.
    pub last_refresh: Option<SystemTime>,
    /// When the next token is asked for; `None` while one is.
    pub next_refresh: Option<SystemTime>,
    /// Tokens obtained since the start.
    pub refreshes: u64,
    /// Attempts since the start that failed.
    pub failures: FailureCounts,
    /// The newest failure, be it healed or not.
    pub last_failure: Option<PastFailure>,
    /// How long the newest attempt took, whatever came of it.
    pub last_attempt_took: Option<Duration>,
    /// How long all of them took together; [`attempts`](Self::attempts) is their number.
    pub attempts_took: Duration,
    /// Whether the newest attempt failed.
    failed: bool,
}

/// How it stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// The first token is being asked for, and nothing has gone wrong yet.
    Starting,
    /// There is a good token.
    Ok,
    /// There is a good token, but it could not be renewed. No server has refused it.
    Expiring,
    /// There is no good token.
    Failing,
}

impl HealthState {
    /// The word, in lower case: `starting`, `ok`, `expiring`, `failing`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ok => "ok",
            Self::Expiring => "expiring",
            Self::Failing => "failing",
        }
    }
}

/// Attempts that failed, by what heals them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FailureCounts {
    /// By themselves ([`FailureKind::Transient`]).
    pub transient: u64,
    /// A person, at Google ([`FailureKind::NeedsPerson`]).
    pub needs_person: u64,
    /// A correction of the configuration or a file ([`FailureKind::Configuration`]).
    pub configuration: u64,
}

impl FailureCounts {
    /// All of them.
    pub fn total(self) -> u64 {
        self.transient + self.needs_person + self.configuration
    }

    fn add(&mut self, kind: FailureKind) {
        match kind {
            FailureKind::Transient => self.transient += 1,
            FailureKind::NeedsPerson => self.needs_person += 1,
            FailureKind::Configuration => self.configuration += 1,
        }
    }
}

/// A failure, and when it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastFailure {
    /// When the attempt ended.
    pub at: SystemTime,
    /// What went wrong, and the remedy, as the log has them.
    pub failure: Failure,
}

impl Health {
    /// An account whose keeper begins now.
    pub fn new(now: SystemTime) -> Self {
        Self {
            state: HealthState::Starting,
            since: now,
            principal: None,
            expires_at: None,
            last_refresh: None,
            next_refresh: Some(now),
            refreshes: 0,
            failures: FailureCounts::default(),
            last_failure: None,
            last_attempt_took: None,
            attempts_took: Duration::ZERO,
            failed: false,
        }
    }

    /// Attempts that have ended since the start, one way or the other.
    pub fn attempts(&self) -> u64 {
        self.refreshes + self.failures.total()
    }

    /// Why the newest attempt failed; `None` where it did not.
    pub fn failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref().filter(|_| self.failed).map(|past| &past.failure)
    }

    /// Why the newest attempt failed, while no other is under way.
    pub(crate) fn stuck(&self) -> Option<&Failure> {
        self.failure().filter(|_| self.next_refresh.is_some())
    }

    /// An attempt begins.
    pub(crate) fn began(&mut self) {
        self.next_refresh = None;
    }

    /// An attempt brought a token.
    pub(crate) fn obtained(&mut self, now: SystemTime, took: Duration, grant: &Grant, state: &keeper::State) {
        self.refreshes += 1;
        self.failed = false;
        self.principal.clone_from(&grant.principal);
        self.expires_at = Some(grant.token.expires_at);
        self.last_refresh = Some(grant.token.obtained_at);
        self.enter(HealthState::Ok, now);
        self.ended(took, state);
    }

    /// An attempt failed.
    pub(crate) fn failed(
        &mut self,
        now: SystemTime,
        took: Duration,
        failure: Failure,
        state: &keeper::State,
    ) {
        self.failures.add(failure.kind);
        self.failed = true;
        self.last_failure = Some(PastFailure { at: now, failure });
        let word = if state.has_valid_token(now) { HealthState::Expiring } else { HealthState::Failing };
        self.enter(word, now);
        self.ended(took, state);
    }

    /// A server has refused the token. An attempt for another one comes next, unless the newest has failed already.
    pub(crate) fn refused(&mut self, now: SystemTime) {
        if self.failed {
            self.enter(HealthState::Failing, now);
        }
    }

    /// The token's time is over.
    pub(crate) fn expired(&mut self, now: SystemTime) {
        self.enter(HealthState::Failing, now);
    }

    /// The next attempt is due at another time than it was.
    pub(crate) fn planned(&mut self, next: Option<SystemTime>) -> bool {
        let changed = self.next_refresh != next;
        self.next_refresh = next;
        changed
    }

    fn ended(&mut self, took: Duration, state: &keeper::State) {
        self.last_attempt_took = Some(took);
        self.attempts_took = self.attempts_took.saturating_add(took);
        self.next_refresh = state.next_attempt();
    }

    fn enter(&mut self, state: HealthState, now: SystemTime) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
    }
}
