//! A pretend Orthanc in Rust, to drive a [`Plugin`] in `cargo test` and under Miri.
//!
//! It is as strict as the real one, and keeps the books: what was logged, which services were asked for and in
//! which order, whether each buffer was freed once, and whether a context was used after its end. It goes through
//! the very functions that [`export_plugin!`](crate::export_plugin) exports.
//!
//! ```
//! use orthanc_sdk::fake_host::FakeHost;
//! # use orthanc_sdk::{Change, Host, Level, Plugin, Refusal, Version};
//! # struct Greeter(Host);
//! # impl Plugin for Greeter {
//! #     const NAME: &'static std::ffi::CStr = c"greeter";
//! #     const VERSION: &'static std::ffi::CStr = c"1.0";
//! #     const OLDEST_HOST: Version = Version::new(1, 5, 4);
//! #     fn initialize(host: &Host) -> Result<Self, Refusal> { Ok(Self(host.clone())) }
//! #     fn on_change(&self, _: Change) { self.0.log(Level::Warning, "Hello!") }
//! # }
//! let orthanc = FakeHost::builder().version("1.12.7").configuration("{}").build();
//! assert_eq!(orthanc.initialize::<Greeter>(), 0);
//! assert_eq!(orthanc.change(Change::OrthancStarted), Some(0));
//! orthanc.finalize();
//! assert_eq!(orthanc.log()[0].text, "Hello!");
//! orthanc.assert_clean();
//! ```
//!
//! A plugin is one to a process: there is one `FakeHost` at a time, and another thread that builds one waits until
//! the first is dropped.

mod http;
mod memory;
mod metrics;
mod record;
mod services;
mod session;
#[cfg(test)]
mod tests;
mod turn;

pub use http::HttpAnswer;
pub use metrics::{Metric, MetricValue};
pub use record::{LogLine, Property};

use crate::{Change, Host, Method, Plugin, Version, lifecycle, panic};
use record::Record;
use session::Session;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use turn::Turn;

/// A pretend Orthanc. Dropping it finalises the plugin.
pub struct FakeHost {
    orthanc: Arc<Orthanc>,
    session: Mutex<Option<Session>>,
    /// Sessions that are over; see [`Session::end`].
    former: Mutex<Vec<Session>>,
    // Last: the next FakeHost may begin when all else is dropped.
    _turn: Turn,
}

/// What all contexts of one pretend Orthanc lead to.
pub(crate) struct Orthanc {
    version: Version,
    version_text: String,
    configuration: Vec<u8>,
    rest: RestHandler,
    record: Mutex<Record>,
    /// Those of the requests that are being answered.
    outputs: Mutex<Vec<Arc<http::Output>>>,
}

type RestHandler = Box<dyn Fn(Method, &str, &[u8]) -> Result<Vec<u8>, i32> + Send + Sync>;

impl FakeHost {
    /// A pretend Orthanc 1.10.1, with an empty configuration and no REST routes.
    pub fn builder() -> Builder {
        Builder {
            version: String::from("1.10.1"),
            configuration: b"{}".to_vec(),
            rest: Box::new(|_, _, _| Err(crate::error_code::UNKNOWN_RESOURCE)),
        }
    }

    /// `OrthancPluginInitialize`, with a new context: gives its answer. A former context that was not finalised is
    /// taken away before.
    pub fn initialize<P: Plugin>(&self) -> i32 {
        self.end_session();
        self.orthanc.record().rest_available = false;
        let session = Session::begin(&self.orthanc);
        let context = session.context();
        *lock(&self.session) = Some(session);
        // SAFETY: the session keeps the context until finalize has returned, or until this call has failed.
        let code = unsafe { lifecycle::initialize::<P>(context) };
        if code == 0 {
            self.orthanc.record().rest_available = true;
        } else {
            self.end_session();
        }
        code
    }

    /// Tells the plugin of a change: the answer of its callback; `None` if it has registered none.
    pub fn change(&self, change: Change) -> Option<i32> {
        let callback = self.orthanc.record().on_change?;
        Some(callback(change.id(), crate::ffi::RESOURCE_NONE, std::ptr::null()))
    }

    /// `OrthancPluginFinalize`, and the end of the context. The REST API is gone already, as in Orthanc.
    pub fn finalize(&self) {
        self.orthanc.record().rest_available = false;
        lifecycle::finalize();
        self.end_session();
    }

