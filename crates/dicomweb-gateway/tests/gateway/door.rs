//! Who is let in: the secret, the paths, and clients that hold on to what they have.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use google_emulator::SeenRequest;
use reqwest::Method;

use crate::stage::{SECRET, Stage, block_on};

/// Sends bytes as they are and reads the answer to its end.
pub(crate) fn raw(stage: &Stage, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", stage.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn ask(stage: &Stage, target: &str, authorization: &str) -> String {
    raw(stage, &format!("GET {target} HTTP/1.1\r\nHost: x\r\n{authorization}Connection: close\r\n\r\n"))
}

/// What reached the DICOM store.
pub(crate) fn of_store(stage: &Stage) -> Vec<SeenRequest> {
    let mut seen = stage.emulator.requests();
    seen.retain(|request| request.path.contains("dicomStores"));
    seen
}

#[test]
fn nobody_gets_in_without_the_secret() {
    let stage = Stage::new();
    let longer = format!("{SECRET}k");
    let shorter = &SECRET[..SECRET.len() - 1];
    for authorization in [
        String::new(),
        "Authorization: Bearer \r\n".to_owned(),
        format!("Authorization: Bearer {longer}\r\n"),
        format!("Authorization: Bearer {shorter}\r\n"),
        format!("Authorization: Bearer {}\r\n", SECRET.to_uppercase()),
        format!("Authorization: Basic {SECRET}\r\n"),
        format!("Authorization: {SECRET}\r\n"),
        format!("Cookie: {SECRET}\r\n"),
    ] {
        let answer = ask(&stage, "/my%20store/studies", &authorization);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{authorization}: {answer}");
        assert!(answer.to_lowercase().contains("www-authenticate: bearer"), "{answer}");
        // Nor does anybody learn which accounts there are.
        let other = ask(&stage, "/nobody/studies", &authorization);
        let body = |answer: &str| answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        assert_eq!(body(&answer), body(&other));
    }
    assert_eq!(of_store(&stage).len(), 0);
    let right = format!("Authorization: Bearer {SECRET}\r\n");
    assert!(ask(&stage, "/my%20store/studies", &right).starts_with("HTTP/1.1 20"));
    assert!(ask(&stage, "/nobody/studies", &right).starts_with("HTTP/1.1 401 "));
}

#[test]
fn no_path_leads_out_of_the_store() {
    let stage = Stage::new();
    let right = format!("Authorization: Bearer {SECRET}\r\n");
    for target in [
        "/my%20store/../../../other",
        "/my%20store/studies/../../x",
        "/my%20store/%2e%2e/%2e%2e/x",
        "/my%20store/..%2f..%2fx",
        "/my%20store//x",
        "/my%20store/studies//1.2",
        "/my%20store/..%5cx",
        "/my%20store/a%00b",
    ] {
        let answer = ask(&stage, target, &right);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target}: {answer}");
        assert!(answer.contains("\"remedy\""), "{answer}");
    }
    // A client that resolves the dots itself ends outside of its account, where its secret is worth nothing.
    assert!(ask(&stage, "/other", &right).starts_with("HTTP/1.1 401 "));
    assert!(ask(&stage, "/", &right).starts_with("HTTP/1.1 401 "));
    // An absolute target names another host: its path alone counts.
    let absolute = ask(&stage, "http://elsewhere.example/my%20store/../x", &right);
    assert!(absolute.starts_with("HTTP/1.1 400 "), "{absolute}");
    assert_eq!(of_store(&stage).len(), 0);
}

#[test]
fn other_methods_are_refused() {
    let stage = Stage::new();
    for method in ["CONNECT", "TRACE", "LINK", "get"] {
        let fields = format!("Host: x\r\nAuthorization: Bearer {SECRET}\r\nConnection: close");
        let answer = raw(&stage, &format!("{method} /my%20store/studies HTTP/1.1\r\n{fields}\r\n\r\n"));
        // hyper itself takes no path for CONNECT.
        assert!(
            answer.starts_with("HTTP/1.1 405 ") || answer.starts_with("HTTP/1.1 400 "),
            "{method}: {answer}"
        );
        assert!(method != "TRACE" || answer.contains("allow: GET, HEAD"), "{answer}");
    }
    assert_eq!(of_store(&stage).len(), 0);
}

