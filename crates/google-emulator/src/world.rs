//! What all requests share: the state of the pretend Google.

use crate::{
    archive::Archive,
    clock::machine_now,
    faults::Faults,
    identity::Identity,
    record::Record,
    settings::Settings,
    tokens::{Standing, Token, TokenBook},
};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

/// One pretend Google.
pub(crate) struct World {
    pub(crate) record: Record,
    pub(crate) faults: Faults,
    pub(crate) archive: Archive,
    /// Delete operations by their name, with the answer's `metadata`, and the polls still to be answered "not yet".
    pub(crate) operations: Mutex<HashMap<String, (serde_json::Value, u32)>>,
    /// Own URLs without a final slash: HTTP, HTTPS.
    pub(crate) urls: Vec<String>,
    pub(crate) verbose: bool,
    identity: RwLock<Identity>,
    settings: Mutex<Settings>,
    tokens: Mutex<TokenBook>,
    /// Assertions seen and ID tokens issued.
    other_secrets: Mutex<Vec<String>>,
}

impl World {
    pub(crate) fn new(
        identity: Identity,
        archive: Archive,
        settings: Settings,
        urls: Vec<String>,
        verbose: bool,
    ) -> Self {
        Self {
            record: Record::default(),
            faults: Faults::default(),
            archive,
            operations: Mutex::default(),
            urls,
            verbose,
            identity: RwLock::new(identity),
            settings: Mutex::new(settings),
            tokens: Mutex::default(),
            other_secrets: Mutex::default(),
        }
    }

    /// Seconds since 1970 by the emulator's own clock.
    pub(crate) fn now(&self) -> i64 {
        machine_now().saturating_add(self.settings().clock_offset_seconds)
    }

    pub(crate) fn identity(&self) -> RwLockReadGuard<'_, Identity> {
        self.identity.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change_identity<T>(&self, change: impl FnOnce(&mut Identity) -> T) -> T {
        change(&mut self.identity.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }

    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut lock(&self.settings));
    }

    /// The URLs of the token endpoint, each a valid audience.
    pub(crate) fn token_urls(&self) -> Vec<String> {
        self.urls.iter().map(|url| format!("{url}/token")).collect()
    }

    pub(crate) fn enter_token(&self, text: String, token: Token) {
        lock(&self.tokens).enter(text, token);
    }

    pub(crate) fn revoke_tokens(&self) {
        lock(&self.tokens).revoke_all();
    }

    pub(crate) fn tokens_issued(&self) -> Vec<String> {
        lock(&self.tokens).issued()
    }

    /// What presenting the token `text` now leads to.
    pub(crate) fn standing(&self, text: &str) -> Standing {
        let now = self.now();
        lock(&self.tokens).standing(text, now)
    }

    /// Remembers one more text for [`World::secrets`].
    pub(crate) fn note_secret(&self, text: &str) {
        lock(&self.other_secrets).push(text.to_owned());
    }

    /// Everything that must never reach a log.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let mut secrets = self.identity().secrets();
        secrets.extend(self.tokens_issued());
        secrets.extend(lock(&self.other_secrets).iter().cloned());
        secrets
    }
}

/// The lock, also when a thread panicked while holding it: the data are whole between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
