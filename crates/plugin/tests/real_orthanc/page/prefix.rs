//! A reverse proxy that puts Orthanc below a path, as hospitals do.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

/// What stands before each path.
const PREFIX: &str = "/imaging/orthanc";

/// The proxy; it refuses connections once it is dropped.
pub(super) struct Prefixed {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    orthanc: SocketAddr,
    /// What was asked for outside the prefix.
    escaped: Mutex<Vec<String>>,
    is_cut: AtomicBool,
}

impl Prefixed {
    pub(super) fn start(orthanc: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let orthanc = SocketAddr::from(([127, 0, 0, 1], orthanc));
        let shared = Arc::new(Shared { orthanc, escaped: Mutex::default(), is_cut: AtomicBool::new(false) });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&of_thread);
                // Whatever ends a conversation is the browser's to notice.
                thread::spawn(move || drop(shared.converse(stream)));
            }
        });
        Self { address, shared }
    }

    /// Where Orthanc seems to be.
    pub(super) fn url(&self) -> String {
        format!("http://{}{PREFIX}", self.address)
    }

    /// Whether the way to Orthanc is cut.
    pub(super) fn cut(&self, is_cut: bool) {
        self.shared.is_cut.store(is_cut, SeqCst);
    }

    /// What was asked for outside the prefix, where a hospital has something else.
    pub(super) fn escaped(&self) -> Vec<String> {
        self.shared.escaped.lock().unwrap().clone()
    }
}

impl Shared {
    /// One request a connection.
    fn converse(&self, mut browser: TcpStream) -> io::Result<()> {
        let head = head(&mut browser)?;
        if self.is_cut.load(SeqCst) {
            return browser.shutdown(Shutdown::Both);
        }
        let (line, fields) = head.split_once("\r\n").unwrap_or_default();
        let Some(line) = within(line) else {
            self.escaped.lock().unwrap().push(line.to_owned());
            return browser
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        let kept = fields.split("\r\n").filter(|field| !field.to_lowercase().starts_with("connection:"));
        let fields = kept.collect::<Vec<_>>().join("\r\n");
        let mut orthanc = TcpStream::connect(self.orthanc)?;
        orthanc.write_all(format!("{line}\r\nConnection: close\r\n{fields}").as_bytes())?;
        let (mut from_browser, mut to_orthanc) = (browser.try_clone()?, orthanc.try_clone()?);
        thread::spawn(move || io::copy(&mut from_browser, &mut to_orthanc));
        io::copy(&mut orthanc, &mut browser)?;
        browser.shutdown(Shutdown::Both)
    }
}

/// The request line as Orthanc shall see it.
fn within(line: &str) -> Option<String> {
    let (method, target) = line.split_once(' ')?;
    let target = target.strip_prefix(PREFIX).filter(|target| target.starts_with('/'))?;
    Some(format!("{method} {target}"))
}

/// Request line and header fields, up to the empty line.
fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
