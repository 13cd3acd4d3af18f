//! The four functions that make a shared library a plugin of Orthanc. Use [`export_plugin!`](crate::export_plugin).

use crate::{Plugin, lifecycle};
use std::ffi::c_char;

#[doc(hidden)]
pub use crate::ffi::Context;

/// Makes the library a plugin of Orthanc: exports `OrthancPluginInitialize`, `OrthancPluginFinalize`,
/// `OrthancPluginGetName` and `OrthancPluginGetVersion` for the given [`Plugin`](crate::Plugin). Once in a library.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty) => {
        const _: () = {
            #[allow(unsafe_code, reason = "Orthanc finds a plugin by these names")]
            #[unsafe(no_mangle)]
            unsafe extern "C" fn OrthancPluginInitialize(context: *mut $crate::export::Context) -> i32 {
                // SAFETY: Orthanc keeps the context valid until OrthancPluginFinalize returns.
                unsafe { $crate::export::initialize::<$plugin>(context) }
            }

            #[allow(unsafe_code, reason = "Orthanc finds a plugin by these names")]
            #[unsafe(no_mangle)]
            extern "C" fn OrthancPluginFinalize() {
                $crate::export::finalize();
            }

            #[allow(unsafe_code, reason = "Orthanc finds a plugin by these names")]
            #[unsafe(no_mangle)]
            extern "C" fn OrthancPluginGetName() -> *const ::core::ffi::c_char {
                $crate::export::name::<$plugin>()
            }

            #[allow(unsafe_code, reason = "Orthanc finds a plugin by these names")]
            #[unsafe(no_mangle)]
            extern "C" fn OrthancPluginGetVersion() -> *const ::core::ffi::c_char {
                $crate::export::version::<$plugin>()
            }
        };
    };
}

/// `OrthancPluginInitialize` for `P`: 0, or -1 when the plugin will not live in this Orthanc.
///
/// # Safety
/// `context` is null, or what Orthanc gave to `OrthancPluginInitialize`: valid until `OrthancPluginFinalize`
/// returns, or, if this returns not 0, until this returns.
pub unsafe fn initialize<P: Plugin>(context: *mut Context) -> i32 {
    // SAFETY: the same contract.
    unsafe { lifecycle::initialize::<P>(context) }
}

/// `OrthancPluginFinalize`: drops the plugin, waits for calls into the host that are under way, and forgets the
/// host. Does nothing without a successful [`initialize`] before. Not to be called by a thread that is inside a
/// callback or inside a call into the host: it would wait for itself.
pub fn finalize() {
    lifecycle::finalize();
}

/// `OrthancPluginGetName` for `P`.
pub const fn name<P: Plugin>() -> *const c_char {
    P::NAME.as_ptr()
}

/// `OrthancPluginGetVersion` for `P`.
pub const fn version<P: Plugin>() -> *const c_char {
    P::VERSION.as_ptr()
}
