//! A request to the DICOM store, sent until it is answered: with the token of the moment, and again where that helps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use google_credentials::{
    AccessToken, Failure, FailureKind, Grant, Secret, TransportError, TransportErrorKind,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::{
    content::Content,
    gateway::Shared,
    refusal::Refusal,
    retry::{self, Failed},
    store::Store,
    transfers::Transfer,
};

/// What is asked of the store.
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// Below the root, with its query: `studies?limit=1`.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Content,
    /// How long after the first attempt another one may begin.
    pub(crate) patience: Duration,
}

/// The attempts at one request.
///
/// Each call of [`next`](Attempts::next) sends it until there is a good answer. If that answer breaks off while it is read,
/// [`broke`](Attempts::broke) says whether, and waits until, it is worth another.
pub(crate) struct Attempts<'a> {
    shared: &'a Arc<Shared>,
    store: &'a Store,
    ask: &'a Ask,
    transfer: Option<&'a Transfer>,
    /// When patience began: later by as long as attempts moved bytes, so that what is large or slow has as much as the rest.
    began: SystemTime,
    /// How often it was tried.
    made: u32,
    /// The token that was refused with 401 just now. Another one was asked for; while that is refused as well, which may be an
    /// accident or take a moment to pass, it is sent again as after other failures that pass.
    refused: Option<AccessToken>,
    /// An attempt may have done what is asked for, without an answer that says so.
    may_be_done: bool,
    /// Where complaints of load are counted.
    complaints: Option<&'a AtomicU64>,
}

/// A good answer, whose body is read as it comes.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: AnswerBody,
}

/// The body of an answer.
pub(crate) struct AnswerBody {
    response: reqwest::Response,
    shared: Arc<Shared>,
    /// Where it comes from, for messages.
    url: String,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(
        shared: &'a Arc<Shared>,
        store: &'a Store,
        ask: &'a Ask,
        transfer: Option<&'a Transfer>,
    ) -> Self {
        let began = shared.world.now();
        Self {
            shared,
            store,
            ask,
            transfer,
            began,
            made: 0,
            refused: None,
            may_be_done: false,
            complaints: None,
        }
    }

    /// Counts in `complaints` how often an attempt fails because too much is asked at once.
    pub(crate) fn counting(self, complaints: &'a AtomicU64) -> Self {
        Self { complaints: Some(complaints), ..self }
    }

    /// Whether an attempt that failed may have done what is asked for.
    pub(crate) fn may_be_done(&self) -> bool {
        self.may_be_done
    }

    /// Sends the request until it is answered with success (2xx).
    ///
    /// # Errors
    /// Google's refusal, or what kept the request from being answered.
    pub(crate) async fn next(&mut self) -> Result<Answer, Refusal> {
        loop {
            self.made += 1;
            let grant = match self.grant().await {
                Ok(grant) => grant,
                Err(failure) if failure.kind == FailureKind::Transient => {
                    self.again(Refusal::without_token(failure), Failed::Token).await?;
                    continue;
                }
                Err(failure) => return Err(Refusal::without_token(failure)),
            };
            let sent_at = self.shared.world.now();
            let url = self.store.url(&self.ask.path);
            let (response, moved) = self.send(&url, grant.as_ref()).await;
            self.began += moved;
            let response = match response {
                Ok(response) => response,
                Err(error) => {
                    self.again(Refusal::of_transport(&url, &error), Failed::Transport(error.kind)).await?;
                    continue;
                }
            };
            let status = response.status();
            self.shared.transfers.totals.answered(self.ask.method.as_str(), status.as_u16());
            let took = self.shared.world.now().duration_since(sent_at).unwrap_or_default();
            // What `--verbose-plugins` adds to the log: a line a request.
            tracing::info!(
                "{}: {} {} answered {} after {} ms (attempt {})",
                self.store.title(),
                self.ask.method,
                without_query(&self.ask.path),
                status.as_u16(),
                took.as_millis(),
                self.made
            );
            let headers = response.headers().clone();
            let mut body = AnswerBody { response, shared: Arc::clone(self.shared), url: url.clone() };
            if status.is_success() {
                return Ok(Answer { status, headers, body });
            }
            let words = match body.whole(LARGEST_REFUSAL).await {
                Ok(words) => words,
                // The status says enough.
                Err(_) => Bytes::new(),
            };
            let refusal = Refusal::of_google(&url, status, headers, words, sent_at, grant.as_ref());
            let mut failed = Failed::Status(status.as_u16(), refusal.retry_after());
            if status == StatusCode::UNAUTHORIZED
                && let Some(grant) = grant
                && let Some(tokens) = &self.store.tokens
            {
                if self.refused.is_some() {
                    failed = Failed::NewToken;
                } else {
                    tracing::info!("{}: Google refused its token; it gets another one", self.store.title());
                    if self.ask.content.is_repeatable() {
                        self.refused = Some(grant.token);
                        self.count_retry(&refusal.failure().cause);
                        continue;
                    }
                    // For whoever asks next.
                    tokens.report_refused(&grant.token);
                }
            }
            self.again(refusal, failed).await?;
        }
    }

