//! The services of the pretend Orthanc.

use super::record::{LogLine, Property};
use super::session::Manager;
use super::{Orthanc, http, memory, metrics};
use crate::error_code::{
    DATABASE_NOT_INITIALIZED, INTERNAL_ERROR, PARAMETER_OUT_OF_RANGE, SUCCESS, UNKNOWN_PLUGIN_SERVICE,
    UNKNOWN_RESOURCE,
};
use crate::ffi::{self, Service};
use crate::{Level, Method, panic};
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::Ordering;

/// `OrthancPluginErrorCode_NullPointer`.
pub(super) const NULL_POINTER: i32 = 35;

/// `InvokeService`.
pub(super) unsafe extern "C" fn invoke(
    context: *mut ffi::Context,
    id: i32,
    parameters: *const c_void,
) -> i32 {
    // SAFETY: the plugin gives the context that it was given; Miri finds a context that is freed.
    let manager = unsafe { (*context).plugins_manager }.cast::<Manager>();
    // SAFETY: `pluginsManager` points to the manager of this context's session.
    let manager = unsafe { &*manager };
    let orthanc = &*manager.orthanc;
    orthanc.record().services.push(id);
    if manager.over.load(Ordering::SeqCst) {
        orthanc.record().late.push(id);
        return INTERNAL_ERROR;
    }
    let known = |service: &&Service| service.id() == id && service.since() <= orthanc.version;
    let Some(service) = Service::ALL.iter().find(known) else {
        let mut record = orthanc.record();
        record.unknown.push(id);
        let text = format!("Plugin invoking unknown service: {id}");
        record.log.push(LogLine { level: Level::Error, text, plugin: None });
        return UNKNOWN_PLUGIN_SERVICE;
    };
    // SAFETY: the plugin gives the parameters that the service expects.
    let outcome = panic::caught(|| unsafe { serve(orthanc, *service, parameters) });
    outcome.unwrap_or_else(|_| {
        orthanc.record().panics += 1;
        INTERNAL_ERROR
    })
}

/// # Safety
/// `parameters` is what `service` expects.
unsafe fn serve(orthanc: &Orthanc, service: Service, parameters: *const c_void) -> i32 {
    match service {
        // SAFETY: a C string.
        Service::LogError => log(orthanc, Level::Error, unsafe { text(parameters.cast()) }),
        // SAFETY: a C string.
        Service::LogWarning => log(orthanc, Level::Warning, unsafe { text(parameters.cast()) }),
        // SAFETY: a C string.
        Service::LogInfo => log(orthanc, Level::Info, unsafe { text(parameters.cast()) }),
        // SAFETY: the structure of this service.
        Service::LogMessage => unsafe { log_message(orthanc, parameters.cast()) },
        // SAFETY: the structure of this service.
        Service::SetPluginProperty => unsafe { set_property(orthanc, parameters.cast()) },
        // SAFETY: the structure of this service.
        Service::GetConfiguration => unsafe { configuration(orthanc, parameters.cast()) },
        // SAFETY: a C string.
        Service::SetCurrentThreadName => name_thread(orthanc, unsafe { text(parameters.cast()) }),
        Service::ClearCurrentThreadName => {
            orthanc.record().thread_names.push(None);
            SUCCESS
        }
        Service::RegisterOnChangeCallback => {
            // SAFETY: the structure of this service.
            let callback = unsafe { (*parameters.cast::<ffi::RegisterOnChange>()).callback };
            orthanc.record().on_change = Some(callback);
            SUCCESS
        }
        // SAFETY: the structure of this service.
        Service::RegisterRestCallbackNoLock => unsafe { http::register(orthanc, parameters.cast()) },
        // SAFETY: the structure of this service.
        Service::SetHttpHeader => unsafe { http::set_header(orthanc, parameters.cast()) },
        // SAFETY: the structure of this service.
        Service::AnswerBuffer => unsafe { http::answer_buffer(orthanc, parameters.cast()) },
        // SAFETY: the structure of this service.
        Service::SendHttpStatus => unsafe { http::send_status(orthanc, parameters.cast()) },
        // SAFETY: the structure of this service.
        Service::SendMethodNotAllowed => unsafe { http::method_not_allowed(orthanc, parameters.cast()) },
        Service::RegisterRefreshMetricsCallback => {
            // SAFETY: the structure of this service.
            let callback = unsafe { (*parameters.cast::<ffi::RegisterRefreshMetrics>()).callback };
            orthanc.record().on_refresh_metrics = Some(callback);
            SUCCESS
        }
        // SAFETY: the structure of this service.
        Service::SetMetricsValue => unsafe { metrics::set(orthanc, parameters.cast()) },
        // SAFETY: the structure of this service.
        Service::SetMetricsIntegerValue => unsafe { metrics::set_integer(orthanc, parameters.cast()) },
        // SAFETY: the structure of this service.
        Service::RestApiGetAfterPlugins => unsafe { get(orthanc, parameters.cast()) },
        // SAFETY: the structure of this service.
        Service::RestApiPostAfterPlugins => unsafe { send(orthanc, Method::Post, parameters.cast()) },
        // SAFETY: the structure of this service.
        Service::RestApiPutAfterPlugins => unsafe { send(orthanc, Method::Put, parameters.cast()) },
        Service::RestApiDeleteAfterPlugins => {
            // SAFETY: a C string.
            let uri = unsafe { text(parameters.cast()) };
            rest(orthanc, Method::Delete, uri.as_deref(), &[]).map_or_else(|code| code, |_| SUCCESS)
        }
        // SAFETY: the structure of this service.
        Service::CallRestApi => unsafe { call(orthanc, parameters.cast()) },
    }
}

