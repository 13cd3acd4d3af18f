//! What the README says of the program.

use std::{collections::BTreeSet, fs, path::Path};

use crate::stage::{Stage, run, steps};

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap()
}

/// The program's section.
fn section(readme: &str) -> &str {
    let section = readme.split("\n## The program `orthanc-gcp`\n").nth(1).unwrap();
    section.split("\n## ").next().unwrap()
}

#[test]
fn every_command_with_its_options_exists() {
    let readme = readme();
    let mut found = BTreeSet::new();
    for line in readme.lines() {
        for command in line.split("orthanc-gcp ").skip(1) {
            let command = command.split([')', '`', '|', '#']).next().unwrap();
            let mut words = command.split_whitespace();
            let Some(name) = words.next().filter(|word| word.chars().all(|c| c.is_ascii_lowercase())) else {
                continue;
            };
            let help = run(&[name, "--help"], &[], Path::new("/"));
            assert_eq!(help.code, 0, "{line}: {}", help.err);
            for option in words.filter(|word| word.starts_with("--")) {
                assert!(help.out.contains(option), "{line}: {option}");
            }
            found.insert(name.to_owned());
        }
    }
    for command in ["check", "completions", "emulator", "man", "token"] {
        assert!(found.contains(command), "{command} is not in the README: {found:?}");
    }
}

#[test]
fn every_option_of_check_is_explained() {
    let readme = readme();
    let help = run(&["check", "--help"], &[], Path::new("/")).out;
    let options = help.lines().filter_map(|line| line.trim().strip_prefix("--")?.split_whitespace().next());
    let options: Vec<_> = options.collect();
    assert!(options.len() >= 3, "{options:?}");
    for option in options {
        assert!(section(&readme).contains(&format!("`--{option}")), "--{option}");
    }
}

#[test]
fn the_table_of_steps_is_what_happens() {
    let readme = readme();
    let table = section(&readme).split("| step | what is looked at |\n").nth(1).unwrap();
    let rows = table.split("\n\n").next().unwrap().lines().skip(1);
    let documented: Vec<_> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    let (_, document) = Stage::new().check_json(&["--write"]);
    let happened: Vec<_> = steps(&document).into_iter().map(|[name, ..]| name).collect();
    assert_eq!(documented, happened);
}
