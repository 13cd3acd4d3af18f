//! What axe-core has to say about the page: the rules of WCAG 2.2 A and AA that a program can check, and good practice.
//!
//! It comes in a Python package, which is put into a virtual environment of the tests' own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use super::browser::Browser;

const PACKAGE: &str = "axe-playwright-python==0.1.8";
const RUN: &str = "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}) \
    .then(({passes, violations}) => [passes.length, violations.flatMap(({id, nodes}) => \
    nodes.map(({html, failureSummary}) => `${id}: ${html}: ${failureSummary}`))])";

/// The page has to be beyond reproach as it is now.
#[track_caller]
pub(super) fn assert_accessible(browser: &Browser, what: &str) {
    if browser.value("typeof axe") == "undefined" {
        // Through the debugger, which the content security policy does not concern.
        browser.value(&fs::read_to_string(script()).unwrap());
    }
    let found = browser.value(RUN);
    assert!(found[0].as_u64().unwrap() > 20, "axe looked at nothing: {found}");
    assert_eq!(found[1], serde_json::json!([]), "{what}");
}

/// Installed once and used again.
fn script() -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("axe");
    let (script, stamp) = (folder.join("axe.min.js"), folder.join("installed"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == PACKAGE) {
        return script;
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
    // Its own needs, which are a driver of browsers, are not ours.
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", PACKAGE];
    run(Command::new(folder.join("bin/python")).args(pip));
    let library = fs::read_dir(folder.join("lib")).unwrap().next().unwrap().unwrap().path();
    fs::copy(library.join("site-packages/axe_playwright_python/axe.min.js"), &script).unwrap();
    // Last, so that an interrupted installation is begun again.
    fs::write(stamp, PACKAGE).unwrap();
    script
}

fn run(command: &mut Command) {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; install python3-venv"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed; this test needs python3 with venv and pip\n{said}");
}
