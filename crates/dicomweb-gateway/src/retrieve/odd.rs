//! Instances whose UIDs, as a search gives them, are not valid. Such instances exist, and stores keep them: one of them must not
//! keep the others from being retrieved.

use serde_json::Value;

use crate::{dicom_identity::Uid, search};

/// The longest text that is requested as a UID or quoted. Valid UIDs have up to 64 characters.
const LONGEST: usize = 128;

/// An instance that a search has found without valid UIDs of series and instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Odd {
    /// Series Instance UID and SOP Instance UID, as far as the search gives texts.
    series: Option<String>,
    instance: Option<String>,
}

impl Odd {
    /// Reads a result of a search. `series`: the one that was searched.
    pub(super) fn read(result: &Value, series: Option<&Uid>) -> Self {
        let text = |tag| Some(search::first(result, tag)?.as_str()?.trim_matches(['\0', ' ']).to_owned());
        let series = series.map(|series| series.as_str().to_owned()).or_else(|| text("0020000E"));
        Self { series, instance: text("00080018") }
    }

    /// Its path below the study, percent-encoded; `None` where it would be another path.
    pub(super) fn path(&self) -> Option<String> {
        let (series, instance) = (segment(self.series.as_deref()?)?, segment(self.instance.as_deref()?)?);
        Some(format!("series/{series}/instances/{instance}"))
    }

    /// How messages name it.
    pub(super) fn name(&self) -> String {
        let name = |what: &str, text: &Option<String>| match text.as_deref() {
            None => format!("without a {what}"),
            Some("") => format!("with an empty {what}"),
            Some(text) if segment(text).is_some() => format!("with the {what} \"{text}\""),
            Some(text) => {
                format!("with a {what} of {} characters that cannot be part of a path", text.chars().count())
            }
        };
        format!("{} {}", name("SOPInstanceUID", &self.instance), name("SeriesInstanceUID", &self.series))
    }
}

/// A segment of a path that no server takes for more or less than that. Only letters, digits and the few characters that
/// occur in what is meant as a UID: a slash would be one for servers that decode before they route.
fn segment(text: &str) -> Option<String> {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b".-_ ".contains(&byte);
    let is_of_dots = text.bytes().all(|byte| byte == b'.');
    (!is_of_dots && text.len() <= LONGEST && text.bytes().all(is_safe)).then(|| text.replace(' ', "%20"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn odd(series: &Value, instance: &Value) -> Odd {
        Odd::read(&json!({ "0020000E": series, "00080018": instance }), None)
    }

    fn value(text: &str) -> Value {
        json!({ "vr": "UI", "Value": [text] })
    }

    #[test]
    fn odd_uids_are_requested_where_they_are_one_segment_of_a_path() {
        let long = "1".repeat(65);
        for (text, path) in [
            ("1.2.9.34.", Some("1.2.9.34.")),
            ("1..2", Some("1..2")),
            ("1.2.a_B-7", Some("1.2.a_B-7")),
            ("1. 2", Some("1.%202")),
            (" 1.2.x\0", Some("1.2.x")),
            (&long, Some(&long)),
            ("", None),
            (".", None),
            ("..", None),
            ("...", None),
            ("../../x", None),
            ("1.2\\1.3", None),
            ("1.2%2f..", None),
            ("1.2?x", None),
            ("1.2#x", None),
            ("1.2;x", None),
            ("1.2\n", None),
            ("1.é", None),
        ] {
            let expected = path.map(|path| format!("series/1.2./instances/{path}"));
            assert_eq!(odd(&value("1.2."), &value(text)).path(), expected, "{text}");
        }
        assert_eq!(odd(&value("1.2."), &value(&"1".repeat(129))).path(), None);
    }

    #[test]
    fn odd_instances_are_named() {
        for (series, instance, named) in [
            (
                value("1.2"),
                value("1.3."),
                "with the SOPInstanceUID \"1.3.\" with the SeriesInstanceUID \"1.2\"",
            ),
            (value("1.2"), json!({ "vr": "UI" }), "without a SOPInstanceUID with"),
            (value("1.2"), json!({ "vr": "UI", "Value": [1.3] }), "without a SOPInstanceUID with"),
            (value("1.2"), json!({ "vr": "UI", "Value": [null] }), "without a SOPInstanceUID with"),
            (value("1.2"), json!(7), "without a SOPInstanceUID with"),
            (value(""), value("1.3"), "with the SOPInstanceUID \"1.3\" with an empty SeriesInstanceUID"),
            (
                value("1.2"),
                value("a\nb"),
                "with a SOPInstanceUID of 3 characters that cannot be part of a path",
            ),
        ] {
            let name = odd(&series, &instance).name();
            assert!(name.starts_with(named), "{name}");
        }
        assert_eq!(Odd::read(&json!(7), None).path(), None);
    }
}
