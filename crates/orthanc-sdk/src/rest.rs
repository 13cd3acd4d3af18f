//! Orthanc's REST API from the inside, as the other plugins have extended it.

use crate::ffi::{self, Service};
use crate::host::{Context, Need};
use crate::turnstile::Pass;
use crate::{Error, Host, error_code};
use std::ffi::CString;
use std::ptr;

/// An HTTP method, as far as Orthanc's REST API uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
}

impl Method {
    /// `OrthancPluginHttpMethod`.
    pub(crate) const fn id(self) -> i32 {
        match self {
            Self::Get => 1,
            Self::Post => 2,
            Self::Put => 3,
            Self::Delete => 4,
        }
    }

    /// The method of that number.
    pub(crate) fn from_id(id: i32) -> Option<Self> {
        [Self::Get, Self::Post, Self::Put, Self::Delete].into_iter().find(|method| method.id() == id)
    }
}

/// What the REST API answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body; empty for DELETE.
    pub body: Vec<u8>,
}

/// Calls go to the routes of all plugins, `/dicom-web/…` among them, with full rights. `uri` starts with a slash
/// and is taken to the letter: plugins' routes see it without any percent-decoding. None of this works before the plugin's `initialize` has returned, nor after
/// `OrthancStopped`: [`Error::Host`] with [`error_code::DATABASE_NOT_INITIALIZED`].
impl Host {
    /// GET. Orthanc logs an error line of its own for a URI that nothing answers: ask by
    /// [`rest_call`](Self::rest_call) for what may be absent.
    ///
    /// # Errors
    /// [`Error::Host`], with [`error_code::UNKNOWN_RESOURCE`] for HTTP 404; [`Error::NulInUri`]; [`Error::Gone`].
    pub fn rest_get(&self, uri: &str) -> Result<Vec<u8>, Error> {
        let uri = c_uri(uri)?;
        let pass = self.enter(Need::Services)?;
        let mut target = ffi::MemoryBuffer::EMPTY;
        let parameters = ffi::RestApiGet { target: &raw mut target, uri: uri.as_ptr() };
        // SAFETY: RestApiGetAfterPlugins reads such a structure and writes to `target`; all outlives the call.
        unsafe { self.invoke(&pass, Service::RestApiGetAfterPlugins, &raw const parameters) }?;
        // SAFETY: a service that succeeded has filled `target`, or left it empty.
        Ok(unsafe { take(&pass, &target) })
    }

    /// PUT.
    ///
    /// # Errors
    /// As [`rest_get`](Self::rest_get), and [`Error::BodyTooLarge`]. DICOMweb's routes give
    /// [`error_code::BAD_FILE_FORMAT`] for a body they cannot use.
    pub fn rest_put(&self, uri: &str, body: &[u8]) -> Result<Vec<u8>, Error> {
        self.rest_send(Service::RestApiPutAfterPlugins, uri, body)
    }

    /// POST.
    ///
    /// # Errors
    /// As [`rest_put`](Self::rest_put).
    pub fn rest_post(&self, uri: &str, body: &[u8]) -> Result<Vec<u8>, Error> {
        self.rest_send(Service::RestApiPostAfterPlugins, uri, body)
    }

    /// DELETE.
    ///
    /// # Errors
    /// As [`rest_get`](Self::rest_get).
    pub fn rest_delete(&self, uri: &str) -> Result<(), Error> {
        let uri = c_uri(uri)?;
        let pass = self.enter(Need::Services)?;
        // SAFETY: RestApiDeleteAfterPlugins reads a C string, which outlives the call.
        unsafe { self.invoke(&pass, Service::RestApiDeleteAfterPlugins, uri.as_ptr()) }
    }

    /// Any method, answered with the HTTP status: 404 where nothing answers, without a line in the log since
    /// Orthanc 1.9.2.
    ///
    /// Where Orthanc tells no status but [`error_code::UNKNOWN_RESOURCE`], that is a 404 too: always before 1.9.2,
    /// and later for a URI that knows other methods (1.10.1, `POST /tools/now`). Before 1.9.2 all else is 200.
    ///
    /// # Errors
    /// [`Error::Host`] when a plugin failed to serve its own route (no status is known then); the others as
    /// [`rest_put`](Self::rest_put).
    pub fn rest_call(&self, method: Method, uri: &str, body: &[u8]) -> Result<RestAnswer, Error> {
        let answer = if self.has(Service::CallRestApi) {
            self.rest_call_since_1_9_2(method, uri, body)
        } else {
            self.rest_call_before_1_9_2(method, uri, body)
        };
        unknown_is_404(answer)
    }

