//! Where things are, and the plugin's library.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::shell;

/// The package of the plugin.
const PLUGIN: &str = "orthanc-google-cloud-platform";

/// The package of the program, and the program.
const PROGRAM: &str = "orthanc-gcp";

/// How a library is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Dev,
    /// What ships.
    Release,
}

/// The top of the work tree.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// What `cargo run` tells us of our own package. Build scripts (ring's among them) look at these, so that a cargo which
/// inherits them builds half of the library anew, and so does the next one that was started by hand.
const OURS: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// The cargo that runs us, in the top of the work tree.
pub(crate) fn cargo(arguments: &str) -> Command {
    let mut command = shell::command(&format!("cargo {arguments}"));
    command.current_dir(root());
    for (name, _) in env::vars_os() {
        if OURS.iter().any(|ours| name.to_string_lossy().starts_with(ours)) {
            command.env_remove(name);
        }
    }
    command
}

/// Cargo's target folder, wherever `CARGO_TARGET_DIR` or a configuration has put it.
pub(crate) fn target() -> Result<PathBuf> {
    let text = shell::capture(&mut cargo("metadata --no-deps --format-version=1"))?;
    let metadata: serde_json::Value = serde_json::from_str(&text)?;
    let folder = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    Ok(folder.context("`cargo metadata` names no target_directory")?.into())
}

/// Builds the plugin and gives the path of the library.
pub(crate) fn build_plugin(profile: Profile) -> Result<PathBuf> {
    build(profile, PLUGIN, "libOrthancGoogleCloudPlatform.so")
}

/// Builds the program `orthanc-gcp` and gives its path.
pub(crate) fn build_program(profile: Profile) -> Result<PathBuf> {
    build(profile, PROGRAM, PROGRAM)
}

fn build(profile: Profile, package: &str, product: &str) -> Result<PathBuf> {
    let (flag, folder) = match profile {
        Profile::Dev => ("", "debug"),
        Profile::Release => ("--release", "release"),
    };
    shell::run(&mut cargo(&format!("build {flag} --package {package}")))?;
    let product = target()?.join(folder).join(product);
    anyhow::ensure!(product.exists(), "cargo built no {}", product.display());
    Ok(product)
}

/// The triple of this machine.
pub(crate) fn host() -> Result<String> {
    let version = shell::capture(&mut shell::command("rustc --version --verbose"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc --version --verbose` names no host")?.to_owned())
}
