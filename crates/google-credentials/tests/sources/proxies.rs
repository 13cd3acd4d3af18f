//! Ways through proxies, and answers that proxies have changed.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use google_credentials::{Credential, Failure, FailureKind, Grant, Source};

use crate::stage::Stage;

const PATIENCE: Duration = Duration::from_secs(30);

fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) {
    drop(thread::Builder::new().spawn(work).unwrap());
}

/// Starts a server that handles each connection on a thread of its own, for as long as the process lives.
fn serve(handle: impl Fn(TcpStream) -> Option<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let handle = Arc::clone(&handle);
            spawn(move || handle(stream));
        }
    });
    address
}

/// A SOCKS5 proxy (RFC 1928) that wants a user and password (RFC 1929) if `user` is given; and to whom it has led.
fn socks5(user: Option<&'static str>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let led: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&led);
    let address = serve(move |client| {
        let answer = |bytes: &[u8]| (&client).write_all(bytes).ok();
        let read = |length: usize| {
            let mut bytes = vec![0; length];
            (&client).read_exact(&mut bytes).ok().map(|()| bytes)
        };
        let methods = usize::from(read(2)?[1]);
        read(methods)?;
        if let Some(user) = user {
            answer(&[5, 2])?;
            let name = usize::from(read(2)?[1]);
            let name = read(name)?;
            let password = usize::from(read(1)?[0]);
            let password = read(password)?;
            let given = format!("{}:{}", String::from_utf8(name).ok()?, String::from_utf8(password).ok()?);
            answer(&[1, u8::from(given != user)])?;
        } else {
            answer(&[5, 0])?;
        }
        let host = match read(4)?[3] {
            1 => read(4)?.iter().map(ToString::to_string).collect::<Vec<_>>().join("."),
            3 => {
                let length = usize::from(read(1)?[0]);
                String::from_utf8(read(length)?).ok()?
            }
            _ => return None,
        };
        let port = read(2)?;
        let target = format!("{host}:{}", u16::from_be_bytes([port[0], port[1]]));
        let server = TcpStream::connect(&target).ok()?;
        seen.lock().unwrap().push(target);
        answer(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        let (mut up, mut down) = (client.try_clone().ok()?, client);
        let (mut to, mut from) = (server.try_clone().ok()?, server);
        spawn(move || {
            let _sent = std::io::copy(&mut up, &mut to);
            let _closed = to.shutdown(std::net::Shutdown::Write);
        });
        let _received = std::io::copy(&mut from, &mut down);
        down.shutdown(std::net::Shutdown::Both).ok()
    });
    (address, led)
}

/// Asks for a token at `token_uri`, with a user's file.
fn ask(stage: &Stage, token_uri: String) -> Result<Grant, Failure> {
    let path = stage.path("user.json");
    stage.emulator.write_authorized_user(&path).unwrap();
    stage.fetch(&Source { token_uri: Some(token_uri), ..Source::of(Credential::AuthorizedUserFile(path)) })
}

#[test]
fn socks_proxies_are_used() {
    for (scheme, user) in [("socks5", None), ("socks5h", None), ("socks5", Some("ann:hunter2@hush"))] {
        let (address, led) = socks5(user);
        let user = user.map(|_| "ann:hunter2%40hush@").unwrap_or_default();
        let stage = Stage::new().with_proxy(&format!("{scheme}://{user}{address}"), PATIENCE);
        let url = stage.emulator.token_url();
        ask(&stage, url.clone()).unwrap();
        let authority = url.trim_start_matches("https://").trim_end_matches("/token").to_owned();
        assert_eq!(*led.lock().unwrap(), [authority], "{scheme} {user}");
        assert_eq!(stage.emulator.requests().len(), 1);
        assert!(!stage.said.text().contains("hunter2"), "{}", stage.said.text());
    }
}

#[test]
fn socks_proxies_that_refuse_are_named() {
    let (address, led) = socks5(Some("ann:other"));
    let stage = Stage::new().with_proxy(&format!("socks5://ann:hunter2hush@{address}"), PATIENCE);
    let failure = ask(&stage, stage.emulator.token_url()).unwrap_err();
    assert!(failure.cause.contains("the proxy cannot be reached (SOCKS error: "), "{failure}");
    assert!(failure.cause.contains(&format!("socks5://{address}, set by HttpProxy")), "{failure}");
    assert!(failure.remedy.contains("check HttpProxy") && !failure.to_string().contains("hush"), "{failure}");
    assert!(led.lock().unwrap().is_empty());
}

#[test]
fn a_proxy_that_is_not_understood_is_never_passed_by() {
    for proxy in ["ftp://127.0.0.1:21", "127.0.0.1:99999", "socks9://127.0.0.1:1", "http://"] {
        let stage = Stage::new().with_proxy(proxy, PATIENCE);
        for url in [stage.emulator.token_url(), format!("{}/token", stage.emulator.http_url())] {
            let failure = ask(&stage, url).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Configuration, "{failure}");
            assert!(failure.cause.starts_with("HttpProxy: it"), "{failure}");
            assert!(stage.emulator.requests().is_empty(), "{proxy}: sent without it");
        }
    }
}