    fn rest_call_since_1_9_2(&self, method: Method, uri: &str, body: &[u8]) -> Result<RestAnswer, Error> {
        let uri = c_uri(uri)?;
        let body_size = size(body.len())?;
        let pass = self.enter(Need::Services)?;
        let mut target = ffi::MemoryBuffer::EMPTY;
        let mut status = 0_u16;
        let parameters = ffi::CallRestApi {
            answer_body: &raw mut target,
            answer_headers: ptr::null_mut(),
            http_status: &raw mut status,
            method: method.id(),
            uri: uri.as_ptr(),
            headers_count: 0,
            headers_keys: ptr::null(),
            headers_values: ptr::null(),
            body: body.as_ptr().cast(),
            body_size,
            after_plugins: 1,
        };
        // SAFETY: CallRestApi reads such a structure and writes to `target` and `status`; all outlives the call.
        unsafe { self.invoke(&pass, Service::CallRestApi, &raw const parameters) }?;
        // SAFETY: a service that succeeded has filled `target`, or left it empty.
        let body = unsafe { take(&pass, &target) };
        Ok(RestAnswer { status, body })
    }

    fn rest_call_before_1_9_2(&self, method: Method, uri: &str, body: &[u8]) -> Result<RestAnswer, Error> {
        let body = match method {
            Method::Get => self.rest_get(uri),
            Method::Post => self.rest_post(uri, body),
            Method::Put => self.rest_put(uri, body),
            Method::Delete => self.rest_delete(uri).map(|()| Vec::new()),
        }?;
        Ok(RestAnswer { status: 200, body })
    }

    fn rest_send(&self, service: Service, uri: &str, body: &[u8]) -> Result<Vec<u8>, Error> {
        let uri = c_uri(uri)?;
        let body_size = size(body.len())?;
        let pass = self.enter(Need::Services)?;
        let mut target = ffi::MemoryBuffer::EMPTY;
        let parameters = ffi::RestApiPostPut {
            target: &raw mut target,
            uri: uri.as_ptr(),
            body: body.as_ptr().cast(),
            body_size,
        };
        // SAFETY: both services given here read such a structure and write to `target`; all outlives the call.
        unsafe { self.invoke(&pass, service, &raw const parameters) }?;
        // SAFETY: a service that succeeded has filled `target`, or left it empty.
        Ok(unsafe { take(&pass, &target) })
    }
}

/// Copies what the host has allocated, and frees it.
///
/// # Safety
/// `buffer` is empty or was filled by the host that `pass` leads to, and is not used again.
unsafe fn take(pass: &Pass<'_, Context>, buffer: &ffi::MemoryBuffer) -> Vec<u8> {
    if buffer.data.is_null() {
        return Vec::new();
    }
    let size = usize::try_from(buffer.size).unwrap_or(0);
    // SAFETY: the host has stored that many bytes there, and they are ours until freed.
    let copy = unsafe { std::slice::from_raw_parts(buffer.data.cast::<u8>(), size) }.to_vec();
    // SAFETY: allocated by this host, freed once, not used again.
    unsafe { pass.value().free(buffer.data) };
    copy
}

fn unknown_is_404(answer: Result<RestAnswer, Error>) -> Result<RestAnswer, Error> {
    match answer {
        Err(Error::Host { code: error_code::UNKNOWN_RESOURCE, .. }) => {
            Ok(RestAnswer { status: 404, body: Vec::new() })
        }
        answer => answer,
    }
}

fn c_uri(uri: &str) -> Result<CString, Error> {
    CString::new(uri).map_err(|_| Error::NulInUri)
}

fn size(bytes: usize) -> Result<u32, Error> {
    u32::try_from(bytes).map_err(|_| Error::BodyTooLarge(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_resource_is_a_404_and_nothing_else_is() {
        let failed = |code| Err(Error::Host { service: "CallRestApi", code });
        assert_eq!(unknown_is_404(failed(17)), Ok(RestAnswer { status: 404, body: Vec::new() }));
        assert_eq!(unknown_is_404(failed(7)), failed(7));
        assert_eq!(unknown_is_404(Err(Error::Gone)), Err(Error::Gone));
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn refuses_what_32_bits_cannot_count() {
        assert_eq!(size(0xFFFF_FFFF), Ok(u32::MAX));
        assert_eq!(size(0x1_0000_0000), Err(Error::BodyTooLarge(0x1_0000_0000)));
    }
}
