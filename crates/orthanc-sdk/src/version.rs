//! Versions of Orthanc, and how they compare.

use std::fmt;
use std::str::FromStr;

/// A version of Orthanc: `1.12.7`, or the mainline, which is newer than all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 1 in `1.12.7`.
    pub major: u32,
    /// 12 in `1.12.7`.
    pub minor: u32,
    /// 7 in `1.12.7`; Orthanc calls it the revision.
    pub patch: u32,
}

impl Version {
    /// Orthanc built from its development branch: it calls itself `mainline` and has every service.
    pub const MAINLINE: Version = Version::new(u32::MAX, u32::MAX, u32::MAX);

    /// The version `major.minor.patch`.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }
}

impl FromStr for Version {
    type Err = NotAVersion;

    /// Reads `1.12.7`, `1.12` (that is `1.12.0`), anything after the numbers ignored (`1.12.7+dfsg`,
    /// `1.12.7-rc1`), and `mainline` with or without more after it.
    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let text = text.trim();
        if text.starts_with("mainline") {
            return Ok(Self::MAINLINE);
        }
        let wrong = || NotAVersion(text.to_owned());
        let mut rest = text;
        let major = number(&mut rest).ok_or_else(wrong)?;
        let minor = after_dot(&mut rest).ok_or_else(wrong)?;
        let patch = after_dot(&mut rest).unwrap_or(0);
        Ok(Self { major, minor, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::MAINLINE {
            return out.write_str("mainline");
        }
        write!(out, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A text that names no version of Orthanc.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version of Orthanc such as `1.12.7`")]
pub struct NotAVersion(String);

fn after_dot(rest: &mut &str) -> Option<u32> {
    *rest = rest.strip_prefix('.')?;
    number(rest)
}

fn number(rest: &mut &str) -> Option<u32> {
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at_checked(end)?;
    *rest = after;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_orthanc_says() {
        for (text, expected) in [
            ("1.12.7", Ok(Version::new(1, 12, 7))),
            ("1.5.4", Ok(Version::new(1, 5, 4))),
            ("1.12.7+dfsg", Ok(Version::new(1, 12, 7))),
            ("1.12.7-rc1", Ok(Version::new(1, 12, 7))),
            ("1.12.10~beta.3", Ok(Version::new(1, 12, 10))),
            (" 1.13.0\n", Ok(Version::new(1, 13, 0))),
            ("1.13", Ok(Version::new(1, 13, 0))),
            ("1.13.x", Ok(Version::new(1, 13, 0))),
            ("mainline", Ok(Version::MAINLINE)),
            ("mainline-7b3a0e", Ok(Version::MAINLINE)),
            ("", Err(())),
            ("1", Err(())),
            ("1.", Err(())),
            ("one.two.three", Err(())),
            ("-1.2.3", Err(())),
            ("99999999999.0.0", Err(())),
        ] {
            assert_eq!(text.parse::<Version>().map_err(|_| ()), expected, "{text:?}");
        }
    }

    #[test]
    fn compares_numbers_not_letters() {
        assert!(Version::new(1, 12, 10) > Version::new(1, 12, 9));
        assert!(Version::new(1, 9, 2) < Version::new(1, 10, 0));
        assert!(Version::MAINLINE > Version::new(1, 99, 99));
        assert_eq!(Version::MAINLINE.to_string(), "mainline");
        assert_eq!(Version::new(1, 12, 7).to_string(), "1.12.7");
    }
}
