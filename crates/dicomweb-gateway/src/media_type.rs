//! Media types with parameters, as in `Content-Type` and `Accept` (RFC 9110 sections 8.3.1 and 12.5.1).

/// A media type or range with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaType {
    /// `application/dicom`, in lower case.
    pub(crate) essence: String,
    /// Names in lower case, values without their quotation marks.
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Reads one media type. Parameters without a value are passed over; the first of a name counts.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut pieces = split(text, ';').into_iter();
        let essence = pieces.next()?.trim().to_ascii_lowercase();
        essence.split_once('/').filter(|(kind, sub)| !kind.is_empty() && !sub.is_empty())?;
        let parameter = |piece: &str| {
            let (name, value) = piece.split_once('=')?;
            Some((name.trim().to_ascii_lowercase(), unquoted(value.trim())))
        };
        Some(Self { essence, parameters: pieces.filter_map(parameter).collect() })
    }

    /// Reads a list of them; what is none is passed over.
    pub(crate) fn parse_list(text: &str) -> Vec<Self> {
        split(text, ',').into_iter().filter_map(Self::parse).collect()
    }

    /// The parameter called `name` (lower case).
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A quoted string's content (RFC 9110 section 5.6.4), or the text itself.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut escaped = false;
    let content = |character: &char| {
        escaped = *character == '\\' && !escaped;
        !escaped
    };
    inner.chars().filter(content).collect()
}

/// Splits where `separator` is not within a quoted string.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|character| {
        let was_escaped = std::mem::take(&mut escaped);
        match character {
            '\\' if quoted => escaped = !was_escaped,
            '"' if !was_escaped => quoted = !quoted,
            _ => {}
        }
        character == separator && !quoted
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_quoted_or_not_and_may_hold_separators() {
        let parsed = MediaType::parse(
            r#" Multipart/Related ;TYPE = "application/dicom"; x ; Boundary="a;b,\"c\\"; charset=utf-8;type=second"#,
        )
        .unwrap();
        assert_eq!(parsed.essence, "multipart/related");
        assert_eq!(parsed.parameter("type"), Some("application/dicom"));
        assert_eq!(parsed.parameter("boundary"), Some(r#"a;b,"c\"#));
        assert_eq!(parsed.parameter("charset"), Some("utf-8"));
        assert_eq!(parsed.parameter("x"), None);
    }

    #[test]
    fn lists_are_split_outside_of_quotes() {
        let essences: Vec<String> = MediaType::parse_list(r#"a/b;c="d,e", ,nonsense,*/*;q=0.5,"#)
            .into_iter()
            .map(|parsed| parsed.essence)
            .collect();
        assert_eq!(essences, ["a/b", "*/*"]);
        assert_eq!(MediaType::parse("/dicom"), None);
        assert_eq!(MediaType::parse(""), None);
    }
}
