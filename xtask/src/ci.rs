//! `cargo xtask ci`: the gate.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{
    bench, demo, fuzz, library, monitoring,
    report::Report,
    rules, shell, test,
    workspace::{self, Profile, cargo},
};

/// The version whose checks `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// Everything that must hold before a change lands: formatting, lints, documentation, dependencies, the library's
/// symbols, the project's rules, every test, and the documented commands.
#[derive(clap::Args)]
pub(crate) struct Options {}

pub(crate) fn run(_: &Options) -> Result<()> {
    let mut report = Report::default();
    report.step("Cargo.lock is up to date", || shell::run(&mut cargo("fetch --locked")));
    report.step("formatting", || shell::run(&mut cargo("fmt --all --check")));
    report.step("the project's rules", || rules::check(workspace::root()));
    report.step("lints", || shell::run(&mut cargo("clippy --workspace --all-targets -- --deny warnings")));
    report.step("documentation", || {
        shell::run(cargo("doc --workspace --no-deps").env("RUSTDOCFLAGS", "--deny warnings"))
    });
    report.step("dependencies: bans, licences, sources", deny);
    advisories(&mut report)?;
    report.step("alert rules for Prometheus", monitoring::check);
    report.step("fuzz targets", fuzz::check);
    report.step("the library's symbols and needs", || {
        library::check(&workspace::build_plugin(Profile::Release)?)
    });
    test::steps(&mut report, &[], Profile::Release, &[])?;
    report.step("cargo xtask demo --once", demo::once);
    report.step("cargo xtask bench start --once, bench idle --once, bench transfer --once", bench::once);
    report.end()
}

fn deny() -> Result<()> {
    let tools = workspace::target()?.join("tools");
    let program = cargo_deny()?;
    let is_there = shell::capture(std::process::Command::new(&program).arg("--version"))
        .is_ok_and(|version| version.split_whitespace().any(|word| word == CARGO_DENY));
    if !is_there {
        println!("cargo-deny {CARGO_DENY} is installed into {}.", tools.display());
        let mut install = cargo(&format!("install --locked --debug --version {CARGO_DENY} cargo-deny"));
        shell::run(install.arg("--root").arg(&tools))
            .with_context(|| format!("cannot install cargo-deny {CARGO_DENY}"))?;
    }
    let mut check = std::process::Command::new(program);
    check.current_dir(workspace::root()).args(["--offline", "check", "bans", "licenses", "sources"]);
    shell::run(&mut check)
}

/// Known faults of dependencies, and unmaintained ones, where the database of advisories can be fetched.
fn advisories(report: &mut Report) -> Result<()> {
    let program = cargo_deny()?;
    let mut fetch = std::process::Command::new("timeout");
    fetch.arg("120").arg(&program).args(["fetch", "db"]).current_dir(workspace::root());
    match shell::capture(fetch.env("GIT_TERMINAL_PROMPT", "0")) {
        Ok(_) => {
            report.step("dependencies: advisories", || {
                let mut check = std::process::Command::new(&program);
                check.current_dir(workspace::root()).args(["check", "--disable-fetch", "advisories"]);
                shell::run(&mut check)
            });
        }
        Err(error) => {
            let error = format!("{error:#}");
            let cause = error.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            report.note(format!("advisories were not checked: their database cannot be fetched ({cause})"));
        }
    }
    Ok(())
}

fn cargo_deny() -> Result<PathBuf> {
    Ok(workspace::target()?.join("tools/bin/cargo-deny"))
}
