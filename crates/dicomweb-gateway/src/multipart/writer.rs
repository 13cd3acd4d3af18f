//! A multipart body put together.

use bytes::Bytes;
use http::HeaderValue;

use crate::dicom_identity::Uid;

/// The `Content-Type` of a part that is a DICOM file.
pub const DICOM: HeaderValue = HeaderValue::from_static("application/dicom");

/// The `Content-Type` of a part that is a DICOM file in this transfer syntax (PS3.18 section 8.7.3.5.2).
pub fn dicom_with_transfer_syntax(transfer_syntax: &Uid) -> HeaderValue {
    // A UID is digits and dots: the conversion cannot fail.
    HeaderValue::try_from(format!("application/dicom; transfer-syntax={transfer_syntax}")).unwrap_or(DICOM)
}

/// Gives what stands before, between and behind the parts of a `multipart/related` body.
///
/// It keeps to what Orthanc reads: the boundary is a token without quotation marks, nothing pads a delimiter's line, and the
/// header says how long the part is, where that is known, which spares Orthanc searching it for the boundary.
#[derive(Clone, Debug)]
pub struct Writer {
    boundary: String,
    has_parts: bool,
}

impl Writer {
    /// With a boundary of 32 hexadecimal digits. `dice`: random bytes, new for each body, so that no part holds the boundary.
    pub fn new(dice: [u8; 16]) -> Self {
        Self { boundary: format!("{:032x}", u128::from_be_bytes(dice)), has_parts: false }
    }

    /// The body's `Content-Type`; `root_type` is the media type of its parts.
    pub fn content_type(&self, root_type: &str) -> String {
        format!("multipart/related; type=\"{root_type}\"; boundary={}", self.boundary)
    }

    /// What stands before a part; `length`: how long that is, in bytes.
    pub fn part(&mut self, content_type: &HeaderValue, length: Option<u64>) -> Bytes {
        let mut head = self.delimiter().into_bytes();
        head.extend_from_slice(b"\r\nContent-Type: ");
        head.extend_from_slice(content_type.as_bytes());
        let length = length.map(|length| format!("\r\nContent-Length: {length}")).unwrap_or_default();
        head.extend_from_slice(length.as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        self.has_parts = true;
        head.into()
    }

    /// What stands behind the last part.
    pub fn end(self) -> Bytes {
        (self.delimiter() + "--").into()
    }

    fn delimiter(&self) -> String {
        format!("{}--{}", if self.has_parts { "\r\n" } else { "" }, self.boundary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_the_rfc_says() {
        let mut writer = Writer::new([0xA; 16]);
        let boundary = "0a".repeat(16);
        assert_eq!(
            writer.content_type("application/dicom"),
            format!("multipart/related; type=\"application/dicom\"; boundary={boundary}")
        );
        assert_eq!(writer.clone().end(), format!("--{boundary}--"));
        let first = format!("--{boundary}\r\nContent-Type: application/dicom\r\nContent-Length: 3\r\n\r\n");
        assert_eq!(writer.part(&DICOM, Some(3)), first);
        let syntax = dicom_with_transfer_syntax(&Uid::parse(b"1.2.840.10008.1.2.1").unwrap());
        let second = format!(
            "\r\n--{boundary}\r\nContent-Type: application/dicom; transfer-syntax=1.2.840.10008.1.2.1\r\n\r\n"
        );
        assert_eq!(writer.part(&syntax, None), second);
        assert_eq!(writer.end(), format!("\r\n--{boundary}--"));
    }
}
