//! `/etc/resolv.conf` (resolv.conf(5)), as the C library reads it: bytes, and what it does not know is passed over.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// As the C library (`MAXNS`).
const MOST_SERVERS: usize = 3;
/// The C library's bounds (`RES_MAXNDOTS`, `RES_MAXRETRANS`, `RES_MAXRETRY`).
const MOST_DOTS: usize = 15;
const LONGEST_TIMEOUT: u64 = 30;
const MOST_ATTEMPTS: usize = 5;

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResolvConf {
    /// Whom to ask; this machine where none is named.
    pub(super) servers: Vec<IpAddr>,
    pub(super) timeout: Duration,
    pub(super) attempts: usize,
    pub(super) edns0: bool,
    search: Vec<String>,
    dots: usize,
}

impl ResolvConf {
    /// Reads the file's content; `host_name` is the machine's own name, whose domain is searched where none is named.
    pub(super) fn parse(content: &[u8], host_name: &[u8]) -> Self {
        let mut settings = Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            attempts: 2,
            edns0: false,
            search: Vec::new(),
            dots: 1,
        };
        let mut searched = false;
        for line in String::from_utf8_lossy(content).lines() {
            let mut words = line.split_ascii_whitespace();
            // A keyword begins its line.
            match words.next().filter(|_| !line.starts_with([' ', '\t'])) {
                Some("nameserver") => {
                    // Of an address with an interface (`fe80::1%eth0`), the resolver takes the address alone.
                    let server: Option<IpAddr> =
                        words.next().and_then(|word| word.split('%').next()?.parse().ok());
                    let room = settings.servers.len() < MOST_SERVERS;
                    settings.servers.extend(server.filter(|_| room));
                }
                // The last of them counts.
                Some("domain") => {
                    (settings.search, searched) = (words.take(1).map(str::to_owned).collect(), true);
                }
                Some("search") => (settings.search, searched) = (words.map(str::to_owned).collect(), true),
                Some("options") => words.for_each(|option| settings.set(option)),
                _ => {}
            }
        }
        if settings.servers.is_empty() {
            settings.servers.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        if !searched {
            let host_name = String::from_utf8_lossy(host_name);
            settings.search.extend(host_name.trim().split_once('.').map(|(_, domain)| domain.to_owned()));
        }
        settings.search.retain(|domain| !domain.trim_matches('.').is_empty());
        settings
    }

    fn set(&mut self, option: &str) {
        let (name, value) = option.split_once(':').unwrap_or((option, ""));
        match (name, value.parse::<u64>()) {
            ("ndots", Ok(dots)) => {
                self.dots = usize::try_from(dots).map_or(MOST_DOTS, |dots| dots.min(MOST_DOTS));
            }
            ("timeout", Ok(seconds)) => self.timeout = Duration::from_secs(seconds.clamp(1, LONGEST_TIMEOUT)),
            ("attempts", Ok(attempts)) => {
                self.attempts =
                    usize::try_from(attempts).map_or(MOST_ATTEMPTS, |most| most.clamp(1, MOST_ATTEMPTS));
            }
            ("edns0", _) => self.edns0 = true,
            _ => {}
        }
    }

    /// Returns the names to ask for, in their order and without a dot at the end.
    pub(super) fn candidates(&self, host: &str) -> Vec<String> {
        if let Some(whole) = host.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let as_it_is = std::iter::once(host.to_owned());
        let below = self.search.iter().map(|domain| format!("{host}.{}", domain.trim_matches('.')));
        if host.bytes().filter(|byte| *byte == b'.').count() >= self.dots {
            as_it_is.chain(below).collect()
        } else {
            below.chain(as_it_is).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_those_of_the_machine_and_no_others() {
        for (written, servers, search) in [
            (&b""[..], &["127.0.0.1"][..], &[][..]),
            (b"search ward.example\n", &["127.0.0.1"], &["ward.example"]),
            (
                b"# a comment\nnameserver 192.0.2.1\nnameserver 192.0.2.2 # another\n",
                &["192.0.2.1", "192.0.2.2"],
                &[],
            ),
            (
                b"# geh\xf6rt zum Netz\nnameserver\t192.0.2.1\r\nsearch k\xe4se ward_1.example\n",
                &["192.0.2.1"],
                &["k\u{fffd}se", "ward_1.example"],
            ),
            (b"nonsense\nnameserver 2001:db8::1\n", &["2001:db8::1"], &[]),
            (b"nameserver fe80::1%eth0\nnameserver pacs\n", &["fe80::1"], &[]),
            (b" nameserver 192.0.2.1\n", &["127.0.0.1"], &[]),
            (b"search a b\ndomain c d\n", &["127.0.0.1"], &["c"]),
            (b"domain c\nsearch a b .\n", &["127.0.0.1"], &["a", "b"]),
            (
                b"nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n",
                &["192.0.2.1", "192.0.2.2", "192.0.2.3"],
                &[],
            ),
        ] {
            let found = ResolvConf::parse(written, b"pacs\n");
            let found_servers: Vec<String> = found.servers.iter().map(ToString::to_string).collect();
            assert_eq!(found_servers, servers, "{written:?}");
            assert_eq!(found.search, search, "{written:?}");
        }
    }

    #[test]
    fn options_are_those_of_the_c_library() {
        let parse = |options: &str| ResolvConf::parse(format!("options {options}\n").as_bytes(), b"");
        let found = parse("rotate ndots:2 timeout:1 attempts:3 trust-ad edns0 nonsense:x timeout:y");
        assert_eq!((found.dots, found.timeout, found.attempts), (2, Duration::from_secs(1), 3));
        assert!(found.edns0 && !parse("ndots").edns0);
        let found = parse("ndots:99 timeout:0 attempts:99");
        assert_eq!((found.dots, found.timeout, found.attempts), (15, Duration::from_secs(1), 5));
        assert_eq!(parse("").dots, 1);
    }

    #[test]
    fn a_name_is_searched_for_as_the_c_library_does() {
        for (written, host, expected) in [
            ("search a.x b.x", "pacs", &["pacs.a.x", "pacs.b.x", "pacs"][..]),
            ("search a.x", "pacs.ward", &["pacs.ward", "pacs.ward.a.x"]),
            ("search a.x", "pacs.", &["pacs"]),
            ("search a.x", "pacs.ward.", &["pacs.ward"]),
            ("search a.x\noptions ndots:2", "pacs.ward", &["pacs.ward.a.x", "pacs.ward"]),
            ("search a.x\noptions ndots:0", "pacs", &["pacs", "pacs.a.x"]),
            ("search", "pacs", &["pacs"]),
            ("", "pacs", &["pacs.own.example", "pacs"]),
        ] {
            let found = ResolvConf::parse(written.as_bytes(), b"machine.own.example\n");
            assert_eq!(found.candidates(host), expected, "{written:?} {host}");
        }
    }
}
