//! The way to the token endpoint and to the store: proxy, name, connection, certificate; and their clocks.

use std::time::{Duration, SystemTime};

use google_credentials::{
    Failure, Method, Proxy, Request, Response, TransportError, TransportErrorKind, Way, World,
    probe::{Probe, Roots, probe},
    remedy::{self, in_words},
};
use url::Url;

use crate::{
    Examination,
    credential::Endpoint,
    step::{Name, Report},
};

/// Google takes assertions of a clock that is some minutes off, but says nowhere of how many.
const ODD_CLOCK: Duration = Duration::from_secs(30);
const WRONG_CLOCK: Duration = Duration::from_secs(300);
/// Google renews its certificates weeks before their end; who renews by hand needs some days.
const ENDS_SOON: Duration = Duration::from_secs(7 * 86_400);

/// Where the network leads.
pub(crate) struct Reached {
    /// To whom the credential asks first, if it asks anybody.
    pub(crate) endpoint: bool,
    /// To the store.
    pub(crate) store: bool,
}

/// Looks at the way to the endpoint that gives tokens and at the way to the store; where both are the same server, once.
pub(crate) async fn look(
    examination: Examination<'_>,
    endpoint: Option<&Endpoint>,
    store: &str,
    report: &mut Report<'_>,
) -> Reached {
    let endpoint = endpoint.and_then(Server::of);
    let store = Server::of(&Endpoint { url: store.to_owned(), way: Way::Usual });
    let mut servers: Vec<&Server> = Vec::new();
    for server in endpoint.iter().chain(&store) {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    let Examination { world, http, .. } = examination;
    if servers.iter().all(|server| proxy_of(world, http.proxy.as_ref(), server).is_none()) {
        report.skipped(Name::Proxy, "there is none on the way");
    }
    let mut clock = None;
    let mut reached: Vec<&Server> = Vec::new();
    for server in servers {
        report.begin();
        if let Some(answered) = go(examination, server, report).await {
            reached.push(server);
            clock = clock.or(answered.date);
        }
    }
    match clock {
        Some((there, here)) => compare(there, here, report),
        None => report.skipped(Name::Clock, "needs a server's answer with a date"),
    }
    let led = |server: &Option<Server>| server.as_ref().is_none_or(|server| reached.contains(&server));
    Reached { endpoint: led(&endpoint), store: led(&store) }
}

/// Scheme, host and port of an endpoint.
#[derive(Debug, PartialEq, Eq)]
struct Server {
    /// `https://host:port/`
    root: String,
    host: String,
    port: u16,
    encrypted: bool,
    way: Way,
}

impl Server {
    fn of(endpoint: &Endpoint) -> Option<Self> {
        let url = Url::parse(&endpoint.url).ok()?;
        Some(Self {
            root: format!("{}/", url.origin().ascii_serialization()),
            host: url.host_str()?.to_owned(),
            port: url.port_or_known_default()?,
            encrypted: url.scheme() == "https",
            way: endpoint.way,
        })
    }
}

/// A server that answered.
struct Answered {
    /// The same moment by its clock and by ours, if it told.
    date: Option<(SystemTime, SystemTime)>,
}

/// Goes to a server and tells how far it came; `None` where it did not answer.
async fn go(examination: Examination<'_>, server: &Server, report: &mut Report<'_>) -> Option<Answered> {
    let Examination { world, http, .. } = examination;
    let sent_at = world.now();
    // Nothing is asked for: what counts is that an answer comes.
    let seen = match server.way {
        Way::Usual => probe(http, &server.root).await,
        Way::MetadataServer => {
            let request = Request::new(Method::Get, &server.root).to_metadata_server();
            let outcome = world.send(&request).await;
            Probe { looked_up: Vec::new(), connected_to: None, certificate: None, outcome }
        }
    };
    let answered_at = world.now();
    let proxy = proxy_of(world, http.proxy.as_ref(), server);
    let went = Went { server, proxy: proxy.as_deref(), roots: http.roots(), now: answered_at, seen: &seen };
    went.tell(report);
    let answer = seen.outcome.as_ref().ok()?;
    let here = sent_at + answered_at.duration_since(sent_at).unwrap_or_default() / 2;
    Some(Answered { date: date(answer).map(|there| (there, here)) })
}

/// What was seen on the way to a server.
struct Went<'a> {
    server: &'a Server,
    proxy: Option<&'a str>,
    roots: Roots,
    now: SystemTime,
    seen: &'a Probe,
}

