//! The answer to an upload: one response for all batches (PS3.18 section 10.5.3).

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::instance::{Name, Outcome};
use crate::accept::AnswerFormat;

/// An instance and what became of it.
pub(super) struct Item {
    pub(super) name: Option<Arc<Name>>,
    pub(super) outcome: Outcome,
}

/// A response: its status, `Content-Type` and body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Merged {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

/// The response to an upload of `items`, in this order. `root` is the store's DICOMweb root, with its last slash; `study` the
/// one that the request names.
///
/// 200 where everything is stored, 202 where a warning is about something, and 409 as soon as one failed: PS3.18 table
/// 10.5.3-1 has 202 for some failures, but Google answers 409, and so clients of Google's know it. The DICOMweb plugin of
/// Orthanc takes any 2xx, counts `ReferencedSOPSequence`, and wants neither `FailedSOPSequence` nor
/// `OtherFailuresSequence`.
pub(super) fn merged(format: AnswerFormat, root: &str, study: Option<&str>, items: &[Item]) -> Merged {
    let (mut stored, mut failed, mut has_warning) = (Vec::new(), Vec::new(), false);
    for Item { name, outcome } in items {
        let mut item = Map::new();
        let name = match outcome {
            Outcome::Stored { name: Some(known), .. } => Some(known),
            _ => name.as_ref(),
        };
        if let Some(name) = name {
            set(&mut item, "00081150", "UI", &json!(name.class.as_str()));
            set(&mut item, "00081155", "UI", &json!(name.instance.as_str()));
        }
        match outcome {
            Outcome::Stored { warning, .. } => {
                if let Some(name) = name {
                    set(&mut item, "00081190", "UR", &json!(format!("{root}{}", name.path())));
                }
                if let Some(warning) = warning {
                    has_warning = true;
                    set(&mut item, "00081196", "US", &json!(warning));
                }
                stored.push(Value::Object(item));
            }
            Outcome::Failed { reason, detail } => {
                set(&mut item, "00081197", "US", &json!(reason));
                if !detail.is_empty() {
                    // Google has one for each format.
                    let tag = if format == AnswerFormat::Json { "00091097" } else { "00090097" };
                    set(&mut item, tag, "LT", &json!(detail));
                }
                failed.push(Value::Object(item));
            }
        }
    }
    let status = match (failed.is_empty(), has_warning) {
        (true, false) => StatusCode::OK,
        (true, true) => StatusCode::ACCEPTED,
        (false, _) => StatusCode::CONFLICT,
    };
    let mut data_set = Map::new();
    match the_study(study, items) {
        Some(study) => set(&mut data_set, "00081190", "UR", &json!(format!("{root}studies/{study}"))),
        // There is no one study: type 2, without a value.
        None => drop(data_set.insert("00081190".to_owned(), json!({ "vr": "UR" }))),
    }
    for (tag, items) in [("00081198", failed), ("00081199", stored)] {
        if !items.is_empty() {
            data_set.insert(tag.to_owned(), json!({ "vr": "SQ", "Value": items }));
        }
    }
    let (content_type, body) = match format {
        AnswerFormat::Json => ("application/dicom+json", Value::Object(data_set).to_string()),
        AnswerFormat::Xml => ("application/dicom+xml", xml(&data_set)),
    };
    Merged { status, content_type, body }
}

/// The study that everything is of.
fn the_study<'a>(named: Option<&'a str>, items: &'a [Item]) -> Option<&'a str> {
    let mut studies = items.iter().filter_map(|item| match &item.outcome {
        Outcome::Stored { name: Some(name), .. } => Some(name.study.as_str()),
        _ => item.name.as_ref().map(|name| name.study.as_str()),
    });
    let first = named.or_else(|| studies.next())?;
    (named.is_some() || studies.all(|study| study == first)).then_some(first)
}

fn set(data_set: &mut Map<String, Value>, tag: &str, vr: &str, value: &Value) {
    data_set.insert(tag.to_owned(), json!({ "vr": vr, "Value": [value] }));
}

/// The Native DICOM Model (PS3.19 section A.1).
fn xml(data_set: &Map<String, Value>) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<NativeDicomModel>");
    attributes(data_set, &mut xml);
    xml.push_str("</NativeDicomModel>");
    xml
}

