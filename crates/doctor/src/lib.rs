//! Checks an account step by step, from its credential to its DICOM store, each step with its remedy.
//!
//! Neither Orthanc nor a terminal is known here: [`examine`] tells each [`Step`] when it is finished to whoever asked.
//!
//! A step that fails makes those that need it [`Outcome::Skipped`]; all others are tried, so that one run tells everything.
#![forbid(unsafe_code)]

mod credential;
mod header_fields;
mod instance;
mod network;
mod step;
mod store;

use google_credentials::{HttpSettings, World};
use orthanc_gcp_configuration::Account;

pub use header_fields::header_fields;
use step::Report;
pub use step::{Name, Outcome, Step};

/// What is examined, and how.
#[derive(Clone, Copy)]
pub struct Examination<'a> {
    /// Clock, files, environment and network.
    pub world: &'a dyn World,
    /// How requests are sent: those of the configuration.
    pub http: &'a HttpSettings,
    /// Whose credential and store.
    pub account: &'a Account,
    /// Whether the store is written to.
    pub writing: Writing,
}

/// Whether the store is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// Nothing is changed.
    Nothing,
    /// A generated instance is stored under new UIDs, retrieved, and deleted.
    OneInstance,
}

/// Examines an account; `tell` hears of each step as it is finished. Whether all is well: no step failed.
pub async fn examine(examination: Examination<'_>, tell: &mut (dyn FnMut(&Step) + Send)) -> bool {
    let Examination { world, account, .. } = examination;
    let mut report = Report::new(world, tell);
    let credential = credential::look(world, account, &mut report).await;
    let reached = network::look(examination, credential.endpoint.as_ref(), account.url(), &mut report).await;
    let token = credential::ask(world, account, &credential, reached.endpoint, &mut report).await;
    store::look(examination, token, reached.store, &mut report).await;
    report.is_well()
}
