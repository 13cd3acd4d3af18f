//! Starting an emulator: everything that can fail does so here.

use crate::{
    archive::{Archive, Keep, StoreName},
    emulator::Emulator,
    federation::Federation,
    files::write_private,
    identity::{Identity, IdentityError},
    listen::{Http2Windows, accept},
    record::Host,
    settings::{EmptySearch, Settings},
    tokens::TokenBook,
    upstream::Upstream,
    world::World,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio_rustls::TlsAcceptor;

/// How to start an emulator. The defaults: loopback, free ports, a temporary folder, tokens of 3599 s, one store.
#[derive(Clone, Debug)]
pub struct Builder {
    address: IpAddr,
    http_port: u16,
    https_port: u16,
    metadata_port: u16,
    data_dir: Option<PathBuf>,
    keep: Keep,
    stores: Vec<StoreName>,
    http2_windows: Http2Windows,
    settings: Settings,
    upstream: Option<String>,
    verbose: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            http_port: 0,
            https_port: 0,
            metadata_port: 0,
            data_dir: None,
            keep: Keep::default(),
            stores: Vec::new(),
            http2_windows: Http2Windows::default(),
            settings: Settings::default(),
            upstream: None,
            verbose: false,
        }
    }
}

/// Why the emulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken, or the address is not this machine's.
    #[error("cannot listen on {address}: {source}; choose another address or port, 0 for a free one")]
    Listen {
        /// The address and port asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}: {source}; choose an empty folder, or one that an emulator made", path.display())]
    Data {
        /// The folder.
        path: PathBuf,
        /// What the operating system said, or what is wrong in a file.
        source: io::Error,
    },
    /// No keys or certificates.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// TLS refused what was made.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The upstream is not an address.
    #[error("{0} is not a DICOMweb root; write http://HOST:PORT/PATH/")]
    Upstream(String),
    /// No thread or runtime.
    #[error("cannot start the emulator's thread: {0}")]
    Thread(io::Error),
}

impl Builder {
    /// The address to listen on. Anything but loopback shows secrets to the network, see the control routes.
    #[must_use]
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// The port for HTTP, 0 for a free one.
    #[must_use]
    pub fn http_port(mut self, port: u16) -> Self {
        self.http_port = port;
        self
    }

    /// The port for HTTPS, 0 for a free one.
    #[must_use]
    pub fn https_port(mut self, port: u16) -> Self {
        self.https_port = port;
        self
    }

    /// The port for the metadata server (HTTP), 0 for a free one.
    #[must_use]
    pub fn metadata_port(mut self, port: u16) -> Self {
        self.metadata_port = port;
        self
    }

