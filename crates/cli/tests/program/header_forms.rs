//! The header fields of clients that cannot be run here, as they are on the wire: dcm4che's `stowrs` and `wadors`, and whoever
//! says in the query what is accepted (PS3.18 section 8.3.3.1).

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use orthanc_testbed::{Ct, Instance, Study, Syntax, study};
use serde_json::Value;

use crate::{serving::Serving, stage::Stage};

/// The longest that anything here may let wait.
const DEADLINE: Duration = Duration::from_secs(60);

/// An answer from the wire.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// Names in lower case.
    head: String,
    body: Vec<u8>,
}

impl Answer {
    /// Reads one, with a length or in chunks (RFC 9112 section 6.3), to its proper end.
    fn read(stream: &TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0, "broken off: {head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Self { status, head: head.to_lowercase(), body: Vec::new() };
        if let Some(length) = answer.field("content-length") {
            answer.body.resize(length.parse().unwrap(), 0);
            reader.read_exact(&mut answer.body).unwrap();
        } else if answer.field("transfer-encoding").is_some() {
            loop {
                let mut size = String::new();
                reader.read_line(&mut size).unwrap();
                let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).unwrap() + 2];
                reader.read_exact(&mut chunk).unwrap();
                answer.body.extend(&chunk[..chunk.len() - 2]);
                if chunk.len() == 2 {
                    break;
                }
            }
        }
        answer
    }

    fn field(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        Some(line.split_once(':')?.1.trim())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether each instance is in it, whole, and no other.
    #[track_caller]
    fn assert_holds(&self, instances: &[Instance]) {
        assert_eq!(self.status, 200, "{}", self.text());
        let kind = self.field("content-type").unwrap();
        assert!(kind.starts_with("multipart/related") && kind.contains("application/dicom"), "{kind}");
        let holds = |bytes: &[u8]| self.body.windows(bytes.len()).any(|window| window == bytes);
        assert!(instances.iter().all(|instance| holds(&instance.bytes)));
        let parts = self.body.windows(4).filter(|window| window == b"DICM").count();
        assert_eq!(parts, instances.len());
    }
}

fn connect(serving: &Serving) -> TcpStream {
    TcpStream::connect(&serving.address).unwrap()
}

fn get(serving: &Serving, path: &str, fields: &str) -> Answer {
    let mut stream = connect(serving);
    write!(stream, "GET /my-google/{path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", serving.address).unwrap();
    Answer::read(&stream)
}

/// A multipart body (RFC 2046 section 5.1.1) with a part for each instance.
fn multipart(instances: &[Instance], boundary: &str, part_fields: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for instance in instances {
        body.extend(format!("\r\n--{boundary}\r\n{part_fields}\r\n").bytes());
        body.extend(&instance.bytes);
    }
    body.extend(format!("\r\n--{boundary}--\r\n").bytes());
    body
}

