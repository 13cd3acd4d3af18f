//! Which instances there are, and what has become of each: none is written twice, none forgotten.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::odd::Odd;
use crate::dicom_identity::Uid;

/// An instance within its study.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) series: Uid,
    pub(super) instance: Uid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Listed, and nobody fetches it.
    Waiting,
    /// Somebody fetches or writes it.
    Claimed,
    Written,
}

/// The instances of what is retrieved.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    states: HashMap<Key, State>,
    /// Those that a search has found; a stream may bring others, or be faster.
    found: HashSet<Key>,
    /// How many of each series are waiting.
    waiting: HashMap<Uid, usize>,
    /// Those without valid UIDs: each with why it could not be retrieved.
    odd: BTreeMap<Odd, Option<String>>,
    written: usize,
    is_whole: bool,
}

impl Ledger {
    /// A search has found it. Whether that is new.
    pub(super) fn list(&mut self, key: Key) -> bool {
        if !self.states.contains_key(&key) {
            self.set(&key, State::Waiting);
        }
        self.found.insert(key)
    }

    /// A search has found one without valid UIDs. Whether that is new.
    pub(super) fn list_odd(&mut self, odd: Odd) -> bool {
        if self.odd.contains_key(&odd) {
            return false;
        }
        self.odd.insert(odd, None).is_none()
    }

    /// It was written.
    pub(super) fn wrote_odd(&mut self) {
        self.written += 1;
    }

    /// It cannot be retrieved.
    pub(super) fn lost_odd(&mut self, odd: Odd, why: String) {
        self.odd.insert(odd, Some(why));
    }

    /// Those without valid UIDs that could not be retrieved, with the reason.
    pub(super) fn lost(&self) -> impl Iterator<Item = (&Odd, &str)> {
        self.odd.iter().filter_map(|(odd, why)| Some((odd, why.as_deref()?)))
    }

    /// The search has found everything.
    pub(super) fn listed_whole(&mut self) {
        self.is_whole = true;
    }

    /// Whether everything is listed, and of this series nothing is left to be fetched by anybody who has not begun.
    pub(super) fn has_nothing_left(&self, series: &Uid) -> bool {
        self.is_whole && self.waiting.get(series).is_none_or(|waiting| *waiting == 0)
    }

    /// Lets one caller fetch it, whether it is listed or not; false if somebody does already, or has done.
    pub(super) fn claim(&mut self, key: &Key) -> bool {
        let is_free = self.states.get(key).is_none_or(|state| *state == State::Waiting);
        if is_free {
            self.set(key, State::Claimed);
        }
        is_free
    }

    /// Whoever has claimed it could not fetch it.
    pub(super) fn release(&mut self, key: &Key) {
        if self.states.get(key) == Some(&State::Claimed) {
            self.set(key, State::Waiting);
        }
    }

    fn set(&mut self, key: &Key, state: State) {
        let before = self.states.insert(key.clone(), state);
        let waiting = self.waiting.entry(key.series.clone()).or_default();
        *waiting += usize::from(state == State::Waiting);
        *waiting -= usize::from(before == Some(State::Waiting));
    }

    /// Whoever has claimed it has written it.
    pub(super) fn wrote(&mut self, key: &Key) {
        if let Some(state) = self.states.get_mut(key)
            && *state == State::Claimed
        {
            *state = State::Written;
            self.written += 1;
        }
    }

    /// The instances of a series that nobody has claimed.
    pub(super) fn waiting(&self, series: &Uid) -> Vec<Key> {
        let waiting =
            self.states.iter().filter(|(key, state)| key.series == *series && **state == State::Waiting);
        waiting.map(|(key, _)| key.clone()).collect()
    }

    /// How many there are.
    pub(super) fn listed(&self) -> usize {
        self.states.len() + self.odd.len()
    }

    /// How many there are, and how many of them are written.
    pub(super) fn listed_and_written(&self) -> (usize, usize) {
        (self.listed(), self.written())
    }

    /// How many of them are written.
    pub(super) fn written(&self) -> usize {
        self.written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(instance: &str) -> Key {
        let uid = |text: &str| Uid::parse(text.as_bytes()).unwrap();
        Key { series: uid("1.2"), instance: uid(instance) }
    }

    #[test]
    fn an_instance_is_written_once() {
        let mut ledger = Ledger::default();
        assert!(ledger.list(key("1")));
        assert!(!ledger.list(key("1")));
        assert!(ledger.list(key("2")));
        assert!(ledger.claim(&key("1")));
        assert!(!ledger.claim(&key("1")));
        ledger.wrote(&key("1"));
        ledger.wrote(&key("1"));
        ledger.release(&key("1"));
        assert!(!ledger.claim(&key("1")));
        assert_eq!(ledger.listed_and_written(), (2, 1));
        assert_eq!(ledger.waiting(&key("1").series), [key("2")]);
        assert!(!ledger.has_nothing_left(&key("1").series));
        assert!(ledger.claim(&key("2")));
        assert!(!ledger.has_nothing_left(&key("1").series));
        ledger.listed_whole();
        assert!(ledger.has_nothing_left(&key("1").series));
    }

    #[test]
    fn what_could_not_be_fetched_waits_again_and_what_comes_unlisted_counts() {
        let mut ledger = Ledger::default();
        assert!(ledger.claim(&key("9")));
        // It is news all the same that the search knows it.
        assert!(ledger.list(key("9")));
        assert!(!ledger.list(key("9")));
        ledger.release(&key("9"));
        assert_eq!(ledger.waiting(&key("9").series), [key("9")]);
        assert!(ledger.claim(&key("9")));
        ledger.wrote(&key("9"));
        assert_eq!(ledger.listed_and_written(), (1, 1));
    }
}
