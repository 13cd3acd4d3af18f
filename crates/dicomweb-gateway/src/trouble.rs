//! What goes wrong, told to the log once and not with every request.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

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
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (store.name.clone(), refusal.failure().remedy.clone());
        let is_new = told.len() < MOST && told.insert(key);
        drop(told);
        let (title, words) = (store.title(), refusal.in_words());
        if is_new {
            tracing::error!("{title}: {what} failed: {words}");
        } else {
            tracing::info!("{title}: {what} failed as others before: {words}");
        }
    }

    /// A request of `store` succeeded: what fails from now on is news.
    pub(crate) fn mended(&self, store: &Store) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, _)| *name != store.name);
    }
}
