//! The other commands: the emulator, completions, manual pages, help.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::stage::{Run, Stage, program, run};

/// A child that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn say(arguments: &[&str]) -> Run {
    run(arguments, &[], Path::new("/"))
}

#[test]
fn the_emulator_starts_is_in_order_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    let mut command = program(&["emulator", "--files", files.to_str().unwrap()]);
    let mut emulator = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let output = BufReader::new(emulator.0.stdout.take().unwrap());
    assert!(output.lines().map_while(Result::ok).any(|line| line.contains("Ctrl-C")), "it ended early");
    let configuration = files.join("orthanc.json");
    let checked = say(&["check", configuration.to_str().unwrap(), "--write"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let ended = Command::new("kill").arg(emulator.0.id().to_string()).status().unwrap();
    assert!(ended.success());
    assert_eq!(emulator.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_folder_that_the_emulator_cannot_use_is_named() {
    let run = say(&["emulator", "--data", "/proc/nowhere"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.err.contains("orthanc-gcp: cannot use the data folder /proc/nowhere"), "{}", run.err);
}

/// As `… | head -1`, with a head that is quicker still.
#[test]
fn a_reader_that_goes_away_is_no_trouble() {
    let stage = Stage::new();
    let configuration = stage.configuration();
    let configuration = configuration.to_str().unwrap();
    for arguments in [
        &["check", configuration][..],
        &["check", configuration, "--json"],
        &["check", "/nowhere.json", "--json"],
        &["man"],
        &["completions", "bash"],
        &["emulator"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = program(arguments).stdin(Stdio::null()).stdout(writer).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), said.as_str()), (Some(141), ""), "{arguments:?}");
    }
}

#[test]
fn exit_codes_are_told() {
    for code in ["0", "1", "2", "141"] {
        let told = format!("{code} where");
        for arguments in [&["--help"][..], &["check", "--help"], &["man"], &["man", "check"]] {
            let said = say(arguments).out.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(said.contains("Exit code: 0 where") && said.contains(&told), "{arguments:?}: {said}");
        }
        let readme =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap();
        assert!(readme.contains(&format!("\n| {code} | ")), "{code}");
    }
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let help = say(&["--help"]);
    assert_eq!(help.code, 0);
    let below = help.out.split("\nCommands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands: Vec<_> = below.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(["check", "token", "emulator"].iter().all(|name| commands.contains(name)), "{commands:?}");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let completions = say(&["completions", shell]);
        assert_eq!(completions.code, 0, "{completions:?}");
        for command in &commands {
            assert!(completions.out.contains(command), "{shell}: {command}");
        }
    }
    let whole = say(&["man"]);
    assert!(whole.out.contains(".TH orthanc-gcp 1"), "{}", whole.out);
    for command in commands.into_iter().filter(|command| *command != "help") {
        assert!(whole.out.contains(&format!("orthanc\\-gcp\\-{command}(1)")), "{}", whole.out);
        let page = say(&["man", command]);
        assert!(page.out.contains(&format!(".TH orthanc-gcp-{command} 1")), "{}", page.out);
        // Help and manual are one definition.
        assert_eq!(page.out.contains("\\-\\-json"), say(&[command, "--help"]).out.contains("--json"));
    }
    assert_eq!(say(&["man", "nothing"]).code, 2);
}
