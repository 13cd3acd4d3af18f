//! Why an upload cannot be taken to its end.

use http::StatusCode;

use crate::{multipart::Malformed, refusal::Refusal};

/// Why an upload cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the client went away: {0}")]
    Gone(hyper::Error),
    #[error("the client sent nothing for {0} s")]
    Silent(u64),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("more than {0} parts of the upload are no DICOM files, or have no UIDs that can be read")]
    Nameless(usize),
    #[error("a part of the upload is {0}, and not application/dicom")]
    OtherType(String),
}

impl Broken {
    /// What the client is told.
    pub(super) fn refusal(&self) -> Refusal {
        let (status, remedy) = match self {
            Broken::Nameless(_) => (StatusCode::BAD_REQUEST, "send DICOM files, each with its UIDs"),
            Broken::Silent(_) => (StatusCode::REQUEST_TIMEOUT, "send the study again"),
            _ => (StatusCode::BAD_REQUEST, "send the instances as PS3.18 section 10.5 has it"),
        };
        Refusal::own(status, &self.to_string(), remedy)
    }
}

/// The upload is beyond what there is memory for.
pub(super) fn too_many() -> Refusal {
    let cause = "the upload has more instances than there is memory for their names";
    let remedy =
        "send them in several uploads, for example one a study; if other uploads are under way, after these";
    Refusal::own(StatusCode::PAYLOAD_TOO_LARGE, cause, remedy)
}
