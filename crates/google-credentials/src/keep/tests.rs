//! The keeper's task in a world whose clock is moved by its sleeps and whose token server follows a script.

use std::{
    collections::VecDeque,
    fmt, io,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use serde_json::json;
use tokio::sync::Notify;
use tracing::{Dispatch, Event as LogEvent, Metadata, Subscriber, field, span};

use super::*;
use crate::{
    BoxFuture, Command, CommandOutput, Credential, FileContent, Request, Response, Secret, TransportError,
    TransportErrorKind, token_channel,
};

/// An answer with this status ends in a panic.
const MISHAP: u16 = 0;

/// Everything a test sees, in order.
#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Seen {
    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

struct Script {
    now: Arc<Mutex<SystemTime>>,
    answers: Mutex<VecDeque<Result<Response, TransportError>>>,
    /// The file's content; `None` while it is missing.
    file: Mutex<VecDeque<Option<String>>>,
    over: Notify,
    /// The script is at its end: a request is not answered, and no time goes by.
    hangs: Arc<AtomicBool>,
    seen: Arc<Seen>,
}

impl World for Script {
    fn now(&self) -> SystemTime {
        *self.now.lock().unwrap()
    }

    fn dice(&self) -> f64 {
        0.5
    }

    fn read_file(&self, _: &Path) -> io::Result<FileContent> {
        let mut file = self.file.lock().unwrap();
        let content =
            if file.len() > 1 { file.pop_front().flatten() } else { file.front().cloned().flatten() };
        match content {
            Some(text) => Ok(FileContent {
                bytes: text.into_bytes().into(),
                readable_by_others: true,
                writable_by_others: false,
            }),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn run<'a>(&'a self, _: &'a Command) -> BoxFuture<'a, io::Result<CommandOutput>> {
        Box::pin(std::future::ready(Err(io::Error::from(io::ErrorKind::Unsupported))))
    }

    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, TransportError>> {
        self.seen.add(format!("> {}", request.url));
        let answer = self.answers.lock().unwrap().pop_front();
        Box::pin(async move {
            if let Some(answer) = answer {
                assert!(!answer.as_ref().is_ok_and(|answer| answer.status == MISHAP), "a mishap");
                return answer;
            }
            self.hangs.store(true, Ordering::Relaxed);
            self.over.notify_one();
            std::future::pending().await
        })
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (now, hangs, seen) = (Arc::clone(&self.now), Arc::clone(&self.hangs), Arc::clone(&self.seen));
        // What is not waited for takes no time.
        Box::pin(async move {
            if hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            *now.lock().unwrap() += duration;
            seen.add(format!("slept {}", duration.as_millis()));
        })
    }
}

struct Listener(Arc<Seen>);

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn event(&self, event: &LogEvent<'_>) {
        struct Message(String);
        impl field::Visit for Message {
            fn record_debug(&mut self, _: &field::Field, value: &dyn fmt::Debug) {
                self.0 = format!("{value:?}");
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.add(format!("{} {}", event.metadata().level(), message.0));
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn token(name: &str, seconds: u64) -> Result<Response, TransportError> {
    answer(200, &json!({"access_token": name, "expires_in": seconds, "token_type": "Bearer"}).to_string())
}

#[expect(clippy::unnecessary_wraps, reason = "what the script holds")]
fn answer(status: u16, body: &str) -> Result<Response, TransportError> {
    Ok(Response { status, headers: Vec::new(), body: body.as_bytes().to_vec(), ..Response::default() })
}

fn refused() -> Result<Response, TransportError> {
    let cause = "Connection refused (os error 111)".to_owned();
    Err(TransportError { kind: TransportErrorKind::Connection, cause })
}

fn strings() -> Credential {
    Credential::AuthorizedUser {
        client_id: "id".to_owned(),
        client_secret: Secret::new("GOCSPX-hush"),
        refresh_token: Secret::new("1//hush"),
    }
}

/// Plays the answers, and gives what was logged and the last token kept.
fn play(
    credential: Credential,
    answers: impl IntoIterator<Item = Result<Response, TransportError>>,
    file: impl IntoIterator<Item = Option<String>>,
) -> (Vec<String>, Option<String>) {
    let seen = Arc::new(Seen::default());
    let script = Arc::new(Script {
        now: Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_435_200))),
        answers: Mutex::new(answers.into_iter().collect()),
        file: Mutex::new(file.into_iter().collect()),
        over: Notify::new(),
        hangs: Arc::new(AtomicBool::new(false)),
        seen: Arc::clone(&seen),
    });
    let keeping = Keeping {
        source: Source { token_uri: Some("https://t/token".to_owned()), ..Source::of(credential) },
        look_every: Duration::from_secs(60),
        name: "Account \"a\"".to_owned(),
        option_path: "Accounts.a".to_owned(),
        changed: Arc::new(Notify::new()),
    };
    let (sender, handle) = token_channel(script.now());
    // Where only one subscriber lives, `tracing` asks the thread that comes first whether an event is wanted, and keeps that
    // answer for all: it could be one of another test, where nobody listens. Of two, both are asked.
    let _another = Dispatch::new(Listener(Arc::default()));
    let _log = tracing::subscriber::set_default(Listener(Arc::clone(&seen)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let world: Arc<dyn World> = Arc::<Script>::clone(&script);
        tokio::select! {
            () = keep_for_ever(world, keeping, sender) => {}
            () = script.over.notified() => {}
        }
    });
    let last = handle.kept().borrow().grant().map(|grant| grant.token.value.expose().to_owned());
    let mut lines = seen.0.lock().unwrap().clone();
    lines.push(format!("{handle:?}"));
    assert!(lines.iter().all(|line| !line.contains("hush") && !line.contains("ya29")), "{lines:#?}");
    (lines, last)
}

fn logged(lines: &[String]) -> Vec<&str> {
    let is_log = |line: &&str| ["ERROR", "WARN", "INFO"].iter().any(|level| line.starts_with(level));
    lines.iter().map(String::as_str).filter(is_log).collect()
}

#[test]
fn an_outage_is_one_line_and_so_is_its_end() {
    let outage = (0..20).map(|_| refused());
    let (lines, last) = play(strings(), outage.chain([token("ya29.one", 3600)]), []);
    let log = logged(&lines);
    let told: Vec<_> = log.iter().filter(|line| !line.starts_with("INFO")).collect();
    assert_eq!(told.len(), 2, "{log:#?}");
    assert!(
        told[0].starts_with("ERROR Account \"a\": no answer from https://t/token: Connection refused"),
        "{}",
        told[0]
    );
    assert!(told[0].contains("there is no valid token; next attempt in"), "{}", told[0]);
    assert!(told[1].starts_with("WARN Account \"a\": tokens come again after"), "{}", told[1]);
    assert_eq!(last.as_deref(), Some("ya29.one"));
}

#[test]
fn a_panic_ends_an_attempt_and_not_the_account() {
    let (lines, last) = play(strings(), [answer(MISHAP, ""), token("ya29.one", 3600)], []);
    let log = logged(&lines);
    let errors: Vec<_> = log.iter().filter(|line| line.starts_with("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{log:#?}");
    assert!(errors[0].ends_with("please report this; it begins anew in 60 s"), "{}", errors[0]);
    assert_eq!(last.as_deref(), Some("ya29.one"));
}

#[test]
fn another_cause_is_another_line() {
    let answers =
        [refused(), refused(), answer(503, ""), answer(503, ""), refused(), token("ya29.one", 3600)];
    let (lines, _) = play(strings(), answers, []);
    let errors = logged(&lines).into_iter().filter(|line| line.starts_with("ERROR")).count();
    assert_eq!(errors, 3, "{lines:#?}");
}

#[test]
fn a_failed_refresh_displaces_nothing_and_the_end_is_told_once() {
    let failures = (0..40).map(|_| answer(500, "<h1>oops</h1>"));
    let (lines, last) = play(strings(), [token("ya29.one", 3600)].into_iter().chain(failures), []);
    assert_eq!(last.as_deref(), Some("ya29.one"));
    let log = logged(&lines);
    let told: Vec<_> = log.iter().filter(|line| !line.starts_with("INFO")).collect();
    assert_eq!(told.len(), 2, "{log:#?}");
    assert!(told[0].starts_with("WARN") && told[0].contains("the token at hand works until"), "{}", told[0]);
    assert!(told[1].starts_with("ERROR Account \"a\": its token expired at"), "{}", told[1]);
}

#[test]
fn no_sleep_is_longer_than_a_minute_and_no_token_is_asked_for_twice() {
    let (lines, last) = play(strings(), [token("ya29.one", 3600), token("ya29.two", 3600)], []);
    assert_eq!(last.as_deref(), Some("ya29.two"));
    let requests = lines.iter().filter(|line| line.starts_with('>')).count();
    // The third is the one that the script leaves unanswered.
    assert_eq!(requests, 3);
    let sleeps: Vec<u64> =
        lines.iter().filter_map(|line| line.strip_prefix("slept ")).map(|ms| ms.parse().unwrap()).collect();
    assert!(sleeps.len() > 50 && sleeps.iter().all(|ms| *ms <= 60_000), "{sleeps:?}");
}

#[test]
fn a_login_that_is_over_waits_for_a_person() {
    let refusal = || {
        answer(400, r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#)
    };
    let (lines, _) = play(strings(), [refusal(), refusal()], []);
    let log = logged(&lines);
    assert!(
        log[0].contains("invalid_grant: \"Token has been expired or revoked.\"; the login is over"),
        "{}",
        log[0]
    );
    assert!(log[0].contains("next attempt in 5 min"), "{}", log[0]);
    let slept = lines.iter().filter(|line| *line == "slept 60000").count();
    assert_eq!(slept, 10, "{lines:#?}");
}

#[test]
fn a_file_that_comes_late_is_read_when_it_is_there() {
    let user = json!({"type": "authorized_user", "client_id": "i", "client_secret": "GOCSPX-hush", "refresh_token": "1//hush"});
    let half: String = user.to_string().chars().take(30).collect();
    // Met while it is being written, which is no mistake; and then, at another attempt, left so.
    let passing = [Some(half.clone()), Some(half.clone()), None];
    let staying = [Some(half.clone()), Some(half.clone()), Some(half)];
    let files: Vec<_> =
        [None, None].into_iter().chain(passing).chain(staying).chain([Some(user.to_string())]).collect();
    let credential = Credential::AuthorizedUserFile("user.json".into());
    let (lines, last) = play(credential, [token("ya29.one", 3600)], files);
    assert_eq!(last.as_deref(), Some("ya29.one"));
    let log = logged(&lines);
    assert!(log[0].starts_with("ERROR Accounts.a.AuthorizedUserFile: user.json cannot be read"), "{log:#?}");
    let broken = log.iter().filter(|line| line.contains("user.json breaks off")).count();
    assert_eq!(broken, 1, "{log:#?}");
    let readable = log.iter().filter(|line| line.contains("can be read by every user")).count();
    assert_eq!(readable, 1, "{log:#?}");
}