    /// An answer broke off while it was read: waits for the time of another attempt.
    ///
    /// # Errors
    /// It is not worth one.
    pub(crate) async fn broke(&mut self, error: &TransportError) -> Result<(), Refusal> {
        let url = self.store.url(&self.ask.path);
        self.again(Refusal::of_transport(&url, error), Failed::Transport(error.kind)).await
    }

    /// Bytes of an answer came that had not come before: patience begins anew.
    pub(crate) fn progressed(&mut self) {
        self.began = self.shared.world.now();
        self.made = 0;
        self.refused = None;
    }

    /// The good answer, read whole.
    ///
    /// # Errors
    /// As [`next`](Attempts::next).
    pub(crate) async fn whole(&mut self, largest: usize) -> Result<(StatusCode, HeaderMap, Bytes), Refusal> {
        loop {
            let Answer { status, headers, mut body } = self.next().await?;
            match body.whole(largest).await {
                Ok(bytes) => return Ok((status, headers, bytes)),
                Err(error) => self.broke(&error).await?,
            }
        }
    }

    async fn grant(&self) -> Result<Option<Grant>, Failure> {
        let Some(tokens) = &self.store.tokens else { return Ok(None) };
        let grant = async {
            match &self.refused {
                None => tokens.token().await,
                Some(refused) => tokens.other_than(refused).await,
            }
        };
        match tokio::time::timeout(self.ask.patience, grant).await {
            Ok(Ok(grant)) => Ok(Some(grant)),
            Ok(Err(failure)) => Err(failure),
            Err(_) => {
                let remedy = "the log says why, if it lasts";
                Err(Failure::new(FailureKind::Transient, "there is no token yet", remedy))
            }
        }
    }

    /// Waits for the time of another attempt, if it is worth one.
    async fn again(&mut self, refusal: Refusal, failed: Failed) -> Result<(), Refusal> {
        if let Some(complaints) = self.complaints.filter(|_| failed.is_of_load()) {
            complaints.fetch_add(1, Ordering::Relaxed);
        }
        self.may_be_done |= failed.may_have_acted();
        let world = &self.shared.world;
        let elapsed = world.now().duration_since(self.began).unwrap_or_default();
        let pause = retry::pause(failed, self.made, elapsed, self.ask.patience, world.dice());
        match pause.filter(|_| self.ask.content.is_repeatable()) {
            None => Err(refusal.after(self.made)),
            Some(pause) => {
                tracing::info!(
                    "{}: {} {} is sent again in {} ms: {}",
                    self.store.title(),
                    self.ask.method,
                    without_query(&self.ask.path),
                    pause.as_millis(),
                    refusal.failure().cause
                );
                self.count_retry(&refusal.failure().cause);
                world.sleep(pause).await;
                // By then the token may be another one.
                self.refused = self.refused.take().filter(|_| failed == Failed::NewToken);
                Ok(())
            }
        }
    }

    fn count_retry(&self, why: &str) {
        self.shared.transfers.totals.retried();
        if let Some(transfer) = self.transfer {
            transfer.retried(why);
        }
    }

    /// Sends the request once: its answer, and how long bytes of its body were moving.
    async fn send(
        &self,
        url: &str,
        grant: Option<&Grant>,
    ) -> (Result<reqwest::Response, TransportError>, Duration) {
        let sent = Arc::new(AtomicU64::new(0));
        let request = match self.request(url, grant, &sent) {
            Ok(request) => request,
            Err(error) => return (Err(error), Duration::ZERO),
        };
        let outcome = self.while_it_moves(request, &sent).await;
        self.shared.transfers.totals.sent(sent.load(Ordering::Relaxed));
        outcome
    }

