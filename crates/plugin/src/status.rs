//! How it stands with each account and each transfer, for whoever looks after them: what the routes and the metrics tell.
//!
//! [`Status`] lives as long as the plugin, from before `OrthancStarted` until after `OrthancStopped`. What the plugin's
//! threads do meanwhile is its [`Phase`]. Orthanc's threads ask for it at any time: they hold a lock for no longer than a
//! copy takes, and wait in `refresh` and `check` alone, a few at a time, which end when the plugin's thread does.

mod account;
mod check;
mod description;
mod history;
mod jobs;
mod json;
mod origin;
mod routes;
mod state;
mod store_access;
mod transfers;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use dicomweb_gateway::Gateway;
use google_credentials::World;
use orthanc_gcp_configuration::{Account, Configuration, Finding, SECTION, Severity};

pub(crate) use account::LiveAccount;
pub(crate) use description::describe;
pub(crate) use history::{History, keep_history};
pub(crate) use jobs::{Jobs, jobs, serve_jobs};
pub(crate) use json::seconds_until;
pub(crate) use routes::{ROUTE, answer};
pub(crate) use state::{ServerState, State};

/// All there is to tell.
pub(crate) struct Status {
    accounts: Vec<Named>,
    /// What is wrong in the section, but not with one account.
    findings: Vec<Finding>,
    /// When the plugin was initialised.
    began: SystemTime,
    phase: Mutex<Phase>,
}

/// An account of the configuration.
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) findings: Vec<Finding>,
    /// What is meant; `None` where it is misconfigured.
    pub(crate) usable: Option<Account>,
}

/// What the plugin's threads are doing.
#[derive(Clone)]
pub(crate) enum Phase {
    /// Not yet anything.
    Starting,
    /// Nothing, because of something that no account is to blame for.
    Unusable(Trouble),
    /// Their work.
    Running(Arc<Live>),
    /// Nothing any more.
    Stopped,
}

/// Why no account can be used.
#[derive(Clone)]
pub(crate) struct Trouble {
    /// The option that is to blame.
    pub(crate) path: &'static str,
    /// What is wrong, with the remedy.
    pub(crate) words: String,
    pub(crate) since: SystemTime,
}

/// What there is while the plugin's threads do their work.
pub(crate) struct Live {
    pub(crate) world: Arc<dyn World>,
    /// Those accounts that can be used.
    pub(crate) accounts: Vec<Arc<LiveAccount>>,
    pub(crate) gateway: Option<Gateway>,
    pub(crate) history: Arc<History>,
    /// For the thread on which tokens are asked for.
    pub(crate) jobs: Jobs,
}

impl Status {
    /// Before `OrthancStarted`.
    pub(crate) fn new(configuration: &Configuration, findings: &[Finding], began: SystemTime) -> Self {
        let named = |name: &String| Named {
            name: name.clone(),
            findings: findings.iter().filter(|finding| account_of(finding) == Some(name)).cloned().collect(),
            usable: configuration.accounts.iter().find(|account| account.name == *name).cloned(),
        };
        Self {
            accounts: configuration.account_names.iter().map(named).collect(),
            findings: findings.iter().filter(|finding| account_of(finding).is_none()).cloned().collect(),
            began,
            phase: Mutex::new(Phase::Starting),
        }
    }

    /// Orthanc has something else begin.
    pub(crate) fn enter(&self, phase: Phase) {
        let former = std::mem::replace(&mut *locked(&self.phase), phase);
        // What it held is dropped without the lock.
        drop(former);
    }

    /// The plugin's thread has come so far. That is of no interest once it was told to stop.
    pub(crate) fn advance(&self, phase: Phase) {
        let mut current = locked(&self.phase);
        let is_over = matches!(*current, Phase::Stopped);
        let former = if is_over { phase } else { std::mem::replace(&mut *current, phase) };
        drop(current);
        drop(former);
    }

    pub(crate) fn phase(&self) -> Phase {
        locked(&self.phase).clone()
    }

    pub(crate) fn accounts(&self) -> &[Named] {
        &self.accounts
    }

    /// In one word, and since when.
    pub(crate) fn state(&self, named: &Named, phase: &Phase) -> (State, SystemTime) {
        if named.usable.is_none() {
            return (State::Misconfigured, self.began);
        }
        match phase {
            Phase::Unusable(trouble) => (State::Misconfigured, trouble.since),
            Phase::Running(live) => {
                live.account(&named.name).map_or((State::Starting, self.began), LiveAccount::state)
            }
            Phase::Starting | Phase::Stopped => (State::Starting, self.began),
        }
    }

    /// Everything that is wrong with an account; where it cannot be used, also what is wrong with the whole section.
    fn mistakes<'a>(&'a self, named: &'a Named) -> Vec<&'a Finding> {
        let is_error = |finding: &&Finding| finding.severity == Severity::Error;
        let of_section = self.findings.iter().filter(is_error).filter(|_| named.usable.is_none());
        named.findings.iter().chain(of_section).collect()
    }
}

impl Live {
    /// The account of that name, where it can be used.
    pub(crate) fn account(&self, name: &str) -> Option<&LiveAccount> {
        self.accounts.iter().find(|live| live.account.name == name).map(|live| &**live)
    }
}

/// The account that a finding speaks of.
fn account_of(finding: &Finding) -> Option<&String> {
    match finding.path.keys() {
        [section, accounts, name, ..] if section == SECTION && accounts == "Accounts" => Some(name),
        // What the DICOMweb plugin's section says of a server of the same name is told of the account already.
        _ => None,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
