//! `cargo xtask bench`: what the plugin costs the Orthanc that it lives in, and how fast it transfers.

mod idle;
mod process;
mod stage;
mod start;
mod table;
mod transfer;

use anyhow::Result;

/// How many accounts are tried; `None` is the same Orthanc without the plugin.
const CONFIGURATIONS: [Option<usize>; 5] = [None, Some(0), Some(1), Some(10), Some(100)];

/// Measures what the plugin costs, and how fast it transfers.
///
/// `start` and `idle` measure with 0, 1, 10 and 100 accounts in release build, as differences to the same Orthanc
/// without it, all in one run.
///
/// The accounts have keys of a service account. The pretend Google that gives them tokens has a certificate of its own
/// CA, which stands behind all of Debian's in the file of CAs. It shares this machine's processors: its work counts in
/// every time that passes, and in none of Orthanc's CPU. Ports are free ones, all files are temporary.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to measure
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// From "Orthanc has started" to the last account's publication: time and CPU
    Start {
        /// How many runs of each; the medians are shown
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        /// One run of each, to see that it works
        #[arg(long, conflicts_with = "runs")]
        once: bool,
    },
    Transfer(transfer::Options),
    /// When nothing happens: threads, descriptors, memory, CPU, context switches
    Idle {
        /// How long to measure
        #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
        seconds: u64,
        /// Some seconds only, to see that it works
        #[arg(long, conflicts_with = "seconds")]
        once: bool,
    },
}

pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.what {
        &What::Start { runs, once } => start::run(if once { 1 } else { runs }),
        &What::Idle { seconds, once } => idle::run(if once { idle::QUICK } else { idle::of(seconds) }),
        What::Transfer(options) => transfer::run(options),
    }
}

/// All of them, as quick as can be.
pub(crate) fn once() -> Result<()> {
    start::run(1)?;
    idle::run(idle::QUICK)?;
    transfer::once()
}

/// The figure in the middle; between the two in the middle where their number is even.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let (low, high) = (figures.len().saturating_sub(1) / 2, middle);
    let at = |index: usize| figures.get(index).copied().unwrap_or_default();
    f64::midpoint(at(low), at(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
