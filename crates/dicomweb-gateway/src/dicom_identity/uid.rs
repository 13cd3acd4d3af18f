//! Unique identifiers.

use std::{borrow::Borrow, fmt, sync::Arc};

/// A UID (PS3.5 section 9.1): up to 64 digits and dots, never two dots together nor one at an end. So it is safe as a segment
/// of a path. Leading zeros, which PS3.5 forbids, are let pass: such UIDs exist, and stores take them.
///
/// Clones share its text: a study of many instances has each in several places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(Arc<str>);

impl Uid {
    /// Reads a value of VR UI or a text, without the NUL or spaces that pad it.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?.trim_matches(['\0', ' ']);
        let component =
            |component: &str| !component.is_empty() && component.bytes().all(|byte| byte.is_ascii_digit());
        (text.len() <= 64 && text.split('.').all(component)).then(|| Self(text.into()))
    }

    /// The digits and dots.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Uid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Uid {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_no_part_of_it() {
        for value in [&b"1.2.840"[..], b"1.2.840\0", b"1.2.840 ", b" 1.2.840\0\0 "] {
            assert_eq!(Uid::parse(value).unwrap().as_str(), "1.2.840");
        }
        assert_eq!(Uid::parse(&[b'1'; 64]).unwrap().to_string(), "1".repeat(64));
    }

    #[test]
    fn what_is_no_uid_is_refused() {
        for value in [
            &b""[..],
            b"\0",
            b".",
            b"..",
            b"1..2",
            b".1",
            b"1.",
            b"1.2\\1.3",
            b"1.a",
            b"1.2/3",
            b"1. 2",
            b"\xff",
        ] {
            assert_eq!(Uid::parse(value), None, "{value:?}");
        }
        assert_eq!(Uid::parse(&[b'1'; 65]), None);
    }
}
