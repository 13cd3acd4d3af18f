//! Routes of the plugin in Orthanc's REST API: what is asked, and what is answered.

use crate::ffi::{self, Service};
use crate::host::{Context, Need, c_text};
use crate::turnstile::Pass;
use crate::{Error, Host, Method, Version, error_code};
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char};
use std::fmt;

/// The first Orthanc whose `SendHttpStatus` adds `Content-Type: text/plain`.
pub(crate) const NAMES_A_CONTENT_TYPE: Version = Version::new(1, 12, 2);

/// A request for one of the plugin's routes (`OrthancPluginHttpRequest`). Bytes that are not UTF-8 are U+FFFD here,
/// but for the body.
#[derive(Clone)]
pub struct RestRequest<'a> {
    /// The method. Others than these four never get so far.
    pub method: Method,
    /// The path without the query, percent-decoded, also `%2F`. A `+` is a space since some Orthanc between 1.10.1 and
    /// 1.12.7; `%2B` always is a plus. A slash at the end is not seen.
    pub path: String,
    /// What the groups of the route's regular expression have matched, the first one first; empty for a group that has
    /// not taken part.
    pub groups: Vec<String>,
    /// The parameters after the question mark, in their order; Orthanc gives those of GET alone. They are still
    /// percent-encoded in Orthanc 1.12.7, and no longer in 1.13.0.
    pub query: Vec<(String, String)>,
    /// The header fields, names in lower case. Of several with the same name Orthanc gives the first.
    pub headers: Vec<(String, String)>,
    /// The body; that of POST and PUT.
    pub body: &'a [u8],
}

impl RestRequest<'_> {
    /// The first parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        find(&self.query, name)
    }

    /// The header field of that name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// Header fields may hold a password, and so may a body: neither is printed.
impl fmt::Debug for RestRequest<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, .. } = self;
        out.debug_struct("RestRequest").field("method", method).field("path", path).finish_non_exhaustive()
    }
}

/// The answer to a [`RestRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestReply {
    /// The HTTP status, one of those that Orthanc knows: not 301, 308, 421, 428, 429, 431, 451 nor 511. Those become 400
    /// or 500 by their first digit, with a line in Orthanc's log.
    pub status: u16,
    /// `Content-Type`. With statuses other than 200 Orthanc says `text/plain` itself since 1.12.2, whatever this is: two
    /// of this field would contradict each other.
    pub content_type: Cow<'static, str>,
    /// More header fields. Control characters become spaces.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body, less than 4 GiB. With 200 it goes compressed to who accepts that, if Orthanc is configured so. None is
    /// sent with 204 and 304 (RFC 9110 section 6.4.1); nor with 405, for which Orthanc has no way to send a body or
    /// another header field than `Allow`.
    pub body: Vec<u8>,
}

impl RestReply {
    /// An answer without further header fields.
    pub fn new(status: u16, content_type: impl Into<Cow<'static, str>>, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type: content_type.into(), headers: Vec::new(), body: body.into() }
    }

    /// JSON, given as text.
    pub fn json(status: u16, text: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "application/json", text)
    }

    /// Status 405, with the methods allowed, separated by commas: `GET,POST`.
    pub fn method_not_allowed(allowed: &str) -> Self {
        Self::new(405, "", "").with_header("Allow", allowed)
    }

    /// The same with one header field more.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// What remains when the plugin has panicked.
    pub(crate) fn defect() -> Self {
        Self::json(
            500,
            r#"{"status":500,"message":"A defect in this plugin has ended the request","remedy":"Orthanc's log says where: please report it"}"#,
        )
    }

    /// Sends it.
    ///
    /// # Errors
    /// [`Error::BodyTooLarge`]; [`Error::Host`], also if nobody is there to read it.
    ///
    /// # Safety
    /// `output` is what Orthanc gave to a callback that has not returned, and has not been answered.
    pub(crate) unsafe fn send(&self, host: &Host, output: *mut ffi::RestOutput) -> Result<(), Error> {
        let to = Recipient { host, pass: host.enter(Need::Answer)?, output };
        if self.status == 405 {
            let allowed = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("Allow"));
            // SAFETY: by this function's contract.
            return unsafe { to.method_not_allowed(allowed.map_or("", |(_, value)| value)) };
        }
        let body_size = u32::try_from(self.body.len()).map_err(|_| Error::BodyTooLarge(self.body.len()))?;
        for (name, value) in &self.headers {
            // SAFETY: by this function's contract.
            unsafe { to.set_header(name, value) }?;
        }
        if self.status == 200 {
            // SAFETY: by this function's contract.
            return unsafe { to.answer(&self.content_type, &self.body, body_size) };
        }
        let (body, body_size): (&[u8], u32) =
            if matches!(self.status, 204 | 304) { (&[], 0) } else { (&self.body, body_size) };
        if body_size > 0 && host.version() < NAMES_A_CONTENT_TYPE {
            // SAFETY: by this function's contract.
            unsafe { to.set_header("Content-Type", &self.content_type) }?;
        }
        // SAFETY: by this function's contract.
        match unsafe { to.status(self.status, body, body_size) } {
            // Orthanc has found the status unknown before it has sent anything.
            Err(Error::Host { code: error_code::PARAMETER_OUT_OF_RANGE, .. }) => {
                let known = if (400..500).contains(&self.status) { 400 } else { 500 };
                // SAFETY: by this function's contract.
                unsafe { to.status(known, body, body_size) }
            }
            outcome => outcome,
        }
    }
}

