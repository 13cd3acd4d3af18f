//! `cargo xtask fuzz`: every parser of bytes from outside, fed by libFuzzer.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    apt,
    report::Report,
    shell,
    workspace::{self, cargo},
};

/// What libFuzzer needs to see of a program (the flags of cargo-fuzz without a sanitizer): any compiler has them.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";

/// Runs each fuzz target of crates/*/fuzz with libFuzzer. Needs a C++ compiler, and no nightly.
///
/// What a target has found is kept in target/fuzz/corpus and used again by the next run; an input that breaks a target is
/// written below target/fuzz/artifacts, and the command fails.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only these targets. Default: all
    targets: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    apt::ensure(&["g++"])?;
    let folder = workspace::target()?.join("fuzz");
    let host = workspace::host()?;
    let mut report = Report::default();
    for package in packages()? {
        let names = targets(&package)?;
        let wanted = |name: &&String| options.targets.is_empty() || options.targets.contains(name);
        let names: Vec<_> = names.iter().filter(wanted).collect();
        if names.is_empty() {
            continue;
        }
        let title = format!("{} builds", package.display());
        if !report.step(title, || build(&package, &folder, &host)) {
            continue;
        }
        for name in names {
            let program = folder.join(&host).join("release").join(name);
            report.step(format!("{name}, {} s", options.seconds), || {
                feed(&program, name, &folder, options.seconds)
            });
        }
    }
    report.end()
}

/// That every target still fits the code it feeds.
pub(crate) fn check() -> Result<()> {
    packages()?.iter().try_for_each(|package| {
        let mut command = cargo("check --bins");
        command.arg("--target-dir").arg(workspace::target()?);
        shell::run(command.arg("--manifest-path").arg(package.join("Cargo.toml")))
    })
}

/// The folders `crates/*/fuzz`.
fn packages() -> Result<Vec<PathBuf>> {
    let crates = fs::read_dir(workspace::root().join("crates"))?;
    let mut packages = Vec::new();
    for entry in crates {
        let package = entry?.path().join("fuzz");
        if package.join("Cargo.toml").exists() {
            packages.push(package);
        }
    }
    packages.sort();
    Ok(packages)
}

fn targets(package: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(package.join("fuzz_targets"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

fn build(package: &Path, folder: &Path, host: &str) -> Result<()> {
    let mut command = cargo(&format!("build --release --bins --target {host}"));
    command.arg("--target-dir").arg(folder).arg("--manifest-path").arg(package.join("Cargo.toml"));
    // With a target named, build scripts are compiled without these flags.
    shell::run(command.env("RUSTFLAGS", COVERAGE))
}

fn feed(program: &Path, name: &str, folder: &Path, seconds: u32) -> Result<()> {
    let corpus = folder.join("corpus").join(name);
    let artifacts = folder.join("artifacts").join(name);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    let mut command = std::process::Command::new(program);
    command.arg(&corpus).arg(format!("-artifact_prefix={}/", artifacts.display()));
    // One input may take 10 s and 1 GB: what needs more is a finding too.
    command.args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1", "-verbosity=0"]);
    shell::run(command.arg(format!("-max_total_time={seconds}")))
}
