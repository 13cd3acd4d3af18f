//! The way to the token endpoint and to the store: proxy, name, connection, certificate; and their clocks.

use std::time::{Duration, SystemTime};

use google_credentials::{
    Failure, Method, Proxy, Request, Response, TransportErrorKind, Way, World,
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

/// Looks at the way to the endpoint that gives tokens and at the way to the store; where both are the same server, once.
pub(crate) async fn look(
    examination: Examination<'_>,
    endpoint: Option<&Endpoint>,
    store: &str,
    report: &mut Report<'_>,
) {
    let endpoints =
        endpoint.cloned().into_iter().chain([Endpoint { url: store.to_owned(), way: Way::Usual }]);
    let mut seen: Vec<Server> = Vec::new();
    let mut clock = None;
    for endpoint in endpoints {
        let Some(server) = Server::of(&endpoint) else { continue };
        if seen.contains(&server) {
            continue;
        }
        report.begin();
        let date = go(examination, &server, report).await;
        clock = clock.or(date);
        seen.push(server);
    }
    match clock {
        Some((there, here)) => compare(there, here, report),
        None => report.skipped(Name::Clock, "needs a server's answer with a date"),
    }
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

/// Goes to a server and tells how far it came. Its date and ours, where it answered.
async fn go(
    examination: Examination<'_>,
    server: &Server,
    report: &mut Report<'_>,
) -> Option<(SystemTime, SystemTime)> {
    let Examination { world, http, .. } = examination;
    // Nothing is asked for: what counts is that an answer comes.
    let request = Request { way: server.way, ..Request::new(Method::Get, &server.root) };
    let sent_at = world.now();
    let outcome = world.send(&request).await;
    let failure = outcome.as_ref().err().map(|error| (error.kind, remedy::of_transport(&server.root, error)));

    let proxy = proxy_of(world, http.proxy.as_ref(), server);
    let kind = failure.as_ref().map(|(kind, _)| *kind);
    let broken = kind.map(|kind| broken_at(kind, server, failure.as_ref().map(|(_, failure)| failure)));
    let stages: &[Name] =
        if proxy.is_some() { &[Name::Proxy, Name::Tls] } else { &[Name::Dns, Name::Tcp, Name::Tls] };
    // What can only be told of what is there: a proxy that nobody has set can still be what is missing.
    let broken = match broken {
        Some(Name::Dns | Name::Tcp) if proxy.is_some() => Some(Name::Proxy),
        broken => broken,
    };
    for stage in stages {
        match (&broken, &failure) {
            (Some(at), Some((_, failure))) if at == stage => report.failure(*stage, failure),
            (Some(at), _) if at < stage => report.skipped(*stage, format!("{} was not reached", server.host)),
            _ if *stage == Name::Tls && !server.encrypted => {
                report.skipped(Name::Tls, format!("{} is asked over http, without encryption", server.host));
            }
            _ => report.ok(*stage, reached(*stage, server, proxy.as_deref())),
        }
    }
    outcome.ok().and_then(|answer| Some((date(&answer)?, middle(sent_at, world.now()))))
}

fn reached(stage: Name, server: &Server, proxy: Option<&str>) -> String {
    let Server { host, port, .. } = server;
    match stage {
        Name::Proxy => format!("{} lets through to {host}:{port}", proxy.unwrap_or_default()),
        Name::Dns => format!("{host} has an address"),
        Name::Tcp => format!("{host} takes connections at port {port}"),
        _ => format!("{host} shows a certificate that is trusted here"),
    }
}

/// At which stage a way of this kind has broken off.
fn broken_at(kind: TransportErrorKind, server: &Server, failure: Option<&Failure>) -> Name {
    use TransportErrorKind as Kind;
    match kind {
        Kind::Address | Kind::Name => Name::Dns,
        Kind::Proxy => Name::Proxy,
        Kind::Settings(_) if failure.is_some_and(|failure| failure.cause.starts_with("HttpProxy")) => {
            Name::Proxy
        }
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

fn middle(sent_at: SystemTime, received_at: SystemTime) -> SystemTime {
    sent_at + received_at.duration_since(sent_at).unwrap_or_default() / 2
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