#[test]
fn the_address_decides_nothing_about_the_words() {
    let stage = Stage::new();
    for (url, said) in [
        ("http://127.0.0.1:1/proxy/token", "no connection ("),
        ("https://127.0.0.1:1/tunnel%20error:%20unsuccessful", "no connection ("),
        ("http://dicomweb-proxy.invalid/token", "DNS "),
        ("https://tunnel.invalid/dns%20error", "DNS "),
    ] {
        let failure = ask(&stage, url.to_owned()).unwrap_err();
        assert!(failure.cause.contains(said) && !failure.cause.contains("the proxy"), "{failure}");
        assert!(!failure.remedy.contains("check HttpProxy"), "{failure}");
    }
}

/// A server that answers each request like this.
fn answering(answer: Vec<u8>) -> String {
    let address = serve(move |mut client| {
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !request.ends_with(b"grant_type=refresh_token")
            && !request.windows(4).any(|end| end == b"\r\n\r\n")
        {
            let length = client.read(&mut buffer).ok().filter(|length| *length > 0)?;
            request.extend_from_slice(&buffer[..length]);
        }
        client.write_all(&answer).ok()?;
        client.shutdown(std::net::Shutdown::Write).ok()?;
        // Until the client has read it.
        while client.read(&mut buffer).is_ok_and(|length| length > 0) {}
        Some(())
    });
    format!("http://{address}/token")
}

fn with_fields(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

const TOKEN: &[u8] = br#"{"access_token":"ya29.of-nobody-at-all","expires_in":3599,"token_type":"Bearer"}"#;

#[test]
fn many_header_fields_are_taken() {
    let stage = Stage::new();
    for number in [120, 1000] {
        let fields: Vec<_> = (0..number).map(|field| format!("X-Field-{field}: of a proxy\r\n")).collect();
        let fields = fields.concat();
        ask(&stage, answering(with_fields(&fields, TOKEN))).unwrap();
    }
    let fields: Vec<_> = (0..5000).map(|field| format!("X-{field}: 1\r\n")).collect();
    let fields = fields.concat();
    let failure = ask(&stage, answering(with_fields(&fields, TOKEN))).unwrap_err();
    assert!(failure.cause.contains("the header of the answer is too large"), "{failure}");
}

#[test]
fn compressed_answers_are_named() {
    let stage = Stage::new();
    for (coding, body) in [("gzip", b"\x1f\x8b\x08".as_slice()), ("br", b"\x0b\x02"), ("deflate", b"x\x9c")] {
        let answer = with_fields(&format!("Content-Encoding: {coding}\r\n"), body);
        let failure = ask(&stage, answering(answer)).unwrap_err();
        let words = format!("the answer is compressed ({coding}), which was not asked for");
        assert!(failure.cause.contains(&words), "{failure}");
    }
    ask(&stage, answering(with_fields("Content-Encoding: identity\r\n", TOKEN))).unwrap();
}

#[test]
fn what_does_not_speak_http_is_named() {
    let stage = Stage::new();
    for answer in [b"\x15\x03\x01\x00\x02\x02\x16".to_vec(), b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()] {
        let failure = ask(&stage, answering(answer)).unwrap_err();
        assert!(failure.cause.contains("does not speak HTTP"), "{failure}");
        assert!(failure.remedy.contains("BaseUrl") && failure.remedy.contains("port"), "{failure}");
    }
}
