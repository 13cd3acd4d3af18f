//! The program as a person runs it.

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
