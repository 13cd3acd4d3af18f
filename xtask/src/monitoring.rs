//! The alert rules in `docs/monitoring`, under Prometheus' own checker.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{shell, workspace};

/// Checks the rules' syntax and runs their tests.
pub(crate) fn check() -> Result<()> {
    let folder = workspace::root().join("docs/monitoring");
    let promtool = promtool()?;
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        shell::run(Command::new(&promtool).args(arguments).current_dir(&folder))?;
    }
    Ok(())
}

/// The machine's promtool; else that of Debian's package, taken out of it: installed, it would start a server.
fn promtool() -> Result<PathBuf> {
    let name = PathBuf::from("promtool");
    if shell::capture(Command::new(&name).arg("--version")).is_ok() {
        return Ok(name);
    }
    let folder = workspace::target()?.join("tools/prometheus");
    let program = folder.join("usr/bin/promtool");
    if !program.exists() {
        println!("promtool is unpacked into {} from Debian's package prometheus.", folder.display());
        fs::create_dir_all(&folder)?;
        let in_folder = |line: &str| shell::run(shell::command(line).current_dir(&folder));
        shell::run(&mut shell::as_root("apt-get update --quiet"))?;
        in_folder("apt-get download prometheus").context("cannot download Debian's package prometheus")?;
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                shell::run(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(&folder))?;
                fs::remove_file(path)?;
            }
        }
    }
    Ok(program)
}
