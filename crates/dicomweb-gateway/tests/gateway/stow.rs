//! Uploads.

mod answers;
mod bounds;
mod conflicts;
mod faults;
mod resuming;

use std::time::{Duration, Instant};

use dicomweb_gateway::{OnConflict, Report, Settings};
use google_emulator::{Emulator, Keep, Route, SeenRequest};
use orthanc_testbed::{Ct, Study, study};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::far_store::{FarStore, sha256};
use crate::stage::{Stage, block_on};

/// As long as Orthanc's, and with the same characters.
const BOUNDARY: &str = "0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1-0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1";

/// A stage whose far store keeps everything in memory.
fn stage() -> Stage {
    staged(OnConflict::Fail, |_| {})
}

fn staged(on_conflict: OnConflict, change: impl FnOnce(&mut Settings)) -> Stage {
    Stage::with(FarStore::start(Emulator::builder().keep(Keep::Memory)), on_conflict, change)
}

/// A study whose instances have about so many bytes. Their pixels are replaced, which is quicker than to generate as many.
fn ct(seed: u64, instances: usize, bytes: usize) -> Study {
    let mut study = study::ct(&Ct { seed, series: 1, instances, rows: 1, columns: 8 }).unwrap();
    for (number, instance) in (seed * 1_000_000..).zip(&mut study.instances) {
        let file = &mut instance.bytes;
        // Sixteen bytes of pixels, and the length before them, are the end of the file.
        file.truncate(file.len() - 16 - 4);
        let mut pixels = vec![0; bytes.next_multiple_of(8)];
        file.extend_from_slice(&u32::try_from(pixels.len()).unwrap().to_le_bytes());
        let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for word in pixels.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.append(&mut pixels);
    }
    study
}

fn files(study: &Study) -> Vec<&[u8]> {
    study.instances.iter().map(|instance| instance.bytes.as_slice()).collect()
}

/// The same instance with another last byte of its pixels.
fn different(file: &[u8]) -> Vec<u8> {
    let mut different = file.to_vec();
    *different.last_mut().unwrap() ^= 1;
    different
}

fn multipart(files: &[&[u8]]) -> Vec<u8> {
    multipart_of(BOUNDARY, files)
}

fn multipart_of(boundary: &str, files: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for file in files {
        body.extend(part_head(file.len()).replace(BOUNDARY, boundary).into_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend(format!("--{boundary}--").into_bytes());
    body
}

/// What the DICOMweb plugin writes before an instance.
fn part_head(length: usize) -> String {
    format!("--{BOUNDARY}\r\nContent-Type: application/dicom\r\nContent-Length: {length}\r\n\r\n")
}

fn content_type() -> String {
    format!("multipart/related; type=\"application/dicom\"; boundary={BOUNDARY}")
}

fn post(stage: &Stage, path: &str) -> RequestBuilder {
    stage
        .request(Method::POST, path)
        .header("content-type", content_type())
        .header("accept", "application/dicom+json")
}

/// Uploads files in one request of always the same job of the DICOMweb plugin; status and answer.
fn upload(stage: &Stage, files: &[&[u8]]) -> (u16, Value) {
    upload_of(BOUNDARY, stage, files)
}

/// The same with a boundary.
fn upload_of(boundary: &str, stage: &Stage, files: &[&[u8]]) -> (u16, Value) {
    block_on(async {
        let content_type = content_type().replace(BOUNDARY, boundary);
        let request = stage.request(Method::POST, "studies").header("content-type", content_type);
        let request = request.header("accept", "application/dicom+json");
        let answer = request.body(multipart_of(boundary, files)).send().await.unwrap();
        let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
        (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("{status}: {body}")))
    })
}

/// SOP Instance UIDs of a sequence, in order.
fn uids<'a>(answer: &'a Value, sequence: &str) -> Vec<&'a str> {
    let items = answer[sequence]["Value"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item["00081155"]["Value"][0].as_str().unwrap_or_default()).collect()
}

fn stored(answer: &Value) -> Vec<&str> {
    uids(answer, "00081199")
}

fn failed(answer: &Value) -> Vec<&str> {
    uids(answer, "00081198")
}

fn all_uids(study: &Study) -> Vec<&str> {
    study.instances.iter().map(|instance| instance.uid.as_str()).collect()
}

/// The far store holds these files, byte for byte, and nothing else.
fn assert_holds(stage: &Stage, files: &[&[u8]]) {
    let hex = |file: &&[u8]| sha256(file);
    let mut expected: Vec<String> = files.iter().map(hex).collect();
    let mut found: Vec<String> =
        stage.emulator.instances().into_iter().map(|instance| instance.sha256.unwrap()).collect();
    expected.sort();
    found.sort();
    assert!(expected == found, "{} files were to be there, and {} are", expected.len(), found.len());
}

/// The requests of a kind that reached the far store.
fn seen(stage: &Stage, route: Route) -> Vec<SeenRequest> {
    stage.emulator.requests().into_iter().filter(|request| request.route == route).collect()
}

/// The transfer that ended last.
fn last(stage: &Stage) -> Report {
    stage.gateway.transfers().into_iter().next().unwrap()
}

/// Waits for what other threads bring about.
fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come about: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How many connections to the far store are open on our side.
fn connections(stage: &Stage) -> usize {
    let port: u16 = stage.emulator.https_url().rsplit(':').next().unwrap().parse().unwrap();
    let all = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    // sl local_address rem_address st; 01 is ESTABLISHED.
    let is_ours = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[2].ends_with(&format!(":{port:04X}")) && fields[3] == "01"
    };
    all.lines().skip(1).filter(is_ours).count()
}

/// Nothing of an upload is left: no memory, no file, no descriptor, no request.
fn assert_nothing_left(stage: &Stage) {
    until("no transfer", || stage.gateway.transfers_under_way() == 0);
    until("no memory", || stage.gateway.memory_in_use() == 0);
    // Those that hang stay with the far store, though their connection is closed.
    until("no request", || stage.emulator.gauges().requests_now == 0 || connections(stage) == 0);
    until("no descriptor of a temporary file", || {
        let mut open = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| entry.ok()?.path().read_link().ok());
        !open.any(|path| path.starts_with(stage.folder()))
    });
    // The key alone.
    until("no file", || std::fs::read_dir(stage.folder()).unwrap().count() == 1);
}
