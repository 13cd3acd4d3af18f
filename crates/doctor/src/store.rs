//! The DICOM store itself: that it is there and lets the account in, by reading and by writing, and how fast it is.

use std::time::Duration;

use google_credentials::{
    Failure, FailureKind, Field, Grant, HttpVersion, KeptAlive, Response, Secret, Sent, TransportError,
    TransportErrorKind, remedy,
};
use reqwest::{Method, RequestBuilder, header::HeaderValue};

use crate::{
    Examination, Writing,
    credential::Token,
    header_fields,
    instance::Instance,
    step::{Name, Report},
};

/// A search that finds nothing (PS3.18 section 10.6): no patient's data is sent for a question about a role.
const SEARCH: &str = "studies?StudyInstanceUID=2.25.0&limit=1";
/// The shortest of so many searches tells the way there and back, with as little of the server's work as can be.
const SEARCHES: usize = 5;
/// What ends the parts of a body (RFC 2046 section 5.1.1); the instance's noise does not hold it.
const BOUNDARY: &str = "orthanc-gcp-check-2b9f1c";
/// Our own instance comes back in an answer of its size.
const LARGEST_ANSWER: usize = 4 << 20;

/// Looks at the store with a token.
pub(crate) async fn look(
    examination: Examination<'_>,
    token: Token,
    is_reached: bool,
    report: &mut Report<'_>,
) {
    let grant = match &token {
        Token::Granted(grant) => Some(&**grant),
        Token::NotWanted => None,
        Token::Missing => return skip(report, "needs a token"),
    };
    if !is_reached {
        return skip(report, "needs a way to the store");
    }
    let store = Store::new(examination, grant);
    report.begin();
    if let Err(failure) = store.search().await {
        report.failure(Name::Store, &failure);
        report.skipped(Name::Write, "needs a store that answers");
        report.skipped(Name::Speed, "needs a store that answers");
        return;
    }
    report.ok(Name::Store, format!("{} lets the account search", store.url));
    let speed = match examination.writing {
        Writing::Nothing => {
            report.skipped(Name::Write, "not wanted: it would store an instance, and delete it again");
            None
        }
        Writing::OneInstance => store.write(report).await,
    };
    report.begin();
    match store.round_trip().await {
        Ok(round_trip) => report.ok(Name::Speed, speed_in_words(round_trip, speed.as_ref())),
        Err(failure) => report.failure(Name::Speed, &failure),
    }
}

fn skip(report: &mut Report<'_>, why: &str) {
    for step in [Name::Store, Name::Write, Name::Speed] {
        report.skipped(step, why);
    }
}

/// How long an instance took.
struct Speed {
    bytes: usize,
    upload: Duration,
    download: Duration,
}

/// A request that did not do what it was for.
struct NotDone {
    failure: Failure,
    /// What was answered; `None` without a whole answer.
    status: Option<u16>,
}

impl From<Failure> for NotDone {
    fn from(failure: Failure) -> Self {
        Self { failure, status: None }
    }
}

impl From<NotDone> for Failure {
    fn from(not_done: NotDone) -> Self {
        not_done.failure
    }
}

struct Store<'a> {
    examination: Examination<'a>,
    grant: Option<&'a Grant>,
    /// Its DICOMweb root, with its last slash.
    url: String,
    /// What each request carries besides the token.
    fields: Vec<(String, Field)>,
    kept: KeptAlive,
}

impl<'a> Store<'a> {
    fn new(examination: Examination<'a>, grant: Option<&'a Grant>) -> Self {
        Self {
            examination,
            grant,
            url: examination.account.url().to_owned(),
            fields: header_fields(examination.account, grant),
            kept: KeptAlive::new(examination.http.clone(), HttpVersion::One),
        }
    }

    async fn search(&self) -> Result<(), Failure> {
        let request = self.request(Method::GET, SEARCH)?.header("Accept", "application/dicom+json");
        self.send(request, SEARCH, &[200, 204]).await?;
        Ok(())
    }

    async fn round_trip(&self) -> Result<Duration, Failure> {
        let mut shortest = Duration::MAX;
        for _ in 0..SEARCHES {
            shortest = shortest.min(self.timed(self.search()).await?.1);
        }
        Ok(shortest)
    }

