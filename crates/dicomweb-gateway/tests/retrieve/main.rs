//! Studies and series retrieved through the gateway, over real sockets: every instance once, byte for byte, or an error.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a failure ends the test; tests start threads and wait, and nobody reads their documentation"
)]

mod breaking;
mod sharing;
#[path = "../gateway/stage.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod stage;
mod support;
mod whole;
