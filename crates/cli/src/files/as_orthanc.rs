//! The same files, read here and by a real Orthanc: both take them or neither does, and they understand the same.

use orthanc_testbed::{Error, Orthanc};

use super::*;

/// What the environment holds, for both.
const ENVIRONMENT: [(&str, &str); 2] = [("SITE", "north"), ("EMPTY", "")];

/// So many of the texts below are taken.
const TAKEN: usize = 22;
/// Texts of a configuration file, in each of which `Name` is set somehow.
const TEXTS: &[&str] = &[
    r#"{"Name": "plain"}"#,
    "\u{feff}{\"Name\": \"with a mark\"}",
    "// a\n{ /* b\n */ \"Name\" : \"comments\", // c\n}",
    r#"{"Name": "http://x/*no*/"}"#,
    r#"{"Other": {"Deep": [1, 2,], }, "Name": "commas",}"#,
    r#"{"Name": "first", "Name": "second"}"#,
    r#"{"Name": {"x": 1}, "Name": "an object before"}"#,
    r#"{"Name": "what follows"} } nonsense"#,
    "{\"Name\": \"two\nlines\"}",
    "{\"Name\": \"a\ttab\"}",
    r#"{"Name": "\u00e9\ud83d\ude00\/\t"}"#,
    r#"{"Name": "numbers", "X": [007, 1., -0, 1e2, 18446744073709551615, 123456789012345678901234567890]}"#,
    r#"{"Name": "${SITE}"}"#,
    r#"{"Name": "a${NOT_SET}b"}"#,
    r#"{"Name": "${NOT_SET:-fall back}"}"#,
    r#"{"Name": "${SITE:-fall back}"}"#,
    r#"{"Name": "x${EMPTY:-fall back}"}"#,
    r#"{"Name": "${NOT_SET:-"quoted } text"}"}"#,
    r#"{"Name": "${NOT_SET:-'single } quotes'}"}"#,
    r#"{"Name": "${NOT:AVARIABLE}"}"#,
    r#"{"Name": "$SITE {SITE}"}"#,
    r#"{"Na${NOT_SET}me": "in a key"}"#,
    // What neither takes.
    r#"{"Name": "open"#,
    r#"{"Name": "no comma" "Other": 1}"#,
    r#"{"Name": 'single'}"#,
    r#"{Name: "bare"}"#,
    r#"{"Name": "C:\Program"}"#,
    r#"{"Name": "half \ud83d"}"#,
    r#"{"Name": "x", "Y": yes}"#,
    r#"{"Name": "x", "Y": 1e}"#,
    r#"{"Name": "x" /* open }"#,
    r#"{, "Name": "x"}"#,
    r#"{"Name": "x", "Y": [1,,2]}"#,
    r#"["Name"]"#,
    r#"{"Name": "${}"}"#,
    r#"{"Name": "${:-x}"}"#,
    "",
];

/// The name that Orthanc goes by with these files in a folder; `None` where it does not start.
fn of_orthanc(files: &[(&str, &str)]) -> Option<Value> {
    let mut builder = Orthanc::builder().configuration(&serde_json::json!({"Name": null}));
    for (name, text) in files {
        builder = builder.configuration_text(name, text);
    }
    for (name, value) in ENVIRONMENT {
        builder = builder.environment(name, value);
    }
    match builder.start() {
        Ok(orthanc) => {
            let system: Value = serde_json::from_slice(&orthanc.get("/system").unwrap().body).unwrap();
            Some(system["Name"].clone())
        }
        Err(Error::Ended { .. }) => None,
        Err(error) => panic!("{files:?}: {error}"),
    }
}

#[test]
fn orthanc_understands_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.json");
    let mut taken = Vec::new();
    for text in TEXTS {
        fs::write(&path, text).unwrap();
        let read = read(std::slice::from_ref(&path), env);
        let here = read.as_ref().ok().map(|files| files.document["Name"].clone());
        taken.extend(here.is_some().then_some(*text));
        let there = of_orthanc(&[("site.json", text)]);
        // Orthancs differ about control characters, and the user hears of it.
        let oddities = read.as_ref().map(|files| files.oddities("")).unwrap_or_default();
        let differs = oddities.iter().any(|odd| odd.text.starts_with("newer Orthancs refuse"));
        assert_eq!(differs, text.contains(['\t', '\n']) && text.starts_with('{'), "{text}: {read:?}");
        assert!(here == there || (differs && there.is_none()), "{text}: {read:?}, {there:?}");
    }
    assert_eq!(taken, TEXTS[..TAKEN]);
}

#[test]
fn a_folder_is_read_alike() {
    for (files, taken) in [
        (&[("a.json", r#"{"Name": "a"}"#), ("b.json", r#"{"Other": 1}"#)][..], true),
        (&[("a.JSON", r#"{"Name": "capitals"}"#)], true),
        (&[("a.json", r#"{"Name": "a"}"#), ("b.conf", r#"{"Name": "b"}"#)], true),
        (&[("a.json", r#"{"Name": "a"}"#), ("b.json", r#"{"Name": "a"}"#)], false),
        (&[("a.json", r#"{"Name": "a"}"#), ("b.json", "")], false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let read = read(&[folder.path().to_owned()], env);
        let here = read.as_ref().ok().map(|files| files.document["Name"].clone());
        assert_eq!(here.is_some(), taken, "{files:?}: {read:?}");
        assert_eq!(here, of_orthanc(files), "{files:?}: {read:?}");
    }
}

fn env(wanted: &str) -> Option<String> {
    ENVIRONMENT.into_iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
}