    /// Stores an instance, has it back, and deletes it.
    async fn write(&self, report: &mut Report<'_>) -> Option<Speed> {
        let instance = Instance::generate(self.examination.world);
        let upload = match self.timed(self.stow(&instance)).await {
            Ok(((), upload)) => upload,
            Err(not_stored) => {
                self.clear_up(&instance, &not_stored, report).await;
                return None;
            }
        };
        let back = self.timed(self.retrieve(&instance)).await;
        if let Err(NotDone { failure, .. }) = self.delete(&instance).await {
            let words = format!("the instance stays in the store: {}", failure.cause);
            report.failed(Name::Write, words, yourself(&failure, &instance));
            return None;
        }
        match back {
            Ok(((), download)) => {
                let bytes = instance.file.len();
                report.ok(
                    Name::Write,
                    format!("stored, retrieved and deleted an instance of {} kB", bytes / 1000),
                );
                Some(Speed { bytes, upload, download })
            }
            Err(failure) => {
                report.failure(Name::Write, &failure);
                None
            }
        }
    }

    /// Says that an instance was not stored, and sees to it: unless the server refused it (4xx), it may be there all the
    /// same, with an answer that was lost on its way.
    async fn clear_up(&self, instance: &Instance, not_stored: &NotDone, report: &mut Report<'_>) {
        const NOT_FOUND: u16 = 404;
        let NotDone { failure, status } = not_stored;
        if status.is_some_and(|status| (400..500).contains(&status)) {
            return report.failure(Name::Write, failure);
        }
        match self.delete(instance).await {
            Ok(()) | Err(NotDone { status: Some(NOT_FOUND), .. }) => report.failure(Name::Write, failure),
            Err(still) => {
                let (stow, delete) = (&failure.cause, &still.failure.cause);
                let words = format!("the instance may be in the store: {stow}; deleting it: {delete}");
                report.failed(Name::Write, words, yourself(&still.failure, instance));
            }
        }
    }

    /// PS3.18 section 10.5.
    async fn stow(&self, instance: &Instance) -> Result<(), NotDone> {
        let path = format!("studies/{}", instance.study);
        let mut body = format!("--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n").into_bytes();
        body.extend_from_slice(&instance.file);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let media_type = format!("multipart/related; type=\"application/dicom\"; boundary={BOUNDARY}");
        let request = self.request(Method::POST, &path)?;
        let request = request.header("Content-Type", media_type).header("Accept", "application/dicom+json");
        self.send(request.body(body), &path, &[200]).await.map(drop)
    }

    /// PS3.18 section 10.4.
    async fn retrieve(&self, instance: &Instance) -> Result<(), Failure> {
        let path = path_of(instance);
        let request = self.request(Method::GET, &path)?;
        let request = request.header("Accept", "application/dicom; transfer-syntax=*");
        let answer = self.send(request, &path, &[200]).await?;
        // The file's head may be written anew; what is behind it may not.
        let pixels = instance.file.len() / 2;
        if answer.body.ends_with(instance.file.get(pixels..).unwrap_or_default()) {
            return Ok(());
        }
        Err(Failure::new(
            FailureKind::Transient,
            format!("{}{path} gave back something else than what was stored", self.url),
            "check BaseUrl, and whether a proxy meddles with what passes",
        ))
    }

    /// Supplement 194, as Google has it.
    async fn delete(&self, instance: &Instance) -> Result<(), NotDone> {
        let path = path_of(instance);
        let request = self.request(Method::DELETE, &path)?;
        self.send(request, &path, &[200, 202, 204]).await.map(drop)
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let url = format!("{}{path}", self.url);
        let client = self.kept.client().map_err(|error| remedy::of_transport(&url, &error))?;
        let mut request = client.request(method, &url);
        if let Some(grant) = self.grant {
            request = request.bearer_auth(grant.token.value.expose());
        }
        for (name, value) in &self.fields {
            let mut field = HeaderValue::from_str(value.expose()).map_err(|_| {
                let cause = format!("the value of the header {name} cannot be sent");
                remedy::of_transport(&url, &TransportError { kind: TransportErrorKind::Address, cause })
            })?;
            field.set_sensitive(matches!(value, Field::Secret(_)));
            request = request.header(name, field);
        }
        Ok(request)
    }

