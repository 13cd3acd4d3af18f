//! Looks up the names of hosts, as the machine's `/etc/resolv.conf` and `/etc/hosts` say at that moment.
//!
//! Not with the C library's `getaddrinfo`, which cannot be interrupted: Orthanc would wait for it when it stops. And not
//! with reqwest's own resolver, which reads `/etc/resolv.conf` once, and asks Google's public servers where it finds none:
//! a machine may come to its network late, and names of a hospital are nobody else's business.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use hickory_resolver::{
    TokioResolver, config::LookupIpStrategy, net::runtime::TokioRuntimeProvider,
    proto::rr::Name as DomainName, system_conf::parse_resolv_conf,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{TransportError, TransportErrorKind, transport};

/// What the machine's configuration says about name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// What it says about hosts.
const HOSTS: &str = "/etc/hosts";
/// Whom to ask where no name server is named (resolv.conf(5)).
const THIS_MACHINE: &str = "nameserver 127.0.0.1\n";

/// The resolver, made anew whenever the machine's configuration has changed.
#[derive(Default)]
pub(crate) struct Names {
    made: Mutex<Option<(Configuration, TokioResolver)>>,
}

/// The content of both files.
#[derive(PartialEq, Eq)]
struct Configuration {
    resolv_conf: String,
    hosts: Option<Vec<u8>>,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.resolver();
        Box::pin(async move {
            let found = resolver?.lookup_ip(name.as_str()).await?;
            let addresses: Vec<SocketAddr> =
                found.iter().map(|address| SocketAddr::new(address, 0)).collect();
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

impl Names {
    /// The addresses of a host, for people.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, TransportError> {
        let unknown = |error: &dyn std::error::Error| TransportError {
            kind: TransportErrorKind::Name,
            cause: transport::of_dns(&error.to_string()),
        };
        let resolver = self.resolver().map_err(|error| unknown(&*error))?;
        let found = resolver.lookup_ip(host).await.map_err(|error| unknown(&error))?;
        Ok(found.iter().collect())
    }

    fn resolver(&self) -> Result<TokioResolver, Box<dyn std::error::Error + Send + Sync>> {
        let configuration = Configuration {
            resolv_conf: usable(&fs::read_to_string(RESOLV_CONF).unwrap_or_default()),
            hosts: fs::read(HOSTS).ok(),
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, resolver)) = &*made
            && *known == configuration
        {
            return Ok(resolver.clone());
        }
        let (servers, options) = parse_resolv_conf(&configuration.resolv_conf)?;
        let mut builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        let resolver = builder.build()?;
        *made = Some((configuration, resolver.clone()));
        Ok(resolver)
    }
}

/// What the C library takes of a `resolv.conf`: lines that are wrong, and search domains that are none, are passed over.
fn usable(resolv_conf: &str) -> String {
    let mut lines = String::new();
    let mut named = false;
    for line in resolv_conf.lines() {
        let mut words = line.split_whitespace();
        let words: Vec<&str> = match words.next() {
            Some("nameserver") => {
                named = true;
                vec!["nameserver", words.next().unwrap_or_default()]
            }
            Some(keyword @ ("search" | "domain")) => {
                let domains = words.filter(|domain| DomainName::from_str(domain).is_ok());
                std::iter::once(keyword).chain(domains).collect()
            }
            Some("options") => std::iter::once("options").chain(words).collect(),
            _ => continue,
        };
        if words.len() > 1 {
            lines.push_str(&words.join(" "));
            lines.push('\n');
        }
    }
    if !named {
        lines.push_str(THIS_MACHINE);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_those_of_the_machine_and_no_others() {
        for (written, servers, search) in [
            ("", &["127.0.0.1"][..], 0),
            ("search ward.example\n", &["127.0.0.1"], 1),
            (
                "# a comment\nnameserver 192.0.2.1\nnameserver 192.0.2.2 # another\n",
                &["192.0.2.1", "192.0.2.2"],
                0,
            ),
            (
                "nameserver 192.0.2.1\nsearch foo_bar..x ward.example\noptions ndots:2 edns0\n",
                &["192.0.2.1"],
                1,
            ),
            ("nonsense\nnameserver 2001:db8::1\n", &["2001:db8::1"], 0),
        ] {
            let (configuration, _) = parse_resolv_conf(usable(written)).unwrap();
            let found: Vec<String> =
                configuration.name_servers().iter().map(|server| server.ip.to_string()).collect();
            assert_eq!(found, servers, "{written}");
            assert_eq!(configuration.search().len(), search, "{written}");
        }
    }
}
