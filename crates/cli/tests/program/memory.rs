//! How much memory the gateway takes, as the kernel counts it: in a process of its own.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use google_emulator::{Fault, Route};
use orthanc_testbed::{Ct, study};

use crate::{serving::Serving, stage::Stage};

/// Side by side, of a study of 63 MB each. Without a common limit, each would hold most of it.
const TRANSFERS: usize = 10;
/// What they may add, bytes: 128 MiB of instances; what belongs to a hundred connections, and what the allocator keeps.
const SHARE: u64 = 240_000_000;

/// The most that a process had in memory so far, bytes (`VmHWM`, proc(5)).
fn peak(serving: &Serving) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", serving.process())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Sends the head of a request, and what follows it.
fn begin(serving: &Serving, head: &str, body: &[&[u8]]) -> TcpStream {
    let mut stream = TcpStream::connect(&serving.address).unwrap();
    write!(stream, "{head}\r\nHost: {}\r\nConnection: close\r\n\r\n", serving.address).unwrap();
    for bytes in body {
        stream.write_all(bytes).unwrap();
    }
    stream
}

#[test]
fn transfers_share_what_there_is() {
    let stage = Stage::new();
    let serving = Serving::start(&stage.configuration(), &["--without-secret"]);
    let ct = study::ct(&Ct { seed: 1, series: 4, instances: 30, rows: 512, columns: 512 }).unwrap();
    assert!(serving.ask("GET", "/my-google/studies", "").starts_with("HTTP/1.1 20"));
    let before = peak(&serving);

    let slow = Fault::latency(Route::Stow, Duration::from_millis(400));
    stage.emulator.faults().add(slow.until_cleared());
    let mut body: Vec<&[u8]> = Vec::new();
    for instance in &ct.instances {
        body.extend([b"--b\r\nContent-Type: application/dicom\r\n\r\n".as_slice(), &instance.bytes, b"\r\n"]);
    }
    body.push(b"--b--\r\n");
    let length: usize = body.iter().map(|bytes| bytes.len()).sum();
    let upload = format!(
        "POST /my-google/studies HTTP/1.1\r\nContent-Type: multipart/related; type=\"application/dicom\"; boundary=b\r\n\
         Content-Length: {length}"
    );
    thread::scope(|scope| {
        for _ in 0..TRANSFERS {
            scope.spawn(|| {
                let mut answer = String::new();
                begin(&serving, &upload, &body).read_to_string(&mut answer).unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            });
        }
    });
    let after_uploads = peak(&serving);
    assert!(after_uploads - before <= SHARE, "{} bytes for uploads", after_uploads - before);

    let accept = "Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*";
    let retrieve = format!("GET /my-google/studies/{} HTTP/1.1\r\n{accept}", ct.uid);
    // Those who do not read yet hold on to what they were promised.
    let streams: Vec<TcpStream> = (0..TRANSFERS).map(|_| begin(&serving, &retrieve, &[])).collect();
    thread::scope(|scope| {
        for mut stream in streams {
            scope.spawn(move || {
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).unwrap();
                assert!(answer.len() > 120 * 512 * 512 * 2);
            });
        }
    });
    let after_all = peak(&serving);
    assert!(after_all - before <= SHARE, "{} bytes for retrievals", after_all - before);
    assert_eq!(serving.end().0, Some(0));
}
