//! Manual pages and completions, from the definition of the command line.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::{Error, arguments::Program};

/// Prints the completions for a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<(), Error> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Program::command(), "orthanc-gcp", &mut text);
    Ok(io::stdout().write_all(&text)?)
}

/// Prints the manual page of a command, or of the whole.
pub(crate) fn page(command: Option<&str>) -> Result<(), Error> {
    let mut program = Program::command();
    program.build();
    let page = match command {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name).cloned();
            let found = found.ok_or_else(|| {
                Error::Usage(format!("there is no command `{name}`; `orthanc-gcp --help` lists all"))
            })?;
            found.name(format!("orthanc-gcp-{name}"))
        }
    };
    Ok(clap_mangen::Man::new(page).render(&mut io::stdout())?)
}
