//! Connections: how many there are at once, and what HTTP/2 ones begin with.

#[cfg(test)]
mod support;

use google_emulator::{Emulator, Fault, Gauges, Route};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use support::{ANY_SYNTAX, EXPLICIT_LITTLE, Google, made, until};

#[test]
fn requests_connections_and_handshakes_are_counted() {
    let google = Google::start();
    let most = 5;
    google.emulator.faults().add(Fault::latency(Route::Qido, Duration::from_secs(60)).times(most));
    let url = format!("{}/studies", google.emulator.dicom_web_url());
    let asking = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for _ in 0..most {
        // A client of its own each, so a connection of its own; it gives up when all of them are there.
        let request = google.unhurried().get(&url).bearer_auth(google.token());
        asking.spawn(request.send());
    }
    until(|| google.emulator.gauges().requests_now == most);
    assert_eq!(google.emulator.gauges().connections_now, most);
    drop(asking);
    until(|| google.emulator.gauges().connections_now == 0);
    let expected = Gauges {
        requests: most,
        requests_now: 0,
        most_requests_at_once: most,
        connections: most,
        connections_now: 0,
        most_connections_at_once: most,
        tls_handshakes: most,
    };
    assert_eq!(google.emulator.gauges(), expected);

    google.emulator.reset_gauges();
    let one = made(1, 1, 1);
    assert_eq!(google.store("studies", &[one.file(EXPLICIT_LITTLE)]).status(), 200);
    for _ in 0..3 {
        assert!(google.get(&one.path(), ANY_SYNTAX).bytes().is_ok());
    }
    drop(TcpStream::connect(google.emulator.http_url().strip_prefix("http://").unwrap()).unwrap());
    until(|| google.emulator.gauges().connections == 2);
    let gauges = google.emulator.gauges();
    assert_eq!((gauges.requests, gauges.most_requests_at_once), (4, 1));
    assert_eq!(gauges.tls_handshakes, 1, "one connection for all requests, and one that never began TLS");
    let told: Value = {
        let url = format!("{}/emulator/gauges", google.emulator.http_url());
        google.client.get(url).send().unwrap().json().unwrap()
    };
    assert_eq!((&told["requests"], &told["tls_handshakes"]), (&json!(4), &json!(1)));
}

#[test]
fn a_client_that_leaves_while_its_request_hangs_is_noticed() {
    let google = Google::start();
    google.emulator.faults().add(Fault::hang(Route::Stow).until_cleared());
    let address = google.emulator.http_url().strip_prefix("http://").unwrap();
    let path = format!("/v1/{}/dicomWeb/studies", google.emulator.store());
    // In the middle of a body of known length, of a chunked one, and after the whole body.
    for body in [
        "Content-Length: 100\r\n\r\nten bytes.",
        "Transfer-Encoding: chunked\r\n\r\n64\r\nten bytes.",
        "Content-Length: 10\r\n\r\nten bytes.",
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: {address}\r\n{body}").unwrap();
        until(|| google.emulator.requests().last().is_some_and(|request| request.body_bytes == 10));
        drop(stream);
        until(|| google.emulator.gauges().requests_now == 0 && google.emulator.gauges().connections_now == 0);
        google.emulator.clear_requests();
    }
}

/// The settings (RFC 9113 section 6.5) and the connection's window update that a server begins with.
#[cfg(test)]
fn http2_begins(emulator: &Emulator) -> (BTreeMap<u16, u32>, Option<u32>) {
    let mut stream = TcpStream::connect(emulator.http_url().strip_prefix("http://").unwrap()).unwrap();
    // The client's preface and its settings, none.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let (mut settings, mut increment) = (BTreeMap::new(), None);
    while settings.is_empty() || increment.is_none() {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut body).unwrap();
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        match head[3] {
            4 => settings
                .extend(body.chunks(6).map(|one| (u16::from_be_bytes([one[0], one[1]]), number(&one[2..])))),
            8 => increment = Some(number(&body)),
            _ => {}
        }
    }
    (settings, increment)
}

#[test]
fn http2_has_googles_windows_or_those_asked_for() {
    let google = Google::start();
    let (settings, increment) = http2_begins(&google.emulator);
    assert_eq!((settings[&3], settings[&4]), (100, 1 << 20));
    assert_eq!(increment, Some(983_041), "to 1 MiB from the 65,535 that HTTP/2 begins with");
    let wide = Emulator::builder().http2_windows(4 << 20, 16 << 20).start().unwrap();
    let (settings, increment) = http2_begins(&wide);
    assert_eq!((settings[&4], increment), (4 << 20, Some((16 << 20) - 65_535)));
}
