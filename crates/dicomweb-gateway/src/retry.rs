//! Whether a request that failed is sent again, and when: pure decisions.

use std::time::Duration;

use google_credentials::TransportErrorKind;

/// The longest pause between two attempts (Healthcare API, "Request latency and error handling best practices": truncated
/// exponential back-off up to 32 or 64 seconds).
const LONGEST_PAUSE: Duration = Duration::from_secs(32);
/// The bound of the first pause. Most single failures are of one connection or one server behind the load balancer, so the
/// first repetition comes soon.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// No pause is shorter, so that a server that refuses at once is not asked in a loop.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The server answered with this status, and may have said when to come again.
    Status(u16, Option<Duration>),
    /// There was no whole answer.
    Transport(TransportErrorKind),
    /// There was no token to send it with, and there may be one later.
    Token,
    /// The server refused a token (401) that replaces another one it has refused just now.
    NewToken,
}

impl Failed {
    /// Whether the same request may succeed later (RFC 9110 section 15, RFC 6585, RFC 8470, and Google's list).
    pub(crate) fn is_passing(self) -> bool {
        match self {
            Self::Status(status, _) => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            Self::Transport(kind) => matches!(
                kind,
                TransportErrorKind::Connection
                    | TransportErrorKind::Interrupted
                    | TransportErrorKind::Timeout
                    | TransportErrorKind::Name
                    | TransportErrorKind::Proxy(_)
                    | TransportErrorKind::NotHttp
            ),
            Self::Token | Self::NewToken => true,
        }
    }

    /// Whether it says that too much was asked at once, or that the line is too full.
    pub(crate) fn is_of_load(self) -> bool {
        match self {
            Self::Status(status, _) => matches!(status, 429 | 503),
            Self::Transport(kind) => kind == TransportErrorKind::Timeout,
            Self::Token | Self::NewToken => false,
        }
    }

    /// Whether the server may have done what it was asked for, and only its answer was lost.
    pub(crate) fn may_have_acted(self) -> bool {
        match self {
            Self::Status(status, _) => status >= 500,
            Self::Transport(kind) => {
                matches!(
                    kind,
                    TransportErrorKind::Interrupted
                        | TransportErrorKind::NotHttp
                        | TransportErrorKind::Timeout
                )
            }
            Self::Token | Self::NewToken => false,
        }
    }
}

/// The pause before the next attempt, after `attempts` of them have failed within `elapsed`; `None` to give up.
///
/// Full jitter: a random part, `dice`, of a bound that doubles. `Retry-After` (RFC 9110 section 10.2.3) is a lower bound.
/// Nothing is begun that would begin after `patience`.
pub(crate) fn pause(
    failed: Failed,
    attempts: u32,
    elapsed: Duration,
    patience: Duration,
    dice: f64,
) -> Option<Duration> {
    if !failed.is_passing() {
        return None;
    }
    let doublings = attempts.saturating_sub(1).min(16);
    let bound = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    let mut pause = bound.mul_f64(dice).max(SHORTEST_PAUSE);
    if let Failed::Status(_, Some(asked)) = failed {
        // Those who were refused together shall not come again together.
        pause += asked;
    }
    (elapsed + pause <= patience).then_some(pause)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(300);

    #[test]
    fn only_what_passes_is_tried_again() {
        for (failed, again) in [
            (Failed::Status(503, None), true),
            (Failed::Status(429, None), true),
            (Failed::Status(408, None), true),
            (Failed::Status(400, None), false),
            (Failed::Status(403, None), false),
            (Failed::Status(404, None), false),
            (Failed::Status(409, None), false),
            (Failed::Status(501, None), false),
            (Failed::Transport(TransportErrorKind::Interrupted), true),
            (Failed::Transport(TransportErrorKind::UntrustedCertificate), false),
            (Failed::Token, true),
            (Failed::NewToken, true),
            (Failed::Status(401, None), false),
        ] {
            assert_eq!(pause(failed, 1, Duration::ZERO, PATIENCE, 0.5).is_some(), again, "{failed:?}");
        }
    }

    #[test]
    fn retry_after_is_waited_for_or_nothing_is() {
        let asked = |seconds| Failed::Status(429, Some(Duration::from_secs(seconds)));
        let pause_after = |failed| pause(failed, 1, Duration::ZERO, PATIENCE, 0.0);
        assert_eq!(pause_after(asked(7)), Some(Duration::from_secs(7) + SHORTEST_PAUSE));
        assert_eq!(pause_after(asked(301)), None);
    }

    proptest! {
        #[test]
        fn pauses_are_bounded_and_end(attempts in 1u32.., elapsed in 0u64..1000, dice in 0.0..1.0) {
            let elapsed = Duration::from_secs(elapsed);
            if let Some(pause) = pause(Failed::Status(503, None), attempts, elapsed, PATIENCE, dice) {
                prop_assert!(pause >= SHORTEST_PAUSE && pause <= LONGEST_PAUSE);
                prop_assert!(elapsed + pause <= PATIENCE);
            } else {
                prop_assert!(elapsed + LONGEST_PAUSE > PATIENCE);
            }
        }
    }
}
