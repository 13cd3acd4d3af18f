//! What the tests share: studies in the store, and a client that reads as Orthanc does.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dicomweb_gateway::{OnConflict, Report, Settings};
use google_credentials::{HttpSettings, HttpVersion, PeerVerification, Verbosity};
use google_emulator::{CLOUD_PLATFORM, Emulator, Keep, SeenRequest};
use orthanc_testbed::{Ct, study};
use reqwest::Method;

use crate::far_store::FarStore;
use crate::stage::{Stage, block_on};

/// What the DICOMweb plugin accepts.
pub(crate) const ANY: &str = r#"multipart/related; type="application/dicom"; transfer-syntax=*"#;
/// Without a transfer syntax: Explicit VR Little Endian.
pub(crate) const DEFAULT: &str = r#"multipart/related; type="application/dicom""#;

/// A gateway and a store that holds a study.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) study: String,
    pub(crate) series: Vec<String>,
    /// SOP Instance UID → file.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    series_by_instance: BTreeMap<String, String>,
}

/// What a retrieve gave.
#[derive(Debug)]
pub(crate) enum Got {
    /// The parts, with their `Content-Type`.
    Parts(Vec<(String, Vec<u8>)>),
    /// A refusal.
    Refused(u16, String),
    /// The connection broke off after so many bytes.
    Broken(usize),
}

impl Scene {
    /// `series` series of `instances` instances of `side` × `side` pixels.
    pub(crate) fn new(series: usize, instances: usize, side: u16) -> Self {
        Self::with(series, instances, side, |_| {})
    }

    pub(crate) fn with(
        series: usize,
        instances: usize,
        side: u16,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        Self::of(&vec![instances; series], side, change)
    }

    /// With so many instances in each series.
    pub(crate) fn of(series: &[usize], side: u16, change: impl FnOnce(&mut Settings)) -> Self {
        let emulator = FarStore::start(Emulator::builder().keep(Keep::Memory));
        let most = series.iter().copied().max().unwrap();
        let ct = Ct { seed: 7, series: series.len(), instances: most, rows: side, columns: side };
        let made = study::ct(&ct).unwrap();
        let of_series = made.instances.chunks(most).zip(series);
        let files: BTreeMap<String, Vec<u8>> = of_series
            .flat_map(|(instances, count)| instances.iter().take(*count))
            .map(|instance| (instance.uid.clone(), instance.bytes.clone()))
            .collect();
        let series_by_instance =
            made.instances.iter().map(|one| (one.uid.clone(), one.series_uid.clone())).collect();
        store(&emulator, files.values());
        let stage = Stage::with(emulator, OnConflict::Fail, change);
        let scene = Self { stage, study: made.uid, series: made.series, files, series_by_instance };
        if scene.stage.emulator.is_orthanc() {
            scene.learn_format();
        }
        scene
    }

    /// Lets the gateway find out in which format the store gives single instances, so that tests count what follows.
    fn learn_format(&self) {
        let uid = self.files.keys().next().unwrap();
        let path = format!("studies/{}/series/{}/instances/{uid}", self.study, self.series_of(uid));
        let request =
            self.stage.request(Method::GET, &path).header("Accept", "application/dicom; transfer-syntax=*");
        let status = block_on(async { request.send().await.unwrap().status() });
        assert_eq!(status, 200);
        self.stage.emulator.clear_requests();
    }

    /// The series of an instance; of one that there is not, the first.
    pub(crate) fn series_of(&self, uid: &str) -> &str {
        self.series_by_instance.get(uid).unwrap_or(&self.series[0])
    }

    /// Retrieves the whole study.
    pub(crate) fn retrieve(&self) -> Got {
        get(&self.stage, &format!("studies/{}", self.study), ANY)
    }

    /// Asserts that the whole study came, each instance once and as it is.
    pub(crate) fn assert_whole(&self, got: &Got) {
        let Got::Parts(parts) = got else { panic!("{got:?}") };
        let mut sent: Vec<&[u8]> = self.files.values().map(Vec::as_slice).collect();
        let mut came: Vec<&[u8]> = parts.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        sent.sort_unstable();
        came.sort_unstable();
        assert_eq!(came.len(), sent.len());
        assert!(came == sent, "an instance is not what it was");
    }

    /// What reached the DICOM store.
    pub(crate) fn requests(&self) -> Vec<SeenRequest> {
        let mut seen = self.stage.emulator.requests();
        seen.retain(|request| request.method == "GET" && request.path.contains("dicomWeb"));
        seen
    }

