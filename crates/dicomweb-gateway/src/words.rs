//! What of Google's words may go into the log and into reports: what is known to hold no value of a patient's.
//!
//! What Google says of an instance or a search may quote what is in it, in quotation marks or without. Whoever has sent that gets
//! the words as they are; log and reports are read by others, and kept. There, words of the vocabulary stay, and UIDs, tags,
//! resources and numbers whose meaning stands beside them. Everything else becomes `…`.

mod vocabulary;

use self::vocabulary::{BEFORE_NUMBERS, BEHIND_NUMBERS, LOWER_CASE, PROPER};

/// Stands for what is left out.
const LEFT_OUT: char = '…';

/// The words without what may be a value of a patient's.
pub(crate) fn without_values(words: &str) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut kept: Vec<String> = Vec::with_capacity(words.len());
    for (position, word) in words.iter().enumerate() {
        let (before, core, behind) = trimmed(word);
        let neighbours = Neighbours {
            last: position.checked_sub(1).and_then(|last| words.get(last)).map(|last| trimmed(last).1),
            next: words.get(position + 1).map(|next| trimmed(next).1),
        };
        if core.is_empty() || is_safe(core, neighbours) {
            kept.push((*word).to_owned());
        } else if before.is_empty()
            && let Some(last) = kept.last_mut().filter(|last| last.ends_with(LEFT_OUT))
        {
            // A name of several parts is left out once.
            last.push_str(behind);
        } else {
            kept.push(format!("{before}{LEFT_OUT}{behind}"));
        }
    }
    kept.join(" ")
}

/// The words beside one.
#[derive(Clone, Copy)]
struct Neighbours<'a> {
    last: Option<&'a str>,
    next: Option<&'a str>,
}

/// What stands around a word, and the word. A tag's parentheses are its own.
fn trimmed(word: &str) -> (&str, &str, &str) {
    let is_mark =
        |c: char| !c.is_alphanumeric() && !matches!(c, '/' | '<' | '>' | '^' | '=' | '&' | '%' | '$');
    let core = word.trim_matches(is_mark);
    let begin = word.find(core).unwrap_or_default();
    let (before, rest) = word.split_at_checked(begin).unwrap_or((word, ""));
    let (core, behind) = rest.split_at_checked(core.len()).unwrap_or((rest, ""));
    (before, core, behind)
}

fn is_safe(core: &str, neighbours: Neighbours<'_>) -> bool {
    let core = core.strip_suffix("'s").unwrap_or(core);
    is_known(core)
        || is_uid(core)
        || is_tag(core)
        || is_code(core)
        || is_resource(core)
        || is_url(core)
        || is_number(core, neighbours)
        || is_project(core, neighbours)
        // `Study/Series/SOPInstance`
        || core.split(['/', '-', '_']).all(|part| is_known(part) || is_uid(part))
}

/// Case counts: what is known in lower case may be a name with a capital letter.
fn is_known(word: &str) -> bool {
    LOWER_CASE.binary_search(&word).is_ok() || PROPER.binary_search(&word).is_ok()
}

/// At least four components, so that it is no date, under one of the three roots (PS3.5 section 9).
fn is_uid(text: &str) -> bool {
    let mut components = text.split('.');
    matches!(components.next(), Some("0" | "1" | "2"))
        && components.clone().count() >= 3
        && components.all(|component| !component.is_empty() && component.bytes().all(|b| b.is_ascii_digit()))
}

/// `0010,0010`, without its parentheses.
fn is_tag(text: &str) -> bool {
    let is_half = |half: &str| half.len() == 4 && half.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split_once(',').is_some_and(|(group, element)| is_half(group) && is_half(element))
}

