//! The link between Orthanc and the store: this machine's loopback, or one with the delay of a long way.

use std::{
    fmt,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{apt, shell, workspace};

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

/// The network namespace of the far end.
const NAMESPACE: &str = "far";
const NAMESPACES: &str = "/var/run/netns";
/// One way, milliseconds.
const DELAY: &str = "20";

/// A link that is up. Dropped, it is taken down.
pub(super) struct Line {
    /// The program that carries the packets; none for loopback.
    carrier: Option<Child>,
}

impl Line {
    /// Sets it up; loopback always is.
    pub(super) fn up(link: Link) -> Result<Self> {
        if link == Link::Loopback {
            return Ok(Self { carrier: None });
        }
        ensure!(
            rustix::process::geteuid().is_root(),
            "only root can make the link of {link}: run this as root, or with --link loopback"
        );
        apt::ensure(&["iproute2"])?;
        let program = build_carrier()?;
        remove_leftover()?;
        shell::capture(&mut shell::command(&format!("ip netns add {NAMESPACE}")))?;
        let carrier = Command::new("setpriv")
            .arg("--pdeathsig=KILL")
            .arg(&program)
            .args([NAMESPACE, DELAY])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn();
        // From here on, what is there is taken down by dropping it.
        let mut made = Self { carrier: carrier.ok() };
        let carrier = made.carrier.as_mut().context("cannot start the program that carries the packets")?;
        let mut said = String::new();
        let output = carrier.stdout.take().context("it has no output")?;
        BufReader::new(output).read_line(&mut said)?;
        ensure!(said == "ready\n", "the link of {link} cannot be made; the line above says why");
        let there = format!("ip netns exec {NAMESPACE}");
        for (at, device, address) in [("", "near0", "10.99.0.1/24"), (there.as_str(), "far0", "10.99.0.2/24")]
        {
            shell::capture(&mut shell::command(&format!("{at} ip addr add {address} dev {device}")))?;
            shell::capture(&mut shell::command(&format!("{at} ip link set {device} mtu 1500 up")))?;
            if link == Link::Narrow {
                let shape = "root tbf rate 200mbit burst 256kb latency 200ms";
                shell::capture(&mut shell::command(&format!("{at} tc qdisc add dev {device} {shape}")))?;
            }
        }
        shell::capture(&mut shell::command(&format!("{there} ip link set lo up")))?;
        Ok(made)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some(carrier) = &mut self.carrier else { return };
        // Both fail only when it has ended already; its devices go with it.
        carrier.kill().ok();
        carrier.wait().ok();
        // If it stays, the next run removes it.
        drop(shell::capture(&mut shell::command(&format!("ip netns del {NAMESPACE}"))));
    }
}

/// Compiles the program that carries the packets, once for every version of its source.
fn build_carrier() -> Result<PathBuf> {
    let folder = workspace::target()?.join("tools");
    let (source, program) = (folder.join("wan.c"), folder.join("wan"));
    fs::create_dir_all(&folder)?;
    let text = include_str!("wan.c");
    if !program.exists() || fs::read_to_string(&source).unwrap_or_default() != text {
        fs::write(&source, text)?;
        let mut compile = shell::command("cc -O2 -pthread -o");
        shell::capture(compile.arg(&program).arg(&source))?;
    }
    Ok(program)
}

/// Removes what a killed run has left; fails if somebody uses it.
fn remove_leftover() -> Result<()> {
    if !Path::new(NAMESPACES).join(NAMESPACE).exists() {
        return Ok(());
    }
    let users = shell::capture(&mut shell::command(&format!("ip netns pids {NAMESPACE}")))?;
    let carried = shell::capture(&mut shell::command(&format!("ip -netns {NAMESPACE} -brief link")))?;
    ensure!(
        users.trim().is_empty() && carried.lines().count() <= 1,
        "somebody uses the network namespace `{NAMESPACE}`, perhaps another run: wait for its end, or remove it by \
         `ip netns del {NAMESPACE}`"
    );
    shell::capture(&mut shell::command(&format!("ip netns del {NAMESPACE}"))).map(drop)
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
