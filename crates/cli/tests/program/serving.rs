//! `orthanc-gcp gateway` as a child.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::stage::program;

/// The program while it serves. Dropped, it is gone.
pub(crate) struct Serving {
    child: Child,
    /// Takes what it says, without which it would wait once the pipe is full.
    listener: Option<JoinHandle<String>>,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
}

impl Serving {
    /// Starts it on a free port and waits until it serves the account.
    #[expect(clippy::disallowed_methods, reason = "a thread of the test's, which ends when the child does")]
    pub(crate) fn start(configuration: &Path, more: &[&str]) -> Self {
        let mut command = program(&["gateway", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(configuration).args(more);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        let listener = thread::spawn(move || {
            let mut said = String::new();
            for line in errors.lines() {
                let line = line.unwrap();
                if let Some((_, url)) = line.split_once("served at http://") {
                    // Only the first one is waited for.
                    drop(sender.send(url.split('/').next().unwrap().to_owned()));
                }
                said.push_str(&line);
                said.push('\n');
            }
            said
        });
        let Ok(address) = receiver.recv() else { panic!("it ended: {}", listener.join().unwrap()) };
        Self { child, listener: Some(listener), address }
    }

    /// Sends a request as it is and reads the answer to its end.
    pub(crate) fn ask(&self, method: &str, path: &str, more: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let address = &self.address;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{more}Connection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Its process' number.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to end, as a service manager does.
    pub(crate) fn terminate(&self) {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
    }

    /// Ends it, and gives its exit code and all that it said.
    pub(crate) fn end(self) -> (Option<i32>, String) {
        self.terminate();
        self.ended()
    }

    /// Waits until it has ended by itself, and gives its exit code and all that it said.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, self.listener.take().unwrap().join().unwrap())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
