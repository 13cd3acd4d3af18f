//! Memory, disk, and clients that go away.

use std::{
    io::{ErrorKind, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
};

use dicomweb_gateway::{OnConflict, Stage as Ended};
use google_emulator::{Effect, Emulator, Fault, Keep, Route};

use super::*;
use crate::stage::SECRET;

#[test]
fn a_large_instance_is_sent_from_disk_and_again() {
    for fault in [
        Fault::answer(Route::Stow, 503, "{}"),
        Fault::reset(Route::Stow, 1 << 20),
        Fault::answer(Route::Stow, 503, "{}").after_handling(),
    ] {
        let stage = staged(OnConflict::Fail, |settings| settings.spool_over = 1 << 20);
        stage.emulator.faults().add(fault.times(2));
        let study = ct(1, 3, 7 << 20);
        let (status, answer) = upload(&stage, &files(&study));
        assert_eq!(status, 200, "{answer}");
        assert_eq!(stored(&answer), all_uids(&study));
        assert_holds(&stage, &files(&study));
        assert_eq!(last(&stage).retries, 2);
        assert_nothing_left(&stage);
    }
}

#[test]
fn without_disk_a_large_instance_is_sent_once() {
    let stage = staged(OnConflict::Fail, |settings| {
        settings.spool_over = 1 << 20;
        settings.spool_folder = "/nonexistent".into();
    });
    let study = ct(1, 3, 7 << 20);
    let (status, answer) = upload(&stage, &files(&study));
    assert_eq!(status, 200, "{answer}");
    assert_holds(&stage, &files(&study));
    // And where that fails, it is the only one that does.
    let other = ct(2, 1, 7 << 20);
    let small = ct(3, 5, 1000);
    stage.emulator.faults().add(Fault::new(Route::Stow, Effect::Reset { after_bytes: 2 << 20 }).times(1));
    let (status, answer) = upload(&stage, &[files(&other), files(&small)].concat());
    assert_eq!(status, 409, "{answer}");
    assert_eq!((failed(&answer), stored(&answer)), (all_uids(&other), all_uids(&small)));
    assert_eq!(answer["00081198"]["Value"][0]["00081197"]["Value"][0], 0xA700);
    assert_holds(&stage, &[files(&study), files(&small)].concat());
    assert_nothing_left(&stage);
}

#[test]
fn many_uploads_at_once_stay_within_the_memory_and_all_arrive() {
    const MEMORY: usize = 3 << 20;
    for has_disk in [true, false] {
        let stage = staged(OnConflict::Fail, |settings| {
            settings.memory = MEMORY;
            settings.spool_over = 2 << 20;
            if !has_disk {
                settings.spool_folder = "/nonexistent".into();
            }
        });
        let studies: Vec<Study> = (1..=12).map(|seed| ct(seed, 4, 1_500_000)).collect();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut most = 0;
                while !is_over.load(Ordering::Relaxed) {
                    most = most.max(stage.gateway.memory_in_use());
                    std::thread::yield_now();
                }
                most
            });
            let uploads: Vec<_> =
                studies.iter().map(|study| scope.spawn(|| upload(&stage, &files(study)).0)).collect();
            for upload in uploads {
                assert_eq!(upload.join().unwrap(), 200);
            }
            is_over.store(true, Ordering::Relaxed);
            let most = watcher.join().unwrap();
            assert!(most > 0 && most <= MEMORY, "{most}");
        });
        let all: Vec<&[u8]> = studies.iter().flat_map(|study| files(study)).collect();
        assert_holds(&stage, &all);
        assert_nothing_left(&stage);
    }
}

/// A connection over which an upload has begun, chunk by chunk.
pub(super) fn begun(stage: &Stage, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", stage.port)).unwrap();
    write!(
        stream,
        "POST /my%20store/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Type: {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        content_type(),
        body.len()
    )
    .unwrap();
    stream.write_all(body).unwrap();
    stream.write_all(b"\r\n").unwrap();
    stream
}

