//! The link between Orthanc and the store: this machine's loopback, or one with the delay of a long way.

use std::{
    fmt,
    fs::File,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::workspace;

/// Which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Link {
    /// This machine's own, without any delay
    Loopback,
    /// A round trip of 40 ms
    #[value(name = "40ms")]
    Far,
    /// A round trip of 40 ms and 200 Mbit/s
    #[value(name = "200mbit")]
    Narrow,
}

impl Link {
    /// Where the store listens.
    pub(super) fn address(self) -> &'static str {
        match self {
            Self::Loopback => "127.0.0.1",
            Self::Far | Self::Narrow => "10.99.0.2",
        }
    }

    /// The program, as it is started at the far end.
    pub(super) fn at_far_end(self, program: &Path) -> Command {
        // It ends with us, however we end.
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=KILL");
        if self != Self::Loopback {
            command.args(["ip", "netns", "exec", NAMESPACE]);
        }
        command.arg(program);
        // Ctrl-C in a terminal is for us, who still need it for tidying up.
        command.process_group(0);
        command
    }

    /// Moves the calling thread to the far end: what it connects to from now on has no delay there.
    pub(super) fn go_to_far_end(self) -> Result<()> {
        if self == Self::Loopback {
            return Ok(());
        }
        let namespace = File::open(Path::new(NAMESPACES).join(NAMESPACE))?;
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(namespace.as_fd(), kind)
            .context("cannot go to the far end of the link")
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "loopback",
            Self::Far => "40 ms",
            Self::Narrow => "40 ms, 200 Mbit/s",
        })
    }
}

/// The network namespace that `wan.sh` makes.
const NAMESPACE: &str = "far";
const NAMESPACES: &str = "/var/run/netns";

/// A link that is up. Dropped, it is taken down.
pub(super) struct Line {
    script: Option<PathBuf>,
}

impl Line {
    /// Sets it up; loopback always is.
    pub(super) fn up(link: Link, script: &Path) -> Result<Self> {
        let rate: &[&str] = match link {
            Link::Loopback => return Ok(Self { script: None }),
            Link::Far => &[],
            Link::Narrow => &["200mbit"],
        };
        ensure!(
            rustix::process::geteuid().is_root(),
            "only root can make the link of {link}: run this as root, or with --link loopback"
        );
        ensure!(
            !Path::new(NAMESPACES).join(NAMESPACE).exists(),
            "there is a network namespace `{NAMESPACE}` already: somebody else measures, or a former run was killed; \
             `{} down` removes it",
            script.display()
        );
        let made = Self { script: Some(script.to_owned()) };
        // If it fails half-way, what is there is taken down by dropping it.
        let status = command(script, "up").arg("20").args(rate).status();
        let status = status.with_context(|| {
            format!("cannot run {}; name the script of the link with --wan", script.display())
        })?;
        ensure!(status.success(), "`{} up` ended with {status}", script.display());
        Ok(made)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(script) = &self.script {
            // Nothing more can be done about it; the next run will say that the namespace is still there.
            drop(command(script, "down").status());
        }
    }
}

fn command(script: &Path, verb: &str) -> Command {
    let mut command = Command::new("bash");
    command.arg(script).arg(verb).stdin(Stdio::null()).stdout(Stdio::null());
    // Ctrl-C must not strike it half-way.
    command.process_group(0);
    command
}

/// Where the script is looked for when nobody says.
pub(super) fn default_script() -> PathBuf {
    workspace::root().join("../shared/tools/wan.sh")
}

/// Whether Ctrl-C came: then what was started is ended properly.
#[derive(Clone, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on. Can be called once in a process.
    pub(super) fn listen() -> Result<Self> {
        let interrupt = Self::default();
        let heard = interrupt.clone();
        ctrlc::set_handler(move || heard.0.store(true, Ordering::SeqCst))?;
        Ok(interrupt)
    }

    /// Fails if it came.
    pub(super) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::SeqCst) {
            bail!("interrupted");
        }
        Ok(())
    }
}
