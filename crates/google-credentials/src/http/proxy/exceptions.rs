//! Which servers are reached without a proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Host;

/// Metadata services that clouds reach by a name (Google, AWS).
const METADATA_NAMES: [&str; 4] =
    ["metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"];
/// … and those at an address that is not link-local: Alibaba's, Azure's platform, AWS' (EC2, EKS), Google's and Oracle's.
const METADATA_ADDRESSES: [IpAddr; 6] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
];

/// Returns whether a host exists for this machine alone: a proxy would reach its own, and get what it gives.
pub(super) fn is_local(host: &Host<&str>) -> bool {
    match address(host) {
        Some(address) => {
            METADATA_ADDRESSES.contains(&address)
                || match address {
                    IpAddr::V4(address) => address.is_link_local(),
                    IpAddr::V6(address) => address.is_unicast_link_local(),
                }
        }
        None => METADATA_NAMES.contains(&name(host).as_str()),
    }
}

/// Returns whether `no_proxy` names a host, by libcurl's rules: `*` alone, else names with everything below them,
/// addresses, and networks in CIDR notation, separated by commas or blanks.
pub(super) fn is_excepted(host: &Host<&str>, no_proxy: &str) -> bool {
    if no_proxy == "*" {
        return true;
    }
    let mut listed = no_proxy.split([',', ' ', '\t']).filter(|listed| !listed.is_empty());
    if let Some(address) = address(host) {
        return listed.any(|listed| holds(listed, address));
    }
    let host = name(host);
    listed.any(|listed| {
        let listed = listed.strip_suffix('.').unwrap_or(listed);
        let listed = listed.strip_prefix('.').unwrap_or(listed).to_ascii_lowercase();
        let above = host.strip_suffix(&listed).filter(|_| !listed.is_empty());
        above.is_some_and(|below| below.is_empty() || below.ends_with('.'))
    })
}

fn address(host: &Host<&str>) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(IpAddr::V4(*address)),
        Host::Ipv6(address) => Some(IpAddr::V6(*address).to_canonical()),
    }
}

/// A name in small letters, without the dot at its end.
fn name(host: &Host<&str>) -> String {
    let host = host.to_string().to_ascii_lowercase();
    host.strip_suffix('.').unwrap_or(&host).to_owned()
}

/// Whether an address, or a network such as `10.0.0.0/8`, holds `address`. To libcurl, zero bits are all of them.
fn holds(listed: &str, address: IpAddr) -> bool {
    let (network, bits) = listed.split_once('/').unwrap_or((listed, "0"));
    let network = network.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(network);
    let digits = bits.bytes().take_while(u8::is_ascii_digit).count();
    let bits: u32 = bits.get(..digits).and_then(|bits| bits.parse().ok()).unwrap_or(0);
    match (network.parse().map(|network: IpAddr| network.to_canonical()), address) {
        (Ok(IpAddr::V4(network)), IpAddr::V4(address)) => {
            let bits = if bits == 0 { 32 } else { bits };
            let differing = u32::from(network) ^ u32::from(address);
            bits <= 32 && differing.leading_zeros() >= bits
        }
        (Ok(IpAddr::V6(network)), IpAddr::V6(address)) => {
            let bits = if bits == 0 { 128 } else { bits };
            let differing = u128::from(network) ^ u128::from(address);
            bits <= 128 && differing.leading_zeros() >= bits
        }
        _ => false,
    }
}
