//! Asks the store whether it lets the account in: a moment after the account is ready, and again from time to time.
//!
//! What fails in the gateway is a reason to look sooner.
//!
//! The DICOMweb plugin makes "Bad credentials" of every refusal and keeps Google's words to itself, so that a missing role
//! would be found out by the first user, and its name by nobody. It may also be taken away later.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use google_credentials::{
    Failure, FailureKind, Grant, Kept, Method, Request, World,
    keeper::{LONGEST_WAIT, next_look},
    remedy,
};
use orthanc_gcp_configuration::Account;
use orthanc_gcp_doctor::header_fields;
use tokio::sync::watch;

use crate::{gateway::Transport, status::LiveAccount};

/// The start belongs to the tokens: the first look comes so much later, and up to twice so much. So does each other one that
/// has a reason, so that a hundred accounts do not look at once.
const AFTER: Duration = Duration::from_secs(3);
/// A store that lets the account in is asked again as often, and at each new token.
const WHILE_IT_WORKS: Duration = Duration::from_secs(3600);
/// What may have been an accident is looked at again as soon.
const AFTER_AN_ACCIDENT: Duration = Duration::from_secs(7);
/// While it does not answer as it should, it is asked as often, unless it wants to be left alone for longer.
const WHILE_IT_FAILS: Duration = Duration::from_secs(60);
/// After trouble that the gateway has met, it is asked so long after the last time, at the earliest.
const AFTER_TROUBLE: Duration = Duration::from_secs(30);
/// While it refuses, it is asked as often: roles take minutes to come into force.
const WHILE_IT_REFUSES: Duration = Duration::from_secs(300);
/// A search that finds nothing (PS3.18 section 10.6): no patient's data is sent for a question about a role.
const SEARCH: &str = "studies?StudyInstanceUID=2.25.0&limit=1";

/// Looks at the store for ever, or until the account's keeper is gone.
pub(crate) async fn check_store(world: Arc<dyn World>, live: Arc<LiveAccount>) {
    let account = &live.account;
    // Without its gateway the account cannot be used, whatever the store says.
    if live.has_its_own_way_in() || matches!(live.transport, Transport::Blocked(_)) {
        return;
    }
    let mut kept = live.handle.kept();
    if account.source.is_some() && kept.wait_for(|kept| matches!(kept, Kept::Token(_))).await.is_err() {
        return;
    }
    let mut is_refused = false;
    loop {
        world.sleep(AFTER.mul_f64(1.0 + world.dice())).await;
        let newest = kept.borrow_and_update().clone();
        let grant = match newest {
            Kept::Token(grant) => Some(grant),
            _ => None,
        };
        // Without a token there is nothing to ask with, until there is one.
        let pause = if grant.is_some() || account.source.is_none() {
            look(&*world, &live, grant.as_ref(), &mut is_refused).await
        } else {
            WHILE_IT_WORKS
        };
        if !wait(&*world, &live, world.now() + pause, &mut kept).await {
            return;
        }
    }
}

/// One look, and how long it is until the next without a reason. `is_refused`: the token of the last look was, and of this one is.
async fn look(
    world: &dyn World,
    live: &LiveAccount,
    grant: Option<&Grant>,
    is_refused: &mut bool,
) -> Duration {
    let Err((failure, status)) = ask(world, &live.account, grant).await else {
        *is_refused = false;
        live.store_accepts(world.now());
        return WHILE_IT_WORKS;
    };
    let was_refused = std::mem::replace(is_refused, status == Some(401));
    if let Some(grant) = grant.filter(|_| *is_refused && !was_refused) {
        // The keeper gets another one, or tells that there is none. A store that refuses that as well does not lead to a third.
        live.handle.report_refused(&grant.token);
    }
    let (kind, alone) = (failure.kind, failure.retry_after.unwrap_or_default().min(WHILE_IT_WORKS));
    let counts = live.store_fails(failure, world.now());
    match kind {
        FailureKind::Transient if !counts => AFTER_AN_ACCIDENT.max(alone),
        FailureKind::Transient => WHILE_IT_FAILS.max(alone),
        FailureKind::NeedsPerson | FailureKind::Configuration => WHILE_IT_REFUSES,
    }
}

