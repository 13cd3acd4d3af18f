//! The task that keeps an account's token fresh: it does what [`keeper`](crate::keeper) says, and tells the log.

mod log;

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, task::JoinSet};

use crate::{
    AccessToken, BoxFuture, Failure, Grant, Health, Source, TokenSender, World,
    keeper::{Action, Event, State, next},
};
use log::Log;

/// The pause before an account whose task panicked is begun anew.
const AFTER_A_PANIC: Duration = Duration::from_secs(60);

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

/// Keeps an account's token fresh, whatever happens: a panic ends one attempt, not the account. Dropping the future ends it.
pub async fn keep_for_ever(world: Arc<dyn World>, keeping: Keeping, tokens: TokenSender) {
    loop {
        let mut attempt = JoinSet::new();
        attempt.spawn(keep(Arc::clone(&world), keeping.clone(), tokens.clone()));
        if let Some(Err(error)) = attempt.join_next().await {
            let pause = AFTER_A_PANIC.as_secs();
            tracing::error!("{}: {error}; please report this; it begins anew in {pause} s", keeping.name);
        }
        world.sleep(AFTER_A_PANIC).await;
    }
}

/// Keeps a token fresh until it panics; dropping the future ends it.
///
/// Each new token is sent through `tokens`. A failed attempt leaves what is there and is tried again, whatever it was.
pub async fn keep(world: Arc<dyn World>, keeping: Keeping, tokens: TokenSender) {
    let TokenSender { kept, health, .. } = &tokens;
    let (mut asks, mut refusals) = (tokens.asks(), tokens.refusals());
    let mut log = Log::new(&keeping);
    let look_every = keeping.look_every;
    let now = world.now();
    let (mut state, mut action) = next(now, world.dice(), look_every, State::new(now), Event::Look);
    let mut began = now;
    let mut request: Option<BoxFuture<'_, Result<Grant, Failure>>> = None;
    loop {
        let token = || kept.borrow().grant().map(|grant| grant.token.clone());
        let ended = health.borrow().attempts();
        let mut answered = None;
        let event = match action {
            Action::Request => {
                began = world.now();
                request = Some(Box::pin(keeping.source.fetch(&*world)));
                health.send_modify(Health::began);
                Event::Look
            }
            Action::TellExpired => {
                log.expired(token().as_ref());
                kept.send_if_modified(Kept::expire);
                health.send_modify(|health| health.expired(world.now()));
                Event::Look
            }
            Action::Wait(pause) => tokio::select! {
                biased;
                answer = answer(&mut request) => {
                    request = None;
                    let event = of_answer(&answer);
                    answered = Some(answer);
                    event
                }
                // What a request under way has read may be the old content: it is noticed after the answer.
                () = keeping.changed.notified(), if request.is_none() => {
                    tracing::info!("{}: the credential's file has new content", keeping.name);
                    Event::CredentialChanged
                }
                () = asks.next(ended), if request.is_none() => Event::RefreshAsked,
                () = refusals.next() => Event::Look,
                () = world.sleep(pause) => Event::Look,
            },
        };
        let now = world.now();
        if !state.is_refused() && token().is_some_and(|token| refusals.are_of(&token)) {
            state = state.refused();
            health.send_modify(|health| health.refused(now));
            log.refused(token().as_ref(), answered.is_some());
        }
        (state, action) = next(now, world.dice(), look_every, state, event);
        let took = now.duration_since(began).unwrap_or_default();
        match answered {
            Some(Ok(grant)) => {
                log.obtained(&grant, &state, now);
                // The token before the news of it.
                kept.send_replace(Kept::Token(grant.clone()));
                health.send_modify(|health| health.obtained(now, took, &grant, &state));
            }
            Some(Err(failure)) => {
                health.send_modify(|health| health.failed(now, took, failure.clone(), &state));
                log.failed(failure, &state, now, token().as_ref());
            }
            None => drop(health.send_if_modified(|health| health.planned(state.next_attempt()))),
        }
    }
}

fn of_answer(answer: &Result<Grant, Failure>) -> Event {
    match answer {
        Ok(Grant { token: AccessToken { obtained_at, expires_at, .. }, renewal, .. }) => {
            Event::Obtained { obtained_at: *obtained_at, expires_at: *expires_at, renewal: *renewal }
        }
        Err(Failure { kind, retry_after, throttled, .. }) => {
            Event::Failed { kind: *kind, retry_after: *retry_after, throttled: *throttled }
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

#[cfg(test)]
mod tests;