#[test]
fn of_a_client_that_vanishes_nothing_is_left() {
    // In memory, on disk, and without disk.
    for (spool_over, folder) in [(64 << 20, None), (200_000, None), (200_000, Some("/nonexistent"))] {
        let stage = staged(OnConflict::Fail, |settings| {
            settings.spool_over = spool_over;
            if let Some(folder) = folder {
                settings.spool_folder = folder.into();
            }
        });
        stage.emulator.faults().add(Fault::hang(Route::Stow).until_cleared());
        let study = ct(1, 6, 300_000);
        let mut body = multipart(&files(&study));
        body.truncate(body.len() - 100_000);
        let (beginning, rest) = body.split_at(1000);
        let mut stream = begun(&stage, beginning);
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        write!(stream, "{:x}\r\n", rest.len()).unwrap();
        // With disk or without, the last ones are not read. A kernel with little room does not take them either.
        let full = stream.write_all(rest).err().map(|error| error.kind());
        assert!(full.is_none_or(|kind| kind == ErrorKind::WouldBlock), "{full:?}");
        until("something is being sent", || !seen(&stage, Route::Stow).is_empty());
        assert_eq!(stage.gateway.transfers_under_way(), 1);
        drop(stream);
        assert_nothing_left(&stage);
        assert_eq!(last(&stage).stage, Ended::Cancelled);
    }
}

#[test]
fn a_client_that_vanishes_while_nothing_is_read_is_noticed() {
    let stage = staged(OnConflict::Fail, |settings| settings.spool_over = 200_000);
    stage.emulator.faults().add(Fault::hang(Route::Stow).until_cleared());
    let study = ct(1, 12, 1 << 20);
    let body = multipart(&files(&study));
    let (beginning, rest) = body.split_at(1000);
    let mut stream = begun(&stage, beginning);
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    write!(stream, "{:x}\r\n", 1_u64 << 40).unwrap();
    // Until the kernel has no room for more, so that the end of the connection has to wait as well. What comes after the first
    // instances is read by nobody.
    let full = std::iter::repeat_with(|| stream.write_all(rest)).find_map(Result::err).unwrap();
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    until("something is being sent", || !seen(&stage, Route::Stow).is_empty());
    drop(stream);
    assert_nothing_left(&stage);
    assert_eq!(last(&stage).stage, Ended::Cancelled);
}

#[test]
fn a_client_that_vanishes_when_all_is_sent_is_noticed() {
    let stage = stage();
    stage.emulator.faults().add(Fault::hang(Route::Stow).until_cleared());
    let study = ct(1, 2, 1000);
    let mut stream = begun(&stage, &multipart(&files(&study)));
    stream.write_all(b"0\r\n\r\n").unwrap();
    until("something is being sent", || !seen(&stage, Route::Stow).is_empty());
    drop(stream);
    assert_nothing_left(&stage);
    let report = last(&stage);
    assert_eq!(report.stage, Ended::Cancelled);
    assert!(report.ended >= Some(report.began), "{report:?}");
}

#[test]
fn a_client_that_falls_silent_is_told_so() {
    let stage = staged(OnConflict::Fail, |settings| settings.inactivity = Duration::from_secs(2));
    let study = ct(1, 1, 3000);
    let mut stream = begun(&stage, &multipart(&files(&study))[..2000]);
    let mut answer = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut byte = [0; 1];
    while !answer.contains("\r\n") {
        std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
        answer.push(char::from(byte[0]));
    }
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_holds(&stage, &[]);
    assert_nothing_left(&stage);
}

#[test]
fn connections_are_kept_and_their_number_is_bounded() {
    let stage =
        Stage::with(FarStore::start(Emulator::builder().keep(Keep::Digests)), OnConflict::Fail, |_| {});
    // So long that as many are under way as may be before the first is answered.
    stage.emulator.faults().add(Fault::latency(Route::Stow, Duration::from_millis(400)).until_cleared());
    let study = ct(1, 100, 2 << 20);
    assert_eq!(upload(&stage, &files(&study)).0, 200);
    let gauges = stage.emulator.gauges();
    assert!((2..=32).contains(&gauges.most_requests_at_once), "{gauges:?}");
    // A connection that is free again in the moment in which another is begun leaves that one over, for later: how often
    // depends on who is quicker. Without connections that are kept there were as many as requests.
    assert!(gauges.connections + 10 <= gauges.requests, "{gauges:?}");
}
