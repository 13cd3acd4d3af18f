//! Numbers for Prometheus: `GET /tools/metrics-prometheus`.

use crate::ffi::{self, Service};
use crate::host::{Need, c_text};
use crate::{Error, Host};

/// What Orthanc does between two looks at a metric (`OrthancPluginMetricsType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricType {
    /// It shows the last value.
    Default,
    /// A duration: it shows the longest of the last ten seconds.
    Timer,
}

impl MetricType {
    /// `OrthancPluginMetricsType`.
    pub(crate) const fn id(self) -> i32 {
        match self {
            Self::Default => 0,
            Self::Timer => 1,
        }
    }
}

/// Orthanc prints `name value time`, the name as it is given here: with labels, if it has them
/// (`greeter_people{state="known"}`), whose values the caller escapes after Prometheus' text format. The time is that of
/// the call, in ms since 1970. A name stays, with its last value, until Orthanc ends: nothing takes it away. So the
/// names are to be few, and known beforehand.
///
/// The time to set metrics is [`Plugin::refresh_metrics`](crate::Plugin::refresh_metrics). Nothing happens before
/// Orthanc 1.5.4, nor once the plugin is finalised.
impl Host {
    /// Sets a metric.
    pub fn set_metric(&self, name: &str, value: f32, kind: MetricType) {
        let outcome = self.try_set_metric(name, value, kind);
        self.report_metric(outcome);
    }

    /// Sets a metric that counts. Before Orthanc 1.12.1 it is printed with seven digits: 16777217 as 1.6777216e+07.
    pub fn set_integer_metric(&self, name: &str, value: i64, kind: MetricType) {
        let outcome = if self.has(Service::SetMetricsIntegerValue) {
            self.try_set_integer_metric(name, value, kind)
        } else {
            #[expect(clippy::cast_precision_loss, reason = "this Orthanc knows no other numbers")]
            let value = value as f32;
            self.try_set_metric(name, value, kind)
        };
        self.report_metric(outcome);
    }

    /// Has `callback` called before metrics are shown; there is no way to take that back.
    pub(crate) fn register_refresh_metrics(&self, callback: ffi::OnRefreshMetrics) -> Result<(), Error> {
        let pass = self.enter(Need::Services)?;
        let parameters = ffi::RegisterRefreshMetrics { callback };
        // SAFETY: RegisterRefreshMetricsCallback reads such a structure; for the function see invariant 4.
        unsafe { self.invoke(&pass, Service::RegisterRefreshMetricsCallback, &raw const parameters) }
    }

    fn try_set_metric(&self, name: &str, value: f32, kind: MetricType) -> Result<(), Error> {
        let pass = self.enter(Need::Services)?;
        let name = c_text(name);
        let parameters = ffi::SetMetricsValue { name: name.as_ptr(), value, kind: kind.id() };
        // SAFETY: SetMetricsValue reads such a structure; its string outlives the call.
        unsafe { self.invoke(&pass, Service::SetMetricsValue, &raw const parameters) }
    }

    fn try_set_integer_metric(&self, name: &str, value: i64, kind: MetricType) -> Result<(), Error> {
        let pass = self.enter(Need::Services)?;
        let name = c_text(name);
        let parameters = ffi::SetMetricsIntegerValue { name: name.as_ptr(), value, kind: kind.id() };
        // SAFETY: SetMetricsIntegerValue reads such a structure; its string outlives the call.
        unsafe { self.invoke(&pass, Service::SetMetricsIntegerValue, &raw const parameters) }
    }

    fn report_metric(&self, outcome: Result<(), Error>) {
        match outcome {
            Err(Error::Gone | Error::HostTooOld { .. }) => {}
            outcome => self.report(outcome),
        }
    }
}
