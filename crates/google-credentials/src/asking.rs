//! What a token is asked for, and through what: the part that all grants share.

use crate::{
    AccessToken, Failure, FailureKind, Request, Response, World, http::shown_url, remedy,
    source::DEFAULT_TOKEN_URI, token,
};

/// One attempt to obtain a token.
pub(crate) struct Asking<'a> {
    pub(crate) world: &'a dyn World,
    /// The scopes wanted.
    pub(crate) scopes: &'a [String],
    /// `TokenUri`: where to, instead of what the credential says.
    pub(crate) token_uri: Option<&'a str>,
}

impl Asking<'_> {
    /// The token endpoint: the configuration's, else that of the credential's file, else Google's.
    pub(crate) fn token_uri(&self, of_file: Option<&str>) -> String {
        self.token_uri.or(of_file).unwrap_or(DEFAULT_TOKEN_URI).to_owned()
    }

    /// The scopes, as OAuth writes them (RFC 6749 section 3.3).
    pub(crate) fn scope(&self) -> String {
        self.scopes.join(" ")
    }

    /// Sends a token request and reads its answer (RFC 6749 section 5).
    pub(crate) async fn token(&self, request: &Request) -> Result<AccessToken, Failure> {
        let sent_at = self.world.now();
        let response = self.send(request).await?;
        token::read_answer(&request.url, &response, sent_at)
    }

    /// The same for a token exchange (RFC 8693 section 2.2), whose refusals mean other things.
    pub(crate) async fn exchanged(&self, request: &Request) -> Result<AccessToken, Failure> {
        let sent_at = self.world.now();
        let response = self.send(request).await?;
        if response.status != 200 {
            return Err(remedy::of_exchange(&request.url, &response, sent_at));
        }
        token::read_answer(&request.url, &response, sent_at)
    }

    /// Sends any request; whatever is answered is an answer.
    pub(crate) async fn send(&self, request: &Request) -> Result<Response, Failure> {
        self.world.send(request).await.map_err(|error| remedy::of_transport(&request.url, &error))
    }

    /// Sends a request for text that is part of a credential, and refuses everything but 200.
    pub(crate) async fn text(&self, request: &Request, remedy: &str) -> Result<String, Failure> {
        let response =
            self.send(request).await.map_err(|failure| Failure { remedy: remedy.to_owned(), ..failure })?;
        if response.status != 200 {
            let cause = format!("{} answered {}", shown_url(&request.url), response.status);
            return Err(Failure::new(FailureKind::Transient, cause, remedy));
        }
        String::from_utf8(response.body).map_err(|_| {
            Failure::new(
                FailureKind::Transient,
                format!("{} did not answer with text", shown_url(&request.url)),
                remedy,
            )
        })
    }
}
