//! The HTTP server of the pretend Orthanc, as far as routes of plugins go.

use super::record::Route;
use super::services::{NULL_POINTER, bytes, text};
use super::{FakeHost, Orthanc, lock};
use crate::error_code::{BAD_REQUEST, PARAMETER_OUT_OF_RANGE, SUCCESS, UNAUTHORIZED, UNKNOWN_RESOURCE};
use crate::route::NAMES_A_CONTENT_TYPE;
use crate::{Method, ffi};
use regex_lite::{Captures, Regex};
use std::ffi::{CString, c_char, c_void};
use std::sync::{Arc, Mutex};

/// `OrthancPluginErrorCode_BadSequenceOfCalls`.
const BAD_SEQUENCE_OF_CALLS: i32 = 6;

/// What who has asked gets from the pretend Orthanc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The header fields that the plugin has set, in their order, and the `Content-Type` that Orthanc adds.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// The header field of that name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// `OrthancPluginRestOutput`: one request's.
pub(super) struct Output {
    headers: Mutex<Vec<(String, String)>>,
    answer: Mutex<Option<HttpAnswer>>,
}

impl FakeHost {
    /// Asks for a path, a query after it if there is one, without percent-decoding. Gives the answer of the first
    /// route that matches, by the calling thread; `None` if there is none.
    ///
    /// Where the plugin leaves the answer to Orthanc, that has Orthanc's status and no body. Header names become
    /// lower case. Routes are matched by the crate `regex-lite`, where Orthanc has Boost.
    pub fn request(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<HttpAnswer> {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        // As Orthanc does it: empty parts are lost.
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let path = format!("/{}", parts.join("/"));
        let routes = self.orthanc.record().routes.clone();
        routes.iter().find_map(|Route { expression, callback }| {
            let groups = expression.captures(&path)?;
            let query = if method == Method::Get { query } else { "" };
            let request = Request::new(&groups, query, headers);
            Some(self.orthanc.ask(*callback, &path, &request.as_c(method, body)))
        })
    }
}

impl Orthanc {
    fn ask(&self, callback: ffi::OnRest, path: &str, request: &ffi::HttpRequest) -> HttpAnswer {
        let output = Arc::new(Output { headers: Mutex::default(), answer: Mutex::default() });
        let pointer: *mut ffi::RestOutput = Arc::as_ptr(&output).cast_mut().cast();
        lock(&self.outputs).push(Arc::clone(&output));
        let path = c_string(path);
        // SAFETY: as Orthanc does it; all of it lives until the callback has returned.
        let code = unsafe { callback(pointer, path.as_ptr(), request) };
        lock(&self.outputs).retain(|other| !Arc::ptr_eq(other, &output));
        let answer = lock(&output.answer).take();
        match (code, answer) {
            (SUCCESS, Some(answer)) => answer,
            (SUCCESS, None) => {
                self.record().unanswered += 1;
                HttpAnswer { status: 200, headers: Vec::new(), body: Vec::new() }
            }
            (code, None) => {
                let status = match code {
                    BAD_REQUEST | PARAMETER_OUT_OF_RANGE => 400,
                    UNAUTHORIZED => 401,
                    UNKNOWN_RESOURCE => 404,
                    _ => 500,
                };
                HttpAnswer { status, headers: Vec::new(), body: Vec::new() }
            }
            (_, Some(answer)) => {
                self.record().unanswered += 1;
                answer
            }
        }
    }

    /// The output of that address, if its request is being answered; else the books are told.
    fn output(&self, pointer: *mut ffi::RestOutput) -> Option<Arc<Output>> {
        let outputs = lock(&self.outputs);
        let found = outputs.iter().find(|output| Arc::as_ptr(output).cast() == pointer.cast_const()).cloned();
        drop(outputs);
        if found.is_none() {
            self.record().late_answers += 1;
        }
        found
    }