    fn request(
        &self,
        url: &str,
        grant: Option<&Grant>,
        sent: &Arc<AtomicU64>,
    ) -> Result<reqwest::RequestBuilder, TransportError> {
        let client = self.shared.client.client()?;
        let mut request = client.request(self.ask.method.clone(), url).headers(self.ask.headers.clone());
        if let Some(grant) = grant {
            request = request.header(header::AUTHORIZATION, bearer(&grant.token.value)?);
            // The client's own counts, as without the gateway.
            if let Some(project) = &grant.quota_project
                && !self.ask.headers.contains_key(QUOTA_PROJECT)
            {
                request = request.header(QUOTA_PROJECT, project);
            }
        } else if let Some(own) = &self.store.authorization {
            request = request.header(header::AUTHORIZATION, sensitive(own.expose())?);
        }
        Ok(match self.ask.content.body(sent) {
            Some(body) => request.body(body),
            None => request,
        })
    }

    /// Waits for the answer. The time limit is one of inactivity, of both directions.
    async fn while_it_moves(
        &self,
        request: reqwest::RequestBuilder,
        sent: &AtomicU64,
    ) -> (Result<reqwest::Response, TransportError>, Duration) {
        let Shared { world, client, settings, .. } = &**self.shared;
        let look_every = settings.inactivity / LOOKS;
        let (began, mut moved) = (world.now(), Duration::ZERO);
        let (mut looks_in_silence, mut before) = (0, 0);
        let sending = request.send();
        tokio::pin!(sending);
        loop {
            tokio::select! {
                biased;
                outcome = &mut sending => return (outcome.map_err(|error| client.failed(&error)), moved),
                () = world.sleep(look_every) => {}
            }
            let now = sent.load(Ordering::Relaxed);
            if now != before {
                (looks_in_silence, before) = (0, now);
                moved = world.now().duration_since(began).unwrap_or_default();
                continue;
            }
            looks_in_silence += 1;
            if looks_in_silence == LOOKS {
                return (Err(silence(settings.inactivity)), moved);
            }
        }
    }
}

impl AnswerBody {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The answer broke off, or was silent for too long.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        let inactivity = self.shared.settings.inactivity;
        let chunk = match tokio::time::timeout(inactivity, self.response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| self.shared.client.failed(&error))?,
            Err(_) => return Err(silence(inactivity)),
        };
        if let Some(chunk) = &chunk {
            self.shared.transfers.totals.received(chunk.len() as u64);
        }
        Ok(chunk)
    }

    /// All bytes.
    ///
    /// # Errors
    /// As [`chunk`](AnswerBody::chunk), and for more than `largest` bytes.
    pub(crate) async fn whole(&mut self, largest: usize) -> Result<Bytes, TransportError> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.len() + chunk.len() > largest {
                return Err(TransportError {
                    kind: TransportErrorKind::Address,
                    cause: format!(
                        "the answer of {} is larger than {largest} bytes",
                        without_query(&self.url)
                    ),
                });
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// How many bytes are still to come, where the server has said so.
    pub(crate) fn length(&self) -> Option<u64> {
        self.response.content_length()
    }
}

/// How often it is looked within the time of inactivity whether something moves.
const LOOKS: u32 = 12;
/// Who pays, where that is not the project of the store.
const QUOTA_PROJECT: &str = "x-goog-user-project";
/// What is read of a refusal: Google's own are below a few kilobytes; what is longer comes from elsewhere.
const LARGEST_REFUSAL: usize = 1 << 20;

fn bearer(token: &Secret) -> Result<HeaderValue, TransportError> {
    sensitive(&format!("Bearer {}", token.expose()))
}

fn sensitive(authorization: &str) -> Result<HeaderValue, TransportError> {
    let mut value = HeaderValue::from_str(authorization).map_err(|_| TransportError {
        kind: TransportErrorKind::Address,
        cause: "the token cannot be sent in a header".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn silence(limit: Duration) -> TransportError {
    TransportError {
        kind: TransportErrorKind::Timeout,
        cause: format!("not a byte was sent or received for {} s", limit.as_secs()),
    }
}

/// Queries may name patients.
pub(crate) fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}
