//! The plugin under a fake host: what a real Orthanc cannot be made to do on request.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests from end to end: a panic is how they fail, and their process is their own"
)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use OrthancGoogleCloudPlatform::GoogleCloudPlatform;
use google_emulator::{Emulator, Fault, Route};
use orthanc_sdk::{
    Change, Level, Method,
    fake_host::{FakeHost, Property},
};
use serde_json::{Value, json};

/// The DICOMweb plugin as far as it matters here: a list of servers.
#[derive(Default)]
struct DicomWeb {
    servers: BTreeMap<String, Value>,
    /// How many times each server was put.
    puts: BTreeMap<String, u32>,
    /// The next so many puts are refused with `BadFileFormat`.
    refuse: u32,
    /// The next so many puts are answered well and forgotten.
    forget: u32,
    /// How many times the list was asked for.
    lists: u32,
    /// The list is emptied once, when it is asked for the n-th time and has something.
    wipe_at_list: Option<u32>,
}

type Shared = Arc<Mutex<DicomWeb>>;

/// How long is waited for what should happen at once: these machines may be busy.
const LONG: Duration = Duration::from_secs(120);

/// `BadFileFormat` and `UnknownResource`.
const BAD_FILE: i32 = 15;
const UNKNOWN: i32 = 17;

impl DicomWeb {
    fn serve(&mut self, method: Method, uri: &str, body: &[u8]) -> Result<Vec<u8>, i32> {
        let name = uri.strip_prefix("/dicom-web/servers/").map(str::to_owned);
        match (method, uri, name) {
            (Method::Get, "/plugins/dicom-web", _) => Ok(br#"{"ID":"dicom-web","Version":"1.7"}"#.to_vec()),
            (Method::Get, "/dicom-web/servers", _) => {
                self.lists += 1;
                if self.wipe_at_list.is_some_and(|at| self.lists >= at) && !self.servers.is_empty() {
                    self.servers.clear();
                    self.wipe_at_list = None;
                }
                Ok(json!(self.servers.keys().collect::<Vec<_>>()).to_string().into_bytes())
            }
            (Method::Put, _, Some(name)) => {
                *self.puts.entry(name.clone()).or_default() += 1;
                if self.refuse > 0 {
                    self.refuse -= 1;
                    return Err(BAD_FILE);
                }
                if self.forget > 0 {
                    self.forget -= 1;
                } else {
                    self.servers.insert(name, serde_json::from_slice(body).map_err(|_| BAD_FILE)?);
                }
                Ok(Vec::new())
            }
            (Method::Delete, _, Some(name)) => self.servers.remove(&name).map(|_| Vec::new()).ok_or(UNKNOWN),
            _ => Err(UNKNOWN),
        }
    }
}

struct Stage {
    host: FakeHost,
    dicomweb: Shared,
    emulator: Emulator,
}

impl Stage {
    fn new(dicomweb: DicomWeb, patch: &Value) -> Self {
        Self::before(Emulator::builder().start().unwrap(), dicomweb, patch)
    }

    fn before(emulator: Emulator, dicomweb: DicomWeb, patch: &Value) -> Self {
        let user = emulator.authorized_user();
        let account = json!({
            "Project": "p", "Location": "l", "Dataset": "d", "DicomStore": "s",
            "AuthorizedUserClientId": user.client_id, "AuthorizedUserClientSecret": user.client_secret,
            "AuthorizedUserRefreshToken": user.refresh_token,
            "TokenUri": format!("{}/token", emulator.http_url()),
        });
        let mut configuration = json!({"GoogleCloudPlatform": {"Accounts": {"a": account, "b": account}}});
        orthanc_testbed::merge(&mut configuration, patch);
        let dicomweb: Shared = Arc::new(Mutex::new(dicomweb));
        let shared = Arc::clone(&dicomweb);
        let host = FakeHost::builder()
            .configuration(configuration.to_string())
            .rest(move |method, uri, body| shared.lock().unwrap().serve(method, uri, body))
            .build();
        Self { host, dicomweb, emulator }
    }

