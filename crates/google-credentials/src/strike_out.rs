//! Text from outside, made fit for a log: no secret, one line, bounded.

use serde_json::Value;

/// The longest text quoted from an answer, in characters: enough for Google's sentences and a portal's title.
const LONGEST_QUOTE: usize = 300;
/// A run of this many characters of a token's alphabet is taken for a secret where nothing tells what it is.
const SUSPICIOUS_RUN: usize = 20;
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

/// Quotes a body of unknown nature (HTML, truncated JSON): whatever looks like a token is struck out.
pub(crate) fn strike_out(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let one_word = !text.trim().contains(|c: char| c.is_whitespace() || c == '<');
    if one_word && text.chars().count() >= SUSPICIOUS_RUN && !text.starts_with("http") {
        return "[struck out]".to_owned();
    }
    let mut quoted = String::new();
    let mut run = String::new();
    let end = |run: &mut String, quoted: &mut String| {
        if run.chars().count() < SUSPICIOUS_RUN {
            quoted.push_str(run);
        } else {
            quoted.push_str("[struck out]");
        }
        run.clear();
    };
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || "-._~+=%\\".contains(character) {
            run.push(character);
            continue;
        }
        end(&mut run, &mut quoted);
        quoted.push(if character.is_control() { ' ' } else { character });
        if quoted.chars().count() > LONGEST_QUOTE {
            break;
        }
    }
    end(&mut run, &mut quoted);
    if quoted.chars().count() > LONGEST_QUOTE {
        quoted = quoted.chars().take(LONGEST_QUOTE).collect();
        quoted.push('…');
    }
    quoted
}

/// Quotes a server's sentence: on one line, bounded.
pub(crate) fn one_line(sentence: &str) -> String {
    let mut line: String =
        sentence.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    if let Some((end, _)) = line.char_indices().nth(2 * LONGEST_QUOTE) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// Quotes an answer for `HttpVerbose`: of JSON, the members known to be harmless; of anything else, as [`strike_out`].
pub(crate) fn strike_out_answer(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(mut members)) => {
            for (name, value) in &mut members {
                if !HARMLESS_MEMBERS.contains(&name.as_str()) {
                    *value = Value::from("[struck out]");
                }
            }
            Value::Object(members).to_string()
        }
        _ => strike_out(body),
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
            assert!(!strike_out_answer(body.as_bytes()).contains("TOKEN"), "{body}");
        }
        let whole = format!(r#"{{"access_token":"{token}","id_token":"x.y","expires_in":3599}}"#);
        let shown = strike_out_answer(whole.as_bytes());
        assert!(shown.contains("3599") && !shown.contains("TOKEN") && !shown.contains("x.y"), "{shown}");
    }

    #[test]
    fn sentences_pass() {
        assert_eq!(strike_out(b"<h1>502 Bad\r\nGateway</h1>"), "<h1>502 Bad  Gateway</h1>");
    }
}
