//! How a value that a person wrote is shown in a message: whole where it is recognisably harmless, else described.
//!
//! Whatever is expected in a place (a path, a domain, an address), the secret itself may stand there by mistake. A private key
//! has line ends and slashes in it, so no search for token-like runs finds all of it: what is not known to be harmless is not
//! shown.

use std::path::Path;

/// Google's resource names have at most 256 characters, and so do the names of files.
const LONGEST: usize = 256;
/// The least number of letters and digits in a segment for its form to tell anything.
const SHORTEST_RANDOM: usize = 16;
/// Passwords are shorter, and mix more.
const SHORTEST_PASSWORD: usize = 8;
/// Google's key files, Kubernetes' objects and UUIDs have hexadecimal numbers of up to so many digits in their names.
const LONGEST_NUMBER: usize = 12;
/// What names, paths and addresses are made of, besides letters and digits.
const PUNCTUATION: &str = " -._/:@+,~%()[]\\";

/// Beginnings and parts of what is a credential, with what it is.
const CREDENTIALS: [(&str, &str); 13] = [
    ("-----BEGIN", "a key"),
    ("private_key", "the JSON of a credential"),
    ("refresh_token", "the JSON of a credential"),
    ("client_secret", "the JSON of a credential"),
    ("ya29.", "an access token"),
    ("GOCSPX-", "a client secret"),
    ("LS0tLS1CRUdJTi", "a key in base64"),
    ("eyJ0eXBl", "a credential in base64"),
    ("ewogICJ0eXBl", "a credential in base64"),
    ("ewogICAgInR5cGU", "a credential in base64"),
    ("eyJ", "a signed token"),
    ("AIza", "an API key"),
    ("sk-", "an API key"),
];

/// A value from the configuration, the environment or a file, as a message shows it: in backquotes, or, where it may be a
/// secret, as a description of it.
pub fn quoted(text: &str) -> String {
    if is_harmless(text) { format!("`{text}`") } else { described(text) }
}

/// A path as a message shows it. What lies in the file system is a path; of what does not, only what looks like one is shown.
pub fn shown_path(path: &Path) -> String {
    let text = path.display().to_string();
    let is_there = path.symlink_metadata().is_ok();
    let missing = path.ancestors().skip(1).find(|folder| folder.is_dir());
    let missing = missing.and_then(|folder| path.strip_prefix(folder).ok()).unwrap_or(path);
    if is_there || is_harmless(&missing.display().to_string()) {
        text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
    } else {
        described(&text)
    }
}

/// What kind of credential `text` is, where it can be recognised.
pub(crate) fn credential_in(text: &str) -> Option<&'static str> {
    let text =
        text.trim_start_matches(|letter: char| letter.is_whitespace() || "\"'\u{feff}".contains(letter));
    if text.starts_with('{') {
        return Some("the JSON of a credential");
    }
    if text.starts_with("1//") {
        return Some("a refresh token");
    }
    let starts_so = |mark: &str| match mark {
        "eyJ" | "AIza" | "sk-" => text.starts_with(mark),
        _ => text.contains(mark),
    };
    CREDENTIALS.iter().find(|(mark, _)| starts_so(mark)).map(|(_, what)| *what)
}

fn described(text: &str) -> String {
    match credential_in(text) {
        Some(what) => format!("[not shown: {what}]"),
        None => format!("[not shown: {} characters]", text.chars().count()),
    }
}

/// Whether a value is recognisably a name, a path or an address.
pub(crate) fn is_harmless(text: &str) -> bool {
    let allowed = |letter: char| letter.is_alphanumeric() || PUNCTUATION.contains(letter);
    // A user and a password before a host.
    let has_password =
        text.rsplit_once('@').is_some_and(|(user, _)| user.rsplit('/').next().unwrap_or(user).contains(':'));
    text.chars().count() <= LONGEST
        && text.chars().all(allowed)
        && !has_password
        && credential_in(text).is_none()
        && !looks_random(text)
        && !text.split(['/', '\\']).any(looks_random)
}

