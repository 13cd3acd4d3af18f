//! A running Orthanc.

use std::{
    fs, io,
    path::Path,
    process::ExitStatus,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{Answer, Builder, Client, Error, Release, clock, find_secret, name_servers, process::Process};

/// Orthanc is up within a second; a loaded machine gets this long.
const START_DEADLINE: Duration = Duration::from_secs(180);

/// Orthanc itself takes about 3 s to stop; a loaded machine gets this long.
const STOP_DEADLINE: Duration = Duration::from_secs(180);

/// Orthanc heeds signals within milliseconds of its start; a loaded machine gets this long.
const SIGNAL_DEADLINE: Duration = Duration::from_secs(60);

/// How many lines of the log a failed test shows.
const SHOWN_LINES: usize = 80;

/// An Orthanc that lives in a child process. Dropping it kills the child and removes all its files.
#[derive(Debug)]
pub struct Orthanc {
    // Dropped after `Drop::drop` has ended the process: it owns the folder that Orthanc writes in.
    builder: Option<Builder>,
    process: Process,
    port: u16,
    client: Client,
    forbidden: Mutex<Vec<String>>,
}

/// How an Orthanc ended.
#[derive(Clone, Copy, Debug)]
pub struct Stopped {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// From the signal to the end of the process.
    pub took: Duration,
}

impl Stopped {
    /// The exit code; none when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it, such as 11 (SIGSEGV); none when it exited.
    pub fn signal(&self) -> Option<i32> {
        std::os::unix::process::ExitStatusExt::signal(&self.status)
    }
}

impl Orthanc {
    /// Begins to describe an Orthanc.
    ///
    /// # Panics
    /// If no temporary folder can be made, or `ORTHANC_RELEASE` names no release.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(builder: Builder, process: Process, port: u16) -> Self {
        let forbidden = Mutex::new(builder.forbidden().to_vec());
        Self { builder: Some(builder), process, port, client: Client::default(), forbidden }
    }

    /// The root of the REST API, without a last slash.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its HTTP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Which Orthanc this is.
    pub fn release(&self) -> Release {
        self.builder.as_ref().map(Builder::release_in_use).unwrap_or_default()
    }

    /// The folder that this Orthanc lives in.
    pub fn work_dir(&self) -> &Path {
        self.builder.as_ref().map_or(Path::new(""), Builder::work_dir)
    }

    /// `GET`, `path` beginning with a slash.
    ///
    /// # Errors
    /// No answer came. An answer of any status is none.
    pub fn get(&self, path: &str) -> Result<Answer, Error> {
        self.client.send("GET", &self.at(path))
    }

    /// `POST`, `path` beginning with a slash.
    ///
    /// # Errors
    /// No answer came. An answer of any status is none.
    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Result<Answer, Error> {
        self.client.send_body("POST", &self.at(path), &[], body.as_ref())
    }

    /// `PUT`, `path` beginning with a slash.
    ///
    /// # Errors
    /// No answer came. An answer of any status is none.
    pub fn put(&self, path: &str, body: impl AsRef<[u8]>) -> Result<Answer, Error> {
        self.client.send_body("PUT", &self.at(path), &[], body.as_ref())
    }

    /// `DELETE`, `path` beginning with a slash.
    ///
    /// # Errors
    /// No answer came. An answer of any status is none.
    pub fn delete(&self, path: &str) -> Result<Answer, Error> {
        self.client.send("DELETE", &self.at(path))
    }

    /// Waits until Orthanc logs that it has started, and answers by HTTP.
    ///
    /// # Errors
    /// [`Error::Ended`] or [`Error::Deadline`], with the log.
    pub fn wait_until_started(&self) -> Result<(), Error> {
        self.wait_for_log(|line| line.contains("Orthanc has started"), START_DEADLINE)?;
        let end = Instant::now() + START_DEADLINE;
        while self.get("/system").is_err() {
            if Instant::now() >= end {
                return Err(self.in_vain("an answer to GET /system", START_DEADLINE));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The first line of the whole log, past or to come, that fulfils `predicate`.
    ///
    /// # Errors
    /// [`Error::Ended`] or [`Error::Deadline`], with the log.
    pub fn wait_for_log(
        &self,
        predicate: impl Fn(&str) -> bool,
        deadline: Duration,
    ) -> Result<String, Error> {
        self.wait_for_log_after(0, predicate, deadline)
    }

    /// As [`Self::wait_for_log`], passing over the first `lines` lines: take `log_lines().len()` before an action
    /// to wait for what the action logs.
    ///
    /// # Errors
    /// [`Error::Ended`] or [`Error::Deadline`], with the log.
    pub fn wait_for_log_after(
        &self,
        lines: usize,
        predicate: impl Fn(&str) -> bool,
        deadline: Duration,
    ) -> Result<String, Error> {
        if let Some(line) = self.process.log.wait_for(lines, predicate, deadline) {
            return Ok(line);
        }
        // The output ends a moment before the process does; on a loaded machine, that moment may be long.
        let moment = if self.process.log.is_complete() { STOP_DEADLINE } else { Duration::ZERO };
        match self.process.wait(moment).map_err(Error::io("wait for Orthanc"))? {
            Some(status) => Err(Error::Ended { status: status.to_string(), log: self.log() }),
            None => Err(self.in_vain("a line of the log", deadline)),
        }
    }

    /// Asks `condition` again and again until it is true; `what` names it in the error.
    ///
    /// # Errors
    /// [`Error::Deadline`], with the log, or the condition's own error.
    pub fn wait_until(
        &self,
        what: &str,
        deadline: Duration,
        mut condition: impl FnMut() -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let end = Instant::now() + deadline;
        while !condition()? {
            if Instant::now() >= end {
                return Err(self.in_vain(what, deadline));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// All that Orthanc wrote so far, to its standard output and error output.
    pub fn log(&self) -> String {
        self.process.log.text()
    }

    /// The same, line by line.
    pub fn log_lines(&self) -> Vec<String> {
        self.process.log.lines()
    }

    /// Adds to what must not be in the log: see [`Builder::forbid_in_log`].
    pub fn forbid_in_log(&self, secrets: impl IntoIterator<Item = impl Into<String>>) {
        let mut forbidden = self.forbidden.lock().unwrap_or_else(PoisonError::into_inner);
        forbidden.extend(secrets.into_iter().map(Into::into));
    }

    /// Orthanc's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The names of Orthanc's threads, as the kernel knows them (at most 15 bytes each).
    ///
    /// # Errors
    /// Orthanc has ended.
    pub fn threads(&self) -> Result<Vec<String>, Error> {
        let read = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for task in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
                match fs::read_to_string(task?.path().join("comm")) {
                    Ok(name) => names.push(name.trim_end().to_owned()),
                    // A thread may end while we look.
                    Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => {}
                    Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(names)
        };
        read().map_err(Error::io("list Orthanc's threads"))
    }

    /// What Orthanc's open descriptors lead to, as the kernel names it: `/tmp/file (deleted)`, `socket:[4711]`.
    ///
    /// # Errors
    /// Orthanc has ended.
    pub fn descriptors(&self) -> Result<Vec<String>, Error> {
        let read = || -> io::Result<Vec<String>> {
            let mut targets = Vec::new();
            for descriptor in fs::read_dir(format!("/proc/{}/fd", self.pid()))? {
                match fs::read_link(descriptor?.path()) {
                    Ok(target) => targets.push(target.to_string_lossy().into_owned()),
                    // It may be closed while we look.
                    Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(targets)
        };
        read().map_err(Error::io("list Orthanc's descriptors"))
    }

    /// Sets Orthanc's wall clock ahead of the machine's by so many seconds; negative is behind. It steps at once.
    /// Without [`Builder::clock_of_its_own`], nothing happens.
    ///
    /// # Errors
    /// The file that holds the offset cannot be written.
    pub fn set_clock_offset(&self, seconds: i64) -> Result<(), Error> {
        clock::set(self.work_dir(), seconds)
    }

    /// Changes Orthanc's `/etc/resolv.conf`: there is no moment at which it is seen empty.
    ///
    /// # Errors
    /// It has none of its own ([`Builder::resolv_conf`]), or that cannot be written.
    pub fn set_resolv_conf(&self, text: &str) -> Result<(), Error> {
        name_servers::set(self.work_dir(), text)
    }

    /// Whether the process still lives.
    pub fn is_running(&self) -> bool {
        matches!(self.process.ended(), Ok(None))
    }

    /// Sends SIGHUP: Orthanc reads its configuration again and restarts inside its process.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn hang_up(&self) -> Result<(), Error> {
        self.wait_until_it_heeds(Signal::HUP);
        self.process.signal(Signal::HUP).map_err(Error::io("send SIGHUP to Orthanc"))
    }

    /// Asks Orthanc to end (SIGTERM) and waits for that. The log can be read afterwards.
    ///
    /// # Errors
    /// [`Error::Deadline`] if it does not end.
    pub fn stop(&self) -> Result<Stopped, Error> {
        self.wait_until_it_heeds(Signal::TERM);
        let start = Instant::now();
        self.process.signal(Signal::TERM).map_err(Error::io("send SIGTERM to Orthanc"))?;
        let status = self.wait_for_end(STOP_DEADLINE)?;
        Ok(Stopped { status, took: start.elapsed() })
    }

    /// Waits until Orthanc ends of its own accord.
    ///
    /// # Errors
    /// [`Error::Deadline`] if it does not.
    pub fn wait_for_end(&self, deadline: Duration) -> Result<ExitStatus, Error> {
        match self.process.wait(deadline).map_err(Error::io("wait for Orthanc"))? {
            Some(status) => Ok(status),
            None => Err(self.in_vain("Orthanc's end", deadline)),
        }
    }

    /// Ends this one, so that another can be started in the same folder.
    pub(crate) fn into_builder(mut self) -> Builder {
        self.process.kill();
        self.builder.take().unwrap_or_else(Builder::new)
    }

    /// Orthanc begins to heed signals a moment after it says that it has started, and again after each restart inside
    /// its process; in between, a signal would just kill it. One that never does so gets the signal all the same.
    fn wait_until_it_heeds(&self, signal: Signal) {
        let end = Instant::now() + SIGNAL_DEADLINE;
        let bit = 1 << (signal.as_raw() - 1);
        while Instant::now() < end && self.is_running() {
            let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            if caught.is_none_or(|mask| mask & bit != 0) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url())
    }

    fn in_vain(&self, what: &str, waited: Duration) -> Error {
        Error::Deadline { what: what.to_owned(), waited, log: self.log() }
    }
}

impl Drop for Orthanc {
    #[expect(
        clippy::panic,
        clippy::print_stderr,
        reason = "a test whose log holds a secret must fail and say so"
    )]
    fn drop(&mut self) {
        self.process.kill();
        if thread::panicking() {
            let lines = self.log_lines();
            let shown = lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default();
            eprintln!("The last lines of Orthanc's log:\n{}", shown.join("\n"));
            return;
        }
        let forbidden = self.forbidden.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = find_secret(&self.log(), &forbidden) {
            panic!("Orthanc's log: {found}");
        }
    }
}
