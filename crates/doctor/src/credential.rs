//! The credential's file, and the token that it gives.
//!
//! Whatever type the file has, the credential is put to use twice: once in a world without a network, which tells mistakes
//! of the file from those of the way and shows where the way leads, and once in the real one.

use std::{
    io,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use google_credentials::{
    BoxFuture, Command, CommandOutput, Credential, DEFAULT_SCOPE, Description, Failure, FileContent,
    FileStamp, Grant, Renewal, Request, Response, Source, TransportError, TransportErrorKind, Way, World,
    remedy::in_words, shown_path,
};
use orthanc_gcp_configuration::Account;

use crate::step::{Name, Report};

/// What the credential leads to.
pub(crate) struct Look {
    /// Its file can be used.
    pub(crate) is_sound: bool,
    /// Whom it asks first.
    pub(crate) endpoint: Option<Endpoint>,
}

/// An address that a credential asks.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) way: Way,
}

/// What the store is asked with.
pub(crate) enum Token {
    /// This.
    Granted(Box<Grant>),
    /// Nothing: `AccessToken: "none"`.
    NotWanted,
    /// There is none, because a step before failed.
    Missing,
}

/// Looks at the credential without using the network.
pub(crate) async fn look(world: &dyn World, account: &Account, report: &mut Report<'_>) -> Look {
    let Some(source) = &account.source else {
        report.skipped(Name::Credential, "AccessToken is \"none\": no credential is used");
        return Look { is_sound: true, endpoint: None };
    };
    let unconnected = Unconnected { world, asked: Mutex::new(Vec::new()) };
    let outcome = source.fetch(&unconnected).await;
    let asked = unconnected.asked.into_inner().unwrap_or_else(PoisonError::into_inner);
    match outcome {
        // Before it could ask anybody, so that it is the credential itself.
        Err(failure) if asked.is_empty() => {
            report.failed(Name::Credential, of_option(account, &failure), failure.remedy);
            Look { is_sound: false, endpoint: None }
        }
        _ => {
            tell(world, source, &asked, report);
            let endpoint = asked.into_iter().find_map(|asked| match asked {
                Asked::Server(endpoint) => Some(endpoint),
                Asked::Program => None,
            });
            Look { is_sound: true, endpoint }
        }
    }
}

/// Asks for a token.
pub(crate) async fn ask(
    world: &dyn World,
    account: &Account,
    look: &Look,
    is_reached: bool,
    report: &mut Report<'_>,
) -> Token {
    let Some(source) = &account.source else {
        report.skipped(Name::Token, "none is wanted");
        return Token::NotWanted;
    };
    if !look.is_sound {
        report.skipped(Name::Token, "needs a credential");
        return Token::Missing;
    }
    // Where there is no metadata server, the failure says what else was looked for.
    let is_metadata_server =
        look.endpoint.as_ref().is_some_and(|endpoint| endpoint.way == Way::MetadataServer);
    if !is_reached && !is_metadata_server {
        report.skipped(Name::Token, "needs a way to the server that gives it");
        return Token::Missing;
    }
    report.begin();
    match source.fetch(world).await {
        Ok(grant) => {
            let words = granted(world, source, &grant).await;
            report.ok(Name::Token, words);
            Token::Granted(Box::new(grant))
        }
        Err(failure) => {
            report.failed(Name::Token, of_option(account, &failure), failure.remedy);
            Token::Missing
        }
    }
}

/// The failure with the place of the option that is at fault.
fn of_option(account: &Account, failure: &Failure) -> String {
    match failure.option {
        Some(option) => format!("{}.{option}: {}", account.option_path(), failure.cause),
        None => failure.cause.clone(),
    }
}

fn tell(world: &dyn World, source: &Source, asked: &[Asked], report: &mut Report<'_>) {
    let Description { kind, principal } = source.described(world);
    let of = principal.map(|principal| format!(" of {principal}")).unwrap_or_default();
    // The search of AIP-4110 ends at the first file, or where there is none at the metadata server.
    let files = source.files(world);
    let used = files.iter().find_map(|path| Some((shown_path(path), world.read_file(path).ok()?)));
    let asks_metadata_server = asked
        .iter()
        .any(|asked| matches!(asked, Asked::Server(endpoint) if endpoint.way == Way::MetadataServer));
    let words = match used {
        Some((path, content)) if content.readable_by_others => {
            let words = format!("{kind}{of}: {path} is sound, but every user of this machine can read it");
            report.warning(Name::Credential, words, format!("let only Orthanc read it: `chmod 600 {path}`"));
            return;
        }
        Some((path, _)) => format!("{path} is sound, and not for everybody to read"),
        None if asks_metadata_server => {
            "no file is needed, this machine's metadata server is asked".to_owned()
        }
        None if matches!(source.credential, Credential::AuthorizedUser { .. }) => {
            "its three strings are there".to_owned()
        }
        None => "it is sound".to_owned(),
    };
    report.ok(Name::Credential, format!("{kind}{of}: {words}"));
}

/// A token in words: whose, for what, how long.
async fn granted(world: &dyn World, source: &Source, grant: &Grant) -> String {
    let Description { kind, principal } = source.described_fully(world).await;
    let principal = grant.principal.clone().or(principal);
    let principal = principal.unwrap_or_else(|| "whom the credential stands for".to_owned());
    let left = grant.token.expires_at.duration_since(world.now()).unwrap_or(Duration::ZERO);
    let scopes = match &source.scopes {
        // Neither is asked for in the request: they were chosen with the machine, and at the login.
        None if grant.renewal == Renewal::MetadataServer => "the scopes of the machine".to_owned(),
        _ if kind.ends_with("user") => "the scopes of the login".to_owned(),
        None => DEFAULT_SCOPE.to_owned(),
        Some(scopes) => scopes.join(" and "),
    };
    let mut words = format!("for {principal}, good for {}, with {scopes}", in_words(left));
    if let Some(project) = &grant.quota_project {
        words = format!("{words}, charged to {project}");
    }
    words
}

/// What a credential turns to.
enum Asked {
    Server(Endpoint),
    Program,
}

/// The world with its network cut off: it takes note of what is asked for.
struct Unconnected<'a> {
    world: &'a dyn World,
    asked: Mutex<Vec<Asked>>,
}

impl Unconnected<'_> {
    fn note(&self, asked: Asked) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    }
}

impl World for Unconnected<'_> {
    fn now(&self) -> SystemTime {
        self.world.now()
    }

    fn dice(&self) -> f64 {
        self.world.dice()
    }

    fn read_file(&self, path: &Path) -> io::Result<FileContent> {
        self.world.read_file(path)
    }

    fn stamp(&self, path: &Path) -> io::Result<FileStamp> {
        self.world.stamp(path)
    }

    fn env(&self, name: &str) -> Option<String> {
        self.world.env(name)
    }

    fn run<'a>(&'a self, _: &'a Command) -> BoxFuture<'a, io::Result<CommandOutput>> {
        self.note(Asked::Program);
        Box::pin(async { Err(io::Error::other("not run")) })
    }

    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, TransportError>> {
        self.note(Asked::Server(Endpoint { url: request.url.clone(), way: request.way }));
        let cause = "not sent".to_owned();
        Box::pin(async { Err(TransportError { kind: TransportErrorKind::Connection, cause }) })
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.world.sleep(duration)
    }
}
