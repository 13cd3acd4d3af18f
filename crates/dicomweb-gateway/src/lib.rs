//! The authenticated, retrying, parallel way to a DICOM store of the Google Cloud Healthcare API.
//!
//! A [`Gateway`] is an HTTP server with one path for each account. Whatever DICOMweb client sends its requests there gets
//! them answered by Google, with the account's token of that moment. Read top-down:
//!
//! 1. `server` takes connections, for which `places` has room; `admission` lets requests in: secret, `origin`, and `path`,
//!    which keeps them below their account.
//! 2. A request becomes one of three things: `stow` cuts an upload into instances and sends them in batches side by
//!    side; `retrieve` fetches the instances of a study or series side by side; `forward` passes everything else on.
//! 3. All three ask Google through `exchange`: token, attempts, limits of inactivity; `retry` decides what is tried
//!    again.
//! 4. `memory` bounds what is held, `transfers` tells what happens.
//!
//! The crate knows nothing of Orthanc.
#![forbid(unsafe_code)]

pub mod accept;
mod admission;
mod body;
mod client_gone;
mod connection_table;
mod content;
pub mod dicom_identity;
mod disk;
mod dispatch;
mod exchange;
mod forward;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod instance_format;
mod loopback;
mod media_type;
mod memory;
pub mod multipart;
mod origin;
mod passed_fields;
mod path;
mod places;
mod refusal;
mod retrieve;
mod retry;
mod search;
mod server;
mod settings;
mod store;
mod stow;
mod system_parameters;
mod transfers;
mod trouble;
mod words;

pub use disk::{DiskReserve, DiskSpace};
pub use gateway::Gateway;
pub use loopback::proxy_before_loopback;
pub use origin::origin;
pub use settings::Settings;
pub use store::{OnConflict, Store};
pub use transfers::{AccountCounts, Counts, Kind, Report, Stage};
