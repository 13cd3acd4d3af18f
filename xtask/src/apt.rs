//! Debian packages that the commands need.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Installs those of `packages` that are missing, saying so.
pub(crate) fn ensure(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("{list}: missing, and this is no Debian. Install Orthanc and its DICOMweb plugin by hand");
    }
    println!("Debian packages missing: {list}. They are installed now, as root.");
    shell::run(&mut shell::as_root("apt-get update --quiet"))?;
    let install =
        format!("env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends {list}");
    shell::run(&mut shell::as_root(&install))
        .with_context(|| format!("{list}: cannot be installed; try `apt-get install {list}` by hand"))?;
    if missing.contains(&"orthanc") {
        println!(
            "Debian's orthanc also runs as a service (port 8042), which this project does not need:\n\
             `sudo systemctl disable --now orthanc` ends it."
        );
    }
    Ok(())
}

/// Python's module for virtual environments: another Python than Debian's may have brought its own.
pub(crate) fn ensure_python_venv() -> Result<()> {
    match shell::capture(shell::command("python3 -c").arg("import venv, ensurepip")) {
        Ok(_) => Ok(()),
        Err(_) => ensure(&["python3-venv"]),
    }
}

/// JavaScript outside of a browser, and its packages: another than Debian's may be there.
pub(crate) fn ensure_node() -> Result<()> {
    let is_there = |line| shell::capture(&mut shell::command(line)).is_ok();
    if is_there("node --version") && is_there("npm --version") {
        return Ok(());
    }
    ensure(&["nodejs", "npm"])
}

fn is_installed(package: &str) -> bool {
    let mut query = shell::command("dpkg-query --show");
    let status = shell::capture(query.args(["--showformat=${db:Status-Status}", package]));
    status.is_ok_and(|status| status == "installed")
}
