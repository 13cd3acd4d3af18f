//! The plugin inside a real Orthanc, against a pretend Google.
//!
//! Which Orthanc: `ORTHANC_RELEASE` (see `orthanc_testbed::Release`). Which plugin: `ORTHANC_GCP_PLUGIN`, which
//! `cargo xtask test` sets; without it, the one that cargo built for these tests. Every test's log is searched for every
//! secret that the emulator knows when the stage goes.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests from end to end: a panic is how they fail, and their process is their own"
)]

mod between;
mod credentials;
mod direct;
mod drop_in;
mod faults;
mod gateway;
mod network;
mod page;
mod publication;
mod stage;
mod status;
mod stopping;
mod store;
mod wrong_answers;
mod wrong_configuration;
