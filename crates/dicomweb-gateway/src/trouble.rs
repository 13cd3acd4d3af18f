//! What goes wrong, told to the log once and not with every request.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use google_credentials::Failure;

use crate::{refusal::Refusal, store::Store};

/// How many different ones are told before they only go to the level below: a log is read by people.
const MOST: usize = 50;

/// What was told of each account and not yet mended.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    told: Mutex<HashSet<(String, String)>>,
}

impl Troubles {
    /// A request of `store` failed. `what` says which: `GET studies/1.2.3`.
    pub(crate) fn tell(&self, store: &Store, what: &str, refusal: &Refusal) {
        let (title, words) = (store.title(), refusal.in_words());
        if self.is_news(store, &refusal.failure().remedy) {
            tracing::error!("{title}: {what} failed: {words}");
        } else {
            tracing::info!("{title}: {what} failed as others before: {words}");
        }
    }

    /// Some instances of an upload to `store` failed; `what` says how many.
    pub(crate) fn tell_in_part(&self, store: &Store, what: &str, failure: &Failure) {
        let title = store.title();
        if self.is_news(store, &failure.to_string()) {
            tracing::error!("{title}: {what} could not be stored: {failure}");
        } else {
            tracing::info!("{title}: {what} could not be stored, as others before: {failure}");
        }
    }

    fn is_news(&self, store: &Store, words: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < MOST && told.insert((store.name.clone(), words.to_owned()))
    }

    /// A request of `store` succeeded: what fails from now on is news.
    pub(crate) fn mended(&self, store: &Store) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, _)| *name != store.name);
    }
}
