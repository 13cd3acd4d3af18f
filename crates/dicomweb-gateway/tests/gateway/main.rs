//! The gateway between a client and the pretend Google, over real sockets.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs,
    reason = "a failure ends the test; tests start threads and wait, and nobody reads their documentation"
)]

mod door;
mod forward;
mod requests;
mod stage;
mod stow;
