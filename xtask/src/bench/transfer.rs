//! How fast studies get to the store and back.

mod body;
mod cell;
mod client;
mod far;
mod link;
mod loopback;
mod report;
mod site;
mod studies;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use orthanc_testbed::Release;
use tokio::runtime::Runtime;

use self::{
    cell::Cell,
    far::Far,
    link::{Interrupt, Line, Link},
    loopback::Loopback,
    site::{Mode, Site},
    studies::{Size, Study},
};
use crate::{
    apt, chroot, shell,
    workspace::{self, Profile, cargo},
};

/// Transfers between a real Orthanc and a far store over TLS: seconds and MB (10^6 bytes) a second, processor time, requests,
/// memory, and what the project promises of them.
///
/// STOW ends when the store has the last byte and has answered every request; WADO when Orthanc has the last instance; the
/// bound when the clients have the last answer. The DICOMweb plugin's job notices in steps of half a second, so its own times
/// are not used. Orthanc and store keep everything in memory. All runs are in turn, and the medians are shown. A transfer after
/// which not every instance is there counts as failed.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Which links, separated by commas: this machine's loopback, or one made of TUN devices, for which one must be root, with a
    /// round trip of 40 ms, or with that and 200 Mbit/s
    #[arg(long, value_name = "loopback|40ms|200mbit|all", default_value = "all")]
    link: Choice<Link>,
    /// Which studies: 400 instances of 0.5 MB in four series, 2,000 of 50 kB in four series, 3 of 300 MB
    #[arg(long, value_name = "ct|small|large|all", default_value = "all")]
    study: Choice<Size>,
    /// Which direction: upload, download
    #[arg(long, value_name = "stow|wado|both", default_value = "both")]
    direction: Choice<Direction>,
    /// Who transfers: the plugin without its gateway, with it over HTTP/1.1 and HTTP/2, plain parallel clients as the bound, and
    /// what Orthanc alone can send and take in on loopback without TLS
    #[arg(long, value_name = "direct|gateway|gateway-http2|bound|intake|all", default_value = "all")]
    transport: Choice<Transport>,
    /// How many runs of each; the medians are shown
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// A small study, loopback alone, one run of each, to see that it works
    #[arg(long, conflicts_with_all = ["link", "study", "runs"])]
    once: bool,
    /// Which Orthanc: bookworm (the machine's own), trixie or sid
    #[arg(long, value_name = "RELEASE", default_value = "bookworm")]
    orthanc: Release,
    /// Measure this library of the plugin instead of building it
    #[arg(long, value_name = "LIBRARY")]
    plugin: Option<PathBuf>,
    /// Use this program as the store instead of building it
    #[arg(long, value_name = "PROGRAM")]
    emulator: Option<PathBuf>,
}

/// Some of the values of an option, or all of them.
#[derive(Clone, Debug)]
struct Choice<T>(Vec<T>);

impl<T: clap::ValueEnum> std::str::FromStr for Choice<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if matches!(text, "all" | "both") {
            return Ok(Self(T::value_variants().to_vec()));
        }
        text.split(',').map(|name| T::from_str(name, false)).collect::<Result<_, _>>().map(Self)
    }
}

/// Up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Direction {
    Stow,
    Wado,
}

/// Who transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Transport {
    Direct,
    Gateway,
    #[value(name = "gateway-http2")]
    GatewayHttp2,
    Bound,
    Intake,
}

/// Every way through the code, quickly.
const QUICK: [Transport; 4] = [Transport::Direct, Transport::Gateway, Transport::Bound, Transport::Intake];

/// What a transfer needs.
struct Stage<'a> {
    far: &'a Far,
    loopback: &'a Loopback,
    runtime: &'a Runtime,
    interrupt: &'a Interrupt,
    study: &'a Arc<Study>,
    release: Release,
    plugin: &'a Path,
    /// Those started so far.
    sites: Vec<(Mode, Site)>,
}

