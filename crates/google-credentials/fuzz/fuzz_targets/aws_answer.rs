//! What the AWS instance metadata service answers.
#![no_main]

use google_credentials::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| drop(fuzzing::aws_answer(data)));
