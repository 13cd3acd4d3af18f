//! What a client accepts (RFC 9110 section 12.5.1; PS3.18 sections 8.7.4 and 8.7.5), as far as it decides what is done.

use http::{HeaderMap, HeaderValue, header};
use percent_encoding::percent_decode_str;

use crate::media_type::MediaType;

/// How the instances of a study or series are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retrieval {
    /// As `multipart/related; type="application/dicom"`.
    Instances(TransferSyntaxes),
    /// As something else, or together with something that is wanted no less: not to be taken apart.
    Other,
}

/// The parameters `transfer-syntax` of what is accepted, the most wanted first; `None` where there is no such parameter, which
/// means Explicit VR Little Endian (PS3.18 section 8.7.3.5.2), `*` whatever is stored. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferSyntaxes(Vec<Option<String>>);

/// The representation of a STOW-RS response (PS3.18 section 10.5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFormat {
    /// `application/dicom+json`
    Json,
    /// `application/dicom+xml`
    Xml,
}

impl TransferSyntaxes {
    /// The parameters as they came, the most wanted first.
    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter().map(Option::as_deref)
    }

    /// Whether nothing needs to be transcoded: `*` is among them.
    pub fn any(&self) -> bool {
        self.iter().any(|syntax| syntax == Some("*"))
    }

    /// `Accept` for a study, a series, or an instance as the one part of a multipart body.
    pub fn accept_multipart(&self) -> HeaderValue {
        self.accept("multipart/related; type=\"application/dicom\"")
    }

    /// `Accept` for a single instance as the body itself.
    pub fn accept_single(&self) -> HeaderValue {
        self.accept("application/dicom")
    }

    fn accept(&self, media_type: &'static str) -> HeaderValue {
        let range = |syntax: Option<&str>| match syntax {
            Some(syntax) => format!("{media_type}; transfer-syntax={syntax}"),
            None => media_type.to_owned(),
        };
        // The parameters were checked when they were read: the conversion cannot fail.
        HeaderValue::try_from(self.iter().map(range).collect::<Vec<_>>().join(", "))
            .unwrap_or_else(|_| HeaderValue::from_static(media_type))
    }
}

/// Lets the query parameter `accept` (PS3.18 section 8.3.3.1) take the place of the `Accept` fields, for clients that cannot
/// choose these. It is taken out of the target, since Google takes it for an attribute that is searched for.
pub(crate) fn move_from_query(target: &mut String, headers: &mut HeaderMap) {
    let Some((path, query)) = target.split_once('?') else { return };
    let is_accept = |parameter: &&str| parameter.starts_with("accept=");
    let ranges: Vec<_> = query
        .split('&')
        .filter(is_accept)
        .filter_map(|parameter| parameter.strip_prefix("accept="))
        .map(|value| percent_decode_str(value).decode_utf8_lossy())
        .collect();
    // A plus is one, as in `application/dicom+json`, but where some would write a space.
    let accepted = ranges.join(", ").replace(";+", "; ").replace(",+", ", ");
    if ranges.is_empty() {
        return;
    }
    let Ok(accepted) = HeaderValue::try_from(accepted) else { return };
    headers.insert(header::ACCEPT, accepted);
    let rest: Vec<&str> = query.split('&').filter(|parameter| !is_accept(parameter)).collect();
    *target = if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) };
}

/// What a `GET` of a study or series wants by its `Accept` fields. Without one, or where everything is accepted, that is the
/// default: instances in Explicit VR Little Endian. Where the client's first choice is something else, it is not for us.
pub fn retrieval(headers: &HeaderMap) -> Retrieval {
    let ranges = ranges(headers);
    let mut syntaxes = Vec::new();
    for (rank, range) in ranges.iter().enumerate() {
        match Wanted::by(range) {
            Wanted::Instances(syntax) if !syntaxes.contains(&syntax) => syntaxes.push(syntax),
            Wanted::Other if rank == 0 => return Retrieval::Other,
            Wanted::Instances(_) | Wanted::Other => {}
        }
    }
    if syntaxes.is_empty() { Retrieval::Other } else { Retrieval::Instances(TransferSyntaxes(syntaxes)) }
}

/// In which transfer syntaxes a `GET` of one instance wants it as the body itself (`application/dicom`); `None` where it
/// wants something else first, or takes a multipart body as well.
pub fn single_instance(headers: &HeaderMap) -> Option<TransferSyntaxes> {
    let ranges = ranges(headers);
    let is_single = |range: &MediaType| range.essence == "application/dicom";
    let is_multipart =
        |range: &MediaType| matches!(range.essence.as_str(), "*/*" | "multipart/related" | "multipart/*");
    if !ranges.first().is_some_and(is_single) || ranges.iter().any(is_multipart) {
        return None;
    }
    let mut syntaxes = Vec::new();
    for range in ranges.iter().filter(|range| is_single(range)) {
        let syntax = range.parameter("transfer-syntax");
        // Of a transfer syntax that is none, only the store can say what it is.
        if syntax.is_some_and(|syntax| !is_transfer_syntax(syntax)) {
            return None;
        }
        let syntax = syntax.map(str::to_owned);
        if !syntaxes.contains(&syntax) {
            syntaxes.push(syntax);
        }
    }
    Some(TransferSyntaxes(syntaxes))
}

