//! What goes wrong, told to the log once and not with every request.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use google_credentials::Failure;
use http::StatusCode;

use crate::{refusal::Refusal, store::Store};

/// How many different ones of an act with a store are told before they only go to the level below: a log is read by people.
const MOST: usize = 50;
/// What comes and goes is told anew after so long.
const ANEW: Duration = Duration::from_secs(600);

/// What is done with a store. One may work while another does not: the role that reads does not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    /// STOW-RS.
    Upload,
    /// The same, of single instances: that others are stored does not mend it.
    Instance,
    /// WADO-RS of a study or series.
    Retrieval,
    /// Searches, and everything else that reads.
    Reading,
    /// Deletions, and everything else that changes the store.
    Change,
    /// Knocking at the door.
    Entry,
}

impl fmt::Display for Act {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Upload | Self::Instance => "uploads",
            Self::Retrieval => "retrievals",
            Self::Reading => "searches and single retrievals",
            Self::Change => "deletions and changes",
            Self::Entry => "requests",
        })
    }
}

/// Whose trouble, with what, and in which words.
type Key = (String, Act, String);

/// What was told.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    told: Mutex<HashMap<Key, Told>>,
}

#[derive(Debug)]
struct Told {
    at: SystemTime,
    /// It was told, and has not been mended since.
    stands: bool,
}

impl Troubles {
    /// A request of `store` failed. `what` says which: `GET studies/1.2.3`.
    pub(crate) fn tell(&self, store: &Store, act: Act, what: &str, refusal: &Refusal, now: SystemTime) {
        let (title, words, status) = (store.title(), refusal.in_words(), refusal.status());
        if status.is_server_error() || matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            store.in_trouble.notify_one();
        }
        if self.is_news(&store.name, act, &refusal.failure().remedy, now) {
            tracing::error!("{title}: {what} failed: {words}");
        } else {
            tracing::info!("{title}: {what} failed as others before: {words}");
        }
    }

    /// Some instances of an upload to `store` are not there; `what` says how many.
    pub(crate) fn tell_in_part(&self, store: &Store, what: &str, failure: &Failure, now: SystemTime) {
        let title = store.title();
        if self.is_news(&store.name, Act::Instance, &failure.to_string(), now) {
            tracing::error!("{title}: {what}: {failure}");
        } else {
            tracing::info!("{title}: {what}, as others before: {failure}");
        }
    }

    /// Somebody was turned away at the door. Any program of this machine can knock as often as it likes, so that is told once
    /// and stays told.
    pub(crate) fn turned_away(&self, why: &str) {
        if self.is_news("", Act::Entry, why, SystemTime::UNIX_EPOCH) {
            tracing::warn!("the gateway refuses a request: {why}");
        } else {
            tracing::info!("the gateway refuses a request, as others before: {why}");
        }
    }

    fn is_news(&self, account: &str, act: Act, words: &str, now: SystemTime) -> bool {
        let mut all = self.locked();
        let key = (account.to_owned(), act, words.to_owned());
        if let Some(told) = all.get_mut(&key) {
            let is_news = !told.stands && now.duration_since(told.at).is_ok_and(|since| since >= ANEW);
            if is_news {
                *told = Told { at: now, stands: true };
            }
            return is_news;
        }
        let is_such = |(name, of, _): &Key| name == account && *of == act;
        if all.keys().filter(|key| is_such(key)).count() >= MOST {
            all.retain(|key, told| !is_such(key) || told.stands);
        }
        let has_room = all.keys().filter(|key| is_such(key)).count() < MOST;
        if has_room {
            all.insert(key, Told { at: now, stands: true });
        }
        has_room
    }

    /// `act` has succeeded at `store`. Said once, if anything else was told of it.
    pub(crate) fn mended(&self, store: &Store, act: Act) {
        if self.is_mended(&store.name, act) {
            tracing::warn!("{}: {act} work again", store.title());
        }
    }

    fn is_mended(&self, account: &str, act: Act) -> bool {
        let mut is_mended = false;
        for ((name, of, _), told) in &mut *self.locked() {
            if name == account && *of == act {
                is_mended |= std::mem::take(&mut told.stands);
            } else if name == account && (*of, act) == (Act::Instance, Act::Upload) {
                // It may be told anew. The store still lacks these instances, so that it is no news that others are stored.
                told.stands = false;
            }
        }
        is_mended
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Key, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_same_is_told_once_and_not_without_end() {
        let troubles = Troubles::default();
        assert!(troubles.is_news("", Act::Entry, "no secret", at(0)));
        assert!(!troubles.is_news("", Act::Entry, "no secret", at(9999)));
        assert!(troubles.is_news("hospital", Act::Upload, "no secret", at(0)));
        let is_told = |number: &u32| troubles.is_news("", Act::Entry, &number.to_string(), at(0));
        assert_eq!((0..1000).filter(is_told).count(), MOST - 1);
        assert!(troubles.is_news("hospital", Act::Upload, "no role", at(0)));
    }

    #[test]
    fn what_works_mends_itself_alone_and_what_comes_and_goes_is_told_now_and_then() {
        let troubles = Troubles::default();
        let fails = |act, seconds| troubles.is_news("hospital", act, "403", at(seconds));
        assert!(fails(Act::Upload, 0) && fails(Act::Reading, 0));
        for seconds in 1..12 {
            assert_eq!(troubles.is_mended("hospital", Act::Reading), seconds == 1);
            assert!(!fails(Act::Upload, seconds) && !fails(Act::Reading, seconds));
        }
        assert!(fails(Act::Reading, ANEW.as_secs()) && !fails(Act::Upload, ANEW.as_secs()));
        assert!(troubles.is_mended("hospital", Act::Upload) && !troubles.is_mended("other", Act::Reading));
        // That others are stored is no news of an instance that was not.
        assert!(fails(Act::Instance, 0) && !troubles.is_mended("hospital", Act::Upload));
        assert!(!fails(Act::Instance, 1) && fails(Act::Instance, ANEW.as_secs()));
    }
}
