//! Runs a program without a handler for its end: signals belong to Orthanc.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{Child, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{io::Interest, net::unix::pipe};

use crate::executable::{Command, CommandOutput};

/// How often it is looked whether the program has ended, once it has closed its output.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A subject token is a few kilobytes.
const LARGEST_OUTPUT: usize = 1 << 20;

/// Runs it, within its time limit.
pub(crate) async fn run(command: &Command) -> io::Result<CommandOutput> {
    let limit = command.time_limit;
    match tokio::time::timeout(limit, run_unlimited(command)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("it took more than {} s", limit.as_secs())))
        }
    }
}

async fn run_unlimited(command: &Command) -> io::Result<CommandOutput> {
    let child = std::process::Command::new(&command.program)
        .args(&command.arguments)
        .envs(command.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A group of its own, so that what it starts can be ended with it. A process that leaves the group is not ended.
        .process_group(0)
        .spawn()?;
    let mut running = Running { child, ended: false };
    let mut stdout = Vec::new();
    if let Some(output) = running.child.stdout.take() {
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
        read_to_end(&output, &mut stdout).await?;
    }
    loop {
        if let Some(status) = running.child.try_wait()? {
            running.ended = true;
            return Ok(CommandOutput { code: status.code(), stdout });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn read_to_end(output: &pipe::Receiver, content: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        output.ready(Interest::READABLE).await?;
        match output.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => content.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if content.len() > LARGEST_OUTPUT {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it printed more than 1 MiB"));
        }
    }
}

/// A program that does not outlive this, nor does anything in its process group.
struct Running {
    child: Child,
    /// It has been waited for: its number may be somebody else's by now.
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        // A killed program ends at once, so that waiting for it takes no time.
        if !self.ended && kill_process_group(Pid::from_child(&self.child), Signal::KILL).is_ok() {
            drop(self.child.wait());
        }
    }
}
