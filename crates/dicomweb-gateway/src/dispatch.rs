//! What a request becomes: an upload or a retrieval that the gateway takes apart, or one that it passes on.

use http::{HeaderMap, Method, header};

use crate::{accept, multipart, path::Target};

/// What a request wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted<'a> {
    /// STOW-RS (PS3.18 section 10.5) of DICOM files: to the store, or to one study.
    Store { study: Option<&'a str> },
    /// WADO-RS (PS3.18 section 10.4) of the DICOM files of a study or of one of its series.
    Retrieve { study: &'a str, series: Option<&'a str> },
    /// Anything else.
    Other,
}

/// What the request with these header fields wants.
pub(crate) fn wanted<'a>(method: &Method, target: &Target<'a>, headers: &HeaderMap) -> Wanted<'a> {
    let segments: Vec<&str> = target.path.split('/').collect();
    let is_upload = || {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        content_type.is_some_and(multipart::is_of_dicom_files)
    };
    match (method, segments.as_slice()) {
        (&Method::POST, ["studies"]) if is_upload() => Wanted::Store { study: None },
        (&Method::POST, ["studies", study]) if is_upload() => Wanted::Store { study: Some(study) },
        (&Method::GET, ["studies", study]) if accept::wants_dicom_files(headers) => {
            Wanted::Retrieve { study, series: None }
        }
        (&Method::GET, ["studies", study, "series", series]) if accept::wants_dicom_files(headers) => {
            Wanted::Retrieve { study, series: Some(series) }
        }
        _ => Wanted::Other,
    }
}