pub(super) fn run(options: &Options) -> Result<()> {
    let plan = Plan {
        direction: &options.direction.0,
        transport: &options.transport.0,
        orthanc: options.orthanc,
        plugin: options.plugin.as_deref(),
        emulator: options.emulator.as_deref(),
        interrupt: Interrupt::listen()?,
        ..Plan::once()
    };
    if options.once {
        return plan.measure();
    }
    Plan { links: &options.link.0, sizes: &options.study.0, runs: options.runs, quick: false, ..plan }
        .measure()
}

/// As quick as can be.
pub(super) fn once() -> Result<()> {
    Plan::once().measure()
}

/// What to measure.
struct Plan<'a> {
    links: &'a [Link],
    sizes: &'a [Size],
    direction: &'a [Direction],
    transport: &'a [Transport],
    runs: u32,
    /// Fewer instances, and programs that need no long build.
    quick: bool,
    orthanc: Release,
    plugin: Option<&'a Path>,
    emulator: Option<&'a Path>,
    interrupt: Interrupt,
}

impl Plan<'_> {
    /// Enough to see that it works. Who calls this may listen to Ctrl-C already.
    fn once() -> Self {
        Self {
            links: &[Link::Loopback],
            sizes: &[Size::Ct],
            direction: &[Direction::Stow, Direction::Wado],
            transport: &QUICK,
            runs: 1,
            quick: true,
            orthanc: Release::Bookworm,
            plugin: None,
            emulator: None,
            interrupt: Interrupt::default(),
        }
    }

    fn measure(&self) -> Result<()> {
        apt::ensure(&["orthanc", "orthanc-dicomweb"])?;
        chroot::ensure(self.orthanc, &workspace::target()?.join("orthanc"))?;
        let profile = if self.quick { Profile::Dev } else { Profile::Release };
        let plugin = self.plugin.map_or_else(|| workspace::build_plugin(Profile::Release), given)?;
        let emulator = self.emulator.map_or_else(|| build_emulator(profile), given)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let loopback = Loopback::start(runtime.handle())?;
        let mut studies = Vec::new();
        for size in self.sizes {
            eprintln!("The study {size:?} is generated.");
            studies.push(Study::generate(*size, self.quick)?);
        }
        println!("\nOrthanc of {}, {}", self.orthanc, machine());
        let mut cells = Vec::new();
        for link in self.links {
            let _line = Line::up(*link)?;
            let far = Far::start(&emulator, *link)?;
            for study in &studies {
                let mut stage = Stage {
                    far: &far,
                    loopback: &loopback,
                    runtime: &runtime,
                    interrupt: &self.interrupt,
                    study,
                    release: self.orthanc,
                    plugin: &plugin,
                    sites: Vec::new(),
                };
                for direction in self.direction {
                    let cell = Cell::measure(&mut stage, *direction, self.transport, self.runs)?;
                    report::print(&cell);
                    cells.push(cell);
                }
                far.delete(study)?;
            }
        }
        // A few instances say nothing of speed.
        if !self.quick {
            report::verdicts(&cells);
        }
        let failed = cells.iter().flat_map(|cell| &cell.runs).filter(|runs| runs.failure.is_some()).count();
        ensure!(failed == 0, "{failed} measurements failed");
        Ok(())
    }
}

/// The file that the user has named, which must be there.
fn given(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("cannot find {}", path.display()))
}

/// What the figures depend on most.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let load = read("/proc/loadavg");
    format!(
        "{} processors, load {} at the start, TCP congestion control {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        load.split(' ').next().unwrap_or_default(),
        read("/proc/sys/net/ipv4/tcp_congestion_control").trim()
    )
}

/// Builds the pretend Google and gives the path of its program.
fn build_emulator(profile: Profile) -> Result<PathBuf> {
    let (flag, folder) = match profile {
        Profile::Dev => ("", "debug"),
        Profile::Release => ("--release", "release"),
    };
    shell::run(&mut cargo(&format!("build {flag} --package google-emulator --bins")))?;
    Ok(workspace::target()?.join(folder).join("google-emulator"))
}