    /// Sends, and reads the answer whole, within the time limit of a token request.
    async fn send(&self, request: RequestBuilder, path: &str, good: &[u16]) -> Result<Response, NotDone> {
        let url = format!("{}{path}", self.url);
        let limit = self.examination.http.timeout;
        let sent_at = self.examination.world.now();
        let answer = match tokio::time::timeout(limit, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(TransportError {
                kind: TransportErrorKind::Timeout,
                cause: format!("no whole answer within {} s", limit.as_secs()),
            }),
        };
        let answer = answer.map_err(|error| remedy::of_transport(&url, &error))?;
        if good.contains(&answer.status) {
            return Ok(answer);
        }
        let principal = self.grant.and_then(|grant| grant.principal.as_deref());
        let failure = remedy::of_store(&url, &answer, sent_at, principal);
        Err(NotDone { failure, status: Some(answer.status) })
    }

    async fn exchange(&self, request: RequestBuilder) -> Result<Response, TransportError> {
        let failed = |error: reqwest::Error| self.kept.failed(&error);
        let mut answer = request.send().await.map_err(failed)?;
        let headers = ["date", "location", "retry-after"].into_iter().filter_map(|name| {
            Some((name, String::from_utf8_lossy(answer.headers().get(name)?.as_bytes()).into_owned()))
        });
        let headers = headers.collect();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_ANSWER {
                let cause = "the answer is larger than anything that was asked for".to_owned();
                return Err(TransportError { kind: TransportErrorKind::Interrupted, cause });
            }
        }
        Ok(Response { status: answer.status().as_u16(), headers, body, sent: self.secrets() })
    }

    /// What an answer may not repeat; of `Basic …` and the like also the part behind the space.
    fn secrets(&self) -> Sent {
        let token = self.grant.map(|grant| Secret::new(grant.token.value.expose()));
        let of_user = self.fields.iter().filter_map(|(_, value)| match value {
            Field::Secret(secret) => Some(secret),
            Field::Plain(_) => None,
        });
        // Whole before part: what holds another is struck out first.
        let of_user = of_user.flat_map(|secret| {
            let part = secret.expose().split_once(' ').map(|(_, credentials)| Secret::new(credentials));
            std::iter::once(secret.clone()).chain(part)
        });
        Sent::new(token.into_iter().chain(of_user))
    }

    async fn timed<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<(T, Duration), E> {
        let world = self.examination.world;
        let begun = world.now();
        let done = work.await?;
        Ok((done, world.now().duration_since(begun).unwrap_or_default()))
    }
}

/// What to do where an instance could not be deleted.
fn yourself(failure: &Failure, instance: &Instance) -> String {
    format!("{}; delete the study {} yourself", failure.remedy, instance.study)
}

fn path_of(instance: &Instance) -> String {
    let Instance { study, series, sop, .. } = instance;
    format!("studies/{study}/series/{series}/instances/{sop}")
}

fn speed_in_words(round_trip: Duration, speed: Option<&Speed>) -> String {
    let milliseconds = round_trip.as_secs_f64() * 1000.0;
    let decimals = usize::from(milliseconds < 10.0);
    let there_and_back = format!("a search takes {milliseconds:.decimals$} ms");
    let Some(Speed { bytes, upload, download }) = speed else {
        return format!("{there_and_back} (throughput is measured where an instance may be stored)");
    };
    format!(
        "{there_and_back}; about {} up and {} down over one connection",
        rate(*bytes, *upload, round_trip),
        rate(*bytes, *download, round_trip)
    )
}

/// What went through in the time beyond the way there and back.
#[expect(clippy::cast_precision_loss, reason = "a rate is an estimate")]
fn rate(bytes: usize, took: Duration, round_trip: Duration) -> String {
    let seconds = took.saturating_sub(round_trip).as_secs_f64().max(0.001);
    let megabytes = bytes as f64 / 1e6 / seconds;
    if megabytes >= 10.0 { format!("{megabytes:.0} MB/s") } else { format!("{megabytes:.1} MB/s") }
}
