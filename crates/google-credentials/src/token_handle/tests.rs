//! Many who use one account's token, a keeper, and a token endpoint that answers when the test says so. Time is tokio's,
//! which stands still until everybody waits for it.

use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{Mutex, atomic::AtomicUsize, atomic::Ordering::Relaxed},
    time::Duration,
};

use serde_json::json;
use tokio::{
    sync::Notify,
    task::{JoinHandle, JoinSet, yield_now},
    time::Instant,
};

use super::*;
use crate::{
    BoxFuture, Command, CommandOutput, Credential, FileContent, HealthState, Keeping, Request, Response,
    Secret, Source, TransportError, World, keep,
};

const HOUR: u64 = 3600;

struct Google {
    started: Instant,
    answers: Mutex<VecDeque<Response>>,
    requests: AtomicUsize,
    /// How long an answer takes.
    latency: Duration,
}

impl World for Google {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_435_200) + self.started.elapsed()
    }

    fn dice(&self) -> f64 {
        0.5
    }

    fn read_file(&self, _: &Path) -> io::Result<FileContent> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn run<'a>(&'a self, _: &'a Command) -> BoxFuture<'a, io::Result<CommandOutput>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }

    fn send<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(async move {
            self.requests.fetch_add(1, Relaxed);
            tokio::time::sleep(self.latency).await;
            let answer = self.answers.lock().unwrap().pop_front();
            match answer {
                Some(answer) => Ok(answer),
                None => std::future::pending().await,
            }
        })
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

impl Google {
    fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }
}

fn token(name: &str, life: u64) -> Response {
    let body = json!({"access_token": name, "expires_in": life, "token_type": "Bearer"}).to_string();
    Response { status: 200, body: body.into_bytes(), ..Response::default() }
}

fn refusal(status: u16, error: &str) -> Response {
    Response { status, body: json!({ "error": error }).to_string().into_bytes(), ..Response::default() }
}

/// A keeper that runs until it is aborted, with an endpoint that takes two seconds for each of the answers.
fn kept(answers: impl IntoIterator<Item = Response>) -> (Arc<Google>, TokenHandle, JoinHandle<()>) {
    let google = Arc::new(Google {
        started: Instant::now(),
        answers: Mutex::new(answers.into_iter().collect()),
        requests: AtomicUsize::new(0),
        latency: Duration::from_secs(2),
    });
    let credential = Credential::AuthorizedUser {
        client_id: "id".to_owned(),
        client_secret: Secret::new("GOCSPX-hush"),
        refresh_token: Secret::new("1//hush"),
    };
    let keeping = Keeping {
        source: Source { token_uri: Some("https://t/token".to_owned()), ..Source::of(credential) },
        look_every: Duration::from_secs(60),
        name: "Account \"a\"".to_owned(),
        option_path: "Accounts.a".to_owned(),
        changed: Arc::new(Notify::new()),
    };
    let (sender, handle) = token_channel(google.now());
    let world: Arc<dyn World> = Arc::<Google>::clone(&google);
    let keeper = tokio::spawn(keep(world, keeping, sender));
    (google, handle, keeper)
}

fn value(outcome: Result<Grant, Failure>) -> String {
    outcome.unwrap().token.value.expose().to_owned()
}

