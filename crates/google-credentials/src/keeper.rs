//! When to ask for a token: a pure function of the time, a state and an event.
//!
//! The wall clock rules, because a monotonic clock stands still while a machine sleeps. It may jump: forwards, and
//! whatever was due is due at once; backwards, and what was planned is planned anew, since nobody knows how much of the
//! token's life is over. No wait is longer than a minute, so that a jump is noticed within one.

use std::time::{Duration, SystemTime};

use crate::FailureKind;

/// The longest wait between two looks at the clock.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Long-lived tokens are renewed this long before they end, or a tenth of their life: time for some attempts even at the
/// slowest pace.
const LEAD: Duration = Duration::from_secs(300);
/// A token that lives for two minutes or more is renewed while it is good for another minute, and a bit.
const MINUTE_AND_A_BIT: Duration = Duration::from_secs(75);
/// A metadata server gives the same token until five minutes before its end (four, where it serves functions): it is
/// asked when it must have another, as Google's libraries do.
const METADATA_SERVER_LEAD: Duration = Duration::from_secs(225);
/// A metadata server that still gives the old token is not asked more often.
const METADATA_SERVER_PAUSE: Duration = Duration::from_secs(10);
/// The first pause after a transient failure is at most this long, and each next one at most twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No pause after a transient failure is longer: an outage is over for us a minute after it is over.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A pause is never shorter: full jitter may roll a zero.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// The least pause after a 429 that does not say how long to wait.
const COOL_DOWN: Duration = Duration::from_secs(30);
/// A token is taken to be over so long before its end: a request needs a moment to arrive, and Google counts whole seconds.
const ON_THE_WAY: Duration = Duration::from_secs(2);
/// The pause while Google refuses a credential: asking more often changes nothing and may lock the account.
const PAUSE_FOR_A_PERSON: Duration = Duration::from_secs(300);

/// The least pause between an attempt's end and another one that somebody asks for: a token that Google refuses however
/// new it is must not lead to a request for each of its refusals.
const BETWEEN_ASKED: Duration = Duration::from_secs(5);

/// What is known about an account's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    token: Option<Life>,
    phase: Phase,
    /// Failures since the last token.
    failures: u32,
    told_expired: bool,
    /// A server has refused the token.
    refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    obtained_at: SystemTime,
    expires_at: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waiting until `until`, as decided at `since`; who asks for an attempt shortens that to `if_asked` at most.
    Waiting { since: SystemTime, until: SystemTime, if_asked: SystemTime },
    /// A request is under way, begun at `since`.
    Requesting { since: SystemTime },
}

impl Phase {
    fn at_once(now: SystemTime) -> Self {
        Self::Waiting { since: now, until: now, if_asked: now }
    }
}

impl Life {
    /// From when on nobody shall use the token: no more than a tenth of its life before its end.
    fn over_at(self) -> SystemTime {
        let whole = self.expires_at.duration_since(self.obtained_at).unwrap_or_default();
        self.expires_at - ON_THE_WAY.min(whole / 10)
    }
}

/// When a token is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// In time before it ends.
    BeforeExpiry,
    /// When the metadata server, which gave it, has another.
    MetadataServer,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Nothing but time passing.
    Look,
    /// The credential's file has new content.
    CredentialChanged,
    /// Somebody wants another token than the present one: Google refused it, or a person says so.
    RefreshAsked,
    /// The request under way brought a token.
    Obtained {
        /// The time from before the request.
        obtained_at: SystemTime,
        /// The token's end.
        expires_at: SystemTime,
        /// When to renew it.
        renewal: Renewal,
    },
    /// The request under way failed.
    Failed {
        /// Decides on the pause.
        kind: FailureKind,
        /// The server's wish.
        retry_after: Option<Duration>,
        /// The answer was 429.
        throttled: bool,
    },
}

/// What to do now. Whoever obeys comes back with the event that follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ask for a token; come back with [`Event::Obtained`] or [`Event::Failed`], and with [`Event::Look`] as long as
    /// there is no answer.
    Request,
    /// The token is over and there is no other: say so, then come back with [`Event::Look`].
    TellExpired,
    /// Come back with [`Event::Look`] after so long.
    Wait(Duration),
}

impl State {
    /// An account that has no token yet and wants one at once.
    pub fn new(now: SystemTime) -> Self {
        Self { token: None, phase: Phase::at_once(now), failures: 0, told_expired: false, refused: false }
    }

    /// Failures since the last token.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether there is a token whose time is not over, and that no server has refused.
    pub fn has_valid_token(&self, now: SystemTime) -> bool {
        !self.refused && self.token.is_some_and(|life| now < life.over_at())
    }

    /// The same after a server has refused the token: it is not believed in any more, until there is another.
    #[must_use]
    pub fn refused(self) -> Self {
        Self { refused: self.token.is_some(), ..self }
    }

    /// Whether a server has refused the token.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// When the next attempt is due; `None` while one is under way.
    pub fn next_attempt(&self) -> Option<SystemTime> {
        match self.phase {
            Phase::Waiting { until, .. } => Some(until),
            Phase::Requesting { .. } => None,
        }
    }

    /// How long until the next attempt.
    pub fn pause(&self, now: SystemTime) -> Duration {
        match self.phase {
            Phase::Waiting { until, .. } => until.duration_since(now).unwrap_or_default(),
            Phase::Requesting { .. } => Duration::ZERO,
        }
    }
}

