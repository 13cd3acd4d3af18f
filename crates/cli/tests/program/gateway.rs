//! `orthanc-gcp gateway`, as a DICOMweb client and a service manager see it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
};

use google_emulator::Route;
use orthanc_testbed::assert_no_secret;
use serde_json::json;

use crate::{serving::Serving, stage::Stage};

#[test]
fn any_client_is_served_with_the_accounts_token() {
    let stage = Stage::new();
    let serving = Serving::start(&stage.configuration(), &["--verbose"]);
    assert!(serving.ask("GET", "/health", "").starts_with("HTTP/1.1 200 "));
    let answer = serving.ask("GET", "/my-google/studies?PatientName=Doe", "");
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    let seen = stage.emulator.requests();
    let search = seen.iter().find(|request| request.route == Route::Qido).unwrap();
    let token = stage.emulator.tokens_issued().pop().unwrap();
    assert_eq!(search.header("authorization"), Some(format!("Bearer {token}").as_str()));
    let (code, said) = serving.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("GET studies answered"), "{said}");
    assert!(!said.contains("Doe"), "{said}");
    assert_no_secret(&said, &stage.emulator.secrets());
}

#[test]
fn a_secret_of_ones_own() {
    let stage = Stage::new();
    let file = stage.path("secret");
    fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
    let serving = Serving::start(&stage.configuration(), &["--secret-file", file.to_str().unwrap()]);
    assert!(serving.ask("GET", "/my-google/studies", "").starts_with("HTTP/1.1 401 "));
    let right = "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n";
    assert!(serving.ask("GET", "/my-google/studies", right).starts_with("HTTP/1.1 20"));
    let (_, said) = serving.end();
    assert!(!said.contains("0123456789abcdef"), "{said}");
}

#[test]
fn secret_file_that_others_can_write_is_refused() {
    let stage = Stage::new();
    let file = stage.path("secret");
    fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
    let configuration = stage.configuration();
    let arguments =
        ["gateway", "--config", configuration.to_str().unwrap(), "--secret-file", file.to_str().unwrap()];
    for mode in [0o620, 0o602, 0o666, 0o660] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let run = stage.run(&arguments);
        assert_eq!(run.code, 2, "{mode:o}: {}", run.err);
        let remedy = format!("run `chmod go-w {}`", file.display());
        assert!(run.err.contains("--secret-file: ") && run.err.contains(&remedy), "{mode:o}: {}", run.err);
        assert!(!run.err.contains("0123456789abcdef"), "{}", run.err);
    }
    for (mode, is_warned) in [(0o600, false), (0o400, false), (0o640, false), (0o644, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let (code, said) = Serving::start(&configuration, &arguments[3..]).end();
        assert_eq!(code, Some(0), "{mode:o}: {said}");
        assert_eq!(said.contains("run `chmod o-rwx "), is_warned, "{mode:o}: {said}");
    }
}

#[test]
fn web_pages_ask_only_where_they_may() {
    let stage = Stage::new();
    let serving = Serving::start(&stage.configuration(), &["--allow-origin", "https://viewer.example"]);
    let mistyped = serving.ask("GET", "/my-goggle/studies", "");
    assert!(mistyped.starts_with("HTTP/1.1 404 ") && mistyped.contains("/my-google/"), "{mistyped}");
    let foreign = serving.ask("GET", "/my-google/studies", "Origin: https://evil.example\r\n");
    assert!(foreign.starts_with("HTTP/1.1 403 "), "{foreign}");
    assert!(!foreign.to_lowercase().contains("access-control-allow-origin"), "{foreign}");
    let allowed = serving.ask("GET", "/my-google/studies", "Origin: https://viewer.example\r\n");
    assert!(allowed.starts_with("HTTP/1.1 20"), "{allowed}");
    assert!(allowed.contains("access-control-allow-origin: https://viewer.example"), "{allowed}");
    let preflight = "Origin: https://viewer.example\r\nAccess-Control-Request-Method: DELETE\r\n";
    let preflight = serving.ask("OPTIONS", "/my-google/studies", preflight);
    assert!(preflight.starts_with("HTTP/1.1 204 "), "{preflight}");
    assert!(
        preflight.contains("access-control-allow-methods: GET, HEAD, POST, PUT, PATCH, DELETE"),
        "{preflight}"
    );
    // An image or a frame of another page, which comes without `Origin`.
    let embedded = serving.ask("GET", "/my-google/studies", "Sec-Fetch-Site: cross-site\r\n");
    assert!(
        embedded.starts_with("HTTP/1.1 403 ") && embedded.contains("x-frame-options: DENY"),
        "{embedded}"
    );
    // A page whose own name was made to lead here.
    let mut stream = TcpStream::connect(&serving.address).unwrap();
    write!(stream, "GET /my-google/studies HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut rebound = String::new();
    stream.read_to_string(&mut rebound).unwrap();
    assert!(rebound.starts_with("HTTP/1.1 403 "), "{rebound}");
    assert_eq!(stage.emulator.requests().iter().filter(|request| request.route == Route::Qido).count(), 1);
}

#[test]
fn what_cannot_be_is_refused_with_a_remedy() {
    let stage = Stage::new();
    let configuration = stage.configuration();
    let configuration = configuration.to_str().unwrap();
    let short = stage.path("short");
    fs::write(&short, "short").unwrap();
    for (arguments, said) in [
        (vec!["--listen", "0.0.0.0:0"], "--secret-file"),
        (vec!["--account", "nobody"], "use one of: my-google"),
        (vec!["--secret-file", short.to_str().unwrap()], "openssl rand -hex 32"),
        (vec!["--secret-file", "/nowhere"], "cannot be read"),
        (vec!["--secret-file", stage.path("").to_str().unwrap()], "give the path of a text file"),
        (vec!["--allow-origin", "*"], "any web page"),
        (vec!["--allow-origin", "https://viewer.example/"], "write `https://viewer.example`"),
        (vec!["--listen", "192.0.2.1:80", "--without-secret"], "choose another port"),
    ] {
        let mut all = vec!["gateway", "--config", configuration];
        all.extend(&arguments);
        let run = stage.run(&all);
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.err);
        assert!(run.err.contains(said), "{arguments:?}: {}", run.err);
    }
    let broken = stage.with_account(&json!({"Project": null}));
    let run = broken.run(&["gateway", "--config", broken.configuration().to_str().unwrap()]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("Project") && run.err.contains("no account can be used"), "{}", run.err);
}

#[test]
fn what_only_orthanc_has_to_do_with_is_not_told() {
    let patch = json!({"DicomWeb": {"Enable": false}, "HttpProxy": "127.0.0.1:9", "GoogleCloudPlatform": {"Gateway": true}});
    let serving = Serving::start(&Stage::new().with(&patch).configuration(), &[]);
    let (code, said) = serving.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("DicomWeb.Enable") && !said.contains("GoogleCloudPlatform.Gateway"), "{said}");
}
