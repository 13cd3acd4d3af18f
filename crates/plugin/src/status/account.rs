//! How it stands with one account.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::SystemTime,
};

use google_credentials::{Description, Failure, FailureKind, Health, HealthState, PastFailure, TokenHandle};
use orthanc_gcp_configuration::Account;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{
    Live, Named, Phase, Status,
    check::Checks,
    jobs::Job,
    json::{kind, mistake, optional_seconds_until, optional_time, time},
    locked,
    state::{ServerState, State},
    store_access::{News, Proof, StoreAccess},
};
use crate::gateway::Transport;

/// An account while the plugin's threads do their work.
pub(crate) struct LiveAccount {
    pub(crate) account: Account,
    pub(crate) transport: Transport,
    pub(crate) handle: TokenHandle,
    pub(super) checks: Checks,
    pub(super) description: Mutex<Option<Description>>,
    /// The metadata server is being asked whose tokens it gives.
    pub(super) is_being_described: AtomicBool,
    began: SystemTime,
    server: Mutex<ServerState>,
    /// Why no transfer can succeed, whatever token and store do.
    pub(crate) transport_failure: Option<Failure>,
    store: Mutex<StoreAccess>,
    /// An examination has found that the store cannot be used, or has not come to it: it is looked at again soon.
    pub(crate) examined_in_vain: Notify,
}

impl LiveAccount {
    pub(crate) fn new(account: Account, transport: Transport, handle: TokenHandle, now: SystemTime) -> Self {
        let (server, transport_failure) = match &transport {
            Transport::Blocked(failure) => (ServerState::Withheld, Some(failure.clone())),
            _ => (ServerState::Awaited, None),
        };
        Self {
            account,
            transport,
            handle,
            checks: Checks::default(),
            description: Mutex::default(),
            is_being_described: AtomicBool::new(false),
            began: now,
            server: Mutex::new(server),
            transport_failure,
            store: Mutex::default(),
            examined_in_vain: Notify::new(),
        }
    }

    /// The same, where no transfer can succeed for another reason than the gateway.
    pub(crate) fn with_transport_failure(mut self, failure: Option<Failure>) -> Self {
        self.transport_failure = self.transport_failure.or(failure);
        self
    }

    pub(crate) fn health(&self) -> Health {
        self.handle.health().borrow().clone()
    }

    /// The DICOMweb plugin shows the store a client certificate, which nobody else has. So nobody else can tell how the store
    /// takes the account.
    pub(crate) fn has_its_own_way_in(&self) -> bool {
        let is_set = |option: &str| {
            self.account.options.get(option).is_some_and(|value| !matches!(value, Value::Bool(false)))
        };
        // The gateway shows none.
        self.transport.is_direct() && (is_set("CertificateFile") || is_set("Pkcs11"))
    }

    /// What the DICOMweb plugin holds now.
    pub(crate) fn server_is(&self, state: ServerState) {
        let mut server = locked(&self.server);
        // A new token is given to the server that is there: it is held all the while.
        if (*server, state) != (ServerState::Held, ServerState::Awaited) {
            *server = state;
        }
    }

    /// The DICOMweb plugin has lost it.
    pub(crate) fn server_is_gone(&self) {
        *locked(&self.server) = ServerState::Awaited;
    }

    /// The store lets the account in.
    pub(crate) fn store_accepts(&self, at: SystemTime) {
        let news = locked(&self.store).accepts(at);
        let title = self.account.title();
        match news {
            Some(News::AcceptsAgain) => tracing::warn!("{title}: Google lets it use the DICOM store now"),
            Some(_) => tracing::info!("{title}: Google lets it use the DICOM store"),
            None => {}
        }
    }

    /// A look at the store has failed. Whether that counts: what heals by itself may be over at the next look.
    pub(crate) fn store_fails(&self, failure: Failure, at: SystemTime) -> bool {
        self.store_failed(failure, at, Proof::Look)
    }

    /// An examination has shown that the store cannot be used.
    pub(super) fn store_failed_examination(&self, failure: Failure, at: SystemTime) {
        // It has asked without the DICOMweb plugin's certificate.
        if !self.has_its_own_way_in() {
            self.store_failed(failure, at, Proof::Examination);
            self.examined_in_vain.notify_one();
        }
    }

