//! Searching a text for secrets, in the forms in which they leak.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// A shorter text would be found by accident, or not be worth hiding.
const SHORTEST: usize = 8;

/// Says where `text` holds one of `secrets`: as it is, JSON-escaped, percent-encoded, or in base64 (also as a part
/// of a longer encoded text, as in HTTP's Basic authentication). Of a secret with several lines, such as a private
/// key, each line counts.
///
/// The answer holds no more of the secret than its first four characters.
///
/// # Panics
/// If a secret is shorter than 8 bytes: such a search would prove nothing.
pub fn find_secret(text: &str, secrets: &[String]) -> Option<String> {
    for (number, secret) in secrets.iter().enumerate() {
        assert!(secret.trim().len() >= SHORTEST, "secret number {number} is too short to be searched for");
        for (form, needle) in forms(secret) {
            if let Some(at) = text.find(&needle) {
                let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
                let start: String = secret.chars().take(4).collect();
                return Some(format!(
                    "secret number {number} ({start}…, {} bytes) is in line {line}, {form}",
                    secret.len()
                ));
            }
        }
    }
    None
}

/// Fails the test if `text` holds one of `secrets`, in any form that [`find_secret`] knows.
///
/// # Panics
/// If one is found, saying which and where.
#[track_caller]
pub fn assert_no_secret(text: &str, secrets: &[String]) {
    if let Some(found) = find_secret(text, secrets) {
        #[expect(clippy::panic, reason = "this is an assertion")]
        {
            panic!("{found}");
        }
    }
}

fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let lines =
        secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST && !line.starts_with("-----"));
    let mut forms = Vec::new();
    for line in lines {
        let json = serde_json::Value::from(line).to_string();
        forms.push(("as it is", line.to_owned()));
        forms.push(("JSON-escaped", json.trim_matches('"').to_owned()));
        forms.push(("percent-encoded", percent_encoded(line, |byte| format!("%{byte:02X}"))));
        forms.push(("percent-encoded", percent_encoded(line, |byte| format!("%{byte:02x}"))));
        for offset in 0..3 {
            let bytes = [vec![0; offset].as_slice(), line.as_bytes()].concat();
            forms.push(("in base64", inner_base64(&STANDARD_NO_PAD.encode(&bytes), offset, bytes.len())));
            forms.push(("in base64url", inner_base64(&URL_SAFE_NO_PAD.encode(&bytes), offset, bytes.len())));
        }
    }
    forms
}

/// The characters that depend on the secret alone: not on the `offset` bytes before it, nor on what follows it.
fn inner_base64(encoded: &str, offset: usize, bytes: usize) -> String {
    let first = (offset * 8).div_ceil(6);
    let end = bytes * 8 / 6;
    encoded.get(first..end).unwrap_or_default().to_owned()
}

fn percent_encoded(text: &str, escape: fn(u8) -> String) -> String {
    text.bytes()
        .map(|byte| match byte {
            // RFC 3986, section 2.3: the unreserved characters.
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => escape(byte),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const SECRET: &str = "ya29.a0/AfH+6SM=\"quoted\"";

    #[test]
    fn every_form_is_found_and_the_secret_not_repeated() {
        let secrets = vec!["another secret".to_owned(), SECRET.to_owned()];
        let leaks = [
            SECRET.to_owned(),
            serde_json::json!({ "token": SECRET }).to_string(),
            "ya29.a0%2FAfH%2B6SM%3D%22quoted%22".to_owned(),
            "ya29.a0%2fAfH%2b6SM%3d%22quoted%22".to_owned(),
            STANDARD.encode(SECRET),
            STANDARD.encode(format!("u:{SECRET}:v")),
            STANDARD.encode(format!("user:{SECRET}:v")),
            URL_SAFE_NO_PAD.encode(format!("x{SECRET}tail")),
        ];
        for leak in leaks {
            let found = find_secret(&format!("one\ntwo {leak} two\n"), &secrets).expect(&leak);
            assert!(found.contains("number 1 (ya29…") && found.contains("line 2"), "{found}");
            assert!(!found.contains("a0"), "{found}");
        }
    }

    #[test]
    fn a_line_of_a_key_is_enough() {
        let key = "-----BEGIN X-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQC7VJTU\n-----END X-----\n";
        assert!(find_secret("... AASCBKcwggSjAgEAAoIBAQC7VJTU ...", &[key.to_owned()]).is_some());
    }

    #[test]
    fn an_innocent_text_passes() {
        assert_no_secret("Bearer (struck out), ya29.", &[SECRET.to_owned()]);
    }

    #[test]
    #[should_panic(expected = "line 1")]
    fn a_secret_fails_the_test() {
        assert_no_secret(SECRET, &[SECRET.to_owned()]);
    }

    #[test]
    #[should_panic(expected = "too short")]
    fn a_short_secret_proves_nothing() {
        assert_no_secret("text", &["abc".to_owned()]);
    }
}
