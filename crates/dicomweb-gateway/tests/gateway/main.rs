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
#[allow(dead_code, reason = "other tests use the rest")]
mod far_store;
mod forward;
mod requests;
mod stage;
mod stow;

/// Why tests are excepted below.
const KEEPS_THE_FIRST: &str =
    "Orthanc keeps the stored instance and answers 200, where Google refuses a different one";
const REFUSAL_OF_ONE: &str = "the emulator's own store alone can refuse one instance of a request";
/// What Google's stores do and Orthanc's does not, by test.
const EXCEPTED: &[(&str, &str)] = &[
    (
        "forward::deleting_what_the_first_attempt_has_deleted_is_success",
        "Orthanc's DICOMweb plugin has no DELETE",
    ),
    ("stow::answers::an_instance_that_google_refuses_is_the_only_one_that_fails", REFUSAL_OF_ONE),
    ("stow::answers::detail_of_a_failure_reaches_the_client_alone", REFUSAL_OF_ONE),
    ("stow::answers::twins_in_one_upload_are_stored_in_their_order", KEEPS_THE_FIRST),
    ("stow::conflicts::fail_refuses_what_differs_and_nothing_else", KEEPS_THE_FIRST),
    ("stow::conflicts::keep_reports_nothing_as_stored_that_is_not_there", KEEPS_THE_FIRST),
    ("stow::conflicts::keep_reports_what_differs_as_stored_with_a_warning", KEEPS_THE_FIRST),
    ("stow::conflicts::overwrite_deletes_nothing_it_could_not_keep", KEEPS_THE_FIRST),
    ("stow::conflicts::overwrite_deletes_nothing_that_it_has_not_got", KEEPS_THE_FIRST),
    ("stow::conflicts::overwrite_leaves_the_old_one_in_a_file_where_neither_can_be_stored", KEEPS_THE_FIRST),
    ("stow::conflicts::overwrite_puts_the_old_one_back_where_the_new_one_is_refused", KEEPS_THE_FIRST),
    ("stow::conflicts::overwrite_replaces_what_differs", KEEPS_THE_FIRST),
    ("stow::conflicts::overwrite_waits_while_google_deletes", KEEPS_THE_FIRST),
    ("stow::conflicts::overwriting_outlives_the_client_and_is_waited_for", KEEPS_THE_FIRST),
    ("stow::resuming::large_instances_are_not_sent_again_either", REFUSAL_OF_ONE),
    ("stow::resuming::what_is_new_different_or_gone_is_sent", REFUSAL_OF_ONE),
    ("stow::resuming::what_is_there_already_is_not_sent_again", REFUSAL_OF_ONE),
    ("stow::resuming::what_shall_never_be_there_is_forgotten_when_it_is_deleted", REFUSAL_OF_ONE),
    ("stow::resuming::what_the_store_has_refused_is_missing_for_its_reason", REFUSAL_OF_ONE),
    ("stow::resuming::what_was_deleted_through_the_gateway_is_sent_without_asking", REFUSAL_OF_ONE),
    ("stow::resuming::where_the_store_cannot_be_asked_everything_is_sent", REFUSAL_OF_ONE),
    ("stow::resuming::uploads_of_single_instances_are_answered_for_their_own", REFUSAL_OF_ONE),
    ("stow::resuming::whoever_overwrites_sends_everything", REFUSAL_OF_ONE),
];

#[test]
fn the_same_holds_with_a_real_orthanc_as_the_store() {
    // The second is about the gateway's own memory, with more instances than Orthanc stores in minutes.
    let not_again = [
        "the_same_holds_with_a_real_orthanc_as_the_store",
        "stow::answers::an_upload_of_more_instances_than_memory_has_names_for_is_refused",
    ];
    far_store::run_all_with_orthanc(&not_again, EXCEPTED);
}
