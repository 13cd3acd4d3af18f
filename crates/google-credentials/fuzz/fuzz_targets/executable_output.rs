//! What a program prints.
#![no_main]

use google_credentials::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| drop(fuzzing::executable_output(data)));
