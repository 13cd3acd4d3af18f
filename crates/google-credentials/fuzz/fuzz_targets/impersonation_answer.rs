//! The answer of `generateAccessToken`.
#![no_main]

use google_credentials::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| drop(fuzzing::impersonation_answer(data)));