/// Where an answer goes.
struct Recipient<'a> {
    host: &'a Host,
    pass: Pass<'a, Context>,
    output: *mut ffi::RestOutput,
}

/// Safety, for all of these: `output` is what Orthanc gave to a callback that has not returned, and, but for
/// `set_header`, none of these has succeeded yet.
impl Recipient<'_> {
    unsafe fn set_header(&self, name: &str, value: &str) -> Result<(), Error> {
        let (key, value) = (field(name), field(value));
        let parameters = ffi::SetHttpHeader { output: self.output, key: key.as_ptr(), value: value.as_ptr() };
        // SAFETY: SetHttpHeader reads such a structure; its strings outlive the call.
        unsafe { self.host.invoke(&self.pass, Service::SetHttpHeader, &raw const parameters) }
    }

    unsafe fn answer(&self, content_type: &str, body: &[u8], answer_size: u32) -> Result<(), Error> {
        let mime_type = field(content_type);
        let parameters = ffi::AnswerBuffer {
            output: self.output,
            answer: body.as_ptr().cast(),
            answer_size,
            mime_type: mime_type.as_ptr(),
        };
        // SAFETY: AnswerBuffer reads such a structure; all that it points to outlives the call.
        unsafe { self.host.invoke(&self.pass, Service::AnswerBuffer, &raw const parameters) }
    }

    unsafe fn status(&self, status: u16, body: &[u8], body_size: u32) -> Result<(), Error> {
        let parameters =
            ffi::SendHttpStatus { output: self.output, status, body: body.as_ptr().cast(), body_size };
        // SAFETY: SendHttpStatus reads such a structure; the body outlives the call.
        unsafe { self.host.invoke(&self.pass, Service::SendHttpStatus, &raw const parameters) }
    }

    unsafe fn method_not_allowed(&self, allowed: &str) -> Result<(), Error> {
        let allowed = field(allowed);
        let parameters = ffi::OutputPlusArgument { output: self.output, argument: allowed.as_ptr() };
        // SAFETY: SendMethodNotAllowed reads such a structure; its string outlives the call.
        unsafe { self.host.invoke(&self.pass, Service::SendMethodNotAllowed, &raw const parameters) }
    }
}

/// What Orthanc asks; `None` if that makes no sense.
///
/// # Safety
/// Each is null or valid as long as `'a`, with all that it points to: a C string, and a structure of Orthanc's.
pub(crate) unsafe fn read<'a>(
    path: *const c_char,
    request: *const ffi::HttpRequest,
) -> Option<RestRequest<'a>> {
    // SAFETY: by this function's contract. No more of the structure is looked at than every Orthanc has.
    let request = unsafe { request.as_ref() }?;
    let body = if request.body.is_null() {
        &[]
    } else {
        // SAFETY: by this function's contract there are so many bytes, as long as `'a`.
        unsafe { std::slice::from_raw_parts(request.body.cast(), usize::try_from(request.body_size).ok()?) }
    };
    let (get_count, headers_count) = (request.get_count, request.headers_count);
    // SAFETY: by this function's contract there are so many C strings.
    let groups = unsafe { texts(request.groups, request.groups_count) };
    // SAFETY: as above.
    let query = unsafe { pairs(request.get_keys, request.get_values, get_count) };
    // SAFETY: as above.
    let headers = unsafe { pairs(request.headers_keys, request.headers_values, headers_count) };
    Some(RestRequest {
        method: Method::from_id(request.method)?,
        // SAFETY: null or a C string.
        path: unsafe { text(path) },
        groups,
        query,
        headers,
        body,
    })
}

