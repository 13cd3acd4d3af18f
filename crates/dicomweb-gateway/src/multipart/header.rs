//! The header of a part, line by line.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Malformed;

/// The longest header of a part with all its line ends, in bytes. What is sent has some hundred.
pub(super) const LONGEST_HEADER: usize = 16 * 1024;
/// The most fields of a header: fewer than what would make a `HeaderMap` large.
pub(super) const MOST_FIELDS: usize = 64;

/// The header fields of a part as far as they have come (RFC 822 section 3.1: a line that begins with white space continues the
/// one before).
#[derive(Debug, Default)]
pub(super) struct Header {
    fields: HeaderMap,
    /// The field that may be continued.
    open: Vec<u8>,
    length: usize,
}

impl Header {
    /// The lines so far, in bytes.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Takes a line with its end. At the empty line gives the fields.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<Option<HeaderMap>, Malformed> {
        self.length += line.len();
        if self.length > LONGEST_HEADER {
            return Err(Malformed::HeaderTooLong);
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.first().is_some_and(|first| matches!(first, b' ' | b'\t')) {
            if self.open.is_empty() {
                return Err(Malformed::HeaderField);
            }
            self.open.push(b' ');
            self.open.extend_from_slice(line.trim_ascii());
            return Ok(None);
        }
        self.close()?;
        if line.is_empty() {
            return Ok(Some(std::mem::take(&mut self.fields)));
        }
        self.open = line.to_vec();
        Ok(None)
    }

    fn close(&mut self) -> Result<(), Malformed> {
        if self.open.is_empty() {
            return Ok(());
        }
        if self.fields.len() == MOST_FIELDS {
            return Err(Malformed::HeaderTooLong);
        }
        let mut halves = self.open.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
            return Err(Malformed::HeaderField);
        };
        let name = HeaderName::from_bytes(name.trim_ascii_end()).map_err(|_| Malformed::HeaderField)?;
        let value = HeaderValue::from_bytes(value.trim_ascii()).map_err(|_| Malformed::HeaderField)?;
        self.fields.append(name, value);
        self.open.clear();
        Ok(())
    }
}
