//! The four parts of a DICOM store's full name, as Google's grammar allows them: `projects/PROJECT/locations/LOCATION/`
//! `datasets/DATASET/dicomStores/STORE`.

use std::borrow::Cow;

use crate::section::{Section, Wrong};

const REMEDY: &str = "copy it from the store's full name in the Google Cloud console, projects/PROJECT/locations/LOCATION/datasets/DATASET/dicomStores/STORE";
/// The longest name of a dataset or store, in characters.
const LONGEST: usize = 256;

/// One part of the name.
#[derive(Clone, Copy)]
pub(super) struct Part {
    key: &'static str,
    /// What stands before it in the full name.
    collection: &'static str,
    what: &'static str,
    /// The punctuation it may hold, besides letters and digits.
    punctuation: &'static str,
}

/// In the order of the full name. A colon and dots are for legacy projects of a domain, `example.com:project`.
pub(super) const PARTS: [Part; 4] = [
    Part { key: "Project", collection: "projects", what: "project ID", punctuation: "-_.:" },
    Part { key: "Location", collection: "locations", what: "location", punctuation: "-_" },
    Part { key: "Dataset", collection: "datasets", what: "dataset ID", punctuation: "-_." },
    Part { key: "DicomStore", collection: "dicomStores", what: "DICOM store ID", punctuation: "-_." },
];

impl Part {
    /// Reads the part, which is mandatory, as a segment of a path.
    pub(super) fn read(self, section: &mut Section<'_, '_>) -> Option<String> {
        match section.string(self.key, REMEDY) {
            Ok(Some(text)) => match self.mistake(&text) {
                None => Some(encoded(&text)),
                Some(mistake) => {
                    section.error(self.key, &mistake);
                    None
                }
            },
            Ok(None) => {
                section.error(self.key, &format!("is missing or empty; {REMEDY}"));
                None
            }
            Err(Wrong) => None,
        }
    }

    /// What is wrong with the text. The text itself is not quoted: it may have been meant for another key.
    fn mistake(self, text: &str) -> Option<String> {
        let what = self.what;
        if let Some(own) = self.within(text) {
            return Some(format!("holds more than the {what}; write only `{own}`"));
        }
        if let Some(foreign) = text.chars().find(|&c| !self.allows(c)) {
            let shown = match foreign {
                ' ' => Cow::Borrowed("a space"),
                c if c.is_control() || c.is_whitespace() => Cow::Owned(c.escape_unicode().to_string()),
                c => Cow::Owned(format!("`{c}`")),
            };
            return Some(format!("holds {shown}, which is not allowed in a {what}; {REMEDY}"));
        }
        // A URL's path would lose these.
        if matches!(text, "." | "..") {
            return Some(format!("is `{text}`, which is not a {what}; {REMEDY}"));
        }
        if !self.is_domain_scoped_or_plain(text) {
            return Some("is not a valid project ID; use an ID such as `my-project`, or `example.com:my-project` for a project of a domain".to_owned());
        }
        let length = text.chars().count();
        (length > LONGEST)
            .then(|| format!("has {length} characters, and a {what} has at most {LONGEST}; {REMEDY}"))
    }

    fn allows(self, c: char) -> bool {
        c.is_alphanumeric() || self.punctuation.contains(c)
    }

    /// Only a project may hold a colon, and dots only before it.
    fn is_domain_scoped_or_plain(self, text: &str) -> bool {
        if self.key != "Project" {
            return true;
        }
        match text.split_once(':') {
            None => !text.contains('.'),
            Some((domain, project)) => {
                let labels = domain.split('.').all(|label| !label.is_empty());
                labels && domain.contains('.') && !project.is_empty() && !project.contains([':', '.'])
            }
        }
    }

    /// The part, where the text is the full name, an address that ends with it, or a piece of it: what follows the name of
    /// its collection.
    fn within(self, text: &str) -> Option<&str> {
        let mut segments = text.split('/');
        segments.find(|segment| segment.eq_ignore_ascii_case(self.collection))?;
        let own = segments.next()?;
        (!own.is_empty() && self.mistake(own).is_none()).then_some(own)
    }
}

