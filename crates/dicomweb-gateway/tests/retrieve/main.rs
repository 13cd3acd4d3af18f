//! Studies and series retrieved through the gateway, over real sockets: every instance once, byte for byte, or an error.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    missing_docs,
    reason = "a failure ends the test; tests start threads and wait, and nobody reads their documentation"
)]

mod breaking;
#[path = "../gateway/far_store.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod far_store;
mod formats;
mod odd;
mod sharing;
#[path = "../gateway/stage.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod stage;
mod support;
mod whole;

/// What Google's stores do and Orthanc's does not, by test.
const EXCEPTED: &[(&str, &str)] = &[
    (
        "odd::an_odd_uid_that_is_safe_in_a_path_is_requested_as_it_is",
        "it lists an instance whose UID ends with a dot, and answers 404 for it",
    ),
    ("whole::a_server_may_give_less_than_it_is_asked_for", "short pages are a switch of the emulator's"),
    ("whole::transfer_syntaxes_are_kept_or_made_as_asked", "its parts do not name their transfer syntax"),
    ("whole::transfer_syntaxes_that_there_are_not_are_refused", "it refuses with 400, and has codecs"),
];

#[test]
fn the_same_holds_with_a_real_orthanc_as_the_store() {
    far_store::run_all_with_orthanc(&["the_same_holds_with_a_real_orthanc_as_the_store"], EXCEPTED);
}
