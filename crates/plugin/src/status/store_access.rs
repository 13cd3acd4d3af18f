//! What a DICOM store makes of an account, from one answer to the next: pure decisions.

use std::time::SystemTime;

use google_credentials::{Failure, FailureKind, PastFailure};

/// What the store has said so far.
#[derive(Debug, Default)]
pub(super) struct StoreAccess {
    /// The newest failure that counts, be it over or not.
    failure: Option<PastFailure>,
    is_healed: bool,
    /// When it last let the account in again.
    healed_at: Option<SystemTime>,
    /// It has let the account in before.
    has_accepted: bool,
    /// The newest answer was a failure that may have been an accident.
    is_doubted: bool,
}

/// What somebody has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It lets the account in for the first time, and nothing went wrong before.
    Accepts,
    /// It lets the account in again.
    AcceptsAgain,
    /// It cannot be used from now on, or for another reason than before.
    Fails,
}

/// How it was found that the store cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// By one search.
    Look,
    /// Step by step, and somebody waits for the result.
    Examination,
}

impl StoreAccess {
    /// It lets the account in.
    pub(super) fn accepts(&mut self, at: SystemTime) -> Option<News> {
        let news = match self.lasting() {
            Some(_) => Some(News::AcceptsAgain),
            None => (!self.has_accepted).then_some(News::Accepts),
        };
        if news == Some(News::AcceptsAgain) {
            self.healed_at = Some(at);
        }
        self.is_healed = true;
        self.has_accepted = true;
        self.is_doubted = false;
        news
    }

    /// It cannot be used.
    ///
    /// What heals by itself counts from the second in a row on, or at once where an examination has found it.
    pub(super) fn fails(&mut self, failure: Failure, at: SystemTime, proof: Proof) -> Option<News> {
        let is_transient = failure.kind == FailureKind::Transient;
        let lasting = self.lasting();
        let may_be_an_accident = lasting.is_none() && is_transient && proof == Proof::Look;
        if may_be_an_accident && !self.is_doubted {
            self.is_doubted = true;
            return None;
        }
        let (at, news) = match lasting {
            // What waits for a person goes on doing so, whatever comes between.
            Some(past) if is_transient && past.failure.kind != FailureKind::Transient => return None,
            // An outage has many faces: its words are the newest, but it is one.
            Some(past) if is_transient => (past.at, None),
            Some(past) if past.failure.remedy == failure.remedy => (past.at, None),
            None | Some(_) => (at, Some(News::Fails)),
        };
        self.failure = Some(PastFailure { at, failure });
        self.is_healed = false;
        self.is_doubted = false;
        news
    }

    /// The newest failure that counts, and whether it is over.
    pub(super) fn newest(&self) -> Option<(&PastFailure, bool)> {
        self.failure.as_ref().map(|past| (past, self.is_healed))
    }

    /// Since when all is well: since `since`, when everything else was, or since the store has healed, if that came later.
    pub(super) fn well_since(&self, since: SystemTime) -> SystemTime {
        self.healed_at.map_or(since, |healed_at| healed_at.max(since))
    }

    /// The failure that is not over.
    pub(super) fn lasting(&self) -> Option<&PastFailure> {
        self.failure.as_ref().filter(|_| !self.is_healed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use FailureKind::{NeedsPerson, Transient};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn failure(kind: FailureKind, remedy: &str) -> Failure {
        Failure::new(kind, "it answered something else", remedy)
    }

    #[test]
    fn each_change_is_told_once() {
        let mut store = StoreAccess::default();
        assert_eq!([0, 0].map(|time| store.accepts(at(time))), [Some(News::Accepts), None]);
        let role = || failure(NeedsPerson, "grant the role");
        assert_eq!(store.fails(role(), at(1), Proof::Look), Some(News::Fails));
        assert_eq!(store.fails(role(), at(2), Proof::Look), None);
        assert_eq!(store.lasting().unwrap().at, at(1));
        // A person is still needed, whatever the network does.
        assert_eq!(store.fails(failure(Transient, "wait"), at(3), Proof::Examination), None);
        assert_eq!(store.lasting().unwrap().failure.kind, NeedsPerson);
        assert_eq!(
            store.fails(failure(NeedsPerson, "enable the API"), at(4), Proof::Look),
            Some(News::Fails)
        );
        assert_eq!(store.lasting().unwrap().at, at(4));
        assert_eq!([5, 6].map(|time| store.accepts(at(time))), [Some(News::AcceptsAgain), None]);
        assert!(store.lasting().is_none());
        assert!(store.newest().unwrap().1);
        // The same again is news again.
        assert_eq!(store.fails(role(), at(7), Proof::Look), Some(News::Fails));
    }

    #[test]
    fn what_heals_by_itself_counts_from_the_second_in_a_row_on() {
        let mut store = StoreAccess::default();
        let fails = |store: &mut StoreAccess, seconds| {
            store.fails(failure(Transient, "wait"), at(seconds), Proof::Look)
        };
        for round in 0..3 {
            assert_eq!(fails(&mut store, round), None);
            assert!(store.lasting().is_none());
            store.accepts(at(round));
        }
        assert_eq!([4, 5, 6].map(|time| fails(&mut store, time)), [None, Some(News::Fails), None]);
        assert_eq!(store.lasting().unwrap().at, at(5));
        // Another face of the same outage.
        assert_eq!(store.fails(failure(Transient, "look at DNS"), at(7), Proof::Look), None);
        let now = store.lasting().unwrap();
        assert_eq!((now.at, now.failure.remedy.as_str()), (at(5), "look at DNS"));
        assert_eq!(
            store.fails(failure(NeedsPerson, "grant the role"), at(8), Proof::Look),
            Some(News::Fails)
        );
        assert_eq!(store.accepts(at(9)), Some(News::AcceptsAgain));
        // Somebody has examined it.
        assert_eq!(store.fails(failure(Transient, "wait"), at(10), Proof::Examination), Some(News::Fails));
    }
}
