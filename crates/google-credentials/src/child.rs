//! Runs a program without a handler for its end: signals belong to Orthanc.

use std::{
    io,
    os::fd::OwnedFd,
    process::{Child, Stdio},
    time::Duration,
};

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
    let mut child = Running(
        std::process::Command::new(&command.program)
            .args(&command.arguments)
            .envs(command.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let mut stdout = Vec::new();
    if let Some(output) = child.0.stdout.take() {
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
        read_to_end(&output, &mut stdout).await?;
    }
    loop {
        if let Some(status) = child.0.try_wait()? {
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

/// A program that does not outlive this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself. A killed program ends at once, so that waiting for it takes no time.
        if self.0.kill().is_ok() {
            drop(self.0.wait());
        }
    }
}
