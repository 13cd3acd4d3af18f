//! A real Orthanc for tests: started as a child process with a configuration of the test's own, killed when dropped.
//!
//! ```no_run
//! # fn main() -> Result<(), orthanc_testbed::Error> {
//! use orthanc_testbed::{Ct, Orthanc, study};
//!
//! let orthanc = Orthanc::builder().dicomweb().plugin("target/debug/libExample.so").start()?;
//! for instance in study::ct(&Ct::default())?.instances {
//!     assert_eq!(orthanc.post("/instances", &instance.bytes)?.status, 200);
//! }
//! assert_eq!(orthanc.stop()?.code(), Some(0));
//! # Ok(())
//! # }
//! ```
//!
//! Which Orthanc runs is said by the environment variable `ORTHANC_RELEASE`: see [`Release`].

#![forbid(unsafe_code)]

mod builder;
mod client;
mod clock;
mod configuration;
mod error;
mod interpreter;
mod log;
mod name_servers;
mod orthanc;
mod process;
mod release;
mod secrets;
pub mod study;

pub use builder::Builder;
pub use client::{Answer, Client};
pub use configuration::{merge, parse};
pub use error::Error;
pub use interpreter::Interpreter;
pub use orthanc::{Orthanc, Stopped};
pub use release::Release;
pub use secrets::{assert_no_secret, find_secret};
pub use study::{Ct, Instance, Study, Syntax};
