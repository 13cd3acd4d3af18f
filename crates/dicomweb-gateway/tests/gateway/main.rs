//! The gateway between a client and the pretend Google, over real sockets.
#![allow(
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests start threads and wait, and nobody reads their documentation"
)]

mod door;
mod forward;
mod stage;
mod stow;
