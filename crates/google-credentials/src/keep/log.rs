//! What the keeper tells the log.

use std::time::{Duration, SystemTime};

use super::Keeping;
use crate::{AccessToken, ExposedFile, Failure, FailureKind, Grant, keeper::State, remedy::in_words};

/// One line a change of state; what only repeats goes to the level below.
pub(super) struct Log<'a> {
    keeping: &'a Keeping,
    last_failure: Option<Failure>,
    failing_since: Option<SystemTime>,
    warned: bool,
}

impl<'a> Log<'a> {
    pub(super) fn new(keeping: &'a Keeping) -> Self {
        Self { keeping, last_failure: None, failing_since: None, warned: false }
    }

    pub(super) fn obtained(&mut self, grant: &Grant, state: &State, now: SystemTime) {
        let Keeping { name, option_path, .. } = self.keeping;
        if let Some(ExposedFile { option, path }) = grant.exposed.as_ref().filter(|_| !self.warned) {
            self.warned = true;
            tracing::warn!(
                "{option_path}.{option}: {} can be read by every user of this machine; take that right away with `chmod o-r`",
                path.display()
            );
        }
        let until = httpdate::fmt_http_date(grant.token.expires_at);
        let next = state.next_attempt().map_or_else(|| "once".to_owned(), httpdate::fmt_http_date);
        self.last_failure = None;
        if let Some(since) = self.failing_since.take() {
            let failing = in_words(now.duration_since(since).unwrap_or_default());
            tracing::warn!(
                "{name}: tokens come again after {failing}; this one is valid until {until}, the next refresh is at {next}"
            );
        } else {
            tracing::info!("{name}: new token, valid until {until}; the next refresh is at {next}");
        }
    }

    pub(super) fn failed(
        &mut self,
        failure: Failure,
        state: &State,
        now: SystemTime,
        token: Option<&AccessToken>,
    ) {
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
            Some(token) if state.is_refused() => format!(
                "Google refuses the token at hand, which was to last until {}",
                httpdate::fmt_http_date(token.expires_at)
            ),
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

    /// Google refuses the token at hand. While an attempt for another one is to come, or `is_answered` just now, that tells more.
    pub(super) fn refused(&self, token: Option<&AccessToken>, is_answered: bool) {
        if let (Some(token), Some(failure), false) = (token, &self.last_failure, is_answered) {
            let (name, until) = (&self.keeping.name, httpdate::fmt_http_date(token.expires_at));
            tracing::error!(
                "{name}: Google refuses the token at hand, which was to last until {until}, and there is no other: {failure}"
            );
        }
    }

    pub(super) fn expired(&self, token: Option<&AccessToken>) {
        let Some(token) = token else { return };
        let name = &self.keeping.name;
        let at = httpdate::fmt_http_date(token.expires_at);
        let Some(failure) = &self.last_failure else {
            // After a sleep of the machine, or because the first request of an outage hangs.
            tracing::warn!(
                "{name}: its token expired at {at}, and the answer to the request for a new one is not there yet; if none comes, check Orthanc's way to the network"
            );
            return;
        };
        tracing::error!(
            "{name}: its token expired at {at} and Google refuses whatever uses it, because no new one could be had: {failure}"
        );
    }
}
