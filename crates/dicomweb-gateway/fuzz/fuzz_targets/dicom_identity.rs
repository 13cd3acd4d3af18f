//! A DICOM file.
#![no_main]

use dicomweb_gateway::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzzing::dicom_identity(data));