    fn store_failed(&self, failure: Failure, at: SystemTime, proof: Proof) -> bool {
        let title = self.account.title();
        let told = failure.clone();
        let (news, lasts) = {
            let mut store = locked(&self.store);
            (store.fails(failure, at, proof), store.lasting().is_some())
        };
        match (news, told.kind) {
            (Some(_), FailureKind::NeedsPerson) => {
                tracing::error!("{title}: Google refuses the DICOM store: {told}");
            }
            (Some(_), FailureKind::Configuration) => {
                tracing::error!("{title}: the DICOM store cannot be used: {told}");
            }
            (Some(_), FailureKind::Transient) => {
                tracing::warn!("{title}: the DICOM store cannot be used: {told} (it is asked again)");
            }
            (None, _) if lasts => {
                tracing::info!("{title}: the DICOM store cannot be used, as before: {told}");
            }
            (None, _) => tracing::info!("{title}: the DICOM store did not answer as it should: {told}"),
        }
        lasts
    }

    /// In one word, and since when.
    pub(crate) fn state(&self) -> (State, SystemTime) {
        if self.transport_failure.is_some() {
            return (State::Failing, self.began);
        }
        let store = locked(&self.store);
        let refused = store.lasting().map(|past| past.at);
        let health = self.health();
        match (health.state, refused) {
            (_, None) if self.account.source.is_none() => (State::Ok, store.well_since(self.began)),
            (HealthState::Failing, _) => (State::Failing, health.since),
            (_, Some(since)) => (State::Failing, since),
            (HealthState::Starting, None) => (State::Starting, health.since),
            (HealthState::Ok, None) => (State::Ok, store.well_since(health.since)),
            (HealthState::Expiring, None) => (State::Expiring, store.well_since(health.since)),
        }
    }

    /// Whom the tokens stand for. Where only the metadata server knows, it is asked, and the next who asks is told.
    fn principal(&self, health: &Health, live: &Live) -> Option<String> {
        let known = locked(&self.description).clone();
        let asks_server = known.as_ref().is_some_and(|known| known.kind.ends_with("metadata server"));
        let principal = health.principal.clone().or_else(|| known.and_then(|known| known.principal));
        if principal.is_none()
            && asks_server
            && health.refreshes > 0
            && !self.is_being_described.swap(true, SeqCst)
        {
            let itself = live.accounts.iter().find(|other| other.account.name == self.account.name);
            if let Some(account) = itself {
                live.jobs.push(Job::Describe(account.clone()));
            }
        }
        principal
    }

    /// The newest of what went wrong, with what it kept from working.
    fn last_error(&self, health: &Health) -> Value {
        let store = locked(&self.store);
        let of_token = health.last_failure.as_ref().map(|past| (past, "token", health.failure().is_none()));
        let of_store = store.newest().map(|(past, is_healed)| (past, "store", is_healed));
        // One that lasts goes before one that is over.
        let newest =
            of_token.into_iter().chain(of_store).max_by_key(|(past, _, is_healed)| (!is_healed, past.at));
        // While nothing can be transferred, token and store do not matter.
        let of_transport =
            self.transport_failure.as_ref().map(|failure| (self.began, failure, "transport", false));
        let newest = newest.map(|(PastFailure { at, failure }, of, is_healed)| (*at, failure, of, is_healed));
        let Some((at, failure, of, is_healed)) = of_transport.or(newest) else { return Value::Null };
        let option = failure.option.map(|option| format!("{}.{option}", self.account.option_path()));
        json!({
            "Time": time(at),
            "Of": of,
            "Kind": kind(failure.kind),
            "Message": failure.cause,
            "Remedy": failure.remedy,
            "Option": option,
            "Healed": is_healed,
        })
    }
}

impl Status {
    /// An account as the routes tell it.
    pub(super) fn account_json(&self, named: &Named, phase: &Phase) -> Value {
        let (state, since) = self.state(named, phase);
        let mut mistakes: Vec<Value> = self.mistakes(named).into_iter().map(mistake).collect();
        if let (Phase::Unusable(trouble), Some(_)) = (phase, &named.usable) {
            mistakes.push(json!({"Path": trouble.path, "Severity": "error", "Message": trouble.words}));
        }
        let mut answer = json!({
            "Name": named.name,
            "State": state.word(),
            "Since": time(since),
            "Mistakes": mistakes,
            "CredentialKind": null,
            "Principal": null,
            "StoreUrl": named.usable.as_ref().map(Account::url),
            "Transport": null,
            "FallenBackBecause": null,
            "Expiry": null,
            "SecondsToExpiry": null,
            "LastRefresh": null,
            "NextRefresh": null,
            "SecondsToNextRefresh": null,
            "Refreshes": 0,
            "Failures": {"Transient": 0, "NeedsPerson": 0, "Configuration": 0},
            "LastError": null,
            "DicomWebServer": ServerState::Awaited.word(),
            "Check": null,
        });
        if let Phase::Running(live) = phase
            && let Some(account) = live.account(&named.name)
            && let (Value::Object(answer), Value::Object(more)) = (&mut answer, account.json(live))
        {
            answer.extend(more);
        }
        answer
    }
}

