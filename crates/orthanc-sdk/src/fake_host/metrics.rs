//! The metrics of the pretend Orthanc.

use super::services::{NULL_POINTER, text};
use super::{FakeHost, Orthanc};
use crate::error_code::{PARAMETER_OUT_OF_RANGE, SUCCESS};
use crate::{MetricType, ffi};
use std::collections::BTreeMap;

/// A metric as the plugin has set it last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// The value.
    pub value: MetricValue,
    /// What Orthanc does between two looks at it.
    pub kind: MetricType,
}

/// By which service a metric was set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue {
    /// `OrthancPluginSetMetricsValue`
    Float(f32),
    /// `OrthancPluginSetMetricsIntegerValue`
    Integer(i64),
}

impl FakeHost {
    /// What `GET /tools/metrics-prometheus` shows, by name: the plugin is asked to refresh its metrics before.
    pub fn metrics(&self) -> BTreeMap<String, Metric> {
        let callback = self.orthanc.record().on_refresh_metrics;
        if let Some(callback) = callback {
            callback();
        }
        self.orthanc.record().metrics.clone()
    }
}

/// # Safety
/// `parameters` is valid, with all that it points to.
pub(super) unsafe fn set(orthanc: &Orthanc, parameters: *const ffi::SetMetricsValue) -> i32 {
    // SAFETY: by this function's contract.
    let parameters = unsafe { &*parameters };
    // SAFETY: null or a C string.
    let name = unsafe { text(parameters.name) };
    orthanc.keep_metric(name, MetricValue::Float(parameters.value), parameters.kind)
}

/// # Safety
/// `parameters` is valid, with all that it points to.
pub(super) unsafe fn set_integer(orthanc: &Orthanc, parameters: *const ffi::SetMetricsIntegerValue) -> i32 {
    // SAFETY: by this function's contract.
    let parameters = unsafe { &*parameters };
    // SAFETY: null or a C string.
    let name = unsafe { text(parameters.name) };
    orthanc.keep_metric(name, MetricValue::Integer(parameters.value), parameters.kind)
}

impl Orthanc {
    fn keep_metric(&self, name: Option<String>, value: MetricValue, kind: i32) -> i32 {
        let Some(name) = name else { return NULL_POINTER };
        let kind = [MetricType::Default, MetricType::Timer].into_iter().find(|known| known.id() == kind);
        let Some(kind) = kind else { return PARAMETER_OUT_OF_RANGE };
        self.record().metrics.insert(name, Metric { value, kind });
        SUCCESS
    }
}