    fn start(&self) {
        assert_eq!(self.host.initialize::<GoogleCloudPlatform>(), 0);
        assert_eq!(self.host.change(Change::OrthancStarted), Some(0));
    }

    #[track_caller]
    fn wait_until(&self, what: &str, condition: impl Fn(&DicomWeb) -> bool) {
        self.wait(what, || condition(&self.dicomweb.lock().unwrap()));
    }

    #[track_caller]
    fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + LONG;
        while !condition() {
            assert!(Instant::now() < end, "waited in vain until {what}: {:#?}", self.lines());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    fn wait_for_line(&self, part: &str) {
        let end = Instant::now() + LONG;
        while !self.lines().iter().any(|line| line.contains(part)) {
            assert!(Instant::now() < end, "waited in vain for `{part}`: {:#?}", self.lines());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn lines(&self) -> Vec<String> {
        self.host.log().into_iter().map(|line| format!("{:?} {}", line.level, line.text)).collect()
    }

    fn both_published(&self) {
        self.wait_until("both servers are there", |dicomweb| dicomweb.servers.len() == 2);
    }

    /// Ends as Orthanc does, and looks whether anything is left.
    fn end(self) {
        assert_eq!(self.host.change(Change::OrthancStopped), Some(0));
        self.end_stopped();
    }

    fn end_stopped(self) {
        assert_eq!(our_threads(), 0, "a thread outlives OrthancStopped");
        self.host.finalize();
        self.host.assert_clean();
        orthanc_testbed::assert_no_secret(&self.lines().join("\n"), &self.emulator.secrets());
    }
}

/// The plugin's threads in this process. One that ends is seen for a moment after it was waited for, and no longer counts.
fn our_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok());
    stats.filter(|stat| is_ours_and_lives(stat)).count()
}

/// Of a line of /proc/PID/task/TID/stat (proc(5)): `TID (NAME) STATE PPID PGRP SESSION TTY TPGID FLAGS`.
fn is_ours_and_lives(stat: &str) -> bool {
    /// The kernel's `PF_EXITING`.
    const EXITING: u32 = 4;
    let (name, fields) = stat.rsplit_once(") ").unwrap();
    let flags: u32 = fields.split(' ').nth(6).unwrap().parse().unwrap();
    name.ends_with("(GOOGLE-CLOUD") && flags & EXITING == 0
}

#[test]
fn too_old_a_host_is_refused_with_one_line() {
    for (version, answer) in [("1.5.3", -1), ("1.5.4", 0), ("mainline", 0)] {
        let host = FakeHost::builder().version(version).configuration("{}").build();
        assert_eq!(host.initialize::<GoogleCloudPlatform>(), answer, "{version}");
        let errors: Vec<_> = host.log().into_iter().filter(|line| line.level == Level::Error).collect();
        assert_eq!(errors.len(), usize::from(answer != 0), "{errors:?}");
        assert!(
            errors.iter().all(|line| line.text.contains("1.5.4") && line.text.contains("1.5.3")),
            "{errors:?}"
        );
        host.assert_clean();
    }
}

#[test]
fn it_registers_one_description_one_root_uri_one_button_and_one_callback() {
    let stage = Stage::new(DicomWeb::default(), &json!({}));
    stage.start();
    let properties = stage.host.properties();
    let is_description = |property: &&Property| matches!(property, Property::Description(_));
    assert_eq!(properties.iter().filter(is_description).count(), 1);
    assert_eq!(properties.len(), 3, "{properties:?}");
    let callbacks = stage.host.services().into_iter().filter(|service| *service == 1003).count();
    assert_eq!(callbacks, 1);
    stage.end();
}

#[test]
fn servers_are_published_with_what_the_contract_says() {
    let stage = Stage::new(DicomWeb::default(), &json!({"GoogleCloudPlatform": {"Gateway": false}}));
    stage.start();
    stage.both_published();
    let server = stage.dicomweb.lock().unwrap().servers["a"].clone();
    let token =
        server["HttpHeaders"]["Authorization"].as_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
    assert!(stage.emulator.tokens_issued().contains(&token));
    let url =
        "https://healthcare.googleapis.com/v1beta1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb/";
    assert_eq!(server["Url"], url);
    assert_eq!(server.get("HasDelete"), None);
    assert_eq!(server["Timeout"], 3600);
    stage.end();
}

#[test]
fn a_wipe_after_the_publication_was_seen_is_repaired() {
    for wipe_at_list in [1, 2, 3, 5, 11] {
        let stage =
            Stage::new(DicomWeb { wipe_at_list: Some(wipe_at_list), ..DicomWeb::default() }, &json!({}));
        stage.start();
        stage.wait_until("the wipe has happened", |dicomweb| dicomweb.wipe_at_list.is_none());
        stage.both_published();
        stage.end();
    }
}

#[test]
fn what_is_forgotten_is_put_until_it_holds() {
    let stage = Stage::new(DicomWeb { forget: 6, ..DicomWeb::default() }, &json!({}));
    stage.start();
    stage.both_published();
    stage.wait_for_line("Account \"a\": ready");
    stage.wait_for_line("Account \"b\": ready");
    let ready = stage.lines().iter().filter(|line| line.contains(": ready, as")).count();
    assert_eq!(ready, 2);
    stage.end();
}

#[test]
fn behind_the_gateway_ready_means_a_token_too() {
    let emulator = Emulator::builder().start().unwrap();
    emulator.faults().add(Fault::answer(Route::Token, 400, r#"{"error":"invalid_grant"}"#).until_cleared());
    let patch = json!({"GoogleCloudPlatform": {"Gateway": true, "RefreshInterval": 1}});
    let stage = Stage::before(emulator, DicomWeb::default(), &patch);
    stage.start();
    stage.both_published();
    let lists = stage.dicomweb.lock().unwrap().lists;
    stage.wait_until("the servers were seen", |dicomweb| dicomweb.lists >= lists + 2);
    assert_eq!(stage.lines().iter().find(|line| line.contains(": ready")), None);
    stage.emulator.faults().clear();
    assert_eq!(route(&stage, Method::Post, "accounts/a/refresh").0, 200);
    stage.wait_for_line("Account \"a\": ready");
    stage.end();
}

#[test]
fn a_refusal_is_told_once_and_tried_again() {
    let stage = Stage::new(DicomWeb { refuse: 8, ..DicomWeb::default() }, &json!({}));
    stage.start();
    stage.both_published();
    let errors: Vec<_> = stage
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("Error") && line.contains("refuses the server"))
        .collect();
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(errors[0].contains("the DICOMweb plugin refuses the server"), "{errors:#?}");
    stage.end();
}

#[test]
fn a_deletion_by_a_user_is_respected_and_told() {
    // Under the fake host no DICOMweb plugin was loaded before ours: its wipe is waited for, and comes.
    let dicomweb = DicomWeb { wipe_at_list: Some(2), ..DicomWeb::default() };
    let stage = Stage::new(dicomweb, &json!({"GoogleCloudPlatform": {"RefreshInterval": 1}}));
    stage.start();
    stage.wait_until("the wipe has happened", |dicomweb| dicomweb.wipe_at_list.is_none());
    stage.both_published();
    stage.wait_for_line("Account \"a\": ready");
    let lists = stage.dicomweb.lock().unwrap().lists;
    stage.wait_until("the servers were seen again", |dicomweb| dicomweb.lists >= lists + 2);
    stage.dicomweb.lock().unwrap().servers.remove("a");
    stage.wait_for_line("Account \"a\": somebody deleted its DICOMweb server");
    let lists = stage.dicomweb.lock().unwrap().lists;
    stage.wait_until("two more looks were taken", |dicomweb| dicomweb.lists >= lists + 2);
    assert!(!stage.dicomweb.lock().unwrap().servers.contains_key("a"));
    stage.end();
}

#[test]
fn in_the_database_servers_are_deleted_on_a_clean_stop_alone() {
    for (in_database, left) in [(false, 2), (true, 0)] {
        let patch = json!({"DicomWeb": {"ServersInDatabase": in_database}});
        let stage = Stage::new(DicomWeb::default(), &patch);
        stage.start();
        stage.both_published();
        let dicomweb = Arc::clone(&stage.dicomweb);
        stage.end();
        assert_eq!(dicomweb.lock().unwrap().servers.len(), left);
    }
}

/// The longest that `OrthancStopped` may take, whatever the network does. It takes milliseconds, on a busy machine more, and is
/// below every time limit that there is for the network.
const STOPPED_WITHIN: Duration = Duration::from_secs(8);

/// Stops while `stage` waits for answers that never come, and would for an hour.
fn stop_while_it_waits(stage: Stage) {
    let start = Instant::now();
    assert_eq!(stage.host.change(Change::OrthancStopped), Some(0));
    let took = start.elapsed();
    assert!(took < STOPPED_WITHIN, "OrthancStopped took {took:?}");
    assert!(stage.emulator.requests().iter().all(|request| request.status.is_none()), "there was an answer");
    stage.end_stopped();
}

#[test]
fn orthanc_stopped_waits_for_no_answer() {
    let stage = Stage::new(DicomWeb::default(), &json!({"GoogleCloudPlatform": {"Timeout": 3600}}));
    stage.emulator.faults().add(Fault::hang(Route::Token).until_cleared());
    stage.start();
    stage.wait("both accounts have asked", || stage.emulator.requests().len() == 2);
    let requests = stage.emulator.requests();
    assert!(requests.iter().all(|request| request.route == Route::Token && request.status.is_none()));
    stop_while_it_waits(stage);
}

#[test]
fn orthanc_stopped_waits_for_no_tls() {
    let emulator = Emulator::builder().start().unwrap();
    let account = json!({"TokenUri": emulator.token_url()});
    let patch = json!({
        "HttpsCACertificates": emulator.ca_file(),
        "GoogleCloudPlatform": {"Timeout": 3600, "Accounts": {"a": account, "b": account}},
    });
    // Struck off the list when both accounts are connected.
    emulator.faults().add(Fault::hang_before_tls().times(2));
    let stage = Stage::before(emulator, DicomWeb::default(), &patch);
    stage.start();
    stage.wait("both accounts are connected", || stage.emulator.faults().list().is_empty());
    assert!(stage.emulator.requests().is_empty());
    stop_while_it_waits(stage);
}

#[test]
fn finalize_without_orthanc_stopped() {
    let stage = Stage::new(DicomWeb::default(), &json!({}));
    stage.start();
    stage.both_published();
    stage.host.finalize();
    assert_eq!(our_threads(), 0);
    stage.host.assert_clean();
    orthanc_testbed::assert_no_secret(&stage.lines().join("\n"), &stage.emulator.secrets());
}

#[test]
fn reset_in_the_same_image() {
    let stage = Stage::new(DicomWeb::default(), &json!({}));
    stage.start();
    for _ in 0..10 {
        stage.both_published();
        // They may be those of the life before, put between the wipe and its end; and a thread has its name a moment after it
        // began.
        stage.wait("there is one thread", || our_threads() == 1);
        stage.dicomweb.lock().unwrap().servers.clear();
        assert_eq!(stage.host.reset::<GoogleCloudPlatform>(), 0);
    }
    stage.both_published();
    stage.end();
}

#[test]
fn started_twice_there_is_one_thread() {
    let stage = Stage::new(DicomWeb::default(), &json!({}));
    stage.start();
    assert_eq!(stage.host.change(Change::OrthancStarted), Some(0));
    stage.both_published();
    // A thread has its name a moment after it began.
    stage.wait("there is one thread", || our_threads() == 1);
    stage.end();
}

#[test]
fn a_configuration_that_is_no_json_costs_the_accounts_only() {
    let host = FakeHost::builder().configuration("nonsense").build();
    assert_eq!(host.initialize::<GoogleCloudPlatform>(), 0);
    assert_eq!(host.change(Change::OrthancStarted), Some(0));
    let errors: Vec<_> = host.log().into_iter().filter(|line| line.level == Level::Error).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    host.finalize();
    host.assert_clean();
}

/// What a route answers.
fn route(stage: &Stage, method: Method, path: &str) -> (u16, Value) {
    let path = format!("/google-cloud-platform/{path}");
    let answer = stage.host.request(method, &path, &[], b"").unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// An error: its status twice, and both sentences.
fn is_error(answer: &(u16, Value), status: u16) -> bool {
    let (seen, body) = answer;
    *seen == status
        && body["status"] == status
        && ["message", "remedy"].iter().all(|part| body[part].as_str().is_some_and(|words| !words.is_empty()))
}

#[test]
fn routes_are_answered_before_the_start_and_after_the_stop() {
    let stage = Stage::new(DicomWeb::default(), &json!({}));
    assert_eq!(stage.host.initialize::<GoogleCloudPlatform>(), 0);
    let (status, accounts) = route(&stage, Method::Get, "accounts");
    assert_eq!((status, &accounts["Accounts"][0]["State"]), (200, &json!("starting")));
    assert_eq!(route(&stage, Method::Get, "accounts/b").1["DicomWebServer"], "awaited");
    assert_eq!(route(&stage, Method::Get, "transfers").1["Gateway"], false);
    for operation in ["accounts/a/refresh", "accounts/a/check"] {
        assert!(is_error(&route(&stage, Method::Post, operation), 503), "{operation}");
    }
    assert!(stage.host.metrics().contains_key("orthanc_gcp_accounts{state=\"starting\"}"));

    assert_eq!(stage.host.change(Change::OrthancStarted), Some(0));
    stage.both_published();
    stage.wait("the account works", || route(&stage, Method::Get, "accounts/a").1["State"] == "ok");
    let names: Vec<String> = stage.host.metrics().into_keys().collect();

    assert_eq!(stage.host.change(Change::OrthancStopped), Some(0));
    for (method, path) in [
        (Method::Get, "accounts"),
        (Method::Get, "accounts/a"),
        (Method::Get, "transfers"),
        (Method::Post, "accounts/a/refresh"),
        (Method::Post, "accounts/a/check"),
    ] {
        assert!(is_error(&route(&stage, method, path), 503), "{path}");
    }
    assert!(is_error(&route(&stage, Method::Get, "accounts/nobody"), 404));
    assert_eq!(stage.host.metrics().into_keys().collect::<Vec<_>>(), names);

    // As `POST /tools/reset` does it.
    assert_eq!(stage.host.reset::<GoogleCloudPlatform>(), 0);
    assert_eq!(route(&stage, Method::Get, "accounts/a").1["State"], "starting");
    assert_eq!(stage.host.change(Change::OrthancStarted), Some(0));
    stage.wait("it works again", || route(&stage, Method::Get, "accounts/a").1["State"] == "ok");
    assert_eq!(route(&stage, Method::Get, "accounts/a").1["Refreshes"], 1);
    stage.end();
}

#[test]
fn who_waits_is_let_go_at_orthanc_stopped() {
    let stage = Stage::new(DicomWeb::default(), &json!({"GoogleCloudPlatform": {"Timeout": 3600}}));
    stage.start();
    stage.both_published();
    stage.wait("the account works", || route(&stage, Method::Get, "accounts/a").1["State"] == "ok");
    stage.emulator.faults().add(Fault::hang(Route::Token).until_cleared());
    let asked = || stage.emulator.requests().iter().filter(|request| request.route == Route::Token).count();
    let before = asked();
    std::thread::scope(|scope| {
        let ask = |path| route(&stage, Method::Post, path);
        let waiting = ["accounts/a/refresh", "accounts/a/check", "accounts/b/check", "accounts/b/check"]
            .map(|path| scope.spawn(move || ask(path)));
        // The two checks of one account are one.
        stage.wait("all wait for Google", || asked() == before + 3);
        let (_, account) = route(&stage, Method::Get, "accounts/b");
        assert_eq!(account["Check"]["State"], "running", "{account:#}");
        let start = Instant::now();
        assert_eq!(stage.host.change(Change::OrthancStopped), Some(0));
        let took = start.elapsed();
        assert!(took < STOPPED_WITHIN, "OrthancStopped took {took:?}");
        for one in waiting {
            assert!(is_error(&one.join().unwrap(), 503));
        }
    });
    assert_eq!(asked(), before + 3);
    stage.end_stopped();
}

#[test]
fn orthanc_keeps_threads_while_google_hangs() {
    let stage = Stage::new(DicomWeb::default(), &json!({"GoogleCloudPlatform": {"Timeout": 3600}}));
    stage.start();
    stage.both_published();
    stage.wait("the account works", || route(&stage, Method::Get, "accounts/a").1["State"] == "ok");
    stage.emulator.faults().add(Fault::hang(Route::Token).until_cleared());
    let paths =
        ["accounts/a/refresh", "accounts/b/check"].map(|path| format!("/google-cloud-platform/{path}"));
    let (answered, answers) = mpsc::channel();
    std::thread::scope(|scope| {
        for path in paths.iter().cycle().take(12) {
            let (answered, stage) = (answered.clone(), &stage);
            scope.spawn(move || {
                answered.send(stage.host.request(Method::Post, path, &[], b"").unwrap()).unwrap();
            });
        }
        for _ in 0..4 {
            let answer = answers.recv_timeout(LONG).unwrap();
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert!(is_error(&(answer.status, body.clone()), 503), "{body:#}");
            assert!(body["message"].as_str().unwrap().contains("waiting already"), "{body:#}");
            assert_eq!(answer.header("retry-after"), Some("5"));
        }
        // Who does not wait for Google is answered as ever.
        assert_eq!(route(&stage, Method::Get, "accounts").0, 200);
        assert!(answers.try_recv().is_err());
        assert_eq!(stage.host.change(Change::OrthancStopped), Some(0));
        assert_eq!((0..8).map(|_| answers.recv_timeout(LONG).unwrap().status).collect::<Vec<_>>(), [503; 8]);
    });
    stage.end_stopped();
}

#[test]
fn what_the_dicomweb_plugin_holds_is_told() {
    let dicomweb = DicomWeb { refuse: 1000, ..DicomWeb::default() };
    let stage = Stage::new(dicomweb, &json!({"GoogleCloudPlatform": {"RefreshInterval": 1}}));
    let holds = |state: &str| route(&stage, Method::Get, "accounts/a").1["DicomWebServer"] == state;
    stage.start();
    stage.wait("it refuses it", || holds("refused"));
    stage.dicomweb.lock().unwrap().refuse = 0;
    stage.wait("it holds it", || holds("held"));
    // A wipe is waited for, so that the first deletion is taken for one.
    stage.dicomweb.lock().unwrap().servers.clear();
    stage.wait("it is given again", || stage.lines().iter().any(|line| line.contains("dropped its server")));
    stage.wait("it holds it again", || holds("held"));
    stage.dicomweb.lock().unwrap().servers.remove("a");
    stage.wait("somebody has deleted it", || holds("deleted"));
    stage.end();
}
