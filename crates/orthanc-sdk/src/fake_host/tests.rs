//! The pretend host finds what it is there to find.

use super::*;
use crate::ffi::{self, Service};
use crate::host::Need;
use crate::{Error, Level, Refusal};
use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

struct Quiet;

impl Plugin for Quiet {
    const NAME: &'static CStr = c"quiet";
    const VERSION: &'static CStr = c"1";
    const OLDEST_HOST: Version = Version::new(1, 5, 4);

    fn initialize(_: &Host) -> Result<Self, Refusal> {
        Ok(Self)
    }

    fn on_change(&self, _: Change) {}
}

fn invoke(context: *mut ffi::Context, service: Service, parameters: *const c_void) -> i32 {
    // SAFETY: the tests give what the services expect.
    unsafe { services::invoke(context, service.id(), parameters) }
}

fn running(version: &str) -> (FakeHost, *mut ffi::Context) {
    let orthanc = FakeHost::builder().version(version).rest(|_, _, _| Ok(b"answer".to_vec())).build();
    assert_eq!(orthanc.initialize::<Quiet>(), 0);
    let context = lock(&orthanc.session).as_ref().unwrap().context();
    (orthanc, context)
}

fn complaint(orthanc: &FakeHost) -> String {
    let thrown = catch_unwind(AssertUnwindSafe(|| orthanc.assert_clean())).unwrap_err();
    thrown.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn a_service_too_new_is_26_and_remembered() {
    let (orthanc, context) = running("1.12.3");
    assert_eq!(invoke(context, Service::LogMessage, std::ptr::null()), 26);
    assert_eq!(orthanc.unknown_services(), [45]);
    assert_eq!(orthanc.log().last().unwrap().level, Level::Error);
    assert!(complaint(&orthanc).contains("lacks"), "{}", complaint(&orthanc));
}

#[test]
fn the_host_handle_asks_for_nothing_too_new() {
    let (orthanc, _) = running("1.12.3");
    let host = orthanc.host().unwrap();
    let pass = host.enter(Need::Services).unwrap();
    // SAFETY: this service has no parameters.
    let outcome = unsafe { host.invoke(&pass, Service::ClearCurrentThreadName, std::ptr::null::<c_void>()) };
    assert!(matches!(outcome, Err(Error::HostTooOld { .. })), "{outcome:?}");
    drop(pass);
    orthanc.assert_clean();
}

#[test]
fn a_buffer_kept_and_a_buffer_freed_twice_are_told() {
    let (orthanc, context) = running("1.10.1");
    let mut target = ffi::MemoryBuffer::EMPTY;
    let parameters = ffi::RestApiGet { target: &raw mut target, uri: c"/".as_ptr() };
    assert_eq!(invoke(context, Service::RestApiGetAfterPlugins, (&raw const parameters).cast()), 0);
    assert_eq!((orthanc.buffers_in_use(), target.size), (1, 6));
    assert!(complaint(&orthanc).contains("never freed"), "{}", complaint(&orthanc));
    // SAFETY: any pointer will do.
    unsafe { memory::free(target.data) };
    orthanc.assert_clean();
    // SAFETY: any pointer will do.
    unsafe { memory::free(target.data) };
    assert!(complaint(&orthanc).contains("freed twice"), "{}", complaint(&orthanc));
}

#[test]
#[cfg(not(miri))] // Which stops at the first use of the freed context.
fn a_call_after_the_end_is_told() {
    let (orthanc, context) = running("1.10.1");
    orthanc.finalize();
    orthanc.assert_clean();
    invoke(context, Service::LogError, c"late".as_ptr().cast());
    assert!(complaint(&orthanc).contains("after the end"), "{}", complaint(&orthanc));
}

#[test]
fn a_panic_in_the_rest_handler_of_a_test_is_told() {
    let orthanc = FakeHost::builder().rest(|_, _, _| panic!("in the handler")).build();
    assert_eq!(orthanc.initialize::<Quiet>(), 0);
    assert!(orthanc.host().unwrap().rest_get("/").is_err());
    assert!(complaint(&orthanc).contains("REST handler"), "{}", complaint(&orthanc));
}

#[test]
fn a_change_after_the_end_is_a_success_without_effect() {
    let (orthanc, _) = running("1.10.1");
    let callback = orthanc.orthanc.record().on_change.unwrap();
    orthanc.finalize();
    let before = orthanc.services();
    assert_eq!(callback(10, ffi::RESOURCE_NONE, std::ptr::null()), 0);
    assert_eq!(orthanc.services(), before);
    assert_eq!(orthanc.change(Change::OrthancStarted), None);
}

#[test]
fn one_at_a_time() {
    let (orthanc, _) = running("1.10.1");
    assert!(catch_unwind(|| FakeHost::builder().build()).is_err());
    drop(orthanc);
    drop(FakeHost::builder().build());
}

/// What Orthanc gives to a callback of a route.
const REQUEST: ffi::HttpRequest = ffi::HttpRequest {
    method: 1,
    groups_count: 0,
    groups: std::ptr::null(),
    get_count: 0,
    get_keys: std::ptr::null(),
    get_values: std::ptr::null(),
    body: std::ptr::null(),
    body_size: 0,
    headers_count: 0,
    headers_keys: std::ptr::null(),
    headers_values: std::ptr::null(),
};

struct Routed;

impl Plugin for Routed {
    const NAME: &'static CStr = c"routed";
    const VERSION: &'static CStr = c"1";
    const OLDEST_HOST: Version = Version::new(0, 0, 0);

    fn initialize(_: &Host) -> Result<Self, Refusal> {
        Ok(Self)
    }

    fn on_change(&self, _: Change) {}

    fn routes(&self) -> Vec<String> {
        vec![String::from("/routed")]
    }
}

#[test]
fn a_request_after_the_end_is_left_to_orthanc() {
    let orthanc = FakeHost::builder().build();
    assert_eq!(orthanc.initialize::<Routed>(), 0);
    let record = orthanc.orthanc.record().clone();
    orthanc.finalize();
    let (before, request) = (orthanc.services(), REQUEST);
    // SAFETY: a request like Orthanc's.
    let code =
        unsafe { (record.routes[0].callback)(std::ptr::null_mut(), c"/routed".as_ptr(), &raw const request) };
    assert_eq!(code, 2038);
    (record.on_refresh_metrics.unwrap())();
    assert_eq!(orthanc.services(), before);
    assert_eq!(orthanc.request(Method::Get, "/routed", &[], b""), None);
    orthanc.assert_clean();
}

#[test]
fn a_plugin_that_answers_nothing_answers_404() {
    let orthanc = FakeHost::builder().build();
    assert_eq!(orthanc.initialize::<Routed>(), 0);
    assert_eq!(orthanc.request(Method::Get, "/routed", &[], b"").unwrap().status, 404);
    assert_eq!(orthanc.request(Method::Get, "/routed/more", &[], b""), None);
    assert!(orthanc.metrics().is_empty());
    orthanc.assert_clean();
}

extern "C" fn says_nothing(
    _: *mut ffi::RestOutput,
    _: *const std::ffi::c_char,
    _: *const ffi::HttpRequest,
) -> i32 {
    0
}

#[test]
fn a_request_without_an_answer_is_told() {
    let (orthanc, context) = running("1.10.1");
    let parameters =
        ffi::RegisterRest { path_regular_expression: c"/silent".as_ptr(), callback: says_nothing };
    let parameters = (&raw const parameters).cast();
    assert_eq!(invoke(context, Service::RegisterRestCallbackNoLock, parameters), 0);
    assert_eq!(orthanc.request(Method::Get, "/silent", &[], b"").unwrap().status, 200);
    assert!(complaint(&orthanc).contains("without an answer"), "{}", complaint(&orthanc));
}

#[test]
fn an_answer_to_no_request_is_told() {
    let (orthanc, context) = running("1.10.1");
    let mut nobody = 0_u8;
    let parameters = ffi::SendHttpStatus {
        output: (&raw mut nobody).cast(),
        status: 404,
        body: std::ptr::null(),
        body_size: 0,
    };
    assert_eq!(invoke(context, Service::SendHttpStatus, (&raw const parameters).cast()), 35);
    assert!(complaint(&orthanc).contains("or are over"), "{}", complaint(&orthanc));
}