impl Went<'_> {
    fn tell(&self, report: &mut Report<'_>) {
        let failure = self.seen.outcome.as_ref().err();
        let failure = failure.map(|error| (error.kind, self.failure(error)));
        let broken = failure.as_ref().map(|(kind, failure)| match broken_at(*kind, self.server, failure) {
            // Names and connections are the proxy's business.
            Name::Dns | Name::Tcp if self.proxy.is_some() => Name::Proxy,
            at => at,
        });
        let behind_proxy = [Name::Proxy, Name::Tls];
        let direct = [Name::Dns, Name::Tcp, Name::Tls];
        let stages =
            if self.proxy.is_some() || broken == Some(Name::Proxy) { &behind_proxy[..] } else { &direct };
        let Server { host, encrypted, .. } = self.server;
        for stage in stages {
            match (broken, &failure) {
                (Some(at), Some((_, failure))) if at == *stage => {
                    let words = format!("{}{}", failure.cause, self.shown_certificate());
                    report.failed(*stage, words, failure.remedy.as_str());
                }
                (Some(_), _) if self.was_left() => {
                    report.skipped(*stage, "nothing is sent with settings that cannot be used");
                }
                (Some(at), _) if at < *stage => report.skipped(*stage, format!("{host} was not reached")),
                _ if *stage == Name::Tls && !encrypted => {
                    report.skipped(Name::Tls, format!("{host} is asked over http, without encryption"));
                }
                _ if *stage == Name::Tls => self.tell_certificate(report),
                _ => report.ok(*stage, self.reached(*stage)),
            }
        }
    }

    /// The settings could not be used, so that the way was not even tried.
    fn was_left(&self) -> bool {
        let Probe { looked_up, connected_to, outcome, .. } = self.seen;
        let is_of_settings =
            outcome.as_ref().is_err_and(|error| matches!(error.kind, TransportErrorKind::Settings(_)));
        is_of_settings && looked_up.is_empty() && connected_to.is_none()
    }

    fn failure(&self, error: &TransportError) -> Failure {
        const ELSEWHERE: &str = "Google's machines have a metadata server, others have none: use ServiceAccountFile or CredentialsFile there, or correct GCE_METADATA_HOST";
        let failure = remedy::of_transport(&self.server.root, error);
        match self.server.way {
            Way::Usual => failure,
            Way::MetadataServer => Failure { remedy: ELSEWHERE.to_owned(), ..failure },
        }
    }

    fn reached(&self, stage: Name) -> String {
        let Server { host, port, .. } = self.server;
        match (stage, self.proxy, self.seen.connected_to) {
            (Name::Proxy, proxy, _) => format!("{} lets through to {host}:{port}", proxy.unwrap_or_default()),
            (Name::Dns, ..) => {
                let found = self.seen.looked_up.iter().find(|(name, _)| name == host);
                let addresses = found.map(|(_, addresses)| addresses.iter().map(ToString::to_string));
                match addresses {
                    Some(addresses) => format!("{host} is {}", addresses.collect::<Vec<_>>().join(", ")),
                    None => format!("{host} needs no look-up"),
                }
            }
            (_, _, Some(address)) => format!("{host} takes connections at {address}"),
            (_, _, None) => format!("{host} takes connections at port {port}"),
        }
    }

    fn tell_certificate(&self, report: &mut Report<'_>) {
        let Server { host, .. } = self.server;
        if self.roots == Roots::NotVerified {
            let words = format!("{host} could be anybody: HttpsVerifyPeers is false");
            report.warning(
                Name::Tls,
                words,
                "set HttpsVerifyPeers to true, and add the server's CA to the file of HttpsCACertificates",
            );
            return;
        }
        let words = format!("{host} is trusted by {}{}", self.roots, self.shown_certificate());
        let left = self.seen.certificate.as_ref().and_then(|certificate| certificate.left(self.now));
        if left.is_some_and(|left| left < ENDS_SOON) {
            report.warning(Name::Tls, words, "renew the server's certificate, if it is your own");
        } else {
            report.ok(Name::Tls, words);
        }
    }

    /// The certificate in parentheses, where there is one.
    fn shown_certificate(&self) -> String {
        let Some(certificate) = &self.seen.certificate else { return String::new() };
        let issuer = if certificate.issuer.is_empty() { "nobody who says so" } else { &certificate.issuer };
        let validity = match (certificate.not_before.duration_since(self.now), certificate.left(self.now)) {
            (Ok(until), _) if until > Duration::ZERO => format!("valid only in {}", in_words(until)),
            (_, Some(left)) => format!("valid for {}", in_words(left)),
            (_, None) => "expired".to_owned(),
        };
        format!(" (issued by {issuer}, {validity})")
    }
}

/// At which stage a way of this kind has broken off.
fn broken_at(kind: TransportErrorKind, server: &Server, failure: &Failure) -> Name {
    use TransportErrorKind as Kind;
    match kind {
        Kind::Address | Kind::Name => Name::Dns,
        Kind::Proxy => Name::Proxy,
        Kind::Settings(_) if failure.cause.starts_with("HttpProxy") => Name::Proxy,
        Kind::Connection | Kind::Timeout => Name::Tcp,
        Kind::Interrupted if !server.encrypted => Name::Tcp,
        _ => Name::Tls,
    }
}

