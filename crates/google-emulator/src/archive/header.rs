//! What is read of a DICOM file: everything before the pixel data.

use super::{contents::Reader, limits};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::{OpenFileOptions, ReadError, file::ReadPreamble};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Values longer than this many bytes of OD, OF, OL and OV are left out of metadata, as Google does.
const LONGEST_INLINE: usize = 2_048;
/// Values of more than this multiplicity are left out of metadata, as Google does.
const MOST_VALUES: usize = 512;

/// The UIDs that identify an instance.
const UIDS: [(&str, Tag); 4] = [
    ("00080016", tags::SOP_CLASS_UID),
    ("00080018", tags::SOP_INSTANCE_UID),
    ("0020000D", tags::STUDY_INSTANCE_UID),
    ("0020000E", tags::SERIES_INSTANCE_UID),
];

/// The part of an instance that metadata and searches need.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) study: String,
    pub(crate) series: String,
    pub(crate) instance: String,
    pub(crate) sop_class: String,
    pub(crate) transfer_syntax: String,
    /// The data set in the DICOM JSON model (PS3.18 annex F). A `BulkDataURI` here is relative to the instance's URL.
    pub(crate) metadata: Map<String, Value>,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("failed to parse the DICOM instance: {}", innermost(.0))]
    Parse(#[from] Box<ReadError>),
    #[error("failed to convert the DICOM instance to JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("failed to read the DICOM instance: {0}")]
    Read(#[from] std::io::Error),
    #[error("failed to parse the DICOM instance: more than {0} sequences within each other")]
    TooDeep(usize),
    #[error("failed to parse the DICOM instance: more than {0} bytes before the pixel data")]
    TooLarge(u64),
    #[error("missing or invalid {keyword} ({value:?})")]
    Uid { keyword: &'static str, value: String },
}

impl Header {
    /// Reads the header. Memory is bounded by the header, not by the pixel data. Blocking where `from` is a file.
    pub(crate) fn read(from: Reader) -> Result<Self, Unusable> {
        let mut header = Self::until(tags::FLOAT_PIXEL_DATA, from)?;
        adapt(&mut header.metadata, "bulkdata");
        if header.metadata.contains_key("00280010") {
            let pixels = json!({ "vr": "OW", "BulkDataURI": "bulkdata/7FE00010" });
            header.metadata.insert("7FE00010".to_owned(), pixels);
        }
        Ok(header)
    }

    /// Reads no more of the header than the UIDs need; there is no metadata.
    pub(crate) fn identity(from: Reader) -> Result<Self, Unusable> {
        let mut header = Self::until(tags::STUDY_ID, from)?;
        header.metadata.clear();
        Ok(header)
    }

    fn until(tag: Tag, mut from: Reader) -> Result<Self, Unusable> {
        limits::check(from.twin()?, tag)?;
        from.rewind()?;
        let object = OpenFileOptions::new()
            .read_preamble(ReadPreamble::Always)
            .read_until(tag)
            .from_reader(from)
            .map_err(Box::new)?;
        let transfer_syntax = object.meta().transfer_syntax().to_owned();
        let Value::Object(mut metadata) = dicom_json::to_value(&*object)? else {
            return Err(missing("metadata", ""));
        };
        // A UID that came as UN is one all the same (PS3.5 section 6.2.2, note 3).
        for (name, tag) in UIDS {
            if let Ok(element) = object.element(tag)
                && element.vr() == VR::UN
                && let Ok(bytes) = element.to_bytes()
                && let Ok(text) = std::str::from_utf8(&bytes)
            {
                let text = text.trim_end_matches(['\0', ' ']);
                metadata.insert(name.to_owned(), json!({ "vr": "UI", "Value": [text] }));
            }
        }
        Ok(Self {
            study: uid(&metadata, "0020000D", "StudyInstanceUID")?,
            series: uid(&metadata, "0020000E", "SeriesInstanceUID")?,
            instance: uid(&metadata, "00080018", "SOPInstanceUID")?,
            sop_class: uid(&metadata, "00080016", "SOPClassUID")?,
            transfer_syntax,
            metadata,
        })
    }
}

/// The cause at the end of the chain: the outer ones name files of the emulator's own.
fn innermost(error: &ReadError) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Whether `text` is a UID (PS3.5 section 9.1) and thereby safe as a file's name.
pub(crate) fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|character| character.is_ascii_digit() || character == '.')
}

/// The first value of an attribute in the DICOM JSON model, as text; a person's name in its alphabetic form.
pub(crate) fn first_text(metadata: &Map<String, Value>, tag: &str) -> Option<String> {
    match metadata.get(tag)?.get("Value")?.get(0)? {
        Value::String(text) => Some(text.trim_end_matches([' ', '\0']).to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(name) => name.get("Alphabetic")?.as_str().map(str::to_owned),
        _ => None,
    }
}

fn uid(metadata: &Map<String, Value>, tag: &str, keyword: &'static str) -> Result<String, Unusable> {
    let text = first_text(metadata, tag).unwrap_or_default();
    if is_uid(&text) { Ok(text) } else { Err(missing(keyword, &text)) }
}

fn missing(keyword: &'static str, value: &str) -> Unusable {
    Unusable::Uid { keyword, value: value.to_owned() }
}

/// Makes of dicom-json's form what Google answers, at every level of nesting: large and binary values become references,
/// decimal and integer strings become numbers.
fn adapt(data_set: &mut Map<String, Value>, place: &str) {
    for (tag, attribute) in data_set {
        let Some(attribute) = attribute.as_object_mut() else { continue };
        let place = format!("{place}/{tag}");
        let vr = attribute.get("vr").and_then(Value::as_str).unwrap_or_default();
        let is_numeric = matches!(vr, "DS" | "IS");
        let bulk = match vr {
            "OB" | "OW" | "UN" => attribute.contains_key("InlineBinary"),
            "OD" | "OF" | "OL" | "OV" => attribute
                .get("InlineBinary")
                .and_then(Value::as_str)
                .is_some_and(|base64| base64.len() / 4 * 3 > LONGEST_INLINE),
            "SQ" => false,
            _ => attribute
                .get("Value")
                .and_then(Value::as_array)
                .is_some_and(|values| values.len() > MOST_VALUES),
        };
        if bulk {
            attribute.retain(|name, _| name == "vr");
            attribute.insert("BulkDataURI".to_owned(), Value::String(place));
        } else if let Some(items) = attribute.get_mut("Value").and_then(Value::as_array_mut) {
            for (number, item) in items.iter_mut().enumerate() {
                if is_numeric && let Some(value) = item.as_str().and_then(number_from) {
                    *item = value;
                }
                if let (true, Some(item)) = (is_sequence_item(item), item.as_object_mut()) {
                    adapt(item, &format!("{place}/{}", number + 1));
                }
            }
        }
    }
}

/// What is no number, in spite of its VR, stays text (PS3.18 section F.2.3 allows both).
fn number_from(text: &str) -> Option<Value> {
    let text = text.trim();
    let integer = text.parse::<i64>().ok().map(Value::from);
    integer.or_else(|| serde_json::Number::from_f64(text.parse().ok()?).map(Value::Number))
}

/// A sequence's item, and not a person's name: its members are tags.
fn is_sequence_item(item: &Value) -> bool {
    item.as_object().is_some_and(|item| item.values().all(Value::is_object))
}