fn log(orthanc: &Orthanc, level: Level, message: Option<String>) -> i32 {
    let Some(text) = message else { return NULL_POINTER };
    orthanc.record().log.push(LogLine { level, text, plugin: None });
    SUCCESS
}

/// # Safety
/// `parameters` is valid, with all that it points to.
unsafe fn log_message(orthanc: &Orthanc, parameters: *const ffi::LogMessage) -> i32 {
    // SAFETY: by this function\'s contract.
    let parameters = unsafe { &*parameters };
    // SAFETY: null or a C string.
    let message = unsafe { text(parameters.message) };
    // SAFETY: null or a C string.
    let plugin = unsafe { text(parameters.plugin) };
    // SAFETY: null or a C string.
    let file = unsafe { text(parameters.file) };
    let levels = [Level::Error, Level::Warning, Level::Info, Level::Trace];
    let level = levels.into_iter().find(|level| level.id() == parameters.level);
    let (Some(text), Some(plugin), Some(_file)) = (message, plugin, file) else { return NULL_POINTER };
    let Some(level) = level else { return PARAMETER_OUT_OF_RANGE };
    orthanc.record().log.push(LogLine { level, text, plugin: Some(plugin) });
    SUCCESS
}

/// # Safety
/// `parameters` is valid, with all that it points to.
unsafe fn set_property(orthanc: &Orthanc, parameters: *const ffi::SetPluginProperty) -> i32 {
    // SAFETY: by this function\'s contract.
    let parameters = unsafe { &*parameters };
    // SAFETY: null or a C string.
    let plugin = unsafe { text(parameters.plugin) };
    // SAFETY: null or a C string.
    let value = unsafe { text(parameters.value) };
    let (Some(_plugin), Some(value)) = (plugin, value) else { return NULL_POINTER };
    let property = match parameters.property {
        ffi::PROPERTY_DESCRIPTION => Property::Description(value),
        ffi::PROPERTY_ROOT_URI => Property::RootUri(value),
        ffi::PROPERTY_ORTHANC_EXPLORER => Property::OrthancExplorer(value),
        _ => return PARAMETER_OUT_OF_RANGE,
    };
    orthanc.record().properties.push(property);
    SUCCESS
}

/// # Safety
/// `parameters` is valid, with all that it points to.
unsafe fn configuration(orthanc: &Orthanc, parameters: *const ffi::RetrieveDynamicString) -> i32 {
    // SAFETY: by this function\'s contract.
    let parameters = unsafe { &*parameters };
    let mut text = orthanc.configuration.clone();
    text.push(0);
    // SAFETY: the plugin wants the string there.
    unsafe { *parameters.result = memory::give(text).cast() };
    SUCCESS
}

