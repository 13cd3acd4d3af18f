//! How many batches are under way at once: a pure decision from what was acknowledged, and when.

use std::time::{Duration, SystemTime};

/// What an upload begins with: at a round trip of 40 ms eight connections carry six times what one does.
const FIRST: usize = 8;
/// More brought nothing in measurements, and each holds a batch in memory.
pub(crate) const MOST: usize = 32;
/// How long a batch waits for a place before [`Parallelism::waited`] is told.
pub(crate) const PATIENCE: Duration = Duration::from_millis(20);
/// By so many it grows then.
const STEP: usize = 6;
/// By so much a round has to be faster than the one before the last growth to be worth another.
const FASTER: f64 = 1.05;
/// Complaints within so short a time are of one cause, and count once.
const ONE_CAUSE: Duration = Duration::from_secs(1);

/// The limit to how many batches are under way, which finds itself.
///
/// If nothing has come back while batches wait for places, the line is long: connecting alone takes three round trips, and
/// many connections are what fills such a line. So it grows with the time, until the first acknowledgement. From then on
/// it goes in rounds of a few of them. While every round is faster than the one before, and the limit was what
/// kept it from being faster still, the limit doubles, as TCP's window does in slow start (RFC 5681 section 3.1); after the
/// server has complained of load, it grows by one a round.
#[derive(Debug, Clone)]
pub(crate) struct Parallelism {
    limit: usize,
    round: Round,
    /// Bytes a second of the last round that led to growth.
    best: f64,
    complained: Option<SystemTime>,
    /// Nothing has been acknowledged yet.
    is_blind: bool,
}

/// What was acknowledged since `began`.
#[derive(Debug, Clone)]
struct Round {
    began: SystemTime,
    acknowledgements: usize,
    bytes: u64,
    /// Whether there was ever as much under way as is allowed.
    was_full: bool,
}

impl Round {
    fn new(began: SystemTime) -> Self {
        Self { began, acknowledgements: 0, bytes: 0, was_full: false }
    }
}

impl Parallelism {
    pub(crate) fn new(now: SystemTime) -> Self {
        Self { limit: FIRST, round: Round::new(now), best: 0.0, complained: None, is_blind: true }
    }

    /// How many batches may be under way.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// A batch has waited for a place for [`PATIENCE`].
    pub(crate) fn waited(&mut self) {
        if self.is_blind && self.complained.is_none() {
            self.limit = (self.limit + STEP).min(MOST);
        }
    }

    /// Whether waiting can still change it.
    pub(crate) fn is_blind(&self) -> bool {
        self.is_blind && self.complained.is_none() && self.limit < MOST
    }

    /// A batch of so many bytes was acknowledged, while `under_way` of them were under way, itself included.
    pub(crate) fn acknowledged(&mut self, now: SystemTime, bytes: u64, under_way: usize) {
        self.is_blind = false;
        self.round.acknowledgements += 1;
        self.round.bytes += bytes;
        self.round.was_full |= under_way >= self.limit;
        if self.round.acknowledgements < (self.limit / 2).max(1) {
            return;
        }
        let seconds = now.duration_since(self.round.began).unwrap_or_default().as_secs_f64();
        // A clock that stands still, or went back, tells nothing.
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
        let rate = if seconds > 0.0 { self.round.bytes as f64 / seconds } else { 0.0 };
        if self.round.was_full && rate > self.best * FASTER {
            self.best = rate;
            let step = if self.complained.is_some() { 1 } else { self.limit };
            self.limit = (self.limit + step).min(MOST);
        }
        self.round = Round::new(now);
    }

    /// The server, or the line, has complained of load: 429, 503, or nothing at all.
    pub(crate) fn complained(&mut self, now: SystemTime) {
        let recently = self
            .complained
            .is_some_and(|before| now.duration_since(before).is_ok_and(|since| since < ONE_CAUSE));
        if !recently {
            self.limit = (self.limit / 2).max(1);
            self.complained = Some(now);
            self.best = 0.0;
            self.round = Round::new(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    const BATCH: u64 = 4 << 20;

    #[test]
    fn it_is_at_its_most_after_a_dozen_acknowledgements_while_throughput_grows() {
        let mut parallelism = Parallelism::new(at(0));
        let mut limits = Vec::new();
        for (acknowledged, time) in (0..).zip([50, 80, 100, 120, 130, 140, 150, 160, 165, 170, 175, 180]) {
            limits.push(parallelism.limit());
            parallelism.acknowledged(at(time), BATCH, parallelism.limit());
            assert!(acknowledged < 12);
        }
        assert_eq!(limits, [8, 8, 8, 8, 16, 16, 16, 16, 16, 16, 16, 16]);
        assert_eq!(parallelism.limit(), MOST);
    }

    #[test]
    fn a_line_on_which_nothing_comes_back_is_long() {
        let mut parallelism = Parallelism::new(at(0));
        for _ in 0..10 {
            parallelism.waited();
        }
        assert_eq!(parallelism.limit(), MOST);
        let mut parallelism = Parallelism::new(at(0));
        parallelism.acknowledged(at(5), BATCH, 8);
        parallelism.waited();
        assert_eq!(parallelism.limit(), FIRST);
        let mut parallelism = Parallelism::new(at(0));
        parallelism.complained(at(10));
        parallelism.waited();
        assert_eq!(parallelism.limit(), FIRST / 2);
    }

    #[test]
    fn it_stays_where_more_brought_nothing() {
        let mut parallelism = Parallelism::new(at(0));
        // One every 10 ms, whatever is under way.
        for number in 1..=200 {
            parallelism.acknowledged(at(number * 10), BATCH, parallelism.limit());
        }
        assert_eq!(parallelism.limit(), 16);
    }

    #[test]
    fn it_stays_where_it_is_not_the_limit() {
        let mut parallelism = Parallelism::new(at(0));
        for number in 1..=200 {
            parallelism.acknowledged(at(number), BATCH * number, 3);
        }
        assert_eq!(parallelism.limit(), FIRST);
    }

    #[test]
    fn complaints_of_one_cause_halve_it_once_and_it_comes_back_slowly() {
        let mut parallelism = Parallelism::new(at(0));
        for _ in 0..20 {
            parallelism.complained(at(10));
        }
        assert_eq!(parallelism.limit(), 4);
        parallelism.complained(at(1010));
        assert_eq!(parallelism.limit(), 2);
        parallelism.acknowledged(at(1100), BATCH, 2);
        assert_eq!(parallelism.limit(), 3);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Acknowledged(u64, usize),
        Complained,
        Waited,
    }

    proptest! {
        #[test]
        fn it_is_always_between_one_and_the_most(
            events in prop::collection::vec(
                (0u64..5000, prop_oneof![
                    (0u64..=u64::from(u32::MAX), 0usize..64).prop_map(|(bytes, under_way)| Event::Acknowledged(bytes, under_way)),
                    Just(Event::Complained),
                    Just(Event::Waited),
                ]), 0..300)
        ) {
            let mut parallelism = Parallelism::new(at(2000));
            for (time, event) in events {
                let before = parallelism.limit();
                match event {
                    Event::Acknowledged(bytes, under_way) => {
                        parallelism.acknowledged(at(time), bytes, under_way);
                        prop_assert!(parallelism.limit() >= before);
                    }
                    Event::Waited => {
                        parallelism.waited();
                        prop_assert!(parallelism.limit() >= before);
                    }
                    Event::Complained => {
                        parallelism.complained(at(time));
                        prop_assert!(parallelism.limit() <= before);
                    }
                }
                prop_assert!((1..=MOST).contains(&parallelism.limit()));
            }
        }
    }
}
