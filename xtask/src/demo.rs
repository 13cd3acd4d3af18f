//! `cargo xtask demo`: the plugin at work, from nothing.

mod google;
mod interrupt;
mod walk;

use std::{
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use google::Google;
use interrupt::Interrupt;
use orthanc_testbed::{Ct, Orthanc, Release, study};
use serde_json::json;
use walk::Walk;

use crate::{
    apt,
    workspace::{self, Profile},
};

/// With the emulator the account is published within a second; a real network gets this long.
const PUBLISHED_DEADLINE: Duration = Duration::from_secs(90);

/// How many lines of Orthanc's log a failure shows.
const SHOWN_LINES: usize = 40;

/// Shows the plugin at work: a real Orthanc, a pretend Google (or your own account), and a study that goes there and
/// comes back. Leaves everything running until Ctrl-C.
///
/// Installs `orthanc` and `orthanc-dicomweb` if they are missing. Ports are free ones, all files are temporary.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// End after the last step, with exit code 0 if all went well
    #[arg(long)]
    once: bool,
    /// Use the Google account of this Orthanc configuration (JSON, comments allowed, with a `GoogleCloudPlatform`
    /// section) instead of the pretend Google. A generated study with new UIDs is stored there and deleted at the end;
    /// nothing else is touched
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which account of FILE; by default the first
    #[arg(long, value_name = "NAME", requires = "config")]
    account: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    println!("== Preparing");
    // First, so that a mistake in FILE shows before minutes of building.
    let google = match &options.config {
        Some(file) => Google::from_file(file, options.account.as_deref())?,
        None => Google::emulated()?,
    };
    apt::ensure(&["orthanc", "orthanc-dicomweb"])?;
    if google.is_real() {
        // Without these, nobody knows who Google is.
        apt::ensure(&["ca-certificates"])?;
    }
    println!("Building the plugin (the first time, this takes some minutes).");
    let plugin = workspace::build_plugin(Profile::Release)?;

    let orthanc = Orthanc::builder()
        .release(Release::Bookworm)
        .dicomweb()
        .plugin(plugin)
        .configuration(&json!({ "Name": "Orthanc of the demonstration" }))
        .configuration(&google.configuration)
        .current_dir(&google.directory)
        // FILE may name `${VARIABLES}`.
        .inherit_environment()
        .start()?;
    println!("Orthanc runs at {}", orthanc.url());
    println!("{}", google.introduction);

    let result = show(options, &orthanc, &google, &interrupt);
    if result.is_err() && !interrupt.came() {
        let lines = orthanc.log_lines();
        let shown = lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default();
        println!("\nThe last lines of Orthanc's log:\n{}", shown.join("\n"));
    }
    println!("\nStopping Orthanc.");
    let stopped = orthanc.stop().context("Orthanc does not stop")?;
    result?;
    if stopped.code() != Some(0) {
        bail!("Orthanc ended with {}; its log:\n{}", stopped.status, orthanc.log());
    }
    Ok(())
}

/// The demonstration as CI runs it.
pub(crate) fn once() -> Result<()> {
    run(&Options { once: true, ..Options::default() })
}

fn show(options: &Options, orthanc: &Orthanc, google: &Google, interrupt: &Interrupt) -> Result<()> {
    wait_until_published(orthanc, google, interrupt)?;
    // New UIDs for every run: in a real store there must be no doubt whose study is deleted.
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let study = study::ct(&Ct {
        seed: u64::try_from(seed & u128::from(u64::MAX))?,
        series: 3,
        instances: 6,
        rows: 256,
        columns: 256,
    })?;
    let mut walk = Walk::new(orthanc, google, &study);
    let mut result = walk.all(interrupt);
    if result.is_ok() {
        println!("\nEvery step did what it should.");
    }
    if result.is_ok() && !options.once && !interrupt.came() {
        result = walk.store_again().map(|()| {
            walk.tell_where_things_are();
            println!("\nEverything keeps running. Press Ctrl-C to end it.");
            interrupt.wait();
        });
    }
    if google.is_real() && walk.is_stored() {
        println!("\n== Tidying up");
        let tidied =
            walk.delete().with_context(|| format!("the study {} may still be in your store", study.uid));
        match (&result, tidied) {
            (Ok(()), tidied) => return tidied,
            // What failed first is what matters; then there may be nothing to delete either.
            (Err(_), Err(error)) => println!("   {error:#}"),
            (Err(_), Ok(())) => {}
        }
    }
    result
}

fn wait_until_published(orthanc: &Orthanc, google: &Google, interrupt: &Interrupt) -> Result<()> {
    println!("\n== The plugin obtains a token and tells the DICOMweb plugin of its account");
    let start = Instant::now();
    let mut told = 0;
    loop {
        let servers = orthanc.get("/dicom-web/servers")?.json()?;
        if servers.as_array().is_some_and(|names| names.iter().any(|name| name == &google.account)) {
            println!("   {} after {:.1} s: {servers}", google.account, start.elapsed().as_secs_f64());
            println!("   $ curl {}/dicom-web/servers", orthanc.url());
            return Ok(());
        }
        interrupt.check()?;
        let waited = start.elapsed();
        if waited > PUBLISHED_DEADLINE {
            bail!(
                "after {} s `{}` is still no DICOMweb server. The log above says why: look for its lines about \
                 `{}`, mend what they name, and try again",
                waited.as_secs(),
                google.account,
                google.account
            );
        }
        if waited.as_secs() / 5 > told {
            told = waited.as_secs() / 5;
            let last = orthanc.log_lines().pop().unwrap_or_default();
            println!("   … {} s. Orthanc's last words: {last}", waited.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
