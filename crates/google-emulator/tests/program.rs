//! The program as a person runs it.

#[cfg(test)]
mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

/// A child that does not outlive the test.
struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{EXPLICIT_LITTLE, made, multipart, until};
    use serde_json::json;

    fn program(arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_google-emulator"));
        command.args(arguments);
        command
    }

    fn start(arguments: &[&str]) -> (Program, Vec<(String, String)>) {
        let mut child = program(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut program = Program { child, output };
        let mut told = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                program.output.read_line(&mut line).unwrap(),
                0,
                "it ended before it was ready: {told:?}"
            );
            if let Some((name, value)) = line.trim().split_once("  ") {
                told.push((name.to_owned(), value.trim().to_owned()));
            }
            if line.contains("Ctrl-C") {
                return (program, told);
            }
        }
    }

    fn value<'a>(told: &'a [(String, String)], name: &str) -> &'a str {
        let found = told.iter().find(|(told, _)| told == name);
        found.unwrap_or_else(|| panic!("{name} in {told:?}")).1.as_str()
    }

    #[test]
    fn help_explains_itself() {
        let output = program(&["--help"]).output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        for expected in [
            "--http-port",
            "--metadata-port",
            "--data",
            "--keep",
            "--store",
            "--token-lifetime",
            "--clock-offset",
            "--verbose",
            "Examples:",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert!(!program(&["--store", "nonsense"]).output().unwrap().status.success());
        assert!(!program(&["--keep", "nonsense"]).output().unwrap().status.success());
        assert!(!program(&["--nonsense"]).output().unwrap().status.success());
    }

    /// A client that needs no TLS.
    fn plain() -> reqwest::blocking::Client {
        // Another test of this process may have installed it.
        drop(rustls::crypto::ring::default_provider().install_default());
        reqwest::blocking::Client::builder().no_proxy().build().unwrap()
    }

    #[test]
    fn killed_in_the_middle_of_a_store_it_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let data = data.to_str().unwrap();
        let (mut first, told) = start(&["--data", data]);
        let root = value(&told, "HTTP").to_owned();
        let port = root.rsplit(':').next().unwrap().to_owned();
        let store = value(&told, "DICOMweb").split_once("/v1/").unwrap().1;
        let url = format!("{root}/v1/{store}/studies");
        let client = plain();
        let asked = json!({ "scope": google_emulator::CLOUD_PLATFORM, "lifetime_seconds": 600 });
        let request = client.post(format!("{root}/emulator/tokens")).body(asked.to_string());
        let answer: serde_json::Value = request.send().unwrap().json().unwrap();
        let token = answer["access_token"].as_str().unwrap().to_owned();
        let [whole, cut] = [1, 2].map(|number| made(1, 1, number));
        let kind = "multipart/related; type=\"application/dicom\"; boundary=BOUNDARY";
        let body = multipart(&[whole, cut].map(|instance| instance.file(EXPLICIT_LITTLE)));
        let (arrived, rest) = body.split_at(body.len() - 50);

        // The second instance is not yet complete when the end comes.
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let held = std::io::Cursor::new(arrived.to_vec()).chain(Held(receiver));
        let request = client.post(&url).bearer_auth(&token).header("Content-Type", kind);
        let request = request.body(reqwest::blocking::Body::new(held));
        let storing = std::thread::spawn(move || request.send().is_err());
        let listed = format!("{root}/emulator/instances");
        let stored = || -> Vec<serde_json::Value> { client.get(&listed).send().unwrap().json().unwrap() };
        until(|| stored().len() == 1);
        first.child.kill().unwrap();
        first.child.wait().unwrap();
        drop(sender);
        assert!(storing.join().unwrap(), "no answer");

        let (_second, _) = start(&["--data", data, "--http-port", &port]);
        assert_eq!(stored().len(), 1);
        assert_eq!(std::fs::read_dir(folder.path().join("data/incoming")).unwrap().count(), 0);
        let again = client.post(&url).bearer_auth(&token).header("Content-Type", kind);
        let again = again.body([arrived, rest].concat()).send().unwrap();
        assert_eq!(again.status(), 200, "the token is still good, and the first instance identical");
        assert_eq!(stored().len(), 2);
    }

    /// Gives nothing, and ends when the sender is gone.
    struct Held(std::sync::mpsc::Receiver<()>);

    impl Read for Held {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            assert!(self.0.recv().is_err(), "nothing is ever sent");
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
    }

    #[test]
    fn it_tells_where_it_is_and_ends_cleanly() {
        for signal in ["INT", "TERM"] {
            let (mut program, told) =
                start(&["--verbose", "--keep", "nothing", "--plugin", "/somewhere/plugin.so"]);
            let ca = value(&told, "CA");
            assert!(std::fs::read_to_string(ca).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
            for secret in [
                "service account",
                "in PKCS#1",
                "authorized user",
                "impersonated",
                "AWS",
                "a user",
                "from a file",
            ] {
                let mode = std::fs::metadata(value(&told, secret)).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{secret}");
            }
            let metadata = value(&told, "metadata server").strip_prefix("GCE_METADATA_HOST=").unwrap();
            let mut stream = TcpStream::connect(metadata).unwrap();
            write!(stream, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 200 ") && answer.contains("metadata-flavor: Google"),
                "{answer}"
            );
            let orthanc = std::fs::read(value(&told, "Orthanc")).unwrap();
            let orthanc: serde_json::Value = serde_json::from_slice(&orthanc).unwrap();
            assert_eq!(orthanc["Plugins"][0], "/somewhere/plugin.so");
            assert_eq!(orthanc["HttpsCACertificates"], ca);
            let google = &orthanc["GoogleCloudPlatform"];
            assert_eq!(google["BaseUrl"], value(&told, "BaseUrl"));
            assert_eq!(
                google["Accounts"]["my-google"]["ServiceAccountFile"],
                value(&told, "service account")
            );

            let http = value(&told, "HTTP").to_owned();
            let mut stream = TcpStream::connect(http.strip_prefix("http://").unwrap()).unwrap();
            let head = "GET /v1/projects/p?PatientName=Doe HTTP/1.1\r\nHost: x\r\nConnection: close";
            write!(stream, "{head}\r\nAuthorization: Bearer ya29.secret\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");

            let id = program.child.id().to_string();
            assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
            assert_eq!(program.child.wait().unwrap().code(), Some(0), "after SIG{signal}");
            let mut rest = String::new();
            program.output.read_to_string(&mut rest).unwrap();
            assert_eq!(
                rest, "#1 http GET / 0 bytes -> 200\n#2 http GET /v1/projects/p 0 bytes -> 501\n",
                "neither query nor token"
            );
            assert!(!Path::new(ca).exists(), "the temporary folder is gone");
        }
    }
}
