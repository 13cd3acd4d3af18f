//! A client of the gateway that is not the DICOMweb plugin. It has the secret from the database, where the DICOMweb plugin
//! may put it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

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

/// The boundary of every upload here, as of one job of the DICOMweb plugin.
const BOUNDARY: &str = "0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1-0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1";

/// Begins an upload whose body will have so many bytes.
pub(super) fn upload(stage: &Stage, secret: &str, length: usize) -> TcpStream {
    let content_type = format!(
        "Content-Type: multipart/related; type=\"application/dicom\"; boundary={BOUNDARY}\r\n\
         Accept: application/dicom+json\r\nConnection: close"
    );
    request(stage, secret, "POST /g/studies", &format!("{content_type}\r\nContent-Length: {length}"))
}

/// Uploads these instances, as the job does that is resubmitted after the earlier ones; the answer's status line.
pub(super) fn upload_rest(stage: &Stage, secret: &str, instances: &[Instance]) -> String {
    let body = [instances.iter().map(part).collect::<Vec<_>>().concat(), end()].concat();
    let mut stream = upload(stage, secret, body.len());
    stream.write_all(&body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

/// A part of an upload's body.
pub(super) fn part(instance: &Instance) -> Vec<u8> {
    let head = format!("\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n");
    [head.as_bytes(), &instance.bytes].concat()
}

/// The end of an upload's body.
pub(super) fn end() -> Vec<u8> {
    format!("\r\n--{BOUNDARY}--\r\n").into_bytes()
}
