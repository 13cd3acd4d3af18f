//! The one door to the outside: clock, dice, files and network.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
    pin::Pin,
    time::{Duration, SystemTime},
};

use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

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

    /// Looks at a file without reading it.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn stamp(&self, path: &Path) -> io::Result<FileStamp> {
        self.read_file(path).map(|content| FileStamp::of_content(&content))
    }

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
    pub bytes: Zeroizing<Vec<u8>>,
    /// Users other than its owner and group may read it.
    pub readable_by_others: bool,
    /// Users other than its owner may write it.
    pub writable_by_others: bool,
}

/// What shows that a file is another or has other content than before, without reading it: its size, times and identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStamp {
    digest: Vec<u8>,
    /// When it was written last; `None` where nobody says.
    pub modified: Option<SystemTime>,
}

impl FileStamp {
    /// Of a file's content, for a world without a file system.
    pub fn of_content(content: &FileContent) -> Self {
        Self { digest: digest(&SHA256, &content.bytes).as_ref().to_vec(), modified: None }
    }
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
        let mut file = File::open(path)?;
        // Once more, of what is open now.
        let metadata = file.metadata()?;
        let length = usize::try_from(metadata.len().min(LARGEST_FILE)).unwrap_or_default();
        // One buffer, which does not grow: what it left behind would not be overwritten. A file that grew meanwhile is met half
        // written, and read again.
        let mut bytes = Zeroizing::new(vec![0; length]);
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read(rest) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        let others_may = |rights| others_may(&metadata, rights);
        Ok(FileContent {
            bytes,
            readable_by_others: others_may(0o004),
            writable_by_others: others_may(0o022),
        })
    }

    fn stamp(&self, path: &Path) -> io::Result<FileStamp> {
        let metadata = fs::metadata(path)?;
        let modified = metadata.modified().ok();
        Ok(FileStamp { digest: identity(&metadata), modified })
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
fn others_may(metadata: &fs::Metadata, rights: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.mode() & rights != 0
}

#[cfg(not(unix))]
fn others_may(_: &fs::Metadata, _: u32) -> bool {
    false
}

/// Size, times and identity in bytes. The time of the last change of state moves with each writing, whatever times are set.
#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> Vec<u8> {
    use std::os::unix::fs::MetadataExt;
    let numbers = [metadata.len(), metadata.dev(), metadata.ino()].map(u64::to_ne_bytes);
    let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    let mode = u64::from(metadata.mode()).to_ne_bytes();
    [numbers.concat(), times.map(i64::to_ne_bytes).concat(), mode.to_vec()].concat()
}

#[cfg(not(unix))]
fn identity(metadata: &fs::Metadata) -> Vec<u8> {
    metadata.len().to_ne_bytes().to_vec()
}
