//! Orthanc's C ABI, declared by hand after `OrthancCPlugin.h`; the tests in `abi.rs` compare it with the header.
//!
//! Enumerations are `i32` in C. Structures are those that the services below read; Orthanc never grows one
//! without a new service, but for `OrthancPluginHttpRequest`, which is not used here.

use crate::Version;
use std::ffi::{c_char, c_void};

/// `OrthancPluginContext`.
#[repr(C)]
#[derive(Debug)]
pub struct Context {
    pub(crate) plugins_manager: *mut c_void,
    pub(crate) orthanc_version: *const c_char,
    pub(crate) free: Option<Free>,
    pub(crate) invoke_service: Option<InvokeService>,
}

pub(crate) type Free = unsafe extern "C" fn(*mut c_void);
pub(crate) type InvokeService = unsafe extern "C" fn(*mut Context, i32, *const c_void) -> i32;

/// `OrthancPluginOnChangeCallback`: change type, resource type, resource identifier.
pub(crate) type OnChange = extern "C" fn(i32, i32, *const c_char) -> i32;

/// `OrthancPluginMemoryBuffer`.
#[repr(C)]
pub(crate) struct MemoryBuffer {
    pub(crate) data: *mut c_void,
    pub(crate) size: u32,
}

impl MemoryBuffer {
    pub(crate) const EMPTY: Self = Self { data: std::ptr::null_mut(), size: 0 };
}

/// `_OrthancPluginRetrieveDynamicString`, for `GetConfiguration`.
#[repr(C)]
pub(crate) struct RetrieveDynamicString {
    pub(crate) result: *mut *mut c_char,
    pub(crate) argument: *const c_char,
}

/// `_OrthancPluginSetPluginProperty`.
#[repr(C)]
pub(crate) struct SetPluginProperty {
    pub(crate) plugin: *const c_char,
    pub(crate) property: i32,
    pub(crate) value: *const c_char,
}

/// `_OrthancPluginLogMessage`, since Orthanc 1.12.4.
#[repr(C)]
pub(crate) struct LogMessage {
    pub(crate) message: *const c_char,
    pub(crate) plugin: *const c_char,
    pub(crate) file: *const c_char,
    pub(crate) line: u32,
    pub(crate) category: i32,
    pub(crate) level: i32,
}

/// `_OrthancPluginOnChangeCallback`, the parameters of `RegisterOnChangeCallback`.
#[repr(C)]
pub(crate) struct RegisterOnChange {
    pub(crate) callback: OnChange,
}

/// `_OrthancPluginRestApiGet`, also for `RestApiGetAfterPlugins`. DELETE takes the bare URI.
#[repr(C)]
pub(crate) struct RestApiGet {
    pub(crate) target: *mut MemoryBuffer,
    pub(crate) uri: *const c_char,
}

/// `_OrthancPluginRestApiPostPut`, for both `…AfterPlugins`.
#[repr(C)]
pub(crate) struct RestApiPostPut {
    pub(crate) target: *mut MemoryBuffer,
    pub(crate) uri: *const c_char,
    pub(crate) body: *const c_void,
    pub(crate) body_size: u32,
}

/// `_OrthancPluginCallRestApi`, since Orthanc 1.9.2.
#[repr(C)]
pub(crate) struct CallRestApi {
    pub(crate) answer_body: *mut MemoryBuffer,
    pub(crate) answer_headers: *mut MemoryBuffer,
    pub(crate) http_status: *mut u16,
    pub(crate) method: i32,
    pub(crate) uri: *const c_char,
    pub(crate) headers_count: u32,
    pub(crate) headers_keys: *const *const c_char,
    pub(crate) headers_values: *const *const c_char,
    pub(crate) body: *const c_void,
    pub(crate) body_size: u32,
    pub(crate) after_plugins: u8,
}

macro_rules! services {
    ($($name:ident = $id:literal since ($major:literal, $minor:literal, $patch:literal);)*) => {
        /// `_OrthancPluginService`: those that are used here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Service { $($name = $id,)* }

        impl Service {
            #[cfg(any(test, feature = "fake-host"))]
            pub(crate) const ALL: &[Service] = &[$(Service::$name,)*];

            /// What follows `_OrthancPluginService_` in the header.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Service::$name => stringify!($name),)* }
            }

            pub(crate) const fn id(self) -> i32 {
                self as i32
            }

            /// The first Orthanc that has it; 0.0.0 for what is older than any Orthanc still met.
            pub(crate) const fn since(self) -> Version {
                match self { $(Service::$name => Version::new($major, $minor, $patch),)* }
            }
        }
    };
}

// An older Orthanc logs an ERROR for every call of a service that it does not know: never probe.
services! {
    LogInfo = 1 since (0, 0, 0);
    LogWarning = 2 since (0, 0, 0);
    LogError = 3 since (0, 0, 0);
    SetPluginProperty = 7 since (0, 0, 0);
    GetConfiguration = 13 since (0, 0, 0);
    SetCurrentThreadName = 44 since (1, 12, 2);
    LogMessage = 45 since (1, 12, 4);
    ClearCurrentThreadName = 64 since (1, 13, 0);
    RegisterOnChangeCallback = 1003 since (0, 0, 0);
    RestApiGetAfterPlugins = 3010 since (0, 0, 0);
    RestApiPostAfterPlugins = 3011 since (0, 0, 0);
    RestApiDeleteAfterPlugins = 3012 since (0, 0, 0);
    RestApiPutAfterPlugins = 3013 since (0, 0, 0);
    CallRestApi = 3016 since (1, 9, 2);
}

/// `_OrthancPluginProperty_Description`.
pub(crate) const PROPERTY_DESCRIPTION: i32 = 1;
/// `_OrthancPluginProperty_RootUri`.
pub(crate) const PROPERTY_ROOT_URI: i32 = 2;

/// `OrthancPluginLogCategory_Generic`: Orthanc keeps `…_Plugins` for itself.
pub(crate) const LOG_CATEGORY_GENERIC: i32 = 1;

/// `OrthancPluginChangeType_OrthancStarted`.
pub(crate) const CHANGE_ORTHANC_STARTED: i32 = 10;
/// `OrthancPluginChangeType_OrthancStopped`.
pub(crate) const CHANGE_ORTHANC_STOPPED: i32 = 11;

/// `OrthancPluginResourceType_None`.
#[cfg(any(test, feature = "fake-host"))]
pub(crate) const RESOURCE_NONE: i32 = 4;
