//! The pretend Google as a program of its own.

#![forbid(unsafe_code)]

use clap::Parser;
use google_emulator::program;
use std::{io, io::Write, process::ExitCode};

#[derive(Parser)]
#[command(name = "google-emulator", version, after_help = program::examples("google-emulator"))]
struct Command {
    #[command(flatten)]
    arguments: program::Arguments,
}

fn main() -> ExitCode {
    match program::run(Command::parse().arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere else to say it.
            drop(writeln!(io::stderr(), "google-emulator: {error}"));
            ExitCode::FAILURE
        }
    }
}
