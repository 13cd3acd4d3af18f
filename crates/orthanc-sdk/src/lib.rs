//! Orthanc's plugin C ABI made safe.
//!
//! A plugin is a type that implements [`Plugin`], and one line:
//!
//! ```
//! use orthanc_sdk::{Change, Host, Level, Plugin, Refusal, Version};
//! use std::ffi::CStr;
//!
//! struct Greeter { host: Host }
//!
//! impl Plugin for Greeter {
//!     const NAME: &'static CStr = c"greeter";
//!     const VERSION: &'static CStr = c"1.0";
//!     const OLDEST_HOST: Version = Version::new(1, 5, 4);
//!
//!     fn initialize(host: &Host) -> Result<Self, Refusal> {
//!         host.set_description("Says hello.");
//!         Ok(Self { host: host.clone() })
//!     }
//!
//!     fn on_change(&self, change: Change) {
//!         if change == Change::OrthancStarted {
//!             self.host.log(Level::Warning, "Hello!");
//!         }
//!     }
//! }
//!
//! orthanc_sdk::export_plugin!(Greeter);
//! ```
//!
//! What the host does to plugins, and what this crate makes of it:
//!
//! - Orthanc dies of a panic that reaches it, and of a change callback that fails. Panics are caught at every
//!   entry and written to Orthanc's log; the callback always reports success.
//! - `POST /tools/reset` ends the plugin and starts it again, most often in the same image, with another context,
//!   the former one freed. Everything here that lives as long as the process is replaced then.
//! - Any thread may still be calling the host when Orthanc finalises the plugin. Finalize waits for such calls,
//!   and later ones answer [`Error::Gone`].
//! - Orthanc's HTTP threads ask for routes of the plugin, several at once. Finalize waits for these, too, and they can
//!   be answered to the end.
//! - Services come with versions of Orthanc. What is too new for the host is not asked for.
//!
//! # Safety: the invariants all `unsafe` in this crate rests upon
//!
//! 1. **The context.** Orthanc's context is valid from the call of `OrthancPluginInitialize` until
//!    `OrthancPluginFinalize` returns (or until `OrthancPluginInitialize` returns, if it does not return 0).
//!    In between nobody writes to it, and its two functions may be called by any thread at any time, also by a
//!    thread that Orthanc is calling just then.
//! 2. **The door.** The context's pointer is kept in one place, a [`Host`]'s turnstile, and used only by who holds
//!    a pass. Every way out of a plugin's life (Finalize, refusal, panic, a second Initialize) closes the
//!    turnstile, which waits for the passes, before it lets Orthanc go on. So no call outlives the context.
//! 3. **Memory.** What the host allocates is freed by that host's `Free`, once, while the pass of the call that
//!    obtained it is held, and copied before. What is lent to the host lives until the call returns: Orthanc keeps
//!    no pointer of a plugin, apart from the names (`static`) and callbacks (next).
//! 4. **Functions.** All that is given to Orthanc to call are plain `extern "C" fn`s of the image. Orthanc forgets
//!    them before it unloads the image; while no plugin runs, they do nothing.
//!    What Orthanc lends to such a function is not kept when it returns.
//! 5. **Panics.** All that Orthanc calls runs inside `catch_unwind`; the `extern "C"` functions themselves cannot
//!    panic. (Should a profile say `panic = "abort"`, a panic ends Orthanc: the workspace says `unwind`.)
//! 6. **Layouts and numbers.** The structures and numbers of `ffi.rs` are those of `OrthancCPlugin.h`; a test
//!    compiles the header and compares.

#![expect(unsafe_code, reason = "this is the one crate that speaks C: see the invariants above")]

#[cfg(test)]
#[cfg(not(miri))] // It runs a compiler.
mod abi;
mod error;
pub mod export;
#[cfg(feature = "fake-host")]
pub mod fake_host;
mod ffi;
mod host;
mod lifecycle;
mod metrics;
mod panic;
mod plugin;
mod rest;
mod route;
mod turnstile;
mod version;

pub use error::{Error, error_code};
pub use host::{Host, Level};
pub use metrics::MetricType;
pub use plugin::{Change, Plugin, Refusal};
pub use rest::{Method, RestAnswer};
pub use route::{RestReply, RestRequest};
pub use version::{NotAVersion, Version};
