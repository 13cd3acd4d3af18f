//! The project's rules about its own files, as a check.

use std::{fs, path::Path};

use anyhow::{Result, bail};

use crate::shell;

/// What no tracked file may hold, and why. Written in two halves, so that this file keeps the rules too.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("debian", ".org"), "a package registry's host: the machine's own settings say which"),
    (concat!("crates", ".io/"), "a package registry's host: the machine's own settings say which"),
    (concat!("pypi", ".org"), "a package registry's host: the machine's own settings say which"),
    (concat!("npm", "js"), "a package registry's host: the machine's own settings say which"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
];

/// What no Rust file may hold.
const FORBIDDEN_IN_RUST: &[(&str, &str)] = &[
    (concat!("#[ig", "nore"), "a test that does not run is no test"),
    (concat!("todo", "!("), "a stub"),
    (concat!("unimplemented", "!("), "a stub"),
    (concat!("dbg", "!("), "a leftover of a search for a bug"),
];

/// Checks every file that git knows.
pub(crate) fn check(root: &Path) -> Result<()> {
    let files = shell::capture(shell::command("git ls-files -z").current_dir(root))?;
    let mut offences = Vec::new();
    let mut count = 0;
    for name in files.split('\0').filter(|name| !name.is_empty() && *name != "Cargo.lock") {
        // A tracked file may have been removed but not committed yet; what is no text holds no words.
        let Ok(bytes) = fs::read(root.join(name)) else { continue };
        count += 1;
        offences.extend(offences_of(name, &String::from_utf8_lossy(&bytes)));
    }
    println!("{count} tracked files read");
    if !offences.is_empty() {
        bail!("rules are broken:\n{}", offences.join("\n"));
    }
    Ok(())
}

fn offences_of(name: &str, text: &str) -> Vec<String> {
    let is_rust = Path::new(name).extension().is_some_and(|extension| extension == "rs");
    let mut rules = FORBIDDEN.to_vec();
    if is_rust {
        rules.extend(FORBIDDEN_IN_RUST);
    }
    let mut offences = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (word, reason) in &rules {
            if line.contains(word) {
                offences.push(format!("{name}:{number}: `{word}`: {reason}"));
            }
        }
    }
    if holds_private_key(text) {
        offences.push(format!("{name}: a private key: tests make theirs when they run"));
    }
    offences
}

/// A PEM label that is followed by what only a key has: a long line of base64. The label alone is fine, code must
/// know it.
fn holds_private_key(text: &str) -> bool {
    const LONG: usize = 48;
    text.split(concat!("PRIVATE ", "KEY-----")).skip(1).any(|after| {
        let mut run = 0;
        after.chars().take(200).any(|c| {
            run = if c.is_ascii_alphanumeric() || c == '+' || c == '/' { run + 1 } else { 0 };
            run >= LONG
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_its_offence() {
        for (word, _) in FORBIDDEN {
            assert_eq!(offences_of("README.md", &format!("one\nsee {word} two")).len(), 1, "{word}");
        }
        for (word, _) in FORBIDDEN_IN_RUST {
            assert_eq!(offences_of("a.rs", &format!("one\n{word}")).len(), 1, "{word}");
            assert_eq!(offences_of("a.md", word).len(), 0, "{word}");
        }
    }

    #[test]
    fn a_key_is_found_and_its_label_is_not() {
        let label = concat!("-----BEGIN PRIVATE ", "KEY-----");
        assert!(holds_private_key(&format!("{label}\n{}\n", "MIIEvQIB".repeat(8))));
        assert!(holds_private_key(&format!("\"{label}\\n{}\\n", "MIIEvQIB".repeat(8))));
        assert!(!holds_private_key(&format!("if text.starts_with(\"{label}\") {{ read_the_key(text)? }}")));
    }

    #[test]
    fn an_innocent_file_passes() {
        assert_eq!(offences_of("src/lib.rs", "//! A library.\npub fn f() {}\n"), Vec::<String>::new());
    }
}
