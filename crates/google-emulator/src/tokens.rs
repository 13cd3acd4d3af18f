//! The access tokens issued so far.

use crate::rsa_key::{KeyError, random_bytes};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::collections::HashMap;

/// Everything in Google Cloud; what Google's tools ask for.
pub const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The Cloud Healthcare API alone.
pub const CLOUD_HEALTHCARE: &str = "https://www.googleapis.com/auth/cloud-healthcare";

/// Scopes that are granted when asked for. Google knows hundreds; these are the ones that its tools for this purpose use.
pub(crate) const KNOWN_SCOPES: [&str; 13] = [
    CLOUD_PLATFORM,
    CLOUD_HEALTHCARE,
    "https://www.googleapis.com/auth/cloud-platform.read-only",
    "https://www.googleapis.com/auth/devstorage.read_only",
    "https://www.googleapis.com/auth/devstorage.read_write",
    "https://www.googleapis.com/auth/devstorage.full_control",
    "https://www.googleapis.com/auth/appengine.admin",
    "https://www.googleapis.com/auth/compute",
    "https://www.googleapis.com/auth/iam",
    "https://www.googleapis.com/auth/sqlservice.login",
    "https://www.googleapis.com/auth/accounts.reauth",
    "https://www.googleapis.com/auth/userinfo.email",
    "openid",
];

/// Tokens by their text.
#[derive(Default)]
pub(crate) struct TokenBook {
    issued: Vec<String>,
    live: HashMap<String, Token>,
}

/// One issued token.
#[derive(Clone)]
pub(crate) struct Token {
    /// Seconds since 1970 from which on it is refused.
    pub(crate) expires_at: i64,
    pub(crate) scopes: Vec<String>,
    pub(crate) principal: Principal,
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// By e-mail address.
    ServiceAccount(String),
    /// By e-mail address.
    User(String),
    /// Of a workload or workforce identity pool: `principal://iam.googleapis.com/…/subject/…`.
    Federated(String),
}

impl Principal {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::ServiceAccount(name) | Self::User(name) | Self::Federated(name) => name,
        }
    }
}

/// What presenting a token leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Sufficient(Principal),
    InsufficientScope,
    Expired,
    /// Never issued, or revoked.
    Unknown,
}

impl TokenBook {
    /// Puts `token` into the book under `text`.
    pub(crate) fn enter(&mut self, text: String, token: Token) {
        self.issued.push(text.clone());
        self.live.insert(text, token);
    }

    /// All tokens ever issued, oldest first, revoked and expired ones too.
    pub(crate) fn issued(&self) -> Vec<String> {
        self.issued.clone()
    }

    /// From now on every token issued so far is unknown.
    pub(crate) fn revoke_all(&mut self) {
        self.live.clear();
    }

    /// Whether `text` opens, at the time `now`, an API that asks for one of `scopes`.
    pub(crate) fn standing(&self, text: &str, now: i64, scopes: &[&str]) -> Standing {
        let Some(token) = self.live.get(text) else { return Standing::Unknown };
        if now >= token.expires_at {
            Standing::Expired
        } else if token.scopes.iter().any(|scope| scopes.contains(&scope.as_str())) {
            Standing::Sufficient(token.principal.clone())
        } else {
            Standing::InsufficientScope
        }
    }
}

/// A token text of about 1 kB in Google's form: its length is what header handling has to cope with.
pub(crate) fn token_text() -> Result<String, KeyError> {
    let parts = [33, 600, 120].map(|bytes| random_bytes(bytes).map(|bytes| URL_SAFE_NO_PAD.encode(bytes)));
    let [head, body, tail] = parts;
    Ok(format!("ya29.c.{}.{}.{}", head?, body?, tail?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standing_follows_time_scope_and_revocation() {
        let owner = Principal::User("u@example.com".into());
        let token = |scopes: &[&str]| Token {
            expires_at: 100,
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            principal: owner.clone(),
        };
        let mut book = TokenBook::default();
        book.enter("good".into(), token(&["openid", CLOUD_HEALTHCARE]));
        book.enter("narrow".into(), token(&["openid"]));
        let wanted = [CLOUD_PLATFORM, CLOUD_HEALTHCARE];
        assert_eq!(book.standing("good", 99, &wanted), Standing::Sufficient(owner.clone()));
        assert_eq!(book.standing("good", 99, &[CLOUD_PLATFORM]), Standing::InsufficientScope);
        assert_eq!(book.standing("good", 100, &wanted), Standing::Expired);
        assert_eq!(book.standing("narrow", 99, &wanted), Standing::InsufficientScope);
        assert_eq!(book.standing("other", 99, &wanted), Standing::Unknown);
        book.revoke_all();
        assert_eq!(book.standing("good", 99, &wanted), Standing::Unknown);
        assert_eq!(book.issued(), ["good", "narrow"]);
    }

    #[test]
    fn tokens_are_as_long_as_googles() {
        let text = token_text().unwrap();
        assert!((1_000..2_048).contains(&text.len()), "{}", text.len());
        assert!(text.starts_with("ya29.c."));
    }
}
