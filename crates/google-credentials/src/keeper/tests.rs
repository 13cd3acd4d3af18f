use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn obtained(from: u64, life: u64) -> Event {
    Event::Obtained { obtained_at: at(from), expires_at: at(from + life), renewal: Renewal::BeforeExpiry }
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
    // Two seconds before its end, because a request takes its time too.
    assert_eq!(action, Action::Wait(Duration::from_secs(12)));
    let (state, action) = next(at(28), 0.0, MINUTE, state, Event::Look);
    assert_eq!(action, Action::TellExpired);
    assert!(!state.has_valid_token(at(28)));
    let (_, action) = next(at(30), 0.0, MINUTE, state, Event::Look);
    // Until the full minute.
    assert_eq!(action, Action::Wait(Duration::from_secs(30)));
}

#[test]
fn the_end_of_a_token_is_told_while_a_request_hangs() {
    let (state, _) = with_token(30, 0.0);
    let (state, action) = next(at(15), 0.0, MINUTE, state, Event::Look);
    assert_eq!(action, Action::Request);
    let (state, action) = next(at(15), 0.0, MINUTE, state, Event::Look);
    assert_eq!(action, Action::Wait(Duration::from_secs(13)));
    let (state, action) = next(at(28), 0.0, MINUTE, state, Event::Look);
    assert_eq!(action, Action::TellExpired);
    // Never two requests at once.
    let (_, action) = next(at(28), 0.0, MINUTE, state, Event::Look);
    assert!(matches!(action, Action::Wait(_)), "{action:?}");
}

#[test]
fn who_asks_waits_five_seconds_at_most_unless_the_server_wishes_otherwise() {
    let (requesting, _) = next(at(0), 0.5, MINUTE, State::new(at(0)), Event::Look);
    let failed = |kind, retry_after: Option<u64>, throttled| Event::Failed {
        kind,
        retry_after: retry_after.map(Duration::from_secs),
        throttled,
    };
    for (event, asked_at, expected) in [
        (obtained(0, 3600), 1, 5),
        (obtained(0, 3600), 900, 900),
        (failed(FailureKind::NeedsPerson, None, false), 1, 5),
        (failed(FailureKind::NeedsPerson, None, false), 100, 100),
        (failed(FailureKind::Transient, Some(200), false), 100, 200),
        (failed(FailureKind::Transient, None, true), 1, 45),
        (failed(FailureKind::Configuration, None, false), 7, 7),
    ] {
        let (state, _) = next(at(0), 0.5, MINUTE, requesting, event);
        let (state, action) = next(at(asked_at), 0.5, MINUTE, state, Event::RefreshAsked);
        assert_eq!(action == Action::Request, asked_at == expected, "{event:?}");
        if action != Action::Request {
            assert_eq!(state.next_attempt(), Some(at(expected)), "{event:?}");
            // Asking again changes nothing.
            assert_eq!(next(at(asked_at), 0.5, MINUTE, state, Event::RefreshAsked).0, state);
        }
    }
}

#[test]
fn a_request_that_hung_was_a_pause() {
    let (mut state, _) = next(at(0), 1.0, MINUTE, State::new(at(0)), Event::Look);
    state.failures = 40;
    let failed = Event::Failed { kind: FailureKind::Transient, retry_after: None, throttled: false };
    for (took, left) in [(0, 60_000), (45, 15_000), (60, 250), (900, 250)] {
        let (after, _) = next(at(took), 1.0, MINUTE, state, failed);
        assert_eq!(after.pause(at(took)).as_millis(), left, "{took}");
    }
}

