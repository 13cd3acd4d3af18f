//! The answer to an upload: one response for all batches (PS3.18 section 10.5.3).

mod xml;

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::{Map, Value, json};

use self::xml::{attributes, begin_attribute};
use super::{
    book::{Book, Cursor, Spelled},
    instance::{Name, Outcome},
};
use crate::{
    accept::AnswerFormat,
    body::{self, Broken, ResponseBody},
};

/// An instance that failed and is not in the book.
pub(super) struct Item {
    pub(super) name: Option<Name>,
    pub(super) detail: String,
}

/// A response, whose body is made while it is sent: of millions of instances it is larger than memory may be.
pub(super) struct Answer {
    /// What failed besides what is in the book.
    pub(super) more: Vec<Item>,
    /// What is said of instances of which nothing is known.
    pub(super) otherwise: String,
    book: Book,
    format: AnswerFormat,
    root: String,
    study: Option<String>,
    progress: Progress,
    cursor: Cursor,
    /// Items of the present sequence that are written.
    written: usize,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Beginning,
    Failed,
    More,
    Stored,
    Done,
}

/// Bytes that are made at once.
const PIECE: usize = 64 << 10;
const FAILED: &str = "00081198";
const STORED: &str = "00081199";

impl Answer {
    /// The response to an upload of what is in `book`, in this order. `root` is the store's DICOMweb root, with its last slash;
    /// `study` the one that the request names.
    ///
    /// 200 where everything is stored, 202 where a warning is about something, and 409 as soon as one failed: PS3.18 table
    /// 10.5.3-1 has 202 for some failures, but Google answers 409, and so clients of Google's know it. The DICOMweb plugin of
    /// Orthanc takes any 2xx, counts `ReferencedSOPSequence`, and wants neither `FailedSOPSequence` nor
    /// `OtherFailuresSequence`.
    pub(super) fn new(format: AnswerFormat, root: String, study: Option<&str>, book: Book) -> Self {
        Self {
            more: Vec::new(),
            otherwise: String::new(),
            book,
            format,
            root,
            study: study.map(str::to_owned),
            progress: Progress::Beginning,
            cursor: Cursor::default(),
            written: 0,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        if self.failures() > 0 {
            StatusCode::CONFLICT
        } else if self.book.warned > 0 {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        }
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self.format {
            AnswerFormat::Json => "application/dicom+json",
            AnswerFormat::Xml => "application/dicom+xml",
        }
    }

    pub(super) fn into_body(mut self) -> ResponseBody {
        let first = self.piece();
        if self.progress == Progress::Done {
            return body::whole(first);
        }
        let pieces = stream::unfold((Some(first), self), |(first, mut answer)| async move {
            let piece = first.unwrap_or_else(|| answer.piece());
            (!piece.is_empty()).then(|| (Ok::<_, Broken>(Frame::data(Bytes::from(piece))), (None, answer)))
        });
        StreamBody::new(pieces).boxed_unsync()
    }

    fn failures(&self) -> usize {
        self.book.len() - self.book.stored + self.more.len()
    }

    /// The next bytes; none at the end.
    fn piece(&mut self) -> String {
        let mut out = String::with_capacity(PIECE + 4096);
        while out.len() < PIECE && self.progress != Progress::Done {
            self.progress = match self.progress {
                Progress::Beginning => self.begin(&mut out),
                Progress::Failed | Progress::Stored => self.item_of_book(&mut out),
                Progress::More => self.more(&mut out),
                Progress::Done => Progress::Done,
            };
        }
        out
    }

    fn begin(&mut self, out: &mut String) -> Progress {
        let study = self.study.as_deref().or_else(|| self.book.study().map(AsRef::as_ref));
        let mut data_set = Map::new();
        match study {
            Some(study) => {
                set(&mut data_set, "00081190", "UR", &json!(format!("{}studies/{study}", self.root)));
            }
            // There is no one study: type 2, without a value.
            None => drop(data_set.insert("00081190".to_owned(), json!({ "vr": "UR" }))),
        }
        match self.format {
            AnswerFormat::Json => {
                let json = Value::Object(data_set).to_string();
                out.push_str(json.strip_suffix('}').unwrap_or(&json));
            }
            // The Native DICOM Model (PS3.19 section A.1).
            AnswerFormat::Xml => {
                out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<NativeDicomModel>");
                attributes(&data_set, out);
            }
        }
        if self.failures() > 0 { self.begin_sequence(FAILED, out) } else { self.begin_sequence(STORED, out) }
    }

    fn begin_sequence(&mut self, tag: &str, out: &mut String) -> Progress {
        (self.cursor, self.written) = (Cursor::default(), 0);
        if tag == STORED && self.book.stored == 0 {
            return self.end(out);
        }
        match self.format {
            AnswerFormat::Json => out.extend([",\"", tag, "\":{\"vr\":\"SQ\",\"Value\":["]),
            AnswerFormat::Xml => begin_attribute(tag, "SQ", out),
        }
        if tag == FAILED { Progress::Failed } else { Progress::Stored }
    }

    fn end_sequence(&self, out: &mut String) {
        out.push_str(match self.format {
            AnswerFormat::Json => "]}",
            AnswerFormat::Xml => "</DicomAttribute>",
        });
    }

    fn end(&self, out: &mut String) -> Progress {
        out.push_str(match self.format {
            AnswerFormat::Json => "}",
            AnswerFormat::Xml => "</NativeDicomModel>",
        });
        Progress::Done
    }

    /// The next instance of the book, if it is one of those that the present sequence is of.
    fn item_of_book(&mut self, out: &mut String) -> Progress {
        let wants_stored = self.progress == Progress::Stored;
        let mut cursor = std::mem::take(&mut self.cursor);
        let item = match self.book.next(&mut cursor) {
            None => {
                if wants_stored {
                    self.end_sequence(out);
                    return self.end(out);
                }
                return Progress::More;
            }
            Some((_, outcome)) if outcome.is_some_and(Outcome::is_stored) != wants_stored => None,
            Some((name, outcome)) => {
                let otherwise = || Outcome::failed(&*self.otherwise);
                Some(item(self.format, &self.root, name, &outcome.cloned().unwrap_or_else(otherwise)))
            }
        };
        self.cursor = cursor;
        if let Some(item) = item {
            self.write(item, out);
        }
        self.progress
    }

    fn more(&mut self, out: &mut String) -> Progress {
        for Item { name, detail } in std::mem::take(&mut self.more) {
            let name = name.as_ref().map(Spelled::of);
            let item = item(self.format, &self.root, name.as_ref(), &Outcome::failed(detail));
            self.write(item, out);
        }
        self.end_sequence(out);
        self.begin_sequence(STORED, out)
    }

    fn write(&mut self, item: Map<String, Value>, out: &mut String) {
        self.written += 1;
        match self.format {
            AnswerFormat::Json => {
                if self.written > 1 {
                    out.push(',');
                }
                out.push_str(&Value::Object(item).to_string());
            }
            AnswerFormat::Xml => {
                out.extend(["<Item number=\"", &self.written.to_string(), "\">"]);
                attributes(&item, out);
                out.push_str("</Item>");
            }
        }
    }
}

/// An item of one of the sequences.
fn item(format: AnswerFormat, root: &str, name: Option<&Spelled>, outcome: &Outcome) -> Map<String, Value> {
    let mut item = Map::new();
    let known = match outcome {
        Outcome::Stored { name: Some(known), .. } => Some(Spelled::of(known)),
        _ => None,
    };
    let name = known.as_ref().or(name);
    if let Some(name) = name {
        set(&mut item, "00081150", "UI", &json!(name.class));
        set(&mut item, "00081155", "UI", &json!(name.instance));
    }
    match outcome {
        Outcome::Stored { warning, .. } => {
            if let Some(name) = name {
                set(&mut item, "00081190", "UR", &json!(format!("{root}{}", name.path())));
            }
            if let Some(warning) = warning {
                set(&mut item, "00081196", "US", &json!(warning));
            }
        }
        Outcome::Failed { reason, detail } => {
            set(&mut item, "00081197", "US", &json!(reason));
            if !detail.is_empty() {
                // Google has one for each format.
                let tag = if format == AnswerFormat::Json { "00091097" } else { "00090097" };
                set(&mut item, tag, "LT", &json!(detail));
            }
        }
    }
    item
}

fn set(data_set: &mut Map<String, Value>, tag: &str, vr: &str, value: &Value) {
    data_set.insert(tag.to_owned(), json!({ "vr": vr, "Value": [value] }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dicom_identity::Uid, memory::Memory};

    fn name(study: &str, instance: &str) -> Name {
        let uid = |text: &str| Uid::parse(text.as_bytes()).unwrap();
        Name { class: uid("1.2"), instance: uid(instance), study: uid(study), series: uid("4.5") }
    }

    fn stored(study: &str, instance: &str) -> (Option<Name>, Outcome) {
        (Some(name(study, instance)), Outcome::STORED)
    }

    const ROOT: &str = "https://x/dicomWeb/";

    fn answer(format: AnswerFormat, study: Option<&str>, items: &[(Option<Name>, Outcome)]) -> Answer {
        let mut book = Book::new(&Memory::new(1 << 20));
        for (index, (name, outcome)) in items.iter().enumerate() {
            book.push(name.as_ref());
            book.set(index, outcome.clone());
        }
        Answer::new(format, ROOT.to_owned(), study, book)
    }

    /// Its body, and in how many pieces it came.
    fn body(mut answer: Answer) -> (String, usize) {
        let pieces: Vec<String> =
            std::iter::from_fn(|| Some(answer.piece()).filter(|piece| !piece.is_empty())).collect();
        (pieces.concat(), pieces.len())
    }

    fn json(study: Option<&str>, items: &[(Option<Name>, Outcome)]) -> (u16, Value) {
        let answer = answer(AnswerFormat::Json, study, items);
        assert_eq!(answer.content_type(), "application/dicom+json");
        (answer.status().as_u16(), serde_json::from_str(&body(answer).0).unwrap())
    }

    #[test]
    fn everything_stored_is_200_in_the_order_of_arrival() {
        let (status, body) = json(None, &[stored("2", "2.9"), stored("2", "2.1")]);
        assert_eq!(status, 200);
        let expected = serde_json::json!({
            "00081190": { "vr": "UR", "Value": ["https://x/dicomWeb/studies/2"] },
            "00081199": { "vr": "SQ", "Value": [
                {
                    "00081150": { "vr": "UI", "Value": ["1.2"] },
                    "00081155": { "vr": "UI", "Value": ["2.9"] },
                    "00081190": { "vr": "UR", "Value": ["https://x/dicomWeb/studies/2/series/4.5/instances/2.9"] },
                },
                {
                    "00081150": { "vr": "UI", "Value": ["1.2"] },
                    "00081155": { "vr": "UI", "Value": ["2.1"] },
                    "00081190": { "vr": "UR", "Value": ["https://x/dicomWeb/studies/2/series/4.5/instances/2.1"] },
                },
            ] },
        });
        assert_eq!(body, expected);
        let (_, body) = json(None, &[stored("2", "2.9"), stored("3", "3.1")]);
        assert_eq!(body["00081190"], serde_json::json!({ "vr": "UR" }));
    }

    #[test]
    fn a_warning_is_202_and_a_failure_409() {
        let warned = (Some(name("2", "2.2")), Outcome::Stored { warning: Some(0xB000), name: None });
        let failed = (None, Outcome::failed("a < b & \"c\"\u{1}"));
        let (status, body_of_both) = json(None, &[stored("2", "2.1"), warned.clone()]);
        assert_eq!(status, 202);
        assert_eq!(body_of_both["00081199"]["Value"][1]["00081196"]["Value"][0], 0xB000);
        let items = [stored("2", "2.1"), warned, failed];
        let (status, of_all) = json(None, &items);
        assert_eq!(status, 409);
        assert_eq!(
            of_all["00081198"]["Value"][0]["00081197"],
            serde_json::json!({ "vr": "US", "Value": [272] })
        );
        assert_eq!(of_all["00081198"]["Value"][0]["00091097"]["Value"][0], "a < b & \"c\"\u{1}");
        let answer = answer(AnswerFormat::Xml, Some("2"), &items);
        assert_eq!((answer.status().as_u16(), answer.content_type()), (409, "application/dicom+xml"));
        let expected = "<DicomAttribute tag=\"00081198\" vr=\"SQ\" keyword=\"FailedSOPSequence\"><Item number=\"1\">\
            <DicomAttribute tag=\"00081197\" vr=\"US\" keyword=\"FailureReason\"><Value number=\"1\">272</Value></DicomAttribute>\
            <DicomAttribute tag=\"00090097\" vr=\"LT\" keyword=\"FailureDetail\" privateCreator=\"GOOGLE\">\
            <Value number=\"1\">a &lt; b &amp; &quot;c&quot;\u{fffd}</Value></DicomAttribute></Item></DicomAttribute>";
        let (body, _) = body(answer);
        assert!(body.contains(expected), "{body}");
        assert!(body.ends_with("</NativeDicomModel>"));
    }

    #[test]
    fn an_answer_of_many_instances_comes_in_pieces() {
        let items: Vec<_> = (0..3000).map(|number| stored("2", &format!("2.{number}"))).collect();
        for format in [AnswerFormat::Json, AnswerFormat::Xml] {
            let mut answer = answer(format, None, &items);
            answer.more.push(Item { name: Some(name("2", "2.7777")), detail: "missing".to_owned() });
            assert_eq!(answer.status().as_u16(), 409);
            let (body, pieces) = body(answer);
            assert!(pieces > 5, "{pieces}");
            assert_eq!(body.matches("/instances/2.").count(), 3000);
            assert_eq!(body.matches("2.7777").count(), 1);
            if format == AnswerFormat::Json {
                let body: Value = serde_json::from_str(&body).unwrap();
                assert_eq!(body["00081199"]["Value"].as_array().unwrap().len(), 3000);
                assert_eq!(body["00081198"]["Value"][0]["00091097"]["Value"][0], "missing");
            } else {
                assert!(body.contains("<Item number=\"3000\">"));
            }
        }
    }
}
