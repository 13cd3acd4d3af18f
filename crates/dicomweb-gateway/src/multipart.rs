//! `multipart/related` bodies (RFC 2046 section 5.1, RFC 2387, PS3.18 section 8.6.1.2), without input or output of their own:
//! [`boundary_of`] reads the header field, [`Cutter`] takes a body apart while it arrives, [`Writer`] puts one together.

mod content_type;
mod cutter;
mod header;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod oracle;
mod writer;

pub use content_type::{NotRelated, Related, boundary_of};
pub use cutter::{Cutter, Event, Malformed};
pub use writer::{DICOM, Writer, dicom_with_transfer_syntax};
