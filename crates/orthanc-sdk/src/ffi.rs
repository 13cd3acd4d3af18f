//! Orthanc's C ABI, declared by hand after `OrthancCPlugin.h`; the tests in `abi.rs` compare it with the header.
//!
//! Enumerations are `i32` in C. Structures are those that the services below read; Orthanc never grows one
//! without a new service, but for `OrthancPluginHttpRequest`: see [`HttpRequest`].

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

/// `OrthancPluginRestCallback`: output, path, request.
pub(crate) type OnRest = unsafe extern "C" fn(*mut RestOutput, *const c_char, *const HttpRequest) -> i32;

/// `OrthancPluginRefreshMetricsCallback`.
pub(crate) type OnRefreshMetrics = extern "C" fn();

/// `OrthancPluginRestOutput`: only Orthanc knows what it is.
pub(crate) type RestOutput = c_void;

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

/// `OrthancPluginHttpRequest`, as it was before Orthanc 1.12.9 added to its end. A structure that only Orthanc makes may
/// grow so: nothing here depends on its size.
#[repr(C)]
pub(crate) struct HttpRequest {
    pub(crate) method: i32,
    pub(crate) groups_count: u32,
    pub(crate) groups: *const *const c_char,
    pub(crate) get_count: u32,
    pub(crate) get_keys: *const *const c_char,
    pub(crate) get_values: *const *const c_char,
    pub(crate) body: *const c_void,
    pub(crate) body_size: u32,
    pub(crate) headers_count: u32,
    pub(crate) headers_keys: *const *const c_char,
    pub(crate) headers_values: *const *const c_char,
}

/// `_OrthancPluginRestCallback`, the parameters of `RegisterRestCallbackNoLock`.
#[repr(C)]
pub(crate) struct RegisterRest {
    pub(crate) path_regular_expression: *const c_char,
    pub(crate) callback: OnRest,
}

/// `_OrthancPluginAnswerBuffer`.
#[repr(C)]
pub(crate) struct AnswerBuffer {
    pub(crate) output: *mut RestOutput,
    pub(crate) answer: *const c_void,
    pub(crate) answer_size: u32,
    pub(crate) mime_type: *const c_char,
}

/// `_OrthancPluginSendHttpStatus`.
#[repr(C)]
pub(crate) struct SendHttpStatus {
    pub(crate) output: *mut RestOutput,
    pub(crate) status: u16,
    pub(crate) body: *const c_char,
    pub(crate) body_size: u32,
}

/// `_OrthancPluginOutputPlusArgument`, for `SendMethodNotAllowed`.
#[repr(C)]
pub(crate) struct OutputPlusArgument {
    pub(crate) output: *mut RestOutput,
    pub(crate) argument: *const c_char,
}

/// `_OrthancPluginSetHttpHeader`.
#[repr(C)]
pub(crate) struct SetHttpHeader {
    pub(crate) output: *mut RestOutput,
    pub(crate) key: *const c_char,
    pub(crate) value: *const c_char,
}

/// `_OrthancPluginSetMetricsValue`.
#[repr(C)]
pub(crate) struct SetMetricsValue {
    pub(crate) name: *const c_char,
    pub(crate) value: f32,
    pub(crate) kind: i32,
}

/// `_OrthancPluginSetMetricsIntegerValue`, since Orthanc 1.12.1.
#[repr(C)]
pub(crate) struct SetMetricsIntegerValue {
    pub(crate) name: *const c_char,
    pub(crate) value: i64,
    pub(crate) kind: i32,
}

/// `_OrthancPluginRegisterRefreshMetricsCallback`.
#[repr(C)]
pub(crate) struct RegisterRefreshMetrics {
    pub(crate) callback: OnRefreshMetrics,
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
    SetMetricsValue = 31 since (1, 5, 4);
    SetMetricsIntegerValue = 43 since (1, 12, 1);
    SetCurrentThreadName = 44 since (1, 12, 2);
    LogMessage = 45 since (1, 12, 4);
    ClearCurrentThreadName = 64 since (1, 13, 0);
    RegisterOnChangeCallback = 1003 since (0, 0, 0);
    RegisterRestCallbackNoLock = 1004 since (0, 0, 0);
    RegisterRefreshMetricsCallback = 1011 since (1, 5, 4);
    AnswerBuffer = 2000 since (0, 0, 0);
    SendMethodNotAllowed = 2005 since (0, 0, 0);
    SetHttpHeader = 2007 since (0, 0, 0);
    SendHttpStatus = 2010 since (0, 0, 0);
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
/// `_OrthancPluginProperty_OrthancExplorer`.
pub(crate) const PROPERTY_ORTHANC_EXPLORER: i32 = 3;

/// `OrthancPluginLogCategory_Generic`: Orthanc keeps `…_Plugins` for itself.
pub(crate) const LOG_CATEGORY_GENERIC: i32 = 1;

/// `OrthancPluginChangeType_OrthancStarted`.
pub(crate) const CHANGE_ORTHANC_STARTED: i32 = 10;
/// `OrthancPluginChangeType_OrthancStopped`.
pub(crate) const CHANGE_ORTHANC_STOPPED: i32 = 11;

/// `OrthancPluginResourceType_None`.
#[cfg(any(test, feature = "fake-host"))]
pub(crate) const RESOURCE_NONE: i32 = 4;
