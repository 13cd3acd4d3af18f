//! Text from outside, made fit for a log: no secret, one line, bounded.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::{Secret, quoted::is_token};

/// The longest text quoted from an answer, in characters: enough for Google's sentences and a portal's title.
const LONGEST_QUOTE: usize = 300;
/// The longest sentence of a failure, in characters: room for several quotes and paths.
const LONGEST_SENTENCE: usize = 1500;
/// A run of this many characters of a token's alphabet is taken for a secret where nothing tells what it is.
const SUSPICIOUS_RUN: usize = 20;
/// In a sentence, a run this long is no word, and either a name or a token.
const SUSPICIOUS_WORD: usize = 72;
/// A shorter secret would strike out half of every sentence; Google's are at least three times as long.
const SHORTEST_SECRET: usize = 8;
/// The members of a token answer or error answer that hold no secret (RFC 6749 sections 5.1 and 5.2, and Google's).
const HARMLESS_MEMBERS: [&str; 12] = [
    "code",
    "details",
    "error",
    "error_description",
    "error_subtype",
    "error_uri",
    "errors",
    "expires_in",
    "message",
    "scope",
    "status",
    "token_type",
];

/// What a request held in secret, so that an answer which repeats it can be quoted without.
#[derive(Debug, Clone, Default)]
pub struct Sent(Vec<Secret>);

impl Sent {
    /// Remembers them; what is too short to be one is left out.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self(secrets.into_iter().filter(|secret| secret.expose().len() >= SHORTEST_SECRET).collect())
    }

    /// The text without the secrets, in whichever form an answer may repeat them: as they are, percent-encoded (with
    /// either case of the digits), or as JSON with its slashes escaped.
    pub(crate) fn strike(&self, text: &str) -> String {
        let mut struck = text.to_owned();
        for secret in &self.0 {
            let secret = secret.expose();
            let encoded = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
            let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            for form in [
                secret.to_owned(),
                lower_digits(&encoded),
                lower_digits(&form),
                encoded,
                form,
                secret.replace('/', "\\/"),
            ] {
                if struck.contains(&form) {
                    struck = struck.replace(&form, "[struck out]");
                }
            }
        }
        struck
    }
}

/// Percent-encoding with lower-case digits.
fn lower_digits(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        lower = format!("{lower}%{}{rest}", digits.to_ascii_lowercase());
    }
    lower
}

/// Quotes a body of unknown nature (HTML, truncated JSON): whatever looks like a token is struck out.
pub(crate) fn strike_out(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    // Base64 has slashes in it, so that its runs are short; but it is one word.
    let one_word = !text.starts_with(['{', '[', '<', '"'])
        && !text.starts_with("http")
        && !text.contains(char::is_whitespace);
    if one_word && text.chars().count() >= SUSPICIOUS_RUN {
        return "[struck out]".to_owned();
    }
    bounded(&without_runs(text, |run| run.chars().count() >= SUSPICIOUS_RUN), LONGEST_QUOTE)
}

/// A long run that letters and digits mix in as in no name. Names of stores and files have up to 255 characters, and whoever
/// compares one with a message has to find it there.
fn is_suspicious_word(run: &str) -> bool {
    run.chars().count() >= SUSPICIOUS_WORD && is_token(run)
}

/// The text on one line, with every run of a token's alphabet struck out that `is_secret` is true for.
fn without_runs(text: &str, is_secret: impl Fn(&str) -> bool) -> String {
    let mut quoted = String::new();
    let mut run = String::new();
    for character in text.chars().chain(['\n']) {
        if character.is_ascii_alphanumeric() || "-._~+=%\\".contains(character) {
            run.push(character);
            continue;
        }
        quoted.push_str(if is_secret(&run) { "[struck out]" } else { &run });
        run.clear();
        quoted.push(if character.is_control() { ' ' } else { character });
    }
    quoted.pop();
    quoted
}

