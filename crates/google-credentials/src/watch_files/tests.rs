use std::{
    io,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::SystemTime,
};

use super::*;
use crate::{
    BoxFuture, Command, CommandOutput, Credential, FileContent, HttpSettings, Outside, PeerVerification,
    Request, Response, TransportError, Verbosity,
};

/// The real file system; the clock stands where it is set, and each sleep ends when the test says so.
struct Counting {
    outside: Outside,
    reads: AtomicUsize,
    now: Mutex<SystemTime>,
    turns: tokio::sync::Semaphore,
    sleeps: AtomicUsize,
}

impl World for Arc<Counting> {
    fn now(&self) -> SystemTime {
        *self.now.lock().unwrap()
    }
    fn dice(&self) -> f64 {
        0.5
    }
    fn read_file(&self, path: &Path) -> io::Result<FileContent> {
        self.reads.fetch_add(1, SeqCst);
        self.outside.read_file(path)
    }
    fn stamp(&self, path: &Path) -> io::Result<FileStamp> {
        self.outside.stamp(path)
    }
    fn env(&self, _: &str) -> Option<String> {
        None
    }
    fn run<'a>(&'a self, _: &'a Command) -> BoxFuture<'a, io::Result<CommandOutput>> {
        Box::pin(std::future::pending())
    }
    fn send<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(std::future::pending())
    }
    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        self.sleeps.fetch_add(1, SeqCst);
        let world = Arc::clone(self);
        Box::pin(async move { world.turns.acquire().await.unwrap().forget() })
    }
}

struct Watch {
    world: Arc<Counting>,
    changed: Arc<Notify>,
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Watch {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        std::fs::write(&path, "one").unwrap();
        let settings = HttpSettings {
            ca_certificates: None,
            verify_peers: PeerVerification::Required,
            proxy: None,
            timeout: Duration::from_secs(1),
            verbose: Verbosity::Quiet,
        };
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        let world = Arc::new(Counting {
            outside: Outside::new(settings),
            reads: AtomicUsize::new(0),
            now: Mutex::new(modified + Duration::from_secs(60)),
            turns: tokio::sync::Semaphore::new(0),
            sleeps: AtomicUsize::new(0),
        });
        let changed = Arc::new(Notify::new());
        let source = Source::of(Credential::CredentialsFile(path.clone()));
        let watched = vec![(source, Arc::clone(&changed))];
        tokio::spawn(watch_files(Arc::new(Arc::clone(&world)), watched));
        Self { world, changed, _folder: folder, path }
    }

    /// Lets so many sleeps end, and waits until the watcher sleeps again.
    async fn turn(&self, times: usize) {
        for _ in 0..times {
            self.asleep().await;
            let slept = self.world.sleeps.load(SeqCst);
            self.world.turns.add_permits(1);
            while self.world.sleeps.load(SeqCst) == slept {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn asleep(&self) {
        while self.world.sleeps.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    }

    fn reads(&self) -> usize {
        self.world.reads.load(SeqCst)
    }

    async fn is_told(&self) -> bool {
        tokio::select! {
            biased;
            () = self.changed.notified() => true,
            () = std::future::ready(()) => false,
        }
    }
}

/// A key that is read is in memory for a moment: an hour of looks reads it once.
#[tokio::test]
async fn a_file_that_does_not_change_is_read_once() {
    let watch = Watch::start();
    watch.turn(180).await;
    assert_eq!(watch.reads(), 1);
    assert!(!watch.is_told().await);
}

#[tokio::test]
async fn a_file_that_changes_is_read_and_told() {
    let watch = Watch::start();
    watch.turn(2).await;
    // The same size; another inode, as editors and Kubernetes have it.
    let beside = watch.path.with_extension("new");
    std::fs::write(&beside, "two").unwrap();
    std::fs::rename(&beside, &watch.path).unwrap();
    watch.turn(2).await;
    assert!(watch.is_told().await);
    // Touched: read again, and nothing to tell.
    let reads = watch.reads();
    std::fs::write(&watch.path, "two").unwrap();
    watch.turn(3).await;
    assert!(watch.reads() > reads);
    assert!(!watch.is_told().await);
    std::fs::remove_file(&watch.path).unwrap();
    watch.turn(2).await;
    assert!(watch.is_told().await, "a file that went away");
}

/// The time of the last change has not moved, as where a file system counts seconds: read again until it is old.
#[tokio::test]
async fn a_file_just_written_is_read_at_the_next_look_as_well() {
    let watch = Watch::start();
    watch.turn(1).await;
    let modified = std::fs::metadata(&watch.path).unwrap().modified().unwrap();
    *watch.world.now.lock().unwrap() = modified + Duration::from_secs(1);
    watch.turn(1).await;
    let reads = watch.reads();
    watch.turn(1).await;
    assert_eq!(watch.reads(), reads + 1);
    *watch.world.now.lock().unwrap() = modified + Duration::from_secs(60);
    watch.turn(5).await;
    assert_eq!(watch.reads(), reads + 2);
}
