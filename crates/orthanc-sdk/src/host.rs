//! The handle to the Orthanc that loaded the plugin.

use crate::ffi::{self, Service};
use crate::turnstile::{Pass, Turnstile};
use crate::{Error, Version};
use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The Orthanc that loaded the plugin.
///
/// Clone it freely and use it from any thread. Once the plugin is finalised every call answers [`Error::Gone`]
/// and log lines go nowhere; Finalize waits for the calls that are under way. While the plugin is being dropped
/// only the log (thread names included) still works.
#[derive(Clone)]
pub struct Host {
    link: Arc<Link>,
}

struct Link {
    door: Turnstile<Context>,
    stopping: AtomicBool,
    version: Version,
    plugin: &'static CStr,
}

/// The host's context with its two functions.
#[derive(Clone, Copy)]
pub(crate) struct Context {
    pointer: NonNull<ffi::Context>,
    invoke: ffi::InvokeService,
    free: ffi::Free,
}

// SAFETY: Orthanc allows every service to be called from any thread, and changes nothing in the context while the
// plugin lives (invariant 1 in lib.rs).
unsafe impl Send for Context {}

/// What a call needs of the host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A running Orthanc.
    Services,
    /// No more than its log, which works until the very end.
    Log,
    /// To answer a request of Orthanc's, which Finalize waits for.
    Answer,
}

/// How loud a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Somebody has to do something.
    Error,
    /// Orthanc's default: what an administrator wants to see.
    Warning,
    /// Seen with `--verbose-plugins` and `--verbose`.
    Info,
    /// Seen with `--trace`; before Orthanc 1.12.4 plugins have no such level, and it becomes [`Level::Info`].
    Trace,
}

impl Level {
    /// `OrthancPluginLogLevel`.
    pub(crate) const fn id(self) -> i32 {
        match self {
            Self::Error => 0,
            Self::Warning => 1,
            Self::Info => 2,
            Self::Trace => 3,
        }
    }
}

impl Host {
    /// The host behind `context`; `None` if that is no usable context.
    ///
    /// # Safety
    /// `context` is null or points to a context that stays valid until [`Host::leave`] (or `abandon`) returns.
    pub(crate) unsafe fn attach(
        context: *mut ffi::Context,
        plugin: &'static CStr,
    ) -> Option<(Self, Result<Version, String>)> {
        let pointer = NonNull::new(context)?;
        // SAFETY: not null, hence valid, by this function's contract; nobody writes to it (invariant 1).
        let seen = unsafe { pointer.as_ref() };
        let context = Context { pointer, invoke: seen.invoke_service?, free: seen.free? };
        let version = if seen.orthanc_version.is_null() {
            Err(String::from("(none)"))
        } else {
            // SAFETY: not null, and Orthanc's version is a C string that lives as long as its context.
            let text = unsafe { CStr::from_ptr(seen.orthanc_version) }.to_string_lossy();
            text.parse().map_err(|_| text.into_owned())
        };
        let link = Link {
            door: Turnstile::opened(context),
            stopping: AtomicBool::new(false),
            version: *version.as_ref().unwrap_or(&Version::new(0, 0, 0)),
            plugin,
        };
        Some((Self { link: Arc::new(link) }, version))
    }

    /// Finalize has begun: from now on only the log works.
    pub(crate) fn stopping(&self) {
        self.link.stopping.store(true, Ordering::SeqCst);
    }

    /// Waits for the calls that are under way and gives the context up, for ever.
    pub(crate) fn leave(&self) {
        self.stopping();
        self.link.door.close();
    }

    /// The version of this Orthanc.
    pub fn version(&self) -> Version {
        self.link.version
    }

    /// Orthanc's whole configuration, all files merged, as JSON without comments, `${VARIABLES}` replaced.
    ///
    /// Bytes that are not UTF-8 come back as U+FFFD: a stray letter in some other plugin's section is no reason
    /// to fail.
    ///
    /// # Errors
    /// [`Error::Host`] and [`Error::NoAnswer`] if Orthanc cannot give it; [`Error::Gone`].
    pub fn configuration(&self) -> Result<String, Error> {
        let pass = self.enter(Need::Services)?;
        let mut text: *mut c_char = ptr::null_mut();
        let parameters = ffi::RetrieveDynamicString { result: &raw mut text, argument: ptr::null() };
        // SAFETY: GetConfiguration reads such a structure, and writes to `text`, which outlives the call.
        unsafe { self.invoke(&pass, Service::GetConfiguration, &raw const parameters) }?;
        if text.is_null() {
            return Err(Error::NoAnswer { service: Service::GetConfiguration.name() });
        }
        // SAFETY: on success Orthanc has stored a C string, which is ours until it is freed.
        let copy = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
        // SAFETY: it was allocated by this context, and is not used again.
        unsafe { pass.value().free(text.cast()) };
        Ok(copy)
    }

