//! What the shipped library shows to others and asks of them.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Result, ensure};

use crate::shell;

/// Orthanc's plugin interface, and nothing else: any other symbol could clash inside Orthanc's process.
const EXPORTED: [&str; 4] =
    ["OrthancPluginFinalize", "OrthancPluginGetName", "OrthancPluginGetVersion", "OrthancPluginInitialize"];

/// What every Linux with glibc has. The dynamic loader itself may be named: it is there or nothing runs.
const NEEDED: [&str; 3] = ["libc.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"];

/// Checks symbols, needed libraries, and that the library stays in memory once loaded.
pub(crate) fn check(library: &Path) -> Result<()> {
    let symbols = shell::capture(shell::command("nm --dynamic --defined-only").arg(library))?;
    let symbols: BTreeSet<&str> = symbols.lines().filter_map(|line| line.split_whitespace().last()).collect();
    println!("exports {}", list(&symbols));
    ensure!(symbols == BTreeSet::from(EXPORTED), "it must export {} and nothing else", EXPORTED.join(", "));

    let dynamic = shell::capture(shell::command("readelf --dynamic --wide").arg(library))?;
    let needed: BTreeSet<&str> = needed(&dynamic).collect();
    println!("needs {}", list(&needed));
    let strange: Vec<&str> = needed.iter().copied().filter(|name| !NEEDED.contains(name)).collect();
    ensure!(strange.is_empty(), "it must not need {}", strange.join(", "));

    // Orthanc closes and reopens plugins on `POST /tools/reset`; whether glibc then unloads the code must not depend
    // on which thread-local variables were used.
    let flags = dynamic.lines().find(|line| line.contains("(FLAGS_1)")).unwrap_or_default();
    println!("flags {}", flags.split_whitespace().skip(2).collect::<Vec<_>>().join(" "));
    ensure!(flags.contains("NODELETE"), "it must be linked with `-z nodelete`");
    Ok(())
}

fn list(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

/// The names in lines such as ` 0x01 (NEEDED)  Shared library: [libc.so.6]`.
fn needed(dynamic: &str) -> impl Iterator<Item = &str> {
    let lines = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    lines.filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0))
}
