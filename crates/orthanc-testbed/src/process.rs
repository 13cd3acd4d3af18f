//! The child process: how it enters its chroot, and how it never outlives its owner.

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use crate::{Release, log::Log};

/// Enters a chroot in a mount namespace of its own.
///
/// The machine's folder for temporary files is mounted at its own path inside, so that every path a test writes
/// means the same on both sides, and nothing has to be copied or translated. All mounts belong to the namespace,
/// and so vanish with the process; and as each program here replaces the one before, the pid is Orthanc's own.
const ENTER: &str = r#"
root=$1; shared=$2; shift 2
mkdir -p "$root$shared"
mount --rbind "$shared" "$root$shared"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" "$@"
"#;

/// Puts the file of the test's own over `/etc/resolv.conf`, in the same namespace.
const RESOLVE: &str = r#"
mount --bind "$1" /etc/resolv.conf; shift
exec "$@"
"#;

/// Where programs are found, Orthanc's own folder included.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What to run.
pub(crate) struct Launch<'a> {
    pub(crate) release: Release,
    /// Take away root's right to read and write whatever there is.
    pub(crate) bound_by_permissions: bool,
    pub(crate) folder: &'a Path,
    /// What it sees as `/etc/resolv.conf` in place of the release's.
    pub(crate) resolv_conf: Option<&'a Path>,
    pub(crate) environment: &'a [(OsString, OsString)],
    pub(crate) arguments: &'a [OsString],
}

/// A running or ended child, and the thread that collects its log.
#[derive(Debug)]
pub(crate) struct Process {
    child: Mutex<Child>,
    keeper: Mutex<Option<JoinHandle<()>>>,
    pid: u32,
    pub(crate) log: Arc<Log>,
}

impl Process {
    /// Starts the child in a thread that lives until the child's output ends: the kernel kills the child when the
    /// thread that started it ends (`PR_SET_PDEATHSIG`), so that not even a killed test leaves an Orthanc behind.
    pub(crate) fn start(launch: &Launch<'_>) -> io::Result<Self> {
        let mut command = launch.command();
        let log = Arc::new(Log::default());
        let (sender, receiver) = mpsc::channel();
        let keeper = thread::spawn({
            let log = Arc::clone(&log);
            move || {
                let started = io::pipe().and_then(|(output, input)| {
                    command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
                    Ok((command.spawn()?, output))
                });
                // The command holds the writing end of the pipe, which must be the child's alone.
                drop(command);
                let (child, output) = match started {
                    Ok((child, output)) => (Ok(child), Some(output)),
                    Err(error) => (Err(error), None),
                };
                if sender.send(child).is_ok()
                    && let Some(output) = output
                {
                    log.fill_from(output);
                }
            }
        });
        let child = receiver.recv().map_err(io::Error::other)??;
        Ok(Self { pid: child.id(), child: Mutex::new(child), keeper: Mutex::new(Some(keeper)), log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How the child ended, if it did.
    pub(crate) fn ended(&self) -> io::Result<Option<ExitStatus>> {
        self.child().try_wait()
    }

    /// Waits for the end of the child; none when the deadline passes. Afterwards the log is complete.
    pub(crate) fn wait(&self, deadline: Duration) -> io::Result<Option<ExitStatus>> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.ended()? {
                self.join_keeper();
                return Ok(Some(status));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        // As long as the lock is held and the child not reaped, its pid cannot have become another process's.
        let mut child = self.child();
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        Ok(rustix::process::kill_process(Pid::from_child(&child), signal)?)
    }

    /// Kills and reaps the child.
    pub(crate) fn kill(&self) {
        let mut child = self.child();
        // Both fail only when the child has been reaped already.
        child.kill().ok();
        child.wait().ok();
        drop(child);
        self.join_keeper();
    }

    fn join_keeper(&self) {
        if let Some(keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It cannot panic; and if it did, an incomplete log would show.
            keeper.join().ok();
        }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Launch<'_> {
    fn command(&self) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        let root = self.release.root();
        let has_namespace = root.is_some() || self.resolv_conf.is_some();
        let is_root = rustix::process::geteuid().is_root();
        if has_namespace {
            words.extend(["unshare", "--mount", "--propagation=private"].map(OsString::from));
            if !is_root {
                words.push("--map-root-user".into());
            }
        }
        if let Some(root) = root {
            words.extend(["sh", "-euc", ENTER, "sh"].map(OsString::from));
            words.extend([root.into_os_string(), env::temp_dir().into_os_string()]);
        }
        if let Some(file) = self.resolv_conf {
            words.extend(["sh", "-euc", RESOLVE, "sh"].map(OsString::from));
            words.push(file.into());
        }
        words.extend(["setpriv", "--pdeathsig=KILL"].map(OsString::from));
        // In a namespace, everybody is root.
        if self.bound_by_permissions && (is_root || has_namespace) {
            words.push("--bounding-set=-dac_override,-dac_read_search".into());
        }
        words.push("env".into());
        words.extend(["--chdir".into(), self.folder.as_os_str().to_owned()]);
        for (name, value) in self.environment {
            let mut pair = name.clone();
            pair.push("=");
            pair.push(value);
            words.push(pair);
        }
        words.push(self.release.program().as_os_str().to_owned());
        words.extend(self.arguments.iter().cloned());

        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).env_clear().env("PATH", PATH);
        // Ctrl-C in a terminal is for the owner, who may still need Orthanc for tidying up.
        command.process_group(0);
        command
    }
}
