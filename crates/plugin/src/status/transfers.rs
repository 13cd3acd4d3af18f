//! What goes through the gateway.

use std::time::SystemTime;

use dicomweb_gateway::{Kind, Report, Stage};
use serde_json::{Value, json};

use super::{
    Live,
    json::{optional_time, seconds, time},
};

/// Nothing goes through a gateway that is not there.
pub(super) fn no_gateway() -> Value {
    json!({"Gateway": false, "Running": [], "Ended": [], "LastHour": [], "MemoryInUse": 0})
}

/// Those under way, the last hundred, and the last hour.
pub(super) fn transfers(live: &Live) -> Value {
    let Some(gateway) = &live.gateway else { return no_gateway() };
    let now = live.world.now();
    let (running, ended): (Vec<_>, Vec<_>) =
        gateway.transfers().into_iter().partition(|report| report.stage == Stage::Running);
    let all = |reports: &[Report]| reports.iter().map(|report| transfer(report, now)).collect::<Vec<_>>();
    json!({
        "Gateway": true,
        "Running": all(&running),
        "Ended": all(&ended),
        "LastHour": live.history.json(now, gateway.counts()),
        "MemoryInUse": gateway.memory_in_use(),
    })
}

fn transfer(report: &Report, now: SystemTime) -> Value {
    let took = report.ended.unwrap_or(now).duration_since(report.began).unwrap_or_default();
    let bytes_per_second = u128::from(report.bytes_done) * 1000 / took.as_millis().max(1);
    json!({
        "Id": report.id,
        "Account": report.account,
        "Kind": kind(report.kind),
        "State": stage(report.stage),
        "StudyInstanceUID": report.study,
        "SeriesInstanceUID": report.series,
        "Began": time(report.began),
        "Ended": optional_time(report.ended),
        "Seconds": seconds(took),
        "InstancesTotal": report.instances_total,
        "InstancesDone": report.instances_done,
        "InstancesPresent": report.instances_present,
        "InstancesFailed": report.instances_failed,
        "BytesTotal": report.bytes_total,
        "BytesDone": report.bytes_done,
        "BytesPerSecond": u64::try_from(bytes_per_second).unwrap_or(u64::MAX),
        "Retries": report.retries,
        "HeldUpBy": report.held_up_by,
        "Failures": report.failures,
        "Remedy": report.remedy,
        "FailedSOPInstanceUIDList": report.failed_instances,
    })
}

pub(crate) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Store => "store",
        Kind::Retrieve => "retrieve",
    }
}

pub(crate) fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Running => "running",
        Stage::Succeeded => "succeeded",
        Stage::Failed => "failed",
        Stage::Cancelled => "cancelled",
    }
}
