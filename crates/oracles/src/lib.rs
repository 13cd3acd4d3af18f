//! Nothing but tests: `google-cloud-auth`, Google's own library for Rust, is asked for the same tokens as `google-credentials`.
#![forbid(unsafe_code)]