/// In which format a STOW-RS response is wanted. Google's default is XML, also for `*/*` and for what there is not.
pub fn stow_answer_format(headers: &HeaderMap) -> AnswerFormat {
    let format = |range: &MediaType| match range.essence.as_str() {
        "application/dicom+json" | "application/json" => Some(AnswerFormat::Json),
        "application/dicom+xml" | "application/xml" | "text/xml" | "application/*" | "*/*" => {
            Some(AnswerFormat::Xml)
        }
        _ => None,
    };
    ranges(headers).iter().find_map(format).unwrap_or(AnswerFormat::Xml)
}

/// What is accepted, the most wanted first; among equals in the client's order.
fn ranges(headers: &HeaderMap) -> Vec<MediaType> {
    let fields = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges: Vec<MediaType> = fields.flat_map(MediaType::parse_list).collect();
    if !headers.contains_key(header::ACCEPT) {
        ranges.extend(MediaType::parse("*/*"));
    }
    ranges.retain(|range| quality(range) > 0.0);
    ranges.sort_by(|a, b| quality(b).total_cmp(&quality(a)));
    ranges
}

fn quality(range: &MediaType) -> f32 {
    range.parameter("q").map_or(1.0, |q| q.parse().unwrap_or(0.0))
}

/// What one range stands for.
enum Wanted {
    /// DICOM instances in several parts, with the parameter `transfer-syntax`.
    Instances(Option<String>),
    Other,
}

impl Wanted {
    fn by(range: &MediaType) -> Self {
        let is_dicom =
            range.parameter("type").is_some_and(|root| root.eq_ignore_ascii_case("application/dicom"));
        match (range.essence.as_str(), range.parameter("transfer-syntax")) {
            ("*/*", _) => Self::Instances(None),
            ("multipart/related", None) if is_dicom => Self::Instances(None),
            ("multipart/related", Some(syntax)) if is_dicom && is_transfer_syntax(syntax) => {
                Self::Instances(Some(syntax.to_owned()))
            }
            // Of a transfer syntax that is none, only the store can say what it is.
            _ => Self::Other,
        }
    }
}