impl LiveAccount {
    fn json(&self, live: &Live) -> Value {
        let now = live.world.now();
        let health = self.health();
        let has_tokens = self.account.source.is_some();
        let next_refresh = health.next_refresh.filter(|_| has_tokens);
        // Where there is no good token, one whose time is not over is refused: it is good for nothing.
        let is_refused =
            health.state == HealthState::Failing && health.expires_at.is_some_and(|end| end > now);
        let expiry = health.expires_at.filter(|_| !is_refused);
        let (transport, fallen_back) = match &self.transport {
            Transport::Direct => ("Direct", None),
            Transport::FallenBack(why) => ("FallenBack", Some(why.to_string())),
            Transport::Gateway { .. } | Transport::Blocked(_) => ("Gateway", None),
        };
        let kind = match &self.account.source {
            None => Some("none".to_owned()),
            Some(_) => locked(&self.description).as_ref().map(|known| known.kind.clone()),
        };
        json!({
            "CredentialKind": kind,
            "Principal": if has_tokens { self.principal(&health, live) } else { None },
            "StoreUrl": self.account.url(),
            "Transport": transport,
            "FallenBackBecause": fallen_back,
            "Expiry": optional_time(expiry),
            "SecondsToExpiry": optional_seconds_until(expiry, now),
            "LastRefresh": optional_time(health.last_refresh),
            "NextRefresh": optional_time(next_refresh),
            "SecondsToNextRefresh": optional_seconds_until(next_refresh, now),
            "Refreshes": health.refreshes,
            "Failures": {
                "Transient": health.failures.transient,
                "NeedsPerson": health.failures.needs_person,
                "Configuration": health.failures.configuration,
            },
            "LastError": self.last_error(&health),
            "DicomWebServer": locked(&self.server).word(),
            "Check": self.checks.json(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use google_credentials::{Secret, token_channel};

    use super::*;

    /// An account with such a credential and such options of its server.
    fn live(credential: (&str, &str), options: &Value, transport: Transport) -> LiveAccount {
        let (key, value) = credential;
        let document = json!({
            "GoogleCloudPlatform": {"Accounts": {"a": {
                "Project": "p", "Location": "l", "Dataset": "d", "DicomStore": "s", key: value,
            }}},
            "DicomWeb": {"Servers": {"a": options}},
        });
        let account = orthanc_gcp_configuration::read(&document.to_string()).0.accounts.remove(0);
        let now = SystemTime::UNIX_EPOCH;
        LiveAccount::new(account, transport, token_channel(now).1, now)
    }

    #[test]
    fn only_a_certificate_that_reaches_the_store_is_a_way_in_of_its_own() {
        let none = ("AccessToken", "none");
        let key = ("ServiceAccountFile", "/key.json");
        let gateway = || Transport::Gateway {
            url: String::new(),
            secret: Secret::new("s"),
            timeout: 1,
            in_trouble: Arc::default(),
        };
        let certificate = json!({"CertificateFile": "/client.pem"});
        for (options, expected) in [
            (json!({}), false),
            (json!({"HttpHeaders": {"Authorization": "Basic eDp5"}, "Username": "u"}), false),
            (json!({"Pkcs11": false}), false),
            (json!({"Pkcs11": true}), true),
            (certificate.clone(), true),
        ] {
            for credential in [none, key] {
                let live = live(credential, &options, Transport::Direct);
                assert_eq!(live.has_its_own_way_in(), expected, "{credential:?} {options}");
            }
        }
        assert!(!live(key, &certificate, gateway()).has_its_own_way_in());
    }

    #[test]
    fn an_account_works_since_its_store_has_healed() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let live = live(("AccessToken", "none"), &json!({}), Transport::Direct);
        live.store_accepts(at(3));
        assert_eq!(live.state(), (State::Ok, at(0)), "all is well from the beginning");
        live.store_fails(Failure::new(FailureKind::NeedsPerson, "it refuses", "grant the role"), at(5));
        assert_eq!(live.state(), (State::Failing, at(5)));
        live.store_accepts(at(8));
        live.store_accepts(at(9));
        assert_eq!(live.state(), (State::Ok, at(8)));
    }
}
