//! The universe: Google's word for one of its clouds, named by its domain.

/// The domain of Google's own cloud; the sovereign ones have others.
pub const DEFAULT_UNIVERSE_DOMAIN: &str = "googleapis.com";
/// The variable of the environment that names another, as Google's libraries have it.
pub const UNIVERSE_DOMAIN_VARIABLE: &str = "GOOGLE_CLOUD_UNIVERSE_DOMAIN";

/// Reads a domain; `None` where `text` is none: labels of letters, digits and hyphens (RFC 1123 section 2.1), two or more, and
/// nothing else. A port, a user or a path in it would lead elsewhere.
pub fn universe_domain(text: &str) -> Option<String> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_domain = text.len() <= 200
        && text.split('.').all(is_label)
        && text.rsplit_once('.').is_some_and(|(_, last)| last.bytes().any(|byte| byte.is_ascii_alphabetic()));
    is_domain.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_domain_and_nothing_more() {
        assert_eq!(universe_domain("Apis-Berlin.example").as_deref(), Some("apis-berlin.example"));
        for wrong in [
            "",
            "localhost",
            ".example",
            "example.",
            "a..example",
            "-a.example",
            "a-.example",
            "a_b.example",
            "a.example:443",
            "x@127.0.0.1:18443/attacker?",
            "bob@a.example",
            "a.example/",
            "a.example?",
            "a.example#",
            "a example.com",
            "a.example\n",
            "127.0.0.1",
            "[::1].example",
            "bücher.example",
            "a%2e.example",
        ] {
            assert_eq!(universe_domain(wrong), None, "{wrong}");
        }
    }
}
