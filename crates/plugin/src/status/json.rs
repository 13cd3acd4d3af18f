//! What several answers are made of. Field names are in Orthanc's style.

use std::time::{Duration, SystemTime};

use google_credentials::FailureKind;
use orthanc_gcp_configuration::{Finding, Severity};
use serde_json::{Value, json};

/// RFC 3339, in UTC.
pub(super) fn time(time: SystemTime) -> Value {
    use std::fmt::Write as _;
    let mut text = String::new();
    // What lies beyond the year 9999 is no date of RFC 3339.
    match write!(text, "{}", humantime::format_rfc3339_seconds(time)) {
        Ok(()) => text.into(),
        Err(_) => Value::Null,
    }
}

pub(super) fn optional_time(of: Option<SystemTime>) -> Value {
    of.map_or(Value::Null, time)
}

/// From `now` until then, in whole seconds; negative afterwards.
pub(crate) fn seconds_until(then: SystemTime, now: SystemTime) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match then.duration_since(now) {
        Ok(left) => seconds(left),
        Err(over) => -seconds(over.duration()),
    }
}

pub(super) fn optional_seconds_until(then: Option<SystemTime>, now: SystemTime) -> Value {
    then.map_or(Value::Null, |then| seconds_until(then, now).into())
}

/// To the millisecond.
pub(super) fn seconds(duration: Duration) -> Value {
    let whole = Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    whole.as_secs_f64().into()
}

/// What heals a failure.
pub(crate) fn kind(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Transient => "transient",
        FailureKind::NeedsPerson => "needs_person",
        FailureKind::Configuration => "configuration",
    }
}

pub(super) fn mistake(finding: &Finding) -> Value {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({"Path": finding.path.to_string(), "Severity": severity, "Message": finding.text})
}
