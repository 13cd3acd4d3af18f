//! A search's query string, as strictly as Google reads it.

use super::address::Level;
use crate::{archive::first_text, google_error::GoogleError};
use dicom_core::{dictionary::DataDictionary, dictionary::DataDictionaryEntry, header::Tag};
use dicom_dictionary_std::StandardDataDictionary;
use serde_json::{Map, Value};

const LARGEST_OFFSET: usize = 1_000_000;

/// What can be searched for: tag, keyword, and the level from which on.
const SEARCH_KEYS: [(&str, &str, Level); 9] = [
    ("0020000D", "StudyInstanceUID", Level::Study),
    ("00100010", "PatientName", Level::Study),
    ("00100020", "PatientID", Level::Study),
    ("00080050", "AccessionNumber", Level::Study),
    ("00080090", "ReferringPhysicianName", Level::Study),
    ("00080020", "StudyDate", Level::Study),
    ("0020000E", "SeriesInstanceUID", Level::Series),
    ("00080060", "Modality", Level::Series),
    ("00080018", "SOPInstanceUID", Level::Instance),
];

/// Standard attributes that Google refuses to return: `AvailableTransferSyntaxUID`.
const NEVER_RETURNED: [&str; 1] = ["00083002"];

const STUDY_DATE: &str = "00080020";
const PATIENT_NAME: &str = "00100010";

/// A search.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// Tag and value, all of which must match.
    keys: Vec<(&'static str, String)>,
    fuzzy: bool,
    pub(crate) include: Include,
    pub(crate) limit: usize,
    pub(crate) offset: usize,
}

/// Attributes wanted beyond the default ones.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Include {
    All,
    Tags(Vec<String>),
}

impl Query {
    pub(crate) fn parse(level: Level, text: &str) -> Result<Self, GoogleError> {
        let (limit, cap) = match level {
            Level::Study | Level::Series => (100, 5_000),
            Level::Instance => (1_000, 50_000),
        };
        let mut query =
            Self { keys: Vec::new(), fuzzy: false, include: Include::Tags(Vec::new()), limit, offset: 0 };
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if name != "includefield" {
                if seen.contains(&name) {
                    return Err(invalid(&format!("parameter {name} is given more than once")));
                }
                seen.push(name.clone());
            }
            match name.as_ref() {
                "limit" => query.limit = number("limit", &value, cap)?,
                "offset" => query.offset = number("offset", &value, LARGEST_OFFSET)?,
                "fuzzymatching" => query.fuzzy = boolean(&value)?,
                "includefield" => query.add_fields(&value)?,
                // Google's own parameters, the same at every method.
                "alt" | "prettyPrint" | "$alt" | "key" | "quotaUser" => {}
                _ => query.add_key(level, &name, &value)?,
            }
        }
        Ok(query)
    }

    /// Whether an instance, represented by its indexed attributes, is found.
    pub(crate) fn matches(&self, attributes: &Map<String, Value>) -> bool {
        self.keys.iter().all(|(tag, wanted)| {
            let found = first_text(attributes, tag).unwrap_or_default();
            match *tag {
                STUDY_DATE => in_range(wanted, &found),
                PATIENT_NAME if self.fuzzy => fuzzy_match(wanted, &found),
                _ => found == *wanted,
            }
        })
    }

    fn add_key(&mut self, level: Level, name: &str, value: &str) -> Result<(), GoogleError> {
        let tag = tag(name).ok_or_else(|| unsupported(name))?;
        let known = SEARCH_KEYS.iter().find(|(known, _, from)| *known == tag && *from <= level);
        let (tag, _, _) = known.ok_or_else(|| {
            let level = match level {
                Level::Study => "study",
                Level::Series => "series",
                Level::Instance => "instance",
            };
            invalid(&format!("{name} is not a supported {level} level attribute"))
        })?;
        if *tag == STUDY_DATE && !value.split('-').all(|date| date.is_empty() || is_date(date)) {
            return Err(invalid(&format!("invalid date or range of dates: {value}")));
        }
        // An empty value matches everything (PS3.4 section C.2.2.2.3).
        if !value.is_empty() {
            self.keys.push((tag, value.to_owned()));
        }
        Ok(())
    }

    fn add_fields(&mut self, list: &str) -> Result<(), GoogleError> {
        for name in list.split(',').filter(|name| !name.is_empty()) {
            if name == "all" {
                self.include = Include::All;
            } else {
                let known = tag(name).filter(|tag| !NEVER_RETURNED.contains(&tag.as_str()));
                let tag = known.ok_or_else(|| unsupported(name))?;
                if let Include::Tags(tags) = &mut self.include {
                    tags.push(tag);
                }
            }
        }
        Ok(())
    }
}

/// The VR of a tag, `UN` when the standard does not know it.
pub(crate) fn vr(tag: &str) -> String {
    let entry = tag.parse::<Tag>().ok().and_then(|tag| StandardDataDictionary.by_tag(tag));
    entry.map_or_else(|| "UN".to_owned(), |entry| entry.vr().relaxed().to_string().to_owned())
}

