//! A client of the gateway that is not the DICOMweb plugin. It has the secret from the database, where the DICOMweb plugin
//! may put it.

use std::{io::Write as _, net::TcpStream};

use super::{transfer::Instance, *};
use crate::publication::{find, servers_in};

/// Started and ready, with the secret.
pub(super) fn with_secret(scene: Scene) -> (Stage, String) {
    let orthanc = orthanc(&scene).configuration(&json!({"DicomWeb": {"ServersInDatabase": true}}));
    let stage = scene.start(orthanc);
    stage.wait_until_ready("g");
    let held = servers_in(&find(stage.orthanc.work_dir(), "index"));
    let (_, secret) = held.split_once("Bearer ").unwrap();
    let secret: String = secret.chars().take_while(char::is_ascii_hexdigit).collect();
    assert_eq!(secret.len(), 64);
    stage.orthanc.forbid_in_log([secret.clone()]);
    (stage, secret)
}

/// Sends the request line, and header fields up to where the body begins.
pub(super) fn request(stage: &Stage, secret: &str, line: &str, fields: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port(stage))).unwrap();
    let head =
        format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {secret}\r\n{fields}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// What asks for DICOM files.
pub(super) const ACCEPT: &str = "Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*";

/// Begins an upload whose body will have so many bytes.
pub(super) fn upload(stage: &Stage, secret: &str, length: usize) -> TcpStream {
    let content_type = "Content-Type: multipart/related; type=\"application/dicom\"; boundary=cut";
    request(stage, secret, "POST /g/studies", &format!("{content_type}\r\nContent-Length: {length}"))
}

/// A part of an upload's body.
pub(super) fn part(instance: &Instance) -> Vec<u8> {
    [b"\r\n--cut\r\nContent-Type: application/dicom\r\n\r\n".as_slice(), &instance.bytes].concat()
}

/// The end of an upload's body.
pub(super) const END: &[u8] = b"\r\n--cut--\r\n";
