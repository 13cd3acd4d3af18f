//! Every way to obtain a Google access token, and the keeper that has one ready.
//!
//! Read top-down:
//!
//! 1. [`Credential`] is what the configuration asked for; [`Source`] turns it into an [`AccessToken`], one small file
//!    a grant.
//! 2. [`keeper`] decides when: a pure function of the time, a state and an event. [`keep`](crate::keep()) is the thin
//!    task that obeys it and publishes what it has through a watch channel.
//! 3. [`World`] is the one door to clock, dice, files and network, so that tests set the time instead of sleeping.
//! 4. [`Failure`] is what went wrong, in Google's words, with the remedy; [`remedy`] holds the table of remedies.
//!
//! The crate knows nothing of Orthanc. A [`Secret`] cannot be printed.
#![forbid(unsafe_code)]

mod authorized_user;
mod credential_file;
mod failure;
mod http;
mod keep;
pub mod keeper;
pub mod remedy;
mod secret;
mod service_account;
mod source;
mod strike_out;
mod tls;
mod token;
mod transport;
mod world;

pub use credential_file::ExposedFile;
pub use failure::{Failure, FailureKind};
pub use http::{Field, HttpSettings, PeerVerification, Proxy, Request, Response, Verbosity};
pub use keep::{Keeping, Kept, keep};
pub use secret::Secret;
pub use source::{Credential, DEFAULT_SCOPE, DEFAULT_TOKEN_URI, Grant, Source};
pub use token::AccessToken;
pub use transport::{TransportError, TransportErrorKind};
pub use world::{BoxFuture, FileContent, Outside, World};
