//! What goes wrong, told to the log once and not with every request.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use google_credentials::Failure;

use crate::{refusal::Refusal, store::Store};

/// How many different ones are told before they only go to the level below: a log is read by people.
const MOST: usize = 50;

/// Whoever was turned away has no account; no account has this name.
const NOBODY: &str = "";

/// What was told of each account and not yet mended.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    told: Mutex<HashSet<(String, String)>>,
}

impl Troubles {
    /// A request of `store` failed. `what` says which: `GET studies/1.2.3`.
    pub(crate) fn tell(&self, store: &Store, what: &str, refusal: &Refusal) {
        let (title, words) = (store.title(), refusal.in_words());
        if self.is_news(&store.name, &refusal.failure().remedy) {
            tracing::error!("{title}: {what} failed: {words}");
        } else {
            tracing::info!("{title}: {what} failed as others before: {words}");
        }
    }

    /// Some instances of an upload to `store` failed; `what` says how many.
    pub(crate) fn tell_in_part(&self, store: &Store, what: &str, failure: &Failure) {
        let title = store.title();
        if self.is_news(&store.name, &failure.to_string()) {
            tracing::error!("{title}: {what} could not be stored: {failure}");
        } else {
            tracing::info!("{title}: {what} could not be stored, as others before: {failure}");
        }
    }

    /// Somebody was turned away at the door. Any program of this machine can knock as often as it likes, so that is told once
    /// and stays told.
    pub(crate) fn turned_away(&self, why: &str) {
        if self.is_news(NOBODY, why) {
            tracing::warn!("the gateway refuses a request: {why}");
        } else {
            tracing::info!("the gateway refuses a request, as others before: {why}");
        }
    }

    fn is_news(&self, account: &str, words: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < MOST && told.insert((account.to_owned(), words.to_owned()))
    }

    /// A request of `store` succeeded: what fails from now on is news.
    pub(crate) fn mended(&self, store: &Store) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, _)| *name != store.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_and_not_without_end() {
        let troubles = Troubles::default();
        assert!(troubles.is_news(NOBODY, "no secret"));
        assert!(!troubles.is_news(NOBODY, "no secret"));
        assert!(troubles.is_news("hospital", "no secret"));
        let told = (0..1000).filter(|number| troubles.is_news(NOBODY, &number.to_string())).count();
        assert_eq!(told, MOST - 2);
    }
}
