//! What the documents say twice is held against what they say it of.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a panic is how a test fails"
)]

mod errors;
mod markdown;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use google_credentials::{Credential, remedy::TOKEN_REFUSALS};
use markdown::{anchor_of, blocks, code_spans, is_word, keys_of, table_below, without_blocks};
use orthanc_gcp_configuration::{self as configuration, ACCOUNT_KEYS, KEYS, SECTION};
use serde_json::{Value, json};

/// What else the README names in code that looks like an option: Orthanc's, the DICOMweb plugin's and DICOM's own words.
const WORDS_OF_OTHERS: [&str; 11] = [
    "Accept",
    "Authorization",
    "ChunkedTransfers",
    "HasDelete",
    "HasWadoRsUniversalTransferSyntax",
    "HttpHeaders",
    "Plugins",
    "StudyInstanceUID",
    "Synchronous",
    "Timeout",
    "Url",
];

/// Keys of Orthanc and of the DICOMweb plugin, each with a value that is not the default and has to make a difference.
fn honoured() -> Vec<(&'static str, Value)> {
    vec![
        ("HttpsCACertificates", json!("/ca.pem")),
        ("HttpsVerifyPeers", json!(false)),
        ("HttpProxy", json!("proxy:3128")),
        ("HttpTimeout", json!(7200)),
        ("HttpVerbose", json!(true)),
        ("DicomWeb.Enable", json!(false)),
        ("DicomWeb.Root", json!("/dw/")),
        ("DicomWeb.Servers", json!({"a": {"ChunkedTransfers": false}})),
        ("DicomWeb.ServersInDatabase", json!(true)),
    ]
}

#[test]
fn the_tables_hold_every_key_and_no_other() {
    let readme = read("README.md");
    let table = |heading| keys_of(&table_below(&readme, heading));
    assert_eq!(table("### Keys of `GoogleCloudPlatform`"), KEYS.map(str::to_owned).into());
    assert_eq!(table("### Keys of an account"), ACCOUNT_KEYS.map(str::to_owned).into());
    let honoured = honoured().into_iter().map(|(key, _)| key.to_owned()).collect();
    assert_eq!(table("### Keys of Orthanc and of the DICOMweb plugin"), honoured);
}

#[test]
fn what_the_code_asks_orthancs_configuration_for_is_in_the_table() {
    let code = read("crates/configuration/src/lib.rs");
    let asked: BTreeSet<&str> =
        code.split('"').filter(|text| text.starts_with("Http") && is_word(text)).collect();
    assert!(asked.len() >= 5, "{asked:?}");
    let honoured = honoured();
    for key in asked {
        assert!(honoured.iter().any(|(documented, _)| *documented == key), "{key}");
    }
}

#[test]
fn each_honoured_key_makes_a_difference() {
    let without = understood(&complete());
    for (key, value) in honoured() {
        let mut document = complete();
        set(&mut document, key, &value);
        assert_ne!(understood(&document), without, "{key} changes nothing");
    }
}