/// A keyword or eight hexadecimal digits as the latter, upper case.
fn tag(name: &str) -> Option<String> {
    let digits = name.len() == 8 && name.chars().all(|c| c.is_ascii_hexdigit());
    if digits {
        return Some(name.to_ascii_uppercase());
    }
    let Tag(group, element) = StandardDataDictionary.by_name(name)?.tag();
    Some(format!("{group:04X}{element:04X}"))
}

fn unsupported(name: &str) -> GoogleError {
    invalid(&format!("unknown/unsupported QIDO attribute: {name}"))
}

fn invalid(text: &str) -> GoogleError {
    GoogleError::bad_request(format!("invalid QIDO-RS query: {text}"))
}

fn number(name: &str, value: &str, cap: usize) -> Result<usize, GoogleError> {
    match value.parse::<usize>() {
        Ok(number) if number <= cap => Ok(number),
        _ => Err(invalid(&format!("{name} must be a number from 0 to {cap}, not {value}"))),
    }
}

fn boolean(value: &str) -> Result<bool, GoogleError> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(&format!("fuzzymatching must be true or false, not {value}"))),
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 8 && text.chars().all(|c| c.is_ascii_digit())
}

/// `20200101`, `20200101-20201231`, `20200101-` or `-20201231` (PS3.4 section C.2.2.2.5.1).
fn in_range(wanted: &str, date: &str) -> bool {
    match wanted.split_once('-') {
        None => date == wanted,
        Some((from, to)) => {
            is_date(date) && (from.is_empty() || from <= date) && (to.is_empty() || date <= to)
        }
    }
}

/// Every word of the query begins a word of the name; case and the name's separators do not matter.
fn fuzzy_match(wanted: &str, name: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let separators = [' ', '^', '=', ',', '.', '-', '\''];
        text.to_lowercase().split(separators).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let name = words(name);
    words(wanted).iter().all(|wanted| name.iter().any(|word| word.starts_with(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn attributes() -> Map<String, Value> {
        let study = json!({
            "00100010": { "vr": "PN", "Value": [{ "Alphabetic": "Doe^John" }] },
            "00100020": { "vr": "LO", "Value": ["P1"] },
            "00080020": { "vr": "DA", "Value": ["20200615"] },
            "00080060": { "vr": "CS", "Value": ["CT"] },
        });
        study.as_object().unwrap().clone()
    }

    #[test]
    fn keys_match_as_google_documents() {
        for (query, found) in [
            ("", true),
            ("PatientID=P1", true),
            ("00100020=P1", true),
            ("PatientID=p1", false),
            ("PatientID=P*", false),
            ("PatientID=", true),
            ("PatientID=P1&Modality=MR", false),
            ("PatientName=Doe%5EJohn", true),
            ("PatientName=Doe", false),
            ("PatientName=jo&fuzzymatching=true", true),
            ("PatientName=Do+jOhN&fuzzymatching=true", true),
            ("PatientName=ohn&fuzzymatching=true", false),
            ("PatientID=P&fuzzymatching=true", false),
            ("StudyDate=20200615", true),
            ("StudyDate=20200101-20200614", false),
            ("StudyDate=20200615-", true),
            ("StudyDate=-20200614", false),
            ("StudyDate=20200101-20201231", true),
        ] {
            let parsed = Query::parse(Level::Series, query).unwrap();
            assert_eq!(parsed.matches(&attributes()), found, "{query}");
        }
    }

    #[test]
    fn what_google_refuses_is_refused() {
        for (level, query) in [
            (Level::Study, "limit=5001"),
            (Level::Instance, "limit=50001"),
            (Level::Study, "limit=-1"),
            (Level::Study, "offset=1000001"),
            (Level::Study, "Modality=CT"),
            (Level::Study, "ModalitiesInStudy=CT"),
            (Level::Series, "SOPInstanceUID=1"),
            (Level::Instance, "SOPClassUID=1"),
            (Level::Study, "Nonsense=1"),
            (Level::Study, "includefield=Nonsense"),
            (Level::Instance, "includefield=AvailableTransferSyntaxUID"),
            (Level::Study, "fuzzymatching=yes"),
            (Level::Study, "StudyDate=June"),
            (Level::Study, "PatientID=1&PatientID=2"),
        ] {
            assert_eq!(Query::parse(level, query).unwrap_err().code, 400, "{query}");
        }
        let message = |query| Query::parse(Level::Instance, query).unwrap_err().message;
        assert!(message("SOPClassUID=1").contains("SOPClassUID is not a supported instance level attribute"));
        assert!(message("includefield=X").contains("unknown/unsupported QIDO attribute: X"));
        let defaults = Query::parse(Level::Instance, "offset=1000000").unwrap();
        assert_eq!((defaults.limit, defaults.offset), (1_000, 1_000_000));
        assert_eq!(Query::parse(Level::Study, "limit=5000").unwrap().limit, 5_000);
        assert_eq!(Query::parse(Level::Study, "").unwrap().limit, 100);
    }
}
