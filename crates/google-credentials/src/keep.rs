//! The task that keeps an account's token fresh: it does what [`keeper`](crate::keeper) says, and tells the log.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::{Notify, watch};

use crate::{
    AccessToken, BoxFuture, ExposedFile, Failure, FailureKind, Grant, Source, World,
    keeper::{Action, Event, State, next},
    remedy::in_words,
};

/// An account to keep a token for.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// Where its tokens come from.
    pub source: Source,
    /// The longest pause between two looks at it; at most a minute is used.
    pub look_every: Duration,
    /// How the log calls it: `Account "hospital"`.
    pub name: String,
    /// Where its options stand in the configuration: `GoogleCloudPlatform.Accounts.hospital`.
    pub option_path: String,
    /// Notified when the credential's file has new content; see [`watch_files`](crate::watch_files()).
    pub changed: Arc<Notify>,
}

/// What is kept.
#[derive(Debug, Clone, Default)]
pub enum Kept {
    /// Nothing, before the first token.
    #[default]
    Nothing,
    /// The newest token.
    Token(Grant),
    /// The newest token, whose time is over: there is no other.
    Expired(Grant),
}

impl Kept {
    /// The newest token, good or not.
    pub fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Nothing => None,
            Self::Token(grant) | Self::Expired(grant) => Some(grant),
        }
    }

    /// Whether there was a good token, which is expired now.
    fn expire(&mut self) -> bool {
        let Self::Token(grant) = self else { return false };
        *self = Self::Expired(grant.clone());
        true
    }
}

/// Keeps a token fresh for ever; dropping the future ends it.
///
/// Each new token is sent through `kept`. A failed attempt leaves what is there and is tried again, whatever it was.
pub async fn keep(world: Arc<dyn World>, keeping: Keeping, kept: watch::Sender<Kept>) {
    let mut log = Log { keeping: &keeping, last_failure: None, failing_since: None, warned: false };
    let look_every = keeping.look_every;
    let now = world.now();
    let (mut state, mut action) = next(now, world.dice(), look_every, State::new(now), Event::Look);
    let mut request: Option<BoxFuture<'_, Result<Grant, Failure>>> = None;
    loop {
        let token = || kept.borrow().grant().map(|grant| grant.token.clone());
        let (event, failure) = match action {
            Action::Request => {
                request = Some(Box::pin(keeping.source.fetch(&*world)));
                (Event::Look, None)
            }
            Action::TellExpired => {
                log.expired(token().as_ref());
                kept.send_if_modified(Kept::expire);
                (Event::Look, None)
            }
            Action::Wait(pause) => tokio::select! {
                biased;
                answer = answer(&mut request) => {
                    request = None;
                    match answer {
                        Ok(grant) => {
                            log.obtained(&grant, world.now());
                            let AccessToken { obtained_at, expires_at, .. } = grant.token;
                            let renewal = grant.renewal;
                            kept.send_replace(Kept::Token(grant));
                            (Event::Obtained { obtained_at, expires_at, renewal }, None)
                        }
                        Err(failure) => {
                            let Failure { kind, retry_after, throttled, .. } = failure;
                            (Event::Failed { kind, retry_after, throttled }, Some(failure))
                        }
                    }
                }
                // What a request under way has read may be the old content: it is noticed after the answer.
                () = keeping.changed.notified(), if request.is_none() => {
                    tracing::info!("{}: the credential's file has new content", keeping.name);
                    (Event::CredentialChanged, None)
                }
                () = world.sleep(pause) => (Event::Look, None),
            },
        };
        let now = world.now();
        (state, action) = next(now, world.dice(), look_every, state, event);
        if let Some(failure) = failure {
            log.failed(failure, &state, now, token().as_ref());
        }
    }
}

/// The answer to the request under way; never, where there is none.
async fn answer(request: &mut Option<BoxFuture<'_, Result<Grant, Failure>>>) -> Result<Grant, Failure> {
    match request {
        Some(request) => request.await,
        None => std::future::pending().await,
    }
}

/// One line a change of state; what only repeats goes to the level below.
struct Log<'a> {
    keeping: &'a Keeping,
    last_failure: Option<Failure>,
    failing_since: Option<SystemTime>,
    warned: bool,
}

impl Log<'_> {
    fn obtained(&mut self, grant: &Grant, now: SystemTime) {
        let Keeping { name, option_path, .. } = self.keeping;
        if let Some(ExposedFile { option, path }) = grant.exposed.as_ref().filter(|_| !self.warned) {
            self.warned = true;
            tracing::warn!(
                "{option_path}.{option}: {} can be read by every user of this machine; take that right away with `chmod o-r`",
                path.display()
            );
        }
        let until = httpdate::fmt_http_date(grant.token.expires_at);
        self.last_failure = None;
        if let Some(since) = self.failing_since.take() {
            let failing = in_words(now.duration_since(since).unwrap_or_default());
            tracing::warn!("{name}: tokens come again after {failing}; this one is valid until {until}");
        } else {
            tracing::info!("{name}: new token, valid until {until}");
        }
    }

    fn failed(&mut self, failure: Failure, state: &State, now: SystemTime, token: Option<&AccessToken>) {
        let since = *self.failing_since.get_or_insert(now);
        let Keeping { name, option_path, .. } = self.keeping;
        let place = match failure.option {
            Some(option) => format!("{option_path}.{option}"),
            None => name.clone(),
        };
        let standing = match token {
            Some(token) if state.has_valid_token(now) => {
                format!("the token at hand works until {}", httpdate::fmt_http_date(token.expires_at))
            }
            _ => "there is no valid token".to_owned(),
        };
        let again = in_words(state.pause(now).max(Duration::from_secs(1)));
        // A portal's page has another number in it each time; what is to be done about it stays the same.
        let repeated = self.last_failure.as_ref().is_some_and(|last| {
            (last.kind, last.option) == (failure.kind, failure.option)
                && (last.cause == failure.cause || last.remedy == failure.remedy)
        });
        if repeated {
            let failing = in_words(now.duration_since(since).unwrap_or_default());
            tracing::info!(
                "{place}: attempt {} failed as before, for {failing} now; next attempt in {again}",
                state.failures()
            );
        } else if state.has_valid_token(now) && failure.kind == FailureKind::Transient {
            tracing::warn!("{place}: {failure} ({standing}; next attempt in {again})");
        } else {
            tracing::error!("{place}: {failure} ({standing}; next attempt in {again})");
        }
        self.last_failure = Some(failure);
    }

    fn expired(&self, token: Option<&AccessToken>) {
        let Some(token) = token else { return };
        let name = &self.keeping.name;
        let at = httpdate::fmt_http_date(token.expires_at);
        let Some(failure) = &self.last_failure else {
            // After a sleep of the machine, or because the first request of an outage hangs.
            tracing::warn!(
                "{name}: its token expired at {at}, and the answer to the request for a new one is not there yet"
            );
            return;
        };
        tracing::error!(
            "{name}: its token expired at {at} and Google refuses whatever uses it, because no new one could be had: {failure}"
        );
    }
}

#[cfg(test)]
mod tests;
