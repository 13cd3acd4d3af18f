//! The one door to the outside: clock, dice, files and network.

use std::{
    fs, io,
    path::Path,
    pin::Pin,
    time::{Duration, SystemTime},
};

use ring::rand::{SecureRandom, SystemRandom};

use crate::{
    TransportError, child,
    executable::{Command, CommandOutput},
    http::{Http, HttpSettings, Request, Response},
};

/// A boxed future, so that a [`World`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Everything that this crate takes from outside itself.
pub trait World: Send + Sync {
    /// The wall clock. Expiry goes by it, because a monotonic clock stands still while a machine is suspended.
    fn now(&self) -> SystemTime;

    /// A number in `0.0..1.0`, for jitter.
    fn dice(&self) -> f64;

    /// Reads a credential file, whole.
    ///
    /// # Errors
    /// Whatever the operating system says, and `InvalidInput` for what is no regular file or too large.
    fn read_file(&self, path: &Path) -> io::Result<FileContent>;

    /// A variable of the environment; `None` where it is not set or no text.
    fn env(&self, name: &str) -> Option<String>;

    /// Runs a program and reads what it prints; it is killed at its time limit, and when the future is dropped.
    ///
    /// # Errors
    /// It cannot be started, or took too long.
    fn run<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, io::Result<CommandOutput>>;

    /// Sends a request and reads its answer whole, within the time limit of the settings.
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, TransportError>>;

    /// Waits, cancellably.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// A file as it was found.
#[derive(Clone)]
pub struct FileContent {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Users other than its owner and group may read it.
    pub readable_by_others: bool,
}

/// A credential file is a few kilobytes; what is larger is another file, and is not read into Orthanc's memory.
const LARGEST_FILE: u64 = 1 << 20;

/// The real world.
pub struct Outside {
    http: Http,
    random: SystemRandom,
}

impl Outside {
    /// A world that sends its requests as `settings` say.
    pub fn new(settings: HttpSettings) -> Self {
        Self { http: Http::new(settings), random: SystemRandom::new() }
    }
}

impl World for Outside {
    #[expect(clippy::disallowed_methods, reason = "this is the door that the ban leads to")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn dice(&self) -> f64 {
        let mut bytes = [0; 4];
        match self.random.fill(&mut bytes) {
            Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
            // Jitter spreads load, it protects nothing: a system without randomness gets the middle.
            Err(ring::error::Unspecified) => 0.5,
        }
    }

    fn read_file(&self, path: &Path) -> io::Result<FileContent> {
        // Asked of the path before it is opened: opening a named pipe would wait for its other end.
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        if metadata.len() > LARGEST_FILE {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is larger than 1 MiB"));
        }
        Ok(FileContent { bytes: fs::read(path)?, readable_by_others: readable_by_others(&metadata) })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the door that the ban leads to")]
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn run<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, io::Result<CommandOutput>> {
        Box::pin(child::run(command))
    }

    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(self.http.send(request))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[cfg(unix)]
fn readable_by_others(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.mode() & 0o004 != 0
}

#[cfg(not(unix))]
fn readable_by_others(_: &fs::Metadata) -> bool {
    false
}
