//! Google's own client library and a DICOMweb client, neither written here, against the emulator. Needs Python 3 with `venv`
//! and pip; without them it fails.

use google_emulator::Emulator;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const REQUIREMENTS: &str = include_str!("requirements.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_clients_work_and_are_refused_when_they_should_be() {
        let python = python();
        let emulator = Emulator::builder().start().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let files = emulator.write_files(folder.path(), &[]).unwrap();
        let place = json!({
            "http": emulator.http_url(),
            "https": emulator.https_url(),
            "store": emulator.store().to_string(),
            "ca": files.ca,
            "service_account": files.service_account,
            "pkcs1": files.service_account_pkcs1,
            "user": files.authorized_user,
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracles.py");
        run(Command::new(python).arg(script).arg(place.to_string()));
    }

    /// The interpreter of a virtual environment with the pinned packages, made once and used again.
    fn python() -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("google-emulator-oracles");
        let (python, stamp) = (folder.join("bin/python"), folder.join("requirements.txt"));
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
            return python;
        }
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        let wanted = folder.join("wanted.txt");
        fs::write(&wanted, REQUIREMENTS).unwrap();
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        run(Command::new(&python).args(pip).arg(&wanted));
        // Last, so that an interrupted installation is begun again.
        fs::rename(wanted, stamp).unwrap();
        python
    }

    fn run(command: &mut Command) {
        let output = command.output().unwrap_or_else(|error| {
            panic!("{command:?}: {error}; install python3 and python3-venv");
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{command:?} failed; this test needs python3 with venv and pip\n{}\n{}",
            text(&output.stdout),
            text(&output.stderr)
        );
    }
}
