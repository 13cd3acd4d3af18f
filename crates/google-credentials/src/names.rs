//! Looks up the names of hosts, as the machine's `/etc/hosts` and `/etc/resolv.conf` say at that moment, and as the C
//! library does: what `/etc/hosts` has is not asked of any name server.
//!
//! Not with the C library's `getaddrinfo`, which cannot be interrupted: Orthanc would wait for it when it stops. And not
//! with reqwest's own resolver, which reads `/etc/resolv.conf` once, and asks Google's public servers where it finds none:
//! a machine may come to its network late, and names of a hospital are nobody else's business.

mod hosts;
mod resolv_conf;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{op::ResponseCode, rr::Name as DomainName},
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{TransportError, TransportErrorKind};
use resolv_conf::ResolvConf;

/// What the machine's configuration says about name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// What it says about hosts.
const HOSTS: &str = "/etc/hosts";
/// Its own name, whose domain is searched where no other is named.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// Why a name has no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnknownName {
    /// It cannot be asked for.
    #[error("DNS knows no address of that name (it is not one that a host can have)")]
    NotAName,
    /// Every name server that answers says so.
    #[error("DNS knows no address of that name")]
    NoAddress,
    /// Nothing, or no answer to the question, came.
    #[error("DNS does not tell the address of that name ({0})")]
    NotTold(String),
}

/// The resolver, made anew whenever the machine's configuration has changed.
#[derive(Default)]
pub(crate) struct Names {
    made: Mutex<Option<Arc<Configured>>>,
}

/// The machine's configuration, and the resolver that asks the name servers of it.
struct Configured {
    files: Files,
    settings: ResolvConf,
    resolver: TokioResolver,
}

/// The content of the files.
#[derive(PartialEq, Eq)]
struct Files {
    resolv_conf: Vec<u8>,
    hosts: Vec<u8>,
    host_name: Vec<u8>,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let configured = self.configured();
        Box::pin(async move {
            let addresses: Addrs = Box::new(configured?.look_up(name.as_str()).await?.into_iter());
            Ok(addresses)
        })
    }
}

impl Names {
    /// The addresses of a host, for people.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, TransportError> {
        let unknown =
            |error: UnknownName| TransportError { kind: TransportErrorKind::Name, cause: error.to_string() };
        let configured = self.configured().map_err(unknown)?;
        let found = configured.look_up(host).await.map_err(unknown)?;
        Ok(found.iter().map(SocketAddr::ip).collect())
    }

    fn configured(&self) -> Result<Arc<Configured>, UnknownName> {
        let read = |path| fs::read(path).unwrap_or_default();
        let files = Files { resolv_conf: read(RESOLV_CONF), hosts: read(HOSTS), host_name: read(HOST_NAME) };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(configured) = made.as_ref().filter(|configured| configured.files == files) {
            return Ok(Arc::clone(configured));
        }
        let settings = ResolvConf::parse(&files.resolv_conf, &files.host_name);
        let resolver = resolver(&settings).map_err(|error| why(&error))?;
        let configured = Arc::new(Configured { files, settings, resolver });
        *made = Some(Arc::clone(&configured));
        Ok(configured)
    }
}

impl Configured {
    /// Asks, in this order: the file of hosts, what is always so, and the name servers.
    async fn look_up(&self, host: &str) -> Result<Vec<SocketAddr>, UnknownName> {
        if let Some(known) = known(&self.files.hosts, host) {
            return Ok(known);
        }
        let mut outcome = UnknownName::NotAName;
        for candidate in self.settings.candidates(host) {
            let Some(name) = domain_name(&candidate) else { continue };
            match self.resolver.lookup_ip(name).await {
                Ok(found) => return Ok(found.iter().map(|address| SocketAddr::new(address, 0)).collect()),
                Err(error) => {
                    let failure = why(&error);
                    // The first that is not an answer says more than that a search found nothing.
                    if !matches!(outcome, UnknownName::NotTold(_)) {
                        outcome = failure;
                    }
                    // As the C library: where nobody answers, no other name is tried.
                    if !matches!(error, NetError::Dns(_)) {
                        break;
                    }
                }
            }
        }
        Err(outcome)
    }
}

