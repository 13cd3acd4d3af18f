//! `/etc/hosts` (hosts(5)), as the C library reads it: bytes, whatever their encoding.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

/// Returns all addresses of a host, in the order of the file.
pub(super) fn addresses(hosts: &[u8], host: &str) -> Vec<SocketAddr> {
    let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
    let mut found = Vec::new();
    for line in hosts.split(|byte| *byte == b'\n') {
        let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let address = words.next().and_then(|word| str::from_utf8(word).ok()).and_then(address);
        let named = words.any(|name| name.strip_suffix(b".").unwrap_or(name).eq_ignore_ascii_case(host));
        if let Some(address) = address.filter(|address| named && !found.contains(address)) {
            found.push(address);
        }
    }
    found
}

/// An address, of version 6 also with the interface at which it is one (RFC 4007 section 11).
fn address(text: &str) -> Option<SocketAddr> {
    if let Some((address, scope)) = text.split_once('%') {
        let address: Ipv6Addr = address.parse().ok()?;
        return Some(SocketAddrV6::new(address, 0, 0, interface(scope)?).into());
    }
    Some(SocketAddr::new(text.parse().ok()?, 0))
}

/// An interface's number, by its name or as it is.
fn interface(scope: &str) -> Option<u32> {
    if let Ok(number) = scope.parse() {
        return Some(number);
    }
    if scope.contains('/') || scope.starts_with('.') {
        return None;
    }
    std::fs::read_to_string(format!("/sys/class/net/{scope}/ifindex")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_host_is_found() {
        let hosts = b"# geh\xf6rt zum Netz\n\
            127.0.0.1\tlocalhost   loopback # the usual\n\
            192.0.2.1 pacs.hospital.test pacs k\xe4se\r\n\
            2001:db8::1 PACS.hospital.test. token_server\n\
            192.0.2.1 pacs\n\
            nonsense pacs\n\
            #192.0.2.9 pacs\n\
            fe80::1%7 scoped\n\
            fe80::1%lo interface\n\
            fe80::1%none unknown\n\
            192.0.2.5";
        for (host, expected) in [
            ("pacs", &["192.0.2.1:0"][..]),
            ("pacs.hospital.test", &["192.0.2.1:0", "[2001:db8::1]:0"]),
            ("Pacs.Hospital.Test.", &["192.0.2.1:0", "[2001:db8::1]:0"]),
            ("token_server", &["[2001:db8::1]:0"]),
            ("loopback", &["127.0.0.1:0"]),
            ("scoped", &["[fe80::1%7]:0"]),
            ("interface", &["[fe80::1%1]:0"]),
            ("unknown", &[]),
            ("the", &[]),
            ("hospital.test", &[]),
            ("192.0.2.5", &[]),
            ("", &[]),
        ] {
            let found: Vec<String> = addresses(hosts, host).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{host}");
        }
    }
}