async fn after(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_before_the_first_token_waits_for_it() {
    let (google, handle, _keeper) = kept([token("one", HOUR)]);
    assert_eq!(handle.health().borrow().state, HealthState::Starting);
    let mut waiting = JoinSet::new();
    for _ in 0..20 {
        let handle = handle.clone();
        waiting.spawn(async move { value(handle.token().await) });
    }
    assert!(waiting.join_all().await.iter().all(|token| token == "one"));
    // Now at once.
    let began = Instant::now();
    assert_eq!(value(handle.token().await), "one");
    assert!(began.elapsed().is_zero());
    assert_eq!(google.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_token_the_failure_is_told_and_nothing_is_asked_for() {
    let (google, handle, _keeper) = kept([refusal(400, "invalid_grant"), token("one", HOUR)]);
    let failure = handle.token().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NeedsPerson);
    for _ in 0..50 {
        assert_eq!(handle.token().await.unwrap_err(), failure);
    }
    assert_eq!(google.requests(), 1);
    // The next attempt comes after five minutes. While it is under way its outcome is waited for.
    after(301).await;
    assert_eq!(value(handle.token().await), "one");
    assert_eq!(google.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn any_number_of_refusals_of_a_token_cause_one_request() {
    let (google, handle, _keeper) = kept([token("one", HOUR), token("two", HOUR)]);
    let refused = handle.token().await.unwrap().token;
    after(60).await;
    let mut waiting = JoinSet::new();
    for pause in 0..30 {
        let (handle, refused) = (handle.clone(), refused.clone());
        waiting.spawn(async move {
            tokio::time::sleep(Duration::from_millis(100 * pause)).await;
            value(handle.other_than(&refused).await)
        });
    }
    // One that goes away leaves the rest alone.
    waiting.spawn({
        let (handle, refused) = (handle.clone(), refused.clone());
        async move {
            let waited = tokio::time::timeout(Duration::from_secs(1), handle.other_than(&refused)).await;
            assert!(waited.is_err());
            "two".to_owned()
        }
    });
    let tokens = waiting.join_all().await;
    assert!(tokens.len() == 31 && tokens.iter().all(|token| token == "two"), "{tokens:?}");
    assert_eq!(google.requests(), 2);
    let health = handle.health().borrow().clone();
    assert_eq!((health.state, health.refreshes, health.failures.total()), (HealthState::Ok, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_however_new_it_is_does_not_spin() {
    let answers = (0..100).map(|number| token(&format!("token-{number}"), HOUR));
    let (google, handle, _keeper) = kept(answers);
    let began = Instant::now();
    let mut refused = handle.token().await.unwrap().token;
    while began.elapsed() < Duration::from_secs(70) {
        refused = handle.other_than(&refused).await.unwrap().token;
    }
    // Each takes two seconds, and five later the next begins.
    assert_eq!(google.requests(), 11);
}

#[tokio::test(start_paused = true)]
async fn while_renewals_fail_a_refused_token_asks_for_nothing() {
    let (google, handle, _keeper) = kept([token("one", HOUR), refusal(400, "invalid_client")]);
    let refused = handle.token().await.unwrap().token;
    after(10).await;
    let failure = handle.other_than(&refused).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NeedsPerson);
    for _ in 0..50 {
        assert_eq!(handle.other_than(&refused).await.unwrap_err(), failure);
    }
    assert_eq!(google.requests(), 2);
    // It stays for whoever it may still be good for, and is not believed in.
    assert_eq!(value(handle.token().await), "one");
    assert_eq!(handle.health().borrow().state, HealthState::Failing);
}

#[tokio::test(start_paused = true)]
async fn a_person_has_a_token_whenever_he_wants_one() {
    let answers =
        [token("one", HOUR), token("two", HOUR), refusal(400, "invalid_grant"), token("three", HOUR)];
    let (google, handle, _keeper) = kept(answers);
    // The one under way is new enough.
    assert_eq!(value(handle.refresh().await), "one");
    let (first, second) = tokio::join!(handle.refresh(), handle.refresh());
    assert_eq!((value(first), value(second)), ("two".to_owned(), "two".to_owned()));
    assert_eq!(google.requests(), 2);
    // What is kept stays, and who tries again has another attempt before the five minutes are over.
    assert_eq!(handle.refresh().await.unwrap_err().kind, FailureKind::NeedsPerson);
    assert_eq!(value(handle.token().await), "two");
    let began = Instant::now();
    assert_eq!(value(handle.refresh().await), "three");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(google.requests(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_to_be_left_alone_is() {
    let busy = Response { headers: vec![("retry-after", "200".to_owned())], ..refusal(429, "") };
    let (google, handle, _keeper) = kept([busy, token("one", HOUR)]);
    assert!(handle.token().await.unwrap_err().throttled);
    for _ in 0..50 {
        let began = Instant::now();
        assert!(handle.refresh().await.unwrap_err().throttled);
        assert!(began.elapsed().is_zero());
    }
    after(190).await;
    assert_eq!(google.requests(), 1);
    after(20).await;
    assert_eq!(value(handle.token().await), "one");
}

#[tokio::test(start_paused = true)]
async fn an_ask_that_comes_too_late_to_be_one_costs_nothing() {
    let (google, handle, _keeper) = kept([token("one", HOUR), token("two", HOUR)]);
    let refused = handle.token().await.unwrap().token;
    after(60).await;
    // It was asked for the second attempt, and everybody asks for that one.
    let first = tokio::spawn({
        let (handle, refused) = (handle.clone(), refused.clone());
        async move { value(handle.other_than(&refused).await) }
    });
    yield_now().await;
    handle.asks.send_replace(2);
    assert_eq!(first.await.unwrap(), "two");
    handle.asks.send_replace(2);
    after(60).await;
    assert_eq!(value(handle.other_than(&refused).await), "two");
    assert_eq!(google.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_keeper_that_ends_is_told() {
    let (_google, handle, keeper) = kept([]);
    let waiting = [
        tokio::spawn({
            let handle = handle.clone();
            async move { handle.token().await }
        }),
        tokio::spawn({
            let handle = handle.clone();
            async move { handle.refresh().await }
        }),
    ];
    after(10).await;
    keeper.abort();
    for waiting in waiting {
        let failure = waiting.await.unwrap().unwrap_err();
        assert!(failure.cause.contains("stopping"), "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_accounts_health_through_its_life() {
    let answers = [
        refusal(503, ""),
        token("ya29.hush-one", 600),
        refusal(400, "invalid_grant"),
        refusal(400, "invalid_grant"),
        token("ya29.hush-two", HOUR),
    ];
    let (google, handle, _keeper) = kept(answers);
    let mut health = handle.health();
    let start = google.now();
    let mut seen = Vec::new();
    while seen.last() != Some(&("ok", 2, 3)) {
        health.changed().await.unwrap();
        let health = health.borrow_and_update();
        let now = (health.state.word(), health.refreshes, health.failures.total());
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        let shown = format!("{health:?} {handle:?}");
        assert!(!shown.contains("hush"), "{shown}");
        assert!(health.since >= start && health.since <= google.now());
        assert_eq!(health.attempts_took.as_secs(), 2 * health.attempts());
        assert_eq!(health.failure().is_some(), matches!(now.0, "expiring" | "failing"));
    }
    let states = [
        ("starting", 0, 0),
        ("failing", 0, 1),
        ("ok", 1, 1),
        ("expiring", 1, 2),
        ("expiring", 1, 3),
        ("failing", 1, 3),
        ("ok", 2, 3),
    ];
    assert_eq!(seen, states);
    let health = health.borrow();
    assert_eq!((health.failures.transient, health.failures.needs_person), (1, 2));
    assert_eq!(health.last_attempt_took, Some(Duration::from_secs(2)));
    let obtained = google.now() - Duration::from_secs(2);
    assert_eq!(health.last_refresh, Some(obtained));
    assert_eq!(health.expires_at, Some(obtained + Duration::from_secs(HOUR)));
    let next = health.next_refresh.unwrap();
    assert!(next > google.now() + Duration::from_secs(3000) && next < health.expires_at.unwrap());
    // What is healed is remembered.
    let past = health.last_failure.as_ref().unwrap();
    assert_eq!(past.failure.kind, FailureKind::NeedsPerson);
    assert!(past.at < health.since && past.failure.remedy.contains("log in again"), "{past:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_believed_in_when_there_is_no_other() {
    let (_, handle, _keeper) = kept([token("one", HOUR), refusal(400, "invalid_grant"), token("two", HOUR)]);
    let one = handle.token().await.unwrap().token;
    let state = || handle.health().borrow().state;
    assert_eq!(state(), HealthState::Ok);
    assert!(handle.other_than(&one).await.is_err());
    assert_eq!(state(), HealthState::Failing);
    // The pause for a person.
    after(301).await;
    after(2).await;
    assert_eq!(state(), HealthState::Ok);
    assert_eq!(value(handle.other_than(&one).await), "two");
    assert_eq!(state(), HealthState::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_after_a_failed_refresh_is_not_believed_in_either() {
    let (_, handle, _keeper) = kept([token("one", HOUR), refusal(400, "invalid_grant")]);
    let one = handle.token().await.unwrap().token;
    after(6).await;
    assert!(handle.refresh().await.is_err());
    assert_eq!(handle.health().borrow().state, HealthState::Expiring);
    assert!(handle.other_than(&one).await.is_err());
    after(1).await;
    assert_eq!(handle.health().borrow().state, HealthState::Failing);
}