fn post(serving: &Serving, path: &str, fields: &str, body: &[u8]) -> Answer {
    let mut stream = connect(serving);
    let (address, length) = (&serving.address, body.len());
    let head = format!(
        "POST /my-google/{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n{fields}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    Answer::read(&stream)
}

/// The same in chunks of so many bytes.
fn post_chunked(serving: &Serving, path: &str, fields: &str, body: &[u8], size: usize) -> Answer {
    let mut stream = connect(serving);
    let address = &serving.address;
    let head = format!(
        "POST /my-google/{path} HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n{fields}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    for chunk in body.chunks(size) {
        write!(stream, "{:x}\r\n", chunk.len()).unwrap();
        stream.write_all(chunk).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    Answer::read(&stream)
}

fn references(answer: &Value) -> usize {
    assert!(answer.get("00081198").is_none(), "{answer}");
    answer["00081199"]["Value"].as_array().unwrap().len()
}

#[test]
fn uploads_as_dcm4che_sends_them() {
    let stage = Stage::new();
    let serving = Serving::start(&stage.configuration(), &[]);
    let Study { uid, instances, .. } = study::ct(&Ct::default()).unwrap();
    let count = instances.len();
    let part = "Content-Type: application/dicom; transfer-syntax=1.2.840.10008.1.2.1\r\n";
    let quoted = "Content-Type: multipart/related; type=\"application/dicom\"; boundary=myboundary\r\n";
    let bare = "Content-Type: multipart/related;boundary=\"myboundary\";type=application/dicom\r\n";
    let json = "Accept: application/dicom+json\r\n";

    let body = multipart(&instances, "myboundary", part);
    let answer = post_chunked(&serving, "studies", &format!("{quoted}{json}"), &body, 2048);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.field("content-type"), Some("application/dicom+json"));
    assert_eq!(references(&serde_json::from_slice(&answer.body).unwrap()), count);
    assert_eq!(stage.emulator.instances().len(), count);

    // Into a study, with other forms of the same fields, and fields of a part that say nothing here.
    let part = "content-type:application/dicom\r\nContent-Location: /x/1\r\nMIME-Version: 1.0\r\n";
    let body = multipart(&instances, "myboundary", part);
    let answer = post(&serving, &format!("studies/{uid}"), &format!("{bare}{json}"), &body);
    assert_eq!(references(&serde_json::from_slice(&answer.body).unwrap()), count);
    let xml = post(&serving, "studies", &format!("{quoted}Accept: application/dicom+xml\r\n"), &body);
    assert_eq!((xml.status, xml.field("content-type")), (200, Some("application/dicom+xml")));
    assert_eq!(xml.text().matches("<Item number=").count(), count, "{}", xml.text());
    // `Expect: 100-continue`, as curl and .NET send it: nothing is held back by it.
    let mut stream = connect(&serving);
    let (address, length) = (&serving.address, body.len());
    write!(
        stream,
        "POST /my-google/studies HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n{quoted}{json}\r\n"
    )
    .unwrap();
    assert_eq!(Answer::read(&stream).status, 100);
    stream.write_all(&body).unwrap();
    assert_eq!(Answer::read(&stream).status, 200);
    // What the query says counts, whatever the header field says.
    for (query, kind) in [("dicom%2Bjson", "application/dicom+json"), ("dicom+xml", "application/dicom+xml")]
    {
        let path = format!("studies?accept=application/{query}");
        let answer = post(&serving, &path, &format!("{quoted}Accept: */*\r\n"), &body);
        assert_eq!((answer.status, answer.field("content-type")), (200, Some(kind)), "{}", answer.text());
    }
    assert_eq!(stage.emulator.instances().len(), count);
    let seen = stage.emulator.requests();
    assert!(seen.iter().all(|request| !request.query.iter().any(|query| query.contains("accept"))));
    assert_eq!(serving.end().0, Some(0));
}

#[test]
fn retrievals_as_the_query_wants_them() {
    let stage = Stage::new();
    let serving = Serving::start(&stage.configuration(), &[]);
    let Study { uid, instances, series, .. } = study::ct(&Ct::default()).unwrap();
    let jpeg: Vec<Instance> = instances.iter().map(|one| one.in_syntax(Syntax::Jpeg).unwrap()).collect();
    let kind = "Content-Type: multipart/related; type=\"application/dicom\"; boundary=b\r\n";
    let body = multipart(&jpeg, "b", "Content-Type: application/dicom\r\n");
    assert_eq!(post(&serving, "studies", kind, &body).status, 200);

    let study = format!("studies/{uid}");
    let any = "multipart/related;type=application/dicom;transfer-syntax=*";
    let encoded = "multipart%2Frelated%3Btype%3D%22application%2Fdicom%22%3Btransfer-syntax%3D*";
    let browser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";
    get(&serving, &study, &format!("Accept: {any}\r\n")).assert_holds(&jpeg);
    get(&serving, &format!("{study}?accept={any}"), browser).assert_holds(&jpeg);
    get(&serving, &format!("{study}?accept={encoded}"), "").assert_holds(&jpeg);
    let of_series: Vec<Instance> =
        jpeg.iter().filter(|instance| instance.series_uid == series[0]).cloned().collect();
    get(&serving, &format!("{study}/series/{}?accept={encoded}", series[0]), browser)
        .assert_holds(&of_series);

    let instance = format!("{study}/series/{}/instances/{}", series[0], of_series[0].uid);
    let single = get(&serving, &format!("{instance}?accept=application/dicom;transfer-syntax=*"), browser);
    assert_eq!((single.status, &single.body), (200, &of_series[0].bytes), "{}", single.head);
    // A search keeps the rest of its query.
    let found = get(&serving, "studies?limit=1&accept=application/dicom%2Bjson&PatientID=nobody", browser);
    assert!(matches!(found.status, 200 | 204), "{}", found.text());
    let asked = stage.emulator.requests().pop().unwrap();
    assert_eq!(asked.query.as_deref(), Some("limit=1&PatientID=nobody"));
    assert_eq!(asked.header("accept"), Some("application/dicom+json"));
    let metadata = get(&serving, &format!("{study}/metadata?accept=application/dicom%2Bjson"), browser);
    let metadata: Value = serde_json::from_slice(&metadata.body).unwrap();
    assert_eq!(metadata.as_array().unwrap().len(), jpeg.len());
    assert_eq!(serving.end().0, Some(0));
}

#[test]
fn told_to_end_it_finishes_the_upload_and_lets_nobody_in() {
    let stage = Stage::new();
    let serving = Serving::start(&stage.configuration(), &[]);
    let instances = study::ct(&Ct { instances: 20, ..Ct::default() }).unwrap().instances;
    let body = multipart(&instances, "b", "Content-Type: application/dicom\r\n");
    // One that waits for its next request, and is not waited for.
    let mut idle = connect(&serving);
    write!(idle, "GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", serving.address).unwrap();
    assert_eq!(Answer::read(&idle).status, 200);
    let mut upload = connect(&serving);
    let (address, length) = (&serving.address, body.len());
    let fields = "Content-Type: multipart/related; type=\"application/dicom\"; boundary=b\r\nAccept: application/dicom+json";
    write!(
        upload,
        "POST /my-google/studies HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n{fields}\r\n\r\n"
    )
    .unwrap();
    // It is being read.
    assert_eq!(Answer::read(&upload).status, 100);
    let (first, rest) = body.split_at(length / 2);
    upload.write_all(first).unwrap();

    serving.terminate();
    // Nobody is let in any more when this one is closed.
    idle.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(idle.read_to_end(&mut Vec::new()).unwrap(), 0);
    let refused = TcpStream::connect(&serving.address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    upload.write_all(rest).unwrap();
    let answer = Answer::read(&upload);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(references(&serde_json::from_slice(&answer.body).unwrap()), instances.len());
    assert_eq!(stage.emulator.instances().len(), instances.len());
    drop(upload.shutdown(Shutdown::Both));
    let (code, said) = serving.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 transfers"), "{said}");
}