fn name_thread(orthanc: &Orthanc, name: Option<String>) -> i32 {
    let Some(name) = name else { return NULL_POINTER };
    if name.len() > 16 {
        return INTERNAL_ERROR;
    }
    orthanc.record().thread_names.push(Some(name));
    SUCCESS
}

/// # Safety
/// `parameters` is valid, with all that it points to.
unsafe fn get(orthanc: &Orthanc, parameters: *const ffi::RestApiGet) -> i32 {
    // SAFETY: by this function\'s contract.
    let parameters = unsafe { &*parameters };
    // SAFETY: null or a C string.
    let uri = unsafe { text(parameters.uri) };
    let answer = rest(orthanc, Method::Get, uri.as_deref(), &[]);
    // SAFETY: the plugin wants the answer there.
    unsafe { give(answer, parameters.target) }
}

/// # Safety
/// `parameters` is valid, with all that it points to.
unsafe fn send(orthanc: &Orthanc, method: Method, parameters: *const ffi::RestApiPostPut) -> i32 {
    // SAFETY: by this function\'s contract.
    let parameters = unsafe { &*parameters };
    // SAFETY: null or a C string.
    let uri = unsafe { text(parameters.uri) };
    // SAFETY: so many bytes are there.
    let body = unsafe { bytes(parameters.body, parameters.body_size) };
    let answer = rest(orthanc, method, uri.as_deref(), body);
    // SAFETY: the plugin wants the answer there.
    unsafe { give(answer, parameters.target) }
}

/// # Safety
/// `parameters` is valid, with all that it points to.
unsafe fn call(orthanc: &Orthanc, parameters: *const ffi::CallRestApi) -> i32 {
    // SAFETY: by this function\'s contract.
    let parameters = unsafe { &*parameters };
    let methods = [Method::Get, Method::Post, Method::Put, Method::Delete];
    let Some(method) = methods.into_iter().find(|method| method.id() == parameters.method) else {
        return PARAMETER_OUT_OF_RANGE;
    };
    if parameters.after_plugins != 1 {
        // The REST handler plays the routes of plugins: without them nothing answers.
        return UNKNOWN_RESOURCE;
    }
    // SAFETY: null or a C string.
    let uri = unsafe { text(parameters.uri) };
    // SAFETY: so many bytes are there.
    let body = unsafe { bytes(parameters.body, parameters.body_size) };
    let (status, answer) = match rest(orthanc, method, uri.as_deref(), body) {
        Ok(answer) => (200, answer),
        // Told as a status, where the older services fail.
        Err(UNKNOWN_RESOURCE) => (404, Vec::new()),
        Err(code) => return code,
    };
    // SAFETY: the plugin wants the status there.
    unsafe { *parameters.http_status = status };
    if method == Method::Delete {
        return SUCCESS;
    }
    // SAFETY: the plugin wants the answer there.
    unsafe { give(Ok(answer), parameters.answer_body) }
}

fn rest(orthanc: &Orthanc, method: Method, uri: Option<&str>, body: &[u8]) -> Result<Vec<u8>, i32> {
    let uri = uri.ok_or(NULL_POINTER)?;
    if !orthanc.record().rest_available {
        return Err(DATABASE_NOT_INITIALIZED);
    }
    (orthanc.rest)(method, uri, body)
}

/// # Safety
/// `target` can be written to.
unsafe fn give(answer: Result<Vec<u8>, i32>, target: *mut ffi::MemoryBuffer) -> i32 {
    let answer = match answer {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    let Ok(size) = u32::try_from(answer.len()) else { return INTERNAL_ERROR };
    // Orthanc allocates nothing for nothing.
    let data = if size == 0 { std::ptr::null_mut() } else { memory::give(answer) };
    // SAFETY: by this function's contract.
    unsafe { *target = ffi::MemoryBuffer { data, size } };
    SUCCESS
}

/// # Safety
/// `text` is null or a C string.
pub(super) unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: by this function's contract.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// # Safety
/// There are `size` bytes at `data`, which outlive `'a`.
pub(super) unsafe fn bytes<'a>(data: *const c_void, size: u32) -> &'a [u8] {
    match usize::try_from(size) {
        // SAFETY: by this function's contract.
        Ok(size) if size > 0 => unsafe { std::slice::from_raw_parts(data.cast(), size) },
        _ => &[],
    }
}