fn attributes(data_set: &Map<String, Value>, xml: &mut String) {
    for (tag, attribute) in data_set {
        let vr = attribute.get("vr").and_then(Value::as_str).unwrap_or_default();
        xml.extend(["<DicomAttribute tag=\"", tag, "\" vr=\"", vr, "\" keyword=\"", keyword(tag), "\""]);
        if tag.starts_with("0009") {
            xml.push_str(" privateCreator=\"GOOGLE\"");
        }
        xml.push('>');
        let values = attribute.get("Value").and_then(Value::as_array).into_iter().flatten();
        for (value, number) in values.zip(1..) {
            let number: u32 = number;
            match value {
                Value::Object(item) => {
                    xml.extend(["<Item number=\"", &number.to_string(), "\">"]);
                    attributes(item, xml);
                    xml.push_str("</Item>");
                }
                value => {
                    let text = value.as_str().map_or_else(|| value.to_string(), escaped);
                    xml.extend(["<Value number=\"", &number.to_string(), "\">", &text, "</Value>"]);
                }
            }
        }
        xml.push_str("</DicomAttribute>");
    }
}

fn keyword(tag: &str) -> &'static str {
    match tag {
        "00081150" => "ReferencedSOPClassUID",
        "00081155" => "ReferencedSOPInstanceUID",
        "00081190" => "RetrieveURL",
        "00081196" => "WarningReason",
        "00081197" => "FailureReason",
        "00081198" => "FailedSOPSequence",
        "00081199" => "ReferencedSOPSequence",
        _ => "FailureDetail",
    }
}

/// Text in XML 1.0, which has no other control characters than these three.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => escaped.push(character),
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom_identity::Uid;

    fn name(study: &str, instance: &str) -> Arc<Name> {
        let uid = |text: &str| Uid::parse(text.as_bytes()).unwrap();
        Arc::new(Name { class: uid("1.2"), instance: uid(instance), study: uid(study), series: uid("4.5") })
    }

    fn stored(study: &str, instance: &str) -> Item {
        Item { name: Some(name(study, instance)), outcome: Outcome::STORED }
    }

    const ROOT: &str = "https://x/dicomWeb/";

    fn json(study: Option<&str>, items: &[Item]) -> (u16, Value) {
        let merged = merged(AnswerFormat::Json, ROOT, study, items);
        assert_eq!(merged.content_type, "application/dicom+json");
        (merged.status.as_u16(), serde_json::from_str(&merged.body).unwrap())
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
        let warned = || Item {
            name: Some(name("2", "2.2")),
            outcome: Outcome::Stored { warning: Some(0xB000), name: None },
        };
        let failed = Item { name: None, outcome: Outcome::failed("a < b & \"c\"\u{1}") };
        let (status, body) = json(None, &[stored("2", "2.1"), warned()]);
        assert_eq!(status, 202);
        assert_eq!(body["00081199"]["Value"][1]["00081196"]["Value"][0], 0xB000);
        let items = [stored("2", "2.1"), warned(), failed];
        let (status, body) = json(None, &items);
        assert_eq!(status, 409);
        assert_eq!(
            body["00081198"]["Value"][0]["00081197"],
            serde_json::json!({ "vr": "US", "Value": [272] })
        );
        assert_eq!(body["00081198"]["Value"][0]["00091097"]["Value"][0], "a < b & \"c\"\u{1}");
        let merged = merged(AnswerFormat::Xml, ROOT, Some("2"), &items);
        assert_eq!((merged.status.as_u16(), merged.content_type), (409, "application/dicom+xml"));
        let expected = "<DicomAttribute tag=\"00081198\" vr=\"SQ\" keyword=\"FailedSOPSequence\"><Item number=\"1\">\
            <DicomAttribute tag=\"00081197\" vr=\"US\" keyword=\"FailureReason\"><Value number=\"1\">272</Value></DicomAttribute>\
            <DicomAttribute tag=\"00090097\" vr=\"LT\" keyword=\"FailureDetail\" privateCreator=\"GOOGLE\">\
            <Value number=\"1\">a &lt; b &amp; &quot;c&quot;\u{fffd}</Value></DicomAttribute></Item></DicomAttribute>";
        assert!(merged.body.contains(expected), "{}", merged.body);
        assert!(merged.body.ends_with("</NativeDicomModel>"));
    }
}
