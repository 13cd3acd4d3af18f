//! The token exchange's answer.
#![no_main]

use google_credentials::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| drop(fuzzing::exchange_answer(data)));
