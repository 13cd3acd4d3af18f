//! What of Google's words may go into the log: no value of a patient's.
//!
//! What Google says of an instance or a search may quote what is in it. Whoever has sent that gets the words as they are; the
//! log is read by others, and kept.

/// The words without what they quote, but for UIDs, permissions and resources, and without names of persons (PS3.5 section 6.2,
/// PN: their components are divided by `^`).
pub(crate) fn without_values(words: &str) -> String {
    let (mut kept, mut rest) = (String::with_capacity(words.len()), words);
    while let Some((before, quote, after)) = quotation(rest) {
        push_without_names(&mut kept, before);
        let end = closing(after, quote);
        let quoted = after.get(..end).unwrap_or(after);
        kept.push(quote);
        kept.push_str(if is_harmless(quoted) { quoted } else { "…" });
        kept.push(quote);
        rest = after.get(end + quote.len_utf8()..).unwrap_or_default();
    }
    push_without_names(&mut kept, rest);
    kept
}

/// The first quotation: what stands before it, its mark, and what stands behind that. A mark behind a letter is an apostrophe.
fn quotation(words: &str) -> Option<(&str, char, &str)> {
    let mut before = ' ';
    for (position, character) in words.char_indices() {
        if matches!(character, '"' | '\'' | '`') && !before.is_alphanumeric() {
            let (kept, rest) = words.split_at_checked(position)?;
            return Some((kept, character, rest.strip_prefix(character)?));
        }
        before = character;
    }
    None
}

/// Where a quotation ends: at its mark, unless that stands within a word; else at the end.
fn closing(words: &str, quote: char) -> usize {
    let is_closing = |(position, _): &(usize, &str)| {
        let next = words.get(position + quote.len_utf8()..).and_then(|rest| rest.chars().next());
        quote == '"' || !next.is_some_and(char::is_alphanumeric)
    };
    words.match_indices(quote).find(is_closing).map_or(words.len(), |(position, _)| position)
}

fn is_harmless(quoted: &str) -> bool {
    // A number without a dot may be a date, or the ID of a patient.
    let is_uid = quoted.contains('.')
        && quoted.chars().all(|character| character == '.' || character.is_ascii_digit());
    let starts = ["healthcare.", "projects/", "//healthcare.", "https://"];
    let is_word = !quoted.contains(char::is_whitespace) && !quoted.contains(['?', '^']);
    is_uid || (is_word && starts.iter().any(|start| quoted.starts_with(start)))
}

fn push_without_names(kept: &mut String, words: &str) {
    for word in words.split_inclusive(char::is_whitespace) {
        if word.contains('^') {
            kept.push('…');
            kept.extend(word.chars().next_back().filter(|last| last.is_whitespace()));
        } else {
            kept.push_str(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_struck_and_what_helps_is_kept() {
        for (words, expected) in [
            (
                "Permission 'healthcare.dicomStores.dicomWebWrite' denied on resource '//healthcare.googleapis.com/projects/p' (or it may not exist).",
                "Permission 'healthcare.dicomStores.dicomWebWrite' denied on resource '//healthcare.googleapis.com/projects/p' (or it may not exist).",
            ),
            ("the instance \"1.2.840.1\" already exists", "the instance \"1.2.840.1\" already exists"),
            ("invalid value \"Doe\" for (0010,0010)", "invalid value \"…\" for (0010,0010)"),
            ("PatientID '4711', born '19700101'", "PatientID '…', born '…'"),
            ("name 'O'Brien' and `Miller`", "name '…' and `…`"),
            ("the machine's clock, the users' data", "the machine's clock, the users' data"),
            ("bad name DOE^JOHN here", "bad name … here"),
            ("never closed \"Doe John", "never closed \"…\""),
            ("'projects/x Doe' 'https://h/?PatientName=Doe'", "'…' '…'"),
            ("„ä“ 'ß' \u{fffd}'", "„ä“ '…' \u{fffd}'…'"),
            ("", ""),
        ] {
            assert_eq!(without_values(words), expected);
        }
    }
}
