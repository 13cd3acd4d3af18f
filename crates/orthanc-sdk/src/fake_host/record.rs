//! What the pretend Orthanc remembers.

use crate::{Level, ffi};

/// A line of the pretend Orthanc's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How loud.
    pub level: Level,
    /// The message.
    pub text: String,
    /// The plugin that it names as its origin, which is possible since Orthanc 1.12.4.
    pub plugin: Option<String>,
}

/// What a plugin says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Property {
    /// `OrthancPluginSetDescription`
    Description(String),
    /// `OrthancPluginSetRootUri`
    RootUri(String),
}

/// The books.
#[derive(Clone, Default)]
pub(super) struct Record {
    pub(super) log: Vec<LogLine>,
    pub(super) services: Vec<i32>,
    pub(super) unknown: Vec<i32>,
    /// Services asked for by a context that had ended.
    pub(super) late: Vec<i32>,
    pub(super) properties: Vec<Property>,
    pub(super) thread_names: Vec<Option<String>>,
    pub(super) on_change: Option<ffi::OnChange>,
    pub(super) rest_available: bool,
    pub(super) panics: usize,
}