/// Waits until `due`, for another token, or until something has failed; `false` where no other token can come.
async fn wait(
    world: &dyn World,
    live: &LiveAccount,
    mut due: SystemTime,
    kept: &mut watch::Receiver<Kept>,
) -> bool {
    let begun = world.now();
    loop {
        let now = world.now();
        // A clock that was set back would put it off.
        let left = due.duration_since(now).unwrap_or_default();
        if left.is_zero() || now < begun {
            return true;
        }
        tokio::select! {
            biased;
            () = live.examined_in_vain.notified() => return true,
            () = trouble_met(live) => due = due.min(begun + AFTER_TROUBLE),
            changed = kept.changed(), if live.account.source.is_some() => return changed.is_ok(),
            () = world.sleep(left.min(next_look(now, LONGEST_WAIT))) => {}
        }
    }
}

/// Waits until a request through the gateway has failed; for ever, where none goes through it.
async fn trouble_met(live: &LiveAccount) {
    match &live.transport {
        Transport::Gateway { in_trouble, .. } => in_trouble.notified().await,
        Transport::Direct | Transport::FallenBack(_) | Transport::Blocked(_) => std::future::pending().await,
    }
}

/// One search, with the account's token where it has one, and with what the DICOMweb plugin adds for the user. A failure comes
/// with the status, where there was an answer.
async fn ask(
    world: &dyn World,
    account: &Account,
    grant: Option<&Grant>,
) -> Result<(), (Failure, Option<u16>)> {
    let url = format!("{}{SEARCH}", account.url());
    let mut request = Request::new(Method::Get, &url).header("Accept", "application/dicom+json");
    if let Some(grant) = grant {
        request = request.secret_header("Authorization", format!("Bearer {}", grant.token.value.expose()));
    }
    request.headers.extend(header_fields(account, grant));
    let sent_at = world.now();
    let response = world.send(&request).await.map_err(|error| (remedy::of_transport(&url, &error), None))?;
    if matches!(response.status, 200 | 204) {
        return Ok(());
    }
    let principal = grant.and_then(|grant| grant.principal.as_deref());
    Err((remedy::of_store(&url, &response, sent_at, principal), Some(response.status)))
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, io, path::Path, sync::Mutex, time::UNIX_EPOCH};

    use google_credentials::{
        BoxFuture, Command, CommandOutput, FileContent, Response, Secret, TransportError, TransportErrorKind,
        token_channel,
    };
    use tokio::sync::Notify;

    use super::*;
    use crate::{gateway::Transport, status::State};

    /// A store with its next answers: a status, or 0 for none. Time goes by while it is waited for.
    struct Store {
        answers: Mutex<VecDeque<u16>>,
        /// Requests through the gateway fail all the time.
        trouble: Option<Arc<Notify>>,
        now: Arc<Mutex<SystemTime>>,
        /// When it was asked, in seconds.
        asked: Mutex<Vec<u64>>,
        longest_wait: Arc<Mutex<Duration>>,
        over: Notify,
    }

    impl World for Store {
        fn now(&self) -> SystemTime {
            *self.now.lock().unwrap()
        }

        fn dice(&self) -> f64 {
            0.0
        }

        fn read_file(&self, _: &Path) -> io::Result<FileContent> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn env(&self, _: &str) -> Option<String> {
            None
        }

        fn run<'a>(&'a self, _: &'a Command) -> BoxFuture<'a, io::Result<CommandOutput>> {
            Box::pin(async { Err(io::ErrorKind::NotFound.into()) })
        }

        fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, TransportError>> {
            assert!(request.url.ends_with("/dicomWeb/studies?StudyInstanceUID=2.25.0&limit=1"));
            let answer = self.answers.lock().unwrap().pop_front();
            Box::pin(async move {
                let Some(status) = answer else {
                    self.over.notify_one();
                    return std::future::pending().await;
                };
                self.trouble.iter().for_each(|trouble| trouble.notify_one());
                self.asked.lock().unwrap().push(self.now().duration_since(UNIX_EPOCH).unwrap().as_secs());
                match status {
                    0 => Err(TransportError {
                        kind: TransportErrorKind::Connection,
                        cause: "Connection refused".to_owned(),
                    }),
                    status => Ok(Response { status, ..Response::default() }),
                }
            })
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            let (now, longest) = (Arc::clone(&self.now), Arc::clone(&self.longest_wait));
            Box::pin(async move {
                *now.lock().unwrap() += duration;
                let mut longest = longest.lock().unwrap();
                *longest = duration.max(*longest);
            })
        }
    }

    /// Looks at a store with these answers: when, and what its account is said to be afterwards.
    fn looks(answers: &[u16]) -> (Vec<u64>, State) {
        looks_of(Transport::Direct, answers)
    }

    fn looks_of(transport: Transport, answers: &[u16]) -> (Vec<u64>, State) {
        let document = r#"{"GoogleCloudPlatform": {"Accounts": {"a": {
            "Project": "p", "Location": "l", "Dataset": "d", "DicomStore": "s", "AccessToken": "none"
        }}}}"#;
        let account = orthanc_gcp_configuration::read(document).0.accounts.remove(0);
        let store = Arc::new(Store {
            answers: Mutex::new(answers.iter().copied().collect()),
            trouble: match &transport {
                Transport::Gateway { in_trouble, .. } => Some(Arc::clone(in_trouble)),
                _ => None,
            },
            now: Arc::new(Mutex::new(UNIX_EPOCH)),
            asked: Mutex::default(),
            longest_wait: Arc::default(),
            over: Notify::new(),
        });
        let (_sender, handle) = token_channel(UNIX_EPOCH);
        let live = Arc::new(LiveAccount::new(account, transport, handle, UNIX_EPOCH));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                () = check_store(Arc::clone(&store) as Arc<dyn World>, Arc::clone(&live)) => panic!("it ended"),
                () = store.over.notified() => {}
            }
        });
        assert!(*store.longest_wait.lock().unwrap() <= LONGEST_WAIT);
        let asked = std::mem::take(&mut *store.asked.lock().unwrap());
        (asked, live.state().0)
    }

    #[test]
    fn a_store_that_works_is_asked_once_an_hour() {
        assert_eq!(looks(&[200, 204, 200]), (vec![3, 3606, 7209], State::Ok));
    }

    #[test]
    fn a_role_that_is_taken_away_later_is_seen() {
        assert_eq!(looks(&[200, 403]), (vec![3, 3606], State::Failing));
        // Asked again every five minutes, until it is there.
        assert_eq!(looks(&[403, 403, 200]), (vec![3, 306, 609], State::Ok));
    }

    #[test]
    fn what_fails_in_the_gateway_is_a_reason_to_look_but_not_all_the_time() {
        let gateway = Transport::Gateway {
            url: String::new(),
            secret: Secret::new("s"),
            timeout: 0,
            in_trouble: Arc::default(),
        };
        assert_eq!(looks_of(gateway, &[200, 200, 403]), (vec![3, 36, 69], State::Failing));
    }

    #[test]
    fn a_store_that_is_out_of_reach_counts_from_the_second_look_on() {
        assert_eq!(looks(&[200, 0]), (vec![3, 3606], State::Ok));
        assert_eq!(looks(&[200, 0, 0]), (vec![3, 3606, 3616], State::Failing));
        assert_eq!(looks(&[0, 503, 0, 200]), (vec![3, 13, 76, 139], State::Ok));
    }
}