/// Whether a long run of letters, digits and punctuation is a token rather than a long name.
pub(crate) fn is_token(run: &str) -> bool {
    credential_in(run).is_some() || looks_random(run)
}

/// Whether letters and digits alternate as they do in no name: in random base64 two of five characters and more are of another
/// kind than the one before. A capital may begin a word, and short hexadecimal numbers tell files and machines apart.
fn looks_random(segment: &str) -> bool {
    let (mut count, mut changes) = (0, 0);
    for run in segment.split(|letter: char| !letter.is_alphanumeric()) {
        let is_number =
            run.len() <= LONGEST_NUMBER && run.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        if !is_number {
            count += run.chars().count();
            changes += changes_of_kind(run);
        }
    }
    count >= 2 * SHORTEST_RANDOM && changes * 5 > count
        || count >= SHORTEST_RANDOM && changes * 4 > count
        || count >= SHORTEST_PASSWORD && changes * 2 >= count
}

fn changes_of_kind(run: &str) -> usize {
    const UPPER: u8 = 1;
    const LOWER: u8 = 2;
    let kinds = run.chars().map(|letter| match letter {
        '0'..='9' => 0,
        _ if letter.is_uppercase() => UPPER,
        _ => LOWER,
    });
    let (mut changes, mut before, mut last) = (0, None, None);
    for kind in kinds {
        let begins_a_word = last == Some(UPPER) && kind == LOWER && before != Some(UPPER);
        changes += usize::from(last.is_some_and(|last| last != kind) && !begins_a_word);
        (before, last) = (last, Some(kind));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_paths_and_domains_are_shown() {
        let store = "a-store-of-".repeat(7);
        for text in [
            "nonsense",
            "x/y",
            "ftp://x/",
            "127.0.0.1:18443/token",
            "apis-berlin.example",
            "https://healthcare.googleapis.com/v1beta1/",
            "orthanc@my-project-123456.iam.gserviceaccount.com",
            "/var/lib/orthanc/my-project-123456-8a1f3c9b2d4e.json",
            "GoogleCloudPlatformOfTheHospital",
            "the ward's bill".trim_end_matches("'s bill"),
            "Hôpital, Röntgen (2)",
            store.as_str(),
        ] {
            assert_eq!(quoted(text), format!("`{text}`"));
        }
    }

    #[test]
    fn secrets_are_described() {
        for (text, shown) in [
            ("{\"type\": \"service_account\", \"private_key\": \"x\"}", "the JSON of a credential"),
            ("\n  {\"a\": 1}", "the JSON of a credential"),
            ("-----BEGIN PRIVATE KEY-----\nMIIE", "a key"),
            ("1//0gXyZ-refresh", "a refresh token"),
            ("Bearer ya29.a0AfB_x", "an access token"),
            ("GOCSPX-abc", "a client secret"),
            ("eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "a signed token"),
            ("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ", "50 characters"),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "40 characters"),
            ("0123456789abcdef0a1b2c3d4e5f6a7b8c9d0e1f", "40 characters"),
            ("k3y5w0rd", "8 characters"),
            ("bob:hunter@host", "15 characters"),
            ("correct \"horse\"", "15 characters"),
        ] {
            assert_eq!(quoted(text), format!("[not shown: {shown}]"));
            assert_eq!(shown_path(Path::new(text)), format!("[not shown: {shown}]"));
        }
        assert_eq!(quoted(&"a".repeat(257)), "[not shown: 257 characters]");
    }

    #[test]
    fn paths_that_exist_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("k3y5w0rd8a1f3c9b2d4e0f");
        std::fs::write(&there, "").unwrap();
        assert_eq!(shown_path(&there), there.display().to_string());
        let missing = folder.path().join("missing.json");
        assert_eq!(shown_path(&missing), missing.display().to_string());
        let secret = folder.path().join("wJalrXUtnFEMI8K7MDENGbPxRfiCYEXAMPLEKEY");
        assert!(shown_path(&secret).starts_with("[not shown: "));
    }
}
