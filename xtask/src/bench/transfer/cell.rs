//! One cell: a study, a direction, a link. Who transfers how fast.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, ensure};

use super::{
    Direction, Stage, Transport, client,
    client::Place,
    site::{self, Mode, Partner},
    studies::{Size, Study},
};
use crate::bench::process;

/// One way to transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Orthanc with the plugin, to the far store.
    Orthanc(Mode),
    /// Plain clients storing batches over so many connections.
    Batches(usize),
    /// Plain clients retrieving single instances over so many connections.
    Instances(usize),
    /// Plain clients retrieving a stream for each series.
    SeriesStreams,
    /// Orthanc alone, to or from this machine's memory.
    OrthancAlone,
}

/// What one transfer showed.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) seconds: f64,
    /// Of Orthanc's process, seconds.
    pub(super) cpu: Option<f64>,
    /// Of the far store, seconds.
    pub(super) cpu_of_store: Option<f64>,
    /// Of Orthanc's process, bytes.
    pub(super) peak: Option<u64>,
    pub(super) connections: Option<usize>,
    pub(super) requests: Option<usize>,
    pub(super) version: String,
}

impl Way {
    /// What a transport tries with that study in that direction.
    fn of(transport: Transport, direction: Direction, study: &Study) -> Vec<Self> {
        match (transport, direction) {
            (Transport::Direct, _) => vec![Self::Orthanc(Mode::Direct)],
            (Transport::Gateway, _) => vec![Self::Orthanc(Mode::Gateway)],
            (Transport::GatewayHttp2, _) => vec![Self::Orthanc(Mode::GatewayHttp2)],
            (Transport::Bound, Direction::Stow) => {
                // More connections than batches would be the same again.
                let batches = client::batches(study).len();
                [(8, 0), (16, 8), (32, 16)]
                    .into_iter()
                    .filter(|(_, fewer)| *fewer < batches)
                    .map(|(connections, _)| Self::Batches(connections))
                    .collect()
            }
            (Transport::Bound, Direction::Wado) => vec![Self::Instances(32), Self::SeriesStreams],
            (Transport::Intake, _) => vec![Self::OrthancAlone],
        }
    }

    /// Its name in the table.
    pub(super) fn name(self) -> String {
        match self {
            Self::Orthanc(Mode::Direct | Mode::Alone) => "Direct".to_owned(),
            Self::Orthanc(Mode::Gateway) => "Gateway, HTTP/1.1".to_owned(),
            Self::Orthanc(Mode::GatewayHttp2) => "Gateway, HTTP/2".to_owned(),
            Self::Batches(connections) => format!("bound: 4 MB over {connections}"),
            Self::Instances(connections) => format!("bound: single over {connections}"),
            Self::SeriesStreams => "bound: a stream a series".to_owned(),
            Self::OrthancAlone => "Orthanc's own, loopback".to_owned(),
        }
    }

    /// Whether it says what the line can carry.
    pub(super) fn is_bound(self) -> bool {
        matches!(self, Self::Batches(_) | Self::Instances(_) | Self::SeriesStreams)
    }

    /// Transfers once, with everything before and after that it needs.
    pub(super) fn run(self, stage: &mut Stage<'_>, direction: Direction) -> Result<Figures> {
        match self {
            Self::Orthanc(mode) => through_orthanc(stage, mode, Partner::Far, direction),
            Self::OrthancAlone => through_orthanc(stage, Mode::Alone, Partner::Loopback, direction),
            Self::Batches(_) | Self::Instances(_) | Self::SeriesStreams => self.plain(stage),
        }
    }

    fn plain(self, stage: &Stage<'_>) -> Result<Figures> {
        let (far, study) = (stage.far, stage.study);
        match self {
            Self::Batches(_) => far.delete(study)?,
            _ => far.fill(study)?,
        }
        let place =
            Place { client: client::of(&far.ca)?, dicom_web: far.dicom_web.clone(), token: far.token()? };
        far.forget()?;
        let cpu = process::cpu(far.pid())?;
        let start = Instant::now();
        stage.runtime.block_on(async {
            match self {
                Self::Batches(connections) => client::stow(&place, study, connections).await,
                Self::Instances(connections) => client::instances(&place, study, connections).await,
                _ => client::series(&place, study).await,
            }
        })?;
        let took = start.elapsed();
        let cpu_of_store = process::cpu(far.pid())?.saturating_sub(cpu);
        let asked = far.asked(study)?;
        far.expect(study)?;
        Ok(Figures {
            seconds: took.as_secs_f64(),
            cpu: None,
            cpu_of_store: Some(cpu_of_store.as_secs_f64()),
            peak: None,
            connections: Some(asked.connections),
            requests: Some(asked.requests),
            version: asked.versions.into_iter().collect::<Vec<_>>().join(", "),
        })
    }
}

