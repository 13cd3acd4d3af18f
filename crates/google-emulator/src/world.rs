//! What all requests share: the state of the pretend Google.

use crate::{
    archive::Archive,
    clock::machine_now,
    credential_file::default_grants,
    faults::Faults,
    federation::{Federation, Provider, machine_account, workforce_principal},
    gauges::Meters,
    iam::Grants,
    identity::Identity,
    listen::Http2Windows,
    metadata, oauth,
    record::Record,
    settings::Settings,
    sources::Sessions,
    subject::Assertions,
    tokens::{Principal, Standing, Token, TokenBook},
    upstream::Upstream,
};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

/// What clients send as a secret may be nothing at all, or a word.
const SHORTEST_SECRET: usize = 12;

/// One pretend Google.
pub(crate) struct World {
    pub(crate) record: Record,
    pub(crate) faults: Faults,
    pub(crate) meters: Meters,
    pub(crate) archive: Archive,
    /// Delete operations by their name, with the answer's `metadata`, and the polls still to be answered "not yet".
    pub(crate) operations: Mutex<HashMap<String, (serde_json::Value, u32)>>,
    /// Own URLs without a final slash: HTTP, HTTPS.
    pub(crate) urls: Vec<String>,
    /// `ADDRESS:PORT` of the metadata server.
    pub(crate) metadata_host: String,
    pub(crate) verbose: bool,
    pub(crate) http2_windows: Http2Windows,
    /// Whose DICOM store it is, where it is not this one's.
    pub(crate) upstream: Option<Upstream>,
    federation: Federation,
    /// The workforce session's refresh token in force.
    workforce_refresh_token: Mutex<String>,
    grants: Mutex<Grants>,
    assertions: Mutex<Assertions>,
    imds_sessions: Mutex<Sessions>,
    metadata_cache: Mutex<metadata::Cache>,
    identity: RwLock<Identity>,
    settings: Mutex<Settings>,
    tokens: Mutex<TokenBook>,
    /// Assertions seen and ID tokens issued.
    other_secrets: Mutex<Vec<String>>,
}

impl World {
    pub(crate) fn new(
        identity: Identity,
        federation: Federation,
        archive: Archive,
        settings: Settings,
        urls: Vec<String>,
        metadata_host: String,
        verbose: bool,
    ) -> Self {
        let everybody = [
            identity.client_email.clone(),
            oauth::USER.to_owned(),
            machine_account(),
            workforce_principal(),
            Provider::Oidc.principal(),
            Provider::Aws.principal(),
        ];
        Self {
            record: Record::default(),
            faults: Faults::default(),
            meters: Meters::default(),
            archive,
            operations: Mutex::default(),
            urls,
            metadata_host,
            verbose,
            http2_windows: Http2Windows::default(),
            upstream: None,
            workforce_refresh_token: Mutex::new(federation.workforce.refresh_token.clone()),
            federation,
            grants: Mutex::new(default_grants(&everybody)),
            assertions: Mutex::default(),
            imds_sessions: Mutex::default(),
            metadata_cache: Mutex::default(),
            identity: RwLock::new(identity),
            settings: Mutex::new(settings),
            tokens: Mutex::default(),
            other_secrets: Mutex::default(),
        }
    }

    /// The same with other windows than Google's.
    pub(crate) fn with_http2_windows(self, http2_windows: Http2Windows) -> Self {
        Self { http2_windows, ..self }
    }

    /// The same with another server's DICOM store.
    pub(crate) fn with_upstream(self, upstream: Option<Upstream>) -> Self {
        Self { upstream, ..self }
    }

    /// The same with the tokens issued before it.
    pub(crate) fn with_tokens(self, tokens: TokenBook) -> Self {
        Self { tokens: Mutex::new(tokens), ..self }
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

    /// What presenting the token `text` now leads to, where one of `scopes` is needed.
    pub(crate) fn standing(&self, text: &str, scopes: &[&str]) -> Standing {
        let now = self.now();
        lock(&self.tokens).standing(text, now, scopes)
    }

    /// Whether `text` is a token that is neither expired nor revoked.
    pub(crate) fn is_live(&self, text: &str) -> bool {
        !matches!(self.standing(text, &[]), Standing::Expired | Standing::Unknown)
    }

    /// `http://…`, without a final slash.
    pub(crate) fn http_url(&self) -> &str {
        self.urls.first().map_or("", String::as_str)
    }

    /// `https://…`, without a final slash.
    pub(crate) fn https_url(&self) -> &str {
        self.urls.last().map_or("", String::as_str)
    }

    pub(crate) fn federation(&self) -> &Federation {
        &self.federation
    }

    pub(crate) fn workforce_refresh_token(&self) -> MutexGuard<'_, String> {
        lock(&self.workforce_refresh_token)
    }

    pub(crate) fn assertions(&self) -> MutexGuard<'_, Assertions> {
        lock(&self.assertions)
    }

    pub(crate) fn imds_sessions(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.imds_sessions)
    }

    pub(crate) fn metadata_cache(&self) -> MutexGuard<'_, metadata::Cache> {
        lock(&self.metadata_cache)
    }

    /// The service account with the key.
    pub(crate) fn service_account(&self) -> Principal {
        Principal::ServiceAccount(self.identity().client_email.clone())
    }

    /// Whether `from` may have tokens of the service account `to`.
    pub(crate) fn may_impersonate(&self, from: &str, to: &str) -> bool {
        lock(&self.grants).contains(&(from.to_owned(), to.to_owned()))
    }

    pub(crate) fn change_grants(&self, change: impl FnOnce(&mut Grants)) {
        change(&mut lock(&self.grants));
    }

    /// Remembers one more text for [`World::secrets`], unless it is so short that it is in any log by chance.
    pub(crate) fn note_secret(&self, text: &str) {
        let mut secrets = lock(&self.other_secrets);
        if text.len() >= SHORTEST_SECRET && !secrets.iter().any(|known| known == text) {
            secrets.push(text.to_owned());
        }
    }

    /// Everything that must never reach a log.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let mut secrets = self.identity().secrets();
        secrets.extend(self.federation.secrets());
        secrets.extend(self.tokens_issued());
        secrets.extend(lock(&self.other_secrets).iter().cloned());
        secrets
    }
}

/// The lock, also when a thread panicked while holding it: the data are whole between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