    /// What `POST /tools/reset` does: `OrthancStopped`, Finalize, and in the same image Initialize, whose answer is
    /// given, and `OrthancStarted`.
    pub fn reset<P: Plugin>(&self) -> i32 {
        self.change(Change::OrthancStopped);
        self.finalize();
        let code = self.initialize::<P>();
        if code == 0 {
            self.change(Change::OrthancStarted);
        }
        code
    }

    /// The handle that the plugin has now.
    pub fn host(&self) -> Option<Host> {
        lifecycle::current_host()
    }

    /// All lines logged so far, those of the pretend Orthanc among them.
    pub fn log(&self) -> Vec<LogLine> {
        self.orthanc.record().log.clone()
    }

    /// The numbers of all services asked for so far, in order (`_OrthancPluginService` in `OrthancCPlugin.h`).
    pub fn services(&self) -> Vec<i32> {
        self.orthanc.record().services.clone()
    }

    /// Those among [`services`](Self::services) that this version does not have.
    pub fn unknown_services(&self) -> Vec<i32> {
        self.orthanc.record().unknown.clone()
    }

    /// What the plugin has said about itself, in order.
    pub fn properties(&self) -> Vec<Property> {
        self.orthanc.record().properties.clone()
    }

    /// The names that threads have been given, in order; `None` where a thread gave up its name.
    pub fn thread_names(&self) -> Vec<Option<String>> {
        self.orthanc.record().thread_names.clone()
    }

    /// How many buffers given to the plugin have not been freed.
    pub fn buffers_in_use(&self) -> usize {
        memory::in_use()
    }

    /// Asserts that the plugin has been a good guest.
    ///
    /// # Panics
    /// Unless each buffer was freed once, nothing was asked for that this version does not have, no context was
    /// used after its end, each request was answered once and in time, and the REST handler of the test did not panic.
    pub fn assert_clean(&self) {
        // Nothing may be locked where an assertion can fail: the plugin's panic hook logs it, here.
        let Record { unknown, late, panics, unanswered, late_answers, .. } = self.orthanc.record().clone();
        let none: [i32; 0] = [];
        assert_eq!(memory::in_use(), 0, "buffers that were never freed");
        assert_eq!(memory::wrong_frees(), 0, "buffers freed twice, or never given");
        assert_eq!(unknown, none, "services that Orthanc {} lacks", self.orthanc.version_text);
        assert_eq!(late, none, "services asked for after the end of the context");
        assert_eq!(unanswered, 0, "requests without an answer, or with an answer and an error code");
        assert_eq!(late_answers, 0, "answers to requests that were answered before, or are over");
        assert_eq!(panics, 0, "panics in the REST handler given to the pretend host");
    }

    fn end_session(&self) {
        let mut record = self.orthanc.record();
        record.on_change = None;
        record.on_refresh_metrics = None;
        record.routes.clear();
        drop(record);
        if let Some(mut session) = lock(&self.session).take() {
            session.end();
            lock(&self.former).push(session);
        }
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        self.finalize();
        memory::clear();
    }
}

impl Orthanc {
    fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }
}

/// How to make a [`FakeHost`].
#[must_use]
pub struct Builder {
    version: String,
    configuration: Vec<u8>,
    rest: RestHandler,
}

impl Builder {
    /// What Orthanc says its version is. Services newer than that are unknown to it.
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// What the plugin reads as Orthanc's configuration, up to the first NUL byte, as C has it.
    pub fn configuration(mut self, json: impl Into<Vec<u8>>) -> Self {
        self.configuration = json.into();
        self
    }

    /// The REST API: the body of the answer, or an error code of Orthanc's, with 17 (`UnknownResource`) for 404.
    /// It is called by the thread that asks, with nothing locked.
    pub fn rest(
        mut self,
        handler: impl Fn(Method, &str, &[u8]) -> Result<Vec<u8>, i32> + Send + Sync + 'static,
    ) -> Self {
        self.rest = Box::new(handler);
        self
    }

    /// Waits for the turn of this thread: one pretend Orthanc at a time.
    ///
    /// # Panics
    /// If this thread has one already: it would wait for itself.
    pub fn build(self) -> FakeHost {
        let turn = Turn::take();
        memory::clear();
        panic::ECHO.store(true, Ordering::SeqCst);
        let orthanc = Orthanc {
            // As strict as a real host is about its own version: a text that is none has every service.
            version: self.version.parse().unwrap_or(Version::MAINLINE),
            version_text: self.version,
            configuration: self.configuration,
            rest: self.rest,
            record: Mutex::default(),
            outputs: Mutex::default(),
        };
        FakeHost {
            orthanc: Arc::new(orthanc),
            session: Mutex::default(),
            former: Mutex::default(),
            _turn: turn,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