/// `0x0110`
fn is_code(text: &str) -> bool {
    text.strip_prefix("0x")
        .is_some_and(|digits| digits.len() <= 4 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A number that its neighbour explains: `status 503`, `30 s`. Others may be dates, or the ID of a patient.
fn is_number(text: &str, Neighbours { last, next }: Neighbours<'_>) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && (last.is_some_and(|last| BEFORE_NUMBERS.contains(&last))
            || next.is_some_and(|next| BEHIND_NUMBERS.contains(&next)))
}

/// The ID of a Google Cloud project, behind that word.
fn is_project(text: &str, Neighbours { last, .. }: Neighbours<'_>) -> bool {
    let is_in_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    last == Some("project") && (6..=30).contains(&text.len()) && text.bytes().all(is_in_id)
}

/// A resource, permission, role or service account of Google's.
fn is_resource(text: &str) -> bool {
    let starts = ["healthcare.", "projects/", "//healthcare.", "roles/", "iam.", "serviceusage."];
    let is_in_name = |c: char| c.is_ascii_alphanumeric() || "._/:-@".contains(c);
    let is_one = starts.iter().any(|start| text.starts_with(start)) || text.ends_with(".gserviceaccount.com");
    is_one && text.chars().all(is_in_name) && is_path_safe(text)
}

/// An address of Google's documentation or console, or one of a DICOM store.
fn is_url(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
    else {
        return false;
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    let is_googles = [".googleapis.com", ".google.com"].iter().any(|domain| host.ends_with(domain));
    let is_in_path = |c: char| c.is_ascii_alphanumeric() || "._/:-[]%".contains(c);
    let is_in_query = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let names_project =
        query.strip_prefix("project=").is_some_and(|project| project.chars().all(is_in_query));
    (is_googles || rest.contains("/dicomStores/"))
        && rest.chars().all(is_in_path)
        && is_path_safe(rest)
        && (query.is_empty() || (is_googles && names_project))
}

/// Below a store there are words and UIDs.
fn is_path_safe(text: &str) -> bool {
    let (_, below) = text.split_once("/dicomWeb/").unwrap_or_default();
    below.split('/').all(|part| part.is_empty() || is_known(part) || is_uid(part))
}

#[cfg(test)]
mod tests {
    use google_credentials::remedy::STORE_REFUSALS;

    use super::*;

    #[test]
    fn what_google_is_known_to_say_is_kept() {
        for words in [
            "Permission 'healthcare.dicomStores.dicomWebWrite' denied on resource '//healthcare.googleapis.com/projects/p' (or it may not exist).",
            "An instance already exists in this DICOM Store with the same Study/Series/SOPInstance UID, but the DICOM files differ (checksum mismatch).",
            "the instance \"1.2.840.1\" already exists",
            "the StudyInstanceUID of the instance does not match the one in the request's URL",
            "Request had insufficient authentication scopes.",
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
            "Cloud Healthcare API has not been used in project 7 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/healthcare.googleapis.com/overview?project=7 then retry.",
            "DICOM instance does not exist.",
            "https://healthcare.googleapis.com/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb/studies/1.2.840.1 answered 503",
            "invalid value for (0010,0010) at byte 132",
            "the only attempt failed: no answer from https://127.0.0.1:4/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb/studies: not a byte was sent or received for 60 s",
            "processing failure (0x0110): already exists",
            "",
        ] {
            assert_eq!(without_values(words), words);
        }
        for row in STORE_REFUSALS {
            assert_eq!(without_values(row.words), row.words);
        }
    }

    #[test]
    fn what_may_be_a_value_is_left_out() {
        for (words, expected) in [
            ("invalid value \"Doe\" for (0010,0010)", "invalid value \"…\" for (0010,0010)"),
            ("invalid value Doe for PatientName", "invalid value … for PatientName"),
            ("patient Maria Anna Miller, born 1970-01-02", "patient …, born …"),
            ("patient DOE JOHN already exists", "patient … already exists"),
            ("PatientID '4711', born '19700101'", "PatientID '…', born '…'"),
            ("PatientID 4711 born 02.01.1970", "PatientID … born …"),
            ("born 1.2.1970", "born …"),
            ("name 'O'Brien' and `Miller`", "name '…' and `…`"),
            ("bad name DOE^JOHN here", "bad name … here"),
            ("name=Doe", "…"),
            ("Will Grant is known, MAY FIELD too", "… is known, … too"),
            ("never closed \"Doe John", "never closed \"…"),
            ("'https://h/?PatientName=Doe' https://h.google.com/?q=Doe", "'…' …"),
            ("https://pacs.example/doe/john/1", "…"),
            (
                "https://x/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb/studies/Doe/1.2.3.4",
                "…",
            ),
            ("Müller „Ärger“ \u{fffd}", "… „…“ \u{fffd}"),
            ("smith@hospital.example a@p.iam.gserviceaccount.com", "… a@p.iam.gserviceaccount.com"),
            ("project doe_john project p-hospital-1", "project … project p-hospital-1"),
            ("{\"name\":\"Doe\"}", "{\"…\"}"),
        ] {
            assert_eq!(without_values(words), expected);
            // What was left out stays so, and nothing else goes.
            assert_eq!(without_values(expected), expected);
        }
    }

    #[test]
    fn vocabulary_is_in_order() {
        assert!(LOWER_CASE.is_sorted() && PROPER.is_sorted());
        assert!(LOWER_CASE.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
    }
}
