//! The client for the DICOM store: connections kept, the HTTP that was asked for, and a CA file that comes late.

use std::{collections::BTreeSet, fs, time::Duration};

use google_credentials::{
    HttpSettings, HttpVersion, KeptAlive, PeerVerification, Proxy, TransportError, TransportErrorKind,
    Verbosity, remedy,
};
use google_emulator::{Emulator, Fault, Route, SeenRequest};
use tokio::{runtime::Runtime, task::JoinSet};

fn settings(emulator: &Emulator) -> HttpSettings {
    HttpSettings {
        ca_certificates: Some(emulator.ca_file().to_owned()),
        verify_peers: PeerVerification::Required,
        proxy: None,
        // Of no meaning here: none of these requests could be answered in this time.
        timeout: Duration::from_nanos(1),
        verbose: Verbosity::Quiet,
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Asks so often, all at once; the emulator may be made to wait so long with its answers that all are under way together.
async fn ask(kept: &KeptAlive, emulator: &Emulator, times: usize) -> Vec<SeenRequest> {
    emulator.clear_requests();
    let mut asked = JoinSet::new();
    for _ in 0..times {
        let request = kept.client().unwrap().get(format!("{}/studies", emulator.dicom_web_url()));
        asked.spawn(async move { request.send().await.unwrap().bytes().await.unwrap() });
    }
    asked.join_all().await;
    let seen = emulator.requests();
    assert_eq!(seen.len(), times);
    seen
}

fn connections(seen: &[SeenRequest]) -> BTreeSet<u64> {
    seen.iter().map(|request| request.connection).collect()
}

#[test]
fn http_1_keeps_a_connection_for_each_request_under_way() {
    let emulator = Emulator::builder().start().unwrap();
    // Long enough for twelve connections, on a loaded machine too: none is free again before all are there.
    emulator.faults().add(Fault::latency(Route::Qido, Duration::from_secs(5)).times(12));
    let kept = KeptAlive::new(settings(&emulator), HttpVersion::One);
    runtime().block_on(async {
        let first = ask(&kept, &emulator, 12).await;
        assert!(first.iter().all(|request| request.http_version == "HTTP/1.1" && request.tls));
        assert_eq!(connections(&first).len(), 12);
        let again = ask(&kept, &emulator, 12).await;
        assert!(connections(&again).is_subset(&connections(&first)));
    });
}

#[test]
fn http_2_shares_one_connection() {
    let emulator = Emulator::builder().start().unwrap();
    let kept = KeptAlive::new(settings(&emulator), HttpVersion::Two);
    runtime().block_on(async {
        let first = ask(&kept, &emulator, 1).await;
        assert!(first.iter().all(|request| request.http_version == "HTTP/2.0" && request.tls));
        let again = ask(&kept, &emulator, 12).await;
        assert_eq!(connections(&again), connections(&first));
    });
}

#[test]
fn a_redirect_is_an_answer() {
    let emulator = Emulator::builder().start().unwrap();
    let portal = Fault::answer(Route::Qido, 302, "").header("location", &emulator.token_url());
    emulator.faults().add(portal.until_cleared());
    for version in [HttpVersion::One, HttpVersion::Two] {
        let client = settings(&emulator).long_lived_client(version).unwrap();
        let url = format!("{}/studies", emulator.dicom_web_url());
        let status = runtime().block_on(async { client.get(url).send().await.unwrap().status() });
        assert_eq!(status, 302);
    }
}

#[test]
fn a_ca_file_may_come_and_be_corrected_late() {
    let (emulator, other) = (Emulator::builder().start().unwrap(), Emulator::builder().start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let settings = HttpSettings { ca_certificates: Some(ca.clone()), ..settings(&emulator) };
    let kept = KeptAlive::new(settings, HttpVersion::One);
    let url = format!("{}/studies", emulator.dicom_web_url());

    let TransportError { kind, cause } = kept.client().unwrap_err();
    assert!(matches!(kind, TransportErrorKind::Settings(_)), "{kind:?}");
    assert!(cause.contains("ca.pem cannot be read"), "{cause}");

    fs::copy(other.ca_file(), &ca).unwrap();
    let runtime = runtime();
    let ask = || runtime.block_on(async { kept.client().unwrap().get(&url).send().await });
    let refused = kept.failed(&ask().unwrap_err());
    assert_eq!(refused.kind, TransportErrorKind::UntrustedCertificate);
    let words = remedy::of_transport(&url, &refused).to_string();
    assert!(words.contains("HttpsCACertificates"), "{words}");

    fs::copy(emulator.ca_file(), &ca).unwrap();
    assert_eq!(ask().unwrap().status(), 401);
}

#[test]
fn who_is_not_there_is_named() {
    let emulator = Emulator::builder().start().unwrap();
    let kept = KeptAlive::new(settings(&emulator), HttpVersion::Two);
    let url = format!("{}/studies?secret=hush", emulator.dicom_web_url());
    // Its CA file goes with it.
    let client = kept.client().unwrap();
    emulator.stop();
    let error = runtime().block_on(async { client.get(&url).send().await.unwrap_err() });
    let error = kept.failed(&error);
    assert_eq!(error.kind, TransportErrorKind::Connection);
    let words = format!("{} {error:?}", remedy::of_transport(&url, &error));
    assert!(words.contains("no connection") && !words.contains("hush"), "{words}");
}

#[test]
fn nothing_secret_is_shown() {
    let emulator = Emulator::builder().start().unwrap();
    let settings = HttpSettings { proxy: Proxy::parse("user:hunter2@127.0.0.1:1"), ..settings(&emulator) };
    let kept = KeptAlive::new(settings, HttpVersion::Two);
    let url = format!("{}/studies", emulator.dicom_web_url());
    let error = runtime().block_on(async { kept.client().unwrap().get(&url).send().await.unwrap_err() });
    let error = kept.failed(&error);
    assert_eq!(error.kind, TransportErrorKind::Proxy("HttpProxy"), "{error}");
    let shown = format!("{kept:?} {error:?} {error}");
    // `user:hunter2` in base64.
    assert!(!shown.contains("hunter2") && !shown.contains("dXNlcjpodW50ZXIy"), "{shown}");
}