/// What needs no name server: addresses, the file of hosts, and `localhost` with everything below it (RFC 6761 section 6.3), as
/// libcurl has it.
fn known(hosts: &[u8], host: &str) -> Option<Vec<SocketAddr>> {
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return Some(vec![SocketAddr::new(address, 0)]);
    }
    let found = hosts::addresses(hosts, host);
    if !found.is_empty() {
        return Some(found);
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let local = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];
    (name == "localhost" || name.ends_with(".localhost"))
        .then(|| local.map(|address| SocketAddr::new(address, 0)).to_vec())
}

/// A whole name as DNS has it: labels of any bytes (RFC 2181 section 11), so that underscores are as good as others.
fn domain_name(name: &str) -> Option<DomainName> {
    DomainName::from_labels(name.split('.').map(str::as_bytes)).ok()
}

fn resolver(settings: &ResolvConf) -> Result<TokioResolver, NetError> {
    let servers = settings.servers.iter().map(|server| NameServerConfig::udp_and_tcp(*server)).collect();
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.timeout = settings.timeout;
    options.attempts = settings.attempts;
    options.edns0 = settings.edns0;
    options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}

/// Why a name server does not tell, in words that are not the library's.
fn why(error: &NetError) -> UnknownName {
    if error.is_no_records_found() || error.is_nx_domain() {
        return UnknownName::NoAddress;
    }
    UnknownName::NotTold(match error {
        NetError::Timeout => "no name server answered in time".to_owned(),
        NetError::Io(error) => error.to_string(),
        NetError::NoConnections => "no name server can be reached".to_owned(),
        NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => {
            "the name server failed: SERVFAIL".to_owned()
        }
        NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => {
            "the name server refuses to answer".to_owned()
        }
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the name server answered: {code}"),
        _ => "what the name server answers cannot be read".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_localhost_need_no_name_server() {
        let hosts = b"127.0.0.1 pacs.hospital.test\n192.0.2.7 localhost\n";
        for (host, expected) in [
            ("pacs.hospital.test", Some("127.0.0.1:0")),
            ("PACS.hospital.test.", Some("127.0.0.1:0")),
            ("localhost", Some("192.0.2.7:0")),
            ("app.localhost", Some("[::1]:0 127.0.0.1:0")),
            ("LOCALHOST.", Some("192.0.2.7:0")),
            ("notlocalhost", None),
            ("other.hospital.test", None),
            ("192.0.2.1", Some("192.0.2.1:0")),
            ("[2001:db8::1]", Some("[2001:db8::1]:0")),
        ] {
            let found = known(hosts, host)
                .map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            assert_eq!(found.as_deref(), expected, "{host}");
        }
        assert_eq!(known(b"", "localhost").unwrap().len(), 2);
    }

    #[test]
    fn any_bytes_are_a_name() {
        for (name, is_one) in [
            ("token_server.hospital.test", true),
            ("_tcp.x", true),
            ("a", true),
            ("-a-.b", true),
            ("a..b", false),
            ("", false),
        ] {
            let found = domain_name(name);
            assert_eq!(found.is_some(), is_one, "{name}");
            let Some(found) = found else { continue };
            let labels: Vec<&str> = found.iter().map(|label| str::from_utf8(label).unwrap()).collect();
            assert!(found.is_fqdn() && labels.join(".") == name, "{name}");
        }
        assert_eq!(domain_name(&"x".repeat(64)), None);
        assert_eq!(domain_name(&"x.".repeat(130)), None);
    }

    #[test]
    fn reasons_are_plain() {
        for (error, said) in [
            (NetError::Timeout, "no name server answered in time"),
            (NetError::NoConnections, "no name server can be reached"),
            (NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)), "SERVFAIL"),
            (NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)), "refuses"),
            (NetError::Msg("Err(Errors)".to_owned()), "cannot be read"),
        ] {
            let said_of_it = why(&error).to_string();
            assert!(said_of_it.starts_with("DNS does not tell") && said_of_it.contains(said), "{said_of_it}");
        }
    }
}
