//! What a plugin is.

use crate::{Host, RestReply, RestRequest, Version, ffi};
use std::ffi::CStr;
use std::fmt;

/// A plugin of Orthanc. Export it by [`export_plugin!`](crate::export_plugin).
///
/// Its life is that of the value: made in `OrthancPluginInitialize`, dropped in `OrthancPluginFinalize`. Orthanc
/// may do both any number of times in one process (`POST /tools/reset`). Finalize comes without
/// [`Change::OrthancStopped`] when Orthanc fails to start, so what must be stopped is stopped in `drop` too; the
/// log is all of the host that still works there.
pub trait Plugin: Send + Sync + Sized + 'static {
    /// `OrthancPluginGetName`: Orthanc loads one plugin of a name.
    const NAME: &'static CStr;

    /// `OrthancPluginGetVersion`: what Orthanc shows.
    const VERSION: &'static CStr;

    /// An older Orthanc is refused, with an error line that says so.
    const OLDEST_HOST: Version;

    /// Makes the plugin. The configuration can be read, the REST API cannot be called yet.
    ///
    /// # Errors
    /// A refusal is written to Orthanc's log as an error, and **Orthanc exits**: refuse only a host in which the
    /// plugin cannot live. A panic does the same.
    fn initialize(host: &Host) -> Result<Self, Refusal>;

    /// Something changed. Called by threads of Orthanc, possibly by several at once, under a lock that all
    /// plugins share: no network here, and no waiting for it. Whatever happens here, Orthanc is told that all is
    /// well.
    ///
    /// At [`Change::OrthancStopped`] every thread that calls the host must be joined before this returns: soon
    /// after, Orthanc takes down what such calls use.
    fn on_change(&self, change: Change);

    /// The paths of Orthanc's REST API that [`on_rest`](Self::on_rest) answers: regular expressions of Boost's Perl
    /// syntax, such as `/greeter/people/([^/]+)`, each of which has to match the whole path. Asked for once, after
    /// [`initialize`](Self::initialize). None, if not said otherwise.
    ///
    /// Paths come percent-decoded, and without empty parts: see [`RestRequest::path`]. Orthanc asks plugins in the order
    /// in which they were loaded, and its own routes last. It answers HEAD and OPTIONS itself by 404, and methods that it
    /// does not know by 400.
    fn routes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Answers a request for one of [`routes`](Self::routes); 404, if not said otherwise. Called by Orthanc's HTTP
    /// threads, by several at once, and also before `OrthancStarted` and after `OrthancStopped`. A panic is told
    /// in the log, and is HTTP 500 for who asked.
    ///
    /// Stopping Orthanc waits for requests under way: what waits in here has to give up at
    /// [`Change::OrthancStopped`]. Finalize waits as well; while it does, a request can still be answered, but all
    /// else of the host is [`Error::Gone`](crate::Error::Gone).
    fn on_rest(&self, request: &RestRequest<'_>) -> RestReply {
        let _ = request;
        RestReply::json(404, r#"{"status":404,"message":"Nothing answers at this path"}"#)
    }

    /// Somebody wants to see Orthanc's metrics (`GET /tools/metrics-prometheus`): time to set those of the plugin.
    /// Called by Orthanc's HTTP threads, under a lock that all plugins share: no waiting.
    fn refresh_metrics(&self) {}
}

/// Why a plugin will not live in this Orthanc: a sentence for its log, with the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Something that happened in Orthanc (`OrthancPluginChangeType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// Orthanc runs: all plugins are loaded, the REST API answers.
    OrthancStarted,
    /// Orthanc is about to stop; the REST API still answers while this is told.
    OrthancStopped,
    /// Any other, by its number in the header.
    Other(i32),
}

impl Change {
    pub(crate) const fn from_id(id: i32) -> Self {
        match id {
            ffi::CHANGE_ORTHANC_STARTED => Self::OrthancStarted,
            ffi::CHANGE_ORTHANC_STOPPED => Self::OrthancStopped,
            other => Self::Other(other),
        }
    }

    /// The number in `OrthancPluginChangeType`.
    #[cfg(any(test, feature = "fake-host"))]
    pub(crate) const fn id(self) -> i32 {
        match self {
            Self::OrthancStarted => ffi::CHANGE_ORTHANC_STARTED,
            Self::OrthancStopped => ffi::CHANGE_ORTHANC_STOPPED,
            Self::Other(other) => other,
        }
    }
}