#[test]
fn the_documented_defaults_are_what_happens() {
    let readme = read("README.md");
    let mut checked = 0;
    for (heading, below) in [
        ("### Keys of `GoogleCloudPlatform`", "GoogleCloudPlatform."),
        ("### Keys of an account", "GoogleCloudPlatform.Accounts.a."),
        ("### Keys of Orthanc and of the DICOMweb plugin", ""),
    ] {
        for row in table_below(&readme, heading) {
            let (key, default) = (&code_spans(&row[0])[0], row[2].trim());
            let path = format!("{below}{key}");
            if default == "mandatory" {
                let mut document = complete();
                set(&mut document, &path, &Value::Null);
                let (_, findings) = configuration::read(&document.to_string());
                assert!(
                    findings.iter().any(|finding| finding.path.to_string() == path),
                    "{path} can be left out"
                );
                checked += 1;
            } else if let Some(default) = default.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
                let mut document = complete();
                if key != "Accounts" {
                    set(&mut document, &path, &serde_json::from_str(default).unwrap());
                }
                assert_eq!(understood(&document), understood(&complete()), "{path}: {default}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 14, "the tables have lost their form: {checked}");
    let (configuration, _) = configuration::read(&complete().to_string());
    let url = configuration.accounts[0].url();
    let rows = table_below(&readme, "### Keys of `GoogleCloudPlatform`");
    let base_url = rows.iter().find(|row| row[0] == "`BaseUrl`").unwrap();
    assert!(url.starts_with(&code_spans(&base_url[2])[0]), "{url}");
}

#[test]
fn the_examples_are_accepted_without_a_word() {
    let readme = read("README.md");
    let examples: Vec<_> = blocks(&readme, "json").filter(|block| block.contains(SECTION)).collect();
    let mut credentials = Vec::new();
    let mut impersonates = false;
    for example in &examples {
        let document = orthanc_testbed::parse(example).unwrap();
        let (configuration, findings) = configuration::read(&document.to_string());
        assert_eq!(findings, [], "{example}");
        let [account] = configuration.accounts.as_slice() else { panic!("one account expected: {example}") };
        credentials.push(match account.source.as_ref().map(|source| &source.credential) {
            Some(Credential::ServiceAccountFile(_)) => "service account",
            Some(Credential::AuthorizedUserFile(_)) => "user file",
            Some(Credential::AuthorizedUser { .. }) => "user strings",
            Some(Credential::CredentialsFile(_)) => "credentials file",
            Some(Credential::ApplicationDefault) => "application default credentials",
            Some(Credential::MetadataServer(_)) => "metadata server",
            None => "no credential",
        });
        impersonates |= account.source.as_ref().is_some_and(|source| source.impersonation.is_some());
    }
    for kind in [
        "service account",
        "user file",
        "user strings",
        "credentials file",
        "application default credentials",
        "metadata server",
        "no credential",
    ] {
        assert!(credentials.contains(&kind), "no example of a {kind}: {credentials:?}");
    }
    assert!(impersonates, "no example of impersonation");
}

#[test]
fn every_option_that_the_readme_names_exists() {
    let readme = read("README.md");
    let honoured = honoured();
    let known = |word: &str| {
        KEYS.contains(&word)
            || ACCOUNT_KEYS.contains(&word)
            || WORDS_OF_OTHERS.contains(&word)
            || [SECTION, "DicomWeb"].contains(&word)
            || honoured.iter().any(|(key, _)| key.rsplit('.').next() == Some(word))
    };
    let mut named = 0;
    for span in code_spans(&without_blocks(&readme)) {
        let looks_like_one = |word: &&str| {
            is_word(word)
                && word.starts_with(|letter: char| letter.is_ascii_uppercase())
                && word.contains(|letter: char| letter.is_ascii_lowercase())
        };
        // `DicomWeb.Servers.NAME.Timeout`: what stands for a name is in capitals.
        let words: Vec<&str> = span.split('.').collect();
        if !words.iter().all(|word| is_word(word)) {
            continue;
        }
        for word in words.iter().filter(|word| looks_like_one(word)) {
            assert!(known(word), "`{span}`: there is no option {word}");
            named += 1;
        }
    }
    assert!(named > 30, "{named}");
}

#[test]
fn every_log_line_that_the_readme_explains_can_be_written() {
    let mut code = String::new();
    for room in ["configuration", "google-credentials", "orthanc-sdk", "plugin"] {
        append_code(&top().join(format!("crates/{room}/src")), &mut code);
    }
    // A literal may go over several lines.
    let code = code.replace("\\\n", "\n").split_whitespace().collect::<Vec<_>>().join(" ");
    let code = code.replace("\\\"", "\"");
    let explained = explained_lines();
    for part in explained.iter().flat_map(|line| parts(line)) {
        assert!(code.contains(part), "nothing writes: {part}");
    }
    assert!(explained.len() >= 60, "the tables have lost their form: {}", explained.len());
}

#[test]
fn every_refusal_of_a_token_endpoint_is_explained() {
    let explained = explained_lines();
    for row in TOKEN_REFUSALS {
        let is_meant = |part: &str| part.len() > 12 && row.remedy.contains(part);
        assert!(explained.iter().flat_map(|line| parts(line)).any(is_meant), "not explained: {}", row.remedy);
    }
}

#[test]
fn every_command_of_our_own_exists() {
    let commands = read("xtask/src/main.rs");
    for document in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"] {
        let text = read(document);
        let mut found = 0;
        for line in text.split("cargo xtask ").skip(1) {
            let mut words = line.split(|letter: char| !(letter.is_ascii_lowercase() || letter == '-'));
            let name = words.next().unwrap_or_default();
            if name.is_empty() || name.starts_with('-') {
                continue;
            }
            found += 1;
            assert!(commands.contains(&format!("{name}::run(&options)")), "{document}: cargo xtask {name}");
            let source = read(format!("xtask/src/{name}.rs"));
            let command = line.split(['`', '\n', '#']).next().unwrap_or_default();
            for option in command.split_whitespace().filter_map(|word| word.strip_prefix("--")) {
                let declared = format!("    {}: ", option.replace('-', "_"));
                let renamed = format!("long = \"{option}\"");
                assert!(
                    option == "help" || source.contains(&declared) || source.contains(&renamed),
                    "{document}: cargo xtask {name} --{option}"
                );
            }
        }
        assert!(found > 0, "{document} names no command");
    }
}

#[test]
fn every_dependency_of_what_ships_has_its_sentence() {
    let manifests =
        ["plugin", "configuration", "doctor", "dicomweb-gateway", "google-credentials", "orthanc-sdk", "cli"];
    let mut used = BTreeSet::new();
    for room in manifests {
        let manifest = read(format!("crates/{room}/Cargo.toml"));
        let section = manifest.split("\n[dependencies]\n").nth(1).unwrap();
        let section = section.split("\n[").next().unwrap();
        let names = section.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
        used.extend(names.filter(|name| !name.is_empty() && !name.starts_with('#')).map(str::to_owned));
    }
    let is_ours = |name: &str| top().join("crates").join(name.trim_start_matches("orthanc-gcp-")).exists();
    used.retain(|name| !is_ours(name));
    let architecture = read("ARCHITECTURE.md");
    assert_eq!(keys_of(&table_below(&architecture, "## Dependencies of what ships")), used);
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    for document in
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/errors.md"]
    {
        let text = read(document);
        let folder = Path::new(document).parent().unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            if target.contains("://") {
                continue;
            }
            let there = if path.is_empty() { PathBuf::from(document) } else { folder.join(path) };
            assert!(top().join(&there).exists(), "{document}: {target}");
            if !anchor.is_empty() {
                let headings: Vec<_> = read(&there).lines().filter_map(anchor_of).collect();
                assert!(
                    headings.iter().any(|heading| heading == anchor),
                    "{document}: {target}: {headings:?}"
                );
            }
        }
    }
}

/// The lines of our own that the README's tables of errors explain; `…` stands for what differs.
fn explained_lines() -> Vec<String> {
    let readme = read("README.md");
    let (_, section) = readme.split_once("\n## When something is wrong\n").unwrap();
    let (ours, _) = section.split_once("\n### What the DICOMweb plugin says\n").unwrap();
    let rows = ours.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| In the log"));
    rows.flat_map(|row| code_spans(row.split(" | ").next().unwrap())).collect()
}

fn parts(line: &str) -> impl Iterator<Item = &str> {
    line.split('…').map(str::trim).filter(|part| !part.is_empty())
}

/// A configuration with one complete account, `a`.
fn complete() -> Value {
    json!({"GoogleCloudPlatform": {"Accounts": {"a": {
        "Project": "p", "Location": "l", "Dataset": "d", "DicomStore": "s", "ServiceAccountFile": "/key.json",
    }}}})
}

/// What the plugin makes of a document, to be compared.
/// What a document means. Whether a limit is the user's own or the default is left out.
fn understood(document: &Value) -> String {
    let (mut configuration, findings) = configuration::read(&document.to_string());
    for account in &mut configuration.accounts {
        account.own_timeout = None;
    }
    format!("{configuration:?} {findings:?}")
}

/// Sets the value at a dotted path; null takes it away.
fn set(document: &mut Value, path: &str, value: &Value) {
    let change = path.rsplit('.').fold(value.clone(), |inner, key| json!({ key: inner }));
    orthanc_testbed::merge(document, &change);
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[track_caller]
fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Rust code below a folder but its tests.
fn append_code(folder: &Path, code: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            append_code(&path, code);
        } else if path.file_name().is_some_and(|name| name != "tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            code.push_str(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default());
        }
    }
}
