//! The access tokens issued so far.

use crate::rsa_key::{KeyError, random_bytes};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

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
    /// Where they are written down, a line each, for the next start.
    journal: Option<File>,
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Issued { text: String, token: Token },
    AllRevoked,
}

/// One issued token.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    /// Seconds since 1970 from which on it is refused.
    pub(crate) expires_at: i64,
    pub(crate) scopes: Vec<String>,
    pub(crate) principal: Principal,
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// The book written down in the file at `path`, which is made if need be, for its owner alone. Blocking.
    ///
    /// # Errors
    /// Those of reading and writing; the last line may be incomplete, others not.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut journal = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let mut text = String::new();
        journal.read_to_string(&mut text)?;
        let mut book = Self::default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text.get(..whole).unwrap_or_default().lines() {
            match serde_json::from_str(line)? {
                Line::Issued { text, token } => book.enter(text, token),
                Line::AllRevoked => book.revoke_all(),
            }
        }
        journal.set_len(whole as u64)?;
        book.journal = Some(journal);
        Ok(book)
    }

    /// Puts `token` into the book under `text`.
    pub(crate) fn enter(&mut self, text: String, token: Token) {
        self.write_down(&Line::Issued { text: text.clone(), token: token.clone() });
        self.issued.push(text.clone());
        self.live.insert(text, token);
    }

    fn write_down(&mut self, line: &Line) {
        let Some(journal) = &mut self.journal else { return };
        let written = serde_json::to_vec(line).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            journal.write_all(&line)
        });
        if written.is_err() {
            // A full disk: the token is good for now, and unknown after the next start.
            self.journal = None;
        }
    }

    /// All tokens ever issued, oldest first, revoked and expired ones too.
    pub(crate) fn issued(&self) -> Vec<String> {
        self.issued.clone()
    }

    /// From now on every token issued so far is unknown.
    pub(crate) fn revoke_all(&mut self) {
        self.write_down(&Line::AllRevoked);
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
    fn the_journal_outlives_the_book() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.jsonl");
        let owner = Principal::ServiceAccount("s@example.com".into());
        let token =
            Token { expires_at: 100, scopes: vec![CLOUD_PLATFORM.to_owned()], principal: owner.clone() };
        let mut book = TokenBook::open(&path).unwrap();
        book.enter("revoked".into(), token.clone());
        book.revoke_all();
        book.enter("good".into(), token.clone());
        drop(book);
        // A kill in the middle of a line.
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [whole.as_slice(), b"{\"issued\":{\"te"].concat()).unwrap();
        for _ in 0..2 {
            let book = TokenBook::open(&path).unwrap();
            assert_eq!(book.standing("good", 99, &[CLOUD_PLATFORM]), Standing::Sufficient(owner.clone()));
            assert_eq!(book.standing("good", 100, &[CLOUD_PLATFORM]), Standing::Expired);
            assert_eq!(book.standing("revoked", 99, &[CLOUD_PLATFORM]), Standing::Unknown);
            assert_eq!(book.issued(), ["revoked", "good"], "still nothing for a log");
        }
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(TokenBook::open(&path).is_err());
    }

    #[test]
    fn tokens_are_as_long_as_googles() {
        let text = token_text().unwrap();
        assert!((1_000..2_048).contains(&text.len()), "{}", text.len());
        assert!(text.starts_with("ya29.c."));
    }
}
