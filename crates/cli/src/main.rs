//! `orthanc-gcp`, the program beside the plugin: it says what is wrong with a configuration and its accounts, prints a
//! token, serves the gateway without Orthanc, and starts the pretend Google.
//!
//! Its exit code is 0 where all is well, 1 where something is wrong with what was asked about, and 2 where the program itself
//! could not do its work: options it does not know, or a configuration that cannot be read. It is 141 where whoever reads its
//! output has gone away.
#![forbid(unsafe_code)]

mod arguments;
mod check;
mod files;
mod gateway;
mod json;
mod manual;
mod reading;
mod terminal;
mod token;
mod variables;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use orthanc_gcp_configuration::printable;

use arguments::{Command, Program};

/// As shells tell of a program that SIGPIPE has ended (128 and its number), which is what a closed pipe does to most.
const BROKEN_PIPE: u8 = 141;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All is well.
    Well,
    /// Something is wrong with what was asked about, and has been said.
    Wrong,
}

impl From<bool> for End {
    fn from(is_well: bool) -> Self {
        if is_well { Self::Well } else { Self::Wrong }
    }
}

/// Why the program could not do its work.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{}", in_lines(.0))]
    Read(Vec<files::ReadError>),
    #[error("{0}")]
    Usage(String),
    #[error("no runtime can be made ({0}); free memory or raise the limit of open files")]
    Runtime(io::Error),
    #[error("nothing can be written to standard output ({0}); see where it leads")]
    Output(#[from] io::Error),
    #[error("{0}")]
    Emulator(Box<dyn std::error::Error>),
}

impl Error {
    /// Whoever reads has seen enough, as in `orthanc-gcp check | head`: nothing is wrong, and nobody is left to tell.
    fn is_of_closed_pipe(&self) -> bool {
        let error = match self {
            Self::Output(error) => Some(error),
            Self::Emulator(error) => error.downcast_ref::<io::Error>(),
            Self::Read(_) | Self::Usage(_) | Self::Runtime(_) => None,
        };
        error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// A sentence a line.
fn in_lines(errors: &[files::ReadError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn main() -> ExitCode {
    let outcome = match Program::parse().command {
        Command::Check(options) => check::run(&options),
        Command::Token(options) => token::run(&options),
        Command::Gateway(options) => gateway::run(&options),
        Command::Emulator(arguments) => {
            google_emulator::program::run(arguments).map(|()| End::Well).map_err(Error::Emulator)
        }
        Command::Completions { shell } => manual::completions(shell).map(|()| End::Well),
        Command::Man { command } => manual::page(command.as_deref()).map(|()| End::Well),
    };
    match outcome {
        Ok(End::Well) => ExitCode::SUCCESS,
        Ok(End::Wrong) => ExitCode::from(1),
        Err(error) if error.is_of_closed_pipe() => ExitCode::from(BROKEN_PIPE),
        Err(error) => {
            let said = match &error {
                Error::Read(errors) => errors.iter().map(ToString::to_string).collect(),
                other => vec![other.to_string()],
            };
            for sentence in said {
                // Nowhere else to say it.
                drop(writeln!(io::stderr(), "orthanc-gcp: {}", printable(&sentence)));
            }
            ExitCode::from(2)
        }
    }
}
