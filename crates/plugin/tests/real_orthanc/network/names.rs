//! Names of hosts, and the servers that are asked for them: those of `/etc/resolv.conf` as it is at that moment, and no others.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use google_emulator::Route;
use serde_json::json;

use crate::stage::{Scene, Stage};

/// A name that only the name servers here know (RFC 6761 section 6.2).
const NAME: &str = "google.test";

/// A whole look-up that fails, and the pause until the next one: these machines may be busy.
const AFTER_A_FAILURE: Duration = Duration::from_secs(120);

/// A name server (RFC 1035) on a thread of its own, until it is dropped.
pub struct NameServer {
    address: Ipv4Addr,
    asked: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl NameServer {
    /// One that never answers.
    pub fn silent() -> Self {
        Self::start(&own_addresses(), false)
    }

    /// One that says of [`NAME`] that it is 127.0.0.1, and of all others that there are none.
    fn knowing() -> Self {
        Self::start(&own_addresses(), true)
    }

    /// The first of `addresses` that is free is its own.
    fn start(addresses: &[Ipv4Addr], answers: bool) -> Self {
        let bound = addresses.iter().find_map(|address| match UdpSocket::bind((*address, 53)) {
            Ok(socket) => Some((*address, socket)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            Err(error) => panic!(
                "{address}, port 53: {error}; run the tests as root, or `sysctl net.ipv4.ip_unprivileged_port_start=53`"
            ),
        });
        let (address, socket) = bound.unwrap_or_else(|| panic!("another name server has {addresses:?}"));
        // How long the thread may take to notice that it is over.
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (asked, over) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let serve = {
            let (asked, over) = (Arc::clone(&asked), Arc::clone(&over));
            move || {
                let mut buffer = [0; 512];
                while !over.load(Ordering::Relaxed) {
                    let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
                    let question = Question::read(&buffer[..length]).expect("a query that can be read");
                    asked.lock().unwrap().push(question.name.clone());
                    if answers {
                        socket.send_to(&question.answer(), client).unwrap();
                    }
                }
            }
        };
        let thread = thread::Builder::new().spawn(serve).unwrap();
        Self { address, asked, over, thread: Some(thread) }
    }

    /// Its line in `/etc/resolv.conf`.
    pub fn line(&self) -> String {
        format!("nameserver {}\n", self.address)
    }

    /// The names it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(thread::panicking() || !matches!(ended, Some(Err(_))), "the name server failed");
    }
}

/// Addresses of this machine that nobody else listens at.
fn own_addresses() -> Vec<Ipv4Addr> {
    (1..=250).map(|last| Ipv4Addr::new(127, 53, 53, last)).collect()
}

/// The only question of a query (RFC 1035 sections 4.1.1 and 4.1.2).
struct Question {
    id: [u8; 2],
    name: String,
    is_ipv4: bool,
    bytes: Vec<u8>,
}

impl Question {
    fn read(query: &[u8]) -> Option<Self> {
        let mut labels = Vec::new();
        let mut rest = query.get(12..)?;
        while let Some((length, after)) = rest.split_first().filter(|(length, _)| **length > 0) {
            let (label, next) = after.split_at_checked(usize::from(*length))?;
            labels.push(String::from_utf8_lossy(label).to_lowercase());
            rest = next;
        }
        let [0, high, low, _, _, additional @ ..] = rest else { return None };
        Some(Self {
            id: [query[0], query[1]],
            name: labels.join("."),
            is_ipv4: [*high, *low] == [0, 1],
            bytes: query[12..query.len() - additional.len()].to_vec(),
        })
    }

    fn answer(&self) -> Vec<u8> {
        let is_known = self.name == NAME;
        let has_address = is_known && self.is_ipv4;
        let mut answer = self.id.to_vec();
        // A response, recursion desired and available; 3 is NXDOMAIN. One question, no or one answer.
        answer.extend([0x81, if is_known { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
        answer.extend(&self.bytes);
        if has_address {
            // The name of the question, type A, class IN, one second, four bytes.
            answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
        }
        answer
    }
}

/// An Orthanc with this `/etc/resolv.conf`, whose account `g` asks for its tokens at [`NAME`].
fn start(resolv_conf: &str) -> Stage {
    let scene = Scene::new();
    let mut account = scene.user_strings();
    account["TokenUri"] = json!(format!("{}/token", scene.emulator.http_url().replace("127.0.0.1", NAME)));
    let orthanc = scene
        .orthanc(&json!({"g": account}))
        .configuration(&json!({"GoogleCloudPlatform": {"Timeout": 4}}))
        .resolv_conf(resolv_conf);
    scene.start(orthanc)
}

fn expect_ready(stage: &Stage) {
    let is_ready = |line: &str| line.contains("Account \"g\": ready, as DICOMweb server");
    stage.orthanc.wait_for_log(is_ready, AFTER_A_FAILURE).unwrap();
    assert_eq!(stage.requests(Route::Token).len(), 1);
    assert_eq!(stage.search("g").0, 200, "{}", stage.orthanc.log());
}

#[track_caller]
fn expect_asked(server: &NameServer) {
    let asked = server.asked();
    assert!(!asked.is_empty(), "{} was not asked", server.address);
    assert!(asked.iter().all(|name| name == NAME), "{asked:?}");
}

#[test]
fn names_are_looked_up_anew() {
    let (dead, alive) = (NameServer::silent(), NameServer::knowing());
    let stage = start(&dead.line());
    stage.wait_for(&["Account \"g\": ", "no whole answer within 4 s"]);
    expect_asked(&dead);
    assert_eq!(alive.asked(), [""; 0]);
    stage.orthanc.set_resolv_conf(&alive.line()).unwrap();
    expect_ready(&stage);
    expect_asked(&dead);
    expect_asked(&alive);
    stage.stop();
}

#[test]
fn where_no_server_is_named_this_machine_is_asked() {
    // As the C library does (resolv.conf(5)): not some public server.
    let this_machine = NameServer::start(&[Ipv4Addr::LOCALHOST], true);
    let stage = start("");
    expect_ready(&stage);
    expect_asked(&this_machine);
    stage.stop();
}
