//! The cases of public bug reports: `tests/reports`.

use std::path::Path;

use anyhow::Result;

use crate::{
    apt, shell,
    workspace::{self, Profile},
};

/// Builds the program and runs every case with it and this library.
pub(crate) fn run(library: &Path, profile: Profile) -> Result<()> {
    apt::ensure(&["openssl", "python3"])?;
    let program = workspace::build_program(profile)?;
    let mut cases = shell::command("python3 tests/reports");
    cases.current_dir(workspace::root()).env("PYTHONDONTWRITEBYTECODE", "1");
    shell::run(cases.env("ORTHANC_GCP", program).env("ORTHANC_GCP_PLUGIN", library))
}
