//! What the number of a failure means, where the store says no more.

use super::instance::Outcome;
use crate::words;

/// Why an instance failed, in words: the store's, or ours, or what the number means.
pub(super) fn in_words(reason: u16, detail: &str) -> String {
    if detail.trim().is_empty() { named(reason) } else { detail.to_owned() }
}

/// The same for people who are not the client: the number with its meaning, and what can hold no value of a patient's.
pub(super) fn in_report(reason: u16, detail: &str) -> String {
    let (named, detail) = (named(reason), words::without_values(detail));
    if detail.is_empty() { named } else { format!("{named}: {detail}") }
}

/// `failure reason 0xA900 (data set does not match SOP class)`
pub(super) fn named(reason: u16) -> String {
    let meaning = meaning(reason).unwrap_or("neither PS3.18 nor PS3.7 says what it means");
    format!("failure reason 0x{reason:04X} ({meaning})")
}

/// The numbers of outcomes for the log, each once: those that say more than that processing failed, and those that stand alone.
pub(super) fn numbers(outcomes: &[Outcome]) -> Vec<String> {
    let mut reasons: Vec<u16> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Failed { reason, detail } => Some((*reason, detail.trim().is_empty())),
            Outcome::Stored { .. } => None,
        })
        .filter(|(reason, stands_alone)| *stands_alone || *reason != super::instance::PROCESSING_FAILURE)
        .map(|(reason, _)| reason)
        .collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons.into_iter().take(MOST).map(named).collect()
}

/// How many different numbers the log has of one upload.
const MOST: usize = 20;

/// PS3.18 table 10.5.3-2 with PS3.4 table B.2-1, else PS3.7 annex C.
fn meaning(reason: u16) -> Option<&'static str> {
    Some(match reason {
        0x0105 => "no such attribute",
        0x0106 => "invalid attribute value",
        0x0107 => "attribute list error",
        0x0110 => "processing failure",
        0x0111 => "duplicate SOP instance",
        0x0112 => "no such SOP instance",
        0x0116 => "attribute value out of range",
        0x0117 => "invalid SOP instance",
        0x0118 => "no such SOP class",
        0x0119 => "class-instance conflict",
        0x0120 => "missing attribute",
        0x0121 => "missing attribute value",
        0x0122 => "SOP class not supported",
        0x0124 => "not authorized",
        0x0213 => "resource limitation",
        0xA700..=0xA7FF => "out of resources",
        0xA900..=0xA9FF => "data set does not match SOP class",
        0xC122 => "transfer syntax not supported",
        0xC000..=0xCFFF => "cannot understand",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_alone_is_named_and_words_stay_as_they_are() {
        for (reason, detail, expected) in [
            (0xA900, "", "failure reason 0xA900 (data set does not match SOP class)"),
            (0xA9FF, " \n", "failure reason 0xA9FF (data set does not match SOP class)"),
            (0xA701, "", "failure reason 0xA701 (out of resources)"),
            (0xC122, "", "failure reason 0xC122 (transfer syntax not supported)"),
            (0xC321, "", "failure reason 0xC321 (cannot understand)"),
            (0x0110, "", "failure reason 0x0110 (processing failure)"),
            (0x7777, "", "failure reason 0x7777 (neither PS3.18 nor PS3.7 says what it means)"),
            (0x0110, "not today", "not today"),
        ] {
            assert_eq!(in_words(reason, detail), expected);
        }
        let of_report = in_report(0x0110, "patient John Doe exists");
        assert_eq!(of_report, "failure reason 0x0110 (processing failure): patient … exists");
        // Their meaning is not taken for a value, should they be told once more.
        for reason in (0x0100..=0x0220).chain([0xA700, 0xA900, 0xC000, 0xC122]) {
            assert_eq!(words::without_values(&named(reason)), named(reason));
        }
        let failed = |reason, detail: &str| Outcome::Failed { reason, detail: detail.to_owned() };
        let outcomes = [failed(0x110, "words"), failed(0xA900, "words"), failed(0xA900, ""), Outcome::STORED];
        assert_eq!(numbers(&outcomes), ["failure reason 0xA900 (data set does not match SOP class)"]);
        assert_eq!(numbers(&[failed(0x110, "")]), ["failure reason 0x0110 (processing failure)"]);
    }
}
