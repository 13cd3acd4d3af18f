//! The way to the token endpoint and to the store: proxy, name, connection, certificate; and their clocks.

use std::time::{Duration, SystemTime};

use google_credentials::{
    Failure, Method, Proxies, ProxyBefore, Request, Response, TransportError, TransportErrorKind, Way,
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
    let proxies = proxies(examination);
    if servers.iter().all(|server| proxy_before(&proxies, server).is_none()) {
        report.skipped(Name::Proxy, "there is none on the way");
    }
    let mut clock = None;
    let mut reached: Vec<&Server> = Vec::new();
    for server in servers {
        report.begin();
        if let Some(answered) = go(examination, server, proxy_before(&proxies, server), report).await {
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
async fn go(
    examination: Examination<'_>,
    server: &Server,
    proxy: Option<ProxyBefore<'_>>,
    report: &mut Report<'_>,
) -> Option<Answered> {
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
    let went = Went { server, proxy, roots: http.roots(), now: answered_at, seen: &seen };
    went.tell(report);
    let answer = seen.outcome.as_ref().ok()?;
    let here = sent_at + answered_at.duration_since(sent_at).unwrap_or_default() / 2;
    Some(Answered { date: date(answer).map(|there| (there, here)) })
}

/// What was seen on the way to a server.
struct Went<'a> {
    server: &'a Server,
    proxy: Option<ProxyBefore<'a>>,
    roots: Roots,
    now: SystemTime,
    seen: &'a Probe,
}

impl Went<'_> {
    fn tell(&self, report: &mut Report<'_>) {
        let failure = self.seen.outcome.as_ref().err();
        let failure = failure.map(|error| (error.kind, self.failure(error)));
        let broken = failure.as_ref().map(|(kind, _)| match broken_at(*kind, self.server) {
            // Names and connections are the proxy's business.
            _ if self.proxy.is_some_and(|before| before.proxy.problem().is_some()) => Name::Proxy,
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
            (Name::Proxy, Some(ProxyBefore { proxy, set_by }), _) => {
                format!("{} lets through to {host}:{port} (set by {set_by})", proxy.address)
            }
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
fn broken_at(kind: TransportErrorKind, server: &Server) -> Name {
    use TransportErrorKind as Kind;
    match kind {
        Kind::Address | Kind::Name => Name::Dns,
        Kind::Proxy(_) => Name::Proxy,
        Kind::Connection | Kind::Timeout => Name::Tcp,
        Kind::Interrupted | Kind::NotHttp if !server.encrypted => Name::Tcp,
        _ => Name::Tls,
    }
}

/// The proxies by which the requests of an examination go.
fn proxies(Examination { world, http, .. }: Examination<'_>) -> Proxies {
    Proxies::read(http.proxy.as_ref(), |name| world.env(name))
}

/// The proxy on the way to a server.
fn proxy_before<'a>(proxies: &'a Proxies, server: &Server) -> Option<ProxyBefore<'a>> {
    match server.way {
        Way::Usual => proxies.before(&Url::parse(&server.root).ok()?),
        Way::MetadataServer => None,
    }
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
    use google_credentials::Proxy;

    use super::*;

    #[test]
    fn a_metadata_server_is_never_behind_a_proxy() {
        let proxies = Proxies::read(Proxy::parse("u:secret@proxy:3128").as_ref(), |_| None);
        for (way, expected) in [(Way::Usual, Some("http://proxy:3128")), (Way::MetadataServer, None)] {
            let server = Server::of(&Endpoint { url: "http://10.0.0.1/".to_owned(), way }).unwrap();
            let found = proxy_before(&proxies, &server).map(|before| before.proxy.address.as_str());
            assert_eq!(found, expected);
        }
    }
}