    /// Writes one line into Orthanc's log; nothing once the plugin is finalised.
    ///
    /// Line breaks become ` | `, and other control characters U+FFFD, so that text from the network can neither
    /// forge lines nor end the line early. Since Orthanc 1.12.4 the line carries the plugin's name and the place
    /// of the caller, but for [`Level::Info`], which is what `--verbose-plugins` shows.
    #[track_caller]
    pub fn log(&self, level: Level, message: &str) {
        let place = Location::caller();
        self.log_from(level, message, place.file(), place.line());
    }

    /// As [`log`](Self::log), on behalf of the given place in the source: for loggers built upon this one.
    pub fn log_from(&self, level: Level, message: &str, file: &str, line: u32) {
        self.try_log(level, message, file, line);
    }

    /// Whether the line has reached the host.
    pub(crate) fn try_log(&self, level: Level, message: &str, file: &str, line: u32) -> bool {
        let Ok(pass) = self.enter(Need::Log) else { return false };
        let message = c_text(&one_line(message));
        // `--verbose-plugins` shows the category that Orthanc keeps for itself, and gives to what comes by LogInfo.
        if self.has(Service::LogMessage) && level != Level::Info {
            let file = c_text(file);
            let parameters = ffi::LogMessage {
                message: message.as_ptr(),
                plugin: self.link.plugin.as_ptr(),
                file: file.as_ptr(),
                line,
                category: ffi::LOG_CATEGORY_GENERIC,
                level: level.id(),
            };
            // SAFETY: LogMessage reads such a structure; its strings outlive the call.
            return unsafe { self.invoke(&pass, Service::LogMessage, &raw const parameters) }.is_ok();
        }
        let service = match level {
            Level::Error => Service::LogError,
            Level::Warning => Service::LogWarning,
            Level::Info | Level::Trace => Service::LogInfo,
        };
        // SAFETY: the three services read a C string, which outlives the call.
        unsafe { self.invoke(&pass, service, message.as_ptr()) }.is_ok()
    }

    /// The sentence about the plugin that Orthanc Explorer shows in its list of plugins.
    pub fn set_description(&self, description: &str) {
        self.set_property(ffi::PROPERTY_DESCRIPTION, description);
    }

    /// The page of the plugin that Orthanc Explorer links to from its list of plugins.
    pub fn set_root_uri(&self, uri: &str) {
        self.set_property(ffi::PROPERTY_ROOT_URI, uri);
    }

    /// Has Orthanc Explorer, its old user interface, run `javascript` in each of its pages, after its own. One a
    /// plugin: the last one given counts.
    pub fn extend_orthanc_explorer(&self, javascript: &str) {
        self.set_property(ffi::PROPERTY_ORTHANC_EXPLORER, javascript);
    }

    /// Gives the calling thread, one that the plugin has started, a name in Orthanc's log: the first 16 bytes of
    /// `name`. Nothing happens before Orthanc 1.12.2.
    pub fn name_current_thread(&self, name: &str) {
        let Ok(pass) = self.enter(Need::Log) else { return };
        if !self.has(Service::SetCurrentThreadName) {
            return;
        }
        let name = c_text(thread_name(name));
        // SAFETY: SetCurrentThreadName reads a C string, which outlives the call.
        let outcome = unsafe { self.invoke(&pass, Service::SetCurrentThreadName, name.as_ptr()) };
        self.report(outcome);
    }

    /// Takes the name away again: to be called by a thread that has named itself, when it ends. Nothing happens
    /// before Orthanc 1.13.0.
    pub fn clear_current_thread_name(&self) {
        let Ok(pass) = self.enter(Need::Log) else { return };
        if !self.has(Service::ClearCurrentThreadName) {
            return;
        }
        // SAFETY: ClearCurrentThreadName has no parameters.
        let outcome = unsafe { self.invoke(&pass, Service::ClearCurrentThreadName, ptr::null::<c_void>()) };
        self.report(outcome);
    }

    /// Has `callback` called at every change; there is no way to take that back.
    pub(crate) fn register_on_change(&self, callback: ffi::OnChange) -> Result<(), Error> {
        let pass = self.enter(Need::Services)?;
        let parameters = ffi::RegisterOnChange { callback };
        // SAFETY: RegisterOnChangeCallback reads such a structure; the function it names is never unloaded before
        // Orthanc has forgotten it (invariant 4).
        unsafe { self.invoke(&pass, Service::RegisterOnChangeCallback, &raw const parameters) }
    }

