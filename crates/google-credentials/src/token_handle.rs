//! One account's tokens between the keeper, which has them, and everybody who uses them.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::watch;

use crate::{AccessToken, Failure, FailureKind, Grant, Health, Kept, Secret};

/// Both ends for an account whose keeper begins `now`.
pub fn token_channel(now: SystemTime) -> (TokenSender, TokenHandle) {
    let (kept, kept_seen) = watch::channel(Kept::Nothing);
    let (health, health_seen) = watch::channel(Health::new(now));
    let (asks, asks_seen) = watch::channel(0);
    let (refused, refused_seen) = watch::channel(None);
    let sender = TokenSender { kept, health, asks: asks_seen, refused: refused_seen };
    let (asks, refused) = (Arc::new(asks), Arc::new(refused));
    (sender, TokenHandle { kept: kept_seen, health: health_seen, asks, refused })
}

/// The keeper's end. What it has published stays when a keeper is begun anew.
#[derive(Debug, Clone)]
pub struct TokenSender {
    pub(crate) kept: watch::Sender<Kept>,
    pub(crate) health: watch::Sender<Health>,
    /// The number of the attempt that somebody wants; see [`Asks`].
    asks: watch::Receiver<u64>,
    /// The token that a server has refused last.
    refused: watch::Receiver<Option<Secret>>,
}

impl TokenSender {
    pub(crate) fn asks(&self) -> Asks {
        Asks { wanted: self.asks.clone(), heard: 0 }
    }

    pub(crate) fn refusals(&self) -> Refusals {
        Refusals(self.refused.clone())
    }
}

/// What has been asked of a keeper. An ask is the number of an attempt, and over when so many have ended: whoever asks for
/// what is under way, or was there before it was heard, costs no further request.
pub(crate) struct Asks {
    wanted: watch::Receiver<u64>,
    heard: u64,
}

impl Asks {
    /// Waits until somebody wants more than the `ended` attempts, and tells each wish once.
    pub(crate) async fn next(&mut self, ended: u64) {
        loop {
            let wanted = *self.wanted.borrow_and_update();
            if wanted > ended.max(self.heard) {
                self.heard = wanted;
                return;
            }
            if self.wanted.changed().await.is_err() {
                // Nobody is left to ask.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Which token a server has refused.
pub(crate) struct Refusals(watch::Receiver<Option<Secret>>);

impl Refusals {
    /// Waits until a server refuses another one.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left who could use one.
            std::future::pending::<()>().await;
        }
    }

    /// Whether it is this one.
    pub(crate) fn are_of(&self, token: &AccessToken) -> bool {
        self.0.borrow().as_ref() == Some(&token.value)
    }
}

/// The end of those who use an account's tokens. Clones share everything.
///
/// Each function that waits may be dropped at any moment; the keeper goes on.
#[derive(Debug, Clone)]
pub struct TokenHandle {
    kept: watch::Receiver<Kept>,
    health: watch::Receiver<Health>,
    asks: Arc<watch::Sender<u64>>,
    refused: Arc<watch::Sender<Option<Secret>>>,
}

impl TokenHandle {
    /// What is kept, with each change of it.
    pub fn kept(&self) -> watch::Receiver<Kept> {
        self.kept.clone()
    }

    /// How it stands with the account, with each change of it.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// The token of this moment: at once where there is a good one; else the outcome of the attempt under way. Asks for
    /// nothing, since a keeper without a token is trying anyway.
    ///
    /// # Errors
    /// There is no token: why the newest attempt failed, at once if the next is not under way.
    pub async fn token(&self) -> Result<Grant, Failure> {
        let (mut kept, mut health) = (self.kept.clone(), self.health.clone());
        loop {
            if let Kept::Token(grant) = &*kept.borrow_and_update() {
                return Ok(grant.clone());
            }
            if let Some(failure) = health.borrow_and_update().stuck() {
                return Err(failure.clone());
            }
            let changed = tokio::select! {
                changed = kept.changed() => changed,
                changed = health.changed() => changed,
            };
            changed.map_err(|_| gone())?;
        }
    }

    /// A token that is not `refused`, which a server answered with 401: the kept one if it is another already, else the
    /// outcome of a new attempt. Any number of callers cause one request, and the next at the earliest five seconds after
    /// its end.
    ///
    /// What is given can be `refused` again: a metadata server, which keeps tokens itself, may have no other yet.
    ///
    /// # Errors
    /// The attempt failed. While attempts fail, why the newest did, at once: the keeper repeats them at its own pace.
    pub async fn other_than(&self, refused: &AccessToken) -> Result<Grant, Failure> {
        if let Some(grant) = self.kept_other_than(refused) {
            return Ok(grant);
        }
        self.is_refused(refused);
        let attempts = {
            let health = self.health.borrow();
            if let Some(failure) = health.stuck() {
                return Err(failure.clone());
            }
            health.attempts()
        };
        self.attempt_after(attempts).await
    }

    /// A server answered `refused` with 401: another token is asked for, unless the kept one is another already. Nobody waits
    /// for it.
    pub fn report_refused(&self, refused: &AccessToken) {
        if self.kept_other_than(refused).is_some() {
            return;
        }
        self.is_refused(refused);
        let health = self.health.borrow();
        if health.stuck().is_none() {
            self.ask_for(health.attempts() + 1);
        }
    }

    fn kept_other_than(&self, refused: &AccessToken) -> Option<Grant> {
        match &*self.kept.borrow() {
            Kept::Token(grant) if grant.token.value != refused.value => Some(grant.clone()),
            _ => None,
        }
    }

    /// Whatever comes of the next attempt, this token is not believed in any more.
    fn is_refused(&self, refused: &AccessToken) {
        self.refused.send_if_modified(|known| {
            let is_news = known.as_ref() != Some(&refused.value);
            if is_news {
                *known = Some(refused.value.clone());
            }
            is_news
        });
    }

    /// A new token because a person wants one, whatever is kept: the outcome of the attempt under way, or of a new one,
    /// which begins at the earliest five seconds after the end of the one before.
    ///
    /// # Errors
    /// The attempt failed; what is kept stays. After a 429 or a `Retry-After`, why that came, at once, until its time is over.
    pub async fn refresh(&self) -> Result<Grant, Failure> {
        let attempts = {
            let health = self.health.borrow();
            if let Some(failure) = health.stuck().filter(|failure| failure.leaves_alone()) {
                return Err(failure.clone());
            }
            health.attempts()
        };
        self.attempt_after(attempts).await
    }

    /// Asks for one attempt more than `attempts` and gives its outcome.
    async fn attempt_after(&self, attempts: u64) -> Result<Grant, Failure> {
        self.ask_for(attempts + 1);
        let mut health = self.health.clone();
        let ended = health.wait_for(|health| health.attempts() > attempts).await;
        if let Some(failure) = ended.map_err(|_| gone())?.failure() {
            return Err(failure.clone());
        }
        // It was there before the attempt counted as ended.
        self.kept.borrow().grant().cloned().ok_or_else(gone)
    }

    /// Wants so many attempts.
    fn ask_for(&self, wanted: u64) {
        self.asks.send_if_modified(|asked| {
            let more = *asked < wanted;
            *asked = wanted.max(*asked);
            more
        });
    }
}

/// The keeper has ended, and with it whoever would have used the token.
fn gone() -> Failure {
    let cause = "no token is kept any more, because the program is stopping";
    Failure::new(FailureKind::Transient, cause, "do it again when it runs")
}

#[cfg(test)]
mod tests;