fn is_transfer_syntax(text: &str) -> bool {
    text == "*" || crate::dicom_identity::Uid::parse(text.as_bytes()).is_some_and(|uid| uid.as_str() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(fields: &[&str]) -> HeaderMap {
        fields.iter().map(|field| (header::ACCEPT, field.parse().unwrap())).collect()
    }

    fn check(fields: &[&str], expected: Option<&[Option<&str>]>) {
        let expected = expected.map_or(Retrieval::Other, |syntaxes| {
            let syntaxes = syntaxes.iter().map(|syntax| syntax.map(str::to_owned)).collect();
            Retrieval::Instances(TransferSyntaxes(syntaxes))
        });
        assert_eq!(retrieval(&accepting(fields)), expected, "{fields:?}");
    }

    #[test]
    fn what_clients_send_is_a_retrieval_of_instances() {
        // Orthanc's DICOMweb plugin since 1.1; dicomweb-client (Python) sends the same.
        check(&[r#"multipart/related; type="application/dicom"; transfer-syntax=*"#], Some(&[Some("*")]));
        // Orthanc with HasWadoRsUniversalTransferSyntax false, and curl without options.
        check(&[], Some(&[None]));
        check(&["*/*"], Some(&[None]));
        // dicomweb-client (JavaScript, OHIF).
        check(&[r#"multipart/related; type="application/dicom""#], Some(&[None]));
        // dcm4che.
        check(
            &["multipart/related;type=application/dicom;transfer-syntax=1.2.840.10008.1.2.4.50"],
            Some(&[Some("1.2.840.10008.1.2.4.50")]),
        );
    }

    #[test]
    fn several_transfer_syntaxes_keep_their_rank() {
        let one = r#"multipart/related; type="application/dicom"; transfer-syntax=1.2.1;q=0.5, multipart/related; type=application/dicom; transfer-syntax="1.2.2""#;
        check(
            &[one, "application/dicom+json;q=0.1", "*/*;q=0.2"],
            Some(&[Some("1.2.2"), Some("1.2.1"), None]),
        );
        let Retrieval::Instances(syntaxes) = retrieval(&accepting(&[one])) else { panic!() };
        assert_eq!(
            syntaxes.accept_multipart(),
            r#"multipart/related; type="application/dicom"; transfer-syntax=1.2.2, multipart/related; type="application/dicom"; transfer-syntax=1.2.1"#
        );
        assert_eq!(
            syntaxes.accept_single(),
            "application/dicom; transfer-syntax=1.2.2, application/dicom; transfer-syntax=1.2.1"
        );
        assert!(!syntaxes.any());
    }

    #[test]
    fn what_is_not_wanted_as_instances_is_not_ours() {
        for other in [
            "application/dicom; transfer-syntax=*",
            "application/zip",
            "application/dicom+json",
            "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*",
            "multipart/related; type=\"application/dicom+xml\"",
            "multipart/related",
            "multipart/*",
            "application/zip, multipart/related; type=\"application/dicom\"; q=0.9",
            "multipart/related; type=\"application/dicom\"; q=0",
            "multipart/related; type=\"application/dicom\"; transfer-syntax=\"1.2,3\"",
            "text/html,application/xml;q=0.9,*/*;q=0.8",
            "",
        ] {
            check(&[other], None);
        }
    }

    #[test]
    fn a_single_instance_is_wanted_as_the_body_itself() {
        let of = |field: &str| {
            let syntaxes = single_instance(&accepting(&[field]))?;
            Some(syntaxes.iter().map(|syntax| syntax.unwrap_or("").to_owned()).collect::<Vec<_>>().join(","))
        };
        for (field, expected) in [
            ("application/dicom; transfer-syntax=*", Some("*")),
            ("application/dicom", Some("")),
            (
                "application/dicom;transfer-syntax=1.2;q=0.5, application/dicom;transfer-syntax=1.3",
                Some("1.3,1.2"),
            ),
            ("application/dicom, application/dicom+json;q=0.2", Some("")),
            ("application/dicom;transfer-syntax=x", None),
            ("application/dicom, */*;q=0.1", None),
            ("multipart/related; type=\"application/dicom\"", None),
            ("application/dicom+json, application/dicom;q=0.1", None),
            ("application/dicom;q=0", None),
            ("", None),
        ] {
            assert_eq!(of(field).as_deref(), expected, "{field}");
        }
        assert_eq!(single_instance(&HeaderMap::new()), None);
    }

    #[test]
    fn stow_answers_are_xml_unless_json_is_wanted() {
        for (fields, expected) in [
            (&[][..], AnswerFormat::Xml),
            (&["*/*"], AnswerFormat::Xml),
            (&["text/html"], AnswerFormat::Xml),
            (&["application/dicom+json"], AnswerFormat::Json),
            (&["application/json, */*;q=0.1"], AnswerFormat::Json),
            (&["application/dicom+xml;q=0.4", "Application/DICOM+JSON;q=0.5"], AnswerFormat::Json),
            (&["application/dicom+json;q=0"], AnswerFormat::Xml),
            (&["application/dicom+xml, application/dicom+json"], AnswerFormat::Xml),
        ] {
            assert_eq!(stow_answer_format(&accepting(fields)), expected, "{fields:?}");
        }
    }

    #[test]
    fn the_query_says_what_is_accepted() {
        for (target, expected, accepted) in [
            ("/a/studies", "/a/studies", "text/html"),
            ("/a/studies?limit=1", "/a/studies?limit=1", "text/html"),
            ("/a/studies?acceptable=1", "/a/studies?acceptable=1", "text/html"),
            ("/a/studies/1?accept=application/dicom+json", "/a/studies/1", "application/dicom+json"),
            (
                "/a/studies?limit=1&accept=application%2Fdicom%2Bjson&offset=2",
                "/a/studies?limit=1&offset=2",
                "application/dicom+json",
            ),
            (
                "/a/studies/1?accept=multipart/related;+type=%22application/dicom%22;transfer-syntax=*",
                "/a/studies/1",
                r#"multipart/related; type="application/dicom";transfer-syntax=*"#,
            ),
            ("/a/studies/1?accept=a/b&accept=c/d,e/f", "/a/studies/1", "a/b, c/d,e/f"),
            // No field can say this, so whoever gets it may say what is wrong.
            ("/a/studies/1?accept=a/b%0D%0AX:y", "/a/studies/1?accept=a/b%0D%0AX:y", "text/html"),
        ] {
            let mut headers = accepting(&["text/html"]);
            let mut moved = target.to_owned();
            move_from_query(&mut moved, &mut headers);
            assert_eq!((moved.as_str(), headers[header::ACCEPT].to_str().unwrap()), (expected, accepted));
            assert_eq!(headers.len(), 1);
        }
    }
}