/// The next state, and what to do. `dice` is in `0.0..1.0`; `look_every` is the longest wait (at most a minute).
pub fn next(now: SystemTime, dice: f64, look_every: Duration, state: State, event: Event) -> (State, Action) {
    let state = match (state.phase, event) {
        (_, Event::Look) | (Phase::Requesting { .. }, Event::CredentialChanged | Event::RefreshAsked) => {
            state
        }
        (_, Event::CredentialChanged) => State { phase: Phase::at_once(now), ..state },
        (Phase::Waiting { since, until, if_asked }, Event::RefreshAsked) => {
            State { phase: Phase::Waiting { since, until: until.min(if_asked.max(now)), if_asked }, ..state }
        }
        (_, Event::Obtained { obtained_at, expires_at, renewal }) => {
            let life = Life { obtained_at, expires_at };
            let until = refresh_at(life, renewal, now, dice).max(now + FIRST_PAUSE);
            State {
                token: Some(life),
                phase: Phase::Waiting { since: now, until, if_asked: now + BETWEEN_ASKED },
                failures: 0,
                told_expired: false,
                refused: false,
            }
        }
        (phase, Event::Failed { kind, retry_after, throttled }) => {
            let failures = state.failures.saturating_add(1);
            let mut pause = pause(kind, failures, retry_after, throttled, dice, look_every);
            if let (Phase::Requesting { since }, FailureKind::Transient, None, false) =
                (phase, kind, retry_after, throttled)
            {
                // A server that hangs was left alone meanwhile.
                let took = now.duration_since(since).unwrap_or_default();
                pause = pause.saturating_sub(took).max(SHORTEST_PAUSE);
            }
            // Whoever asks, the server's wish counts.
            let wish = retry_after.unwrap_or(if throttled { pause } else { Duration::ZERO });
            let if_asked = now + wish.max(BETWEEN_ASKED);
            State { phase: Phase::Waiting { since: now, until: now + pause, if_asked }, failures, ..state }
        }
    };
    look(now, look_every, state)
}

fn look(now: SystemTime, look_every: Duration, state: State) -> (State, Action) {
    let mut wait = next_look(now, look_every);
    if let Phase::Waiting { since, until, .. } = state.phase {
        if now >= until || now < since {
            return (State { phase: Phase::Requesting { since: now }, ..state }, Action::Request);
        }
        wait = wait.min(until.duration_since(now).unwrap_or_default());
    }
    if let Some(life) = state.token.filter(|_| !state.told_expired) {
        match life.over_at().duration_since(now) {
            Ok(left) if !left.is_zero() => wait = wait.min(left),
            _ => return (State { told_expired: true, ..state }, Action::TellExpired),
        }
    }
    (state, Action::Wait(wait))
}

/// How long until the next look without a reason: at the full minute (or whole multiple of `look_every`, if that is less) of the
/// wall clock, so that all accounts look at once and the thread wakes up once for all of them.
pub fn next_look(now: SystemTime, look_every: Duration) -> Duration {
    let every = look_every.clamp(FIRST_PAUSE, LONGEST_WAIT).as_millis();
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() % every;
    Duration::from_millis(u64::try_from(every - since).unwrap_or(1000))
}

/// When a token is renewed: the lead before its end, or at half its life where that is later; and a little earlier by
/// chance, so that accounts which started together do not ask together.
fn refresh_at(life: Life, renewal: Renewal, now: SystemTime, dice: f64) -> SystemTime {
    let whole = life.expires_at.duration_since(life.obtained_at).unwrap_or_default();
    let half = whole / 2;
    let lead = match renewal {
        Renewal::BeforeExpiry if whole >= 2 * LONGEST_WAIT => {
            LEAD.max(whole / 10).min(half.max(MINUTE_AND_A_BIT))
        }
        Renewal::BeforeExpiry => half,
        Renewal::MetadataServer => METADATA_SERVER_LEAD.min(half),
    };
    // The metadata server's jitter stays below the fifteen seconds after its latest change of tokens.
    let (share, earliest) = match renewal {
        Renewal::BeforeExpiry => (10.0, SystemTime::UNIX_EPOCH),
        Renewal::MetadataServer => (25.0, now + METADATA_SERVER_PAUSE),
    };
    let jitter = lead.mul_f64(dice.clamp(0.0, 1.0) / share);
    (life.expires_at - lead - jitter).max(earliest)
}

fn pause(
    kind: FailureKind,
    failures: u32,
    retry_after: Option<Duration>,
    throttled: bool,
    dice: f64,
    look_every: Duration,
) -> Duration {
    let dice = dice.clamp(0.0, 1.0);
    let backed_off = match kind {
        // Reading a file again costs nothing.
        FailureKind::Configuration => return look_every.min(LONGEST_WAIT),
        FailureKind::NeedsPerson => return PAUSE_FOR_A_PERSON.max(retry_after.unwrap_or_default()),
        FailureKind::Transient => {
            let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
            doubled.min(LONGEST_PAUSE).mul_f64(dice).max(SHORTEST_PAUSE)
        }
    };
    match retry_after {
        Some(wish) => backed_off.max(wish),
        None if throttled => backed_off.max(COOL_DOWN.mul_f64(1.0 + dice)),
        None => backed_off,
    }
}

#[cfg(test)]
mod tests;
