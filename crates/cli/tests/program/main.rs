//! The program as people and machines run it, against a pretend Google.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod clients;
mod commands;
mod gateway;
mod header_forms;
mod key_in_memory;
mod memory;
mod mistakes;
mod proxy;
mod readme;
mod serving;
mod stage;
mod steps;
mod token;
