//! A multipart body.
#![no_main]

use dicomweb_gateway::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzzing::multipart(data));