fn through_orthanc(
    stage: &mut Stage<'_>,
    mode: Mode,
    partner: Partner,
    direction: Direction,
) -> Result<Figures> {
    let (far, loopback, study, interrupt) = (stage.far, stage.loopback, stage.study, stage.interrupt);
    let site = stage.site(mode)?;
    site::prepare(site, direction, study)?;
    match (partner, direction) {
        (Partner::Far, Direction::Stow) => far.delete(study)?,
        (Partner::Far, Direction::Wado) => far.fill(study)?,
        (Partner::Loopback, _) => loopback.expect(study),
    }
    far.forget()?;
    let cpu = process::cpu(far.pid())?;
    let cost = match direction {
        Direction::Stow => site.stow(partner, far, loopback, study, interrupt),
        Direction::Wado => site.retrieve(partner, study, interrupt),
    }?;
    let mut figures = Figures {
        seconds: cost.took.as_secs_f64(),
        cpu: Some(cost.cpu.as_secs_f64()),
        cpu_of_store: None,
        peak: Some(cost.peak),
        connections: None,
        requests: None,
        version: "HTTP/1.1".to_owned(),
    };
    if partner == Partner::Far {
        figures.cpu_of_store = Some(process::cpu(far.pid())?.saturating_sub(cpu).as_secs_f64());
        let asked = far.asked(study)?;
        far.expect(study)?;
        figures.connections = Some(asked.connections);
        figures.requests = Some(asked.requests);
        figures.version = asked.versions.into_iter().collect::<Vec<_>>().join(", ");
        let wanted = match mode {
            Mode::Direct | Mode::Alone => figures.version.as_str(),
            Mode::Gateway => "HTTP/1.1",
            Mode::GatewayHttp2 => "HTTP/2.0",
        };
        ensure!(figures.version == wanted, "the gateway spoke {} instead of {wanted}", figures.version);
    }
    Ok(figures)
}

/// All runs of one way.
pub(super) struct Runs {
    pub(super) way: Way,
    pub(super) figures: Vec<Figures>,
    /// Why it counts for nothing.
    pub(super) failure: Option<Error>,
}

/// All ways, each with its runs.
pub(super) struct Cell {
    pub(super) link: super::link::Link,
    pub(super) direction: Direction,
    pub(super) size: Size,
    pub(super) study: String,
    pub(super) bytes: u64,
    pub(super) runs: Vec<Runs>,
}

impl Cell {
    /// Measures the ways in turn, `runs` times.
    pub(super) fn measure(
        stage: &mut Stage<'_>,
        direction: Direction,
        transports: &[Transport],
        runs: u32,
    ) -> Result<Self> {
        let ways = transports.iter().flat_map(|transport| Way::of(*transport, direction, stage.study));
        let mut all: Vec<Runs> = ways.map(|way| Runs { way, figures: Vec::new(), failure: None }).collect();
        let bytes = stage.study.bytes();
        for run in 1..=runs {
            for one in &mut all {
                if one.failure.is_some() {
                    continue;
                }
                let result = one.way.run(stage, direction);
                stage.interrupt.check()?;
                let name = one.way.name();
                match result {
                    Ok(figures) => {
                        eprintln!(
                            "  {} {direction:?}, {}, run {run} of {runs}: {name}: {:.2} s, {:.0} MB/s",
                            stage.far.link,
                            stage.study.name,
                            figures.seconds,
                            rate(bytes, figures.seconds)
                        );
                        one.figures.push(figures);
                    }
                    Err(error) => {
                        eprintln!("  {name} FAILED: {error:#}");
                        one.failure = Some(error);
                    }
                }
            }
        }
        Ok(Self {
            link: stage.far.link,
            direction,
            size: stage.study.size,
            study: stage.study.name.clone(),
            bytes,
            runs: all,
        })
    }

    /// MB/s of the way's median run; none if it failed or was not tried.
    pub(super) fn rate(&self, wanted: impl Fn(Way) -> bool) -> Option<f64> {
        let rates = self.runs.iter().filter(|runs| wanted(runs.way)).filter_map(|runs| {
            runs.median(|figures| Some(figures.seconds)).map(|seconds| rate(self.bytes, seconds))
        });
        rates.max_by(f64::total_cmp)
    }

    /// What is the most that can be asked for: the line, or Orthanc's own. Both must have been measured.
    pub(super) fn limit(&self) -> Option<f64> {
        Some(self.rate(Way::is_bound)?.min(self.rate(|way| way == Way::OrthancAlone)?))
    }
}

impl Runs {
    /// The median of a figure over all runs.
    pub(super) fn median(&self, figure: impl Fn(&Figures) -> Option<f64>) -> Option<f64> {
        if self.failure.is_some() {
            return None;
        }
        let figures: Vec<f64> = self.figures.iter().filter_map(figure).collect();
        (!figures.is_empty()).then(|| crate::bench::median(figures))
    }
}

/// MB (10^6 bytes) a second.
#[expect(clippy::cast_precision_loss, reason = "bytes far below 2^52")]
pub(super) fn rate(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / 1e6 / Duration::from_secs_f64(seconds.max(1e-6)).as_secs_f64()
}

/// The site of a mode, started when it is needed first.
impl Stage<'_> {
    fn site(&mut self, mode: Mode) -> Result<&mut site::Site> {
        if !self.sites.iter().any(|(known, _)| *known == mode) {
            let site = site::Site::start(mode, self.release, self.plugin, self.far, self.loopback)?;
            self.sites.push((mode, site));
        }
        let found = self.sites.iter_mut().find(|(known, _)| *known == mode);
        Ok(&mut found.context("no such Orthanc")?.1)
    }
}
