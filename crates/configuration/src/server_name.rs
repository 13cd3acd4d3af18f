//! Which names an account may have: its name is that of a DICOMweb server, which is a segment of Orthanc's paths.

use crate::section::Section;

/// Whether `{DicomWeb.Root}servers/{name}` can be a route of the DICOMweb plugin.
pub(super) fn check(name: &str, section: &mut Section<'_, '_>) -> bool {
    let mistake = mistake(name);
    if let Some(mistake) = &mistake {
        section.whole_error(&format!(
            "cannot be the name of a DICOMweb server, because {mistake}; use letters, digits, `-` and `_`"
        ));
    }
    mistake.is_none()
}

fn mistake(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("it is empty"),
        _ if name.chars().all(|c| c == '.') => Some("Orthanc drops dots that stand alone from paths"),
        _ if name.contains('/') => Some("`/` separates the segments of a path"),
        _ if name.contains('\\') => Some("Orthanc drops `\\` from paths"),
        _ if name.contains(char::is_control) => Some("it holds a control character"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a real Orthanc makes of these names is tried in the plugin's tests.
    #[test]
    fn only_what_orthanc_cannot_route_is_rejected() {
        for name in
            ["", ".", "..", "...", "a/b", "/", "a\\b", "\\", "a\tb", "a\u{7f}", "a\u{85}b", "a\nb", "\0"]
        {
            assert!(mistake(name).is_some(), "{name:?}");
        }
        for name in
            [" a", "a b", "..a", "a..", ".a", "%2e%2e", "a?b", "a#b", "a;b", "a%5Cb", "\u{dc}bersee", "*"]
        {
            assert_eq!(mistake(name), None, "{name:?}");
        }
    }
}