    /// Has `callback` called for every path that `path_regular_expression` matches; there is no way to take that back.
    pub(crate) fn register_route(
        &self,
        path_regular_expression: &str,
        callback: ffi::OnRest,
    ) -> Result<(), Error> {
        let pass = self.enter(Need::Services)?;
        let path = c_text(path_regular_expression);
        let parameters = ffi::RegisterRest { path_regular_expression: path.as_ptr(), callback };
        // SAFETY: RegisterRestCallbackNoLock reads such a structure, and copies the string; for the function see
        // invariant 4.
        unsafe { self.invoke(&pass, Service::RegisterRestCallbackNoLock, &raw const parameters) }
    }

    fn set_property(&self, property: i32, value: &str) {
        let Ok(pass) = self.enter(Need::Services) else { return };
        let value = c_text(value);
        let plugin = self.link.plugin.as_ptr();
        let parameters = ffi::SetPluginProperty { plugin, property, value: value.as_ptr() };
        // SAFETY: SetPluginProperty reads such a structure; its strings outlive the call.
        let outcome = unsafe { self.invoke(&pass, Service::SetPluginProperty, &raw const parameters) };
        self.report(outcome);
    }

    /// For calls whose failure changes nothing for the caller, but is worth a line.
    #[track_caller]
    pub(crate) fn report(&self, outcome: Result<(), Error>) {
        if let Err(error) = outcome {
            self.log(Level::Warning, &error.to_string());
        }
    }

    /// Begins a call: the context stays valid as long as the pass is held.
    pub(crate) fn enter(&self, need: Need) -> Result<Pass<'_, Context>, Error> {
        if need == Need::Services && self.link.stopping.load(Ordering::SeqCst) {
            return Err(Error::Gone);
        }
        self.link.door.enter().ok_or(Error::Gone)
    }

    /// Whether this Orthanc is new enough for `service`.
    pub(crate) fn has(&self, service: Service) -> bool {
        self.link.version >= service.since()
    }

    /// Asks for a service, unless this Orthanc is too old for it.
    ///
    /// # Safety
    /// `parameters` is what `service` expects, and everything it points to is valid until this returns.
    pub(crate) unsafe fn invoke<P>(
        &self,
        pass: &Pass<'_, Context>,
        service: Service,
        parameters: *const P,
    ) -> Result<(), Error> {
        if !self.has(service) {
            let (name, since) = (service.name(), service.since());
            return Err(Error::HostTooOld { service: name, since, version: self.link.version });
        }
        let context = pass.value();
        // SAFETY: the pass keeps the context valid, and the caller vouches for the parameters.
        let code = unsafe { (context.invoke)(context.pointer.as_ptr(), service.id(), parameters.cast()) };
        match code {
            0 => Ok(()),
            code => Err(Error::Host { service: service.name(), code }),
        }
    }
}

impl Context {
    /// Frees what the host has allocated.
    ///
    /// # Safety
    /// `memory` was allocated by this very host for the plugin, was not freed before, and is not used again; the
    /// context is still valid.
    pub(crate) unsafe fn free(&self, memory: *mut c_void) {
        // SAFETY: as above.
        unsafe { (self.free)(memory) }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Host").field("version", &self.link.version).finish_non_exhaustive()
    }
}

/// As a C string; a NUL, which C strings cannot hold, becomes U+FFFD.
pub(crate) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{FFFD}")).unwrap_or_default()
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for part in text.split(['\n', '\r']).filter(|part| !part.trim().is_empty()) {
        if !line.is_empty() {
            line.push_str(" | ");
        }
        line.extend(part.trim_end().chars().map(|letter| match letter {
            '\t' => ' ',
            letter if letter.is_control() => '\u{FFFD}',
            letter => letter,
        }));
    }
    line
}

/// Orthanc refuses names of more than 16 bytes.
fn thread_name(name: &str) -> &str {
    let end = (0..=16).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.get(..end).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_line_a_line() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("\n\n", ""),
            ("first\nsecond", "first | second"),
            ("first\r\n\r\n  second  \r\n", "first |   second"),
            ("E0101 forged\n\x1b[31mred", "E0101 forged | \u{FFFD}[31mred"),
            ("tab\tnul\0end", "tab nul\u{FFFD}end"),
            ("Zürich", "Zürich"),
        ] {
            assert_eq!(one_line(text), expected, "{text:?}");
        }
    }

    #[test]
    fn cuts_thread_names_between_letters() {
        for (name, expected) in [
            ("", ""),
            ("GCP", "GCP"),
            ("exactly-16-bytes", "exactly-16-bytes"),
            ("exactly-17-bytes!", "exactly-17-bytes"),
            ("fifteen-bytes--é", "fifteen-bytes--"),
        ] {
            assert_eq!(thread_name(name), expected);
        }
    }
}
