//! Metrics, on hosts old and new.

use orthanc_sdk::fake_host::{FakeHost, Metric, MetricValue};
use orthanc_sdk::{Change, Host, Level, MetricType, Plugin, Refusal, Version};
use std::ffi::CStr;

/// A plugin with three metrics.
struct Measured {
    host: Host,
}

#[cfg(test)]
impl Plugin for Measured {
    const NAME: &'static CStr = c"measured";
    const VERSION: &'static CStr = c"1";
    const OLDEST_HOST: Version = Version::new(0, 9, 0);

    fn initialize(host: &Host) -> Result<Self, Refusal> {
        Ok(Self { host: host.clone() })
    }

    fn on_change(&self, _: Change) {}

    fn refresh_metrics(&self) {
        self.host.set_metric("seconds", 0.5, MetricType::Timer);
        self.host.set_integer_metric("bytes{way=\"in\"}", 16_777_217, MetricType::Default);
        assert!(!self.host.configuration().unwrap().contains("panic"), "as told");
    }
}

#[test]
fn metrics_are_set_when_somebody_looks() {
    let float = |value, kind| Metric { value: MetricValue::Float(value), kind };
    let seconds = float(0.5, MetricType::Timer);
    let integer = Metric { value: MetricValue::Integer(16_777_217), kind: MetricType::Default };
    for (version, bytes) in [
        ("1.5.3", None),
        ("1.5.4", Some(float(16_777_216.0, MetricType::Default))),
        ("1.12.0", Some(float(16_777_216.0, MetricType::Default))),
        ("1.12.1", Some(integer)),
        ("mainline", Some(integer)),
    ] {
        let orthanc = FakeHost::builder().version(version).build();
        assert_eq!(orthanc.initialize::<Measured>(), 0);
        assert!(!orthanc.services().contains(&31), "{version}: set before somebody looked");
        let metrics = orthanc.metrics();
        assert_eq!(metrics.get("bytes{way=\"in\"}"), bytes.as_ref(), "{version}");
        assert_eq!(metrics.get("seconds"), bytes.map(|_| seconds).as_ref(), "{version}");
        orthanc.finalize();
        let services = orthanc.services();
        orthanc.metrics();
        assert_eq!(orthanc.services(), services, "{version}: the plugin was asked after its end");
        orthanc.assert_clean();
    }
}

#[test]
fn metrics_can_be_set_at_any_time() {
    for (version, works) in [("1.5.3", false), ("1.5.4", true), ("1.13.0", true)] {
        let orthanc = FakeHost::builder().version(version).build();
        assert_eq!(orthanc.initialize::<Measured>(), 0);
        let host = orthanc.host().unwrap();
        host.set_metric("own\0", -1.0, MetricType::Default);
        host.set_integer_metric("own integer", i64::MIN, MetricType::Timer);
        let names: Vec<String> = orthanc.metrics().into_keys().collect();
        assert_eq!(names.contains(&String::from("own\u{FFFD}")), works, "{version}: {names:?}");
        assert_eq!(names.contains(&String::from("own integer")), works, "{version}: {names:?}");
        assert!(orthanc.log().is_empty(), "{:?}", orthanc.log());
        orthanc.assert_clean();
    }
}

#[test]
fn a_panic_is_told_and_the_metrics_before_it_count() {
    let orthanc = FakeHost::builder().configuration("panic").build();
    assert_eq!(orthanc.initialize::<Measured>(), 0);
    for round in 1..=2 {
        assert_eq!(orthanc.metrics().len(), 2);
        let log = orthanc.log();
        assert_eq!(log.len(), round);
        assert!(log[0].level == Level::Error && log[0].text.contains("as told"), "{log:?}");
    }
    assert_eq!(orthanc.reset::<Measured>(), 0);
    assert_eq!(orthanc.metrics().len(), 2);
    orthanc.finalize();
    orthanc.assert_clean();
}
