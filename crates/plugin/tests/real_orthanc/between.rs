//! What stands between Orthanc and Google in a hospital: servers with certificates of their own, and proxies.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    os::fd::IntoRawFd as _,
    sync::{Arc, Mutex},
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// Serves connections on a thread of its own, until it is dropped.
struct Listening {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Listening {
    fn start<Done>(converse: impl Fn(TcpStream) -> Done + Send + 'static) -> Self
    where
        Done: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), converse)
    }

    fn start_at<Done>(address: SocketAddr, converse: impl Fn(TcpStream) -> Done + Send + 'static) -> Self
    where
        Done: Future<Output = io::Result<()>> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let accept = async move {
            let mut conversations = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // Whatever ends a conversation is the client's to notice.
                conversations.spawn(converse(stream));
            }
        };
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = accept => {}
                }
            });
        };
        let thread = thread::Builder::new().spawn(serve).unwrap();
        Self { address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.thread.take().map(thread::JoinHandle::join));
    }
}

/// How a self-signed certificate describes itself.
#[derive(Clone, Copy, Debug)]
pub enum SelfSigned {
    /// As a CA: what `openssl req -x509` makes.
    Authority,
    /// As a server alone.
    Server,
    /// As a CA whose time is over.
    Expired,
}

/// An HTTPS server with a self-signed certificate, before the emulator's HTTP.
pub struct SelfSignedServer {
    listening: Listening,
    /// The certificate, in PEM.
    pub certificate: String,
}

impl SelfSignedServer {
    /// One whose certificate is for `name`, before the emulator at `http_url`.
    pub fn start(kind: SelfSigned, name: &str, http_url: &str) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if !matches!(kind, SelfSigned::Server) {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        if matches!(kind, SelfSigned::Expired) {
            params.not_after = rcgen::date_time_ymd(2020, 2, 29);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let behind = authority(http_url);
        let listening = Listening::start(move |stream| {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            async move {
                let mut front = acceptor.accept(stream).await?;
                let mut back = TcpStream::connect(behind).await?;
                copy_bidirectional(&mut front, &mut back).await.map(drop)
            }
        });
        Self { listening, certificate: certificate.pem() }
    }

    /// Its root, without a last slash.
    pub fn url(&self) -> String {
        format!("https://{}", self.listening.address)
    }
}

/// A way to a server that can be closed, with all its connections, and opened again: a server that is restarted.
pub struct Door {
    behind: String,
    address: SocketAddr,
    listening: Option<Listening>,
    /// Keeps the port from others while it is closed.
    reserved: Option<TcpSocket>,
}

impl Door {
    /// An open one before the server at `url`.
    pub fn before(url: &str) -> Self {
        let behind = authority(url);
        let listening = Listening::start(pass_on(behind.clone()));
        Self { behind, address: listening.address, listening: Some(listening), reserved: None }
    }

    /// `host:port`, the same as long as it lives.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on nobody listens.
    pub fn close(&mut self) {
        self.listening = None;
        self.reserved = Some(reserve(self.address));
    }

    pub fn open(&mut self) {
        self.reserved = None;
        self.listening = Some(Listening::start_at(self.address, pass_on(self.behind.clone())));
    }
}

fn pass_on(behind: String) -> impl Fn(TcpStream) -> BoxFuture + Send + 'static {
    move |mut front| {
        let behind = behind.clone();
        Box::pin(async move {
            let mut back = TcpStream::connect(behind).await?;
            copy_bidirectional(&mut front, &mut back).await.map(drop)
        })
    }
}

type BoxFuture = std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// What a proxy was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `host:port`.
    pub target: String,
    /// `Proxy-Authorization`.
    pub authorization: Option<String>,
}

/// Whom a proxy lets through.
#[derive(Clone)]
pub enum Admits {
    Everybody,
    /// Whoever sends this `Proxy-Authorization`; others get 407.
    Only(String),
    /// Nobody: 403.
    Nobody,
}

/// An HTTP proxy that opens tunnels (RFC 9110 section 9.3.6).
pub struct Proxy {
    listening: Listening,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Proxy {
    pub fn start(admits: Admits) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&asked);
        let listening = Listening::start(move |stream| tunnel(stream, admits.clone(), Arc::clone(&record)));
        Self { listening, asked }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.listening.address.to_string()
    }

    /// All that it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn tunnel(mut front: TcpStream, admits: Admits, record: Arc<Mutex<Vec<Asked>>>) -> io::Result<()> {
    const UNKNOWN: &[u8] = b"HTTP/1.1 407 Proxy Authentication Required\r\n\
        Proxy-Authenticate: Basic realm=\"ward\"\r\nContent-Length: 0\r\n\r\n";
    const FORBIDDEN: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    // libcurl repeats a refused request on the same connection, now with what was wanted.
    loop {
        let head = head(&mut front).await?;
        let mut lines = head.lines();
        let mut request = lines.next().unwrap_or_default().split(' ');
        if request.next() != Some("CONNECT") {
            return front.write_all(b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n").await;
        }
        let target = request.next().unwrap_or_default().to_owned();
        let authorization = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("Proxy-Authorization").then(|| value.trim().to_owned())
        });
        let refusal = match &admits {
            Admits::Everybody => None,
            Admits::Only(wanted) => (authorization.as_ref() != Some(wanted)).then_some(UNKNOWN),
            Admits::Nobody => Some(FORBIDDEN),
        };
        record.lock().unwrap().push(Asked { target: target.clone(), authorization });
        if let Some(refusal) = refusal {
            front.write_all(refusal).await?;
            continue;
        }
        let mut back = TcpStream::connect(target).await?;
        front.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        return copy_bidirectional(&mut front, &mut back).await.map(drop);
    }
}

/// A request's head, up to its empty line.
async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    String::from_utf8(head).map_err(io::Error::other)
}

/// `host:port` of a URL without a path.
pub fn authority(url: &str) -> String {
    url.split_once("://").unwrap().1.to_owned()
}

/// An address on which nobody listens, and nobody can, as long as this process lives.
pub fn dead_address() -> String {
    let socket = reserve(SocketAddr::from(([127, 0, 0, 1], 0)));
    let address = socket.local_addr().unwrap().to_string();
    let _never_closed = socket.into_raw_fd();
    address
}

/// Takes a port without listening at it: whoever connects is refused, and the kernel gives it to nobody who wants any free
/// port. Only who names it, and lets it be used again (`SO_REUSEADDR`, socket(7)), can listen there meanwhile.
pub fn reserve(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}
