//! A context's life: from Initialize to Finalize.

use super::{Orthanc, memory, services};
use crate::ffi;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A context, and what it points to.
pub(super) struct Session {
    context: *mut ffi::Context,
    manager: *mut Manager,
    version: *mut std::ffi::c_char,
}

// SAFETY: it owns the three as boxes would.
unsafe impl Send for Session {}

/// What `pluginsManager` points to.
pub(super) struct Manager {
    pub(super) orthanc: Arc<Orthanc>,
    pub(super) over: AtomicBool,
}

impl Session {
    pub(super) fn begin(orthanc: &Arc<Orthanc>) -> Self {
        let manager =
            Box::into_raw(Box::new(Manager { orthanc: Arc::clone(orthanc), over: AtomicBool::new(false) }));
        let version = CString::new(orthanc.version_text.as_str()).unwrap_or_default().into_raw();
        let context = Box::into_raw(Box::new(ffi::Context {
            plugins_manager: manager.cast(),
            orthanc_version: version,
            free: Some(memory::free),
            invoke_service: Some(services::invoke),
        }));
        Self { context, manager, version }
    }

    pub(super) fn context(&self) -> *mut ffi::Context {
        self.context
    }

    /// The end: Miri sees every later use, as the memory is freed. Elsewhere it is kept, so that a later use can be
    /// told instead of being a wild write.
    pub(super) fn end(&mut self) {
        if cfg!(miri) {
            self.free();
        } else if !self.manager.is_null() {
            // SAFETY: not freed, as it is not null.
            unsafe { &*self.manager }.over.store(true, Ordering::SeqCst);
        }
    }

    fn free(&mut self) {
        if self.context.is_null() {
            return;
        }
        // SAFETY: made by `Box::into_raw` in `begin`, freed once as it is set to null below.
        drop(unsafe { Box::from_raw(self.context) });
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(self.manager) });
        // SAFETY: made by `CString::into_raw` in `begin`; the rest as above.
        drop(unsafe { CString::from_raw(self.version) });
        self.context = std::ptr::null_mut();
        self.manager = std::ptr::null_mut();
        self.version = std::ptr::null_mut();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.free();
    }
}
