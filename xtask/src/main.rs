//! The project's own commands: `cargo xtask --help`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program at a terminal speaks by printing")]

mod apt;
mod bench;
mod chroot;
mod ci;
mod demo;
mod fuzz;
mod library;
mod mirror;
mod monitoring;
mod report;
mod reports;
mod rules;
mod shell;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

/// The commands of the Orthanc plugin for Google Cloud Platform.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    Demo(demo::Options),
    Test(test::Options),
    Ci(ci::Options),
    Bench(bench::Options),
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Ci(options) => ci::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nFAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}
