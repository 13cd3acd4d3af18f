//! Every way to obtain a Google access token, and the keeper that has one ready.
//!
//! Read top-down:
//!
//! 1. [`Credential`] is what the configuration asked for; [`Source`] turns it into an [`AccessToken`], one small file
//!    for each way to do that.
//! 2. [`keeper`] decides when: a pure function of the time, a state and an event. [`keep`](crate::keep()) is the thin
//!    task that obeys it and publishes what it has; a [`TokenHandle`] gives the token of the moment, and [`Health`] says
//!    how it stands.
//! 3. [`World`] is the one door to clock, dice, files, environment, programs and network, so that tests set the time instead of sleeping.
//! 4. [`Failure`] is what went wrong, in Google's words, with the remedy; [`remedy`] holds the table of remedies.
//!
//! The crate knows nothing of Orthanc. A [`Secret`] cannot be printed.
#![forbid(unsafe_code)]

mod asking;
mod authorized_user;
mod aws;
mod ca_file;
mod certificate;
mod child;
mod credential_file;
mod default_credentials;
mod described;
mod description;
mod endpoint_rule;
mod executable;
mod external_account;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod health;
mod http;
mod impersonation;
mod keep;
pub mod keeper;
mod metadata_server;
mod names;
pub mod probe;
mod quoted;
pub mod remedy;
mod secret;
mod service_account;
mod source;
mod strike_out;
mod subject_token;
mod tls;
mod token;
mod token_handle;
mod transport;
mod universe;
mod watch_files;
mod world;

pub use certificate::PeerCertificate;
pub use credential_file::ExposedFile;
pub use description::Description;
pub use executable::{Command, CommandOutput};
pub use failure::{Failure, FailureKind};
pub use health::{FailureCounts, Health, HealthState, PastFailure};
pub use http::{
    Body, Field, HttpSettings, HttpVersion, KeptAlive, Method, PeerVerification, Proxies, Proxy, ProxyBefore,
    ProxyProblem, Request, Response, Verbosity, Way, shown_url,
};
pub use impersonation::Impersonation;
pub use keep::{Keeping, Kept, keep, keep_for_ever};
pub use keeper::Renewal;
pub use quoted::{quoted, shown_path};
pub use secret::Secret;
pub use source::{Credential, DEFAULT_SCOPE, DEFAULT_TOKEN_URI, Grant, Source};
pub use strike_out::Sent;
pub use token::AccessToken;
pub use token_handle::{TokenHandle, TokenSender, token_channel};
pub use transport::{TransportError, TransportErrorKind};
pub use universe::{DEFAULT_UNIVERSE_DOMAIN, UNIVERSE_DOMAIN_VARIABLE, universe_domain};
pub use watch_files::watch_files;
pub use world::{BoxFuture, FileContent, FileStamp, Outside, World};
