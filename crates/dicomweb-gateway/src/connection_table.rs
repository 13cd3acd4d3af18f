//! The kernel's table of this machine's connections (`/proc/net/tcp`, proc(5)).

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::{IpAddr, SocketAddr},
};

/// For IPv4; the other one has IPv4 too, of sockets that can do both.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
/// Closed, and the end not yet taken in by the other side (FIN-WAIT-1, RFC 9293 section 3.3.2).
const FIN_WAIT_1: &str = "04";

/// Whether the end of a connection that has the address `local` has closed it, while the end at `remote` may not know. False
/// where `local` is no address of this machine.
pub(crate) fn is_ending(local: SocketAddr, remote: SocketAddr) -> bool {
    let ends = (end(local), end(remote));
    let mut tables = TABLES.iter().filter_map(|table| File::open(table).ok());
    tables.any(|table| BufReader::new(table).lines().map_while(Result::ok).any(|row| is_of(&row, ends)))
}

type End = (IpAddr, u16);

fn end(address: SocketAddr) -> End {
    (address.ip().to_canonical(), address.port())
}

/// Whether a row is that of a connection that is ending, with these ends.
fn is_of(row: &str, (local, remote): (End, End)) -> bool {
    // sl local_address rem_address st …
    let mut columns = row.split_ascii_whitespace().skip(1);
    let ends = (columns.next().and_then(read_end), columns.next().and_then(read_end));
    ends == (Some(local), Some(remote)) && columns.next() == Some(FIN_WAIT_1)
}

/// An address as words of 32 bits in the machine's order of bytes, and a port, all hexadecimal.
fn read_end(text: &str) -> Option<End> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let address = match address.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::{TcpListener, TcpStream},
        thread,
        time::Duration,
    };

    use super::*;

    #[test]
    fn an_end_that_is_held_back_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (own, other) = (listener.local_addr().unwrap(), client.local_addr().unwrap());
        client.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let much = vec![0; 1 << 20];
        // Until the kernel takes in no more.
        while client.write(&much).is_ok() {}
        let _server = listener.accept().unwrap();
        assert!(!is_ending(other, own));
        drop(client);
        while !is_ending(other, own) {
            thread::yield_now();
        }
        // Seen from the other end, the connection is open.
        assert!(!is_ending(own, other));
    }

    #[test]
    fn rows_are_read_as_the_kernel_writes_them() {
        let client = ("192.0.2.7".parse().unwrap(), 0xB1A8);
        let gateway = ("127.0.0.1".parse().unwrap(), 0xAE0D);
        let word = |octets: [u8; 4]| u32::from_ne_bytes(octets);
        let (far, near) = (word([192, 0, 2, 7]), word([127, 0, 0, 1]));
        let row =
            format!("  15: {far:08X}:B1A8 {near:08X}:AE0D 04 00015D05:00000000 04:00000334 00000000 0 0 0 2");
        assert!(is_of(&row, (client, gateway)));
        assert!(!is_of(&row, (gateway, client)));
        let (zero, mapped, one) = (0, word([0, 0, 0xff, 0xff]), word([0, 0, 0, 1]));
        let row = format!("3: {zero:08X}{zero:08X}{mapped:08X}{far:08X}:B1A8 {near:08X}:AE0D 04");
        assert!(is_of(&row, (client, gateway)));
        let ends = (("2001:db8::1".parse().unwrap(), 1), ("::1".parse().unwrap(), 2));
        let far = word([0x20, 0x01, 0x0d, 0xb8]);
        let row = format!(
            "4: {far:08X}{zero:08X}{zero:08X}{one:08X}:0001 {zero:08X}{zero:08X}{zero:08X}{one:08X}:0002 04"
        );
        assert!(is_of(&row, ends));
        assert!(!is_of(&row.replace(" 04 ", " 01 "), (client, gateway)));
        for row in ["", "sl local_address", "1: 1:1 1:1 04", "1: 0100007:1 é:1 04", "1: éééé:1 04"] {
            assert!(!is_of(row, (client, gateway)), "{row}");
        }
    }
}
