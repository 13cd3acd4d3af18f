//! Media types and their parameters, in `Content-Type` and `Accept` (RFC 9110 sections 8.3 and 12.5.1).

use axum::http::{HeaderMap, header};

/// A media type with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaType {
    /// `application/dicom`, in lower case.
    pub(crate) essence: String,
    /// Names in lower case, values without their quotation marks.
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// The parameter called `name` (lower case).
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Reads one media type.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut pieces = split_outside_quotes(text, ';').into_iter();
        let essence = pieces.next()?.trim().to_ascii_lowercase();
        essence.split_once('/').filter(|(kind, sub)| !kind.is_empty() && !sub.is_empty())?;
        let parameter = |piece: &str| {
            let (name, value) = piece.split_once('=')?;
            let value = value.trim();
            let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
            Some((name.trim().to_ascii_lowercase(), value.replace("\\\"", "\"")))
        };
        let parameters =
            pieces.filter(|piece| !piece.trim().is_empty()).map(parameter).collect::<Option<_>>()?;
        Some(Self { essence, parameters })
    }

    /// Whether this range covers the media type `essence`.
    pub(crate) fn covers(&self, essence: &str) -> bool {
        let whole_kind = self.essence.strip_suffix("/*").and_then(|kind| essence.strip_prefix(kind));
        self.essence == essence
            || self.essence == "*/*"
            || whole_kind.is_some_and(|rest| rest.starts_with('/'))
    }
}

/// The request's `Content-Type`.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<MediaType> {
    MediaType::parse(headers.get(header::CONTENT_TYPE)?.to_str().ok()?)
}

/// What the client accepts, the most wanted first; `*/*` when it does not say.
pub(crate) fn accepted(headers: &HeaderMap) -> Vec<MediaType> {
    let lists = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges: Vec<MediaType> =
        lists.flat_map(|list| split_outside_quotes(list, ',')).filter_map(MediaType::parse).collect();
    if ranges.is_empty() && !headers.contains_key(header::ACCEPT) {
        ranges.extend(MediaType::parse("*/*"));
    }
    let quality = |range: &MediaType| range.parameter("q").map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0));
    ranges.retain(|range| quality(range) > 0.0);
    ranges.sort_by(|a, b| quality(b).total_cmp(&quality(a)));
    ranges
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(|character| {
        quoted ^= character == '"';
        character == separator && !quoted
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_may_be_quoted_and_hold_separators() {
        let parsed =
            MediaType::parse("Multipart/Related; type=\"application/dicom\"; boundary=\"a;b,c\"").unwrap();
        assert_eq!(parsed.essence, "multipart/related");
        assert_eq!(parsed.parameter("type"), Some("application/dicom"));
        assert_eq!(parsed.parameter("boundary"), Some("a;b,c"));
        assert_eq!(MediaType::parse("dicom"), None);
    }

    #[test]
    fn the_most_wanted_comes_first() {
        let mut headers = HeaderMap::new();
        assert_eq!(accepted(&headers)[0].essence, "*/*");
        headers.insert(header::ACCEPT, "text/html;q=0, image/*;q=0.5, application/json".parse().unwrap());
        let names: Vec<String> = accepted(&headers).into_iter().map(|range| range.essence).collect();
        assert_eq!(names, ["application/json", "image/*"]);
        assert!(MediaType::parse("image/*").unwrap().covers("image/png"));
        assert!(!MediaType::parse("image/*").unwrap().covers("imagex/png"));
    }
}
