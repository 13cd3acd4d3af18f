//! From "Orthanc has started" to the last publication.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    CONFIGURATIONS, median,
    process::Sample,
    stage::Stage,
    table::{Row, print},
};

/// The CPU is read so long after the last account is ready: what follows the publication belongs to the start.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// Measures `runs` starts of each configuration, interleaved, and prints the medians.
pub(super) fn run(runs: u32) -> Result<()> {
    let stage = Stage::new(100)?;
    let mut ready = vec![Vec::new(); CONFIGURATIONS.len()];
    let mut cpu = ready.clone();
    let mut google = ready.clone();
    let own_cpu = || Sample::of(std::process::id()).map(|sample| sample.cpu);
    for run in 1..=runs {
        for (index, accounts) in CONFIGURATIONS.into_iter().enumerate() {
            let before = own_cpu()?;
            let running = stage.start(accounts)?;
            thread::sleep(AFTERWARDS);
            let figures = [
                (&mut ready, running.last_ready()?),
                (&mut cpu, Sample::of(running.orthanc.pid())?.cpu),
                (&mut google, own_cpu()?.saturating_sub(before)),
            ];
            for (measure, figure) in figures {
                measure.get_mut(index).context("no such configuration")?.push(figure.as_secs_f64());
            }
        }
        println!("run {run} of {runs} is done");
    }
    println!("\nStart, medians of {runs} runs; differences to the same Orthanc without the plugin");
    print(&[
        Row {
            name: "s from \"Orthanc has started\" to the last \"ready\"",
            digits: 3,
            figures: ready.into_iter().map(median).collect(),
            bound: Some(0.3),
        },
        Row {
            name: "s of Orthanc's CPU until 0.3 s later",
            digits: 3,
            figures: cpu.into_iter().map(median).collect(),
            bound: Some(0.4),
        },
        Row {
            name: "s of the pretend Google's CPU meanwhile",
            digits: 3,
            figures: google.into_iter().map(median).collect(),
            bound: None,
        },
    ]);
    println!("The pretend Google works on the same processors: the first line waits for its work too.");
    Ok(())
}
