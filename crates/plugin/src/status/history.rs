//! What went through the gateway in the last hour, minute by minute.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use dicomweb_gateway::{Counts, Gateway, Stage};
use google_credentials::{World, keeper::next_look};
use serde_json::{Value, json};

use super::{
    json::{seconds, time},
    locked,
};

/// An hour, and the minute under way.
const MINUTES: usize = 61;
const MINUTE: Duration = Duration::from_secs(60);

/// The gateway's counts at the beginning of each minute.
#[derive(Default)]
pub(crate) struct History(Mutex<VecDeque<(SystemTime, Counts)>>);

/// Notes the counts at each full minute, for ever.
pub(crate) async fn keep_history(world: Arc<dyn World>, gateway: Gateway, history: Arc<History>) {
    loop {
        let now = world.now();
        history.note(now, gateway.counts());
        world.sleep(next_look(now, MINUTE)).await;
    }
}

impl History {
    fn note(&self, now: SystemTime, counts: Counts) {
        let mut minutes = locked(&self.0);
        while minutes.len() >= MINUTES {
            minutes.pop_front();
        }
        minutes.push_back((now, counts));
    }

    /// The minutes of the last hour, the one under way last.
    pub(super) fn json(&self, now: SystemTime, counts: Counts) -> Value {
        let mut minutes: Vec<_> = locked(&self.0).iter().cloned().collect();
        minutes.push((now, counts));
        let between = |pair: &[(SystemTime, Counts)]| match pair {
            [(began, before), (ended, after)] => minute(*began, *ended, before, after),
            _ => Value::Null,
        };
        minutes.windows(2).map(between).collect()
    }
}

fn minute(began: SystemTime, ended: SystemTime, before: &Counts, after: &Counts) -> Value {
    // Counts never fall.
    let more = |count: fn(&Counts) -> u64| count(after).saturating_sub(count(before));
    json!({
        "Began": time(began),
        "Seconds": seconds(ended.duration_since(began).unwrap_or_default()),
        "BytesSent": more(|counts| counts.bytes_sent),
        "BytesReceived": more(|counts| counts.bytes_received),
        "InstancesStored": more(|counts| counts.instances_stored),
        "InstancesRetrieved": more(|counts| counts.instances_retrieved),
        "InstancesFailed": more(|counts| counts.instances_failed),
        "TransfersFailed": more(transfers_failed),
    })
}

fn transfers_failed(counts: &Counts) -> u64 {
    counts.transfers.iter().filter(|((_, stage), _)| *stage == Stage::Failed).map(|(_, count)| count).sum()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn an_hour_is_kept_and_the_minute_under_way_comes_last() {
        let history = History::default();
        let at = |minutes: u64| UNIX_EPOCH + MINUTE * u32::try_from(minutes).unwrap();
        let counts = |bytes_sent| Counts { bytes_sent, ..Counts::default() };
        for minute in 0..100 {
            history.note(at(minute), counts(minute * minute));
        }
        let told = history.json(at(99) + Duration::from_millis(1500), counts(99 * 99 + 7));
        let told = told.as_array().unwrap();
        assert_eq!(told.len(), 61);
        assert_eq!((&told[0]["Began"], &told[0]["BytesSent"]), (&json!("1970-01-01T00:39:00Z"), &json!(79)));
        assert_eq!((&told[60]["Seconds"], &told[60]["BytesSent"]), (&json!(1.5), &json!(7)));
    }

    #[test]
    fn a_clock_that_went_back_makes_a_minute_of_no_length() {
        let history = History::default();
        history.note(UNIX_EPOCH + MINUTE, Counts::default());
        assert_eq!(history.json(UNIX_EPOCH, Counts::default())[0]["Seconds"], json!(0.0));
    }
}
