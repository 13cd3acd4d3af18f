//! A strict pretend Google, for tests and demonstrations: the token endpoint, the security token service,
//! impersonation, the metadata server, and the DICOMweb side of the Cloud Healthcare API, with faults on request and a record of what it was asked.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use google_emulator::{CLOUD_PLATFORM, Emulator, Fault, Route};
//! use std::time::Duration;
//!
//! let emulator = Emulator::builder().token_lifetime(Duration::from_secs(60)).start()?;
//! emulator.faults().add(Fault::answer(Route::Token, 503, "").header("Retry-After", "1").times(2));
//! let token = emulator.mint_token(CLOUD_PLATFORM, Duration::from_secs(10))?;
//! assert!(emulator.secrets().contains(&token));
//! assert!(emulator.requests().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! It is strict where Google is: what it accepts, Google should accept. It shares no code with what it tests.

#![forbid(unsafe_code)]

// The README's example is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod access;
mod archive;
mod assertion;
mod builder;
mod clock;
mod control;
mod credential_file;
mod emulator;
mod fault;
mod faults;
mod federated;
mod federation;
mod files;
mod gauges;
mod google_error;
mod healthcare;
mod iam;
mod identity;
mod listen;
mod media_type;
mod metadata;
mod multipart;
mod oauth;
pub mod program;
mod record;
mod rsa_key;
mod serve;
mod settings;
mod sigv4;
mod sources;
mod sts;
mod subject;
mod tokens;
mod upstream;
mod world;

pub use archive::{Keep, StoreName, StoredInstance};
pub use builder::{Builder, StartError};
pub use credential_file::{CredentialFile, SourceCredentials, SubjectError, SubjectForm, SubjectSource};
pub use emulator::Emulator;
pub use fault::{Answer, Effect, Fault, Refusal, Route, When};
pub use faults::Faults;
pub use federation::{AwsCredentials, WorkforceSession};
pub use files::{MoreFiles, WrittenFiles};
pub use gauges::Gauges;
pub use identity::{AuthorizedUser, IdentityError};
pub use record::SeenRequest;
pub use rsa_key::KeyError;
pub use settings::{EmptySearch, Settings};
pub use tokens::{CLOUD_HEALTHCARE, CLOUD_PLATFORM};