    /// Of these, the retrievals of single instances in a format that the store has.
    pub(crate) fn single_requests(&self) -> usize {
        self.requests()
            .iter()
            .filter(|request| request.query.is_none() && request.path.contains("/instances/"))
            .filter(|request| request.status != Some(400))
            .count()
    }

    /// Of these, the retrievals of series.
    pub(crate) fn series_requests(&self) -> usize {
        self.requests()
            .iter()
            .filter(|request| !request.path.contains("/instances") && request.path.contains("/series/"))
            .count()
    }

    /// The newest transfer, when nothing is under way any more and nothing is left of it.
    pub(crate) fn ended(&self) -> Report {
        let gateway = &self.stage.gateway;
        until("nothing is left", || {
            gateway.transfers_under_way() == 0
                && gateway.memory_in_use() == 0
                && self.stage.emulator.gauges().requests_now == 0
        });
        gateway.transfers().into_iter().next().unwrap()
    }
}

/// Waits for what others bring about.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(Instant::now() < deadline, "not in two minutes: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Stores files without the gateway.
pub(crate) fn store<'a>(emulator: &Emulator, files: impl Iterator<Item = &'a Vec<u8>>) {
    let mut body = Vec::new();
    for file in files {
        body.extend_from_slice(b"--BOUNDARY\r\nContent-Type: application/dicom\r\n\r\n");
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--BOUNDARY--\r\n");
    let status = block_on(async {
        let request = directly(emulator, Method::POST, "studies");
        let kind = "multipart/related; type=\"application/dicom\"; boundary=BOUNDARY";
        request.header("Content-Type", kind).body(body).send().await.unwrap().status()
    });
    assert_eq!(status, 200);
    emulator.clear_requests();
}

/// A request to the store itself.
pub(crate) fn directly(emulator: &Emulator, method: Method, path: &str) -> reqwest::RequestBuilder {
    let settings = HttpSettings {
        ca_certificates: Some(emulator.ca_file().to_owned()),
        verify_peers: PeerVerification::Required,
        proxy: None,
        timeout: Duration::from_secs(60),
        verbose: Verbosity::Quiet,
    };
    let client = settings.long_lived_client(HttpVersion::One).unwrap();
    let url = emulator.dicom_web_url();
    let token = emulator.mint_token(CLOUD_PLATFORM, Duration::from_secs(600)).unwrap();
    client.request(method, format!("{url}/{path}")).bearer_auth(token)
}

/// Retrieves through the gateway.
pub(crate) fn get(stage: &Stage, path: &str, accept: &str) -> Got {
    block_on(got(stage, path, accept))
}

/// The same, to be waited for with others.
pub(crate) async fn got(stage: &Stage, path: &str, accept: &str) -> Got {
    // What fails at once may break the connection off before the head of the answer is sent.
    let Ok(mut answer) = stage.request(Method::GET, path).header("Accept", accept).send().await else {
        return Got::Broken(0);
    };
    let status = answer.status().as_u16();
    if status != 200 {
        return Got::Refused(status, answer.text().await.unwrap());
    }
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(bytes)) => body.extend_from_slice(&bytes),
            Ok(None) => return Got::Parts(parts(&content_type, &body)),
            Err(_) => return Got::Broken(body.len()),
        }
    }
}

/// Takes a body apart as Orthanc's reader does: the boundary as it stands in the header, the length from the part's header or
/// to the next delimiter.
pub(crate) fn parts(content_type: &str, mut body: &[u8]) -> Vec<(String, Vec<u8>)> {
    assert!(content_type.starts_with("multipart/related; type=\"application/dicom\"; "), "{content_type}");
    let (_, boundary) = content_type.split_once("boundary=").unwrap();
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    loop {
        body = body.strip_prefix(delimiter.as_bytes()).expect("a delimiter");
        if body.starts_with(b"--") {
            return parts;
        }
        let end = find(body, b"\r\n\r\n").expect("the end of a header");
        let header = std::str::from_utf8(&body[..end]).unwrap().to_owned();
        body = &body[end + 4..];
        let field = |name: &str| {
            let line = header.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.map(str::to_owned)
        };
        let to_delimiter = || find(body, format!("\r\n{delimiter}").as_bytes()).unwrap();
        let length = field("Content-Length").map_or_else(to_delimiter, |length| length.parse().unwrap());
        parts.push((field("Content-Type").expect("a Content-Type"), body[..length].to_vec()));
        body = body[length..].strip_prefix(b"\r\n").expect("the end of a part");
    }
}

fn find(body: &[u8], what: &[u8]) -> Option<usize> {
    body.windows(what.len()).position(|window| window == what)
}
