//! The connection check of an account: the doctor's examination, seen while it goes on.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use google_credentials::{
    Failure, FailureKind, HttpSettings, World,
    remedy::{STORE_REFUSALS, TRANSPORT_FAILURES},
};
use orthanc_gcp_doctor::{Examination, Name, Outcome, Step, Writing, examine};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    LiveAccount,
    json::{optional_time, seconds, time},
    locked,
};

/// How many checks of an account may write within [`WRITES_WITHIN`]. Each stores, retrieves and deletes an instance, which
/// Google bills and audits.
const MOST_WRITES: usize = 6;
const WRITES_WITHIN: Duration = Duration::from_secs(60);

/// The newest examination of an account, be it over or not.
pub(super) struct Checks {
    newest: watch::Sender<Option<Check>>,
    /// When the latest checks that write were admitted, oldest first.
    writes: Mutex<VecDeque<SystemTime>>,
}

impl Default for Checks {
    fn default() -> Self {
        Self { newest: watch::Sender::new(None), writes: Mutex::default() }
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
    /// Admits a check that writes.
    ///
    /// # Errors
    /// There were too many lately; the time until the next one is admitted.
    pub(super) fn admit_write(&self, now: SystemTime) -> Result<(), Duration> {
        let mut writes = locked(&self.writes);
        // What the clock has not reached was noted before it went back, and counts no longer.
        writes.retain(|then| now.duration_since(*then).is_ok_and(|ago| ago < WRITES_WITHIN));
        match writes.front() {
            Some(oldest) if writes.len() >= MOST_WRITES => {
                Err(WRITES_WITHIN.saturating_sub(now.duration_since(*oldest).unwrap_or_default()))
            }
            _ => {
                writes.push_back(now);
                Ok(())
            }
        }
    }

    pub(super) fn json(&self) -> Value {
        let check = self.newest.borrow();
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
    let newest = &account.checks.newest;
    let mut seen = newest.subscribe();
    loop {
        if seen.borrow_and_update().as_ref().is_none_or(|check| check.ended.is_some()) {
            break;
        }
        let ended = seen.wait_for(|check| check.as_ref().is_none_or(|check| check.ended.is_some())).await;
        // It need not be the one that was waited for at first.
        if ended.is_ok_and(|check| check.as_ref().is_some_and(|check| check.covers(writing))) {
            return;
        }
    }
    newest.send_replace(Some(Check { began: world.now(), ended: None, writing, steps: Vec::new() }));
    let _end = End { newest };
    let (mut on_the_way, mut speaks_of_store) = (None, false);
    let mut tell = |step: &Step| {
        let said = of_store(step, &mut on_the_way);
        speaks_of_store |= said.is_some();
        match said {
            Some(Ok(())) => account.store_accepts(world.now()),
            Some(Err(failure)) => account.store_failed_examination(failure, world.now()),
            None => {}
        }
        newest.send_modify(|check| {
            if let Some(check) = check {
                check.steps.push(step.clone());
            }
        });
    };
    if let Some(failure) = &account.transport_failure {
        tell(&Step {
            name: Name::Transport,
            outcome: Outcome::Failed,
            words: failure.cause.clone(),
            remedy: Some(failure.remedy.clone()),
            duration: Duration::ZERO,
        });
    }
    let examination = Examination { world: &*world, http: &http, account: &account.account, writing };
    let is_well = examine(examination, &mut tell).await;
    // For want of a token, say. The look has the one at hand.
    if !is_well && !speaks_of_store {
        account.examined_in_vain.notify_one();
    }
    newest.send_modify(|check| {
        if let Some(check) = check {
            check.ended = Some(world.now());
        }
    });
}

/// What a step says of the store, if it does. `on_the_way` is what broke on the way to the newest server, from one step to
/// the next: the store is the last of them.
fn of_store(step: &Step, on_the_way: &mut Option<Failure>) -> Option<Result<(), Failure>> {
    match (step.name, step.outcome) {
        (Name::Proxy | Name::Dns | Name::Tcp | Name::Tls, Outcome::Failed) => {
            *on_the_way = Some(failure(step));
        }
        // The way to another server begins with one of these.
        (Name::Proxy | Name::Dns, _) => *on_the_way = None,
        (Name::Store, Outcome::Ok) => return Some(Ok(())),
        (Name::Store, Outcome::Failed) => return Some(Err(failure(step))),
        // Not tried; where that is for want of a token, the store may be well.
        (Name::Store, _) => return on_the_way.take().map(Err),
        _ => {}
    }
    None
}

/// The failure that a step tells. What heals it stands in the tables that its remedy is from.
fn failure(step: &Step) -> Failure {
    let remedy = step.remedy.as_deref().unwrap_or_default();
    let of_way = TRANSPORT_FAILURES.iter().map(|row| (row.remedy, row.kind));
    let of_store = STORE_REFUSALS.iter().map(|row| (row.remedy, row.kind));
    let kind = of_way.chain(of_store).find_map(|(known, kind)| (known == remedy).then_some(kind));
    // Those that name whom to grant a role to are not there to the letter, and wait for a person.
    Failure::new(kind.unwrap_or(FailureKind::NeedsPerson), &step.words, remedy)
}

/// An examination that was given up, by a panic or because the plugin stops, neither goes on for ever nor has passed: it is
/// forgotten.
struct End<'a> {
    newest: &'a watch::Sender<Option<Check>>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.newest.send_if_modified(|check| check.take_if(|check| check.ended.is_none()).is_some());
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use google_credentials::{Outside, TransportErrorKind, token_channel};
    use orthanc_gcp_configuration::Configuration;

    use super::*;
    use crate::gateway::Transport;

    fn step(name: Name, outcome: Outcome, remedy: &str) -> Step {
        let remedy = (outcome == Outcome::Failed).then(|| remedy.to_owned());
        Step { name, outcome, words: format!("{name} was looked at"), remedy, duration: Duration::ZERO }
    }

    /// What an examination with these steps says of the store in the end.
    fn said(steps: &[(Name, Outcome, &str)]) -> Option<Result<(), (FailureKind, String)>> {
        let mut on_the_way = None;
        let said: Vec<_> = steps
            .iter()
            .filter_map(|&(name, outcome, remedy)| of_store(&step(name, outcome, remedy), &mut on_the_way))
            .collect();
        assert!(said.len() <= 1, "{said:?}");
        let said = said.into_iter().next()?;
        Some(said.map_err(|failure| (failure.kind, failure.cause)))
    }

    #[test]
    fn writes_beyond_the_limit_wait_until_the_oldest_is_a_minute_ago() {
        let checks = Checks::default();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for second in 100..106 {
            assert_eq!(checks.admit_write(at(second)), Ok(()), "{second}");
        }
        assert_eq!(checks.admit_write(at(106)), Err(Duration::from_secs(54)));
        assert_eq!(checks.admit_write(at(159)), Err(Duration::from_secs(1)));
        assert_eq!(checks.admit_write(at(160)), Ok(()));
        assert_eq!(checks.admit_write(at(160)), Err(Duration::from_secs(1)));
        // The clock went back an hour.
        assert_eq!(checks.admit_write(at(20)), Ok(()));
    }

    #[test]
    fn an_examination_speaks_of_the_store() {
        use Name::{Clock, Dns, Proxy, Store, Tcp, Tls, Token};
        use Outcome::{Failed, Ok as Well, Skipped};
        let of_connection =
            TRANSPORT_FAILURES.iter().find(|row| row.what == TransportErrorKind::Connection).unwrap().remedy;
        let grant = "grant a@b.c the role roles/healthcare.dicomEditor";
        let on_googles_side = "the trouble is on Google's side and usually short";
        let reached = [(Proxy, Skipped, ""), (Dns, Well, ""), (Tcp, Well, ""), (Tls, Well, "")];
        let broken = [(Dns, Well, ""), (Tcp, Failed, of_connection), (Tls, Skipped, "")];
        let lost = |name: Name, kind| Some(Err((kind, format!("{name} was looked at"))));
        for (steps, expected) in [
            ([&reached[..], &[(Token, Well, ""), (Store, Well, "")]].concat(), Some(Ok(()))),
            (
                [&reached[..], &[(Token, Well, ""), (Store, Failed, grant)]].concat(),
                lost(Store, FailureKind::NeedsPerson),
            ),
            (
                [&reached[..], &[(Token, Well, ""), (Store, Failed, on_googles_side)]].concat(),
                lost(Store, FailureKind::Transient),
            ),
            // The way to the store is the last.
            (
                [&reached[..], &broken[..], &[(Clock, Well, ""), (Token, Well, ""), (Store, Skipped, "")]]
                    .concat(),
                lost(Tcp, FailureKind::Transient),
            ),
            // The token endpoint cannot be reached, so that the store is not asked; it may be well.
            (
                [&broken[..], &reached[..], &[(Clock, Well, ""), (Token, Skipped, ""), (Store, Skipped, "")]]
                    .concat(),
                None,
            ),
            ([&reached[..], &[(Token, Failed, "log in again"), (Store, Skipped, "")]].concat(), None),
        ] {
            assert_eq!(said(&steps), expected, "{steps:?}");
        }
    }

    #[test]
    fn an_examination_that_is_given_up_is_forgotten() {
        let document = r#"{"GoogleCloudPlatform": {"BaseUrl": "http://127.0.0.1:1/", "Accounts": {"a": {
            "Project": "p", "Location": "l", "Dataset": "d", "DicomStore": "s", "AccessToken": "none"
        }}}}"#;
        let account = orthanc_gcp_configuration::read(document).0.accounts.remove(0);
        let now = SystemTime::UNIX_EPOCH;
        let account = Arc::new(LiveAccount::new(account, Transport::Direct, token_channel(now).1, now));
        let begin = || {
            let http = Configuration::default().http;
            let world = Arc::new(Outside::new(http.clone()));
            Box::pin(check(world, http, Arc::clone(&account), Writing::Nothing))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut first, mut second) = (begin(), begin());
            for examining in [&mut first, &mut second] {
                tokio::select! {
                    biased;
                    () = examining => panic!("it has ended"),
                    () = std::future::ready(()) => {}
                }
            }
            assert_eq!(account.checks.json()["State"], "running");
            drop(first);
            assert_eq!(account.checks.json(), Value::Null);
            // Who waited for its outcome looks himself.
            second.await;
            assert_eq!(account.checks.json()["State"], "failed");
        });
    }

    #[test]
    fn an_examination_that_does_not_come_to_the_store_has_it_looked_at() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let document = json!({"GoogleCloudPlatform": {
                "BaseUrl": format!("http://{}/", server.local_addr().unwrap()),
                "Accounts": {"a": {
                    "Project": "p", "Location": "l", "Dataset": "d", "DicomStore": "s",
                    "ServiceAccountFile": "/nowhere/key.json",
                }},
            }});
            let account = orthanc_gcp_configuration::read(&document.to_string()).0.accounts.remove(0);
            let now = SystemTime::UNIX_EPOCH;
            let account = Arc::new(LiveAccount::new(account, Transport::Direct, token_channel(now).1, now));
            let http = Configuration::default().http;
            let world = Arc::new(Outside::new(http.clone()));
            tokio::select! {
                () = check(world, http, Arc::clone(&account), Writing::Nothing) => {}
                () = async { loop { drop(server.accept().await) } } => {}
            }
            let check = account.checks.json();
            assert_eq!(check["State"], "failed");
            let step = check["Steps"].as_array().unwrap().iter().find(|step| step["Name"] == "store");
            assert_eq!(step.unwrap()["Outcome"], "skipped", "{check:#}");
            tokio::select! {
                biased;
                () = account.examined_in_vain.notified() => {}
                () = std::future::ready(()) => panic!("nobody looks: {check:#}"),
            }
        });
    }
}