/// The proxy on the way to a server, without its password: `HttpProxy`, else the environment's, unless `NO_PROXY` names the
/// host (as curl and reqwest have it).
fn proxy_of(world: &dyn World, configured: Option<&Proxy>, server: &Server) -> Option<String> {
    if server.way == Way::MetadataServer {
        return None;
    }
    let env = |name: &str| {
        world.env(name).or_else(|| world.env(&name.to_lowercase())).filter(|text| !text.is_empty())
    };
    let of_environment = || {
        let name = if server.encrypted { "HTTPS_PROXY" } else { "HTTP_PROXY" };
        env(name).or_else(|| env("ALL_PROXY")).and_then(|text| Proxy::parse(&text)).map(|proxy| proxy.address)
    };
    let address = configured.map(|proxy| proxy.address.clone()).or_else(of_environment)?;
    let excepted = env("NO_PROXY").is_some_and(|list| {
        list.split(',').map(str::trim).any(|name| {
            let name = name.trim_start_matches('.');
            name == "*"
                || (!name.is_empty() && (server.host == name || server.host.ends_with(&format!(".{name}"))))
        })
    });
    (!excepted).then_some(address)
}

/// The `Date` of an answer (RFC 9110 section 6.6.1).
fn date(answer: &Response) -> Option<SystemTime> {
    httpdate::parse_http_date(answer.header("date")?).ok()
}

fn compare(there: SystemTime, here: SystemTime, report: &mut Report<'_>) {
    const REMEDY: &str = "set this machine's clock (NTP): Google refuses signed requests of another time";
    let (off, direction) = match here.duration_since(there) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let words = format!("this machine's clock is {} {direction} the server's", in_words(off));
    if off >= WRONG_CLOCK {
        report.failed(Name::Clock, words, REMEDY);
    } else if off >= ODD_CLOCK {
        report.warning(Name::Clock, words, REMEDY);
    } else {
        // The header tells whole seconds.
        report.ok(Name::Clock, format!("{words}, which is near enough"));
    }
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use google_credentials::{BoxFuture, Command, CommandOutput, FileContent};

    use super::*;

    /// A world that has an environment and nothing else.
    struct Environment(&'static [(&'static str, &'static str)]);

    impl World for Environment {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        fn dice(&self) -> f64 {
            0.5
        }

        fn read_file(&self, _: &Path) -> io::Result<FileContent> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn env(&self, name: &str) -> Option<String> {
            self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        }

        fn run<'a>(&'a self, _: &'a Command) -> BoxFuture<'a, io::Result<CommandOutput>> {
            Box::pin(async { Err(io::ErrorKind::NotFound.into()) })
        }

        fn send<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Response, TransportError>> {
            let cause = "no network".to_owned();
            Box::pin(async { Err(TransportError { kind: TransportErrorKind::Connection, cause }) })
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(async {})
        }
    }

    fn proxy(environment: &'static [(&str, &str)], configured: &str, url: &str, way: Way) -> Option<String> {
        let server = Server::of(&Endpoint { url: url.to_owned(), way }).unwrap();
        proxy_of(&Environment(environment), Proxy::parse(configured).as_ref(), &server)
    }

    #[test]
    fn which_proxy_is_on_the_way() {
        const STORE: &str = "https://healthcare.googleapis.com/v1/";
        for (environment, configured, url, expected) in [
            (&[][..], "", STORE, None),
            (&[], "u:secret@proxy:3128", STORE, Some("http://proxy:3128")),
            (&[("https_proxy", "http://u:secret@other:1/")], "", STORE, Some("http://other:1/")),
            (&[("https_proxy", "other:1")], "proxy:2", STORE, Some("http://proxy:2")),
            (&[("http_proxy", "other:1")], "", STORE, None),
            (&[("http_proxy", "other:1")], "", "http://h/", Some("http://other:1")),
            (&[("ALL_PROXY", "other:1")], "", STORE, Some("http://other:1")),
            (&[("NO_PROXY", "x.org, googleapis.com")], "proxy:2", STORE, None),
            (&[("no_proxy", ".googleapis.com")], "proxy:2", STORE, None),
            (&[("NO_PROXY", "*")], "proxy:2", STORE, None),
            (&[("NO_PROXY", "apis.com,,")], "proxy:2", STORE, Some("http://proxy:2")),
        ] {
            let found = proxy(environment, configured, url, Way::Usual);
            assert_eq!(
                found.as_deref().map(|found| found.trim_end_matches('/')),
                expected.map(|expected: &str| expected.trim_end_matches('/')),
                "{environment:?} {configured}"
            );
        }
        assert_eq!(proxy(&[], "proxy:2", "http://metadata.google.internal/", Way::MetadataServer), None);
    }
}
