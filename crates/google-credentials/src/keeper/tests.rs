use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn obtained(from: u64, life: u64) -> Event {
    Event::Obtained { obtained_at: at(from), expires_at: at(from + life) }
}

fn with_token(life: u64, dice: f64) -> (State, Action) {
    let (requesting, action) = next(at(0), dice, MINUTE, State::new(at(0)), Event::Look);
    assert_eq!(action, Action::Request);
    next(at(0), dice, MINUTE, requesting, obtained(0, life))
}

#[test]
fn refresh_begins_at_the_lead_or_at_half_life() {
    for (life, dice, expected) in [
        (3600, 0.0, 3600 - 360),
        (3600, 1.0, 3600 - 396),
        (43_200, 0.0, 43_200 - 4320),
        (620, 0.0, 320),
        (500, 0.0, 250),
        (700, 0.0, 400),
        (30, 0.0, 15),
    ] {
        let (state, _) = with_token(life, dice);
        let Phase::Waiting { until, .. } = state.phase else { panic!("{state:?}") };
        assert_eq!(until, at(expected), "life {life}, dice {dice}");
    }
}

#[test]
fn a_clock_that_falls_back_asks_at_once() {
    let (state, _) = with_token(3600, 0.5);
    let (_, action) = next(at(0) - Duration::from_secs(3600), 0.5, MINUTE, state, Event::Look);
    assert_eq!(action, Action::Request);
}

#[test]
fn a_clock_that_jumps_ahead_asks_at_once() {
    let (state, _) = with_token(3600, 0.5);
    let (_, action) = next(at(86_400), 0.5, MINUTE, state, Event::Look);
    assert_eq!(action, Action::Request);
}

#[test]
fn pauses_grow_and_the_servers_wish_is_kept() {
    let failed = |kind, retry_after, throttled| Event::Failed { kind, retry_after, throttled };
    let pause_after = |failures: u32, dice, event| {
        let (mut state, _) = next(at(0), dice, MINUTE, State::new(at(0)), Event::Look);
        state.failures = failures;
        next(at(0), dice, MINUTE, state, event).0.pause(at(0)).as_millis()
    };
    let transient = failed(FailureKind::Transient, None, false);
    assert_eq!(pause_after(0, 1.0, transient), 1000);
    assert_eq!(pause_after(1, 1.0, transient), 2000);
    assert_eq!(pause_after(3, 0.5, transient), 4000);
    assert_eq!(pause_after(40, 1.0, transient), 60_000);
    assert_eq!(pause_after(40, 0.0, transient), 250);
    let wish = Some(Duration::from_secs(7));
    assert_eq!(pause_after(0, 1.0, failed(FailureKind::Transient, wish, true)), 7000);
    assert_eq!(pause_after(0, 0.0, failed(FailureKind::Transient, None, true)), 30_000);
    assert_eq!(pause_after(0, 0.3, failed(FailureKind::NeedsPerson, None, false)), 300_000);
    assert_eq!(pause_after(0, 0.3, failed(FailureKind::Configuration, None, false)), 60_000);
}

#[test]
fn the_end_of_a_token_is_told_once() {
    let (state, _) = with_token(30, 0.0);
    let (state, action) = next(at(15), 0.0, MINUTE, state, Event::Look);
    assert_eq!(action, Action::Request);
    let failed = Event::Failed { kind: FailureKind::NeedsPerson, retry_after: None, throttled: false };
    let (state, action) = next(at(16), 0.0, MINUTE, state, failed);
    assert_eq!(action, Action::Wait(Duration::from_secs(14)));
    let (state, action) = next(at(30), 0.0, MINUTE, state, Event::Look);
    assert_eq!(action, Action::TellExpired);
    let (_, action) = next(at(30), 0.0, MINUTE, state, Event::Look);
    assert_eq!(action, Action::Wait(MINUTE));
}

#[derive(Debug, Clone)]
enum Turn {
    /// The clock moves by so many seconds, either way, while waiting or while a request is under way.
    Clock(i64),
    /// The token server gives a token of so many seconds, or fails.
    Token(u64),
    Fail(FailureKind, Option<u64>, bool),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let kind = prop_oneof![
        Just(FailureKind::Transient),
        Just(FailureKind::NeedsPerson),
        Just(FailureKind::Configuration)
    ];
    prop::collection::vec(
        prop_oneof![
            (-100_000_i64..100_000).prop_map(Turn::Clock),
            (1_u64..50_000).prop_map(Turn::Token),
            (kind, prop::option::of(0_u64..300), any::<bool>())
                .prop_map(|(kind, wish, throttled)| Turn::Fail(kind, wish, throttled)),
        ],
        1..80,
    )
}

proptest! {
    /// Whatever happens: one request at a time, no wait over a minute, a valid token survives failures, and the next
    /// attempt is never further away than the longest pause or the token's own refresh.
    #[test]
    fn every_sequence_keeps_the_promises(turns in turns(), dice in 0.0_f64..1.0, look in 1_u64..100) {
        let look = Duration::from_secs(look);
        let mut now = at(1_000_000);
        let (mut state, mut action) = next(now, dice, look, State::new(now), Event::Look);
        for turn in turns {
            let event = match (turn, action) {
                (Turn::Clock(seconds), Action::Wait(_) | Action::TellExpired) => {
                    let step = Duration::from_secs(seconds.unsigned_abs());
                    now = if seconds < 0 { now - step } else { now + step };
                    Event::Look
                }
                (Turn::Clock(seconds), Action::Request) => {
                    now += Duration::from_secs(seconds.unsigned_abs());
                    Event::Failed { kind: FailureKind::Transient, retry_after: None, throttled: false }
                }
                (Turn::Token(life), Action::Request) => Event::Obtained {
                    obtained_at: now,
                    expires_at: now + Duration::from_secs(life),
                },
                (Turn::Fail(kind, wish, throttled), Action::Request) => {
                    Event::Failed { kind, retry_after: wish.map(Duration::from_secs), throttled }
                }
                (_, Action::Wait(pause)) => { now += pause; Event::Look }
                (_, Action::TellExpired) => Event::Look,
            };
            let (after, what) = next(now, dice, look, state, event);
            if let Action::Wait(pause) = what {
                prop_assert!(pause <= LONGEST_WAIT && !pause.is_zero(), "{pause:?}");
                prop_assert!(after.pause(now) <= PAUSE_FOR_A_PERSON.max(Duration::from_secs(50_000)));
            }
            if matches!(event, Event::Failed { .. }) {
                prop_assert_eq!(after.token, state.token, "a failure displaced a token");
            }
            (state, action) = (after, what);
        }
    }

    /// With a server that always answers, no moment of a token's life ends without the next one being there.
    #[test]
    fn a_healthy_server_means_no_expired_token(life in 2_u64..50_000, dice in 0.0_f64..1.0, look in 1_u64..100) {
        let look = Duration::from_secs(look);
        let mut now = at(0);
        let (mut state, mut action) = next(now, dice, look, State::new(now), Event::Look);
        for _ in 0..500 {
            let event = match action {
                Action::Request => Event::Obtained { obtained_at: now, expires_at: now + Duration::from_secs(life) },
                Action::Wait(pause) => { now += pause; Event::Look }
                Action::TellExpired => panic!("a token expired"),
            };
            (state, action) = next(now, dice, look, state, event);
        }
        prop_assert!(state.failures() == 0);
    }
}
