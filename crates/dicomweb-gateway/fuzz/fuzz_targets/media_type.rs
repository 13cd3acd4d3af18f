//! The value of a `Content-Type` or `Accept` field.
#![no_main]

use dicomweb_gateway::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzzing::media_type(data));