#[derive(Debug, Clone)]
enum Turn {
    /// The clock moves by so many seconds, either way, while waiting or while a request is under way.
    Clock(i64),
    /// Somebody asks for another token.
    Ask,
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
            Just(Turn::Ask),
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
                (Turn::Ask, Action::Wait(_)) => Event::RefreshAsked,
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
                    renewal: if life % 2 == 0 { Renewal::BeforeExpiry } else { Renewal::MetadataServer },
                },
                (Turn::Fail(kind, wish, throttled), Action::Request) => {
                    Event::Failed { kind, retry_after: wish.map(Duration::from_secs), throttled }
                }
                (_, Action::Wait(pause)) => { now += pause; Event::Look }
                (Turn::Ask, Action::Request) | (_, Action::TellExpired) => Event::Look,
            };
            let (after, what) = next(now, dice, look, state, event);
            if let Action::Wait(pause) = what {
                prop_assert!(pause <= LONGEST_WAIT && !pause.is_zero(), "{pause:?}");
                prop_assert!(after.pause(now) <= PAUSE_FOR_A_PERSON.max(Duration::from_secs(50_000)));
            }
            if matches!(state.phase, Phase::Requesting { .. }) && matches!(event, Event::Look | Event::RefreshAsked) {
                prop_assert!(!matches!(what, Action::Request), "two requests at once");
            }
            if event == Event::RefreshAsked {
                prop_assert!(after.pause(now) <= state.pause(now), "asking put the attempt off");
            }
            if matches!(event, Event::Failed { .. }) {
                prop_assert_eq!(after.token, state.token, "a failure displaced a token");
            }
            (state, action) = (after, what);
        }
    }

    /// With a server that answers within ten seconds, what is published is good for another minute at every moment, unless
    /// tokens do not live for two; and no token expires.
    #[test]
    fn a_healthy_server_means_a_good_token_at_every_moment(
        life in 30_u64..50_000, dice in 0.0_f64..1.0, look in 1_u64..100, latency in 0_u64..10,
    ) {
        let (life, look) = (Duration::from_secs(life), Duration::from_secs(look));
        let latency = Duration::from_secs(latency).min(life / 4);
        let mut now = at(0);
        let mut published = None;
        let (mut state, mut action) = next(now, dice, look, State::new(now), Event::Look);
        for _ in 0..500 {
            let event = match action {
                Action::Request => {
                    let obtained_at = now;
                    now += latency;
                    let expires_at = obtained_at + life;
                    if let Some(end) = published {
                        let left: Duration = now.max(end).duration_since(now).unwrap();
                        let least = if life >= 2 * MINUTE { MINUTE } else { Duration::from_secs(1) };
                        prop_assert!(left >= least, "{left:?} left of {life:?}");
                    }
                    published = Some(expires_at);
                    Event::Obtained { obtained_at, expires_at, renewal: Renewal::BeforeExpiry }
                }
                Action::Wait(pause) => { now += pause; Event::Look }
                Action::TellExpired => panic!("a token expired"),
            };
            (state, action) = next(now, dice, look, state, event);
        }
        prop_assert!(state.failures() == 0);
    }

    /// A metadata server gives the same token until `margin` before its end; it is asked but a few times a life, and no
    /// token expires.
    #[test]
    fn a_metadata_server_is_not_spun_upon(dice in 0.0_f64..1.0, look in 1_u64..100, margin in 240_u64..301, age in 0_u64..3500) {
        let look = Duration::from_secs(look);
        let life = Duration::from_secs(3600);
        let mut now = at(0);
        // The token that the server has when we come.
        let mut end = at(0) + life - Duration::from_secs(age);
        let (mut state, mut action) = next(now, dice, look, State::new(now), Event::Look);
        let (mut requests, start) = (0_u32, now);
        while now < start + 10 * life {
            let event = match action {
                Action::Request => {
                    requests += 1;
                    if end.duration_since(now).unwrap_or_default() <= Duration::from_secs(margin) {
                        end = now + life;
                    }
                    Event::Obtained { obtained_at: now, expires_at: end, renewal: Renewal::MetadataServer }
                }
                Action::Wait(pause) => { now += pause; Event::Look }
                Action::TellExpired => panic!("a token expired"),
            };
            (state, action) = next(now, dice, look, state, event);
        }
        prop_assert!(requests <= 14, "{requests} requests in ten lives");
    }

    /// An outage of any length ends within a minute of its end, whatever the failures were that need no person.
    #[test]
    fn an_outage_is_over_a_minute_after_its_end(failures in 1_u32..200, dice in 0.0_f64..1.0, life in prop::option::of(30_u64..5000)) {
        let mut now = at(0);
        let (mut state, mut action) = next(now, dice, MINUTE, State::new(now), Event::Look);
        if let Some(life) = life {
            (state, action) = next(now, dice, MINUTE, state, obtained(0, life));
        }
        let mut failed = 0;
        let mut ended = None;
        loop {
            let event = match action {
                Action::Request if failed < failures => {
                    failed += 1;
                    Event::Failed { kind: FailureKind::Transient, retry_after: None, throttled: false }
                }
                Action::Request => break,
                Action::Wait(pause) => { now += pause; Event::Look }
                Action::TellExpired => Event::Look,
            };
            if failed == failures {
                ended.get_or_insert(now);
            }
            (state, action) = next(now, dice, MINUTE, state, event);
        }
        let healed = now.duration_since(ended.unwrap_or(now)).unwrap();
        prop_assert!(healed <= MINUTE, "{healed:?}");
        prop_assert!(state.failures() == failures);
    }

    /// New content of the credential's file is a reason to ask at once, whatever the state.
    #[test]
    fn a_changed_credential_is_used_at_once(dice in 0.0_f64..1.0, life in 30_u64..5000, fails in any::<bool>()) {
        let (requesting, _) = next(at(0), dice, MINUTE, State::new(at(0)), Event::Look);
        let event = if fails {
            Event::Failed { kind: FailureKind::NeedsPerson, retry_after: None, throttled: false }
        } else {
            obtained(0, life)
        };
        let (state, _) = next(at(0), dice, MINUTE, requesting, event);
        let (_, action) = next(at(1), dice, MINUTE, state, Event::CredentialChanged);
        prop_assert_eq!(action, Action::Request);
    }

    /// However often somebody asks, and whatever is answered: no attempt begins within five seconds of the end of the one
    /// before unless the keeper planned it so itself, none before the time that the server wished for, and after that
    /// time the first who asks has one.
    #[test]
    fn who_asks_is_served_but_does_not_spin(
        outcomes in prop::collection::vec((0_u8..4, 0_u64..300, 1_u64..20), 1..40),
        every in 1_u64..30, dice in 0.0_f64..1.0,
    ) {
        let mut now = at(0);
        let (mut state, mut action) = next(now, dice, MINUTE, State::new(now), Event::Look);
        for (outcome, wish, latency) in outcomes {
            prop_assert_eq!(action, Action::Request);
            now += Duration::from_secs(latency);
            // Who asks meanwhile gets the answer of this one.
            let (same, what) = next(now, dice, MINUTE, state, Event::RefreshAsked);
            prop_assert_eq!(same.phase, state.phase);
            prop_assert!(!matches!(what, Action::Request));
            let retry_after = (outcome == 2).then(|| Duration::from_secs(wish));
            let event = match outcome {
                0 => Event::Obtained { obtained_at: now, expires_at: now + 60 * MINUTE, renewal: Renewal::BeforeExpiry },
                1 => Event::Failed { kind: FailureKind::NeedsPerson, retry_after, throttled: false },
                _ => Event::Failed { kind: FailureKind::Transient, retry_after, throttled: outcome == 3 },
            };
            let ended = now;
            let (after, what) = next(now, dice, MINUTE, state, event);
            let planned = after.next_attempt().unwrap();
            let least = match event {
                Event::Failed { throttled: true, .. } => planned,
                _ => ended + BETWEEN_ASKED.max(retry_after.unwrap_or_default()),
            };
            (state, action) = (after, what);
            while action != Action::Request {
                prop_assert!(now < planned.min(least), "asked for at {now:?}, and no attempt");
                now = (now + Duration::from_secs(every)).min(planned.min(least));
                (state, action) = next(now, dice, MINUTE, state, Event::RefreshAsked);
                if action == Action::TellExpired {
                    (state, action) = next(now, dice, MINUTE, state, Event::Look);
                }
            }
            prop_assert!(now >= planned.min(least), "{:?} after the one before", now.duration_since(ended));
        }
    }
}