/// # Safety
/// There are `count` C strings at both, each of which may be null, and so may be `keys` and `values`.
unsafe fn pairs(
    keys: *const *const c_char,
    values: *const *const c_char,
    count: u32,
) -> Vec<(String, String)> {
    // SAFETY: by this function's contract.
    let keys = unsafe { texts(keys, count) };
    // SAFETY: by this function's contract.
    let values = unsafe { texts(values, count) };
    keys.into_iter().zip(values).collect()
}

/// # Safety
/// There are `count` C strings at `array`, each of which may be null, and so may be `array`.
unsafe fn texts(array: *const *const c_char, count: u32) -> Vec<String> {
    match usize::try_from(count) {
        Ok(count) if !array.is_null() => {
            // SAFETY: by this function's contract.
            let array = unsafe { std::slice::from_raw_parts(array, count) };
            // SAFETY: by this function's contract.
            array.iter().map(|string| unsafe { text(*string) }).collect()
        }
        _ => Vec::new(),
    }
}

/// # Safety
/// `string` is null or a C string.
unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: by this function's contract.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Text that cannot end a header field (RFC 9110 section 5.5).
fn field(text: &str) -> CString {
    c_text(&text.replace(char::is_control, " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    const NOTHING: ffi::HttpRequest = ffi::HttpRequest {
        method: 1,
        groups_count: 0,
        groups: ptr::null(),
        get_count: 0,
        get_keys: ptr::null(),
        get_values: ptr::null(),
        body: ptr::null(),
        body_size: 0,
        headers_count: 0,
        headers_keys: ptr::null(),
        headers_values: ptr::null(),
    };

    #[test]
    fn reads_what_is_not_there_as_nothing() {
        let nothing = NOTHING;
        // SAFETY: null is allowed.
        assert!(unsafe { read(c"/".as_ptr(), ptr::null()) }.is_none());
        // SAFETY: as above; the structure holds null alone.
        let request = unsafe { read(ptr::null(), &raw const nothing) }.unwrap();
        assert_eq!((request.method, request.path.as_str(), request.body), (Method::Get, "", &[][..]));
        assert!(request.groups.is_empty() && request.query.is_empty() && request.headers.is_empty());
        let unknown = ffi::HttpRequest { method: 5, ..NOTHING };
        // SAFETY: as above.
        assert!(unsafe { read(c"/".as_ptr(), &raw const unknown) }.is_none());
    }

    #[test]
    fn replaces_what_is_not_utf_8_but_in_the_body() {
        let texts = [c"Z\xFCrich".as_ptr(), ptr::null()];
        let request = ffi::HttpRequest {
            groups_count: 2,
            groups: texts.as_ptr(),
            headers_count: 1,
            headers_keys: texts.as_ptr(),
            headers_values: texts.as_ptr(),
            body: b"\0\xFF".as_ptr().cast(),
            body_size: 2,
            ..NOTHING
        };
        // SAFETY: all is there until the test ends.
        let request = unsafe { read(texts[0], &raw const request) }.unwrap();
        assert_eq!(request.path, "Z\u{FFFD}rich");
        assert_eq!(request.groups, ["Z\u{FFFD}rich", ""]);
        assert_eq!(request.header("Z\u{FFFD}rich"), Some("Z\u{FFFD}rich"));
        assert_eq!(request.body, b"\0\xFF");
    }

    #[test]
    fn prints_neither_header_fields_nor_parameters_nor_body() {
        let secret = [(String::from("authorization"), String::from("secret"))];
        let request = RestRequest {
            method: Method::Get,
            path: String::from("/path"),
            groups: Vec::new(),
            query: secret.to_vec(),
            headers: secret.to_vec(),
            body: b"secret",
        };
        assert_eq!(format!("{request:?}"), "RestRequest { method: Get, path: \"/path\", .. }");
        assert_eq!(request.parameter("authorization"), Some("secret"));
        assert_eq!(request.parameter("other"), None);
    }
}