    /// Keeps instances, tokens, keys and certificates in `folder`, for the next start as well.
    #[must_use]
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(folder.into());
        self
    }

    /// Where instances are kept; only those on disk are still there at the next start.
    #[must_use]
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Bytes that a client may send over HTTP/2 before they are taken: for one request, and for all of a connection. Google's
    /// servers begin with 1 MiB for both, and so does the emulator.
    #[must_use]
    pub fn http2_windows(mut self, stream: u32, connection: u32) -> Self {
        self.http2_windows = Http2Windows { stream, connection };
        self
    }

    /// Adds a DICOM store; the default one exists only where none is added.
    #[must_use]
    pub fn store(mut self, name: StoreName) -> Self {
        self.stores.push(name);
        self
    }

    /// Answers DICOMweb requests with what the server at `url` (`http://HOST:PORT/PATH/`, no credentials) answers, once the
    /// caller's token was checked. Tokens, faults and the record stay the emulator's; searches, conflicts and deletions are
    /// then that server's, and nothing is kept here.
    #[must_use]
    pub fn upstream(mut self, url: impl Into<String>) -> Self {
        self.upstream = Some(url.into());
        self
    }

    /// Life of tokens, in whole seconds.
    #[must_use]
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.token_lifetime_seconds = lifetime.as_secs();
        self
    }

    /// What a search without results is answered.
    #[must_use]
    pub fn empty_search(mut self, answer: EmptySearch) -> Self {
        self.settings.empty_search = answer;
        self
    }

    /// Prints a line for each request to standard output, without query and header fields.
    #[must_use]
    pub fn verbose(mut self) -> Self {
        self.verbose = true;
        self
    }

    /// Starts. When this returns, requests are answered.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what is wrong, and what to do.
    pub fn start(self) -> Result<Emulator, StartError> {
        let (folder, temporary) = if let Some(folder) = self.data_dir {
            (folder, None)
        } else {
            let made = tempfile::Builder::new().prefix("google-emulator-").tempdir();
            let made = made.map_err(|source| StartError::Data { path: std::env::temp_dir(), source })?;
            (made.path().to_owned(), Some(made))
        };
        let data = |source| StartError::Data { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(data)?;
        let folder = folder.canonicalize().map_err(data)?;
        let identity: Identity = kept(&folder.join("identity.json"), Identity::generate)?;
        let federation = kept(&folder.join("federation.json"), || Ok(Federation::generate()?))?;
        let mut stores = self.stores;
        if stores.is_empty() {
            stores.push(StoreName::default());
        }
        let store = stores.first().cloned().unwrap_or_default();
        let upstream = self.upstream.map(|url| Upstream::at(&url).ok_or(StartError::Upstream(url)));
        let upstream = upstream.transpose()?;
        let archive = Archive::open(&folder, self.keep, &stores).map_err(data)?;
        let tokens = if temporary.is_some() {
            TokenBook::default()
        } else {
            let path = folder.join("tokens.jsonl");
            TokenBook::open(&path).map_err(|source| StartError::Data { path, source })?
        };
        let http = listen(self.address, self.http_port)?;
        let https = listen(self.address, self.https_port)?;
        let metadata = listen(self.address, self.metadata_port)?;
        let acceptor = acceptor(&identity, self.address)?;
        let url = |scheme: &str, listener: &TcpListener| {
            let mut address = listener.local_addr().map_err(StartError::Thread)?;
            if address.ip().is_unspecified() {
                address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
            }
            Ok::<_, StartError>(format!("{scheme}{address}"))
        };
        let urls = vec![url("http://", &http)?, url("https://", &https)?];
        let metadata_host = url("", &metadata)?;
        fs::write(folder.join("ca.pem"), &identity.ca_certificate_pem).map_err(data)?;
        let world =
            World::new(identity, federation, archive, self.settings, urls, metadata_host, self.verbose);
        let world = Arc::new(
            world.with_tokens(tokens).with_http2_windows(self.http2_windows).with_upstream(upstream),
        );

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2)))
            .thread_name("google-emulator")
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let connections = Arc::new(AtomicU64::default());
        let doors =
            [(http, Host::Apis, None), (https, Host::Apis, Some(acceptor)), (metadata, Host::Metadata, None)];
        for (listener, host, tls) in doors {
            let _entered = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::Thread)?;
            runtime.spawn(accept(listener, host, tls, Arc::clone(&world), Arc::clone(&connections)));
        }
        Emulator::run(runtime, world, store, folder, temporary).map_err(StartError::Thread)
    }
}

fn listen(address: IpAddr, port: u16) -> Result<TcpListener, StartError> {
    let address = SocketAddr::new(address, port);
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|source| StartError::Listen { address, source })
}

/// What the file holds, or something new that it holds from now on.
fn kept<T: Serialize + DeserializeOwned>(
    path: &Path,
    generate: impl FnOnce() -> Result<T, IdentityError>,
) -> Result<T, StartError> {
    let data = |source| StartError::Data { path: path.to_owned(), source };
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| data(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = generate()?;
            let value = serde_json::to_value(&made).map_err(|error| data(error.into()))?;
            write_private(path, &value).map_err(data)?;
            Ok(made)
        }
        Err(error) => Err(data(error)),
    }
}

fn acceptor(identity: &Identity, address: IpAddr) -> Result<TlsAcceptor, StartError> {
    let (chain, key) = identity.server_certificate(address)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