#[test]
fn who_could_not_tell_a_part_from_the_whole_is_refused() {
    let stage = Stage::new();
    let old =
        format!("GET /my%20store/studies HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n");
    let answer = raw(&stage, &old);
    assert!(answer.contains(" 426 ") && answer.contains("proxy_http_version"), "{answer}");
    assert!(raw(&stage, "GET /health HTTP/1.0\r\n\r\n").contains(" 200 "));
    assert_eq!(of_store(&stage).len(), 0);
}

#[test]
fn health_needs_no_secret_and_says_nothing() {
    let stage = Stage::new();
    let answer = ask(&stage, "/health", "");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"), "{answer}");
    assert_eq!(of_store(&stage).len(), 0);
}

#[test]
fn health_answers_whatever_monitors_ask_with() {
    let stage = Stage::new();
    for (method, target, status) in [
        ("GET", "/health", 200),
        ("HEAD", "/health", 200),
        ("OPTIONS", "/health", 204),
        ("GET", "/health/", 200),
        ("GET", "/health?x=1", 200),
        ("HEAD", "/health/?x", 200),
        ("POST", "/health", 405),
        ("GET", "/health//", 400),
        ("GET", "/healthy", 401),
    ] {
        let answer =
            raw(&stage, &format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {target}: {answer}");
        assert!(method != "HEAD" || answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(status != 405 || answer.contains("allow: GET, HEAD, OPTIONS"), "{answer}");
    }
}

#[test]
fn answers_without_the_secret_close_the_connection() {
    let stage = Stage::new();
    // As many as there are places. Each waits for the next request, as far as its client is concerned.
    let idle: Vec<TcpStream> = (0..256)
        .map(|number| {
            let target = ["/health", "/my%20store/studies", "/my%20store/../x"][number % 3];
            let mut stream = TcpStream::connect(("127.0.0.1", stage.port)).unwrap();
            write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            stream
        })
        .collect();
    assert!(block_on(stage.request(Method::GET, "studies").send()).unwrap().status().is_success());
    for mut stream in idle {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("connection: close"), "{answer}");
    }
    assert_eq!(stage.gateway.counts().connections_refused, 0);
}

#[test]
fn those_who_hold_connections_open_keep_nobody_out() {
    let stage = Stage::new();
    // More than there are places, each with a beginning that never goes on.
    let slow: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", stage.port)).unwrap();
            stream.write_all(b"GET /my%20store/studies HTTP/1.1\r\nHost:").unwrap();
            stream
        })
        .collect();
    let status = block_on(async { stage.request(Method::GET, "studies").send().await.unwrap().status() });
    assert!(status.is_success(), "{status}");
    assert!(stage.gateway.counts().connections_refused > 100);
    // Their time is limited: each is closed by the gateway.
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let mut answer = Vec::new();
        // Closed, with or without a word (408): because others came, or because its time was over.
        drop(stream.read_to_end(&mut answer));
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
    }
}

#[test]
fn an_upload_that_breaks_off_is_no_success() {
    let stage = Stage::new();
    let fields =
        format!("Host: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Type: multipart/related; boundary=b");
    for body in [
        "Transfer-Encoding: chunked\r\n\r\n5\r\n--b\r\n\r\nno length\r\n",
        "Content-Length: 100\r\n\r\n--b\r\n",
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", stage.port)).unwrap();
        write!(stream, "POST /my%20store/studies HTTP/1.1\r\n{fields}\r\n{body}").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(of_store(&stage).len(), 0);
}

#[test]
fn oversized_headers_are_refused() {
    let stage = Stage::new();
    let long = "x".repeat(1 << 20);
    let mut stream = TcpStream::connect(("127.0.0.1", stage.port)).unwrap();
    // It may be cut off before all of it is written.
    drop(write!(stream, "GET /my%20store/studies HTTP/1.1\r\nX-Long: {long}\r\n\r\n"));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(of_store(&stage).len(), 0);
}
