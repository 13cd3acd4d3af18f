//! The `Content-Type` of a multipart body.

use crate::media_type::MediaType;

/// No boundary is longer, in bytes. RFC 2046 allows 70; Orthanc's have 73.
const LONGEST_BOUNDARY: usize = 1024;

/// What the `Content-Type` of a `multipart/related` body says (RFC 2387 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// The parameter `type`, the media type of the root part, in lower case and without parameters of its own; it is mandatory,
    /// but not every client knows.
    pub root_type: Option<String>,
    /// The parameter `start`: the Content-ID of the root part. Without it that is the first.
    pub start: Option<String>,
    /// What [`Cutter::new`](super::Cutter::new) is to be given.
    pub boundary: String,
}

/// Why a `Content-Type` does not lead to parts.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotRelated {
    /// It is a media type other than `multipart/related`, or none.
    #[error("the body is not multipart/related")]
    OtherType,
    /// It is `multipart/related` without a usable `boundary`.
    #[error("the Content-Type multipart/related has no valid boundary: add the parameter boundary=…")]
    Boundary,
}

/// Reads the `Content-Type` of a body: parameters quoted or not, in any order and case, unknown ones passed over.
///
/// # Errors
/// [`NotRelated`].
pub fn boundary_of(content_type: &str) -> Result<Related, NotRelated> {
    let media_type = MediaType::parse(content_type)
        .filter(|parsed| parsed.essence == "multipart/related")
        .ok_or(NotRelated::OtherType)?;
    let boundary = media_type.parameter("boundary").ok_or(NotRelated::Boundary)?;
    // A space at the end could not be told from padding.
    let usable = !boundary.is_empty() && boundary.len() <= LONGEST_BOUNDARY && !boundary.ends_with(' ');
    if !usable || boundary.contains(|character: char| character.is_control()) {
        return Err(NotRelated::Boundary);
    }
    Ok(Related {
        root_type: media_type
            .parameter("type")
            .map(|root| root.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()),
        start: media_type.parameter("start").map(str::to_owned),
        boundary: boundary.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, root_type: Option<&str>, boundary: &str) {
        let related = boundary_of(content_type).unwrap();
        assert_eq!((related.root_type.as_deref(), related.boundary.as_str()), (root_type, boundary));
    }

    #[test]
    fn what_clients_send_is_understood() {
        let dicom = Some("application/dicom");
        let two_uuids = "0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1-0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1";
        check(
            &format!("multipart/related; type=\"application/dicom\"; boundary={two_uuids}"),
            dicom,
            two_uuids,
        );
        check(
            &format!("multipart/related; type=application/dicom; boundary=\"{two_uuids}\""),
            dicom,
            two_uuids,
        );
        check("Multipart/Related;BOUNDARY=b;charset=utf-8;Type=\"Application/DICOM\"", dicom, "b");
        check(
            "multipart/related; type=\"application/dicom; transfer-syntax=1.2\"; boundary=\"a b=;\"",
            dicom,
            "a b=;",
        );
        check("multipart/related;boundary=b", None, "b");
        let related =
            boundary_of("multipart/related; start=\"<1@x>\"; type=\"application/dicom+json\"; boundary=b")
                .unwrap();
        assert_eq!(related.start.as_deref(), Some("<1@x>"));
        assert_eq!(related.root_type.as_deref(), Some("application/dicom+json"));
    }

    #[test]
    fn the_rest_is_refused() {
        for other in
            ["", "application/dicom", "multipart/form-data; boundary=b", "multipart/relatedx; boundary=b"]
        {
            assert_eq!(boundary_of(other), Err(NotRelated::OtherType), "{other}");
        }
        let long = "b".repeat(LONGEST_BOUNDARY + 1);
        for boundary in
            ["", "; boundary", "; boundary=", "; boundary=\"\"", "; boundary=\"b \"", "; boundary=\"\u{1}\""]
        {
            let content_type = format!("multipart/related; type=\"application/dicom\"{boundary}");
            assert_eq!(boundary_of(&content_type), Err(NotRelated::Boundary), "{content_type}");
        }
        assert_eq!(boundary_of(&format!("multipart/related; boundary={long}")), Err(NotRelated::Boundary));
    }
}
