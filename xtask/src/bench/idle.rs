//! When nothing happens.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    CONFIGURATIONS,
    process::Sample,
    stage::{Running, Stage},
    table::{Row, print},
};

/// How long to wait after the last start, and to measure then.
#[derive(Clone, Copy)]
pub(super) struct Times {
    settle: Duration,
    measure: Duration,
}

/// Enough to see that it works.
pub(super) const QUICK: Times = Times { settle: Duration::from_secs(3), measure: Duration::from_secs(5) };

/// Measures for so many seconds.
pub(super) const fn of(seconds: u64) -> Times {
    Times { settle: Duration::from_secs(12), measure: Duration::from_secs(seconds) }
}

/// Measures all configurations side by side, so that what else the machine does concerns them alike.
pub(super) fn run(times: Times) -> Result<()> {
    let stage = Stage::new(100)?;
    let running: Vec<Running> =
        CONFIGURATIONS.into_iter().map(|accounts| stage.start(accounts)).collect::<Result<_>>()?;
    println!("All Orthancs run; they are measured for {} s from now on.", times.measure.as_secs());
    thread::sleep(times.settle);
    let samples =
        || running.iter().map(|running| Sample::of(running.orthanc.pid())).collect::<Result<Vec<_>>>();
    let before = samples()?;
    thread::sleep(times.measure);
    let after = samples()?;

    let now = |figure: fn(&Sample) -> f64| after.iter().map(figure).collect();
    let minutes = times.measure.as_secs_f64() / 60.0;
    let a_minute = |figure: fn(&Sample) -> f64| {
        after.iter().zip(&before).map(|(after, before)| (figure(after) - figure(before)) / minutes).collect()
    };
    println!(
        "\nIdle, over {} s; differences to the same Orthanc without the plugin",
        times.measure.as_secs()
    );
    print(&[
        Row { name: "threads", digits: 0, figures: now(|at| count(at.threads)), bound: Some(5.0) },
        Row { name: "open descriptors", digits: 0, figures: now(|at| count(at.descriptors)), bound: None },
        Row {
            name: "MB in memory (VmRSS)",
            digits: 1,
            figures: now(|at| megabytes(at.resident)),
            bound: Some(8.0),
        },
        Row {
            name: "MB of no file (RssAnon)",
            digits: 1,
            figures: now(|at| megabytes(at.anonymous)),
            bound: None,
        },
        Row {
            name: "s of CPU a minute",
            digits: 3,
            figures: a_minute(|at| at.cpu.as_secs_f64()),
            bound: None,
        },
        Row {
            name: "context switches a minute",
            digits: 0,
            figures: a_minute(|at| count(at.switches)),
            bound: Some(300.0),
        },
        Row {
            name: "… of the plugin's thread alone",
            digits: 0,
            figures: a_minute(|at| count(at.switches_of_plugin)),
            bound: Some(300.0),
        },
    ]);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}

fn megabytes(bytes: u64) -> f64 {
    count(bytes) / 1e6
}
