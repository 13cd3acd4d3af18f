//! What can go wrong in the testbed itself.

use std::{io, path::PathBuf, time::Duration};

use crate::Release;

/// What went wrong, with Orthanc's log where it helps to understand.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This release of Orthanc is not on the machine.
    #[error("there is no {release} Orthanc at {}: {remedy}", path.display())]
    Missing {
        /// The release that was asked for.
        release: Release,
        /// The file that was looked for.
        path: PathBuf,
        /// The command that installs it.
        remedy: &'static str,
    },
    /// A file or a process of the testbed's own.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system answered.
        source: io::Error,
    },
    /// Orthanc ended before it was ready.
    #[error("Orthanc ended before it was ready ({status}); its log:\n{log}")]
    Ended {
        /// How it ended, in words.
        status: String,
        /// All it wrote.
        log: String,
    },
    /// Orthanc lives, but what was waited for did not come.
    #[error("waited {waited:?} in vain for {what}; Orthanc's log:\n{log}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// All that Orthanc wrote.
        log: String,
    },
    /// No HTTP answer came.
    #[error("{method} {url}: {source}")]
    Http {
        /// The method of the request.
        method: String,
        /// The URL of the request.
        url: String,
        /// What the HTTP client says.
        source: Box<ureq::Error>,
    },
    /// A text that should be JSON is not.
    #[error("{what} is not JSON: {source}")]
    Json {
        /// Which text.
        what: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A client that was not written here cannot be had, or failed.
    #[error("{program} failed: {said}")]
    Client {
        /// What was run.
        program: String,
        /// How it ended and all it wrote, or why it could not be run.
        said: String,
    },
    /// The generated DICOM object cannot be written.
    #[error("cannot write the DICOM object: {0}")]
    Dicom(String),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
