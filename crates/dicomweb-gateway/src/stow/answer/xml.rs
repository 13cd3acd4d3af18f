//! The Native DICOM Model (PS3.19 section A.1) of an answer to an upload.

use serde_json::{Map, Value};

/// Attributes, each with one value.
pub(super) fn attributes(data_set: &Map<String, Value>, xml: &mut String) {
    for (tag, attribute) in data_set {
        begin_attribute(tag, attribute.get("vr").and_then(Value::as_str).unwrap_or_default(), xml);
        if let Some(value) = attribute.get("Value").and_then(|values| values.get(0)) {
            let text = value.as_str().map_or_else(|| value.to_string(), escaped);
            xml.extend(["<Value number=\"1\">", &text, "</Value>"]);
        }
        xml.push_str("</DicomAttribute>");
    }
}

/// The beginning of an attribute, whose values follow.
pub(super) fn begin_attribute(tag: &str, vr: &str, xml: &mut String) {
    xml.extend(["<DicomAttribute tag=\"", tag, "\" vr=\"", vr, "\" keyword=\"", keyword(tag), "\""]);
    if tag.starts_with("0009") {
        xml.push_str(" privateCreator=\"GOOGLE\"");
    }
    xml.push('>');
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
