//! What the pretend Orthanc remembers.

use super::metrics::Metric;
use crate::{Level, ffi};
use regex_lite::Regex;
use std::collections::BTreeMap;

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
    /// `OrthancPluginExtendOrthancExplorer`: JavaScript.
    OrthancExplorer(String),
}

/// Paths that the plugin answers.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) expression: Regex,
    pub(super) callback: ffi::OnRest,
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
    pub(super) on_refresh_metrics: Option<ffi::OnRefreshMetrics>,
    pub(super) routes: Vec<Route>,
    pub(super) metrics: BTreeMap<String, Metric>,
    pub(super) rest_available: bool,
    /// Callbacks of routes whose code and answer do not go together.
    pub(super) unanswered: usize,
    /// Answers to what was answered, or is not being asked any more.
    pub(super) late_answers: usize,
    pub(super) panics: usize,
}