    fn answer(
        &self,
        output: *mut ffi::RestOutput,
        answer: impl FnOnce(Vec<(String, String)>) -> HttpAnswer,
    ) -> i32 {
        let Some(output) = self.output(output) else { return NULL_POINTER };
        let mut place = lock(&output.answer);
        if place.is_some() {
            drop(place);
            self.record().late_answers += 1;
            return BAD_SEQUENCE_OF_CALLS;
        }
        *place = Some(answer(lock(&output.headers).clone()));
        SUCCESS
    }
}

/// # Safety
/// `parameters` is valid, with all that it points to.
pub(super) unsafe fn register(orthanc: &Orthanc, parameters: *const ffi::RegisterRest) -> i32 {
    // SAFETY: by this function's contract.
    let parameters = unsafe { &*parameters };
    // SAFETY: null or a C string.
    let Some(expression) = (unsafe { text(parameters.path_regular_expression) }) else { return NULL_POINTER };
    let Ok(expression) = Regex::new(&format!("^(?:{expression})$")) else { return PARAMETER_OUT_OF_RANGE };
    orthanc.record().routes.push(Route { expression, callback: parameters.callback });
    SUCCESS
}

/// # Safety
/// `parameters` is valid, with all that it points to.
pub(super) unsafe fn set_header(orthanc: &Orthanc, parameters: *const ffi::SetHttpHeader) -> i32 {
    // SAFETY: by this function's contract.
    let parameters = unsafe { &*parameters };
    // SAFETY: null or a C string.
    let key = unsafe { text(parameters.key) };
    // SAFETY: null or a C string.
    let value = unsafe { text(parameters.value) };
    let (Some(key), Some(value)) = (key, value) else { return NULL_POINTER };
    let Some(output) = orthanc.output(parameters.output) else { return NULL_POINTER };
    if lock(&output.answer).is_some() {
        return BAD_SEQUENCE_OF_CALLS;
    }
    lock(&output.headers).push((key, value));
    SUCCESS
}

/// # Safety
/// `parameters` is valid, with all that it points to.
pub(super) unsafe fn answer_buffer(orthanc: &Orthanc, parameters: *const ffi::AnswerBuffer) -> i32 {
    // SAFETY: by this function's contract.
    let parameters = unsafe { &*parameters };
    // SAFETY: null or a C string.
    let Some(content_type) = (unsafe { text(parameters.mime_type) }) else { return NULL_POINTER };
    // SAFETY: so many bytes are there.
    let body = unsafe { bytes(parameters.answer, parameters.answer_size) }.to_vec();
    orthanc.answer(parameters.output, |mut headers| {
        headers.push((String::from("Content-Type"), content_type));
        HttpAnswer { status: 200, headers, body }
    })
}

/// # Safety
/// `parameters` is valid, with all that it points to.
pub(super) unsafe fn send_status(orthanc: &Orthanc, parameters: *const ffi::SendHttpStatus) -> i32 {
    // SAFETY: by this function's contract.
    let parameters = unsafe { &*parameters };
    let status = parameters.status;
    if !orthanc_knows(status) {
        return PARAMETER_OUT_OF_RANGE;
    }
    // SAFETY: so many bytes are there.
    let body = unsafe { bytes(parameters.body.cast(), parameters.body_size) }.to_vec();
    orthanc.answer(parameters.output, |mut headers| {
        if !body.is_empty() && orthanc.version >= NAMES_A_CONTENT_TYPE {
            headers.push((String::from("Content-Type"), String::from("text/plain")));
        }
        HttpAnswer { status, headers, body }
    })
}

/// # Safety
/// `parameters` is valid, with all that it points to.
pub(super) unsafe fn method_not_allowed(
    orthanc: &Orthanc,
    parameters: *const ffi::OutputPlusArgument,
) -> i32 {
    // SAFETY: by this function's contract.
    let parameters = unsafe { &*parameters };
    // SAFETY: null or a C string.
    let Some(allowed) = (unsafe { text(parameters.argument) }) else { return NULL_POINTER };
    orthanc.answer(parameters.output, |_| HttpAnswer {
        status: 405,
        headers: vec![(String::from("Allow"), allowed)],
        body: Vec::new(),
    })
}

/// Orthanc's `HttpStatus`, without the two that `HttpOutput::SendStatus` refuses.
const fn orthanc_knows(status: u16) -> bool {
    matches!(status, 100..=102 | 200..=207 | 300 | 302..=307 | 400..=404 | 406..=417 | 422..=424 | 426 | 500..=507)
}

/// What an [`ffi::HttpRequest`] points to.
struct Request {
    groups: Strings,
    keys: Strings,
    values: Strings,
    header_keys: Strings,
    header_values: Strings,
}

impl Request {
    fn new(groups: &Captures<'_>, query: &str, headers: &[(&str, &str)]) -> Self {
        let query: Vec<(&str, &str)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .collect();
        Self {
            groups: Strings::new(groups.iter().skip(1).map(|group| group.map_or("", |group| group.as_str()))),
            keys: Strings::new(query.iter().map(|(key, _)| *key)),
            values: Strings::new(query.iter().map(|(_, value)| *value)),
            header_keys: Strings::new(headers.iter().map(|(key, _)| key.to_lowercase())),
            header_values: Strings::new(headers.iter().map(|(_, value)| *value)),
        }
    }

    fn as_c(&self, method: Method, body: &[u8]) -> ffi::HttpRequest {
        ffi::HttpRequest {
            method: method.id(),
            groups_count: self.groups.count(),
            groups: self.groups.as_ptr(),
            get_count: self.keys.count(),
            get_keys: self.keys.as_ptr(),
            get_values: self.values.as_ptr(),
            body: if body.is_empty() { std::ptr::null() } else { body.as_ptr().cast::<c_void>() },
            body_size: u32::try_from(body.len()).unwrap_or(0),
            headers_count: self.header_keys.count(),
            headers_keys: self.header_keys.as_ptr(),
            headers_values: self.header_values.as_ptr(),
        }
    }
}

/// Strings, and an array of pointers to them: none for none, as in Orthanc.
struct Strings {
    _owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    fn new<S: AsRef<str>>(texts: impl Iterator<Item = S>) -> Self {
        let owned: Vec<CString> = texts.map(|text| c_string(text.as_ref())).collect();
        let pointers = owned.iter().map(|text| text.as_ptr()).collect();
        Self { _owned: owned, pointers }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.pointers.len()).unwrap_or(0)
    }

    fn as_ptr(&self) -> *const *const c_char {
        if self.pointers.is_empty() { std::ptr::null() } else { self.pointers.as_ptr() }
    }
}

fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}