/// The part as a segment of a path: letters beyond ASCII are percent-encoded.
fn encoded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(key: &str, text: &str) -> Option<String> {
        let part = PARTS.iter().find(|part| part.key == key).expect("a part's key");
        part.mistake(text)
    }

    #[test]
    fn names_of_googles_grammar_are_accepted() {
        for (key, text) in [
            ("Project", "my-project"),
            ("Project", "123456789012"),
            ("Project", "example.com:my-project"),
            ("Project", "health.example.co.uk:imaging"),
            ("Location", "europe-west2"),
            ("Location", "us"),
            ("Dataset", "my.data_set-1"),
            ("Dataset", "..."),
            ("DicomStore", "St.George_2026"),
            ("DicomStore", "Gehirn-Übersicht"),
            ("DicomStore", ".hidden"),
            ("DicomStore", &"s".repeat(256)),
        ] {
            assert_eq!(mistake(key, text), None, "{key}: {text}");
        }
        assert_eq!(encoded("Übersicht_1.a-b"), "%C3%9Cbersicht_1.a-b");
    }

    #[test]
    fn other_names_are_rejected_with_the_reason() {
        for (key, text, said) in [
            ("DicomStore", "..", "is `..`, which is not a DICOM store ID"),
            ("DicomStore", ".", "is `.`, which is not a DICOM store ID"),
            ("Dataset", "..", "is `..`, which is not a dataset ID"),
            ("Project", "..", "is `..`, which is not a project ID"),
            ("Location", "..", "holds `.`, which is not allowed in a location"),
            ("DicomStore", "a b", "holds a space, which"),
            ("DicomStore", "a\tb", "holds \\u{9}, which"),
            ("DicomStore", "a%2Fb", "holds `%`, which"),
            ("DicomStore", "a?b", "holds `?`, which"),
            ("DicomStore", "a#b", "holds `#`, which"),
            ("DicomStore", "a\\b", "holds `\\`, which"),
            ("DicomStore", "a:b", "holds `:`, which"),
            ("DicomStore", "a;b", "holds `;`, which"),
            ("DicomStore", "${STORE}", "holds `$`, which"),
            ("DicomStore", "other/dicomWeb", "holds `/`, which"),
            ("Dataset", "../d", "holds `/`, which"),
            ("Project", "my.project", "is not a valid project ID"),
            ("Project", "project:example.com", "is not a valid project ID"),
            ("Project", ".com:project", "is not a valid project ID"),
            ("Project", "example.com:", "is not a valid project ID"),
            ("Location", "europe west2", "holds a space, which"),
            ("DicomStore", &"s".repeat(257), "has 257 characters"),
        ] {
            let found = mistake(key, text).unwrap_or_default();
            assert!(found.starts_with(said), "{key}: {text}: {found}");
        }
    }

    #[test]
    fn a_whole_name_is_taken_apart() {
        let whole = "projects/p-1/locations/us/datasets/d.1/dicomStores/s_1";
        for written in [
            whole.to_owned(),
            format!("/{whole}/"),
            format!("https://healthcare.googleapis.com/v1/{whole}/dicomWeb"),
            format!("//healthcare.googleapis.com/{whole}"),
        ] {
            for (key, own) in
                [("Project", "p-1"), ("Location", "us"), ("Dataset", "d.1"), ("DicomStore", "s_1")]
            {
                let found = mistake(key, &written).unwrap_or_default();
                assert!(found.ends_with(&format!("; write only `{own}`")), "{written}: {found}");
            }
        }
        assert!(mistake("Dataset", "datasets/d").unwrap_or_default().ends_with("write only `d`"));
        assert!(mistake("DicomStore", "dicomStores/..").unwrap_or_default().starts_with("holds `/`"));
    }
}
