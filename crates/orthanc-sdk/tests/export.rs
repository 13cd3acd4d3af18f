//! The four functions that Orthanc looks for, in a crate that denies `unsafe_code`.

#[cfg(test)]
mod scripted;

mod library {
    #![deny(unsafe_code)]
    orthanc_sdk::export_plugin!(super::scripted::Scripted);
}

/// As Orthanc sees the library.
mod orthanc {
    use std::ffi::{c_char, c_void};

    #[expect(unsafe_code, reason = "these are C functions")]
    unsafe extern "C" {
        pub(super) fn OrthancPluginInitialize(context: *mut c_void) -> i32;
        pub(super) safe fn OrthancPluginFinalize();
        pub(super) safe fn OrthancPluginGetName() -> *const c_char;
        pub(super) safe fn OrthancPluginGetVersion() -> *const c_char;
    }
}

#[test]
#[expect(unsafe_code, reason = "C strings")]
fn names_itself() {
    // SAFETY: the function gives a C string that is never freed.
    let name = unsafe { std::ffi::CStr::from_ptr(orthanc::OrthancPluginGetName()) };
    assert_eq!(name, c"scripted");
    // SAFETY: as above.
    let version = unsafe { std::ffi::CStr::from_ptr(orthanc::OrthancPluginGetVersion()) };
    assert_eq!(version, c"1.2.3");
}

#[test]
#[expect(unsafe_code, reason = "C functions")]
fn refuses_no_context_and_ends_without_a_beginning() {
    // SAFETY: null is allowed.
    assert_eq!(unsafe { orthanc::OrthancPluginInitialize(std::ptr::null_mut()) }, -1);
    orthanc::OrthancPluginFinalize();
}
