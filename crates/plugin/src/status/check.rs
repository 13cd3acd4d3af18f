//! The connection check of an account: the doctor's examination, seen while it goes on.

use std::{sync::Arc, time::SystemTime};

use google_credentials::{HttpSettings, World};
use orthanc_gcp_doctor::{Examination, Name, Outcome, Step, Writing, examine};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    LiveAccount,
    json::{optional_time, seconds, time},
};

/// The newest examination of an account, be it over or not.
pub(super) struct Checks(watch::Sender<Option<Check>>);

impl Default for Checks {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

struct Check {
    began: SystemTime,
    ended: Option<SystemTime>,
    writing: Writing,
    steps: Vec<Step>,
}

impl Check {
    fn covers(&self, writing: Writing) -> bool {
        self.writing == Writing::OneInstance || writing == Writing::Nothing
    }
}

impl Checks {
    pub(super) fn json(&self) -> Value {
        let check = self.0.borrow();
        let Some(Check { began, ended, writing, steps }) = &*check else { return Value::Null };
        let state = match ended {
            None => "running",
            Some(_) if steps.iter().any(|step| step.outcome == Outcome::Failed) => "failed",
            Some(_) => "passed",
        };
        let step = |step: &Step| {
            json!({
                "Name": step.name.as_str(),
                "Outcome": step.outcome.as_str(),
                "Message": step.words,
                "Remedy": step.remedy,
                "Seconds": seconds(step.duration),
            })
        };
        json!({
            "State": state,
            "Began": time(*began),
            "Ended": optional_time(*ended),
            "Write": *writing == Writing::OneInstance,
            "Steps": steps.iter().map(step).collect::<Vec<_>>(),
        })
    }
}

/// Examines an account. While that is being done already, its end is waited for instead.
pub(super) async fn check(
    world: Arc<dyn World>,
    http: HttpSettings,
    account: Arc<LiveAccount>,
    writing: Writing,
) {
    let Checks(newest) = &account.checks;
    let mut seen = newest.subscribe();
    loop {
        let under_way = match &*seen.borrow_and_update() {
            Some(check) if check.ended.is_none() => Some(check.covers(writing)),
            _ => None,
        };
        let Some(is_enough) = under_way else { break };
        let ended = seen.wait_for(|check| check.as_ref().is_none_or(|check| check.ended.is_some())).await;
        if is_enough || ended.is_err() {
            return;
        }
    }
    newest.send_replace(Some(Check { began: world.now(), ended: None, writing, steps: Vec::new() }));
    let _end = End { newest, world: &*world };
    let mut tell = |step: &Step| {
        if step.name == Name::Store && step.outcome == Outcome::Ok {
            account.store_accepts();
        }
        newest.send_modify(|check| {
            if let Some(check) = check {
                check.steps.push(step.clone());
            }
        });
    };
    let examination = Examination { world: &*world, http: &http, account: &account.account, writing };
    examine(examination, &mut tell).await;
}

/// However the examination ends, it does not go on for ever.
struct End<'a> {
    newest: &'a watch::Sender<Option<Check>>,
    world: &'a dyn World,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.newest.send_modify(|check| {
            if let Some(check) = check {
                check.ended = Some(self.world.now());
            }
        });
    }
}
