//! Any credential file.
#![no_main]

use google_credentials::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| drop(fuzzing::credential_file(data)));
