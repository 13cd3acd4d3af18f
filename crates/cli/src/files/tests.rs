//! Files and folders, read as Orthanc reads them.

use serde_json::json;

use super::*;

fn env(name: &str) -> Option<String> {
    match name {
        "KEY" => Some("a value\nof two lines".to_owned()),
        "BROKEN" => Some("\"".to_owned()),
        _ => None,
    }
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn read_folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Files, Vec<ReadError>>) {
    let folder = folder(files);
    let read = read(&[folder.path().to_owned()], env);
    (folder, read)
}

/// `name:line:column` of a key.
fn place(files: &Files, path: &[&str]) -> String {
    let place = files.place(&KeyPath::of(path.iter().copied())).unwrap();
    format!("{}:{}:{}", place.file.file_name().unwrap().to_string_lossy(), place.line, place.column)
}

#[test]
fn a_folder_is_its_json_files() {
    let (folder, read) = read_folder(&[
        ("b.JSON", "{\"B\": 2}"),
        ("a.json", "{\"A\": {\"x\": \"${KEY}\",\n  \"é\": 1, \"y\": [ {\"z\": 0} ]}}"),
        ("readme.txt", "no JSON"),
    ]);
    fs::create_dir(folder.path().join("sub.json")).unwrap();
    let files = read.unwrap();
    let expected = json!({"A": {"x": "a value\nof two lines", "é": 1, "y": [{"z": 0}]}, "B": 2});
    assert_eq!(Value::Object(files.document.clone()), expected);
    for (path, expected) in [
        (&["A"][..], "a.json:1:2"),
        (&["A", "x"], "a.json:1:8"),
        (&["A", "y"], "a.json:2:11"),
        (&["A", "Y"], "a.json:2:11"),
        (&["A", "missing", "deeper"], "a.json:1:2"),
        (&["B"], "b.JSON:1:2"),
    ] {
        assert_eq!(place(&files, path), expected, "{path:?}");
    }
    assert_eq!(files.place(&KeyPath::of(["C"])), None);
}

#[test]
fn what_keeps_orthanc_from_starting_is_said_with_its_place() {
    for (files, expected) in [
        (&[("a.json", "{\n \"A\": 1\n \"B\": 2}")][..], "a.json:3:2: a comma is missing"),
        (&[("a.json", "{\"A\": ${}}")], "a.json:1:7: this variable has no name"),
        (&[("a.json", "{\"A\": \"${BROKEN}\"}")], "a.json:1:17: a comma"),
        (&[("a.json", "[]")], "a.json:1:1: the file holds no JSON object"),
        (&[("a.json", "{\"A\": 1}"), ("b.json", "{\n\"A\": 1}")], "b.json:2:1: `A` stands in "),
        (&[("a.txt", "")], "no file of this folder ends in .json"),
        (
            &[
                ("a.json", "{\"type\": \"service_account\", \"client_email\": \"x\"}"),
                ("b.json", "{\"type\": \"service_account\",\n \"client_email\": \"y\"}"),
            ],
            "b.json:2:2: `client_email` belongs to a Google credential file",
        ),
    ] {
        let (folder, read) = read_folder(files);
        let [error] = read.unwrap_err().try_into().unwrap();
        let said = error.to_string().replace(&format!("{}/", folder.path().display()), "");
        assert!(said.contains(expected), "{said}");
    }
    let missing = read(&["/nowhere/at/all.json".into()], env).unwrap_err()[0].to_string();
    assert!(missing.starts_with("/nowhere/at/all.json: it cannot be read ("), "{missing}");
    assert!(missing.contains("; name the file or folder that Orthanc is started with"), "{missing}");
}

#[test]
fn all_that_keeps_orthanc_from_starting_is_said_at_once() {
    let (folder, _) = read_folder(&[
        ("a.json", "{\"A\" 1}"),
        ("b.json", "{\"B\": 1, \"C\": 2}"),
        ("c.json", "{\"D\": 1 \"E\": 2}"),
        ("d.json", "{\"B\": 1,\n\"C\": 2}"),
    ]);
    let errors = read(&["/nowhere".into(), folder.path().to_owned()], env).unwrap_err();
    let places = errors.iter().map(|error| match error.place() {
        (file, None) => file.display().to_string(),
        (file, Some(Place { line, column, .. })) => {
            format!("{}:{line}:{column}", file.file_name().unwrap().display())
        }
    });
    let places: Vec<_> = places.collect();
    assert_eq!(places, ["/nowhere", "a.json:1:6", "c.json:1:9", "d.json:1:2", "d.json:2:1"]);
}

#[test]
fn what_is_odd() {
    let (_folder, read) = read_folder(&[(
        "a.json",
        "{\"S\": {\"x\": 1,\n\"x\": \"${NOT}${NOT:-d}${KEY}\"}, \"T\": \"${NOT_EITHER}\"}\n}",
    )]);
    let odd: Vec<_> = read.unwrap().oddities("S").into_iter().collect();
    let said: Vec<_> =
        odd.iter().map(|odd| format!("{}:{} {}", odd.place.line, odd.place.column, odd.text)).collect();
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[0].starts_with("2:1 S.x stands here a second time"), "{said:?}");
    // The value of a variable stands where the variable does.
    assert!(said[1].starts_with("2:22 newer Orthancs refuse a line break"), "{said:?}");
    assert!(said[2].starts_with("3:1 Orthanc reads nothing of what follows"), "{said:?}");
    assert!(said[3].starts_with("2:7 ${NOT} is not set"), "{said:?}");
}
