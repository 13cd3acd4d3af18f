//! The way to a server, as it is shown to who looks for where it breaks off.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use google_credentials::{
    HttpSettings, Outside, PeerVerification, Proxy, TransportErrorKind, Verbosity, World,
    probe::{Probe, Roots, probe, resolve},
};
use google_emulator::Emulator;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

const THIS_MACHINE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn settings(emulator: &Emulator) -> HttpSettings {
    HttpSettings {
        ca_certificates: Some(emulator.ca_file().to_owned()),
        verify_peers: PeerVerification::Required,
        proxy: None,
        timeout: Duration::from_secs(30),
        verbose: Verbosity::Quiet,
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime: Runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// The emulator's address with a name in it that has to be looked up.
fn by_name(url: &str) -> (String, u16) {
    let port = url.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
    let scheme = url.split("://").next().unwrap();
    (format!("{scheme}://localhost:{port}/"), port)
}

/// The certificate is the emulator's, and in force.
fn assert_certificate(settings: &HttpSettings, probe: &Probe) {
    let now = Outside::new(settings.clone()).now();
    let certificate = probe.certificate.as_ref().unwrap();
    assert_eq!(certificate.issuer, "CN=google-emulator test authority");
    assert_eq!(certificate.subject, "CN=google-emulator");
    assert!(certificate.not_before < now && certificate.left(now).is_some(), "{certificate:?}");
}

#[test]
fn each_step_is_seen() {
    let emulator = Emulator::builder().start().unwrap();
    let (url, port) = by_name(emulator.https_url());
    let settings = settings(&emulator);
    let seen = run(probe(&settings, &url));
    assert_eq!(seen.looked_up.len(), 1);
    assert_eq!(seen.looked_up[0].0, "localhost");
    assert!(seen.looked_up[0].1.contains(&THIS_MACHINE), "{:?}", seen.looked_up);
    assert_eq!(seen.connected_to, Some(SocketAddr::new(THIS_MACHINE, port)));
    assert_certificate(&settings, &seen);
    assert!(seen.outcome.unwrap().header("date").is_some());
    assert_eq!(settings.roots(), Roots::File(emulator.ca_file().to_owned()));
}

#[test]
fn without_tls_there_is_no_certificate() {
    let emulator = Emulator::builder().start().unwrap();
    let (url, port) = by_name(emulator.http_url());
    let seen = run(probe(&settings(&emulator), &url));
    assert_eq!(seen.connected_to, Some(SocketAddr::new(THIS_MACHINE, port)));
    assert_eq!(seen.certificate, None);
    assert!(seen.outcome.is_ok());
}

#[test]
fn a_certificate_that_is_refused_is_seen_too() {
    let (emulator, other) = (Emulator::builder().start().unwrap(), Emulator::builder().start().unwrap());
    let (url, _) = by_name(emulator.https_url());
    let seen = run(probe(&settings(&other), &url));
    assert_eq!(seen.outcome.as_ref().unwrap_err().kind, TransportErrorKind::UntrustedCertificate);
    assert_certificate(&settings(&other), &seen);

    let anybody = HttpSettings { verify_peers: PeerVerification::Off, ..settings(&other) };
    let seen = run(probe(&anybody, &url));
    assert_certificate(&anybody, &seen);
    assert!(seen.outcome.is_ok());
    assert_eq!(anybody.roots().to_string(), "nothing: HttpsVerifyPeers is false");
}

/// Takes one CONNECT (RFC 9110 section 9.3.6), and gives what it was asked.
async fn one_tunnel(listener: TcpListener) -> String {
    let (mut client, _) = listener.accept().await.unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(client.read_u8().await.unwrap());
    }
    let asked = String::from_utf8(asked).unwrap();
    let to = asked.split_whitespace().nth(1).unwrap().replace("localhost", "127.0.0.1");
    let mut server = TcpStream::connect(to).await.unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    // Either side may end it.
    drop(copy_bidirectional(&mut client, &mut server).await);
    asked
}

#[test]
fn through_a_proxy_the_certificate_is_the_servers() {
    let emulator = Emulator::builder().start().unwrap();
    let (url, port) = by_name(emulator.https_url());
    run(async {
        let listener = TcpListener::bind((THIS_MACHINE, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = tokio::spawn(one_tunnel(listener));
        let settings = HttpSettings {
            proxy: Proxy::parse(&format!("ann:hunter2@127.0.0.1:{}", address.port())),
            ..settings(&emulator)
        };
        let seen = probe(&settings, &url).await;
        assert_certificate(&settings, &seen);
        assert_eq!(seen.connected_to, Some(address));
        assert_eq!(seen.looked_up, []);
        let shown = format!("{seen:?} {settings:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("YW5uOmh1bnRlcjI="), "{shown}");
        assert!(seen.outcome.is_ok());
        let asked = proxy.await.unwrap();
        assert!(asked.starts_with(&format!("CONNECT localhost:{port} ")), "{asked}");
        assert!(asked.to_lowercase().contains("proxy-authorization: basic"), "{asked}");
    });
}

#[test]
fn where_it_breaks_off_is_named() {
    let emulator = Emulator::builder().start().unwrap();
    let settings = settings(&emulator);
    // Taken and given back, so that nobody listens there.
    let free = std::net::TcpListener::bind((THIS_MACHINE, 0)).unwrap().local_addr().unwrap().port();
    let missing = HttpSettings { ca_certificates: Some("/missing.pem".into()), ..settings.clone() };
    for (settings, url, kind, looked_up) in [
        (&settings, format!("https://localhost:{free}/"), TransportErrorKind::Connection, 1),
        (&settings, format!("https://127.0.0.1:{free}/"), TransportErrorKind::Connection, 0),
        (&settings, "no address".to_owned(), TransportErrorKind::Address, 0),
    ] {
        let seen = run(probe(settings, &url));
        assert_eq!(seen.outcome.unwrap_err().kind, kind, "{url}");
        assert_eq!(seen.looked_up.len(), looked_up, "{url}");
        assert_eq!((seen.connected_to, seen.certificate), (None, None), "{url}");
    }
    let seen = run(probe(&missing, emulator.https_url()));
    let error = seen.outcome.unwrap_err();
    assert!(matches!(error.kind, TransportErrorKind::Settings(_)), "{error:?}");
}

#[test]
fn names_have_addresses_or_a_reason_why_not() {
    assert!(run(resolve("localhost")).unwrap().contains(&THIS_MACHINE));
    assert_eq!(run(resolve("192.0.2.7")).unwrap(), ["192.0.2.7".parse::<IpAddr>().unwrap()]);
    assert_eq!(run(resolve("[2001:db8::1]")).unwrap(), ["2001:db8::1".parse::<IpAddr>().unwrap()]);
    // No name (RFC 1035 section 2.3.4), so that no name server is asked.
    let error = run(resolve(&"a".repeat(64))).unwrap_err();
    assert_eq!(error.kind, TransportErrorKind::Name);
    assert!(error.cause.starts_with("DNS "), "{error}");
}