fn bounded(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A sentence that quotes others: on one line, without what no word, path or address is, and bounded.
pub(crate) fn sentence(text: &str) -> String {
    bounded(&without_runs(text, is_suspicious_word), LONGEST_SENTENCE)
}

/// Quotes a server's sentence: on one line, bounded.
pub(crate) fn one_line(sentence: &str) -> String {
    bounded(&without_runs(sentence, is_suspicious_word), 2 * LONGEST_QUOTE)
}

/// Quotes an answer for `HttpVerbose`: of JSON, the members known to be harmless; of anything else, as [`strike_out`].
pub(crate) fn strike_out_answer(body: &[u8], sent: &Sent) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(mut members)) => {
            for (name, value) in &mut members {
                *value = match value {
                    Value::String(text) if HARMLESS_MEMBERS.contains(&name.as_str()) => {
                        Value::from(one_line(&sent.strike(text)))
                    }
                    Value::Number(_) | Value::Bool(_) | Value::Null => continue,
                    Value::Object(_) | Value::Array(_) if HARMLESS_MEMBERS.contains(&name.as_str()) => {
                        Value::from(one_line(&sent.strike(&value.to_string())))
                    }
                    _ => Value::from("[struck out]"),
                };
            }
            sent.strike(&Value::Object(members).to_string())
        }
        _ => strike_out(sent.strike(&String::from_utf8_lossy(body)).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_do_not_pass() {
        let token = "ya29.c.c0AYnqXlgTOKEN_-TOKENabcdefghijklmnop";
        for body in [
            format!(r#"{{"access_token":"{token}","expires"#),
            format!("<p>{token}</p>"),
            token.to_owned(),
            // Base64 with its slashes is one word all the same.
            "TOKEN/TOKEN/TOKEN+TOKEN/TOKEN==".to_owned(),
            format!("{}{token}", "<b>".repeat(200)),
        ] {
            assert!(!strike_out(body.as_bytes()).contains("TOKEN"), "{body}");
            assert!(!strike_out_answer(body.as_bytes(), &Sent::default()).contains("TOKEN"), "{body}");
        }
        let whole = format!(r#"{{"access_token":"{token}","id_token":"x.y","expires_in":3599}}"#);
        let shown = strike_out_answer(whole.as_bytes(), &Sent::default());
        assert!(shown.contains("3599") && !shown.contains("TOKEN") && !shown.contains("x.y"), "{shown}");
    }

    #[test]
    fn sentences_pass() {
        assert_eq!(strike_out(b"<h1>502 Bad\r\nGateway</h1>"), "<h1>502 Bad  Gateway</h1>");
    }

    #[test]
    fn what_was_sent_is_struck_out_in_every_form() {
        let secret = "1//0zXG+hush_hush";
        let sent = Sent::new([Secret::new(secret)]);
        for echo in [
            secret.to_owned(),
            "1%2F%2F0zXG%2Bhush_hush".to_owned(),
            "1%2f%2f0zXG%2bhush_hush".to_owned(),
            "1%2F%2F0zXG%2Bhush%5Fhush".to_owned(),
            "1\\/\\/0zXG+hush_hush".to_owned(),
        ] {
            assert_eq!(
                sent.strike(&format!("unknown token {echo}.")),
                "unknown token [struck out].",
                "{echo}"
            );
        }
    }

    #[test]
    fn words_of_google_pass_and_tokens_do_not() {
        let words = "Permission 'iam.serviceAccounts.getAccessToken' denied for a-very-long-service-account-name@a-project-with-a-long-name1.iam.gserviceaccount.com, see https://console.developers.google.com/apis/api/iamcredentials.googleapis.com/overview?project=123";
        assert_eq!(one_line(words), words);
        for token in [
            format!("ya29.{}", "TOKEN-of-nobody".repeat(7)),
            "mZq83BnTOKENv71LpR0xQe9".repeat(5),
            format!("eyJhbGciOiJSUzI1NiJ9.{}", "TOKEN".repeat(20)),
        ] {
            for quoted in [one_line(&format!("no {token}")), sentence(&format!("no {token}"))] {
                assert_eq!(quoted, "no [struck out]");
            }
        }
    }

    #[test]
    fn long_names_of_stores_and_files_pass() {
        for name in [
            "s".repeat(79),
            format!("dicom-store-of-the-{}", "radiology-department-".repeat(6)),
            format!("STORE_{}", "2024.backup.".repeat(10)),
            format!("orthanc-{}.json", "key-of-the-hospital-".repeat(4)),
        ] {
            let text = format!("/etc/keys/{name}: https://h/v1/dicomStores/{name}/dicomWeb/ answered 404");
            assert_eq!(sentence(&text), text);
            assert_eq!(one_line(&text), text);
        }
    }
}
