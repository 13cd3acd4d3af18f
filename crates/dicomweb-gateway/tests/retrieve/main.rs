//! Studies and series retrieved through the gateway, over real sockets: every instance once, byte for byte, or an error.
#![allow(
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests start threads and wait, and nobody reads their documentation"
)]

mod breaking;
mod sharing;
#[path = "../gateway/stage.rs"]
mod stage;
mod support;
mod whole;
