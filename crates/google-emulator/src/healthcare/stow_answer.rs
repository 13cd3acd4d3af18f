//! The answer to a store request (PS3.18 section 10.5.3), with what Google adds to failures.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// The form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The Native DICOM Model (PS3.19 annex A), Google's default.
    Xml,
    /// The DICOM JSON Model (PS3.18 annex F).
    Json,
}

/// What became of one part.
pub(crate) struct Outcome {
    /// Study, series, instance and SOP class; `None` when the part could not be parsed.
    pub(crate) instance: Option<[String; 4]>,
    pub(crate) failure: Option<Failure>,
}

/// Why a part was not stored.
pub(crate) enum Failure {
    Unparseable(String),
    OtherStudy,
    Different,
    /// A fault that a test has set.
    Fault {
        reason: u16,
        detail: String,
    },
}

impl Failure {
    /// The `FailureReason`.
    fn reason(&self) -> u16 {
        if let Self::Fault { reason, .. } = self { *reason } else { PROCESSING_FAILURE }
    }

    /// Google's `FailureDetail`.
    fn detail(&self) -> &str {
        match self {
            Self::Unparseable(text) | Self::Fault { detail: text, .. } => text,
            Self::OtherStudy => {
                "the StudyInstanceUID of the instance does not match the one in the request's URL"
            }
            Self::Different => {
                "An instance already exists in this DICOM Store with the same Study/Series/SOPInstance UID, but the DICOM \
                 files differ (checksum mismatch)."
            }
        }
    }
}

/// "Processing failure" (PS3.18 section 10.5.3.2, table I.2-2), the reason that Google gives for everything.
pub(crate) const PROCESSING_FAILURE: u16 = 0x0110;

/// 200 when everything is stored, else 409.
pub(crate) fn answer(form: Form, base: &str, study: Option<&str>, outcomes: &[Outcome]) -> Response {
    let failed = outcomes.iter().any(|outcome| outcome.failure.is_some());
    let status = if failed { StatusCode::CONFLICT } else { StatusCode::OK };
    let data_set = data_set(form, base, study, outcomes);
    let (kind, body) = match form {
        Form::Json => ("application/dicom+json", Value::Object(data_set).to_string()),
        Form::Xml => {
            let mut body = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<NativeDicomModel>");
            attributes(&data_set, &mut body);
            body.push_str("</NativeDicomModel>");
            ("application/dicom+xml", body)
        }
    };
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn data_set(form: Form, base: &str, study: Option<&str>, outcomes: &[Outcome]) -> Map<String, Value> {
    let attribute = |vr: &str, value: Value| json!({ "vr": vr, "Value": [value] });
    let (mut stored, mut failed) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        let mut item = Map::new();
        if let Some([_, _, instance, sop_class]) = &outcome.instance {
            item.insert("00081150".to_owned(), attribute("UI", json!(sop_class)));
            item.insert("00081155".to_owned(), attribute("UI", json!(instance)));
        }
        match (&outcome.failure, &outcome.instance) {
            (Some(failure), _) => {
                item.insert("00081197".to_owned(), attribute("US", json!(failure.reason())));
                // Google's private attributes: one for each form of the answer.
                let tag = if form == Form::Json { "00091097" } else { "00090097" };
                item.insert(tag.to_owned(), attribute("LT", json!(failure.detail())));
                failed.push(Value::Object(item));
            }
            (None, Some([study, series, instance, _])) => {
                let url = format!("{base}/studies/{study}/series/{series}/instances/{instance}");
                item.insert("00081190".to_owned(), attribute("UR", json!(url)));
                stored.push(Value::Object(item));
            }
            (None, None) => {}
        }
    }
    let mut data_set = Map::new();
    let first =
        || outcomes.iter().find_map(|outcome| outcome.instance.as_ref()).map(|[study, ..]| study.as_str());
    let url = study.or_else(first).map_or_else(|| base.to_owned(), |study| format!("{base}/studies/{study}"));
    data_set.insert("00081190".to_owned(), attribute("UR", json!(url)));
    for (tag, items) in [("00081198", failed), ("00081199", stored)] {
        if !items.is_empty() {
            data_set.insert(tag.to_owned(), json!({ "vr": "SQ", "Value": items }));
        }
    }
    data_set
}

/// The data set as `DicomAttribute` elements (PS3.19 section A.1.5).
fn attributes(data_set: &Map<String, Value>, out: &mut String) {
    for (tag, attribute) in data_set {
        let vr = attribute.get("vr").and_then(Value::as_str).unwrap_or("UN");
        let creator = if tag.starts_with("0009") { "\" privateCreator=\"GOOGLE\">" } else { "\">" };
        out.extend(["<DicomAttribute tag=\"", tag, "\" vr=\"", vr, "\" keyword=\"", keyword(tag), creator]);
        let values = attribute.get("Value").and_then(Value::as_array).into_iter().flatten();
        for (position, value) in values.enumerate() {
            let number = (position + 1).to_string();
            if let Value::Object(item) = value {
                out.extend(["<Item number=\"", &number, "\">"]);
                attributes(item, out);
                out.push_str("</Item>");
            } else {
                let text = value.as_str().map_or_else(|| value.to_string(), escape);
                out.extend(["<Value number=\"", &number, "\">", &text, "</Value>"]);
            }
        }
        out.push_str("</DicomAttribute>");
    }
}

fn keyword(tag: &str) -> &'static str {
    match tag {
        "00081150" => "ReferencedSOPClassUID",
        "00081155" => "ReferencedSOPInstanceUID",
        "00081190" => "RetrieveURL",
        "00081197" => "FailureReason",
        "00081198" => "FailedSOPSequence",
        "00081199" => "ReferencedSOPSequence",
        _ => "FailureDetail",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
