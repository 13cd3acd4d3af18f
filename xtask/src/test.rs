//! `cargo xtask test`: every test.

use std::path::Path;

use anyhow::Result;
use orthanc_testbed::Release;

use crate::{
    apt, chroot,
    report::Report,
    reports, shell,
    workspace::{self, Profile, cargo},
};

/// Runs every test, installing what they need: Orthanc 1.10.1 (this machine's), then those that run inside a real
/// Orthanc once more with the newer one of Debian trixie, in a chroot.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Use this Orthanc (bookworm, which is the machine's own; trixie; sid). May be repeated: all tests run with the
    /// first one, those inside a real Orthanc with the others too. Default: bookworm and trixie
    #[arg(long = "orthanc", value_name = "RELEASE")]
    releases: Vec<Release>,
    /// Test the library as it ships, not the one that builds quickly
    #[arg(long)]
    release: bool,
    /// What follows goes to the test programs: names of tests to run, or options such as --nocapture
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    filters: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut report = Report::default();
    let profile = if options.release { Profile::Release } else { Profile::Dev };
    steps(&mut report, &options.releases, profile, &options.filters)?;
    report.end()
}

/// All steps of the test, for `ci` too.
pub(crate) fn steps(
    report: &mut Report,
    releases: &[Release],
    profile: Profile,
    filters: &[String],
) -> Result<()> {
    let releases = if releases.is_empty() { &[Release::Bookworm, Release::Trixie] } else { releases };
    let chroots = workspace::target()?.join("orthanc");
    report.step("what the tests need is installed", || {
        apt::ensure(&["orthanc", "orthanc-dicomweb", "orthanc-dev", "libfaketime", "chromium"])?;
        apt::ensure_python_venv()?;
        apt::ensure_node()?;
        releases.iter().try_for_each(|&release| chroot::ensure(release, &chroots))
    });
    let mut library = None;
    report.step("the plugin builds", || {
        library = Some(workspace::build_plugin(profile)?);
        Ok(())
    });
    let Some(library) = library else { return Ok(()) };

    let test = |what: &str, release: Release| {
        let mut command = cargo(&format!("test --no-fail-fast {what} --"));
        command.args(filters);
        command.env("ORTHANC_RELEASE", release.name()).env("ORTHANC_CHROOTS", &chroots);
        shell::run(command.env("ORTHANC_GCP_PLUGIN", &library))
    };
    let mut releases = releases.iter();
    if let Some(&first) = releases.next() {
        report.step(format!("every test, with the Orthanc of {first}"), || test("--workspace", first));
    }
    for &release in releases {
        report.step(format!("the tests inside a real Orthanc, that of {release}"), || {
            // The whole workspace, so that cargo takes what the step before has built.
            test("--workspace --test orthanc --test real_orthanc", release)
        });
    }
    if filters.is_empty() {
        report.step("the cases of public bug reports", || reports::run(&library, profile));
        miri(report);
        thread_sanitizer(report)?;
    }
    Ok(())
}

/// The FFI under an interpreter that finds undefined behaviour; it needs a nightly toolchain with Miri.
fn miri(report: &mut Report) {
    match shell::capture(&mut cargo("+nightly miri --version")) {
        Ok(version) => {
            report.step(format!("the FFI under Miri ({})", version.trim()), || {
                shell::run(&mut cargo("+nightly miri test --package orthanc-sdk"))
            });
        }
        Err(error) => {
            let error = format!("{error:#}");
            report.note(format!("Miri was not run: {}", error.lines().next().unwrap_or_default()));
        }
    }
}

/// The FFI under a sanitizer that finds data races; it needs a nightly toolchain with the standard library's source,
/// because that has to be instrumented too.
fn thread_sanitizer(report: &mut Report) -> Result<()> {
    let source = shell::capture(&mut shell::command("rustc +nightly --print sysroot"))
        .map(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std"));
    match source {
        Ok(source) if source.exists() => {
            let folder = workspace::target()?.join("thread-sanitizer");
            let host = workspace::host()?;
            report.step("the FFI under ThreadSanitizer", || {
                let mut command = cargo("+nightly test -Zbuild-std --package orthanc-sdk --lib --tests");
                command.args(["--target", &host]).arg("--target-dir").arg(folder);
                shell::run(command.env("RUSTFLAGS", "-Zsanitizer=thread"))
            });
        }
        Ok(_) => report.note(
            "ThreadSanitizer was not run: `rustup component add rust-src --toolchain nightly` adds what it needs",
        ),
        Err(error) => {
            let error = format!("{error:#}");
            report.note(format!("ThreadSanitizer was not run: {}", error.lines().next().unwrap_or_default()));
        }
    }
    Ok(())
}
